//! The golden traces. Each scenario in `tests/golden` has
//!
//! - a `.trace`, the whole of it, event by event. `RSPP_UPDATE_GOLDEN=1 cargo test --test golden` writes it anew;
//!   read the difference before you keep it;
//! - where the contract tells the scenario, an `.expect`, written by hand from its table and from nothing else: lines
//!   that must stand in the trace in this order, each with at least these fields. `!` before a line: no such line
//!   anywhere.
//!
//! The checker, which knows nothing of the engine, judges every trace.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rspp::Registry;
use rspp::specs::trace::{Line, parse};

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("kind: Scenario")))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Every scenario with its trace; run once for all tests.
fn traces() -> &'static [(PathBuf, Vec<Line>)] {
    static TRACES: OnceLock<Vec<(PathBuf, Vec<Line>)>> = OnceLock::new();
    TRACES.get_or_init(|| {
        let run = |path: PathBuf| match rspp::trace::trace(&path, &Registry::new()) {
            Ok(traced) => (path, traced.lines),
            Err(error) => panic!("{}: {error}", path.display()),
        };
        scenarios().into_iter().map(run).collect()
    })
}

fn text_of(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_scenario_gives_its_golden_trace() {
    let mut differences = Vec::new();
    for (path, trace) in traces() {
        let golden = path.with_extension("trace");
        let text = text_of(trace);
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
    for (path, trace) in traces() {
        let Ok(expected) = std::fs::read_to_string(path.with_extension("expect")) else { continue };
        judged += 1;
        let mut rest = trace.iter();
        for wanted in expected.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let found = match wanted.strip_prefix('!') {
                Some(unwanted) => {
                    let unwanted = expectation(unwanted);
                    !trace.iter().any(|line| fits(line, &unwanted))
                }
                None => {
                    let wanted = expectation(wanted);
                    rest.any(|line| fits(line, &wanted))
                }
            };
            assert!(found, "{}: the trace does not say, in this place: {wanted}", path.display());
        }
    }
    assert!(judged >= 7, "the contract tells four traces and their variants");
}

/// `at section lane name fields`, without the tick.
fn expectation(text: &str) -> Line {
    let (at, rest) = text.trim().split_once(' ').expect("a time comes first");
    format!("{at} 0 {rest}").parse().unwrap_or_else(|error| panic!("{error}"))
}

fn fits(line: &Line, wanted: &Line) -> bool {
    line.at == wanted.at
        && line.section == wanted.section
        && line.lane == wanted.lane
        && line.name == wanted.name
        && wanted.fields.iter().all(|(key, value)| line.field(key) == Some(value))
        && (wanted.section != rspp::specs::trace::Section::State || line.fields == wanted.fields)
}

#[test]
fn the_checker_passes_every_trace() {
    for (path, trace) in traces() {
        let violations = rspp_checker::check(trace);
        let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}:\n{}", path.display(), shown.join("\n"));
    }
}

#[test]
fn golden_traces_read_back_as_they_are_written() {
    for (_, trace) in traces() {
        let text = text_of(trace);
        let lines = parse(&text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(text_of(&lines), text);
    }
}
