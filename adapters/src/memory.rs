//! Providers that give again what a recording has of them, to whoever asks the same.
//!
//! A recogniser's words go by the audio that it is given: an utterance that another pipeline cuts elsewhere gets the
//! words of all recorded utterances in it. A model's answer goes by the question, a voice's by the text, a tool's by its
//! arguments. What nobody recorded can't be given: a model and a tool then fail, and say so; a text that was never spoken
//! is spoken in tones, which last about as long as speech does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use rspp_specs::event::{AudioFrame, ContextEntry, ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::{InvocationId, UtteranceId};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record};

use crate::call::Providers;
use crate::provider::{Answer, Kind, Provider, ProviderError, Timed, latency};
use crate::tone::tones_in_frames;

/// A frame that comes before a result is given up to so long before it.
const FRAME: Micros = Micros::from_ms(rspp_specs::limits::FRAME_MS);

/// One recorded invocation.
#[derive(Clone, Debug)]
struct Remembered {
    request: Request,
    asked: Micros,
    /// When its input was complete.
    fed_until: Option<Micros>,
    /// Each result, and when it came.
    results: Vec<(Micros, ProviderResult)>,
    given: bool,
}

/// What was given from memory, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recollection {
    /// Invocations that a recording has.
    pub recalled: u32,
    /// Invocations of which it has only the beginning: they were cancelled.
    pub partly: u32,
    /// What nobody recorded, each in a few words.
    pub unknown: Vec<String>,
}

/// Unknown requests that are told.
const MAX_UNKNOWN: usize = 100;

/// All that a recording has of providers.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    invocations: Arc<Mutex<Vec<Remembered>>>,
    recollection: Arc<Mutex<Recollection>>,
}

impl Memory {
    /// Of a session's records.
    pub fn of(records: &[Record]) -> Self {
        let mut invocations: BTreeMap<InvocationId, Remembered> = BTreeMap::new();
        for record in records {
            match &record.entry {
                Entry::Effect(Effect::Invoke { id, request, .. }) => {
                    let (request, asked) = (request.clone(), record.at);
                    invocations
                        .insert(*id, Remembered { request, asked, fed_until: None, results: Vec::new(), given: false });
                }
                Entry::Effect(Effect::FeedEnd { id }) => {
                    if let Some(invocation) = invocations.get_mut(id) {
                        invocation.fed_until = Some(record.at);
                    }
                }
                Entry::Input(_, Input::Provider(id, result)) => {
                    if let Some(invocation) = invocations.get_mut(id) {
                        invocation.results.push((record.at, result.clone()));
                    }
                }
                _ => {}
            }
        }
        let invocations = invocations.into_values().collect();
        Self { invocations: Arc::new(Mutex::new(invocations)), recollection: Arc::default() }
    }

    /// Stands in for every provider of a plan that is not there yet.
    pub fn stand_in(&self, plan: &Plan, providers: &mut Providers) {
        for node in plan.nodes() {
            let kind = match node.kind.type_name() {
                "stt" => Kind::Recogniser,
                "llm" => Kind::Model,
                "tts" => Kind::Voice,
                _ => continue,
            };
            let fallbacks = node.provider.fallback.iter().map(String::as_str);
            let tools = match &node.kind {
                rspp_specs::plan::NodeKind::Llm { tools, .. } => tools.as_slice(),
                _ => &[],
            };
            let tools = tools.iter().map(|tool| (Kind::Tool, tool.binding.as_str()));
            for (kind, binding) in node.kind.binding().into_iter().chain(fallbacks).map(|it| (kind, it)).chain(tools) {
                if !providers.has(kind, binding) {
                    let provider = Recalling { memory: self.clone(), transcription: None };
                    providers.insert(kind, binding, Box::new(provider));
                }
            }
        }
    }

    /// What was given, and what could not be.
    pub fn recollection(&self) -> Recollection {
        lock(&self.recollection).clone()
    }

    /// The first recorded invocation, not yet given, of which this holds; else the first one that was.
    fn find(&self, is_it: impl Fn(&Request) -> bool) -> Option<Remembered> {
        let mut invocations = lock(&self.invocations);
        let fresh = invocations.iter().position(|it| !it.given && is_it(&it.request));
        let place = fresh.or_else(|| invocations.iter().position(|it| is_it(&it.request)))?;
        invocations[place].given = true;
        Some(invocations[place].clone())
    }

    fn unknown(&self, what: String) {
        let mut recollection = lock(&self.recollection);
        if recollection.unknown.len() < MAX_UNKNOWN {
            recollection.unknown.push(what);
        }
    }

    /// The recorded utterances that began within a stretch of audio.
    fn heard(&self, from: Micros, to: Micros) -> Vec<Remembered> {
        let invocations = lock(&self.invocations);
        let begins = |it: &&Remembered| match &it.request {
            Request::Transcribe { media_start, .. } => (from.since(FRAME)..to).contains(media_start),
            _ => false,
        };
        invocations.iter().filter(begins).cloned().collect()
    }
}

/// A thread that panicked with the lock has left nothing half done: all of it are single steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// One provider that recalls.
struct Recalling {
    memory: Memory,
    transcription: Option<Transcription>,
}

/// What a recogniser is being given.
#[derive(Clone, Copy)]
struct Transcription {
    from: Micros,
    until: Micros,
    /// Partial words up to this time were given.
    told_until: Micros,
}

impl Provider for Recalling {
    fn invoke(&mut self, request: &Request, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        match request {
            Request::Transcribe { media_start, preroll } => {
                let length = preroll.iter().fold(Micros(0), |sum, frame| sum + frame.duration());
                let (from, until) = (*media_start, *media_start + length);
                self.transcription = Some(Transcription { from, until, told_until: until });
            }
            Request::Chat { context } => {
                let asked = question(context);
                let known =
                    self.memory.find(|it| matches!(it, Request::Chat { context } if question(context) == asked));
                self.recall(
                    known,
                    answer,
                    || format!("an answer to {asked:?}"),
                    |answer| {
                        answer.end(latency::FIRST_TEXT, Outcome::Failed);
                    },
                );
            }
            Request::Speak { text } => {
                let known = self.memory.find(|it| matches!(it, Request::Speak { text: said } if said == text));
                self.recall(known, answer, || format!("speech for {text:?}"), |answer| speak_in_tones(text, answer));
            }
            Request::Tool(call) => {
                let same = |it: &Request| matches!(it, Request::Tool(known) if (&known.name, &known.arguments) == (&call.name, &call.arguments));
                let known = self.memory.find(same);
                let what = || format!("a result of {} {}", call.name, call.arguments);
                self.recall(known, answer, what, |answer| {
                    let text = "error: the recording has no result of this call";
                    answer.give(latency::TOOL, ProviderResult::ToolResult(text.into()));
                    answer.end(latency::TOOL, Outcome::Failed);
                });
            }
        }
        Ok(())
    }

    fn feed(&mut self, frame: &AudioFrame, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Some(mut heard) = self.transcription else { return Ok(()) };
        heard.until = heard.until + frame.duration();
        // Partial words come as long after the audio as they did: what comes before the next frame does is due.
        let due = heard.until + frame.duration();
        for (at, text) in self.partials(&heard, due) {
            let partial = transcript(Understanding::Partial, text, heard.until);
            answer.give(at.since(heard.until), ProviderResult::Transcript(partial));
        }
        heard.told_until = due;
        self.transcription = Some(heard);
        Ok(())
    }

    fn feed_end(&mut self, answer: &mut Answer<'_>) -> Result<(), ProviderError> {
        let Some(heard) = self.transcription.take() else { return Ok(()) };
        let recorded = self.memory.heard(heard.from, heard.until);
        let (words, rejected) = finals(&recorded);
        let last = recorded.last();
        let delay = last.and_then(|it| Some(it.results.last()?.0.since(it.fed_until?))).unwrap_or(latency::TRANSCRIPT);
        let understanding = match (words.is_empty(), rejected) {
            (false, _) => Understanding::Words,
            (true, true) => Understanding::Rejected,
            (true, false) => Understanding::Empty,
        };
        if recorded.is_empty() {
            self.memory.unknown(format!("the words from {} to {} ms", heard.from, heard.until));
        } else {
            lock(&self.memory.recollection).recalled += 1;
        }
        answer.give(delay, ProviderResult::Transcript(transcript(understanding, words, heard.until)));
        answer.end(delay, Outcome::Success);
        Ok(())
    }
}

impl Recalling {
    /// Gives what is known, as long after it was asked as it came then; or does otherwise.
    fn recall(
        &self,
        known: Option<Remembered>,
        answer: &mut Answer<'_>,
        what: impl Fn() -> String,
        otherwise: impl FnOnce(&mut Answer<'_>),
    ) {
        let Some(known) = known.filter(|known| !known.results.is_empty()) else {
            self.memory.unknown(what());
            return otherwise(answer);
        };
        let mut recollection = lock(&self.memory.recollection);
        let after = |at: Micros| at.since(known.asked);
        for (at, result) in &known.results {
            let result = match result {
                ProviderResult::Audio(frame) => ProviderResult::Audio(AudioFrame { spoken_by: None, ..frame.clone() }),
                other => other.clone(),
            };
            answer.give(after(*at), result);
        }
        match known.results.last() {
            Some((_, ProviderResult::End(_))) => recollection.recalled += 1,
            Some((at, _)) => {
                recollection.partly += 1;
                answer.end(after(*at), Outcome::Success);
            }
            None => {}
        }
    }

    fn partials(&self, heard: &Transcription, due: Micros) -> Vec<(Micros, String)> {
        let mut partials = Vec::new();
        for invocation in self.memory.heard(heard.from, heard.until) {
            for (at, result) in &invocation.results {
                if let ProviderResult::Transcript(transcript) = result
                    && !transcript.is_final()
                    && (heard.told_until..due).contains(at)
                {
                    partials.push((*at, transcript.text.to_string()));
                }
            }
        }
        partials
    }
}

/// The words of all utterances, one behind the other, and whether any of them was speech that nobody understood.
fn finals(recorded: &[Remembered]) -> (String, bool) {
    let results = recorded.iter().flat_map(|it| &it.results);
    let finals = results.filter_map(|(_, result)| match result {
        ProviderResult::Transcript(transcript) if transcript.is_final() => Some(transcript),
        _ => None,
    });
    let finals: Vec<&Transcript> = finals.collect();
    let words = finals.iter().map(|it| it.text.trim()).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ");
    (words, finals.iter().any(|it| it.understanding == Understanding::Rejected))
}

fn transcript(understanding: Understanding, text: String, watermark: Micros) -> Transcript {
    // Its utterance is filled in by the node that asked.
    Transcript { utterance: UtteranceId::default(), understanding, text: text.into(), watermark }
}

/// What a model was asked last: the user's words, and what tools have said since.
fn question(context: &[ContextEntry]) -> String {
    let asks = |entry: &ContextEntry| matches!(entry, ContextEntry::User { .. } | ContextEntry::Remark { .. });
    let last = context.iter().rposition(asks).unwrap_or(0);
    let parts = context[last.min(context.len())..].iter().filter_map(|entry| match entry {
        ContextEntry::User { text, .. } | ContextEntry::Remark { text } => Some(text.to_string()),
        ContextEntry::Tool { call, result } => {
            Some(format!("{}: {}", call.name, result.as_deref().unwrap_or("(no result yet)")))
        }
        ContextEntry::Agent { .. } => None,
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn speak_in_tones(text: &str, answer: &mut Answer<'_>) {
    for Timed { after, result } in tones_in_frames(text) {
        answer.give(after, result);
    }
}
