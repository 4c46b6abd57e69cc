//! The OpenAI Realtime protocol (the one that is generally available), so that existing clients speak with any pipeline.
//!
//! What a client may ask for that the pipeline decides is accepted and shown in the session, and decides nothing here: the
//! model, the voice, the instructions, and tools that the spec does not have. `docs/protocol.md` has the list. Tools that the
//! spec binds to `client:` are the client's: `calls` tells how they are called.
//!
//! A client has no word for what was played, except `conversation.item.truncate`: what it says there is taken as what the
//! caller heard. Whoever says nothing is taken to have heard what the pacer's playhead says.

mod calls;
mod conversation;
mod events;
mod session;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rspp_specs::event::{ProviderResult, Request, Talk, Transcript, Understanding};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::outcome::{CancelReason, Cancellation};
use rspp_specs::plan::ToolSpec;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Effect, EgressEpoch, Entry, Input, PlayoutAck, Prompt, Signal};
use serde_json::{Value, json};

use crate::audio::{CALL_RATE_HZ, Encoding, Inbound, Outbound, WireFormat};
use crate::transport::{
    Asked, Audio, Bind, Bound, Capabilities, Ended, Exchange, Message, Refusal, RefusalCode, Transport,
};
use calls::Calls;
use conversation::{Conversation, Item};
use events::{FromClient, Wrong, turned_away};
use session::Session;

/// Samples a second of PCM in this protocol; no other rate is spoken.
const WIRE_RATE_HZ: u32 = 24_000;

/// One connection.
pub struct Realtime {
    session: Session,
    bound: bool,
    /// Makes identifiers of this session's.
    name: String,
    numbers: u64,
    caller: Inbound,
    agent: Outbound,
    /// Audio that came since the last utterance was complete.
    heard_samples: u64,
    /// All audio that came.
    all_samples: u64,
    /// The client says where utterances begin and end, and one is under way.
    pressed: bool,
    conversation: Conversation,
    /// The recogniser's invocation, and the item of what it recognises.
    utterance: Option<(InvocationId, String, Micros)>,
    /// Calls that the client has not answered.
    calls: Calls,
    /// What the next response was asked for with.
    wanted: Option<Value>,
    response: Option<Response>,
    /// Items of audio, with the turns that they are of, and the samples that were sent again.
    spoken: Vec<Spoken>,
}

/// An answer that is under way.
struct Response {
    turn: TurnId,
    id: String,
    item: Option<String>,
    /// The place of that item among the response's.
    index: usize,
    transcript: String,
    metadata: Value,
    /// Its calls of the client's tools, by the names of their items.
    calls: Vec<String>,
}

struct Spoken {
    item: String,
    turn: TurnId,
    sent_until: u64,
    sent_again: u64,
}

/// What is spoken until a client says otherwise.
const PCM: WireFormat = WireFormat::pcm(WIRE_RATE_HZ);

fn inbound(format: WireFormat) -> Inbound {
    Inbound::new(format, CALL_RATE_HZ).expect("a session has no format but those that are converted")
}

fn outbound(format: WireFormat) -> Outbound {
    Outbound::new(format).expect("a session has no format but those that are converted")
}

/// Items of audio that a client may still truncate.
const MAX_SPOKEN: usize = 16;

impl Realtime {
    /// A connection that asked for this model.
    pub fn new(model: &str, tools: &[&ToolSpec]) -> Self {
        Self {
            session: Session::new(model, tools),
            bound: false,
            name: String::new(),
            numbers: 0,
            caller: inbound(PCM),
            agent: outbound(PCM),
            heard_samples: 0,
            all_samples: 0,
            pressed: false,
            conversation: Conversation::default(),
            utterance: None,
            calls: Calls::default(),
            wanted: None,
            response: None,
            spoken: Vec::new(),
        }
    }

    fn id(&mut self, kind: &str) -> String {
        self.numbers += 1;
        format!("{kind}_{}{}", self.name, self.numbers)
    }

    /// An event, with its number.
    fn say(&mut self, mut event: Value, out: &mut Exchange) {
        event["event_id"] = self.id("event").into();
        out.say(event.to_string());
    }

    fn on_event(&mut self, event: FromClient, out: &mut Exchange) -> Result<(), Wrong> {
        match event {
            FromClient::SessionUpdate { session } => {
                let before = self.session.formats();
                self.session.update(&session)?;
                let (input, output) = self.session.formats();
                if input != before.0 {
                    self.caller = inbound(input);
                }
                if output != before.1 {
                    self.agent = outbound(output);
                }
                let session = self.session.shown();
                self.say(json!({"type": "session.updated", "session": session}), out);
            }
            FromClient::Append { audio } => self.on_append(&audio, out)?,
            FromClient::Commit => self.on_commit(out)?,
            FromClient::Clear => {
                self.heard_samples = 0;
                self.say(json!({"type": "input_audio_buffer.cleared"}), out);
            }
            FromClient::CreateItem { item, previous_item_id } => {
                self.on_create_item(item, previous_item_id.as_deref(), out)?;
            }
            FromClient::RetrieveItem { item_id } => {
                let item = self.conversation.shown(&item_id).ok_or_else(|| Wrong::no_item(&item_id, true))?;
                self.say(json!({"type": "conversation.item.retrieved", "item": item}), out);
            }
            FromClient::TruncateItem { item_id, content_index, audio_end_ms } => {
                self.on_truncate(&item_id, content_index, audio_end_ms, out)?;
            }
            FromClient::DeleteItem { item_id } => {
                self.conversation.delete(&item_id).ok_or_else(|| Wrong::no_item(&item_id, false))?;
                self.say(json!({"type": "conversation.item.deleted", "item_id": item_id}), out);
            }
            FromClient::CreateResponse { response } => self.on_create_response(response.unwrap_or_default(), out)?,
            FromClient::CancelResponse => {
                if self.response.is_none() && self.wanted.take().is_none() {
                    return Err(Wrong::new("response_cancel_not_active", "there is no response to cancel"));
                }
                out.give(Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel)));
            }
        }
        Ok(())
    }

    fn on_append(&mut self, audio: &str, out: &mut Exchange) -> Result<(), Wrong> {
        let wrong = |says: &str| Wrong { param: Some("audio"), ..Wrong::new("invalid_value", says) };
        let bytes = STANDARD.decode(audio).map_err(|_| wrong("audio is base64"))?;
        let is_pcm = self.session.formats().0.encoding == Encoding::Pcm16Le;
        if bytes.is_empty() || is_pcm && !bytes.len().is_multiple_of(2) {
            return Err(wrong("PCM of 16 bits has an even number of bytes, and some"));
        }
        let frames = self.caller.push(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if self.session.is_manual() && !std::mem::replace(&mut self.pressed, true) {
            out.give(Input::Talk(Talk::Press));
        }
        for frame in frames {
            self.heard_samples += frame.samples.len() as u64;
            self.all_samples += frame.samples.len() as u64;
            out.give(Input::CallerAudio(frame));
        }
        Ok(())
    }

    fn on_commit(&mut self, out: &mut Exchange) -> Result<(), Wrong> {
        if self.heard_samples == 0 {
            return Err(Wrong::new("input_audio_buffer_commit_empty", "there is no audio in the buffer"));
        }
        let end = if std::mem::take(&mut self.pressed) { Talk::Release } else { Talk::EndOfUtterance };
        out.give(Input::Talk(end));
        Ok(())
    }

    fn on_create_item(&mut self, item: Value, previous: Option<&str>, out: &mut Exchange) -> Result<(), Wrong> {
        let fresh = self.id("item");
        let item = Item::of_client(item, fresh)?;
        if let Some((call, output)) = item.output() {
            self.calls.answer(call, output, out)?;
        }
        let id = item.id.clone();
        self.conversation.insert(item, previous);
        let previous = self.conversation.before(&id);
        self.tell_item(&id, previous.as_deref(), out);
        Ok(())
    }

    /// An item is there, and whole.
    fn tell_item(&mut self, id: &str, previous: Option<&str>, out: &mut Exchange) {
        let item = self.conversation.shown(id).unwrap_or_default();
        for state in ["added", "done"] {
            let event = json!({
                "type": format!("conversation.item.{state}"), "previous_item_id": previous, "item": item
            });
            self.say(event, out);
        }
    }

    fn on_truncate(
        &mut self,
        item_id: &str,
        content_index: u32,
        audio_end_ms: u64,
        out: &mut Exchange,
    ) -> Result<(), Wrong> {
        let spoken = self.spoken.iter().find(|spoken| spoken.item == item_id);
        let spoken = spoken.ok_or_else(|| Wrong::no_item(item_id, false))?;
        let played = Micros::from_ms(audio_end_ms).to_samples(CALL_RATE_HZ);
        let heard_samples = played.saturating_sub(spoken.sent_again).min(spoken.sent_until);
        out.acknowledge(PlayoutAck { turn: spoken.turn, heard_samples, occasion: AckOccasion::Cleared });
        self.conversation.truncate(item_id);
        let event = json!({
            "type": "conversation.item.truncated",
            "item_id": item_id, "content_index": content_index, "audio_end_ms": audio_end_ms
        });
        self.say(event, out);
        Ok(())
    }

    fn on_create_response(&mut self, response: Value, out: &mut Exchange) -> Result<(), Wrong> {
        if let Some(turn) = self.calls.turn() {
            self.go_on(turn, response, out);
            return Ok(());
        }
        if self.response.is_some() {
            let says = "the session answers already; cancel that first";
            return Err(Wrong::new("conversation_already_has_active_response", says));
        }
        let text = self.conversation.take_unanswered();
        let has_audio = self.utterance.is_some() || self.pressed;
        if !text.is_empty() {
            out.give(Input::UserText(text.into()));
        } else if !has_audio {
            let instructions = response["instructions"].as_str().unwrap_or_default();
            out.give(Input::Prompt(Prompt::Ask(instructions.into())));
        }
        self.wanted = Some(response);
        Ok(())
    }
}

/// What the session says.
impl Realtime {
    fn on_speech(&mut self, id: InvocationId, start: Micros, out: &mut Exchange) {
        let item = self.id("item");
        self.utterance = Some((id, item.clone(), start));
        let event = json!({
            "type": "input_audio_buffer.speech_started", "audio_start_ms": start.as_ms(), "item_id": item
        });
        self.say(event, out);
    }

    fn on_speech_end(&mut self, id: InvocationId, out: &mut Exchange) {
        let Some((_, item, _)) = self.utterance.clone().filter(|(of, ..)| *of == id) else { return };
        let end = Micros::of_samples(self.all_samples, CALL_RATE_HZ).as_ms();
        self.heard_samples = 0;
        self.say(json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": end, "item_id": item}), out);
        let previous = self.conversation.last();
        let committed = json!({"type": "input_audio_buffer.committed", "item_id": item, "previous_item_id": previous});
        self.say(committed, out);
        self.conversation.add(Item::of_caller(item.clone()));
        self.tell_item(&item, previous.as_deref(), out);
    }

    fn on_transcript(&mut self, id: InvocationId, transcript: &Transcript, out: &mut Exchange) {
        if transcript.understanding == Understanding::Partial {
            return;
        }
        let Some((_, item, start)) = self.utterance.take_if(|(of, ..)| *of == id) else { return };
        let text = transcript.text.as_ref();
        self.conversation.hear(&item, text);
        let kind = "conversation.item.input_audio_transcription";
        if !text.is_empty() {
            let delta = json!({"type": format!("{kind}.delta"), "item_id": item, "content_index": 0, "delta": text});
            self.say(delta, out);
        }
        let seconds = transcript.watermark.max(start).since(start).0 as f64 / 1e6;
        let completed = json!({
            "type": format!("{kind}.completed"), "item_id": item, "content_index": 0, "transcript": text,
            "usage": {"type": "duration", "seconds": seconds}
        });
        self.say(completed, out);
    }

    fn on_turn(&mut self, turn: TurnId, out: &mut Exchange) {
        let id = self.id("resp");
        let wanted = self.wanted.take().unwrap_or_default();
        let metadata = wanted.get("metadata").cloned().unwrap_or(Value::Null);
        let (item, index, transcript, calls) = (None, 0, String::new(), Vec::new());
        self.response = Some(Response { turn, id, item, index, transcript, metadata, calls });
        let response = self.shown_response("in_progress", &Value::Null, &[]);
        self.say(json!({"type": "response.created", "response": response}), out);
    }

    fn shown_response(&self, status: &str, details: &Value, output: &[Value]) -> Value {
        let (id, metadata) =
            self.response.as_ref().map_or(("", Value::Null), |response| (&response.id, response.metadata.clone()));
        let tokens = json!({"text_tokens": 0, "audio_tokens": 0});
        let mut usage = json!({"total_tokens": 0, "input_tokens": 0, "output_tokens": 0});
        usage["input_token_details"] = tokens.clone();
        usage["output_token_details"] = tokens;
        json!({
            "id": id, "object": "realtime.response", "status": status, "status_details": details,
            "output": output, "output_modalities": self.session.modalities(),
            "audio": {"output": self.session.audio_output()}, "usage": usage, "metadata": metadata,
            "conversation_id": format!("conv_{}", self.name), "max_output_tokens": "inf"
        })
    }

    /// The response's item, which begins with its first word or its first sound.
    fn begin_item(&mut self, out: &mut Exchange) -> Option<(String, String)> {
        if let Some(turn) = self.calls.turn().filter(|_| self.response.is_none()) {
            self.on_turn(turn, out);
        }
        let response = self.response.as_ref()?;
        let (response_id, turn) = (response.id.clone(), response.turn);
        if let Some(item) = &response.item {
            return Some((response_id, item.clone()));
        }
        let item = self.id("item");
        let previous = self.conversation.last();
        self.conversation.add(Item::of_agent(item.clone()));
        if let Some(response) = &mut self.response {
            response.item = Some(item.clone());
            response.index = response.calls.len();
        }
        let index = self.index();
        if self.spoken.len() == MAX_SPOKEN {
            self.spoken.remove(0);
        }
        self.spoken.push(Spoken { item: item.clone(), turn, sent_until: 0, sent_again: 0 });
        let shown = self.conversation.shown(&item).unwrap_or_default();
        self.say(
            json!({
                "type": "response.output_item.added", "response_id": response_id, "output_index": index, "item": shown
            }),
            out,
        );
        self.say(json!({"type": "conversation.item.added", "previous_item_id": previous, "item": shown}), out);
        let part = self.session.part("");
        self.say(self.of_part("response.content_part.added", &response_id, &item, json!({"part": part})), out);
        Some((response_id, item))
    }

    /// The place of the response's words among its items.
    fn index(&self) -> usize {
        self.response.as_ref().map_or(0, |response| response.index)
    }

    fn of_part(&self, kind: &str, response_id: &str, item: &str, more: Value) -> Value {
        let mut event = json!({
            "type": kind, "response_id": response_id, "item_id": item, "output_index": self.index(), "content_index": 0
        });
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }

    fn on_words(&mut self, text: &str, out: &mut Exchange) {
        let Some((response_id, item)) = self.begin_item(out) else { return };
        let Some(response) = &mut self.response else { return };
        let delta = if response.transcript.is_empty() { text.to_owned() } else { format!(" {text}") };
        response.transcript.push_str(&delta);
        let kind = format!("{}.delta", self.session.words());
        self.say(self.of_part(&kind, &response_id, &item, json!({"delta": delta})), out);
    }

    fn on_sound(&mut self, bytes: &[u8], out: &mut Exchange) {
        if bytes.is_empty() || self.session.is_text() {
            return;
        }
        let Some((response_id, item)) = self.begin_item(out) else { return };
        let delta = json!({"delta": STANDARD.encode(bytes)});
        self.say(self.of_part("response.output_audio.delta", &response_id, &item, delta), out);
    }

    /// The response is over. `details` say why, unless it is whole.
    fn finish_response(&mut self, turn: Option<TurnId>, status: &str, details: &Value, out: &mut Exchange) {
        if self.response.as_ref().is_none_or(|response| Some(response.turn) != turn) {
            return;
        }
        if status == "completed" {
            for piece in self.agent.finish() {
                self.on_sound(&piece, out);
            }
        }
        let mut output = Vec::new();
        let (response_id, item, transcript) = match &self.response {
            Some(response) => (response.id.clone(), response.item.clone(), response.transcript.clone()),
            None => return,
        };
        if let Some(item) = item {
            self.conversation.say(&item, self.session.is_text(), &transcript, status == "completed");
            if !self.session.is_text() {
                self.say(self.of_part("response.output_audio.done", &response_id, &item, json!({})), out);
            }
            let key = if self.session.is_text() { "text" } else { "transcript" };
            let kind = format!("{}.done", self.session.words());
            self.say(self.of_part(&kind, &response_id, &item, json!({key: transcript})), out);
            let part = json!({"part": self.session.part(&transcript)});
            self.say(self.of_part("response.content_part.done", &response_id, &item, part), out);
            let shown = self.conversation.shown(&item).unwrap_or_default();
            let previous = self.conversation.before(&item);
            self.say(json!({"type": "conversation.item.done", "previous_item_id": previous, "item": shown}), out);
            let done = json!({
                "type": "response.output_item.done", "response_id": response_id, "output_index": self.index(),
                "item": shown
            });
            self.say(done, out);
            output.push(shown);
        }
        let calls = self.response.as_ref().map(|response| response.calls.clone()).unwrap_or_default();
        let index = if output.is_empty() { calls.len() } else { self.index() };
        let shown: Vec<Value> = calls.iter().filter_map(|call| self.conversation.shown(call)).collect();
        let (before, behind) = shown.split_at(index.min(shown.len()));
        let output = [before, &output, behind].concat();
        let response = self.shown_response(status, details, &output);
        self.response = None;
        self.say(json!({"type": "response.done", "response": response}), out);
        self.say(json!({"type": "rate_limits.updated", "rate_limits": []}), out);
    }
}

impl Transport for Realtime {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "realtime",
            acknowledges: false,
            clears: false,
            tells: true,
            streams: false,
            resumes: false,
        }
    }

    fn on_open(&mut self, _now: Micros, out: &mut Exchange) {
        out.bind(Bind::default());
    }

    fn on_bound(&mut self, _now: Micros, bound: &Bound, out: &mut Exchange) {
        self.bound = true;
        let short: String = bound.session.chars().filter(char::is_ascii_alphanumeric).skip(4).take(12).collect();
        self.name = format!("{short}_");
        self.session.name(&bound.session);
        let session = self.session.shown();
        self.say(json!({"type": "session.created", "session": session}), out);
    }

    fn on_message(&mut self, _now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        let Message::Text(text) = message else {
            return Err(Refusal::mild(RefusalCode::Unknown, "events are text messages of JSON"));
        };
        if !self.bound {
            return Err(Refusal::mild(RefusalCode::OutOfOrder, "there is no session yet"));
        }
        let (event_id, event) = events::read(&text);
        if let Err(wrong) = event.and_then(|event| self.on_event(event, out)) {
            self.say(wrong.event(event_id.as_deref()), out);
        }
        Ok(())
    }

    fn ask(&mut self, now: Micros, asked: &Asked, out: &mut Exchange) -> bool {
        let is_ours = asked.what.is_empty();
        if is_ours {
            self.call(now, asked, out);
        }
        is_ours
    }

    fn next_at(&self) -> Option<Micros> {
        self.calls.next_at()
    }

    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        self.calls.give_up(now, out);
        self.finish_if_it_waits(now, out);
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        self.calls.on_sound(now);
        let until = audio.from_sample + audio.frame.samples.len() as u64;
        if self.session.is_text() {
            // Nobody hears it: who reads has read it.
            let occasion = AckOccasion::Drained;
            out.acknowledge(PlayoutAck { turn: audio.turn, heard_samples: until, occasion });
            return;
        }
        if self.response.as_ref().is_none_or(|response| response.turn != audio.turn) {
            // What opened it was dropped, because the client did not read.
            let before = self.response.as_ref().map(|response| response.turn);
            self.finish_response(before, "incomplete", &json!({"type": "incomplete"}), out);
            self.on_turn(audio.turn, out);
        }
        for piece in self.agent.push(&audio.frame).unwrap_or_default() {
            self.on_sound(&piece, out);
        }
        if let Some(spoken) = self.spoken.iter_mut().rfind(|spoken| spoken.turn == audio.turn) {
            spoken.sent_again += spoken.sent_until.saturating_sub(audio.from_sample);
            spoken.sent_until = until;
        }
    }

    /// There is no word for it: clients stop playing when they hear that the caller speaks, or that a response is cancelled.
    fn fence(&mut self, _now: Micros, _turn: TurnId, _epoch: EgressEpoch, _out: &mut Exchange) {
        self.agent.reset();
    }

    fn tell(&mut self, at: Micros, entry: &Entry, out: &mut Exchange) {
        match entry {
            Entry::Effect(Effect::Invoke { id, request, .. }) => match request {
                Request::Transcribe { media_start, .. } => self.on_speech(*id, *media_start, out),
                Request::Speak { text } => self.on_words(text, out),
                Request::Chat { .. } => self.calls.on_model(Some(*id)),
                Request::Tool(_) => {}
            },
            Entry::Input(_, Input::Provider(id, ProviderResult::End(_))) if self.calls.on_model_end(*id) => {
                self.finish_if_it_waits(at, out);
            }
            Entry::Effect(Effect::FeedEnd { id }) => self.on_speech_end(*id, out),
            Entry::Input(_, Input::Provider(id, ProviderResult::Transcript(transcript))) => {
                self.on_transcript(*id, transcript, out);
            }
            Entry::Signal(Some(turn), Signal::TurnOpen { .. }) => {
                self.calls.begin(*turn);
                self.on_turn(*turn, out);
            }
            Entry::Signal(turn, Signal::CancelAccepted { reason }) => {
                self.calls.end(out);
                let reason = if *reason == CancelReason::BargeIn { "turn_detected" } else { "client_cancelled" };
                self.finish_response(*turn, "cancelled", &json!({"type": "cancelled", "reason": reason}), out);
            }
            Entry::Signal(turn, Signal::Commit) => {
                self.calls.end(out);
                self.finish_response(*turn, "completed", &Value::Null, out);
            }
            Entry::Signal(turn, Signal::Abort { reason }) => {
                self.calls.end(out);
                let error = json!({"type": "server_error", "code": reason.name()});
                self.finish_response(*turn, "failed", &json!({"type": "failed", "error": error}), out);
            }
            Entry::Signal(None, signal) => {
                if let Some(event) = turned_away(signal) {
                    self.say(event, out);
                }
            }
            _ => {}
        }
    }

    fn refuse(&mut self, _now: Micros, refusal: &Refusal, out: &mut Exchange) {
        let event = Wrong::new(refusal.code.name(), &refusal.says).event(None);
        self.say(event, out);
    }

    fn on_end(&mut self, _now: Micros, ended: &Ended, out: &mut Exchange) {
        if let Ended::Refused(refusal) = ended {
            let event = Wrong::new(refusal.code.name(), &refusal.says).event(None);
            self.say(event, out);
        }
    }
}

#[cfg(test)]
mod tests;
