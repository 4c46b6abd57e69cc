//! The table of control signals: who may say what, about what, with which fields (`F-025`).
//!
//! Emitting what the table forbids is an error, in tests and at the borders.

use crate::ids::TurnId;
use crate::time::Lane;
use crate::timeline::Signal;

/// Whose business a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalScope {
    /// The session's.
    Session,
    /// One turn's; the record names it.
    Turn,
    /// A session's, or a turn's where one is active.
    Either,
}

impl SignalScope {
    /// Whether a signal of this scope may name this turn, or none.
    pub fn allows(self, turn: Option<TurnId>) -> bool {
        match self {
            SignalScope::Session => turn.is_none(),
            SignalScope::Turn => turn.is_some(),
            SignalScope::Either => true,
        }
    }
}

/// Which part of the core may emit a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Sessions begin and end.
    Session,
    /// Decides about turns.
    Arbiter,
    /// Cancels, and checks generations.
    Fence,
    /// The last gate inside.
    Egress,
    /// Knows what was heard.
    Ledger,
    /// Tools that change the world.
    Commitments,
    /// Runs nodes.
    Host,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct SignalRow {
    /// The name on the wire and in traces.
    pub name: &'static str,
    /// The lane that carries it.
    pub lane: Lane,
    /// Whose business it is.
    pub scope: SignalScope,
    /// Who may emit it.
    pub owner: Owner,
    /// Whether it ends a turn: exactly one of these, then `close`.
    pub terminal: bool,
    /// The fields that it must carry, in order.
    pub fields: &'static [&'static str],
}

const fn row(name: &'static str, scope: SignalScope, owner: Owner, fields: &'static [&'static str]) -> SignalRow {
    SignalRow { name, lane: Lane::Control, scope, owner, terminal: false, fields }
}

const fn terminal(name: &'static str, fields: &'static [&'static str]) -> SignalRow {
    SignalRow { terminal: true, ..row(name, SignalScope::Turn, Owner::Arbiter, fields) }
}

const REFUSAL: [&str; 3] = ["reason", "point", "fairness_key"];
const DEFERRAL: [&str; 4] = ["reason", "point", "fairness_key", "retry_after_ms"];

/// The table.
pub const SIGNALS: [SignalRow; 61] = {
    use Owner::{Arbiter, Commitments, Egress, Fence, Host, Ledger, Session};
    use SignalScope::{Either, Session as OfSession, Turn};
    [
        row("session_ready", OfSession, Session, &[]),
        row("session_ended", OfSession, Session, &[]),
        row("admit", OfSession, Arbiter, &[]),
        row("reject", OfSession, Arbiter, &REFUSAL),
        row("deauthorized_drain", Either, Arbiter, &[]),
        row("turn_open", Turn, Arbiter, &["plan", "generation", "text", "understood", "speech_end_ms"]),
        row("output_accepted", Turn, Egress, &[]),
        row("playout_hold", Turn, Arbiter, &[]),
        row("playout_resume", Turn, Arbiter, &["from_sample", "estimated"]),
        row("cancel_accepted", Turn, Fence, &["reason"]),
        row("soft_cancel", Turn, Fence, &["reason", "grace_ms"]),
        row("node_cancelled", Either, Fence, &["node", "reason"]),
        row("invocation_cancelled", Either, Fence, &["id", "reason"]),
        row("cancel_settled", Either, Fence, &["id", "after_ms", "late_results"]),
        row("cancel_ignored", Either, Fence, &["id", "late_results"]),
        row("tool_proposed", Turn, Commitments, &["key", "name"]),
        row("tool_committed", Turn, Commitments, &["key"]),
        row("tool_revoked", Turn, Commitments, &["key"]),
        row("fence_applied", Turn, Fence, &["generation"]),
        row("playback_started", Turn, Ledger, &[]),
        row("playback_completed", Turn, Ledger, &["heard_samples", "estimated"]),
        row("playback_cancelled", Turn, Ledger, &["heard_samples", "estimated"]),
        row("heard", Turn, Ledger, &["text", "cut"]),
        terminal("commit", &[]),
        terminal("abort", &["reason"]),
        row("close", Turn, Arbiter, &[]),
        row("late_after_cancel", Either, Fence, &["id"]),
        row("output_fenced", Either, Egress, &["frames"]),
        row("provider_error", Either, Host, &["id", "outcome"]),
        row("provider_retry", Either, Host, &["id", "attempt"]),
        row("provider_switch", Either, Host, &["node", "binding", "cause"]),
        row("circuit_event", Either, Host, &["binding", "state"]),
        row("provider_budget", Either, Host, &["id", "outcome"]),
        row("turn_budget", Turn, Arbiter, &["budget", "outcome"]),
        row("node_budget", Turn, Arbiter, &["node", "outcome"]),
        row("path_budget", Turn, Arbiter, &["path", "outcome"]),
        row("edge_budget", Turn, Arbiter, &["edge", "outcome"]),
        row("degrade", Turn, Arbiter, &["step", "how", "node"]),
        row("defer", OfSession, Arbiter, &DEFERRAL),
        row("shed", Either, Arbiter, &REFUSAL),
        row("stale_epoch_reject", OfSession, Fence, &["epoch", "current"]),
        row("lease_rotated", OfSession, Session, &["epoch"]),
        row("recording_level", OfSession, Session, &["level", "cause"]),
        row("connection_event", OfSession, Session, &["state"]),
        row("migration_start", OfSession, Session, &["epoch"]),
        row("migration_finish", OfSession, Session, &["epoch"]),
        row("session_handoff", OfSession, Session, &["epoch"]),
        row("session_suspended", OfSession, Session, &[]),
        row("session_resumed", OfSession, Session, &[]),
        row("drop_notice", Either, Host, &["node", "edge", "lane", "items", "from_seq", "to_seq", "reason"]),
        row("watermark", Either, Host, &["edge", "level", "items", "bytes", "queued_ms", "percent"]),
        row("flow_xoff", Either, Host, &["edge"]),
        row("flow_xon", Either, Host, &["edge", "cause"]),
        row("credit_grant", Either, Host, &["edge", "items"]),
        row("merged", Either, Host, &["edge", "group", "sequences"]),
        row("discontinuity", Either, Host, &["edge", "gap", "sync", "domain", "items", "from_seq", "to_seq"]),
        row("branch_fallback", Either, Host, &["node", "fault"]),
        row("refused", Either, Arbiter, &["state", "input"]),
        row("node_error", Either, Host, &["node", "message"]),
        row("clock_rebased", OfSession, Session, &["clock", "skew_ms"]),
        row("node_overrun", Either, Host, &["node", "took_ms", "strikes", "outcome"]),
    ]
};

impl Signal {
    /// The signal's row in the table.
    pub fn row(&self) -> &'static SignalRow {
        let name = self.name();
        SIGNALS.iter().find(|row| row.name == name).expect("every signal has a row: a test goes through all of them")
    }

    /// The name on the wire and in traces.
    pub fn name(&self) -> &'static str {
        match self {
            Signal::SessionReady => "session_ready",
            Signal::SessionEnded => "session_ended",
            Signal::Admit => "admit",
            Signal::Reject(_) => "reject",
            Signal::DeauthorizedDrain => "deauthorized_drain",
            Signal::TurnOpen { .. } => "turn_open",
            Signal::OutputAccepted => "output_accepted",
            Signal::PlayoutHold => "playout_hold",
            Signal::PlayoutResume { .. } => "playout_resume",
            Signal::CancelAccepted { .. } => "cancel_accepted",
            Signal::SoftCancel { .. } => "soft_cancel",
            Signal::NodeCancelled { .. } => "node_cancelled",
            Signal::InvocationCancelled { .. } => "invocation_cancelled",
            Signal::CancelSettled { .. } => "cancel_settled",
            Signal::CancelIgnored { .. } => "cancel_ignored",
            Signal::ToolProposed { .. } => "tool_proposed",
            Signal::ToolCommitted { .. } => "tool_committed",
            Signal::ToolRevoked { .. } => "tool_revoked",
            Signal::FenceApplied { .. } => "fence_applied",
            Signal::PlaybackStarted => "playback_started",
            Signal::PlaybackCompleted { .. } => "playback_completed",
            Signal::PlaybackCancelled { .. } => "playback_cancelled",
            Signal::Heard { .. } => "heard",
            Signal::Commit => "commit",
            Signal::Abort { .. } => "abort",
            Signal::Close => "close",
            Signal::LateAfterCancel { .. } => "late_after_cancel",
            Signal::OutputFenced { .. } => "output_fenced",
            Signal::ProviderError { .. } => "provider_error",
            Signal::ProviderRetry { .. } => "provider_retry",
            Signal::ProviderSwitch { .. } => "provider_switch",
            Signal::CircuitEvent { .. } => "circuit_event",
            Signal::ProviderBudget { .. } => "provider_budget",
            Signal::TurnBudgetSpent { .. } => "turn_budget",
            Signal::PartBudgetSpent { part, .. } => part.budget_name(),
            Signal::Degraded { .. } => "degrade",
            Signal::Defer { .. } => "defer",
            Signal::Shed(_) => "shed",
            Signal::RecordingLevel { .. } => "recording_level",
            Signal::ConnectionEvent { .. } => "connection_event",
            Signal::MigrationStart { .. } => "migration_start",
            Signal::MigrationFinish { .. } => "migration_finish",
            Signal::SessionHandoff { .. } => "session_handoff",
            Signal::StaleEpochReject { .. } => "stale_epoch_reject",
            Signal::LeaseMoved { .. } => "lease_rotated",
            Signal::SessionSuspended => "session_suspended",
            Signal::SessionResumed => "session_resumed",
            Signal::Refused { .. } => "refused",
            Signal::NodeError { .. } => "node_error",
            Signal::NodeOverrun { .. } => "node_overrun",
            Signal::ClockRebased { .. } => "clock_rebased",
            of_an_edge => of_an_edge.name_of_an_edge(),
        }
    }

    fn name_of_an_edge(&self) -> &'static str {
        match self {
            Signal::DropNotice { .. } => "drop_notice",
            Signal::Watermark { .. } => "watermark",
            Signal::FlowXoff { .. } => "flow_xoff",
            Signal::FlowXon { .. } => "flow_xon",
            Signal::CreditGrant { .. } => "credit_grant",
            Signal::Merged { .. } => "merged",
            Signal::Discontinuity { .. } => "discontinuity",
            Signal::BranchFallback { .. } => "branch_fallback",
            _ => unreachable!("all others have their names above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_only_commit_and_abort_are_terminal() {
        let names: std::collections::BTreeSet<&str> = SIGNALS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), SIGNALS.len());
        let terminals: Vec<&str> = SIGNALS.iter().filter(|row| row.terminal).map(|row| row.name).collect();
        assert_eq!(terminals, ["commit", "abort"]);
    }
}
