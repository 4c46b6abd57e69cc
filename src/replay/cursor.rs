//! A place in a replay: it steps, stops, is written down, and goes on from there.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rspp_adapters::input_file::{InputFileError, read_text};
use rspp_adapters::recording::Recording;
use rspp_compiler::Registry;
use rspp_engine::Core;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Record, Signal};
use rspp_specs::trace::{Line, Renderer};
use serde::{Deserialize, Serialize};

use super::{Difference, ReplayError, check_inputs, check_nodes, compare, plan_of, replay_tick};

/// A replay of one recording, event by event.
pub struct Cursor<'r> {
    recording: &'r Recording,
    ticks: Vec<&'r [Record]>,
    core: Core,
    renderers: (Renderer, Renderer),
    breaks_off: bool,
    /// Ticks that were replayed.
    replayed: usize,
    /// What the last tick wrote and was not stepped over yet.
    rest: VecDeque<Line>,
    /// Events of the last tick that were stepped over.
    stepped: usize,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next event, which is the recorded one.
    Event(Line),
    /// Here it goes another way.
    Differs(Box<Difference>),
    /// The recording is over.
    End,
}

impl<'r> Cursor<'r> {
    /// At the beginning of a recording.
    ///
    /// # Errors
    /// The recording has no session, or needs node types that `registry` does not have.
    pub fn new(recording: &'r Recording, registry: &Registry) -> Result<Self, ReplayError> {
        check_inputs(recording)?;
        let plan = plan_of(&recording.records).ok_or(ReplayError::NoSession)?;
        check_nodes(plan, registry)?;
        Ok(Self {
            recording,
            ticks: recording.ticks().collect(),
            core: crate::core(registry.clone()),
            renderers: (Renderer::new(plan), Renderer::new(plan)),
            breaks_off: false,
            replayed: 0,
            rest: VecDeque::new(),
            stepped: 0,
        })
    }

    /// The same, of a recording that breaks off, perhaps within a tick: of the last one, what is there is compared. What is
    /// missing entered later than what is there, or followed from it, so what is there came out as it would have.
    #[must_use]
    pub fn breaking_off(self) -> Self {
        Self { breaks_off: true, ..self }
    }

    fn replay(&mut self, recorded: &[Record]) -> Vec<Record> {
        let mut made = replay_tick(&mut self.core, recorded);
        if self.breaks_off && self.replayed + 1 == self.ticks.len() {
            made.truncate(recorded.len());
        }
        made
    }

    /// The next event.
    pub fn step(&mut self) -> Step {
        if self.rest.is_empty() {
            let Some(recorded) = self.ticks.get(self.replayed).copied() else { return Step::End };
            let made = self.replay(recorded);
            if let Some(difference) = compare(recorded, &made, &mut self.renderers) {
                return Step::Differs(Box::new(difference));
            }
            // Both renderers have seen the tick; the lines are the same.
            self.rest = made.iter().map(|record| self.renderers.1.record(record)).collect();
            self.replayed += 1;
            self.stepped = 0;
        }
        self.stepped += 1;
        self.rest.pop_front().map_or(Step::End, Step::Event)
    }

    /// What the next tick writes, all of it; the rest of the last one is stepped over. `None` at the end.
    ///
    /// # Errors
    /// It goes another way.
    pub fn tick(&mut self) -> Result<Option<&'r [Record]>, Box<Difference>> {
        self.rest.clear();
        let Some(recorded) = self.ticks.get(self.replayed).copied() else { return Ok(None) };
        let made = self.replay(recorded);
        if let Some(difference) = compare(recorded, &made, &mut self.renderers) {
            return Err(Box::new(difference));
        }
        self.replayed += 1;
        self.stepped = recorded.len();
        Ok(Some(recorded))
    }

    /// Whether all of the last tick was stepped over.
    pub fn is_between_ticks(&self) -> bool {
        self.rest.is_empty()
    }

    /// When the next tick is, if there is one.
    pub fn next_at(&self) -> Option<Micros> {
        self.ticks.get(self.replayed).and_then(|tick| Some(tick.first()?.at))
    }

    /// Where it stands, to go on from there later.
    pub fn position(&self) -> Position {
        let last = self.replayed.checked_sub(1).and_then(|last| self.ticks[last].first());
        Position {
            kind: PositionKind::ReplayCursor,
            session: self.recording.head.session.clone(),
            digest: self.recording.digest(),
            tick: last.map_or(0, |record| record.tick),
            event: self.stepped,
            at_ms: last.map_or(0, |record| record.at.as_ms()),
        }
    }

    /// Replays as far as a place, without a word.
    ///
    /// # Errors
    /// The recording has no such place, or it goes another way before it.
    pub fn seek(&mut self, place: &Place) -> Result<(), SeekError> {
        // One that was saved before the first event.
        if matches!(place, Place::Saved(position) if position.tick == 0) {
            return Ok(());
        }
        let (tick, event) = self.find(place)?;
        while self.replayed <= tick {
            self.tick().map_err(SeekError::Differs)?;
        }
        let lines = self.ticks[tick].iter().map(|record| self.renderers.1.record(record));
        self.rest = lines.skip(event).collect();
        self.stepped = event;
        Ok(())
    }

    /// The index of a tick, and how many of its events are stepped over.
    fn find(&self, place: &Place) -> Result<(usize, usize), SeekError> {
        let unknown = |what: String| SeekError::Unknown { what, ticks: self.ticks.len() };
        let first = |tick: &&[Record]| tick.first().map(|record| (record.tick, record.at));
        let found = match place {
            Place::Tick { tick, event } => {
                let index = self.ticks.iter().position(|it| first(it).is_some_and(|(number, _)| number == *tick));
                index.filter(|index| *event <= self.ticks[*index].len()).map(|index| (index, *event))
            }
            Place::At(at) => {
                let index = self.ticks.iter().position(|it| first(it).is_some_and(|(_, of)| of >= *at));
                index.map(|index| (index, 0))
            }
            Place::Turn(turn) => {
                let opens = |record: &Record| matches!(&record.entry, Entry::Signal(Some(of), Signal::TurnOpen { .. }) if of.0 == *turn);
                let opened = |tick: &&[Record]| tick.iter().any(opens);
                self.ticks.iter().position(opened).map(|index| (index, 0))
            }
            Place::Saved(position) => {
                if position.digest != self.recording.digest() {
                    return Err(SeekError::AnotherRecording { session: position.session.clone() });
                }
                return self.find(&Place::Tick { tick: position.tick, event: position.event });
            }
        };
        found.ok_or_else(|| unknown(place.to_string()))
    }
}

/// A place in a recording that somebody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// After so many events of a tick: `82` or `82.3`.
    Tick {
        /// The session's tick.
        tick: u64,
        /// How many of its events.
        event: usize,
    },
    /// The first tick from a time on: `1.5s`, `1500ms`.
    At(Micros),
    /// Where a turn opens: `turn:2`.
    Turn(u32),
    /// One that was saved.
    Saved(Position),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tick { tick, event: 0 } => write!(f, "tick {tick}"),
            Place::Tick { tick, event } => write!(f, "tick {tick}, event {event}"),
            Place::At(at) => write!(f, "{at} ms"),
            Place::Turn(turn) => write!(f, "turn {turn}"),
            Place::Saved(position) => write!(f, "tick {}, event {}", position.tick, position.event),
        }
    }
}

/// A saved place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    kind: PositionKind,
    /// Of which session's recording.
    pub session: String,
    /// The recording's digest: it belongs to this one and to no other.
    pub digest: String,
    /// The tick that was replayed last.
    pub tick: u64,
    /// How many of its events were stepped over.
    pub event: usize,
    /// For people.
    pub at_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum PositionKind {
    ReplayCursor,
}

/// Why a text is no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is neither of the forms, nor a file.
    #[error(
        "`{0}` is no place in a recording: write a tick (82 or 82.3), a time (1.5s or 1500ms), a turn (turn:2), or a file that `save` wrote"
    )]
    Form(String),
    /// A file that is no cursor.
    #[error("{path} is no saved cursor: {message}")]
    Document {
        /// Which.
        path: String,
        /// Why.
        message: String,
    },
    /// A file that can't be read.
    #[error(transparent)]
    File(#[from] InputFileError),
}

/// Why a cursor is not where it was to be.
#[derive(Debug, thiserror::Error)]
pub enum SeekError {
    /// The recording has no such place.
    #[error("the recording has no {what}: it has {ticks} ticks")]
    Unknown {
        /// Which.
        what: String,
        /// How many ticks there are.
        ticks: usize,
    },
    /// The cursor was saved of another recording.
    #[error("the cursor was saved in another recording, of the session {session}")]
    AnotherRecording {
        /// Whose.
        session: String,
    },
    /// It goes another way before.
    #[error("{0}")]
    Differs(Box<Difference>),
}

impl Place {
    /// What a text, or the file of that name, says.
    ///
    /// # Errors
    /// It is neither.
    pub fn read(text: &str) -> Result<Self, PlaceError> {
        if let Ok(place) = text.parse() {
            return Ok(place);
        }
        let path = Path::new(text);
        if !path.exists() {
            return Err(PlaceError::Form(text.to_owned()));
        }
        let saved = serde_json::from_str(&read_text(path, "a saved cursor")?);
        let fail =
            |error: serde_json::Error| PlaceError::Document { path: text.to_owned(), message: error.to_string() };
        saved.map(Place::Saved).map_err(fail)
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let form = || PlaceError::Form(text.to_owned());
        if let Some(turn) = text.strip_prefix("turn:") {
            return turn.parse().map(Place::Turn).map_err(|_| form());
        }
        let time = |number: &str, micros: f64| {
            let number: f64 = number.trim().parse().ok().filter(|it: &f64| it.is_finite() && *it >= 0.0)?;
            Some(Place::At(Micros((number * micros).round() as u64)))
        };
        if let Some(number) = text.strip_suffix("ms") {
            return time(number, 1e3).ok_or_else(form);
        }
        if let Some(number) = text.strip_suffix('s') {
            return time(number, 1e6).ok_or_else(form);
        }
        let (tick, event) = text.split_once('.').unwrap_or((text, "0"));
        match (tick.parse(), event.parse()) {
            (Ok(tick), Ok(event)) => Ok(Place::Tick { tick, event }),
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ticks_times_and_turns() {
        let place = |text: &str| text.parse::<Place>().ok();
        assert_eq!(place("82"), Some(Place::Tick { tick: 82, event: 0 }));
        assert_eq!(place("82.3"), Some(Place::Tick { tick: 82, event: 3 }));
        assert_eq!(place("1.5s"), Some(Place::At(Micros(1_500_000))));
        assert_eq!(place("1500ms"), place("1.5s"));
        assert_eq!(place("turn:2"), Some(Place::Turn(2)));
        for wrong in ["", "soon", "turn:x", "-1s", "NaNs", "82.x"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }
}
