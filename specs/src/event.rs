//! What moves between nodes: small, interned, cheap to clone for a fan-out (`F-020`).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{CallRef, InvocationId, NodeIndex, RuntimeSequence, Scope, Slot, UtteranceId};
use crate::limits::{MAX_FRAME_SAMPLES, MAX_RATE_HZ, MIN_RATE_HZ};
use crate::outcome::Outcome;
use crate::time::Micros;

/// A stretch of mono PCM, 16 bits a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioFrame {
    /// The samples; shared, because frames fan out.
    pub samples: Arc<[i16]>,
    /// Samples a second.
    pub rate_hz: u32,
    /// The speech invocation that made it, stamped where results enter. A node that passes audio on passes
    /// the stamp on: the heard ledger maps what was played back to words by it.
    pub spoken_by: Option<InvocationId>,
}

impl AudioFrame {
    /// Whether its length and its rate are ones that the core takes.
    ///
    /// # Errors
    /// Which limit, for people.
    pub fn check(&self) -> Result<(), &'static str> {
        match (self.samples.len(), self.rate_hz) {
            (0, _) => Err("a frame without samples"),
            (samples, _) if samples > MAX_FRAME_SAMPLES => Err("a frame with more samples than one may have"),
            (_, MIN_RATE_HZ..=MAX_RATE_HZ) => Ok(()),
            _ => Err("a frame with a rate below 8 or above 48 kHz"),
        }
    }

    /// How long it plays.
    pub fn duration(&self) -> Micros {
        Micros::of_samples(self.samples.len() as u64, self.rate_hz)
    }
}

/// A milestone of the caller's speech, as a voice activity detector decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeechEvent {
    /// Which utterance.
    pub utterance: UtteranceId,
    /// What happened.
    pub milestone: SpeechMilestone,
}

/// The milestones of one utterance, in the order in which they can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeechMilestone {
    /// Speech began, or began again after a pause within the same utterance.
    Onset {
        /// Media time at which the onset's first frame starts.
        media_start: Micros,
    },
    /// So much speech in this utterance that it is no cough: once an utterance.
    Sustained,
    /// A short quiet; not yet the end of the utterance.
    Pause,
    /// The utterance is over.
    Endpoint {
        /// Media time at which the last speech frame ended.
        media_end: Micros,
        /// Speech in the utterance, summed.
        speech: Micros,
    },
}

/// What begins or ends an utterance without a detector: a button, or somebody else who knows (`F-017`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Talk {
    /// The button goes down: all that comes is speech.
    Press,
    /// The button goes up: the utterance is over.
    Release,
    /// The utterance is over, wherever the detector is.
    EndOfUtterance,
}

/// What becomes of an answer's playing, for nodes that show it: a face, a light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlayoutMark {
    /// The first frame of an answer goes to the transport.
    Begun,
    /// The caller speaks: playing stops, and waits for what it means.
    Held,
    /// It meant nothing: playing goes on.
    Resumed,
    /// The turn is cancelled: the rest is never heard.
    Stopped,
    /// The last frame of an answer went to the transport.
    Finished,
}

impl PlayoutMark {
    /// The word in specs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            PlayoutMark::Begun => "begun",
            PlayoutMark::Held => "held",
            PlayoutMark::Resumed => "resumed",
            PlayoutMark::Stopped => "stopped",
            PlayoutMark::Finished => "finished",
        }
    }
}

/// How a recogniser closes a stretch of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Understanding {
    /// It may still change.
    Partial,
    /// Final, with words.
    Words,
    /// Final: speech, but not understood.
    Rejected,
    /// Final: no speech.
    Empty,
}

/// A recogniser's word on the caller's speech (`F-024`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// Which utterance; stamped by the node that invoked the recogniser.
    pub utterance: UtteranceId,
    /// Partial, or one of the three finals.
    pub understanding: Understanding,
    /// The words; empty unless there are any.
    pub text: Arc<str>,
    /// The transcript is complete up to this media time.
    pub watermark: Micros,
}

impl Transcript {
    /// Whether it carries words, partial or final.
    pub fn has_words(&self) -> bool {
        matches!(self.understanding, Understanding::Partial | Understanding::Words) && !self.text.trim().is_empty()
    }

    /// Whether no revision of it will come.
    pub fn is_final(&self) -> bool {
        self.understanding != Understanding::Partial
    }
}

/// What an edge carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// PCM.
    Audio(AudioFrame),
    /// Milestones of the caller's speech.
    Speech(SpeechEvent),
    /// A recogniser's word.
    Transcript(Transcript),
    /// A piece of text: the user's turn, or part of an answer.
    Text(Arc<str>),
    /// A model's wish to call a tool, for nodes that show it or count it: the model's node has it called.
    ToolCall(ToolCall),
    /// What becomes of an answer's playing.
    Control(PlayoutMark),
    /// A user's own payload, for nodes from outside the tree.
    Custom(Arc<serde_json::Value>),
    /// Speech begins or ends here, whatever a detector hears. It stands between the frames of the caller's audio.
    Talk(Talk),
    /// What has come on this stream so far counts no more: the answer begins anew, because whoever gave it broke off
    /// before anybody had used any of it. Who keeps some of it drops that, and passes this on.
    Retract,
    /// Nothing more comes on this stream for this turn. Data, so that it stays behind the last item.
    End(Outcome),
}

impl Payload {
    /// A piece of text.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Payload::Text(text.into())
    }

    /// The type that a port must have to carry it; `Talk`, `Retract` and `End` travel on every port.
    pub fn port_type(&self) -> Option<PortType> {
        match self {
            Payload::Audio(_) => Some(PortType::Audio),
            Payload::Speech(_) => Some(PortType::Speech),
            Payload::Transcript(_) => Some(PortType::Transcript),
            Payload::Text(_) => Some(PortType::Text),
            Payload::ToolCall(_) => Some(PortType::ToolCall),
            Payload::Control(_) => Some(PortType::Control),
            Payload::Custom(_) => Some(PortType::Custom),
            Payload::Talk(_) | Payload::Retract | Payload::End(_) => None,
        }
    }

    /// Whether it says something of the whole stream, as its end does: no rule ever drops it.
    pub fn is_mark(&self) -> bool {
        self.port_type().is_none()
    }
}

/// What a port accepts or offers (`F-003`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortType {
    /// PCM frames.
    Audio,
    /// Milestones of the caller's speech.
    Speech,
    /// Partial and final transcripts.
    Transcript,
    /// Text.
    Text,
    /// A model's wishes to call tools.
    ToolCall,
    /// What becomes of an answer's playing.
    Control,
    /// A user's own payload.
    Custom,
    /// Anything: merges, joins and other nodes that do not look inside.
    Any,
}

impl PortType {
    /// Whether an edge may run from `self` to `to`.
    pub fn fits(self, to: PortType) -> bool {
        self == to || self == PortType::Any || to == PortType::Any
    }

    /// The name in specs and messages.
    pub const fn name(self) -> &'static str {
        match self {
            PortType::Audio => "audio",
            PortType::Speech => "speech",
            PortType::Transcript => "transcript",
            PortType::Text => "text",
            PortType::ToolCall => "tool_call",
            PortType::Control => "control",
            PortType::Custom => "custom",
            PortType::Any => "any",
        }
    }
}

/// Named values on an event that conditional edges look at (`F-018`): language, confidence, sentiment.
pub type Attributes = BTreeMap<String, serde_json::Value>;

/// Where a row of the dataflow comes from, and in whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session's row.
    pub slot: Slot,
    /// What it belongs to.
    pub scope: Scope,
    /// The input that caused it. Events of one tick are ordered by it wherever paths meet.
    pub cause: RuntimeSequence,
    /// The tick's time.
    pub at: Micros,
}

/// One event on an edge: a row of the dataflow.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Whose it is.
    pub origin: Origin,
    /// What conditional edges may ask for.
    pub attributes: Option<Arc<Attributes>>,
    /// What it carries.
    pub payload: Payload,
}

impl Event {
    /// The value of an attribute: one of the event's own, or one that its payload has by nature.
    pub fn attribute(&self, name: &str) -> Option<serde_json::Value> {
        if let Some(value) = self.attributes.as_ref().and_then(|attributes| attributes.get(name)) {
            return Some(value.clone());
        }
        match (&self.payload, name) {
            (Payload::Text(text), "text") => Some(text.as_ref().into()),
            (Payload::Text(text), "length") => Some(text.chars().count().into()),
            (Payload::Transcript(transcript), "text") => Some(transcript.text.as_ref().into()),
            (Payload::Transcript(transcript), "final") => Some(transcript.is_final().into()),
            (Payload::ToolCall(call), "tool") => Some(call.name.as_ref().into()),
            (Payload::Control(mark), "mark") => Some(mark.name().into()),
            (Payload::Custom(value), name) => value.get(name).cloned(),
            _ => None,
        }
    }
}

/// One result of a provider's invocation, as it comes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderResult {
    /// From a recogniser. Its utterance is filled in by the node that asked.
    Transcript(Transcript),
    /// From a model: the next piece of its answer.
    Text(Arc<str>),
    /// From a model: it wants a tool called.
    ToolCall(ToolCall),
    /// From a synthesiser.
    Audio(AudioFrame),
    /// From a synthesiser that knows: where words of its text end in its audio. It may come before the audio or between.
    WordEnds(Arc<[WordEnd]>),
    /// From a tool.
    ToolResult(Arc<str>),
    /// The last result of every invocation, exactly once.
    End(Outcome),
}

/// Where a word ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordEnd {
    /// In the text that is spoken: so many characters stand before its end.
    pub chars: u32,
    /// In the audio of the invocation: so many samples stand before its end.
    pub samples: u64,
}

/// A model's wish to call a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The model's name for the call; also its idempotency key.
    pub key: Arc<str>,
    /// Which tool.
    pub name: Arc<str>,
    /// Arguments as JSON text, as the model wrote them.
    pub arguments: Arc<str>,
}

/// What a tool does to the world, as its spec declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolEffect {
    /// Runs at once, and may be cancelled.
    Read,
    /// Waits for its commit point, and is then irrevocable.
    Write,
}

/// What a node asks of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Recognise the audio that is fed.
    Transcribe {
        /// Media time at which `preroll` starts.
        media_start: Micros,
        /// What the caller said before the onset was certain.
        preroll: Vec<AudioFrame>,
    },
    /// Answer the conversation. The core attaches the context: what was heard, not what was generated.
    Chat {
        /// The conversation so far, with the user's turn last; empty when a node asks.
        context: Arc<[ContextEntry]>,
    },
    /// Say this.
    Speak {
        /// One speakable chunk.
        text: Arc<str>,
    },
    /// Call a tool.
    Tool(ToolCall),
}

/// One entry of the conversation, as the heard ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "role")]
pub enum ContextEntry {
    /// What the caller said.
    User {
        /// In words.
        text: Arc<str>,
        /// `false` when there was speech that nobody understood.
        understood: bool,
    },
    /// What the application remarks, in the caller's place.
    Remark {
        /// In words.
        text: Arc<str>,
    },
    /// What the caller heard of an answer.
    Agent {
        /// Whole words.
        text: Arc<str>,
        /// Whether the caller cut it short.
        cut: bool,
    },
    /// A tool call and what became of it.
    Tool {
        /// The call.
        call: ToolCall,
        /// `None` while it is pending.
        result: Option<Arc<str>>,
    },
}

/// A delivery from the door to one node: a provider's result, or what a source emits.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Whose it is.
    pub origin: Origin,
    /// To whom.
    pub node: NodeIndex,
    /// What is delivered.
    pub content: DeliveryContent,
}

/// What a [`Delivery`] brings.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryContent {
    /// A source emits this.
    Emit(Payload),
    /// A result of the call that the node asked for.
    Result(CallRef, ProviderResult),
    /// The call that the node asked for begins anew, with another attempt: what it gave so far counts no more.
    Restart(CallRef),
}
