//! The bundled speech engines: scripts that speak Wyoming, laid out in a folder of their own while a call runs.

use std::path::PathBuf;

use super::Machine;
use crate::orphans::Passing;
use crate::wyoming::{Connection, Fault, Timeouts, WyomingError};

const SCRIPTS: [(&str, &str); 3] = [
    ("wyoming_wire.py", include_str!("../../../engines/wyoming_wire.py")),
    ("pocketsphinx_stt.py", include_str!("../../../engines/pocketsphinx_stt.py")),
    ("espeak_tts.py", include_str!("../../../engines/espeak_tts.py")),
];

/// The bundled voices, the first choice first: bindings `bundled:NAME`. The first two are programs on the path, the
/// last is a Python package that [`super::install`] gets.
pub const VOICES: [&str; 3] = ["espeak-ng", "flite", "espeakng-loader"];

/// Why a bundled engine can't be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its files can't be laid out.
    #[error("the bundled engines can't be written to {path}: {error}")]
    Files {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It does not start.
    #[error(transparent)]
    Start(#[from] WyomingError),
}

/// Where the scripts are, once they are needed; the folder goes with this value.
#[derive(Debug)]
pub struct EngineFiles {
    folder: Option<(tempfile::TempDir, Passing)>,
    pythons: Vec<PathBuf>,
}

impl Default for EngineFiles {
    fn default() -> Self {
        Self::of(&Machine::this())
    }
}

impl EngineFiles {
    /// For the Pythons of a machine.
    pub fn of(machine: &Machine) -> Self {
        Self { folder: None, pythons: machine.pythons() }
    }

    /// Starts the recogniser for a grammar.
    ///
    /// # Errors
    /// The scripts can't be written, or no Python starts it.
    pub fn pocketsphinx(&mut self, grammar: &str) -> Result<Connection, EngineError> {
        let folder = self.folder()?;
        let path = folder.join("grammar.jsgf");
        std::fs::write(&path, grammar).map_err(|error| EngineError::Files { path: path.clone(), error })?;
        let script = folder.join("pocketsphinx_stt.py");
        let (script, grammar) = (script.display().to_string(), path.display().to_string());
        Ok(self.python(&[&script, "--stdio", "--grammar", &grammar])?)
    }

    /// Starts the recogniser without a grammar: general English, far less certain than a grammar's phrases.
    ///
    /// # Errors
    /// The scripts can't be written, or no Python starts it.
    pub fn pocketsphinx_any_words(&mut self) -> Result<Connection, EngineError> {
        let script = self.folder()?.join("pocketsphinx_stt.py").display().to_string();
        Ok(self.python(&[&script, "--stdio", "--any-words"])?)
    }

    /// Starts a voice, one of [`VOICES`].
    ///
    /// # Errors
    /// The scripts can't be written, or no Python starts it.
    pub fn voice(&mut self, name: &str) -> Result<Connection, EngineError> {
        let script = self.folder()?.join("espeak_tts.py").display().to_string();
        Ok(self.python(&[&script, "--stdio", "--program", name])?)
    }

    fn folder(&mut self) -> Result<PathBuf, EngineError> {
        if let Some((folder, _)) = &self.folder {
            return Ok(folder.path().to_owned());
        }
        let fail = |path: PathBuf| move |error| EngineError::Files { path, error };
        let made = tempfile::Builder::new().prefix("rspp-engines-").tempdir().map_err(fail(std::env::temp_dir()))?;
        let passing = Passing::new(made.path());
        for (name, text) in SCRIPTS {
            let path = made.path().join(name);
            std::fs::write(&path, text).map_err(fail(path.clone()))?;
        }
        let path = made.path().to_owned();
        self.folder = Some((made, passing));
        Ok(path)
    }

    /// Runs a script with the first Python that has what it needs: one that lacks a package says so and ends.
    fn python(&self, arguments: &[&str]) -> Result<Connection, WyomingError> {
        let mut first = None;
        for python in &self.pythons {
            match start(&python.display().to_string(), arguments) {
                Err(error) if matches!(*error.fault, Fault::Exited { .. }) => first = first.or(Some(error)),
                done => return done,
            }
        }
        first.map_or_else(|| start("python3", arguments), Err)
    }
}

fn start(python: &str, arguments: &[&str]) -> Result<Connection, WyomingError> {
    let mut connection = Connection::spawn(python, arguments, Timeouts::default())?;
    connection.describe()?;
    Ok(connection)
}
