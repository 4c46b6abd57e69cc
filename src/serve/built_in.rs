//! What is served where no spec is named: a bundled pipeline, with the best engines of this machine.

use std::path::PathBuf;

use rspp_adapters::engines::{Found, Machine, choose};
use rspp_adapters::orphans::Passing;
use tempfile::TempDir;

use crate::templates::{self, NewError};

/// The template, which is its pipeline's name, too.
const TEMPLATE: &str = "voice-assistant";
/// What it has in a recogniser's place.
const CAPTIONS: &str = "captions.yaml";

/// A bundled pipeline, unpacked for as long as this is there.
pub struct BuiltIn {
    /// Its spec.
    pub spec: PathBuf,
    /// What its recogniser and its voice are bound to.
    pub bindings: Vec<(String, String)>,
    /// What was chosen and why, and what stands in for an engine that is not there: a sentence each.
    pub notes: Vec<String>,
    /// Where it lies, and who takes it away if nobody else does.
    _folder: (Passing, TempDir),
}

impl BuiltIn {
    /// Unpacks it, and looks which engines there are.
    ///
    /// # Errors
    /// There is no place for it.
    pub fn unpack() -> Result<Self, NewError> {
        let made = tempfile::Builder::new().prefix("rspp-serve-").tempdir();
        let made = made.map_err(|error| NewError::Unwritable { path: std::env::temp_dir(), error })?;
        let passing = Passing::new(made.path());
        templates::create(TEMPLATE, &made.path().join(TEMPLATE))?;
        let chosen = choose(&Found::on(&Machine::this()), Some(CAPTIONS));
        let stt = chosen.stt.map(|stt| ("stt".to_owned(), stt));
        Ok(Self {
            spec: made.path().join(TEMPLATE).join("pipeline.yaml"),
            bindings: stt.into_iter().chain([("tts".to_owned(), chosen.tts)]).collect(),
            notes: chosen.notes.into_iter().chain(chosen.warning).collect(),
            _folder: (passing, made),
        })
    }
}
