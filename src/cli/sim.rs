//! `rspp sim`.

use std::fmt::Display;
use std::fs::{File, read_to_string};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use rspp_adapters::sim::Faults;
use rspp_compiler::Registry;
use serde::Serialize;

use super::outcome::{Failure, Outcome};
use crate::sim::{Batch, Options, Replayed, Report, Seeds, SimError, corpus, record, run, run_and_replay};

/// Simulate many calls in virtual time, from one seed and under faults, and judge every one of them.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp sim --seed 1 --sessions 200 --minutes 10 --faults all --json\n  \
    rspp sim --seed 1 --faults F3,F7 --only 7 --trace session-7.trace\n  \
    rspp sim --sessions 100 --minutes 1 --faults none --record calls      a corpus to replay\n  \
    rspp sim --seeds 1000..1499 --json              five hundred seeds, one after the other\n  \
    rspp sim --corpus tests/sim/seeds               the seeds that have found something\n  \
    rspp sim --seeds 1..500 --replay                and every call recorded and replayed\n\n\
    Exit code 0: no violation. 1: the contract was broken; a command that shows it again is printed.")]
pub(super) struct Sim {
    /// What the sessions run; without it, a mixture of pipelines.
    #[arg(long)]
    spec: Option<PathBuf>,
    /// Where all chance comes from: the same seed, the same calls.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many sessions.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sessions: u32,
    /// For how long, in virtual minutes.
    #[arg(long, value_name = "M", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: u32,
    /// What may go wrong: all, none, or some of F1 to F8 with commas between them.
    #[arg(long, value_name = "F1,F2", default_value = "all")]
    faults: Faults,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write the traces here, as they are made: with --only, the trace of that session.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write a recording of each call into this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["trace", "seeds", "corpus"])]
    record: Option<PathBuf>,
    /// This session alone; it behaves as it does among the others.
    #[arg(long, value_name = "SESSION")]
    only: Option<u32>,
    /// Many simulations, one for each of these seeds, both ends included; what they found, and the rest summed.
    #[arg(long, value_name = "FIRST..LAST", conflicts_with_all = ["seed", "trace", "only"])]
    seeds: Option<Seeds>,
    /// Many simulations, as a file lists them: seed, sessions, minutes and faults on each line.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["spec", "seed", "seeds", "sessions", "minutes", "faults", "trace", "only"])]
    corpus: Option<PathBuf>,
    /// Record every call with everything and at L0, and replay each: nothing may come out otherwise.
    #[arg(long, conflicts_with = "trace")]
    replay: bool,
}

/// Seeds between two words on how far a batch is.
const TELL_EVERY: usize = 25;

impl Sim {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        if let Some(only) = self.only.filter(|only| *only >= self.sessions) {
            let last = self.sessions - 1;
            return Err(Failure::Input(format!("--only {only}: sessions are numbered from 0 to {last}")));
        }
        let options = Options {
            spec: self.spec.clone(),
            seed: self.seed,
            sessions: self.sessions,
            minutes: self.minutes,
            faults: self.faults,
            only: self.only,
        };
        let runs = match (&self.seeds, &self.corpus) {
            (Some(seeds), _) => seeds.of(&options),
            (None, Some(path)) => read_corpus(path)?,
            (None, None) if self.replay => vec![options],
            (None, None) => return self.run_one(&options, registry),
        };
        if self.replay {
            return self.replay_all(&runs, registry);
        }
        self.run_all(&runs, registry)
    }

    fn run_one(&self, options: &Options, registry: &Registry) -> Outcome {
        let began = Instant::now();
        let report = match &self.record {
            None => run(options, registry, self.open_trace()?),
            Some(folder) => {
                let made = std::fs::create_dir_all(folder);
                made.map_err(|error| Failure::Input(format!("{}: {error}; give a folder", folder.display())))?;
                record(options, registry, folder)
            }
        };
        let report = report.map_err(|error| match error {
            SimError::Spec(error) => Failure::Input(error.to_string()),
            SimError::Recording(error) => Failure::Run(error.to_string()),
        })?;
        let speed = report.call_ms as f64 / 1_000.0 / began.elapsed().as_secs_f64().max(1e-9);
        self.print(&report, report.violations, speed)
    }

    fn run_all(&self, runs: &[Options], registry: &Registry) -> Outcome {
        let (began, all, mut found) = (Instant::now(), runs.len(), 0u32);
        let batch = Batch::run(runs, registry, |place, report| {
            found += u32::from(tell_violation(report));
            if place % TELL_EVERY == 0 || place == all {
                eprintln!("{place} of {all} seeds, {found} of them with violations");
            }
        });
        let batch = batch.map_err(|error| Failure::Input(error.to_string()))?;
        let speed = batch.call_ms as f64 / 1_000.0 / began.elapsed().as_secs_f64().max(1e-9);
        self.print(&batch, batch.violations, speed)
    }

    fn replay_all(&self, runs: &[Options], registry: &Registry) -> Outcome {
        let (began, mut sum, mut violations, mut call_ms) = (Instant::now(), Replayed::default(), 0, 0);
        for (place, options) in runs.iter().enumerate() {
            let ran = run_and_replay(options, registry).map_err(|error| Failure::Input(error.to_string()))?;
            let (report, replayed) = ran;
            if let Some(first) = &replayed.first_difference {
                eprintln!("seed {}: {first}", options.seed);
            }
            tell_violation(&report);
            violations += report.violations;
            call_ms += report.call_ms;
            sum.add(replayed);
            if (place + 1) % TELL_EVERY == 0 || place + 1 == runs.len() {
                let (place, all, different) = (place + 1, runs.len(), sum.different());
                eprintln!("{place} of {all} seeds, {different} calls came out otherwise, {violations} violations");
            }
        }
        let speed = call_ms as f64 / 1_000.0 / began.elapsed().as_secs_f64().max(1e-9);
        self.print(&sum, violations + sum.different(), speed)
    }

    fn open_trace(&self) -> Result<Option<Box<dyn Write>>, Failure> {
        let Some(path) = &self.trace else { return Ok(None) };
        let file = File::create(path)
            .map_err(|error| Failure::Input(format!("{}: {error}; give a path that can be written", path.display())))?;
        Ok(Some(Box::new(BufWriter::new(file))))
    }

    fn print<T: Serialize + Display>(&self, report: &T, violations: u64, speed: f64) -> Outcome {
        let asides = format!("{speed:.0} times as fast as the calls themselves\n");
        let text = if self.json {
            // What depends on the clock is not in the JSON.
            eprint!("{asides}");
            serde_json::to_string_pretty(report).map_err(|error| Failure::Run(error.to_string()))? + "\n"
        } else {
            format!("{report}{asides}")
        };
        if violations == 0 { Ok(text) } else { Err(Failure::Unwell(text)) }
    }
}

/// Says what was wrong first, and how to see it again; whether anything was.
fn tell_violation(report: &Report) -> bool {
    let Some(first) = report.found.first() else { return false };
    eprintln!("seed {}: {}: {}\n  again: {}", report.seed, first.rule, first.detail, first.reproduce);
    true
}

fn read_corpus(path: &Path) -> Result<Vec<Options>, Failure> {
    let fail = |message: String| Failure::Input(format!("{}: {message}", path.display()));
    corpus(&read_to_string(path).map_err(|error| fail(error.to_string()))?).map_err(fail)
}
