//! `rspp resolve`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::Registry;

use super::outcome::{Failure, Outcome};
use super::over::LaidOver;
use super::run::json_of;
use crate::spec::{Beside, request};

/// Show every effective field of a spec and where it comes from: the spec, a layer, a policy, a profile, a default.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp resolve mine.yaml\n  \
    rspp resolve mine.yaml --layer production.yaml --layer acme.yaml\n  \
    rspp resolve mine.yaml --policy cost.yaml --for tenant=acme --for cost_tier=low")]
pub(super) struct Resolve {
    /// The pipeline's spec.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    #[command(flatten)]
    over: LaidOver,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Resolve {
    pub(super) fn run(self, registry: &Registry) -> Outcome {
        let Self { spec, over, json } = self;
        let files = Beside::of(&spec);
        let request = request(&spec, &over.over(), &files).map_err(|error| Failure::Input(error.to_string()))?;
        let checked = request.check(registry);
        match checked.resolved {
            Some(resolved) if json => json_of(&resolved),
            Some(resolved) => Ok(resolved.table()),
            None => Err(Failure::Input(format!("the spec can't be used\n\n{}", checked.findings))),
        }
    }
}
