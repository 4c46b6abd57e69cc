//! Percentiles of samples, and how certain they are.
//!
//! The bounds are those of order statistics: without any assumption about how samples are spread, the true percentile
//! lies between two of them with 95% probability. Where there are too few samples there is no such bound, and that is
//! said instead of a number that means nothing.

use rspp_specs::time::Micros;
use serde::Serialize;

use crate::timeline::ms;

/// One side's share of what the bounds leave out.
const TAIL: f64 = 0.025;

/// A percentile and its bounds, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentile {
    /// Which, of 100.
    pub percent: u32,
    /// The estimate: the least sample that so many of them do not exceed.
    pub ms: f64,
    /// With 95% probability it is no less; none with too few samples.
    pub low_ms: Option<f64>,
    /// With 95% probability it is no more; none with too few samples.
    pub high_ms: Option<f64>,
}

/// Times that were measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    times: Vec<Micros>,
}

impl Samples {
    /// Adds one.
    pub fn push(&mut self, time: Micros) {
        self.times.push(time);
    }

    /// Adds those of another call.
    pub fn extend(&mut self, other: &Samples) {
        self.times.extend_from_slice(&other.times);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// A percentile; `None` without samples.
    pub fn percentile(&self, percent: u32) -> Option<Percentile> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let rank = (times.len() * percent as usize).div_ceil(100).max(1) - 1;
        let (low, high) = bounds(times.len(), f64::from(percent) / 100.0);
        let at = |place: usize| ms(times[place]);
        Some(Percentile { percent, ms: at(rank.min(last)), low_ms: low.map(at), high_ms: high.map(at) })
    }
}

/// The places, from 0, of the samples between which the percentile lies.
fn bounds(samples: usize, share: f64) -> (Option<usize>, Option<usize>) {
    let (mut low, mut high) = (None, None);
    let mut below = 0.0;
    // The logarithm of the probability that exactly `place` samples do not exceed the percentile.
    let mut log_probability = samples as f64 * (1.0 - share).ln();
    for place in 0..samples {
        below += log_probability.exp();
        if below <= TAIL {
            low = Some(place);
        }
        if below >= 1.0 - TAIL && high.is_none() {
            high = Some(place);
        }
        log_probability += ((samples - place) as f64 / (place + 1) as f64).ln() + (share / (1.0 - share)).ln();
    }
    (low, high)
}

/// `p95 480 ms (420 to 510)`; what is not certain says so.
impl std::fmt::Display for Percentile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { percent, ms, low_ms, high_ms } = self;
        write!(f, "p{percent} {ms} ms ")?;
        match (low_ms, high_ms) {
            (Some(low), Some(high)) => write!(f, "({low} to {high})"),
            (None, Some(high)) => write!(f, "(up to {high})"),
            (Some(low), None) => write!(f, "(at least {low}; too few samples for more)"),
            (None, None) => write!(f, "(too few samples to be certain)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(count: u64) -> Samples {
        Samples { times: (1..=count).rev().map(Micros::from_ms).collect() }
    }

    #[test]
    fn the_bounds_are_those_of_the_tables() {
        // For the median of 20 samples the 95% bounds are the 6th and the 15th.
        let median = samples(20).percentile(50).expect("there are samples");
        assert_eq!((median.ms, median.low_ms, median.high_ms), (10.0, Some(6.0), Some(15.0)));
        let high = samples(1_000).percentile(95).expect("there are samples");
        assert_eq!(high.ms, 950.0);
        assert!(high.low_ms >= Some(930.0) && high.high_ms <= Some(970.0), "{high:?}");
    }

    #[test]
    fn too_few_samples_have_no_upper_bound() {
        let few = samples(10).percentile(95).expect("there are samples");
        assert_eq!((few.ms, few.high_ms), (10.0, None));
        assert!(few.to_string().contains("too few"), "{few}");
        assert!(samples(72).percentile(95).expect("there are samples").high_ms.is_some());
        assert!(samples(71).percentile(95).expect("there are samples").high_ms.is_none());
        assert_eq!(Samples::default().percentile(50), None);
    }
}
