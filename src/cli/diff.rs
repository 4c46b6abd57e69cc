//! `rspp diff`.

use std::path::{Path, PathBuf};

use clap::Args;
use rspp_specs::time::Micros;

use super::outcome::{Failure, Outcome};
use super::recorded::whole;
use super::run::json_of;
use super::summary::prices;
use crate::diff::{Call, Options, Report};

/// Times that differ by no more are the same, unless something else is said.
pub(super) const TOLERANCE_MS: u64 = 20;

/// Compare two recorded calls: where they part first and how, then outputs, times, decisions, providers and cost.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp diff yesterday.rspp today.rspp\n  \
    rspp diff yesterday.rspp today.rspp --html report.html     both timelines side by side\n  \
    rspp diff yesterday.rspp today.rspp --tolerance 100 --json\n\n\
    Classes: ORDERING, PLAN, OUTCOME, TIMING, AUTHORITY.\n\
    Exit code 0: the same. 1: they differ, or one is damaged. 2: wrong usage or input.")]
pub(super) struct Diff {
    /// The first recording.
    a: PathBuf,
    /// The second.
    b: PathBuf,
    /// Times that differ by no more milliseconds are the same.
    #[arg(long, value_name = "MS", default_value_t = TOLERANCE_MS)]
    tolerance: u64,
    /// What providers cost: a document of kind PriceList.
    #[arg(long, value_name = "PRICES.yaml")]
    prices: Option<PathBuf>,
    /// Write the comparison as a page that needs nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn run(&self) -> Outcome {
        let prices = prices(self.prices.as_ref())?;
        let (a, b) = (whole(&self.a)?, whole(&self.b)?);
        let names = [&self.a, &self.b].map(|path| path.display().to_string());
        let options = Options { tolerance: Micros::from_ms(self.tolerance), prices: prices.as_ref() };
        let report = Report::of(
            Call { name: &names[0], records: &a.records },
            Call { name: &names[1], records: &b.records },
            options,
        );
        if let Some(path) = &self.html {
            write(path, report.html(&a.records, &b.records).as_bytes())?;
        }
        let text = if self.json { json_of(&report)? } else { report.to_string() };
        if report.is_same() { Ok(text) } else { Err(Failure::Unwell(text)) }
    }
}

/// Writes a result's file, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    crate::files::replace(path, bytes).map_err(|error| {
        Failure::Run(format!("{} can't be written ({error}): check that its folder exists", path.display()))
    })
}
