//! Standard output as a place to draw on: its width, its characters, whether it shows colours, and whether a line can
//! be written over.

use std::io::{IsTerminal, Write};

use anstream::AutoStream;

use crate::drawing::{Canvas, Charset, LiveLine, Text};

/// Columns of a file, and of a terminal that does not say.
const COLUMNS: usize = 80;
/// Pictures are no narrower and no wider.
const MIN_COLUMNS: usize = 40;
const MAX_COLUMNS: usize = 160;

/// Standard output. Colours go by `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and `TERM`, and are left out of files.
pub struct Screen {
    out: AutoStream<std::io::Stdout>,
    canvas: Canvas,
    rewrites: bool,
    /// Characters of the line that is to be written over.
    passing: usize,
}

impl Screen {
    /// Of this process.
    pub fn stdout() -> Self {
        let stdout = std::io::stdout();
        let is_terminal = stdout.is_terminal();
        let rewrites = is_terminal && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        let width = if is_terminal { terminal_size::terminal_size() } else { None };
        let columns = width.map_or(COLUMNS, |(width, _)| usize::from(width.0));
        let canvas = Canvas {
            columns: columns.clamp(MIN_COLUMNS, MAX_COLUMNS),
            charset: charset(|name| std::env::var(name).ok()),
        };
        Self { out: AutoStream::auto(stdout), canvas, rewrites, passing: 0 }
    }

    /// What pictures are drawn for.
    pub fn canvas(&self) -> Canvas {
        self.canvas
    }

    /// A line of a running call.
    pub fn live(&mut self, line: &LiveLine) {
        if !line.passing {
            self.lines(&line.text.wrapped(self.canvas.columns, LiveLine::INDENT));
        } else if self.rewrites {
            // The last column stays free: a terminal may go on to the next line there.
            let text = line.text.shortened(self.canvas.columns - 1);
            self.rub_out();
            self.passing = text.plain().chars().count();
            self.write(&text.to_string());
        }
    }

    /// Whole lines.
    pub fn lines(&mut self, lines: &[Text]) {
        self.rub_out();
        for line in lines {
            self.write(&format!("{line}\n"));
        }
    }

    fn rub_out(&mut self) {
        if self.passing > 0 {
            let blank = " ".repeat(std::mem::take(&mut self.passing));
            self.write(&format!("\r{blank}\r"));
        }
    }

    /// A reader that has gone, as `head` does, is no reason to end a call.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// By the locale: the first of the three variables that says anything.
fn charset(of: impl Fn(&str) -> Option<String>) -> Charset {
    let said = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| of(name).filter(|value| !value.is_empty()));
    let said = said.unwrap_or_default().to_ascii_lowercase();
    if said.contains("utf-8") || said.contains("utf8") { Charset::Unicode } else { Charset::Ascii }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_which_characters_there_are() {
        let charset = |variables: &[(&str, &str)]| {
            charset(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(charset(&[]), Charset::Ascii);
        assert_eq!(charset(&[("LANG", "C")]), Charset::Ascii);
        assert_eq!(charset(&[("LANG", "de_DE.UTF-8")]), Charset::Unicode);
        assert_eq!(charset(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8"), ("LANG", "C")]), Charset::Unicode);
        assert_eq!(charset(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]), Charset::Ascii);
    }
}
