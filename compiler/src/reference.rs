//! The reference of every document, from its type: JSON Schema for editors, Markdown for people (`F-129`).

use std::fmt::Write;

use rspp_specs::artifact::{
    CompatibilityPolicy, ConfigLayer, ExecutionProfile, ExtensionManifest, PipelineBundle, PipelineModule,
    PolicyOverlay, ReplayManifest, RolloutManifest,
};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::artifacts::KINDS;
use crate::document::Document;
use crate::layers::PROFILES;
use crate::nodes::TYPES;
use crate::shape::Shape;

/// The JSON Schema of a kind of document.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The kind: `PipelineSpec`.
    pub kind: &'static str,
    /// The file's name in `specs/schemas`.
    pub file: String,
    /// The schema.
    pub schema: Value,
}

/// The schemas of all kinds.
pub fn schemas() -> Vec<Schema> {
    KINDS
        .into_iter()
        .map(|kind| Schema { kind, file: format!("{}.schema.json", kebab(kind)), schema: schema(kind) })
        .collect()
}

fn schema(kind: &str) -> Value {
    fn of<T: JsonSchema>() -> Value {
        Shape::of::<T>("").value().clone()
    }
    match kind {
        "PipelineSpec" => of::<Document>(),
        "ExecutionProfile" => of::<ExecutionProfile>(),
        "PipelineModule" => of::<PipelineModule>(),
        "ConfigLayer" => of::<ConfigLayer>(),
        "PolicyOverlay" => of::<PolicyOverlay>(),
        "PipelineBundle" => of::<PipelineBundle>(),
        "RolloutManifest" => of::<RolloutManifest>(),
        "ExtensionManifest" => of::<ExtensionManifest>(),
        "ReplayManifest" => of::<ReplayManifest>(),
        _ => of::<CompatibilityPolicy>(),
    }
}

fn kebab(kind: &str) -> String {
    let mut name = String::new();
    for c in kind.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

/// The reference as a page.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Reference\n\nEvery kind of document and every field, written from the types by `rspp docs`. [spec.md](spec.md) \
         explains; this page lists.\n",
    );
    for Schema { kind, file, schema } in schemas() {
        let _ = write!(text, "\n## {kind}\n\n{}\n\nSchema: [{file}](../specs/schemas/{file}).\n", description(&schema));
        object(&mut text, &schema);
        if kind == "PipelineSpec" {
            nodes(&mut text);
        }
        for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            if name.ends_with("Kind") || name == "Node" {
                continue;
            }
            let _ =
                write!(text, "\n### {kind}: {}\n\n{}\n", name.trim_end_matches("Document"), description(definition));
            object(&mut text, definition);
            words(&mut text, definition);
        }
    }
    let _ = write!(text, "\n## Profiles\n\n");
    for (name, _) in PROFILES {
        let file = name.replace('/', "-");
        let _ = writeln!(text, "- `{name}`: [{file}.yaml](../specs/profiles/{file}.yaml)");
    }
    text
}

fn nodes(text: &mut String) {
    for row in &TYPES {
        let shape = (row.shape)();
        let ports = |ports: &[(&str, rspp_specs::event::PortType)]| {
            let ports: Vec<String> = ports.iter().map(|(name, of)| format!("`{name}` ({})", of.name())).collect();
            if ports.is_empty() { "none".to_owned() } else { ports.join(", ") }
        };
        let _ = write!(text, "\n### Node type `{}`\n\n{}\n\n", row.name, description(shape.value()));
        let inputs = if row.grows.is_some() { "one for each edge".to_owned() } else { ports(row.inputs) };
        let more = if row.more.is_empty() {
            String::new()
        } else {
            format!("; where an edge begins at it: {}", ports(row.more))
        };
        let _ = writeln!(text, "In: {inputs}. Out: {}{more}.", ports(row.outputs));
        object(text, shape.value());
    }
}

fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The fields of an object as a table.
fn object(text: &mut String, schema: &Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|map| !map.is_empty()) else {
        return;
    };
    let _ = write!(text, "\n| field | value | meaning |\n| --- | --- | --- |\n");
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in properties {
        let star = if required.contains(&name.as_str()) { ", has to be given" } else { "" };
        let default = field
            .get("default")
            .filter(|value| !value.is_null() && **value != Value::Array(Vec::new()) && !value.is_object());
        let default = default.map_or_else(String::new, |value| format!(" Default: `{value}`."));
        let says = description(field);
        let _ = writeln!(text, "| `{name}` | {}{star} | {says}{default} |", kind_of(field));
    }
}

fn words(text: &mut String, schema: &Value) {
    let branches = schema.get("oneOf").and_then(Value::as_array);
    for branch in branches.into_iter().flatten() {
        if let Some(word) = branch.get("const").and_then(Value::as_str) {
            let _ = write!(text, "\n- `{word}`: {}", description(branch));
        }
    }
    if branches.is_some() {
        text.push('\n');
    }
}

fn kind_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.rsplit('/').next()) {
        return name.trim_end_matches("Document").to_owned();
    }
    if let Some(branches) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)?.as_array()) {
        let kinds: Vec<String> = branches.iter().map(kind_of).filter(|kind| kind != "null").collect();
        return kinds.join(" or ");
    }
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        _ => return "anything".to_owned(),
    };
    match types.first().copied().unwrap_or("null") {
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => format!("whole number{}", bounds(schema)),
        "number" => format!("number{}", bounds(schema)),
        "array" => {
            format!("list of {}", schema.get("items").map_or("anything".to_owned(), kind_of))
        }
        "object" => match schema.get("additionalProperties").and_then(Value::as_object) {
            Some(of) => format!("map to {}", kind_of(&Value::Object(Map::clone(of)))),
            None => "map".to_owned(),
        },
        other => other.to_owned(),
    }
}

fn bounds(schema: &Value) -> String {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (None, Some(most)) => format!(", at most {most}"),
        _ => String::new(),
    }
}
