//! `rspp publish`.

use std::path::{Path, PathBuf};

use clap::Args;
use rspp_adapters::input_file::read_text;
use rspp_compiler::{Registry, content};
use rspp_controlplane::plane::PIPELINE;
use rspp_controlplane::registry::Body;
use rspp_controlplane::wire::Published;

use super::bundle::files_of;
use super::outcome::{Failure, Outcome};
use super::reach::{Reach, failure, short};
use super::run::json_of;
use crate::trace::read_plan;

/// Publish a document, once and for all: a pipeline with all that it needs, a policy, a layer.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp publish mine.yaml\n  \
    rspp publish specs/policies/voice.yaml --json\n\n\
    What was published never changes, and gets nobody yet: `rspp rollout` gives it to callers.\n\
    Exit code 2: the document is wrong; what the compiler finds is said.")]
pub(super) struct Publish {
    /// The document.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    reach: Reach,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Publish {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let body = body_of(&self.file, registry)?;
        let published: Published =
            self.reach.client()?.post("/v1/artifacts", &body).map_err(|error| failure(&error))?;
        if self.json {
            return json_of(&published);
        }
        let Published { artifact, is_new, warnings } = published;
        let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
        let what = if is_new { "published" } else { "was published before" };
        let (kind, name, version) = (&artifact.kind, &artifact.name, artifact.version);
        Ok(format!("{warnings}{kind} {name} version {version} {what}: {}\n", short(&artifact.digest)))
    }
}

/// A document with all files that it names.
pub(super) fn body_of(path: &Path, registry: &Registry) -> Result<Body, Failure> {
    let wrong = |says: String| Failure::Input(format!("{}: {says}", path.display()));
    let main = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read_text(path, "a document").map_err(|error| Failure::Input(error.to_string()))?;
    let document = content(&main, &text).map_err(|findings| Failure::Input(findings.to_string()))?;
    let kind = document.get("kind").and_then(|kind| kind.as_str()).unwrap_or(PIPELINE);
    if kind != PIPELINE {
        return Ok(Body { files: [(main.clone(), text)].into(), main });
    }
    let plan = read_plan(path, registry).map_err(|error| Failure::Input(error.to_string()))?;
    let named = files_of(path, &plan)?.into_iter().map(|(name, (_, bytes))| {
        let text = String::from_utf8(bytes).map_err(|_| wrong(format!("{name} is no text")))?;
        Ok((name, text))
    });
    Ok(Body { main, files: named.collect::<Result<_, Failure>>()? })
}
