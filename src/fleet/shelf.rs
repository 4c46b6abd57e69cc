//! The versions of a pipeline that a worker has: fetched once, laid out in a folder, compiled, their providers opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rspp_adapters::bridge::Pipeline;
use rspp_adapters::bridge::pool::{Limits, Pool};
use rspp_adapters::call::CallError;
use rspp_adapters::notes::Notes;
use rspp_adapters::opener::Opener;
use rspp_adapters::provider::ProviderError;
use rspp_compiler::Registry;
use rspp_controlplane::registry::{Body, MAX_FOLDERS_UP};
use rspp_controlplane::wire::Document;
use rspp_specs::plan::PlanHash;

use super::client::{AskError, Client};
use crate::run::dialogue_of;
use crate::trace::{TraceError, read_plan};

/// Versions that are kept at most; the one that was fetched first goes first. Sessions that run one keep it.
const MAX_VERSIONS: usize = 16;

/// The versions that a worker has, by digest.
pub struct Shelf {
    client: Client,
    registry: Registry,
    folder: tempfile::TempDir,
    limits: Limits,
    notes: Notes,
    kept: Mutex<Vec<(String, Pipeline)>>,
}

/// Why a version is not there.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The control plane does not give it.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It can't be laid out.
    #[error("{path}: {error}")]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// This program does not compile it.
    #[error(transparent)]
    Spec(#[from] TraceError),
    /// A provider's binding, or a file that it needs.
    #[error(transparent)]
    Binding(ProviderError),
    /// A provider.
    #[error(transparent)]
    Provider(CallError),
}

impl Shelf {
    /// An empty one.
    ///
    /// # Errors
    /// There is no folder for it.
    pub fn new(client: Client, registry: Registry, limits: Limits, notes: Notes) -> Result<Self, ShelfError> {
        let path = std::env::temp_dir();
        let folder = tempfile::tempdir().map_err(|error| ShelfError::Folder { path, error })?;
        Ok(Self { client, registry, folder, limits, notes, kept: Mutex::default() })
    }

    /// A version, if it is there.
    pub fn get(&self, digest: &str) -> Option<Pipeline> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, _)| of == digest).map(|(_, pipeline)| pipeline.clone())
    }

    /// The version with this plan, if it is there.
    pub fn by_plan(&self, plan: &PlanHash) -> Option<Pipeline> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(_, pipeline)| pipeline.plan.hash() == plan).map(|(_, pipeline)| pipeline.clone())
    }

    /// A version, which is fetched if it is not there.
    ///
    /// # Errors
    /// It can't be had, or not run here.
    pub fn fetch(&self, digest: &str) -> Result<Pipeline, ShelfError> {
        if let Some(pipeline) = self.get(digest) {
            return Ok(pipeline);
        }
        let document: Document = self.client.get(&format!("/v1/artifacts/{digest}"))?;
        let spec = lay_out(&self.folder.path().join(digest), &document.body)?;
        let plan = read_plan(&spec, &self.registry)?;
        let folder = spec.parent().unwrap_or(Path::new(""));
        let opener = Opener::new(folder, dialogue_of(&plan).as_deref()).map_err(ShelfError::Binding)?;
        let pool = Pool::open(&plan, opener, self.limits, &self.notes).map_err(ShelfError::Provider)?;
        let pipeline = Pipeline { plan, pool: Arc::new(pool) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_VERSIONS {
            kept.remove(0);
        }
        kept.push((digest.to_owned(), pipeline.clone()));
        Ok(pipeline)
    }
}

/// Lays a document's files out, so deep that none leads out of the folder; gives its own file.
fn lay_out(root: &Path, body: &Body) -> Result<PathBuf, ShelfError> {
    let mut folders = vec![root.to_owned()];
    for depth in 0..MAX_FOLDERS_UP {
        let below = folders[depth].join("in");
        folders.push(below);
    }
    let mut texts = BTreeMap::new();
    for (path, text) in &body.files {
        let up = path.split('/').take_while(|part| *part == "..").count();
        let below = path.split('/').skip(up);
        let from = &folders[MAX_FOLDERS_UP - up.min(MAX_FOLDERS_UP)];
        texts.insert(below.fold(from.clone(), |path, part| path.join(part)), text);
    }
    for (path, text) in texts {
        let failed = |error| ShelfError::Folder { path: path.clone(), error };
        std::fs::create_dir_all(path.parent().unwrap_or(root)).map_err(failed)?;
        std::fs::write(&path, text).map_err(failed)?;
    }
    Ok(folders[MAX_FOLDERS_UP].join(&body.main))
}
