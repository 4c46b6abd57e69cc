//! Takes out of events, before they are written, what the session's policy does not let into its recording
//! (`F-073`, `NF-014`).
//!
//! The shape of what is taken out stays: audio has as many samples, and masked words have their spaces and their
//! punctuation. So a recording can be read and drawn at every level, and what it says of the course of a call is right.

use std::sync::Arc;

use rspp_specs::data_class::DataClass;
use rspp_specs::event::{AudioFrame, ContextEntry, ProviderResult, Request, ToolCall, Transcript, Understanding};
use rspp_specs::plan::{RecordingLevel, RecordingPolicy, Redaction, Sink};
use rspp_specs::recording::Redacted;
use rspp_specs::timeline::{Derived, Effect, Entry, Input, Prompt, Record, Resume, SessionOpen, Signal, TurnProposal};

/// The context of the key under which a session's hashes are made.
const KEY: &str = "rspp recording: what stands for somebody's words";

/// One session's redactor. The same events give the same result.
#[derive(Debug)]
pub struct Redactor {
    policy: RecordingPolicy,
    level: RecordingLevel,
    key: [u8; 32],
    partials: u32,
    frames: u32,
    silence: Arc<[i16]>,
}

impl Redactor {
    /// Begins at this level. Hashes are made under a key of the session's name, so that the same words in two sessions
    /// have two hashes; who knows the name can still try out short words.
    pub fn new(session: &str, policy: RecordingPolicy, level: RecordingLevel) -> Self {
        let key = blake3::derive_key(KEY, session.as_bytes());
        Self { policy, level, key, partials: 0, frames: 0, silence: Arc::from([]) }
    }

    /// The level now.
    pub fn level(&self) -> RecordingLevel {
        self.level
    }

    /// From here on at this level.
    pub fn set_level(&mut self, level: RecordingLevel) {
        self.level = level;
    }

    /// The session goes on under another plan.
    pub fn go_by(&mut self, policy: RecordingPolicy, level: RecordingLevel) {
        (self.policy, self.level) = (policy, level);
    }

    /// What is written in the place of an event; `None` if the event is written as it is.
    pub fn redact(&mut self, entry: &Entry) -> Option<(Entry, Redacted)> {
        let class = entry.data_class();
        // What is neither somebody's voice nor words has no place for a mask; control and decisions always stay.
        if !matches!(class, DataClass::AudioRaw | DataClass::TextRaw) {
            return None;
        }
        let how = self.how(class, entry);
        if how == Redaction::Allow {
            return None;
        }
        let mut redacted = Redacted { how, digest: None };
        Some((self.entry(entry, &mut redacted), redacted))
    }

    /// What is done with it. At L1, of what comes in pieces only samples keep what their class may keep there.
    fn how(&mut self, class: DataClass, entry: &Entry) -> Redaction {
        let how = self.policy.redaction(class, Sink::Timeline(self.level));
        if self.level != RecordingLevel::L1 {
            return how;
        }
        let sample = self.policy.sample;
        let (count, every, otherwise) = match class {
            DataClass::AudioRaw => (&mut self.frames, sample.audio_every, Redaction::Drop),
            _ if is_piece(entry) => (&mut self.partials, sample.partials_every, Redaction::Hash),
            _ => return how,
        };
        let is_kept = *count % every.max(1) == 0;
        *count = count.wrapping_add(1);
        if is_kept { how } else { how.max(otherwise) }
    }

    fn entry(&mut self, entry: &Entry, redacted: &mut Redacted) -> Entry {
        match entry {
            Entry::Input(sequence, input) => Entry::Input(*sequence, self.input(input, redacted)),
            Entry::Signal(turn, signal) => Entry::Signal(*turn, self.signal(signal, redacted.how)),
            Entry::Effect(effect) => Entry::Effect(self.effect(effect, redacted)),
        }
    }

    fn input(&mut self, input: &Input, redacted: &mut Redacted) -> Input {
        let how = redacted.how;
        match input {
            Input::CallerAudio(frame) => Input::CallerAudio(self.audio(frame, redacted)),
            Input::UserText(text) => Input::UserText(self.text(text, how)),
            Input::SessionOpen(open) => {
                let context = open.resume.context.iter().map(|said| self.said(said, how)).collect();
                let resume = Resume { context, ..open.resume.clone() };
                Input::SessionOpen(Box::new(SessionOpen { resume, ..(**open).clone() }))
            }
            Input::Prompt(Prompt::Say(text)) => Input::Prompt(Prompt::Say(self.text(text, how))),
            Input::Prompt(Prompt::Ask(text)) => Input::Prompt(Prompt::Ask(self.text(text, how))),
            Input::Provider(id, result) => Input::Provider(*id, self.result(result, redacted)),
            Input::Derived(Derived::TurnOpenProposed(proposal)) => {
                let text = self.text(&proposal.text, how);
                Input::Derived(Derived::TurnOpenProposed(TurnProposal { text, ..proposal.clone() }))
            }
            other => other.clone(),
        }
    }

    fn result(&mut self, result: &ProviderResult, redacted: &mut Redacted) -> ProviderResult {
        let how = redacted.how;
        match result {
            ProviderResult::Audio(frame) => ProviderResult::Audio(self.audio(frame, redacted)),
            ProviderResult::Text(text) => ProviderResult::Text(self.text(text, how)),
            ProviderResult::ToolResult(text) => ProviderResult::ToolResult(self.text(text, how)),
            ProviderResult::ToolCall(call) => ProviderResult::ToolCall(self.call(call, how)),
            ProviderResult::Transcript(transcript) => {
                let text = self.text(&transcript.text, how);
                ProviderResult::Transcript(Transcript { text, ..transcript.clone() })
            }
            ProviderResult::WordEnds(ends) => ProviderResult::WordEnds(Arc::clone(ends)),
            ProviderResult::End(outcome) => ProviderResult::End(*outcome),
        }
    }

    fn signal(&self, signal: &Signal, how: Redaction) -> Signal {
        match signal {
            Signal::TurnOpen { plan, generation, text, opener, understood, speech_end } => Signal::TurnOpen {
                plan: plan.clone(),
                generation: *generation,
                text: self.text(text, how),
                opener: *opener,
                understood: *understood,
                speech_end: *speech_end,
            },
            Signal::Heard { text, cut } => Signal::Heard { text: self.text(text, how), cut: *cut },
            Signal::NodeError { node, message } => Signal::NodeError { node: *node, message: self.text(message, how) },
            other => other.clone(),
        }
    }

    fn effect(&mut self, effect: &Effect, redacted: &mut Redacted) -> Effect {
        match effect {
            Effect::Feed { id, frame } => Effect::Feed { id: *id, frame: self.audio(frame, redacted) },
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                let frame = self.audio(frame, redacted);
                Effect::Transmit { turn: *turn, epoch: *epoch, from_sample: *from_sample, frame }
            }
            Effect::Invoke { id, binding, request } => {
                Effect::Invoke { id: *id, binding: Arc::clone(binding), request: self.request(request, redacted) }
            }
            other => other.clone(),
        }
    }

    fn request(&mut self, request: &Request, redacted: &mut Redacted) -> Request {
        let how = redacted.how;
        match request {
            Request::Transcribe { media_start, preroll } => {
                let preroll = preroll.iter().map(|frame| self.audio(frame, redacted)).collect();
                Request::Transcribe { media_start: *media_start, preroll }
            }
            Request::Chat { context } => {
                Request::Chat { context: context.iter().map(|said| self.said(said, how)).collect() }
            }
            Request::Speak { text } => Request::Speak { text: self.text(text, how) },
            Request::Tool(call) => Request::Tool(self.call(call, how)),
        }
    }

    fn said(&self, entry: &ContextEntry, how: Redaction) -> ContextEntry {
        match entry {
            ContextEntry::User { text, understood } => {
                ContextEntry::User { text: self.text(text, how), understood: *understood }
            }
            ContextEntry::Remark { text } => ContextEntry::Remark { text: self.text(text, how) },
            ContextEntry::Agent { text, cut } => ContextEntry::Agent { text: self.text(text, how), cut: *cut },
            ContextEntry::Tool { call, result } => ContextEntry::Tool {
                call: self.call(call, how),
                result: result.as_ref().map(|result| self.text(result, how)),
            },
        }
    }

    /// Which tool was called, and under which key, is a decision; with what, somebody's words.
    fn call(&self, call: &ToolCall, how: Redaction) -> ToolCall {
        let ToolCall { key, name, arguments } = call;
        ToolCall { key: Arc::clone(key), name: Arc::clone(name), arguments: self.text(arguments, how) }
    }

    fn audio(&mut self, frame: &AudioFrame, redacted: &mut Redacted) -> AudioFrame {
        if redacted.how == Redaction::Hash {
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            if let Some(before) = &redacted.digest {
                hasher.update(before);
            }
            let mut bytes = vec![0; frame.samples.len() * 2];
            for (pair, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(frame.samples.iter()) {
                *pair = sample.to_le_bytes();
            }
            hasher.update(&bytes);
            redacted.digest = hasher.finalize().as_bytes().first_chunk().copied();
        }
        if self.silence.len() != frame.samples.len() {
            self.silence = vec![0; frame.samples.len()].into();
        }
        AudioFrame { samples: Arc::clone(&self.silence), ..*frame }
    }

    fn text(&self, text: &Arc<str>, how: Redaction) -> Arc<str> {
        match how {
            Redaction::Allow => Arc::clone(text),
            // That nobody said anything is no secret, and the state of a turn depends on it.
            _ if text.is_empty() => Arc::clone(text),
            Redaction::Mask => text.chars().map(masked).collect::<String>().into(),
            Redaction::Tokenize => format!("<{}>", self.digest(text, 8)).into(),
            Redaction::Hash => format!("#{}/{}", self.digest(text, 16), text.len()).into(),
            Redaction::Drop => Arc::from("#"),
        }
    }

    fn digest(&self, text: &str, digits: usize) -> String {
        let mut hex = blake3::keyed_hash(&self.key, text.as_bytes()).to_hex().to_string();
        hex.truncate(digits);
        hex
    }
}

/// Words keep their lengths, spaces and punctuation.
fn masked(letter: char) -> char {
    match letter {
        letter if letter.is_numeric() => '0',
        letter if letter.is_alphabetic() => 'x',
        letter => letter,
    }
}

/// Whether it is a part of something that follows as a whole, or of which there are many.
fn is_piece(entry: &Entry) -> bool {
    match entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Transcript(transcript))) => {
            transcript.understanding == Understanding::Partial
        }
        Entry::Input(_, Input::Provider(_, ProviderResult::Text(_))) => true,
        _ => false,
    }
}

/// A record with another entry.
pub(super) fn with(record: &Record, entry: Entry) -> Record {
    Record { slot: record.slot, tick: record.tick, at: record.at, entry }
}
