//! What shells and `man` want to know of the command line, made from the same definitions.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use super::outcome::{Failure, Outcome};

/// Print a script that completes commands, options and files in your shell.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    source <(rspp completions bash)                                          in ~/.bashrc\n  \
    rspp completions zsh > ~/.zfunc/_rspp                                    a folder of fpath\n  \
    rspp completions fish > ~/.config/fish/completions/rspp.fish")]
pub(super) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut command: Command) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "rspp", &mut script);
        String::from_utf8(script).map_err(|error| Failure::Run(error.to_string()))
    }
}

/// Print the manual page, or write all of them, one for each command.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp man | man -l -            read it\n  \
    rspp man ~/.local/share/man/man1   install all of them")]
pub(super) struct Man {
    /// The folder to write `rspp.1`, `rspp-run.1` and the others to.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self, command: Command) -> Outcome {
        let Some(folder) = &self.folder else {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|error| Failure::Run(error.to_string()))?;
            return String::from_utf8(page).map_err(|error| Failure::Run(error.to_string()));
        };
        let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
        let unwritable = |error: std::io::Error| {
            Failure::Run(format!("{} can't be written to ({error}): name another folder", folder.display()))
        };
        written.map_err(unwritable)?;
        Ok(format!("the manual pages are in {}\n", folder.display()))
    }
}
