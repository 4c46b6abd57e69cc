//! Edge buffers: how much may wait before a node that does not take everything at once, and what happens when more comes
//! (`F-043`, `F-044`, `F-143`).
//!
//! A buffer stands only where something can wait. What comes when it is full is shed by a rule; a buffer that blocks tells
//! its producer to stop before that, and lets it go again after a bounded time.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Payload;
use crate::ids::RuntimeSequence;
use crate::limits::{MAX_EDGE_BYTES, MAX_EDGE_ITEMS};
use crate::time::{Lane, Micros};

/// What one edge may hold, and what it does about more. One session's: sessions share no buffer, so there is nobody to be
/// fair to within one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BufferSpec {
    /// Items that may wait. The end of a stream is none.
    pub max_items: u32,
    /// Bytes that may wait.
    pub max_bytes: u64,
    /// An item that has waited for longer is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queue: Option<Micros>,
    /// Audio that may wait, by its media time: what the buffer may add to the latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<Micros>,
    /// Above the high watermark the producer is blocked, and for no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_block: Option<Micros>,
    /// What happens to what comes and does not fit.
    pub shed: Shed,
    /// At so much of the nearest bound the buffer counts as filling up.
    pub high_percent: u32,
    /// At so much, or less, it counts as empty enough again.
    pub low_percent: u32,
    /// How a blocked producer is told.
    #[serde(default)]
    pub flow: FlowControl,
    /// Which of these the profile filled in (`defaulting_source`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defaulted: Vec<String>,
}

impl BufferSpec {
    /// How full a buffer of this kind is, in percent of the bound that is nearest.
    pub fn percent(&self, held: Held) -> u32 {
        let part = |is: u64, bound: u64| (is.saturating_mul(100) / bound.max(1)).min(100) as u32;
        let of_audio = self.max_latency.map_or(0, |bound| part(held.queued.0, bound.0));
        part(u64::from(held.items), u64::from(self.max_items)).max(part(held.bytes, self.max_bytes)).max(of_audio)
    }

    /// What a producer that goes by credit may give before it hears again: up to the high watermark.
    pub fn credit_window(&self) -> u32 {
        (self.max_items.saturating_mul(self.high_percent) / 100).max(1)
    }

    /// Whether so much may wait.
    pub fn allows(&self, held: Held) -> bool {
        held.items <= self.max_items
            && held.bytes <= self.max_bytes
            && self.max_latency.is_none_or(|bound| held.queued <= bound)
    }

    /// Which invariant of a plan's buffers does not hold.
    ///
    /// # Errors
    /// Names the field.
    pub fn check(&self) -> Result<(), &'static str> {
        if !(1..=MAX_EDGE_ITEMS).contains(&self.max_items) {
            return Err("max_items");
        }
        if !(1..=MAX_EDGE_BYTES).contains(&self.max_bytes) {
            return Err("max_bytes");
        }
        if self.high_percent > 100 || self.low_percent >= self.high_percent {
            return Err("high_percent");
        }
        if matches!(self.shed, Shed::Sample { every: 0 | 1 }) {
            return Err("sample_every");
        }
        Ok(())
    }
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Items.
    pub items: u32,
    /// Bytes.
    pub bytes: u64,
    /// Audio, by its media time.
    pub queued: Micros,
}

impl Held {
    /// What one payload takes up.
    pub fn of(payload: &Payload) -> Self {
        let (bytes, queued) = match payload {
            Payload::Audio(frame) => (frame.samples.len() * size_of::<i16>(), frame.duration()),
            Payload::Text(text) => (text.len(), Micros(0)),
            Payload::Transcript(transcript) => (transcript.text.len(), Micros(0)),
            Payload::Custom(value) => (serde_json::to_string(value).map_or(0, |json| json.len()), Micros(0)),
            Payload::ToolCall(call) => (call.key.len() + call.name.len() + call.arguments.len(), Micros(0)),
            Payload::Speech(_) | Payload::Control(_) | Payload::Talk(_) | Payload::Retract | Payload::End(_) => {
                (0, Micros(0))
            }
        };
        Self { items: 1, bytes: bytes as u64, queued }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { items: self.items + other.items, bytes: self.bytes + other.bytes, queued: self.queued + other.queued }
    }

    /// This without a part of it.
    pub fn without(self, part: Self) -> Self {
        Self {
            items: self.items.saturating_sub(part.items),
            bytes: self.bytes.saturating_sub(part.bytes),
            queued: self.queued.since(part.queued),
        }
    }
}

/// What happens to what comes and does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shed {
    /// It is dropped.
    DropNewest,
    /// It is kept, and what has waited longest is dropped.
    DropOldest,
    /// It becomes one with the newest that waits, as text can; where that is impossible, it is dropped.
    Merge,
    /// It takes the place of what it supersedes: all partial transcripts, and else all that waits. What is final is
    /// superseded only by what is final.
    LatestOnly,
    /// From the high watermark on only one of so many is kept; at the bound, none.
    Sample {
        /// Of how many one is kept.
        every: u32,
    },
}

impl Shed {
    /// The name in specs.
    pub const fn name(self) -> &'static str {
        match self {
            Shed::DropNewest => "drop_newest",
            Shed::DropOldest => "drop_oldest",
            Shed::Merge => "merge",
            Shed::LatestOnly => "latest_only",
            Shed::Sample { .. } => "sample",
        }
    }
}

/// How a blocked producer is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlowControl {
    /// To stop, and to go on.
    #[default]
    Signal,
    /// How much more it may give.
    Credit,
    /// Both.
    Hybrid,
}

impl FlowControl {
    /// The name in specs.
    pub const fn name(self) -> &'static str {
        match self {
            FlowControl::Signal => "signal",
            FlowControl::Credit => "credit",
            FlowControl::Hybrid => "hybrid",
        }
    }

    /// Whether a producer is told to stop and to go on.
    pub const fn signals(self) -> bool {
        matches!(self, FlowControl::Signal | FlowControl::Hybrid)
    }

    /// Whether a producer is told how much more it may give.
    pub const fn grants(self) -> bool {
        matches!(self, FlowControl::Credit | FlowControl::Hybrid)
    }
}

/// Which watermark was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatermarkLevel {
    /// The buffer fills up.
    High,
    /// There is room again.
    Low,
}

/// Why a blocked producer may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XonCause {
    /// There is room again.
    Drained,
    /// It was blocked for as long as the edge allows.
    Expired,
}

/// Streams that play together: what is missing in one has to be seen in the others (`F-146`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncGroup {
    /// The group's name.
    pub id: Arc<str>,
    /// By whose clock they play.
    pub domain: Arc<str>,
}

/// A stream's membership in a group of streams that play together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeSync {
    /// Which group.
    pub group: SyncGroup,
    /// What a loss in one of them does to the others.
    pub on_drop: SyncDrop,
}

/// What a loss in one stream of a group does to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncDrop {
    /// What belongs together is dropped together.
    AtomicDrop,
    /// The others go on, and the gap is marked.
    DropWithDiscontinuity,
    /// Nothing.
    NoSync,
}

impl SyncDrop {
    /// The name in specs.
    pub const fn name(self) -> &'static str {
        match self {
            SyncDrop::AtomicDrop => "atomic_drop",
            SyncDrop::DropWithDiscontinuity => "drop_with_discontinuity",
            SyncDrop::NoSync => "no_sync",
        }
    }
}

/// What the first branch of a fallback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BranchFault {
    /// It gave nothing in time.
    Timeout,
    /// It failed.
    Failed,
}

/// Why a drop notice is given of what belongs to something that was lost in another stream of its group.
pub const SYNC: &str = "sync";
/// Why a drop notice is given of what waited for a turn that was revoked.
pub const FLUSHED: &str = "flushed";
/// Why a drop notice is given of what a node could not get over.
pub const DEAD_LETTER: &str = "dead_letter";

/// A stretch of what was dropped, by the inputs that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many items.
    pub items: u32,
    /// From which lane.
    pub lane: Lane,
    /// The first one's cause.
    pub from: RuntimeSequence,
    /// The last one's cause.
    pub to: RuntimeSequence,
}

impl Dropped {
    /// One item of the data lane.
    pub fn one(cause: RuntimeSequence) -> Self {
        Self { items: 1, lane: Lane::Data, from: cause, to: cause }
    }

    /// With another item.
    pub fn and(self, cause: RuntimeSequence) -> Self {
        self.with(Self::one(cause))
    }

    /// Both stretches as one.
    pub fn with(self, other: Self) -> Self {
        let items = self.items.saturating_add(other.items);
        Self { items, from: self.from.min(other.from), to: self.to.max(other.to), ..self }
    }
}

/// What a buffer says of itself to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeReport {
    /// A watermark was passed.
    Watermark {
        /// Which.
        level: WatermarkLevel,
        /// What waits.
        held: Held,
        /// Of the nearest bound, in percent.
        percent: u32,
    },
    /// The producer has to stop.
    Xoff,
    /// The producer may go on.
    Xon(XonCause),
    /// The producer may give so many more.
    Credit(u32),
    /// Something was dropped.
    Dropped(Dropped, &'static str),
    /// Items went on as one: the group's number, and what caused them.
    Merged(u32, Vec<RuntimeSequence>),
    /// A gap was left.
    Discontinuity(u32, Dropped),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> BufferSpec {
        BufferSpec {
            max_items: 10,
            max_bytes: 1_000,
            max_queue: None,
            max_latency: Some(Micros::from_ms(200)),
            max_block: None,
            shed: Shed::DropNewest,
            high_percent: 80,
            low_percent: 50,
            flow: FlowControl::Signal,
            defaulted: Vec::new(),
        }
    }

    #[test]
    fn the_nearest_bound_counts() {
        let held = |items, bytes, ms| Held { items, bytes, queued: Micros::from_ms(ms) };
        assert_eq!(spec().percent(held(1, 0, 0)), 10);
        assert_eq!(spec().percent(held(1, 990, 0)), 99);
        assert_eq!(spec().percent(held(1, 990, 200)), 100);
        assert!(spec().allows(held(10, 1_000, 200)));
        for over in [held(11, 0, 0), held(1, 1_001, 0), held(1, 0, 201)] {
            assert!(!spec().allows(over));
        }
    }

    #[test]
    fn contradictions_are_named() {
        assert_eq!(spec().check(), Ok(()));
        assert_eq!(BufferSpec { max_items: 0, ..spec() }.check(), Err("max_items"));
        assert_eq!(BufferSpec { low_percent: 80, ..spec() }.check(), Err("high_percent"));
        assert_eq!(BufferSpec { shed: Shed::Sample { every: 1 }, ..spec() }.check(), Err("sample_every"));
    }
}
