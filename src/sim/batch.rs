//! Many simulations, one after the other: a range of seeds, or a corpus of them in a file. What each found is kept; the rest is
//! summed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use rspp_adapters::sim::Fault;
use rspp_compiler::Registry;
use serde::Serialize;

use super::SimError;
use super::judge::Found;
use super::report::{Gates, Migrations, Peaks, Report, Terminals};
use super::{Options, run};

/// Seeds whose first breach is told in full; more are named.
const MAX_TOLD: usize = 20;

/// Seeds, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(RangeInclusive<u64>);

impl Seeds {
    /// The same run with each of the seeds.
    pub fn of(&self, run: &Options) -> Vec<Options> {
        self.0.clone().map(|seed| Options { seed, ..run.clone() }).collect()
    }
}

/// Seeds in one batch: a day of them.
const MAX_SEEDS: u64 = 100_000;

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of seeds; write FIRST..LAST, such as 1..500: both are included");
        let (first, last) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        match last.checked_sub(first) {
            None => Err(format!("`{text}` has no seed: {first} is behind {last}")),
            Some(more) if more >= MAX_SEEDS => Err(format!("`{text}` has more than {MAX_SEEDS} seeds")),
            Some(_) => Ok(Self(first..=last)),
        }
    }
}

/// The runs of a corpus, one a line: seed, sessions, minutes, faults, and a session's number where that one alone is meant.
/// `#` begins a comment.
///
/// # Errors
/// Names the line that is none.
pub fn corpus(text: &str) -> Result<Vec<Options>, String> {
    let runs = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    runs.map(|(line, number)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong =
            || format!("line {number}: `{line}` is no run; write seed, sessions, minutes and faults: 7 20 2 all");
        let ([seed, sessions, minutes, faults], only) = match words[..] {
            [seed, sessions, minutes, faults] => ([seed, sessions, minutes, faults], None),
            [seed, sessions, minutes, faults, only] => ([seed, sessions, minutes, faults], Some(only)),
            _ => return Err(wrong()),
        };
        let sessions = sessions.parse().map_err(|_| wrong())?;
        let only = only.map(|only| only.parse().ok().filter(|only| *only < sessions).ok_or_else(wrong)).transpose()?;
        Ok(Options {
            spec: None,
            seed: seed.parse().map_err(|_| wrong())?,
            sessions,
            minutes: minutes.parse().map_err(|_| wrong())?,
            faults: faults.parse().map_err(|_| wrong())?,
            only,
        })
    })
    .collect()
}

/// What many simulations came to; what `rspp sim --seeds A..B --json` prints. Nothing in it depends on the clock on the wall.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Batch {
    /// Simulations.
    pub runs: u64,
    /// Calls that their sessions held.
    pub calls: u64,
    /// How long those lasted, summed, in virtual milliseconds.
    pub call_ms: u64,
    /// Turns that were opened.
    pub turns_opened: u64,
    /// How they ended.
    pub terminals: Terminals,
    /// Frames stopped at egress, and at the transport's own gate.
    pub fenced_outputs: u64,
    /// Results that came after their cancellation.
    pub late_results: u64,
    /// Items dropped by a declared rule.
    pub drops: u64,
    /// Faults by class, as far as traces show them.
    pub faults: BTreeMap<&'static str, u64>,
    /// The gates that a simulation can judge.
    pub gates: Gates,
    /// Sessions that went on with another worker.
    pub migrations: Migrations,
    /// The most that ever waited or was kept for one call.
    pub peaks: Peaks,
    /// Ticks that were judged.
    pub invariants_checked: u64,
    /// Lines of traces that were judged.
    pub lines: u64,
    /// Breaches of the contract.
    pub violations: u64,
    /// The seeds that showed them.
    pub violating_seeds: Vec<u64>,
    /// The first breach of each of the first of these.
    pub found: Vec<Found>,
}

impl Batch {
    /// Runs all of these; `on_run` sees each report, with its place from 1.
    ///
    /// # Errors
    /// A spec that can't be read or is wrong.
    pub fn run(
        runs: &[Options],
        registry: &Registry,
        mut on_run: impl FnMut(usize, &Report),
    ) -> Result<Self, SimError> {
        let mut batch = Self { faults: Fault::ALL.map(|fault| (fault.name(), 0)).into(), ..Self::default() };
        for (place, options) in (1..).zip(runs) {
            let report = run(options, registry, None)?;
            batch.add(&report);
            on_run(place, &report);
        }
        Ok(batch)
    }

    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.calls += report.calls;
        self.call_ms += report.call_ms;
        self.turns_opened += report.turns_opened;
        self.terminals.add(&report.terminals);
        self.fenced_outputs += report.fenced_outputs;
        self.late_results += report.late_results;
        self.drops += report.drops;
        for (name, injected) in &report.faults {
            *self.faults.entry(name).or_default() += injected;
        }
        self.gates.add(&report.gates);
        self.migrations.add(&report.migrations);
        self.peaks.raise(&report.peaks);
        self.invariants_checked += report.invariants_checked;
        self.lines += report.lines;
        self.violations += report.violations;
        if report.violations > 0 {
            self.violating_seeds.push(report.seed);
        }
        if self.found.len() < MAX_TOLD {
            self.found.extend(report.found.first().cloned());
        }
    }
}

/// For people.
impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, calls, call_ms, turns_opened, terminals, gates, .. } = self;
        writeln!(f, "{runs} simulations: {calls} calls, {} s in all; {} lines judged", call_ms / 1_000, self.lines)?;
        writeln!(f, "{turns_opened} turns opened, {} committed", terminals.commit)?;
        for (reason, turns) in &terminals.abort {
            writeln!(f, "  {turns} aborted: {reason}")?;
        }
        for (name, injected) in &self.faults {
            writeln!(f, "{name}: {injected} injected")?;
        }
        writeln!(f, "{gates}")?;
        let seeds = self.violating_seeds.len();
        writeln!(f, "{} ticks judged, {} violations in {seeds} seeds", self.invariants_checked, self.violations)?;
        self.found.iter().try_for_each(|found| write!(f, "\n{found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends_and_what_is_none_is_told() {
        let options = corpus("1 2 3 none").expect("a run").remove(0);
        let seeds: Seeds = "7..9".parse().expect("a range");
        assert_eq!(seeds.of(&options).iter().map(|run| run.seed).collect::<Vec<_>>(), [7, 8, 9]);
        for wrong in ["7", "9..7", "a..b", "1..", "0..100000"] {
            assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_corpus_names_the_line_that_is_no_run() {
        let runs = corpus("# seed sessions minutes faults\n\n5 4 1 F4,F1\n").expect("a corpus");
        assert_eq!((runs.len(), runs[0].seed, runs[0].sessions, runs[0].minutes), (1, 5, 4, 1));
        for wrong in ["5 4 1", "5 4 1 F9", "x 4 1 all"] {
            let error = corpus(&format!("# a comment\n{wrong}")).expect_err(wrong);
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
