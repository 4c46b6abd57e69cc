//! `rspp replay`.

use std::path::PathBuf;

use clap::Args;
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
        if !path.exists() || path.is_dir() {
            let message = format!("{}: no such file; give the path of a recording (.rspp)", path.display());
            return Err(Failure::Input(message));
        }
        let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
        let recording = Recording::open(path).map_err(|error| fail(&error))?;
        match replay(&recording, registry).map_err(|error| fail(&error))? {
            verdict @ Verdict::Identical { .. } => Ok(format!("{verdict}\n")),
            verdict @ Verdict::Differs(_) => Err(fail(&verdict)),
        }
    }
}
