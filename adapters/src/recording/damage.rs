//! Where a recording stops being what was written, and how.

use std::fmt;

use rspp_specs::wire::EventName;

use super::block::Beginning;

/// Where a recording stops being what was written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The number of the first event that can't be used: 0 is the head, 1 the first event. Those before it are sound.
    pub record_index: u64,
    /// How many events are in the damaged block, as far as its head tells.
    pub events: u32,
    /// Where the damaged block begins, from the beginning of the file. Everything before this byte is sound.
    pub byte_offset: u64,
    /// What is wrong with it.
    pub what: DamageKind,
    /// The first event that can't be used, as far as it can be made out. A damaged block may misname it.
    pub event: Option<EventName>,
    /// The last sound event.
    pub after: Option<EventName>,
    /// More, in words.
    pub detail: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The file ends within it.
    Truncated,
    /// Its bytes are not those that were written.
    ChecksumMismatch,
    /// It was altered and given a new checksum, or one before it was removed, added or moved.
    ChainMismatch,
    /// It is what was written, and makes no sense.
    Malformed,
    /// The file ends before it, without its end: the writer was stopped.
    MissingEnd,
}

impl Damage {
    pub(super) fn new(record_index: u64, byte_offset: u64, what: DamageKind, detail: &str) -> Self {
        let (events, event, after) = (0, None, None);
        Self { record_index, events, byte_offset, what, event, after, detail: detail.to_owned() }
    }

    /// It is in a block of so many events, of which the head can be read.
    pub(super) fn of_events(self, events: u32, first: Beginning) -> Self {
        let event = EventName { tick: first.tick, at_us: first.at_us, event_type: String::new() };
        Self { events, event: Some(event), ..self }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { record_index, events, byte_offset, what, event, after, detail } = self;
        match events {
            0 | 1 => write!(f, "record {record_index}, at byte {byte_offset}")?,
            more => {
                let last = record_index + u64::from(more - 1);
                write!(f, "records {record_index} to {last}, at byte {byte_offset}")?;
            }
        }
        if let Some(event) = event {
            write!(f, ", {event}")?;
        }
        if let Some(after) = after {
            write!(f, ", after {after}")?;
        }
        let what = match what {
            DamageKind::Truncated => "the file ends within it",
            DamageKind::ChecksumMismatch => "its checksum does not fit",
            DamageKind::ChainMismatch => "it was altered, or something before it was removed, added or moved",
            DamageKind::Malformed => "it makes no sense",
            DamageKind::MissingEnd => "the file ends here, and the recording was not finished",
        };
        write!(f, ": {what}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}
