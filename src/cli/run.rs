//! `rspp run`.

use std::path::PathBuf;

use clap::Args;
use rspp_compiler::Registry;

use super::outcome::{Failure, Outcome};
use crate::run::{self, describe, run};

/// Hold a call: the caller's side from a WAV file, the whole call into another.
#[derive(Args)]
#[command(after_help = "Example:\n  rspp run specs/pipelines/voice-assistant.yaml --input caller.wav --output \
                        answer.wav --record call.rspp\n  rspp run SPEC --bind llm=http://localhost:11434/v1#qwen2.5:3b \
                        --bind stt=bundled:pocketsphinx#any-words --input ...\n\nExit code 1: an engine is missing or died. 2: a file or \
                        the spec is wrong.")]
pub(super) struct Run {
    /// The pipeline's spec.
    spec: PathBuf,
    /// Bind a node to another provider than the spec says; may be given several times.
    #[arg(long, value_name = "NODE=BINDING", value_parser = node_and_binding)]
    bind: Vec<(String, String)>,
    /// The caller's side: mono or stereo WAV, 8 to 48 kHz.
    #[arg(long, value_name = "CALLER.wav")]
    input: PathBuf,
    /// Where the call goes: stereo WAV, the caller left, the agent right.
    #[arg(long, value_name = "ANSWER.wav")]
    output: PathBuf,
    /// Also write a recording here.
    #[arg(long, value_name = "CALL.rspp")]
    record: Option<PathBuf>,
    /// Hold it by the clock on the wall instead of in virtual time.
    #[arg(long)]
    realtime: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self, registry: &Registry) -> Outcome {
        let Self { spec, bind, input, output, record, realtime, json } = self;
        let options = run::Run { spec, bindings: bind.into_iter().collect(), input, output, record, realtime };
        let held = run(&options, registry).map_err(|error| {
            if error.exit_code() == 2 { Failure::Input(error.to_string()) } else { Failure::Run(error.to_string()) }
        })?;
        if !json {
            return Ok(describe(&held, &options));
        }
        let text = serde_json::to_string_pretty(&held.summary).map_err(|error| Failure::Run(error.to_string()))?;
        Ok(text + "\n")
    }
}

/// `llm=http://localhost:11434/v1#MODEL`.
fn node_and_binding(text: &str) -> Result<(String, String), &'static str> {
    let (node, binding) = text.split_once('=').ok_or("write NODE=BINDING")?;
    Ok((node.trim().to_owned(), binding.trim().to_owned()))
}
