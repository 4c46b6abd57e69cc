//! The clock on the wall, as the sessions of a worker are told of it.

use std::time::{SystemTime, UNIX_EPOCH};

use rspp_specs::time::{Micros, WallReading};

/// Sessions hear of it when it has moved by so much against the worker's own.
const TOLD_FROM_US: u64 = 10_000;

/// What the sessions were told.
#[derive(Debug, Default)]
pub(super) struct Wall {
    /// Time on the wall, less the worker's.
    told: Option<i64>,
}

impl Wall {
    /// What a session is told that begins: where it was when the others were told, so that all say the same.
    pub(super) fn reading(&mut self, now: Micros) -> WallReading {
        let told = *self.told.get_or_insert_with(|| stands(now));
        WallReading { unix_us: (told + now.0 as i64).unsigned_abs(), at: now }
    }

    /// It is looked at; gives what everybody is told, if it has moved.
    pub(super) fn look(&mut self, now: Micros) -> Option<WallReading> {
        self.note(stands(now)).then(|| self.reading(now))
    }

    /// Whether that is news.
    fn note(&mut self, stands: i64) -> bool {
        let moved = self.told.is_some_and(|told| told.abs_diff(stands) > TOLD_FROM_US);
        if moved {
            self.told = Some(stands);
        }
        moved
    }
}

fn stands(now: Micros) -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) - now.0 as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moves_is_told() {
        let mut wall = Wall { told: Some(1_000_000) };
        assert!(!wall.note(1_009_000) && wall.note(1_010_001) && !wall.note(1_010_001));
        assert_eq!(wall.reading(Micros(5)), WallReading { unix_us: 1_010_006, at: Micros(5) });
    }
}
