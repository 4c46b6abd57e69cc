//! The timeline: everything that enters through the door and everything that leaves, in order.
//!
//! A worker's tick appends [`Record`]s. The shell writes them down, then performs the effects among them; a
//! replay feeds the external inputs again and compares the rest.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::admission::{ConnectionState, Refusal};
use crate::budget::{BudgetOutcome, CircuitState, DegradeStep, SwitchCause, TurnBudget, TurnPart};
use crate::buffer::{BranchFault, Dropped, Held, SyncGroup, WatermarkLevel, XonCause};
use crate::event::{AudioFrame, Request};
use crate::ids::{EdgeIndex, Generation, InvocationId, LeaseEpoch, NodeIndex, RuntimeSequence, Slot, TurnId};
use crate::outcome::{AbortReason, CancelReason, Outcome};
use crate::plan::{PlanHash, RecordingLevel};
use crate::recording::LevelCause;
use crate::time::{Clock, Micros, Skew};

mod input;

pub use crate::turn_state::{Holder, TurnState};
pub use input::{
    AckOccasion, Confirmation, DEFAULT_FAIRNESS_KEY, Derived, Input, Observation, Opener, PlayoutAck, Prompt, Resume,
    SessionOpen, Takeover, TimerKey, TurnProposal,
};

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
        /// What the caller said; or what is to be said, or the model to be told.
        text: Arc<str>,
        /// Which of these it is.
        #[serde(default, skip_serializing_if = "Opener::is_caller")]
        opener: Opener,
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
    /// A budget of a part of the turn is spent.
    PartBudgetSpent {
        /// Which part's.
        part: TurnPart,
        /// What follows.
        outcome: BudgetOutcome,
    },
    /// The turn gets by with less from now on.
    Degraded {
        /// The step's place among those of the plan, from 1.
        step: u32,
        /// What it is.
        how: DegradeStep,
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
    /// From here on the session is recorded at another level.
    RecordingLevel {
        /// At which.
        level: RecordingLevel,
        /// Why.
        cause: LevelCause,
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
    /// Another clock was not where it was thought to be, and is thought to be there from now on.
    ClockRebased {
        /// Which.
        clock: Clock,
        /// By how much it differed.
        skew: Skew,
    },
    /// A node computed for longer than its plan allows for one reaction.
    NodeOverrun {
        /// Which.
        node: NodeIndex,
        /// How long.
        took: Micros,
        /// How often by now, within the time for which the plan counts.
        strikes: u32,
        /// What follows: it goes on, the turn does without it, or it is taken out and the turn ends.
        outcome: BudgetOutcome,
    },
}
