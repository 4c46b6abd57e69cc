//! How fine the clock is, and how punctually a thread wakes up, measured briefly.

use std::time::{Duration, Instant};

/// Steps of the clock that are looked at.
const STEPS: usize = 100;
/// Looks for one step, at most: a clock that stands still is told, not waited for.
const LOOKS: usize = 1_000_000;
/// Wake-ups that are looked at, and how long each sleep is.
const SLEEPS: usize = 25;
const SLEEP: Duration = Duration::from_millis(4);

/// How late a thread wakes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WakeUp {
    pub(super) middle: Duration,
    pub(super) worst: Duration,
}

/// The smallest step that the clock was seen to make.
pub(super) fn resolution() -> Duration {
    let step = || {
        let before = Instant::now();
        let moved = (0..LOOKS).map(|_| before.elapsed()).find(|passed| !passed.is_zero());
        moved.unwrap_or(Duration::from_secs(1))
    };
    (0..STEPS).map(|_| step()).min().unwrap_or_default()
}

/// Sleeps a few times, a tenth of a second in all.
pub(super) fn wake_up() -> WakeUp {
    let sleep = |_| {
        let before = Instant::now();
        std::thread::sleep(SLEEP);
        before.elapsed().saturating_sub(SLEEP)
    };
    let mut late: Vec<Duration> = (0..SLEEPS).map(sleep).collect();
    late.sort_unstable();
    WakeUp { middle: late[SLEEPS / 2], worst: late[SLEEPS - 1] }
}
