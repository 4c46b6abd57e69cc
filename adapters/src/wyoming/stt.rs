//! A recogniser behind Wyoming: audio in, and after each stretch of it, what was heard in it.

use std::time::Duration;

use rspp_specs::event::AudioFrame;
use serde_json::Value;

use super::connection::{Connection, Deadline};
use super::framing::WireEvent;
use super::{Fault, WyomingError};

/// What a recogniser heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// All words so far of an utterance that goes on; they may still change.
    Partial(String),
    /// The words of an utterance; empty if there was no speech.
    Final(String),
    /// There was speech, and nothing that the recogniser is there to understand.
    Rejected,
}

impl Heard {
    /// Whether it closes an utterance.
    pub fn is_final(&self) -> bool {
        !matches!(self, Heard::Partial(_))
    }
}

/// Whether a recogniser's answers can be told apart by the audio that they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// It works through events one after the other, so that what comes before a `pong` belongs to the audio
    /// before the `ping`. Gives partials, at the same place in every run.
    InOrder,
    /// It does not, or nobody knows. Gives finals only.
    Unknown,
}

/// How to drive a recogniser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecogniserOptions {
    /// Whether its answers come in order.
    pub ordering: Ordering,
    /// The model to ask for, if not the engine's first.
    pub model: Option<String>,
    /// The language to ask for, as `en`.
    pub language: Option<String>,
    /// How long it may take for one stretch of audio; only with [`Ordering::InOrder`].
    pub chunk_timeout: Duration,
    /// How long it may take from the end of the audio to the transcript.
    pub final_timeout: Duration,
}

impl RecogniserOptions {
    /// Generous limits, no model and no language.
    pub fn new(ordering: Ordering) -> Self {
        RecogniserOptions {
            ordering,
            model: None,
            language: None,
            chunk_timeout: Duration::from_secs(5),
            final_timeout: Duration::from_secs(20),
        }
    }
}

/// One recogniser on its connection: one utterance at a time.
#[derive(Debug)]
pub struct Recogniser {
    connection: Connection,
    options: RecogniserOptions,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Listening(Utterance),
    /// Answers to an earlier question are on their way, and nobody can tell them from those to the next.
    OutOfStep,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Utterance {
    rate_hz: u32,
    /// Samples sent.
    sent: u64,
    /// What streamed in so far.
    partial: String,
    /// Between `transcript-start` and `transcript-stop`.
    streaming: bool,
    /// A final has come since the start.
    closed: bool,
}

impl Recogniser {
    /// A recogniser behind `connection`.
    pub fn new(connection: Connection, options: RecogniserOptions) -> Self {
        Recogniser { connection, options, state: State::Idle }
    }

    /// The connection; for its name.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins an utterance of audio at `rate_hz` samples a second.
    ///
    /// # Errors
    ///
    /// [`Fault::Misuse`] within an utterance, [`Fault::OutOfStep`] after a failure, or as the connection fails.
    pub fn start(&mut self, rate_hz: u32) -> Result<(), WyomingError> {
        match self.state {
            State::Idle => {}
            State::Listening(_) => return Err(self.connection.failed(Fault::Misuse("start within an utterance"))),
            State::OutOfStep => return Err(self.connection.failed(Fault::OutOfStep)),
        }
        // Until both are sent, nobody knows what the engine thinks.
        self.state = State::OutOfStep;
        let mut transcribe = WireEvent::new("transcribe");
        for (name, value) in [("name", &self.options.model), ("language", &self.options.language)] {
            if let Some(value) = value {
                transcribe = transcribe.with(name, value.as_str());
            }
        }
        self.connection.send(&transcribe)?;
        self.connection.send(&describe_pcm("audio-start", rate_hz, 0))?;
        self.state = State::Listening(Utterance { rate_hz, ..Utterance::default() });
        Ok(())
    }

    /// Lets go of an utterance that nobody waits for any more, if there is one: its call was cancelled in the middle of it. What
    /// the engine still says of it is dropped.
    ///
    /// # Errors
    ///
    /// As [`Recogniser::finish`].
    pub fn abandon(&mut self) -> Result<(), WyomingError> {
        if matches!(self.state, State::Listening(_)) {
            self.finish()?;
        }
        Ok(())
    }

    /// Feeds audio and returns what was heard up to its end: with [`Ordering::InOrder`] always the same for the
    /// same audio, else nothing.
    ///
    /// # Errors
    ///
    /// [`Fault::Misuse`] outside an utterance or for another rate than it began with; [`Fault::Engine`] if the
    /// engine reports a failure; or as the connection fails. The utterance is over then.
    pub fn send_audio(&mut self, frame: &AudioFrame) -> Result<Vec<Heard>, WyomingError> {
        let mut utterance = self.take_utterance("audio outside an utterance")?;
        if frame.rate_hz != utterance.rate_hz {
            return Err(self.connection.failed(Fault::Misuse("audio of another rate than the utterance's")));
        }
        let timestamp = utterance.sent * 1_000 / u64::from(utterance.rate_hz.max(1));
        let payload = frame.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.connection.send(&describe_pcm("audio-chunk", frame.rate_hz, timestamp).carrying(payload))?;
        utterance.sent += frame.samples.len() as u64;
        let mut heard = Vec::new();
        if self.options.ordering == Ordering::InOrder {
            let pong = self.connection.ping()?;
            self.listen(&mut utterance, &mut heard, Some(&pong), false)?;
        }
        self.state = State::Listening(utterance);
        Ok(heard)
    }

    /// Ends the utterance and returns the rest of what was heard; a final is among it, unless
    /// [`Recogniser::send_audio`] already returned one.
    ///
    /// # Errors
    ///
    /// As [`Recogniser::send_audio`].
    pub fn finish(&mut self) -> Result<Vec<Heard>, WyomingError> {
        let mut utterance = self.take_utterance("finish outside an utterance")?;
        let timestamp = utterance.sent * 1_000 / u64::from(utterance.rate_hz.max(1));
        self.connection.send(&WireEvent::new("audio-stop").with("timestamp", timestamp))?;
        let pong = match self.options.ordering {
            Ordering::InOrder => Some(self.connection.ping()?),
            Ordering::Unknown => None,
        };
        let mut heard = Vec::new();
        self.listen(&mut utterance, &mut heard, pong.as_deref(), true)?;
        if self.options.ordering == Ordering::Unknown {
            heard.retain(Heard::is_final);
        }
        self.state = State::Idle;
        Ok(heard)
    }

    /// Takes the utterance out: if the caller fails, its connection is out of step.
    fn take_utterance(&mut self, otherwise: &'static str) -> Result<Utterance, WyomingError> {
        match std::mem::replace(&mut self.state, State::OutOfStep) {
            State::Listening(utterance) => Ok(utterance),
            State::Idle => {
                self.state = State::Idle;
                Err(self.connection.failed(Fault::Misuse(otherwise)))
            }
            State::OutOfStep => Err(self.connection.failed(Fault::OutOfStep)),
        }
    }

    /// Listens until `pong` has come, if there is one to come, and if `to_the_end` until a final has come.
    fn listen(
        &mut self,
        utterance: &mut Utterance,
        heard: &mut Vec<Heard>,
        pong: Option<&str>,
        to_the_end: bool,
    ) -> Result<(), WyomingError> {
        let deadline = match to_the_end {
            true => Deadline::after(self.options.final_timeout, "transcript"),
            false => Deadline::after(self.options.chunk_timeout, "pong"),
        };
        let mut pong_due = pong.is_some();
        while pong_due || (to_the_end && (utterance.streaming || !utterance.closed)) {
            let event = self.connection.receive(deadline)?;
            match event.kind.as_str() {
                "pong" if Some(event.text("text")) == pong => pong_due = false,
                "error" => return Err(self.connection.reported(&event)),
                _ => heard.extend(utterance.hear(&event)),
            }
        }
        Ok(())
    }
}

impl Utterance {
    fn hear(&mut self, event: &WireEvent) -> Option<Heard> {
        match event.kind.as_str() {
            "transcript-start" => {
                self.streaming = true;
                self.partial.clear();
                None
            }
            "transcript-chunk" => {
                self.partial.push_str(event.text("text"));
                let words = self.partial.trim();
                (!words.is_empty()).then(|| Heard::Partial(words.to_owned()))
            }
            "transcript" => {
                self.closed = true;
                self.partial.clear();
                Some(closing(event))
            }
            "transcript-stop" => {
                self.streaming = false;
                None
            }
            _ => None,
        }
    }
}

/// What a `transcript` says. Rejection is our own extension: no text, and `rejected` in the context.
fn closing(event: &WireEvent) -> Heard {
    let text = event.text("text").trim();
    let rejected = event.data.get("context").and_then(|context| context.get("rejected")) == Some(&Value::Bool(true));
    if text.is_empty() && rejected { Heard::Rejected } else { Heard::Final(text.to_owned()) }
}

/// An event that describes 16-bit mono audio; `timestamp` in milliseconds of media time.
fn describe_pcm(kind: &str, rate_hz: u32, timestamp: u64) -> WireEvent {
    WireEvent::new(kind).with("rate", rate_hz).with("width", 2).with("channels", 1).with("timestamp", timestamp)
}
