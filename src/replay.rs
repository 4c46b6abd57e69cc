//! Replay: the external inputs of a recording go in again, tick by tick; everything else must come out again.

use std::fmt;

use rspp_adapters::recording::Recording;
use rspp_compiler::Registry;
use rspp_engine::{Batch, Core};
use rspp_specs::plan::{NodeKind, Plan};
use rspp_specs::timeline::{Entry, Input, Record};
use rspp_specs::trace::{Line, Renderer};

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record came out again, byte for byte.
    Identical {
        /// Ticks replayed.
        ticks: usize,
        /// Records compared.
        records: usize,
    },
    /// Here it went another way.
    Differs(Box<Difference>),
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

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Identical { ticks, records } => write!(f, "identical: {records} records in {ticks} ticks"),
            Verdict::Differs(difference) => {
                let Difference { tick, place, recorded, replayed } = difference.as_ref();
                let show = |line: &Option<Line>| line.as_ref().map_or("(nothing)".to_owned(), Line::to_string);
                writeln!(f, "differs: tick {tick}, record {place}")?;
                writeln!(f, "  recorded: {}", show(recorded))?;
                write!(f, "  replayed: {}", show(replayed))
            }
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
    /// Its plan's custom node refuses its own parameters here.
    #[error("node type {0} refuses the recorded config: {1}")]
    Config(String, String),
}

/// Replays a recording against this program.
///
/// # Errors
/// The recording has no session, or needs node types that `registry` does not have.
pub fn replay(recording: &Recording, registry: &Registry) -> Result<Verdict, ReplayError> {
    let plan = recording.records.iter().find_map(|record| match &record.entry {
        Entry::Input(_, Input::SessionOpen(open)) => Some(&open.plan),
        _ => None,
    });
    let plan = plan.ok_or(ReplayError::NoSession)?;
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
    let plan = recording.records.iter().find_map(|record| match &record.entry {
        Entry::Input(_, Input::SessionOpen(open)) => Some(&open.plan),
        _ => None,
    });
    check_nodes(plan.ok_or(ReplayError::NoSession)?, registry)?;
    let mut core = crate::core(registry.clone());
    Ok(recording.ticks().flat_map(|recorded| replay_tick(&mut core, recorded)).collect())
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

/// The first record that is not the same, apart from the slot: that is the worker's business.
fn compare(recorded: &[Record], replayed: &[Record], renderers: &mut (Renderer, Renderer)) -> Option<Difference> {
    let longer = recorded.len().max(replayed.len());
    for place in 0..longer {
        let (before, now) = (recorded.get(place), replayed.get(place));
        let same = matches!((before, now), (Some(before), Some(now))
            if before.tick == now.tick && before.at == now.at && before.entry == now.entry);
        let lines = (before.map(|record| renderers.0.record(record)), now.map(|record| renderers.1.record(record)));
        if !same {
            let tick = before.or(now).map_or(0, |record| record.tick);
            return Some(Difference { tick, place: place + 1, recorded: lines.0, replayed: lines.1 });
        }
    }
    None
}
