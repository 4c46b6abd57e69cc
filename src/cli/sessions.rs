//! `rspp sessions`.

use clap::Args;
use rspp_controlplane::wire::{SessionStory, Sessions as All};

use super::outcome::Outcome;
use super::reach::{Reach, ago, failure, short, table};
use super::run::json_of;
use crate::fleet::worker::escaped;

/// The sessions of a fleet; of one, where it has been.
#[derive(Args)]
#[command(after_help = "Examples:\n  rspp sessions\n  rspp sessions acme call-7 --json")]
pub(super) struct Sessions {
    /// Whose session.
    #[arg(requires = "session")]
    tenant: Option<String>,
    /// Which.
    session: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Sessions {
    pub(super) fn run(&self) -> Outcome {
        let client = self.reach.client()?;
        if let (Some(tenant), Some(session)) = (&self.tenant, &self.session) {
            let path = format!("/v1/sessions/{}/{}", escaped(tenant), escaped(session));
            let story: SessionStory = client.get(&path).map_err(|error| failure(&error))?;
            return if self.json { json_of(&story) } else { journey(&story) };
        }
        let all: All = client.get("/v1/sessions").map_err(|error| failure(&error))?;
        if self.json {
            return json_of(&all);
        }
        let rows = all.sessions.into_iter().map(|one| {
            let state = one.state.name().to_owned();
            let pipeline = format!("{} {}", one.pipeline, short(&one.digest));
            [one.tenant, one.session, state, one.worker, one.epoch.to_string(), pipeline, ago(one.placed_at)]
        });
        table(["tenant", "session", "state", "worker", "epoch", "pipeline", "since"], rows)
    }
}

fn journey(story: &SessionStory) -> Outcome {
    let one = &story.session;
    let head = format!("{} {}: {} on {}\n", one.tenant, one.session, one.state.name(), one.worker);
    let rows = story
        .journey
        .iter()
        .map(|stop| [stop.epoch.to_string(), stop.worker.clone(), ago(stop.made_at), stop.why.clone()]);
    Ok(head + &table(["epoch", "worker", "since", "why"], rows)?)
}
