//! At which level the session is recorded, and what follows when its evidence can't be kept (`F-153`, `F-176`).
//!
//! How the recorder fares is measured outside and enters as an input; what follows is decided here, so that a replay
//! decides the same: the level falls by one step for each report of pressure, and rises by one when a turn begins. Each
//! change is said, and what the session's recorder does from that record on follows from it.

use rspp_specs::ids::RuntimeSequence;
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::plan::RecordingLevel;
use rspp_specs::recording::{LevelCause, RecorderReport, higher, lower};
use rspp_specs::timeline::Signal;

use crate::session::{Desk, Session};

/// How the session is recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recording {
    level: RecordingLevel,
    /// The level that it rises to when nothing is in the way.
    wanted: RecordingLevel,
    is_strained: bool,
    /// There is no room for what is kept of every turn.
    pub(crate) lacks_evidence: bool,
}

impl Recording {
    pub(crate) fn new(level: RecordingLevel) -> Self {
        Self { level, wanted: level, is_strained: false, lacks_evidence: false }
    }
}

impl Session {
    pub(crate) fn on_recorder(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, report: RecorderReport) {
        let recording = &mut self.recording;
        if let RecorderReport::Asked(level) = report {
            recording.wanted = level;
            self.follow_wish(desk);
            return;
        }
        recording.is_strained = report != RecorderReport::Relaxed;
        recording.lacks_evidence = report == RecorderReport::NoEvidence;
        let level = recording.level;
        match report {
            RecorderReport::Strained if level == RecordingLevel::L2 => {
                self.record_at(desk, lower(level), LevelCause::Pressure);
            }
            RecorderReport::Overloaded if level > RecordingLevel::L0 => {
                self.record_at(desk, lower(level), LevelCause::Pressure);
            }
            RecorderReport::NoEvidence if self.turn.is_some() => {
                self.note_end(AbortReason::RecordingEvidenceUnavailable, CancelReason::Policy, cause);
            }
            _ => {}
        }
    }

    /// Less is recorded at once; more from the next turn on, or now if there is none.
    fn follow_wish(&mut self, desk: &mut Desk<'_>) {
        while self.recording.level > self.recording.wanted {
            self.record_at(desk, lower(self.recording.level), LevelCause::Asked);
        }
        if self.turn.is_some() || self.recording.is_strained {
            return;
        }
        while self.recording.level < self.recording.wanted {
            self.record_at(desk, higher(self.recording.level), LevelCause::Asked);
        }
    }

    /// A turn begins: one step back up, if the recorder keeps up.
    pub(crate) fn record_more(&mut self, desk: &mut Desk<'_>) {
        let Recording { level, wanted, is_strained, .. } = self.recording;
        if level < wanted && !is_strained {
            self.record_at(desk, higher(level), LevelCause::Relief);
        }
    }

    fn record_at(&mut self, desk: &mut Desk<'_>, level: RecordingLevel, cause: LevelCause) {
        self.recording.level = level;
        self.say(desk, Signal::RecordingLevel { level, cause });
    }
}
