//! `rspp gates`.

use std::path::PathBuf;

use clap::Args;

use super::outcome::{Failure, Outcome};
use super::recorded::{in_folder, whole};
use super::run::json_of;
use crate::gates::Evidence;

/// Judge recorded calls by the seven gates: percentiles with their bounds, and whether there are enough samples.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp gates call.rspp\n  \
    rspp gates --dir calls --markdown > gates.md\n  \
    rspp gates --dir calls --strict --json      for CI: too few samples fail, too\n\n\
    Exit code 0: no gate has failed. 1: one has, or a recording is damaged. 2: wrong usage or input.")]
pub(super) struct Gates {
    /// Recordings.
    #[arg(required_unless_present = "dir")]
    recordings: Vec<PathBuf>,
    /// All recordings of a folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Fail as well where there are too few samples to be certain, or none.
    #[arg(long)]
    strict: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Print a table in Markdown.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Gates {
    pub(super) fn run(&self) -> Outcome {
        let mut paths = self.recordings.clone();
        if let Some(folder) = &self.dir {
            paths.extend(in_folder(folder)?);
        }
        let mut evidence = Evidence::default();
        for path in &paths {
            evidence.add(&Evidence::of_recording(&whole(path)?));
        }
        let gates = evidence.gates();
        let text = match (self.json, self.markdown) {
            (true, _) => json_of(&gates)?,
            (_, true) => gates.markdown(),
            _ => gates.to_string(),
        };
        if gates.pass(self.strict) { Ok(text) } else { Err(Failure::Unwell(text)) }
    }
}
