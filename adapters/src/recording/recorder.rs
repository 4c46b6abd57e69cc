//! What stands between a session's timeline and its recording: the level, the redaction, the evidence.

use rspp_specs::plan::RecordingLevel;
use rspp_specs::recording::Redacted;
use rspp_specs::timeline::{Entry, Input, Record, SessionOpen, Signal};
use rspp_specs::wire::number_of_level;

use super::evidence::Evidence;
use super::redactor::{Redactor, with};
use super::{RecordingHead, TurnEvidence, head};

/// One session's recorder.
#[derive(Debug)]
pub struct Recorder {
    redactor: Redactor,
    evidence: Evidence,
    /// With what the session may go on, if the core takes it.
    renewed: Option<Box<SessionOpen>>,
}

/// What is written for a record.
#[derive(Debug)]
pub struct Recorded {
    /// What stands in the record's place, where something was taken out of it.
    pub instead: Option<(Box<Record>, Redacted)>,
    /// What is kept of a turn that the record closes.
    pub evidence: Option<TurnEvidence>,
}

impl Recorder {
    /// Of a session that begins so.
    pub fn new(open: &SessionOpen) -> Self {
        let policy = open.plan.recording().clone();
        let redactor = Redactor::new(&open.session, policy, open.recording_level());
        Self { redactor, evidence: Evidence::new(open), renewed: None }
    }

    /// The head of its recording.
    pub fn head(open: &SessionOpen) -> RecordingHead {
        let level = Some(number_of_level(open.recording_level()));
        RecordingHead { level, ..head(&open.session, &open.plan, open.epoch.0) }
    }

    /// The level now.
    pub fn level(&self) -> RecordingLevel {
        self.redactor.level()
    }

    /// Takes the next record of the timeline.
    pub fn take(&mut self, record: &Record) -> Recorded {
        self.note(&record.entry);
        let evidence = self.evidence.take(record, self.redactor.level());
        let instead = self.redactor.redact(&record.entry);
        Recorded { instead: instead.map(|(entry, redacted)| (Box::new(with(record, entry)), redacted)), evidence }
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Signal(_, Signal::RecordingLevel { level, .. }) => self.redactor.set_level(*level),
            Entry::Input(_, Input::SessionOpen(open)) => self.renewed = Some(open.clone()),
            Entry::Signal(_, Signal::SessionReady) => {
                if let Some(open) = self.renewed.take() {
                    self.redactor.go_by(open.plan.recording().clone(), open.recording_level());
                    self.evidence.go_by(&open);
                }
            }
            _ => {}
        }
    }

    /// As [`Self::take`], when there is room for evidence alone.
    pub fn take_evidence(&mut self, record: &Record) -> Option<TurnEvidence> {
        let evidence = self.evidence.take(record, self.redactor.level())?;
        Some(TurnEvidence { incomplete: true, ..evidence })
    }
}
