//! What enters the core.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admission::{AdmissionSnapshot, ConnectionState};
use crate::budget::{TurnBudget, TurnPart};
use crate::event::{AudioFrame, ContextEntry, ProviderResult, Talk, WordEnd};
use crate::ids::{InvocationId, LeaseEpoch, NodeIndex, TurnId};
use crate::limits::{
    MAX_PLAN_NODES, MAX_SESSION_INVOCATIONS, MAX_TEXT_BYTES, MAX_TIME_US, MAX_TURN_SAMPLES, MAX_UNIX_US, MAX_WORD_ENDS,
};
use crate::outcome::{AbortReason, Cancellation};
use crate::plan::{Plan, RecordingLevel};
use crate::recording::RecorderReport;
use crate::time::{Lane, Micros, WallReading};

/// Everything that can enter the core: the one closed set that explains every tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A session begins. To one that is there and at rest, it says that it goes on from where it is, with this plan: its nodes
    /// begin afresh.
    SessionOpen(Box<SessionOpen>),
    /// A session is to end.
    SessionEnd,
    /// A cancellation is asked for from outside.
    Cancel(Cancellation),
    /// Another writer holds the session's lease.
    AuthorityRevoked,
    /// The caller's transport is gone, or has stalled past its timeout.
    TransportLost,
    /// The session takes no new turn, and ends when its turn has.
    SessionDrain,
    /// The session's lease has a new epoch; whoever speaks for an older one is not heard any more.
    LeaseRotated(LeaseEpoch),
    /// Something came under another epoch than the session's. Only its name enters.
    StaleEpoch {
        /// The epoch that it came under.
        epoch: LeaseEpoch,
        /// What it was, by its name in traces.
        input: Arc<str>,
    },
    /// What the control plane, and the worker's own load, say of new turns.
    Admission(AdmissionSnapshot),
    /// The state of the caller's connection.
    Connection(ConnectionState),
    /// What others have found out about a provider.
    ProviderHealth {
        /// Which, by its binding.
        binding: Arc<str>,
        /// Whether it is fit to be called.
        healthy: bool,
    },
    /// The worker has no room for this invocation, and did not start it.
    DispatchRefused(InvocationId),
    /// The session goes on here, from the log of a worker that is gone.
    Takeover(Takeover),
    /// The recorder fares better or worse, or somebody asks something of it.
    Recorder(RecorderReport),
    /// What the clock on the wall says.
    WallClock(WallReading),
    /// A reaction of a node computed for longer than the worker likes, as measured outside.
    NodeOverrun {
        /// Which node's.
        node: NodeIndex,
        /// How long.
        took: Micros,
    },
    /// The transport tells what it played.
    PlayoutAck(PlayoutAck),
    /// A detector outside the pipeline saw something of the caller's speech.
    Observed(Observation),
    /// The caller's audio.
    CallerAudio(AudioFrame),
    /// The caller's button, or somebody else who knows, says where speech begins and ends.
    Talk(Talk),
    /// The caller typed.
    UserText(Arc<str>),
    /// The application wants the agent to speak, and the caller has said nothing.
    Prompt(Prompt),
    /// A provider's result.
    Provider(InvocationId, ProviderResult),
    /// What the arbiter decided in the tick before.
    Derived(Derived),
    /// A timer of the wheel inside came due.
    Timer(TimerKey),
}

impl Input {
    /// Which lane it takes. Only what may overtake data is control.
    pub fn lane(&self) -> Lane {
        match self {
            Input::CallerAudio(_) | Input::Talk(_) | Input::UserText(_) | Input::Prompt(_) | Input::Provider(..) => {
                Lane::Data
            }
            _ => Lane::Control,
        }
    }

    /// Whether it keeps to the limits: what does not never enters.
    ///
    /// # Errors
    /// Which limit, for people.
    pub fn check(&self) -> Result<(), &'static str> {
        let text =
            |text: &str| if text.len() <= MAX_TEXT_BYTES { Ok(()) } else { Err("more text than one input may have") };
        match self {
            Input::CallerAudio(frame) | Input::Provider(_, ProviderResult::Audio(frame)) => frame.check(),
            Input::UserText(content)
            | Input::Prompt(Prompt::Say(content) | Prompt::Ask(content))
            | Input::Provider(_, ProviderResult::Text(content) | ProviderResult::ToolResult(content)) => text(content),
            // What can't be recorded can't be replayed.
            Input::Provider(_, ProviderResult::Transcript(transcript)) if transcript.watermark.0 > MAX_TIME_US => {
                Err("a watermark behind the end of every call")
            }
            Input::Provider(_, ProviderResult::WordEnds(ends)) => check_word_ends(ends),
            Input::PlayoutAck(ack) if ack.heard_samples > MAX_TURN_SAMPLES => {
                Err("more samples heard than a turn may have")
            }
            Input::Provider(_, ProviderResult::Transcript(transcript)) => text(&transcript.text),
            Input::Provider(_, ProviderResult::ToolCall(call)) => {
                text(&call.key).and(text(&call.name)).and(text(&call.arguments))
            }
            Input::Takeover(takeover) if takeover.lost.len() > MAX_SESSION_INVOCATIONS => {
                Err("more invocations than a session may have")
            }
            Input::WallClock(reading) if reading.unix_us > MAX_UNIX_US || reading.at.0 > MAX_TIME_US => {
                Err("a time behind the end of every call")
            }
            Input::NodeOverrun { node, took } if usize::from(node.0) >= MAX_PLAN_NODES || took.0 > MAX_TIME_US => {
                Err("a node that no plan has, or a reaction longer than every call")
            }
            _ => Ok(()),
        }
    }

    /// Whether it came from outside. The others are produced again by a replay, and compared.
    pub fn is_external(&self) -> bool {
        !matches!(self, Input::Derived(_) | Input::Timer(_))
    }
}

/// Words end one behind the other, in the text and in its audio.
fn check_word_ends(ends: &[WordEnd]) -> Result<(), &'static str> {
    let in_order = ends.is_sorted_by(|a, b| a.chars <= b.chars && a.samples <= b.samples);
    match ends.last() {
        _ if ends.len() > MAX_WORD_ENDS => Err("more words than one result may tell of"),
        Some(last) if last.chars as usize > MAX_TEXT_BYTES || last.samples > MAX_TURN_SAMPLES => {
            Err("a word behind the end of every text, or of every turn's audio")
        }
        Some(_) if in_order => Ok(()),
        Some(_) => Err("words that do not end one behind the other"),
        None => Err("no words"),
    }
}

/// With what a session begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionOpen {
    /// The session's name.
    pub session: Arc<str>,
    /// Its pipeline.
    pub plan: Arc<Plan>,
    /// Where it goes on, when it began elsewhere.
    #[serde(default)]
    pub resume: Resume,
    /// The lease under which this worker writes it.
    #[serde(default)]
    pub epoch: LeaseEpoch,
    /// With whom it shares what is scarce: its tenant, most often.
    #[serde(default = "default_fairness_key")]
    pub fairness_key: Arc<str>,
    /// The level at which it is recorded, where it is not the plan that says so.
    #[serde(default)]
    pub recording: Option<RecordingLevel>,
}

/// The key of sessions of which nobody says whose they are.
pub const DEFAULT_FAIRNESS_KEY: &str = "default";

fn default_fairness_key() -> Arc<str> {
    DEFAULT_FAIRNESS_KEY.into()
}

impl SessionOpen {
    /// A session that begins here, under the first lease, and shares with all of whom nothing is said.
    pub fn new(session: impl Into<Arc<str>>, plan: Arc<Plan>) -> Self {
        let (resume, epoch) = (Resume::default(), LeaseEpoch::default());
        Self { session: session.into(), plan, resume, epoch, fairness_key: default_fairness_key(), recording: None }
    }

    /// The level at which it is recorded from its beginning.
    pub fn recording_level(&self) -> RecordingLevel {
        self.recording.unwrap_or_else(|| self.plan.recording().level_of(&self.session))
    }
}

/// With what a session goes on that another worker held until it was lost (`F-096`, `F-157`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takeover {
    /// The new lease; later than the one of the worker that is gone.
    pub epoch: LeaseEpoch,
    /// Invocations that were in flight with that worker, and that nobody hears any more. Those that are not named go on
    /// here under their numbers.
    pub lost: Arc<[InvocationId]>,
}

/// From what a session goes on that began elsewhere, or under another plan: its durable state (`F-155`). It is all of it
/// where the session is at rest: nobody speaks, nothing is asked, and what was said is heard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Turns so far.
    pub turns: u32,
    /// Invocations so far.
    pub invocations: u32,
    /// Ticks so far.
    pub ticks: u64,
    /// The number of the last input.
    pub sequence: u64,
    /// How often a turn's capability was minted or voided.
    pub generations: u32,
    /// How often the transport was told to clear.
    pub clears: u32,
    /// The conversation, as the caller has lived it.
    pub context: Arc<[ContextEntry]>,
}

/// What a transport says of the audio it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayoutAck {
    /// Whose audio.
    pub turn: TurnId,
    /// How many of the turn's samples the caller has heard.
    pub heard_samples: u64,
    /// On what occasion.
    pub occasion: AckOccasion,
}

/// On what occasion a transport acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckOccasion {
    /// The first sample plays.
    Started,
    /// From time to time.
    Progress,
    /// It has played all it was given.
    Drained,
    /// It was told to clear, and stopped here.
    Cleared,
}

/// What a detector saw of the caller's speech. It authorizes nothing; the arbiter decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// Speech began; in a new utterance, or again in the same one.
    Onset {
        /// Whether the utterance is new.
        new_utterance: bool,
    },
    /// Enough speech that it is no cough.
    Sustained,
    /// A short quiet.
    Pause,
    /// The recogniser has words.
    Words,
    /// The recogniser has words, and so far they are only such as tell a speaker to go on.
    Backchannel,
}

/// What the agent is to say although nobody has spoken to it: a greeting, or a question into the silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// These words, as they are.
    Say(Arc<str>),
    /// What the model makes of this remark.
    Ask(Arc<str>),
}

/// Who has a turn opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// The caller, who has said the turn's text.
    #[default]
    Caller,
    /// Nobody: the turn's text is to be said as it is.
    Say,
    /// Nobody: the model is asked, and the turn's text is what it is told.
    Ask,
}

impl Opener {
    /// Whether it is the caller, as it is most often.
    pub fn is_caller(&self) -> bool {
        *self == Opener::Caller
    }
}

/// What would open a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnProposal {
    /// What the caller said; or what is to be said, or the model to be told.
    pub text: Arc<str>,
    /// Which of these it is.
    #[serde(default, skip_serializing_if = "Opener::is_caller")]
    pub opener: Opener,
    /// `false` when there was speech that nobody understood.
    pub understood: bool,
    /// When the caller's last speech frame ended, where there was speech.
    pub speech_end: Option<Micros>,
    /// Only words that tell a speaker to go on: they do not interrupt.
    #[serde(default)]
    pub backchannel: bool,
    /// Since when it waits to be admitted, where it had to.
    #[serde(default)]
    pub waits_since: Option<Micros>,
}

impl TurnProposal {
    /// What was typed.
    pub fn typed(text: Arc<str>) -> Self {
        let (opener, speech_end, waits_since) = (Opener::Caller, None, None);
        Self { text, opener, understood: true, speech_end, backchannel: false, waits_since }
    }

    /// What nobody has said: the agent is to speak of its own accord.
    pub fn unasked(prompt: &Prompt) -> Self {
        let (opener, text) = match prompt {
            Prompt::Say(text) => (Opener::Say, text),
            Prompt::Ask(text) => (Opener::Ask, text),
        };
        Self { opener, ..Self::typed(Arc::clone(text)) }
    }
}

/// What the arbiter decided in one tick, and acts on in the next, so that it stands in the log first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derived {
    /// The caller's utterance is complete.
    TurnOpenProposed(TurnProposal),
    /// The caller speaks over this turn.
    InterruptionProposed(TurnId),
    /// It is one.
    InterruptionConfirmed(TurnId, Confirmation),
    /// It was none.
    InterruptionDismissed(TurnId),
    /// The caller speaks over what is still to be heard of this turn, which is closed already, and the policy cuts at
    /// the onset.
    PlaybackCut(TurnId),
    /// The turn can't go on, and the plan has nothing else to offer.
    TurnFailed(TurnId, AbortReason),
    /// A node of this turn can't go on, and the plan has a step by which the turn does without it.
    NodeLost(TurnId, NodeIndex),
}

impl Derived {
    /// The turn that it names, which it holds until it is handled.
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Derived::TurnOpenProposed(_) => None,
            Derived::InterruptionProposed(turn)
            | Derived::InterruptionConfirmed(turn, _)
            | Derived::InterruptionDismissed(turn)
            | Derived::PlaybackCut(turn)
            | Derived::NodeLost(turn, _)
            | Derived::TurnFailed(turn, _) => Some(*turn),
        }
    }
}

/// What made an interruption certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// The recogniser has words.
    Words,
    /// Enough speech.
    Speech,
    /// The policy needs no more than the onset.
    Onset,
}

/// Whose timer it is: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKey {
    /// A node's own.
    Node(NodeIndex),
    /// The turn is past its false-interruption grace.
    CommitPoint(TurnId),
    /// The transport did not say what was heard.
    PlayoutAckWait(TurnId),
    /// An invocation has to give its first result, or the next one.
    Result(InvocationId),
    /// An invocation that failed is tried again.
    Retry(InvocationId),
    /// A budget of the turn is spent.
    Budget(TurnId, TurnBudget),
    /// A budget of a part of the turn is spent.
    Part(TurnId, TurnPart),
    /// A transport that is gone has to be back.
    Reconnect,
    /// A turn has been on hold for so long without a word.
    Hold(TurnId),
    /// The grace of a turn's soft cancellation is over.
    CancelGrace(TurnId),
    /// What waits before this node has waited long enough, or has been blocked long enough.
    Buffers(NodeIndex),
    /// Proposals that were deferred are tried again.
    Deferred,
    /// A node has to have started.
    NodeStart(NodeIndex),
    /// Nobody has spoken for so long that the agent does.
    Silence,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Transcript, Understanding};
    use crate::ids::UtteranceId;

    /// Found by `rspp sim --replay`, seed 1: a hostile recogniser's watermark entered, and was not in the recording.
    #[test]
    fn what_can_not_be_written_down_does_not_enter() {
        let heard = |watermark| {
            let (utterance, understanding) = (UtteranceId(1), Understanding::Partial);
            let transcript = Transcript { utterance, understanding, text: "hello".into(), watermark };
            Input::Provider(InvocationId(1), ProviderResult::Transcript(transcript)).check()
        };
        assert_eq!(heard(Micros(MAX_TIME_US)), Ok(()));
        assert!(heard(Micros(MAX_TIME_US + 1)).is_err() && heard(Micros(u64::MAX)).is_err());
    }
}
