//! Replay: the external inputs of a recording go in again, tick by tick; everything else must come out again.
//!
//! [`replay`] compares a whole recording, [`Cursor`] steps through one, and [`Anew`] holds the recorded call anew: by the same
//! pipeline with its providers asked again, or by another one. Of a recording without what was said, [`Decided`] judges what
//! was decided.

mod anew;
mod cursor;
mod decisions;

use std::fmt;

use rspp_adapters::recording::Recording;
use rspp_compiler::Registry;
use rspp_engine::{Batch, Core};
use rspp_specs::plan::{NodeKind, Plan};
use rspp_specs::timeline::{Effect, Entry, Input, Record};
use rspp_specs::trace::{Line, Renderer};
use serde::{Serialize, Serializer};

pub use anew::{Anew, AnewError, Held, Mode};
pub use cursor::{Cursor, Place, PlaceError, Position, SeekError, Step};
pub use decisions::{Breach, Decided};

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every record came out again, byte for byte.
    Identical {
        /// Ticks replayed.
        ticks: usize,
        /// Records compared.
        records: usize,
    },
    /// Here it went another way.
    #[serde(serialize_with = "in_words")]
    Differs(Box<Difference>),
}

fn in_words<S: Serializer>(difference: &Difference, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(difference)
}

/// The first difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The session's tick.
    pub tick: u64,
    /// Which of the tick's records, from 1.
    pub place: usize,
    /// What the recording has there.
    pub recorded: Option<Line>,
    /// What the replay has there.
    pub replayed: Option<Line>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { tick, place, recorded, replayed } = self;
        let show = |line: &Option<Line>| line.as_ref().map_or("(nothing)".to_owned(), Line::to_string);
        writeln!(f, "differs: tick {tick}, record {place}")?;
        writeln!(f, "  recorded: {}", show(recorded))?;
        write!(f, "  replayed: {}", show(replayed))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Identical { ticks, records } => write!(f, "identical: {records} records in {ticks} ticks"),
            Verdict::Differs(difference) => difference.fmt(f),
        }
    }
}

/// Why a recording can't be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It does not begin with a session.
    #[error("the recording does not begin with session_open; nothing can be replayed")]
    NoSession,
    /// It needs a node that this program does not have.
    #[error(
        "the recording needs the node type {0}, which this program does not have; use the program that recorded it"
    )]
    UnknownNode(String),
    /// What entered was taken out before it was written.
    #[error(
        "what entered is not in the recording: it was taken out of {events} events before they were written, first in tick {tick}. \
         Such a call can be drawn, summed up and judged; to be replayed it has to be recorded at level L2, without redaction"
    )]
    Redacted {
        /// Of how many.
        events: usize,
        /// The first one's tick.
        tick: u64,
    },
    /// Its plan's custom node refuses its own parameters here.
    #[error("node type {0} refuses the recorded config: {1}")]
    Config(String, String),
}

/// Replays a recording against this program.
///
/// # Errors
/// The recording has no session, or needs node types that `registry` does not have.
pub fn replay(recording: &Recording, registry: &Registry) -> Result<Verdict, ReplayError> {
    check_inputs(recording)?;
    let plan = plan_of(&recording.records).ok_or(ReplayError::NoSession)?;
    check_nodes(plan, registry)?;
    let mut core = crate::core(registry.clone());
    let mut renderers = (Renderer::new(plan), Renderer::new(plan));
    let mut records = 0;
    let mut ticks = 0;
    for recorded in recording.ticks() {
        let replayed = replay_tick(&mut core, recorded);
        if let Some(difference) = compare(recorded, &replayed, &mut renderers) {
            return Ok(Verdict::Differs(Box::new(difference)));
        }
        ticks += 1;
        records += recorded.len();
    }
    Ok(Verdict::Identical { ticks, records })
}

/// All that the core makes of a recording's inputs, whether or not it is what was recorded.
///
/// # Errors
/// As [`replay`].
pub fn replay_all(recording: &Recording, registry: &Registry) -> Result<Vec<Record>, ReplayError> {
    let plan = plan_of(&recording.records).ok_or(ReplayError::NoSession)?;
    check_nodes(plan, registry)?;
    let mut core = crate::core(registry.clone());
    Ok(recording.ticks().flat_map(|recorded| replay_tick(&mut core, recorded)).collect())
}

/// Compares two timelines of one session, record by record.
pub fn verdict(recorded: &[Record], replayed: &[Record]) -> Verdict {
    let ticks = |records: &[Record]| records.chunk_by(|a, b| a.tick == b.tick).count();
    let same = |(before, now): (&Record, &Record)| same(Some(before), Some(now));
    if recorded.len() == replayed.len() && recorded.iter().zip(replayed).all(same) {
        return Verdict::Identical { ticks: ticks(recorded), records: recorded.len() };
    }
    let renderer = |records| plan_of(records).map(|plan| Renderer::new(plan));
    let nothing = || Difference { tick: 0, place: 1, recorded: None, replayed: None };
    let difference = match (renderer(recorded), renderer(replayed)) {
        (Some(before), Some(now)) => compare(recorded, replayed, &mut (before, now)),
        _ => None,
    };
    Verdict::Differs(Box::new(difference.unwrap_or_else(nothing)))
}

/// The plan that a session was opened with.
pub fn plan_of(records: &[Record]) -> Option<&std::sync::Arc<Plan>> {
    records.iter().find_map(|record| match &record.entry {
        Entry::Input(_, Input::SessionOpen(open)) => Some(&open.plan),
        _ => None,
    })
}

/// Whether a recording has what entered: only then it can enter again.
///
/// # Errors
/// Something was taken out of it.
pub fn check_inputs(recording: &Recording) -> Result<(), ReplayError> {
    let entered = recording.redacted.keys().filter_map(|place| recording.records.get(*place));
    let entered = entered.filter(|record| matches!(&record.entry, Entry::Input(_, input) if input.is_external()));
    let mut ticks = entered.map(|record| record.tick);
    match ticks.next() {
        None => Ok(()),
        Some(tick) => Err(ReplayError::Redacted { events: 1 + ticks.count(), tick }),
    }
}

fn check_nodes(plan: &Plan, registry: &Registry) -> Result<(), ReplayError> {
    for node in plan.nodes() {
        if let NodeKind::Custom { type_name, config } = &node.kind {
            registry.check(type_name, config).map_err(|message| match message {
                None => ReplayError::UnknownNode(type_name.clone()),
                Some(message) => ReplayError::Config(type_name.clone(), message),
            })?;
        }
    }
    Ok(())
}

/// Feeds what came from outside in one tick, at the tick's time, and gives what the core made of it.
fn replay_tick(core: &mut Core, recorded: &[Record]) -> Vec<Record> {
    let mut replayed = Vec::new();
    let Some(first) = recorded.first() else { return replayed };
    let mut batch = Batch::default();
    for record in recorded {
        if let Entry::Input(_, input) = &record.entry
            && input.is_external()
        {
            if matches!(input, Input::SessionOpen(_)) {
                core.reserve();
            }
            // A recorded tick fitted into a batch when it was live, and so it does now.
            let _ = batch.push(rspp_specs::ids::Slot(0), input.clone());
        }
    }
    core.tick(first.at, &mut batch, &mut replayed);
    replayed
}

/// Apart from the slot: that is the worker's business.
fn same(before: Option<&Record>, now: Option<&Record>) -> bool {
    matches!((before, now), (Some(before), Some(now))
        if before.tick == now.tick && before.at == now.at && before.entry == now.entry)
}

/// The first record that is not the same.
fn compare(recorded: &[Record], replayed: &[Record], renderers: &mut (Renderer, Renderer)) -> Option<Difference> {
    let longer = recorded.len().max(replayed.len());
    for place in 0..longer {
        let (before, now) = (recorded.get(place), replayed.get(place));
        // Of records that are the same, only those that name an invocation have to be read, for the lines that follow.
        let names =
            |record: Option<&Record>| matches!(record.map(|it| &it.entry), Some(Entry::Effect(Effect::Invoke { .. })));
        if same(before, now) && !names(before) {
            continue;
        }
        let lines = (before.map(|record| renderers.0.record(record)), now.map(|record| renderers.1.record(record)));
        if !same(before, now) {
            let tick = before.or(now).map_or(0, |record| record.tick);
            return Some(Difference { tick, place: place + 1, recorded: lines.0, replayed: lines.1 });
        }
    }
    None
}
