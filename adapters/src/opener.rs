//! Opens what a spec binds to its nodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_specs::binding::{Endpoint, check_secrets};
use rspp_specs::event::{AudioFrame, ProviderResult, Request, ToolCall, Transcript, Understanding};
use rspp_specs::ids::UtteranceId;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::audio::Rechunker;
use crate::captions::{Captions, CaptionsRecogniser};
use crate::dialogue::Dialogue;
use crate::engines::EngineFiles;
use crate::openai;
use crate::provider::{Answer, Kind, Provider, ProviderError, Wanted, latency, refuse};
use crate::secret::{SecretStore, Secrets};
use crate::tone::ToneVoice;
use crate::wyoming::{Connection, Heard, Ordering, Recogniser, RecogniserOptions, Synthesiser, Timeouts, WyomingError};

/// Opens what is bound to nodes.
pub struct Opener {
    folder: PathBuf,
    secrets: Secrets,
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
        Ok(Self { secrets: Secrets::beside(&folder), folder, dialogue, files: EngineFiles::default() })
    }

    /// With a store of secrets that bindings may name: `key=store:NAME/...`.
    pub fn with_store(self, name: &str, store: impl SecretStore + 'static) -> Self {
        Self { secrets: self.secrets.with_store(name, store), ..self }
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
            Kind::Tool => crate::tools::open(wanted, &self.secrets),
            Kind::Model => match &self.dialogue {
                Some(dialogue) if binding.starts_with("dialogue:") => {
                    Ok(Box::new(Responder { dialogue: Arc::clone(dialogue) }))
                }
                _ if binding.starts_with("say:") => Ok(Box::new(Apology(binding.trim_start_matches("say:").into()))),
                _ if Endpoint::is_one(binding) => {
                    Ok(Box::new(openai::Model::open(wanted, &self.secrets, openai::Options::default())?))
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
            "tone:" => return Ok(Box::new(ToneVoice::default())),
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
        let mut after = latency::FIRST_TEXT;
        if let Some((name, arguments)) = self.dialogue.tool(context) {
            let id = format!("{name}-{}", context.len());
            let call = ToolCall { key: id.into(), name: name.into(), arguments: arguments.into() };
            answer.give(after, ProviderResult::ToolCall(call));
            answer.end(after, Outcome::Success);
            return Ok(());
        }
        let says = self.dialogue.answer(context);
        for chunk in self.dialogue.chunks(&says) {
            answer.give(after, ProviderResult::Text(chunk.into()));
            after = after + latency::NEXT_TEXT;
        }
        answer.end(after, Outcome::Success);
        Ok(())
    }

    fn another(&self) -> Option<Box<dyn Provider>> {
        Some(Box::new(Self { dialogue: Arc::clone(&self.dialogue) }))
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

    fn another(&self) -> Option<Box<dyn Provider>> {
        Some(Box::new(Self(Arc::clone(&self.0))))
    }
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
        self.recogniser.abandon()?;
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
