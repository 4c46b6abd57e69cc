//! Lines of text whose pieces have a role; a terminal that shows colours gives each role its own.

use std::fmt;

use anstyle::{AnsiColor, Style};

/// What a piece of a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing in particular.
    Plain,
    /// What guides the eye.
    Strong,
    /// What is there for who looks closely.
    Quiet,
    /// The caller.
    Caller,
    /// The agent, and what was heard of it.
    Agent,
    /// The model.
    Model,
    /// On hold: nothing is decided.
    Hold,
    /// Cut, failed, never heard.
    Cut,
}

impl Role {
    fn style(self) -> Style {
        let style = Style::new();
        match self {
            Role::Plain => style,
            Role::Strong => style.bold(),
            Role::Quiet => style.dimmed(),
            Role::Caller => AnsiColor::Cyan.on_default(),
            Role::Agent => AnsiColor::Green.on_default(),
            Role::Model => AnsiColor::Magenta.on_default(),
            Role::Hold => AnsiColor::Yellow.on_default(),
            Role::Cut => AnsiColor::Red.on_default(),
        }
    }
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    pieces: Vec<(Role, String)>,
}

impl Text {
    /// A line of one piece.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { pieces: Vec::new() }.and(role, text)
    }

    /// The same line with a piece more.
    #[must_use]
    pub fn and(mut self, role: Role, text: impl Into<String>) -> Self {
        let text = text.into();
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some((last, piece)) if *last == role => piece.push_str(&text),
            _ => self.pieces.push((role, text)),
        }
        self
    }

    /// Its pieces, each with its role.
    pub fn pieces(&self) -> impl Iterator<Item = (Role, &str)> {
        self.pieces.iter().map(|(role, text)| (*role, text.as_str()))
    }

    /// The words without their roles.
    pub fn plain(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The same line on as many lines as it needs, those after the first indented. Breaks at spaces only.
    pub fn wrapped(&self, columns: usize, indent: usize) -> Vec<Text> {
        let mut lines = Vec::new();
        let (mut line, mut used, mut gap) = (Text::default(), 0, 0);
        for (role, text) in &self.pieces {
            for piece in text.split_inclusive(' ') {
                let word = piece.trim_end_matches(' ');
                let length = word.chars().count();
                if used + gap + length > columns && used > indent {
                    lines.push(std::mem::take(&mut line));
                    line = Text::new(Role::Plain, " ".repeat(indent));
                    (used, gap) = (indent, 0);
                }
                if !word.is_empty() {
                    line = line.and(*role, " ".repeat(gap) + word);
                    used += gap + length;
                    gap = 0;
                }
                gap += piece.len() - word.len();
            }
        }
        lines.push(line);
        lines
    }

    /// The beginning of the line, for a place that has no second one.
    #[must_use]
    pub fn shortened(&self, columns: usize) -> Text {
        let mut left = columns;
        let mut short = Text::default();
        for (role, text) in &self.pieces {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            short = short.and(*role, piece);
        }
        short
    }
}

/// With the colours of a terminal; a stream that shows none leaves them out.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|(role, text)| {
            let style = role.style();
            write!(f, "{style}{text}{style:#}")
        })
    }
}

/// What there is to draw on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// Its width.
    pub columns: usize,
    /// Its characters.
    pub charset: Charset,
}

/// Which characters can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// All.
    Unicode,
    /// The 95 that every terminal has.
    Ascii,
}

/// What the pictures are made of.
pub(super) struct Glyphs {
    /// From silence to the loudest.
    pub(super) levels: [char; 9],
    pub(super) work: char,
    pub(super) cancelled: char,
    pub(super) hold: char,
    pub(super) cut: char,
    pub(super) unheard: char,
    pub(super) line: char,
    pub(super) opens: char,
    pub(super) closes: char,
    pub(super) tick: char,
    /// One for each part of a wait.
    pub(super) fills: [char; 5],
}

impl Charset {
    pub(super) fn glyphs(self) -> Glyphs {
        match self {
            Charset::Unicode => Glyphs {
                levels: [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
                work: '━',
                cancelled: '╍',
                hold: '▒',
                cut: '✕',
                unheard: '░',
                line: '─',
                opens: '├',
                closes: '┤',
                tick: '┴',
                fills: ['░', '▒', '▓', '█', '▪'],
            },
            Charset::Ascii => Glyphs {
                levels: [' ', '.', ':', '-', '=', '+', '*', '#', '@'],
                work: '=',
                cancelled: '~',
                hold: '?',
                cut: 'X',
                unheard: '/',
                line: '-',
                opens: '[',
                closes: ']',
                tick: '+',
                fills: ['.', ':', '+', '#', '!'],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_under_its_beginning() {
        let text = Text::new(Role::Caller, "0.10 caller  ").and(Role::Plain, "where are you now");
        let lines: Vec<String> = text.wrapped(24, 13).iter().map(Text::plain).collect();
        assert_eq!(lines, ["0.10 caller  where are", "             you now"]);
        assert_eq!(text.shortened(9).plain(), "0.10 call");
    }

    #[test]
    fn colours_are_around_the_pieces_that_have_one() {
        let text = Text::new(Role::Plain, "a ").and(Role::Cut, "b");
        assert_eq!(text.to_string(), "a \u{1b}[31mb\u{1b}[0m");
        assert_eq!(text.plain(), "a b");
    }
}
