//! When a recorder is under pressure: so full for so long, or so far behind (CONTRACTS 8 has the numbers).

use std::collections::VecDeque;

use rspp_specs::recording::RecorderReport;
use rspp_specs::time::Micros;

/// Strained at so much of the room for so long.
const STRAINED_PERCENT: u64 = 80;
const OVERLOADED_PERCENT: u64 = 90;
const FULL_FOR: Micros = Micros::from_ms(500);
/// Strained when the exporter is so far behind.
const STRAINED_LAG: Micros = Micros::from_ms(2_000);
const OVERLOADED_LAG: Micros = Micros::from_ms(5_000);
/// It keeps up again below so much, and so little behind: not at the very threshold, or it would go up and down.
const RELAXED_PERCENT: u64 = 60;
const RELAXED_LAG: Micros = Micros::from_ms(1_000);
/// How far it is behind is known to this precision.
const MARK_EVERY: Micros = Micros::from_ms(100);
/// Ten seconds of them.
const MAX_MARKS: usize = 100;

/// What is measured at one moment. Places count bytes since the log was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) written: u64,
    /// Up to here it was read.
    pub(super) followed: u64,
    /// What can't be written over yet.
    pub(super) used: u64,
    /// What events may fill.
    pub(super) bytes: u64,
    /// What waits in memory for the disk.
    pub(super) queued: u64,
    /// What events may fill of that.
    pub(super) queue_bytes: u64,
    pub(super) has_room_for_evidence: bool,
}

/// Turns measurements into what sessions are told. It moves by one step at a time in the direction of more pressure.
#[derive(Debug)]
pub(super) struct Gauge {
    says: RecorderReport,
    strained_since: Option<Micros>,
    overloaded_since: Option<Micros>,
    /// When the log was written up to where.
    marks: VecDeque<(u64, Micros)>,
}

impl Default for Gauge {
    fn default() -> Self {
        let (says, marks) = (RecorderReport::Relaxed, VecDeque::new());
        Self { says, strained_since: None, overloaded_since: None, marks }
    }
}

impl Gauge {
    pub(super) fn measure(&mut self, now: Micros, measured: Measured) -> Option<RecorderReport> {
        let lag = self.lag(now, measured);
        let percent = percent(measured.used, measured.bytes).max(percent(measured.queued, measured.queue_bytes));
        let strained = held(&mut self.strained_since, now, percent >= STRAINED_PERCENT) || lag >= STRAINED_LAG;
        let overloaded = held(&mut self.overloaded_since, now, percent >= OVERLOADED_PERCENT) || lag >= OVERLOADED_LAG;
        let relaxed = percent < RELAXED_PERCENT && lag < RELAXED_LAG && measured.has_room_for_evidence;
        let next = match self.says {
            _ if !measured.has_room_for_evidence => RecorderReport::NoEvidence,
            RecorderReport::Relaxed if strained || overloaded => RecorderReport::Strained,
            RecorderReport::Strained if overloaded => RecorderReport::Overloaded,
            _ if relaxed => RecorderReport::Relaxed,
            RecorderReport::NoEvidence => RecorderReport::Overloaded,
            same => same,
        };
        (std::mem::replace(&mut self.says, next) != next).then_some(next)
    }

    /// What was said last.
    pub(super) fn says(&self) -> RecorderReport {
        self.says
    }

    /// How long ago what is next to be read was written.
    fn lag(&mut self, now: Micros, measured: Measured) -> Micros {
        while self.marks.front().is_some_and(|(place, _)| *place <= measured.followed) {
            self.marks.pop_front();
        }
        let is_due = self.marks.back().is_none_or(|(_, at)| now.since(*at) >= MARK_EVERY);
        if measured.written > measured.followed && is_due && self.marks.len() < MAX_MARKS {
            self.marks.push_back((measured.written, now));
        }
        self.marks.front().map_or(Micros(0), |(_, at)| now.since(*at))
    }
}

fn percent(used: u64, of: u64) -> u64 {
    used * 100 / of.max(1)
}

/// Whether something has been so for long enough.
fn held(since: &mut Option<Micros>, now: Micros, is_so: bool) -> bool {
    if !is_so {
        *since = None;
        return false;
    }
    now.since(*since.get_or_insert(now)) >= FULL_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Measured = Measured {
        written: 0,
        followed: 0,
        used: 0,
        bytes: 1_000,
        queued: 0,
        queue_bytes: 1_000,
        has_room_for_evidence: true,
    };

    /// Measures every 100 ms a log of 1,000 bytes, of which so many wait; gives what was said, and when.
    fn said(waiting: impl Fn(u64) -> u64, until_ms: u64) -> Vec<(u64, RecorderReport)> {
        let mut gauge = Gauge::default();
        let at = |ms: u64| {
            let (written, used) = (10_000 + ms, waiting(ms));
            let has_room_for_evidence = used < 1_000;
            (ms, Measured { written, followed: written, used, bytes: 1_000, has_room_for_evidence, ..EMPTY })
        };
        let each = (0..until_ms).step_by(100).map(at);
        each.filter_map(|(ms, measured)| Some((ms, gauge.measure(Micros::from_ms(ms), measured)?))).collect()
    }

    #[test]
    fn a_log_that_is_full_for_half_a_second_is_under_pressure_step_by_step() {
        use RecorderReport::{NoEvidence, Overloaded, Relaxed, Strained};
        assert_eq!(said(|_| 500, 1_000), []);
        assert_eq!(said(|ms| if ms == 300 { 850 } else { 10 }, 1_000), []);
        assert_eq!(said(|_| 850, 1_000), [(500, Strained)]);
        assert_eq!(said(|_| 950, 1_000), [(500, Strained), (600, Overloaded)]);
        assert_eq!(
            said(|ms| if ms < 700 { 950 } else { 10 }, 1_000),
            [(500, Strained), (600, Overloaded), (700, Relaxed)]
        );
        assert_eq!(said(|_| 1_000, 300), [(0, NoEvidence)]);
    }

    #[test]
    fn a_disk_that_is_slow_is_pressure_though_the_log_has_room() {
        use RecorderReport::{Relaxed, Strained};
        let mut gauge = Gauge::default();
        let queued = |ms| if ms < 1_000 { 850 } else { 0 };
        let each = (0..1_500).step_by(100).map(|ms| (ms, Measured { queued: queued(ms), ..EMPTY }));
        let said: Vec<_> =
            each.filter_map(|(ms, measured)| Some((ms, gauge.measure(Micros::from_ms(ms), measured)?))).collect();
        assert_eq!(said, [(500, Strained), (1_000, Relaxed)]);
    }

    #[test]
    fn an_exporter_that_stands_still_is_pressure_before_the_log_is_full() {
        use RecorderReport::{Overloaded, Strained};
        // One byte a millisecond, into a log of which two thousand would be a fifth.
        let mut gauge = Gauge::default();
        let measured = |written| Measured { written, followed: 0, bytes: 1 << 20, ..EMPTY };
        let each = (1..8_000).step_by(100);
        let said: Vec<_> =
            each.filter_map(|ms| Some((ms, gauge.measure(Micros::from_ms(ms), measured(ms))?))).collect();
        assert_eq!(said, [(2_001, Strained), (5_001, Overloaded)]);
    }
}
