//! RTVI over a WebSocket, so that Pipecat's client libraries connect unchanged. `docs/rtvi.md` says what is spoken.
//!
//! Binary messages are protobuf frames: audio, and RTVI's JSON in a frame of its own. A client says `client-ready` and
//! sends audio at once; the answer, `bot-ready`, is given when the session is there. The client plays what it gets and
//! can't be told to throw it away: what was sent is heard, so no more is sent than the pacer's lookahead, and a cut ends
//! with a decay.

mod frames;
mod story;

use std::sync::Arc;

use bytes::Bytes;
use rspp_specs::ids::TurnId;
use rspp_specs::limits::MAX_TEXT_BYTES;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Entry, Input};
use serde_json::{Value, json};

use crate::audio::{CALL_RATE_HZ, Digit, Inbound, Outbound, WireFormat, decay};
use crate::telephony::{Keypad, KeypadRules, MAX_KEYED_DIGITS};
use crate::transport::{Audio, Bind, Bound, Capabilities, Ended, Exchange, Message, Refusal, RefusalCode, Transport};
use frames::{Frame, Kind};
use story::Story;

pub use frames::{AudioFrame as WireAudio, Frame as WireFrame, Kind as WireKind, MessageFrame as WireMessage};

/// The version of RTVI that is spoken.
pub const VERSION: &str = "2.1.0";
/// Clients play at this rate, whatever a frame says.
pub const PLAYED_RATE_HZ: u32 = 24_000;
/// The label of every RTVI message.
const LABEL: &str = "rtvi-ai";
/// After so long without another frame an answer is over: what the filter still has of it is sent.
const ANSWER_ENDS_AFTER: Micros = Micros::from_ms(30);
/// An id that a client may give a message.
const MAX_ID_BYTES: usize = 128;

/// One client's connection.
pub struct Rtvi {
    asked: bool,
    bound: bool,
    /// The id of the client's `client-ready`, until it is answered.
    ready: Option<Value>,
    inbound: Option<(u32, Inbound)>,
    outbound: Outbound,
    /// The last sample that was sent, at the rate of the frame it was in: where a cut decays from.
    last_sample: (i16, u32),
    answer_ends_at: Option<Micros>,
    keys: Keypad,
    story: Story,
    next_frame: u64,
    next_message: u64,
}

impl Default for Rtvi {
    fn default() -> Self {
        Self::new()
    }
}

impl Rtvi {
    /// Nothing has been said yet.
    pub fn new() -> Self {
        Self {
            asked: false,
            bound: false,
            ready: None,
            inbound: None,
            outbound: Outbound::new(WireFormat::pcm(PLAYED_RATE_HZ)).expect("the rate is one that is converted"),
            last_sample: (0, CALL_RATE_HZ),
            answer_ends_at: None,
            keys: Keypad::new(KeypadRules::default()),
            story: Story::default(),
            next_frame: 0,
            next_message: 0,
        }
    }

    /// Whatever a client says first, it wants a session.
    fn ask(&mut self, out: &mut Exchange) {
        if !std::mem::replace(&mut self.asked, true) {
            out.bind(Bind::default());
        }
    }

    fn say(&mut self, kind: &str, id: Option<&Value>, data: Value, out: &mut Exchange) {
        self.next_message += 1;
        let id = id.cloned().unwrap_or_else(|| json!(format!("rspp-{}", self.next_message)));
        let mut message = json!({"label": LABEL, "type": kind, "id": id});
        if !data.is_null() {
            message["data"] = data;
        }
        let frame = frames::MessageFrame { data: message.to_string() };
        out.say_bytes(Frame::write(Kind::Message(frame)));
    }

    /// When both are there, the client's word and the session.
    fn answer_ready(&mut self, out: &mut Exchange) {
        if let Some(id) = self.ready.take_if(|_| self.bound) {
            let about = json!({"library": "rspp", "library_version": env!("CARGO_PKG_VERSION")});
            self.say("bot-ready", Some(&id), json!({"version": VERSION, "about": about}), out);
        }
    }

    fn hear(&mut self, audio: &frames::AudioFrame, out: &mut Exchange) -> Result<(), Refusal> {
        if audio.num_channels > 1 {
            return Err(Refusal::mild(RefusalCode::Unsupported, "audio with more than one channel: send mono"));
        }
        if !self.bound {
            return Ok(());
        }
        let rate_hz = if audio.sample_rate == 0 { CALL_RATE_HZ } else { audio.sample_rate };
        let mild = |error: crate::audio::WireAudioError| Refusal::mild(RefusalCode::Unsupported, error.to_string());
        let inbound = match &mut self.inbound {
            Some((rate, inbound)) if *rate == rate_hz => inbound,
            other => {
                let inbound = Inbound::new(WireFormat::pcm(rate_hz), CALL_RATE_HZ).map_err(mild)?;
                &mut other.insert((rate_hz, inbound)).1
            }
        };
        for frame in inbound.push(&audio.audio).map_err(mild)? {
            out.give(Input::CallerAudio(frame));
        }
        Ok(())
    }

    fn on_rtvi(&mut self, now: Micros, text: &str, out: &mut Exchange) -> Result<(), Refusal> {
        let malformed = |says| Refusal::mild(RefusalCode::Malformed, says);
        let message: Value = serde_json::from_str(text).map_err(|_| malformed("a message's data is no JSON"))?;
        let kind = message["type"].as_str().ok_or_else(|| malformed("a message without a type"))?;
        if message["label"] != LABEL {
            return Ok(());
        }
        let id = &message["id"];
        if id.as_str().is_some_and(|id| id.len() > MAX_ID_BYTES) {
            return Err(malformed("a message's id is too long"));
        }
        let data = &message["data"];
        match kind {
            "client-ready" => {
                self.ready = Some(id.clone());
                self.ask(out);
                self.answer_ready(out);
            }
            "disconnect-bot" => out.leave(),
            "dtmf" if self.bound => return self.on_keys(now, data, out),
            "send-text" if self.bound => return on_text(data["content"].as_str().unwrap_or_default(), out),
            // Whoever asks something of an application gets an answer: there is none behind this door.
            "client-message" => {
                let error = json!({"error": "this agent answers no client messages"});
                self.say("error-response", Some(id), error, out);
            }
            "send-text" | "dtmf" => return Err(Refusal::mild(RefusalCode::OutOfOrder, "wait for bot-ready")),
            // RTVI grows; what is not known is passed over, as its own libraries do.
            _ => {}
        }
        Ok(())
    }

    /// Those of one message are a number, unless the client goes on with it.
    fn on_keys(&mut self, now: Micros, data: &Value, out: &mut Exchange) -> Result<(), Refusal> {
        let many = data["buttons"].as_array().map(Vec::as_slice).unwrap_or_default();
        let one = data.get("button").into_iter();
        for button in many.iter().chain(one).take(MAX_KEYED_DIGITS) {
            let Some(digit) = button.as_str().and_then(Digit::named) else {
                return Err(Refusal::mild(RefusalCode::Malformed, "a key is one of 0 to 9, * and #"));
            };
            if let Some(keyed) = self.keys.press(now, digit) {
                out.give(Input::UserText(keyed.into()));
            }
        }
        Ok(())
    }

    fn send_pcm(&mut self, pieces: Vec<Bytes>, out: &mut Exchange) {
        for audio in pieces {
            self.next_frame += 1;
            let frame = frames::AudioFrame {
                id: self.next_frame,
                name: "TTSAudioRawFrame".to_owned(),
                audio,
                sample_rate: PLAYED_RATE_HZ,
                num_channels: 1,
                pts: None,
            };
            out.say_bytes(Frame::write(Kind::Audio(frame)));
        }
    }
}

fn on_text(text: &str, out: &mut Exchange) -> Result<(), Refusal> {
    match text.len() {
        0 => Err(Refusal::mild(RefusalCode::Malformed, "a text without content")),
        1..=MAX_TEXT_BYTES => {
            out.give(Input::UserText(text.into()));
            Ok(())
        }
        _ => Err(Refusal::mild(RefusalCode::TooLarge, format!("a text has at most {MAX_TEXT_BYTES} bytes"))),
    }
}

impl Transport for Rtvi {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "rtvi", acknowledges: false, clears: false, tells: true, streams: true, resumes: false }
    }

    fn on_open(&mut self, _now: Micros, _out: &mut Exchange) {}

    fn on_bound(&mut self, _now: Micros, _bound: &Bound, out: &mut Exchange) {
        self.bound = true;
        self.answer_ready(out);
    }

    fn on_message(&mut self, now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        let Message::Binary(bytes) = message else {
            let says = "RTVI's messages are binary here: protobuf frames, as the websocket transport sends them";
            return Err(Refusal::mild(RefusalCode::Malformed, says));
        };
        let malformed = || Refusal::mild(RefusalCode::Malformed, "that is no frame of Pipecat's");
        match Frame::read(bytes).ok_or_else(malformed)? {
            Kind::Audio(audio) => {
                self.ask(out);
                self.hear(&audio, out)
            }
            Kind::Message(message) => self.on_rtvi(now, &message.data, out),
            Kind::Text(text) if self.bound => on_text(&text.text, out),
            Kind::Text(_) | Kind::Transcription(_) | Kind::Interruption(_) => Ok(()),
        }
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        // Frames come from the core, whose rates are all within ours.
        let pieces = self.outbound.push(&audio.frame).unwrap_or_default();
        self.send_pcm(pieces, out);
        self.last_sample = (audio.frame.samples.last().copied().unwrap_or(0), audio.frame.rate_hz);
        self.answer_ends_at = Some(now + ANSWER_ENDS_AFTER);
    }

    fn fence(&mut self, _now: Micros, _turn: TurnId, _epoch: EgressEpoch, out: &mut Exchange) {
        // What was sent is played to its end, so the decay begins there. It is nobody's turn, and in no ledger.
        let (last, rate_hz) = std::mem::replace(&mut self.last_sample, (0, CALL_RATE_HZ));
        let samples: Arc<[i16]> = decay(last, rate_hz).collect();
        if !samples.is_empty() {
            let frame = rspp_specs::event::AudioFrame { samples, rate_hz, spoken_by: None };
            let pieces = self.outbound.push(&frame).unwrap_or_default();
            self.send_pcm(pieces, out);
        }
        self.outbound.reset();
        self.answer_ends_at = None;
    }

    fn tell(&mut self, at: Micros, entry: &Entry, out: &mut Exchange) {
        for (kind, data) in self.story.of(at, entry) {
            self.say(kind, None, data, out);
        }
    }

    fn next_at(&self) -> Option<Micros> {
        [self.keys.next_at(), self.answer_ends_at].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        if let Some(keyed) = self.keys.on_time(now) {
            out.give(Input::UserText(keyed.into()));
        }
        if self.answer_ends_at.take_if(|at| now >= *at).is_some() {
            let pieces = self.outbound.finish();
            self.send_pcm(pieces, out);
            self.last_sample = (0, CALL_RATE_HZ);
        }
    }

    fn refuse(&mut self, _now: Micros, refusal: &Refusal, out: &mut Exchange) {
        let data = json!({"error": refusal.to_string(), "fatal": refusal.fatal});
        self.say("error", None, data, out);
    }

    fn on_end(&mut self, _now: Micros, ended: &Ended, out: &mut Exchange) {
        if let Ended::Refused(refusal) = ended {
            let data = json!({"error": refusal.to_string(), "fatal": true});
            self.say("error", None, data, out);
        }
    }
}

#[cfg(test)]
mod tests;
