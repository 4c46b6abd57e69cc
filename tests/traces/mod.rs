//! Scenarios run as tests, and what their traces must say. The folders that are run have, beside a scenario, an
//! `.expect`, written by hand: lines that must stand in the trace in this order, each with at least these fields. A
//! line begins with its time in milliseconds of session time: `580`, `580..900` (both included), `580..`, or `*` for
//! any. `!` before a line: no such line anywhere. `#` begins a comment. Beside lines of the trace, it may say
//!
//! - `context 1620 user "did it work" | tool k1 "booked" | agent "It did" cut`: what the model is told by the first
//!   request at 1620 ms, whole; `!context 1620 tool k1 pending`: what is not among it;
//! - `ends 800`: nothing happens after 800 ms.

use std::path::{Path, PathBuf};

use rspp::Registry;
use rspp::specs::event::{ContextEntry, Request};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, Entry};
use rspp::specs::trace::{Line, Section};
use rspp::trace::Traced;

/// A scenario that was run.
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    pub(crate) traced: Traced,
}

impl Run {
    /// What was written by hand, where something was.
    pub(crate) fn expected(&self) -> Option<String> {
        std::fs::read_to_string(self.path.with_extension("expect")).ok()
    }
}

/// Runs every scenario of a folder of the repository.
pub(crate) fn run_all(folder: &str) -> Vec<Run> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("kind: Scenario")))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no scenarios", folder.display());
    let run = |path: PathBuf| match rspp::trace::trace(&path, &Registry::new()) {
        Ok(traced) => Run { path, traced },
        Err(error) => panic!("{}: {error}", path.display()),
    };
    paths.into_iter().map(run).collect()
}

/// The first expectation that the run does not meet.
pub(crate) fn unmet(expected: &str, run: &Run) -> Option<String> {
    let trace = &run.traced.lines;
    let mut rest = trace.iter();
    let met = |wanted: &&str| match wanted.strip_prefix('!') {
        _ if BESIDE.iter().any(|word| wanted.starts_with(word)) => holds(wanted, run),
        Some(unwanted) => !trace.iter().any(|line| fits(line, &expectation(unwanted))),
        None => rest.any(|line| fits(line, &expectation(wanted))),
    };
    let told = expected.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let mut unmet = told.skip_while(met);
    unmet.next().map(str::to_owned)
}

/// How expectations begin that are not of the trace.
const BESIDE: [&str; 3] = ["context ", "!context ", "ends "];

/// Whether a line that is not of the trace holds.
fn holds(line: &str, run: &Run) -> bool {
    let (word, rest) = line.split_once(' ').expect("a word comes first");
    let (at, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "context" => context(run, at) == rest,
        "!context" => !context(run, at).split(" | ").any(|entry| entry == rest),
        _ => run.traced.records.iter().all(|record| record.at <= ms(at)),
    }
}

fn ms(text: &str) -> Micros {
    Micros::from_ms(text.parse().unwrap_or_else(|_| panic!("{text} is no time")))
}

/// What the model is told by the first request at this time.
fn context(run: &Run, at: &str) -> String {
    let at = ms(at);
    let asked = run.traced.records.iter().filter(|record| record.at == at).find_map(|record| match &record.entry {
        Entry::Effect(Effect::Invoke { request: Request::Chat { context }, .. }) => Some(context),
        _ => None,
    });
    let asked = asked.unwrap_or_else(|| panic!("{}: no model is asked at {at} ms", run.path.display()));
    let entries: Vec<String> = asked.iter().map(entry).collect();
    entries.join(" | ")
}

fn entry(entry: &ContextEntry) -> String {
    match entry {
        ContextEntry::User { text, .. } => format!("user {text:?}"),
        ContextEntry::Remark { text } => format!("remark {text:?}"),
        ContextEntry::Agent { text, cut } => format!("agent {text:?}{}", if *cut { " cut" } else { "" }),
        ContextEntry::Tool { call, result: Some(result) } => format!("tool {} {result:?}", call.key),
        ContextEntry::Tool { call, result: None } => format!("tool {} pending", call.key),
    }
}

/// When a line must stand, both ends included, and what it must be.
type Expectation = ((Micros, Micros), Line);

/// `at section lane name fields`, without the tick.
fn expectation(text: &str) -> Expectation {
    let (at, rest) = text.trim().split_once(' ').expect("a time comes first");
    let line = format!("0 0 {rest}").parse().unwrap_or_else(|error| panic!("{error}"));
    let end = Micros(u64::MAX);
    let time = match at.split_once("..") {
        None if at == "*" => (Micros(0), end),
        None => (ms(at), ms(at)),
        Some((from, "")) => (ms(from), end),
        Some((from, to)) => (ms(from), ms(to)),
    };
    (time, line)
}

fn fits(line: &Line, ((from, to), wanted): &Expectation) -> bool {
    (*from..=*to).contains(&line.at)
        && line.section == wanted.section
        && line.lane == wanted.lane
        && line.name == wanted.name
        && wanted.fields.iter().all(|(key, value)| line.field(key) == Some(value))
        && (wanted.section != Section::State || line.fields == wanted.fields)
}

/// What the checker, which knows nothing of the engine, has to say about any of these traces.
pub(crate) fn violations(runs: &[Run]) -> Vec<String> {
    let of = |run: &Run| -> Vec<String> {
        let violations = rspp_checker::check(&run.traced.lines);
        violations.iter().map(|violation| format!("{}: {violation}", run.path.display())).collect()
    };
    runs.iter().flat_map(of).collect()
}
