//! `rspp livekit-check`, and what `rspp serve` has to be told to serve rooms.

use std::path::Path;

use clap::Args;
use rspp_livekit::check::check;
use rspp_livekit::room::Mode;
use rspp_livekit::worker::endpoint;
use rspp_specs::binding::{BindingError, Endpoint, KeyReference};

use super::outcome::{Failure, Outcome};
use crate::serve::LiveKit;

/// Serve rooms of a LiveKit server.
#[derive(Args)]
pub(super) struct Rooms {
    /// Serve rooms of this LiveKit server, as `wss://rooms.example.com`, as a worker that it sends to them.
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    livekit: Option<Endpoint>,
    /// The name by which rooms ask for this agent; without one it goes into every room that asks for nobody.
    #[arg(long, value_name = "NAME", default_value = "", requires = "livekit", hide_default_value = true)]
    livekit_agent: String,
    /// Listen to this participant only, by its identity; else to the first who comes.
    #[arg(long, value_name = "IDENTITY", requires = "livekit")]
    livekit_caller: Option<String>,
    /// A peer connection each way, as servers without `/rtc/v1` want it.
    #[arg(long, requires = "livekit")]
    livekit_two_connections: bool,
    #[command(flatten)]
    keys: Keys,
}

/// The key of a LiveKit server.
#[derive(Args, Clone)]
pub(super) struct Keys {
    /// Where the name of LiveKit's API key is.
    #[arg(long, value_name = "env:NAME|file:PATH", default_value = "env:LIVEKIT_API_KEY", value_parser = reference)]
    livekit_key: KeyReference,
    /// Where its secret is.
    #[arg(long, value_name = "env:NAME|file:PATH", default_value = "env:LIVEKIT_API_SECRET", value_parser = reference)]
    livekit_secret: KeyReference,
}

fn reference(argument: &str) -> Result<KeyReference, String> {
    argument.parse().map_err(|error: BindingError| error.to_string())
}

impl Rooms {
    pub(super) fn livekit(self) -> Option<LiveKit> {
        let mode = if self.livekit_two_connections { Mode::TwoConnections } else { Mode::OneConnection };
        let (agent, caller) = (self.livekit_agent, self.livekit_caller);
        let Keys { livekit_key: key, livekit_secret: secret } = self.keys;
        self.livekit.map(|endpoint| LiveKit { endpoint, key, secret, agent, caller, mode })
    }
}

/// Say what of a LiveKit server works from here.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp livekit-check wss://rooms.example.com\n\n\
    It registers as a worker, and joins a room of its own in both ways that servers have.\n\
    Exit code 1: something does not work. 2: the address, or a key that is not there.")]
pub(super) struct LiveKitCheck {
    /// The server, as `wss://rooms.example.com`.
    #[arg(value_name = "URL", value_parser = endpoint)]
    server: Endpoint,
    #[command(flatten)]
    keys: Keys,
}

impl LiveKitCheck {
    pub(super) fn run(self) -> Outcome {
        let Keys { livekit_key: key, livekit_secret: secret } = self.keys;
        let (endpoint, agent, mode) = (self.server, String::new(), Mode::OneConnection);
        let livekit = LiveKit { endpoint, key, secret, agent, caller: None, mode };
        let keys = livekit.keys(Path::new("")).map_err(|error| Failure::Input(error.to_string()))?;
        let mut says = String::new();
        let works = check(&livekit.endpoint, &keys, |step| {
            let (mark, result) = match &step.result {
                Ok(result) => ("works", result),
                Err(error) => ("FAILS", error),
            };
            says.push_str(&format!("{mark}: {}: {result}\n", step.what));
        });
        let works = works.map_err(|error| Failure::Run(error.to_string()))?;
        if works { Ok(says) } else { Err(Failure::Unwell(says)) }
    }
}
