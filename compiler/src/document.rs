//! A spec as it is written: YAML or JSON, with the place of each value that a finding may name.

use std::collections::BTreeMap;
use std::fmt;

use rspp_specs::buffer::{EdgeSync, SyncDrop, SyncGroup};
use rspp_specs::limits::MAX_SPEC_BYTES;
use rspp_specs::plan::{Comparison, Detector, JoinBy, MergeOrder, ToolSpec};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::buffer::BufferDocument;
use crate::finding::{Finding, Findings, Place, did_you_mean};
use crate::policy::{AdmissionDocument, ProviderDocument, TurnDocument};

/// A whole document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) kind: Spanned<String>,
    pub(crate) name: Spanned<String>,
    pub(crate) version: Spanned<u32>,
    #[serde(default)]
    pub(crate) profile: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) template: Option<Spanned<String>>,
    /// Which provider each node of the template calls.
    #[serde(default)]
    pub(crate) bind: BTreeMap<String, Spanned<String>>,
    /// Tools of the template's model.
    #[serde(default)]
    pub(crate) tools: Vec<ToolSpec>,
    /// What the template's nodes ask of their providers.
    #[serde(default)]
    pub(crate) provider: BTreeMap<String, Spanned<ProviderDocument>>,
    /// What the template's model is told before the conversation.
    #[serde(default)]
    pub(crate) prompt: Option<String>,
    #[serde(default)]
    pub(crate) turn: Option<Spanned<TurnDocument>>,
    #[serde(default)]
    pub(crate) admission: AdmissionDocument,
    #[serde(default)]
    pub(crate) nodes: BTreeMap<String, Spanned<NodeDocument>>,
    #[serde(default)]
    pub(crate) edges: Vec<Spanned<EdgeDocument>>,
}

/// One node. Which fields belong to which type is checked later, all findings at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeDocument {
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    #[serde(default)]
    pub(crate) bind: Option<String>,
    #[serde(default)]
    pub(crate) tools: Option<Vec<ToolSpec>>,
    #[serde(default)]
    pub(crate) provider: Option<ProviderDocument>,
    pub(crate) prompt: Option<String>,
    #[serde(default)]
    pub(crate) detector: Option<Detector>,
    #[serde(default)]
    pub(crate) onset_probability: Option<f32>,
    #[serde(default)]
    pub(crate) release_probability: Option<f32>,
    #[serde(default)]
    pub(crate) onset_frames: Option<u32>,
    #[serde(default)]
    pub(crate) hangover_ms: Option<u64>,
    #[serde(default)]
    pub(crate) preroll_ms: Option<u64>,
    #[serde(default)]
    pub(crate) min_rejected_speech_ms: Option<u64>,
    #[serde(default)]
    pub(crate) max_wait_ms: Option<u64>,
    #[serde(default)]
    pub(crate) lookahead_ms: Option<u64>,
    #[serde(default)]
    pub(crate) max_queued_ms: Option<u64>,
    /// Of a merge: in which order what one tick brings goes on.
    #[serde(default)]
    pub(crate) order: Option<MergeOrder>,
    /// Of a join: what belongs together.
    #[serde(default)]
    pub(crate) by: Option<JoinBy>,
    /// Of a select: what must hold of the input that is let through.
    #[serde(default)]
    pub(crate) when: Option<WhenDocument>,
    /// Of a fallback: so long the first branch may take.
    #[serde(default)]
    pub(crate) after_ms: Option<u64>,
    /// A custom node's own parameters.
    #[serde(default)]
    pub(crate) config: Option<serde_json::Value>,
}

impl NodeDocument {
    /// The fields that are given, by their names in the document.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let fields = [
            ("bind", self.bind.is_some()),
            ("tools", self.tools.is_some()),
            ("provider", self.provider.is_some()),
            ("prompt", self.prompt.is_some()),
            ("detector", self.detector.is_some()),
            ("onset_probability", self.onset_probability.is_some()),
            ("release_probability", self.release_probability.is_some()),
            ("onset_frames", self.onset_frames.is_some()),
            ("hangover_ms", self.hangover_ms.is_some()),
            ("preroll_ms", self.preroll_ms.is_some()),
            ("min_rejected_speech_ms", self.min_rejected_speech_ms.is_some()),
            ("max_wait_ms", self.max_wait_ms.is_some()),
            ("lookahead_ms", self.lookahead_ms.is_some()),
            ("max_queued_ms", self.max_queued_ms.is_some()),
            ("order", self.order.is_some()),
            ("by", self.by.is_some()),
            ("when", self.when.is_some()),
            ("after_ms", self.after_ms.is_some()),
            ("config", self.config.is_some()),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

/// One edge: `a.port -> b.port`, or the same with more to say.
#[derive(Clone, Debug)]
pub(crate) struct EdgeDocument {
    pub(crate) arrow: String,
    pub(crate) rest: EdgeRest,
}

/// What may be said of an edge.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeRest {
    edge: Option<String>,
    pub(crate) when: Option<WhenDocument>,
    pub(crate) buffer: Option<BufferDocument>,
    pub(crate) sync: Option<SyncDocument>,
    pub(crate) fallback: Option<FallbackDocument>,
}

/// With what an edge plays together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncDocument {
    pub(crate) group: String,
    #[serde(default = "media")]
    pub(crate) domain: String,
    #[serde(default = "atomic")]
    pub(crate) on_drop: SyncDrop,
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
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FallbackDocument {
    #[serde(default)]
    pub(crate) after_ms: Option<u64>,
}

impl<'de> Deserialize<'de> for EdgeDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Edge;
        impl<'de> Visitor<'de> for Edge {
            type Value = EdgeDocument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an edge: `node -> node`, or a map with the field `edge`")
            }

            fn visit_str<E: Error>(self, arrow: &str) -> Result<EdgeDocument, E> {
                Ok(EdgeDocument { arrow: arrow.to_owned(), rest: EdgeRest::default() })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<EdgeDocument, M::Error> {
                let mut rest = EdgeRest::deserialize(MapAccessDeserializer::new(map))?;
                let arrow = rest.edge.take().ok_or_else(|| M::Error::missing_field("edge"))?;
                Ok(EdgeDocument { arrow, rest })
            }
        }
        deserializer.deserialize_any(Edge)
    }
}

/// A condition on an event's attribute; exactly one comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhenDocument {
    pub(crate) attribute: String,
    #[serde(default)]
    pub(crate) equals: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) differs: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) at_least: Option<f64>,
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

/// Reads a document.
pub(crate) fn parse(source: &str, text: &str) -> Result<Document, Findings> {
    let fail = |place: Place, message: String, hint: &str| {
        let (source, hint) = (source.to_owned(), hint.to_owned());
        Findings(vec![Finding { code: "RSPP0001", source, place, path: String::new(), message, hint }])
    };
    let whole = Place { line: 0, column: 0 };
    if text.len() > MAX_SPEC_BYTES {
        return Err(fail(whole, format!("the spec is larger than {MAX_SPEC_BYTES} bytes"), "is it the right file?"));
    }
    if text.trim().is_empty() {
        return Err(fail(whole, "the spec is empty".to_owned(), "see specs/pipelines/voice-assistant.yaml"));
    }
    serde_saphyr::from_str::<Document>(text).map_err(|error| {
        let place = error.location().map_or(whole, Place::from);
        let message = message_of(&error);
        let hint = match suggestion(&message) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "docs/spec.md describes the fields".to_owned(),
        };
        fail(place, message, &hint)
    })
}

/// The parser's message without the place, which the finding has already.
fn message_of(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or("unreadable");
    let message = first.strip_prefix("error: ").unwrap_or(first);
    match message.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message.to_owned(),
        None => message.to_owned(),
    }
}

/// For an unknown field: the known one that was probably meant.
fn suggestion(message: &str) -> Option<&str> {
    let (unknown, known) = message.strip_prefix("unknown field `")?.split_once("`, expected one of ")?;
    did_you_mean(unknown, known.split(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let shown = match parse("spec.yaml", text) {
            Ok(document) => document.name.value,
            Err(findings) => findings.to_string(),
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn what_can_not_be_read_says_where_and_what_to_do() {
        check("kind: PipelineSpec\nname: good\nversion: 1\n", "good");
        check(
            "kind: PipelineSpec\nname: x\nversoin: 1\n",
            "spec.yaml:3:1: error[RSPP0001]: unknown field `versoin`, expected one of kind, name, version, profile, \
             template, bind, tools, provider, prompt, turn, admission, nodes, edges\n  hint: did you mean `version`?",
        );
        check(
            "",
            "spec.yaml:0:0: error[RSPP0001]: the spec is empty\n  hint: see specs/pipelines/voice-assistant.yaml",
        );
        check(
            "name: [",
            "spec.yaml:1:7: error[RSPP0001]: expected string scalar\n  hint: docs/spec.md describes the fields",
        );
    }
}
