//! Whether the list of requirements is whole and true as far as a program can tell.

use std::collections::BTreeMap;

use crate::source::Source;
use crate::{Finding, Repository};

const LIST: &str = "docs/coverage.csv";
const STATES: [&str; 4] = ["works", "partly", "planned", "not ours"];
/// The requirements: functions and qualities.
const NUMBERS: [(&str, usize); 2] = [("F", 176), ("NF", 38)];

pub(crate) fn coverage(repository: &Repository, findings: &mut Vec<Finding>) {
    // Made-up repositories of this program's own tests have no list.
    let Some(list) = repository.file(LIST) else { return };
    let mut find = |line: usize, says: String| findings.push(Finding::new(list, line, "coverage", says));
    let mut expected =
        NUMBERS.iter().flat_map(|(word, most)| (1..=*most).map(move |number| format!("{word}-{number:03}")));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lines = 1;
    for (index, line) in list.text.lines().enumerate().skip(1) {
        lines = index + 1;
        let mut cells = line.split(',');
        let (id, state, test) =
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let wanted = expected.next().unwrap_or_default();
        if id != wanted {
            find(lines, format!("here stands {id}, and {wanted} comes next; each requirement has one line, in order"));
            return;
        }
        if !STATES.contains(&state) {
            find(lines, format!("`{state}` is no state; write one of {}", STATES.join(", ")));
        }
        *counts.entry(state).or_default() += 1;
        let needs_test = state == "works" || state == "partly";
        if needs_test && repository.file(test).is_none() {
            find(lines, format!("{id} is said to be shown by `{test}`, which is not there"));
        }
        if !needs_test && !test.is_empty() {
            find(lines, format!("{id} is {state}, and `{test}` can't show it"));
        }
    }
    if let Some(missing) = expected.next() {
        find(lines, format!("{missing} is missing"));
    }
    let count = |state: &str| counts.get(state).copied().unwrap_or_default();
    let told = format!(
        "{} work, {} partly, {} are planned, {} are not ours",
        count("works"),
        count("partly"),
        count("planned"),
        count("not ours")
    );
    let readme: Option<&Source> = repository.file("README.md");
    if readme.is_none_or(|readme| !readme.text.split_whitespace().collect::<Vec<_>>().join(" ").contains(&told)) {
        find(1, format!("the README does not say \"{told}\""));
    }
}
