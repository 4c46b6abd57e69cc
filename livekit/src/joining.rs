//! How a room is joined, and why it is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rspp_specs::binding::Endpoint;

use crate::line::LineError;
use crate::peer::MediaError;
use crate::signals::Mode;

/// Media has to flow so long after the room was joined.
pub(crate) const MEDIA_PATIENCE: Duration = Duration::from_secs(10);

/// A room to join, and how.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The server.
    pub endpoint: Endpoint,
    /// The token that lets one in.
    pub token: String,
    /// How media is agreed on.
    pub mode: Mode,
    /// The only participant who is listened to, where it is known.
    pub caller: Option<String>,
    /// Who can be listened to at all.
    pub whom: Whom,
    /// Where it is said when the server is lost.
    pub lost: Lost,
}

/// Whom a participant listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whom {
    /// People, and telephones: an agent's part.
    #[default]
    Callers,
    /// Agents: a caller's part.
    Agents,
}

/// Whether a participant lost its server, and is not back as the same participant. Such a room may be made anew by whoever
/// comes back first, and the server then sends another agent, who is one too many.
#[derive(Clone, Debug, Default)]
pub struct Lost(Arc<AtomicBool>);

impl Lost {
    /// Whether it did.
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, lost: bool) {
        self.0.store(lost, Ordering::Release);
    }
}

/// Why a room is not joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Its server.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Media can't be agreed on.
    #[error("no media can be agreed on with the server: {0}")]
    Media(String),
    /// Media does not flow.
    #[error(
        "{url} lets the agent into the room, and media does not flow within {} s: can its UDP ports be reached from here?",
        MEDIA_PATIENCE.as_secs()
    )]
    NoMedia {
        /// The server.
        url: String,
    },
    /// The room was left before.
    #[error("the room was closed: {0}")]
    Closed(String),
    /// The system gives no socket.
    #[error("there is no socket for media: {0}")]
    Socket(std::io::Error),
}

impl From<MediaError> for JoinError {
    fn from(error: MediaError) -> Self {
        JoinError::Media(error.to_string())
    }
}
