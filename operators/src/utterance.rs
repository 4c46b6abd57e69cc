//! Joins the end of an utterance with its transcript, and proposes a turn.
//!
//! The join fires when a final's watermark has reached the endpoint's media time: the transcript is complete up
//! to there, so nothing of the utterance can come late and open a second turn. On the way it tells the
//! arbiter what could be an interruption.

use std::collections::VecDeque;

use rspp_specs::event::{Payload, SpeechEvent, SpeechMilestone, Transcript, Understanding};
use rspp_specs::ids::{PortIndex, UtteranceId};
use rspp_specs::limits::{MAX_OPEN_UTTERANCES, MAX_TEXT_BYTES};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Observation, TurnProposal};

use crate::node::{Context, Node};

/// Input: milestones of the caller's speech.
pub const SPEECH: PortIndex = PortIndex(0);
/// Input: transcripts.
pub const TRANSCRIPTS: PortIndex = PortIndex(1);

/// Milestones and transcripts in; proposals to the arbiter out.
#[derive(Debug)]
pub struct Utterance {
    min_rejected_speech: Micros,
    latest: UtteranceId,
    open: VecDeque<Open>,
}

/// An utterance that has not been proposed, or dismissed, yet.
#[derive(Debug)]
struct Open {
    utterance: UtteranceId,
    endpoint: Option<(Micros, Micros)>,
    words: String,
    rejected: bool,
    /// Complete up to here, by a final.
    watermark: Option<Micros>,
}

impl Utterance {
    /// Unintelligible speech of at least `min_rejected_speech` opens a turn all the same.
    pub fn new(min_rejected_speech: Micros) -> Self {
        Self { min_rejected_speech, latest: UtteranceId(0), open: VecDeque::new() }
    }

    fn find(&mut self, cx: &mut Context<'_>, utterance: UtteranceId) -> &mut Open {
        if let Some(place) = self.open.iter().position(|open| open.utterance == utterance) {
            return &mut self.open[place];
        }
        if self.open.len() == MAX_OPEN_UTTERANCES {
            self.open.pop_front();
            cx.dropped(1, "utterance: too many wait for their transcript");
        }
        self.open.push_back(Open { utterance, endpoint: None, words: String::new(), rejected: false, watermark: None });
        self.open.back_mut().expect("one was pushed just now")
    }

    fn on_speech(&mut self, cx: &mut Context<'_>, event: SpeechEvent) {
        let known = event.utterance <= self.latest;
        self.latest = self.latest.max(event.utterance);
        let open = self.find(cx, event.utterance);
        match event.milestone {
            SpeechMilestone::Onset { .. } => cx.observe(Observation::Onset { new_utterance: !known }),
            SpeechMilestone::Sustained => cx.observe(Observation::Sustained),
            SpeechMilestone::Pause => cx.observe(Observation::Pause),
            SpeechMilestone::Endpoint { media_end, speech } => {
                open.endpoint = Some((media_end, speech));
                self.fire(cx, event.utterance);
            }
        }
    }

    fn on_transcript(&mut self, cx: &mut Context<'_>, transcript: &Transcript) {
        // Late words of an earlier utterance say nothing of the one that may interrupt.
        if transcript.has_words() && transcript.utterance >= self.latest {
            cx.observe(Observation::Words);
        }
        if !transcript.is_final() {
            return;
        }
        let open = self.find(cx, transcript.utterance);
        open.watermark = open.watermark.max(Some(transcript.watermark));
        open.rejected |= transcript.understanding == Understanding::Rejected;
        if transcript.has_words() && open.words.len() + transcript.text.len() < MAX_TEXT_BYTES {
            if !open.words.is_empty() {
                open.words.push(' ');
            }
            open.words.push_str(transcript.text.trim());
        }
        self.fire(cx, transcript.utterance);
    }

    fn fire(&mut self, cx: &mut Context<'_>, utterance: UtteranceId) {
        let Some(place) = self.open.iter().position(|open| open.utterance == utterance) else { return };
        let Some((media_end, speech)) = self.open[place].endpoint else { return };
        if self.open[place].watermark.is_none_or(|watermark| watermark < media_end) {
            return;
        }
        let Some(Open { words, rejected, .. }) = self.open.remove(place) else { return };
        let understood = !words.is_empty();
        if understood || (rejected && speech >= self.min_rejected_speech) {
            cx.propose_turn(TurnProposal { text: words.into(), understood, speech_end: Some(media_end) });
        }
    }
}

impl Node for Utterance {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match (port, payload) {
            (SPEECH, Payload::Speech(event)) => self.on_speech(cx, event),
            (TRANSCRIPTS, Payload::Transcript(transcript)) => self.on_transcript(cx, &transcript),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::dataflow::AskKind;

    fn endpoint(media_end_ms: u64, speech_ms: u64) -> Payload {
        let (media_end, speech) = (Micros::from_ms(media_end_ms), Micros::from_ms(speech_ms));
        Payload::Speech(SpeechEvent {
            utterance: UtteranceId(1),
            milestone: SpeechMilestone::Endpoint { media_end, speech },
        })
    }

    fn transcript(understanding: Understanding, text: &str, watermark_ms: u64) -> Payload {
        let watermark = Micros::from_ms(watermark_ms);
        Payload::Transcript(Transcript { utterance: UtteranceId(1), understanding, text: text.into(), watermark })
    }

    fn check(events: Vec<(PortIndex, Payload)>, expect: Option<(&str, bool)>) {
        let mut harness = Harness::new(Utterance::new(Micros::from_ms(400)));
        for (port, payload) in events {
            harness.event_on(port, payload);
        }
        let proposed: Vec<(String, bool)> = harness
            .asked()
            .into_iter()
            .filter_map(|ask| match ask {
                AskKind::Propose(proposal) => Some((proposal.text.to_string(), proposal.understood)),
                _ => None,
            })
            .collect();
        let expect: Vec<(String, bool)> = expect.into_iter().map(|(text, yes)| (text.to_owned(), yes)).collect();
        assert_eq!(proposed, expect);
    }

    #[test]
    fn the_join_waits_for_endpoint_and_watermark_in_either_order() {
        let words = |watermark| (TRANSCRIPTS, transcript(Understanding::Words, "book a table", watermark));
        let end = || (SPEECH, endpoint(1_000, 900));
        check(vec![end()], None);
        check(vec![words(1_480)], None);
        check(vec![end(), words(1_480)], Some(("book a table", true)));
        check(vec![words(1_480), end()], Some(("book a table", true)));
        check(vec![end(), words(980)], None);
        check(
            vec![end(), words(980), (TRANSCRIPTS, transcript(Understanding::Words, "for four", 1_480))],
            Some(("book a table for four", true)),
        );
    }

    #[test]
    fn speech_that_nobody_understood_opens_a_turn_if_there_was_enough() {
        let rejected = || (TRANSCRIPTS, transcript(Understanding::Rejected, "", 1_480));
        check(vec![(SPEECH, endpoint(1_000, 400)), rejected()], Some(("", false)));
        check(vec![(SPEECH, endpoint(1_000, 380)), rejected()], None);
        check(vec![(SPEECH, endpoint(1_000, 900)), (TRANSCRIPTS, transcript(Understanding::Empty, "", 1_480))], None);
    }
}
