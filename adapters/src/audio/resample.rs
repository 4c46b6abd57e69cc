//! From one rate to another: a windowed sinc, evaluated at the phases that the two rates' ratio has.
//!
//! Why not an FFT resampler from the registry: those pick the machine's widest vector instructions at run time,
//! so that two machines may round differently, and they work in blocks of tens of milliseconds. This one is whole
//! numbers only once its taps are made, and looks ahead by 32 samples of the lower rate: 2 ms at 16 kHz.

/// Zero crossings of the sinc on either side: how many samples of the lower rate the filter looks ahead.
const MARGIN_CROSSINGS: u64 = 32;
/// The middle of the transition band, as a share of the lower rate's Nyquist frequency: the band reaches from
/// 0.84 of it to 1.00.
const CUTOFF: f64 = 0.922;
/// Kaiser's window for 80 dB.
const KAISER_BETA: f64 = 7.857;
/// Phases that are tabled. All the usual rates need fewer; for the others time is rounded to this share of a sample.
const MAX_PHASES: u64 = 2_048;
/// The taps' fixed point.
const UNIT_BITS: u32 = 30;

/// A mono stream on its way from one rate to another. What it gives depends on the samples, never on how they
/// were cut into pieces; the first sample out is at the time of the first sample in.
pub(crate) struct Resampler {
    /// The ratio of the rates, reduced: `up` samples out for `down` samples in.
    up: u64,
    down: u64,
    filter: Option<Filter>,
    /// Input that later outputs still need, with the silence before the first sample.
    history: Vec<i16>,
    /// Where in `history` the next output's window starts, and how far past that sample, in parts of `up`.
    start: usize,
    part: u64,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// A stream from `from_hz` to `to_hz`, both between `MIN_RATE_HZ` and `MAX_RATE_HZ`.
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        let divisor = greatest_common_divisor(u64::from(from_hz), u64::from(to_hz)).max(1);
        let (up, down) = (u64::from(to_hz) / divisor, u64::from(from_hz) / divisor);
        let filter = (up != down).then(|| Filter::new(up, down));
        let mut stream = Self { up, down, filter, history: Vec::new(), start: 0, part: 0, taken: 0, given: 0 };
        stream.reset();
        stream
    }

    /// Takes the next samples and appends what can be given so far.
    pub(crate) fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.filter.is_none() {
            out.extend_from_slice(samples);
            return;
        }
        self.taken += samples.len() as u64;
        self.history.extend_from_slice(samples);
        self.drain(u64::MAX, out);
    }

    /// Ends the stream: appends what is left, so that `n` samples in have become `round(n * to / from)` out. The
    /// next sample starts a new stream.
    pub(crate) fn finish(&mut self, out: &mut Vec<i16>) {
        if let Some(filter) = &self.filter {
            self.history.resize(self.history.len() + filter.width, 0);
            self.drain((2 * self.taken * self.up + self.down) / (2 * self.down), out);
        }
        self.reset();
    }

    fn reset(&mut self) {
        let silence = self.filter.as_ref().map_or(0, |filter| filter.width / 2 - 1);
        self.history.clear();
        self.history.resize(silence, 0);
        (self.start, self.part, self.taken, self.given) = (0, 0, 0, 0);
    }

    /// Gives outputs for as long as their windows are filled, up to `total` in all.
    fn drain(&mut self, total: u64, out: &mut Vec<i16>) {
        let Some(filter) = &self.filter else { return };
        while self.given < total
            && let Some(window) = self.history.get(self.start..self.start + filter.width)
        {
            out.push(filter.apply(window, self.part * filter.phases / self.up));
            self.given += 1;
            self.part += self.down % self.up;
            self.start += (self.down / self.up) as usize;
            if self.part >= self.up {
                self.part -= self.up;
                self.start += 1;
            }
        }
        let done = self.start.min(self.history.len());
        self.history.drain(..done);
        self.start -= done;
    }
}

/// The taps of every phase, one phase after the other.
struct Filter {
    taps: Vec<i32>,
    width: usize,
    phases: u64,
}

impl Filter {
    fn new(up: u64, down: u64) -> Self {
        let half = (MARGIN_CROSSINGS * down.max(up)).div_ceil(up) as usize;
        let (width, phases) = (2 * half, up.min(MAX_PHASES));
        let cutoff = CUTOFF * (up as f64 / down as f64).min(1.0);
        let edge = kaiser_bessel(KAISER_BETA);
        let mut taps = Vec::with_capacity(width * phases as usize);
        for phase in 0..phases {
            let late = phase as f64 / phases as f64;
            let shape: Vec<f64> = (0..width)
                .map(|tap| (tap as f64 - (half - 1) as f64) - late)
                .map(|distance| sinc(cutoff * distance) * kaiser(distance / half as f64) / edge)
                .collect();
            push_normalised(&shape, &mut taps);
        }
        Self { taps, width, phases }
    }

    fn apply(&self, window: &[i16], phase: u64) -> i16 {
        let from = phase as usize * self.width;
        let taps = &self.taps[from..from + self.width];
        let sum: i64 = taps.iter().zip(window).map(|(tap, sample)| i64::from(*tap) * i64::from(*sample)).sum();
        let rounded = (sum + (1 << (UNIT_BITS - 1))) >> UNIT_BITS;
        rounded.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
    }
}

/// Appends a phase's taps so that they sum to exactly one: a constant stays that constant, at every phase.
fn push_normalised(shape: &[f64], taps: &mut Vec<i32>) {
    let unit = 1_i64 << UNIT_BITS;
    let sum: f64 = shape.iter().sum();
    let first = taps.len();
    taps.extend(shape.iter().map(|value| libm::round(value / sum * unit as f64) as i32));
    let total: i64 = taps[first..].iter().map(|tap| i64::from(*tap)).sum();
    // The error of rounding, below one part in a million, goes to the middle tap, which is the largest.
    taps[first + shape.len() / 2 - 1] += (unit - total) as i32;
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle == 0.0 { 1.0 } else { libm::sin(angle) / angle }
}

/// Kaiser's window before it is scaled: 1 at the edges, `kaiser_bessel(KAISER_BETA)` in the middle.
fn kaiser(x: f64) -> f64 {
    kaiser_bessel(KAISER_BETA * libm::sqrt((1.0 - x * x).max(0.0)))
}

/// The modified Bessel function of order zero, by its series; 32 terms are plenty below 10.
fn kaiser_bessel(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    for n in 1..=32 {
        term *= quarter / f64::from(n * n);
        sum += term;
    }
    sum
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(samples: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
        let mut stream = Resampler::new(from_hz, to_hz);
        let mut out = Vec::new();
        stream.push(samples, &mut out);
        stream.finish(&mut out);
        out
    }

    fn tone(hz: f64, rate_hz: u32, samples: usize) -> Vec<i16> {
        let at = |n: usize| (n as f64 * hz * std::f64::consts::TAU / f64::from(rate_hz)).sin() * 16_000.0;
        (0..samples).map(|n| at(n).round() as i16).collect()
    }

    /// The level of `found - wanted` below that of a tone, in dB, away from the edges.
    fn error_db(found: &[i16], wanted: &[i16]) -> f64 {
        let inner = 100..found.len() - 100;
        let power: f64 = inner.clone().map(|n| f64::from(i32::from(found[n]) - i32::from(wanted[n])).powi(2)).sum();
        10.0 * (power / inner.len() as f64 / (16_000.0_f64.powi(2) / 2.0)).log10()
    }

    #[test]
    fn tones_of_the_voice_band_arrive_aligned_and_clean_from_every_rate() {
        for from_hz in [8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
            for hz in [200.0, 1_000.0, 3_200.0] {
                let found = resample(&tone(hz, from_hz, from_hz as usize / 4), from_hz, 16_000);
                let error = error_db(&found, &tone(hz, 16_000, found.len()));
                assert!(error < -70.0, "{hz} Hz from {from_hz} Hz: {error:.1} dB");
            }
        }
    }

    #[test]
    fn a_rate_without_a_short_ratio_is_a_little_less_exact() {
        let found = resample(&tone(1_000.0, 44_101, 11_025), 44_101, 16_000);
        assert!(error_db(&found, &tone(1_000.0, 16_000, found.len())) < -60.0);
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_taken_away() {
        for hz in [8_700.0, 12_000.0, 20_000.0] {
            let found = resample(&tone(hz, 48_000, 12_000), 48_000, 16_000);
            let level = error_db(&found, &vec![0; found.len()]);
            assert!(level < -75.0, "{hz} Hz: {level:.1} dB");
        }
    }

    #[test]
    fn the_length_is_the_rounded_ratio() {
        for (samples, from_hz, expect) in
            [(0, 8_000, 0), (1, 8_000, 2), (1, 48_000, 0), (2, 48_000, 1), (44_100, 44_100, 16_000), (441, 44_100, 160)]
        {
            let found = resample(&vec![1_000; samples], from_hz, 16_000);
            assert_eq!(found.len(), expect, "{samples} samples from {from_hz} Hz");
        }
    }

    #[test]
    fn a_constant_stays_exactly_that() {
        let found = resample(&[12_345; 4_410], 44_100, 16_000);
        assert!(found[100..1_500].iter().all(|sample| *sample == 12_345));
    }

    #[test]
    fn the_loudest_square_wave_is_clipped_not_wrapped() {
        let square: Vec<i16> = (0..2_000).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let found = resample(&square, 8_000, 16_000);
        assert!(
            found.iter().enumerate().all(|(n, sample)| (n / 40 % 2 == 0) == (*sample > 0) || n % 40 > 36 || n % 40 < 4)
        );
    }
}
