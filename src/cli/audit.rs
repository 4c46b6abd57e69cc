//! `rspp audit`.

use clap::Args;
use rspp_controlplane::wire::{AuditLog, AuditVerdict};

use super::outcome::{Failure, Outcome};
use super::reach::{Reach, ago, failure, table};
use super::run::json_of;

/// Who did what; with --verify, whether the log is what was written.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp audit\n  \
    rspp audit --verify\n  \
    rspp audit --verify --head 6ae08425…            a hash that was kept elsewhere has to be there\n\n\
    Exit code 1: the log was altered; the first entry that is not what was written is named.")]
pub(super) struct Audit {
    /// Go through the whole log.
    #[arg(long)]
    verify: bool,
    /// A hash that was kept elsewhere.
    #[arg(long, value_name = "HASH", requires = "verify")]
    head: Option<String>,
    /// Show entries after this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn run(&self) -> Outcome {
        let client = self.reach.client()?;
        if self.verify {
            let head = self.head.as_ref().map(|head| format!("?head={head}")).unwrap_or_default();
            let path = format!("/v1/audit/verdict{head}");
            return judged(&client.get(&path).map_err(|error| failure(&error))?, self.json);
        }
        let path = format!("/v1/audit?after={}", self.after);
        let log: AuditLog = client.get(&path).map_err(|error| failure(&error))?;
        if self.json {
            return json_of(&log);
        }
        let rows = log.entries.into_iter().map(|entry| {
            [entry.number.to_string(), ago(entry.made_at), entry.actor, entry.action, entry.subject, entry.detail]
        });
        table(["number", "when", "who", "what", "to what", "how"], rows)
    }
}

fn judged(verdict: &AuditVerdict, json: bool) -> Outcome {
    let text = match (json, &verdict.says) {
        (true, _) => json_of(verdict)?,
        (_, None) => {
            format!("{} entries, as they were written; the newest hash is {}\n", verdict.entries, verdict.head)
        }
        (_, Some(says)) => format!("{says}\n{} entries before it are as they were written\n", verdict.entries),
    };
    if verdict.intact { Ok(text) } else { Err(Failure::Unwell(text)) }
}
