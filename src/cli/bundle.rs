//! `rspp bundle`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::input_file::open;
use rspp_compiler::{Registry, bundle, imported};
use rspp_specs::plan::Plan;

use super::outcome::{Failure, Outcome};
use super::run::json_of;
use crate::trace::read_plan;

/// Bytes of a file that a bundle pins.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Pin a pipeline: its spec, what it imports, its dialogues and captions, each by digest.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp bundle mine.yaml > mine.bundle.json\n  \
    rspp bundle mine.yaml --output mine.bundle.json\n\n\
    The same files give the same bytes on any machine.")]
pub(super) struct Bundle {
    /// The pipeline's spec.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Write it here instead of printing it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Bundle {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let plan = read_plan(&self.spec, registry).map_err(|error| Failure::Input(error.to_string()))?;
        let text = json_of(&bundle(&plan, &files_of(&self.spec, &plan)?, env!("CARGO_PKG_VERSION")))?;
        let Some(path) = &self.output else { return Ok(text) };
        crate::files::replace(path, text.as_bytes()).map_err(|error| {
            Failure::Run(format!("{} can't be written ({error}): check that its folder exists", path.display()))
        })?;
        Ok(String::new())
    }
}

/// Every file that the pipeline needs, by its path from the spec's folder.
pub(super) fn files_of(path: &Path, plan: &Plan) -> Result<BTreeMap<String, (String, Vec<u8>)>, Failure> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let spec = read(path, "a pipeline's spec")?;
    let mut files = BTreeMap::new();
    for module in imported(&String::from_utf8_lossy(&spec)) {
        let bytes = read(&folder.join(&module), "a module")?;
        files.insert(module, ("module".to_owned(), bytes));
    }
    files.insert(name, ("spec".to_owned(), spec));
    let bindings = plan
        .nodes()
        .iter()
        .flat_map(|node| node.kind.binding().into_iter().chain(node.provider.fallback.iter().map(String::as_str)));
    for binding in bindings {
        if let Some((role @ ("dialogue" | "captions"), path)) = binding.split_once(':') {
            files.insert(path.to_owned(), (role.to_owned(), read(&folder.join(path), "a file that a binding names")?));
        }
    }
    Ok(files)
}

fn read(path: &Path, what: &'static str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = open(path, what)
        .map_err(|error| Failure::Input(error.to_string()))?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes);
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(Failure::Input(format!("{} is larger than 64 MiB", path.display())))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Input(format!("{} can't be read ({error}): check its permissions", path.display()))),
    }
}
