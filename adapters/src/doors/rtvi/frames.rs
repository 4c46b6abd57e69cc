//! Pipecat's frames, as they are on the wire: protobuf, one frame in each binary message.
//!
//! The fields and their numbers are those of Pipecat's `frames.proto`. They are few and do not change, so they are
//! written here and not generated.

use bytes::Bytes;
use prost::{Message as _, Oneof};

/// One message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// What is in it.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    pub kind: Option<Kind>,
}

/// What a frame can be.
#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    /// Text.
    #[prost(message, tag = "1")]
    Text(TextFrame),
    /// Audio.
    #[prost(message, tag = "2")]
    Audio(AudioFrame),
    /// A transcript.
    #[prost(message, tag = "3")]
    Transcription(TranscriptionFrame),
    /// An RTVI message.
    #[prost(message, tag = "4")]
    Message(MessageFrame),
    /// What was sent is not to be heard.
    #[prost(message, tag = "5")]
    Interruption(InterruptionFrame),
}

/// Text.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TextFrame {
    /// The frame's number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What it is called.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The text.
    #[prost(string, tag = "3")]
    pub text: String,
}

/// Audio.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AudioFrame {
    /// The frame's number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What it is called.
    #[prost(string, tag = "2")]
    pub name: String,
    /// 16-bit PCM, the low byte first.
    #[prost(bytes = "bytes", tag = "3")]
    pub audio: Bytes,
    /// Samples a second.
    #[prost(uint32, tag = "4")]
    pub sample_rate: u32,
    /// How many channels.
    #[prost(uint32, tag = "5")]
    pub num_channels: u32,
    /// Its time, where it has one.
    #[prost(uint64, optional, tag = "6")]
    pub pts: Option<u64>,
}

/// A transcript.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TranscriptionFrame {
    /// The frame's number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What it is called.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The words.
    #[prost(string, tag = "3")]
    pub text: String,
    /// Whose.
    #[prost(string, tag = "4")]
    pub user_id: String,
    /// When.
    #[prost(string, tag = "5")]
    pub timestamp: String,
}

/// An RTVI message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MessageFrame {
    /// JSON.
    #[prost(string, tag = "1")]
    pub data: String,
}

/// What was sent is not to be heard.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InterruptionFrame {
    /// The frame's number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What it is called.
    #[prost(string, tag = "2")]
    pub name: String,
}

impl Frame {
    /// A frame of these bytes.
    pub fn read(bytes: Bytes) -> Option<Kind> {
        Frame::decode(bytes).ok()?.kind
    }

    /// The bytes of a frame.
    pub fn write(kind: Kind) -> Vec<u8> {
        Frame { kind: Some(kind) }.encode_to_vec()
    }
}
