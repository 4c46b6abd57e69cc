//! Telephone calls over the media streams of Twilio, Telnyx and Plivo. `docs/telephony.md` says how a number gets here.
//!
//! A provider's stream begins with a start, whose call is what is bound; then the caller's audio comes in 20 ms at a time,
//! is put in order where the provider numbers it, and is brought to the call's rate. What is sent back has marks around it,
//! and what comes back of them is what was heard. At a fence the provider is told to clear; a decay at the cut is not ours
//! to make, because the provider plays.

use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::TurnId;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Input};
use serde_json::Value;

use crate::audio::{
    CALL_RATE_HZ, Concealer, Digit, Inbound, Jitter, JitterProfile, MAX_DIALLED_DIGITS, Next, Outbound, WireAudioError,
    dial,
};
use crate::telephony::{Dialect, Heard, Keypad, KeypadRules, Malformed, Media, Playout, Provider, Start};
use crate::tools::KEYPAD;
use crate::transport::{
    Asked, Audio, Bind, Bound, Capabilities, Ended, Exchange, Message, Refusal, RefusalCode, Transport,
};

/// After so long without another frame an answer is over: its last milliseconds leave the filter, and the last mark is
/// set. The pacer sends a frame every 20 ms, 40 ms ahead of its time, so the mark is there before the end is played.
const ANSWER_ENDS_AFTER: Micros = Micros::from_ms(30);
/// Chunks a second: each is 20 ms.
const CHUNKS_A_SECOND: u32 = 50;
/// The parameter of a start that may carry the session token.
pub const TOKEN_PARAMETER: &str = "token";

/// One call's line.
pub struct Telephony {
    dialect: &'static Dialect,
    /// The only call that may come, where it is known.
    expected: Option<String>,
    keys: Keypad,
    line: Option<Line>,
    bound: bool,
}

/// What there is once a stream has begun.
struct Line {
    start: Start,
    inbound: Inbound,
    order: Jitter<Vec<u8>>,
    concealer: Concealer,
    /// Samples of the last chunk at the wire's rate: what one that is lost had.
    chunk_samples: u64,
    outbound: Outbound,
    playout: Playout,
    /// When the answer that is being sent is over, if no more of it comes.
    answer_ends_at: Option<Micros>,
}

impl Line {
    fn new(start: Start) -> Result<Self, WireAudioError> {
        Ok(Self {
            inbound: Inbound::new(start.format, CALL_RATE_HZ)?,
            order: Jitter::new(JitterProfile::RELIABLE, CHUNKS_A_SECOND),
            concealer: Concealer::new(start.format.rate_hz),
            chunk_samples: u64::from(start.format.rate_hz / CHUNKS_A_SECOND),
            outbound: Outbound::new(start.format)?,
            playout: Playout::default(),
            answer_ends_at: None,
            start,
        })
    }
}

impl Telephony {
    /// A line of this provider's, for any call or for the one that is expected.
    pub fn new(provider: Provider, keys: KeypadRules, expected: Option<String>) -> Self {
        Self { dialect: provider.dialect(), expected, keys: Keypad::new(keys), line: None, bound: false }
    }

    /// How the stream began, once it has.
    pub fn start(&self) -> Option<&Start> {
        self.line.as_ref().map(|line| &line.start)
    }

    /// Keys for the far end: beside the audio where the provider can send them, else as their tones in it.
    pub fn dial(&mut self, digits: &[Digit], out: &mut Exchange) {
        let Some(line) = &mut self.line else { return };
        if let Some(message) = self.dialect.dial(digits) {
            return out.say(message);
        }
        let format = line.start.format;
        let samples: Arc<[i16]> = dial(digits, format.rate_hz).into();
        let frame = AudioFrame { samples, rate_hz: format.rate_hz, spoken_by: None };
        // A writer of its own, so that the answer's filter does not know of it.
        let pieces = Outbound::new(format).and_then(|mut tones| tones.push(&frame)).unwrap_or_default();
        pieces.iter().for_each(|piece| out.say(self.dialect.media(&line.start.stream, format, piece)));
    }

    fn on_start(&mut self, start: Start, out: &mut Exchange) -> Result<(), Refusal> {
        if self.line.is_some() {
            return Err(Refusal::mild(RefusalCode::OutOfOrder, "a stream starts once"));
        }
        if self.expected.as_ref().is_some_and(|expected| *expected != start.call) {
            return Err(Refusal::fatal(RefusalCode::Unauthorized, "the stream is of another call than its address"));
        }
        let bind = Bind {
            token: start.parameters.get(TOKEN_PARAMETER).cloned(),
            label: Some(start.call.clone()),
            ..Bind::default()
        };
        let line = Line::new(start).map_err(|error| Refusal::fatal(RefusalCode::Unsupported, error.to_string()))?;
        self.line = Some(line);
        out.bind(bind);
        Ok(())
    }

    fn on_media(&mut self, now: Micros, media: Media, out: &mut Exchange) -> Result<(), Refusal> {
        let Some(line) = &mut self.line else {
            return Err(Refusal::mild(RefusalCode::OutOfOrder, "audio before the stream's start"));
        };
        // Before there is a session nobody listens; it takes a moment.
        if media.outbound || !self.bound || media.audio.is_empty() {
            return Ok(());
        }
        match media.chunk.filter(|_| line.start.one_track) {
            Some(chunk) => {
                line.order.insert(now, chunk, 1, media.audio);
                line.hear(now, out)
            }
            None => line.take(&media.audio, out),
        }
    }

    fn give_keyed(keyed: Option<String>, out: &mut Exchange) {
        if let Some(keyed) = keyed {
            out.give(Input::UserText(keyed.into()));
        }
    }
}

impl Line {
    /// What is in order by now goes in.
    fn hear(&mut self, now: Micros, out: &mut Exchange) -> Result<(), Refusal> {
        while let Some(next) = self.order.pull(now) {
            match next {
                Next::Packet(audio) => self.take(&audio, out)?,
                Next::Lost { samples: chunks } => {
                    let mut made = Vec::new();
                    self.concealer.lost(chunks * self.chunk_samples, &mut made);
                    let frames = self.inbound.push_samples(&made).map_err(|error| unsupported(&error))?;
                    frames.into_iter().for_each(|frame| out.give(Input::CallerAudio(frame)));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, audio: &[u8], out: &mut Exchange) -> Result<(), Refusal> {
        let (mut samples, mut heard) = (Vec::with_capacity(audio.len()), Vec::with_capacity(audio.len()));
        self.inbound.read(audio, &mut samples).map_err(|error| unsupported(&error))?;
        self.chunk_samples = samples.len() as u64;
        self.concealer.push(&samples, &mut heard);
        let frames = self.inbound.push_samples(&heard).map_err(|error| unsupported(&error))?;
        frames.into_iter().for_each(|frame| out.give(Input::CallerAudio(frame)));
        Ok(())
    }

    fn end_answer(&mut self, dialect: &Dialect, out: &mut Exchange) {
        self.answer_ends_at = None;
        for piece in self.outbound.finish() {
            out.say(dialect.media(&self.start.stream, self.start.format, &piece));
        }
        if let Some(mark) = self.playout.pause() {
            out.say(dialect.mark(&self.start.stream, &mark));
        }
    }
}

/// Nobody can speak with a line whose audio is not understood; anything else is passed over.
fn refused(malformed: &Malformed) -> Refusal {
    match malformed {
        Malformed::Format(_) => Refusal::fatal(RefusalCode::Unsupported, malformed.to_string()),
        _ => Refusal::mild(RefusalCode::Malformed, malformed.to_string()),
    }
}

fn unsupported(error: &WireAudioError) -> Refusal {
    Refusal::mild(RefusalCode::Unsupported, error.to_string())
}

impl Transport for Telephony {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: self.dialect.provider.name(),
            acknowledges: true,
            clears: true,
            tells: false,
            streams: true,
            resumes: false,
        }
    }

    fn on_open(&mut self, _now: Micros, _out: &mut Exchange) {}

    fn on_bound(&mut self, _now: Micros, _bound: &Bound, _out: &mut Exchange) {
        self.bound = true;
    }

    fn on_message(&mut self, now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        let Message::Text(text) = message else {
            return Err(Refusal::mild(RefusalCode::Malformed, "a media stream's messages are text"));
        };
        let heard = self.dialect.read(&text);
        match heard.map_err(|malformed| refused(&malformed))? {
            Heard::Start(start) => return self.on_start(*start, out),
            Heard::Media(media) => return self.on_media(now, media, out),
            Heard::Key(digit) if self.bound => Self::give_keyed(self.keys.press(now, digit), out),
            Heard::Marked(name) => {
                let acks = self.line.as_mut().map(|line| line.playout.on_marked(now, &name));
                acks.into_iter().flatten().for_each(|ack| out.acknowledge(ack));
            }
            Heard::Stop => out.leave(),
            Heard::Fault(says) => {
                let says = format!("{} says: {says}", self.dialect.provider.name());
                return Err(Refusal::mild(RefusalCode::Unknown, says));
            }
            // Where playing stopped was said when the clear was sent.
            Heard::Connected | Heard::Cleared | Heard::Key(_) | Heard::Other => {}
        }
        Ok(())
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        let Some(line) = &mut self.line else { return };
        let (stream, format) = (line.start.stream.clone(), line.start.format);
        let (samples, rate_hz) = (audio.frame.samples.len() as u64, audio.frame.rate_hz);
        let marks = line.playout.send(now, audio.turn, audio.from_sample, samples, rate_hz);
        let mark = |name: String| self.dialect.mark(&stream, &name);
        marks.before.map(mark).into_iter().for_each(|message| out.say(message));
        // Frames come from the core, whose rates are all within ours.
        for piece in line.outbound.push(&audio.frame).unwrap_or_default() {
            out.say(self.dialect.media(&stream, format, &piece));
        }
        marks.behind.map(mark).into_iter().for_each(|message| out.say(message));
        line.answer_ends_at = Some(now + ANSWER_ENDS_AFTER);
    }

    fn fence(&mut self, now: Micros, turn: TurnId, _epoch: EgressEpoch, out: &mut Exchange) {
        let Some(line) = &mut self.line else { return };
        out.say(self.dialect.clear(&line.start.stream));
        line.outbound.reset();
        line.answer_ends_at = None;
        out.acknowledge(line.playout.clear(now, turn));
    }

    /// A model presses keys, by a tool that is bound to `client:keypad`.
    fn ask(&mut self, _now: Micros, asked: &Asked, out: &mut Exchange) -> bool {
        if &*asked.what != KEYPAD {
            return false;
        }
        let arguments: Value = serde_json::from_str(&asked.call.arguments).unwrap_or_default();
        let keys: Option<Vec<Digit>> =
            arguments["keys"].as_str().and_then(|keys| keys.chars().map(Digit::new).collect());
        match keys.filter(|keys| (1..=MAX_DIALLED_DIGITS).contains(&keys.len())) {
            Some(keys) => {
                self.dial(&keys, out);
                Asked::answer(asked.id, "pressed", Outcome::Success, out);
            }
            None => {
                let says = format!("error: `keys` is a text of 1 to {MAX_DIALLED_DIGITS} keys: 0 to 9, *, #, A to D");
                Asked::answer(asked.id, says, Outcome::InvalidRequest, out);
            }
        }
        true
    }

    fn next_at(&self) -> Option<Micros> {
        let line = self.line.as_ref().filter(|_| self.bound);
        let times = line.map(|line| [line.answer_ends_at, line.order.next_at()]).into_iter().flatten();
        times.chain([self.keys.next_at()]).flatten().min()
    }

    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        Self::give_keyed(self.keys.on_time(now), out);
        let Some(line) = &mut self.line else { return };
        // What is made up for a lost chunk is within the rates of the line.
        let _ = line.hear(now, out);
        if line.answer_ends_at.is_some_and(|at| now >= at) {
            line.end_answer(self.dialect, out);
        }
    }

    fn refuse(&mut self, _now: Micros, _refusal: &Refusal, _out: &mut Exchange) {
        // The protocol has no word for it, and a telephone no ear.
    }

    fn on_end(&mut self, _now: Micros, _ended: &Ended, _out: &mut Exchange) {
        // The provider goes on with what follows the stream in its document when the socket closes: it hangs up.
    }
}

#[cfg(test)]
mod tests;
