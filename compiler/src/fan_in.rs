//! Where edges meet: the nodes for it, and fallback edges, which are written as two edges to one input.

use rspp_specs::plan::{Condition, JoinBy, MergeOrder, NodeKind};
use rspp_specs::time::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::{EdgeRest, WhenDocument};
use crate::finding::{Collector, Place};
use crate::nodes::NodeDocument;
use crate::providers::NodeFindings;
use crate::template::{Draft, DraftEdge};
use crate::tree::Tree;

/// Passes on what comes in, in a declared order, which is part of the plan.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Merge {
    /// In which order what one tick brings goes on.
    order: MergeOrder,
}

impl NodeDocument for Merge {
    fn kind(&self) -> NodeKind {
        NodeKind::Merge { order: self.order }
    }
}

/// Waits for each of its edges, and passes on together what belongs together.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Join {
    /// What belongs together.
    by: JoinBy,
}

impl NodeDocument for Join {
    fn kind(&self) -> NodeKind {
        NodeKind::Join { by: self.by }
    }
}

/// Lets one through of what comes for one cause: the edge that is written first, or the first whose event fits.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Select {
    /// What must hold of the event that is let through.
    when: Option<WhenDocument>,
}

impl NodeDocument for Select {
    fn kind(&self) -> NodeKind {
        let condition = self.when.as_ref().and_then(|when| {
            let is = when.comparisons().pop()?;
            Some(Condition { attribute: when.attribute.clone(), is })
        });
        NodeKind::Select { when: condition }
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        if let Some(when) = &self.when {
            let (path, place) = (format!("nodes.{}.when", findings.node), findings.place);
            let place = findings.findings.locate(&path).unwrap_or(place);
            condition(findings.findings, place, &path, when);
        }
    }
}

/// Lets its first input through; its second where the first fails, or gives nothing in time.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fallback {
    /// So many milliseconds the first may take once the second has something; without it, only a failure counts.
    #[schemars(range(max = 3_600_000))]
    after_ms: Option<u64>,
}

impl NodeDocument for Fallback {
    fn kind(&self) -> NodeKind {
        NodeKind::Fallback { after: self.after_ms.map(Micros::from_ms) }
    }
}

/// What an edge or a select asks; reports what is not exactly one comparison.
pub(crate) fn condition(
    findings: &mut Collector<'_>,
    place: Place,
    path: &str,
    when: &WhenDocument,
) -> Option<Condition> {
    let mut comparisons = when.comparisons();
    if comparisons.len() == 1 {
        return comparisons.pop().map(|is| Condition { attribute: when.attribute.clone(), is });
    }
    let message = format!("a condition needs one comparison, and has {}", comparisons.len());
    findings.report_at("RSPP0016", place, path, message, "use one of equals, differs, at_least, below");
    None
}

/// What a fan-in does.
pub(crate) fn in_words(kind: &NodeKind) -> String {
    match kind {
        NodeKind::Merge { order } => format!("passes on what its inputs bring, in the order {}", order.name()),
        NodeKind::Join { by: JoinBy::Watermark } => {
            "passes on what its inputs bring once all are complete up to its media time".to_owned()
        }
        NodeKind::Select { when: None } => "lets one input through: of one cause, the first that is written".to_owned(),
        NodeKind::Select { when: Some(when) } => {
            format!("lets one input through: of one cause, the first whose {} fits", when.attribute)
        }
        NodeKind::Fallback { after: Some(after) } => {
            format!("lets the first input through; the second where the first fails, or gives nothing in {after} ms")
        }
        NodeKind::Fallback { after: None } => {
            "lets the first input through; the second where the first fails".to_owned()
        }
        _ => "waits for one item from each input".to_owned(),
    }
}

/// Puts a node of type fallback where a fallback edge and another end at one input.
pub(crate) fn place_fallbacks(findings: &mut Collector<'_>, draft: &mut Draft) {
    while let Some(second) = draft.edges.iter().position(|edge| edge.rest.fallback.is_some()) {
        let fallback = draft.edges[second].rest.fallback.take().unwrap_or_default();
        let end = |edge: &DraftEdge| edge.arrow.split_once("->").map(|(_, to)| to.trim().to_owned());
        // An edge without an arrow has its finding elsewhere.
        let Some(target) = end(&draft.edges[second]) else { continue };
        let first = draft.edges[..second].iter().position(|edge| end(edge).as_deref() == Some(&target));
        let (place, at) = (draft.edges[second].place, draft.edges[second].at("fallback"));
        let Some(first) = first else {
            let path = format!("{}.fallback", draft.edges[second].path);
            let message = format!("a fallback, and no edge before it ends at {target}");
            let hint = "write the edge that is wanted first, with the same end, and its fallback behind it";
            findings.report_at("RSPP0026", at, path, message, hint);
            // What it would have led to is not told to be missing, or to have too much.
            draft.edges.remove(second);
            draft.has_broken_edges = true;
            continue;
        };
        let name = free_name(draft, &target);
        draft.nodes.insert(name.clone(), (place, node(place, at, fallback.after_ms)));
        // Conditions stay with the branches; what waits, and what plays together, is behind both.
        let when = draft.edges[first].rest.when.take();
        let rest = std::mem::replace(&mut draft.edges[first].rest, EdgeRest { when, ..EdgeRest::default() });
        let DraftEdge { place, path, fields, .. } = draft.edges[first].clone();
        for (edge, port) in [(first, "first"), (second, "second")] {
            let from = draft.edges[edge].arrow.split_once("->").map_or("", |(from, _)| from.trim()).to_owned();
            draft.edges[edge].arrow = format!("{from} -> {name}.{port}");
        }
        // The onward edge stands where the wanted one stood: at a node that grows, inputs are in the order of edges.
        let onward = DraftEdge { place, path, arrow: format!("{name} -> {target}"), rest, fields };
        draft.edges.insert(first, onward);
    }
}

/// A name that no node has.
fn free_name(draft: &Draft, target: &str) -> String {
    let mut name = format!("{target}.fallback").replace('.', "_");
    while draft.nodes.contains_key(&name) {
        name.push('_');
    }
    name
}

/// The node that a fallback edge stands for.
fn node(place: Place, at: Place, after_ms: Option<u64>) -> Tree {
    let mut node = Tree::map(place);
    node.set("type", at, Tree::text(at, "fallback"));
    if let Some(ms) = after_ms {
        node.set("after_ms", at, Tree::number(at, ms));
    }
    node
}
