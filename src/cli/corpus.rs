//! `rspp replay --dir`: a folder of recordings.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rspp_adapters::input_file::read_text;
use rspp_compiler::Registry;
use rspp_specs::time::Micros;

use super::diff::write;
use super::outcome::{Failure, Outcome};
use super::recorded::in_folder;
use super::run::json_of;
use crate::corpus::{CallResult, Cluster, Corpus, CorpusError, CorpusReport, State};
use crate::junit::junit;
use crate::replay::Anew;

/// Processes of a cluster.
const MAX_PROCESSES: usize = 1_024;

/// A folder of recordings, and who replays it.
#[derive(Args)]
#[command(next_help_heading = "Many calls")]
pub(super) struct Many {
    /// Replay all recordings of a folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write each call as a test of a JUnit suite.
    #[arg(long, value_name = "FILE", requires = "dir")]
    junit: Option<PathBuf>,
    /// Keep what is done here, and go on from there.
    #[arg(long, value_name = "FILE", requires = "dir")]
    state: Option<PathBuf>,
    /// Workers of each process.
    #[arg(short, long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    workers: u32,
    /// How many processes.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    processes: u32,
    /// Which of them this is, from 0; the first one prints the report.
    #[arg(short, long, value_name = "P", default_value_t = 0)]
    process: u32,
    /// Where they listen, one HOST:PORT a line; without it, all on this machine.
    #[arg(long, value_name = "FILE")]
    hostfile: Option<PathBuf>,
}

/// The first process' port where no hostfile says otherwise; timely's own.
const FIRST_PORT: u32 = 2_101;

impl Many {
    pub(super) fn run(
        &self,
        anew: &Anew,
        holds_anew: bool,
        tolerance_ms: u64,
        json: bool,
        registry: &Registry,
    ) -> Outcome {
        let Some(root) = &self.dir else { return Err(Failure::Input("give a recording, or --dir".to_owned())) };
        let calls = ids(root)?;
        let corpus = Corpus {
            root: root.clone(),
            calls,
            anew: holds_anew.then(|| anew.clone()),
            tolerance: Micros::from_ms(tolerance_ms),
            cluster: self.cluster()?,
        };
        let began = Instant::now();
        let (report, replayed_ms) = self.replay(&corpus, registry)?;
        let Some(report) = report else { return Ok(String::new()) };
        let speed = replayed_ms as f64 / 1_000.0 / began.elapsed().as_secs_f64().max(1e-9);
        // What depends on the clock is not in the report.
        eprintln!("{speed:.0} times as fast as the calls themselves");
        self.tell(root, &report, json)
    }

    fn tell(&self, root: &Path, report: &CorpusReport, json: bool) -> Outcome {
        if let Some(path) = &self.junit {
            write(path, junit(&root.display().to_string(), &report.cases()).as_bytes())?;
        }
        let text = if json { json_of(report)? } else { report.to_string() };
        if report.is_same() { Ok(text) } else { Err(Failure::Unwell(text)) }
    }

    /// Gives the report, and for how long the calls lasted that were replayed now.
    fn replay(&self, corpus: &Corpus, registry: &Registry) -> Result<(Option<CorpusReport>, u64), Failure> {
        let asked = format!("{:?} {}", corpus.anew, corpus.tolerance);
        let state = self.state.as_ref().filter(|_| corpus.cluster.process == 0);
        let state = state.map(|path| State::open(path, &corpus.root, &asked, &corpus.calls)).transpose();
        let mut state = state.map_err(|error| Failure::Run(error.to_string()))?;
        let known = state.as_ref().map_or_else(Vec::new, State::known);
        let known_ms: u64 = known.iter().map(|it| it.call_us).sum::<u64>() / 1_000;
        let bar = progress(corpus, known.len());
        let unwritten = Arc::new(Mutex::new(None));
        let (bar_of, failed) = (bar.clone(), Arc::clone(&unwritten));
        let writer = Mutex::new(move |result: &CallResult| {
            bar_of.inc(1);
            if let Some(Err(error)) = state.as_mut().map(|state| state.add(result))
                && let Ok(mut failed) = failed.lock()
            {
                failed.get_or_insert(error.to_string());
            }
        });
        let on_result = Arc::new(move |result: &CallResult| {
            if let Ok(mut write) = writer.lock() {
                (*write)(result);
            }
        });
        let report = corpus.run(registry, known, on_result).map_err(|error| failure(&error))?;
        bar.finish_and_clear();
        if let Ok(Some(error)) = unwritten.lock().map(|mut error| error.take()) {
            eprintln!("note: what is done could not be kept ({error}); a run that is stopped begins anew");
        }
        let all = report.as_ref().map_or(0, |report| report.call_ms);
        Ok((report, all.saturating_sub(known_ms)))
    }

    fn cluster(&self) -> Result<Cluster, Failure> {
        let processes = self.processes as usize;
        if self.process >= self.processes {
            let last = self.processes - 1;
            return Err(Failure::Input(format!("-p {}: processes are numbered from 0 to {last}", self.process)));
        }
        let addresses = match &self.hostfile {
            None if processes == 1 => Vec::new(),
            None => (0..self.processes).map(|number| format!("localhost:{}", FIRST_PORT + number)).collect(),
            Some(path) => hosts(path, processes)?,
        };
        Ok(Cluster { workers: self.workers as usize, process: self.process as usize, addresses })
    }
}

fn hosts(path: &Path, processes: usize) -> Result<Vec<String>, Failure> {
    let text =
        read_text(path, "a list of hosts, one HOST:PORT a line").map_err(|error| Failure::Input(error.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hosts: Vec<String> = lines.map(str::to_owned).take(MAX_PROCESSES).collect();
    let port = |host: &String| host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if let Some(wrong) = hosts.iter().find(|host| !port(host)) {
        return Err(Failure::Input(format!("{}: `{wrong}` is no HOST:PORT", path.display())));
    }
    if hosts.len() < processes {
        let has = hosts.len();
        return Err(Failure::Input(format!("{} has {has} hosts, and -n says {processes} processes", path.display())));
    }
    Ok(hosts[..processes].to_vec())
}

fn ids(root: &Path) -> Result<Vec<String>, Failure> {
    let paths = in_folder(root)?;
    let id = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Ok(paths.iter().map(id).collect())
}

fn failure(error: &CorpusError) -> Failure {
    match error {
        CorpusError::Anew(error) if error.is_wrong_usage() => Failure::Input(error.to_string()),
        error => Failure::Run(error.to_string()),
    }
}

/// How far it is, where somebody sees it.
fn progress(corpus: &Corpus, done: usize) -> ProgressBar {
    let shows = corpus.cluster.process == 0 && std::io::stderr().is_terminal();
    let target = if shows { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(corpus.calls.len() as u64), target);
    let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} calls, {per_sec}, {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_position(done as u64);
    bar
}
