//! What is different between two pipelines, and which new version that needs; and the same of two schemas.

use std::collections::{BTreeMap, BTreeSet};

use rspp_specs::artifact::SchemaChange;
use rspp_specs::buffer::BufferSpec;
use rspp_specs::plan::{NodeKind, Plan, PlanEdge};
use rspp_specs::time::Micros;
use serde::Serialize;
use serde_json::Value;

/// Which part of a version a change moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bump {
    /// None: nothing that a session does is different.
    None,
    /// The same pipeline, tuned: times, bounds, words of a prompt.
    Patch,
    /// Somebody else does a part of the work, or something was added.
    Minor,
    /// Another graph, or tools that may do something else to the world.
    Major,
}

impl Bump {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Bump::None => "none",
            Bump::Patch => "patch",
            Bump::Minor => "minor",
            Bump::Major => "major",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is different: `nodes.vad.kind.vad.hangover`.
    pub path: String,
    /// What it needs.
    pub bump: Bump,
    /// In words.
    pub says: String,
}

/// What is different between two pipelines, in the order of paths. Order, spaces and comments are no differences.
pub fn difference(old: &Plan, new: &Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut change = |path: String, bump, says: String| changes.push(Change { path, bump, says });
    if old.name() != new.name() {
        change("name".to_owned(), Bump::Major, format!("{} became {}", old.name(), new.name()));
    }
    if old.profile() != new.profile() {
        change("profile".to_owned(), Bump::Minor, format!("{} became {}", old.profile(), new.profile()));
    }
    let nodes = |plan: &'_ Plan| -> BTreeMap<String, usize> {
        plan.nodes().iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect()
    };
    let (before, after) = (nodes(old), nodes(new));
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        change(format!("nodes.{name}"), Bump::Major, format!("the node {name} is gone"));
    }
    for (name, index) in &after {
        let node = &new.nodes()[*index];
        let Some(was) = before.get(name).map(|index| &old.nodes()[*index]) else {
            change(
                format!("nodes.{name}"),
                Bump::Minor,
                format!("the node {name} of type {} is new", node.kind.type_name()),
            );
            continue;
        };
        if was.kind.type_name() != node.kind.type_name() {
            let says = format!("{name} was of type {}, and is of type {}", was.kind.type_name(), node.kind.type_name());
            change(format!("nodes.{name}.type"), Bump::Major, says);
            continue;
        }
        let (a, b) = (value(&was.kind), value(&node.kind));
        leaves(&format!("nodes.{name}"), &a, &b, &mut |path, says| {
            change(path.clone(), bump_of(&was.kind, &path), says);
        });
        let (a, b) = (value(&was.provider), value(&node.provider));
        leaves(&format!("nodes.{name}.provider"), &a, &b, &mut |path, says| {
            let bump = if path.contains("fallback") { Bump::Minor } else { Bump::Patch };
            change(path, bump, says);
        });
    }
    let (before, after) = (edges(old), edges(new));
    before.difference(&after).for_each(|edge| change("edges".to_owned(), Bump::Major, format!("{edge} is gone")));
    after.difference(&before).for_each(|edge| change("edges".to_owned(), Bump::Minor, format!("{edge} is new")));
    edge_changes(old, new, &mut change);
    for (head, a, b) in [
        ("turn", value(old.turn_policy()), value(new.turn_policy())),
        ("admission", value(old.admission()), value(new.admission())),
        ("recording", value(old.recording()), value(new.recording())),
    ] {
        leaves(head, &a, &b, &mut |path, says| {
            let minor = ["interruption", "then", "level"].iter().any(|end| path.ends_with(end))
                || path.starts_with("recording.redaction");
            let bump = if minor { Bump::Minor } else { Bump::Patch };
            change(path, bump, says);
        });
    }
    changes.sort_by(|a, b| (&a.path, &a.says).cmp(&(&b.path, &b.says)));
    changes
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).expect("a plan holds only values that JSON has")
}

fn bump_of(kind: &NodeKind, path: &str) -> Bump {
    if path.contains(".tools") {
        return Bump::Major;
    }
    let by_whom = path.ends_with(".binding") || path.ends_with(".detector");
    let chooses = matches!(kind, NodeKind::Merge { .. } | NodeKind::Join { .. } | NodeKind::Select { .. });
    if by_whom || chooses || matches!(kind, NodeKind::Custom { .. }) { Bump::Minor } else { Bump::Patch }
}

/// What edges that both have say differently: what may wait, and what plays together.
fn edge_changes(old: &Plan, new: &Plan, change: &mut impl FnMut(String, Bump, String)) {
    let before: BTreeMap<String, &PlanEdge> = old.edges().iter().map(|edge| (shown(old, edge), edge)).collect();
    for edge in new.edges() {
        let name = shown(new, edge);
        let Some(was) = before.get(&name) else { continue };
        let said = |edge: &PlanEdge| {
            // Who said a bound changes nothing.
            let buffer = edge.buffer.as_deref().map(|spec| BufferSpec { defaulted: Vec::new(), ..spec.clone() });
            serde_json::json!({"buffer": buffer, "sync": edge.sync})
        };
        leaves(&format!("edges: {name}"), &said(was), &said(edge), &mut |path, says| {
            let bounds = ["max_", "_percent"].iter().any(|part| path.contains(part));
            change(path, if bounds { Bump::Patch } else { Bump::Minor }, says);
        });
    }
}

fn edges(plan: &Plan) -> BTreeSet<String> {
    plan.edges().iter().map(|edge| shown(plan, edge)).collect()
}

fn shown(plan: &Plan, edge: &PlanEdge) -> String {
    let (from, to) = (plan.node(edge.from), plan.node(edge.to));
    let out = &from.outputs[usize::from(edge.from_port.0)].name;
    let into = &to.inputs[usize::from(edge.to_port.0)].name;
    let when = edge.when.as_ref().map_or_else(String::new, |when| format!(" when {}", value(when)));
    format!("{}.{out} -> {}.{into}{when}", from.name, to.name)
}

/// The fields of a plan that are times: people think of them in milliseconds.
const TIMES: [&str; 20] = [
    "after",
    "cancel",
    "commit_point",
    "first_result",
    "hangover",
    "hold",
    "late_words",
    "limit",
    "lookahead",
    "max_block",
    "max_latency",
    "max_queue",
    "max_queued",
    "max_wait",
    "min_rejected_speech",
    "pause",
    "preroll",
    "reconnect",
    "stall",
    "sustained",
];

/// The leaves that differ.
fn leaves(path: &str, old: &Value, new: &Value, tell: &mut dyn FnMut(String, String)) {
    if old == new {
        return;
    }
    if let (Value::Object(a), Value::Object(b)) = (old, new) {
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in names {
            let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
            leaves(&format!("{path}.{name}"), &of(a), &of(b), tell);
        }
        return;
    }
    let is_time = path.rsplit('.').next().is_some_and(|field| TIMES.contains(&field));
    let shown = |value: &Value| match (value, value.as_u64()) {
        (Value::Null, _) => "nothing".to_owned(),
        (_, Some(time)) if is_time => format!("{} ms", Micros(time)),
        (value, _) => value.to_string().chars().take(60).collect(),
    };
    tell(path.to_owned(), format!("{} became {}", shown(old), shown(new)));
}

/// What is different between two JSON Schemas, each with its path: the rules of schema evolution are judged by it
/// (`F-028`).
pub fn schema_changes(old: &Value, new: &Value) -> Vec<(String, SchemaChange)> {
    let mut changes = Changes { found: Vec::new(), new };
    compare("", old, new, &mut changes);
    changes.found.sort();
    changes.found
}

struct Changes<'s> {
    found: Vec<(String, SchemaChange)>,
    /// The whole of the new schema, in which its names are looked up.
    new: &'s Value,
}

impl Changes<'_> {
    fn push(&mut self, change: (String, SchemaChange)) {
        self.found.push(change);
    }

    fn extend(&mut self, changes: impl Iterator<Item = (String, SchemaChange)>) {
        self.found.extend(changes);
    }

    /// Whether what was one type is now an alternative among others.
    fn is_widened(&self, old: &Value, new: &Value) -> bool {
        let name = new.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
        let resolved = name.and_then(|name| self.new.get("$defs")?.get(name)).unwrap_or(new);
        let branches = resolved.get("anyOf").and_then(Value::as_array);
        old.get("$ref").is_some() && branches.into_iter().flatten().any(|branch| branch.get("$ref") == old.get("$ref"))
    }
}

fn compare(path: &str, old: &Value, new: &Value, changes: &mut Changes<'_>) {
    if old.get("type") != new.get("type") || old.get("$ref") != new.get("$ref") {
        let is_widened = changes.is_widened(old, new);
        changes.push((path.to_owned(), if is_widened { SchemaChange::AddWord } else { SchemaChange::ChangeType }));
    }
    let (before, after) = (words(old, "enum"), words(new, "enum"));
    if !before.is_empty() {
        changes.extend(before.difference(&after).map(|_| (path.to_owned(), SchemaChange::RemoveWord)));
        changes.extend(after.difference(&before).map(|_| (path.to_owned(), SchemaChange::AddWord)));
    }
    compare_bounds(path, old, new, changes);
    compare_fields(path, old, new, changes);
    if let (Some(a), Some(b)) = (old.get("items"), new.get("items")) {
        compare(&format!("{path}[]"), a, b, changes);
    }
    // What a map's values may be; a list of fields that was open and is closed takes less.
    match (old.get("additionalProperties"), new.get("additionalProperties")) {
        (Some(a @ Value::Object(_)), Some(b @ Value::Object(_))) => compare(&format!("{path}.*"), a, b, changes),
        (a, b) if a != b && b == Some(&Value::Bool(false)) => {
            changes.push((format!("{path}.*"), SchemaChange::RemoveField));
        }
        _ => {}
    }
    compare_alternatives(path, old, new, changes);
}

/// The entries of a list, as JSON.
fn words(schema: &Value, key: &str) -> BTreeSet<String> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten().map(Value::to_string).collect()
}

fn compare_bounds(path: &str, old: &Value, new: &Value, changes: &mut Changes<'_>) {
    let lower = [("minimum", true), ("minLength", true), ("minItems", true)];
    let upper = [("maximum", false), ("maxLength", false), ("maxItems", false)];
    for (key, is_lower) in lower.into_iter().chain(upper) {
        let widest = if is_lower { f64::NEG_INFINITY } else { f64::INFINITY };
        let bound = |schema: &Value| schema.get(key).and_then(Value::as_f64).unwrap_or(widest);
        let (a, b) = (bound(old), bound(new));
        if a != b {
            let narrower = if is_lower { b > a } else { b < a };
            let change = if narrower { SchemaChange::NarrowBounds } else { SchemaChange::WidenBounds };
            changes.push((format!("{path}.{key}"), change));
        }
    }
}

fn compare_fields(path: &str, old: &Value, new: &Value, changes: &mut Changes<'_>) {
    let (needed_before, needed) = (words(old, "required"), words(new, "required"));
    let quoted = |name: &str| Value::from(name).to_string();
    for map in ["properties", "$defs"] {
        let names = |schema: &Value| schema.get(map).and_then(Value::as_object).cloned().unwrap_or_default();
        let (a, b) = (names(old), names(new));
        for (name, before) in &a {
            let path = format!("{path}.{name}");
            match b.get(name) {
                Some(after) => compare(&path, before, after, changes),
                None => changes.push((path.clone(), SchemaChange::RemoveField)),
            }
            if map == "properties" && needed.contains(&quoted(name)) && !needed_before.contains(&quoted(name)) {
                changes.push((path, SchemaChange::AddRequiredField));
            }
        }
        for name in b.keys().filter(|name| !a.contains_key(*name)) {
            let is_needed = map == "properties" && needed.contains(&quoted(name));
            let change = if is_needed { SchemaChange::AddRequiredField } else { SchemaChange::AddOptionalField };
            changes.push((format!("{path}.{name}"), change));
        }
    }
}

fn compare_alternatives(path: &str, old: &Value, new: &Value, changes: &mut Changes<'_>) {
    for key in ["oneOf", "anyOf"] {
        let list = |schema: &Value| schema.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (a, b) = (list(old), list(new));
        for before in a.iter().filter(|branch| !b.contains(branch)) {
            // The alternative of the same name or tag is the same alternative, changed.
            match b.iter().find(|after| tag(after) == tag(before) && !tag(before).is_null()) {
                Some(after) => compare(&format!("{path}.{}", tag(before)), before, after, changes),
                None => changes.push((path.to_owned(), SchemaChange::RemoveWord)),
            }
        }
        let fresh = b.iter().filter(|branch| !a.iter().any(|before| tag(before) == tag(branch) || before == *branch));
        changes.extend(fresh.map(|_| (path.to_owned(), SchemaChange::AddWord)));
    }
}

/// What an alternative is known by.
fn tag(branch: &Value) -> Value {
    let typed = branch.get("properties").and_then(|properties| properties.get("type")?.get("const")).cloned();
    typed.or_else(|| branch.get("const").cloned()).or_else(|| branch.get("type").cloned()).unwrap_or_default()
}
