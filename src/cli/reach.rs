//! How commands reach a control plane, and how they show what it says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use comfy_table::{Table, presets};
use rspp_controlplane::time::Millis;
use rspp_specs::binding::{BindingError, KeyReference};

use super::outcome::{Failure, Outcome};
use crate::fleet::client::{AskError, Client};

/// Where the control plane is, and who asks.
#[derive(Args, Clone)]
pub(super) struct Reach {
    /// Where the control plane is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7700")]
    control_plane: String,
    /// The key to ask with: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "REFERENCE", default_value = "env:RSPP_KEY", value_parser = reference)]
    key: KeyReference,
}

/// How long an answer may take: what is published is checked first.
const PATIENCE: Duration = Duration::from_secs(30);

impl Reach {
    /// Who asks it.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.control_plane, Some(&self.key), PATIENCE).map_err(|error| failure(&error))
    }
}

impl Reach {
    /// Where it is, and the key.
    pub(super) fn parts(&self) -> (String, KeyReference) {
        (self.control_plane.clone(), self.key.clone())
    }
}

fn reference(text: &str) -> Result<KeyReference, String> {
    text.parse().map_err(|error: BindingError| error.to_string())
}

/// Wrong input is told apart from a control plane that is not there.
pub(super) fn failure(error: &AskError) -> Failure {
    match error {
        AskError::Key { .. } => Failure::Input(error.to_string()),
        AskError::Refused(problem) if matches!(problem.code.as_str(), "invalid" | "malformed" | "not_found") => {
            Failure::Input(problem.message.clone())
        }
        AskError::Refused(problem) => Failure::Run(problem.message.clone()),
        _ => Failure::Run(error.to_string()),
    }
}

/// A table that a person can read.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Outcome {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row);
    }
    Ok(table.lines().map(|line| line.trim_end().to_owned() + "\n").collect())
}

/// How long ago something was.
pub(super) fn ago(at: Millis) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let seconds = (now as u64).saturating_sub(at.0) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// The beginning of a digest, which is enough for people.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}
