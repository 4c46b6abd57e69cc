//! The one clock of all workers: microseconds since the bridge began.

use std::time::{Duration, Instant};

use rspp_specs::time::Micros;

/// A clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// It is 0 now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// How late it is.
    pub fn now(&self) -> Micros {
        Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When that is on the machine's clock.
    pub fn instant(&self, at: Micros) -> Instant {
        // What is further away than the machine can say is far away.
        self.start.checked_add(Duration::from_micros(at.0)).unwrap_or_else(|| self.start + Duration::from_secs(1 << 30))
    }
}
