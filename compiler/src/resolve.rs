//! The effective view of a spec: every field with its value and where it comes from (`F-081`).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use rspp_specs::plan::Plan;

use crate::document::{Document, HEADS};
use crate::finding::Collector;
use crate::nodes;
use crate::policy::{AdmissionDocument, TurnDocument};
use crate::recording::{RecordingDocument, RedactionDocument};
use crate::template::Draft;
use crate::tree::{Content, Tree};

/// Every effective field of a spec.
#[derive(Clone, Debug, Serialize)]
pub struct Resolved {
    /// The plan's hash.
    pub plan: String,
    /// The fields, in the order of their paths.
    pub fields: Vec<ResolvedField>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResolvedField {
    /// Its path: `nodes.vad.hangover_ms`.
    pub path: String,
    /// Its value.
    pub value: Value,
    /// Where the value comes from: `mine.yaml:7`, `profile simple/v1`, `template voice-assistant`, `--bind`, `default`.
    pub source: String,
}

pub(crate) fn resolve(
    findings: &mut Collector<'_>,
    document: &Document,
    tree: &Tree,
    draft: &Draft,
    plan: &Plan,
) -> Resolved {
    let mut fields = Fields { findings, list: Vec::new() };
    for head in ["name", "version", "profile", "template"] {
        if let Some(value) = tree.get(head).filter(|value| !value.is_null()) {
            fields.leaves(head, value);
        }
    }
    if document.profile.is_none() {
        fields.push("profile", Value::String(plan.profile().to_owned()), "default".to_owned());
    }
    for (name, (_, node)) in &draft.nodes {
        let path = format!("nodes.{name}");
        fields.leaves(&path, node);
        let row = node.get("type").and_then(Tree::as_text).and_then(nodes::row);
        if let Some(Ok(filled)) = row.map(|row| (row.fill)(node.without("type").value())) {
            fields.defaults(&path, &filled, node);
        }
    }
    if let Some(metadata) = tree.get("metadata") {
        fields.leaves("metadata", metadata);
    }
    let empty = Tree::map(tree.place);
    for head in HEADS {
        let given = draft.head.get(head).unwrap_or(&empty);
        fields.leaves(head, given);
        let filled = match head {
            "turn" => filled::<TurnDocument>(given),
            "admission" => filled::<AdmissionDocument>(given),
            "recording" => filled::<RecordingDocument>(given),
            _ => filled::<RedactionDocument>(given),
        };
        if let Some(filled) = filled {
            fields.defaults(head, &filled, given);
        }
    }
    for edge in &draft.edges {
        let source = fields.findings.sources().origin(edge.place);
        let mut value = Value::String(edge.arrow.clone());
        if let Ok(Value::Object(mut rest)) = serde_json::to_value(&edge.rest)
            && !rest.is_empty()
        {
            rest.insert("edge".to_owned(), value);
            value = Value::Object(rest);
        }
        fields.push("edges[]", value, source);
    }
    fields.list.sort_by(|a, b| a.path.cmp(&b.path));
    Resolved { plan: plan.hash().to_string(), fields: fields.list }
}

/// What a part of the head says, with defaults for what is not given.
fn filled<T: Serialize + DeserializeOwned>(given: &Tree) -> Option<Value> {
    serde_json::from_value::<T>(given.value()).and_then(serde_json::to_value).ok()
}

struct Fields<'f, 'a> {
    findings: &'f mut Collector<'a>,
    list: Vec<ResolvedField>,
}

impl Fields<'_, '_> {
    fn push(&mut self, path: &str, value: Value, source: String) {
        self.list.push(ResolvedField { path: path.to_owned(), value, source });
    }

    /// The values that documents give.
    fn leaves(&mut self, path: &str, tree: &Tree) {
        match &tree.content {
            Content::Map(fields) if !fields.is_empty() => {
                for field in fields {
                    self.leaves(&format!("{path}.{}", field.key), &field.value);
                }
            }
            Content::Map(_) => {}
            Content::Scalar { means: Value::Null, .. } => {}
            _ => {
                let source = self.findings.sources().origin(tree.place);
                self.push(path, tree.value(), source);
            }
        }
    }

    /// The values that nobody gives.
    fn defaults(&mut self, path: &str, filled: &Value, given: &Tree) {
        for (name, value) in filled.as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match (value, given.get(name)) {
                (Value::Null, _) => {}
                (Value::Array(items), None) if items.is_empty() => {}
                (Value::Object(_), Some(tree)) if tree.is_map() => self.defaults(&path, value, tree),
                (Value::Object(_), None) => self.defaults(&path, value, &Tree::map(given.place)),
                (_, None) => self.push(&path, value.clone(), "default".to_owned()),
                (_, Some(tree)) if tree.is_null() => self.push(&path, value.clone(), "default".to_owned()),
                (_, Some(_)) => {}
            }
        }
    }
}

impl Resolved {
    /// For people: a field a line, with its source.
    pub fn table(&self) -> String {
        let shown: Vec<(String, &str)> = self
            .fields
            .iter()
            .map(|field| {
                let value = field.value.to_string();
                let value: String = if value.chars().count() > 60 {
                    value.chars().take(57).chain("...".chars()).collect()
                } else {
                    value
                };
                (format!("{}: {value}", field.path), field.source.as_str())
            })
            .collect();
        let width = shown.iter().map(|(field, _)| field.chars().count()).max().unwrap_or(0);
        let lines = shown.iter().map(|(field, source)| format!("{field:<width$}  # {source}\n"));
        format!("# plan {}\n", self.plan) + &lines.collect::<String>()
    }
}
