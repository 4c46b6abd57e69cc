//! Time is data: monotonic time, media time, and the packed timestamp of a sub-tick.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Microseconds since the session's clock began: monotonic, or virtual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// A time of so many milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// How long after `earlier` this is, or zero.
    pub const fn since(self, earlier: Micros) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }

    /// How long `samples` take at `rate_hz`.
    pub const fn of_samples(samples: u64, rate_hz: u32) -> Self {
        Self(samples * 1_000_000 / rate_hz as u64)
    }

    /// How many whole samples of `rate_hz` fit.
    pub const fn to_samples(self, rate_hz: u32) -> u64 {
        self.0 * rate_hz as u64 / 1_000_000
    }
}

impl Add for Micros {
    type Output = Micros;

    fn add(self, other: Micros) -> Micros {
        Micros(self.0 + other.0)
    }
}

impl Sub for Micros {
    type Output = Micros;

    fn sub(self, other: Micros) -> Micros {
        Micros(self.0 - other.0)
    }
}

/// Milliseconds, with up to three decimals where they are not whole: `1520`, `20.5`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, rest) = (self.0 / 1_000, self.0 % 1_000);
        if rest == 0 {
            return write!(f, "{ms}");
        }
        let decimals = format!("{rest:03}");
        write!(f, "{ms}.{}", decimals.trim_end_matches('0'))
    }
}

/// A clock beside the session's own (`NF-018`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The one on the wall: it can be set, forward and back.
    Wall,
    /// The caller's audio, which runs by the clock of the device that recorded it, and stands still where nothing comes.
    Media,
}

/// A reading of the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallReading {
    /// Microseconds since 1970.
    pub unix_us: u64,
    /// When it was read, in session time.
    pub at: Micros,
}

/// By how much a clock differs from what was thought, in microseconds: positive where it is ahead of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Skew(pub i64);

/// Milliseconds with a sign: `-120`, `20.5`.
impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", Micros(self.0.unsigned_abs()))
    }
}

/// What may overtake what: control before data, always (`F-142`).
///
/// Telemetry does not step through the dataflow, so that it can never slow the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Never blocked and never dropped.
    Control,
    /// Bounded, and shed by declared rules.
    Data,
    /// Best effort.
    Telemetry,
}

impl Lane {
    /// `C`, `D` or `T`.
    pub const fn letter(self) -> char {
        match self {
            Lane::Control => 'C',
            Lane::Data => 'D',
            Lane::Telemetry => 'T',
        }
    }
}

/// A step of a dataflow's time, as timely orders it. A tick with control takes two, control and then data; a tick without
/// takes one. The order is total, so a frontier is one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubTick(u64);

impl SubTick {
    /// The step behind this one: after a tick's control, its data.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Back from timely's timestamp.
    pub const fn unpack(packed: u64) -> Self {
        Self(packed)
    }

    /// As timely's timestamp.
    pub const fn pack(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_show_only_the_decimals_they_need() {
        let shown: Vec<String> = [0, 1_520_000, 20_500, 1].iter().map(|us| Micros(*us).to_string()).collect();
        assert_eq!(shown, ["0", "1520", "20.5", "0.001"]);
    }
}
