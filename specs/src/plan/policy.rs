//! The policies of a plan: what the arbiter decides by, what is asked of providers, what new turns need.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{BudgetOutcome, DegradeStep, TurnBudget, TurnPart, TurnPath};
use crate::ids::{EdgeIndex, NodeIndex};
use crate::time::Micros;
use crate::timeline::Prompt;

/// What speech over an answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterruptionPolicy {
    /// Playout stops at once; words or enough speech confirm; otherwise it goes on where it was heard last.
    Hold,
    /// The onset cancels.
    Immediate,
    /// Nothing.
    Ignore,
}

/// What the arbiter decides by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnPolicy {
    /// What speech over an answer does.
    pub interruption: InterruptionPolicy,
    /// The age at which a turn is past its false-interruption grace, and writes may run.
    pub commit_point: Micros,
    /// What a turn may take.
    #[serde(default, skip_serializing_if = "TurnBudgets::is_default")]
    pub budgets: TurnBudgets,
    /// By what steps a turn gets by with less, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degrade: Vec<DegradeStep>,
    /// How long a turn waits for a transport that is gone or stalled, before it is aborted.
    #[serde(default = "default_reconnect", skip_serializing_if = "is_default_reconnect")]
    pub reconnect: Micros,
    /// What is given some time before it is ended.
    #[serde(default, skip_serializing_if = "Graces::is_default")]
    pub graces: Graces,
    /// For how long a node may compute.
    #[serde(default, skip_serializing_if = "ComputePolicy::is_default")]
    pub compute: ComputePolicy,
    /// What the agent says when the session begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Prompt>,
    /// What it does when nobody speaks any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<SilencePolicy>,
}

/// What the agent does when neither it nor the caller has spoken for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilencePolicy {
    /// For so long.
    pub after: Micros,
    /// What it says.
    pub prompt: Prompt,
    /// How often, until the caller says something.
    pub times: u32,
    /// Whether the session ends when that has not helped.
    pub then_end: bool,
}

/// For how long a node may compute in one reaction, which holds up all sessions of its worker (`F-012`, `F-109`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComputePolicy {
    /// A reaction that takes longer is an overrun.
    pub slice: Micros,
    /// With so many overruns a node is taken out.
    pub strikes: u32,
    /// Overruns count for so long.
    pub within: Micros,
    /// A node that says that it is not ready when its life begins has so long to be.
    pub start: Micros,
}

impl Default for ComputePolicy {
    fn default() -> Self {
        let [slice, within, start] = [20, 10_000, 2_000].map(Micros::from_ms);
        Self { slice, strikes: 3, within, start }
    }
}

impl ComputePolicy {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is given some time before it is ended (`F-036`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Graces {
    /// How long playout is on hold without a word, before the interruption counts as none.
    pub hold: Micros,
    /// How long what is being said may go on after a soft cancellation, and how long a provider has to answer a
    /// cancellation before it is ended by force.
    pub cancel: Micros,
}

impl Default for Graces {
    fn default() -> Self {
        Self { hold: Micros::from_ms(2_000), cancel: Micros::from_ms(75) }
    }
}

impl Graces {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TurnPolicy {
    fn default() -> Self {
        Self {
            interruption: InterruptionPolicy::Hold,
            commit_point: Micros::from_ms(300),
            budgets: TurnBudgets::default(),
            degrade: Vec::new(),
            reconnect: default_reconnect(),
            graces: Graces::default(),
            compute: ComputePolicy::default(),
            greeting: None,
            silence: None,
        }
    }
}

const fn default_reconnect() -> Micros {
    Micros::from_ms(5_000)
}

fn is_default_reconnect(reconnect: &Micros) -> bool {
    *reconnect == default_reconnect()
}

/// What a turn may take (`F-045` to `F-048`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnBudgets {
    /// Until the first text that can be spoken; none unless it is given.
    pub first_speakable: Option<Budget>,
    /// Until the first audio passes egress.
    pub first_audio: Budget,
    /// Until nothing more comes.
    pub whole: Budget,
    /// What a node that calls a provider may take, where it has no budget of its own.
    #[serde(default = "default_node", skip_serializing_if = "is_default_node")]
    pub node: Budget,
    /// Budgets of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<(NodeIndex, Budget)>,
    /// Budgets of paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<(TurnPath, Budget)>,
    /// Budgets of edges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<(EdgeIndex, Budget)>,
}

const fn default_node() -> Budget {
    Budget { limit: Micros::from_ms(800), then: BudgetOutcome::Continue }
}

fn is_default_node(node: &Budget) -> bool {
    *node == default_node()
}

impl Default for TurnBudgets {
    fn default() -> Self {
        Self {
            first_speakable: None,
            first_audio: Budget { limit: Micros::from_ms(2_000), then: BudgetOutcome::Continue },
            whole: Budget { limit: Micros::from_ms(180_000), then: BudgetOutcome::Terminate },
            node: default_node(),
            nodes: Vec::new(),
            paths: Vec::new(),
            edges: Vec::new(),
        }
    }
}

impl TurnBudgets {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Those that are set.
    pub fn each(&self) -> impl Iterator<Item = (TurnBudget, Budget)> {
        let speakable = self.first_speakable.map(|budget| (TurnBudget::FirstSpeakable, budget));
        speakable.into_iter().chain([(TurnBudget::FirstAudio, self.first_audio), (TurnBudget::Whole, self.whole)])
    }

    /// The budget of a part of the turn, if it has one of its own.
    pub fn of_part(&self, part: TurnPart) -> Option<Budget> {
        match part {
            TurnPart::Node(node) => self.nodes.iter().find(|(of, _)| *of == node).map(|(_, budget)| *budget),
            TurnPart::Path(path) => self.paths.get(usize::from(path)).map(|(_, budget)| *budget),
            TurnPart::Edge(edge) => self.edges.iter().find(|(of, _)| *of == edge).map(|(_, budget)| *budget),
        }
    }
}

/// One budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// From where it begins: of a turn, from its opening.
    pub limit: Micros,
    /// What follows when it is spent.
    pub then: BudgetOutcome,
}

/// What a node asks of its provider, and what happens when it does not get it (`F-160` to `F-165`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderPolicy {
    /// From the call to its first result; for a recogniser, from the end of its audio to its final.
    pub first_result: Micros,
    /// From one result to the next, where there are several.
    pub stall: Micros,
    /// So often one provider is tried, as long as nothing of its answer has come.
    pub attempts: u32,
    /// Who is called instead, in this order.
    pub fallback: Vec<String>,
    /// So many calls of the node may be under way at the same time; others wait for one of them to end. `None` for as many
    /// as a session may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl Default for ProviderPolicy {
    fn default() -> Self {
        Self {
            first_result: Micros::from_ms(1_000),
            stall: Micros::from_ms(3_000),
            attempts: 2,
            fallback: Vec::new(),
            concurrency: None,
        }
    }
}

impl ProviderPolicy {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What new turns need from outside (`F-049`, `F-101`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionPolicy {
    /// No turn opens without an admission snapshot that is at most so old.
    pub snapshot_max_age: Option<Micros>,
    /// What a missing, stale or incompatible snapshot does.
    pub otherwise: Otherwise,
}

impl AdmissionPolicy {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to a proposal that can't be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It may come again.
    #[default]
    Defer,
    /// It is refused.
    Reject,
}
