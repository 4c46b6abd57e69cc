//! The clocks beside the session's own.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// No clock is rebased for less, in milliseconds.
const BOUNDS_MS: [(&str, f64); 2] = [("wall", 20.0), ("media", 60.0)];
/// What shows where each of them stands.
const READINGS: [(&str, &str); 2] = [("wall", "wall_clock"), ("media", "audio")];

/// A clock is rebased where it was read, and where it was further off than it may be.
pub(crate) fn rebased(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("clock_rebased") {
        return;
    }
    let clock = row.text("clock").unwrap_or_default();
    let of = |table: &[(&str, f64)]| table.iter().find(|(name, _)| *name == clock).map(|(_, bound)| *bound);
    let skew = row.word("skew_ms").and_then(|skew| skew.parse::<f64>().ok());
    if of(&BOUNDS_MS).zip(skew).is_none_or(|(bound, skew)| skew.abs() <= bound) {
        out.add(Rule::ClockRebased, row, format!("the {clock} clock was where it may be"));
    }
    let reading = READINGS.iter().find(|(name, _)| *name == clock).map(|(_, reading)| *reading);
    if !scene.tick.before(row).any(|before| before.input().is_some() && before.input() == reading) {
        out.add(Rule::ClockRebased, row, format!("nobody has read the {clock} clock"));
    }
}
