//! An answer as it streams in: events, and in them pieces of text and of tool calls.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use rspp_specs::event::{ContextEntry, ProviderResult, ToolCall};
use rspp_specs::limits::MAX_TEXT_BYTES;
use rspp_specs::time::Micros;
use serde::Deserialize;
use serde_json::Value;
use sse_core::{SseDecoder, SseEvent};

use super::Bounds;
use crate::http::{Fault, Reader};
use crate::provider::{Answer, latency};
use crate::secret::Secret;

/// A model's name for a call; a longer one gets ours.
const MAX_KEY_CHARS: usize = 128;

/// One event of an answer. Fields that nobody asked for are passed by.
#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
    object: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

/// A tool call, as far as it has come.
#[derive(Default)]
struct PartialCall {
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

/// Takes an answer in, and gives its text on at once and its tool calls at its end.
pub(super) struct ChatReader<'r, 'a> {
    answer: &'r mut Answer<'a>,
    bounds: Bounds,
    /// A server that repeats the key must not bring it into a recording.
    key: Option<Arc<Secret>>,
    decoder: SseDecoder,
    received: usize,
    calls: Vec<PartialCall>,
    /// Keys that calls of this conversation have had.
    keys: BTreeSet<String>,
    finished: Option<String>,
    after: Micros,
}

impl<'r, 'a> ChatReader<'r, 'a> {
    pub(super) fn new(
        answer: &'r mut Answer<'a>,
        bounds: Bounds,
        key: Option<Arc<Secret>>,
        context: &[ContextEntry],
    ) -> Self {
        let keys = context.iter().filter_map(|entry| match entry {
            ContextEntry::Tool { call, .. } => Some(call.key.to_string()),
            _ => None,
        });
        let limit = NonZeroUsize::new(bounds.event_bytes).unwrap_or(NonZeroUsize::MIN);
        Self {
            answer,
            bounds,
            key,
            decoder: SseDecoder::with_limit(limit),
            received: 0,
            calls: Vec::new(),
            keys: keys.collect(),
            finished: None,
            after: latency::FIRST_TEXT,
        }
    }

    /// When what follows comes in, in virtual time.
    pub(super) fn after(&self) -> Micros {
        self.after
    }

    fn without_key(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.remove(text))
    }

    fn give(&mut self, result: ProviderResult) {
        self.answer.give(self.after, result);
        self.after = self.after + latency::NEXT_TEXT;
    }

    fn on_event(&mut self, data: &str) -> Result<ControlFlow<()>, Fault> {
        let data = data.trim();
        if data == "[DONE]" {
            self.finish()?;
            return Ok(ControlFlow::Break(()));
        }
        if data.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        // The words of the parser have places in them and nothing of what it read.
        let nonsense = |detail: String| Fault::Nonsense { detail };
        let value: Value =
            serde_json::from_str(data).map_err(|error| nonsense(format!("an event is no JSON ({error})")))?;
        let chunk: Chunk = serde_json::from_value(value.clone())
            .map_err(|_| nonsense("an event is no chunk of a chat completion".to_owned()))?;
        if chunk.error.as_ref().is_some_and(|error| !error.is_null()) || chunk.object.is_some_and(|it| it == "error") {
            return Err(Fault::reported(&value, |text| self.without_key(text)));
        }
        let Some(choices) = chunk.choices else { return Err(nonsense("an event has no choices".to_owned())) };
        // One answer was asked for.
        if let Some(choice) = choices.into_iter().next() {
            self.on_choice(choice)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_choice(&mut self, choice: Choice) -> Result<(), Fault> {
        if let Some(delta) = choice.delta {
            let content = self.without_key(&delta.content.unwrap_or_default());
            for text in pieces(&content) {
                self.give(ProviderResult::Text(text.into()));
            }
            for call in delta.tool_calls.unwrap_or_default() {
                self.on_call(call)?;
            }
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finished = Some(reason);
        }
        Ok(())
    }

    fn on_call(&mut self, delta: CallDelta) -> Result<(), Fault> {
        let id = delta.id.unwrap_or_default();
        let place = match self.place_of(delta.index, &id) {
            Some(place) => place,
            None if self.calls.len() == self.bounds.tool_calls => {
                return Err(Fault::TooMuch { what: "one answer", limit: self.bounds.tool_calls, unit: "tool calls" });
            }
            None => {
                self.calls.push(PartialCall { index: delta.index, id: id.clone(), ..PartialCall::default() });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[place];
        let function = delta.function.unwrap_or(FunctionDelta { name: None, arguments: None });
        if call.id.is_empty() {
            call.id = id;
        }
        call.name.push_str(&function.name.unwrap_or_default());
        call.arguments.push_str(&function.arguments.unwrap_or_default());
        if call.name.len() + call.arguments.len() > self.bounds.argument_bytes {
            let limit = self.bounds.argument_bytes;
            return Err(Fault::TooMuch { what: "a tool call", limit, unit: "bytes of arguments" });
        }
        Ok(())
    }

    /// The call that a piece belongs to. Some servers give all calls one index and tell them apart by ids, or give no
    /// index at all.
    fn place_of(&self, index: Option<usize>, id: &str) -> Option<usize> {
        let same_id = |call: &PartialCall| id.is_empty() || call.id.is_empty() || call.id == id;
        match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index && same_id(call)),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().rposition(|call| call.id == id),
        }
    }

    /// All of the answer is there.
    fn finish(&mut self) -> Result<(), Fault> {
        if self.finished.as_deref() == Some("content_filter") {
            return Err(Fault::Blocked);
        }
        for call in std::mem::take(&mut self.calls) {
            if call.name.trim().is_empty() {
                return Err(Fault::Nonsense { detail: "a tool call names no tool".to_owned() });
            }
            let key = self.key_of(&call.id);
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
            let arguments = self.without_key(arguments).into();
            let (key, name) = (key.into(), self.without_key(call.name.trim()).into());
            self.give(ProviderResult::ToolCall(ToolCall { key, name, arguments }));
        }
        Ok(())
    }

    /// The model's name for a call, which is its idempotency key, too: one that is missing, or that no header can
    /// have, is made up; one that it uses again gets a number.
    fn key_of(&mut self, id: &str) -> String {
        let is_word = |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
        let usable = !id.is_empty() && id.len() <= MAX_KEY_CHARS && is_word(id) && self.without_key(id) == id;
        let base = if usable { id.to_owned() } else { made_up() };
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let key = std::iter::once(base.clone()).chain(numbered).find(|key| !self.keys.contains(key));
        let key = key.expect("there is always another number");
        self.keys.insert(key.clone());
        key
    }
}

/// A name that nothing else has, on any machine: it may become a key by which somebody else tells writes apart.
fn made_up() -> String {
    use tokio_rustls::rustls::crypto::ring;
    let mut bytes = [0; 16];
    // Without random bytes the machine could not make connections either; the name is unique in the call all the same.
    let _ = ring::default_provider().secure_random.fill(&mut bytes);
    bytes.iter().fold("call-".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Text in pieces that are within the limit of one.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(MAX_TEXT_BYTES));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

impl Reader for ChatReader<'_, '_> {
    fn media_type(&self) -> Option<&'static str> {
        Some("text/event-stream")
    }

    fn take(&mut self, mut piece: Bytes) -> Result<ControlFlow<()>, Fault> {
        self.received += piece.len();
        if self.received > self.bounds.response_bytes {
            return Err(Fault::TooMuch { what: "the answer", limit: self.bounds.response_bytes, unit: "bytes" });
        }
        while let Some(event) = self.decoder.next(&mut piece) {
            let event =
                event.map_err(|_| Fault::TooMuch { what: "an event", limit: self.bounds.event_bytes, unit: "bytes" });
            if let SseEvent::Message(message) = event?
                && self.on_event(&message.data)?.is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Some servers end without `[DONE]`; one that has said why it ended has given all of its answer.
    fn end(&mut self) -> Result<(), Fault> {
        if self.finished.is_some() {
            return self.finish();
        }
        Err(Fault::Disconnected { detail: "the stream ended in the middle of the answer".to_owned() })
    }
}
