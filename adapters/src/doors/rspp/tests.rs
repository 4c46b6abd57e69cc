use super::*;
use crate::transport::conformance::{Peer, Reads, check};

/// A client that speaks JSON.
struct Client;

impl Client {
    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    /// The turn, and the sample behind the last that it was sent.
    fn last(sent: &[Message]) -> (u32, u64) {
        let audio = sent.iter().rev().find_map(|message| match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Text(_) => None,
        });
        let bytes = audio.expect("there was audio");
        let turn = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let from = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        (turn, from + (bytes.len() as u64 - 16) / 2)
    }

    fn playout(sent: &[Message], occasion: &str) -> Vec<Message> {
        let (turn, heard) = Self::last(sent);
        let text = format!(r#"{{"type":"playout","turn":{turn},"heard_samples":{heard},"occasion":"{occasion}"}}"#);
        vec![Message::Text(text)]
    }
}

impl Peer for Client {
    fn hello(&self) -> Vec<Message> {
        vec![Self::text(r#"{"type":"hello","version":1}"#)]
    }

    fn speech(&self) -> Message {
        Message::Binary(vec![0; 640].into())
    }

    fn played(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "drained")
    }

    fn cleared(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "cleared")
    }

    fn goodbye(&self) -> Option<Message> {
        Some(Self::text(r#"{"type":"end"}"#))
    }

    fn reads(&self, message: &Message) -> Reads {
        match message {
            Message::Binary(bytes) => Reads::Audio(Micros::of_samples((bytes.len() as u64 - 16) / 2, CALL_RATE_HZ)),
            Message::Text(text) if text.contains(r#""type":"clear""#) => Reads::Clear,
            Message::Text(_) => Reads::Other,
        }
    }

    fn nonsense(&self) -> Vec<Message> {
        [
            r#"{"type":"hello","version":1}"#,
            r#"{"type":"hello","version":2}"#,
            r#"{"type":"talk","state":"shout"}"#,
            r#"{"type":"playout","turn":-1,"heard_samples":0,"occasion":"drained"}"#,
        ]
        .map(Self::text)
        .into()
    }
}

#[test]
fn it_keeps_the_contract() {
    check(&|| Box::new(Rspp::new(Form::Json)), &Client);
}
