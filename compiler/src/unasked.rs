//! What the agent says although nobody has spoken to it: its greeting, and what it does when nobody speaks any more.

use rspp_specs::limits::MAX_PROMPT_TEXT_CHARS;
use rspp_specs::plan::{NodeKind, SilencePolicy, TurnPolicy};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Prompt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Collector, Place};
use crate::graph::Graph;
use crate::policy::TurnDocument;

/// What is said when the session begins; exactly one of its fields.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GreetingDocument {
    /// These words, as they are.
    #[schemars(length(min = 1, max = MAX_PROMPT_TEXT_CHARS))]
    say: Option<String>,
    /// What the model makes of this remark.
    #[schemars(length(min = 1, max = MAX_PROMPT_TEXT_CHARS))]
    ask: Option<String>,
}

/// What the agent does when nobody speaks any more; exactly one of `say` and `ask`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilenceDocument {
    /// Neither the caller nor the agent has spoken for so many milliseconds.
    #[schemars(range(min = 500, max = 600_000))]
    after_ms: u64,
    /// These words are said, as they are.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_PROMPT_TEXT_CHARS))]
    say: Option<String>,
    /// The model is told this remark, and what it makes of it is said.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_PROMPT_TEXT_CHARS))]
    ask: Option<String>,
    /// So often, until the caller says something; 1 unless given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    times: Option<u32>,
    /// What follows when that has not helped; `wait` unless given.
    #[serde(default)]
    then: SilenceOutcome,
}

/// What follows when nobody answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SilenceOutcome {
    /// Nothing: the session waits for the caller.
    #[default]
    Wait,
    /// The session ends.
    End,
}

fn prompt(say: Option<&String>, ask: Option<&String>) -> Option<Prompt> {
    match (say, ask) {
        (Some(say), None) => Some(Prompt::Say(say.as_str().into())),
        (None, Some(ask)) => Some(Prompt::Ask(ask.as_str().into())),
        _ => None,
    }
}

impl GreetingDocument {
    pub(crate) fn prompt(&self) -> Option<Prompt> {
        prompt(self.say.as_ref(), self.ask.as_ref())
    }
}

impl SilenceDocument {
    pub(crate) fn policy(&self) -> Option<SilencePolicy> {
        Some(SilencePolicy {
            after: Micros::from_ms(self.after_ms),
            prompt: prompt(self.say.as_ref(), self.ask.as_ref())?,
            times: self.times.unwrap_or(1),
            then_end: self.then == SilenceOutcome::End,
        })
    }
}

/// Reports what can't be said: a prompt that is none or two, and one in whose pipeline nobody could say it.
pub(crate) fn check(findings: &mut Collector<'_>, graph: &Graph, document: &TurnDocument, policy: &TurnPolicy) {
    let has = |wanted: fn(&NodeKind) -> bool| graph.node_weights().any(|vertex| wanted(&vertex.kind));
    let has_turns = has(|kind| matches!(kind, NodeKind::UserTurn));
    let has_model = has(|kind| matches!(kind, NodeKind::Llm { .. }));
    let greeting = document.greeting.as_ref().map(|_| ("greeting", policy.greeting.as_ref()));
    let silence =
        document.silence.as_ref().map(|_| ("silence", policy.silence.as_ref().map(|silence| &silence.prompt)));
    for (field, prompt) in greeting.into_iter().chain(silence) {
        let (code, message, hint) = match prompt {
            None => (
                "RSPP0019",
                "what is to be said is given not at all, or twice",
                "give exactly one of `say` (these words) and `ask` (what the model makes of this remark)",
            ),
            Some(_) if !has_turns => (
                "RSPP0073",
                "nobody can speak unasked where there are no turns",
                "add a node of type `user_turn`, with which turns begin, or leave this out",
            ),
            Some(Prompt::Say(_)) if !has_model => (
                "RSPP0073",
                "words are said in the model's place, and there is no model",
                "add a node of type `llm`, or have what answers asked: `ask`",
            ),
            Some(_) => continue,
        };
        findings.report(code, Place::default(), format!("turn.{field}"), message, hint);
    }
}
