//! Policies of a spec: what is asked of providers, what a turn may take, what new turns need.

use rspp_specs::limits::{
    MAX_BACKCHANNEL_CHARS, MAX_BACKCHANNELS, MAX_CONFIRM_WORDS, MAX_FALLBACKS, MAX_PROVIDER_ATTEMPTS,
};
use rspp_specs::plan::{AdmissionPolicy, Budget, Graces, NodeKind, Otherwise, ProviderPolicy, TurnBudgets, TurnPolicy};
use rspp_specs::time::Micros;
use serde::Deserialize;

use rspp_specs::plan::InterruptionPolicy;

use crate::finding::{Collector, Place};

/// What a node asks of its provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderDocument {
    first_result_ms: Option<u64>,
    stall_ms: Option<u64>,
    attempts: Option<u32>,
    fallback: Vec<String>,
}

impl ProviderDocument {
    /// Reports what is out of bounds.
    pub(crate) fn check(&self, findings: &mut Collector<'_>, path: &str, place: &Place) {
        let mut report = |field: &str, message: String, hint: String| {
            findings.report("RSPP0021", place.clone(), format!("{path}.provider.{field}"), message, hint);
        };
        for (field, ms) in [("first_result_ms", self.first_result_ms), ("stall_ms", self.stall_ms)] {
            if ms.is_some_and(|ms| !(1..=MAX_BUDGET_MS).contains(&ms)) {
                report(field, format!("{field} is out of bounds"), format!("from 1 to {MAX_BUDGET_MS} milliseconds"));
            }
        }
        if self.attempts.is_some_and(|attempts| !(1..=MAX_PROVIDER_ATTEMPTS).contains(&attempts)) {
            let hint = format!("from 1, which never tries again, to {MAX_PROVIDER_ATTEMPTS}");
            report("attempts", "attempts is out of bounds".to_owned(), hint);
        }
        if self.fallback.len() > MAX_FALLBACKS || self.fallback.iter().any(|binding| binding.trim().is_empty()) {
            let hint = format!("name up to {MAX_FALLBACKS} providers, in the order in which they are to be called");
            report("fallback", "fallback is out of bounds".to_owned(), hint);
        }
    }

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
        }
    }
}

/// The longest budget: ten minutes.
const MAX_BUDGET_MS: u64 = 600_000;

/// What the arbiter decides by.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TurnDocument {
    interruption: Option<InterruptionPolicy>,
    commit_point_ms: Option<u64>,
    reconnect_ms: Option<u64>,
    hold_max_ms: Option<u64>,
    cancel_grace_ms: Option<u64>,
    confirm_speech_ms: Option<u64>,
    confirm_words: Option<u32>,
    dismiss_quiet_ms: Option<u64>,
    backchannels: Vec<String>,
    late_words_ms: Option<u64>,
    budgets: BudgetsDocument,
}

impl TurnDocument {
    /// Reports what is out of bounds.
    pub(crate) fn check(&self, findings: &mut Collector<'_>, place: &Place) {
        let BudgetsDocument { first_speakable, first_audio, whole } = &self.budgets;
        let budgets = [("first_speakable", first_speakable), ("first_audio", first_audio), ("whole", whole)];
        let given =
            budgets.into_iter().filter_map(|(name, budget)| Some((format!("budgets.{name}.ms"), budget.as_ref()?.ms)));
        let times = [
            ("commit_point_ms", self.commit_point_ms),
            ("reconnect_ms", self.reconnect_ms),
            ("hold_max_ms", self.hold_max_ms),
            ("cancel_grace_ms", self.cancel_grace_ms),
            ("confirm_speech_ms", self.confirm_speech_ms),
            ("dismiss_quiet_ms", self.dismiss_quiet_ms),
            ("late_words_ms", self.late_words_ms),
        ];
        let times = times.into_iter().filter_map(|(name, ms)| Some((name.to_owned(), ms?)));
        for (field, ms) in given.chain(times) {
            if ms > MAX_BUDGET_MS {
                let hint = format!("at most {MAX_BUDGET_MS} milliseconds");
                let message = format!("{field} is {ms}");
                findings.report("RSPP0021", place.clone(), format!("turn.{field}"), message, hint);
            }
        }
        let mut out_of_bounds = |field: &str, hint: String| {
            let message = format!("{field} is out of bounds");
            findings.report("RSPP0021", place.clone(), format!("turn.{field}"), message, hint);
        };
        if self.confirm_words.is_some_and(|words| !(1..=MAX_CONFIRM_WORDS).contains(&words)) {
            out_of_bounds("confirm_words", format!("from 1 to {MAX_CONFIRM_WORDS} words"));
        }
        let too_long = |words: &String| words.chars().count() > MAX_BACKCHANNEL_CHARS;
        let speechless = |words: &String| !words.chars().any(char::is_alphanumeric);
        if self.backchannels.len() > MAX_BACKCHANNELS
            || self.backchannels.iter().any(|words| too_long(words) || speechless(words))
        {
            let hint = format!(
                "up to {MAX_BACKCHANNELS}, each of at most {MAX_BACKCHANNEL_CHARS} characters and with a word in it"
            );
            out_of_bounds("backchannels", hint);
        }
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
        let BudgetsDocument { first_speakable, first_audio, whole } = &self.budgets;
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
            },
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BudgetsDocument {
    first_speakable: Option<BudgetDocument>,
    first_audio: Option<BudgetDocument>,
    whole: Option<BudgetDocument>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetDocument {
    ms: u64,
    #[serde(default)]
    then: Then,
}

/// What follows when a budget is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    #[default]
    Continue,
    Terminate,
}

impl BudgetDocument {
    fn budget(&self) -> Budget {
        Budget { limit: Micros::from_ms(self.ms), terminate: self.then == Then::Terminate }
    }
}

/// What new turns need.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdmissionDocument {
    snapshot_max_age_ms: Option<u64>,
    otherwise: Otherwise,
}

impl AdmissionDocument {
    /// The policy.
    pub(crate) fn policy(&self) -> AdmissionPolicy {
        let snapshot_max_age = self.snapshot_max_age_ms.map(Micros::from_ms);
        AdmissionPolicy { snapshot_max_age, otherwise: self.otherwise }
    }
}
