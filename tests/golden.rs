//! The golden traces. Each scenario in `tests/golden` has
//!
//! - a `.trace`, the whole of it, event by event. `RSPP_UPDATE_GOLDEN=1 cargo test --test golden` writes it anew;
//!   read the difference before you keep it;
//! - where the contract tells the scenario, an `.expect`, written by hand from its table and from nothing else, in the
//!   form that `tests/traces` tells.
//!
//! The checker, which knows nothing of the engine, judges every trace.

mod traces;

use std::sync::OnceLock;

use rspp::specs::trace::parse;

use traces::{Run, run_all, unmet, violations};

/// Every scenario with its trace; run once for all tests.
fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| run_all("tests/golden"))
}

/// The trace, as `rspp trace` prints it.
fn text_of(run: &Run) -> String {
    run.traced.lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_scenario_gives_its_golden_trace() {
    let mut differences = Vec::new();
    for run in runs() {
        let golden = run.path.with_extension("trace");
        let text = text_of(run);
        if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &text).expect("the golden trace can be written");
        }
        let kept = std::fs::read_to_string(&golden).unwrap_or_default();
        if let Some(difference) = first_difference(&kept, &text) {
            differences.push(format!("{}:{difference}", golden.display()));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn first_difference(kept: &str, now: &str) -> Option<String> {
    if kept == now {
        return None;
    }
    let place = kept.lines().zip(now.lines()).position(|(kept, now)| kept != now);
    let place = place.unwrap_or_else(|| kept.lines().count().min(now.lines().count()));
    let line = |text: &str| text.lines().nth(place).unwrap_or("(the end)").to_owned();
    Some(format!("{}:\n  golden: {}\n  now:    {}", place + 1, line(kept), line(now)))
}

#[test]
fn every_trace_says_what_the_contract_tells() {
    let mut judged = 0;
    for run in runs() {
        let Some(expected) = run.expected() else { continue };
        judged += 1;
        let unmet = unmet(&expected, run);
        assert_eq!(unmet, None, "{}: the trace does not say this, in this place", run.path.display());
    }
    assert!(judged >= 7, "the contract tells four traces and their variants");
}

#[test]
fn the_checker_passes_every_trace() {
    assert_eq!(violations(runs()), Vec::<String>::new());
}

#[test]
fn golden_traces_read_back_as_they_are_written() {
    for run in runs() {
        let lines = parse(&text_of(run)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lines, run.traced.lines);
    }
}
