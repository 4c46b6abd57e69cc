//! What the recorder tells the core, and what it took out of an event before it was written (`F-073`, `F-176`).

use serde::{Deserialize, Serialize};

use crate::plan::{RecordingLevel, Redaction};

/// What was done to an event before it was written. Its shape is kept: audio has as many samples, all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// What was done.
    pub how: Redaction,
    /// Of audio that was hashed.
    pub digest: Option<[u8; 16]>,
}

/// How the recorder fares, as it is measured outside, and what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecorderReport {
    /// It keeps up: the level may rise again, step by step, when turns begin.
    Relaxed,
    /// It hardly keeps up: L2 falls to L1.
    Strained,
    /// It does not keep up: the level falls by one.
    Overloaded,
    /// There is no room even for what is kept of every turn.
    NoEvidence,
    /// Somebody wants this level from now on: a closer look at one session (`F-076`), or less.
    Asked(RecordingLevel),
}

/// Why a session is recorded at another level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelCause {
    /// The recorder does not keep up.
    Pressure,
    /// It keeps up again.
    Relief,
    /// Somebody wants it.
    Asked,
}

/// The level above, and none is skipped.
pub const fn higher(level: RecordingLevel) -> RecordingLevel {
    match level {
        RecordingLevel::L0 => RecordingLevel::L1,
        RecordingLevel::L1 | RecordingLevel::L2 => RecordingLevel::L2,
    }
}

/// The level below, and none is skipped.
pub const fn lower(level: RecordingLevel) -> RecordingLevel {
    match level {
        RecordingLevel::L2 => RecordingLevel::L1,
        RecordingLevel::L1 | RecordingLevel::L0 => RecordingLevel::L0,
    }
}
