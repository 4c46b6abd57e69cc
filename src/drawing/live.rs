//! A call as lines, while it runs.

use rspp_specs::buffer::FLUSHED;
use rspp_specs::event::{ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Confirmation, Derived, Effect, Entry, Input, Record, Signal};

use super::story::{Story, Turn};
use super::text::{Role, Text};
use super::waits::ms;

/// Columns of the time and of the word that says whose line it is.
const HEAD_COLUMNS: usize = 18;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLine {
    /// What it says, from the time on.
    pub text: Text,
    /// Whether the next line takes its place: words that may still change. Where nothing can be overwritten, it is left
    /// out.
    pub passing: bool,
}

impl LiveLine {
    /// Where a line goes on that is too long: under its first word.
    pub const INDENT: usize = HEAD_COLUMNS;
}

/// Turns records into lines, and into the story that the pictures are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    story: Story,
    fenced_told: Option<TurnId>,
}

impl Live {
    /// What there is to say about what one tick wrote.
    pub fn take(&mut self, records: &[Record]) -> Vec<LiveLine> {
        let mut lines = Vec::new();
        for record in records {
            self.story.take(record);
            match &record.entry {
                Entry::Input(_, input) => self.input(record.at, input, &mut lines),
                Entry::Signal(turn, signal) => self.signal(record.at, *turn, signal, &mut lines),
                Entry::Effect(effect) => self.effect(record.at, effect, &mut lines),
            }
        }
        lines
    }

    /// The call so far.
    pub fn story(&self) -> &Story {
        &self.story
    }

    fn input(&self, at: Micros, input: &Input, lines: &mut Vec<LiveLine>) {
        match input {
            Input::SessionOpen(open) => {
                let plan = &open.plan;
                let text =
                    format!("{}, held by the pipeline {}, version {}", open.session, plan.name(), plan.version());
                lines.push(line(at, Role::Quiet, "call", &Text::new(Role::Plain, text)));
            }
            Input::UserText(text) => lines.push(line(at, Role::Caller, "caller", &said(Role::Caller, text))),
            Input::Provider(_, ProviderResult::Transcript(transcript)) => lines.extend(heard_so_far(at, transcript)),
            Input::Derived(Derived::InterruptionConfirmed(turn, by)) => lines.push(self.confirmed(at, *turn, *by)),
            _ => {}
        }
    }

    fn effect(&self, at: Micros, effect: &Effect, lines: &mut Vec<LiveLine>) {
        if let Effect::Invoke { request, .. } = effect {
            match request {
                Request::Transcribe { .. } => {
                    lines.push(LiveLine {
                        passing: true,
                        ..line(at, Role::Caller, "caller", &Text::new(Role::Quiet, "..."))
                    });
                }
                Request::Speak { text } => lines.push(line(at, Role::Agent, "agent", &said(Role::Agent, text))),
                Request::Tool(call) => {
                    let text = format!("{} {}", call.name, call.arguments);
                    lines.push(line(at, Role::Model, "tool", &Text::new(Role::Plain, text)));
                }
                Request::Chat { .. } => {}
            }
        }
    }

    fn signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal, lines: &mut Vec<LiveLine>) {
        let plain = |text: String| Text::new(Role::Plain, text);
        let number = turn.map_or_else(String::new, |turn| format!("turn {}", turn.0));
        match signal {
            Signal::TurnOpen { opener, understood, .. } => {
                lines.extend(self.fenced(at));
                let text = match (opener.is_caller(), understood) {
                    (false, _) => "opens: the agent speaks unasked",
                    (true, true) => "opens",
                    (true, false) => "opens, and nobody understood what was said",
                };
                lines.push(line(at, Role::Strong, &number, &plain(text.to_owned())));
            }
            Signal::OutputAccepted => lines.extend(self.first_sound(at, turn)),
            Signal::PlayoutHold => {
                let text = "the caller speaks: the answer stops at once, and waits for what it means";
                lines.push(line(at, Role::Hold, "hold", &plain(text.to_owned())));
            }
            Signal::PlayoutResume { .. } => {
                let text = "it meant nothing: the answer goes on where it stopped, and nothing of it is lost";
                lines.push(line(at, Role::Hold, "resume", &plain(text.to_owned())));
            }
            Signal::Heard { cut: true, .. } => lines.extend(self.heard(at, turn)),
            Signal::Commit => {
                lines.push(line(at, Role::Strong, &number, &plain("commits: all of its answer is out".to_owned())));
            }
            Signal::Abort { reason } => {
                let text = format!("is over ({}): nothing more of it can come out", reason.name());
                lines.push(line(at, Role::Strong, &number, &plain(text)));
            }
            Signal::ProviderError { id, outcome } => {
                let who = self.story.invocation(*id).map_or("provider", |it| it.lane.name());
                lines.push(line(at, Role::Cut, "failed", &plain(format!("{who}: {}", outcome.name()))));
            }
            Signal::NodeError { message, .. } => lines.push(line(at, Role::Cut, "failed", &plain(message.to_string()))),
            Signal::DropNotice { dropped, reason, .. } if **reason != *FLUSHED => {
                lines.push(line(at, Role::Cut, "dropped", &plain(format!("{}: {reason}", dropped.items))));
            }
            Signal::SessionEnded => {
                lines.extend(self.fenced(at));
                lines.push(line(at, Role::Quiet, "call", &plain("ends".to_owned())));
            }
            _ => {}
        }
    }

    fn turn(&self, turn: Option<TurnId>) -> Option<&Turn> {
        self.story.turns.iter().rev().find(|it| Some(it.turn) == turn)
    }

    fn first_sound(&self, at: Micros, turn: Option<TurnId>) -> Option<LiveLine> {
        let waits = self.turn(turn)?.waits?;
        let text = Text::new(Role::Plain, "first sound after ").and(Role::Strong, format!("{} ms", ms(waits.total())));
        Some(line(at, Role::Agent, "agent", &text.and(Role::Quiet, format!(": {}", waits.words()))))
    }

    fn confirmed(&self, at: Micros, turn: TurnId, by: Confirmation) -> LiveLine {
        let by = match by {
            Confirmation::Words => "there are words",
            Confirmation::Speech => "the caller goes on",
            Confirmation::Onset => "the policy asks for no more",
        };
        let hold = self.story.holds.iter().rev().find(|hold| hold.turn == turn);
        let after = hold.map_or_else(String::new, |hold| format!(", {} ms after the hold", ms(at.since(hold.from))));
        let text = format!("it is an interruption ({by}{after}): turn {} is cancelled, everywhere at once", turn.0);
        line(at, Role::Cut, "cut", &Text::new(Role::Plain, text))
    }

    /// What was heard of a turn that was cut, and what never was.
    fn heard(&self, at: Micros, turn: Option<TurnId>) -> Vec<LiveLine> {
        let Some(turn) = self.turn(turn) else { return Vec::new() };
        let heard = Text::new(Role::Agent, turn.heard.clone().unwrap_or_default());
        let note = format!("  ({} ms; this is what the conversation remembers)", turn.played.as_ms());
        let mut lines = vec![line(at, Role::Agent, "heard", &heard.and(Role::Quiet, note))];
        if let Some(unheard) = turn.unheard() {
            let never = format!("  ({} ms)", turn.spoken.since(turn.played).as_ms());
            lines.push(line(at, Role::Cut, "unheard", &Text::new(Role::Cut, unheard).and(Role::Quiet, never)));
        }
        lines
    }

    /// Once for each turn that was cut: what still came of it, and got nowhere.
    fn fenced(&mut self, at: Micros) -> Option<LiveLine> {
        let turn = self.story.turns.iter().rev().find(|turn| turn.is_cut() && turn.turn != TurnId(0))?;
        if self.fenced_told.is_some_and(|told| told >= turn.turn) {
            return None;
        }
        let number = turn.turn;
        let running = self.story.invocations.iter().filter(|it| it.turn == Some(number) && it.cancelled).count();
        let mut text = format!("of turn {}, {} results came too late and were stopped", number.0, turn.fenced);
        if turn.fenced == 0 {
            text = match running {
                0 => format!("of turn {}, nothing was under way any more", number.0),
                _ => format!("of turn {}, nothing came any more: its engines were cancelled", number.0),
            };
        }
        self.fenced_told = Some(number);
        Some(line(at, Role::Cut, "fenced", &Text::new(Role::Plain, text)))
    }
}

fn said(role: Role, text: &str) -> Text {
    Text::new(role, text.trim())
}

/// Words that may change take each other's place; the last stay.
fn heard_so_far(at: Micros, transcript: &Transcript) -> Option<LiveLine> {
    let words = transcript.text.trim();
    match transcript.understanding {
        Understanding::Partial => {
            let text = said(Role::Caller, words).and(Role::Quiet, " ...");
            Some(LiveLine { passing: true, ..line(at, Role::Caller, "caller", &text) })
        }
        Understanding::Words => Some(line(at, Role::Caller, "caller", &said(Role::Caller, words))),
        Understanding::Rejected => {
            Some(line(at, Role::Caller, "caller", &Text::new(Role::Quiet, "(nothing that the recogniser knows)")))
        }
        Understanding::Empty => None,
    }
}

fn line(at: Micros, role: Role, who: &str, text: &Text) -> LiveLine {
    let time = format!("{:>5}.{:02}  ", at.as_ms() / 1_000, at.as_ms() % 1_000 / 10);
    let head = Text::new(Role::Quiet, time).and(role, format!("{who:<8}"));
    let text = text.pieces().fold(head, |line, (role, piece)| line.and(role, piece));
    LiveLine { text, passing: false }
}
