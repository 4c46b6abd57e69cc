//! `rspp explain`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rspp_adapters::input_file;
use rspp_adapters::recording::Recording;
use rspp_compiler::{Registry, explain};
use rspp_specs::plan::Plan;
use rspp_specs::timeline::{Entry, Input};

use super::outcome::{Failure, Outcome};
use super::over::LaidOver;
use crate::drawing::graph_svg;
use crate::trace::read_plan_under;

/// Say in words what a pipeline does: its nodes, its edges, how it takes turns.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp explain specs/pipelines/voice-assistant.yaml\n  \
    rspp explain mine.yaml --svg > mine.svg
  \
    rspp explain call.rspp        the pipeline that held a recorded call")]
pub(super) struct Explain {
    /// The pipeline's spec, YAML or JSON; or a recording, which has its pipeline in it.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    #[command(flatten)]
    over: LaidOver,
    /// Print the graph as SVG instead.
    #[arg(long)]
    svg: bool,
}

impl Explain {
    pub(super) fn run(self, registry: &Registry) -> Outcome {
        if self.spec.extension().is_some_and(|extension| extension == "rspp") {
            return explain_recording(&self.spec).map(|plan| told(&plan, self.svg));
        }
        let over = self.over.over();
        let plan = read_plan_under(&self.spec, &over, registry).map_err(|error| Failure::Input(error.to_string()))?;
        Ok(told(&plan, self.svg))
    }
}

fn told(plan: &Plan, as_svg: bool) -> String {
    if as_svg { graph_svg(plan) } else { explain(plan) }
}

/// The plan stands in the first record; how the rest of the file fares does not matter.
fn explain_recording(path: &Path) -> Result<Arc<Plan>, Failure> {
    let file = input_file::open(path, "a recording (.rspp)").map_err(|error| Failure::Input(error.to_string()))?;
    let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
    let (recording, _) = Recording::read_prefix(file).map_err(|error| fail(&error))?;
    let plan = recording.records.iter().find_map(|record| match &record.entry {
        Entry::Input(_, Input::SessionOpen(open)) => Some(&open.plan),
        _ => None,
    });
    plan.cloned().ok_or_else(|| fail(&"the recording does not begin with session_open"))
}
