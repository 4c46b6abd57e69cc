//! `rspp replay`.

use std::path::PathBuf;

use clap::Args;
use rspp_adapters::input_file;
use rspp_adapters::recording::Recording;
use rspp_compiler::Registry;

use super::outcome::{Failure, Outcome};
use crate::replay::{Verdict, replay};

/// Feed a recording's inputs to this program, and compare all that comes out.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp replay call.rspp\n\nExit code 0: identical. 1: it differs, or the \
                        file is damaged; the first difference, or the damage, is named.")]
pub(super) struct Replay {
    /// The recording.
    recording: PathBuf,
}

impl Replay {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let path = &self.recording;
        let file = input_file::open(path, "a recording (.rspp)").map_err(|error| Failure::Input(error.to_string()))?;
        let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
        let recording = Recording::read(file).map_err(|error| fail(&error))?;
        match replay(&recording, registry).map_err(|error| fail(&error))? {
            verdict @ Verdict::Identical { .. } => Ok(format!("{verdict}\n")),
            verdict @ Verdict::Differs(_) => Err(fail(&verdict)),
        }
    }
}
