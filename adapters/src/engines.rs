//! The bundled speech engines: scripts that speak Wyoming, laid out in a folder of their own while a call runs.

use std::path::PathBuf;

use crate::orphans::Passing;
use crate::wyoming::{Connection, Timeouts, WyomingError};

const SCRIPTS: [(&str, &str); 3] = [
    ("wyoming_wire.py", include_str!("../../engines/wyoming_wire.py")),
    ("pocketsphinx_stt.py", include_str!("../../engines/pocketsphinx_stt.py")),
    ("espeak_tts.py", include_str!("../../engines/espeak_tts.py")),
];

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
#[derive(Debug, Default)]
pub struct EngineFiles {
    folder: Option<(tempfile::TempDir, Passing)>,
}

impl EngineFiles {
    /// Starts the recogniser for a grammar.
    ///
    /// # Errors
    /// The scripts can't be written, or Python does not start.
    pub fn pocketsphinx(&mut self, grammar: &str) -> Result<Connection, EngineError> {
        let folder = self.folder()?;
        let path = folder.join("grammar.jsgf");
        std::fs::write(&path, grammar).map_err(|error| EngineError::Files { path: path.clone(), error })?;
        let script = folder.join("pocketsphinx_stt.py");
        let (script, grammar) = (script.display().to_string(), path.display().to_string());
        Ok(python(&[&script, "--stdio", "--grammar", &grammar])?)
    }

    /// Starts the recogniser without a grammar: general English, far less certain than a grammar's phrases.
    ///
    /// # Errors
    /// The scripts can't be written, or Python does not start.
    pub fn pocketsphinx_any_words(&mut self) -> Result<Connection, EngineError> {
        let script = self.folder()?.join("pocketsphinx_stt.py").display().to_string();
        Ok(python(&[&script, "--stdio", "--any-words"])?)
    }

    /// Starts a voice: `espeak-ng` or `flite`.
    ///
    /// # Errors
    /// The scripts can't be written, or Python does not start.
    pub fn voice(&mut self, program: &str) -> Result<Connection, EngineError> {
        let script = self.folder()?.join("espeak_tts.py").display().to_string();
        Ok(python(&[&script, "--stdio", "--program", program])?)
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
}

/// Starts Python: the one that `RSPP_ENGINES_PYTHON` names, else that of `ci/setup`, else `python3`.
fn python(arguments: &[&str]) -> Result<Connection, WyomingError> {
    let set_up = PathBuf::from(".venv-engines/bin/python");
    let named = std::env::var("RSPP_ENGINES_PYTHON").ok().filter(|path| !path.is_empty());
    let python =
        named.unwrap_or_else(|| if set_up.is_file() { set_up.display().to_string() } else { "python3".to_owned() });
    let mut connection = Connection::spawn(&python, arguments, Timeouts::default())?;
    // An engine that lacks a package says so and ends: better now than in the middle of a call.
    connection.describe()?;
    Ok(connection)
}
