//! Simple mode: a template gives the graph of a working pipeline, and the spec fills in its providers (`F-079`).

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Document, EdgeDocument, EdgeRest, HEADS};
use crate::finding::{Collector, Place, meant};
use crate::shape::Shape;
use crate::tree::Tree;

/// A graph as it was written or as its template gives it, before anything is checked.
#[derive(Debug)]
pub(crate) struct Draft {
    /// How turns are taken, what new turns need, and what is recorded.
    pub(crate) head: Tree,
    /// The nodes' fields, each with its place.
    pub(crate) nodes: BTreeMap<String, (Place, Tree)>,
    pub(crate) edges: Vec<DraftEdge>,
    /// Whether an edge could not be read: what it leads to is not told to be unreached.
    pub(crate) has_broken_edges: bool,
}

impl Default for Draft {
    fn default() -> Self {
        let head = Tree::map(Place::default());
        Self { head, nodes: BTreeMap::new(), edges: Vec::new(), has_broken_edges: false }
    }
}

impl Draft {
    /// The document with the draft's nodes in the place of its own.
    pub(crate) fn tree(&self, document: &Tree) -> Tree {
        let mut tree = document.clone();
        for field in self.head.fields() {
            tree.set(&field.key, field.key_place, field.value.clone());
        }
        let mut nodes = Tree::map(document.place);
        for (name, (place, node)) in &self.nodes {
            nodes.set(name, *place, node.clone());
        }
        tree.set("nodes", tree.locate("nodes").unwrap_or(document.place), nodes);
        tree
    }
}

/// An edge of a draft.
#[derive(Clone, Debug)]
pub(crate) struct DraftEdge {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) arrow: String,
    pub(crate) rest: EdgeRest,
    /// The places of its fields.
    pub(crate) fields: Tree,
}

impl DraftEdge {
    /// Where a field of it stands, or else what the field belongs to, or the edge.
    pub(crate) fn at(&self, field: &str) -> Place {
        let outer = || self.fields.locate(field.split_once('.')?.0);
        self.fields.locate(field).or_else(outer).unwrap_or(self.place)
    }
}

/// The templates' names and texts.
const TEMPLATES: [(&str, &str); 1] = [("voice-assistant", include_str!("templates/voice-assistant.yaml"))];

/// The draft of a document: its template's graph with the document's nodes and edges in it.
pub(crate) fn apply(findings: &mut Collector<'_>, tree: &Tree, document: &Document) -> Draft {
    let mut draft = Draft::default();
    let template = tree.get("template").filter(|template| !template.is_null());
    if let (Some(name), Some(template)) = (&document.template, template) {
        match TEMPLATES.iter().find(|(known, _)| known == name) {
            Some((name, text)) => fill(findings, &mut draft, template.place, name, text),
            None => {
                let hint = meant(name, TEMPLATES.iter().map(|(name, _)| *name), "the templates there are");
                let message = format!("no template is named {name}");
                findings.report_at("RSPP0003", template.place, "template", message, hint);
                // What the template would have given is not told to be missing, too.
                draft.has_broken_edges = true;
            }
        }
    }
    let of_template: BTreeSet<String> = draft.nodes.keys().cloned().collect();
    // A misspelt `template` is told already.
    let known = template.is_none() && !findings.has_errors() || !of_template.is_empty();
    sugar(findings, &mut draft, tree, &of_template, known);
    nodes(findings, &mut draft, tree);
    edges(findings, &mut draft, tree, "edges");
    for head in HEADS {
        if let Some(field) = tree.field(head).filter(|field| !field.value.is_null()) {
            draft.head.set(head, field.key_place, field.value.clone());
        }
    }
    draft
}

/// What a template gives stands, for findings, where the spec names the template.
fn fill(findings: &mut Collector<'_>, draft: &mut Draft, place: Place, name: &str, text: &str) {
    let file = findings.sources().add_bundled(&format!("template {name}"), text, place);
    let Some(tree) = crate::tree::read(findings, file) else { return };
    for field in tree.get("nodes").into_iter().flat_map(Tree::fields) {
        draft.nodes.insert(field.key.clone(), (field.key_place, field.value.clone()));
    }
    edges(findings, draft, &tree, "template");
}

/// Fields of the head that are meant for nodes of the template.
fn sugar(findings: &mut Collector<'_>, draft: &mut Draft, tree: &Tree, of_template: &BTreeSet<String>, known: bool) {
    for head in ["bind", "provider"] {
        for field in tree.get(head).into_iter().flat_map(Tree::fields) {
            if of_template.contains(&field.key) {
                let (_, node) = draft.nodes.get_mut(&field.key).expect("the template has it");
                node.set(head, field.key_place, field.value.clone());
                let written = (format!("nodes.{}.{head}", field.key), format!("{head}.{}", field.key));
                findings.written_as.push(written);
            } else if known {
                let message = format!("no node of the template is named {}", field.key);
                let hint = if of_template.is_empty() {
                    format!("{head} names nodes of the template; a node of its own has a `{head}` field")
                } else {
                    meant(&field.key, of_template.iter().map(String::as_str), "the template has")
                };
                findings.report_at("RSPP0004", field.key_place, format!("{head}.{}", field.key), message, hint);
            }
        }
    }
    for head in ["tools", "prompt"] {
        let Some(field) = tree.field(head).filter(|field| !field.value.is_null()) else { continue };
        let model = draft.nodes.iter_mut().find(|(name, (_, node))| {
            of_template.contains(*name) && node.get("type").and_then(Tree::as_text) == Some("llm")
        });
        match model {
            Some((name, (_, node))) => {
                node.set(head, field.key_place, field.value.clone());
                findings.written_as.push((format!("nodes.{name}.{head}"), head.to_owned()));
            }
            None if known => {
                let message = format!("{head} is given, but no template whose model it could be for");
                let hint = format!("move it into the `{head}` field of a node of type llm");
                findings.report_at("RSPP0004", field.key_place, head, message, hint);
            }
            None => {}
        }
    }
}

fn nodes(findings: &mut Collector<'_>, draft: &mut Draft, tree: &Tree) {
    for field in tree.get("nodes").into_iter().flat_map(Tree::fields) {
        if !field.value.is_map() {
            let path = format!("nodes.{}", field.key);
            let message = format!("the node {} has no fields", field.key);
            findings.report_at("RSPP0045", field.value.place, path, message, "write `{type: ...}`");
            draft.has_broken_edges = true;
            continue;
        }
        match draft.nodes.get_mut(&field.key).filter(|_| field.value.get("type").is_none()) {
            Some((_, node)) => node.lay_over(&field.value),
            None => drop(draft.nodes.insert(field.key.clone(), (field.key_place, field.value.clone()))),
        }
    }
}

/// Reads the edges of a document; `list` is how their paths begin. An edge that the template has already is said anew:
/// with a buffer, say.
fn edges(findings: &mut Collector<'_>, draft: &mut Draft, tree: &Tree, list: &str) {
    let shape = Shape::of::<EdgeDocument>("an edge");
    let of_template = draft.edges.len();
    for (index, item) in tree.get("edges").into_iter().flat_map(Tree::items).enumerate() {
        let path = format!("{list}[{index}]");
        let Some((arrow, rest)) = read_edge(findings, &shape, &path, item) else {
            draft.has_broken_edges = true;
            continue;
        };
        let edge = DraftEdge { place: item.place, path, arrow, rest, fields: item.clone() };
        match draft.edges[..of_template].iter_mut().find(|known| same_arrow(&known.arrow, &edge.arrow)) {
            Some(known) => *known = edge,
            None => draft.edges.push(edge),
        }
    }
}

/// An edge's arrow, and what else is said of it if all of that can be read.
pub(crate) fn read_edge(
    findings: &mut Collector<'_>,
    shape: &Shape,
    path: &str,
    item: &Tree,
) -> Option<(String, EdgeRest)> {
    let before = findings.count();
    let (arrow, rest) = shape.read::<EdgeDocument>(findings, path, item)?.parts();
    Some((arrow, if findings.count() == before { rest } else { EdgeRest::default() }))
}

/// Whether two arrows join the same ends, as they are written.
pub(crate) fn same_arrow(a: &str, b: &str) -> bool {
    let ends = |arrow: &str| arrow.split("->").map(|end| end.trim().to_owned()).collect::<Vec<_>>();
    ends(a) == ends(b)
}

/// Binds nodes to other providers than the document says: what the command line says goes over everything.
pub(crate) fn bind(findings: &mut Collector<'_>, draft: &mut Draft, bindings: &BTreeMap<String, String>) {
    let place = Place { file: findings.sources().add("--bind", ""), ..Place::default() };
    for (name, binding) in bindings {
        if let Some((_, node)) = draft.nodes.get_mut(name) {
            node.set("bind", place, Tree::text(place, binding));
            continue;
        }
        let hint = meant(name, draft.nodes.keys().map(String::as_str), "there are");
        findings.report_at("RSPP0004", place, format!("--bind {name}"), format!("no node is named {name}"), hint);
    }
}
