//! `rspp explain`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::{Registry, explain};

use super::outcome::{Failure, Outcome};
use crate::trace::read_plan;

/// Say in words what a pipeline does: its nodes, its edges, how it takes turns.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp explain specs/pipelines/voice-assistant.yaml")]
pub(super) struct Explain {
    /// The pipeline's spec, YAML or JSON.
    spec: PathBuf,
}

impl Explain {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let plan = read_plan(&self.spec, registry).map_err(|error| Failure::Input(error.to_string()))?;
        Ok(explain(&plan))
    }
}
