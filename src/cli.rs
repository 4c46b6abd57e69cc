//! The `rspp` command line, usable from a binary with nodes of its own. Each command is a file: its arguments, its
//! examples, and what it does.

mod explain;
mod outcome;
mod replay;
mod run;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rspp_adapters::{interrupt, orphans};
use rspp_compiler::Registry;

use outcome::{Failure, report};

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
/// input; 130 and 143 by the shells' custom, when Ctrl-C or SIGTERM ended it.
pub fn main(registry: &Registry) -> ExitCode {
    let command = Arguments::parse().command;
    let interrupt = match interrupt::watch() {
        Ok(interrupt) => interrupt,
        Err(error) => return report(Err(Failure::Run(format!("can't watch for signals: {error}")))),
    };
    let outcome = match command {
        Command::Explain(command) => command.run(registry),
        Command::Trace(command) => command.run(registry, &interrupt),
        Command::Run(command) => command.run(registry, &interrupt),
        Command::Replay(command) => command.run(registry),
    };
    // An engine that still waits for something does not outlive its call.
    orphans::end();
    report(outcome)
}
