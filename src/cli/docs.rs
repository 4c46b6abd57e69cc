//! `rspp docs`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::{markdown, schemas};

use super::outcome::{Failure, Outcome};

/// Print the reference of every document, or write it with the JSON Schemas that editors use.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp docs                      the reference, as Markdown\n  \
    rspp docs --schemas schemas    the JSON Schemas, a file for each kind of document\n\n\
    With the YAML language server, the first line of a document names its schema:\n  \
    # yaml-language-server: $schema=../specs/schemas/pipeline-spec.schema.json")]
pub(super) struct Docs {
    /// Write the JSON Schemas to this folder.
    #[arg(long, value_name = "FOLDER")]
    schemas: Option<PathBuf>,
}

impl Docs {
    pub(super) fn run(&self) -> Outcome {
        let Some(folder) = &self.schemas else { return Ok(markdown()) };
        let fail = |error: std::io::Error| Failure::Run(format!("{} can't be written: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(fail)?;
        let mut written = String::new();
        for schema in schemas() {
            let text = serde_json::to_string_pretty(&schema.schema).map_err(|error| Failure::Run(error.to_string()))?;
            crate::files::replace(&folder.join(&schema.file), (text + "\n").as_bytes()).map_err(fail)?;
            written += &format!("{}\n", folder.join(&schema.file).display());
        }
        Ok(written)
    }
}
