//! `rspp workers` and `rspp drain`.

use clap::Args;
use rspp_controlplane::wire::{Done, Workers as All};

use super::outcome::Outcome;
use super::reach::{Reach, ago, failure, table};
use super::run::json_of;
use crate::fleet::worker::escaped;

/// The workers of a fleet.
#[derive(Args)]
#[command(after_help = "Examples:\n  rspp workers\n  rspp workers --json")]
pub(super) struct Workers {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Workers {
    pub(super) fn run(&self) -> Outcome {
        let all: All = self.reach.client()?.get("/v1/workers").map_err(|error| failure(&error))?;
        if self.json {
            return json_of(&all);
        }
        let rows = all.workers.into_iter().map(|one| {
            [
                format!("{} ({})", one.name, one.incarnation),
                one.standing.name().to_owned(),
                format!("{} of {}", one.sessions, one.capacity),
                format!("{:.0} %", one.load_permille as f64 / 10.0),
                one.health,
                one.region,
                one.endpoint,
                ago(one.seen_at),
            ]
        });
        table(["worker", "stands", "sessions", "load", "health", "region", "endpoint", "seen"], rows)
    }
}

/// Have a worker take no more sessions; with --revoke, take its lease, and give its sessions to others.
#[derive(Args)]
#[command(after_help = "Examples:\n  rspp drain worker-1\n  rspp drain worker-1 --revoke")]
pub(super) struct Drain {
    /// The worker's name.
    worker: String,
    /// Take its lease: nothing that it says or plays is accepted any more.
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(super) fn run(&self) -> Outcome {
        let what = if self.revoke { "revoke" } else { "drain" };
        let path = format!("/v1/workers/{}/{what}", escaped(&self.worker));
        let done: Done = self.reach.client()?.post(&path, &()).map_err(|error| failure(&error))?;
        if self.json {
            return json_of(&done);
        }
        let says = if self.revoke { "has no lease any more" } else { "takes no more sessions" };
        Ok(format!("{} {says}\n", self.worker))
    }
}
