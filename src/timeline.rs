//! A call's timeline as data: what `rspp timeline --json` prints, and what its pictures show.

use rspp_specs::time::Micros;
use rspp_specs::timeline::Confirmation;
use serde::Serialize;

use crate::drawing::{Ending, Invocation, Part, Story, Turn, Waits};

/// A call over time. Times are milliseconds of session time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// The session's name.
    pub session: String,
    /// Its pipeline's.
    pub pipeline: String,
    /// What is shown.
    pub from_ms: f64,
    /// Until when.
    pub to_ms: f64,
    /// The turns.
    pub turns: Vec<TurnSpan>,
    /// What providers did.
    pub invocations: Vec<InvocationSpan>,
    /// Where playout was on hold.
    pub holds: Vec<HoldSpan>,
    /// Where it went another way than it might have.
    pub incidents: Vec<Happened>,
}

/// A turn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TurnSpan {
    /// Its number.
    pub turn: u32,
    /// When it opened.
    pub opened_ms: f64,
    /// When it ended.
    pub ended_ms: Option<f64>,
    /// `commit`, or the reason for which it was cut.
    pub ended: Option<&'static str>,
    /// What the caller said.
    pub said: String,
    /// What was to be said.
    pub answer: String,
    /// What the caller heard of it.
    pub heard: Option<String>,
    /// How long the caller waited, and for whom.
    pub waits: Option<WaitParts>,
    /// Results and frames that came too late.
    pub fenced: u64,
}

/// How long the caller waited for the first sound, and for whom; the parts add up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WaitParts {
    /// The whole.
    pub total_ms: f64,
    /// Until it was certain that the caller had finished.
    pub endpointing_ms: f64,
    /// For the words.
    pub recogniser_ms: f64,
    /// For so much of the answer that it can be spoken.
    pub model_ms: f64,
    /// For the first sound.
    pub voice_ms: f64,
    /// RSPP itself.
    pub runtime_ms: f64,
}

impl WaitParts {
    /// Of these waits.
    pub fn of(waits: &Waits) -> Self {
        let part = |part| ms(waits.part(part));
        Self {
            total_ms: ms(waits.total()),
            endpointing_ms: part(Part::Endpointing),
            recogniser_ms: part(Part::Recogniser),
            model_ms: part(Part::Model),
            voice_ms: part(Part::Voice),
            runtime_ms: part(Part::Runtime),
        }
    }
}

/// What a provider did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvocationSpan {
    /// Its number.
    pub id: u32,
    /// `stt`, `llm`, `tts` or `tools`.
    pub kind: &'static str,
    /// The node that asked, or the tool.
    pub node: String,
    /// Whom.
    pub binding: String,
    /// For which turn.
    pub turn: Option<u32>,
    /// When it was asked.
    pub from_ms: f64,
    /// When it was over.
    pub to_ms: Option<f64>,
    /// When its first result came.
    pub first_ms: Option<f64>,
    /// Whether nobody waited for it any more.
    pub cancelled: bool,
    /// How it ended.
    pub outcome: Option<&'static str>,
}

impl InvocationSpan {
    fn of(invocation: &Invocation) -> Self {
        Self {
            id: invocation.id.0,
            kind: invocation.lane.name(),
            node: invocation.node.clone(),
            binding: invocation.binding.clone(),
            turn: invocation.turn.map(|turn| turn.0),
            from_ms: ms(invocation.from),
            to_ms: invocation.to.map(ms),
            first_ms: invocation.first.map(ms),
            cancelled: invocation.cancelled,
            outcome: invocation.outcome.map(|outcome| outcome.name()),
        }
    }
}

/// A hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HoldSpan {
    /// Whose playout.
    pub turn: u32,
    /// When it stopped.
    pub from_ms: f64,
    /// When it was decided what the caller meant.
    pub to_ms: Option<f64>,
    /// What made it an interruption; none if it was none.
    pub confirmed_by: Option<Confirmation>,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Happened {
    /// When.
    pub at_ms: f64,
    /// Of which turn.
    pub turn: Option<u32>,
    /// What kind of thing.
    pub kind: &'static str,
    /// What exactly.
    pub words: String,
    /// How often, where it came again and again.
    pub times: u32,
}

impl Timeline {
    /// Of a story, or of the part of it that is shown.
    pub fn of(story: &Story) -> Self {
        let (from, to) = story.window().unwrap_or((Micros(0), story.until));
        let hold = |hold: &crate::drawing::Hold| HoldSpan {
            turn: hold.turn.0,
            from_ms: ms(hold.from),
            to_ms: hold.to.map(ms),
            confirmed_by: hold.confirmed_by,
        };
        let incident = |it: &crate::drawing::Incident| Happened {
            at_ms: ms(it.at),
            turn: it.turn.map(|turn| turn.0),
            kind: it.kind.name(),
            words: it.words.clone(),
            times: it.times,
        };
        Self {
            session: story.session.clone(),
            pipeline: story.pipeline.clone(),
            from_ms: ms(from),
            to_ms: ms(to),
            turns: story.turns.iter().map(turn_span).collect(),
            invocations: story.invocations.iter().map(InvocationSpan::of).collect(),
            holds: story.holds.iter().map(hold).collect(),
            incidents: story.incidents.iter().map(incident).collect(),
        }
    }
}

fn turn_span(turn: &Turn) -> TurnSpan {
    TurnSpan {
        turn: turn.turn.0,
        opened_ms: ms(turn.opened),
        ended_ms: turn.ended.map(|(at, _)| ms(at)),
        ended: turn.ended.map(|(_, ending)| match ending {
            Ending::Committed => "commit",
            Ending::Cut(reason) => reason,
        }),
        said: turn.said.clone(),
        answer: turn.answer.clone(),
        heard: turn.heard.clone(),
        waits: turn.waits.as_ref().map(WaitParts::of),
        fenced: turn.fenced,
    }
}

/// Milliseconds, with the microseconds behind the point.
pub(crate) fn ms(time: Micros) -> f64 {
    time.0 as f64 / 1_000.0
}
