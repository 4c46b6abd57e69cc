//! Several recognisers hear one caller; what most of them heard goes on (`F-005`).
//!
//! The n-th final of an utterance from each input is one vote. Words win over speech that was not understood, and that
//! over silence; among words, those that most have; then the input that was wired first. What an input owes when too
//! many utterances wait is not waited for any longer.

use std::collections::VecDeque;

use rspp_specs::event::{Payload, Transcript, Understanding};
use rspp_specs::ids::PortIndex;
use rspp_specs::limits::MAX_OPEN_UTTERANCES;

use crate::node::{Context, Node};

/// Transcripts in, the elected ones out. Partials are those of the first input.
#[derive(Debug)]
pub struct Vote {
    inputs: usize,
    ended: usize,
    /// Votes that are not complete, the oldest first.
    open: VecDeque<Vec<Option<Transcript>>>,
}

impl Vote {
    /// Of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Self { inputs, ended: 0, open: VecDeque::new() }
    }

    fn count(&mut self, cx: &mut Context<'_>, port: usize, transcript: Transcript) {
        let same =
            |votes: &Vec<Option<Transcript>>| votes.iter().flatten().all(|vote| vote.utterance == transcript.utterance);
        let place = self.open.iter().position(|votes| same(votes) && votes.get(port).is_some_and(Option::is_none));
        let place = place.unwrap_or_else(|| {
            self.open.push_back(vec![None; self.inputs]);
            self.open.len() - 1
        });
        if let Some(vote) = self.open[place].get_mut(port) {
            *vote = Some(transcript);
        }
        if self.open[place].iter().all(Option::is_some) {
            let votes = self.open.remove(place).unwrap_or_default();
            elect(cx, &votes);
        } else if self.open.len() > MAX_OPEN_UTTERANCES {
            cx.dropped(1, "vote: a recogniser did not answer, and the others are not kept waiting");
            let votes = self.open.pop_front().unwrap_or_default();
            elect(cx, &votes);
        }
    }
}

fn elect(cx: &mut Context<'_>, votes: &[Option<Transcript>]) {
    let rank = |transcript: &Transcript| match transcript.understanding {
        Understanding::Words => 2,
        Understanding::Rejected => 1,
        Understanding::Empty | Understanding::Partial => 0,
    };
    let plain = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let given: Vec<&Transcript> = votes.iter().flatten().collect();
    let supporters = |one: &Transcript| given.iter().filter(|other| plain(&other.text) == plain(&one.text)).count();
    let score = |(place, vote): &(usize, &&Transcript)| (rank(vote), supporters(vote), usize::MAX - place);
    if let Some((_, elected)) = given.iter().enumerate().max_by_key(score) {
        // The utterance is complete when any of them has heard it to its end.
        let watermark = given.iter().map(|vote| vote.watermark).max().unwrap_or(elected.watermark);
        cx.emit(Payload::Transcript(Transcript { watermark, ..(*elected).clone() }));
    }
}

impl Node for Vote {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match payload {
            Payload::Transcript(transcript) if transcript.is_final() => self.count(cx, usize::from(port.0), transcript),
            Payload::Transcript(transcript) if port.0 == 0 => cx.emit(Payload::Transcript(transcript)),
            Payload::End(outcome) => {
                self.ended += 1;
                if self.ended >= self.inputs {
                    self.ended = 0;
                    cx.emit(Payload::End(outcome));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::ids::UtteranceId;
    use rspp_specs::time::Micros;

    fn heard(utterance: u64, text: &str, watermark_ms: u64) -> Payload {
        let understanding = match text {
            "" => Understanding::Empty,
            "?" => Understanding::Rejected,
            _ => Understanding::Words,
        };
        let text = if text == "?" { "" } else { text };
        let utterance = UtteranceId(utterance.try_into().expect("a small number"));
        Payload::Transcript(Transcript {
            utterance,
            understanding,
            text: text.into(),
            watermark: Micros::from_ms(watermark_ms),
        })
    }

    fn check(votes: &[(u8, &str)], expect: &str) {
        let mut harness = Harness::new(Vote::new(3));
        for (port, text) in votes {
            harness.event_on(PortIndex(*port), heard(1, text, u64::from(*port)));
        }
        assert_eq!(harness.emitted(), [heard(1, expect, 2)], "{votes:?}");
    }

    #[test]
    fn most_votes_win_then_the_first_input() {
        check(&[(0, "four"), (1, "For  you"), (2, "for you")], "For  you");
        check(&[(2, "c"), (1, "b"), (0, "a")], "a");
        check(&[(0, "?"), (1, ""), (2, "word")], "word");
        check(&[(0, ""), (1, "?"), (2, "")], "?");
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let mut harness = Harness::new(Vote::new(2));
        for utterance in 1..=5 {
            harness.event_on(PortIndex(1), heard(utterance, "late", 7));
        }
        assert_eq!(harness.emitted(), [heard(1, "late", 7)]);
    }
}
