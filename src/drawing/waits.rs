//! Where the milliseconds went: from the caller's last word to the first sound of the answer, by who was waited for.

use rspp_specs::time::Micros;

use super::story::Story;
use super::text::{Canvas, Role, Text};

/// Who was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Until it was certain that the caller had finished.
    Endpointing,
    /// For the words.
    Recogniser,
    /// For so much of the answer that it can be spoken; tools that it called among it.
    Model,
    /// For the first sound.
    Voice,
    /// What is left: RSPP itself.
    Runtime,
}

impl Part {
    /// All, in the order in which they are waited for.
    pub const ALL: [Part; 5] = [Part::Endpointing, Part::Recogniser, Part::Model, Part::Voice, Part::Runtime];

    /// The word in the picture.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Endpointing => "endpointing",
            Part::Recogniser => "recogniser",
            Part::Model => "model",
            Part::Voice => "voice",
            Part::Runtime => "runtime",
        }
    }

    pub(super) const fn role(self) -> Role {
        match self {
            Part::Endpointing => Role::Quiet,
            Part::Recogniser => Role::Caller,
            Part::Model => Role::Model,
            Part::Voice => Role::Agent,
            Part::Runtime => Role::Cut,
        }
    }
}

/// How long a caller waited, and for whom; the parts add up to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// When the waiting began.
    pub from: Micros,
    /// When the first sound passed egress.
    pub to: Micros,
    parts: [Micros; 5],
}

impl Waits {
    /// The whole of it.
    pub fn total(&self) -> Micros {
        self.to.since(self.from)
    }

    /// How long one was waited for.
    pub fn part(&self, part: Part) -> Micros {
        self.parts[part as usize]
    }

    /// `1020 ms: endpointing 480, recogniser 40, model 420, voice 80, runtime 0`, without the whole.
    pub fn words(&self) -> String {
        let shown = Part::ALL.into_iter().filter(|part| *part == Part::Runtime || self.part(*part).0 > 0);
        let parts: Vec<String> = shown.map(|part| format!("{} {}", part.name(), ms(self.part(part)))).collect();
        parts.join(", ")
    }
}

/// Whole milliseconds, but tenths below ten: a runtime's share is small.
pub(super) fn ms(time: Micros) -> String {
    let tenths = (time.0 + 50) / 100;
    if tenths < 100 && !tenths.is_multiple_of(10) {
        return format!("{}.{}", tenths / 10, tenths % 10);
    }
    ((time.0 + 500) / 1_000).to_string()
}

/// When what was waited for came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) asked: Option<Micros>,
    pub(super) endpoint: Option<Micros>,
    pub(super) transcribed: Option<Micros>,
    pub(super) model: Option<Micros>,
    pub(super) voice: Option<Micros>,
    pub(super) first_audio: Option<Micros>,
}

impl Marks {
    pub(super) fn waits(&self, opened: Micros, to: Micros) -> Waits {
        let from = self.asked.unwrap_or(opened);
        let between = |from: Option<Micros>, to: Option<Micros>| match (from, to) {
            (Some(from), Some(to)) => to.since(from),
            _ => Micros(0),
        };
        let mut parts = [
            between(Some(from), self.endpoint),
            between(self.endpoint, self.transcribed),
            between(self.model, self.voice.or(self.first_audio)),
            between(self.voice, self.first_audio),
            Micros(0),
        ];
        let others = parts.iter().fold(Micros(0), |sum, part| sum + *part);
        parts[Part::Runtime as usize] = to.since(from).since(others);
        Waits { from, to, parts }
    }
}

/// A bar for each turn that was answered, all of one scale; what each part took stands below it.
pub fn waits(story: &Story, canvas: Canvas) -> Vec<Text> {
    let answered: Vec<_> = story.turns.iter().filter_map(|turn| Some((turn.turn, turn.waits?))).collect();
    let longest = answered.iter().map(|(_, waits)| waits.total().0).max().unwrap_or(0).max(1);
    if answered.is_empty() {
        return Vec::new();
    }
    let glyphs = canvas.charset.glyphs();
    let title = "from the caller's last word to the first sound of the answer";
    let title = Text::new(Role::Strong, "Where the milliseconds went, ").and(Role::Plain, title);
    let mut lines = title.wrapped(canvas.columns, 0);
    for (turn, waits) in answered {
        let head = format!("turn {:<2} {:>5} ms ", turn.0, ms(waits.total()));
        let room = canvas.columns.saturating_sub(head.chars().count()).max(10);
        let mut line = Text::new(Role::Plain, head.clone());
        let place = |time: u64| (time * room as u64 / longest) as usize;
        let mut until = 0;
        for part in Part::ALL {
            let from = place(until);
            until += waits.part(part).0;
            let glyph = glyphs.fills[part as usize];
            line = line.and(part.role(), glyph.to_string().repeat(place(until) - from));
        }
        lines.push(line);
        let indent = head.chars().count();
        lines.extend(Text::new(Role::Quiet, " ".repeat(indent) + &waits.words()).wrapped(canvas.columns, indent));
    }
    let mut legend = Text::default();
    for part in Part::ALL {
        let gap = if part == Part::ALL[0] { "" } else { "  " };
        let glyph = glyphs.fills[part as usize].to_string();
        legend = legend.and(Role::Plain, gap).and(part.role(), glyph).and(Role::Quiet, format!(" {}", part.name()));
    }
    lines.extend(legend.wrapped(canvas.columns, 0));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_and_the_rest_is_the_runtimes() {
        let at = |ms| Some(Micros::from_ms(ms));
        let marks = Marks {
            asked: at(1_000),
            endpoint: at(1_480),
            transcribed: at(1_520),
            model: at(1_521),
            voice: at(1_600),
            first_audio: at(1_700),
        };
        let waits = marks.waits(Micros::from_ms(1_521), Micros::from_ms(1_702));
        let sum = Part::ALL.iter().fold(Micros(0), |sum, part| sum + waits.part(*part));
        assert_eq!(sum, waits.total());
        assert_eq!(waits.words(), "endpointing 480, recogniser 40, model 79, voice 100, runtime 3");
    }

    #[test]
    fn small_times_keep_a_tenth() {
        let shown: Vec<String> = [0, 240, 3_000, 9_960, 12_345].iter().map(|us| ms(Micros(*us))).collect();
        assert_eq!(shown, ["0", "0.2", "3", "10", "12"]);
    }
}
