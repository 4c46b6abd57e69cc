//! `rspp lint`.

use std::path::PathBuf;

use clap::Args;
use rspp_adapters::input_file::read_text;
use rspp_compiler::{Day, Finding, Findings, Named, Registry, Request, Severity, lint};
use serde_json::{Value, json};

use super::outcome::{Failure, Outcome};
use super::run::json_of;
use crate::spec::{Beside, documents, today};

/// Check specs and the documents around them: everything that is wrong, with its place and what to do.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp lint mine.yaml\n  \
    rspp lint specs                        every document of ours in a folder\n  \
    rspp lint specs --sarif > lint.sarif   for CI, which shows findings beside the lines\n\n\
    Exit code 0: nothing is wrong; warnings are no error. 2: something is.")]
pub(super) struct Lint {
    /// Documents, or folders of them.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    #[command(flatten)]
    judged: Judged,
    /// Print SARIF 2.1.0.
    #[arg(long)]
    sarif: bool,
}

/// By what it is judged what is deprecated.
#[derive(Args)]
pub(super) struct Judged {
    /// Judge what is deprecated by this document, not by the program's own.
    #[arg(long, value_name = "FILE")]
    compat: Option<PathBuf>,
    /// Judge as on this day, and not as today.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    date: Option<Day>,
}

impl Judged {
    /// The request, judged so.
    pub(super) fn by<'r>(&self, request: Request<'r>) -> Result<Request<'r>, Failure> {
        let read = |path: &PathBuf| {
            let text = read_text(path, "a policy").map_err(|error| Failure::Input(error.to_string()))?;
            Ok(Named { name: path.display().to_string(), text })
        };
        let compatibility = self.compat.as_ref().map(read).transpose()?;
        Ok(Request { today: Some(self.date.unwrap_or_else(today)), compatibility, ..request })
    }
}

/// Whether what goes to standard output is to have colours.
fn is_coloured() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

impl Lint {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let (mut all, mut checked) = (Findings::default(), 0_usize);
        for path in &self.paths {
            let named = !path.is_dir();
            for document in documents(path).map_err(|error| Failure::Input(error.to_string()))? {
                let text = match read_text(&document, "a document") {
                    Ok(text) => text,
                    Err(error) if named => return Err(Failure::Input(error.to_string())),
                    Err(_) => continue,
                };
                // In a folder, documents of others are not ours to judge.
                if !named && !text.lines().any(|line| line.contains("kind")) {
                    continue;
                }
                let files = Beside::of(&document);
                let request = Request::new(&document.display().to_string(), &text).with_files(&files);
                let request = self.judged.by(request)?;
                let (kind, findings) = lint(&request, registry);
                if named || kind.is_some() {
                    checked += 1;
                    all.0.extend(findings.0);
                }
            }
        }
        let text = match (self.json, self.sarif) {
            (true, _) => {
                json_of(&json!({"documents": checked, "findings": all.0.iter().map(object).collect::<Vec<_>>()}))?
            }
            (_, true) => json_of(&sarif(&all))?,
            _ => told(&all, checked),
        };
        match all.has_errors() {
            false => Ok(text),
            true if self.json || self.sarif => Err(Failure::Refused(text)),
            true => Err(Failure::Refused(text)),
        }
    }
}

fn day(text: &str) -> Result<Day, &'static str> {
    Day::parse(text).ok_or("write a day as 2027-01-31")
}

fn told(all: &Findings, checked: usize) -> String {
    let documents = if checked == 1 { "1 document".to_owned() } else { format!("{checked} documents") };
    if all.0.is_empty() {
        return format!("{documents}: nothing is wrong\n");
    }
    format!("{}\n{documents}\n", all.drawn(is_coloured()))
}

fn object(finding: &Finding) -> Value {
    json!({
        "code": finding.code,
        "severity": finding.severity.name(),
        "file": finding.source,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "message": finding.message,
        "hint": finding.hint,
    })
}

fn sarif(all: &Findings) -> Value {
    let mut codes: Vec<&str> = all.0.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> =
        codes.iter().map(|code| json!({"id": code, "help": {"text": format!("docs/errors/{code}.md")}})).collect();
    let results: Vec<Value> = all
        .0
        .iter()
        .map(|finding| {
            let region = json!({"startLine": finding.line.max(1), "startColumn": finding.column.max(1)});
            let place = json!({"artifactLocation": {"uri": finding.source}, "region": region});
            let level = if finding.severity == Severity::Error { "error" } else { "warning" };
            let text = if finding.hint.is_empty() { finding.message.clone() } else { format!("{}; {}", finding.message, finding.hint) };
            json!({"ruleId": finding.code, "level": level, "message": {"text": text}, "locations": [{"physicalLocation": place}]})
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "rspp", "version": env!("CARGO_PKG_VERSION"), "rules": rules}}, "results": results}],
    })
}
