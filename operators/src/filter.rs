//! Keeps sentences with certain words from being spoken: compliance between a model and a voice.
//!
//! It judges what comes in one piece, so it stands behind a segmenter, whose pieces are sentences.

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;
use rspp_specs::plan::FilterParams;

use crate::node::{Context, Node};

/// Text in, text out.
#[derive(Debug)]
pub struct Filter {
    /// In lower case, each a sequence of words.
    deny: Vec<Vec<String>>,
    instead: Option<String>,
}

impl Filter {
    /// By these parameters.
    pub fn new(params: &FilterParams) -> Self {
        let deny = params.deny.iter().map(|phrase| words(phrase)).filter(|words| !words.is_empty()).collect();
        let instead = Some(params.instead.clone()).filter(|instead| !instead.trim().is_empty());
        Self { deny, instead }
    }

    fn denies(&self, text: &str) -> bool {
        let said = words(text);
        self.deny.iter().any(|phrase| said.windows(phrase.len()).any(|part| part == phrase.as_slice()))
    }
}

/// Without case and punctuation, so that neither hides a word.
fn words(text: &str) -> Vec<String> {
    let word = |word: &str| word.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(word).collect()
}

impl Node for Filter {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match &payload {
            Payload::Text(text) if self.denies(text) => {
                if let Some(instead) = &self.instead {
                    cx.emit(Payload::text(instead.as_str()));
                }
            }
            _ => cx.emit(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    fn check(text: &str, instead: &str, expect: &[&str]) {
        let deny = vec!["guaranteed returns".to_owned(), "Darn".to_owned(), " ".to_owned()];
        let mut harness = Harness::new(Filter::new(&FilterParams { deny, instead: instead.to_owned() }));
        harness.event(Payload::text(text));
        let expect: Vec<Payload> = expect.iter().map(|text| Payload::text(*text)).collect();
        assert_eq!(harness.emitted(), expect, "{text}");
    }

    #[test]
    fn a_sentence_with_a_denied_phrase_is_replaced_or_left_out() {
        check("We open at noon.", "I can't say.", &["We open at noon."]);
        check("You get GUARANTEED, returns!", "I can't say.", &["I can't say."]);
        check("Returns are guaranteed.", "I can't say.", &["Returns are guaranteed."]);
        check("That darned dog.", "", &["That darned dog."]);
        check("Darn it.", "", &[]);
    }
}
