//! The `rspp` command line, usable from a binary with nodes of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rspp_adapters::recording::{self, Recording, RecordingFile};
use rspp_compiler::{Registry, explain};

use crate::replay::{Verdict, replay};
use crate::run::{Run, describe, run};
use crate::trace::{Traced, read_plan, trace};

/// A runtime kernel for real-time voice pipelines.
#[derive(Parser)]
#[command(name = "rspp", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say in words what a pipeline does: its nodes, its edges, how it takes turns.
    #[command(after_help = "Example:\n  rspp explain specs/pipelines/voice-assistant.yaml")]
    Explain {
        /// The pipeline's spec, YAML or JSON.
        spec: PathBuf,
    },
    /// Run a scripted call in virtual time, and print all that entered and left.
    #[command(after_help = "Example:\n  rspp trace tests/golden/plain-call.yaml")]
    Trace {
        /// The scenario, YAML or JSON.
        scenario: PathBuf,
        /// Also write a recording here.
        #[arg(long, value_name = "CALL.rspp")]
        record: Option<PathBuf>,
    },
    /// Hold a call: the caller's side from a WAV file, the whole call into another.
    #[command(after_help = "Example:\n  rspp run specs/pipelines/voice-assistant.yaml --input caller.wav --output \
                            answer.wav --record call.rspp\n  rspp run SPEC --bind llm=http://localhost:11434/v1#qwen2.5:3b \
                            --bind stt=bundled:pocketsphinx#any-words --input ...\n\nExit code 1: an engine is missing or died. 2: a file or \
                            the spec is wrong.")]
    Run {
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
    },
    /// Feed a recording's inputs to this program, and compare all that comes out.
    #[command(after_help = "Example:\n  rspp replay call.rspp\n\nExit code 0: identical. 1: it differs, or the \
                            file is damaged; the first difference, or the damage, is named.")]
    Replay {
        /// The recording.
        recording: PathBuf,
    },
}

/// Why a command ended without its result.
enum Failure {
    /// Wrong usage or input: exit code 2.
    Input(String),
    /// It ran, and something failed, differs or is damaged: exit code 1.
    Run(String),
}

/// Runs the command line with these node types. Exit codes: 0 fine; 1 something ran and failed; 2 wrong usage or
/// input.
pub fn main(registry: &Registry) -> ExitCode {
    let result = match &Arguments::parse().command {
        Command::Explain { spec } => {
            read_plan(spec, registry).map(|plan| explain(&plan)).map_err(|error| Failure::Input(error.to_string()))
        }
        Command::Trace { scenario, record } => run_trace(scenario, record.as_deref(), registry),
        Command::Replay { recording } => run_replay(recording, registry),
        Command::Run { spec, bind, input, output, record, realtime, json } => {
            let (spec, input, output, record) = (spec.clone(), input.clone(), output.clone(), record.clone());
            let bindings = bind.iter().cloned().collect();
            run_call(&Run { spec, bindings, input, output, record, realtime: *realtime }, *json, registry)
        }
    };
    match result {
        Ok(text) => print(&text),
        Err(Failure::Input(message)) => fail(&message, 2),
        Err(Failure::Run(message)) => fail(&message, 1),
    }
}

/// `llm=http://localhost:11434/v1#MODEL`.
fn node_and_binding(text: &str) -> Result<(String, String), &'static str> {
    let (node, binding) = text.split_once('=').ok_or("write NODE=BINDING")?;
    Ok((node.trim().to_owned(), binding.trim().to_owned()))
}

fn run_call(options: &Run, json: bool, registry: &Registry) -> Result<String, Failure> {
    let held = run(options, registry).map_err(|error| {
        if error.exit_code() == 2 { Failure::Input(error.to_string()) } else { Failure::Run(error.to_string()) }
    })?;
    if !json {
        return Ok(describe(&held, options));
    }
    let text = serde_json::to_string_pretty(&held.summary).map_err(|error| Failure::Run(error.to_string()))?;
    Ok(text + "\n")
}

fn run_trace(scenario: &Path, record: Option<&Path>, registry: &Registry) -> Result<String, Failure> {
    let traced = trace(scenario, registry).map_err(|error| Failure::Input(error.to_string()))?;
    if let Some(path) = record {
        write_recording(path, &traced)?;
    }
    Ok(traced.lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n"))
}

fn write_recording(path: &Path, traced: &Traced) -> Result<(), Failure> {
    let fail = |error: recording::RecordingError| Failure::Run(error.to_string());
    let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut file = RecordingFile::create(path, recording::head(&name, &traced.plan, 0)).map_err(fail)?;
    file.append(&traced.records).map_err(fail)?;
    file.finish().map_err(fail)
}

fn run_replay(path: &Path, registry: &Registry) -> Result<String, Failure> {
    if !path.is_file() {
        return Err(Failure::Input(format!("{}: no such file; give the path of a recording (.rspp)", path.display())));
    }
    let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
    let recording = Recording::open(path).map_err(|error| fail(&error))?;
    match replay(&recording, registry).map_err(|error| fail(&error))? {
        verdict @ Verdict::Identical { .. } => Ok(format!("{verdict}\n")),
        verdict @ Verdict::Differs(_) => Err(fail(&verdict)),
    }
}

/// Writes to standard output; a reader that has gone, as `head` does, is no error.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("rspp: {message}");
    ExitCode::from(code)
}
