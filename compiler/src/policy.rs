//! Policies of a spec: what is asked of providers, what a turn may take, what new turns need.

use std::collections::BTreeMap;

use rspp_specs::budget::BudgetOutcome;
use rspp_specs::limits::{
    MAX_BACKCHANNEL_CHARS, MAX_BACKCHANNELS, MAX_CONFIRM_WORDS, MAX_DEGRADE_STEPS, MAX_TURN_PATHS,
};
use rspp_specs::plan::{
    AdmissionPolicy, Budget, ComputePolicy, Graces, InterruptionPolicy, NodeKind, Otherwise, ProviderPolicy,
    TurnBudgets, TurnPolicy,
};
use rspp_specs::time::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::degrade::{PathDocument, StepDocument};
use crate::unasked::{GreetingDocument, SilenceDocument};

/// What a node asks of its provider.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderDocument {
    /// Milliseconds from the call to its first result, 1000 unless given; of a recogniser, from the end of its audio to
    /// its final.
    #[schemars(range(min = 1, max = 600_000))]
    first_result_ms: Option<u64>,
    /// Milliseconds from one result to the next, 3000 unless given.
    #[schemars(range(min = 1, max = 600_000))]
    stall_ms: Option<u64>,
    /// So often one provider is tried, as long as nothing of its answer has come; 2 unless given.
    #[schemars(range(min = 1, max = 5))]
    attempts: Option<u32>,
    /// Who is called instead, in this order.
    #[schemars(length(max = 8))]
    fallback: Vec<String>,
    /// So many calls of the node to models and voices may be under way at the same time; others wait for their turn.
    #[schemars(range(min = 1, max = 64))]
    concurrency: Option<u32>,
}

impl ProviderDocument {
    /// Who is called instead.
    pub(crate) fn fallbacks(&self) -> impl Iterator<Item = &str> {
        self.fallback.iter().map(String::as_str)
    }

    /// The policy, with defaults for what is not given.
    pub(crate) fn policy(&self) -> ProviderPolicy {
        let default = ProviderPolicy::default();
        ProviderPolicy {
            first_result: self.first_result_ms.map_or(default.first_result, Micros::from_ms),
            stall: self.stall_ms.map_or(default.stall, Micros::from_ms),
            attempts: self.attempts.unwrap_or(default.attempts),
            fallback: self.fallback.clone(),
            concurrency: self.concurrency,
        }
    }
}

/// What the arbiter decides by.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TurnDocument {
    /// What speech over an answer does; `hold` unless given.
    interruption: Option<InterruptionPolicy>,
    /// Milliseconds after which writes may run, 300 unless given.
    #[schemars(range(max = 600_000))]
    commit_point_ms: Option<u64>,
    /// Milliseconds that a turn waits for a transport that is gone or stalled, 5000 unless given.
    #[schemars(range(max = 600_000))]
    reconnect_ms: Option<u64>,
    /// Milliseconds after which a hold that hears nothing more ends, 2000 unless given.
    #[schemars(range(max = 600_000))]
    hold_max_ms: Option<u64>,
    /// Milliseconds that a soft cancellation lets be said, and that a provider has to heed a hard one; 75 unless given.
    #[schemars(range(max = 600_000))]
    cancel_grace_ms: Option<u64>,
    /// So many milliseconds of speech over an answer cancel it, 400 unless given.
    #[schemars(range(max = 600_000))]
    confirm_speech_ms: Option<u64>,
    /// So many words over an answer cancel it, 1 unless given.
    #[schemars(range(min = 1, max = MAX_CONFIRM_WORDS))]
    confirm_words: Option<u32>,
    /// So many milliseconds of quiet, without words, and the answer goes on; 100 unless given.
    #[schemars(range(max = 600_000))]
    dismiss_quiet_ms: Option<u64>,
    /// What listeners say to make a speaker go on; it does not interrupt.
    #[schemars(length(max = MAX_BACKCHANNELS), inner(length(min = 1, max = MAX_BACKCHANNEL_CHARS)))]
    backchannels: Vec<String>,
    /// Words that come so many milliseconds late after their utterance are a turn of their own; later ones are dropped.
    #[schemars(range(max = 600_000))]
    late_words_ms: Option<u64>,
    /// What the agent says when the session begins, before the caller has said anything.
    pub(crate) greeting: Option<GreetingDocument>,
    /// What it does when nobody speaks any more.
    pub(crate) silence: Option<SilenceDocument>,
    /// For how long a node may compute.
    compute: ComputeDocument,
    /// What a turn may take.
    pub(crate) budgets: BudgetsDocument,
    /// By what steps a turn gets by with less, in their order, when a budget's `then` is `degrade`.
    #[schemars(length(max = MAX_DEGRADE_STEPS))]
    pub(crate) degrade: Vec<StepDocument>,
}

impl TurnDocument {
    /// The first of the backchannels that no caller can say.
    pub(crate) fn speechless(&self) -> Option<usize> {
        self.backchannels.iter().position(|words| !words.chars().any(char::is_alphanumeric))
    }

    /// What the policy says to the nodes that hear the caller.
    pub(crate) fn govern(&self, kind: &mut NodeKind) {
        match kind {
            NodeKind::Vad(params) => {
                params.sustained = self.confirm_speech_ms.map_or(params.sustained, Micros::from_ms);
                params.pause = self.dismiss_quiet_ms.map_or(params.pause, Micros::from_ms);
            }
            NodeKind::Utterance(params) => {
                params.backchannels.clone_from(&self.backchannels);
                params.confirm_words = self.confirm_words.unwrap_or(params.confirm_words);
                params.late_words = self.late_words_ms.map_or(params.late_words, Micros::from_ms);
            }
            _ => {}
        }
    }

    /// The policy, with defaults for what is not given.
    pub(crate) fn policy(&self) -> TurnPolicy {
        let default = TurnPolicy::default();
        let BudgetsDocument { first_speakable, first_audio, whole, node, .. } = &self.budgets;
        let budgets = default.budgets;
        let of =
            |given: &Option<BudgetDocument>, default: Budget| given.as_ref().map_or(default, BudgetDocument::budget);
        TurnPolicy {
            interruption: self.interruption.unwrap_or(default.interruption),
            commit_point: self.commit_point_ms.map_or(default.commit_point, Micros::from_ms),
            reconnect: self.reconnect_ms.map_or(default.reconnect, Micros::from_ms),
            graces: Graces {
                hold: self.hold_max_ms.map_or(default.graces.hold, Micros::from_ms),
                cancel: self.cancel_grace_ms.map_or(default.graces.cancel, Micros::from_ms),
            },
            budgets: TurnBudgets {
                first_speakable: first_speakable.as_ref().map(BudgetDocument::budget),
                first_audio: of(first_audio, budgets.first_audio),
                whole: of(whole, budgets.whole),
                node: of(node, budgets.node),
                ..TurnBudgets::default()
            },
            compute: self.compute.policy(),
            greeting: self.greeting.as_ref().and_then(GreetingDocument::prompt),
            silence: self.silence.as_ref().and_then(SilenceDocument::policy),
            // What names nodes and edges comes when these have their places.
            degrade: Vec::new(),
        }
    }
}

/// For how long a node may compute.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ComputeDocument {
    /// A reaction that computes for more milliseconds is an overrun; 20 unless given.
    #[schemars(range(min = 1, max = 600_000))]
    slice_ms: Option<u64>,
    /// With so many overruns a node is taken out; 3 unless given.
    #[schemars(range(min = 1, max = 1_000))]
    strikes: Option<u32>,
    /// Overruns count for so many milliseconds; 10000 unless given.
    #[schemars(range(max = 600_000))]
    within_ms: Option<u64>,
    /// A node that is not ready at its start has so many milliseconds to be; 2000 unless given.
    #[schemars(range(min = 1, max = 600_000))]
    start_ms: Option<u64>,
}

impl ComputeDocument {
    fn policy(&self) -> ComputePolicy {
        let default = ComputePolicy::default();
        ComputePolicy {
            slice: self.slice_ms.map_or(default.slice, Micros::from_ms),
            strikes: self.strikes.unwrap_or(default.strikes),
            within: self.within_ms.map_or(default.within, Micros::from_ms),
            start: self.start_ms.map_or(default.start, Micros::from_ms),
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BudgetsDocument {
    /// Until the first sentence goes to the voice; none unless given.
    pub(crate) first_speakable: Option<BudgetDocument>,
    /// Until the first audio passes egress; 2000 ms unless given.
    pub(crate) first_audio: Option<BudgetDocument>,
    /// Until nothing more comes; 180000 ms unless given, and then the turn ends.
    pub(crate) whole: Option<BudgetDocument>,
    /// Of each node of a turn that calls a provider: from an item that it takes to its answer; 800 ms unless given.
    pub(crate) node: Option<BudgetDocument>,
    /// The same of nodes by their names, also of such as call nobody.
    pub(crate) nodes: BTreeMap<String, BudgetDocument>,
    /// From the first item at one node to the first answer of another, by names of your own.
    #[schemars(length(max = MAX_TURN_PATHS))]
    pub(crate) paths: BTreeMap<String, PathDocument>,
    /// Of edges with a buffer, by their arrows: as long as an item waits there.
    pub(crate) edges: BTreeMap<String, BudgetDocument>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetDocument {
    /// Milliseconds; of a turn, from its opening.
    #[schemars(range(max = 600_000))]
    ms: u64,
    /// What follows when it is spent.
    #[serde(default)]
    pub(crate) then: BudgetOutcome,
}

impl BudgetDocument {
    pub(crate) fn budget(&self) -> Budget {
        Budget { limit: Micros::from_ms(self.ms), then: self.then }
    }
}

/// What new turns need.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdmissionDocument {
    /// No turn opens without a word of the control plane that is younger than so many milliseconds.
    snapshot_max_age_ms: Option<u64>,
    /// What happens to a proposal meanwhile.
    otherwise: Otherwise,
}

impl AdmissionDocument {
    /// The policy.
    pub(crate) fn policy(&self) -> AdmissionPolicy {
        let snapshot_max_age = self.snapshot_max_age_ms.map(Micros::from_ms);
        AdmissionPolicy { snapshot_max_age, otherwise: self.otherwise }
    }
}
