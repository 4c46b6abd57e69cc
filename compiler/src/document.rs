//! A spec as it is written: YAML or JSON, with the place of each value that a finding may name.

use std::collections::BTreeMap;

use rspp_specs::limits::MAX_SPEC_BYTES;
use rspp_specs::plan::{Detector, ToolSpec};
use serde::Deserialize;
use serde_saphyr::Spanned;

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
            ("config", self.config.is_some()),
        ];
        fields.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }
}

/// One edge: `a.port -> b.port`, or the same with a condition.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum EdgeDocument {
    Arrow(String),
    Conditional { edge: String, when: WhenDocument },
}

impl EdgeDocument {
    pub(crate) fn arrow(&self) -> &str {
        match self {
            EdgeDocument::Arrow(arrow) | EdgeDocument::Conditional { edge: arrow, .. } => arrow,
        }
    }

    pub(crate) fn when(&self) -> Option<&WhenDocument> {
        match self {
            EdgeDocument::Arrow(_) => None,
            EdgeDocument::Conditional { when, .. } => Some(when),
        }
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
