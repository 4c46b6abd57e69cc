//! `rspp livekit-check` and its kin, and what `rspp serve` has to be told to serve rooms.

use std::future::Future;
use std::path::Path;

use clap::Args;
use rspp_adapters::secret::Secrets;
use rspp_adapters::token;
use rspp_livekit::check::check;
use rspp_livekit::protocol::CreateRoomRequest;
use rspp_livekit::room::Mode;
use rspp_livekit::services::{LineError, Services};
use rspp_livekit::token::{Bearer, Grant, More};
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

impl Keys {
    fn read(&self) -> Result<rspp_livekit::token::Keys, Failure> {
        let secrets = Secrets::beside(Path::new(""));
        let read = |reference| secrets.read(reference).map_err(|error| Failure::Input(error.to_string()));
        Ok(rspp_livekit::token::Keys::new(read(&self.livekit_key)?.reveal(), read(&self.livekit_secret)?))
    }
}

impl LiveKitCheck {
    pub(super) fn run(self) -> Outcome {
        let keys = self.keys.read()?;
        let mut says = String::new();
        let works = check(&self.server, &keys, |step| {
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

/// Make a token that lets somebody into a room.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp livekit-token support caller-7 --agent waiter\n\n\
    The token goes to whoever it is for: LiveKit's libraries connect with it and the server's address.")]
pub(super) struct LiveKitToken {
    /// The room.
    room: String,
    /// Who it is for, by the identity there.
    identity: String,
    /// Send this agent to the room, if the room is made by who comes with the token.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// For how many seconds it opens a connection.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    valid: u64,
    #[command(flatten)]
    keys: Keys,
}

impl LiveKitToken {
    pub(super) fn run(self) -> Outcome {
        let grant = Grant { room_join: true, room: self.room, ..Grant::default() };
        let more = More { valid_seconds: self.valid, agents: self.agent.into_iter().collect(), ..More::default() };
        let token = self.keys.read()?.token_with(Bearer::Participant(&self.identity), &grant, &more, token::now());
        Ok(format!("{token}\n"))
    }
}

/// Say which rooms a LiveKit server has, and who is in them.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp livekit-rooms wss://rooms.example.com")]
pub(super) struct LiveKitRooms {
    /// The server, as `wss://rooms.example.com`.
    #[arg(value_name = "URL", value_parser = endpoint)]
    server: Endpoint,
    #[command(flatten)]
    keys: Keys,
}

impl LiveKitRooms {
    pub(super) fn run(self) -> Outcome {
        let services = Services::new(self.server, self.keys.read()?);
        asked(async {
            let mut says = String::new();
            for room in services.rooms().await? {
                says.push_str(&format!("{}\n", room.name));
                for info in services.participants(&room.name).await? {
                    says.push_str(&format!("  {} ({})\n", info.identity, info.kind().as_str_name().to_lowercase()));
                }
            }
            Ok(if says.is_empty() { "no rooms\n".to_owned() } else { says })
        })
    }
}

/// Send an agent to a room of a LiveKit server, which is made if it is not there.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp livekit-dispatch wss://rooms.example.com support waiter")]
pub(super) struct LiveKitDispatch {
    /// The server, as `wss://rooms.example.com`.
    #[arg(value_name = "URL", value_parser = endpoint)]
    server: Endpoint,
    /// The room.
    room: String,
    /// The agent, by the name that its workers have.
    agent: String,
    #[command(flatten)]
    keys: Keys,
}

impl LiveKitDispatch {
    pub(super) fn run(self) -> Outcome {
        let Self { server, room, agent, keys } = self;
        let services = Services::new(server, keys.read()?);
        asked(async {
            let made = CreateRoomRequest { name: room.clone(), ..CreateRoomRequest::default() };
            services.create_room(&made).await?;
            let sent = services.dispatch(&room, &agent).await?;
            Ok(format!("{} is sent to {} ({})\n", sent.agent_name, sent.room, sent.id))
        })
    }
}

/// What a server's services say.
fn asked(asks: impl Future<Output = Result<String, LineError>>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Run(error.to_string()))?;
    runtime.block_on(asks).map_err(|error| Failure::Run(error.to_string()))
}
