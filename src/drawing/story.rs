//! A call as a story: who spoke when, who worked when, and what became of each turn.

use std::collections::BTreeMap;

use rspp_specs::event::{ContextEntry, ProviderResult, Request};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Confirmation, Derived, Effect, Entry, Input, PlayoutAck, Record, Signal};

use super::cast::Cast;
use super::incidents::Incident;
use super::loudness::Loudness;
use super::waits::{Marks, Waits};

/// Who works, one lane each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Speech to text.
    Stt,
    /// The model.
    Llm,
    /// Text to speech.
    Tts,
    /// Tools.
    Tools,
}

impl Lane {
    /// All, in the order in which they are drawn.
    pub const ALL: [Lane; 4] = [Lane::Stt, Lane::Llm, Lane::Tts, Lane::Tools];

    /// The word before the lane.
    pub const fn name(self) -> &'static str {
        match self {
            Lane::Stt => "stt",
            Lane::Llm => "llm",
            Lane::Tts => "tts",
            Lane::Tools => "tools",
        }
    }

    pub(super) fn of(request: &Request) -> Self {
        match request {
            Request::Transcribe { .. } => Lane::Stt,
            Request::Chat { .. } => Lane::Llm,
            Request::Speak { .. } => Lane::Tts,
            Request::Tool(_) => Lane::Tools,
        }
    }
}

/// A stretch in which a provider worked for the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Its number.
    pub id: InvocationId,
    /// Who worked.
    pub lane: Lane,
    /// Which node asked, by its name in the plan; a tool goes by its own.
    pub node: String,
    /// Whom.
    pub binding: String,
    /// For which turn; none for a recogniser.
    pub turn: Option<TurnId>,
    /// When it was asked.
    pub from: Micros,
    /// When it was over, or was cancelled.
    pub to: Option<Micros>,
    /// Whether nobody waited for it any more.
    pub cancelled: bool,
    /// When its first result came.
    pub first: Option<Micros>,
    /// How it ended; none while it runs, or when it was cancelled and never said anything more.
    pub outcome: Option<Outcome>,
    /// What went in and came out.
    pub amount: Amount,
}

/// What a provider was given, and what it gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Characters of text that it was given.
    pub chars_in: u64,
    /// Characters of text that it gave.
    pub chars_out: u64,
    /// Audio that it was given.
    pub audio_in: Micros,
    /// Audio that it gave.
    pub audio_out: Micros,
}

/// A stretch in which playout was on hold, because the caller spoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whose playout.
    pub turn: TurnId,
    /// When it stopped.
    pub from: Micros,
    /// When it was decided what the caller meant.
    pub to: Option<Micros>,
    /// What made the interruption certain; none while it is open, or when it was dismissed.
    pub confirmed_by: Option<Confirmation>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It went out to its end.
    Committed,
    /// It was cut short: by the caller, or by what failed. The word is the reason's.
    Cut(&'static str),
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its number.
    pub turn: TurnId,
    /// What the caller said; empty if nobody understood it.
    pub said: String,
    /// Nobody said anything: the agent speaks of its own accord.
    pub unasked: bool,
    /// When it opened.
    pub opened: Micros,
    /// What the voice was given to say.
    pub answer: String,
    /// How long the caller waited for the first sound, and for whom.
    pub waits: Option<Waits>,
    /// When the caller heard the first sound, where the transport says so.
    pub started: Option<Micros>,
    /// What the caller heard of the answer.
    pub heard: Option<String>,
    /// Speech that was synthesised.
    pub spoken: Micros,
    /// Speech that the caller heard.
    pub played: Micros,
    /// When it ended, and how.
    pub ended: Option<(Micros, Ending)>,
    /// Frames and results that came too late, and were stopped.
    pub fenced: u64,
    marks: Marks,
}

impl Turn {
    /// The part of the answer that was never heard.
    pub fn unheard(&self) -> Option<&str> {
        let rest = self.answer.strip_prefix(self.heard.as_deref()?)?.trim();
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether it ended before its answer did.
    pub fn is_cut(&self) -> bool {
        matches!(self.ended, Some((_, Ending::Cut(_))))
    }
}

/// A call, as its timeline tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// The session's name.
    pub session: String,
    /// Its pipeline's name.
    pub pipeline: String,
    /// The time of the last record.
    pub until: Micros,
    /// The caller's side.
    pub caller: Loudness,
    /// What the caller heard.
    pub heard: Loudness,
    /// Who worked when.
    pub invocations: Vec<Invocation>,
    /// The turns.
    pub turns: Vec<Turn>,
    /// Where playout was on hold.
    pub holds: Vec<Hold>,
    /// Where it went another way than it might have.
    pub incidents: Vec<Incident>,
    pub(super) cast: Cast,
    /// What is drawn, where it is not all.
    span: Option<(Micros, Micros)>,
    /// A time that is marked.
    pub(super) mark: Option<Micros>,
    places: BTreeMap<InvocationId, usize>,
    utterance: Marks,
    plays_until: Micros,
    rate_hz: u32,
}

impl Story {
    /// The story of these records.
    pub fn of(records: &[Record]) -> Self {
        let mut story = Self::default();
        records.iter().for_each(|record| story.take(record));
        story
    }

    /// Takes in the next record.
    pub fn take(&mut self, record: &Record) {
        self.until = self.until.max(record.at);
        self.take_incident(record);
        match &record.entry {
            Entry::Input(_, input) => self.take_input(record.at, input),
            Entry::Signal(turn, signal) => self.take_signal(record.at, *turn, signal),
            Entry::Effect(effect) => self.take_effect(record.at, effect),
        }
    }

    /// The turn that is open, or was open last.
    pub fn last_turn(&self) -> Option<&Turn> {
        self.turns.last()
    }

    /// From a little before anything happens to a little after everything has; `None` for a call without anything.
    pub fn window(&self) -> Option<(Micros, Micros)> {
        if self.span.is_some() {
            return self.span;
        }
        let sounds = [self.caller.extent(), self.heard.extent()].into_iter().flatten();
        let work = self.invocations.iter().map(|it| (it.from, it.to.unwrap_or(it.from)));
        let asked = self.turns.iter().map(|turn| (turn.marks.asked.unwrap_or(turn.opened), turn.opened));
        let all: Vec<(Micros, Micros)> = sounds.chain(work).chain(asked).collect();
        let (from, to) = (all.iter().map(|it| it.0).min()?, all.iter().map(|it| it.1).max()?);
        let margin = Micros(to.since(from).0 / 50).max(Micros::from_ms(20));
        Some((from.since(margin), to + margin))
    }

    /// The same story, drawn from one time to another.
    #[must_use]
    pub fn within(self, from: Micros, to: Micros) -> Self {
        Self { span: Some((from, to)), ..self }
    }

    /// The same story with a mark at a time.
    #[must_use]
    pub fn marked(self, at: Option<Micros>) -> Self {
        Self { mark: at, ..self }
    }

    /// The part of the story that is about one turn: from the utterance that opened it to the last that was heard of it.
    pub fn of_turn(&self, turn: TurnId) -> Option<Story> {
        let told = self.turns.iter().find(|it| it.turn == turn)?;
        let utterance = self.invocations.iter().filter(|it| it.lane == Lane::Stt && it.from <= told.opened);
        let from = utterance.map(|it| it.from).max().into_iter().chain(told.marks.asked).min().unwrap_or(told.opened);
        let work = self.invocations.iter().filter(|it| it.turn == Some(turn)).filter_map(|it| it.to);
        let to = work.chain([super::lanes::turn_end(told, self), told.opened]).max().unwrap_or(told.opened);
        let margin = Micros(to.since(from).0 / 50).max(Micros::from_ms(20));
        let (from, to) = (from.min(told.opened).since(margin), to + margin);
        let mut part = self.clone().within(from, to);
        part.invocations.retain(|it| it.from < to && it.to.unwrap_or(self.until) > from);
        part.holds.retain(|hold| hold.turn == turn);
        part.incidents.retain(|it| it.turn.is_none_or(|of| of == turn) && (from..=to).contains(&it.at));
        part.turns.retain(|it| it.turn == turn);
        Some(part)
    }

    /// The place of a turn, by number.
    pub(super) fn turn_mut(&mut self, turn: Option<TurnId>) -> Option<&mut Turn> {
        self.turns.iter_mut().rev().find(|it| Some(it.turn) == turn)
    }

    /// What an invocation was about.
    pub fn invocation(&self, id: InvocationId) -> Option<&Invocation> {
        self.places.get(&id).map(|place| &self.invocations[*place])
    }

    fn invocation_mut(&mut self, id: InvocationId) -> Option<&mut Invocation> {
        self.places.get(&id).map(|place| &mut self.invocations[*place])
    }

    fn take_input(&mut self, at: Micros, input: &Input) {
        match input {
            Input::SessionOpen(open) => {
                self.session = open.session.to_string();
                open.plan.name().clone_into(&mut self.pipeline);
                self.cast = Cast::of(&open.plan);
            }
            Input::CallerAudio(frame) => self.caller.push(at.since(frame.duration()), frame),
            Input::UserText(_) => self.utterance = Marks { asked: Some(at), ..Marks::default() },
            Input::PlayoutAck(ack) => self.take_ack(ack),
            Input::Provider(id, result) => self.take_result(at, *id, result),
            Input::Derived(Derived::InterruptionConfirmed(turn, by)) => {
                if let Some(hold) = self.open_hold(*turn) {
                    (hold.to, hold.confirmed_by) = (Some(at), Some(*by));
                }
            }
            Input::Derived(Derived::InterruptionDismissed(turn)) => {
                if let Some(hold) = self.open_hold(*turn) {
                    hold.to = Some(at);
                }
            }
            _ => {}
        }
    }

    fn open_hold(&mut self, turn: TurnId) -> Option<&mut Hold> {
        self.holds.iter_mut().rev().find(|hold| hold.turn == turn && hold.to.is_none())
    }

    fn take_ack(&mut self, ack: &PlayoutAck) {
        let played = Micros::of_samples(ack.heard_samples, self.rate_hz.max(1));
        let knows = !matches!(ack.occasion, AckOccasion::Started);
        if let Some(turn) = self.turn_mut(Some(ack.turn)).filter(|_| knows) {
            turn.played = played;
        }
    }

    fn take_result(&mut self, at: Micros, id: InvocationId, result: &ProviderResult) {
        let Some(invocation) = self.invocation_mut(id) else { return };
        let turn = invocation.turn;
        invocation.take_result(at, result);
        match result {
            ProviderResult::Transcript(transcript) if transcript.is_final() => self.utterance.transcribed = Some(at),
            ProviderResult::Audio(frame) => {
                if let Some(turn) = self.turn_mut(turn) {
                    turn.marks.first_audio.get_or_insert(at);
                    turn.spoken = turn.spoken + frame.duration();
                }
            }
            _ => {}
        }
    }

    fn take_effect(&mut self, at: Micros, effect: &Effect) {
        match effect {
            Effect::Invoke { id, request, binding } => self.invoke(at, *id, binding, request),
            Effect::Feed { id, frame } => {
                if let Some(invocation) = self.invocation_mut(*id) {
                    invocation.amount.audio_in = invocation.amount.audio_in + frame.duration();
                }
            }
            Effect::FeedEnd { id } if self.invocation(*id).is_some_and(|it| it.lane == Lane::Stt) => {
                self.utterance = Marks { endpoint: Some(at), ..Marks::default() };
            }
            Effect::CancelInvocation { id } => {
                if let Some(invocation) = self.invocation_mut(*id) {
                    invocation.to.get_or_insert(at);
                    invocation.cancelled = true;
                }
            }
            Effect::Transmit { frame, .. } => {
                let from = self.plays_until.max(at);
                self.heard.push(from, frame);
                self.plays_until = from + frame.duration();
                self.rate_hz = frame.rate_hz;
            }
            Effect::ClearTransport { .. } => {
                self.heard.cut(at);
                self.plays_until = at;
            }
            _ => {}
        }
    }

    fn invoke(&mut self, at: Micros, id: InvocationId, binding: &str, request: &Request) {
        let lane = Lane::of(request);
        let turn = self.turns.last().filter(|turn| lane != Lane::Stt && turn.ended.is_none()).map(|turn| turn.turn);
        self.places.insert(id, self.invocations.len());
        self.invocations.push(Invocation {
            id,
            lane,
            node: self.cast.asks(request, binding),
            binding: binding.to_owned(),
            turn,
            from: at,
            to: None,
            cancelled: false,
            first: None,
            outcome: None,
            amount: Amount::of(request),
        });
        let Some(turn) = self.turn_mut(turn) else { return };
        match request {
            Request::Chat { .. } => {
                turn.marks.model.get_or_insert(at);
            }
            Request::Speak { text } => {
                turn.marks.voice.get_or_insert(at);
                if !turn.answer.is_empty() {
                    turn.answer.push(' ');
                }
                turn.answer.push_str(text);
            }
            _ => {}
        }
    }

    fn take_signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal) {
        match (signal, turn) {
            (Signal::TurnOpen { text, opener, speech_end, .. }, Some(turn)) => {
                let said = opener.is_caller().then_some(&**text);
                self.open(at, turn, said, *speech_end);
            }
            (Signal::PlayoutHold, Some(turn)) => {
                self.holds.push(Hold { turn, from: at, to: None, confirmed_by: None });
            }
            (Signal::LateAfterCancel { id }, turn) => {
                let of = turn.or(self.invocation(*id).and_then(|it| it.turn));
                self.fence(of, 1);
            }
            (Signal::OutputFenced { frames }, turn) => self.fence(turn, u64::from(*frames)),
            _ => {
                let rate_hz = self.rate_hz.max(1);
                if let Some(turn) = self.turn_mut(turn) {
                    turn.take_signal(at, signal, rate_hz);
                }
            }
        }
    }

    fn fence(&mut self, turn: Option<TurnId>, frames: u64) {
        if let Some(turn) = self.turn_mut(turn) {
            turn.fenced += frames;
        }
    }

    fn open(&mut self, at: Micros, turn: TurnId, said: Option<&str>, speech_end: Option<Micros>) {
        let mut marks = std::mem::take(&mut self.utterance);
        marks.asked = speech_end.or(marks.asked);
        self.turns.push(Turn {
            turn,
            said: said.unwrap_or_default().to_owned(),
            unasked: said.is_none(),
            opened: at,
            answer: String::new(),
            waits: None,
            started: None,
            heard: None,
            spoken: Micros(0),
            played: Micros(0),
            ended: None,
            fenced: 0,
            marks,
        });
    }
}

impl Invocation {
    fn take_result(&mut self, at: Micros, result: &ProviderResult) {
        let chars = |text: &str| text.chars().count() as u64;
        match result {
            ProviderResult::End(outcome) => {
                self.to.get_or_insert(at);
                self.outcome = Some(*outcome);
                return;
            }
            ProviderResult::Text(text) | ProviderResult::ToolResult(text) => self.amount.chars_out += chars(text),
            ProviderResult::Transcript(transcript) if transcript.is_final() => {
                self.amount.chars_out += chars(&transcript.text);
            }
            ProviderResult::ToolCall(call) => self.amount.chars_out += chars(&call.name) + chars(&call.arguments),
            ProviderResult::Audio(frame) => self.amount.audio_out = self.amount.audio_out + frame.duration(),
            ProviderResult::WordEnds(_) => return,
            ProviderResult::Transcript(_) => {}
        }
        self.first.get_or_insert(at);
    }
}

impl Amount {
    fn of(request: &Request) -> Self {
        let chars = |text: &str| text.chars().count() as u64;
        let entry = |entry: &ContextEntry| match entry {
            ContextEntry::User { text, .. } | ContextEntry::Remark { text } | ContextEntry::Agent { text, .. } => {
                chars(text)
            }
            ContextEntry::Tool { call, result } => {
                chars(&call.name) + chars(&call.arguments) + result.as_deref().map_or(0, chars)
            }
        };
        match request {
            Request::Transcribe { preroll, .. } => {
                let audio_in = preroll.iter().fold(Micros(0), |sum, frame| sum + frame.duration());
                Self { audio_in, ..Self::default() }
            }
            Request::Chat { context } => Self { chars_in: context.iter().map(entry).sum(), ..Self::default() },
            Request::Speak { text } => Self { chars_in: chars(text), ..Self::default() },
            Request::Tool(call) => Self { chars_in: chars(&call.arguments), ..Self::default() },
        }
    }
}

impl Turn {
    fn take_signal(&mut self, at: Micros, signal: &Signal, rate_hz: u32) {
        match signal {
            Signal::OutputAccepted => self.waits = self.waits.or_else(|| Some(self.marks.waits(self.opened, at))),
            Signal::PlaybackStarted => self.started = Some(at),
            Signal::PlaybackCompleted { heard_samples, .. } | Signal::PlaybackCancelled { heard_samples, .. } => {
                self.played = Micros::of_samples(*heard_samples, rate_hz);
            }
            Signal::Heard { text, .. } => self.heard = Some(text.to_string()),
            Signal::Commit => self.ended = Some((at, Ending::Committed)),
            Signal::Abort { reason } => {
                self.ended.get_or_insert((at, Ending::Cut(reason.name())));
            }
            Signal::CancelAccepted { reason } => self.ended = Some((at, Ending::Cut(reason.name()))),
            _ => {}
        }
    }
}
