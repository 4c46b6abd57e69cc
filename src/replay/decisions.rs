//! A recording of L0 or L1 lacks what was heard and said, so its nodes can't be asked again what they would make of it. What it
//! has is every input, signal and effect with its place and its time: the decisions. They are judged by the checker, which
//! knows the contract and nothing of the engine: from the inputs on, each opening, hold, cancellation, fence, terminal, timer,
//! second try and refusal has to be one that the contract allows there, and those that it demands have to be there.

use std::fmt;

use rspp_adapters::recording::Recording;
use rspp_checker::Checker;
use rspp_specs::trace::{Line, Renderer};
use serde::Serialize;

use super::{ReplayError, plan_of};
use crate::sim::limits_of;

/// Breaches that are told; more are counted.
const MAX_TOLD: usize = 20;

/// What the decisions of a recording come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// Ticks.
    pub ticks: usize,
    /// Records that were judged.
    pub records: usize,
    /// How often the contract is broken.
    pub breaches: usize,
    /// The first of these.
    pub found: Vec<Breach>,
}

/// Where the contract is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The session's tick.
    pub tick: u64,
    /// Which rule.
    pub rule: String,
    /// How.
    pub detail: String,
    /// The record, as traces have it.
    pub line: String,
}

impl Decided {
    /// Judges a recording, whatever was taken out of it.
    ///
    /// # Errors
    /// It does not begin with a session.
    pub fn of(recording: &Recording) -> Result<Self, ReplayError> {
        let plan = plan_of(&recording.records).ok_or(ReplayError::NoSession)?;
        let (mut renderer, mut checker) = (Renderer::new(plan), Checker::new(limits_of(plan)));
        let mut lines: Vec<Line> = Vec::with_capacity(recording.records.len());
        let mut ticks = 0;
        for tick in recording.ticks() {
            let from = lines.len();
            lines.extend(tick.iter().map(|record| renderer.record(record)));
            checker.push_tick(&lines[from..]);
            ticks += 1;
        }
        let violations = checker.finish();
        let found = violations.iter().take(MAX_TOLD).map(|violation| {
            let line = lines.get(violation.line.saturating_sub(1));
            Breach {
                tick: line.map_or(0, |line| line.tick),
                rule: violation.rule.name().to_owned(),
                detail: violation.detail.clone(),
                line: line.map(ToString::to_string).unwrap_or_default(),
            }
        });
        Ok(Self { ticks, records: recording.records.len(), breaches: violations.len(), found: found.collect() })
    }

    /// Whether every decision is one that the contract allows, and none is missing.
    pub fn hold(&self) -> bool {
        self.breaches == 0
    }
}

impl fmt::Display for Decided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticks, records, breaches, found } = self;
        write!(f, "decisions: {records} records in {ticks} ticks judged, {breaches} breaches of the contract")?;
        for Breach { tick, rule, detail, line } in found {
            write!(f, "\ntick {tick}: {rule}: {detail}\n  {line}")?;
        }
        Ok(())
    }
}
