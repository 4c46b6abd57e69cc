//! The timeline: everything that enters through the door and everything that leaves, in order.
//!
//! A worker's tick appends [`Record`]s. The shell writes them down, then performs the effects among them; a
//! replay feeds the external inputs again and compares the rest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admission::{AdmissionSnapshot, ConnectionState, Refusal};
use crate::budget::{BudgetOutcome, CircuitState, SwitchCause, TurnBudget};
use crate::buffer::{BranchFault, Dropped, Held, SyncGroup, WatermarkLevel, XonCause};
use crate::event::{AudioFrame, ProviderResult, Request, Talk};
use crate::ids::{EdgeIndex, Generation, InvocationId, LeaseEpoch, NodeIndex, RuntimeSequence, Slot, TurnId};
use crate::limits::{MAX_SESSION_INVOCATIONS, MAX_TEXT_BYTES};
use crate::outcome::{AbortReason, CancelReason, Cancellation, Outcome};
use crate::plan::{Plan, PlanHash};
use crate::time::{Lane, Micros};

pub use crate::turn_state::{Holder, RejectReason, TurnState};

/// One line of a session's timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The session's row on the worker that wrote it.
    pub slot: Slot,
    /// The session's own count of the ticks that it took part in, from 1: the cuts between ticks.
    pub tick: u64,
    /// The tick's time.
    pub at: Micros,
    /// What happened.
    pub entry: Entry,
}

/// What a [`Record`] holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Something entered.
    Input(RuntimeSequence, Input),
    /// The core says what it did.
    Signal(Option<TurnId>, Signal),
    /// The shell is to do something.
    Effect(Effect),
}

/// Everything that can enter the core: the one closed set that explains every tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A session begins.
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
            Input::CallerAudio(_) | Input::Talk(_) | Input::UserText(_) | Input::Provider(..) => Lane::Data,
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
            | Input::Provider(_, ProviderResult::Text(content) | ProviderResult::ToolResult(content)) => text(content),
            Input::Provider(_, ProviderResult::Transcript(transcript)) => text(&transcript.text),
            Input::Provider(_, ProviderResult::ToolCall(call)) => {
                text(&call.key).and(text(&call.name)).and(text(&call.arguments))
            }
            Input::Takeover(takeover) if takeover.lost.len() > MAX_SESSION_INVOCATIONS => {
                Err("more invocations than a session may have")
            }
            _ => Ok(()),
        }
    }

    /// Whether it came from outside. The others are produced again by a replay, and compared.
    pub fn is_external(&self) -> bool {
        !matches!(self, Input::Derived(_) | Input::Timer(_))
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
        Self { session: session.into(), plan, resume, epoch, fairness_key: default_fairness_key() }
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

/// The numbers at which a session goes on that began elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Turns so far.
    pub turns: u32,
    /// Invocations so far.
    pub invocations: u32,
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

/// What would open a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnProposal {
    /// What the caller said.
    pub text: Arc<str>,
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
}

/// What the shell is to do: a closed set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Start an invocation.
    Invoke {
        /// Its number.
        id: InvocationId,
        /// Which provider.
        binding: Arc<str>,
        /// What is asked.
        request: Request,
    },
    /// Give an invocation more input.
    Feed {
        /// Which.
        id: InvocationId,
        /// The input.
        frame: AudioFrame,
    },
    /// An invocation's input is complete.
    FeedEnd {
        /// Which.
        id: InvocationId,
    },
    /// Nobody waits for this invocation any more.
    CancelInvocation {
        /// Which.
        id: InvocationId,
    },
    /// An invocation was cancelled, and its provider goes on all the same: end it by force.
    EndInvocation {
        /// Which.
        id: InvocationId,
    },
    /// Hand audio to the caller.
    Transmit {
        /// Whose.
        turn: TurnId,
        /// The transport writes it only while no later epoch has been announced.
        epoch: EgressEpoch,
        /// The place of its first sample in the turn's audio.
        from_sample: u64,
        /// The audio.
        frame: AudioFrame,
    },
    /// Throw away what was transmitted and not played, with a fade, and say where playing stopped.
    ClearTransport {
        /// Whose audio it was.
        turn: TurnId,
        /// From now on only this epoch may be written.
        epoch: EgressEpoch,
    },
    /// Tick again at this time at the latest.
    WakeAt {
        /// When.
        at: Micros,
    },
    /// Stop reading what an invocation's provider gives: nobody has room for it.
    PauseInvocation {
        /// Which.
        id: InvocationId,
    },
    /// Go on reading what an invocation's provider gives.
    ResumeInvocation {
        /// Which.
        id: InvocationId,
    },
    /// Read so many more of an invocation's results, pieces of text or frames of audio, and then wait for the next grant.
    GrantCredit {
        /// Which.
        id: InvocationId,
        /// How many more.
        results: u32,
    },
}

/// The third gate: moves on whenever queued audio must not be written any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EgressEpoch(pub u32);

/// What the core says of what it did. The table in [`signals`](crate::signals) says who may say what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// The session takes input.
    SessionReady,
    /// The session is over.
    SessionEnded,
    /// A proposal passed admission.
    Admit,
    /// A proposal is refused.
    Reject(Refusal),
    /// The session's authority is gone.
    DeauthorizedDrain,
    /// A turn is open.
    TurnOpen {
        /// Its plan.
        plan: PlanHash,
        /// Its generation.
        generation: Generation,
        /// What the caller said.
        text: Arc<str>,
        /// Whether anybody understood it.
        understood: bool,
        /// When the caller's last speech frame ended, where there was speech.
        speech_end: Option<Micros>,
    },
    /// The turn's first audio passed egress.
    OutputAccepted,
    /// Playout stopped, and keeps what was not heard.
    PlayoutHold,
    /// Playout goes on.
    PlayoutResume {
        /// With this sample of the turn's audio.
        from_sample: u64,
        /// Whether the position is the pacer's and not the transport's.
        estimated: bool,
    },
    /// A cancellation was accepted: from here on nothing of its scope passes egress.
    CancelAccepted {
        /// Why.
        reason: CancelReason,
    },
    /// The turn is cancelled softly: nothing new begins, and what is being said has some time to end.
    SoftCancel {
        /// Why.
        reason: CancelReason,
        /// How long what is being said may go on.
        grace: Micros,
    },
    /// What a node does and keeps is cancelled; its turn goes on.
    NodeCancelled {
        /// Which node's.
        node: NodeIndex,
        /// Why.
        reason: CancelReason,
    },
    /// An invocation is cancelled; its turn goes on.
    InvocationCancelled {
        /// Which.
        id: InvocationId,
        /// Why.
        reason: CancelReason,
    },
    /// A cancelled invocation has ended.
    CancelSettled {
        /// Of which invocation.
        id: InvocationId,
        /// How long after it was told.
        after: Micros,
        /// What it sent meanwhile, and nobody heard.
        late_results: u32,
    },
    /// A cancelled invocation still gives results when its grace is over.
    CancelIgnored {
        /// Of which invocation.
        id: InvocationId,
        /// What it sent meanwhile, and nobody heard.
        late_results: u32,
    },
    /// A model wants to change the world; it waits for the commit point.
    ToolProposed {
        /// The call's key.
        key: Arc<str>,
        /// Which tool.
        name: Arc<str>,
    },
    /// The write runs, whatever becomes of the turn.
    ToolCommitted {
        /// The call's key.
        key: Arc<str>,
    },
    /// The write will never run.
    ToolRevoked {
        /// The call's key.
        key: Arc<str>,
    },
    /// The revocation has reached every operator.
    FenceApplied {
        /// The generation that is no more.
        generation: Generation,
    },
    /// The caller hears the turn's first sample.
    PlaybackStarted,
    /// The caller has heard all of the turn.
    PlaybackCompleted {
        /// Samples heard.
        heard_samples: u64,
        /// Whether the position is the pacer's and not the transport's.
        estimated: bool,
    },
    /// The caller has heard part of the turn, and will hear no more.
    PlaybackCancelled {
        /// Samples heard.
        heard_samples: u64,
        /// Whether the position is the pacer's and not the transport's.
        estimated: bool,
    },
    /// What the caller heard, in whole words, enters the context.
    Heard {
        /// The words.
        text: Arc<str>,
        /// Whether the answer was cut short.
        cut: bool,
    },
    /// No further output of the turn will come.
    Commit,
    /// The turn ended otherwise.
    Abort {
        /// Why.
        reason: AbortReason,
    },
    /// The turn is over.
    Close,
    /// A result came after its turn was cancelled, and did not enter the graph.
    LateAfterCancel {
        /// Of which invocation.
        id: InvocationId,
    },
    /// Output of a turn that is no more was stopped at egress.
    OutputFenced {
        /// How many frames.
        frames: u32,
    },
    /// An invocation ended badly.
    ProviderError {
        /// Which.
        id: InvocationId,
        /// How.
        outcome: Outcome,
    },
    /// A failed invocation is tried again, with the same provider.
    ProviderRetry {
        /// Which failed.
        id: InvocationId,
        /// The number of the new attempt, from 2.
        attempt: u32,
    },
    /// A node's calls go to another provider that its plan allows.
    ProviderSwitch {
        /// Which node's.
        node: NodeIndex,
        /// To whom.
        binding: Arc<str>,
        /// Why.
        cause: SwitchCause,
    },
    /// A provider's circuit breaker changed its state.
    CircuitEvent {
        /// Which provider's.
        binding: Arc<str>,
        /// To what.
        state: CircuitState,
    },
    /// An invocation did not give its first or its next result in time.
    ProviderBudget {
        /// Which.
        id: InvocationId,
        /// What follows.
        outcome: BudgetOutcome,
    },
    /// A budget of the turn is spent.
    TurnBudgetSpent {
        /// Which.
        budget: TurnBudget,
        /// What follows.
        outcome: BudgetOutcome,
    },
    /// A proposal is refused for now.
    Defer {
        /// Why, and where.
        refusal: Refusal,
        /// After so long it is tried again; `None`, it is not, and has to come again.
        retry_after: Option<Micros>,
    },
    /// There is more than can be done: a proposal is dropped, or an invocation of an open turn is not started.
    Shed(Refusal),
    /// Something spoke for another epoch than the session's, and was not heard.
    StaleEpochReject {
        /// For which.
        epoch: LeaseEpoch,
        /// The session's.
        current: LeaseEpoch,
    },
    /// The session's lease has a new epoch.
    LeaseMoved {
        /// Which.
        epoch: LeaseEpoch,
    },
    /// The caller's connection is in another state.
    ConnectionEvent {
        /// In which.
        state: ConnectionState,
    },
    /// The session goes on with another worker.
    MigrationStart {
        /// The last lease of the one before.
        epoch: LeaseEpoch,
    },
    /// What the worker before had in hand is dealt with.
    MigrationFinish {
        /// The lease now.
        epoch: LeaseEpoch,
    },
    /// The session is the same, and has another writer.
    SessionHandoff {
        /// The lease now.
        epoch: LeaseEpoch,
    },
    /// The caller's transport is gone; the session waits for it.
    SessionSuspended,
    /// The caller's transport is back.
    SessionResumed,
    /// Data was dropped by a declared rule.
    DropNotice {
        /// At which node.
        node: NodeIndex,
        /// On which edge to it, where it waited on one.
        edge: Option<EdgeIndex>,
        /// How many items, and what had caused them.
        dropped: Dropped,
        /// Which rule.
        reason: Arc<str>,
    },
    /// An edge's buffer is filling up, or has room again.
    Watermark {
        /// Which edge's.
        edge: EdgeIndex,
        /// Which watermark was passed.
        level: WatermarkLevel,
        /// What waits.
        held: Held,
        /// Of the bound that is nearest, in percent.
        percent: u32,
    },
    /// Who fills an edge's buffer has to stop.
    FlowXoff {
        /// Which edge's.
        edge: EdgeIndex,
    },
    /// Who fills an edge's buffer may go on.
    FlowXon {
        /// Which edge's.
        edge: EdgeIndex,
        /// Why.
        cause: XonCause,
    },
    /// Who fills an edge's buffer may give so many more items.
    CreditGrant {
        /// Which edge's.
        edge: EdgeIndex,
        /// How many.
        items: u32,
    },
    /// Items of an edge went on as one.
    Merged {
        /// Which edge's.
        edge: EdgeIndex,
        /// The group's number at this edge, from 1.
        group: u32,
        /// What had caused the items.
        sequences: Arc<[RuntimeSequence]>,
    },
    /// A gap was left in a stream that plays together with others.
    Discontinuity {
        /// On which edge.
        edge: EdgeIndex,
        /// The gap's number at this edge, from 1.
        gap: u32,
        /// The group of streams, and its clock.
        sync: SyncGroup,
        /// What is missing.
        dropped: Dropped,
    },
    /// The second branch of a fallback carries from now on.
    BranchFallback {
        /// The node at which the branches meet.
        node: NodeIndex,
        /// What the first branch did.
        fault: BranchFault,
    },
    /// An input does not fit the state it met; nothing changed.
    Refused {
        /// The state.
        state: TurnState,
        /// The input.
        input: Arc<str>,
    },
    /// A node failed.
    NodeError {
        /// Which.
        node: NodeIndex,
        /// What it said.
        message: Arc<str>,
    },
}
