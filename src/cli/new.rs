//! `rspp new`.

use std::path::Path;

use clap::Args;

use super::outcome::{Failure, Outcome};
use crate::templates::{NewError, TEMPLATES, create};

/// Make a pipeline of your own from a template: a folder that runs as it is, without a network or a key.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp new                           the templates\n  \
    rspp new voice-assistant mine      a folder `mine`\n  \
    rspp run mine/pipeline.yaml --input mine/caller.wav --output answer.wav")]
pub(super) struct New {
    /// Which template; without one, they are listed.
    #[arg(value_name = "TEMPLATE", requires = "name")]
    template: Option<String>,
    /// The pipeline's name, and the folder's.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl New {
    pub(super) fn run(&self) -> Outcome {
        let (Some(template), Some(name)) = (&self.template, &self.name) else {
            let width = TEMPLATES.iter().map(|template| template.name.len()).max().unwrap_or(0);
            let lines = TEMPLATES.iter().map(|template| format!("{:<width$}  {}\n", template.name, template.says));
            return Ok(lines.collect());
        };
        let written = create(template, Path::new(""), name).map_err(|error| match error {
            NewError::Unwritable { .. } => Failure::Run(error.to_string()),
            _ => Failure::Input(error.to_string()),
        })?;
        let files: String = written.iter().map(|path| format!("  {}\n", path.display())).collect();
        let try_it = TEMPLATES.iter().find(|known| known.name == template).map(|known| known.try_it(name));
        Ok(format!("{files}\ntry: {}\n", try_it.unwrap_or_default()))
    }
}
