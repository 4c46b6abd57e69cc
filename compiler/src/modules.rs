//! Modules: parts of pipelines that several import, with parameters and a version that is checked (`F-019`).
//!
//! The nodes of an import go by `IMPORT-NODE`; edges lead to the import's own name and its ports.

use std::collections::BTreeMap;

use rspp_specs::artifact::PipelineModule;
use serde_json::Value;

use crate::document::{EdgeDocument, ImportDocument};
use crate::finding::{Collector, Place, meant};
use crate::layers::read_document;
use crate::request::Files;
use crate::shape::Shape;
use crate::template::{Draft, DraftEdge, read_edge};
use crate::tree::{Content, Tree};

/// What an import's ports stand for.
struct Ports {
    inputs: BTreeMap<String, String>,
    outputs: BTreeMap<String, String>,
}

/// Puts the modules that a spec imports into its draft.
pub(crate) fn expand(findings: &mut Collector<'_>, tree: &Tree, draft: &mut Draft, files: &dyn Files) {
    let shape = Shape::of::<ImportDocument>("an import");
    let mut imported: BTreeMap<String, Ports> = BTreeMap::new();
    let mut failed: Vec<&str> = Vec::new();
    for field in tree.get("imports").into_iter().flat_map(Tree::fields) {
        let name = &field.key;
        let path = format!("imports.{name}");
        // The head's own check has told what is wrong with its fields.
        let Some(import) = shape.read_silently::<ImportDocument>(&field.value) else {
            failed.push(name);
            continue;
        };
        match put(findings, draft, name, &path, &field.value, &import, files) {
            Some(ports) => drop(imported.insert(name.clone(), ports)),
            None => failed.push(name),
        }
    }
    // What a module would have been joined to is not told to be missing, too.
    if !failed.is_empty() {
        let leads_to = |end: &str| failed.contains(&end.trim().split('.').next().unwrap_or_default());
        draft.edges.retain(|edge| !edge.arrow.split("->").any(leads_to));
        draft.has_broken_edges = true;
    }
    let before = findings.count();
    for edge in &mut draft.edges {
        let ends = edge.arrow.split_once("->").map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()));
        let Some((from, to)) = ends else { continue };
        let mut lead = |end: &str, outputs: bool| end_of(findings, &imported, (edge.place, &edge.path), end, outputs);
        match (lead(&from, true), lead(&to, false)) {
            (Some(from), Some(to)) => edge.arrow = format!("{from} -> {to}"),
            // Told already; an edge without an arrow is looked at no more.
            _ => edge.arrow.clear(),
        }
    }
    draft.edges.retain(|edge| !edge.arrow.is_empty());
    draft.has_broken_edges |= findings.count() > before;
}

/// What an edge's end stands for.
fn end_of(
    findings: &mut Collector<'_>,
    imported: &BTreeMap<String, Ports>,
    (place, path): (Place, &str),
    end: &str,
    outputs: bool,
) -> Option<String> {
    let (node, port) = end.split_once('.').map_or((end, None), |(node, port)| (node, Some(port)));
    let Some(ports) = imported.get(node) else { return Some(end.to_owned()) };
    let (ports, which) = if outputs { (&ports.outputs, "output") } else { (&ports.inputs, "input") };
    let found = match port {
        Some(port) => ports.get(port),
        None if ports.len() == 1 => ports.values().next(),
        None => None,
    };
    if found.is_none() {
        let message = match port {
            Some(port) => format!("the module {node} has no {which} named {port}"),
            None => format!("the module {node} has {} {which}s, and the edge does not say which", ports.len()),
        };
        let hint = meant(port.unwrap_or_default(), ports.keys().map(String::as_str), "there is");
        findings.report_at("RSPP0053", place, path, message, hint);
    }
    found.cloned()
}

fn put(
    findings: &mut Collector<'_>,
    draft: &mut Draft,
    name: &str,
    path: &str,
    at: &Tree,
    import: &ImportDocument,
    files: &dyn Files,
) -> Option<Ports> {
    let place = |field: &str| at.locate(field).unwrap_or(at.place);
    let text = match files.read(&import.module) {
        Ok(text) => text,
        Err(why) => {
            let message = format!("the module {} can't be read: {why}", import.module);
            let hint = "paths are from the folder of the document that names them";
            findings.report_at("RSPP0050", place("module"), format!("{path}.module"), message, hint);
            return None;
        }
    };
    let file = findings.sources().add(&import.module, &text);
    let tree = read_document(findings, file, "PipelineModule")?;
    let module: PipelineModule = Shape::of::<PipelineModule>("a PipelineModule").read(findings, "", &tree)?;
    if module.version != import.version {
        let message = format!("{} has version {}, and {} is wanted", import.module, module.version, import.version);
        let hint = "look at what has changed in it, then ask for its version";
        findings.report_at("RSPP0051", place("version"), format!("{path}.version"), message, hint);
    }
    let values = parameters(findings, (path, at), &module, import);
    for field in tree.get("nodes").into_iter().flat_map(Tree::fields) {
        let mut node = field.value.clone();
        substitute(&mut node, &values);
        draft.nodes.insert(format!("{name}-{}", field.key), (field.key_place, node));
    }
    let inner = |end: &str| format!("{name}-{}", end.trim());
    let edge_shape = Shape::of::<EdgeDocument>("an edge");
    for (index, item) in tree.get("edges").into_iter().flat_map(Tree::items).enumerate() {
        let arrow = item.as_text().or_else(|| item.get("edge")?.as_text()).unwrap_or_default();
        let arrow = arrow.split("->").map(inner).collect::<Vec<_>>().join(" -> ");
        let path = format!("edges[{index}]");
        let rest = read_edge(findings, &edge_shape, &path, item).map(|(_, rest)| rest).unwrap_or_default();
        draft.edges.push(DraftEdge { place: item.place, path, arrow, rest, fields: item.clone() });
    }
    let ports = |ports: &BTreeMap<String, String>| ports.iter().map(|(name, end)| (name.clone(), inner(end))).collect();
    Some(Ports { inputs: ports(&module.inputs), outputs: ports(&module.outputs) })
}

/// The parameters' values, given or default.
fn parameters(
    findings: &mut Collector<'_>,
    (path, at): (&str, &Tree),
    module: &PipelineModule,
    import: &ImportDocument,
) -> BTreeMap<String, Value> {
    let path = format!("{path}.with");
    let place = at.locate("with").or_else(|| at.locate("module")).unwrap_or(at.place);
    for name in import.with.keys().filter(|name| !module.parameters.contains_key(*name)) {
        let hint = meant(name, module.parameters.keys().map(String::as_str), "it has");
        let place = at.locate(&format!("with.{name}")).unwrap_or(place);
        findings.report_at("RSPP0052", place, path.clone(), format!("{} has no parameter {name}", module.name), hint);
    }
    let mut values = BTreeMap::new();
    for (name, parameter) in &module.parameters {
        match import.with.get(name).or(parameter.default.as_ref()) {
            Some(value) => drop(values.insert(name.clone(), value.clone())),
            None => {
                let message = format!("{} needs a value for its parameter {name}", module.name);
                let hint = parameter.description.clone().unwrap_or_else(|| format!("write `with: {{{name}: ...}}`"));
                findings.report_at("RSPP0052", place, path.clone(), message, hint);
            }
        }
    }
    values
}

/// `${name}` alone becomes the value itself; within a text, the value's text.
fn substitute(tree: &mut Tree, values: &BTreeMap<String, Value>) {
    match &mut tree.content {
        Content::List(items) => items.iter_mut().for_each(|item| substitute(item, values)),
        Content::Map(fields) => fields.iter_mut().for_each(|field| substitute(&mut field.value, values)),
        Content::Scalar { text, means } => {
            let whole =
                text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).and_then(|name| values.get(name));
            if let Some(value) = whole {
                *text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                *means = value.clone();
                return;
            }
            for (name, value) in values {
                if !text.contains("${") {
                    break;
                }
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                *text = text.replace(&format!("${{{name}}}"), &value);
                *means = Value::String(text.clone());
            }
        }
    }
}
