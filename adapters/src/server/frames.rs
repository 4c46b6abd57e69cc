//! The frames of a WebSocket, as a server reads and writes them (RFC 6455): bytes go in, messages come out. There is no socket
//! in here, and no clock.
//!
//! The library's own reader gives whole messages only, and keeps a buffer for each connection. This one shows every frame, so
//! that whoever drives it counts them and sees a message that never ends; and it reads them where they came in, in a buffer
//! that all connections share, so that one of which nothing is half read keeps nothing. Handshakes and headers are the
//! library's.

use std::io::Cursor;

use bytes::Bytes;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::transport::Message;

/// What comes in a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message, whole.
    Message(Message),
    /// A part of a message whose end is yet to come.
    Part,
    /// Wants to be answered with the same.
    Ping(Vec<u8>),
    /// The answer to ours.
    Pong,
    /// The last frame, with its code if it has one.
    Close(Option<u16>),
}

/// What no client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// A message is longer than one may be.
    TooLarge,
    /// It is no frame, or not one that may come here.
    NoFrame(&'static str),
}

/// Reads what a client sends.
pub(super) struct Frames {
    /// The longest message.
    most: usize,
    /// What came and is not read, from this place on.
    rest: Vec<u8>,
    read: usize,
    parts: Option<Parts>,
}

/// A message of which more is to come.
struct Parts {
    is_text: bool,
    bytes: Vec<u8>,
}

/// The longest payload of a frame that is not data.
const MAX_CONTROL_BYTES: u64 = 125;

impl Frames {
    /// With what has come already, and messages of at most so many bytes.
    pub(super) fn new(most: usize, came: &[u8]) -> Self {
        Self { most, rest: came.to_vec(), read: 0, parts: None }
    }

    /// Whether a part of a message has come, and its end has not.
    pub(super) fn is_midway(&self) -> bool {
        self.parts.is_some() || self.read < self.rest.len()
    }

    /// The next frame of what has come, if all of it has.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Breach> {
        let mut rest = std::mem::take(&mut self.rest);
        let (length, frame) = self.parse(&mut rest[self.read..])?;
        self.read += length;
        if self.read == rest.len() {
            (self.rest, self.read) = (Vec::new(), 0);
        } else {
            self.rest = rest;
        }
        Ok(frame)
    }

    /// The next frame, with what comes now.
    pub(super) fn take(&mut self, came: &mut [u8]) -> Result<Option<Frame>, Breach> {
        if self.rest.is_empty() {
            let (length, frame) = self.parse(came)?;
            self.rest.extend_from_slice(&came[length..]);
            return Ok(frame);
        }
        self.rest.drain(..std::mem::take(&mut self.read));
        self.rest.extend_from_slice(came);
        self.next()
    }

    /// Reads the frame at the beginning of these bytes, and gives how long it is: nothing, if it is not all there.
    fn parse(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<Frame>), Breach> {
        let mut cursor = Cursor::new(&*bytes);
        let header = FrameHeader::parse(&mut cursor).map_err(|_| Breach::NoFrame("there is no such kind of frame"))?;
        let Some((header, length)) = header else { return Ok((0, None)) };
        let from = cursor.position() as usize;
        self.check(&header, length)?;
        let until = from + length as usize;
        let Some(payload) = bytes.get_mut(from..until) else { return Ok((0, None)) };
        unmask(payload, header.mask.unwrap_or_default());
        Ok((until, Some(self.frame(&header, payload)?)))
    }

    /// Whether such a frame may come, before all of it has.
    fn check(&self, header: &FrameHeader, length: u64) -> Result<(), Breach> {
        let so_far = self.parts.as_ref().map_or(0, |parts| parts.bytes.len()) as u64;
        Err(Breach::NoFrame(match header.opcode {
            _ if header.rsv1 || header.rsv2 || header.rsv3 => "no extension was agreed on, and a bit of one is set",
            _ if header.mask.is_none() => "a client masks its frames",
            OpCode::Control(_) if !header.is_final => "only data comes in parts",
            OpCode::Control(_) if length > MAX_CONTROL_BYTES => "a ping or a goodbye has at most 125 bytes",
            OpCode::Data(Data::Continue) if self.parts.is_none() => "nothing was begun that this goes on with",
            OpCode::Data(Data::Text | Data::Binary) if self.parts.is_some() => "a message begins before another's end",
            OpCode::Data(_) if length > (self.most as u64).saturating_sub(so_far) => return Err(Breach::TooLarge),
            _ => return Ok(()),
        }))
    }

    fn frame(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<Frame, Breach> {
        let is_text = match header.opcode {
            OpCode::Control(Control::Ping) => return Ok(Frame::Ping(payload.to_vec())),
            OpCode::Control(Control::Close) => return close_code(payload).map(Frame::Close),
            OpCode::Control(_) => return Ok(Frame::Pong),
            OpCode::Data(kind) => kind == Data::Text,
        };
        let Some(mut parts) = self.parts.take() else {
            if header.is_final {
                return message(is_text, payload.to_vec());
            }
            self.parts = Some(Parts { is_text, bytes: payload.to_vec() });
            return Ok(Frame::Part);
        };
        parts.bytes.extend_from_slice(payload);
        if header.is_final {
            return message(parts.is_text, parts.bytes);
        }
        self.parts = Some(parts);
        Ok(Frame::Part)
    }
}

fn message(is_text: bool, bytes: Vec<u8>) -> Result<Frame, Breach> {
    if !is_text {
        return Ok(Frame::Message(Message::Binary(Bytes::from(bytes))));
    }
    let text = String::from_utf8(bytes).map_err(|_| Breach::NoFrame("text is not UTF-8"))?;
    Ok(Frame::Message(Message::Text(text)))
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Breach> {
    match payload {
        [] => Ok(None),
        [high, low, reason @ ..] if std::str::from_utf8(reason).is_ok() => Ok(Some(u16::from_be_bytes([*high, *low]))),
        _ => Err(Breach::NoFrame("a goodbye has a code and a reason, or neither")),
    }
}

/// Eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a frame to what is to be written.
pub(super) fn write(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let (header, length) = (FrameHeader { opcode, ..FrameHeader::default() }, payload.len() as u64);
    out.reserve(header.len(length) + payload.len());
    header.format(length, out).expect("memory takes what is written to it");
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: usize = 1_000;

    /// A frame as a client writes it.
    fn frame(is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let header =
            FrameHeader { is_final, opcode: OpCode::from(opcode), mask: Some([7, 1, 200, 0]), ..Default::default() };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).expect("memory takes it");
        let from = bytes.len();
        bytes.extend_from_slice(payload);
        unmask(&mut bytes[from..], [7, 1, 200, 0]);
        bytes
    }

    /// What is read of these bytes when they come in pieces of this length, and what ends it.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<Breach>) {
        let mut frames = Frames::new(MOST, &[]);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut next = frames.take(&mut piece.to_vec());
            loop {
                match next {
                    Ok(None) => break,
                    Ok(Some(frame)) => all.push(frame),
                    Err(breach) => return (all, Some(breach)),
                }
                next = frames.next();
            }
        }
        (all, None)
    }

    fn check(bytes: &[u8], expected: &[Frame], breach: Option<&str>) {
        for piece in [1, 2, 3, 7, 64, 4_096] {
            let (frames, ended) = read(bytes, piece);
            let ended = ended.map(|breach| match breach {
                Breach::TooLarge => "too large",
                Breach::NoFrame(says) => says,
            });
            assert_eq!((&frames[..], ended), (expected, breach), "in pieces of {piece}");
        }
    }

    fn text(text: &str) -> Frame {
        Frame::Message(Message::Text(text.to_owned()))
    }

    #[test]
    fn a_message_comes_whole_or_in_parts_with_others_frames_between() {
        let bytes = [
            frame(true, 1, b"hello"),
            frame(false, 1, "so g".as_bytes()),
            frame(true, 9, b"there?"),
            frame(false, 0, &"ü".as_bytes()[..1]),
            frame(true, 10, b""),
            frame(true, 0, &[&"ü".as_bytes()[1..], b"te"].concat()),
            frame(true, 2, &[0; 640]),
            frame(true, 8, &[&1001_u16.to_be_bytes()[..], b"bye"].concat()),
            frame(true, 8, b""),
        ]
        .concat();
        let expected = [
            text("hello"),
            Frame::Part,
            Frame::Ping(b"there?".to_vec()),
            Frame::Part,
            Frame::Pong,
            text("so güte"),
            Frame::Message(Message::Binary(vec![0; 640].into())),
            Frame::Close(Some(1001)),
            Frame::Close(None),
        ];
        check(&bytes, &expected, None);
    }

    #[test]
    fn what_no_client_may_send_ends_it() {
        let begun = frame(false, 1, b"a");
        for (bytes, says) in [
            (vec![0x82, 0x01, 0x00], "a client masks its frames"),
            (frame(true, 3, b""), "there is no such kind of frame"),
            (frame(true, 11, b""), "there is no such kind of frame"),
            (vec![0xc2, 0x80, 0, 0, 0, 0], "no extension was agreed on, and a bit of one is set"),
            (frame(false, 9, b""), "only data comes in parts"),
            (frame(true, 9, &[0; 126]), "a ping or a goodbye has at most 125 bytes"),
            (frame(true, 0, b"a"), "nothing was begun that this goes on with"),
            (frame(true, 8, b"x"), "a goodbye has a code and a reason, or neither"),
            (frame(true, 8, b"\x03\xe8\xff"), "a goodbye has a code and a reason, or neither"),
            (frame(true, 1, b"\xff"), "text is not UTF-8"),
            (frame(true, 2, &[0; MOST + 1]), "too large"),
            (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], "too large"),
        ] {
            check(&bytes, &[], Some(says));
        }
        check(
            &[begun.clone(), frame(true, 2, b"b")].concat(),
            &[Frame::Part],
            Some("a message begins before another's end"),
        );
        check(&[begun, frame(true, 0, &[b'a'; MOST])].concat(), &[Frame::Part], Some("too large"));
    }

    #[test]
    fn what_is_half_read_is_seen_and_what_is_read_is_not_kept() {
        let mut frames = Frames::new(MOST, &[]);
        let mut whole = frame(true, 2, &[1; 100]);
        assert!(matches!(frames.take(&mut whole.clone()), Ok(Some(Frame::Message(_)))));
        assert!(!frames.is_midway() && frames.rest.capacity() == 0, "it was read where it came in");
        assert_eq!(frames.take(&mut whole[..50]), Ok(None));
        assert!(frames.is_midway());
        assert!(matches!(frames.take(&mut whole[50..]), Ok(Some(Frame::Message(_)))));
        assert!(!frames.is_midway() && frames.rest.capacity() == 0);
        assert_eq!(frames.take(&mut frame(false, 2, b"")), Ok(Some(Frame::Part)));
        assert!(frames.is_midway(), "its last part is yet to come");
    }

    #[test]
    fn the_library_reads_what_is_written() {
        let mut out = Vec::new();
        for length in [0, 1, 125, 126, 656, 70_000] {
            write(&mut out, OpCode::Data(Data::Binary), &vec![5; length]);
        }
        let mut peer = tungstenite::protocol::frame::FrameSocket::new(Cursor::new(out));
        for length in [0, 1, 125, 126, 656, 70_000] {
            let frame = peer.read(None).expect("it is one").expect("it is there");
            assert_eq!(frame.into_payload(), vec![5; length]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_the_same_frames(
            bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50
        ) {
            prop_assert_eq!(read(&bytes, piece), read(&bytes, 4_096));
        }
    }
}
