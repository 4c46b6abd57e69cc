//! The contract of transports: how a caller's line and a session speak with each other.
//!
//! A [`Transport`] is a dialect without a socket: what the peer sends goes in, what the core is to get and what the peer
//! is to get come out, in an [`Exchange`]. It reads no clock, starts no thread and waits for nobody, so a new one is one
//! file and a table of messages, and [`conformance`] can put every one of them through the same calls. Whoever drives it
//! has the socket, the clock, the limits and the third gate: [`crate::server`] for WebSockets, [`loopback`] for WAV files,
//! [`memory`] for scenarios and simulations, in session time.
//!
//! The life of a connection:
//!
//! 1. *bind*: as soon as it knows whom the peer wants to speak with, the transport asks for a session
//!    ([`Exchange::bind`]); whoever drives it opens or resumes one and says so ([`Transport::on_bound`]);
//! 2. *inbound*: each message of the peer goes to [`Transport::on_message`], and comes out as inputs of the session;
//! 3. *send*: audio that has passed the third gate goes to [`Transport::send`], and comes out as messages;
//! 4. *fence*: what was sent and not played is to be thrown away ([`Transport::fence`]); nothing of an earlier epoch
//!    reaches `send` after that;
//! 5. *acknowledgements*: if the peer can say what it has played, the transport turns that into [`PlayoutAck`]s, in
//!    samples of the turn's audio as the core counts them, whatever rate is on the wire;
//! 6. *connection state*: [`connection`] tells connected, reconnecting, stalled, silent, muted and ended apart, from what
//!    is seen of the line; a transport adds what its peer says of itself ([`Exchange::mute`]);
//! 7. *capabilities*: what it can't do is said beforehand, and nobody pretends: [`Capabilities`].

pub mod conformance;
pub mod connection;
pub mod loopback;
pub mod memory;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rspp_specs::event::{AudioFrame, ProviderResult, ToolCall};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Entry, Input, PlayoutAck};

use crate::journal::Past;
pub use memory::{MemoryTransport, TransportTimes};

/// One message on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, in most dialects JSON.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// How long it is.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a transport can do, and how its audio sounds. What is `false` here nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Its name in metrics and recordings.
    pub name: &'static str,
    /// The peer says what it has played. If not, the pacer's playhead stands for it, and is marked as an estimate.
    pub acknowledges: bool,
    /// The peer can throw away what it has and has not played. If not, what was sent is heard.
    pub clears: bool,
    /// It tells the peer what the session says: turns, captions, cancellations. If not, it is given none of that.
    pub tells: bool,
    /// The peer sends audio all the time, so that none of it for a while means that something is wrong.
    pub streams: bool,
    /// The peer can come back to the same session after its connection was lost.
    pub resumes: bool,
}

/// Audio for the caller, which has passed the third gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Whose.
    pub turn: TurnId,
    /// Sent only while no later epoch was announced.
    pub epoch: EgressEpoch,
    /// The place of its first sample in the turn's audio, at the frame's rate.
    pub from_sample: u64,
    /// The samples.
    pub frame: AudioFrame,
}

/// Something that the caller's side is asked to do: a tool that is bound to it ([`crate::tools::CLIENT`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The invocation, to which the answer goes.
    pub id: InvocationId,
    /// What stands behind [`crate::tools::CLIENT`] in the tool's binding.
    pub what: Arc<str>,
    /// The call.
    pub call: ToolCall,
}

impl Asked {
    /// The caller's side answers, and how that counts.
    pub fn answer(id: InvocationId, text: impl Into<Arc<str>>, outcome: Outcome, out: &mut Exchange) {
        out.give(Input::Provider(id, ProviderResult::ToolResult(text.into())));
        out.give(Input::Provider(id, ProviderResult::End(outcome)));
    }
}

/// What a peer wants to be bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// Its session token, where it sent one in a message and not with its request.
    pub token: Option<String>,
    /// The session that it had, by the secret that it was given for that.
    pub resume: Option<String>,
    /// What its side calls the call: recorded, and nothing is decided by it.
    pub label: Option<String>,
}

/// The session that a connection is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The session's name.
    pub session: String,
    /// Whether it is one that had lost its connection.
    pub resumed: bool,
    /// The secret with which it can be resumed, where it can.
    pub resume: Option<String>,
}

/// Why a message is not taken. All of a connection's refusals have a code of this closed set, and words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {says}")]
pub struct Refusal {
    /// Which kind.
    pub code: RefusalCode,
    /// What is wrong and what to do, for people.
    pub says: String,
    /// The connection ends.
    pub fatal: bool,
}

impl Refusal {
    /// The message is dropped, and the connection goes on.
    pub fn mild(code: RefusalCode, says: impl Into<String>) -> Self {
        Self { code, says: says.into(), fatal: false }
    }

    /// The connection ends.
    pub fn fatal(code: RefusalCode, says: impl Into<String>) -> Self {
        Self { code, says: says.into(), fatal: true }
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// It can't be read.
    Malformed,
    /// It can be read, and is not of this dialect.
    Unknown,
    /// It came at the wrong time: before the session is there, or twice.
    OutOfOrder,
    /// A format that is not spoken here.
    Unsupported,
    /// It is longer than a message may be.
    TooLarge,
    /// More came in a second than may.
    TooFast,
    /// It was begun, and its end does not come.
    TooSlow,
    /// No token, or one that is not valid for this.
    Unauthorized,
    /// There is no such session, or no longer.
    NoSession,
    /// The server has as many as it can have.
    Full,
    /// The caller's tenant has as many as it may have.
    OverQuota,
    /// Not now: later it may go.
    Deferred,
    /// Somebody else has the session now: its route says who.
    Moved,
    /// The peer did not say what it wants in time.
    HandshakeTimeout,
    /// Nothing came for too long.
    Idle,
    /// The peer does not read.
    SlowReader,
    /// The server goes down.
    ShuttingDown,
    /// Something broke on our side.
    Internal,
}

impl RefusalCode {
    /// Whether no peer that keeps to the rules is refused with it.
    pub const fn is_breach(self) -> bool {
        match self {
            RefusalCode::Malformed
            | RefusalCode::Unknown
            | RefusalCode::OutOfOrder
            | RefusalCode::TooLarge
            | RefusalCode::TooFast
            | RefusalCode::TooSlow
            | RefusalCode::HandshakeTimeout
            | RefusalCode::Unauthorized => true,
            RefusalCode::Unsupported
            | RefusalCode::NoSession
            | RefusalCode::Full
            | RefusalCode::OverQuota
            | RefusalCode::Deferred
            | RefusalCode::Moved
            | RefusalCode::Idle
            | RefusalCode::SlowReader
            | RefusalCode::ShuttingDown
            | RefusalCode::Internal => false,
        }
    }

    /// Its name on the wire and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            RefusalCode::Malformed => "malformed",
            RefusalCode::Unknown => "unknown",
            RefusalCode::OutOfOrder => "out_of_order",
            RefusalCode::Unsupported => "unsupported",
            RefusalCode::TooLarge => "too_large",
            RefusalCode::TooFast => "too_fast",
            RefusalCode::TooSlow => "too_slow",
            RefusalCode::Unauthorized => "unauthorized",
            RefusalCode::NoSession => "no_session",
            RefusalCode::Full => "full",
            RefusalCode::OverQuota => "over_quota",
            RefusalCode::Deferred => "deferred",
            RefusalCode::Moved => "moved",
            RefusalCode::HandshakeTimeout => "handshake_timeout",
            RefusalCode::Idle => "idle",
            RefusalCode::SlowReader => "slow_reader",
            RefusalCode::ShuttingDown => "shutting_down",
            RefusalCode::Internal => "internal",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a session's line is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The session has ended, as somebody wanted it to.
    Done,
    /// The caller's connection did not come back, or did not take what it was sent, in time.
    Lost,
    /// The connection is not served any more.
    Refused(Refusal),
}

/// What a transport wants done, in order. Whoever drives it empties this after each call.
#[derive(Debug, Default)]
pub struct Exchange {
    /// To the peer.
    pub messages: VecDeque<Message>,
    /// To the session.
    pub inputs: VecDeque<Input>,
    /// The peer is to be bound to a session; once.
    pub bind: Option<Bind>,
    /// The peer switched its microphone off or on.
    pub muted: Option<bool>,
    /// The peer wants to go: with its goodbye the session ends, and does not wait for it to come back.
    pub leaves: bool,
}

impl Exchange {
    /// A text to the peer.
    pub fn say(&mut self, text: impl Into<String>) {
        self.messages.push_back(Message::Text(text.into()));
    }

    /// Bytes to the peer.
    pub fn say_bytes(&mut self, bytes: impl Into<Bytes>) {
        self.messages.push_back(Message::Binary(bytes.into()));
    }

    /// An input to the session.
    pub fn give(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// An acknowledgement of what was played.
    pub fn acknowledge(&mut self, ack: PlayoutAck) {
        self.give(Input::PlayoutAck(ack));
    }

    /// The peer is to be bound to a session.
    pub fn bind(&mut self, bind: Bind) {
        self.bind = Some(bind);
    }

    /// The peer switched its microphone off or on.
    pub fn mute(&mut self, muted: bool) {
        self.muted = Some(muted);
    }

    /// The peer says goodbye.
    pub fn leave(&mut self) {
        self.leaves = true;
    }
}

/// One connection's dialect. Times are the worker's, the same that stand in the session's timeline.
pub trait Transport: Send {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The connection is there. Who needs no message of the peer to know what it wants binds here.
    fn on_open(&mut self, now: Micros, out: &mut Exchange);

    /// The session is there. What comes from the peer may go to it from now on.
    fn on_bound(&mut self, now: Micros, bound: &Bound, out: &mut Exchange);

    /// A message came from the peer.
    ///
    /// # Errors
    /// It is not taken; the peer is told why by [`Transport::refuse`].
    fn on_message(&mut self, now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal>;

    /// Audio for the caller, in the order of its samples, none of it twice unless a fence lies between.
    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange);

    /// What was sent of this turn and not played is to be thrown away, and where playing stopped is to be said. Audio of
    /// an earlier epoch than this does not come any more.
    fn fence(&mut self, now: Micros, turn: TurnId, epoch: EgressEpoch, out: &mut Exchange);

    /// What the session says, or what came in for it, at this time: for transports that tell ([`Capabilities::tells`]).
    fn tell(&mut self, at: Micros, entry: &Entry, out: &mut Exchange) {
        let _ = (at, entry, out);
    }

    /// The caller's side is asked to do something: gives whether it can be. Who takes it answers by [`Asked::answer`], and
    /// looks after how long that may take.
    fn ask(&mut self, now: Micros, asked: &Asked, out: &mut Exchange) -> bool {
        let _ = (now, asked, out);
        false
    }

    /// So many things that it would have told were dropped, because the peer did not read.
    fn on_missed(&mut self, now: Micros, number: u32, out: &mut Exchange) {
        let _ = (now, number, out);
    }

    /// When it wants to be called next if nothing happens before.
    fn next_at(&self) -> Option<Micros> {
        None
    }

    /// That time has come.
    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        let _ = (now, out);
    }

    /// Something of the peer's was refused; it is told.
    fn refuse(&mut self, now: Micros, refusal: &Refusal, out: &mut Exchange);

    /// What the next connection of the same session has to know, when this one is lost: for transports that resume
    /// ([`Capabilities::resumes`]).
    fn park(&mut self) -> Option<Box<dyn Any + Send>> {
        None
    }

    /// What the connection before knew, before this one is bound to its session.
    fn adopt(&mut self, parked: Box<dyn Any + Send>) {
        drop(parked);
    }

    /// The session was with another server: what that one wrote of it, before this is bound to it. Who comes back there is told
    /// what it has missed, as if it had come back to the same server.
    fn recall(&mut self, past: &Past) {
        let _ = past;
    }

    /// The line is over: its last words.
    fn on_end(&mut self, now: Micros, ended: &Ended, out: &mut Exchange);
}

/// Whether a transport that tells is given this. Frames have ways of their own, and what only the shell has to do is
/// nobody's business.
pub fn is_told(entry: &Entry) -> bool {
    use rspp_specs::timeline::Effect;
    match entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Audio(_) | ProviderResult::WordEnds(_))) => false,
        Entry::Input(_, Input::Provider(..) | Input::UserText(_) | Input::Talk(_)) => true,
        Entry::Effect(Effect::Invoke { .. } | Effect::FeedEnd { .. }) | Entry::Signal(..) => true,
        Entry::Input(..) | Entry::Effect(_) => false,
    }
}
