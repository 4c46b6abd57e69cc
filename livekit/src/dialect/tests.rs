use std::cell::Cell;

use rspp_adapters::audio::OpusWriter;
use rspp_adapters::transport::conformance::{self, Peer, Reads};

use super::*;

/// A caller in a room.
struct Caller {
    sent: Cell<u64>,
    packet: Vec<u8>,
}

impl Caller {
    fn new() -> Self {
        let mut packet = Vec::new();
        let mut writer = OpusWriter::new(48_000).expect("a rate of Opus");
        writer.push(&[0; 960], |bytes| packet = bytes.to_vec());
        Self { sent: Cell::new(0), packet }
    }

    fn heard(&self, number: u64, at: u64) -> Heard {
        Heard { stream: 1, at, number, packet: self.packet.clone().into() }
    }
}

impl Peer for Caller {
    fn hello(&self) -> Vec<Message> {
        Vec::new()
    }

    fn speech(&self) -> Message {
        let number = self.sent.get();
        self.sent.set(number + 1);
        self.heard(number, number * 960).write()
    }

    fn played(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn cleared(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn goodbye(&self) -> Option<Message> {
        Some(FromRoom::Left.write())
    }

    fn reads(&self, message: &Message) -> Reads {
        let Message::Binary(bytes) = message else { return Reads::Other };
        let spoken = Spoken::read(bytes).expect("audio of ours");
        Reads::Audio(Micros::of_samples(opus_samples(&spoken.packet).expect("a packet of ours"), RTP_RATE_HZ))
    }

    fn nonsense(&self) -> Vec<Message> {
        let long = FromRoom::Text { text: "x".repeat(MAX_TEXT_BYTES + 1) };
        let odd = Heard { packet: vec![0xff].into(), ..self.heard(0, 0) };
        vec![long.write(), FromRoom::Key { key: "x".to_owned() }.write(), odd.write()]
    }
}

#[test]
fn it_keeps_the_contract_of_transports() {
    conformance::check(&|| Box::new(LiveKit::new("room")), &Caller::new());
}
