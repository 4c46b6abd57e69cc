//! What is recorded of a call, and what is taken out of it before it is written down (`F-073`, `F-153`, `NF-014`).
//!
//! A pipeline may ask for less than its level allows, and never for more: each rule is the strictest of what the spec
//! says and what the class of data asks for at the level that is in force, which under pressure is lower than the declared one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_class::DataClass;

/// How much of a call is recorded. What a turn needs as evidence is kept at every level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RecordingLevel {
    /// Control and decisions; of payloads, digests.
    #[default]
    L0,
    /// Samples of partial results and of audio, too.
    L1,
    /// Everything.
    L2,
}

impl RecordingLevel {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            RecordingLevel::L0 => "L0",
            RecordingLevel::L1 => "L1",
            RecordingLevel::L2 => "L2",
        }
    }
}

/// What is done to a payload before it is kept or shown, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Redaction {
    /// Nothing.
    Allow,
    /// It keeps its kind and its length, and says nothing.
    Mask,
    /// A stand-in takes its place, the same for the same value within a session.
    Tokenize,
    /// Its digest takes its place.
    Hash,
    /// It is left out.
    Drop,
}

impl Redaction {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Redaction::Allow => "allow",
            Redaction::Mask => "mask",
            Redaction::Tokenize => "tokenize",
            Redaction::Hash => "hash",
            Redaction::Drop => "drop",
        }
    }

    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Mask, Self::Tokenize, Self::Hash, Self::Drop];
}

/// Where a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sink {
    /// Into the recording, at the level that is in force.
    Timeline(RecordingLevel),
    /// Into logs, metrics and traces.
    Telemetry,
    /// Into the answer to somebody who asks for a replay.
    Replay,
}

impl Sink {
    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Sink::Timeline(_) => "timeline",
            Sink::Telemetry => "telemetry",
            Sink::Replay => "replay",
        }
    }

    /// What may at least be asked of a class here; anything milder is refused.
    pub const fn least(self, class: DataClass) -> Redaction {
        use DataClass::{AudioRaw, DerivedSummary, Metadata, Phi, Pii, TextRaw};
        use RecordingLevel::{L0, L1, L2};
        match (self, class) {
            (_, DerivedSummary | Metadata) | (Sink::Timeline(L2) | Sink::Replay, AudioRaw | TextRaw) => {
                Redaction::Allow
            }
            (Sink::Timeline(L0), AudioRaw) | (Sink::Telemetry, AudioRaw | Phi) => Redaction::Drop,
            (Sink::Timeline(L1), AudioRaw | TextRaw) | (Sink::Telemetry, TextRaw) | (Sink::Replay, Pii | Phi) => {
                Redaction::Mask
            }
            (Sink::Timeline(L0), TextRaw) | (Sink::Timeline(_), Pii | Phi) => Redaction::Hash,
            (Sink::Telemetry, Pii) => Redaction::Tokenize,
        }
    }

    /// What is done to a class here unless the spec says otherwise.
    pub const fn default_of(self, class: DataClass) -> Redaction {
        match (self, class) {
            (Sink::Timeline(RecordingLevel::L1), DataClass::AudioRaw) => Redaction::Hash,
            (Sink::Timeline(_), DataClass::Phi)
            | (Sink::Telemetry, DataClass::Pii)
            | (Sink::Replay, DataClass::AudioRaw) => Redaction::Drop,
            (Sink::Replay, DataClass::TextRaw) => Redaction::Mask,
            _ => self.least(class),
        }
    }
}

/// What is said of one class of data. What is not said is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassRedaction {
    /// In the recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Redaction>,
    /// In logs, metrics and traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Redaction>,
    /// In the answer to somebody who asks for a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Redaction>,
}

impl ClassRedaction {
    /// What is said for a sink.
    pub const fn of(&self, sink: Sink) -> Option<Redaction> {
        match sink {
            Sink::Timeline(_) => self.timeline,
            Sink::Telemetry => self.telemetry,
            Sink::Replay => self.replay,
        }
    }
}

/// Which share is kept, where not everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingSample {
    /// So many of a hundred sessions are recorded at the declared level, the others at L0.
    pub sessions_percent: u32,
    /// At L1, one of so many partial results is kept. Finals are no partial results.
    pub partials_every: u32,
    /// At L1, one of so many frames of audio is kept.
    pub audio_every: u32,
}

impl Default for RecordingSample {
    fn default() -> Self {
        Self { sessions_percent: 100, partials_every: 4, audio_every: 50 }
    }
}

/// What is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingPolicy {
    /// How much.
    pub level: RecordingLevel,
    /// Which share.
    pub sample: RecordingSample,
    /// What is done to each class of data, where the spec says so.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redaction: BTreeMap<DataClass, ClassRedaction>,
}

impl RecordingPolicy {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The level at which a session of this name is recorded: the declared one, if it is of the share that is recorded
    /// so. The same name has the same luck everywhere, so that no chance has to be recorded.
    pub fn level_of(&self, session: &str) -> RecordingLevel {
        let luck = blake3::hash(session.as_bytes()).as_bytes()[0..4]
            .iter()
            .fold(0_u32, |luck, byte| luck << 8 | u32::from(*byte));
        if luck % 100 < self.sample.sessions_percent { self.level } else { RecordingLevel::L0 }
    }

    /// What is done to a class of data that goes somewhere: the strictest of what the spec says and what the class asks
    /// for there.
    ///
    /// ```
    /// use rspp_specs::data_class::DataClass::{AudioRaw, TextRaw};
    /// use rspp_specs::plan::{RecordingLevel::{L0, L2}, RecordingPolicy, Redaction, Sink};
    ///
    /// let policy = RecordingPolicy { level: L2, ..RecordingPolicy::default() };
    /// assert_eq!(policy.redaction(TextRaw, Sink::Timeline(L2)), Redaction::Allow);
    /// // Under pressure less is kept, whatever was declared.
    /// assert_eq!(policy.redaction(TextRaw, Sink::Timeline(L0)), Redaction::Hash);
    /// assert_eq!(policy.redaction(AudioRaw, Sink::Telemetry), Redaction::Drop);
    /// ```
    pub fn redaction(&self, class: DataClass, sink: Sink) -> Redaction {
        let said = self.redaction.get(&class).and_then(|said| said.of(sink));
        said.map_or(sink.default_of(class), |said| said.max(sink.least(class)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_never_milder_than_what_is_asked_for_and_more_is_kept_at_higher_levels() {
        use RecordingLevel::{L0, L1, L2};
        for class in DataClass::ALL {
            for sink in [Sink::Timeline(L0), Sink::Timeline(L1), Sink::Timeline(L2), Sink::Telemetry, Sink::Replay] {
                assert!(sink.default_of(class) >= sink.least(class), "{class:?} {sink:?}");
            }
            let at = |level| Sink::Timeline(level).default_of(class);
            assert!(at(L0) >= at(L1) && at(L1) >= at(L2), "{class:?}");
        }
    }

    #[test]
    fn so_many_sessions_of_a_hundred_are_recorded_at_the_declared_level_and_always_the_same_ones() {
        let sample = RecordingSample { sessions_percent: 10, ..RecordingSample::default() };
        let policy = RecordingPolicy { level: RecordingLevel::L2, sample, ..RecordingPolicy::default() };
        let kept = || (0..1_000).filter(|n| policy.level_of(&format!("call-{n}")) == RecordingLevel::L2);
        assert!((70..130).contains(&kept().count()), "{}", kept().count());
        assert!(kept().eq(kept()));
    }

    #[test]
    fn a_spec_may_ask_for_more_redaction_and_not_for_less() {
        let said = |timeline| ClassRedaction { timeline: Some(timeline), ..ClassRedaction::default() };
        let of = |redaction| RecordingPolicy {
            level: RecordingLevel::L2,
            redaction: BTreeMap::from([(DataClass::TextRaw, said(redaction))]),
            ..RecordingPolicy::default()
        };
        let (stricter, milder) = (of(Redaction::Drop), of(Redaction::Allow));
        for level in [RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2] {
            assert_eq!(stricter.redaction(DataClass::TextRaw, Sink::Timeline(level)), Redaction::Drop);
        }
        assert_eq!(milder.redaction(DataClass::TextRaw, Sink::Timeline(RecordingLevel::L1)), Redaction::Mask);
        assert_eq!(milder.redaction(DataClass::TextRaw, Sink::Timeline(RecordingLevel::L2)), Redaction::Allow);
    }
}
