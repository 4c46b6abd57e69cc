//! `rspp sim`: many calls in virtual time from one seed, under faults, each judged tick by tick.
//!
//! [`rspp_adapters::sim`] simulates whoever stands outside of the core; the judge here renders what each session
//! writes as a trace, and hands it to the checker, which knows nothing of the engine.

mod batch;
mod judge;
mod pipelines;
mod recordings;
mod replayed;
mod report;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rspp_adapters::recording::RecordingError;
use rspp_adapters::sim::{Faults, Pipeline, Simulation};
use rspp_compiler::Registry;
use rspp_specs::time::Micros;

use crate::trace::{TraceError, read_plan};
use judge::Judge;
pub(crate) use judge::limits_of;
use recordings::Recordings;
use replayed::Replaying;

pub use batch::{Batch, Seeds, corpus};
pub use judge::{Found, Invariant};
pub use replayed::Replayed;
pub use report::{Gates, Interruptions, Migrations, Peaks, Recovery, Report, Terminals};

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// What all sessions run; without it, a mixture of pipelines.
    pub spec: Option<PathBuf>,
    /// Where all chance comes from.
    pub seed: u64,
    /// How many sessions.
    pub sessions: u32,
    /// How long each of them goes on calling, in virtual time.
    pub minutes: u32,
    /// What may go wrong.
    pub faults: Faults,
    /// This session alone.
    pub only: Option<u32>,
}

/// Why a simulation gives no report.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A spec that can't be read or is wrong.
    #[error(transparent)]
    Spec(#[from] TraceError),
    /// The calls could not be recorded.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// The node types of simulated calls beside others: what replays their recordings needs them.
pub fn registry(registry: &Registry) -> Registry {
    pipelines::with_breakable(registry.clone())
}

/// Runs the simulation, and writes a recording of each call into a folder.
///
/// # Errors
/// As [`run`]; or the recordings can't be written.
pub fn record(options: &Options, registry: &Registry, folder: &Path) -> Result<Report, SimError> {
    simulate(options, registry, None, Some(Recordings::new(folder.to_owned())))
}

/// Runs the simulation. What every session writes goes to `trace` as well, if there is one.
///
/// # Errors
/// A spec that can't be read or is wrong.
pub fn run(options: &Options, registry: &Registry, trace: Option<Box<dyn Write>>) -> Result<Report, SimError> {
    simulate(options, registry, trace, None)
}

fn simulate(
    options: &Options,
    registry: &Registry,
    trace: Option<Box<dyn Write>>,
    recordings: Option<Recordings>,
) -> Result<Report, SimError> {
    let registry = pipelines::with_breakable(registry.clone());
    let simulation = simulation(options, &registry)?;
    let mut judge = Judge::new(options.clone(), trace, recordings);
    let ran = catch_unwind(AssertUnwindSafe(|| simulation.run(|| crate::core(registry.clone()), &mut judge)));
    if ran.is_err() {
        judge.on_panic();
    }
    Ok(judge.finish()?)
}

/// Runs the simulation, records every call at L2 and at L0, and replays each when it is over.
///
/// # Errors
/// As [`run`].
pub fn run_and_replay(options: &Options, registry: &Registry) -> Result<(Report, Replayed), SimError> {
    let registry = pipelines::with_breakable(registry.clone());
    let simulation = simulation(options, &registry)?;
    let mut watch = Replaying::new(Judge::new(options.clone(), None, None), registry.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| simulation.run(|| crate::core(registry.clone()), &mut watch)));
    if ran.is_err() {
        watch.judge().on_panic();
    }
    let (judge, replayed) = watch.into_parts();
    Ok((judge.finish()?, replayed))
}

fn simulation(options: &Options, registry: &Registry) -> Result<Simulation, TraceError> {
    let pipelines = match &options.spec {
        Some(path) => vec![Pipeline { plan: read_plan(path, registry)?, weight: 1 }],
        None => pipelines::mixture(registry, options.faults)?,
    };
    Ok(Simulation {
        seed: options.seed,
        sessions: options.sessions,
        until: Micros::from_ms(u64::from(options.minutes) * 60_000),
        faults: options.faults,
        pipelines,
        only: options.only,
    })
}
