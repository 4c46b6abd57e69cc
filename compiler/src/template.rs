//! Simple mode: a template gives the graph of a working pipeline, and the spec fills in its providers (`F-079`).

use std::collections::BTreeMap;

use crate::document::{Document, EdgeRest, NodeDocument};
use crate::fan_in;
use crate::finding::{Collector, Findings, Place, did_you_mean};

/// A graph as it was written or as its template gives it, before anything is checked.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) nodes: BTreeMap<String, (Place, NodeDocument)>,
    pub(crate) edges: Vec<DraftEdge>,
}

/// An edge of a draft.
#[derive(Debug)]
pub(crate) struct DraftEdge {
    pub(crate) place: Place,
    pub(crate) arrow: String,
    pub(crate) rest: EdgeRest,
}

/// The one template there is: caller -> VAD -> recogniser -> turn -> model -> sentences -> voice -> playout.
const VOICE_ASSISTANT: &str = "voice-assistant";
const VOICE_ASSISTANT_NODES: [(&str, &str); 9] = [
    ("caller", "caller"),
    ("vad", "vad"),
    ("stt", "stt"),
    ("utterance", "utterance"),
    ("user_turn", "user_turn"),
    ("llm", "llm"),
    ("segmenter", "segmenter"),
    ("tts", "tts"),
    ("playout", "playout"),
];
const VOICE_ASSISTANT_EDGES: [&str; 9] = [
    "caller -> vad",
    "caller -> stt.audio",
    "vad -> stt.speech",
    "vad -> utterance.speech",
    "stt -> utterance.transcripts",
    "user_turn -> llm",
    "llm -> segmenter",
    "segmenter -> tts",
    "tts -> playout",
];

/// The draft of a document: its template's graph with the document's nodes and edges in it.
///
/// `bindings` take the place of those that the document gives.
pub(crate) fn apply(source: &str, document: &Document, bindings: &BTreeMap<String, String>) -> Result<Draft, Findings> {
    let mut findings = Collector::new(source);
    let mut draft = Draft::default();
    if let Some(template) = &document.template {
        let place = Place::from(template.referenced);
        if template.value == VOICE_ASSISTANT {
            fill(&mut draft, document, &place);
        } else {
            let hint = match did_you_mean(&template.value, [VOICE_ASSISTANT].into_iter()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("the template there is: {VOICE_ASSISTANT}"),
            };
            findings.report("RSPP0003", place, "template", format!("no template is named {}", template.value), hint);
        }
    }
    for (name, node) in &document.nodes {
        draft.nodes.insert(name.clone(), (Place::from(node.referenced), node.value.clone()));
    }
    let of_the_template = draft.edges.len();
    for edge in &document.edges {
        let (arrow, rest) = (edge.value.arrow.clone(), edge.value.rest.clone());
        let edge = DraftEdge { place: Place::from(edge.referenced), arrow, rest };
        // An edge that the template has already is said anew: with a buffer, say.
        match draft.edges[..of_the_template].iter_mut().find(|known| same_ends(&known.arrow, &edge.arrow)) {
            Some(known) => *known = edge,
            None => draft.edges.push(edge),
        }
    }
    fan_in::place_fallbacks(&mut findings, &mut draft);
    check_bindings(&mut findings, document, &draft);
    for (name, binding) in bindings {
        bind(&mut findings, &mut draft, name, binding);
    }
    findings.finish(|| draft)
}

fn fill(draft: &mut Draft, document: &Document, place: &Place) {
    for (name, type_name) in VOICE_ASSISTANT_NODES {
        let bind = document.bind.get(name).map(|bind| bind.value.clone());
        let tools = (name == "llm" && !document.tools.is_empty()).then(|| document.tools.clone());
        let provider = document.provider.get(name).map(|provider| provider.value.clone());
        let prompt = document.prompt.clone().filter(|_| name == "llm");
        let type_name = type_name.to_owned();
        let node = NodeDocument { type_name, bind, tools, provider, prompt, ..NodeDocument::default() };
        draft.nodes.insert(name.to_owned(), (place.clone(), node));
    }
    for arrow in VOICE_ASSISTANT_EDGES {
        draft.edges.push(DraftEdge { place: place.clone(), arrow: arrow.to_owned(), rest: EdgeRest::default() });
    }
}

/// Whether two arrows join the same ends, as they are written.
fn same_ends(one: &str, other: &str) -> bool {
    let ends = |arrow: &str| arrow.split_once("->").map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()));
    ends(one).is_some() && ends(one) == ends(other)
}

/// Binds a node to another provider than the document says.
fn bind(findings: &mut Collector<'_>, draft: &mut Draft, name: &str, binding: &str) {
    if let Some((_, node)) = draft.nodes.get_mut(name) {
        node.bind = Some(binding.to_owned());
        return;
    }
    let hint = match did_you_mean(name, draft.nodes.keys().map(String::as_str)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are: {}", draft.nodes.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    let place = Place { line: 0, column: 0 };
    findings.report("RSPP0004", place, format!("--bind {name}"), format!("no node is named {name}"), hint);
}

/// Top-level bindings are for nodes of the template.
fn check_bindings(findings: &mut Collector<'_>, document: &Document, draft: &Draft) {
    let bound = document.bind.iter().map(|(name, bind)| ("bind", name, bind.referenced));
    let asked = document.provider.iter().map(|(name, provider)| ("provider", name, provider.referenced));
    for (field, name, referenced) in bound.chain(asked) {
        if document.template.is_none() || !draft.nodes.contains_key(name) {
            let hint = match did_you_mean(name, draft.nodes.keys().map(String::as_str)) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("{field} names nodes of the template; a node of its own has a `{field}` field"),
            };
            let place = Place::from(referenced);
            findings.report(
                "RSPP0004",
                place,
                format!("{field}.{name}"),
                format!("no node of the template is named {name}"),
                hint,
            );
        }
    }
    let for_the_model = [("tools", !document.tools.is_empty()), ("prompt", document.prompt.is_some())];
    for (field, _) in for_the_model.into_iter().filter(|(_, given)| *given && document.template.is_none()) {
        let place = Place::from(document.name.referenced);
        let message = format!("{field} is given, but no template whose model it could be for");
        let hint = format!("move it into the `{field}` field of a node of type llm");
        findings.report("RSPP0004", place, field, message, hint);
    }
}
