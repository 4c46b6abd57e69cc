//! Two calls compared: where they part first and how, then everything else that is different: outputs, times, decisions,
//! providers, cost.
//!
//! Start with [`Report::of`]. What is compared are events without frames and without numbers that only count; times are
//! compared with a tolerance. That two plans differ is told beside it and is no divergence by itself, because it is what
//! a comparison is made for; it is one where nothing else differs.

mod events;
mod html;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;
use serde::Serialize;

use crate::account::{Account, TurnAccount};
use crate::drawing::Story;
use crate::prices::PriceList;

pub use walk::{Class, Divergence, Place};

/// Differences of plans that are told.
const MAX_PLAN_CHANGES: usize = 50;
/// Divergences that are told in words; JSON has more.
const MAX_SHOWN: usize = 20;

/// How two calls compare.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The first call.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// What of the plan is different.
    pub plan_changes: Vec<PlanChange>,
    /// Events that were compared, of the first call.
    pub events: usize,
    /// Where they part, the first first.
    pub divergences: Vec<Divergence>,
    /// How often, by class.
    pub counts: BTreeMap<&'static str, u64>,
    /// Their turns side by side.
    pub turns: Vec<TurnPair>,
    /// What each provider was asked, side by side.
    pub providers: Vec<ProviderPair>,
}

/// One of the two.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// What it is called.
    pub name: String,
    /// Its pipeline and version.
    pub pipeline: String,
    /// The plan's hash.
    pub plan_hash: String,
    /// What it cost.
    pub cost: Option<f64>,
}

/// One value of a plan that is different.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanChange {
    /// Where.
    pub field: String,
    /// In the first call.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// The same turn of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnPair {
    /// Its number.
    pub turn: u32,
    /// Whether the same was said, answered and heard, and it ended in the same way.
    pub same: bool,
    /// In the first call.
    pub a: Option<TurnAccount>,
    /// In the second.
    pub b: Option<TurnAccount>,
}

/// What a provider was asked in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProviderPair {
    /// `stt`, `llm`, `tts` or `tools`.
    pub kind: &'static str,
    /// Whom.
    pub binding: String,
    /// How often in the first call.
    pub a: u32,
    /// How often in the second.
    pub b: u32,
}

/// One call to compare.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its timeline.
    pub records: &'a [Record],
}

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Times that differ by no more are the same.
    pub tolerance: Micros,
    /// What providers cost.
    pub prices: Option<&'a PriceList>,
}

impl Report {
    /// Compares two calls.
    pub fn of(a: Call<'_>, b: Call<'_>, options: Options<'_>) -> Self {
        let (events_a, events_b) = (events::events(a.records), events::events(b.records));
        let found = walk::walk(&events_a, &events_b, options.tolerance);
        let accounts = [a, b].map(|call| Account::of(call.records, options.prices));
        let plans = [a, b].map(|call| crate::replay::plan_of(call.records));
        let plan_changes = match plans {
            [Some(a), Some(b)] => plan_changes(a, b),
            _ => Vec::new(),
        };
        let mut report = Self {
            a: side(a.name, &accounts[0]),
            b: side(b.name, &accounts[1]),
            events: events_a.len(),
            divergences: found.divergences,
            counts: Class::ALL.iter().map(|class| (class.name(), found.counts[*class as usize])).collect(),
            turns: turns(&accounts[0], &accounts[1]),
            providers: provider_pairs(&accounts[0], &accounts[1]),
            plan_changes,
        };
        if report.divergences.is_empty() && !report.plan_changes.is_empty() {
            report.only_the_plan(&events_a, &events_b);
        }
        report
    }

    fn only_the_plan(&mut self, a: &[events::Event], b: &[events::Event]) {
        let place = |events: &[events::Event]| {
            let first = events.first()?;
            Some(Place { tick: first.tick, at_ms: crate::timeline::ms(first.at), event: first.line.clone() })
        };
        let detail = "the plans differ, and nothing came of it".to_owned();
        self.divergences.push(Divergence { class: Class::Plan, a: place(a), b: place(b), detail });
        self.counts.insert(Class::Plan.name(), 1);
    }

    /// Where they part first.
    pub fn first(&self) -> Option<&Divergence> {
        self.divergences.first()
    }

    /// Whether they are the same, apart from times within the tolerance.
    pub fn is_same(&self) -> bool {
        self.divergences.is_empty()
    }

    /// As a page that needs nothing else: both timelines side by side, and all that is different.
    pub fn html(&self, a: &[Record], b: &[Record]) -> String {
        let begin = |records: &[Record]| records.first().map_or(Micros(0), |record| record.at);
        html::page(self, (&Story::of(a), begin(a)), (&Story::of(b), begin(b)))
    }
}

fn side(name: &str, account: &Account) -> Side {
    let pipeline = format!("{} version {}", account.pipeline.name, account.pipeline.version);
    let cost = account.cost.as_ref().map(|cost| cost.total);
    Side { name: name.to_owned(), pipeline, plan_hash: account.pipeline.plan_hash.clone(), cost }
}

fn turns(a: &Account, b: &Account) -> Vec<TurnPair> {
    let numbers: BTreeSet<u32> = a.turns.iter().chain(&b.turns).map(|turn| turn.turn).collect();
    let find = |account: &Account, number| account.turns.iter().find(|turn| turn.turn == number).cloned();
    let says = |turn: &TurnAccount| {
        let TurnAccount { terminal, reason, user_text, agent_text, heard_text, .. } = turn;
        (*terminal, *reason, user_text.clone(), agent_text.clone(), heard_text.clone())
    };
    let pair = |turn| {
        let (a, b) = (find(a, turn), find(b, turn));
        let same = a.as_ref().map(says) == b.as_ref().map(says);
        TurnPair { turn, same, a, b }
    };
    numbers.into_iter().map(pair).collect()
}

fn provider_pairs(a: &Account, b: &Account) -> Vec<ProviderPair> {
    let mut pairs: BTreeMap<(&'static str, String), (u32, u32)> = BTreeMap::new();
    for it in &a.providers {
        pairs.entry((it.kind, it.binding.clone())).or_default().0 += it.invocations;
    }
    for it in &b.providers {
        pairs.entry((it.kind, it.binding.clone())).or_default().1 += it.invocations;
    }
    pairs.into_iter().map(|((kind, binding), (a, b))| ProviderPair { kind, binding, a, b }).collect()
}

fn plan_changes(a: &Plan, b: &Plan) -> Vec<PlanChange> {
    let (Ok(a), Ok(b)) = (serde_json::to_value(a), serde_json::to_value(b)) else { return Vec::new() };
    let mut changes = Vec::new();
    collect_changes("", Some(&a), Some(&b), &mut changes);
    changes
}

fn collect_changes(
    field: &str,
    a: Option<&serde_json::Value>,
    b: Option<&serde_json::Value>,
    changes: &mut Vec<PlanChange>,
) {
    use serde_json::Value;
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    match (a, b) {
        _ if a == b || changes.len() >= MAX_PLAN_CHANGES => {}
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            keys.into_iter().for_each(|key| collect_changes(&below(key), x.get(key), y.get(key), changes));
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => {
            for place in 0..x.len().max(y.len()) {
                let (x, y) = (x.get(place), y.get(place));
                let name = x.or(y).and_then(|it| it.get("name")?.as_str());
                let name = name.map_or_else(|| place.to_string(), str::to_owned);
                collect_changes(&below(&name), x, y, changes);
            }
        }
        _ => {
            let shown = |value: Option<&Value>| value.map(ToString::to_string);
            changes.push(PlanChange { field: field.to_owned(), a: shown(a), b: shown(b) });
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, a, b, detail } = self;
        let shown = |place: &Option<Place>| place.as_ref().map_or("(nothing)".to_owned(), |it| it.event.clone());
        write!(f, "{}", class.name())?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        write!(f, "\n  a: {}\n  b: {}", shown(a), shown(b))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Side { name: a, pipeline: of_a, .. } = &self.a;
        let Side { name: b, pipeline: of_b, .. } = &self.b;
        match self.first() {
            None => writeln!(f, "same: {} events of {a} and {b}", self.events)?,
            Some(first) => writeln!(f, "differs first: {first}")?,
        }
        writeln!(f, "\na: {a}, {of_a}\nb: {b}, {of_b}")?;
        for PlanChange { field, a, b } in &self.plan_changes {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
            writeln!(f, "plan: {field}: {} -> {}", shown(a), shown(b))?;
        }
        if self.divergences.len() > 1 {
            let counts = self.counts.iter().filter(|(_, count)| **count > 0);
            let counts = counts.map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ");
            writeln!(f, "\nall: {counts}")?;
            for divergence in self.divergences.iter().take(MAX_SHOWN) {
                writeln!(f, "{divergence}")?;
            }
            if self.divergences.len() > MAX_SHOWN {
                writeln!(f, "and {} more: --json has them", self.divergences.len() - MAX_SHOWN)?;
            }
        }
        self.tell_turns(f)
    }
}

impl Report {
    fn tell_turns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pair in self.turns.iter().filter(|pair| !pair.same || self.times_differ(pair)) {
            writeln!(f, "\nturn {}", pair.turn)?;
            for (side, turn) in [("a", &pair.a), ("b", &pair.b)] {
                let Some(turn) = turn else {
                    writeln!(f, "  {side}: (none)")?;
                    continue;
                };
                let first = turn.latency.as_ref().map_or("-".to_owned(), |it| format!("{} ms", it.first_audio_ms));
                let reason = turn.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                writeln!(f, "  {side}: {}{reason}, first sound after {first}", turn.terminal)?;
                writeln!(f, "     said {:?}, heard {:?}", turn.user_text, turn.heard_text)?;
            }
        }
        let differs = |pair: &&ProviderPair| pair.a != pair.b;
        for ProviderPair { kind, binding, a, b } in self.providers.iter().filter(differs) {
            writeln!(f, "\n{kind} {binding}: asked {a} times, then {b}")?;
        }
        match (self.a.cost, self.b.cost) {
            (Some(a), Some(b)) => writeln!(f, "\ncost: {a:.4}, then {b:.4}, estimated"),
            _ => Ok(()),
        }
    }

    fn times_differ(&self, pair: &TurnPair) -> bool {
        let first = |turn: &Option<TurnAccount>| Some(turn.as_ref()?.latency.as_ref()?.first_audio_ms);
        first(&pair.a) != first(&pair.b)
    }
}
