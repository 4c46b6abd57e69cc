//! Times, by how many were at most so long.

use std::sync::atomic::{AtomicU64, Ordering};

use rspp_specs::time::Micros;

/// Upper bounds in milliseconds. The limits of the gates are among them.
pub(super) const BOUNDS_MS: [u64; 16] =
    [1, 2, 5, 10, 20, 50, 100, 120, 150, 300, 500, 1_000, 1_500, 2_000, 5_000, 10_000];

/// A histogram.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// By bound; the last is of those over all bounds.
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// One more time.
    pub(crate) fn put(&self, time: Micros) {
        let bucket = BOUNDS_MS.iter().position(|bound| time <= Micros::from_ms(*bound)).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(time.0, Ordering::Relaxed);
    }

    /// For each bound in milliseconds, and then for none, how many times were at most so long.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_MS.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter().scan(0, |sum, bucket| {
            *sum += bucket.load(Ordering::Relaxed);
            Some(*sum)
        });
        bounds.zip(counts)
    }

    /// Their sum.
    pub(super) fn sum(&self) -> Micros {
        Micros(self.sum_us.load(Ordering::Relaxed))
    }
}
