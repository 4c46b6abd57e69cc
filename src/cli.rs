//! The `rspp` command line, usable from a binary with nodes of its own. Each command is a file: its arguments, its
//! examples, and what it does.

mod explain;
mod outcome;
mod replay;
mod run;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rspp_compiler::Registry;

use outcome::report;

/// A runtime kernel for real-time voice pipelines.
#[derive(Parser)]
#[command(name = "rspp", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Explain(explain::Explain),
    Trace(trace::Trace),
    Run(run::Run),
    Replay(replay::Replay),
}

/// Runs the command line with these node types. Exit codes: 0 fine; 1 something ran and failed; 2 wrong usage or
/// input.
pub fn main(registry: &Registry) -> ExitCode {
    report(match Arguments::parse().command {
        Command::Explain(command) => command.run(registry),
        Command::Trace(command) => command.run(registry),
        Command::Run(command) => command.run(registry),
        Command::Replay(command) => command.run(registry),
    })
}
