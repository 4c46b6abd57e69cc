//! What is wrong with a document: a code, a place, a text, a look at the line, and what to do.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use rspp_specs::limits::MAX_FINDINGS;

use crate::sources::{Sources, masked};
use crate::tree::Tree;

/// Where in the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Which document, as [`Sources`] counts them.
    pub(crate) file: u16,
    /// From 1; 0 if it is the whole text.
    pub(crate) line: u32,
    /// In characters, from 1; 0 if it is the whole line.
    pub(crate) column: u32,
    /// The first byte.
    pub(crate) start: u32,
    /// The byte behind the last.
    pub(crate) end: u32,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The document can't be used.
    Error,
    /// It can be used, and should be changed.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// The line that a finding is about. Secrets in it are blotted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line.
    pub text: String,
    /// What is marked in it, in bytes.
    pub marked: std::ops::Range<usize>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable code, `RSPP0001`, with a page in `docs/errors`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// The document's name: a path, usually.
    pub source: String,
    /// From 1; 0 if it is the whole text.
    pub line: u32,
    /// In characters, from 1; 0 if it is the whole line.
    pub column: u32,
    /// The field's path, as far as there is one: `nodes.vad.detector`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The line, unless it is too long to be shown.
    pub excerpt: Option<Excerpt>,
}

impl Finding {
    /// In one line, and one for the hint: for lists and for tests.
    pub fn in_a_line(&self) -> String {
        let Finding { code, source, line, column, path, message, hint, .. } = self;
        let at = if path.is_empty() { String::new() } else { format!(" (at {path})") };
        let hint = if hint.is_empty() { String::new() } else { format!("\n  hint: {hint}") };
        format!("{source}:{line}:{column}: {}[{code}]: {message}{at}{hint}", self.severity.name())
    }

    /// With the line and a mark under what is meant, as compilers do. In colours if they are wanted.
    pub fn drawn(&self, coloured: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let group = match &self.excerpt {
            Some(Excerpt { text, marked }) => title.element(
                Snippet::source(text.as_str())
                    .line_start(self.line as usize)
                    .path(self.source.as_str())
                    .annotation(AnnotationKind::Primary.span(marked.clone())),
            ),
            None if self.line == 0 => title.element(Origin::path(self.source.as_str())),
            None => title
                .element(Origin::path(self.source.as_str()).line(self.line as usize).char_column(self.column as usize)),
        };
        let path = (!self.path.is_empty()).then(|| Level::NOTE.with_name(Some("at")).message(self.path.as_str()));
        let hint = (!self.hint.is_empty()).then(|| Level::HELP.message(self.hint.as_str()));
        let group: Group<'_> = group.elements(path).elements(hint);
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.drawn(false))
    }
}

/// Everything that is wrong, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether something in it makes the document unusable.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Each with its line, and at the end how many there are. In colours if they are wanted.
    pub fn drawn(&self, coloured: bool) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            text += &finding.drawn(coloured);
            text += "\n\n";
        }
        let count = |severity| self.0.iter().filter(|finding| finding.severity == severity).count();
        let number = |count: usize, word: &str| match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            count => Some(format!("{count} {word}s")),
        };
        let counts = [number(count(Severity::Error), "error"), number(count(Severity::Warning), "warning")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        text + &counts.join(", ") + "; docs/errors has a page for each code"
    }

    /// One line for each, and one for its hint.
    pub fn in_lines(&self) -> String {
        self.0.iter().map(Finding::in_a_line).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.drawn(false))
    }
}

/// Collects findings of one document and of those that it names.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    sources: &'a mut Sources,
    /// What findings are looked up in by their path, once there is something.
    pub(crate) tree: Option<Tree>,
    /// How fields are called that the document has in another place: `nodes.llm.bind` is written as `bind.llm`.
    pub(crate) written_as: Vec<(String, String)>,
    findings: Vec<(Place, Finding)>,
    more: usize,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(sources: &'a mut Sources) -> Self {
        Self { sources, tree: None, written_as: Vec::new(), findings: Vec::new(), more: 0 }
    }

    pub(crate) fn sources(&mut self) -> &mut Sources {
        self.sources
    }

    pub(crate) fn text(&self, file: u16) -> &str {
        self.sources.text(file)
    }

    /// Reports an error. Where the path is that of a field which is there, the finding stands at the field, else at
    /// the place that is given.
    pub(crate) fn report(
        &mut self,
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = path.into();
        let place = self.tree.as_ref().and_then(|tree| tree.locate(&path)).unwrap_or(place);
        self.push(Severity::Error, code, place, path, &message.into(), &hint.into());
    }

    /// Reports an error at exactly this place.
    pub(crate) fn report_at(
        &mut self,
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, place, path.into(), &message.into(), &hint.into());
    }

    /// Reports what should be changed and need not be.
    pub(crate) fn warn(
        &mut self,
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let path = path.into();
        let place = self.tree.as_ref().and_then(|tree| tree.locate(&path)).unwrap_or(place);
        self.push(Severity::Warning, code, place, path, &message.into(), &hint.into());
    }

    /// The same, at exactly this place.
    pub(crate) fn warn_at(
        &mut self,
        code: &'static str,
        place: Place,
        path: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, place, path.into(), &message.into(), &hint.into());
    }

    fn push(&mut self, severity: Severity, code: &'static str, place: Place, path: String, message: &str, hint: &str) {
        let written = self.written_as.iter().find_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?)));
        let path = written.unwrap_or(path);
        if self.findings.len() >= MAX_FINDINGS {
            self.more += 1;
            return;
        }
        let place = self.sources.shown_at(place);
        let (source, excerpt) = (self.sources.name(place.file).to_owned(), self.sources.excerpt(place));
        let (line, column) = (place.line, place.column);
        let (path, message, hint) = (masked(&path), masked(message), masked(hint));
        let finding = Finding { code, severity, source, line, column, path, message, hint, excerpt };
        self.findings.push((place, finding));
    }

    /// Whether the document has a field of this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.locate(path).is_some()
    }

    /// Where the document has a field of this path.
    pub(crate) fn locate(&self, path: &str) -> Option<Place> {
        self.tree.as_ref()?.locate(path)
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.findings.len() + self.more
    }

    /// Whether something makes the document unusable.
    pub(crate) fn has_errors(&self) -> bool {
        self.more > 0 || self.findings.iter().any(|(_, finding)| finding.severity == Severity::Error)
    }

    /// The findings in the order of the text.
    pub(crate) fn finish(mut self) -> Findings {
        self.findings.sort_by(|(a, x), (b, y)| (a, x.code, &x.path, &x.message).cmp(&(b, y.code, &y.path, &y.message)));
        self.findings.dedup();
        let mut findings: Vec<Finding> = self.findings.into_iter().map(|(_, finding)| finding).collect();
        if self.more > 0 {
            let (source, message) =
                (self.sources.name(0).to_owned(), format!("{} more findings are not told", self.more));
            let hint = "mend these first".to_owned();
            let (severity, path) = (Severity::Error, String::new());
            findings.push(Finding {
                code: "RSPP0043",
                severity,
                source,
                line: 0,
                column: 0,
                path,
                message,
                hint,
                excerpt: None,
            });
        }
        Findings(findings)
    }
}

/// The name among `known` that `given` was probably meant to be.
pub(crate) fn did_you_mean<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // Half of a short word may be wrong by chance.
    let most = 2.min(given.chars().count() / 2).max(1);
    // `hangover` for `hangover_ms`.
    let unit = |name: &str| name.strip_prefix(given).is_some_and(|rest| rest.starts_with('_'));
    let known: Vec<&str> = known.collect();
    if let Some(name) = known.iter().copied().find(|name| unit(name) && !given.is_empty()) {
        return Some(name);
    }
    // `ulaw` is nearer to `mulaw` than to `alaw`: what is left out is less than what is wrong.
    let differs = |name: &str| !name.ends_with(given) && !name.starts_with(given);
    known
        .into_iter()
        .map(|name| (edits(given, name), differs(name), name))
        .filter(|(edits, ..)| *edits <= most)
        .min()
        .map(|(.., name)| name)
}

/// What to do about a name that is not known: the one that was probably meant, else all there are.
pub(crate) fn meant<'k>(given: &str, known: impl Iterator<Item = &'k str> + Clone, there_are: &str) -> String {
    match did_you_mean(given, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("{there_are}: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// How many letters must be changed, added or removed to make one word of the other, two neighbours that changed
/// places being one.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == &b[j - 1] && y == &a[i - 1] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let known = ["merge", "join", "playout"];
        assert_eq!(did_you_mean("playuot", known.into_iter()), Some("playout"));
        assert_eq!(did_you_mean("ulaw", ["alaw", "mulaw", "pcm16"].into_iter()), Some("mulaw"));
        assert_eq!(did_you_mean("jion", known.into_iter()), Some("join"));
        assert_eq!(did_you_mean("elephant", known.into_iter()), None);
        assert_eq!(did_you_mean("x", ["llm"].into_iter()), None);
    }
}
