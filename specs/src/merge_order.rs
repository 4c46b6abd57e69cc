//! What fan-ins go by: declared rules, each with a version, so that a plan's hash says which one it was (`F-150`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which order a merge passes on what comes in one tick. The rule's name and version are part of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum MergeOrder {
    /// By the inputs that caused it, and for one cause in the order of the edges.
    #[default]
    #[serde(rename = "by_cause/v1")]
    ByCause,
    /// In the order of the edges, and of one edge by the inputs that caused it.
    #[serde(rename = "by_port/v1")]
    ByPort,
}

impl MergeOrder {
    /// The rule's id and version.
    pub const fn name(self) -> &'static str {
        match self {
            MergeOrder::ByCause => "by_cause/v1",
            MergeOrder::ByPort => "by_port/v1",
        }
    }
}

/// What a join takes for belonging together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinBy {
    /// The first item of each input, then the second of each.
    #[default]
    Items,
    /// What is of one media time: it goes on once every input is complete up to there.
    Watermark,
}
