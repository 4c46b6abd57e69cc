//! How a command ends: its result on standard output, or one message and an exit code.

use std::io::Write;
use std::process::ExitCode;

use rspp_adapters::interrupt::exit_code;

/// What a command prints when it went well.
pub(super) type Outcome = Result<String, Failure>;

/// Why a command ended without its result.
pub(super) enum Failure {
    /// Wrong usage or input: exit code 2.
    Input(String),
    /// It ran, and something failed, differs or is damaged: exit code 1.
    Run(String),
    /// It ran, and what it prints says that not all is well: exit code 1.
    Unwell(String),
    /// Part of its result, and a word to people on why it is not all: exit code 1.
    Partly(String, String),
    /// What was given is wrong, and what it prints says how: exit code 2.
    Refused(String),
    /// It was told to end by this signal, and did. What it came to, and a word to people.
    Interrupted(i32, String, String),
}

/// Prints, and gives the exit code.
pub(super) fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(text) => print(&text),
        Err(Failure::Input(message)) => fail(&message, 2),
        Err(Failure::Run(message)) => fail(&message, 1),
        Err(Failure::Unwell(text)) => {
            print(&text);
            ExitCode::FAILURE
        }
        Err(Failure::Partly(text, message)) => {
            print(&text);
            fail(&message, 1)
        }
        Err(Failure::Refused(text)) => {
            print(&text);
            ExitCode::from(2)
        }
        Err(Failure::Interrupted(signal, text, message)) => {
            print(&text);
            fail(&message, exit_code(signal))
        }
    }
}

/// Writes to standard output; a reader that has gone, as `head` does, is no error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("rspp: {message}");
    ExitCode::from(code)
}
