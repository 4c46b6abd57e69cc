//! Any stream of PCM to frames of 20 ms at one rate.

use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::InvocationId;
use rspp_specs::limits::{FRAME_MS, MAX_RATE_HZ, MIN_RATE_HZ};
use thiserror::Error;

use crate::resample::{Filters, Resampler};

/// A rate that is not converted from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "audio at {rate_hz} Hz cannot be cut into frames: rates are {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, and the rate to \
     convert to is a multiple of 50 Hz"
)]
pub struct UnsupportedRate {
    /// The rate, in samples a second.
    pub rate_hz: u32,
}

/// Cuts a stream of PCM into frames of 20 ms at one rate, however it comes in.
///
/// The output depends on the stream of samples alone, not on how it was cut into pieces. A *run* is a stretch with
/// one rate and one stamp: frames never mix two runs, so that each keeps its stamp, and a run's last frame is
/// shorter where it does not fill up. `n` samples of a run become `round(n * target / rate)`.
///
/// ```
/// use rspp_sound::Rechunker;
///
/// let mut cutter = Rechunker::new(16_000)?;
/// let mut frames = cutter.push_pcm(&[0; 1_000], 48_000, None)?;
/// frames.extend(cutter.finish());
/// let lengths: Vec<usize> = frames.iter().map(|frame| frame.samples.len()).collect();
/// assert_eq!(lengths, [320, 13]);
/// # Ok::<(), rspp_sound::UnsupportedRate>(())
/// ```
#[derive(Debug)]
pub struct Rechunker {
    target_hz: u32,
    frame_samples: usize,
    live: bool,
    run: Option<Run>,
    resampler: Option<(u32, Resampler)>,
    /// Converted samples of the run that do not fill a frame yet.
    rest: Vec<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    rate_hz: u32,
    spoken_by: Option<InvocationId>,
}

impl Rechunker {
    /// A cutter into frames of 20 ms at `target_hz`: from 8,000 to 48,000, and such that 20 ms are whole samples.
    pub fn new(target_hz: u32) -> Result<Self, UnsupportedRate> {
        check_rate(target_hz)?;
        if !(u64::from(target_hz) * FRAME_MS).is_multiple_of(1_000) {
            return Err(UnsupportedRate { rate_hz: target_hz });
        }
        let frame_samples = (u64::from(target_hz) * FRAME_MS / 1_000) as usize;
        Ok(Self { target_hz, frame_samples, live: false, run: None, resampler: None, rest: Vec::new() })
    }

    /// The same for a stream that is spoken now: 20 ms in give a frame at once, and the audio is later by what the
    /// conversion looks ahead (4 ms from or to 8 kHz) instead of waiting for the next piece.
    pub fn live(target_hz: u32) -> Result<Self, UnsupportedRate> {
        Ok(Self { live: true, ..Self::new(target_hz)? })
    }

    /// Takes a frame of any length, and gives the frames that are full. A frame whose rate is not between 8,000 and
    /// 48,000 Hz is refused, and the stream stays as it was.
    pub fn push(&mut self, frame: &AudioFrame) -> Result<Vec<AudioFrame>, UnsupportedRate> {
        self.push_pcm(&frame.samples, frame.rate_hz, frame.spoken_by)
    }

    /// The same with filters that others use, too: a filter is up to a megabyte, and needs no more than its rates.
    pub fn push_with(&mut self, frame: &AudioFrame, filters: &mut Filters) -> Result<Vec<AudioFrame>, UnsupportedRate> {
        let (run, mut frames) = (Run { rate_hz: frame.rate_hz, spoken_by: frame.spoken_by }, Vec::new());
        self.push_run(&frame.samples, run, filters, |frame| frames.push(frame))?;
        Ok(frames)
    }

    /// The same for bare samples.
    pub fn push_pcm(
        &mut self,
        samples: &[i16],
        rate_hz: u32,
        spoken_by: Option<InvocationId>,
    ) -> Result<Vec<AudioFrame>, UnsupportedRate> {
        let mut frames = Vec::new();
        self.push_run(samples, Run { rate_hz, spoken_by }, &mut Filters::default(), |frame| frames.push(frame))?;
        Ok(frames)
    }

    /// The same for what nobody is known to have spoken, each frame handed over as it is made.
    pub fn cut_pcm(
        &mut self,
        samples: &[i16],
        rate_hz: u32,
        give: impl FnMut(AudioFrame),
    ) -> Result<(), UnsupportedRate> {
        self.push_run(samples, Run { rate_hz, spoken_by: None }, &mut Filters::default(), give)
    }

    fn push_run(
        &mut self,
        samples: &[i16],
        run: Run,
        filters: &mut Filters,
        mut give: impl FnMut(AudioFrame),
    ) -> Result<(), UnsupportedRate> {
        let Run { rate_hz, spoken_by } = run;
        check_rate(rate_hz)?;
        if samples.is_empty() {
            return Ok(());
        }
        if self.run.is_some_and(|current| current != run) {
            self.finish().into_iter().for_each(&mut give);
        }
        self.run = Some(run);
        // The filter's table outlives the run: a stream that changes its stamp only does not compute it again.
        let resampler = match &mut self.resampler {
            Some((rate, resampler)) if *rate == rate_hz => resampler,
            other => &mut other.insert((rate_hz, filters.resampler(rate_hz, self.target_hz, self.live))).1,
        };
        if resampler.changes_nothing() && self.rest.is_empty() {
            // Whole frames of the right rate are copied once.
            let (whole, rest) = samples.split_at(samples.len() - samples.len() % self.frame_samples);
            self.give(whole, spoken_by, &mut give);
            self.rest.extend_from_slice(rest);
            return Ok(());
        }
        resampler.push(samples, &mut self.rest);
        self.cut(spoken_by, false, give);
        Ok(())
    }

    /// Ends the stream: gives what is left, whose last frame is as short as it comes and not filled up. The cutter
    /// is ready for another stream then.
    pub fn finish(&mut self) -> Vec<AudioFrame> {
        let mut frames = Vec::new();
        let Some(run) = self.run.take() else { return frames };
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.finish(&mut self.rest);
        }
        self.cut(run.spoken_by, true, |frame| frames.push(frame));
        frames
    }

    /// Forgets the stream: what came counts no more.
    pub fn reset(&mut self) {
        self.run = None;
        self.rest.clear();
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.reset();
        }
    }

    /// Whether something of the stream has not been given yet.
    pub fn is_owing(&self) -> bool {
        self.run.is_some()
    }

    fn cut(&mut self, spoken_by: Option<InvocationId>, all: bool, mut give: impl FnMut(AudioFrame)) {
        let whole = self.rest.len() - self.rest.len() % self.frame_samples;
        let end = if all { self.rest.len() } else { whole };
        self.give(&self.rest[..end], spoken_by, &mut give);
        self.rest.drain(..end);
    }

    fn give(&self, samples: &[i16], spoken_by: Option<InvocationId>, give: &mut impl FnMut(AudioFrame)) {
        for samples in samples.chunks(self.frame_samples) {
            give(AudioFrame { samples: Arc::from(samples), rate_hz: self.target_hz, spoken_by });
        }
    }
}

fn check_rate(rate_hz: u32) -> Result<(), UnsupportedRate> {
    if (MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) { Ok(()) } else { Err(UnsupportedRate { rate_hz }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Cuts a stream that comes in pieces of the given lengths, again and again.
    fn cut(stream: &[(i16, u32, Option<u32>)], pieces: &[usize]) -> Vec<AudioFrame> {
        let mut cutter = Rechunker::new(16_000).expect("16 kHz is a good rate");
        let mut frames = Vec::new();
        let mut from = 0;
        for length in pieces.iter().cycle() {
            // A piece ends with its run: a frame has one rate and one stamp.
            let run = stream[from..].iter().take_while(|item| (item.1, item.2) == (stream[from].1, stream[from].2));
            let piece: Vec<i16> = run.take(*length).map(|item| item.0).collect();
            let (rate_hz, stamp) = (stream[from].1, stream[from].2.map(InvocationId));
            frames.extend(cutter.push_pcm(&piece, rate_hz, stamp).expect("the rates are good"));
            from += piece.len();
            if from == stream.len() {
                break;
            }
        }
        frames.extend(cutter.finish());
        frames
    }

    fn stream_of(runs: &[(usize, u32, Option<u32>)]) -> Vec<(i16, u32, Option<u32>)> {
        let noise = |n: usize| ((n as u32).wrapping_mul(2_654_435_761) >> 16) as i16;
        runs.iter().flat_map(|run| (0..run.0).map(move |n| (noise(n), run.1, run.2))).collect()
    }

    #[test]
    fn a_stamp_stays_with_its_samples() {
        let frames = cut(&stream_of(&[(500, 16_000, Some(1)), (100, 16_000, Some(2))]), &[64]);
        let shape: Vec<_> = frames.iter().map(|frame| (frame.samples.len(), frame.spoken_by.map(|id| id.0))).collect();
        assert_eq!(shape, [(320, Some(1)), (180, Some(1)), (100, Some(2))]);
    }

    #[test]
    fn the_same_rate_passes_unchanged() {
        let stream = stream_of(&[(1_000, 16_000, None)]);
        let passed: Vec<i16> = cut(&stream, &[7]).iter().flat_map(|frame| frame.samples.to_vec()).collect();
        assert_eq!(passed, stream.iter().map(|item| item.0).collect::<Vec<_>>());
    }

    #[test]
    fn rates_outside_the_limits_are_refused() {
        for rate_hz in [0, 7_999, 48_001, u32::MAX, 11_025] {
            assert_eq!(Rechunker::new(rate_hz).err(), Some(UnsupportedRate { rate_hz }));
        }
        let mut cutter = Rechunker::new(48_000).expect("48 kHz is a good rate");
        assert!(cutter.push_pcm(&[1], 0, None).is_err());
        assert!(cutter.push_pcm(&[], 8_000, None).is_ok_and(|frames| frames.is_empty()));
        assert!(cutter.finish().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_cut_of_the_input_never_shows(
            runs in prop::collection::vec(
                (
                    1..1_500_usize,
                    prop::sample::select(vec![8_000, 16_000, 22_050, 24_000, 44_100, 48_000]),
                    prop::option::of(0..3_u32),
                ),
                1..5,
            ),
            pieces in prop::collection::vec(1..700_usize, 1..6),
        ) {
            let stream = stream_of(&runs);
            prop_assert_eq!(cut(&stream, &pieces), cut(&stream, &[stream.len()]));
        }

        #[test]
        fn a_run_keeps_its_length(samples in 1..3_000_usize, rate_hz in prop::sample::select(vec![8_000, 22_050, 44_100])) {
            let frames = cut(&stream_of(&[(samples, rate_hz, None)]), &[160]);
            let found: usize = frames.iter().map(|frame| frame.samples.len()).sum();
            prop_assert_eq!(found, (samples as f64 * 16_000.0 / f64::from(rate_hz)).round() as usize);
            prop_assert!(frames.iter().rev().skip(1).all(|frame| frame.samples.len() == 320));
        }
    }
}
