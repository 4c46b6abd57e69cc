//! The border: what is on a wire, and the PCM that the core sees.
//!
//! Conversion belongs here, before the door: the log has what the core saw, and replays on a machine that has never
//! heard of the codec. Both directions are live streams: 20 ms in are 20 ms out at once, at the price of a few
//! milliseconds' delay in the filter.

use bytes::Bytes;
use rspp_sound::{Law, Rechunker, Resampler, UnsupportedRate};
use rspp_specs::event::AudioFrame;
use rspp_specs::limits::FRAME_MS;
use thiserror::Error;

use super::decay::decay;
use super::opus::{OpusError, OpusReader, OpusWriter};
use super::{MAX_RATE_HZ, MIN_RATE_HZ};

/// The most audio that one message may bring; 340 ms of the widest PCM, four seconds of G.711.
pub const MAX_WIRE_AUDIO_BYTES: usize = 32 * 1024;

/// How samples stand on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 16 bits, the low byte first.
    Pcm16Le,
    /// 16 bits, the high byte first: L16 of RTP.
    Pcm16Be,
    /// G.711.
    G711(Law),
    /// A packet in each message.
    Opus,
}

/// What is on a wire: always mono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireFormat {
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second.
    pub rate_hz: u32,
}

impl WireFormat {
    /// G.711 mu-law at 8 kHz: what telephone providers stream unless they are told otherwise.
    pub const MU_LAW: Self = Self { encoding: Encoding::G711(Law::Mu), rate_hz: 8_000 };
    /// 16-bit PCM, the low byte first.
    pub const fn pcm(rate_hz: u32) -> Self {
        Self { encoding: Encoding::Pcm16Le, rate_hz }
    }
}

/// Why audio from a wire is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireAudioError {
    /// Over [`MAX_WIRE_AUDIO_BYTES`].
    #[error(
        "a message with {0} bytes of audio: at most {MAX_WIRE_AUDIO_BYTES} are read, so send it in pieces of 20 ms"
    )]
    TooLong(usize),
    /// A rate that is not converted.
    #[error(transparent)]
    Rate(#[from] UnsupportedRate),
    /// Something of Opus.
    #[error(transparent)]
    Opus(#[from] OpusError),
}

/// From a wire to frames of 20 ms.
pub struct Inbound {
    reader: Reader,
    rate_hz: u32,
    cutter: Rechunker,
    samples: Vec<i16>,
}

enum Reader {
    Pcm {
        big_endian: bool,
        /// The first byte of a sample whose second has not come.
        half: Option<u8>,
    },
    G711(Law),
    Opus(Box<OpusReader>),
}

impl Inbound {
    /// From this format to frames at `target_hz`.
    ///
    /// ```
    /// use rspp_adapters::audio::{Inbound, WireFormat};
    ///
    /// let mut caller = Inbound::new(WireFormat::MU_LAW, 16_000)?;
    /// let frames = caller.push(&[0xff; 160])?;
    /// assert_eq!((frames.len(), frames[0].samples.len()), (1, 320));
    /// # Ok::<(), rspp_adapters::audio::WireAudioError>(())
    /// ```
    pub fn new(format: WireFormat, target_hz: u32) -> Result<Self, WireAudioError> {
        check(format)?;
        let reader = match format.encoding {
            Encoding::Pcm16Le => Reader::Pcm { big_endian: false, half: None },
            Encoding::Pcm16Be => Reader::Pcm { big_endian: true, half: None },
            Encoding::G711(law) => Reader::G711(law),
            Encoding::Opus => Reader::Opus(Box::new(OpusReader::new(format.rate_hz)?)),
        };
        let cutter = Rechunker::live(target_hz)?;
        Ok(Self { reader, rate_hz: format.rate_hz, cutter, samples: Vec::new() })
    }

    /// Takes the next bytes of the stream, cut anywhere (of Opus, a packet), and gives the frames that are full.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<AudioFrame>, WireAudioError> {
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        let frames = self.read(bytes, &mut samples).and_then(|()| self.push_samples(&samples));
        self.samples = samples;
        frames
    }

    /// Appends what the next bytes say, at the wire's rate: for whoever has something to do with it before it goes on
    /// ([`Inbound::push_samples`]).
    pub fn read(&mut self, bytes: &[u8], samples: &mut Vec<i16>) -> Result<(), WireAudioError> {
        if bytes.len() > MAX_WIRE_AUDIO_BYTES {
            return Err(WireAudioError::TooLong(bytes.len()));
        }
        match &mut self.reader {
            Reader::Pcm { big_endian, half } => read_pcm(*big_endian, half, bytes, samples),
            Reader::G711(law) => law.decode(bytes, samples),
            Reader::Opus(reader) => reader.push(bytes, samples)?,
        }
        Ok(())
    }

    /// The same as [`Inbound::push`] for samples that stand already as numbers, at the wire's rate.
    pub fn push_samples(&mut self, samples: &[i16]) -> Result<Vec<AudioFrame>, WireAudioError> {
        Ok(self.cutter.push_pcm(samples, self.rate_hz, None)?)
    }

    /// The stream is over: what did not fill a frame.
    pub fn finish(&mut self) -> Vec<AudioFrame> {
        if let Reader::Pcm { half, .. } = &mut self.reader {
            *half = None;
        }
        self.cutter.finish()
    }
}

fn read_pcm(big_endian: bool, half: &mut Option<u8>, mut bytes: &[u8], samples: &mut Vec<i16>) {
    let sample = |pair: [u8; 2]| if big_endian { i16::from_be_bytes(pair) } else { i16::from_le_bytes(pair) };
    if let (Some(first), [second, rest @ ..]) = (*half, bytes) {
        samples.push(sample([first, *second]));
        (*half, bytes) = (None, rest);
    }
    let pairs = bytes.chunks_exact(2);
    if let [last] = pairs.remainder() {
        *half = Some(*last);
    }
    samples.extend(pairs.map(|pair| sample([pair[0], pair[1]])));
}

fn check(format: WireFormat) -> Result<(), UnsupportedRate> {
    let whole = (u64::from(format.rate_hz) * FRAME_MS).is_multiple_of(1_000);
    let known = (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&format.rate_hz);
    if whole && known { Ok(()) } else { Err(UnsupportedRate { rate_hz: format.rate_hz }) }
}

/// From frames to a wire.
pub struct Outbound {
    format: WireFormat,
    writer: Writer,
    resampler: Option<(u32, Resampler)>,
    samples: Vec<i16>,
}

enum Writer {
    Pcm { big_endian: bool },
    G711(Law),
    Opus(Box<OpusWriter>),
}

impl Outbound {
    /// To this format.
    pub fn new(format: WireFormat) -> Result<Self, WireAudioError> {
        check(format)?;
        let writer = match format.encoding {
            Encoding::Pcm16Le => Writer::Pcm { big_endian: false },
            Encoding::Pcm16Be => Writer::Pcm { big_endian: true },
            Encoding::G711(law) => Writer::G711(law),
            Encoding::Opus => Writer::Opus(Box::new(OpusWriter::new(format.rate_hz)?)),
        };
        Ok(Self { format, writer, resampler: None, samples: Vec::new() })
    }

    /// What it writes.
    pub fn format(&self) -> WireFormat {
        self.format
    }

    /// Takes a frame, and gives what is to be sent: one piece for what came, of Opus a piece for each packet.
    pub fn push(&mut self, frame: &AudioFrame) -> Result<Vec<Bytes>, WireAudioError> {
        if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&frame.rate_hz) {
            return Err(UnsupportedRate { rate_hz: frame.rate_hz }.into());
        }
        self.samples.clear();
        let mut pieces = Vec::new();
        match &mut self.resampler {
            Some((rate_hz, resampler)) if *rate_hz == frame.rate_hz => {
                resampler.push(&frame.samples, &mut self.samples);
            }
            other => {
                if let Some((_, before)) = other {
                    before.finish(&mut self.samples);
                }
                let resampler = Resampler::live(frame.rate_hz, self.format.rate_hz);
                other.insert((frame.rate_hz, resampler)).1.push(&frame.samples, &mut self.samples);
            }
        }
        self.write(&mut pieces);
        Ok(pieces)
    }

    /// An answer is over: what the filter and the codec still have. Without it the last milliseconds would be heard
    /// before the next answer.
    pub fn finish(&mut self) -> Vec<Bytes> {
        self.samples.clear();
        let mut pieces = Vec::new();
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.finish(&mut self.samples);
        }
        self.write(&mut pieces);
        if let Writer::Opus(writer) = &mut self.writer {
            writer.finish(|packet| pieces.push(Bytes::copy_from_slice(packet)));
        }
        pieces
    }

    /// The same for a wire that is Opus and can't be told to forget: what was given and has not left is not heard, and what
    /// has left ends with a decay instead of a click. Of other wires it gives nothing.
    pub fn cut(&mut self) -> Option<Bytes> {
        let last = self.samples.last().copied().unwrap_or(0);
        let (rate_hz, mut cut) = (self.format.rate_hz, None);
        if let Writer::Opus(writer) = &mut self.writer
            && last != 0
        {
            writer.cut(decay(last, rate_hz), |packet| cut = Some(Bytes::copy_from_slice(packet)));
        }
        self.samples.clear();
        self.reset();
        cut
    }

    /// What was given is not to be heard: the filter and the codec forget it.
    pub fn reset(&mut self) {
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.reset();
        }
        if let Writer::Opus(writer) = &mut self.writer {
            writer.reset();
        }
    }

    fn write(&mut self, pieces: &mut Vec<Bytes>) {
        if self.samples.is_empty() {
            return;
        }
        let samples = self.samples.iter();
        let bytes: Vec<u8> = match &mut self.writer {
            Writer::Pcm { big_endian: true } => samples.flat_map(|sample| sample.to_be_bytes()).collect(),
            Writer::Pcm { big_endian: false } => samples.flat_map(|sample| sample.to_le_bytes()).collect(),
            Writer::G711(law) => {
                let mut bytes = Vec::with_capacity(self.samples.len());
                law.encode(&self.samples, &mut bytes);
                bytes
            }
            Writer::Opus(writer) => {
                writer.push(&self.samples, |packet| pieces.push(Bytes::copy_from_slice(packet)));
                return;
            }
        };
        pieces.push(bytes.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [WireFormat; 7] = [
        WireFormat::MU_LAW,
        WireFormat { encoding: Encoding::G711(Law::A), rate_hz: 8_000 },
        WireFormat::pcm(8_000),
        WireFormat::pcm(16_000),
        WireFormat::pcm(24_000),
        WireFormat::pcm(48_000),
        WireFormat { encoding: Encoding::Pcm16Be, rate_hz: 16_000 },
    ];

    fn frame(samples: &[i16]) -> AudioFrame {
        AudioFrame { samples: samples.into(), rate_hz: 16_000, spoken_by: None }
    }

    fn tone(samples: usize) -> Vec<i16> {
        (0..samples).map(|n| ((n as f64 * 0.2).sin() * 9_000.0) as i16).collect()
    }

    fn wire(format: WireFormat, wave: &[i16]) -> Vec<u8> {
        let mut out = Outbound::new(format).expect("a good format");
        let mut pieces: Vec<Bytes> = Vec::new();
        for samples in wave.chunks(320) {
            pieces.extend(out.push(&frame(samples)).expect("16 kHz is a good rate"));
        }
        pieces.extend(out.finish());
        pieces.concat()
    }

    #[test]
    fn each_frame_leaves_at_once_and_whole() {
        for format in FORMATS {
            let mut out = Outbound::new(format).expect("a good format");
            let bytes_a_sample = if matches!(format.encoding, Encoding::G711(_)) { 1 } else { 2 };
            for samples in tone(3_200).chunks(320) {
                let pieces = out.push(&frame(samples)).expect("16 kHz is a good rate");
                let lengths: Vec<usize> = pieces.iter().map(Bytes::len).collect();
                assert_eq!(lengths, [format.rate_hz as usize / 50 * bytes_a_sample], "{format:?}");
            }
        }
    }

    #[test]
    fn there_and_back_is_the_same_tone_a_little_later() {
        let wave = tone(6_400);
        for format in FORMATS {
            let mut inbound = Inbound::new(format, 16_000).expect("a good format");
            let mut back: Vec<i16> = Vec::new();
            for piece in wire(format, &wave).chunks(1_000) {
                back.extend(inbound.push(piece).expect("of a good length").iter().flat_map(|f| f.samples.to_vec()));
            }
            // Two filters of at most 4 ms each.
            let error = |late: usize| -> i64 {
                (1_000..4_000).map(|n| i64::from(wave[n]) - i64::from(back[n + late])).map(|e| e * e).sum()
            };
            let best = (0..=128).map(error).min().unwrap_or(i64::MAX);
            let power: i64 = wave[1_000..4_000].iter().map(|s| i64::from(*s).pow(2)).sum();
            assert!(best * 1_000 < power, "{format:?}: {best} of {power}");
        }
    }

    #[test]
    fn opus_is_a_packet_for_each_frame() {
        let format = WireFormat { encoding: Encoding::Opus, rate_hz: 48_000 };
        let (mut out, mut inbound) =
            (Outbound::new(format).expect("a good format"), Inbound::new(format, 16_000).expect("a good format"));
        for samples in tone(3_200).chunks(320) {
            let packets = out.push(&frame(samples)).expect("16 kHz is a good rate");
            assert_eq!(packets.len(), 1);
            assert_eq!(inbound.push(&packets[0]).expect("a packet of ours").len(), 1);
        }
    }

    #[test]
    fn what_was_cut_off_is_not_heard_before_the_next_answer() {
        let mut out = Outbound::new(WireFormat::pcm(8_000)).expect("a good format");
        out.push(&frame(&[20_000; 320])).expect("16 kHz is a good rate");
        out.reset();
        let next = out.push(&frame(&[0; 320])).expect("16 kHz is a good rate");
        assert!(next.iter().flatten().all(|byte| *byte == 0));
    }

    #[test]
    fn what_is_no_audio_of_ours_is_refused() {
        let mut caller = Inbound::new(WireFormat::MU_LAW, 16_000).expect("a good format");
        let long = vec![0; MAX_WIRE_AUDIO_BYTES + 1];
        assert_eq!(caller.push(&long).err(), Some(WireAudioError::TooLong(long.len())));
        for rate_hz in [0, 7_999, 11_025, 48_001, u32::MAX] {
            assert!(Inbound::new(WireFormat::pcm(rate_hz), 16_000).is_err());
            assert!(Outbound::new(WireFormat::pcm(rate_hz)).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_cut_of_the_bytes_never_shows(
            format in prop::sample::select(FORMATS.to_vec()),
            bytes in prop::collection::vec(any::<u8>(), 1..6_000),
            pieces in prop::collection::vec(1..900_usize, 1..6),
        ) {
            let heard = |pieces: &[usize]| {
                let mut inbound = Inbound::new(format, 16_000).expect("a good format");
                let (mut rest, mut samples) = (&bytes[..], Vec::new());
                for piece in pieces.iter().cycle() {
                    let (piece, after) = rest.split_at((*piece).min(rest.len()));
                    let frames = inbound.push(piece).expect("of a good length");
                    samples.extend(frames.iter().flat_map(|frame| frame.samples.to_vec()));
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                samples.extend(inbound.finish().iter().flat_map(|frame| frame.samples.to_vec()));
                samples
            };
            prop_assert_eq!(heard(&pieces), heard(&[bytes.len()]));
        }
    }
}
