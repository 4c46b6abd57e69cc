//! The `rspp` command line, usable from a binary with nodes of its own. Each command is a file: its arguments, its
//! examples, and what it does.

mod arrivals;
mod audit;
mod bundle;
mod control_plane;
mod corpus;
mod demo;
mod diff;
mod diff_spec;
mod docs;
mod engines;
mod explain;
mod format;
mod gates;
mod lint;
mod livekit;
mod new;
mod outcome;
mod over;
mod pages;
mod publish;
mod reach;
mod recorded;
mod recordings;
mod replay;
mod resolve;
mod rollout;
mod room;
mod run;
mod serve;
mod sessions;
mod sim;
mod summary;
mod timeline;
mod token;
mod trace;
mod worker;
mod workers;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rspp_adapters::{interrupt, orphans};
use rspp_compiler::Registry;

use outcome::{Failure, report};

/// A runtime kernel for real-time voice pipelines.
#[derive(Parser)]
#[command(name = "rspp", version, arg_required_else_help = true, max_term_width = 100, after_help = START)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What stands below the list of commands.
const START: &str = "Start here:
  rspp new voice-assistant mine                   a pipeline of your own, in a folder
  rspp demo                                       a call with an interruption, drawn while it runs
  rspp trace tests/golden/interruption.yaml       the same kind of call as data, event by event
  rspp explain specs/pipelines/voice-assistant.yaml

Exit codes: 0 fine; 1 it ran, and failed or differs; 2 wrong usage or input; 130 ended by Ctrl-C.";

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    New(new::New),
    Lint(lint::Lint),
    Fmt(format::Fmt),
    Explain(explain::Explain),
    Resolve(resolve::Resolve),
    DiffSpec(diff_spec::DiffSpec),
    Bundle(bundle::Bundle),
    Docs(docs::Docs),
    Trace(trace::Trace),
    Run(run::Run),
    Serve(Box<serve::Serve>),
    #[command(name = "livekit-check")]
    LiveKitCheck(livekit::LiveKitCheck),
    #[command(name = "livekit-token")]
    LiveKitToken(livekit::LiveKitToken),
    #[command(name = "livekit-rooms")]
    LiveKitRooms(livekit::LiveKitRooms),
    #[command(name = "livekit-dispatch")]
    LiveKitDispatch(livekit::LiveKitDispatch),
    ControlPlane(control_plane::ControlPlane),
    Worker(worker::Worker),
    Publish(publish::Publish),
    Rollout(rollout::Rollout),
    Rollback(rollout::Rollback),
    Sessions(sessions::Sessions),
    Workers(workers::Workers),
    Drain(workers::Drain),
    Audit(audit::Audit),
    Token(token::Token),
    Replay(replay::Replay),
    Diff(diff::Diff),
    Timeline(timeline::Timeline),
    Summary(summary::Summary),
    Gates(gates::Gates),
    Recordings(recordings::Recordings),
    Sim(sim::Sim),
    Engines(engines::Engines),
    Doctor(engines::Doctor),
    Completions(pages::Completions),
    #[command(hide = true)]
    Man(pages::Man),
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
        Command::Demo(command) => command.run(registry, &interrupt),
        Command::New(command) => command.run(),
        Command::Lint(command) => command.run(registry),
        Command::Fmt(command) => command.run(),
        Command::Explain(command) => command.run(registry),
        Command::Resolve(command) => command.run(registry),
        Command::DiffSpec(command) => command.run(registry),
        Command::Bundle(command) => command.run(registry),
        Command::Docs(command) => command.run(),
        Command::Trace(command) => command.run(registry, &interrupt),
        Command::Run(command) => command.run(registry, &interrupt),
        Command::Serve(command) => command.run(registry, &interrupt),
        Command::LiveKitCheck(command) => command.run(),
        Command::LiveKitToken(command) => command.run(),
        Command::LiveKitRooms(command) => command.run(),
        Command::LiveKitDispatch(command) => command.run(),
        Command::ControlPlane(command) => command.run(registry, &interrupt),
        Command::Worker(command) => command.run(registry, &interrupt),
        Command::Publish(command) => command.run(registry),
        Command::Rollout(command) => command.run(),
        Command::Rollback(command) => command.run(),
        Command::Sessions(command) => command.run(),
        Command::Workers(command) => command.run(),
        Command::Drain(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Replay(command) => command.run(registry, &interrupt),
        Command::Diff(command) => command.run(),
        Command::Timeline(command) => command.run(),
        Command::Summary(command) => command.run(),
        Command::Gates(command) => command.run(),
        Command::Recordings(command) => command.run(),
        Command::Sim(command) => command.run(registry),
        Command::Engines(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Completions(command) => command.run(Arguments::command()),
        Command::Man(command) => command.run(Arguments::command()),
    };
    // An engine that still waits for something does not outlive its call.
    orphans::end();
    report(outcome)
}
