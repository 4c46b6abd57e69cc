//! How loud a stretch of time is: what a lane of sound is drawn from.

use rspp_specs::event::AudioFrame;
use rspp_specs::time::Micros;

/// Below this peak a stretch is drawn as silence: the noise that a quiet line carries.
const QUIET: u16 = 150;

/// Peaks of the frames of one side of a call, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loudness {
    frames: Vec<(Micros, Micros, u16)>,
}

impl Loudness {
    /// Adds a frame that is heard from this time on.
    pub(super) fn push(&mut self, from: Micros, frame: &AudioFrame) {
        let peak = frame.samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        self.frames.push((from, from + frame.duration(), peak));
    }

    /// Takes back what would have been heard from this time on.
    pub(super) fn cut(&mut self, at: Micros) {
        while self.frames.last().is_some_and(|(from, _, _)| *from >= at) {
            self.frames.pop();
        }
        if let Some((_, to, _)) = self.frames.last_mut() {
            *to = (*to).min(at);
        }
    }

    /// From the first sound to the end of the last.
    pub fn extent(&self) -> Option<(Micros, Micros)> {
        let mut loud = self.frames.iter().filter(|(_, _, peak)| *peak >= QUIET);
        let first = loud.next()?;
        Some((first.0, loud.next_back().unwrap_or(first).1))
    }

    /// The loudest peak of each of so many equal stretches between two times, from 0 for silence to `steps`, relative
    /// to the loudest of all. A stretch in which there is any sound is at least 1.
    pub fn levels(&self, from: Micros, to: Micros, stretches: usize, steps: usize) -> Vec<usize> {
        let loudest = self.frames.iter().map(|(_, _, peak)| *peak).max().unwrap_or(0).max(QUIET);
        let mut peaks = vec![0_u16; stretches];
        let length = to.since(from).0.max(1);
        for (begin, end, peak) in &self.frames {
            if *end <= from || *begin >= to || stretches == 0 {
                continue;
            }
            let place = |at: Micros| (at.since(from).0 * stretches as u64 / length) as usize;
            let last = place(Micros(end.0 - 1)).min(stretches - 1);
            for cell in &mut peaks[place(*begin).min(last)..=last] {
                *cell = (*cell).max(*peak);
            }
        }
        peaks.into_iter().map(|peak| level(peak, loudest, steps)).collect()
    }
}

/// By the root of the peak: a voice at a tenth of the loudest is still seen.
fn level(peak: u16, loudest: u16, steps: usize) -> usize {
    if peak < QUIET {
        return 0;
    }
    let root = f64::from(peak) / f64::from(loudest);
    ((root.sqrt() * steps as f64).round() as usize).clamp(1, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_peaks_and_a_cut_takes_the_rest_back() {
        let frame = |level: i16| AudioFrame { samples: vec![level; 320].into(), rate_hz: 16_000, spoken_by: None };
        let mut loudness = Loudness::default();
        for (at, level) in [(0, 0), (20, 1_000), (40, 4_000), (60, 4_000)] {
            loudness.push(Micros::from_ms(at), &frame(level));
        }
        let levels = |loudness: &Loudness| loudness.levels(Micros(0), Micros::from_ms(80), 4, 8);
        assert_eq!(levels(&loudness), [0, 4, 8, 8]);
        assert_eq!(loudness.extent(), Some((Micros::from_ms(20), Micros::from_ms(80))));
        loudness.cut(Micros::from_ms(50));
        assert_eq!(levels(&loudness), [0, 4, 8, 0]);
        assert_eq!(loudness.extent(), Some((Micros::from_ms(20), Micros::from_ms(50))));
    }
}
