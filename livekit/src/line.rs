//! A WebSocket of LiveKit's: protobuf messages both ways, with a bound on each.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use prost::Message;
use rspp_adapters::http::{self, Fault, Stream};
use rspp_specs::binding::Endpoint;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as Frame};

/// A description of a session with many participants is the longest of them.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// For the connection, TLS and the upgrade, each.
pub(crate) const DIALLING: Duration = Duration::from_secs(5);
/// Of an answer that is none, so much is told.
const MAX_SAID_BYTES: usize = 200;

/// Why there is no connection to a LiveKit server.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Nobody answers.
    #[error("{url} can't be reached: {fault}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        fault: Fault,
    },
    /// It answers with a status.
    #[error("{url}{path} answers {status}{}", said(.says))]
    Status {
        /// Where.
        url: String,
        /// What was asked for.
        path: String,
        /// The status of HTTP.
        status: u16,
        /// What it says of it.
        says: String,
    },
    /// It does not answer in time.
    #[error("{url} did not answer within {} s", after.as_secs())]
    TimedOut {
        /// Where.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// It answers, and not as LiveKit does.
    #[error("{url} does not speak as a LiveKit server does: {says}")]
    Nonsense {
        /// Where.
        url: String,
        /// What is wrong.
        says: String,
    },
}

impl LineError {
    /// Whether the server refused what was shown to it, so that the same again is refused again.
    pub fn is_refusal(&self) -> bool {
        matches!(self, LineError::Status { status: 400..=499, .. })
    }

    /// Whether there is nothing at that path.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, LineError::Status { status: 404, .. })
    }
}

fn said(says: &str) -> String {
    match says.trim() {
        "" => String::new(),
        says => format!(": {says}"),
    }
}

/// A server's address, for people.
pub(crate) fn url(endpoint: &Endpoint) -> String {
    let scheme = if endpoint.secure { "wss" } else { "ws" };
    format!("{scheme}://{}{}", endpoint.authority(), endpoint.path)
}

/// A LiveKit server's address: `ws://`, `wss://`, `http://` or `https://`.
///
/// # Errors
/// What is wrong with it.
pub fn endpoint(url: &str) -> Result<Endpoint, String> {
    let form = "write a LiveKit server's address as wss://HOST or ws://HOST:PORT";
    let (scheme, rest) = url.split_once("://").ok_or(form)?;
    let scheme = match scheme {
        "ws" | "http" => "http",
        "wss" | "https" => "https",
        _ => return Err(form.to_owned()),
    };
    let endpoint = Endpoint::parse(&format!("{scheme}://{rest}")).map_err(|error| format!("{form}: {error}"))?;
    if endpoint.key.is_some() || endpoint.model.is_some() {
        return Err(format!("{form}; keys are given apart from it"));
    }
    Ok(endpoint)
}

/// One connection.
pub(crate) struct Line {
    socket: WebSocketStream<Box<dyn Stream>>,
}

/// It is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended(pub(crate) String);

impl Line {
    /// Connects to a path with a token.
    pub(crate) async fn dial(endpoint: &Endpoint, path: &str, query: &str, token: &str) -> Result<Self, LineError> {
        let url = url(endpoint);
        let unreachable = |fault| LineError::Unreachable { url: url.clone(), fault };
        let stream = http::reach(endpoint, DIALLING).await.map_err(unreachable)?;
        let nonsense = |says: String| LineError::Nonsense { url: url.clone(), says };
        let uri = format!("{url}{path}?{query}").parse().map_err(|error| nonsense(format!("{error}")))?;
        let request = ClientRequestBuilder::new(uri).with_header("Authorization", format!("Bearer {token}"));
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match tokio::time::timeout(DIALLING, upgrade).await {
            Err(_) => Err(LineError::TimedOut { url: url.clone(), after: DIALLING }),
            Ok(Ok((socket, _))) => Ok(Self { socket }),
            Ok(Err(tungstenite::Error::Http(answer))) => {
                let body = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
                let says = body[..body.floor_char_boundary(MAX_SAID_BYTES.min(body.len()))].to_owned();
                let status = answer.status().as_u16();
                Err(LineError::Status { url: url.clone(), path: path.to_owned(), status, says })
            }
            Ok(Err(error)) => Err(nonsense(error.to_string())),
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &impl Message) -> Result<(), Ended> {
        let frame = Frame::Binary(message.encode_to_vec().into());
        self.socket.send(frame).await.map_err(|error| Ended(error.to_string()))
    }

    /// The next message.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Result<M, Ended> {
        loop {
            match self.socket.next().await {
                Some(Ok(Frame::Binary(bytes))) => {
                    return M::decode(bytes).map_err(|error| Ended(format!("a message can't be read: {error}")));
                }
                Some(Ok(Frame::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                    return Err(Ended(reason.unwrap_or_else(|| "the server closed the connection".to_owned())));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Ended(error.to_string())),
                None => return Err(Ended("the connection is closed".to_owned())),
            }
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(&mut self) {
        let _ = tokio::time::timeout(DIALLING, self.socket.close(None)).await;
    }
}
