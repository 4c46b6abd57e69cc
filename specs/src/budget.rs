//! Words for what a turn, its parts and its providers may take, and for what follows when that is spent.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{EdgeIndex, NodeIndex};

/// The budgets of a turn (`F-045` to `F-048`).
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

/// A part of a turn that has a budget of its own (`F-045` to `F-048`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnPart {
    /// A node: from an item that it takes to its answer.
    Node(NodeIndex),
    /// A path, by its place in the plan: from the first item at its beginning to the first answer at its end.
    Path(u16),
    /// An edge: as long as an item waits on it.
    Edge(EdgeIndex),
}

impl TurnPart {
    /// What its budget is called in traces and on the wire.
    pub const fn budget_name(self) -> &'static str {
        match self {
            TurnPart::Node(_) => "node_budget",
            TurnPart::Path(_) => "path_budget",
            TurnPart::Edge(_) => "edge_budget",
        }
    }
}

/// What follows when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetOutcome {
    /// It is said, and things go on.
    #[default]
    Continue,
    /// The next step of the plan's `degrade` is taken.
    Degrade,
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
    /// A budget is spent, and the plan turns to the next one.
    Budget,
}

/// A step by which a turn gets by with less. A turn takes its plan's steps in their order, and none of them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DegradeStep {
    /// A node's calls go to the next provider of its chain.
    Provider(NodeIndex),
    /// What a node would be given goes on as it is.
    Skip(NodeIndex),
    /// Of the answer that a node cuts into sentences only so many more are said.
    Shorten {
        /// Which node's.
        node: NodeIndex,
        /// How many more.
        sentences: u32,
    },
}

impl DegradeStep {
    /// Whose work it changes.
    pub const fn node(self) -> NodeIndex {
        match self {
            DegradeStep::Provider(node) | DegradeStep::Skip(node) | DegradeStep::Shorten { node, .. } => node,
        }
    }

    /// The name in traces and specs.
    pub const fn name(self) -> &'static str {
        match self {
            DegradeStep::Provider(_) => "provider",
            DegradeStep::Skip(_) => "skip",
            DegradeStep::Shorten { .. } => "shorten",
        }
    }
}

/// A path with a budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnPath {
    /// Its name in traces.
    pub name: Arc<str>,
    /// The node at its beginning.
    pub from: NodeIndex,
    /// The node at its end.
    pub to: NodeIndex,
}
