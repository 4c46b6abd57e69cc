//! What a trace can be guilty of.

use std::fmt;

use crate::view::Row;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal,)*) => {
        /// A sentence of the contract that a trace can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Rule] = &[$(Rule::$rule),*];

            /// A name that does not change.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Rule::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    /// An input or effect is one of the closed sets, on its lane, with the fields that belong to it.
    LineShape = "line-shape",
    /// Every signal is in the table of signals, with exactly its fields, and names a turn where its scope says so.
    SignalTable = "signal-table",
    /// Inputs are numbered without a gap, in the order in which they entered.
    SequenceStep = "sequence-step",
    /// Time and ticks never go back, and a tick has one time.
    TimeOrder = "time-order",
    /// A tick begins with an input: derived ones stand first, then control, then due timers, then data.
    InputOrder = "input-order",
    /// Invocations are numbered without a gap.
    InvocationStep = "invocation-step",

    /// Only what was invoked is fed, cancelled, or answers.
    InvocationKnown = "invocation-known",
    /// An invocation that has ended, or was cancelled, gets nothing more; one whose input is complete, no more input.
    InvocationLive = "invocation-live",
    /// What a provider says after the end of its invocation is refused.
    ResultAfterEnd = "result-after-end",
    /// A result of a cancelled invocation is marked late, in its tick; no other is.
    LateAfterCancel = "late-after-cancel",

    /// Turns open under ever higher numbers.
    TurnOrder = "turn-order",
    /// One turn is open at a time.
    TurnOverlap = "turn-overlap",
    /// A turn opens directly after its proposal was admitted, and every admission is answered.
    TurnAdmitted = "turn-admitted",
    /// A turn opens in the tick of its proposal.
    TurnProposed = "turn-proposed",
    /// Generations never go back, and a fence names its turn's.
    GenerationOrder = "generation-order",
    /// What belongs to a turn happens while it is open; playback, late results and the like may come afterwards.
    OutsideTurn = "outside-turn",
    /// An opened turn, and no other, has exactly one terminal and one close.
    TerminalOnce = "terminal-once",
    /// The close follows the terminal at once.
    CloseAfterTerminal = "close-after-terminal",
    /// An abort gives the reason that its tick shows.
    AbortReason = "abort-reason",
    /// When several ends fall in one tick, authority loss comes first, then a cancellation, then the rest.
    EndPrecedence = "end-precedence",
    /// A turn commits when no output can follow: no invocation, write or hold is left.
    CommitUnfinished = "commit-unfinished",
    /// A session ends after its turn's close, and nothing begins after it.
    SessionEnded = "session-ended",
    /// The state shown is the state that the signals lead to.
    StateLine = "state-line",
    /// The holders shown include all of the turn's invocations in flight; a turn that nobody holds has ended.
    HeldList = "held-list",

    /// A cancellation has a cause in its tick, and an open turn.
    CancelCause = "cancel-cause",
    /// From acceptance to close, the steps of a cancellation stand in their order.
    CancelOrder = "cancel-order",
    /// The fence is applied, and the turn aborted and closed, in the tick that accepts the cancellation.
    CancelComplete = "cancel-complete",
    /// A turn that is aborted cancels its unfinished invocations.
    CancelInvocations = "cancel-invocations",
    /// A turn that is cancelled softly begins nothing new.
    SoftCancel = "soft-cancel",
    /// Only who ignores a cancellation is ended by force.
    ForcedEnd = "forced-end",
    /// Cancelling a turn touches neither recognition nor a committed write.
    CancelScope = "cancel-scope",
    /// From the moment a cancel is accepted, nothing of its turn passes egress, and no playback of it begins.
    OutputAfterCancel = "output-after-cancel",

    /// The first frame of a turn, and no other, comes with the word that output was accepted.
    OutputAccepted = "output-accepted",
    /// Hold and resume alternate, each for its derived input.
    HoldPairing = "hold-pairing",
    /// Nothing is sent while playout is on hold.
    TransmitWhileHeld = "transmit-while-held",
    /// Playout resumes with the first unheard sample.
    ResumePosition = "resume-position",
    /// Nothing is sent twice and nothing skipped, unless a resume goes back.
    TransmitContiguous = "transmit-contiguous",
    /// A clear moves the epoch on, and a frame carries the latest one.
    TransmitEpoch = "transmit-epoch",
    /// What was sent and may not have been played is cleared at a hold or a cancellation, once.
    ClearTransport = "clear-transport",
    /// Audio is sent only a short lookahead ahead of the playhead.
    Pacing = "pacing",

    /// Playback of a turn starts once, and is completed or cancelled once.
    PlaybackOnce = "playback-once",
    /// Playback starts when the transport says so, and before it is over.
    PlaybackStarted = "playback-started",
    /// Nobody heard more than was sent, or other than was acknowledged.
    HeardSamples = "heard-samples",
    /// What was heard enters the ledger with the end of the playback.
    HeardFollows = "heard-follows",
    /// What was heard of a turn is settled when the next one opens.
    PlaybackSettled = "playback-settled",

    /// What speaks for another epoch than the session's is refused, and leases only move on.
    StaleEpoch = "stale-epoch",
    /// No turn opens against the newest word of admission.
    AdmissionQuota = "admission-quota",
    /// While the transport is gone, nothing is sent and no turn opens.
    Suspended = "suspended",
    /// A session that goes on with another worker says so step by step, under a later lease, and takes stock first.
    Migration = "migration",
    /// What is shed at dispatch was refused there, and the other way round.
    Shed = "shed",
    /// What has waited was deferred, and only what has waited is refused at dequeue.
    Deferral = "deferral",
    /// Another attempt follows a failed call that has given nothing, and is made.
    Recovery = "recovery",
    /// A turn gets by with less where a budget or a lost node asks for it, step by step, and takes no step back.
    Degrade = "degrade",
    /// A clock is rebased where it was read, and was further off than it may be.
    ClockRebased = "clock-rebased",
    /// A node that computed for too long is counted as often as that was measured, and is taken out at its limit.
    NodeOverrun = "node-overrun",

    /// High and low watermarks of an edge alternate, within its bounds.
    WatermarkPairs = "watermark-pairs",
    /// Who fills an edge is let go only after it was stopped, and stopped only above the high watermark.
    FlowOrder = "flow-order",
    /// A provider is paused once before it is read again, and for an edge that is blocked.
    FlowEffects = "flow-effects",
    /// What became one keeps where it came from: two causes or more, a bounded number, in their order.
    MergeLineage = "merge-lineage",
    /// A notice says how much was dropped, and of what.
    DropNotice = "drop-notice",
    /// What a voice gave is sent, or its loss is said.
    DroppedInSilence = "dropped-in-silence",

    /// A write is committed or revoked once, after it was proposed.
    ToolDecision = "tool-decision",
    /// No write is committed while an interruption is pending.
    ToolCommittedHeld = "tool-committed-held",
    /// A write runs in the tick of its commit point, and never without it.
    ToolInvocation = "tool-invocation",
    /// An aborted turn revokes its undecided writes.
    ToolUndecided = "tool-undecided",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One place at which a trace breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The line of the trace, from 1.
    pub line: usize,
    /// What is wrong there.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.rule, self.detail)
    }
}

/// Collects what the rules find, up to a number at which more would tell nothing new.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Violation>);

/// Violations of one trace that are kept.
const MAX_VIOLATIONS: usize = 1_000;

impl Findings {
    pub(crate) fn add(&mut self, rule: Rule, row: Row<'_>, detail: impl Into<String>) {
        if self.0.len() < MAX_VIOLATIONS {
            self.0.push(Violation { rule, line: row.number, detail: detail.into() });
        }
    }

    pub(crate) fn so_far(&self) -> &[Violation] {
        &self.0
    }

    pub(crate) fn sorted(mut self) -> Vec<Violation> {
        self.0.sort_by_key(|violation| (violation.line, violation.rule));
        self.0
    }
}
