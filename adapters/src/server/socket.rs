//! What an attendant has of its peer: messages both ways, whatever carries them.
//!
//! Most peers have a WebSocket. Who has something else, a room say, implements [`Socket`] for it and comes in through the
//! [`super::Reception`].

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{CloseFrame, Message as Wire, WebSocket};
use futures_util::{Sink, Stream};

use crate::transport::{Ended, Message, Refusal, RefusalCode};

/// What a peer is heard by and told through. The task that attends the peer is the one that polls; nothing in here waits.
pub trait Socket: Send {
    /// What comes from the peer next.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came>;

    /// Whether a message can be taken.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Takes a message. The third gate was asked in the same breath, so what can leave at once has to.
    ///
    /// # Errors
    /// There is nobody any more.
    fn start_send(&mut self, message: Message) -> Result<(), Gone>;

    /// Whether all that was taken has left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Asks the peer for a sign of life, which comes as [`Came::Alive`].
    ///
    /// # Errors
    /// There is nobody any more.
    fn ping(&mut self) -> Result<(), Gone>;

    /// Says why the line is over. What comes after that is read until it is [`Came::Lost`].
    ///
    /// # Errors
    /// There is nobody any more.
    fn close(&mut self, ended: &Ended) -> Result<(), Gone>;
}

/// What comes from a peer.
#[derive(Debug)]
pub enum Came {
    /// A message.
    Message(Message),
    /// A sign of life.
    Alive,
    /// It closes; in an orderly way if it wants to.
    Closed {
        /// Whether it does.
        orderly: bool,
    },
    /// It breaks the rules below those of the dialect.
    Refused(Refusal),
    /// It is gone.
    Lost,
}

/// There is nobody any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A peer with a WebSocket.
pub(super) struct WebSocketPeer {
    pub(super) socket: WebSocket,
    /// The longest message, for telling who sent a longer one.
    pub(super) message_bytes: usize,
}

impl WebSocketPeer {
    /// What a broken connection is: a message that was too long is the peer's fault, and is said.
    fn broken(&self, error: &axum::Error) -> Came {
        let text = error.to_string();
        if text.contains("too long") || text.contains("too big") || text.contains("Space limit") {
            let says = format!("a message has at most {} bytes", self.message_bytes);
            return Came::Refused(Refusal::fatal(RefusalCode::TooLarge, says));
        }
        if text.contains("protocol error") && !text.contains("without closing handshake") || text.contains("UTF-8") {
            return Came::Refused(Refusal::fatal(RefusalCode::Malformed, text));
        }
        Came::Lost
    }

    fn take(&mut self, wire: Wire) -> Result<(), Gone> {
        Pin::new(&mut self.socket).start_send(wire).map_err(|_| Gone)
    }
}

impl Socket for WebSocketPeer {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        Pin::new(&mut self.socket).poll_next(cx).map(|came| match came {
            None => Came::Lost,
            Some(Err(error)) => self.broken(&error),
            Some(Ok(Wire::Text(text))) => Came::Message(Message::Text(text.as_str().to_owned())),
            Some(Ok(Wire::Binary(bytes))) => Came::Message(Message::Binary(bytes)),
            Some(Ok(Wire::Ping(_) | Wire::Pong(_))) => Came::Alive,
            Some(Ok(Wire::Close(frame))) => {
                let orderly = frame.is_some_and(|frame| [CLOSE_NORMAL, CLOSE_GOING_AWAY].contains(&frame.code));
                Came::Closed { orderly }
            }
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|_| Gone)
    }

    fn start_send(&mut self, message: Message) -> Result<(), Gone> {
        self.take(match message {
            Message::Text(text) => Wire::Text(text.into()),
            Message::Binary(bytes) => Wire::Binary(bytes),
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(|_| Gone)
    }

    fn ping(&mut self) -> Result<(), Gone> {
        self.take(Wire::Ping(Vec::new().into()))
    }

    fn close(&mut self, ended: &Ended) -> Result<(), Gone> {
        self.take(Wire::Close(Some(close_frame(ended))))
    }
}

/// The longest reason in a close frame.
const MAX_REASON_BYTES: usize = 120;
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;

/// The close codes of RFC 6455 where one says it, and in the private range the status that HTTP has for it.
fn close_frame(ended: &Ended) -> CloseFrame {
    let (code, reason) = match ended {
        Ended::Done => (CLOSE_NORMAL, "done".to_owned()),
        Ended::Lost => (CLOSE_NORMAL, "lost: the connection did not come back in time".to_owned()),
        Ended::Refused(refusal) => {
            let code = match refusal.code {
                RefusalCode::Malformed => 1007,
                RefusalCode::Unknown | RefusalCode::Unsupported => 1003,
                RefusalCode::TooLarge => 1009,
                RefusalCode::Internal => 1011,
                RefusalCode::Full | RefusalCode::OverQuota | RefusalCode::Deferred => 1013,
                RefusalCode::Moved => 4410,
                RefusalCode::ShuttingDown => CLOSE_GOING_AWAY,
                RefusalCode::Unauthorized => 4401,
                RefusalCode::NoSession => 4404,
                RefusalCode::HandshakeTimeout | RefusalCode::Idle => 4408,
                RefusalCode::OutOfOrder => 4409,
                RefusalCode::TooFast => 4429,
                RefusalCode::SlowReader => 1008,
            };
            (code, refusal.to_string())
        }
    };
    let end = reason.floor_char_boundary(MAX_REASON_BYTES.min(reason.len()));
    CloseFrame { code, reason: reason[..end].into() }
}
