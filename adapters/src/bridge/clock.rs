//! The one clock of all workers: microseconds since the bridge began, or since the time of a fleet did.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rspp_specs::time::Micros;

/// A clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// What it was then.
    began: Micros,
}

impl Clock {
    /// It is 0 now.
    pub fn start() -> Self {
        Self { start: Instant::now(), began: Micros(0) }
    }

    /// It was 0 at this time, in microseconds since 1970: so it says the same on all machines whose clocks agree, and a session
    /// that comes from another one finds its own times in the past. Once begun, it goes by itself.
    pub fn since(unix_us: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        Self { start: Instant::now(), began: Micros(now.saturating_sub(unix_us)) }
    }

    /// How late it is.
    pub fn now(&self) -> Micros {
        self.began + Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When that is on the machine's clock.
    pub fn instant(&self, at: Micros) -> Instant {
        // What is further away than the machine can say is far away.
        let after = Duration::from_micros(at.since(self.began).0);
        self.start.checked_add(after).unwrap_or_else(|| self.start + Duration::from_secs(1 << 30))
    }
}
