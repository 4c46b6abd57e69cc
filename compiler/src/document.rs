//! A pipeline's spec as it is written.
//!
//! The schema of [`Document`] is what `specs/schemas` publishes. Nodes and edges are read one by one, so that a mistake
//! in one hides none in another.

use std::collections::BTreeMap;

use rspp_specs::buffer::{EdgeSync, SyncDrop, SyncGroup};
use rspp_specs::plan::{Comparison, ToolSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::buffer::BufferDocument;
use crate::finding::Collector;
use crate::nodes::TYPES;
use crate::policy::{AdmissionDocument, ProviderDocument, TurnDocument};
use crate::recording::{RecordingDocument, RedactionDocument};
use crate::shape::Shape;
use crate::tree::Tree;

/// The parts of a spec that a profile may lie under, and layers over.
pub(crate) const HEADS: [&str; 4] = ["turn", "admission", "recording", "redaction"];

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
    /// What is recorded.
    #[serde(default)]
    pub(crate) recording: Option<RecordingDocument>,
    /// What is done to each class of data before it is written down or shown: `{text_raw: mask}`, or `{text_raw:
    /// {timeline: mask, telemetry: drop, replay: mask}}`.
    #[serde(default)]
    pub(crate) redaction: Option<RedactionDocument>,
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
    /// Words for people and tools: a description, an owner, labels. They are in the plan, and change nothing that a
    /// session does (`F-082`). 16 KiB at most.
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
        // These are checked with all that is laid over them.
        let mut head = HEADS.iter().fold(tree.without("nodes").without("edges"), |head, name| head.without(name));
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

/// One edge: `a.port -> b.port`, or the same with more to say.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum EdgeDocument {
    /// `from -> to`, or `from.port -> to.port` where a node has several.
    Arrow(String),
    /// An arrow, and more about it.
    More(Box<EdgeFields>),
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
    /// What may wait before the node that it leads to, for nodes that do not take everything at once.
    #[serde(default)]
    buffer: Option<BufferDocument>,
    /// With which other edges to the same node it plays together.
    #[serde(default)]
    sync: Option<SyncDocument>,
    /// It carries in the place of the edge before it that ends at the same input, when that one fails.
    #[serde(default)]
    fallback: Option<FallbackDocument>,
}

/// What an edge says beside its arrow.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct EdgeRest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) when: Option<WhenDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) buffer: Option<BufferDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sync: Option<SyncDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallback: Option<FallbackDocument>,
}

impl EdgeDocument {
    /// The arrow, and what else is said.
    pub(crate) fn parts(self) -> (String, EdgeRest) {
        match self {
            EdgeDocument::Arrow(arrow) => (arrow, EdgeRest::default()),
            EdgeDocument::More(fields) => {
                let EdgeFields { edge, when, buffer, sync, fallback } = *fields;
                (edge, EdgeRest { when, buffer, sync, fallback })
            }
        }
    }
}

/// With what an edge plays together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncDocument {
    /// The group's name, which each of its edges has.
    #[schemars(length(min = 1, max = 64))]
    group: String,
    /// By whose clock they play.
    #[serde(default = "media")]
    #[schemars(length(min = 1, max = 64))]
    domain: String,
    /// What a loss in one of them does to the others.
    #[serde(default = "atomic")]
    on_drop: SyncDrop,
}

impl SyncDocument {
    /// The membership.
    pub(crate) fn sync(&self) -> EdgeSync {
        let group = SyncGroup { id: self.group.as_str().into(), domain: self.domain.as_str().into() };
        EdgeSync { group, on_drop: self.on_drop }
    }
}

fn media() -> String {
    "media".to_owned()
}

fn atomic() -> SyncDrop {
    SyncDrop::AtomicDrop
}

/// When an edge carries in the place of the one that ends at the same input.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FallbackDocument {
    /// So many milliseconds the one before it may take once this one has something; without it, only a failure counts.
    #[schemars(range(max = 3_600_000))]
    pub(crate) after_ms: Option<u64>,
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

impl WhenDocument {
    /// The comparisons that are given; it should be one.
    pub(crate) fn comparisons(&self) -> Vec<Comparison> {
        let mut comparisons = Vec::new();
        comparisons.extend(self.equals.clone().map(Comparison::Equals));
        comparisons.extend(self.differs.clone().map(Comparison::Differs));
        comparisons.extend(self.at_least.map(Comparison::AtLeast));
        comparisons.extend(self.below.map(Comparison::Below));
        comparisons
    }
}
