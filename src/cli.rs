//! The `rspp` command line, usable from a binary with nodes of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rspp_compiler::{Registry, explain};

use crate::trace::{TraceError, read_plan, trace};

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
    },
}

/// Runs the command line with these node types. Exit codes: 0 fine; 1 something ran and failed; 2 wrong usage or
/// input.
pub fn main(registry: &Registry) -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Explain { spec } => read_plan(spec, registry).map(|plan| explain(&plan)),
        Command::Trace { scenario } => trace(scenario, registry)
            .map(|lines| lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n")),
    };
    match result {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
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

fn fail(error: &TraceError) -> ExitCode {
    eprintln!("rspp: {error}");
    ExitCode::from(2)
}
