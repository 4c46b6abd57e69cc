//! What a simulated line sounds like. Frames are made once and shared: a call of ten minutes is thirty thousand of them.

use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use rspp_specs::event::AudioFrame;
use rspp_specs::limits::FRAME_MS;

use crate::audio::CALL_RATE_HZ;

/// Samples of a caller's frame.
const CALLER_SAMPLES: usize = CALL_RATE_HZ as usize / 1_000 * FRAME_MS as usize;

/// A woman's synthetic voice (flite's `slt`), 16 kHz: "I would like a table for four, please."
static RECORDED: LazyLock<Vec<AudioFrame>> = LazyLock::new(|| {
    let reader = hound::WavReader::new(Cursor::new(include_bytes!("speech.wav")));
    let samples = reader.expect("the file is a WAV file").into_samples::<i16>();
    let samples: Vec<i16> = samples.map(|sample| sample.expect("the file is whole")).collect();
    samples.chunks_exact(CALLER_SAMPLES).map(|frame| caller_frame(frame.into())).collect()
});
static LOUD: LazyLock<AudioFrame> = LazyLock::new(|| caller_frame(square(CALLER_SAMPLES)));
static SILENT: LazyLock<AudioFrame> = LazyLock::new(|| caller_frame(vec![0; CALLER_SAMPLES].into()));

fn caller_frame(samples: Arc<[i16]>) -> AudioFrame {
    AudioFrame { samples, rate_hz: CALL_RATE_HZ, spoken_by: None }
}

fn square(samples: usize) -> Arc<[i16]> {
    (0..samples).map(|sample| if sample % 2 == 0 { 4_000 } else { -4_000 }).collect()
}

/// How a caller sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sound {
    /// Loud where there is speech: enough for a detector that goes by energy.
    Loud,
    /// Recorded speech, for a detector that knows it from noise.
    Recorded,
}

impl Sound {
    /// The next frame of somebody who speaks.
    pub(super) fn speech(self, frame: u64) -> AudioFrame {
        match self {
            Sound::Loud => LOUD.clone(),
            Sound::Recorded => RECORDED[frame as usize % RECORDED.len()].clone(),
        }
    }
}

/// A frame of nobody.
pub(super) fn silence() -> AudioFrame {
    SILENT.clone()
}

/// A frame of a synthetic voice, as long as the voice's frames are.
pub(super) fn synthetic(rate_hz: u32, frame_ms: u64) -> AudioFrame {
    let samples = square((u64::from(rate_hz) * frame_ms / 1_000) as usize);
    AudioFrame { samples, rate_hz, spoken_by: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_one_that_the_core_takes() {
        let frames = RECORDED.iter().cloned().chain([silence(), Sound::Loud.speech(0), synthetic(48_000, 100)]);
        for frame in frames {
            assert_eq!(frame.check(), Ok(()));
        }
        assert!(RECORDED.len() > 100);
    }
}
