//! The lanes and the waits as SVG: for pages, where a terminal's picture would do no good.

use std::fmt::Write;

use rspp_specs::time::Micros;

use super::incidents::{Incident, IncidentKind};
use super::lanes::{cut_of, seconds, tick_ms, turn_end};
use super::loudness::Loudness;
use super::story::{Invocation, Lane, Story, Turn};
use super::text::Role;
use super::timeline::{ending, rows};
use super::waits::{Part, Waits, ms};

const WIDTH: u64 = 960;
const LEFT: u64 = 92;
const RIGHT: u64 = 24;
const TOP: u64 = 56;
const LANE: u64 = 34;
const BAR: u64 = 14;
/// Pixels of one bar of a lane of sound.
const SOUND_STEP: u64 = 4;
/// Half of a sign's width.
const SIGN: u64 = 7;
/// From one sign to the next beside it.
const SIGN_STEP: u64 = 2 * SIGN + 1;
/// Incidents that a sign's title tells.
const MAX_TOLD: usize = 12;
/// Letters of a name before its lane.
const NAME_LETTERS: usize = 10;
/// About the width of a letter of the small print.
const LETTER: u64 = 6;

const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";
const GRID: &str = "#e4e7eb";
const CALLER: &str = "#1c7ed6";
const MODEL: &str = "#9c36b5";
const AGENT: &str = "#2b8a3e";
const HOLD: &str = "#f59f00";
const CUT: &str = "#e03131";

/// Draws a call as one SVG document. The same records give the same bytes.
pub fn svg(story: &Story) -> String {
    let worked = |lane: &Lane| story.invocations.iter().any(|it| it.lane == *lane);
    let work = Lane::ALL.into_iter().filter(worked).map(Row::Lane);
    document(story, std::iter::once(Row::Caller).chain(work).chain([Row::Heard, Row::Turns]).collect())
}

/// Draws the whole timeline of a call as one SVG document: a lane for each node, with what every bar is in its title, and
/// the incidents.
pub fn svg_timeline(story: &Story) -> String {
    let work = rows(story).into_iter().map(|(name, lane)| Row::Node(name, lane));
    let caller = story.caller.extent().map(|_| Row::Caller);
    let mut all: Vec<Row> = caller.into_iter().chain(work).chain([Row::Heard, Row::Turns]).collect();
    if !story.incidents.is_empty() {
        all.push(Row::Incidents);
    }
    document(story, all)
}

/// What one lane shows.
enum Row {
    Caller,
    Lane(Lane),
    Node(String, Lane),
    Heard,
    Turns,
    Incidents,
}

fn document(story: &Story, rows: Vec<Row>) -> String {
    let (from, to) = story.window().unwrap_or((Micros(0), Micros::from_ms(1_000)));
    let drawing = Drawing { story, from, to, lanes: rows.len() as u64 };
    let waits: Vec<(&Turn, Waits)> = story.turns.iter().filter_map(|turn| Some((turn, turn.waits?))).collect();
    let below = drawing.bottom() + 40;
    let height = below + if waits.is_empty() { 0 } else { 52 + 40 * waits.len() as u64 };
    let mut out = String::new();
    drawing.begin(&mut out, height);
    drawing.axis(&mut out);
    for (lane, row) in rows.into_iter().enumerate() {
        drawing.row(&mut out, lane as u64, &row);
    }
    drawing.mark(&mut out);
    drawing.waits(&mut out, below, &waits);
    out.push_str("</svg>\n");
    out
}

struct Drawing<'a> {
    story: &'a Story,
    from: Micros,
    to: Micros,
    lanes: u64,
}

impl Drawing<'_> {
    fn row(&self, out: &mut String, lane: u64, row: &Row) {
        let invocations = self.story.invocations.iter();
        match row {
            Row::Caller => self.sound(out, lane, "caller", &self.story.caller, CALLER),
            Row::Lane(of) => {
                self.name(out, lane, of.name());
                invocations.filter(|it| it.lane == *of).for_each(|it| self.bar(out, lane, it));
            }
            Row::Node(name, of) => {
                self.name(out, lane, name);
                for invocation in invocations.filter(|it| it.node == *name && it.lane == *of) {
                    out.push_str("<g>");
                    let _ = writeln!(out, "<title>{}</title>", escaped(&described(invocation)));
                    self.bar(out, lane, invocation);
                    out.push_str("</g>\n");
                }
            }
            Row::Heard => self.heard(out, lane),
            Row::Turns => self.turns(out, lane),
            Row::Incidents => self.incidents(out, lane),
        }
    }

    fn x(&self, at: Micros) -> u64 {
        let at = at.0.clamp(self.from.0, self.to.0) - self.from.0;
        LEFT + at * (WIDTH - LEFT - RIGHT) / self.to.since(self.from).0.max(1)
    }

    fn y(&self, lane: u64) -> u64 {
        TOP + lane * LANE
    }

    fn bottom(&self) -> u64 {
        self.y(self.lanes)
    }

    fn begin(&self, out: &mut String, height: u64) {
        let title = format!("{} (pipeline {})", self.story.session, self.story.pipeline);
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
             <title>{title}</title>\n\
             <defs><pattern id=\"unheard\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"2\" height=\"6\" fill=\"{CUT}\" opacity=\"0.45\"/></pattern></defs>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\" fill=\"#ffffff\" stroke=\"{GRID}\"/>\n",
            WIDTH - 1,
            height - 1,
            title = escaped(&title),
        );
        text(out, 24, 30, "start", INK, "font-size=\"15\" font-weight=\"600\"", &title);
    }

    fn axis(&self, out: &mut String) {
        let step = tick_ms(self.to.since(self.from), 10);
        let first = self.from.as_ms().div_ceil(step);
        for tick in (first..).map(|tick| Micros::from_ms(tick * step)).take_while(|tick| *tick < self.to) {
            let x = self.x(tick);
            line(out, (x, TOP - 4), (x, self.bottom()), GRID, "");
            text(out, x, self.bottom() + 16, "middle", FAINT, "font-size=\"11\"", &seconds(tick, step));
        }
    }

    fn name(&self, out: &mut String, lane: u64, name: &str) {
        let name = shortened(name, NAME_LETTERS);
        text(out, 24, self.y(lane) + LANE / 2 + 4, "start", INK, "font-weight=\"600\"", &name);
    }

    fn sound(&self, out: &mut String, lane: u64, name: &str, sound: &Loudness, colour: &str) {
        self.name(out, lane, name);
        let stretches = ((WIDTH - LEFT - RIGHT) / SOUND_STEP) as usize;
        let most = (LANE - 8) as usize;
        let middle = self.y(lane) + LANE / 2;
        for (place, level) in sound.levels(self.from, self.to, stretches, most).into_iter().enumerate() {
            if level > 0 {
                let (x, tall) = (LEFT + place as u64 * SOUND_STEP, (level as u64).max(2));
                rect(out, (x, middle - tall / 2), (SOUND_STEP - 1, tall), colour, "rx=\"1\"");
            }
        }
    }

    fn bar(&self, out: &mut String, lane: u64, invocation: &Invocation) {
        let colour = match invocation.lane {
            Lane::Stt => CALLER,
            Lane::Llm | Lane::Tools => MODEL,
            Lane::Tts => AGENT,
        };
        let y = self.y(lane) + (LANE - BAR) / 2;
        let (from, to) = (self.x(invocation.from), self.x(invocation.to.unwrap_or(self.story.until)));
        let more = if invocation.cancelled { "rx=\"3\" opacity=\"0.45\"" } else { "rx=\"3\"" };
        rect(out, (from, y), ((to - from).max(3), BAR), colour, more);
        if invocation.cancelled {
            line(out, (to, y - 3), (to, y + BAR + 3), CUT, "stroke-width=\"2\"");
        }
    }

    fn mark(&self, out: &mut String) {
        let Some(at) = self.story.mark else { return };
        let x = self.x(at);
        line(out, (x, TOP - 14), (x, self.bottom()), CUT, "stroke-width=\"2\"");
        text(out, x + 4, self.bottom() - 4, "start", CUT, "font-size=\"11\" font-weight=\"600\"", "parts here");
    }

    /// A sign for each incident, those of one moment beside each other as far as there is room before the next, else one for
    /// them all; what it was stands in its title, and what the signs mean beside the picture's title.
    fn incidents(&self, out: &mut String, lane: u64) {
        self.name(out, lane, "events");
        let mut moments: Vec<(u64, Vec<&Incident>)> = Vec::new();
        for incident in &self.story.incidents {
            let x = self.x(incident.at);
            match moments.last_mut().filter(|(from, _)| x < from + SIGN_STEP) {
                Some((_, moment)) => moment.push(incident),
                None => moments.push((x, vec![incident])),
            }
        }
        let mut is_shared = false;
        let ends = moments.iter().skip(1).map(|(x, _)| *x).chain([WIDTH - RIGHT + SIGN_STEP]).collect::<Vec<_>>();
        for ((x, moment), end) in moments.iter().zip(ends) {
            if x + SIGN_STEP * moment.len() as u64 <= end {
                let places = (*x..).step_by(SIGN_STEP as usize);
                moment.iter().zip(places).for_each(|(one, x)| self.sign(out, lane, x, std::slice::from_ref(one)));
            } else {
                is_shared = true;
                self.sign(out, lane, *x, moment);
            }
        }
        let shown = |kind: &IncidentKind| self.story.incidents.iter().any(|it| it.kind == *kind);
        let signs = IncidentKind::ALL.into_iter().filter(shown).map(|kind| format!("{} {}", kind.sign(), kind.name()));
        let signs = signs.chain(is_shared.then(|| "* several".to_owned()));
        text(out, WIDTH - RIGHT, 30, "end", FAINT, "font-size=\"11\"", &signs.collect::<Vec<_>>().join("   "));
    }

    /// One sign for these incidents.
    fn sign(&self, out: &mut String, lane: u64, x: u64, incidents: &[&Incident]) {
        let middle = self.y(lane) + LANE / 2;
        let worst = incidents.iter().map(|it| it.kind).min();
        let Some(worst) = worst else { return };
        let colour = colour_of_role(worst.role());
        let sign = if incidents.iter().all(|it| it.kind == worst) { worst.sign() } else { '*' };
        let told = incidents.iter().take(MAX_TOLD).map(|it| format!("{}: {}", it.kind.name(), escaped(&it.told())));
        let more = incidents.len().saturating_sub(MAX_TOLD);
        let told = told.chain((more > 0).then(|| format!("and {more} more"))).collect::<Vec<_>>().join("\n");
        let _ = write!(out, "<g><title>{told}</title>");
        let _ = write!(out, "<circle cx=\"{x}\" cy=\"{middle}\" r=\"{SIGN}\" fill=\"{colour}\"/>");
        text(out, x, middle + 4, "middle", "#ffffff", "font-size=\"10\" font-weight=\"600\"", &sign.to_string());
        out.push_str("</g>\n");
    }

    /// What was heard, the holds, the cuts, and what never was heard.
    fn heard(&self, out: &mut String, lane: u64) {
        let (y, tall) = (self.y(lane) + 4, LANE - 8);
        for turn in &self.story.turns {
            if let Some((at, rest)) = cut_of(turn).filter(|(at, _)| *at <= self.to) {
                let (from, to) = (self.x(at), self.x(at + rest));
                if to > from {
                    rect(out, (from, y), (to - from, tall), "url(#unheard)", "rx=\"3\"");
                }
                if to > from + 16 * LETTER {
                    rect(out, ((from + to) / 2 - 6 * LETTER, y + 4), (12 * LETTER, tall - 8), "#ffffff", "rx=\"3\"");
                    text(out, (from + to) / 2, y + tall / 2 + 4, "middle", CUT, "font-size=\"11\"", "never heard");
                }
            }
        }
        for hold in &self.story.holds {
            let (from, to) = (self.x(hold.from), self.x(hold.to.unwrap_or(self.story.until)));
            rect(out, (from, y), ((to - from).max(2), tall), HOLD, "opacity=\"0.35\"");
            line(out, (from, TOP - 6), (from, y + tall), HOLD, "stroke-width=\"1.5\"");
            text(out, from, TOP - 10, "end", HOLD, "font-size=\"11\" font-weight=\"600\"", "hold ");
        }
        self.sound(out, lane, "heard", &self.story.heard, AGENT);
        for turn in &self.story.turns {
            if let Some((at, _)) = cut_of(turn) {
                let x = self.x(at);
                line(out, (x, TOP - 6), (x, self.bottom()), CUT, "stroke-width=\"1.5\" stroke-dasharray=\"4 3\"");
                text(out, x + 3, TOP - 10, "start", CUT, "font-size=\"11\" font-weight=\"600\"", "cut");
            }
        }
    }

    fn turns(&self, out: &mut String, lane: u64) {
        self.name(out, lane, "turns");
        let y = self.y(lane) + (LANE - 20) / 2;
        for turn in &self.story.turns {
            let (from, to) = (self.x(turn.opened), self.x(turn_end(turn, self.story)));
            let (wide, colour) = ((to - from).max(4), if turn.is_cut() { CUT } else { AGENT });
            rect(out, (from, y), (wide, 20), "#ffffff", &format!("rx=\"4\" stroke=\"{colour}\""));
            let words = match &turn.heard {
                Some(heard) if turn.is_cut() => format!("{}: heard \u{201c}{heard}\u{201d}", turn.turn.0),
                _ if turn.unasked => format!("{}: {}", turn.turn.0, turn.answer),
                _ => format!("{}: {}", turn.turn.0, turn.said),
            };
            let room = (wide / LETTER).saturating_sub(1) as usize;
            text(out, from + 5, y + 14, "start", INK, "font-size=\"11\"", &shortened(&words, room));
        }
    }

    fn waits(&self, out: &mut String, top: u64, waits: &[(&Turn, Waits)]) {
        let Some(longest) = waits.iter().map(|(_, waits)| waits.total().0).max() else { return };
        let title = "Where the milliseconds went, from the caller\u{2019}s last word to the first sound of the answer";
        text(out, 24, top + 16, "start", INK, "font-weight=\"600\"", title);
        for (row, (turn, waits)) in waits.iter().enumerate() {
            let y = top + 32 + row as u64 * 40;
            text(out, 24, y + 12, "start", INK, "", &format!("turn {}", turn.turn.0));
            let place = |time: u64| LEFT + time * (WIDTH - LEFT - RIGHT - 70) / longest.max(1);
            let mut until = 0;
            for part in Part::ALL {
                let from = place(until);
                until += waits.part(part).0;
                if place(until) > from {
                    rect(out, (from, y), (place(until) - from, BAR), colour_of(part), "");
                }
            }
            text(out, place(until) + 6, y + 12, "start", INK, "", &format!("{} ms", ms(waits.total())));
            text(out, LEFT, y + 28, "start", FAINT, "font-size=\"11\"", &waits.words());
        }
    }
}

fn colour_of_role(role: Role) -> &'static str {
    match role {
        Role::Caller => CALLER,
        Role::Agent => AGENT,
        Role::Model => MODEL,
        Role::Hold => HOLD,
        Role::Cut => CUT,
        Role::Plain | Role::Strong | Role::Quiet => FAINT,
    }
}

/// What a bar is, for who points at it.
fn described(invocation: &Invocation) -> String {
    let Invocation { node, id, binding, from, .. } = invocation;
    let first = invocation
        .first
        .map_or_else(String::new, |first| format!(", first result after {} ms", ms(first.since(*from))));
    format!("{node}{id}, {binding}: from {from} ms{first}, {}", ending(invocation).1)
}

fn colour_of(part: Part) -> &'static str {
    match part {
        Part::Endpointing => "#adb5bd",
        Part::Recogniser => CALLER,
        Part::Model => MODEL,
        Part::Voice => AGENT,
        Part::Runtime => CUT,
    }
}

fn rect(out: &mut String, (x, y): (u64, u64), (wide, tall): (u64, u64), fill: &str, more: &str) {
    let _ = writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{tall}\" fill=\"{fill}\" {more}/>");
}

fn line(out: &mut String, (x1, y1): (u64, u64), (x2, y2): (u64, u64), stroke: &str, more: &str) {
    let _ = writeln!(out, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{stroke}\" {more}/>");
}

pub(super) fn text(out: &mut String, x: u64, y: u64, anchor: &str, fill: &str, more: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{fill}\" {more}>{words}</text>");
}

fn shortened(words: &str, room: usize) -> String {
    if words.chars().count() <= room {
        return words.to_owned();
    }
    let kept: String = words.chars().take(room.saturating_sub(1)).collect();
    if kept.is_empty() { kept } else { kept + "\u{2026}" }
}

/// What a caller says is anybody's text; what no XML document may have is left out.
pub(crate) fn escaped(words: &str) -> String {
    let mut safe = String::new();
    for letter in words.chars().filter(|letter| !letter.is_control()) {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_not_leave_their_place() {
        assert_eq!(
            escaped("</text><script a=\"b\">&\u{1b}\u{ffff}c"),
            "&lt;/text&gt;&lt;script a=&quot;b&quot;&gt;&amp;c"
        );
        assert_eq!(shortened("where are you", 8), "where a\u{2026}");
        assert_eq!(shortened("where", 0), "");
    }
}
