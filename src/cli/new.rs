//! `rspp new`.

use std::path::PathBuf;

use clap::Args;

use super::outcome::{Failure, Outcome};
use crate::templates::{NewError, TEMPLATES, create};

/// Make a pipeline of your own from a template: a folder that runs as it is, without a network or a key.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp new                           the templates\n  \
    rspp new voice-assistant mine      a folder `mine`; a path works as well, and ends with the name\n  \
    rspp run mine/pipeline.yaml --input mine/caller.wav --output answer.wav")]
pub(super) struct New {
    /// Which template; without one, they are listed.
    #[arg(value_name = "TEMPLATE", requires = "folder")]
    template: Option<String>,
    /// The folder to make; its last part is the pipeline's name, too.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl New {
    pub(super) fn run(&self) -> Outcome {
        let (Some(template), Some(folder)) = (&self.template, &self.folder) else {
            let width = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0);
            let lines = TEMPLATES.iter().map(|template| format!("{:<width$}  {}\n", template.name, template.says));
            return Ok(lines.collect());
        };
        let written = create(template, folder).map_err(|error| match error {
            NewError::Unwritable { .. } => Failure::Run(error.to_string()),
            _ => Failure::Input(error.to_string()),
        })?;
        let files: String = written.iter().map(|path| format!("  {}\n", path.display())).collect();
        let try_it = TEMPLATES.iter().find(|known| known.name == template).map(|known| known.try_it(folder));
        Ok(format!("{files}\ntry: {}\n", try_it.unwrap_or_default()))
    }
}
