//! `rspp diff-spec`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::{Bump, Registry, difference};
use serde_json::json;

use super::outcome::{Failure, Outcome};
use super::run::json_of;
use crate::trace::read_plan;

/// Say what is different between two specs, and which new version that needs.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp diff-spec old.yaml new.yaml\n\n\
    Order, spaces, comments and metadata are no differences.\n\
    Exit code 1: they differ and have the same version, which is published once and then never changes.")]
pub(super) struct DiffSpec {
    /// The spec that is published.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The spec that is to be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl DiffSpec {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let read = |path| read_plan(path, registry).map_err(|error| Failure::Input(error.to_string()));
        let (old, new) = (read(&self.old)?, read(&self.new)?);
        let changes = difference(&old, &new);
        let bump = changes.iter().map(|change| change.bump).max().unwrap_or(Bump::None);
        let stale = bump > Bump::None && new.version() <= old.version();
        let text = if self.json {
            json_of(
                &json!({"bump": bump, "old_version": old.version(), "new_version": new.version(), "needs_new_version": stale, "changes": changes}),
            )?
        } else {
            let mut text: String = changes
                .iter()
                .map(|change| format!("{:<6} {}: {}\n", change.bump.name(), change.path, change.says))
                .collect();
            text += &match (bump, stale) {
                (Bump::None, _) => format!("nothing that a session does is different (plan {})\n", new.hash()),
                (_, true) => format!(
                    "a {} change, and both have version {}: give the new one version {}\n",
                    bump.name(),
                    new.version(),
                    old.version() + 1
                ),
                (_, false) => {
                    format!("a {} change; version {} becomes {}\n", bump.name(), old.version(), new.version())
                }
            };
            text
        };
        if stale { Err(Failure::Unwell(text)) } else { Ok(text) }
    }
}
