//! `rspp livekit-check`: what of a LiveKit server works from here, step by step, in words.

use rspp_adapters::token;
use rspp_specs::binding::Endpoint;

use crate::joining::{Lost, Whom};
use crate::line::url;
use crate::room::{Joining, Mode, Room};
use crate::token::{Bearer, Grant, Keys};
use crate::worker::register;

/// The room that is joined to see whether media flows. Nobody else is in it, and the server closes it when it is empty.
const ROOM: &str = "rspp-livekit-check";

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: String,
    /// What came of it, or why nothing did.
    pub result: Result<String, String>,
}

/// Tries all of it. Each step is told as soon as it is known.
///
/// # Errors
/// The system gives no runtime to try it on.
pub fn check(endpoint: &Endpoint, keys: &Keys, on_step: impl FnMut(&Step)) -> Result<bool, std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(try_all(endpoint, keys, on_step)))
}

async fn try_all(endpoint: &Endpoint, keys: &Keys, mut on_step: impl FnMut(&Step)) -> bool {
    let mut works = true;
    let mut tell = |what: String, result: Result<String, String>| {
        works &= result.is_ok();
        on_step(&Step { what, result });
    };
    let registered = register(endpoint, keys, "rspp-livekit-check").await;
    let result = match registered {
        Ok((mut line, id)) => {
            line.close().await;
            Ok(format!("{} knows the key {} and takes workers ({id})", url(endpoint), keys.name()))
        }
        Err(error) => Err(error.to_string()),
    };
    tell("register as a worker".to_owned(), result);
    for (mode, name) in [(Mode::OneConnection, "/rtc/v1"), (Mode::TwoConnections, "/rtc")] {
        let result = join(endpoint, keys, mode).await;
        tell(format!("join a room by {name}"), result);
    }
    works
}

async fn join(endpoint: &Endpoint, keys: &Keys, mode: Mode) -> Result<String, String> {
    let grant = Grant { room_join: true, room: ROOM.to_owned(), can_update_own_metadata: true, ..Grant::default() };
    let token = keys.token(Bearer::Agent("rspp-livekit-check"), &grant, token::now());
    let began = tokio::time::Instant::now();
    let joining =
        Joining { endpoint: endpoint.clone(), token, mode, caller: None, whom: Whom::Callers, lost: Lost::default() };
    let mut room = Room::join(&joining).await.map_err(|error| error.to_string())?;
    let took = began.elapsed().as_millis();
    room.leave();
    let found = if room.mode() == mode { "" } else { " (it has no other way than /rtc)" };
    Ok(format!("media and data flow after {took} ms{found}"))
}
