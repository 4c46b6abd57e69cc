//! A pipeline's spec as it is written.
//!
//! The schema of [`Document`] is what `specs/schemas` publishes. Nodes and edges are read one by one, so that a mistake
//! in one hides none in another.

use std::collections::BTreeMap;

use rspp_specs::plan::ToolSpec;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::finding::Collector;
use crate::nodes::TYPES;
use crate::policy::{AdmissionDocument, ProviderDocument, TurnDocument};
use crate::shape::Shape;
use crate::tree::Tree;

/// A pipeline: nodes, edges between them, and how it takes turns.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "PipelineSpec")]
pub(crate) struct Document {
    /// `PipelineSpec`.
    pub(crate) kind: PipelineKind,
    /// The pipeline's name.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) name: String,
    /// A whole number of your own, that grows with every published change.
    pub(crate) version: u32,
    /// The execution profile, which fills in what is not given. `simple/v1` unless another is named.
    #[serde(default)]
    pub(crate) profile: Option<String>,
    /// The template whose graph this pipeline has, ready made.
    #[serde(default)]
    pub(crate) template: Option<String>,
    /// Which provider nodes of the template call, by the nodes' names.
    #[serde(default)]
    pub(crate) bind: BTreeMap<String, String>,
    /// The tools of the template's model.
    #[serde(default)]
    pub(crate) tools: Vec<ToolSpec>,
    /// What nodes of the template ask of their providers, by the nodes' names.
    #[serde(default)]
    pub(crate) provider: BTreeMap<String, ProviderDocument>,
    /// What the template's model is told before the conversation.
    #[serde(default)]
    pub(crate) prompt: Option<String>,
    /// How turns are taken.
    #[serde(default)]
    pub(crate) turn: Option<TurnDocument>,
    /// What new turns need.
    #[serde(default)]
    pub(crate) admission: Option<AdmissionDocument>,
    /// The nodes by their names. A node of the template's name replaces the template's if it has a `type`; otherwise
    /// its fields are laid over the template's.
    #[serde(default)]
    pub(crate) nodes: BTreeMap<String, NodeFields>,
    /// The edges; with a template, added to the template's.
    #[serde(default)]
    pub(crate) edges: Vec<EdgeDocument>,
    /// Modules whose nodes and edges are put in, by the name under which edges lead to them.
    #[serde(default)]
    pub(crate) imports: BTreeMap<String, ImportDocument>,
    /// Edges into which a policy may put nodes, by the name of the place: `{before-voice: segmenter -> tts}`.
    #[serde(default)]
    pub(crate) inserts: BTreeMap<String, String>,
    /// Words for people and tools: a description, an owner, labels. They change nothing that a session does (`F-082`).
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, Value>,
}

impl Document {
    /// Reads the head of a spec: everything but its nodes and edges.
    pub(crate) fn read(findings: &mut Collector<'_>, tree: &Tree) -> Option<Self> {
        if !tree.is_map() {
            let message = "the document is no map of fields";
            findings.report_at("RSPP0001", tree.place, "", message, "begin with `kind: PipelineSpec`");
            return None;
        }
        let kind = tree.get("kind").and_then(Tree::as_text);
        if let Some(kind) = kind.filter(|kind| *kind != "PipelineSpec") {
            let place = tree.locate("kind").unwrap_or(tree.place);
            let message = format!("kind is {kind}, not PipelineSpec");
            findings.report_at("RSPP0002", place, "kind", message, "write `kind: PipelineSpec`");
        }
        for (field, is_right) in [
            ("nodes", tree.get("nodes").is_none_or(|it| it.is_map() || it.is_null())),
            ("edges", tree.get("edges").is_none_or(|it| it.is_list() || it.is_null())),
        ] {
            if !is_right {
                let place = tree.locate(field).unwrap_or(tree.place);
                let hint = if field == "nodes" {
                    "it has to be a map, `{name: {type: ...}}`"
                } else {
                    "it has to be a list, `[from -> to]`"
                };
                findings.report_at("RSPP0045", place, field, format!("{field} has another form"), hint);
            }
        }
        // Turns and admission are checked with all that is laid over them.
        let mut head = tree.without("nodes").without("edges").without("turn").without("admission");
        if tree.get("template").is_some_and(|template| !template.is_null()) {
            // They are checked with the nodes that they are for.
            head = head.without("tools");
            for field in ["bind", "provider"].into_iter().filter(|field| tree.get(field).is_some_and(Tree::is_map)) {
                head = head.without(field);
            }
        }
        if kind.is_some() {
            head.set("kind", tree.place, Tree::text(tree.place, "PipelineSpec"));
        }
        let shape = Shape::of::<Document>("a PipelineSpec").lenient();
        let mut value = shape.check(findings, "", &head)?;
        for (field, stand_in) in [("kind", json!("PipelineSpec")), ("name", json!("")), ("version", json!(0))] {
            value.as_object_mut()?.entry(field).or_insert(stand_in);
        }
        serde_json::from_value(value)
            .map_err(|error| findings.report_at("RSPP0044", tree.place, "", error.to_string(), ""))
            .ok()
    }
}

/// A module that is imported.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportDocument {
    /// The module's file, from this document's folder.
    pub(crate) module: String,
    /// The version that is wanted, so that a changed module is noticed.
    pub(crate) version: u32,
    /// Values of its parameters.
    #[serde(default)]
    pub(crate) with: BTreeMap<String, Value>,
}

/// The document's kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum PipelineKind {
    #[default]
    PipelineSpec,
}

/// A node's fields, which its type knows. Here for the schema, which has an alternative for each type.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeFields(pub(crate) Value);

impl JsonSchema for NodeFields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Node".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = TYPES.iter().map(|row| row.name).collect();
        let mut alternatives: Vec<Value> = TYPES
            .iter()
            .map(|row| {
                let mut schema = (row.shape)().value().clone();
                adopt(generator, &mut schema);
                schema["properties"]["type"] = json!({"const": row.name});
                schema["required"] = json!(["type"]);
                schema
            })
            .collect();
        alternatives.push(json!({
            "type": "object",
            "description": "A node of a type that the program registers.",
            "properties": {"type": {"type": "string", "not": {"enum": names}}, "config": {"description": "Whatever the node's type takes."}},
            "required": ["type"],
            "additionalProperties": false,
        }));
        alternatives.push(json!({
            "type": "object",
            "description": "Fields that are laid over those of the template's node of this name.",
            "not": {"required": ["type"]},
        }));
        json!({"anyOf": alternatives}).try_into().expect("an object is a schema")
    }
}

/// Moves a schema's own definitions into the generator's.
fn adopt(generator: &mut SchemaGenerator, schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for word in ["$schema", "title"] {
        object.remove(word);
    }
    if let Some(Value::Object(definitions)) = object.remove("$defs") {
        generator.definitions_mut().extend(definitions);
    }
    object.entry("properties").or_insert_with(|| json!({}));
}

/// One edge: `a.port -> b.port`, or the same with a condition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum EdgeDocument {
    /// `from -> to`, or `from.port -> to.port` where a node has several.
    Arrow(String),
    /// An arrow, and more about it.
    Conditional(EdgeFields),
}

/// An edge with more about it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeFields {
    /// `from -> to`, or `from.port -> to.port` where a node has several.
    edge: String,
    /// What must hold of an event for the edge to carry it.
    #[serde(default)]
    when: Option<WhenDocument>,
}

impl EdgeDocument {
    pub(crate) fn arrow(&self) -> &str {
        match self {
            EdgeDocument::Arrow(arrow) | EdgeDocument::Conditional(EdgeFields { edge: arrow, .. }) => arrow,
        }
    }

    pub(crate) fn when(&self) -> Option<&WhenDocument> {
        match self {
            EdgeDocument::Arrow(_) => None,
            EdgeDocument::Conditional(EdgeFields { when, .. }) => when.as_ref(),
        }
    }
}

/// A condition on an event's attribute; exactly one comparison.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhenDocument {
    /// The attribute's name.
    pub(crate) attribute: String,
    /// It has this value.
    #[serde(default)]
    pub(crate) equals: Option<Value>,
    /// It has another value, or none.
    #[serde(default)]
    pub(crate) differs: Option<Value>,
    /// It is a number, and at least this.
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
    /// It is a number, and below this.
    #[serde(default)]
    pub(crate) below: Option<f64>,
}
