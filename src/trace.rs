//! A scenario as a trace: what `rspp trace` prints, and what golden files hold.

use std::path::Path;
use std::sync::Arc;

use rspp_adapters::input_file::InputFileError;
use rspp_adapters::scenario::{Scenario, ScenarioError};
use rspp_compiler::{Findings, Registry};
use rspp_engine::Core;
use rspp_specs::plan::Plan;
use rspp_specs::timeline::Record;
use rspp_specs::trace::{Line, Renderer};

use crate::spec::{Beside, Over, request};

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The scenario can't be read or run.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// Its pipeline's spec can't be read.
    #[error(transparent)]
    Spec(#[from] InputFileError),
    /// Its pipeline's spec is wrong.
    #[error("the spec can't be used\n\n{0}")]
    Findings(#[from] Findings),
}

/// Reads a spec and compiles it.
///
/// # Errors
/// The file, or its findings.
pub fn read_plan(path: &Path, registry: &Registry) -> Result<Arc<Plan>, TraceError> {
    read_plan_under(path, &Over::default(), registry)
}

/// Reads a spec and compiles it, with what is laid over it.
///
/// # Errors
/// The file, or its findings.
pub fn read_plan_under(path: &Path, over: &Over, registry: &Registry) -> Result<Arc<Plan>, TraceError> {
    let files = Beside::of(path);
    Ok(Arc::new(request(path, over, &files)?.compile(registry)?))
}

/// A scenario that was run.
pub struct Traced {
    /// Its pipeline.
    pub plan: Arc<Plan>,
    /// Everything that entered and left.
    pub records: Vec<Record>,
    /// The same as lines, with the arbiter's states.
    pub lines: Vec<Line>,
}

/// Runs a scenario and gives its trace.
///
/// # Errors
/// The scenario, or its pipeline.
pub fn trace(path: &Path, registry: &Registry) -> Result<Traced, TraceError> {
    trace_in(&mut crate::core(registry.clone()), path, registry)
}

/// Runs a scenario in a core of the caller's.
///
/// # Errors
/// The scenario, or its pipeline.
pub fn trace_in(core: &mut Core, path: &Path, registry: &Registry) -> Result<Traced, TraceError> {
    let scenario = Scenario::read(path)?;
    let plan = read_plan(&scenario.spec_path(path), registry)?;
    let mut renderer = Renderer::new(&plan);
    let (mut all, mut lines) = (Vec::new(), Vec::new());
    scenario.run(core, &plan, |records, view| {
        lines.extend(records.iter().map(|record| renderer.record(record)));
        if let (Some(view), Some(last)) = (view, records.last()) {
            lines.extend(renderer.state(last.at, view.tick, view.state, &view.holders));
        }
        all.extend_from_slice(records);
    })?;
    Ok(Traced { plan, records: all, lines })
}
