//! What a corpus came to. Nothing in it depends on the clock on the wall or on who replayed what.

use std::collections::BTreeMap;
use std::fmt;

use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;
use serde::{Deserialize, Serialize};

use super::first_sounds;
use crate::diff::Class;
use crate::junit::{Case, Fault};

/// Calls that differ and are told in words; JSON and JUnit have all.
const MAX_SHOWN: usize = 10;
/// The width of a bucket of latencies.
const BUCKET: Micros = Micros::from_ms(5);
/// The last bucket has all that is longer.
const MAX_BUCKET: u64 = 12_000;

/// One call's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallResult {
    /// Its path from the corpus' folder.
    pub id: String,
    /// How it compares.
    pub judgement: Judgement,
    /// How long the call lasted, in virtual microseconds.
    pub call_us: u64,
    /// Records that it has.
    pub records: u64,
    /// How long the caller waited for each first sound, in microseconds, in the recording.
    pub before_us: Vec<u64>,
    /// The same in the replay.
    pub after_us: Vec<u64>,
}

/// How a call compares with its recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// To the byte.
    Identical,
    /// The same within the tolerance.
    Same,
    /// It differs.
    Differs {
        /// How, at first.
        class: Class,
        /// Where.
        first: String,
    },
    /// The recording is damaged.
    Damaged(String),
    /// It could not be replayed.
    Failed(String),
}

/// One bucket of latencies: before or after, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub(super) after: bool,
    pub(super) number: u64,
}

impl Bucket {
    pub(super) fn route(&self) -> u64 {
        self.number
    }
}

impl CallResult {
    pub(super) fn of(id: &str, judgement: Judgement) -> Self {
        let (before_us, after_us) = (Vec::new(), Vec::new());
        Self { id: id.to_owned(), judgement, call_us: 0, records: 0, before_us, after_us }
    }

    pub(super) fn with(self, before: &[Record], after: &[Record]) -> Self {
        let waits = |records: &[Record]| -> Vec<u64> { first_sounds(records).into_iter().map(|time| time.0).collect() };
        let ends = |records: &[Record]| records.last().map_or(0, |record| record.at.0);
        let begins = before.first().map_or(0, |record| record.at.0);
        let before_us = waits(before);
        // The same records need no second look.
        let after_us = if std::ptr::eq(before, after) { before_us.clone() } else { waits(after) };
        Self { call_us: ends(before) - begins, records: before.len() as u64, before_us, after_us, ..self }
    }

    /// The buckets that its latencies fall into.
    pub(super) fn buckets(&self) -> Vec<(Bucket, u64)> {
        let bucket = |after| move |us: &u64| (Bucket { after, number: (us / BUCKET.0).min(MAX_BUCKET) }, 1);
        let before = self.before_us.iter().map(bucket(false));
        before.chain(self.after_us.iter().map(bucket(true))).collect()
    }

    /// As a test of a JUnit suite.
    pub fn case(&self) -> Case {
        let fault = |is_error, class: &str, text: &str| {
            Some(Fault { is_error, class: class.to_owned(), text: text.to_owned() })
        };
        let fault = match &self.judgement {
            Judgement::Identical | Judgement::Same => None,
            Judgement::Differs { class, first } => fault(false, class.name(), first),
            Judgement::Damaged(text) => fault(true, "DAMAGED", text),
            Judgement::Failed(text) => fault(true, "FAILED", text),
        };
        Case { name: self.id.clone(), fault }
    }
}

/// A corpus in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorpusReport {
    /// How many calls.
    pub calls: u64,
    /// How long they lasted, summed, in virtual milliseconds.
    pub call_ms: u64,
    /// Records that were compared.
    pub records: u64,
    /// To the byte.
    pub identical: u64,
    /// The same within the tolerance.
    pub same: u64,
    /// That differ, by how they do at first.
    pub differ: BTreeMap<&'static str, u64>,
    /// Whose recording is damaged.
    pub damaged: u64,
    /// That could not be replayed.
    pub failed: u64,
    /// From the caller's last word to the first sound.
    pub first_sound: LatencyChange,
    /// Each call, by its id.
    pub results: Vec<CallResult>,
}

/// How long callers waited, before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LatencyChange {
    /// In the recordings.
    pub before: Option<Quantiles>,
    /// In the replays.
    pub after: Option<Quantiles>,
}

/// Latencies by how many did not exceed them, to 5 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many there are.
    pub answers: u64,
    /// Half of them.
    pub p50_ms: u64,
    /// 95 of 100.
    pub p95_ms: u64,
    /// 99 of 100.
    pub p99_ms: u64,
}

impl Quantiles {
    fn of(counted: &BTreeMap<u64, u64>) -> Option<Self> {
        let answers: u64 = counted.values().sum();
        let at = |percent: u64| {
            let rank = (answers * percent).div_ceil(100).max(1);
            let mut below = 0;
            let place = counted.iter().find(|(_, count)| {
                below += **count;
                below >= rank
            });
            // The upper edge: a latency is never told shorter than it is.
            place.map_or(0, |(number, _)| (number + 1) * BUCKET.as_ms())
        };
        (answers > 0).then(|| Self { answers, p50_ms: at(50), p95_ms: at(95), p99_ms: at(99) })
    }
}

impl CorpusReport {
    pub(super) fn of(mut results: Vec<CallResult>, counted: Vec<(Bucket, u64)>) -> Self {
        results.sort_by(|a, b| a.id.cmp(&b.id));
        let mut differ: BTreeMap<&'static str, u64> = Class::ALL.iter().map(|class| (class.name(), 0)).collect();
        for result in &results {
            if let Judgement::Differs { class, .. } = &result.judgement {
                *differ.entry(class.name()).or_default() += 1;
            }
        }
        let count = |is: fn(&Judgement) -> bool| results.iter().filter(|it| is(&it.judgement)).count() as u64;
        Self {
            calls: results.len() as u64,
            call_ms: results.iter().map(|it| it.call_us).sum::<u64>() / 1_000,
            records: results.iter().map(|it| it.records).sum(),
            identical: count(|it| *it == Judgement::Identical),
            same: count(|it| *it == Judgement::Same),
            damaged: count(|it| matches!(it, Judgement::Damaged(_))),
            failed: count(|it| matches!(it, Judgement::Failed(_))),
            differ,
            first_sound: latency_change(counted),
            results,
        }
    }

    /// Whether every call is identical, or the same within the tolerance.
    pub fn is_same(&self) -> bool {
        self.identical + self.same == self.calls
    }

    /// Each call as a test.
    pub fn cases(&self) -> Vec<Case> {
        self.results.iter().map(CallResult::case).collect()
    }
}

fn latency_change(counted: Vec<(Bucket, u64)>) -> LatencyChange {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    for (bucket, count) in counted {
        let side: &mut BTreeMap<u64, u64> = if bucket.after { &mut after } else { &mut before };
        *side.entry(bucket.number).or_default() += count;
    }
    LatencyChange { before: Quantiles::of(&before), after: Quantiles::of(&after) }
}

impl fmt::Display for CorpusReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, call_ms, records, identical, same, damaged, failed, .. } = self;
        writeln!(f, "{calls} calls, {:.1} minutes, {records} records", *call_ms as f64 / 60_000.0)?;
        writeln!(f, "identical {identical}, the same within the tolerance {same}, damaged {damaged}, failed {failed}")?;
        let differ: Vec<String> = self.differ.iter().map(|(class, count)| format!("{class} {count}")).collect();
        writeln!(f, "differ: {}", differ.join(", "))?;
        for (name, quantiles) in [("recorded", self.first_sound.before), ("replayed", self.first_sound.after)] {
            if let Some(Quantiles { answers, p50_ms, p95_ms, p99_ms }) = quantiles {
                let times = format!("p50 {p50_ms}, p95 {p95_ms}, p99 {p99_ms} ms");
                writeln!(f, "first sound, {name}: {times} over {answers} answers")?;
            }
        }
        let wrong = self.results.iter().filter_map(|result| Some((&result.id, result.case().fault?)));
        for (id, fault) in wrong.take(MAX_SHOWN) {
            writeln!(f, "\n{id}: {}", fault.text)?;
        }
        Ok(())
    }
}
