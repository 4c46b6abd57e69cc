//! What a worker's nodes compute, by the machine's clocks.

use std::time::Instant;

use rspp_specs::meter::{Meter, Stopwatch};
use rspp_specs::time::Micros;
use rustix::time::{ClockId, clock_gettime};

/// Shorter reactions are not worth a word to anybody: what a plan allows is compared in the core.
const FLOOR: Micros = Micros::from_ms(5);

/// Of the worker's own thread.
struct Machine {
    start: Instant,
}

/// Measures the nodes of the worker that runs on this thread.
pub(super) fn meter() -> Meter {
    Meter::new(Box::new(Machine { start: Instant::now() }), FLOOR)
}

impl Stopwatch for Machine {
    fn computed(&self) -> Micros {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Micros(seconds * 1_000_000 + nanos / 1_000)
    }

    fn glance(&self) -> Option<Micros> {
        Some(Micros(self.start.elapsed().as_micros() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_does_not_compute() {
        let machine = Machine { start: Instant::now() };
        let began = machine.computed();
        let mut sum = 0_u64;
        while machine.computed().since(began) < Micros(500) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (computed, glanced) = (machine.computed(), machine.glance().unwrap_or_default());
        assert!(computed > began && glanced >= Micros(500), "{computed} {glanced}");
    }
}
