//! The way back into a room whose server has forgotten us: in again, as another participant of the same name, with the same
//! session behind it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use livekit_protocol::participant_info::Kind;
use livekit_protocol::{LeaveRequest, ParticipantInfo};
use rspp_specs::binding::Endpoint;
use tokio::time::Instant;

use super::Room;
use crate::joining::Joining;
use crate::line::endpoint;
use crate::people::Caller;
use crate::signals::Signals;
use crate::words::FromRoom;

/// A server is tried again so often, and for so long.
const REJOIN_EVERY: Duration = Duration::from_millis(250);
const REJOIN_FOR: Duration = Duration::from_secs(20);
/// Where a room may be.
const MAX_SERVERS: usize = 8;
/// The attribute of a participant that is back: another agent that was sent in its place leaves.
pub(super) const REJOINED: &str = "rspp.rejoined";
/// The attribute in which the server says what agent a participant is.
const AGENT_NAME: &str = "lk.agent_name";

/// Another participant of ours, on its way in.
pub(super) type Rejoins = Pin<Box<dyn Future<Output = Result<Room, String>> + Send>>;

/// Whether this is the agent that we are, back from where it was before us.
pub(super) fn is_back(info: &ParticipantInfo, me: &ParticipantInfo) -> bool {
    let is_same = info.kind() == Kind::Agent && info.attributes.get(AGENT_NAME) == me.attributes.get(AGENT_NAME);
    is_same && info.attributes.get(REJOINED).is_some_and(|back| back == "true")
}

impl Room {
    /// Where the server says that the room is, or may be.
    pub(super) fn note_servers(&mut self, leave: &LeaveRequest) {
        let regions = leave.regions.iter().flat_map(|settings| &settings.regions);
        let mut servers: Vec<Endpoint> = regions.filter_map(|region| endpoint(&region.url).ok()).collect();
        servers.append(&mut self.servers);
        self.servers = unlike(servers);
    }

    /// Goes in again, and on.
    pub(super) fn rejoin(&mut self, why: &str) {
        if !self.is_in {
            return self.end(why.to_owned(), false);
        }
        if self.rejoins.is_some() || self.over.is_some() || self.left {
            return;
        }
        self.joining.lost.set(true);
        // Who is there as well, or comes back to signalling of before, would get in the way of who comes.
        self.leave();
        self.signals = Signals::over();
        let caller = self.people.caller().map(|caller| caller.identity.clone());
        let joining = Joining { caller: caller.or_else(|| self.joining.caller.clone()), ..self.joining.clone() };
        self.rejoins = Some(Box::pin(rejoined(joining, self.servers.clone(), why.to_owned())));
    }

    /// Whether there is a room: none while it is rejoined.
    pub(super) fn poll_rejoined(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(rejoins) = &mut self.rejoins else { return true };
        match rejoins.as_mut().poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(why)) => {
                self.rejoins = None;
                self.end(why, false);
            }
            Poll::Ready(Ok(room)) => {
                let before = std::mem::replace(self, room);
                self.go_on(before);
            }
        }
        true
    }

    /// Takes over from the participant that was lost.
    fn go_on(&mut self, mut before: Room) {
        self.has_rejoined = true;
        self.joining.caller.clone_from(&before.joining.caller);
        self.servers.append(&mut before.servers);
        self.servers = unlike(std::mem::take(&mut self.servers));
        std::mem::swap(&mut self.news, &mut before.news);
        self.news.append(&mut before.news);
        let is_muted = |caller: Option<&Caller>| caller.is_some_and(|caller| caller.muted);
        if is_muted(before.people.caller()) && !is_muted(self.people.caller()) {
            self.tell([FromRoom::Muted { muted: false }]);
        }
        if let Some(state) = before.state {
            self.show(state);
        }
        self.awaited_until = Some(Instant::now() + REJOIN_FOR);
    }
}

/// The first of each.
fn unlike(servers: Vec<Endpoint>) -> Vec<Endpoint> {
    let mut kept: Vec<Endpoint> = Vec::new();
    for server in servers {
        if kept.len() < MAX_SERVERS && !kept.contains(&server) {
            kept.push(server);
        }
    }
    kept
}

async fn rejoined(joining: Joining, servers: Vec<Endpoint>, why: String) -> Result<Room, String> {
    let until = Instant::now() + REJOIN_FOR;
    let mut error = String::new();
    for endpoint in servers.into_iter().cycle() {
        let joining = Joining { endpoint, ..joining.clone() };
        match Box::pin(Room::join(&joining)).await {
            Ok(room) => return Ok(room),
            Err(why) => error = why.to_string(),
        }
        if Instant::now() > until {
            break;
        }
        tokio::time::sleep(REJOIN_EVERY).await;
    }
    Err(format!("{why}; then: {error}"))
}
