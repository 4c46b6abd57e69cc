//! `rspp fmt`.

use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::input_file::read_text;

use super::outcome::{Failure, Outcome};
use crate::format::{FormatError, format};
use crate::spec::documents;

/// Format YAML documents: indentation, spaces, quotes. Comments stay, and so does what the document says.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp fmt mine.yaml\n  \
    rspp fmt specs --check     change nothing, and fail if something would change")]
pub(super) struct Fmt {
    /// Documents, or folders of them.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Change nothing; exit code 1 if something would change.
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(&self) -> Outcome {
        let mut changed = Vec::new();
        for path in &self.paths {
            for document in documents(path).map_err(|error| Failure::Input(error.to_string()))? {
                let is_yaml = document.extension().is_some_and(|extension| extension != "json");
                if is_yaml && self.one(&document)? {
                    changed.push(document.display().to_string());
                }
            }
        }
        let text: String = changed.iter().map(|path| format!("{path}\n")).collect();
        if self.check && !changed.is_empty() { Err(Failure::Unwell(text)) } else { Ok(text) }
    }

    /// Whether the document changes.
    fn one(&self, path: &Path) -> Result<bool, Failure> {
        let name = path.display().to_string();
        let text = read_text(path, "a document").map_err(|error| Failure::Input(error.to_string()))?;
        let formatted = format(&name, &text).map_err(|error| match error {
            FormatError::Findings(_) => Failure::Input(error.to_string()),
            FormatError::Meaning { .. } => Failure::Run(error.to_string()),
        })?;
        let changes = formatted != text;
        if changes && !self.check {
            crate::files::replace(path, formatted.as_bytes())
                .map_err(|error| Failure::Run(format!("{name} can't be written ({error}): check its permissions")))?;
        }
        Ok(changes)
    }
}
