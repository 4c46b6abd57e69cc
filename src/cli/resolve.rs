//! `rspp resolve`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::{Registry, circumstance};

use super::outcome::{Failure, Outcome};
use super::run::{json_of, node_and_binding};
use crate::spec::{Beside, Over, request};

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
    /// Lay a document of kind ConfigLayer over it; may be given several times.
    #[arg(long = "layer", value_name = "FILE")]
    layers: Vec<PathBuf>,
    /// Apply a document of kind PolicyOverlay; may be given several times.
    #[arg(long = "policy", value_name = "FILE")]
    policies: Vec<PathBuf>,
    /// What is known of the call: tenant, language, region or cost_tier; may be given several times.
    #[arg(long = "for", value_name = "NAME=VALUE", value_parser = circumstance)]
    circumstances: Vec<(String, String)>,
    /// Bind a node to another provider than the spec says; may be given several times.
    #[arg(long, value_name = "NODE=BINDING", value_parser = node_and_binding)]
    bind: Vec<(String, String)>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Resolve {
    pub(super) fn run(self, registry: &Registry) -> Outcome {
        let Self { spec, layers, policies, circumstances, bind, json } = self;
        let files = Beside::of(&spec);
        let over = Over { layers, policies, circumstances };
        let mut request = request(&spec, &over, &files).map_err(|error| Failure::Input(error.to_string()))?;
        request.bindings = bind.into_iter().collect();
        let checked = request.check(registry);
        match checked.resolved {
            Some(resolved) if json => json_of(&resolved),
            Some(resolved) => Ok(resolved.table()),
            None => Err(Failure::Input(format!("the spec can't be used\n\n{}", checked.findings))),
        }
    }
}
