//! Where edges meet: the nodes for it, and fallback edges, which are written as two edges to one input.

use rspp_specs::plan::{Condition, JoinBy, NodeKind};
use rspp_specs::time::Micros;

use crate::document::NodeDocument;
use crate::finding::Collector;
use crate::template::{Draft, DraftEdge};

/// A fan-in's kind, and the fields that its type has.
pub(crate) fn built_in(node: &NodeDocument) -> Option<(NodeKind, &'static [&'static str])> {
    Some(match node.type_name.as_str() {
        "merge" => (NodeKind::Merge { order: node.order.unwrap_or_default() }, &["order"]),
        "join" => (NodeKind::Join { by: node.by.unwrap_or_default() }, &["by"]),
        "select" => {
            let condition = node.when.as_ref().and_then(|when| {
                let is = when.comparisons().pop()?;
                Some(Condition { attribute: when.attribute.clone(), is })
            });
            (NodeKind::Select { when: condition }, &["when"])
        }
        "fallback" => (NodeKind::Fallback { after: node.after_ms.map(Micros::from_ms) }, &["after_ms"]),
        _ => return None,
    })
}

/// Whether a node has an input for each edge that ends at it.
pub(crate) fn grows(kind: &NodeKind) -> bool {
    matches!(kind, NodeKind::Merge { .. } | NodeKind::Join { .. } | NodeKind::Select { .. })
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
        let ends = |edge: &DraftEdge| edge.arrow.split_once("->").map(|(_, to)| to.trim().to_owned());
        let Some(target) = ends(&draft.edges[second]) else { continue };
        let first = draft.edges[..second].iter().position(|edge| ends(edge).as_deref() == Some(&target));
        let place = draft.edges[second].place.clone();
        let Some(first) = first else {
            let path = format!("edges: {}.fallback", draft.edges[second].arrow);
            let message = format!("a fallback, and no edge before it ends at {target}");
            let hint = "write the edge that is wanted first, with the same end, and its fallback behind it";
            findings.report("RSPP0026", place, path, message, hint);
            continue;
        };
        let name = format!("{target}.fallback").replace('.', "_");
        let (type_name, after_ms) = ("fallback".to_owned(), fallback.after_ms);
        let node = NodeDocument { type_name, after_ms, ..NodeDocument::default() };
        draft.nodes.insert(name.clone(), (place.clone(), node));
        let when = [first, second].map(|edge| draft.edges[edge].rest.when.take());
        let onward = std::mem::take(&mut draft.edges[first].rest);
        for ((edge, port), when) in [(first, "first"), (second, "second")].into_iter().zip(when) {
            let from = draft.edges[edge].arrow.split_once("->").map_or("", |(from, _)| from.trim());
            draft.edges[edge].arrow = format!("{from} -> {name}.{port}");
            draft.edges[edge].rest.when = when;
        }
        draft.edges.push(DraftEdge { place, arrow: format!("{name} -> {target}"), rest: onward });
    }
}
