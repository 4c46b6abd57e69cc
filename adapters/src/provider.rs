//! Providers as a call uses them: what is bound to a node, and how its answers come in.
//!
//! A binding is a word in the spec: `bundled:pocketsphinx`, `wyoming+tcp://HOST:PORT`, `dialogue:FILE`. The clock of a
//! call in virtual time waits for the engine; its answer comes in after a declared, modelled latency, so that the
//! same audio gives the same call on any machine. In real time answers come in when they come.

use std::path::PathBuf;

use rspp_specs::binding::{Endpoint, check_secrets};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::ToolSpec;
use rspp_specs::time::Micros;
use tokio_util::sync::CancellationToken;

use crate::captions::CaptionsFileError;
use crate::dialogue::DialogueError;
use crate::engines::EngineError;
use crate::http::Fault;
use crate::wyoming::WyomingError;

/// A result, and how long after its cause it comes in, in virtual time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The modelled latency.
    pub after: Micros,
    /// The result.
    pub result: ProviderResult,
}

/// Modelled latencies, in virtual time.
pub mod latency {
    use rspp_specs::time::Micros;

    /// From a stretch of audio to the recogniser's word on it.
    pub const TRANSCRIPT: Micros = Micros::from_ms(40);
    /// From the question to the first piece of an answer.
    pub const FIRST_TEXT: Micros = Micros::from_ms(60);
    /// From one piece of an answer to the next.
    pub const NEXT_TEXT: Micros = Micros::from_ms(20);
    /// From a tool's call to its result.
    pub const TOOL: Micros = Micros::from_ms(50);
    /// From the text to the first frame of its speech.
    pub const FIRST_AUDIO: Micros = Micros::from_ms(80);
    /// From one frame of 20 ms to the next: ten times as fast as it plays.
    pub const NEXT_AUDIO: Micros = Micros::from_ms(2);
}

/// What a provider can't do for us any more: the call ends.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A speech engine failed.
    #[error(transparent)]
    Engine(#[from] WyomingError),
    /// A binding that says nothing known.
    #[error("{node} is bound to `{binding}`: {what}")]
    Binding {
        /// The node.
        node: String,
        /// Its binding.
        binding: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A dialogue file that can't be read.
    #[error("the dialogue {path}: {error}; paths in bindings are looked for beside the spec")]
    DialogueFile {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A dialogue that makes no sense.
    #[error("{path}: {error}")]
    Dialogue {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Box<DialogueError>,
    },
    /// A server that a binding names can't be reached.
    #[error("{server}: {fault}; {remedy}")]
    Server {
        /// The host, and the port.
        server: String,
        /// What went wrong.
        fault: Box<Fault>,
        /// What to do.
        remedy: &'static str,
    },
    /// A tool's program is not there.
    #[error("{node} has a tool bound to `{binding}`, and there is no such program: install it, or correct the command")]
    NoProgram {
        /// The node.
        node: String,
        /// Its binding.
        binding: String,
    },
    /// A captions file that can't be used.
    #[error(transparent)]
    Captions(#[from] CaptionsFileError),
    /// A bundled engine can't be had.
    #[error(transparent)]
    Bundled(#[from] EngineError),
}

impl ProviderError {
    /// Whether the spec or its files are wrong, and not the world.
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            ProviderError::Engine(_)
            | ProviderError::Bundled(_)
            | ProviderError::Server { .. }
            | ProviderError::NoProgram { .. } => false,
            ProviderError::Binding { .. }
            | ProviderError::DialogueFile { .. }
            | ProviderError::Dialogue { .. }
            | ProviderError::Captions(_) => true,
        }
    }
}

/// One provider of one session: one invocation after the other.
///
/// It may block for as long as it works: it has a thread of its own in real time, and in virtual time the clock waits
/// for it. What it finds out goes to its [`Answer`] at once, piece by piece; the last piece of each invocation is
/// [`ProviderResult::End`]. A failure that ends one invocation is an `End` with its outcome and an [`Answer::note`]
/// for people; an error is for a provider that is of no use any more, and ends the call.
pub trait Provider: Send {
    /// Starts an invocation.
    ///
    /// # Errors
    /// The provider is of no use any more.
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError>;

    /// Gives the running invocation more input.
    ///
    /// # Errors
    /// The provider is of no use any more.
    fn feed(&mut self, _frame: &AudioFrame, _answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Ends the input of the running invocation.
    ///
    /// # Errors
    /// The provider is of no use any more.
    fn feed_end(&mut self, _answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Another one like this, for another session: of those that wait for nobody and compute little, so that whoever asks
    /// may do so where it stands. `None` of all others, each of which works on a thread of its own.
    fn another(&self) -> Option<Box<dyn Provider>> {
        None
    }
}

/// Where the results of one invocation go while its provider works, and how the provider hears that nobody waits for
/// them any more.
pub struct Answer<'a> {
    sink: &'a mut dyn Sink,
    cancelled: &'a CancellationToken,
}

impl<'a> Answer<'a> {
    /// An answer that goes to `sink` until `cancelled`.
    pub fn new(sink: &'a mut dyn Sink, cancelled: &'a CancellationToken) -> Self {
        Self { sink, cancelled }
    }

    /// The next result, `after` its cause in virtual time. Once the invocation is cancelled, it is dropped.
    pub fn give(&mut self, after: Micros, result: ProviderResult) {
        if !self.cancelled.is_cancelled() {
            self.sink.take(Timed { after, result });
        }
    }

    /// The last result.
    pub fn end(&mut self, after: Micros, outcome: Outcome) {
        self.give(after, ProviderResult::End(outcome));
    }

    /// Something that people should know and the core need not: why an invocation failed. Never a secret.
    pub fn note(&mut self, text: &str) {
        if !self.cancelled.is_cancelled() {
            self.sink.note(text);
        }
    }

    /// Cancelled when nobody waits any more: a provider that waits for something waits for this, too.
    pub fn cancelled(&self) -> &'a CancellationToken {
        self.cancelled
    }
}

/// Who takes in what a provider answers.
pub trait Sink {
    /// A result.
    fn take(&mut self, timed: Timed);

    /// A word to people.
    fn note(&mut self, text: &str);
}

/// What is to be opened: a binding, and what the node that has it declares.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The node's name; a tool's node is its model's.
    pub node: &'a str,
    /// What the provider is for.
    pub kind: Kind,
    /// What the node is bound to.
    pub binding: &'a str,
    /// Of a model: what it is told before the conversation.
    pub prompt: Option<&'a str>,
    /// Of a model: the tools that it may call.
    pub tools: &'a [ToolSpec],
}

impl Wanted<'_> {
    /// The error for a binding that can't be used; it does not repeat one that has a key in it.
    pub(crate) fn refused(&self, what: &str) -> ProviderError {
        let shown = if check_secrets(self.binding).is_ok() { self.binding } else { "..." };
        ProviderError::Binding { node: self.node.to_owned(), binding: shown.to_owned(), what: what.to_owned() }
    }

    /// The error for a server that can't be reached.
    pub(crate) fn unreached(&self, fault: Fault) -> ProviderError {
        let endpoint = Endpoint::parse(self.binding).ok();
        let remedy = match (&fault, endpoint.as_ref().map(|endpoint| endpoint.port)) {
            (Fault::NoRoots | Fault::NoRuntime { .. }, _) => "nothing was sent",
            (Fault::Tls { .. }, _) => "check that the server speaks TLS and that its certificate is trusted here",
            (_, Some(11_434)) => "is Ollama running? `ollama serve` starts it",
            (_, Some(8_080)) => "is llama-server running? `llama-server -m MODEL.gguf --jinja` starts it",
            (_, Some(8_000)) => "is vLLM running? `vllm serve MODEL` starts it",
            _ => "start the server there, or correct the address",
        };
        let server = endpoint.map_or_else(String::new, |endpoint| endpoint.authority());
        ProviderError::Server { server, fault: Box::new(fault), remedy }
    }
}

/// What a provider is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Speech to text.
    Recogniser,
    /// Answers.
    Model,
    /// Text to speech.
    Voice,
    /// Does something for a model.
    Tool,
}

impl Kind {
    /// Of a provider that answers such a request.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::Transcribe { .. } => Kind::Recogniser,
            Request::Chat { .. } => Kind::Model,
            Request::Speak { .. } => Kind::Voice,
            Request::Tool(_) => Kind::Tool,
        }
    }
}

/// Ends an invocation of another kind than the provider is for, which no plan asks for.
pub(crate) fn refuse(answer: &mut Answer<'_>) -> Result<(), ProviderError> {
    answer.end(Micros(0), Outcome::InvalidRequest);
    Ok(())
}

/// All that a provider which needs nobody answers, for its tests.
#[cfg(test)]
pub(crate) fn answered(ask: impl FnOnce(&mut Answer<'_>) -> Result<(), ProviderError>) -> Vec<Timed> {
    let (results, notes) = answered_and_noted(ask);
    assert!(notes.is_empty(), "it has nothing to note: {notes:?}");
    results
}

/// All that a provider answers, and all that people should know of it.
#[cfg(test)]
pub(crate) fn answered_and_noted(
    ask: impl FnOnce(&mut Answer<'_>) -> Result<(), ProviderError>,
) -> (Vec<Timed>, Vec<String>) {
    #[derive(Default)]
    struct Kept(Vec<Timed>, Vec<String>);
    impl Sink for Kept {
        fn take(&mut self, timed: Timed) {
            self.0.push(timed);
        }
        fn note(&mut self, text: &str) {
            self.1.push(text.to_owned());
        }
    }
    let mut kept = Kept::default();
    ask(&mut Answer::new(&mut kept, &CancellationToken::new())).expect("it needs nobody");
    (kept.0, kept.1)
}
