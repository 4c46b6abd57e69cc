//! What the users of other frameworks have reported, as scenarios: `tests/peers`, with a table in its README.
//!
//! Each has an `.expect`, in the form that `tests/traces` tells, written from what the caller would want and not from
//! what came out. It may begin with `fails REASON`: RSPP does not do it yet. A scenario that says so and is met is a failure,
//! too, so that the word is taken out.
//!
//! The checker, which knows nothing of the engine, judges every trace.

mod traces;

use std::path::Path;
use std::sync::OnceLock;

use rspp::specs::event::Request;
use rspp::specs::timeline::{Effect, Entry, Signal};

use traces::{Run, run_all, unmet, violations};

const FOLDER: &str = "tests/peers";

/// Every scenario with its trace; run once for all tests.
fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| run_all(FOLDER))
}

fn name(run: &Run) -> String {
    run.path.file_stem().expect("a scenario has a name").to_string_lossy().into_owned()
}

#[test]
fn every_trace_says_what_a_caller_would_want() {
    let mut wrong = Vec::new();
    for run in runs() {
        let expected = run.expected().unwrap_or_else(|| panic!("{} has no .expect", name(run)));
        match (fails(&expected).is_some(), first_unmet(&expected, run)) {
            (false, Some(line)) => wrong.push(format!("{}: not in this place: {line}", name(run))),
            (true, None) => wrong.push(format!("{}: says that it fails, and does not", name(run))),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Why RSPP does not do it yet, where it does not.
fn fails(expected: &str) -> Option<&str> {
    expected.lines().next()?.strip_prefix("fails ")
}

fn first_unmet(expected: &str, run: &Run) -> Option<String> {
    let told: Vec<&str> = expected.lines().filter(|line| !line.starts_with("fails ")).collect();
    unmet(&told.join("\n"), run)
}

#[test]
fn the_checker_passes_every_trace() {
    assert_eq!(violations(runs()), Vec::<String>::new());
}

/// Whatever the providers did: the sentences of an answer that was heard to its end left one behind the other, each
/// once, and nothing else left under its turn.
#[test]
fn audio_leaves_in_the_order_of_the_text() {
    let mut judged = 0;
    for run in runs() {
        let entries = run.traced.records.iter().map(|record| &record.entry);
        for heard in entries {
            let Entry::Signal(Some(turn), Signal::Heard { text, cut: false }) = heard else { continue };
            judged += 1;
            let mut left: Vec<&str> = run
                .traced
                .records
                .iter()
                .filter_map(|record| match &record.entry {
                    Entry::Effect(Effect::Transmit { turn: of, frame, .. }) if of == turn => frame.spoken_by,
                    _ => None,
                })
                .map(|by| spoken(run, by))
                .collect();
            left.dedup();
            assert_eq!(left.join(" "), **text, "{}: {turn}", name(run));
        }
    }
    assert!(judged > 0);
}

fn spoken(run: &Run, by: rspp::specs::ids::InvocationId) -> &str {
    let text = run.traced.records.iter().find_map(|record| match &record.entry {
        Entry::Effect(Effect::Invoke { id, request: Request::Speak { text }, .. }) if *id == by => Some(text.as_ref()),
        _ => None,
    });
    text.expect("what is transmitted was spoken by an invocation")
}

#[test]
fn every_scenario_names_its_report_and_stands_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let table = std::fs::read_to_string(folder.join("README.md")).expect("the table is part of the repository");
    for run in runs() {
        let text = std::fs::read_to_string(&run.path).expect("the scenario was read before");
        let first = text.lines().next().unwrap_or_default();
        let number = first.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() >= 3);
        assert!(first.starts_with("# ") && number.is_some(), "{}: which report is it?", name(run));
        let row = table.lines().find(|line| line.contains(&format!("`{}`", name(run))));
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", name(run)));
        let fails = fails(&run.expected().unwrap_or_default()).is_some();
        assert_eq!(row.contains("not yet"), fails, "{}: the table says otherwise", name(run));
    }
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains('`')).count();
    assert_eq!(rows, runs().len(), "rows of the table, and scenarios");
}
