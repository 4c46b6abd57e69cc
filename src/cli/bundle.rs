//! `rspp bundle`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::input_file::{open, read_text};
use rspp_compiler::{Checked, Named, Registry, bundle, imported, publish};
use rspp_specs::plan::Plan;

use super::lint::Judged;
use super::outcome::{Failure, Outcome};
use super::run::json_of;
use crate::spec::{Beside, Over, request};

/// Bytes of a file that a bundle pins.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Pin a pipeline: its spec, what it imports, its dialogues and captions, each by digest.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp bundle mine.yaml > mine.bundle.json\n  \
    rspp bundle mine.yaml --output mine.bundle.json\n  \
    rspp bundle mine.yaml --previous published.json --output mine.bundle.json\n\n\
    The same files give the same bytes on any machine.\n\
    A published version never changes: with --previous, a bundle that would change it is\n\
    refused, with what is different and the version that it needs.")]
pub(super) struct Bundle {
    /// The pipeline's spec.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// Write it here instead of printing it.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The bundle of this pipeline that was published last.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    #[command(flatten)]
    judged: Judged,
}

impl Bundle {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let files = Beside::of(&self.spec);
        let request =
            request(&self.spec, &Over::default(), &files).map_err(|error| Failure::Input(error.to_string()))?;
        let request = self.judged.by(request)?;
        let Checked { plan, mut findings, .. } = request.check(registry);
        let Some(plan) = plan.filter(|_| !findings.has_errors()) else {
            return Err(Failure::Input(findings.to_string()));
        };
        let made = bundle(&plan, &files_of(&self.spec, &plan)?, env!("CARGO_PKG_VERSION"));
        if let Some(path) = &self.previous {
            let text = read_text(path, "a bundle").map_err(|error| Failure::Input(error.to_string()))?;
            findings.0.extend(publish(&request, &made, &Named { name: path.display().to_string(), text }).0);
        }
        if findings.has_errors() {
            return Err(Failure::Input(findings.to_string()));
        }
        if !findings.0.is_empty() {
            eprintln!("{findings}");
        }
        let text = json_of(&made)?;
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
