//! What a session says, in the words of RTVI.

use std::collections::BTreeMap;

use rspp_specs::admission::RejectReason;
use rspp_specs::event::{ProviderResult, Request, Understanding};
use rspp_specs::ids::InvocationId;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Signal};
use serde_json::{Value, json};

use crate::doors::rspp::refusal;

/// A message's type and its data.
pub(super) type Said = (&'static str, Value);

/// What has to be remembered to tell it.
#[derive(Debug, Default)]
pub(super) struct Story {
    running: BTreeMap<InvocationId, Running>,
    /// The agent is heard.
    speaking: bool,
}

#[derive(Debug)]
enum Running {
    Transcribes,
    Thinks,
    Speaks(String),
    Calls { key: String, name: String },
}

impl Story {
    /// What is told of an entry, in order.
    pub(super) fn of(&mut self, at: Micros, entry: &Entry) -> Vec<Said> {
        match entry {
            Entry::Input(_, Input::Provider(id, result)) => self.of_result(at, *id, result),
            Entry::Effect(Effect::Invoke { id, request, .. }) => self.of_request(*id, request),
            Entry::Effect(Effect::FeedEnd { .. }) => vec![("user-stopped-speaking", Value::Null)],
            Entry::Signal(_, signal) => self.of_signal(signal),
            Entry::Input(..) | Entry::Effect(_) => Vec::new(),
        }
    }

    fn of_result(&mut self, at: Micros, id: InvocationId, result: &ProviderResult) -> Vec<Said> {
        match result {
            ProviderResult::Transcript(transcript) if !transcript.text.is_empty() => {
                let is_final = transcript.understanding != Understanding::Partial;
                vec![transcription(at, &transcript.text, is_final)]
            }
            ProviderResult::Text(text) if matches!(self.running.get(&id), Some(Running::Thinks)) => {
                vec![("bot-llm-text", json!({"text": &**text}))]
            }
            ProviderResult::ToolResult(result) => match self.running.remove(&id) {
                Some(Running::Calls { key, name }) => vec![tool_ended(&key, &name, false, Some(result))],
                _ => Vec::new(),
            },
            ProviderResult::End(outcome) => self.of_end(id, *outcome),
            _ => Vec::new(),
        }
    }

    fn of_end(&mut self, id: InvocationId, outcome: Outcome) -> Vec<Said> {
        match self.running.remove(&id) {
            Some(Running::Thinks) => vec![("bot-llm-stopped", Value::Null)],
            Some(Running::Speaks(text)) if outcome == Outcome::Success => {
                vec![("bot-tts-stopped", Value::Null), output(id, &text, "completed")]
            }
            Some(Running::Speaks(_)) => vec![("bot-tts-stopped", Value::Null)],
            Some(Running::Calls { key, name }) => vec![tool_ended(&key, &name, true, None)],
            Some(Running::Transcribes) | None => Vec::new(),
        }
    }

    fn of_request(&mut self, id: InvocationId, request: &Request) -> Vec<Said> {
        let (running, says) = match request {
            Request::Transcribe { .. } => (Running::Transcribes, vec![("user-started-speaking", Value::Null)]),
            Request::Chat { .. } => (Running::Thinks, vec![("bot-llm-started", Value::Null)]),
            Request::Speak { text } => {
                let text = text.to_string();
                let says = vec![
                    output(id, &text, "new"),
                    ("bot-tts-started", Value::Null),
                    ("bot-tts-text", json!({"text": text})),
                ];
                (Running::Speaks(text), says)
            }
            Request::Tool(call) => {
                let (key, name) = (call.key.to_string(), call.name.to_string());
                let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or(Value::Null);
                let data = json!({"function_name": name, "tool_call_id": key, "arguments": arguments});
                let says = vec![
                    ("llm-function-call-started", json!({"function_name": name})),
                    ("llm-function-call-in-progress", data),
                ];
                (Running::Calls { key, name }, says)
            }
        };
        self.running.insert(id, running);
        says
    }

    fn of_signal(&mut self, signal: &Signal) -> Vec<Said> {
        match signal {
            Signal::OutputAccepted | Signal::PlayoutResume { .. } => self.speaks(true),
            Signal::PlayoutHold
            | Signal::CancelAccepted { .. }
            | Signal::PlaybackCompleted { .. }
            | Signal::PlaybackCancelled { .. } => self.speaks(false),
            Signal::ProviderError { outcome, .. } => {
                vec![("error", json!({"error": format!("a provider failed: {}", outcome.name()), "fatal": false}))]
            }
            Signal::Reject(_) | Signal::Shed(_) | Signal::Defer { .. } => turned_away(signal),
            _ => Vec::new(),
        }
    }

    /// Said once each way, though several signals say it.
    fn speaks(&mut self, speaking: bool) -> Vec<Said> {
        let says = if speaking { "bot-started-speaking" } else { "bot-stopped-speaking" };
        let changed = std::mem::replace(&mut self.speaking, speaking) != speaking;
        if changed { vec![(says, Value::Null)] } else { Vec::new() }
    }
}

/// The caller's words open no turn, or not yet. That somebody only said "uh-huh" is no error.
fn turned_away(signal: &Signal) -> Vec<Said> {
    let (reason, retry_after_ms) = refusal(signal);
    let Some(reason) = reason.filter(|reason| *reason != RejectReason::Backchannel.name()) else { return Vec::new() };
    let mut data = json!({"error": format!("no answer to this: {reason}"), "fatal": false, "reason": reason});
    if let Some(after) = retry_after_ms {
        data["error"] = json!(format!("no answer yet: {reason}; tried again in {after} ms"));
        data["retry_after_ms"] = json!(after);
    }
    vec![("error", data)]
}

/// Its time is the session's own, in seconds: there is no wall clock here.
fn transcription(at: Micros, text: &str, is_final: bool) -> Said {
    let timestamp = format!("{}.{:03}", at.as_ms() / 1_000, at.as_ms() % 1_000);
    ("user-transcription", json!({"text": text, "final": is_final, "timestamp": timestamp, "user_id": "caller"}))
}

/// A piece of the answer. `completed` says that it has been made, and stands for as much as is known on a line that tells
/// nothing of what it played.
fn output(id: InvocationId, text: &str, status: &str) -> Said {
    let (before, after) = if status == "new" { ("", text) } else { (text, "") };
    let data = json!({
        "text": text, "aggregated_by": "sentence", "segment_id": id.0, "will_be_spoken": true, "spoken_status": status,
        "spoken_progress": {"accumulated_text": before, "remaining_text": after},
    });
    ("bot-output", data)
}

fn tool_ended(key: &str, name: &str, cancelled: bool, result: Option<&str>) -> Said {
    let mut data = json!({"function_name": name, "tool_call_id": key, "cancelled": cancelled});
    if let Some(result) = result {
        data["result"] = serde_json::from_str(result).unwrap_or_else(|_| json!(result));
    }
    ("llm-function-call-stopped", data)
}
