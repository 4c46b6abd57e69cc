//! The protocol as JSON: text messages with a `type`, and audio in binary messages.
//!
//! Audio of the caller is bare 16-bit little-endian PCM. Audio for the caller has 16 bytes before it: the turn (u32), the
//! egress epoch (u32), and the place of the first sample in the turn's audio (u64), all little-endian.

use rspp_specs::event::Talk;
use rspp_specs::ids::TurnId;
use rspp_specs::limits::MAX_FRAME_SAMPLES;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, PlayoutAck};
use serde::{Deserialize, Serialize};

use super::{FromClient, FromServer, Hello, ResumeFrom, VERSION};
use crate::doors::rspp::story::Told;
use crate::transport::{Audio, Message, Refusal, RefusalCode};

/// Before the samples of audio for the caller.
pub(super) const AUDIO_HEADER_BYTES: usize = 16;

/// The form itself.
pub(super) struct Json;

/// What a client may say, as it stands in JSON.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said {
    Hello {
        version: u32,
        token: Option<String>,
        label: Option<String>,
        rate_hz: Option<u32>,
        resume: Option<Resume>,
    },
    Text {
        text: String,
    },
    Talk {
        #[cfg_attr(test, schemars(with = "TalkWord"))]
        state: Talk,
    },
    Mute {
        muted: bool,
    },
    Playout {
        turn: u32,
        heard_samples: u64,
        #[cfg_attr(test, schemars(with = "OccasionWord"))]
        occasion: AckOccasion,
    },
    Cancel,
    End,
    Ping {
        id: u64,
    },
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Resume {
    secret: String,
    #[serde(default)]
    last_seq: u64,
    played: Option<Played>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Played {
    turn: u32,
    heard_samples: u64,
}

/// The words of [`Talk`], for the document.
#[cfg(test)]
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TalkWord {
    Press,
    Release,
    EndOfUtterance,
}

/// The words of [`AckOccasion`], for the document.
#[cfg(test)]
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OccasionWord {
    Started,
    Progress,
    Drained,
    Cleared,
}

#[derive(Serialize)]
struct Envelope<T> {
    #[serde(skip_serializing_if = "is_zero")]
    seq: u64,
    at_ms: f64,
    #[serde(flatten)]
    says: T,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(seq: &u64) -> bool {
    *seq == 0
}

/// What is no [`Told`].
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Says<'a> {
    Ready {
        version: u32,
        session: &'a str,
        resumed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<&'a str>,
        received_samples: u64,
        missed: u64,
        rate_hz: u32,
    },
    Clear {
        turn: u32,
        epoch: u32,
    },
    Error {
        code: &'static str,
        message: &'a str,
        fatal: bool,
    },
    Ended {
        reason: &'static str,
        message: &'a str,
    },
    Pong {
        id: u64,
    },
    Missed {
        messages: u32,
    },
}

impl Json {
    /// Reads a message of a client's.
    pub(super) fn read(message: &Message) -> Result<FromClient, Refusal> {
        match message {
            Message::Text(text) => Ok(read_text(text)?.into()),
            Message::Binary(bytes) => read_pcm(bytes).map(FromClient::Audio),
        }
    }

    /// Writes a message to a client.
    pub(super) fn write(seq: u64, at: Micros, says: &FromServer) -> Message {
        let at_ms = at.0 as f64 / 1_000.0;
        let text = match says {
            FromServer::Told(told) => serde_json::to_string(&Envelope::<&Told> { seq, at_ms, says: told }),
            other => serde_json::to_string(&Envelope { seq, at_ms, says: Says::of(other) }),
        };
        Message::Text(text.expect("words and numbers can be written as JSON"))
    }

    /// Audio for the caller.
    pub(super) fn audio(audio: &Audio) -> Message {
        let mut bytes = Vec::with_capacity(AUDIO_HEADER_BYTES + audio.frame.samples.len() * 2);
        bytes.extend_from_slice(&audio.turn.0.to_le_bytes());
        bytes.extend_from_slice(&audio.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&audio.from_sample.to_le_bytes());
        put_pcm(&mut bytes, &audio.frame.samples);
        Message::Binary(bytes.into())
    }
}

/// 16-bit little-endian PCM of these samples.
pub(super) fn pcm_bytes(samples: &[i16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_pcm(&mut bytes, samples);
    bytes
}

/// Appends them; in such a way that the compiler makes one copy of it.
fn put_pcm(bytes: &mut Vec<u8>, samples: &[i16]) {
    let from = bytes.len();
    bytes.resize(from + samples.len() * 2, 0);
    let (pairs, _) = bytes[from..].as_chunks_mut::<2>();
    pairs.iter_mut().zip(samples).for_each(|(pair, sample)| *pair = sample.to_le_bytes());
}

fn read_text(text: &str) -> Result<Said, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let code = if error.is_data() { RefusalCode::Unknown } else { RefusalCode::Malformed };
        Refusal::mild(code, format!("this is no message of {}: {error}", super::Form::Json.subprotocol()))
    })
}

/// 16-bit little-endian PCM.
pub(super) fn read_pcm(bytes: &[u8]) -> Result<Vec<i16>, Refusal> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(2) {
        return Err(Refusal::mild(RefusalCode::Malformed, "PCM of 16 bits has an even number of bytes, and some"));
    }
    if bytes.len() / 2 > MAX_FRAME_SAMPLES {
        let says = format!("a message has at most {MAX_FRAME_SAMPLES} samples; send 20 ms at a time");
        return Err(Refusal::mild(RefusalCode::TooLarge, says));
    }
    let (pairs, _) = bytes.as_chunks::<2>();
    Ok(pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
}

impl From<Said> for FromClient {
    fn from(said: Said) -> Self {
        match said {
            Said::Hello { version, token, label, rate_hz, resume } => {
                let resume = resume.map(|Resume { secret, last_seq, played }| {
                    let played = played.map(|played| (TurnId(played.turn), played.heard_samples));
                    ResumeFrom { secret, last_seq, played }
                });
                FromClient::Hello(Hello { version, token, label, rate_hz, resume })
            }
            Said::Text { text } => FromClient::Text(text),
            Said::Talk { state } => FromClient::Talk(state),
            Said::Mute { muted } => FromClient::Mute(muted),
            Said::Playout { turn, heard_samples, occasion } => {
                FromClient::Playout(PlayoutAck { turn: TurnId(turn), heard_samples, occasion })
            }
            Said::Cancel => FromClient::Cancel,
            Said::End => FromClient::End,
            Said::Ping { id } => FromClient::Ping(id),
        }
    }
}

impl<'a> Says<'a> {
    fn of(says: &'a FromServer) -> Self {
        match says {
            FromServer::Ready { session, resumed, resume, received_samples, missed } => Says::Ready {
                version: VERSION,
                session,
                resumed: *resumed,
                resume: resume.as_deref(),
                received_samples: *received_samples,
                missed: *missed,
                rate_hz: crate::audio::CALL_RATE_HZ,
            },
            FromServer::Clear { turn, epoch } => Says::Clear { turn: turn.0, epoch: epoch.0 },
            FromServer::Error(Refusal { code, says, fatal }) => {
                Says::Error { code: code.name(), message: says, fatal: *fatal }
            }
            FromServer::Ended { reason, says } => Says::Ended { reason, message: says },
            FromServer::Pong(id) => Says::Pong { id: *id },
            FromServer::Missed(messages) => Says::Missed { messages: *messages },
            FromServer::Told(_) => unreachable!("it has a way of its own"),
        }
    }
}
