//! The table of built-in node types (`F-010`): for each its fields, which are a type, its ports, and what it becomes in
//! a plan. A new one is a document here and a row in [`TYPES`], a variant of
//! [`NodeKind`] and an arm in the lowering; its reference and its JSON Schema follow from it.

use rspp_specs::event::PortType;
use rspp_specs::limits::{FRAME_MS, MAX_PLAYOUT_MS};
use rspp_specs::plan::{
    Detector, FilterParams, NodeKind, PlayoutParams, SegmenterParams, ToolSpec, UtteranceParams, VadParams,
};
use rspp_specs::port::{AudioEncoding, AudioFormat, Finality, Only};
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

    /// What more than its type it says of what a port carries; it is in the plan.
    fn says(&self, _port: &str, _is_output: bool) -> Option<Only> {
        None
    }

    /// The same, where it follows from what the node is and need not be said.
    fn implies(&self, _is_output: bool) -> Option<Only> {
        None
    }

    /// What it asks of its provider.
    fn provider(&self) -> Option<&ProviderDocument> {
        None
    }
}

/// The only form that this detector was made for.
const EARSHOT_FORM: AudioFormat = AudioFormat { encoding: AudioEncoding::Pcm16, rate_hz: 16_000 };

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
    /// Outputs that a node has only where an edge begins at them.
    pub(crate) more: Ports,
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
        Self { name, inputs, outputs, more: &[], grows: None, once: false, shape, fill, read }
    }

    const fn growing(self, of: PortType) -> Self {
        Self { grows: Some(of), ..self }
    }

    const fn with_more(self, more: Ports) -> Self {
        Self { more, ..self }
    }

    const fn once(self) -> Self {
        Self { once: true, ..self }
    }
}

/// The table.
pub(crate) const TYPES: [NodeRow; 16] = {
    use PortType::{Any, Audio, Control, Speech, Text, ToolCall, Transcript};
    [
        NodeRow::of::<Caller>("caller", &[], &[("audio", Audio)]).once(),
        NodeRow::of::<UserTurn>("user_turn", &[], &[("text", Text)]).once(),
        NodeRow::of::<Vad>("vad", &[("audio", Audio)], &[("speech", Speech)]),
        NodeRow::of::<Stt>("stt", &[("audio", Audio), ("speech", Speech)], &[("transcripts", Transcript)])
            .with_more(&[("partials", Transcript), ("finals", Transcript)]),
        NodeRow::of::<Utterance>("utterance", &[("speech", Speech), ("transcripts", Transcript)], &[]).once(),
        NodeRow::of::<Llm>("llm", &[("text", Text)], &[("text", Text)]).with_more(&[("tool_calls", ToolCall)]),
        NodeRow::of::<Segmenter>("segmenter", &[("text", Text)], &[("text", Text)]),
        NodeRow::of::<Tts>("tts", &[("text", Text)], &[("audio", Audio)]),
        NodeRow::of::<Resample>("resample", &[("audio", Audio)], &[("audio", Audio)]),
        NodeRow::of::<Playout>("playout", &[("audio", Audio)], &[]).with_more(&[("control", Control)]).once(),
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
    /// What the caller said enters here, once its turn is open.
    UserTurn
}
plain! {
    /// Passes on what most of its recognisers heard: of each utterance, the words that most of them have, then those of
    /// the recogniser whose edge is written first.
    Vote
}

/// The caller's audio enters here: as 16 bits at 16 kHz, whatever is on the wire.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caller {}

impl NodeDocument for Caller {
    fn kind(&self) -> NodeKind {
        NodeKind::Caller
    }

    fn implies(&self, is_output: bool) -> Option<Only> {
        is_output.then(|| Only::Audio(vec![AudioFormat::CALLER]))
    }
}

/// One form of audio, or several.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Forms {
    /// One.
    One(AudioFormat),
    /// Any of these.
    Several(Vec<AudioFormat>),
}

impl Forms {
    fn only(&self) -> Option<Only> {
        match self {
            Forms::One(form) => Some(Only::Audio(vec![*form])),
            // That it is empty is told.
            Forms::Several(forms) => (!forms.is_empty()).then(|| Only::Audio(forms.clone())),
        }
    }
}

/// Reports a list of forms that has none.
fn check_forms(findings: &mut NodeFindings<'_, '_>, forms: Option<&Forms>) {
    if let Some(Forms::Several(forms)) = forms
        && forms.is_empty()
    {
        let message = "no form of audio is among none".to_owned();
        findings.out_of_bounds(
            "audio",
            message,
            "write `audio: {rate_hz: 16000}`, or leave it out: then any form fits",
        );
    }
}

/// Brings audio into another form, with the same samples on every machine, in frames of 20 ms.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resample {
    /// Samples a second of what it gives: a multiple of 50.
    #[schemars(range(min = 8_000, max = 48_000))]
    rate_hz: u32,
    /// On which scale the samples of what it gives stand.
    #[serde(default)]
    encoding: AudioEncoding,
}

impl Resample {
    fn form(&self) -> AudioFormat {
        AudioFormat { encoding: self.encoding, rate_hz: self.rate_hz }
    }
}

impl NodeDocument for Resample {
    fn kind(&self) -> NodeKind {
        NodeKind::Resample(self.form())
    }

    fn says(&self, _port: &str, is_output: bool) -> Option<Only> {
        is_output.then(|| Only::Audio(vec![self.form()]))
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        if findings.each_is_right && !(u64::from(self.rate_hz) * FRAME_MS).is_multiple_of(1_000) {
            let message = format!("20 ms are no whole number of samples at {} Hz", self.rate_hz);
            findings.out_of_bounds("rate_hz", message, "take a multiple of 50: 8000, 16000, 24000, 44100, 48000");
        }
    }
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

    fn implies(&self, is_output: bool) -> Option<Only> {
        let takes_one = !is_output && self.detector == Detector::Earshot;
        takes_one.then(|| Only::Audio(vec![EARSHOT_FORM]))
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
    /// Which form of audio its provider takes, or a list of them; without it, any.
    audio: Option<Forms>,
}

impl Default for Stt {
    fn default() -> Self {
        Self { bind: None, provider: None, preroll_ms: 300, audio: None }
    }
}

impl NodeDocument for Stt {
    fn kind(&self) -> NodeKind {
        let binding = self.bind.clone().unwrap_or_default();
        NodeKind::Stt { binding, preroll: Micros::from_ms(self.preroll_ms) }
    }

    fn says(&self, port: &str, _is_output: bool) -> Option<Only> {
        match port {
            "audio" => self.audio.as_ref().and_then(Forms::only),
            "partials" => Some(Only::Finality(Finality::Partial)),
            "finals" => Some(Only::Finality(Finality::Final)),
            _ => None,
        }
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        findings.provider(self.bind.as_deref(), self.provider.as_ref(), None);
        check_forms(findings, self.audio.as_ref());
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
    /// Which form of audio its provider gives, or a list of them; without it, it may be any.
    audio: Option<Forms>,
}

impl NodeDocument for Tts {
    fn kind(&self) -> NodeKind {
        NodeKind::Tts { binding: self.bind.clone().unwrap_or_default() }
    }

    fn says(&self, port: &str, _is_output: bool) -> Option<Only> {
        self.audio.as_ref().filter(|_| port == "audio").and_then(Forms::only)
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        findings.provider(self.bind.as_deref(), self.provider.as_ref(), None);
        check_forms(findings, self.audio.as_ref());
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
    /// Which form of audio the transport takes, or a list of them; without it, any.
    audio: Option<Forms>,
}

impl Default for Playout {
    fn default() -> Self {
        Self { lookahead_ms: PlayoutParams::default().lookahead.as_ms(), max_queued_ms: MAX_PLAYOUT_MS, audio: None }
    }
}

impl NodeDocument for Playout {
    fn kind(&self) -> NodeKind {
        let (lookahead, max_queued) = (Micros::from_ms(self.lookahead_ms), Micros::from_ms(self.max_queued_ms));
        NodeKind::Playout(PlayoutParams { lookahead, max_queued })
    }

    fn says(&self, port: &str, _is_output: bool) -> Option<Only> {
        self.audio.as_ref().filter(|_| port == "audio").and_then(Forms::only)
    }

    fn check(&self, findings: &mut NodeFindings<'_, '_>) {
        check_forms(findings, self.audio.as_ref());
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
