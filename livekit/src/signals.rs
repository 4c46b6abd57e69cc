//! Signalling of one participant: a task that has the WebSocket, answers for its life, and resumes it when it is lost.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use livekit_protocol::signal_request::Message as Asks;
use livekit_protocol::signal_response::Message as Says;
use livekit_protocol::{
    ClientInfo, ConnectionSettings, JoinRequest, JoinResponse, Ping, ReconnectReason, SessionDescription,
    SignalRequest, SignalResponse, WrappedJoinRequest, client_info,
};
use prost::Message;
use rspp_specs::binding::Endpoint;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::joining::{Joining, Lost};
use crate::line::{DIALLING, Ended, Line, LineError, url};

/// The version of signalling that is spoken: data channels are opened in their own band.
const PROTOCOL: u32 = 16;
/// Messages that may wait, each way.
const MAX_WAITING: usize = 256;
/// A lost connection is tried again so often, and for so long.
const RESUME_EVERY: Duration = Duration::from_millis(250);
const RESUME_FOR: Duration = Duration::from_secs(8);
/// What a server that says nothing of it is taken to want.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_PATIENCE: Duration = Duration::from_secs(15);

/// How a participant and the server agree on media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `/rtc/v1`, with one peer connection; `/rtc` where a server has no other.
    OneConnection,
    /// `/rtc`, with a peer connection each way.
    TwoConnections,
}

/// What comes of signalling.
#[derive(Debug)]
pub(crate) enum Signal {
    Says(Box<Says>),
    /// Another token to come back with: the first is valid for minutes only.
    Token(String),
    /// The connection was lost, and is there again with the same participant.
    Resumed,
    /// It is lost for good.
    Lost(String),
}

/// What a participant has of signalling: when it is dropped, the connection is closed behind what was asked before.
pub(crate) struct Signals {
    pub(crate) asks: mpsc::Sender<Asks>,
    pub(crate) says: mpsc::Receiver<Signal>,
}

impl Signals {
    /// Those of nobody.
    pub(crate) fn over() -> Self {
        Self { asks: mpsc::channel(1).0, says: mpsc::channel(1).1 }
    }
}

/// A participant that has joined.
pub(crate) struct Joined {
    pub(crate) signals: Signals,
    pub(crate) response: JoinResponse,
    pub(crate) mode: Mode,
}

/// Joins a room.
pub(crate) async fn join(joining: &Joining, offer: &SessionDescription) -> Result<Joined, LineError> {
    let Joining { endpoint, token, mode, lost, .. } = joining;
    let (mut line, mode) = match *mode {
        Mode::TwoConnections => (Line::dial(endpoint, "/rtc", &query(None), token).await?, Mode::TwoConnections),
        Mode::OneConnection => match Line::dial(endpoint, "/rtc/v1", &query_v1(None, Some(offer)), token).await {
            Err(error) if error.is_not_found() => {
                (Line::dial(endpoint, "/rtc", &query(None), token).await?, Mode::TwoConnections)
            }
            line => (line?, Mode::OneConnection),
        },
    };
    let response = tokio::time::timeout(DIALLING, first(&mut line)).await;
    let timed_out = || LineError::TimedOut { url: url(endpoint), after: DIALLING };
    let nonsense = |Ended(says)| LineError::Nonsense { url: url(endpoint), says };
    let Says::Join(response) = response.map_err(|_| timed_out())?.map_err(nonsense)? else {
        return Err(nonsense(Ended("its first word is no answer to a join".to_owned())));
    };
    let (asks, asked) = mpsc::channel(MAX_WAITING);
    let (tell, says) = mpsc::channel(MAX_WAITING);
    let sid = response.participant.as_ref().map(|info| info.sid.clone()).unwrap_or_default();
    let seconds =
        |value: i32, otherwise| u64::try_from(value).ok().filter(|s| *s > 0).map_or(otherwise, Duration::from_secs);
    let keeper = Keeper {
        endpoint: endpoint.clone(),
        token: token.clone(),
        mode,
        lost: lost.clone(),
        sid,
        ping_every: seconds(response.ping_interval, PING_EVERY),
        patience: seconds(response.ping_timeout, PING_PATIENCE),
        asked,
        tell,
    };
    // It ends by itself, soon after nobody asks any more.
    tokio::spawn(keeper.keep(line));
    Ok(Joined { signals: Signals { asks, says }, response, mode })
}

async fn first(line: &mut Line) -> Result<Says, Ended> {
    loop {
        if let Some(says) = line.next::<SignalResponse>().await?.message {
            return Ok(says);
        }
    }
}

/// The task's own.
struct Keeper {
    endpoint: Endpoint,
    token: String,
    mode: Mode,
    lost: Lost,
    sid: String,
    ping_every: Duration,
    patience: Duration,
    asked: mpsc::Receiver<Asks>,
    tell: mpsc::Sender<Signal>,
}

/// Why a connection is not kept any more.
enum Over {
    /// Nobody asks or listens any more.
    Unwanted,
    /// It is lost.
    Lost(String),
}

impl Keeper {
    async fn keep(mut self, mut line: Line) {
        loop {
            match self.attend(&mut line).await {
                Over::Unwanted => return line.close().await,
                Over::Lost(why) => match self.resume().await {
                    Some(resumed) => line = resumed,
                    None => {
                        let _ = self.tell.send(Signal::Lost(why)).await;
                        return;
                    }
                },
            }
        }
    }

    async fn attend(&mut self, line: &mut Line) -> Over {
        let mut ping_at = Instant::now() + self.ping_every;
        let mut heard_at = Instant::now();
        loop {
            let over = tokio::select! {
                says = line.next::<SignalResponse>() => match says {
                    Ok(says) => {
                        heard_at = Instant::now();
                        self.on_says(says).await
                    }
                    Err(Ended(why)) => Some(Over::Lost(why)),
                },
                asks = self.asked.recv() => match asks {
                    Some(asks) => send(line, asks).await,
                    None => Some(Over::Unwanted),
                },
                () = sleep_until(ping_at) => {
                    ping_at += self.ping_every;
                    if heard_at.elapsed() > self.patience {
                        Some(Over::Lost("the server is silent".to_owned()))
                    } else {
                        send(line, Asks::PingReq(Ping::default())).await
                    }
                }
            };
            if let Some(over) = over {
                return over;
            }
        }
    }

    async fn on_says(&mut self, says: SignalResponse) -> Option<Over> {
        match says.message? {
            Says::RefreshToken(token) => {
                self.token.clone_from(&token);
                self.tell(Signal::Token(token)).await
            }
            Says::Pong(_) | Says::PongResp(_) => None,
            says => self.tell(Signal::Says(Box::new(says))).await,
        }
    }

    async fn tell(&self, signal: Signal) -> Option<Over> {
        self.tell.send(signal).await.is_err().then_some(Over::Unwanted)
    }

    /// Comes back as the same participant, if the server still knows it.
    async fn resume(&mut self) -> Option<Line> {
        self.lost.set(true);
        let until = Instant::now() + RESUME_FOR;
        while Instant::now() < until && !self.tell.is_closed() && !self.asked.is_closed() {
            match self.try_resume().await {
                Ok(line) => {
                    self.lost.set(false);
                    self.tell.send(Signal::Resumed).await.ok()?;
                    return Some(line);
                }
                Err(gone) if gone => return None,
                Err(_) => tokio::time::sleep(RESUME_EVERY).await,
            }
        }
        None
    }

    /// Whether an error says that there is nothing to come back to.
    async fn try_resume(&self) -> Result<Line, bool> {
        let (path, query) = match self.mode {
            Mode::OneConnection => ("/rtc/v1", query_v1(Some(&self.sid), None)),
            Mode::TwoConnections => ("/rtc", query(Some(&self.sid))),
        };
        let dialled = Line::dial(&self.endpoint, path, &query, &self.token).await;
        let mut line = dialled.map_err(|error| error.is_refusal())?;
        match tokio::time::timeout(DIALLING, first(&mut line)).await {
            Ok(Ok(Says::Reconnect(_))) => Ok(line),
            Ok(Ok(_)) => Err(true),
            Ok(Err(_)) | Err(_) => Err(false),
        }
    }
}

async fn send(line: &mut Line, asks: Asks) -> Option<Over> {
    let request = SignalRequest { message: Some(asks) };
    line.send(&request).await.err().map(|Ended(why)| Over::Lost(why))
}

/// What a participant says of itself at `/rtc`, and whom it was.
fn query(resumes: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let query = format!("sdk=rust&version={version}&protocol={PROTOCOL}&auto_subscribe=0&adaptive_stream=0");
    match resumes {
        None => query,
        Some(sid) => {
            let reason = ReconnectReason::RrSignalDisconnected as i32;
            format!("{query}&reconnect=1&reconnect_reason={reason}&sid={sid}")
        }
    }
}

/// The same at `/rtc/v1`, with what is offered.
fn query_v1(resumes: Option<&str>, offer: Option<&SessionDescription>) -> String {
    let reason = if resumes.is_some() { ReconnectReason::RrSignalDisconnected } else { ReconnectReason::RrUnknown };
    let request = JoinRequest {
        client_info: Some(ClientInfo {
            sdk: client_info::Sdk::Rust.into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL as i32,
            ..ClientInfo::default()
        }),
        connection_settings: Some(ConnectionSettings { auto_subscribe: false, ..ConnectionSettings::default() }),
        publisher_offer: offer.cloned(),
        reconnect: resumes.is_some(),
        reconnect_reason: reason.into(),
        participant_sid: resumes.unwrap_or_default().to_owned(),
        ..JoinRequest::default()
    };
    let wrapped = WrappedJoinRequest { join_request: request.encode_to_vec(), ..WrappedJoinRequest::default() };
    format!("join_request={}", URL_SAFE.encode(wrapped.encode_to_vec()))
}
