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

/// How loud 20 ms are, one after the other, of a caller who makes a noise for so many packets and then pauses as browsers do: a
/// packet without sound every 400 ms, or none at all.
fn loudness(noise: u64, pauses: bool) -> Vec<u16> {
    let (mut ear, mut out) = (Ear::new(), Exchange::default());
    let wave: Vec<i16> = (0..noise * 960).map(|at| if (at / 120).is_multiple_of(2) { 8_000 } else { -8_000 }).collect();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    OpusWriter::new(48_000).expect("a rate of Opus").push(&wave, |packet| packets.push(packet.to_vec()));
    let silent = vec![packets[0][0] & !3];
    for tick in 0..100 {
        let now = Micros::from_ms(20 * tick);
        let (number, packet) = match tick.checked_sub(noise) {
            None => (tick, Some(&packets[tick as usize])),
            Some(since) => (noise + since / 20, (pauses && since % 20 == 0).then_some(&silent)),
        };
        if let Some(packet) = packet {
            let heard = Heard { stream: 1, at: tick * 960, number, packet: packet.clone().into() };
            ear.take(now, heard, &mut out).expect("it is Opus");
        }
        ear.hear(now, &mut out);
    }
    let loudest = |input: &Input| match input {
        Input::CallerAudio(frame) => frame.samples.iter().map(|sample| sample.unsigned_abs()).max(),
        _ => None,
    };
    out.inputs.iter().filter_map(loudest).collect()
}

/// Whether any of a second of noise is heard behind a second in which nothing came, and in which the sender's clock stood still or
/// the network kept everything back.
fn hears_behind_a_gap(clock_stood_still: bool) -> bool {
    let (mut ear, mut out) = (Ear::new(), Exchange::default());
    let wave: Vec<i16> =
        (0..960 * 100).map(|at| if (at / 120_u32).is_multiple_of(2) { 8_000 } else { -8_000 }).collect();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    OpusWriter::new(48_000).expect("a rate of Opus").push(&wave, |packet| packets.push(packet.to_vec()));
    let mut take = |ms: u64, number: Option<u64>, out: &mut Exchange| {
        if let Some(number) = number {
            let packet = packets[number as usize].clone().into();
            let heard = Heard { stream: 1, at: number * 960, number, packet };
            ear.take(Micros::from_ms(ms), heard, out).expect("it is Opus");
        }
        ear.hear(Micros::from_ms(ms), out);
    };
    (0..10).for_each(|number| take(number * 20, Some(number), &mut out));
    (10..60).for_each(|tick| take(tick * 20, None, &mut out));
    out.inputs.clear();
    // What is not older than the buffer is patient is no news of the past.
    for number in 10..50 {
        let ms = if clock_stood_still { 1_200 + (number - 10) * 20 } else { 1_200 };
        take(ms, Some(number), &mut out);
    }
    let is_loud =
        |input: &Input| matches!(input, Input::CallerAudio(frame) if frame.samples.iter().any(|it| *it > 4_000));
    out.inputs.iter().any(is_loud)
}

#[test]
fn a_sender_whose_clock_stood_still_is_heard_and_what_a_network_kept_back_is_not() {
    assert!(hears_behind_a_gap(true));
    assert!(!hears_behind_a_gap(false));
}

#[test]
fn a_pause_of_the_sender_and_a_long_loss_are_silence() {
    for pauses in [true, false] {
        let loud = loudness(20, pauses);
        assert!(loud[2..20].iter().all(|loud| *loud > 4_000), "{loud:?}");
        assert!(loud[27..].iter().all(|loud| *loud == 0), "{pauses}: {loud:?}");
        assert!(loud.len() > 80, "time goes on: {}", loud.len());
    }
}
