//! Cuts a streamed answer into sentences that can be spoken.
//!
//! A sentence ends at `.`, `!`, `?`, `;`, `:` or a line break. A full stop behind a digit or an initial waits for
//! what follows, so that "3.50" and "p.m." stay whole; the end of the stream, or too many characters, flushes. So does
//! time: of an answer that dribbles, the caller hears the words that have come.

use rspp_specs::dataflow::{Directive, Less};
use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;
use rspp_specs::limits::MAX_SPEAKABLE_CHARS;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::SegmenterParams;
use rspp_specs::time::Micros;

use crate::node::{Context, Node};

/// Text in, speakable chunks out.
#[derive(Debug, Default)]
pub struct Segmenter {
    max_wait: Micros,
    text: String,
    /// Since when the first of the text has waited.
    since: Option<Micros>,
    /// How many more sentences may be said, once the answer has to be shorter.
    left: Option<u32>,
}

impl Segmenter {
    /// With these parameters.
    pub fn new(params: &SegmenterParams) -> Self {
        Self { max_wait: params.max_wait, ..Self::default() }
    }

    /// Words that have waited for too long are spoken as they are, when others come behind them: a stream that has
    /// stalled is not this node's business, and what nobody has heard of it may still be taken back.
    fn speak_overdue(&mut self, cx: &mut Context<'_>, spoken: bool) {
        let since = self.since.filter(|_| !spoken).unwrap_or(cx.now());
        let overdue = cx.now().since(since) >= self.max_wait && self.max_wait.0 > 0;
        let words = self.text.trim_end().rfind(char::is_whitespace).map_or(0, |space| space + 1);
        if overdue && words > 0 {
            let rest = self.text.split_off(words);
            let spoken = std::mem::replace(&mut self.text, rest);
            self.speak(cx, &spoken);
        }
        if self.text.trim().is_empty() {
            self.text.clear();
        }
        self.since = (!self.text.is_empty()).then_some(if overdue { cx.now() } else { since });
    }

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

    fn speak(&mut self, cx: &mut Context<'_>, sentence: &str) {
        let sentence = sentence.trim();
        if !sentence.chars().any(char::is_alphanumeric) {
            return;
        }
        match &mut self.left {
            Some(0) => return cx.dropped(1, SHORTENED),
            Some(left) => *left -= 1,
            None => {}
        }
        cx.emit(Payload::text(sentence));
        self.end_if_enough(cx);
    }

    /// A shorter answer ends with its last sentence, whatever the model has still to say.
    fn end_if_enough(&mut self, cx: &mut Context<'_>) {
        if self.left == Some(0) {
            cx.emit(Payload::End(Outcome::Success));
            cx.enough();
        }
    }

    fn shorten(&mut self, cx: &mut Context<'_>, sentences: u32) {
        if self.left != Some(0) {
            self.left = Some(self.left.map_or(sentences, |left| left.min(sentences)));
            self.end_if_enough(cx);
        }
        if self.left == Some(0) {
            self.forget(cx);
        }
    }

    fn forget(&mut self, cx: &mut Context<'_>) {
        if !std::mem::take(&mut self.text).trim().is_empty() {
            cx.dropped(1, SHORTENED);
        }
        self.since = None;
    }
}

/// The rule by which sentences are dropped that a shorter answer has no room for.
const SHORTENED: &str = "shortened";

impl Node for Segmenter {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            // A shorter answer is over.
            Payload::Text(_) | Payload::Retract | Payload::End(_) if self.left == Some(0) => {}
            Payload::Text(text) => {
                let mut spoken = false;
                self.text.push_str(&text);
                while let Some(end) = self.sentence_end() {
                    let rest = self.text.split_off(end);
                    let sentence = std::mem::replace(&mut self.text, rest);
                    self.speak(cx, &sentence);
                    spoken = true;
                }
                if self.left != Some(0) {
                    self.speak_overdue(cx, spoken);
                }
                // What was spoken may have been the last that there is room for.
                if self.left == Some(0) {
                    self.forget(cx);
                }
            }
            Payload::Retract => {
                self.text.clear();
                self.since = None;
                cx.emit(Payload::Retract);
            }
            Payload::End(outcome) => {
                let rest = std::mem::take(&mut self.text);
                // Half a sentence of an answer that broke off is not begun: another branch may have a whole one.
                if matches!(outcome, Outcome::Success | Outcome::Cancelled) {
                    self.speak(cx, &rest);
                } else if !rest.is_empty() {
                    cx.dropped(1, "segmenter: the answer broke off in the middle of a sentence");
                }
                // With its last sentence a shorter answer has ended already.
                if self.left != Some(0) {
                    cx.emit(Payload::End(outcome));
                }
            }
            _ => {}
        }
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        if let Directive::Degrade(_, Less::Shorten(sentences)) = directive {
            self.shorten(cx, *sentences);
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
        harness.event(Payload::End(Outcome::Success));
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
    fn words_that_have_waited_too_long_are_spoken_when_others_come() {
        let mut harness = Harness::new(Segmenter::new(&SegmenterParams::default()));
        harness.at_ms(100).event(Payload::text("well "));
        harness.at_ms(2_000).event(Payload::text("on sun"));
        assert!(harness.emitted().is_empty());
        harness.at_ms(3_200).event(Payload::text("days we"));
        assert_eq!(harness.emitted(), [Payload::text("well on sundays")]);
        harness.at_ms(3_300).event(Payload::text(" open. But"));
        assert_eq!(harness.emitted(), [Payload::text("we open.")]);
        harness.at_ms(6_200).event(Payload::text(" then "));
        assert!(harness.emitted().is_empty(), "the second sentence has waited since 3300 only");
    }

    #[test]
    fn what_is_taken_back_is_not_spoken() {
        let mut harness = Harness::new(Segmenter::default());
        harness.event(Payload::text("We are"));
        harness.event(Payload::Retract);
        assert!(!harness.holds());
        harness.event(Payload::text("From noon."));
        assert_eq!(harness.emitted(), [Payload::Retract, Payload::text("From noon.")]);
    }

    #[test]
    fn a_shorter_answer_ends_with_its_last_sentence() {
        use rspp_specs::dataflow::AskKind;
        use rspp_specs::ids::NodeIndex;

        let shorten = |sentences| Directive::Degrade(NodeIndex(0), Less::Shorten(sentences));
        let end = Payload::End(Outcome::Success);
        let mut harness = Harness::new(Segmenter::default());
        harness.event(Payload::text("One. Two. And so"));
        harness.directive(&shorten(1));
        assert_eq!(harness.emitted(), [Payload::text("One."), Payload::text("Two.")]);
        harness.event(Payload::text(" three. Four. Five"));
        assert_eq!(harness.emitted(), [Payload::text("And so three."), end.clone()]);
        assert!(!harness.holds());
        let asked = harness.asked();
        assert!(matches!(asked[0], AskKind::Enough), "{asked:?}");
        harness.event(Payload::text(" six. ")).event(end.clone());
        assert!(harness.emitted().is_empty(), "nothing comes behind its end");
        let mut harness = Harness::new(Segmenter::default());
        harness.event(Payload::text("One. Two"));
        harness.directive(&shorten(0)).directive(&shorten(3));
        assert_eq!(harness.emitted(), [Payload::text("One."), end]);
        assert!(!harness.holds(), "a step is not taken back");
        let mut harness = Harness::new(Segmenter::new(&SegmenterParams::default()));
        harness.at_ms(100).event(Payload::text("well "));
        harness.directive(&shorten(1)).at_ms(3_200).event(Payload::text("on sundays we"));
        assert_eq!(harness.emitted(), [Payload::text("well on sundays"), Payload::End(Outcome::Success)]);
        assert!(!harness.holds(), "nor what was left behind words that had waited for too long");
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
