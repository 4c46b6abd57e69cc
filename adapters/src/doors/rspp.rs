//! RSPP's own dialect over a WebSocket. `docs/protocol.md` says it all, for clients in other languages.
//!
//! The caller says `hello` first; then audio goes both ways in binary messages, and everything else is a message with a
//! type. What the session says has a number, so that a client that comes back after its connection was lost says which it had
//! last and how far it has played, and hears everything once.

#[cfg(test)]
mod document;
mod json;
mod protobuf;
mod story;
// Made by prost-build: its style is not ours to choose, and rustfmt would make it differ from what is generated.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#[rustfmt::skip]
mod wire;

use std::any::Any;
use std::collections::VecDeque;

use rspp_specs::event::{AudioFrame, Talk};
use rspp_specs::ids::TurnId;
use rspp_specs::limits::{FRAME_MS, MAX_TEXT_BYTES, MAX_UNHEARD_MS};
use rspp_specs::outcome::{CancelReason, Cancellation};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Effect, EgressEpoch, Entry, Input, PlayoutAck, Signal};

use crate::audio::{CALL_RATE_HZ, Rechunker};
use crate::journal::{Past, ToldBefore};
use crate::transport::{
    Audio, Bind, Bound, Capabilities, Ended, Exchange, Message, Refusal, RefusalCode, Transport, is_told,
};
use json::Json;
use protobuf::Protobuf;
pub(super) use story::refusal;
pub use story::{Story, Told, TurnChange, Who};

/// The version of the protocol that is spoken.
pub const VERSION: u32 = 1;
/// Messages that are kept for a client that comes back.
pub const MAX_KEPT_MESSAGES: usize = 256;
/// How much audio is kept for it; the core keeps as much.
pub const MAX_KEPT_AUDIO: Micros = Micros::from_ms(MAX_UNHEARD_MS);

/// How messages are written, by the subprotocol that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text messages of JSON, and binary ones of audio.
    Json,
    /// Binary messages of protobuf.
    Protobuf,
}

impl Form {
    /// All of them, the one that is taken when nobody asks first.
    pub const ALL: [Form; 2] = [Form::Json, Form::Protobuf];

    /// Its subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Form::Json => "rspp.v1.json",
            Form::Protobuf => "rspp.v1.protobuf",
        }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromClient {
    /// First of all.
    Hello(Hello),
    /// The caller types.
    Text(String),
    /// The caller's button.
    Talk(Talk),
    /// The caller's microphone.
    Mute(bool),
    /// What was played.
    Playout(PlayoutAck),
    /// Stop what is being said.
    Cancel,
    /// The call is over.
    End,
    /// Answered with the same number.
    Ping(u64),
    /// 16-bit PCM.
    Audio(Vec<i16>),
}

/// With what a client begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hello {
    /// Which version of the protocol it speaks.
    pub version: u32,
    /// Its session token, unless it stood in the request.
    pub token: Option<String>,
    /// What it calls the call.
    pub label: Option<String>,
    /// Samples a second of its audio; 16,000 if it does not say.
    pub rate_hz: Option<u32>,
    /// The session that it had.
    pub resume: Option<ResumeFrom>,
}

/// Where a client that comes back stands. What it has not played it has thrown away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResumeFrom {
    /// The secret that it was given.
    pub secret: String,
    /// The number of the last message that it has.
    pub last_seq: u64,
    /// The turn that it played last, and how many of its samples.
    pub played: Option<(TurnId, u64)>,
}

/// What a server says, apart from audio.
#[derive(Clone, Debug, PartialEq)]
pub enum FromServer {
    /// The session is there.
    Ready {
        /// Its name.
        session: String,
        /// Whether it is the one that was resumed.
        resumed: bool,
        /// The secret to come back with.
        resume: Option<String>,
        /// Samples of the caller's audio that came in so far, at the call's rate.
        received_samples: u64,
        /// Messages that the client has missed, and that are kept no longer.
        missed: u64,
    },
    /// Throw away what is not played, and say how far it was played.
    Clear {
        /// Of which turn.
        turn: TurnId,
        /// Audio of an earlier epoch than this is not to be played any more.
        epoch: EgressEpoch,
    },
    /// What the session says.
    Told(Told),
    /// Something was refused.
    Error(Refusal),
    /// The line is over.
    Ended {
        /// `done`, `lost` or the code of a refusal.
        reason: &'static str,
        /// For people.
        says: String,
    },
    /// The answer to a ping.
    Pong(u64),
    /// So many messages were dropped, because the client did not read.
    Missed(u32),
}

/// One connection.
pub struct Rspp {
    form: Form,
    state: State,
    rechunker: Rechunker,
    rate_hz: u32,
    resume: Option<ResumeFrom>,
    kept: Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    Bound,
}

/// What outlives a connection.
#[derive(Default)]
struct Kept {
    story: Story,
    seq: u64,
    /// What was said lately, in no form: a client may come back with another.
    messages: VecDeque<(u64, Micros, FromServer)>,
    audio: VecDeque<Audio>,
    /// The last turn that is complete: of one that is not, the core itself sends again what was not heard.
    committed: Option<TurnId>,
    received_samples: u64,
}

/// Counts what a client is told of a session's log, so that one that comes back elsewhere is told the rest.
#[derive(Default)]
pub(crate) struct Tally {
    story: Story,
    told: ToldBefore,
}

impl Tally {
    /// From there on.
    pub(crate) fn from(told: ToldBefore) -> Self {
        Self { story: Story::default(), told }
    }

    /// So far.
    pub(crate) fn told(&self) -> ToldBefore {
        self.told
    }

    /// What [`Kept::recall`] would make of an entry.
    pub(crate) fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Effect(Effect::ClearTransport { .. }) => self.told.messages += 1,
            Entry::Input(_, Input::CallerAudio(frame)) => self.told.received_samples += frame.samples.len() as u64,
            entry if is_told(entry) => {
                self.told.messages += self.story.of(entry).iter().flatten().count() as u64;
            }
            _ => {}
        }
    }
}

impl Kept {
    /// Something counts.
    fn keep(&mut self, at: Micros, says: FromServer) {
        self.seq += 1;
        if self.messages.len() == MAX_KEPT_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back((self.seq, at, says));
    }

    fn keep_audio(&mut self, audio: Audio) {
        let most = MAX_KEPT_AUDIO.as_ms() / FRAME_MS;
        if self.audio.len() as u64 >= most {
            self.audio.pop_front();
        }
        self.audio.push_back(audio);
    }

    fn fence(&mut self, epoch: EgressEpoch) {
        self.audio.retain(|audio| audio.epoch >= epoch);
    }

    /// What is told of an entry.
    fn told_of(&mut self, entry: &Entry) -> impl Iterator<Item = FromServer> + use<> {
        if let Entry::Signal(turn, Signal::Commit) = entry {
            self.committed = *turn;
        }
        self.story.of(entry).into_iter().flatten().map(FromServer::Told)
    }

    /// Nobody needs what was played; of what was not, as much is kept as the core keeps.
    fn forget(&mut self, ack: &PlayoutAck) {
        let heard = |audio: &Audio| {
            audio.turn < ack.turn
                || audio.turn == ack.turn && audio.from_sample + audio.frame.samples.len() as u64 <= ack.heard_samples
        };
        while self.audio.front().is_some_and(heard) {
            self.audio.pop_front();
        }
    }

    /// What another server has done with the session is as if it had been done here.
    fn recall(&mut self, at: Micros, entry: &Entry) {
        match entry {
            Entry::Effect(Effect::Transmit { turn, epoch, from_sample, frame }) => {
                let (turn, epoch, from_sample) = (*turn, *epoch, *from_sample);
                self.keep_audio(Audio { turn, epoch, from_sample, frame: frame.clone() });
            }
            Entry::Effect(Effect::ClearTransport { turn, epoch }) => {
                self.fence(*epoch);
                self.keep(at, FromServer::Clear { turn: *turn, epoch: *epoch });
            }
            Entry::Input(_, Input::CallerAudio(frame)) => self.received_samples += frame.samples.len() as u64,
            Entry::Input(_, Input::PlayoutAck(ack)) => self.forget(ack),
            entry if is_told(entry) => self.told_of(entry).for_each(|told| self.keep(at, told)),
            _ => {}
        }
    }
}

impl Rspp {
    /// A connection on which this form was agreed on.
    pub fn new(form: Form) -> Self {
        let rechunker = Rechunker::live(CALL_RATE_HZ).expect("the call's rate is one that is supported");
        Self { form, state: State::New, rechunker, rate_hz: CALL_RATE_HZ, resume: None, kept: Kept::default() }
    }

    fn write(&self, seq: u64, at: Micros, says: &FromServer) -> Message {
        match self.form {
            Form::Json => Json::write(seq, at, says),
            Form::Protobuf => Protobuf::write(seq, at, says),
        }
    }

    /// Says something that counts: a client that comes back is told again what it has missed of it.
    fn say(&mut self, at: Micros, says: FromServer, out: &mut Exchange) {
        out.messages.push_back(self.write(self.kept.seq + 1, at, &says));
        self.kept.keep(at, says);
    }

    /// Says something about the connection itself, which has no number.
    fn say_now(&self, now: Micros, says: &FromServer, out: &mut Exchange) {
        out.messages.push_back(self.write(0, now, says));
    }

    fn greet(&mut self, hello: Hello, out: &mut Exchange) -> Result<(), Refusal> {
        if self.state != State::New {
            return Err(Refusal::mild(RefusalCode::OutOfOrder, "hello is said once, at the beginning"));
        }
        if hello.version != VERSION {
            let says = format!("version {} of the protocol is not spoken here: say version {VERSION}", hello.version);
            return Err(Refusal::fatal(RefusalCode::Unsupported, says));
        }
        self.rate_hz = hello.rate_hz.unwrap_or(CALL_RATE_HZ);
        if self.rechunker.push_pcm(&[], self.rate_hz, None).is_err() {
            let says = format!("audio at {} Hz is not taken: 8,000 to 48,000 Hz are", self.rate_hz);
            return Err(Refusal::fatal(RefusalCode::Unsupported, says));
        }
        self.state = State::Asked;
        let resume = hello.resume.as_ref().map(|resume| resume.secret.clone());
        self.resume = hello.resume;
        out.bind(Bind { token: hello.token, resume, label: hello.label });
        Ok(())
    }

    fn hear(&mut self, samples: &[i16], out: &mut Exchange) -> Result<(), Refusal> {
        let received = &mut self.kept.received_samples;
        let give = |frame: AudioFrame| {
            *received += frame.samples.len() as u64;
            out.give(Input::CallerAudio(frame));
        };
        let cut = self.rechunker.cut_pcm(samples, self.rate_hz, give);
        cut.map_err(|error| Refusal::mild(RefusalCode::Unsupported, error.to_string()))
    }

    fn audio_message(&self, now: Micros, audio: &Audio) -> Message {
        match self.form {
            Form::Json => Json::audio(audio),
            Form::Protobuf => Protobuf::audio(now, audio),
        }
    }

    /// What a client that came back has missed, each once.
    fn catch_up(&mut self, now: Micros, resume: &ResumeFrom, out: &mut Exchange) {
        for (seq, at, says) in self.kept.messages.iter().filter(|(seq, ..)| *seq > resume.last_seq) {
            out.messages.push_back(self.write(*seq, *at, says));
        }
        if let Some((turn, heard_samples)) = resume.played {
            let ack = PlayoutAck { turn, heard_samples, occasion: AckOccasion::Cleared };
            self.kept.forget(&ack);
            out.acknowledge(ack);
        }
        let committed = self.kept.committed;
        self.kept.audio.retain(|audio| Some(audio.turn) == committed);
        for audio in &self.kept.audio {
            out.messages.push_back(self.audio_message(now, audio));
        }
    }
}

impl Transport for Rspp {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "rspp", acknowledges: true, clears: true, tells: true, streams: true, resumes: true }
    }

    fn on_open(&mut self, _now: Micros, _out: &mut Exchange) {}

    fn on_bound(&mut self, now: Micros, bound: &Bound, out: &mut Exchange) {
        self.state = State::Bound;
        let resume = self.resume.take().filter(|_| bound.resumed);
        let oldest = self.kept.messages.front().map_or(self.kept.seq + 1, |(seq, ..)| *seq);
        let missed = resume.as_ref().map_or(0, |resume| oldest.saturating_sub(resume.last_seq + 1));
        let ready = FromServer::Ready {
            session: bound.session.clone(),
            resumed: bound.resumed,
            resume: bound.resume.clone(),
            received_samples: self.kept.received_samples,
            missed,
        };
        self.say_now(now, &ready, out);
        if let Some(resume) = resume {
            self.catch_up(now, &resume, out);
        }
    }

    fn on_message(&mut self, now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        let said = match self.form {
            Form::Json => Json::read(&message)?,
            Form::Protobuf => Protobuf::read(&message)?,
        };
        match said {
            FromClient::Hello(hello) => return self.greet(hello, out),
            FromClient::Ping(number) => self.say_now(now, &FromServer::Pong(number), out),
            _ if self.state != State::Bound => {
                return Err(Refusal::mild(RefusalCode::OutOfOrder, "say hello first, and wait for ready"));
            }
            FromClient::Audio(samples) => return self.hear(&samples, out),
            FromClient::Text(text) if text.len() > MAX_TEXT_BYTES => {
                let says = format!("a text has at most {MAX_TEXT_BYTES} bytes");
                return Err(Refusal::mild(RefusalCode::TooLarge, says));
            }
            FromClient::Text(text) => out.give(Input::UserText(text.into())),
            FromClient::Talk(talk) => out.give(Input::Talk(talk)),
            FromClient::Mute(muted) => out.mute(muted),
            FromClient::Playout(ack) => {
                self.kept.forget(&ack);
                out.acknowledge(ack);
            }
            FromClient::Cancel => out.give(Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel))),
            FromClient::End => out.leave(),
        }
        Ok(())
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        self.kept.keep_audio(audio.clone());
        out.messages.push_back(self.audio_message(now, audio));
    }

    fn fence(&mut self, now: Micros, turn: TurnId, epoch: EgressEpoch, out: &mut Exchange) {
        self.kept.fence(epoch);
        self.say(now, FromServer::Clear { turn, epoch }, out);
    }

    fn tell(&mut self, at: Micros, entry: &Entry, out: &mut Exchange) {
        for told in self.kept.told_of(entry) {
            self.say(at, told, out);
        }
    }

    fn on_missed(&mut self, now: Micros, number: u32, out: &mut Exchange) {
        self.say(now, FromServer::Missed(number), out);
    }

    fn refuse(&mut self, now: Micros, refusal: &Refusal, out: &mut Exchange) {
        self.say_now(now, &FromServer::Error(refusal.clone()), out);
    }

    fn park(&mut self) -> Option<Box<dyn Any + Send>> {
        Some(Box::new(std::mem::take(&mut self.kept)))
    }

    fn recall(&mut self, past: &Past) {
        let ToldBefore { messages, received_samples } = past.told;
        self.kept = Kept { seq: messages, received_samples, ..Kept::default() };
        past.records.iter().for_each(|record| self.kept.recall(record.at, &record.entry));
    }

    fn adopt(&mut self, parked: Box<dyn Any + Send>) {
        if let Ok(kept) = parked.downcast::<Kept>() {
            self.kept = *kept;
        }
    }

    fn on_end(&mut self, now: Micros, ended: &Ended, out: &mut Exchange) {
        let (reason, says) = match ended {
            Ended::Done => ("done", "the session is over".to_owned()),
            Ended::Lost => ("lost", "the connection did not come back in time".to_owned()),
            Ended::Refused(refusal) => (refusal.code.name(), refusal.says.clone()),
        };
        self.say_now(now, &FromServer::Ended { reason, says }, out);
    }
}

#[cfg(test)]
mod tests;
