//! Opus, packet by packet, to and from mono PCM.
//!
//! The codec is the crate opus-pure: no C, no build script, its own tests byte for byte against libopus. Here it is
//! held to limits, and what it refuses is a loss and not an end.

use opus_pure::{Application, OpusDecoder, OpusEncoder, RateControl, Signal};
use rspp_specs::limits::FRAME_MS;
use thiserror::Error;

/// The longest packet that is read: RFC 6716 has no longer frame, and no packet of speech has three of that size.
pub const MAX_OPUS_PACKET_BYTES: usize = 3 * 1_275;
/// A packet plays so long at most.
const MAX_PACKET_MS: usize = 120;
/// What an answer is written with: good speech at 16 kHz.
const SPEECH_BITS_A_SECOND: i32 = 24_000;
/// Of 10: what a server with a thousand calls can pay.
const COMPLEXITY: i32 = 5;

/// Why a packet was not read, or a stream not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpusError {
    /// Opus has five rates.
    #[error("Opus is read and written at 8, 12, 16, 24 or 48 kHz, not at {0} Hz")]
    Rate(u32),
    /// Over [`MAX_OPUS_PACKET_BYTES`].
    #[error("an Opus packet has {0} bytes, and at most {MAX_OPUS_PACKET_BYTES} are read")]
    TooLong(usize),
    /// It is no packet.
    #[error("that is no Opus packet ({0}): its time is concealed")]
    Garbage(String),
}

/// How long a packet plays, in samples at 48 kHz, as its first bytes say; `None` of what is no packet.
pub fn opus_samples(packet: &[u8]) -> Option<u64> {
    let (toc, rest) = packet.split_first()?;
    // RFC 6716, section 3.1: the configuration says how long a frame is, the code how many there are.
    let (config, code) = (toc >> 3, toc & 3);
    let frame = match config {
        0..12 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..16 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match code {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(rest.first()? & 0x3f),
    };
    (1..=48 * MAX_PACKET_MS as u64).contains(&(frames * frame)).then_some(frames * frame)
}

/// Reads one stream.
pub struct OpusReader {
    decoder: OpusDecoder,
    rate_hz: u32,
    /// What the last good packet had: how much is concealed for one that is lost.
    last_samples: usize,
    scratch: Vec<i16>,
}

impl OpusReader {
    /// A stream that comes out as mono at this rate.
    pub fn new(rate_hz: u32) -> Result<Self, OpusError> {
        let decoder = OpusDecoder::new(rate_hz as i32, 1).map_err(|_| OpusError::Rate(rate_hz))?;
        let last_samples = (u64::from(rate_hz) * FRAME_MS / 1_000) as usize;
        Ok(Self { decoder, rate_hz, last_samples, scratch: Vec::new() })
    }

    /// Appends a packet's samples.
    pub fn push(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> Result<(), OpusError> {
        if packet.len() > MAX_OPUS_PACKET_BYTES {
            return Err(OpusError::TooLong(packet.len()));
        }
        if packet.is_empty() {
            return Err(OpusError::Garbage("it is empty".to_owned()));
        }
        let room = self.rate_hz as usize * MAX_PACKET_MS / 1_000;
        self.scratch.resize(room, 0);
        let read = self.decoder.decode_s16(packet, room, &mut self.scratch);
        let read = read.map_err(|error| OpusError::Garbage(error.to_string()))?;
        self.last_samples = read;
        samples.extend_from_slice(&self.scratch[..read]);
        Ok(())
    }

    /// A packet is lost: appends what its codec makes up for it, from the copy that the packet after it may carry.
    pub fn lost(&mut self, next: Option<&[u8]>, samples: &mut Vec<i16>) {
        let room = self.last_samples;
        self.scratch.resize(room.max(self.scratch.len()), 0);
        let next = next.filter(|packet| !packet.is_empty() && packet.len() <= MAX_OPUS_PACKET_BYTES);
        let made = match next {
            Some(packet) => self.decoder.decode_fec_s16(packet, room, &mut self.scratch),
            None => self.decoder.decode_s16(&[], room, &mut self.scratch),
        };
        // What even concealment refuses is silence: time goes on.
        match made {
            Ok(made) => samples.extend_from_slice(&self.scratch[..made]),
            Err(_) => samples.resize(samples.len() + room, 0),
        }
    }
}

/// Writes one stream of mono speech, a packet for each 20 ms.
pub struct OpusWriter {
    encoder: OpusEncoder,
    frame_samples: usize,
    /// Samples that do not fill a packet yet.
    rest: Vec<i16>,
}

impl OpusWriter {
    /// A stream of mono PCM at this rate.
    pub fn new(rate_hz: u32) -> Result<Self, OpusError> {
        // Not `Voip`: that filters out a microphone's rumble, which a synthesised voice has not.
        let encoder = OpusEncoder::new(rate_hz as i32, 1, Application::Audio);
        let mut encoder = encoder.map_err(|_| OpusError::Rate(rate_hz))?;
        encoder.bitrate_bps = SPEECH_BITS_A_SECOND;
        encoder.complexity = COMPLEXITY;
        encoder.signal_type = Some(Signal::Voice);
        encoder.rate_control = RateControl::ConstrainedVbr;
        let frame_samples = (u64::from(rate_hz) * FRAME_MS / 1_000) as usize;
        Ok(Self { encoder, frame_samples, rest: Vec::new() })
    }

    /// Takes samples, and gives the packets that are full.
    pub fn push(&mut self, samples: &[i16], mut packet: impl FnMut(&[u8])) {
        self.rest.extend_from_slice(samples);
        let mut bytes = [0; MAX_OPUS_PACKET_BYTES];
        let whole = self.rest.len() - self.rest.len() % self.frame_samples;
        for frame in self.rest[..whole].chunks(self.frame_samples) {
            // The frame has the length of a packet, and the buffer is longer than any: nothing is left to refuse.
            if let Ok(written) = self.encoder.encode_s16(frame, self.frame_samples, &mut bytes) {
                packet(&bytes[..written]);
            }
        }
        self.rest.drain(..whole);
    }

    /// The last packet, filled up with silence.
    pub fn finish(&mut self, packet: impl FnMut(&[u8])) {
        let missing = (self.frame_samples - self.rest.len() % self.frame_samples) % self.frame_samples;
        self.push(&vec![0; missing], packet);
    }

    /// Forgets what has not filled a packet.
    pub fn reset(&mut self) {
        self.rest.clear();
    }

    /// A cut: forgets what has not filled a packet, and writes a packet of half the length with these samples, filled up
    /// with silence.
    pub fn cut(&mut self, samples: impl Iterator<Item = i16>, mut packet: impl FnMut(&[u8])) {
        self.rest.clear();
        let length = self.frame_samples / 2;
        let mut half: Vec<i16> = samples.take(length).collect();
        half.resize(length, 0);
        let mut bytes = [0; MAX_OPUS_PACKET_BYTES];
        // Opus has packets of 10 ms at all of its rates, and the buffer is longer than any.
        if let Ok(written) = self.encoder.encode_s16(&half, length, &mut bytes) {
            packet(&bytes[..written]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate_hz: u32, samples: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * 300.0 * std::f64::consts::TAU / f64::from(rate_hz)).sin() * 12_000.0;
        (0..samples).map(|n| at(n) as i16).collect()
    }

    fn packets(rate_hz: u32, samples: &[i16]) -> Vec<Vec<u8>> {
        let (mut writer, mut packets) = (OpusWriter::new(rate_hz).expect("a rate of Opus"), Vec::new());
        writer.push(samples, |packet| packets.push(packet.to_vec()));
        writer.finish(|packet| packets.push(packet.to_vec()));
        packets
    }

    /// How alike they are, from -1 to 1, at the shift that fits best: a codec is late by some milliseconds.
    fn likeness(a: &[i16], b: &[i16]) -> f64 {
        let at = |shift: usize| {
            let pairs = || a.iter().zip(&b[shift..]).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let sum = |of: fn((f64, f64)) -> f64| pairs().map(of).sum::<f64>();
            sum(|(a, b)| a * b) / (sum(|(a, _)| a * a) * sum(|(_, b)| b * b)).sqrt().max(1.0)
        };
        (0..b.len().min(400)).map(at).fold(-1.0, f64::max)
    }

    #[test]
    fn speech_rates_go_out_and_come_back_alike() {
        for rate_hz in [8_000, 16_000, 24_000, 48_000] {
            let (wave, mut back) = (tone(rate_hz, rate_hz as usize / 2), Vec::new());
            let mut reader = OpusReader::new(rate_hz).expect("a rate of Opus");
            for packet in packets(rate_hz, &wave) {
                reader.push(&packet, &mut back).expect("a packet of ours");
            }
            assert_eq!(back.len(), wave.len());
            let (from, to) = (rate_hz as usize / 10, rate_hz as usize / 4);
            let alike = likeness(&wave[from..to], &back[from..]);
            assert!(alike > 0.95, "{rate_hz} Hz: {alike}");
        }
    }

    #[test]
    fn other_rates_are_refused() {
        assert_eq!(OpusReader::new(44_100).err(), Some(OpusError::Rate(44_100)));
        assert_eq!(OpusWriter::new(44_100).err(), Some(OpusError::Rate(44_100)));
    }

    #[test]
    fn a_lost_packet_takes_its_time_and_goes_on_like_the_tone() {
        let wave = tone(16_000, 8_000);
        let (mut reader, mut back) = (OpusReader::new(16_000).expect("a rate of Opus"), Vec::new());
        for (index, packet) in packets(16_000, &wave).iter().enumerate() {
            if index == 12 {
                reader.lost(None, &mut back);
            } else {
                reader.push(packet, &mut back).expect("a packet of ours");
            }
        }
        assert_eq!(back.len(), wave.len());
        let lost = &back[12 * 320..13 * 320];
        assert!(lost.iter().any(|sample| sample.abs() > 4_000), "it is not silence");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn garbage_is_refused_or_read_and_never_more_than_a_packet_has(
            garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..12),
        ) {
            let mut reader = OpusReader::new(16_000).expect("a rate of Opus");
            for packet in &garbage {
                let mut samples = Vec::new();
                if reader.push(packet, &mut samples).is_err() {
                    reader.lost(None, &mut samples);
                }
                prop_assert!(samples.len() <= 16 * MAX_PACKET_MS);
            }
        }

        #[test]
        fn the_cut_of_the_input_never_shows(pieces in prop::collection::vec(1..900_usize, 1..8)) {
            let wave = tone(16_000, pieces.iter().sum());
            let (mut writer, mut found) = (OpusWriter::new(16_000).expect("a rate of Opus"), Vec::new());
            let mut from = 0;
            for piece in pieces {
                writer.push(&wave[from..from + piece], |packet| found.push(packet.to_vec()));
                from += piece;
            }
            writer.finish(|packet| found.push(packet.to_vec()));
            prop_assert_eq!(found, packets(16_000, &wave));
        }
    }
}
