//! A document as a tree in which every value knows its place: YAML, and JSON, which is YAML, too.
//!
//! Everything that can be wrong with a document is found on this tree, so a mistake in one field hides none in
//! another. Reading is bounded: in bytes, in depth, and in what aliases may grow to.

use std::collections::BTreeMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};
use rspp_specs::limits::{MAX_SPEC_BYTES, MAX_SPEC_DEPTH, MAX_SPEC_VALUES};
use serde_json::Value;

use crate::finding::{Collector, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Its text, and what the text means: `7` is a number, `"7"` is text.
    Scalar {
        text: String,
        means: Value,
    },
    List(Vec<Tree>),
    Map(Vec<Field>),
}

/// One field of a map.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Tree,
}

impl Tree {
    /// An empty map.
    pub(crate) fn map(place: Place) -> Self {
        Self { place, content: Content::Map(Vec::new()) }
    }

    /// Text that stands in no document.
    pub(crate) fn text(place: Place, text: &str) -> Self {
        let means = Value::String(text.to_owned());
        Self { place, content: Content::Scalar { text: text.to_owned(), means } }
    }

    /// A number that stands in no document.
    pub(crate) fn number(place: Place, value: u64) -> Self {
        Self { place, content: Content::Scalar { text: value.to_string(), means: value.into() } }
    }

    pub(crate) fn fields(&self) -> &[Field] {
        if let Content::Map(fields) = &self.content { fields } else { &[] }
    }

    pub(crate) fn items(&self) -> &[Tree] {
        if let Content::List(items) = &self.content { items } else { &[] }
    }

    pub(crate) fn field(&self, key: &str) -> Option<&Field> {
        self.fields().iter().find(|field| field.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        self.field(key).map(|field| &field.value)
    }

    /// The text of a scalar.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Content::Scalar { text, means } = &self.content { (!means.is_null()).then_some(text) } else { None }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { means: Value::Null, .. })
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// The same without a field.
    pub(crate) fn without(&self, key: &str) -> Self {
        let fields = self.fields().iter().filter(|field| field.key != key).cloned().collect();
        Self { place: self.place, content: Content::Map(fields) }
    }

    /// Sets a field of a map; what is no map becomes one.
    pub(crate) fn set(&mut self, key: &str, key_place: Place, value: Tree) {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(fields) = &mut self.content else { return };
        match fields.iter_mut().find(|field| field.key == key) {
            Some(field) => (field.key_place, field.value) = (key_place, value),
            None => fields.push(Field { key: key.to_owned(), key_place, value }),
        }
    }

    /// The field of a map, which is made if it is not there.
    pub(crate) fn entry(&mut self, key: &str, place: Place) -> &mut Tree {
        if self.field(key).is_none() {
            self.set(key, place, Tree::map(place));
        }
        let Content::Map(fields) = &mut self.content else { unreachable!("`set` made it a map") };
        let field = fields.iter_mut().find(|field| field.key == key);
        &mut field.expect("it is there, or was set just now").value
    }

    /// Lays another document over this one: maps are merged field by field, everything else is replaced.
    pub(crate) fn lay_over(&mut self, over: &Tree) {
        match (&mut self.content, &over.content) {
            (Content::Map(_), Content::Map(fields)) => {
                for field in fields {
                    match self.field(&field.key) {
                        Some(_) => self.entry(&field.key, field.key_place).lay_over(&field.value),
                        None => self.set(&field.key, field.key_place, field.value.clone()),
                    }
                }
            }
            _ => *self = over.clone(),
        }
    }

    /// The value without its places.
    pub(crate) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar { means, .. } => means.clone(),
            Content::List(items) => items.iter().map(Tree::value).collect(),
            Content::Map(fields) => fields
                .iter()
                .map(|field| (field.key.clone(), field.value.value()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }

    /// The place of a path such as `nodes.vad.hangover_ms` or `edges[2].when`: of its key where it has one.
    pub(crate) fn locate(&self, path: &str) -> Option<Place> {
        let (mut here, mut place) = (self, None);
        for step in path.split(['.', '[']) {
            let index = step.strip_suffix(']').and_then(|index| index.parse::<usize>().ok());
            if let Some(index) = index {
                here = here.items().get(index)?;
                place = Some(here.place);
            } else {
                let field = here.field(step)?;
                here = &field.value;
                place = Some(if matches!(here.content, Content::Scalar { .. }) { here.place } else { field.key_place });
            }
        }
        place
    }

    /// Every scalar with its place.
    pub(crate) fn scalars<'t>(&'t self, visit: &mut dyn FnMut(&'t str, Place)) {
        match &self.content {
            Content::Scalar { text, .. } => visit(text, self.place),
            Content::List(items) => items.iter().for_each(|item| item.scalars(visit)),
            Content::Map(fields) => fields.iter().for_each(|field| field.value.scalars(visit)),
        }
    }

    /// How many values it has, and how many bytes of text.
    fn size(&self) -> (usize, usize) {
        let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
        match &self.content {
            Content::Scalar { text, .. } => (1, text.len()),
            Content::List(items) => items.iter().map(Tree::size).fold((1, 0), add),
            Content::Map(fields) => {
                fields.iter().map(|field| add((1, field.key.len()), field.value.size())).fold((1, 0), add)
            }
        }
    }
}

/// What the parser says, in our words where its own are about itself.
fn unreadable(place: Place, kind: String) -> Unreadable {
    if kind.contains("recursion limit") {
        return too_deep(place);
    }
    Unreadable { place, message: kind, hint: "it has to be YAML or JSON; look at the indentation, brackets and quotes" }
}

fn too_deep(place: Place) -> Unreadable {
    let message = format!("the document is nested more than {MAX_SPEC_DEPTH} deep");
    Unreadable { place, message, hint: "no field of ours is that deep" }
}

/// Why a document can't be read any further.
struct Unreadable {
    place: Place,
    message: String,
    hint: &'static str,
}

/// Reads a document. `None` if it can't be read; what is wrong is told either way.
pub(crate) fn read(findings: &mut Collector<'_>, file: u16) -> Option<Tree> {
    let (text, too_large) = (findings.text(file).to_owned(), findings.sources().is_too_large(file));
    let whole = Place { file, ..Place::default() };
    let mut fail = |place: Place, message: &str, hint: &str| {
        findings.report("RSPP0001", place, "", message, hint);
        None
    };
    if too_large {
        return fail(whole, &format!("the document is larger than {MAX_SPEC_BYTES} bytes"), "is it the right file?");
    }
    if text.trim().is_empty() {
        return fail(whole, "the spec is empty", "begin with a template: `rspp new voice-assistant NAME`");
    }
    let mut reader = Reader { findings, file, open: Vec::new(), anchors: BTreeMap::new(), root: None, grown: (0, 0) };
    let options = granit_parser::options! { emit_comments: false };
    for next in Parser::new_from_str_with_options(&text, options) {
        let read = match next {
            Ok((event, span)) => reader.take(event, &span),
            Err(error) => {
                let (kind, place) = (error.kind().to_string(), place_of(file, error.marker(), error.marker()));
                Err(unreadable(place, kind))
            }
        };
        if let Err(Unreadable { place, message, hint }) = read {
            reader.findings.report("RSPP0001", place, "", message, hint);
            return None;
        }
    }
    let root = reader.root.take();
    if root.is_none() {
        findings.report(
            "RSPP0001",
            whole,
            "",
            "the spec is empty",
            "begin with a template: `rspp new voice-assistant NAME`",
        );
    }
    root
}

/// A collection that is being read.
struct Open {
    tree: Tree,
    anchor: usize,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
}

struct Reader<'r, 'a> {
    findings: &'r mut Collector<'a>,
    file: u16,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Tree>,
    root: Option<Tree>,
    /// Values and bytes so far, with those that aliases stand for.
    grown: (usize, usize),
}

impl Reader<'_, '_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Unreadable> {
        let place = place_of(self.file, &span.start, &span.end);
        if let Some(tag) = event.tag().filter(|tag| !tag.is_yaml_core_schema()) {
            let message = format!("the tag {} means nothing here", tag.original());
            self.findings.report("RSPP0041", place, "", message, "write the value without a tag");
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let means = if is_text { Value::String(text.to_string()) } else { meaning(&text) };
                self.put(Tree { place, content: Content::Scalar { text: text.into_owned(), means } }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Content::List(Vec::new()), place, anchor),
            Event::MappingStart(_, anchor, _) => self.begin(Content::Map(Vec::new()), place, anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                let Open { tree, anchor, .. } = self.open.pop().expect("the parser ends only what it began");
                self.put(tree, anchor)
            }
            Event::Alias(anchor) => {
                let Some(mut tree) = self.anchors.get(&anchor).cloned() else {
                    let hint = "an alias can't stand inside of what it names";
                    return Err(Unreadable { place, message: "an alias of itself".to_owned(), hint });
                };
                tree.place = place;
                let (values, bytes) = tree.size();
                self.grow(place, values, bytes)?;
                self.put(tree, 0)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                let hint = "one file has one document; take out what stands behind `---`";
                Err(Unreadable { place, message: "a second document begins here".to_owned(), hint })
            }
            _ => Ok(()),
        }
    }

    fn grow(&mut self, place: Place, values: usize, bytes: usize) -> Result<(), Unreadable> {
        self.grown = (self.grown.0 + values, self.grown.1 + bytes);
        if self.grown.0 <= MAX_SPEC_VALUES && self.grown.1 <= 2 * MAX_SPEC_BYTES {
            return Ok(());
        }
        let message = format!(
            "the document has more than {MAX_SPEC_VALUES} values or {} bytes, its aliases written out",
            2 * MAX_SPEC_BYTES
        );
        Err(Unreadable { place, message, hint: "use fewer aliases" })
    }

    fn begin(&mut self, content: Content, place: Place, anchor: usize) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_SPEC_DEPTH {
            return Err(too_deep(place));
        }
        let waits_for_key =
            self.open.last().is_some_and(|open| matches!(open.tree.content, Content::Map(_)) && open.key.is_none());
        if waits_for_key {
            return Err(Unreadable {
                place,
                message: "a key is no single word".to_owned(),
                hint: "write `key: value`",
            });
        }
        self.open.push(Open { tree: Tree { place, content }, anchor, key: None });
        Ok(())
    }

    fn put(&mut self, tree: Tree, anchor: usize) -> Result<(), Unreadable> {
        self.grow(tree.place, 1, if let Content::Scalar { text, .. } = &tree.content { text.len() } else { 0 })?;
        if anchor > 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(tree);
            return Ok(());
        };
        match (&mut open.tree.content, open.key.take()) {
            (Content::List(items), _) => items.push(tree),
            (Content::Map(fields), Some((key, key_place))) => {
                if fields.iter().any(|field| field.key == key) {
                    let message = format!("the field {key} is given twice");
                    self.findings.report("RSPP0042", key_place, "", message, "remove one of the two");
                } else {
                    fields.push(Field { key, key_place, value: tree });
                }
            }
            (_, _) => {
                let Content::Scalar { text, .. } = tree.content else {
                    let hint = "write `key: value`";
                    return Err(Unreadable { place: tree.place, message: "a key is no single word".to_owned(), hint });
                };
                open.key = Some((text, tree.place));
            }
        }
        Ok(())
    }
}

fn place_of(file: u16, start: &Marker, end: &Marker) -> Place {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let (from, to) = (start.byte_offset().unwrap_or(0), end.byte_offset().unwrap_or(0));
    Place { file, line: number(start.line()), column: number(start.col() + 1), start: number(from), end: number(to) }
}

/// What a plain scalar means, by YAML's core schema.
fn meaning(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    let looks_numeric =
        digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') && text.len() - digits.len() <= 1;
    if !looks_numeric {
        return Value::String(text.to_owned());
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    let radix = |prefix, radix| digits.strip_prefix(prefix).and_then(|rest| u64::from_str_radix(rest, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).filter(|_| digits.len() == text.len()) {
        return number.into();
    }
    if let Ok(number) = plain.parse::<u64>() {
        return number.into();
    }
    if let Ok(number) = plain.parse::<i64>() {
        return number.into();
    }
    let float = plain.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    float.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}
