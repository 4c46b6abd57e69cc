//! The checker, judged by traces: the good ones break no rule, each broken one breaks exactly the rules that its
//! first line expects, and every rule is broken by one of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rspp_checker::{Limits, Rule, Violation, check, check_within};
use rspp_specs::time::Micros;
use rspp_specs::trace::{Line, parse};

fn traces(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = fs::read_dir(folder).expect("the folder is part of the crate");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "trace"));
    paths.sort();
    paths
}

fn read(path: &Path) -> (String, Vec<Line>) {
    let text = fs::read_to_string(path).expect("listed a moment ago");
    let lines = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (text, lines)
}

fn show(found: &[Violation]) -> String {
    found.iter().map(|violation| format!("\n  {violation}")).collect()
}

/// The rules in `# expect: rule, rule`.
fn expected(text: &str) -> BTreeSet<&str> {
    let expect = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
    expect.expect("a broken trace begins with what is expected of it").split(", ").collect()
}

#[test]
fn good_traces_break_no_rule() {
    for path in traces("good") {
        let found = check(&read(&path).1);
        assert!(found.is_empty(), "{}:{}", path.display(), show(&found));
    }
}

#[test]
fn broken_traces_break_the_rules_that_they_expect() {
    let mut wrong = String::new();
    for path in traces("broken") {
        let (text, lines) = read(&path);
        let found = check(&lines);
        let rules: BTreeSet<&str> = found.iter().map(|violation| violation.rule.name()).collect();
        if rules != expected(&text) {
            wrong += &format!("\n{}:{}", path.display(), show(&found));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_is_broken_by_a_trace() {
    let texts: Vec<String> = traces("broken").iter().map(|path| read(path).0).collect();
    let broken: BTreeSet<&str> = texts.iter().flat_map(|text| expected(text)).collect();
    let rules: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(broken, rules);
}

#[test]
fn limits_can_be_narrower() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good/plain_call.trace");
    let limits = Limits { playout_lookahead: Micros::from_ms(39), ..Limits::CONTRACT };
    let found = check_within(&read(&path).1, &limits);
    assert!(!found.is_empty() && found.iter().all(|violation| violation.rule == Rule::Pacing), "{}", show(&found));
}

#[test]
fn good_traces_stand_as_the_renderer_would_write_them() {
    for path in traces("good") {
        let (text, lines) = read(&path);
        let written: Vec<String> = lines.iter().map(Line::to_string).collect();
        let read: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(written, read, "{}", path.display());
    }
}
