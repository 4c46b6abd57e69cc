//! From one rate to another: a windowed sinc, evaluated at the phases that the two rates' ratio has.
//!
//! Why not an FFT resampler from the registry: those pick the machine's widest vector instructions at run time,
//! so that two machines may round differently, and they work in blocks of tens of milliseconds. This one is whole
//! numbers only once its taps are made, and looks ahead by 32 samples of the lower rate: 2 ms at 16 kHz. What a server
//! pays for that is a few microseconds a frame (`cargo bench --bench border`).

use std::collections::BTreeMap;
use std::sync::Arc;

use rspp_specs::limits::{MAX_RATE_HZ, MIN_RATE_HZ};

/// Zero crossings of the sinc on either side: how many samples of the lower rate the filter looks ahead.
const MARGIN_CROSSINGS: u64 = 32;
/// The middle of the transition band, as a share of the lower rate's Nyquist frequency: the band reaches from
/// 0.84 of it to 1.00.
const CUTOFF: f64 = 0.922;
/// Kaiser's window for 80 dB.
const KAISER_BETA: f64 = 7.857;
/// Phases that are tabled. All the usual rates need fewer; for the others time is rounded to this share of a sample.
const MAX_PHASES: u64 = 2_048;
/// The taps' fixed point, in two halves: sums of 16-bit products that fit 32 bits are what a compiler makes fast on
/// every machine. What is lost is below -115 dB.
const COARSE_BITS: u32 = 14;
const FINE_BITS: u32 = 7;
const UNIT_BITS: u32 = COARSE_BITS + FINE_BITS;
/// The widest filter: 32 crossings on either side, from the highest rate to the lowest.
const MAX_WIDTH: u64 = 2 * MARGIN_CROSSINGS * (MAX_RATE_HZ as u64).div_ceil(MIN_RATE_HZ as u64);
/// The taps of one phase, without their signs, sum to less than this times one: about 2 for a windowed sinc.
const MAX_GAIN: u64 = 3;

const _: () = {
    let loudest = 1 << 15;
    assert!((MAX_WIDTH << FINE_BITS) * loudest <= i32::MAX as u64);
    assert!((MAX_GAIN << COARSE_BITS) * loudest + MAX_WIDTH * loudest <= i32::MAX as u64);
};

/// A mono stream on its way from one rate to another. What it gives depends on the samples, never on how they
/// were cut into pieces. The first sample out is at the time of the first sample in, and the last samples out come when
/// the stream ends or goes on; of a *live* stream each sample comes out at once, and everything is later by what the
/// filter looks ahead, so that a frame in is a frame out.
#[derive(Debug)]
pub struct Resampler {
    /// The ratio of the rates, reduced: `up` samples out for `down` samples in.
    up: u64,
    down: u64,
    filter: Option<Arc<Filter>>,
    live: bool,
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
    pub fn new(from_hz: u32, to_hz: u32) -> Self {
        Filters::default().resampler(from_hz, to_hz, false)
    }

    /// A live stream between the same rates.
    pub fn live(from_hz: u32, to_hz: u32) -> Self {
        Filters::default().resampler(from_hz, to_hz, true)
    }

    /// Whether the rates are the same: what comes out is what came in.
    pub(crate) fn changes_nothing(&self) -> bool {
        self.filter.is_none()
    }

    /// Takes the next samples and appends what can be given so far.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        if self.filter.is_none() {
            out.extend_from_slice(samples);
            return;
        }
        self.taken += samples.len() as u64;
        self.history.extend_from_slice(samples);
        self.drain(u64::MAX, out);
    }

    /// Ends the stream: appends what is left, so that `n` samples in have become `round(n * to / from)` out, and those
    /// by which a live stream is late. The next sample starts a new stream.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        if let Some(filter) = &self.filter {
            let late = if self.live && self.taken > 0 { filter.width as u64 / 2 } else { 0 };
            self.history.resize(self.history.len() + filter.width, 0);
            self.drain((2 * (self.taken + late) * self.up + self.down) / (2 * self.down), out);
        }
        self.reset();
    }

    /// Forgets the stream: the next sample starts a new one.
    pub fn reset(&mut self) {
        let before = |filter: &Filter| if self.live { filter.width - 1 } else { filter.width / 2 - 1 };
        let silence = self.filter.as_deref().map_or(0, before);
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

/// Filters that were made, by their ratio: streams between the same rates share one.
#[derive(Debug, Default)]
pub struct Filters {
    made: BTreeMap<(u64, u64), Arc<Filter>>,
}

/// Filters that are kept for those who come later.
const MAX_FILTERS: usize = 64;

impl Filters {
    /// A stream between two rates.
    pub(crate) fn resampler(&mut self, from_hz: u32, to_hz: u32, live: bool) -> Resampler {
        let divisor = greatest_common_divisor(u64::from(from_hz), u64::from(to_hz)).max(1);
        let (up, down) = (u64::from(to_hz) / divisor, u64::from(from_hz) / divisor);
        let filter = (up != down).then(|| self.filter(up, down));
        let history = Vec::new();
        let mut stream = Resampler { up, down, filter, live, history, start: 0, part: 0, taken: 0, given: 0 };
        stream.reset();
        stream
    }

    fn filter(&mut self, up: u64, down: u64) -> Arc<Filter> {
        if let Some(filter) = self.made.get(&(up, down)) {
            return Arc::clone(filter);
        }
        let filter = Arc::new(Filter::new(up, down));
        if self.made.len() < MAX_FILTERS {
            self.made.insert((up, down), Arc::clone(&filter));
        }
        filter
    }
}

/// The taps of every phase, one phase after the other: coarsely, and what is left of each then.
#[derive(Debug)]
struct Filter {
    coarse: Vec<i16>,
    fine: Vec<i16>,
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
        let coarse = taps.iter().map(|tap| (tap >> FINE_BITS) as i16).collect();
        let fine = taps.iter().map(|tap| (tap & ((1 << FINE_BITS) - 1)) as i16).collect();
        Self { coarse, fine, width, phases }
    }

    fn apply(&self, window: &[i16], phase: u64) -> i16 {
        let taps = phase as usize * self.width..(phase as usize + 1) * self.width;
        let coarse = i64::from(product(&self.coarse[taps.clone()], window));
        let sum = (coarse << FINE_BITS) + i64::from(product(&self.fine[taps], window));
        let rounded = (sum + (1 << (UNIT_BITS - 1))) >> UNIT_BITS;
        rounded.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
    }
}

fn product(taps: &[i16], window: &[i16]) -> i32 {
    taps.iter().zip(window).map(|(tap, sample)| i32::from(*tap) * i32::from(*sample)).sum()
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
    fn a_live_stream_gives_a_frame_for_a_frame_and_is_late_by_what_it_looks_ahead() {
        for (from_hz, to_hz) in [(8_000, 16_000), (16_000, 8_000), (48_000, 16_000), (16_000, 24_000), (16_000, 48_000)]
        {
            let (mut live, mut out) = (Resampler::live(from_hz, to_hz), Vec::new());
            let wave = tone(440.0, from_hz, from_hz as usize / 4);
            for (index, frame) in wave.chunks_exact(from_hz as usize / 50).enumerate() {
                live.push(frame, &mut out);
                let expect = (index + 1) * to_hz as usize / 50;
                assert!(out.len().abs_diff(expect) <= 1, "{from_hz} to {to_hz}: {} for {expect}", out.len());
            }
            live.finish(&mut out);
            let whole = resample(&wave[..12 * from_hz as usize / 50], from_hz, to_hz);
            let late = out.len() - whole.len();
            assert!(late <= to_hz as usize / 200, "{from_hz} to {to_hz}: {late} samples late");
            assert!(error_db(&out[late..], &whole) < -60.0, "{from_hz} to {to_hz}");
        }
    }

    #[test]
    fn the_loudest_input_overflows_nothing() {
        for (from_hz, to_hz) in [(48_000_u64, 8_000_u64), (8_000, 48_000), (44_101, 8_000), (8_001, 16_000)] {
            let filter = Filter::new(to_hz, from_hz);
            for phase in 0..filter.phases as usize {
                let taps = &filter.coarse[phase * filter.width..(phase + 1) * filter.width];
                let gain: u64 = taps.iter().map(|tap| u64::from(tap.unsigned_abs())).sum();
                assert!(gain <= MAX_GAIN << COARSE_BITS, "{from_hz} to {to_hz}: {gain}");
                let worst: Vec<i16> = taps.iter().map(|tap| if *tap < 0 { i16::MIN } else { i16::MAX }).collect();
                filter.apply(&worst, phase as u64);
            }
        }
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
