//! The protocol as protobuf: every message is a binary one, audio too. `specs/schemas/rspp/call/v1/call.proto` has it; words
//! are those that the same field has in JSON, and are read by the same code.

use bytes::Bytes;
use prost::Message as _;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::PlayoutAck;
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as WordError};

use super::json::{pcm_bytes, read_pcm};
use super::story::Told;
use super::wire::{self, from_client, from_server};
use super::{Form, FromClient, FromServer, Hello, ResumeFrom, VERSION};
use crate::transport::{Audio, Message, Refusal, RefusalCode};

/// The form itself.
pub(super) struct Protobuf;

impl Protobuf {
    /// Reads a message of a client's.
    pub(super) fn read(message: &Message) -> Result<FromClient, Refusal> {
        let malformed = |says: &str| {
            let form = Form::Protobuf.subprotocol();
            Refusal::mild(RefusalCode::Malformed, format!("this is no message of {form}: {says}"))
        };
        let Message::Binary(bytes) = message else { return Err(malformed("it is text")) };
        let read = wire::FromClient::decode(bytes.clone()).map_err(|error| malformed(&error.to_string()))?;
        let unknown = || Refusal::mild(RefusalCode::Unknown, "this message says nothing that is known here");
        from_client(read.says.ok_or_else(unknown)?)
    }

    /// Writes a message to a client.
    pub(super) fn write(seq: u64, at: Micros, says: &FromServer) -> Message {
        Self::message(seq, at.0 as f64 / 1_000.0, from_server(says))
    }

    /// Audio for the caller.
    pub(super) fn audio(at: Micros, audio: &Audio) -> Message {
        let Audio { turn, epoch, from_sample, frame } = audio;
        let pcm = pcm_bytes(&frame.samples).into();
        let audio = wire::Audio { turn: turn.0, epoch: epoch.0, from_sample: *from_sample, pcm };
        Self::message(0, at.0 as f64 / 1_000.0, from_server::Says::Audio(audio))
    }

    fn message(seq: u64, at_ms: f64, says: from_server::Says) -> Message {
        Message::Binary(Bytes::from(wire::FromServer { seq, at_ms, says: Some(says) }.encode_to_vec()))
    }
}

/// A word that JSON has, too.
fn word<T: DeserializeOwned>(field: &str, word: &str) -> Result<T, Refusal> {
    let word: serde::de::value::StrDeserializer<'_, WordError> = word.into_deserializer();
    T::deserialize(word).map_err(|error| Refusal::mild(RefusalCode::Unknown, format!("{field}: {error}")))
}

fn from_client(says: from_client::Says) -> Result<FromClient, Refusal> {
    use from_client::Says;
    Ok(match says {
        Says::Hello(wire::Hello { version, token, label, rate_hz, resume }) => {
            let resume = resume.map(|wire::Resume { secret, last_seq, played }| {
                let played = played.map(|played| (TurnId(played.turn), played.heard_samples));
                ResumeFrom { secret, last_seq, played }
            });
            FromClient::Hello(Hello { version, token, label, rate_hz, resume })
        }
        Says::Text(text) => FromClient::Text(text.text),
        Says::Talk(talk) => FromClient::Talk(word("talk.state", &talk.state)?),
        Says::Mute(mute) => FromClient::Mute(mute.muted),
        Says::Playout(wire::Playout { turn, heard_samples, occasion }) => {
            let occasion = word("playout.occasion", &occasion)?;
            FromClient::Playout(PlayoutAck { turn: TurnId(turn), heard_samples, occasion })
        }
        Says::Cancel(_) => FromClient::Cancel,
        Says::End(_) => FromClient::End,
        Says::Ping(ping) => FromClient::Ping(ping.id),
        Says::Audio(bytes) => FromClient::Audio(read_pcm(&bytes)?),
    })
}

fn from_server(says: &FromServer) -> from_server::Says {
    use from_server::Says;
    match says {
        FromServer::Ready { session, resumed, resume, received_samples, missed } => Says::Ready(wire::Ready {
            version: VERSION,
            session: session.clone(),
            resumed: *resumed,
            resume: resume.clone(),
            received_samples: *received_samples,
            missed: *missed,
            rate_hz: crate::audio::CALL_RATE_HZ,
        }),
        FromServer::Clear { turn, epoch } => Says::Clear(wire::Clear { turn: turn.0, epoch: epoch.0 }),
        FromServer::Told(told) => from_told(told),
        FromServer::Error(Refusal { code, says, fatal }) => {
            Says::Error(wire::Error { code: code.name().to_owned(), message: says.clone(), fatal: *fatal })
        }
        FromServer::Ended { reason, says } => {
            Says::Ended(wire::Ended { reason: (*reason).to_owned(), message: says.clone() })
        }
        FromServer::Pong(id) => Says::Pong(wire::Pong { id: *id }),
        FromServer::Missed(messages) => Says::Missed(wire::Missed { messages: *messages }),
    }
}

/// The word that JSON has for it.
fn named(word: impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("it is written as one word: {other:?}"),
    }
}

fn from_told(told: &Told) -> from_server::Says {
    use from_server::Says;
    let owned = |word: &Option<&'static str>| word.map(str::to_owned);
    match told {
        Told::Caption { who, turn, text, is_final } => {
            Says::Caption(wire::Caption { who: named(who), turn: *turn, text: text.clone(), r#final: *is_final })
        }
        Told::Speech { speaking } => Says::Speech(wire::Speech { speaking: *speaking }),
        Told::Turn { turn, state, text, reason } => {
            let (state, reason) = (named(state), owned(reason));
            Says::Turn(wire::Turn { turn: *turn, state, text: text.clone(), reason })
        }
        Told::Heard { turn, text, cut } => Says::Heard(wire::Heard { turn: *turn, text: text.clone(), cut: *cut }),
        Told::Invocation { id, kind, running, outcome } => {
            let (kind, outcome) = ((*kind).to_owned(), owned(outcome));
            Says::Invocation(wire::Invocation { id: *id, kind, running: *running, outcome })
        }
        Told::Tool { key, name, state } => {
            Says::Tool(wire::Tool { key: key.clone(), name: name.clone(), state: (*state).to_owned() })
        }
        Told::Signal { name, turn, reason, retry_after_ms } => Says::Signal(wire::Signal {
            name: (*name).to_owned(),
            turn: *turn,
            reason: reason.map(str::to_owned),
            retry_after_ms: *retry_after_ms,
        }),
    }
}
