//! What an attendant has of its peer: messages both ways, whatever carries them.
//!
//! Most peers have a WebSocket. Who has something else, a room say, implements [`Socket`] for it and comes in through the
//! [`super::Reception`].

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frames::{self, Breach, Frame, Frames};
use crate::transport::{Ended, Message, Refusal, RefusalCode};

/// What a peer is heard by and told through. The task that attends the peer is the one that polls; nothing in here waits.
pub trait Socket: Send {
    /// What comes from the peer next.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came>;

    /// Whether a part of a message has come, and its end has not.
    fn is_midway(&self) -> bool {
        false
    }

    /// Whether a message can be taken.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Takes a message. The third gate was asked in the same breath, in which [`Socket::poll_flush`] follows.
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
    /// A part of a message whose end is yet to come.
    Part,
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
pub(super) struct WebSocketPeer<S> {
    stream: S,
    frames: Frames,
    /// The longest message, for telling who sent a longer one.
    message_bytes: usize,
    /// What is to be written, from this place on.
    out: Vec<u8>,
    written: usize,
    /// The last frame of ours is among that, or has left.
    has_closed: bool,
    /// The peer has sent its last frame, or something that is none: what follows is not looked at.
    is_deaf: bool,
    /// The peer has sent its last frame.
    heard_close: bool,
}

/// Where what comes in is read first, whoever sent it. A message of 20 ms has less than a kilobyte.
const READ_BYTES: usize = 16 * 1024;
/// A peer that has at most so much to write keeps the room for it.
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketPeer<S> {
    /// On this connection, of which these bytes were read already.
    pub(super) fn new(stream: S, came: &[u8], message_bytes: usize) -> Self {
        Self {
            stream,
            frames: Frames::new(message_bytes, came),
            message_bytes,
            out: Vec::new(),
            written: 0,
            has_closed: false,
            is_deaf: false,
            heard_close: false,
        }
    }

    /// The next frame: of what has come, or of what comes now.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Came>> {
        if let Some(frame) = self.frames.next().map_err(|breach| self.refuse(breach))? {
            return Poll::Ready(Ok(frame));
        }
        READ.with_borrow_mut(|bytes| {
            loop {
                let came = ready!(self.poll_read(cx, bytes))?;
                if let Some(frame) = self.frames.take(came).map_err(|breach| self.refuse(breach))? {
                    return Poll::Ready(Ok(frame));
                }
            }
        })
    }

    fn poll_read<'b>(&mut self, cx: &mut Context<'_>, bytes: &'b mut [u8]) -> Poll<Result<&'b mut [u8], Came>> {
        let mut room = ReadBuf::new(bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
        let length = room.filled().len();
        if read.is_err() || length == 0 {
            return Poll::Ready(Err(Came::Lost));
        }
        Poll::Ready(Ok(&mut bytes[..length]))
    }

    /// Until the peer has nothing more to say. What it is still told arrives, as it would not if it were cut off.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        READ.with_borrow_mut(|bytes| {
            loop {
                if let Err(lost) = ready!(self.poll_read(cx, bytes)) {
                    return Poll::Ready(lost);
                }
            }
        })
    }

    fn refuse(&mut self, breach: Breach) -> Came {
        self.is_deaf = true;
        Came::Refused(match breach {
            Breach::TooLarge => {
                Refusal::fatal(RefusalCode::TooLarge, format!("a message has at most {} bytes", self.message_bytes))
            }
            Breach::NoFrame(says) => Refusal::fatal(RefusalCode::Malformed, says),
        })
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, frame: Frame) -> Came {
        match frame {
            Frame::Message(message) => Came::Message(message),
            Frame::Part => Came::Part,
            Frame::Pong => Came::Alive,
            Frame::Ping(payload) => {
                // Who does not read gets no answers.
                if self.out.is_empty() && !self.has_closed {
                    frames::write(&mut self.out, OpCode::Control(Control::Pong), &payload);
                    let _ = self.poll_out(cx);
                }
                Came::Alive
            }
            Frame::Close(code) => {
                (self.is_deaf, self.heard_close) = (true, true);
                let payload = code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
                if self.say(OpCode::Control(Control::Close), &payload).is_ok() {
                    let _ = self.poll_out(cx);
                }
                self.has_closed = true;
                Came::Closed { orderly: code.is_some_and(|code| [CLOSE_NORMAL, CLOSE_GOING_AWAY].contains(&code)) }
            }
        }
    }

    fn say(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), Gone> {
        if self.has_closed {
            return Err(Gone);
        }
        frames::write(&mut self.out, opcode, payload);
        Ok(())
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while self.written < self.out.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..])) {
                Ok(length @ 1..) => self.written += length,
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Pin::new(&mut self.stream).poll_flush(cx).map_err(|_| Gone)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for WebSocketPeer<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        if self.heard_close && self.out.is_empty() {
            return Poll::Ready(Came::Lost);
        }
        if self.is_deaf {
            return self.poll_silence(cx);
        }
        match ready!(self.poll_frame(cx)) {
            Ok(frame) => Poll::Ready(self.on_frame(cx, frame)),
            Err(came) => Poll::Ready(came),
        }
    }

    fn is_midway(&self) -> bool {
        self.frames.is_midway()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.out.is_empty() { Poll::Ready(Ok(())) } else { self.poll_out(cx) }
    }

    fn start_send(&mut self, message: Message) -> Result<(), Gone> {
        match message {
            Message::Text(text) => self.say(OpCode::Data(Data::Text), text.as_bytes()),
            Message::Binary(bytes) => self.say(OpCode::Data(Data::Binary), &bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_out(cx)
    }

    fn ping(&mut self) -> Result<(), Gone> {
        self.say(OpCode::Control(Control::Ping), &[])
    }

    fn close(&mut self, ended: &Ended) -> Result<(), Gone> {
        let (code, reason) = close_frame(ended);
        let end = reason.floor_char_boundary(MAX_REASON_BYTES.min(reason.len()));
        let payload = [&code.to_be_bytes()[..], &reason.as_bytes()[..end]].concat();
        self.say(OpCode::Control(Control::Close), &payload)?;
        self.has_closed = true;
        Ok(())
    }
}

/// The longest reason in a close frame.
const MAX_REASON_BYTES: usize = 120;
const CLOSE_NORMAL: u16 = 1000;
const CLOSE_GOING_AWAY: u16 = 1001;

/// The close codes of RFC 6455 where one says it, and in the private range the status that HTTP has for it.
fn close_frame(ended: &Ended) -> (u16, String) {
    match ended {
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
                RefusalCode::HandshakeTimeout | RefusalCode::Idle | RefusalCode::TooSlow => 4408,
                RefusalCode::OutOfOrder => 4409,
                RefusalCode::TooFast => 4429,
                RefusalCode::SlowReader => 1008,
            };
            (code, refusal.to_string())
        }
    }
}
