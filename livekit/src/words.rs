//! What goes between a room and its transport. Audio is binary, everything else is a line of JSON: that is what the
//! contract of transports has, and what its conformance suite can throw nonsense at.

use bytes::{BufMut, Bytes, BytesMut};
use rspp_adapters::audio::MAX_OPUS_PACKET_BYTES;
use rspp_adapters::transport::{Message, Refusal, RefusalCode};
use serde::{Deserialize, Serialize};

/// The clock of Opus over RTP, whatever rate is coded.
pub(crate) const RTP_RATE_HZ: u32 = 48_000;

/// A packet of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Which stream it is of: another one begins anew.
    pub(crate) stream: u32,
    /// The place of its first sample, at [`RTP_RATE_HZ`].
    pub(crate) at: u64,
    /// Its number, which tells a pause from a loss.
    pub(crate) number: u64,
    /// Opus.
    pub(crate) packet: Bytes,
}

/// A packet of the agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// The place of its first sample, at [`RTP_RATE_HZ`].
    pub(crate) at: u64,
    /// It is the first behind a pause.
    pub(crate) begins: bool,
    /// How far below the loudest it is, in decibels: what a room shows who speaks by.
    pub(crate) level: u8,
    /// Opus.
    pub(crate) packet: Bytes,
}

/// What a room says, apart from audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "room", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FromRoom {
    /// The caller's microphone.
    Muted { muted: bool },
    /// The caller typed.
    Text { text: String },
    /// The caller pressed a key of a telephone.
    Key { key: String },
    /// The caller has left the room.
    Left,
}

/// What a transport wants said in its room, apart from audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ToRoom {
    /// Some of a transcript.
    Transcript(Transcript),
    /// What the agent does.
    State { state: AgentState },
}

/// A piece of a transcript. Pieces with the same segment are of the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transcript {
    pub(crate) segment: String,
    pub(crate) who: Whose,
    /// The number of the stream of text that the piece is in.
    pub(crate) stream: u64,
    /// It opens that stream.
    pub(crate) opens: bool,
    pub(crate) text: String,
    /// It closes that stream, and nothing more of the segment comes if it is final.
    pub(crate) closes: Option<Finality>,
}

/// Whether there may be another revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Finality {
    Interim,
    Final,
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whose {
    Caller,
    Agent,
}

/// What LiveKit's own front ends show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It has joined, and is not ready.
    Initializing,
    /// It listens.
    Listening,
    /// It works on an answer.
    Thinking,
    /// It speaks.
    Speaking,
}

impl AgentState {
    /// Its name in the attribute.
    pub const fn name(self) -> &'static str {
        match self {
            AgentState::Initializing => "initializing",
            AgentState::Listening => "listening",
            AgentState::Thinking => "thinking",
            AgentState::Speaking => "speaking",
        }
    }
}

const HEARD: u8 = 1;
const HEARD_HEAD_BYTES: usize = 21;
const SPOKEN: u8 = 2;
const SPOKEN_HEAD_BYTES: usize = 11;

impl Heard {
    pub(crate) fn write(&self) -> Message {
        let mut bytes = BytesMut::with_capacity(HEARD_HEAD_BYTES + self.packet.len());
        bytes.put_u8(HEARD);
        bytes.put_u32(self.stream);
        bytes.put_u64(self.at);
        bytes.put_u64(self.number);
        bytes.put_slice(&self.packet);
        Message::Binary(bytes.freeze())
    }

    pub(crate) fn read(bytes: &Bytes) -> Result<Self, Refusal> {
        let malformed = || Refusal::mild(RefusalCode::Malformed, "that is no packet of a room's audio");
        let head = bytes.get(..HEARD_HEAD_BYTES).filter(|head| head[0] == HEARD).ok_or_else(malformed)?;
        let packet = bytes.slice(HEARD_HEAD_BYTES..);
        if packet.len() > MAX_OPUS_PACKET_BYTES {
            return Err(malformed());
        }
        let number = |from: usize| head[from..from + 8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let stream = head[1..5].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        Ok(Self { stream, at: number(5), number: number(13), packet })
    }
}

impl Spoken {
    pub(crate) fn write(&self) -> Message {
        let mut bytes = BytesMut::with_capacity(SPOKEN_HEAD_BYTES + self.packet.len());
        bytes.put_u8(SPOKEN);
        bytes.put_u64(self.at);
        bytes.put_u8(u8::from(self.begins));
        bytes.put_u8(self.level);
        bytes.put_slice(&self.packet);
        Message::Binary(bytes.freeze())
    }

    pub(crate) fn read(bytes: &Bytes) -> Option<Self> {
        let head = bytes.get(..SPOKEN_HEAD_BYTES).filter(|head| head[0] == SPOKEN)?;
        let at = head[1..9].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self { at, begins: head[9] == 1, level: head[10], packet: bytes.slice(SPOKEN_HEAD_BYTES..) })
    }
}

impl FromRoom {
    pub(crate) fn write(&self) -> Message {
        Message::Text(serde_json::to_string(self).expect("it has strings and flags only"))
    }

    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        serde_json::from_str(text)
            .map_err(|error| Refusal::mild(RefusalCode::Malformed, format!("that is no word of a room's: {error}")))
    }
}

impl ToRoom {
    pub(crate) fn write(&self) -> String {
        serde_json::to_string(self).expect("it has strings, numbers and flags only")
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}
