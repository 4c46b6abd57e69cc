//! `rspp summary`.

use std::path::PathBuf;

use clap::Args;

use super::outcome::{Failure, Outcome};
use super::recorded::{good, told};
use super::run::json_of;
use crate::account::Account;
use crate::prices::PriceList;

/// Say what a recorded call came to: turns, interruptions, words heard and unheard, where time went, what it cost.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp summary call.rspp\n  \
    rspp summary call.rspp --prices prices.yaml --json\n\n\
    Prices are what the list declares: see specs/examples/prices.yaml, whose numbers are made up.\n\
    Exit code 1: the recording is damaged; what stands before the damage is summed up.")]
pub(super) struct Summary {
    /// The recording.
    recording: PathBuf,
    /// What providers cost: a document of kind PriceList.
    #[arg(long, value_name = "PRICES.yaml")]
    prices: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Summary {
    pub(super) fn run(&self) -> Outcome {
        let prices = prices(self.prices.as_ref())?;
        let (recording, damage) = good(&self.recording)?;
        let account = Account::of(&recording.records, prices.as_ref());
        let text = if self.json { json_of(&account)? } else { account.to_string() };
        told(&self.recording, text, damage)
    }
}

/// Reads a list of prices, if one is given.
pub(super) fn prices(path: Option<&PathBuf>) -> Result<Option<PriceList>, Failure> {
    path.map(|path| PriceList::read(path).map_err(|error| Failure::Input(error.to_string()))).transpose()
}
