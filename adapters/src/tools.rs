//! Tools of a model: a program that is started for each call, or an address that is posted to.
//!
//! A tool gets the call's arguments as JSON and answers with text, which the model is told. A call that fails says so
//! to the model, too, and to people in a note.

mod program;
mod web;

use rspp_specs::binding::Endpoint;
use rspp_specs::event::{ProviderResult, Request, ToolCall};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::provider::{Answer, Provider, ProviderError, Wanted, latency, refuse};
use crate::secret::Secrets;

pub use program::{Program, ProgramOptions};
pub use web::Web;

/// How a binding begins that has the caller's side do it: the client's program (`client:`), or the telephone on whose line
/// the call is (`client:keypad`).
pub const CLIENT: &str = "client:";
/// Keys for the far end of a telephone line, as `{"keys": "12#"}`.
pub const KEYPAD: &str = "keypad";
/// How long a client may take for a tool.
pub const CLIENT_PATIENCE: Micros = Micros::from_ms(30_000);

/// What a tool may answer.
pub const MAX_RESULT_BYTES: usize = 32 * 1024;

/// Opens what a tool is bound to.
///
/// # Errors
/// The binding, its key, or a program or server that is not there.
pub fn open(wanted: &Wanted<'_>, secrets: &Secrets) -> Result<Box<dyn Provider>, ProviderError> {
    if let Some(command) = wanted.binding.strip_prefix("stdio:") {
        return Ok(Box::new(Program::open(wanted, command, secrets.folder(), ProgramOptions::default())?));
    }
    if let Some(what) = wanted.binding.strip_prefix(CLIENT) {
        if !["", KEYPAD].contains(&what) {
            return Err(
                wanted.refused("a caller's side has `client:`, its program, and `client:keypad`, a telephone's keys")
            );
        }
        return Ok(Box::new(NoClient));
    }
    if Endpoint::is_one(wanted.binding) {
        return Ok(Box::new(Web::open(wanted, secrets, web::TIMEOUTS)?));
    }
    Err(wanted.refused("a tool is bound to `stdio:COMMAND ARGUMENTS`, a program, or to `http://HOST:PORT/PATH`, or to `client:`, the caller's program"))
}

/// Where nobody is on the line but a file: a tool of the caller's side has nobody to do it.
struct NoClient;

impl Provider for NoClient {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        if !matches!(request, Request::Tool(_)) {
            return refuse(answer);
        }
        let says = "error: nobody is on the line who could do that: `rspp serve` has callers";
        answer.give(latency::TOOL, ProviderResult::ToolResult(says.into()));
        answer.end(latency::TOOL, Outcome::InvalidRequest);
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Provider>> {
        Some(Box::new(Self))
    }
}

/// What became of a call.
enum Ended {
    /// What the tool answered.
    Well(String),
    /// What the model, and people, are told.
    Badly(Outcome, String),
}

/// Tells the core, and people where it failed.
fn tell(node: &str, call: &ToolCall, ended: Ended, answer: &mut Answer<'_>) {
    let (text, outcome) = match ended {
        Ended::Well(text) => (text, Outcome::Success),
        Ended::Badly(outcome, what) => {
            answer.note(&format!("{node}: tool {}: {what}", call.name));
            (format!("error: {what}"), outcome)
        }
    };
    answer.give(latency::TOOL, ProviderResult::ToolResult(text.into()));
    answer.end(latency::TOOL, outcome);
}

/// Whether a call's arguments are what its schema would ask for, at the least.
fn check_arguments(call: &ToolCall) -> Result<(), Ended> {
    let value: Result<serde_json::Value, _> = serde_json::from_str(&call.arguments);
    if value.is_ok_and(|value| value.is_object()) {
        return Ok(());
    }
    Err(Ended::Badly(Outcome::InvalidRequest, "the arguments of the call are no JSON object".to_owned()))
}
