//! Words for what a turn and its providers may take, and for what follows when that is spent.

use serde::{Deserialize, Serialize};

/// The budgets of a turn (`F-109`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnBudget {
    /// Until the first text that can be spoken.
    FirstSpeakable,
    /// Until the first audio passes egress.
    FirstAudio,
    /// The whole turn, until its last audio passes egress.
    Whole,
}

/// What follows when a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetOutcome {
    /// It is said, and things go on.
    Continue,
    /// Another provider, or the same one again, takes over.
    Fallback,
    /// The turn ends.
    Terminate,
}

/// The states of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Calls pass.
    Closed,
    /// Calls go elsewhere.
    Open,
    /// One call passes, to see how it fares.
    HalfOpen,
}

/// Why a provider's calls go to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchCause {
    /// It failed.
    Failed,
    /// Its circuit is open.
    CircuitOpen,
}
