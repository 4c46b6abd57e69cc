//! The table of built-in node types (`F-010`): for each its fields, which are a type, its ports, and what it becomes in
//! a plan. A new one is a document here and a row in [`TYPES`], a variant of
//! [`NodeKind`] and an arm in the lowering; its reference and its JSON Schema follow from it.

use rspp_specs::event::PortType;
use rspp_specs::limits::MAX_PLAYOUT_MS;
use rspp_specs::plan::{
    Detector, FilterParams, NodeKind, PlayoutParams, SegmenterParams, ToolSpec, UtteranceParams, VadParams,
};
use rspp_specs::time::Micros;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fan_in::{Fallback, Join, Merge, Select};
use crate::policy::ProviderDocument;
use crate::providers::NodeFindings;
use crate::shape::Shape;

/// A built-in node as its document says it.
pub(crate) trait NodeDocument {
    /// What it is in a plan.
    fn kind(&self) -> NodeKind;

    /// Reports what its schema can't say.
    fn check(&self, _findings: &mut NodeFindings<'_, '_>) {}

    /// What it asks of its provider.
    fn provider(&self) -> Option<&ProviderDocument> {
        None
    }
}

/// Ports by their names.
pub(crate) type Ports = &'static [(&'static str, PortType)];

/// A built-in type of node.
pub(crate) struct NodeRow {
    /// The type's name in specs.
    pub(crate) name: &'static str,
    /// Its input ports.
    pub(crate) inputs: Ports,
    /// Its output ports.
    pub(crate) outputs: Ports,
    /// What it takes at an input for each edge, for types whose inputs grow with their edges.
    pub(crate) grows: Option<PortType>,
    /// Whether a session has one at most.
    pub(crate) once: bool,
    /// The fields' schema.
    pub(crate) shape: fn() -> Shape,
    /// All fields, with defaults for those that are not given.
    pub(crate) fill: fn(Value) -> Result<Value, serde_json::Error>,
    /// Reads the fields, which have the shape.
    pub(crate) read: fn(Value) -> Result<Box<dyn NodeDocument>, serde_json::Error>,
}

impl NodeRow {
    const fn of<T: NodeDocument + Serialize + DeserializeOwned + JsonSchema + 'static>(
        name: &'static str,
        inputs: Ports,
        outputs: Ports,
    ) -> Self {
        let read = |value| serde_json::from_value::<T>(value).map(|read| Box::new(read) as Box<dyn NodeDocument>);
        let fill = |value| serde_json::to_value(serde_json::from_value::<T>(value)?);
        let shape = || Shape::with_unknown::<T>("", "RSPP0008");
        Self { name, inputs, outputs, grows: None, once: false, shape, fill, read }
    }

    const fn growing(self, of: PortType) -> Self {
        Self { grows: Some(of), ..self }
    }

    const fn once(self) -> Self {
        Self { once: true, ..self }
    }
}

/// The table.
pub(crate) const TYPES: [NodeRow; 15] = {
    use PortType::{Any, Audio, Speech, Text, Transcript};
    [
        NodeRow::of::<Caller>("caller", &[], &[("audio", Audio)]).once(),
        NodeRow::of::<UserTurn>("user_turn", &[], &[("text", Text)]).once(),
        NodeRow::of::<Vad>("vad", &[("audio", Audio)], &[("speech", Speech)]),
        NodeRow::of::<Stt>("stt", &[("audio", Audio), ("speech", Speech)], &[("transcripts", Transcript)]),
        NodeRow::of::<Utterance>("utterance", &[("speech", Speech), ("transcripts", Transcript)], &[]).once(),
        NodeRow::of::<Llm>("llm", &[("text", Text)], &[("text", Text)]),
        NodeRow::of::<Segmenter>("segmenter", &[("text", Text)], &[("text", Text)]),
        NodeRow::of::<Tts>("tts", &[("text", Text)], &[("audio", Audio)]),
        NodeRow::of::<Playout>("playout", &[("audio", Audio)], &[]).once(),
        NodeRow::of::<Filter>("filter", &[("text", Text)], &[("text", Text)]),
        NodeRow::of::<Vote>("vote", &[], &[("transcripts", Transcript)]).growing(Transcript),
        NodeRow::of::<Merge>("merge", &[], &[("out", Any)]).growing(Any),
        NodeRow::of::<Join>("join", &[], &[("out", Any)]).growing(Any),
        NodeRow::of::<Select>("select", &[], &[("out", Any)]).growing(Any),
        NodeRow::of::<Fallback>("fallback", &[("first", Any), ("second", Any)], &[("out", Any)]),
    ]
};

/// The row of a type.
pub(crate) fn row(name: &str) -> Option<&'static NodeRow> {
    static ROWS: [NodeRow; TYPES.len()] = TYPES;
    ROWS.iter().find(|row| row.name == name)
}

/// A type without fields.
macro_rules! plain {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {}

        impl NodeDocument for $name {
            fn kind(&self) -> NodeKind {
                NodeKind::$name
            }
        }
    };
}

plain! {
    /// The caller's audio enters here.
    Caller
}
plain! {
    /// What the caller said enters here, once its turn is open.
    UserTurn
}
plain! {
    /// Passes on what most of its recognisers heard: of each utterance, the words that most of them have, then those of
    /// the recogniser whose edge is written first.
    Vote
}

/// Finds the caller's speech and its end.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vad {
    /// What judges a frame.
    detector: Detector,
    /// A frame of at least this probability is speech, before the onset.
    #[schemars(range(min = 0.0, max = 1.0))]
    onset_probability: f64,
    /// So many such frames of 20 ms in a row are an onset.
    #[schemars(range(min = 1, max = 50))]
    onset_frames: u32,
    /// A frame of less than this probability is quiet, after the onset. At most the onset's.
    #[schemars(range(min = 0.0, max = 1.0))]
    release_probability: f64,
    /// So many milliseconds of quiet end the utterance.
    #[schemars(range(max = 3_600_000))]
    hangover_ms: u64,
}

impl Default for Vad {
    fn default() -> Self {
        let VadParams { detector, onset_frames, hangover, .. } = VadParams::default();
        let hangover_ms = hangover.as_ms();
        Self { detector, onset_probability: 0.7, onset_frames, release_probability: 0.35, hangover_ms }
    }
}

impl NodeDocument for Vad {
    fn kind(&self) -> NodeKind {
        NodeKind::Vad(VadParams {
            detector: self.detector,
            onset_probability: self.onset_probability as f32,
            onset_frames: self.onset_frames,
            release_probability: self.release_probability as f32,
            hangover: Micros::from_ms(self.hangover_ms),
            ..VadParams::default()
        })
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        let Self { onset_probability: onset, release_probability: release, .. } = self;
        if findings.each_is_right && release > onset {
            let message = format!("release_probability {release} is above onset_probability {onset}");
            let hint = "speech that has begun ends at a lower probability than it began with";
            findings.out_of_bounds("release_probability", message, hint);
        }
    }
}

/// Recognises each utterance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Stt {
    /// Which provider it calls.
    bind: Option<String>,
    /// What it asks of its provider.
    provider: Option<ProviderDocument>,
    /// So many milliseconds of audio from before the onset are recognised, too.
    #[schemars(range(max = 3_600_000))]
    preroll_ms: u64,
}

impl Default for Stt {
    fn default() -> Self {
        Self { bind: None, provider: None, preroll_ms: 300 }
    }
}

impl NodeDocument for Stt {
    fn kind(&self) -> NodeKind {
        let binding = self.bind.clone().unwrap_or_default();
        NodeKind::Stt { binding, preroll: Micros::from_ms(self.preroll_ms) }
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        findings.provider(self.bind.as_deref(), self.provider.as_ref(), None);
    }

    fn provider(&self) -> Option<&ProviderDocument> {
        self.provider.as_ref()
    }
}

/// Joins the end of the caller's speech with its transcript, and proposes a turn.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Utterance {
    /// Speech that nobody understood opens a turn all the same if it has at least so many milliseconds.
    #[schemars(range(max = 3_600_000))]
    min_rejected_speech_ms: u64,
}

impl Default for Utterance {
    fn default() -> Self {
        Self { min_rejected_speech_ms: 400 }
    }
}

impl NodeDocument for Utterance {
    fn kind(&self) -> NodeKind {
        let min_rejected_speech = Micros::from_ms(self.min_rejected_speech_ms);
        NodeKind::Utterance(UtteranceParams { min_rejected_speech, ..UtteranceParams::default() })
    }
}

/// Answers, and calls tools.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Llm {
    /// Which provider it calls.
    bind: Option<String>,
    /// What it asks of its provider.
    provider: Option<ProviderDocument>,
    /// The tools that the model may call, 64 at most.
    tools: Vec<ToolSpec>,
    /// What the model is told before the conversation, 32 KiB at most.
    prompt: Option<String>,
}

impl NodeDocument for Llm {
    fn kind(&self) -> NodeKind {
        let binding = self.bind.clone().unwrap_or_default();
        NodeKind::Llm { binding, tools: self.tools.clone(), prompt: self.prompt.clone() }
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        let model = "write `http://HOST:PORT/v1#MODEL`";
        findings.provider(self.bind.as_deref(), self.provider.as_ref(), Some(model));
        findings.prompt(self.prompt.as_deref());
        findings.tools(&self.tools);
    }

    fn provider(&self) -> Option<&ProviderDocument> {
        self.provider.as_ref()
    }
}

/// Cuts an answer into speakable sentences.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Segmenter {
    /// Words that have waited so many milliseconds for the end of their sentence are spoken without it.
    #[schemars(range(max = 3_600_000))]
    max_wait_ms: u64,
}

impl Default for Segmenter {
    fn default() -> Self {
        Self { max_wait_ms: SegmenterParams::default().max_wait.as_ms() }
    }
}

impl NodeDocument for Segmenter {
    fn kind(&self) -> NodeKind {
        NodeKind::Segmenter(SegmenterParams { max_wait: Micros::from_ms(self.max_wait_ms) })
    }
}

/// Speaks.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tts {
    /// Which provider it calls.
    bind: Option<String>,
    /// What it asks of its provider.
    provider: Option<ProviderDocument>,
}

impl NodeDocument for Tts {
    fn kind(&self) -> NodeKind {
        NodeKind::Tts { binding: self.bind.clone().unwrap_or_default() }
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        findings.provider(self.bind.as_deref(), self.provider.as_ref(), None);
    }

    fn provider(&self) -> Option<&ProviderDocument> {
        self.provider.as_ref()
    }
}

/// Keeps sentences with certain words from being spoken. It judges what comes in one piece, so put it behind a segmenter.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// Words and phrases, without regard to case and punctuation.
    #[schemars(length(max = 1_000))]
    deny: Vec<String>,
    /// What is said in the place of a sentence with one of them; if empty, nothing.
    instead: String,
}

impl NodeDocument for Filter {
    fn kind(&self) -> NodeKind {
        NodeKind::Filter(FilterParams { deny: self.deny.clone(), instead: self.instead.clone() })
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        if findings.each_is_right && !self.deny.iter().any(|phrase| phrase.chars().any(char::is_alphanumeric)) {
            findings.out_of_bounds(
                "deny",
                "the filter denies nothing".to_owned(),
                "add `deny: [WORD, ...]`, or take it out",
            );
        }
    }
}

/// Hands audio to the transport a little ahead of its time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Playout {
    /// How many milliseconds ahead of its playhead it sends.
    #[schemars(range(max = 3_600_000))]
    lookahead_ms: u64,
    /// How many milliseconds of a turn's audio may wait; what is over is dropped, newest first, with a notice.
    #[schemars(range(max = 3_600_000))]
    max_queued_ms: u64,
}

impl Default for Playout {
    fn default() -> Self {
        Self { lookahead_ms: PlayoutParams::default().lookahead.as_ms(), max_queued_ms: MAX_PLAYOUT_MS }
    }
}

impl NodeDocument for Playout {
    fn kind(&self) -> NodeKind {
        let (lookahead, max_queued) = (Micros::from_ms(self.lookahead_ms), Micros::from_ms(self.max_queued_ms));
        NodeKind::Playout(PlayoutParams { lookahead, max_queued })
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        if findings.each_is_right && self.lookahead_ms > self.max_queued_ms {
            let message = format!("lookahead_ms {} is above max_queued_ms {}", self.lookahead_ms, self.max_queued_ms);
            findings.out_of_bounds(
                "max_queued_ms",
                message,
                "what is sent ahead has waited here before: allow for more",
            );
        }
    }
}
