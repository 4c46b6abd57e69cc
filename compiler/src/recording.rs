//! What a spec says of its recording: how much is kept, which share, and what is taken out (`F-073`, `F-153`).

use std::collections::BTreeMap;

use rspp_specs::data_class::DataClass;
use rspp_specs::plan::{ClassRedaction, RecordingLevel, RecordingPolicy, RecordingSample, Redaction, Sink};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Collector, Place};
use crate::shape::Shape;
use crate::template::Draft;

/// What is recorded.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RecordingDocument {
    /// How much of a call is recorded.
    level: RecordingLevel,
    /// Which share is kept, where not everything is.
    sample: SampleDocument,
}

/// Which share is kept.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct SampleDocument {
    /// So many of a hundred sessions are recorded at this level, the others at L0.
    #[schemars(range(max = 100))]
    sessions_percent: u32,
    /// At L1, one of so many partial results is kept.
    #[schemars(range(min = 1, max = 1_000))]
    partials_every: u32,
    /// At L1, one of so many frames of audio is kept.
    #[schemars(range(min = 1, max = 100_000))]
    audio_every: u32,
}

impl Default for SampleDocument {
    fn default() -> Self {
        let RecordingSample { sessions_percent, partials_every, audio_every } = RecordingSample::default();
        Self { sessions_percent, partials_every, audio_every }
    }
}

/// What is done to each class of data before it is written down or shown. Never less than the class asks for.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedactionDocument {
    /// Voices.
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_raw: Option<ClassDocument>,
    /// What somebody said or was told, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_raw: Option<ClassDocument>,
    /// What identifies somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pii: Option<ClassDocument>,
    /// Of somebody's health.
    #[serde(skip_serializing_if = "Option::is_none")]
    phi: Option<ClassDocument>,
    /// Made from the above, without quoting it.
    #[serde(skip_serializing_if = "Option::is_none")]
    derived_summary: Option<ClassDocument>,
    /// Nothing that a person said.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<ClassDocument>,
}

/// One action for the recording, or one for each place where such data may go.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ClassDocument {
    /// In the recording.
    Timeline(Redaction),
    /// One for each place.
    Each(EachDocument),
}

/// One action for each place where data may go.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EachDocument {
    /// In the recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeline: Option<Redaction>,
    /// In logs, metrics and traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    telemetry: Option<Redaction>,
    /// In the answer to somebody who asks for a replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay: Option<Redaction>,
}

impl ClassDocument {
    fn policy(self) -> ClassRedaction {
        match self {
            ClassDocument::Timeline(timeline) => {
                ClassRedaction { timeline: Some(timeline), ..ClassRedaction::default() }
            }
            ClassDocument::Each(EachDocument { timeline, telemetry, replay }) => {
                ClassRedaction { timeline, telemetry, replay }
            }
        }
    }
}

impl RedactionDocument {
    fn policy(&self) -> BTreeMap<DataClass, ClassRedaction> {
        let Self { audio_raw, text_raw, pii, phi, derived_summary, metadata } = self;
        let said = [audio_raw, text_raw, pii, phi, derived_summary, metadata];
        let each = DataClass::ALL.into_iter().zip(said);
        each.filter_map(|(class, said)| Some((class, (*said)?.policy()))).collect()
    }
}

/// Reads what a draft says of its recording; reports what is milder than the level and the class allow.
pub(crate) fn read(findings: &mut Collector<'_>, draft: &Draft) -> RecordingPolicy {
    let recording = draft.head.get("recording").and_then(|tree| {
        Shape::of::<RecordingDocument>("recording").read::<RecordingDocument>(findings, "recording", tree)
    });
    let redaction = draft.head.get("redaction").and_then(|tree| {
        Shape::of::<RedactionDocument>("redaction").read::<RedactionDocument>(findings, "redaction", tree)
    });
    let RecordingDocument { level, sample } = recording.unwrap_or_default();
    let SampleDocument { sessions_percent, partials_every, audio_every } = sample;
    let sample = RecordingSample { sessions_percent, partials_every, audio_every };
    let redaction = redaction.map(|said| said.policy()).unwrap_or_default();
    for (class, said) in &redaction {
        for sink in [Sink::Timeline(level), Sink::Telemetry, Sink::Replay] {
            if let Some(said) = said.of(sink).filter(|said| *said < sink.least(*class)) {
                too_mild(findings, *class, sink, said);
            }
        }
    }
    RecordingPolicy { level, sample, redaction }
}

fn too_mild(findings: &mut Collector<'_>, class: DataClass, sink: Sink, said: Redaction) {
    let each = format!("redaction.{}.{}", class.name(), sink.name());
    let path = if findings.has(&each) { each } else { format!("redaction.{}", class.name()) };
    let least = sink.least(class);
    let (place, higher) = match sink {
        Sink::Timeline(level) => {
            let milder = [RecordingLevel::L1, RecordingLevel::L2]
                .into_iter()
                .find(|higher| *higher > level && Sink::Timeline(*higher).least(class) <= said);
            let higher =
                milder.map_or_else(String::new, |level| format!(", or `recording: {{level: {}}}`", level.name()));
            (format!("a recording at {}", level.name()), higher)
        }
        Sink::Telemetry => ("telemetry".to_owned(), String::new()),
        Sink::Replay => ("a replay's answer".to_owned(), String::new()),
    };
    let allowed: Vec<&str> = Redaction::ALL.into_iter().filter(|it| *it >= least).map(Redaction::name).collect();
    let message =
        format!("{} is `{}` in {place}, which asks for `{}` at least", class.name(), said.name(), least.name());
    findings.report(
        "RSPP0066",
        Place::default(),
        path,
        message,
        format!("write one of {}{higher}", allowed.join(", ")),
    );
}
