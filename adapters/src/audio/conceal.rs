//! What is heard where a packet is missing: the last period of the voice again, softer and softer, then silence. As in
//! G.711's first appendix, in whole numbers.

use rspp_specs::time::Micros;

/// The highest and the lowest voice whose period is looked for.
const SHORTEST_PERIOD: Micros = Micros(2_500);
const LONGEST_PERIOD: Micros = Micros(15_000);
/// What is compared to find the period.
const COMPARED: Micros = Micros(10_000);
/// For so long the voice goes on as loud as it was; then it fades.
const HELD: Micros = Micros::from_ms(10);
/// After so long there is silence: nobody holds a sound for longer, and a recogniser takes a buzz for a word.
const FADED: Micros = Micros::from_ms(60);
/// The made-up sound goes over into the real one within this time.
const CROSSING: Micros = Micros::from_ms(5);

/// Fills the gaps of one stream of mono PCM.
///
/// ```
/// use rspp_adapters::audio::Concealer;
///
/// let mut stream = Concealer::new(8_000);
/// let mut heard = Vec::new();
/// stream.push(&[1_000; 160], &mut heard);
/// stream.lost(800, &mut heard);
/// assert_eq!(heard.len(), 960);
/// assert_eq!(heard[959], 0);
/// ```
#[derive(Debug)]
pub struct Concealer {
    rate_hz: u32,
    /// The end of what was heard: the longest period twice, and what is compared.
    past: Vec<i16>,
    /// One period to repeat, while something is lost.
    period: Vec<i16>,
    lost_samples: u64,
}

impl Concealer {
    /// For a stream with this many samples a second.
    pub fn new(rate_hz: u32) -> Self {
        Self { rate_hz, past: Vec::new(), period: Vec::new(), lost_samples: 0 }
    }

    /// Appends samples that came. The first after a gap come in over the end of what was made up.
    pub fn push(&mut self, samples: &[i16], heard: &mut Vec<i16>) {
        let from = heard.len();
        heard.extend_from_slice(samples);
        if self.lost_samples > 0 {
            let crossing = self.samples(CROSSING).min(samples.len());
            for (index, sample) in heard[from..from + crossing].iter_mut().enumerate() {
                *sample = mixed(self.made(self.lost_samples + index as u64), *sample, index, crossing);
            }
            self.lost_samples = 0;
        }
        self.remember(&heard[from..]);
    }

    /// So many samples did not come: appends what is heard instead.
    pub fn lost(&mut self, samples: u64, heard: &mut Vec<i16>) {
        if self.lost_samples == 0 {
            self.period = self.last_period();
        }
        let made = self.lost_samples..self.lost_samples.saturating_add(samples);
        self.lost_samples = made.end;
        heard.extend(made.map(|place| self.made(place)));
    }

    fn samples(&self, time: Micros) -> usize {
        time.to_samples(self.rate_hz) as usize
    }

    fn remember(&mut self, heard: &[i16]) {
        self.past.extend_from_slice(heard);
        let kept = 2 * self.samples(LONGEST_PERIOD) + self.samples(COMPARED);
        let over = self.past.len().saturating_sub(kept);
        self.past.drain(..over);
    }

    /// The sample at this place of a gap.
    fn made(&self, place: u64) -> i16 {
        let (held, faded) = (HELD.to_samples(self.rate_hz), FADED.to_samples(self.rate_hz));
        let gain = faded.saturating_sub(place).min(faded - held) as i64;
        match self.period.len() as u64 {
            0 => 0,
            length => (i64::from(self.period[(place % length) as usize]) * gain / (faded - held) as i64) as i16,
        }
    }

    /// The last period of the voice, whose end goes over into its beginning.
    fn last_period(&self) -> Vec<i16> {
        let Some(length) = self.period_length() else { return Vec::new() };
        let from = self.past.len() - length;
        let mut period = self.past[from..].to_vec();
        let crossing = length / 4;
        for index in 0..crossing {
            let place = length - crossing + index;
            // What stands before the period is what its beginning is the continuation of.
            period[place] = mixed(period[place], self.past[from - crossing + index], index, crossing);
        }
        period
    }

    /// At which distance the past is most like itself; `None` without enough of it.
    fn period_length(&self) -> Option<usize> {
        let (shortest, longest) = (self.samples(SHORTEST_PERIOD).max(4), self.samples(LONGEST_PERIOD));
        let compared = self.samples(COMPARED);
        if self.past.len() < longest + longest.max(compared) {
            return None;
        }
        let (end, from) = (self.past.len(), self.past.len() - compared);
        let likeness = |distance: usize| {
            let pairs = self.past[from..].iter().zip(&self.past[from - distance..end - distance]);
            let (mut product, mut power) = (0_i128, 1_i128);
            for (now, before) in pairs {
                product += i128::from(*now) * i128::from(*before);
                power += i128::from(*before) * i128::from(*before);
            }
            // Compared by its square over the power: no root and no fraction is needed for that.
            if product > 0 { product * product / power } else { 0 }
        };
        (shortest..=longest).max_by_key(|distance| (likeness(*distance), std::cmp::Reverse(*distance)))
    }
}

/// From one sound to another: at step 0 of `steps` nearly all of the first.
fn mixed(from: i16, to: i16, step: usize, steps: usize) -> i16 {
    let (step, steps) = (step as i32 + 1, steps as i32 + 1);
    ((i32::from(from) * (steps - step) + i32::from(to) * step) / steps) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A voice: a period with overtones.
    fn voice(hz: f64, rate_hz: u32, samples: usize) -> Vec<i16> {
        let at = |n: usize| {
            let angle = n as f64 * hz * std::f64::consts::TAU / f64::from(rate_hz);
            angle.sin() * 8_000.0 + (2.0 * angle).sin() * 3_000.0 + (5.0 * angle).cos() * 1_000.0
        };
        (0..samples).map(|n| at(n) as i16).collect()
    }

    #[test]
    fn the_first_10_ms_of_a_gap_go_on_like_the_voice() {
        for (hz, rate_hz) in [(110.0, 8_000), (200.0, 8_000), (140.0, 16_000), (310.0, 16_000)] {
            let wave = voice(hz, rate_hz, rate_hz as usize / 5);
            let gap = rate_hz as usize / 10;
            let (mut stream, mut heard) = (Concealer::new(rate_hz), Vec::new());
            stream.push(&wave[..gap], &mut heard);
            stream.lost(u64::from(rate_hz) / 50, &mut heard);
            let first = gap..gap + rate_hz as usize / 100;
            let error: i64 = first.clone().map(|n| (i64::from(heard[n]) - i64::from(wave[n])).pow(2)).sum();
            let power: i64 = wave[first].iter().map(|sample| i64::from(*sample).pow(2)).sum();
            assert!(error * 10 < power, "{hz} Hz at {rate_hz}: {error} of {power}");
        }
    }

    #[test]
    fn a_gap_has_no_click_at_either_end_and_a_long_one_is_silent() {
        let wave = voice(180.0, 8_000, 8_000);
        let steepest = wave.windows(2).map(|pair| (pair[1] - pair[0]).abs()).max().unwrap_or(0);
        let (mut stream, mut heard) = (Concealer::new(8_000), Vec::new());
        for (index, frame) in wave.chunks(160).enumerate() {
            match index {
                12 | 20..26 => stream.lost(160, &mut heard),
                _ => stream.push(frame, &mut heard),
            }
        }
        assert_eq!(heard.len(), wave.len());
        let step = heard.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0);
        assert!(step <= 2 * i32::from(steepest), "{step}, and the voice itself has {steepest}");
        assert!(heard[20 * 160 + 480..26 * 160].iter().all(|sample| *sample == 0));
    }

    #[test]
    fn a_gap_at_the_beginning_is_silent() {
        let (mut stream, mut heard) = (Concealer::new(8_000), Vec::new());
        stream.push(&[9_000; 80], &mut heard);
        stream.lost(160, &mut heard);
        assert!(heard[80..].iter().all(|sample| *sample == 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_made_up_is_louder_than_what_was_heard(
            pieces in prop::collection::vec((prop::collection::vec(any::<i16>(), 0..400), 0..900_u64), 1..8),
        ) {
            let (mut stream, mut heard) = (Concealer::new(8_000), Vec::new());
            let (mut loudest, mut expected) = (0, 0);
            for (samples, lost) in pieces {
                stream.push(&samples, &mut heard);
                loudest = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0).max(loudest);
                stream.lost(lost, &mut heard);
                expected += samples.len() + lost as usize;
                prop_assert!(heard.iter().all(|sample| sample.unsigned_abs() <= loudest));
                prop_assert!(stream.past.len() <= 320);
            }
            prop_assert_eq!(heard.len(), expected);
        }
    }
}
