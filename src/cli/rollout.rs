//! `rspp rollout` and `rspp rollback`.

use clap::Args;
use rspp_controlplane::plane::PIPELINE;
use rspp_controlplane::rollout::{Revision, SHARES, Step};
use rspp_controlplane::wire::{Artifacts, RolloutStep, Rollouts};

use super::outcome::{Failure, Outcome};
use super::reach::{Reach, ago, failure, short, table};
use super::run::json_of;
use crate::fleet::client::Client;

/// Give a published version to some callers, to more, to all; without a name, list who gets what.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp rollout\n  \
    rspp rollout voice-assistant --version 2 --percent 10 --tenant internal\n  \
    rspp rollout voice-assistant --percent 50\n  \
    rspp rollout voice-assistant --promote\n\n\
    Who is among the first follows from the session's name: the same at each step, and more with each.\n\
    Policies and layers are rolled out apart from pipelines: --kind PolicyOverlay.")]
pub(super) struct Rollout {
    /// The document's name.
    name: Option<String>,
    /// What kind of document it is.
    #[arg(long, default_value = PIPELINE)]
    kind: String,
    /// The version that is given.
    #[arg(long, value_name = "N", conflicts_with = "promote")]
    version: Option<u64>,
    /// To how many of a hundred.
    #[arg(long, conflicts_with = "promote")]
    percent: Option<f64>,
    /// And to this customer, whatever the percentage; may be given several times.
    #[arg(long, requires = "version")]
    tenant: Vec<String>,
    /// To all: the version that is being tried.
    #[arg(long)]
    promote: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Rollout {
    pub(super) fn run(&self) -> Outcome {
        let client = self.reach.client()?;
        let Some(name) = &self.name else { return list(&client, self.json) };
        let step = match (self.promote, self.version, self.percent) {
            (true, ..) => Step::Promote,
            (_, Some(version), percent) => {
                let digest = digest_of(&client, (&self.kind, name), version)?;
                Step::Begin { digest, percent: percent.unwrap_or(100.0), tenants: self.tenant.clone() }
            }
            (_, None, Some(percent)) => Step::Widen { percent },
            (_, None, None) => {
                let says = "say what: --version N (and --percent P), --percent P, or --promote";
                return Err(Failure::Input(says.to_owned()));
            }
        };
        take(&client, &self.kind, name, step, self.json)
    }
}

/// Take a version that is being tried back from all callers; or, where none is, give all the one before.
#[derive(Args)]
#[command(after_help = "Examples:\n  rspp rollback voice-assistant\n  rspp rollback voice --kind PolicyOverlay --json")]
pub(super) struct Rollback {
    /// The document's name.
    name: String,
    /// What kind of document it is.
    #[arg(long, default_value = PIPELINE)]
    kind: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Rollback {
    pub(super) fn run(&self) -> Outcome {
        take(&self.reach.client()?, &self.kind, &self.name, Step::Rollback, self.json)
    }
}

fn digest_of(client: &Client, (kind, name): (&str, &str), version: u64) -> Result<String, Failure> {
    let all: Artifacts = client.get("/v1/artifacts").map_err(|error| failure(&error))?;
    let found = all.artifacts.into_iter().find(|it| it.kind == kind && it.name == name && it.version == version);
    let says = || format!("{kind} {name} has no published version {version}: `rspp publish` publishes one");
    found.map(|artifact| artifact.digest).ok_or_else(|| Failure::Input(says()))
}

fn take(client: &Client, kind: &str, name: &str, step: Step, json: bool) -> Outcome {
    let request = RolloutStep { kind: kind.to_owned(), name: name.to_owned(), step };
    let revision: Revision = client.post("/v1/rollouts", &request).map_err(|error| failure(&error))?;
    if json { json_of(&revision) } else { shown(&[revision]) }
}

fn list(client: &Client, json: bool) -> Outcome {
    let all: Rollouts = client.get("/v1/rollouts").map_err(|error| failure(&error))?;
    if json { json_of(&all) } else { shown(&all.rollouts) }
}

fn shown(revisions: &[Revision]) -> Outcome {
    let row = |one: &Revision| {
        let canary = one.rollout.canary.as_ref();
        let share = canary.map(|canary| f64::from(canary.shares) * 100.0 / f64::from(SHARES));
        [
            one.kind.clone(),
            one.name.clone(),
            one.revision.to_string(),
            short(&one.rollout.stable),
            canary.map_or_else(String::new, |canary| short(&canary.digest)),
            share.map_or_else(String::new, |share| format!("{share} %")),
            canary.map_or_else(String::new, |canary| canary.tenants.join(", ")),
            format!("{} by {}", ago(one.made_at), one.made_by),
        ]
    };
    table(["kind", "name", "revision", "all get", "tried", "by", "and by", "since"], revisions.iter().map(row))
}
