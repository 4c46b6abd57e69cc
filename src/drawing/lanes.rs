//! The call as lanes over time: the caller, the providers, what was heard, and the turns, one column for so many
//! milliseconds.

use rspp_specs::time::Micros;

use super::story::{Ending, Invocation, Lane, Story, Turn};
use super::text::{Canvas, Glyphs, Role, Text};

/// Columns of the names before the lanes.
pub(super) const NAME_COLUMNS: usize = 8;
/// Columns that a time on the axis needs.
const TICK_COLUMNS: u64 = 8;
/// Milliseconds from one time on the axis to the next: the first of these that leaves room.
const TICKS_MS: [u64; 15] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
];

/// Draws a call; nothing for one in which nothing happened.
pub fn lanes(story: &Story, canvas: Canvas) -> Vec<Text> {
    let Some((from, to)) = story.window() else { return Vec::new() };
    let picture = Picture::new(story, canvas, (from, to), NAME_COLUMNS);
    let mut lines = Vec::new();
    if story.caller.extent().is_some() {
        lines.push(picture.named("caller", picture.sound(&story.caller, Role::Caller)));
    }
    for lane in Lane::ALL {
        if story.invocations.iter().any(|it| it.lane == lane) {
            let work = story.invocations.iter().filter(|it| it.lane == lane);
            lines.push(picture.named(lane.name(), picture.work(lane, work)));
        }
    }
    if !story.turns.is_empty() {
        lines.push(picture.named("heard", picture.heard()));
        lines.push(picture.named("turns", picture.turns()));
    }
    lines.extend(picture.axis());
    lines.extend(picture.legend().wrapped(canvas.columns, NAME_COLUMNS));
    lines
}

/// Milliseconds between two times of an axis of this length with room for so many.
pub(super) fn tick_ms(length: Micros, most: u64) -> u64 {
    let fits = |step: &&u64| length.as_ms() / **step <= most.max(1);
    TICKS_MS.iter().find(fits).copied().unwrap_or(TICKS_MS[TICKS_MS.len() - 1])
}

pub(super) type Cells = Vec<(Role, char)>;

pub(super) struct Picture<'a> {
    story: &'a Story,
    glyphs: Glyphs,
    from: Micros,
    to: Micros,
    columns: usize,
    /// Columns of the names before the lanes.
    names: usize,
}

impl<'a> Picture<'a> {
    pub(super) fn new(story: &'a Story, canvas: Canvas, (from, to): (Micros, Micros), names: usize) -> Self {
        let columns = canvas.columns.saturating_sub(names).max(20);
        Self { story, glyphs: canvas.charset.glyphs(), from, to, columns, names }
    }

    /// Whether any of it is in the picture.
    fn shows(&self, from: Micros, to: Micros) -> bool {
        from <= self.to && to >= self.from
    }

    pub(super) fn column(&self, at: Micros) -> usize {
        let place = at.since(self.from).0 * self.columns as u64 / self.to.since(self.from).0.max(1);
        (place as usize).min(self.columns - 1)
    }

    pub(super) fn named(&self, name: &str, cells: Cells) -> Text {
        let names = self.names;
        let name: String = name.chars().take(names - 1).collect();
        let line = Text::new(Role::Strong, format!("{name:<names$}"));
        let last = cells.iter().rposition(|(_, glyph)| *glyph != ' ').map_or(0, |last| last + 1);
        cells.into_iter().take(last).fold(line, |line, (role, glyph)| line.and(role, glyph))
    }

    pub(super) fn blank(&self) -> Cells {
        vec![(Role::Plain, ' '); self.columns]
    }

    fn fill(&self, cells: &mut Cells, from: Micros, to: Micros, cell: (Role, char)) {
        if !self.shows(from, to) {
            return;
        }
        cells[self.column(from)..=self.column(Micros(to.0.max(from.0 + 1) - 1))].fill(cell);
    }

    pub(super) fn sound(&self, sound: &super::Loudness, role: Role) -> Cells {
        let levels = sound.levels(self.from, self.to, self.columns, self.glyphs.levels.len() - 1);
        levels.into_iter().map(|level| (role, self.glyphs.levels[level])).collect()
    }

    pub(super) fn work<'i>(&self, lane: Lane, work: impl Iterator<Item = &'i Invocation>) -> Cells {
        let mut cells = self.blank();
        let role = match lane {
            Lane::Stt => Role::Caller,
            Lane::Llm | Lane::Tools => Role::Model,
            Lane::Tts => Role::Agent,
        };
        for invocation in work {
            let cell = match invocation.cancelled {
                true => (Role::Cut, self.glyphs.cancelled),
                false => (role, self.glyphs.work),
            };
            self.fill(&mut cells, invocation.from, invocation.to.unwrap_or(self.story.until), cell);
        }
        cells
    }

    /// What was heard; where the caller broke in, the hold, the cut, and as long as nothing else is heard the rest of
    /// the answer that never was.
    pub(super) fn heard(&self) -> Cells {
        let mut cells = self.sound(&self.story.heard, Role::Agent);
        let mut under = |from: Micros, to: Micros, cell: (Role, char)| {
            if !self.shows(from, to) {
                return;
            }
            let last = self.column(Micros(to.0.max(from.0 + 1) - 1));
            for place in &mut cells[self.column(from)..=last] {
                if place.1 == ' ' {
                    *place = cell;
                }
            }
        };
        for hold in &self.story.holds {
            under(hold.from, hold.to.unwrap_or(self.story.until), (Role::Hold, self.glyphs.hold));
        }
        for turn in &self.story.turns {
            if let Some((at, rest)) = cut_of(turn) {
                under(at, at + rest, (Role::Cut, self.glyphs.unheard));
            }
        }
        for turn in &self.story.turns {
            if let Some((at, _)) = cut_of(turn).filter(|(at, _)| self.shows(*at, *at)) {
                cells[self.column(at)] = (Role::Cut, self.glyphs.cut);
            }
        }
        cells
    }

    pub(super) fn turns(&self) -> Cells {
        let mut cells = self.blank();
        for turn in &self.story.turns {
            let end = turn_end(turn, self.story);
            let (first, last) = (self.column(turn.opened), self.column(end));
            let role = if turn.is_cut() { Role::Cut } else { Role::Agent };
            cells[first..=last].fill((role, self.glyphs.line));
            let number = turn.turn.0.to_string();
            if last - first > number.len() + 1 {
                for (place, digit) in cells[first + 1..].iter_mut().zip(number.chars()) {
                    *place = (Role::Strong, digit);
                }
            }
            cells[last] = (role, if turn.is_cut() { self.glyphs.cut } else { self.glyphs.closes });
            cells[first] = (role, self.glyphs.opens);
        }
        cells
    }

    pub(super) fn axis(&self) -> [Text; 2] {
        let step = tick_ms(self.to.since(self.from), self.columns as u64 / TICK_COLUMNS);
        let mut line = vec![(Role::Quiet, self.glyphs.line); self.columns];
        let mut times = " ".repeat(self.names);
        let first = self.from.as_ms().div_ceil(step);
        for tick in (first..).map(|tick| Micros::from_ms(tick * step)).take_while(|tick| *tick < self.to) {
            let column = self.column(tick);
            line[column] = (Role::Quiet, self.glyphs.tick);
            let text = seconds(tick, step);
            let room = (self.names + column).saturating_sub(times.len());
            if column + text.len() <= self.columns {
                times.push_str(&" ".repeat(room));
                times.push_str(&text);
            }
        }
        [self.named("", line), Text::new(Role::Quiet, times)]
    }

    pub(super) fn legend(&self) -> Text {
        let glyphs = &self.glyphs;
        let [quiet, .., loud] = glyphs.levels.map(String::from);
        let sound = format!("{}{}{}", glyphs.levels[2], glyphs.levels[5], if quiet == " " { loud } else { quiet });
        let mut legend =
            Text::new(Role::Plain, " ".repeat(self.names)).and(Role::Plain, sound).and(Role::Quiet, " sound  ");
        legend = legend.and(Role::Plain, glyphs.work).and(Role::Quiet, " at work  ");
        if self.story.invocations.iter().any(|it| it.cancelled) {
            legend = legend.and(Role::Cut, glyphs.cancelled).and(Role::Quiet, " cancelled  ");
        }
        if !self.story.holds.is_empty() {
            legend = legend.and(Role::Hold, glyphs.hold).and(Role::Quiet, " on hold  ");
        }
        if self.story.turns.iter().any(Turn::is_cut) {
            legend = legend.and(Role::Cut, glyphs.cut).and(Role::Quiet, " cut  ");
            legend = legend.and(Role::Cut, glyphs.unheard).and(Role::Quiet, " never heard");
        }
        legend
    }
}

/// When a turn's answer was cut, and how much of it was never heard.
pub(super) fn cut_of(turn: &Turn) -> Option<(Micros, Micros)> {
    match turn.ended {
        Some((at, Ending::Cut(_))) => Some((at, turn.spoken.since(turn.played))),
        _ => None,
    }
}

/// When the last of a turn was heard, or it was cut.
pub(super) fn turn_end(turn: &Turn, story: &Story) -> Micros {
    match turn.ended {
        Some((at, Ending::Cut(_))) => at,
        Some((at, Ending::Committed)) => turn.waits.map_or(at, |waits| at.max(waits.to + turn.played)),
        None => story.until,
    }
}

/// A time on the axis.
pub(super) fn seconds(at: Micros, step_ms: u64) -> String {
    match step_ms {
        0..1_000 => format!("{}.{} s", at.as_ms() / 1_000, at.as_ms() % 1_000 / 100),
        1_000..60_000 => format!("{} s", at.as_ms() / 1_000),
        _ => format!("{} min", at.as_ms() / 60_000),
    }
}
