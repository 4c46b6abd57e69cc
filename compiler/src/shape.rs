//! Whether a tree has the shape of a type: its fields, their types, words and bounds.
//!
//! The shape is the type's JSON Schema, the same that `specs/schemas` publishes and that editors check by, so that
//! an editor and `rspp lint` agree. All that is wrong is told at once, and what is right is read.

use rspp_specs::limits::MAX_SPEC_DEPTH;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::finding::{Collector, did_you_mean, meant};
use crate::tree::{Content, Tree};

/// A type's schema.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    root: Value,
    /// What a finding of an unknown field says whose field it is not: `a node of type vad`.
    what: String,
    /// The code of an unknown field of the outermost object.
    unknown: &'static str,
    /// Whether the outermost object is read also without what it has to have.
    lenient: bool,
}

impl Shape {
    /// The shape of a document's type.
    pub(crate) fn of<T: JsonSchema>(what: &str) -> Self {
        Self::with_unknown::<T>(what, "RSPP0040")
    }

    /// The same, with a code for unknown fields.
    pub(crate) fn with_unknown<T: JsonSchema>(what: &str, unknown: &'static str) -> Self {
        Self { root: schemars::schema_for!(T).to_value(), what: what.to_owned(), unknown, lenient: false }
    }

    /// The same, of which the rest is read also where something is missing.
    pub(crate) fn lenient(self) -> Self {
        Self { lenient: true, ..self }
    }

    /// The schema.
    pub(crate) fn value(&self) -> &Value {
        &self.root
    }

    /// The same for another who owns the fields.
    pub(crate) fn called(self, what: &str) -> Self {
        Self { what: what.to_owned(), ..self }
    }

    /// What of a tree has this shape, as a value; `None` if something that has to be there is not.
    pub(crate) fn check(&self, findings: &mut Collector<'_>, path: &str, tree: &Tree) -> Option<Value> {
        let mut reading = Reading { shape: self, findings, depth: 0 };
        reading.read(&self.root, path, tree)
    }

    /// The type's value if the tree has its shape; what is wrong was told before.
    pub(crate) fn read_silently<T: DeserializeOwned>(&self, tree: &Tree) -> Option<T> {
        self.read(&mut Collector::new(&mut crate::sources::Sources::default()), "", tree)
    }

    /// The type's value, if all that has to be there is there. Wrong fields that may be left out are left out.
    pub(crate) fn read<T: DeserializeOwned>(&self, findings: &mut Collector<'_>, path: &str, tree: &Tree) -> Option<T> {
        let value = self.check(findings, path, tree)?;
        match serde_json::from_value(value) {
            Ok(document) => Some(document),
            Err(error) => {
                let hint = "this is what its type says, and its schema does not";
                findings.report_at("RSPP0044", tree.place, path, error.to_string(), hint);
                None
            }
        }
    }
}

struct Reading<'r, 'a> {
    shape: &'r Shape,
    findings: &'r mut Collector<'a>,
    depth: usize,
}

impl Reading<'_, '_> {
    fn read(&mut self, schema: &Value, path: &str, tree: &Tree) -> Option<Value> {
        let Some(schema) = self.resolve(schema).as_object().cloned() else { return Some(tree.value()) };
        if self.depth > MAX_SPEC_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = self.read_object(&schema, path, tree);
        self.depth -= 1;
        value
    }

    fn read_object(&mut self, schema: &Map<String, Value>, path: &str, tree: &Tree) -> Option<Value> {
        if let Some(words) = words(schema) {
            return self.word(&words, path, tree);
        }
        let branches = ["oneOf", "anyOf"].iter().find_map(|key| schema.get(*key)?.as_array());
        if let Some(branches) = branches.filter(|_| !schema.contains_key("properties")) {
            return self.branch(branches, path, tree);
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => return Some(tree.value()),
        };
        if tree.is_null() && types.contains(&"null") {
            return Some(Value::Null);
        }
        let wanted = types.iter().copied().find(|name| *name != "null").unwrap_or("null");
        match (wanted, &tree.content) {
            ("object", Content::Map(_)) => self.map(schema, path, tree),
            ("array", Content::List(_)) => self.list(schema, path, tree),
            ("string", Content::Scalar { text, means }) if !means.is_null() => self.string(schema, path, tree, text),
            ("boolean", Content::Scalar { means: Value::Bool(_), .. }) => Some(tree.value()),
            ("integer" | "number", Content::Scalar { means: Value::Number(_), .. }) => {
                self.number(schema, wanted, path, tree)
            }
            _ => self.wrong(path, tree, wanted),
        }
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
        name.and_then(|name| self.shape.root.get("$defs")?.get(name)).unwrap_or(schema)
    }

    fn wrong(&mut self, path: &str, tree: &Tree, wanted: &str) -> Option<Value> {
        let given = match &tree.content {
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a map".to_owned(),
            Content::Scalar { means: Value::Null, .. } => "empty".to_owned(),
            Content::Scalar { means: Value::String(_), .. } => "text".to_owned(),
            Content::Scalar { text, .. } => text.clone(),
        };
        let wanted = match wanted {
            "object" => "a map, `{name: value}`",
            "array" => "a list, `[value, value]`",
            "string" => "text",
            "boolean" => "`true` or `false`",
            "integer" => "a whole number",
            "number" => "a number",
            other => other,
        };
        let name = name_of(path);
        self.findings.report_at(
            "RSPP0045",
            tree.place,
            path,
            format!("{name} is {given}"),
            format!("it has to be {wanted}"),
        );
        None
    }

    fn word(&mut self, words: &[String], path: &str, tree: &Tree) -> Option<Value> {
        let Some(text) = tree.as_text() else { return self.wrong(path, tree, "string") };
        if words.iter().any(|word| word == text) {
            return Some(Value::String(text.to_owned()));
        }
        let hint = meant(text, words.iter().map(String::as_str), "it has to be one of");
        let message = format!("{} can't be `{}`", name_of(path), shortened(text));
        self.findings.report_at("RSPP0046", tree.place, path, message, hint);
        None
    }

    /// The branch of an alternative that is meant: by the field that tells them apart, else by the kind of value.
    fn branch(&mut self, branches: &[Value], path: &str, tree: &Tree) -> Option<Value> {
        if tree.is_null() && branches.iter().any(|branch| branch.get("type").and_then(Value::as_str) == Some("null")) {
            return Some(Value::Null);
        }
        let resolved: Vec<Value> = branches.iter().map(|branch| self.resolve(branch).clone()).collect();
        let kind = |branch: &Value| {
            let is_word = branch.as_object().is_some_and(|schema| words(schema).is_some());
            if is_word { Some("string") } else { None }
        };
        let shaped = |branch: &&Value| match (
            kind(branch).or_else(|| branch.get("type").and_then(Value::as_str)),
            &tree.content,
        ) {
            (Some("object"), Content::Map(_)) | (Some("array"), Content::List(_)) => true,
            (Some("string" | "integer" | "number" | "boolean"), Content::Scalar { .. }) => true,
            (None, _) => branch.get("$ref").is_none() && branch.get("type").is_none(),
            _ => false,
        };
        let candidates: Vec<&Value> = resolved.iter().filter(shaped).collect();
        if let [only] = candidates.as_slice() {
            return self.read(only, path, tree);
        }
        if candidates.is_empty() {
            let wanted = resolved.iter().filter_map(|branch| branch.get("type")?.as_str()).find(|name| *name != "null");
            return self.wrong(path, tree, wanted.unwrap_or("value").to_owned().as_str());
        }
        if let Some((tag, tags)) = tag_of(&candidates) {
            let Some(given) = tree.get(tag) else { return self.missing(path, tree, tag, &Map::new()) };
            let text = given.as_text().unwrap_or_default();
            if let Some(at) = tags.iter().position(|known| known == text) {
                return self.read(candidates[at], path, tree);
            }
            return self.word(&tags, &format!("{path}.{tag}"), given);
        }
        // By the fields that only one of them has.
        let fits = |branch: &&&Value| {
            let required =
                branch.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            required.clone().count() > 0 && required.into_iter().all(|name| tree.get(name).is_some())
        };
        let chosen = candidates.iter().find(fits).or(candidates.first()).copied().cloned()?;
        self.read(&chosen, path, tree)
    }

    fn missing(&mut self, path: &str, tree: &Tree, name: &str, properties: &Map<String, Value>) -> Option<Value> {
        let known: Vec<&str> =
            tree.fields().iter().map(|field| field.key.as_str()).filter(|key| !properties.contains_key(*key)).collect();
        // What is misspelt is told as unknown already, with what it is meant to be.
        if did_you_mean(name, known.into_iter()).is_none() {
            let message = format!("the field {name} is missing");
            let path = join(path, name);
            let words = properties.get(name).and_then(|field| words(self.resolve(field).as_object()?));
            let hint = match words.as_deref() {
                Some([word]) => format!("add `{name}: {word}`"),
                Some(words) => format!("add `{name}: ...`: one of {}", words.join(", ")),
                None => format!("add `{name}: ...`"),
            };
            self.findings.report_at("RSPP0047", tree.place, path, message, hint);
        }
        None
    }

    fn map(&mut self, schema: &Map<String, Value>, path: &str, tree: &Tree) -> Option<Value> {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let others = schema.get("additionalProperties");
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut read = Map::new();
        let mut whole = true;
        for field in tree.fields() {
            let path = join(path, &field.key);
            let value = match (properties.get(&field.key), others) {
                (Some(schema), _) => self.read(schema, &path, &field.value),
                (None, Some(Value::Bool(false))) => {
                    let code = if self.depth == 1 { self.shape.unknown } else { "RSPP0040" };
                    let whose =
                        if self.depth == 1 { self.shape.what.clone() } else { name_of(parent(&path)).to_owned() };
                    let message = format!("{whose} has no field {}", shortened(&field.key));
                    let hint = if properties.is_empty() {
                        "it has none".to_owned()
                    } else {
                        meant(&field.key, properties.keys().map(String::as_str), "it has")
                    };
                    self.findings.report_at(code, field.key_place, path, message, hint);
                    continue;
                }
                (None, Some(schema @ Value::Object(_))) => self.read(schema, &path, &field.value),
                (None, _) => Some(field.value.value()),
            };
            match value {
                Some(value) => drop(read.insert(field.key.clone(), value)),
                None => whole &= !required.contains(&field.key.as_str()),
            }
        }
        for name in required.iter().filter(|name| tree.get(name).is_none()) {
            self.missing(path, tree, name, properties);
            whole = false;
        }
        let lenient = self.depth == 1 && self.shape.lenient;
        (whole || lenient).then_some(Value::Object(read))
    }

    fn list(&mut self, schema: &Map<String, Value>, path: &str, tree: &Tree) -> Option<Value> {
        let bound = |key| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(usize::MAX));
        let items = tree.items();
        if items.len() < least || items.len() > most {
            let hint = if items.len() < least { format!("at least {least}") } else { format!("at most {most}") };
            let message = format!("{} has {} entries", name_of(path), items.len());
            self.findings.report_at("RSPP0021", tree.place, path, message, hint);
            return None;
        }
        let Some(of) = schema.get("items") else { return Some(tree.value()) };
        let read: Vec<Option<Value>> =
            items.iter().enumerate().map(|(index, item)| self.read(of, &format!("{path}[{index}]"), item)).collect();
        read.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
    }

    fn string(&mut self, schema: &Map<String, Value>, path: &str, tree: &Tree, text: &str) -> Option<Value> {
        let bound = |key| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(usize::MAX));
        let length = text.chars().count();
        if length >= least && length <= most {
            return Some(Value::String(text.to_owned()));
        }
        let message = format!("{} has {length} characters", name_of(path));
        let hint = if length < least { format!("at least {least}") } else { format!("at most {most}") };
        self.findings.report_at("RSPP0021", tree.place, path, message, hint);
        None
    }

    fn number(&mut self, schema: &Map<String, Value>, wanted: &str, path: &str, tree: &Tree) -> Option<Value> {
        let value = tree.value();
        if wanted == "integer" && !value.is_u64() && !value.is_i64() {
            return self.wrong(path, tree, wanted);
        }
        let bound = |key| schema.get(key).and_then(Value::as_f64);
        let most = bound("maximum").or_else(|| match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => Some(f64::from(u8::MAX)),
            Some("uint16") => Some(f64::from(u16::MAX)),
            Some("uint32") => Some(f64::from(u32::MAX)),
            _ => None,
        });
        let (least, number) = (bound("minimum"), value.as_f64().unwrap_or(f64::NAN));
        if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
            return Some(value);
        }
        let hint = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("at least {least}"),
            (_, most) => format!("at most {}", most.unwrap_or(f64::INFINITY)),
        };
        let message = format!("{} is {}", name_of(path), shortened(tree.as_text().unwrap_or_default()));
        self.findings.report_at("RSPP0021", tree.place, path, message, hint);
        None
    }
}

/// The words of an enumeration: `enum`, or alternatives of which each is one word.
fn words(schema: &Map<String, Value>) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(text).collect();
    }
    if let Some(word) = schema.get("const") {
        return text(word).map(|word| vec![word]);
    }
    let branches = schema.get("oneOf").and_then(Value::as_array)?;
    let each: Option<Vec<Vec<String>>> = branches
        .iter()
        .map(|branch| branch.as_object().filter(|branch| !branch.contains_key("oneOf")).and_then(words))
        .collect();
    each.map(|each| each.concat()).filter(|words| !words.is_empty())
}

/// The field whose word tells alternatives apart, and the word of each.
fn tag_of<'s>(branches: &[&'s Value]) -> Option<(&'s str, Vec<String>)> {
    let properties = branches.first()?.get("properties")?.as_object()?;
    properties.keys().find_map(|name| {
        let word = |branch: &&Value| branch.get("properties")?.get(name)?.get("const")?.as_str().map(str::to_owned);
        let tags: Option<Vec<String>> = branches.iter().map(word).collect();
        Some((name.as_str(), tags?))
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

fn name_of(path: &str) -> &str {
    path.rsplit('.').next().filter(|name| !name.is_empty()).unwrap_or("the document")
}

/// What was written may be anything.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > 40 {
        short.push_str("...");
    }
    short
}
