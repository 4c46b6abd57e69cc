//! A synthesiser behind Wyoming: text in, PCM out, as it comes.

use std::time::Duration;

use serde_json::json;

use super::connection::{Connection, Deadline};
use super::framing::WireEvent;
use super::{Fault, WyomingError};
use crate::audio::{MAX_RATE_HZ, MIN_RATE_HZ};

/// The longest speech that is taken for one text.
pub const MAX_SPOKEN_SECONDS: u64 = 600;

/// A piece of speech, as the engine sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpokenChunk {
    /// Samples a second; the same in all chunks of one text.
    pub rate_hz: u32,
    /// The samples, mono.
    pub samples: Vec<i16>,
}

/// All speech for one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpokenAudio {
    /// Samples a second; 0 if there are no samples.
    pub rate_hz: u32,
    /// The samples, mono.
    pub samples: Vec<i16>,
    /// Samples of each chunk, in the order in which they came.
    pub chunk_samples: Vec<usize>,
}

/// One synthesiser on its connection: one text at a time.
#[derive(Debug)]
pub struct Synthesiser {
    connection: Connection,
    chunk_timeout: Duration,
    out_of_step: bool,
}

impl Synthesiser {
    /// A synthesiser behind `connection` that may take `chunk_timeout` from one piece of audio to the next, and
    /// from the text to the first.
    pub fn new(connection: Connection, chunk_timeout: Duration) -> Self {
        Synthesiser { connection, chunk_timeout, out_of_step: false }
    }

    /// The connection; for its name.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Speaks `text` and returns all of the speech.
    ///
    /// # Errors
    ///
    /// As [`Synthesiser::speak_each`].
    pub fn speak(&mut self, text: &str, voice: Option<&str>) -> Result<SpokenAudio, WyomingError> {
        let mut spoken = SpokenAudio::default();
        self.speak_each(text, voice, |chunk| {
            spoken.rate_hz = chunk.rate_hz;
            spoken.chunk_samples.push(chunk.samples.len());
            spoken.samples.extend(chunk.samples);
        })?;
        Ok(spoken)
    }

    /// Speaks `text`, with the engine's own voice unless one is named, and hands each piece of speech to `take`
    /// when it comes.
    ///
    /// # Errors
    ///
    /// [`Fault::Engine`] if the engine reports a failure, after which it may be asked again; [`Fault::Audio`] for
    /// anything but 16-bit mono at 8 to 48 kHz; [`Fault::Flooded`] for more than [`MAX_SPOKEN_SECONDS`]; or as the
    /// connection fails. After these it is [`Fault::OutOfStep`].
    pub fn speak_each(
        &mut self,
        text: &str,
        voice: Option<&str>,
        mut take: impl FnMut(SpokenChunk),
    ) -> Result<(), WyomingError> {
        if self.out_of_step {
            return Err(self.connection.failed(Fault::OutOfStep));
        }
        self.out_of_step = true;
        let mut synthesize = WireEvent::new("synthesize").with("text", text);
        if let Some(voice) = voice {
            synthesize = synthesize.with("voice", json!({ "name": voice }));
        }
        self.connection.send(&synthesize)?;
        let mut speech = Speech::default();
        loop {
            let event = self.connection.receive(Deadline::after(self.chunk_timeout, "audio"))?;
            match event.kind.as_str() {
                "audio-start" => speech.describe(&event).map_err(|fault| self.connection.failed(fault))?,
                "audio-chunk" => take(speech.chunk(&event).map_err(|fault| self.connection.failed(fault))?),
                "audio-stop" => break,
                "error" => {
                    self.out_of_step = false;
                    return Err(self.connection.reported(&event));
                }
                _ => {}
            }
        }
        self.out_of_step = false;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Speech {
    /// 0 until the engine says so.
    rate_hz: u32,
    samples: u64,
}

impl Speech {
    fn describe(&mut self, event: &WireEvent) -> Result<(), Fault> {
        let of = |name| event.number(name).unwrap_or(0);
        let (rate_hz, width, channels) = (of("rate"), of("width"), of("channels"));
        let wrong = |detail| Fault::Audio { rate_hz, width, channels, detail };
        if width != 2 || channels != 1 {
            return Err(wrong("only 16-bit mono is taken"));
        }
        let rate = u32::try_from(rate_hz).unwrap_or(u32::MAX);
        if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate) {
            return Err(wrong("no rate that is taken"));
        }
        if self.rate_hz != 0 && self.rate_hz != rate {
            return Err(wrong("another rate within one text"));
        }
        self.rate_hz = rate;
        Ok(())
    }

    fn chunk(&mut self, event: &WireEvent) -> Result<SpokenChunk, Fault> {
        if self.rate_hz == 0 || event.data.contains_key("rate") {
            self.describe(event)?;
        }
        let (pairs, rest) = event.payload.as_chunks::<2>();
        if !rest.is_empty() {
            let rate_hz = self.rate_hz.into();
            return Err(Fault::Audio { rate_hz, width: 2, channels: 1, detail: "half a sample at the end" });
        }
        self.samples += pairs.len() as u64;
        if self.samples > MAX_SPOKEN_SECONDS * u64::from(self.rate_hz) {
            return Err(Fault::Flooded);
        }
        Ok(SpokenChunk { rate_hz: self.rate_hz, samples: pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect() })
    }
}
