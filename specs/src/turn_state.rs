//! How a turn stands, and who holds it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{InvocationId, NodeIndex};

/// The arbiter's state between ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    /// No turn.
    Idle,
    /// A proposal is being decided; within one tick.
    Opening,
    /// A turn is open.
    Active,
    /// A turn is open, and playout is on hold.
    Held,
    /// A turn ended in this tick.
    Closed,
}

impl TurnState {
    /// The name in traces.
    pub const fn name(self) -> &'static str {
        match self {
            TurnState::Idle => "idle",
            TurnState::Opening => "opening",
            TurnState::Active => "active",
            TurnState::Held => "held",
            TurnState::Closed => "closed",
        }
    }
}

/// Who holds a turn: a row in the core's tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// An invocation in flight.
    Invocation(InvocationId),
    /// A write that waits for its commit point, or for its result.
    Write(Arc<str>),
    /// A node that keeps something.
    Node(NodeIndex),
    /// Something derived in this tick that the next one acts on.
    Derived,
    /// It is cancelled softly, and its grace is not over.
    Grace,
}
