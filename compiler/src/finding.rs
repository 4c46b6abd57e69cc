//! What is wrong with a spec: a code, a place, a text, and what to do.

use std::fmt;

/// Where in a spec's text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1; 0 if it is the whole text.
    pub line: u64,
    /// From 1; 0 if it is the whole line.
    pub column: u64,
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, `RSPP0001`.
    pub code: &'static str,
    /// The spec's name.
    pub source: String,
    /// Where.
    pub place: Place,
    /// The field's path, as far as there is one: `nodes.vad.detector`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { code, source, place, path, message, hint } = self;
        write!(f, "{source}:{}:{}: error[{code}]: {message}", place.line, place.column)?;
        if !path.is_empty() {
            write!(f, " (at {path})")?;
        }
        if !hint.is_empty() {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

/// Collects findings of one spec.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    source: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        Self { source, findings: Vec::new() }
    }

    pub(crate) fn report(
        &mut self,
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (path, message, hint) = (path.into(), message.into(), hint.into());
        self.findings.push(Finding { code, source: self.source.to_owned(), place, path, message, hint });
    }

    /// The findings in the order of the text, or `value` if there are none.
    pub(crate) fn finish<T>(mut self, value: impl FnOnce() -> T) -> Result<T, Findings> {
        if self.findings.is_empty() {
            return Ok(value());
        }
        self.findings.sort_by(|a, b| (&a.place, a.code).cmp(&(&b.place, b.code)));
        Err(Findings(self.findings))
    }
}

/// The name among `known` that `given` was probably meant to be.
pub(crate) fn did_you_mean<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known.map(|name| (edits(given, name), name)).filter(|(edits, _)| *edits <= 2).min().map(|(_, name)| name)
}

/// How many letters must be changed, added or removed to make one word of the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let known = ["merge", "join", "playout"];
        assert_eq!(did_you_mean("playuot", known.into_iter()), Some("playout"));
        assert_eq!(did_you_mean("jion", known.into_iter()), Some("join"));
        assert_eq!(did_you_mean("elephant", known.into_iter()), None);
    }
}
