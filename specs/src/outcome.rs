//! How things end: outcomes of invocations, reasons of cancellations and aborts.

use serde::{Deserialize, Serialize};

use crate::ids::{InvocationId, NodeIndex};
use crate::time::Micros;

/// How an invocation ended, the same for all kinds of provider (`F-160`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it came.
    Success,
    /// Nothing, or nothing more, came in time.
    Timeout,
    /// The provider has too much to do.
    Overload,
    /// The provider's quota for us is used up.
    RateLimited,
    /// The provider refused the content.
    Blocked,
    /// The connection broke.
    Disconnected,
    /// We cancelled it.
    Cancelled,
    /// The request can't be right.
    InvalidRequest,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Outcome::Success,
        Outcome::Timeout,
        Outcome::Overload,
        Outcome::RateLimited,
        Outcome::Blocked,
        Outcome::Disconnected,
        Outcome::Cancelled,
        Outcome::InvalidRequest,
        Outcome::Failed,
    ];

    /// Whether the same request may do better a little later.
    pub const fn retryable(self) -> bool {
        matches!(self, Outcome::Timeout | Outcome::Overload | Outcome::RateLimited | Outcome::Disconnected)
    }

    /// How long the provider is better left alone before it is asked again, for the first time.
    pub const fn backoff(self) -> Micros {
        match self {
            Outcome::Overload | Outcome::RateLimited => Micros::from_ms(100),
            _ => Micros(0),
        }
    }

    /// Whether it tells against the provider, and not against the request or us: a circuit breaker counts it.
    pub const fn is_fault(self) -> bool {
        self.retryable() || matches!(self, Outcome::Failed)
    }

    /// The name in traces and specs.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Timeout => "timeout",
            Outcome::Overload => "overload",
            Outcome::RateLimited => "rate_limited",
            Outcome::Blocked => "blocked",
            Outcome::Disconnected => "disconnected",
            Outcome::Cancelled => "cancelled",
            Outcome::InvalidRequest => "invalid_request",
            Outcome::Failed => "failed",
        }
    }
}

/// Why a cancellation was accepted (`F-035`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The caller spoke over the answer.
    BargeIn,
    /// The application or the user said so.
    UserCancel,
    /// A policy did.
    Policy,
    /// The worker goes down.
    Shutdown,
}

impl CancelReason {
    /// The name in traces and specs.
    pub const fn name(self) -> &'static str {
        match self {
            CancelReason::BargeIn => "barge_in",
            CancelReason::UserCancel => "user_cancel",
            CancelReason::Policy => "policy",
            CancelReason::Shutdown => "shutdown",
        }
    }
}

/// A cancellation that is asked for from outside (`F-033` to `F-035`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Why.
    pub reason: CancelReason,
    /// Of what.
    #[serde(default)]
    pub of: CancelScope,
    /// What is being said may be said to its end, within the grace of the plan. Of turns only.
    #[serde(default)]
    pub soft: bool,
}

impl Cancellation {
    /// Of the active turn, at once.
    pub fn of_turn(reason: CancelReason) -> Self {
        Self { reason, of: CancelScope::Turn, soft: false }
    }
}

/// What a cancellation is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelScope {
    /// The active turn.
    #[default]
    Turn,
    /// The active turn, and what the session does beside it. Writes that have committed go on.
    Session,
    /// What a node does and keeps; its turn goes on.
    Node(NodeIndex),
    /// One invocation; its turn goes on.
    Invocation(InvocationId),
}

/// Why a turn was aborted, in the order in which causes of one window win: the first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbortReason {
    /// Another writer holds the session's lease (`F-156`).
    AuthorityLoss,
    /// A cancellation was accepted.
    Cancelled,
    /// A budget is spent, and its plan says that the turn ends.
    BudgetExhausted,
    /// What is kept of every turn can't be kept (`F-176`).
    RecordingEvidenceUnavailable,
    /// A node panicked or failed.
    NodeTimeoutOrFailure,
    /// A provider failed and the plan has nothing else.
    ProviderFailure,
    /// The caller is gone.
    TransportDisconnectOrStall,
}

impl AbortReason {
    /// The name in traces.
    pub const fn name(self) -> &'static str {
        match self {
            AbortReason::AuthorityLoss => "authority_loss",
            AbortReason::Cancelled => "cancelled",
            AbortReason::BudgetExhausted => "budget_exhausted",
            AbortReason::RecordingEvidenceUnavailable => "recording_evidence_unavailable",
            AbortReason::NodeTimeoutOrFailure => "node_timeout_or_failure",
            AbortReason::ProviderFailure => "provider_failure",
            AbortReason::TransportDisconnectOrStall => "transport_disconnect_or_stall",
        }
    }
}
