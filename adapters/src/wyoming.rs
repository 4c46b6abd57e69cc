//! Speech engines in other processes, over the Wyoming protocol: what local recognisers and synthesisers already
//! speak, on the standard input and output of a child process or over TCP.
//!
//! Everything here blocks, with a limit on every wait, and nothing depends on how fast the engine is: an engine
//! that answers `ping` in order ([`Ordering::InOrder`]) says of each stretch of audio what it heard in it, so that
//! a call in virtual time gives the same transcript at the same place every time it is run. Clocks are read for
//! time limits only.

mod connection;
pub mod framing;
mod stt;
mod tts;

use std::fmt;
use std::time::Duration;

use rspp_specs::outcome::Outcome;
use thiserror::Error;

pub use connection::{Connection, Info, Program, Timeouts};
pub use stt::{Heard, Ordering, Recogniser, RecogniserOptions};
pub use tts::{MAX_SPOKEN_SECONDS, SpokenAudio, SpokenChunk, Synthesiser};

use framing::FramingError;

/// What went wrong between us and an engine: who, what, and what to do about it.
#[derive(Debug)]
pub struct WyomingError {
    /// The command or the address.
    pub peer: String,
    /// What went wrong.
    pub fault: Box<Fault>,
}

impl WyomingError {
    pub(crate) fn new(peer: &str, fault: Fault) -> Self {
        WyomingError { peer: peer.to_owned(), fault: Box::new(fault) }
    }

    /// How an invocation that met this error ended.
    pub fn outcome(&self) -> Outcome {
        match *self.fault {
            Fault::TimedOut { .. } => Outcome::Timeout,
            Fault::Refused { .. } | Fault::Closed | Fault::Exited { .. } | Fault::OutOfStep => Outcome::Disconnected,
            Fault::Interrupted => Outcome::Cancelled,
            Fault::Misuse(_) => Outcome::InvalidRequest,
            Fault::NotFound
            | Fault::NotStarted { .. }
            | Fault::Protocol(_)
            | Fault::Flooded
            | Fault::Audio { .. }
            | Fault::Engine { .. } => Outcome::Failed,
        }
    }
}

impl fmt::Display for WyomingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "speech engine {}: {}; {}", self.peer, self.fault, self.fault.remedy())
    }
}

impl std::error::Error for WyomingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.fault)
    }
}

/// What can go wrong between us and an engine.
#[derive(Debug, Error)]
pub enum Fault {
    /// There is no such program.
    #[error("there is no such program")]
    NotFound,
    /// The program is there and does not start.
    #[error("it does not start: {detail}")]
    NotStarted {
        /// The system's words.
        detail: String,
    },
    /// Nobody listens at the address, or it is none.
    #[error("no connection: {detail}")]
    Refused {
        /// The system's words.
        detail: String,
    },
    /// The child process ended.
    #[error("it ended with {status}{}", last_words(.stderr))]
    Exited {
        /// The exit code or the signal, in words.
        status: String,
        /// The last lines that it wrote to its standard error, oldest first.
        stderr: Vec<String>,
    },
    /// The engine closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("no {awaited} within {} ms", .after.as_millis())]
    TimedOut {
        /// What we waited for.
        awaited: &'static str,
        /// For how long.
        after: Duration,
    },
    /// What came is not Wyoming.
    #[error("it does not speak the protocol: {0}")]
    Protocol(#[from] FramingError),
    /// It sends more than anybody asked for.
    #[error("it sends more than anybody asked for")]
    Flooded,
    /// Audio of a kind that we do not take.
    #[error("audio of {rate_hz} Hz, {width} bytes a sample, {channels} channels: {detail}")]
    Audio {
        /// Samples a second.
        rate_hz: u64,
        /// Bytes a sample.
        width: u64,
        /// Channels.
        channels: u64,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// The engine says that it failed.
    #[error("it reports: {text}{}", .code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Engine {
        /// Its words.
        text: String,
        /// Its code, if it gives one.
        code: Option<String>,
    },
    /// An earlier error left answers on the way that nobody can tell from new ones.
    #[error("an earlier error left the conversation out of step")]
    OutOfStep,
    /// The program is to end, and waits for nobody any more.
    #[error("it had not answered when the program was told to end")]
    Interrupted,
    /// Our own caller is wrong.
    #[error("used wrongly: {0}")]
    Misuse(&'static str),
}

impl Fault {
    /// What to do about it, in half a sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Fault::NotFound => "install it, or correct the command",
            Fault::NotStarted { .. } => "check that the command may be executed",
            Fault::Refused { .. } => "start the engine there, or correct the address",
            Fault::Exited { .. } => "run the command by hand to see why",
            Fault::Closed => "look into the engine's own log",
            Fault::TimedOut { .. } => "look whether the engine is overloaded, or allow it more time",
            Fault::Protocol(_) => "check that this is a Wyoming engine",
            Fault::Flooded => "check that this is a Wyoming engine that nobody else drives",
            Fault::Audio { .. } => "configure the engine for 16-bit mono at 8 to 48 kHz",
            Fault::Engine { .. } => "look into the engine's own log",
            Fault::OutOfStep => "connect anew",
            Fault::Interrupted => "run it again",
            Fault::Misuse(_) => "this is a defect of the calling program",
        }
    }
}

fn last_words(stderr: &[String]) -> String {
    match stderr {
        [] => ", and wrote nothing to its standard error".to_owned(),
        lines => format!(": {}", lines.join(" / ")),
    }
}
