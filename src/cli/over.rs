//! What is laid over a spec, on the command line.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::circumstance;

use crate::spec::Over;

/// What is laid over the spec.
#[derive(Args, Clone)]
pub(super) struct LaidOver {
    /// Lay a document of kind ConfigLayer over the spec; may be given several times.
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
}

impl LaidOver {
    pub(super) fn over(self) -> Over {
        let Self { layers, policies, circumstances, bind } = self;
        Over { layers, policies, circumstances, bindings: bind }
    }
}

/// `llm=http://localhost:11434/v1#MODEL`.
pub(super) fn node_and_binding(text: &str) -> Result<(String, String), &'static str> {
    let (node, binding) = text.split_once('=').ok_or("write NODE=BINDING")?;
    Ok((node.trim().to_owned(), binding.trim().to_owned()))
}
