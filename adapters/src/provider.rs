//! Providers as a call uses them: what is bound to a node, and how its answers come in.
//!
//! A binding is a word in the spec: `bundled:pocketsphinx`, `wyoming+tcp://HOST:PORT`, `dialogue:FILE`. The clock of a
//! call in virtual time waits for the engine; its answer comes in after a declared, modelled latency, so that the
//! same audio gives the same call on any machine. In real time answers come in when they come.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_specs::binding::{Endpoint, check_secrets};
use rspp_specs::event::{AudioFrame, ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::UtteranceId;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::ToolSpec;
use rspp_specs::time::Micros;
use tokio_util::sync::CancellationToken;

use crate::audio::Rechunker;
use crate::captions::{Captions, CaptionsFileError, CaptionsRecogniser};
use crate::dialogue::{Dialogue, DialogueError};
use crate::engines::{EngineError, EngineFiles};
use crate::http::Fault;
use crate::openai;
use crate::tone::ToneVoice;
use crate::wyoming::{Connection, Heard, Ordering, Recogniser, RecogniserOptions, Synthesiser, Timeouts, WyomingError};

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

/// Opens what is bound to nodes.
pub struct Opener {
    folder: PathBuf,
    dialogue: Option<Arc<Dialogue>>,
    files: EngineFiles,
}

impl Opener {
    /// Paths in bindings are relative to `folder`. `dialogue` is the `dialogue:` binding of the pipeline's model, if
    /// it has one: it also gives the bundled recogniser its grammar.
    ///
    /// # Errors
    /// The dialogue, or the place for the engines' files.
    pub fn new(folder: &Path, dialogue: Option<&str>) -> Result<Self, ProviderError> {
        let folder = folder.to_owned();
        let dialogue = match dialogue.and_then(|binding| binding.strip_prefix("dialogue:")) {
            Some(path) => Some(Arc::new(read_dialogue(&folder.join(path))?)),
            None => None,
        };
        Ok(Self { folder, dialogue, files: EngineFiles::default() })
    }

    /// Opens the provider of a node.
    ///
    /// # Errors
    /// The binding, or the engine.
    pub fn open(&mut self, wanted: &Wanted<'_>) -> Result<Box<dyn Provider>, ProviderError> {
        let Wanted { kind, binding, .. } = *wanted;
        let fail = |what: &str| Err(wanted.refused(what));
        if let Err(error) = check_secrets(binding) {
            return fail(&error.to_string());
        }
        match kind {
            Kind::Tool => crate::tools::open(wanted, &self.folder),
            Kind::Model => match &self.dialogue {
                Some(dialogue) if binding.starts_with("dialogue:") => {
                    Ok(Box::new(Responder { dialogue: Arc::clone(dialogue) }))
                }
                _ if binding.starts_with("say:") => Ok(Box::new(Apology(binding.trim_start_matches("say:").into()))),
                _ if Endpoint::is_one(binding) => {
                    Ok(Box::new(openai::Model::open(wanted, &self.folder, openai::Options::default())?))
                }
                _ => fail(
                    "a model is bound to `dialogue:FILE`, a scripted responder, to `http://HOST:PORT/v1#MODEL`, an OpenAI-compatible server, or, as the last fallback, to `say:TEXT`",
                ),
            },
            Kind::Recogniser => {
                let (connection, ordering) = match binding {
                    "bundled:pocketsphinx" => match &self.dialogue {
                        Some(dialogue) => (self.files.pocketsphinx(&dialogue.grammar())?, Ordering::InOrder),
                        None => {
                            return fail(
                                "it takes its grammar from a model bound to `dialogue:FILE`, and there is none: bind a recogniser that speaks Wyoming (`wyoming+tcp://HOST:PORT`), or `bundled:pocketsphinx#any-words`, which takes any English words and gets many of them wrong",
                            );
                        }
                    },
                    "bundled:pocketsphinx#any-words" => (self.files.pocketsphinx_any_words()?, Ordering::InOrder),
                    file if file.starts_with("captions:") => {
                        let path = self.folder.join(file.trim_start_matches("captions:"));
                        return Ok(Box::new(CaptionsRecogniser::new(Captions::read(&path)?)));
                    }
                    other => match self.wyoming(other)? {
                        Some(connection) => connection,
                        None => {
                            return fail(
                                "a recogniser is bound to `bundled:pocketsphinx`, `wyoming+tcp://HOST:PORT`, `wyoming+stdio:COMMAND` or `captions:FILE`",
                            );
                        }
                    },
                };
                Ok(Box::new(SpeechToText::new(Recogniser::new(connection, RecogniserOptions::new(ordering)))))
            }
            Kind::Voice => self.voice(wanted),
        }
    }

    fn voice(&mut self, wanted: &Wanted<'_>) -> Result<Box<dyn Provider>, ProviderError> {
        let connection = match wanted.binding {
            "bundled:espeak-ng" => self.files.voice("espeak-ng")?,
            "bundled:flite" => self.files.voice("flite")?,
            "bundled:espeakng-loader" => self.files.voice("espeakng-loader")?,
            "tone:" => return Ok(Box::new(ToneVoice)),
            other => match self.wyoming(other)? {
                Some((connection, _)) => connection,
                None => {
                    return Err(wanted.refused(
                        "a voice is bound to `bundled:espeak-ng`, `bundled:flite`, `bundled:espeakng-loader`, `wyoming+tcp://HOST:PORT`, `wyoming+stdio:COMMAND` or `tone:`",
                    ));
                }
            },
        };
        Ok(Box::new(TextToSpeech { synthesiser: Synthesiser::new(connection, VOICE_TIMEOUT) }))
    }

    /// A Wyoming engine by address or command. One that is declared, by `#in-order`, to answer pings in order gives
    /// partials too.
    fn wyoming(&self, binding: &str) -> Result<Option<(Connection, Ordering)>, WyomingError> {
        let (binding, ordering) = match binding.strip_suffix("#in-order") {
            Some(binding) => (binding, Ordering::InOrder),
            None => (binding, Ordering::Unknown),
        };
        if let Some(address) = binding.strip_prefix("wyoming+tcp://") {
            return Ok(Some((Connection::connect(address, Timeouts::default())?, ordering)));
        }
        let Some(command) = binding.strip_prefix("wyoming+stdio:") else { return Ok(None) };
        let mut words = command.split_whitespace();
        let Some(program) = words.next() else { return Ok(None) };
        let arguments: Vec<&str> = words.collect();
        let beside = self.folder.join(program);
        let program = if beside.is_file() { beside.display().to_string() } else { program.to_owned() };
        Ok(Some((Connection::spawn(&program, &arguments, Timeouts::default())?, ordering)))
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

/// How long a voice may take for a piece of speech.
const VOICE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

fn read_dialogue(path: &Path) -> Result<Dialogue, ProviderError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ProviderError::DialogueFile { path: path.to_owned(), error })?;
    Dialogue::parse(&text).map_err(|error| ProviderError::Dialogue { path: path.to_owned(), error: Box::new(error) })
}

/// The scripted responder in a model's place.
struct Responder {
    dialogue: Arc<Dialogue>,
}

impl Provider for Responder {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Chat { context } = request else { return refuse(answer) };
        let says = self.dialogue.answer(context);
        let mut after = latency::FIRST_TEXT;
        for chunk in self.dialogue.chunks(&says) {
            answer.give(after, ProviderResult::Text(chunk.into()));
            after = after + latency::NEXT_TEXT;
        }
        answer.end(after, Outcome::Success);
        Ok(())
    }
}

/// What is said when no model answers: the last of a node's fallbacks.
struct Apology(Arc<str>);

impl Provider for Apology {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Chat { .. } = request else { return refuse(answer) };
        answer.give(Micros(0), ProviderResult::Text(Arc::clone(&self.0)));
        answer.end(Micros(0), Outcome::Success);
        Ok(())
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

/// A recogniser behind Wyoming.
struct SpeechToText {
    recogniser: Recogniser,
    /// Media time up to which it has heard.
    heard_until: Micros,
}

impl SpeechToText {
    fn new(recogniser: Recogniser) -> Self {
        Self { recogniser, heard_until: Micros(0) }
    }

    fn give(&self, heard: Vec<Heard>, answer: &mut Answer<'_>) {
        for heard in heard {
            let (understanding, text) = match heard {
                Heard::Partial(text) => (Understanding::Partial, text),
                Heard::Final(text) if text.trim().is_empty() => (Understanding::Empty, String::new()),
                Heard::Final(text) => (Understanding::Words, text),
                Heard::Rejected => (Understanding::Rejected, String::new()),
            };
            let (utterance, watermark) = (UtteranceId(0), self.heard_until);
            let transcript = Transcript { utterance, understanding, text: text.into(), watermark };
            answer.give(latency::TRANSCRIPT, ProviderResult::Transcript(transcript));
        }
    }
}

impl Provider for SpeechToText {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Transcribe { media_start, preroll } = request else { return refuse(answer) };
        self.heard_until = *media_start;
        let rate_hz = preroll.first().map_or(crate::audio::CALL_RATE_HZ, |frame| frame.rate_hz);
        self.recogniser.start(rate_hz)?;
        for frame in preroll {
            self.feed(frame, answer)?;
        }
        Ok(())
    }

    fn feed(&mut self, frame: &AudioFrame, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let heard = self.recogniser.send_audio(frame)?;
        self.heard_until = self.heard_until + frame.duration();
        self.give(heard, answer);
        Ok(())
    }

    fn feed_end(&mut self, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let heard = self.recogniser.finish()?;
        self.give(heard, answer);
        answer.end(latency::TRANSCRIPT, Outcome::Success);
        Ok(())
    }
}

/// A voice behind Wyoming: frames go on as the engine makes them.
struct TextToSpeech {
    synthesiser: Synthesiser,
}

impl Provider for TextToSpeech {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Request::Speak { text } = request else { return refuse(answer) };
        let mut rechunker =
            Rechunker::new(crate::audio::CALL_RATE_HZ).expect("the call's rate is one that is supported");
        let mut after = latency::FIRST_AUDIO;
        let mut give = |frames: Vec<AudioFrame>| {
            for frame in frames {
                answer.give(after, ProviderResult::Audio(frame));
                after = after + latency::NEXT_AUDIO;
            }
        };
        self.synthesiser.speak_each(text, None, |chunk| {
            // The client has refused every rate that the rechunker does not take.
            let frames = rechunker.push_pcm(&chunk.samples, chunk.rate_hz, None);
            give(frames.expect("the rate was checked when the audio came in"));
        })?;
        give(rechunker.finish());
        answer.end(after, Outcome::Success);
        Ok(())
    }
}
