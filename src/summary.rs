//! What a call came to: its turns, what was said and heard, and where time went.

use rspp_specs::buffer::FLUSHED;
use rspp_specs::event::Request;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal};
use serde::Serialize;

/// A call in numbers and words; what `rspp run --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The session's name.
    pub session: String,
    /// Its plan.
    pub plan_hash: String,
    /// Its turns, in order.
    pub turns: Vec<TurnSummary>,
    /// What went through.
    pub counts: Counts,
}

/// One turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TurnSummary {
    /// Its number.
    pub turn: u32,
    /// `commit`, `abort`, or `open` if the call ended before it.
    pub terminal: String,
    /// Why it was aborted; for a cancellation, what cancelled it.
    pub reason: Option<String>,
    /// What the caller said.
    pub user_text: String,
    /// Nobody said anything: the agent speaks of its own accord.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
    /// What was to be said.
    pub agent_text: String,
    /// What the caller heard of it.
    pub heard_text: String,
    /// From the caller's last speech frame to the first frame past egress.
    pub first_audio_ms: Option<f64>,
    /// When its cancellation was accepted, in session time.
    pub cancelled_at_ms: Option<f64>,
    #[serde(skip)]
    speech_end: Option<Micros>,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Frames from the caller.
    pub frames_in: u64,
    /// Frames to the transport.
    pub frames_out: u64,
    /// Results and frames of cancelled turns that were stopped.
    pub fenced: u64,
    /// Items dropped by a declared rule.
    pub drops: u64,
}

impl Summary {
    /// Takes in what one tick wrote.
    pub fn take(&mut self, records: &[Record]) {
        for record in records {
            match &record.entry {
                Entry::Input(_, input) => self.take_input(input),
                Entry::Signal(turn, signal) => self.take_signal(record.at, *turn, signal),
                Entry::Effect(effect) => self.take_effect(effect),
            }
        }
    }

    fn take_input(&mut self, input: &Input) {
        match input {
            Input::SessionOpen(open) => {
                self.session = open.session.to_string();
                self.plan_hash = open.plan.hash().to_string();
            }
            Input::CallerAudio(_) => self.counts.frames_in += 1,
            _ => {}
        }
    }

    fn take_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Transmit { .. } => self.counts.frames_out += 1,
            Effect::Invoke { request: Request::Speak { text }, .. } => {
                if let Some(turn) = self.turns.last_mut() {
                    join_words(&mut turn.agent_text, text);
                }
            }
            _ => {}
        }
    }

    fn take_signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal) {
        match signal {
            Signal::LateAfterCancel { .. } => self.counts.fenced += 1,
            Signal::OutputFenced { frames } => self.counts.fenced += u64::from(*frames),
            // What a cancelled turn leaves behind is nobody's loss.
            Signal::DropNotice { reason, .. } if **reason == *FLUSHED => {}
            Signal::DropNotice { dropped, .. } => self.counts.drops += u64::from(dropped.items),
            Signal::TurnOpen { text, opener, speech_end, .. } => {
                let (turn, terminal) = (turn.map_or(0, |turn| turn.0), "open".to_owned());
                let user_text = if opener.is_caller() { text.to_string() } else { String::new() };
                let (unasked, speech_end) = (!opener.is_caller(), *speech_end);
                let rest = TurnSummary::default();
                self.turns.push(TurnSummary { turn, terminal, user_text, unasked, speech_end, ..rest });
            }
            _ => {
                let summary = self.turns.iter_mut().rev().find(|summary| Some(TurnId(summary.turn)) == turn);
                if let Some(summary) = summary {
                    summary.take_signal(at, signal);
                }
            }
        }
    }
}

impl TurnSummary {
    fn take_signal(&mut self, at: Micros, signal: &Signal) {
        match signal {
            Signal::OutputAccepted => self.first_audio_ms = self.speech_end.map(|end| ms(at.since(end))),
            Signal::CancelAccepted { reason } => {
                self.cancelled_at_ms = Some(ms(at));
                self.reason = Some(reason.name().to_owned());
            }
            Signal::Commit => "commit".clone_into(&mut self.terminal),
            Signal::Abort { reason } => {
                "abort".clone_into(&mut self.terminal);
                self.reason.get_or_insert_with(|| reason.name().to_owned());
            }
            Signal::Heard { text, .. } => self.heard_text = text.to_string(),
            _ => {}
        }
    }
}

fn ms(time: Micros) -> f64 {
    time.0 as f64 / 1_000.0
}

fn join_words(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}
