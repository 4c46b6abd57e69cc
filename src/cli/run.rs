//! `rspp run`.

use std::path::PathBuf;

use clap::Args;
use rspp_adapters::interrupt::Interrupt;
use rspp_compiler::Registry;
use rspp_specs::plan::RecordingLevel;
use serde::Serialize;

use super::outcome::{Failure, Outcome};
use super::over::LaidOver;
use crate::run::{self, RunError, describe, run};

/// Hold a call: the caller's side from a WAV file, the whole call into another.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp run specs/pipelines/voice-assistant.yaml --input caller.wav \\\n      \
        --output answer.wav --record call.rspp\n  \
    rspp run specs/pipelines/voice-assistant.yaml --input caller.wav --output answer.wav \\\n      \
        --bind llm=http://localhost:11434/v1#qwen2.5:3b --bind stt=bundled:pocketsphinx#any-words\n  \
    rspp run mine.yaml --input caller.wav --output answer.wav \\\n      \
        --layer production.yaml --policy cost.yaml --for tenant=acme\n\n\
    Ctrl-C ends the session, and leaves whole files.\n\
    Exit code 1: an engine is missing or died. 2: a file or the spec is wrong.")]
pub(super) struct Run {
    /// The pipeline's spec.
    spec: PathBuf,
    #[command(flatten)]
    over: LaidOver,
    /// The caller's side: mono or stereo WAV, 8 to 48 kHz.
    #[arg(long, value_name = "CALLER.wav")]
    input: PathBuf,
    /// Where the call goes: stereo WAV, the caller left, the agent right.
    #[arg(long, value_name = "ANSWER.wav")]
    output: PathBuf,
    /// Also write a recording here.
    #[arg(long, value_name = "CALL.rspp")]
    record: Option<PathBuf>,
    /// How much of it is recorded, whatever the spec says of served calls: only L2 replays; L0 and L1 keep no audio.
    #[arg(long, value_name = "LEVEL", value_parser = level, default_value = "L2", requires = "record")]
    record_level: RecordingLevel,
    /// Hold it by the clock on the wall instead of in virtual time.
    #[arg(long)]
    realtime: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) fn run(self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let Self { spec, over, input, output, record, record_level, realtime, json } = self;
        let record_level = Some(record_level);
        let options = run::Run { spec, over: over.over(), input, output, record, record_level, realtime };
        let held = run(&options, registry, interrupt).map_err(|error| failure(&error))?;
        let text = if json { json_of(&held.summary)? } else { describe(&held, &options) };
        match held.interrupted_by {
            None => Ok(text),
            Some(signal) => Err(Failure::Interrupted(signal, text, STOPPED.to_owned())),
        }
    }
}

/// `L0`, `L1` or `L2`.
fn level(text: &str) -> Result<RecordingLevel, &'static str> {
    let levels = [RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2];
    levels.into_iter().find(|level| level.name().eq_ignore_ascii_case(text)).ok_or("write L0, L1 or L2")
}

/// Said of a call that was told to end, and did.
pub(super) const STOPPED: &str = "stopped: the session was ended, and its files are whole";

pub(super) fn failure(error: &RunError) -> Failure {
    match error {
        RunError::Interrupted { signal } => Failure::Interrupted(*signal, String::new(), error.to_string()),
        error if error.exit_code() == 2 => Failure::Input(error.to_string()),
        error => Failure::Run(error.to_string()),
    }
}

pub(super) fn json_of(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Run(error.to_string()))?;
    Ok(text + "\n")
}
