//! `rspp engines` and `rspp doctor`.

use clap::Args;

use super::outcome::{Failure, Outcome};
use crate::{doctor, engines};

/// Speech engines and models: what is here, and getting what needs no root.
#[derive(Args)]
#[command(after_help = "Examples:\n  rspp engines\n  rspp engines install\n  rspp engines check")]
pub(super) struct Engines {
    #[command(subcommand)]
    action: Option<engines::Action>,
}

impl Engines {
    pub(super) fn run(&self) -> Outcome {
        engines::run(self.action.as_ref()).map_err(|error| Failure::Run(error.to_string().trim_end().to_owned()))
    }
}

/// Look at what is on this machine: what works, and what to do about the rest.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp doctor\n\nExit code 1: something that every call needs is broken.")]
pub(super) struct Doctor {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(&self) -> Outcome {
        let (text, well) = doctor::run(self.json);
        if well { Ok(text) } else { Err(Failure::Unwell(text)) }
    }
}
