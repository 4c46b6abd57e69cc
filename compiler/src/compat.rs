//! What goes, and when (`F-028`, `F-162`): a field is warned of, later refused, later gone. Which day it is, whoever asks
//! says: the compiler has no clock.

use std::fmt;

use rspp_specs::artifact::{CompatibilityPolicy, CompatibilityWindow, Deprecation, SchemaChange};
use serde_json::Value;

use crate::difference::schema_changes;
use crate::finding::{Collector, Place};
use crate::layers::read_document;
use crate::request::Request;
use crate::shape::Shape;
use crate::tree::{Content, Tree};

/// The program's own policy: its name and its text.
const POLICY: (&str, &str) = ("the program's compatibility policy", include_str!("../../specs/compat/schemas.yaml"));
/// The program's version, against which documents are judged.
const RUNTIME: &str = env!("CARGO_PKG_VERSION");

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u32,
    month: u32,
    day: u32,
}

impl Day {
    /// Reads `2027-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| part.parse::<u32>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let is_day = text.len() == 10 && (1..=12).contains(&month) && (1..=31).contains(&day);
        is_day.then_some(Self { year, month, day })
    }

    /// The day that is so many days after 1970-01-01, by the Gregorian calendar.
    pub fn of_epoch(days: u64) -> Self {
        let leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut left) = (1970, 1, days);
        while left >= 365 + u64::from(leap(year)) {
            left -= 365 + u64::from(leap(year));
            year += 1;
        }
        let february = 28 + u64::from(leap(year));
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if left < length {
                break;
            }
            left -= length;
            month += 1;
        }
        Self { year, month, day: left as u32 + 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The policy that a request is judged by.
fn policy(findings: &mut Collector<'_>, request: &Request<'_>) -> Option<CompatibilityPolicy> {
    let (name, text) = match &request.compatibility {
        Some(given) => (given.name.as_str(), given.text.as_str()),
        None => POLICY,
    };
    let file = findings.sources().add(name, text);
    let tree = read_document(findings, file, "CompatibilityPolicy")?;
    Shape::of::<CompatibilityPolicy>("a CompatibilityPolicy").read(findings, "", &tree)
}

/// Reports what of a document goes.
pub(crate) fn deprecated(findings: &mut Collector<'_>, kind: &str, tree: &Tree, request: &Request<'_>) {
    let Some(today) = request.today else { return };
    let Some(policy) = policy(findings, request) else { return };
    for deprecation in &policy.deprecations {
        let Some(path) = deprecation.path.strip_prefix(kind).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let (warned, refused) = (Day::parse(&deprecation.warned_from), Day::parse(&deprecation.refused_from));
        let steps: Vec<&str> = path.split('.').collect();
        let mut found = Vec::new();
        find(tree, &steps, "", &mut found);
        for (path, place) in found {
            let hint = format!("instead: {}", deprecation.instead);
            if refused.is_some_and(|from| today >= from) {
                let message = format!("{path} is not taken any more, from {} on", deprecation.refused_from);
                findings.report_at("RSPP0068", place, path, message, hint);
            } else if warned.is_some_and(|from| today >= from) {
                let message = format!("{path} goes: it is refused from {} on", deprecation.refused_from);
                findings.warn_at("RSPP0067", place, path, message, hint);
            }
        }
    }
}

/// The fields of a path, in which `*` stands for any name and any entry of a list.
fn find(tree: &Tree, steps: &[&str], path: &str, found: &mut Vec<(String, Place)>) {
    let Some((step, rest)) = steps.split_first() else { return };
    let any = *step == "*";
    match &tree.content {
        Content::Map(fields) => {
            for field in fields.iter().filter(|field| any || field.key == *step) {
                let path = if path.is_empty() { field.key.clone() } else { format!("{path}.{}", field.key) };
                if rest.is_empty() {
                    found.push((path.clone(), field.key_place));
                }
                find(&field.value, rest, &path, found);
            }
        }
        Content::List(items) if any => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if rest.is_empty() {
                    found.push((path.clone(), item.place));
                }
                find(item, rest, &path, found);
            }
        }
        Content::List(_) | Content::Scalar { .. } => {}
    }
}

/// `0.1` of `0.1.7`, as numbers that compare.
pub(crate) fn series(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??))
}

/// Whether a field's time is over: the program has the version from which on it may be gone, and it is refused by now. Where
/// nobody says which day it is, the version alone counts.
fn is_over(deprecation: &Deprecation, runtime: &str, today: Option<Day>) -> bool {
    let refused = Day::parse(&deprecation.refused_from);
    let is_refused = today.is_none_or(|today| refused.is_some_and(|from| today >= from));
    is_refused && series(runtime).is_some_and(|now| series(&deprecation.removed_in).is_some_and(|from| now >= from))
}

/// Says of a field that this version of the program may be without that it is not refused yet.
pub(crate) fn gone_too_early(deprecation: &Deprecation, request: &Request<'_>) -> Option<String> {
    let runtime = request.runtime.as_deref().unwrap_or(RUNTIME);
    let too_early = is_over(deprecation, runtime, None) && !is_over(deprecation, runtime, request.today);
    let Deprecation { path, removed_in, refused_from, .. } = deprecation;
    too_early.then(|| {
        format!(
            "{path} may be gone from {removed_in} on, this is {runtime}, and it is refused from {refused_from} on only"
        )
    })
}

/// Whether this program may run what is for the programs of a window; and by how much they may differ.
fn fits(findings: &mut Collector<'_>, window: &CompatibilityWindow, request: &Request<'_>) -> (bool, u32) {
    let runtime = request.runtime.as_deref().unwrap_or(RUNTIME);
    let skew = policy(findings, request).map_or(0, |policy| policy.version_skew);
    let (least, most) = (series(&window.min_runtime), series(&window.max_runtime));
    let fits = match (series(runtime), least, most) {
        (Some((major, minor)), Some(least), Some(most)) => {
            (major, minor + skew) >= least && (major, minor) <= (most.0, most.1 + skew) && least.0 <= major
        }
        _ => false,
    };
    (fits, skew)
}

/// Warns of a bundle that was published before, and that this program can't go back to.
pub(crate) fn check_rollback(
    findings: &mut Collector<'_>,
    tree: &Tree,
    window: &CompatibilityWindow,
    request: &Request<'_>,
) {
    let (fits, skew) = fits(findings, window, request);
    if !fits {
        let (min, max) = (&window.min_runtime, &window.max_runtime);
        let message = format!("there is no way back to this bundle: it is for programs {min} to {max}");
        let hint =
            format!("up to {skew} minor versions may lie between; publish its version anew with this program first");
        findings.warn("RSPP0069", tree.place, "compatibility", message, hint);
    }
}

/// Reports a bundle that this program is too old or too new for.
pub(crate) fn check_window(
    findings: &mut Collector<'_>,
    tree: &Tree,
    window: &CompatibilityWindow,
    request: &Request<'_>,
) {
    let runtime = request.runtime.as_deref().unwrap_or(RUNTIME);
    let (fits, skew) = fits(findings, window, request);
    if !fits {
        let (min, max) = (&window.min_runtime, &window.max_runtime);
        let message = format!("the bundle is for programs {min} to {max}, and this one is {runtime}");
        let hint = format!("up to {skew} minor versions may lie between; make the bundle anew with `rspp bundle`");
        findings.report("RSPP0069", tree.place, "compatibility", message, hint);
    }
}

/// The changes of a kind's schema that need a new major version: those that the policy does not call compatible, apart
/// from fields whose time is over: the removal gate.
pub fn breaking_changes(
    policy: &CompatibilityPolicy,
    (runtime, today): (&str, Option<Day>),
    kind: &str,
    (old, new): (&Value, &Value),
) -> Vec<(String, SchemaChange)> {
    let over = |path: &str| {
        let field = format!("{kind}{path}");
        policy.deprecations.iter().any(|it| it.path == field && is_over(it, runtime, today))
    };
    let changes = schema_changes(old, new).into_iter();
    changes
        .filter(|(path, change)| {
            let is_removal = *change == SchemaChange::RemoveField && over(path);
            !policy.compatible.contains(change) && !is_removal
        })
        .collect()
}
