//! Cuts a streamed answer into sentences that can be spoken.
//!
//! A sentence ends at `.`, `!`, `?`, `;`, `:` or a line break. A full stop behind a digit or an initial waits for
//! what follows, so that "3.50" and "p.m." stay whole; the end of the stream, or too many characters, flushes.

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;
use rspp_specs::limits::MAX_SPEAKABLE_CHARS;

use crate::node::{Context, Node};

/// Text in, speakable chunks out.
#[derive(Debug, Default)]
pub struct Segmenter {
    text: String,
}

impl Segmenter {
    /// The length in bytes of the first sentence of what waits, if it is certain that it ends.
    fn sentence_end(&self) -> Option<usize> {
        let mut before = None;
        let mut word_letters = 0;
        let mut chars = self.text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let ends = match c {
                '!' | '?' | ';' | '\n' => true,
                '.' | ':' => match next {
                    Some(next) => next.is_whitespace() && !(c == '.' && word_letters == 1),
                    None => word_letters > 1 && before.is_some_and(char::is_alphabetic),
                },
                _ => false,
            };
            if ends {
                return Some(at + c.len_utf8());
            }
            word_letters = if c.is_alphabetic() { word_letters + 1 } else { 0 };
            before = Some(c);
        }
        let too_long = self.text.char_indices().nth(MAX_SPEAKABLE_CHARS)?.0;
        Some(self.text[..too_long].rfind(char::is_whitespace).map_or(too_long, |space| space + 1))
    }

    fn speak(&self, cx: &mut Context<'_>, sentence: &str) {
        let sentence = sentence.trim();
        if sentence.chars().any(char::is_alphanumeric) {
            cx.emit(Payload::text(sentence));
        }
    }
}

impl Node for Segmenter {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Text(text) => {
                self.text.push_str(&text);
                while let Some(end) = self.sentence_end() {
                    let rest = self.text.split_off(end);
                    let sentence = std::mem::replace(&mut self.text, rest);
                    self.speak(cx, &sentence);
                }
                if self.text.trim().is_empty() {
                    self.text.clear();
                }
            }
            Payload::End(outcome) => {
                let rest = std::mem::take(&mut self.text);
                self.speak(cx, &rest);
                cx.emit(Payload::End(outcome));
            }
            _ => {}
        }
    }

    fn holds(&self) -> bool {
        !self.text.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    fn check(chunks: &[&str], expect: &[&str]) {
        let mut harness = Harness::new(Segmenter::default());
        for chunk in chunks {
            harness.event(Payload::text(*chunk));
        }
        harness.event(Payload::End(rspp_specs::outcome::Outcome::Success));
        let spoken: Vec<String> = harness
            .emitted()
            .into_iter()
            .filter_map(|payload| match payload {
                Payload::Text(text) => Some(text.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(spoken, expect, "{chunks:?}");
    }

    #[test]
    fn sentences_leave_as_soon_as_they_are_certain() {
        check(&["We open ", "at noon."], &["We open at noon."]);
        check(&["Yes. We", " do! Come", " by?"], &["Yes.", "We do!", "Come by?"]);
        check(&["It is $3", ".", "50 each."], &["It is $3.50 each."]);
        check(&["Until 10 p.", "m. on", " Sunday"], &["Until 10 p.m. on Sunday"]);
        check(&["no end"], &["no end"]);
        check(&[" ", "...", " "], &[]);
    }

    #[test]
    fn a_sentence_that_never_ends_is_spoken_in_pieces() {
        let endless = "word ".repeat(200);
        let mut harness = Harness::new(Segmenter::default());
        harness.event(Payload::text(endless));
        let pieces = harness.emitted();
        assert_eq!(pieces.len(), 2);
        for piece in pieces {
            let Payload::Text(text) = piece else { panic!("only text comes out") };
            assert!(text.chars().count() <= MAX_SPEAKABLE_CHARS && text.ends_with("word"));
        }
    }

    #[test]
    fn it_holds_the_turn_while_a_sentence_is_open() {
        let mut harness = Harness::new(Segmenter::default());
        harness.event(Payload::text("We open "));
        assert!(harness.holds());
        harness.event(Payload::text("at noon."));
        assert!(!harness.holds());
    }
}
