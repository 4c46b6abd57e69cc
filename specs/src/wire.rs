//! The event ABI: records as protobuf envelopes, for files and for borders between processes.
//!
//! `schemas/rspp/v1/event.proto` is the source of truth; [`generated`] is made from it. [`encode`] and [`decode`] go
//! between a [`Record`] and bytes. Both check the same limits, so what was written can be read; and no bytes make
//! [`decode`] panic.
//!
//! ```
//! use rspp_specs::ids::Slot;
//! use rspp_specs::time::Micros;
//! use rspp_specs::timeline::{Entry, Record, Signal};
//! use rspp_specs::wire::{self, EnvelopeContext};
//!
//! let ready = Entry::Signal(None, Signal::SessionReady);
//! let record = Record { slot: Slot(0), tick: 1, at: Micros(0), entry: ready };
//! let context = EnvelopeContext { session: "call-7".into(), event_id: 1, ..EnvelopeContext::default() };
//! let bytes = wire::encode(&record, &context)?;
//! assert_eq!(wire::decode(&bytes)?, (record, context));
//! # Ok::<(), wire::WireError>(())
//! ```

mod bounded;
mod budgets;
mod cancellations;
mod edges;
mod effects;
mod header;
mod inputs;
mod signals;
mod words;

// Made by prost-build: its style is not ours to choose, and rustfmt would make it differ from what is generated.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#[rustfmt::skip]
pub mod generated;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message;

use self::bounded::{count, no_longer, of_text, of_us, to_text, to_us};
use self::generated as pb;
use self::words::Word;
use crate::event::ProviderResult;
use crate::ids::{InvocationId, RuntimeSequence, Slot, TurnId};
use crate::limits::MAX_PREROLL_MS;
use crate::plan::{RecordingLevel, Redaction};
use crate::recording::Redacted;
use crate::timeline::{Effect, Entry, Input, Record, Signal};

/// The version of the schema that this code reads and writes.
pub const SCHEMA_VERSION: u32 = 1;
/// One encoded envelope.
pub const MAX_ENVELOPE_BYTES: usize = 16 << 20;
/// A plan's canonical JSON within an envelope.
pub const MAX_PLAN_BYTES: usize = 4 << 20;
/// Frames of one preroll: no frame is shorter than a millisecond.
pub const MAX_PREROLL_FRAMES: usize = MAX_PREROLL_MS as usize;

const _: () = assert!(MAX_PLAN_BYTES < MAX_ENVELOPE_BYTES);

/// Why bytes are no event, or why an event has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes are not of this message.
    #[error("not an rspp.v1 envelope ({0}): the bytes are damaged, or of another message")]
    NotProtobuf(#[from] prost::DecodeError),
    /// Another version wrote it.
    #[error("schema version {found}, and this reader knows {SCHEMA_VERSION}: read it with the RSPP that wrote it")]
    SchemaVersion {
        /// The version in the envelope.
        found: u32,
    },
    /// The payload is absent, or of a kind that this version doesn't know. What to do with it (reject, pass, drop
    /// with a notice) is the border's declared choice.
    #[error("event {event_type:?} carries no payload that schema version {SCHEMA_VERSION} knows")]
    UnknownEvent {
        /// The name in the envelope.
        event_type: String,
    },
    /// A field that must be there is not.
    #[error("{field} is missing, or of a kind that schema version {SCHEMA_VERSION} doesn't know")]
    Missing {
        /// Which field.
        field: &'static str,
    },
    /// An enumeration's number has no word.
    #[error("{field} has the number {number}, which schema version {SCHEMA_VERSION} doesn't know")]
    UnknownWord {
        /// Which field.
        field: &'static str,
        /// The number.
        number: i32,
    },
    /// Too many bytes, samples or items.
    #[error("{field} has a length of {length}, and the limit is {limit}: split it before it enters")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length, in bytes for text and messages, in samples for audio, in items for lists.
        length: usize,
        /// The limit, in the same unit.
        limit: usize,
    },
    /// A number beyond its limit.
    #[error("{field} is {value}, and the limit is {limit}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// The number.
        value: u64,
        /// The limit, in the same unit.
        limit: u64,
    },
    /// Audio ends within a sample.
    #[error("audio of {bytes} bytes ends within a sample of two")]
    HalfSample {
        /// Its length.
        bytes: usize,
    },
    /// Audio at no rate has no duration.
    #[error("audio.rate_hz is 0")]
    ZeroRate,
    /// The plan can't be used.
    #[error("the plan can't be used: {detail}")]
    Plan {
        /// What is wrong with it.
        detail: String,
    },
    /// An envelope says of its payload what the payload doesn't say.
    #[error("the envelope's {field} contradicts its payload: one of them was altered")]
    Contradiction {
        /// Which field.
        field: &'static str,
    },
}

/// What an envelope says that its record doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeContext {
    /// The session's name.
    pub session: Arc<str>,
    /// The version of its pipeline.
    pub pipeline_version: u32,
    /// The epoch of the lease under which it is written.
    pub lease_epoch: u64,
    /// The record's place in its session's timeline, from 1.
    pub event_id: u64,
    /// The event that it follows from, where that is known.
    pub causal_parent: Option<u64>,
    /// What was taken out of the record before it was written.
    pub redacted: Option<Redacted>,
}

/// Numbers the events of one session, and knows which event each follows from.
///
/// A provider's result follows from its `Invoke`. What the core does in a tick follows from the tick's first input:
/// a tick is one decision over all of its inputs. Other inputs come from outside, and have no parent.
#[derive(Debug, Default)]
pub struct Lineage {
    last: u64,
    tick: Option<(u64, u64)>,
    invoked: BTreeMap<InvocationId, u64>,
}

impl Lineage {
    /// The next record's event id and causal parent. Records must come in the order of the timeline.
    pub fn of(&mut self, record: &Record) -> (u64, Option<u64>) {
        self.last += 1;
        let id = self.last;
        let opened_by = self.tick.filter(|(tick, _)| *tick == record.tick).map(|(_, first)| first);
        let parent = match &record.entry {
            Entry::Input(_, Input::Provider(invocation, ProviderResult::End(_))) => self.invoked.remove(invocation),
            Entry::Input(_, Input::Provider(invocation, _)) => self.invoked.get(invocation).copied(),
            Entry::Input(..) => None,
            Entry::Signal(..) => opened_by,
            Entry::Effect(effect) => {
                if let Effect::Invoke { id: invocation, .. } = effect {
                    self.invoked.insert(*invocation, id);
                }
                opened_by
            }
        };
        if matches!(record.entry, Entry::Input(..)) && opened_by.is_none() {
            self.tick = Some((record.tick, id));
        }
        (id, parent)
    }
}

/// A record as the bytes of an envelope. The same record and context give the same bytes.
///
/// # Errors
/// Names the field that is beyond its limit: [`decode`] would refuse it.
pub fn encode(record: &Record, context: &EnvelopeContext) -> Result<Vec<u8>, WireError> {
    Ok(to_envelope(record, context)?.encode_to_vec())
}

/// Back from the bytes of an envelope.
///
/// # Errors
/// Says why the bytes are no event. Never panics.
pub fn decode(bytes: &[u8]) -> Result<(Record, EnvelopeContext), WireError> {
    no_longer("envelope", bytes.len(), MAX_ENVELOPE_BYTES)?;
    of_envelope(pb::Envelope::decode(bytes)?)
}

/// A record as an envelope, for a border that adds what only it knows: wall time, the transport's sequence, sync ids.
///
/// # Errors
/// Names the field that is beyond its limit.
pub fn to_envelope(record: &Record, context: &EnvelopeContext) -> Result<pb::Envelope, WireError> {
    use pb::envelope::Payload;
    let Record { slot, tick, at, entry } = record;
    let EnvelopeContext { session, pipeline_version, lease_epoch, event_id, causal_parent, redacted } = context;
    let payload = match entry {
        Entry::Input(_, input) => Payload::Input(input.to_wire()?),
        Entry::Signal(_, signal) => Payload::Signal(signal.to_wire()?),
        Entry::Effect(effect) => Payload::Effect(effect.to_wire()?),
    };
    let envelope = pb::Envelope {
        schema_version: SCHEMA_VERSION,
        session: to_text("session", session)?,
        slot: slot.0,
        event_id: count("event_id", *event_id)?,
        causal_parent: causal_parent.map(|parent| count("causal_parent", parent)).transpose()?,
        tick: count("tick", *tick)?,
        at_us: to_us("at", *at)?,
        pipeline_version: *pipeline_version,
        lease_epoch: *lease_epoch,
        redacted: redacted.as_ref().map(to_redacted),
        payload: Some(payload),
        ..header::derived(entry)
    };
    count("runtime_sequence", envelope.runtime_sequence.unwrap_or_default())?;
    no_longer("envelope", envelope.encoded_len(), MAX_ENVELOPE_BYTES)?;
    Ok(envelope)
}

/// Back from an envelope. What only borders know is not in the result; take it from the envelope before.
///
/// # Errors
/// Says why the envelope is no event of this version.
pub fn of_envelope(envelope: pb::Envelope) -> Result<(Record, EnvelopeContext), WireError> {
    if envelope.schema_version != SCHEMA_VERSION {
        return Err(WireError::SchemaVersion { found: envelope.schema_version });
    }
    let mut envelope = envelope;
    let entry = to_entry(&mut envelope)?;
    if let Some(field) = header::contradiction(&envelope, &header::derived(&entry)) {
        return Err(WireError::Contradiction { field });
    }
    let context = EnvelopeContext {
        session: of_text("session", &envelope.session)?,
        pipeline_version: envelope.pipeline_version,
        lease_epoch: envelope.lease_epoch,
        event_id: count("event_id", envelope.event_id)?,
        causal_parent: envelope.causal_parent.map(|parent| count("causal_parent", parent)).transpose()?,
        redacted: envelope.redacted.map(of_redacted).transpose()?,
    };
    let (tick, at) = (count("tick", envelope.tick)?, of_us("at", envelope.at_us)?);
    Ok((Record { slot: Slot(envelope.slot), tick, at, entry }, context))
}

/// A record without what can be made again from it and from its session, appended to `out`: for a log of many sessions,
/// where every byte and every copy counts.
///
/// # Errors
/// Names the field that is beyond its limit; then nothing was appended.
pub fn encode_lean(record: &Record, redacted: Option<&Redacted>, out: &mut Vec<u8>) -> Result<(), WireError> {
    use pb::envelope::Payload;
    let Record { slot, tick, at, entry } = record;
    let (sequence, turn, payload) = match entry {
        Entry::Input(sequence, input) => (Some(sequence.0), None, Payload::Input(input.to_wire()?)),
        Entry::Signal(turn, signal) => (None, turn.map(|turn| turn.0), Payload::Signal(signal.to_wire()?)),
        Entry::Effect(effect) => (None, None, Payload::Effect(effect.to_wire()?)),
    };
    let envelope = pb::Envelope {
        slot: slot.0,
        tick: count("tick", *tick)?,
        at_us: to_us("at", *at)?,
        runtime_sequence: sequence.map(|sequence| count("runtime_sequence", sequence)).transpose()?,
        turn,
        redacted: redacted.map(to_redacted),
        payload: Some(payload),
        ..pb::Envelope::default()
    };
    let before = out.len();
    envelope.encode(out).expect("memory takes everything");
    no_longer("envelope", out.len() - before, MAX_ENVELOPE_BYTES).inspect_err(|_| out.truncate(before))
}

/// Back from [`encode_lean`].
///
/// # Errors
/// Says why the bytes are no record.
pub fn decode_lean(bytes: &[u8]) -> Result<(Record, Option<Redacted>), WireError> {
    no_longer("envelope", bytes.len(), MAX_ENVELOPE_BYTES)?;
    let mut envelope = pb::Envelope::decode(bytes)?;
    let entry = to_entry(&mut envelope)?;
    let (tick, at) = (count("tick", envelope.tick)?, of_us("at", envelope.at_us)?);
    let redacted = envelope.redacted.map(of_redacted).transpose()?;
    Ok((Record { slot: Slot(envelope.slot), tick, at, entry }, redacted))
}

fn to_entry(envelope: &mut pb::Envelope) -> Result<Entry, WireError> {
    use pb::envelope::Payload;
    Ok(match envelope.payload.take() {
        Some(Payload::Input(input)) if input.kind.is_some() => {
            let sequence = envelope.runtime_sequence.ok_or(WireError::Missing { field: "runtime_sequence" })?;
            Entry::Input(RuntimeSequence(count("runtime_sequence", sequence)?), Input::of_wire(input)?)
        }
        Some(Payload::Signal(signal)) if signal.kind.is_some() => {
            Entry::Signal(envelope.turn.map(TurnId), Signal::of_wire(signal)?)
        }
        Some(Payload::Effect(effect)) if effect.kind.is_some() => Entry::Effect(Effect::of_wire(effect)?),
        _ => return Err(WireError::UnknownEvent { event_type: envelope.event_type.clone() }),
    })
}

/// The number of a level on the wire.
pub fn number_of_level(level: RecordingLevel) -> i32 {
    level.number()
}

/// The level that has this number on the wire.
///
/// # Errors
/// None has.
pub fn level_of_number(number: i32) -> Result<RecordingLevel, WireError> {
    RecordingLevel::of_number("recording.level", number)
}

fn to_redacted(redacted: &Redacted) -> pb::Redacted {
    let Redacted { how, digest } = redacted;
    pb::Redacted { how: how.number(), digest: digest.map_or_else(Vec::new, |digest| digest.to_vec()) }
}

fn of_redacted(message: pb::Redacted) -> Result<Redacted, WireError> {
    let pb::Redacted { how, digest } = message;
    let digest = match (digest.len(), digest.first_chunk()) {
        (0, _) => None,
        (16, Some(digest)) => Some(*digest),
        _ => return Err(WireError::Missing { field: "redacted.digest" }),
    };
    Ok(Redacted { how: Redaction::of_number("redacted.how", how)?, digest })
}

/// As much of a damaged envelope as tells a person which event it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    /// The session's tick.
    pub tick: u64,
    /// The tick's time, in microseconds.
    pub at_us: u64,
    /// The event's type; empty where it could not be read.
    pub event_type: String,
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event_type = if self.event_type.is_empty() { "an event" } else { &self.event_type };
        write!(f, "{event_type} in tick {} at {} ms", self.tick, crate::time::Micros(self.at_us))
    }
}

/// Names the event in bytes that need not be whole, or right; `None` when not even its tick can be read.
pub fn name_of(bytes: &[u8]) -> Option<EventName> {
    let mut envelope = pb::Envelope::default();
    // An error leaves what was read before it, and the header stands before the payload.
    let _ = envelope.merge(bytes);
    let pb::Envelope { tick, at_us, event_type, .. } = envelope;
    let printable = event_type.len() <= 64 && event_type.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let event_type = if printable { event_type } else { String::new() };
    (tick != 0).then_some(EventName { tick, at_us, event_type })
}

/// One of our types and its message.
trait Wire: Sized {
    type Message;

    fn to_wire(&self) -> Result<Self::Message, WireError>;

    fn of_wire(message: Self::Message) -> Result<Self, WireError>;
}

/// The variant of a `oneof`, which is absent too when it is one that this version doesn't know.
fn known<K>(field: &'static str, kind: Option<K>) -> Result<K, WireError> {
    kind.ok_or(WireError::Missing { field })
}

/// A nested message that must be there.
fn required<T: Wire>(field: &'static str, message: Option<T::Message>) -> Result<T, WireError> {
    T::of_wire(message.ok_or(WireError::Missing { field })?)
}
