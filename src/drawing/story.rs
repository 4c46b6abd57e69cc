//! A call as a story: who spoke when, who worked when, and what became of each turn.

use std::collections::BTreeMap;

use rspp_specs::event::{ProviderResult, Request};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Confirmation, Derived, Effect, Entry, Input, PlayoutAck, Record, Signal};

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

    fn of(request: &Request) -> Self {
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
    /// For which turn; none for a recogniser.
    pub turn: Option<TurnId>,
    /// When it was asked.
    pub from: Micros,
    /// When it was over, or was cancelled.
    pub to: Option<Micros>,
    /// Whether nobody waited for it any more.
    pub cancelled: bool,
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
    /// When it opened.
    pub opened: Micros,
    /// What the voice was given to say.
    pub answer: String,
    /// How long the caller waited for the first sound, and for whom.
    pub waits: Option<Waits>,
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
        let sounds = [self.caller.extent(), self.heard.extent()].into_iter().flatten();
        let work = self.invocations.iter().map(|it| (it.from, it.to.unwrap_or(it.from)));
        let asked = self.turns.iter().map(|turn| (turn.marks.asked.unwrap_or(turn.opened), turn.opened));
        let all: Vec<(Micros, Micros)> = sounds.chain(work).chain(asked).collect();
        let (from, to) = (all.iter().map(|it| it.0).min()?, all.iter().map(|it| it.1).max()?);
        let margin = Micros(to.since(from).0 / 50).max(Micros::from_ms(20));
        Some((from.since(margin), to + margin))
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
        match result {
            ProviderResult::End(_) => {
                invocation.to.get_or_insert(at);
            }
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
            Effect::Invoke { id, request, .. } => self.invoke(at, *id, request),
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

    fn invoke(&mut self, at: Micros, id: InvocationId, request: &Request) {
        let lane = Lane::of(request);
        let turn = self.turns.last().filter(|turn| lane != Lane::Stt && turn.ended.is_none()).map(|turn| turn.turn);
        self.places.insert(id, self.invocations.len());
        self.invocations.push(Invocation { id, lane, turn, from: at, to: None, cancelled: false });
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
            (Signal::TurnOpen { text, speech_end, .. }, Some(turn)) => self.open(at, turn, text, *speech_end),
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

    fn open(&mut self, at: Micros, turn: TurnId, said: &str, speech_end: Option<Micros>) {
        let mut marks = std::mem::take(&mut self.utterance);
        marks.asked = speech_end.or(marks.asked);
        self.turns.push(Turn {
            turn,
            said: said.to_owned(),
            opened: at,
            answer: String::new(),
            waits: None,
            heard: None,
            spoken: Micros(0),
            played: Micros(0),
            ended: None,
            fenced: 0,
            marks,
        });
    }
}

impl Turn {
    fn take_signal(&mut self, at: Micros, signal: &Signal, rate_hz: u32) {
        match signal {
            Signal::OutputAccepted => self.waits = self.waits.or_else(|| Some(self.marks.waits(self.opened, at))),
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
