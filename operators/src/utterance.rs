//! Joins the end of an utterance with its transcript, and proposes a turn.
//!
//! The join fires when a final's watermark has reached the endpoint's media time: the transcript is complete up
//! to there, so nothing of the utterance can come late and open a second turn. What comes all the same is dropped, and
//! said to be. Turns are proposed in the order in which the utterances were spoken, so a transcript that is late holds
//! back those of later utterances. On the way it tells the arbiter what could be an interruption.

use std::collections::VecDeque;

use rspp_specs::event::{Payload, SpeechEvent, SpeechMilestone, Transcript, Understanding};
use rspp_specs::ids::{PortIndex, UtteranceId};
use rspp_specs::limits::{MAX_OPEN_UTTERANCES, MAX_TEXT_BYTES};
use rspp_specs::plan::UtteranceParams;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Observation, TurnProposal};

use crate::backchannel::{Backchannels, Heard};
use crate::node::{Context, Node};

/// Input: milestones of the caller's speech.
pub const SPEECH: PortIndex = PortIndex(0);
/// Input: transcripts.
pub const TRANSCRIPTS: PortIndex = PortIndex(1);

/// Milestones and transcripts in; proposals to the arbiter out.
#[derive(Debug)]
pub struct Utterance {
    params: UtteranceParams,
    backchannels: Backchannels,
    latest: UtteranceId,
    /// The last one that was proposed, or dismissed. Transcripts of it, or of an earlier one, come too late.
    settled: UtteranceId,
    settled_at: Micros,
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
    /// With these parameters.
    pub fn new(params: UtteranceParams) -> Self {
        Self {
            backchannels: Backchannels::new(&params),
            params,
            latest: UtteranceId(0),
            settled: UtteranceId(0),
            settled_at: Micros(0),
            open: VecDeque::new(),
        }
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
                self.fire(cx);
            }
        }
    }

    fn on_transcript(&mut self, cx: &mut Context<'_>, transcript: &Transcript) {
        // An utterance that has had its turn can't interrupt the answer to itself.
        if transcript.utterance <= self.settled {
            return self.on_late(cx, transcript);
        }
        // Late words of an earlier utterance say nothing of the one that may interrupt.
        if transcript.has_words() && transcript.utterance >= self.latest {
            cx.observe(match self.backchannels.judge(&transcript.text, transcript.is_final()) {
                Heard::Words => Observation::Words,
                Heard::Backchannel => Observation::Backchannel,
            });
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
        self.fire(cx);
    }

    /// Words of an utterance that has had its turn: a turn of their own, if they are allowed to and not too late.
    fn on_late(&self, cx: &mut Context<'_>, transcript: &Transcript) {
        if !transcript.is_final() || !transcript.has_words() {
            return;
        }
        if self.params.late_words.0 == 0 || cx.now() > self.settled_at + self.params.late_words {
            return cx.dropped(1, "utterance: words came after the final that was complete");
        }
        cx.propose_turn(self.proposal(transcript.text.trim(), true, None));
    }

    fn proposal(&self, text: &str, understood: bool, speech_end: Option<Micros>) -> TurnProposal {
        let backchannel = understood && self.backchannels.judge(text, true) == Heard::Backchannel;
        TurnProposal { understood, speech_end, backchannel, ..TurnProposal::typed(text.into()) }
    }

    /// Proposes what is complete, as long as nothing that was spoken before it is not.
    fn fire(&mut self, cx: &mut Context<'_>) {
        while let Some(speech_end) = self.open.front().and_then(Open::complete_until)
            && let Some(Open { utterance, words, rejected, .. }) = self.open.pop_front()
        {
            self.settled = self.settled.max(utterance);
            self.settled_at = cx.now();
            let (media_end, speech) = speech_end;
            let understood = !words.is_empty();
            if understood || (rejected && speech >= self.params.min_rejected_speech) {
                cx.propose_turn(self.proposal(&words, understood, Some(media_end)));
            }
        }
    }
}

impl Open {
    /// The end of the speech and its length, once its transcript reaches to there.
    fn complete_until(&self) -> Option<(Micros, Micros)> {
        let watermark = self.watermark?;
        self.endpoint.filter(|(media_end, _)| *media_end <= watermark)
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
        let mut harness = Harness::new(Utterance::new(UtteranceParams::default()));
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

    fn proposed(harness: &mut Harness<Utterance>) -> Vec<String> {
        let proposals = harness.asked().into_iter().filter_map(|ask| match ask {
            AskKind::Propose(proposal) => Some(proposal.text.to_string()),
            _ => None,
        });
        proposals.collect()
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

    fn of(utterance: u32, payload: Payload) -> Payload {
        let utterance = UtteranceId(utterance);
        match payload {
            Payload::Speech(event) => Payload::Speech(SpeechEvent { utterance, ..event }),
            Payload::Transcript(transcript) => Payload::Transcript(Transcript { utterance, ..transcript }),
            other => other,
        }
    }

    #[test]
    fn turns_come_in_the_order_of_speech() {
        let mut harness = Harness::new(Utterance::new(UtteranceParams::default()));
        harness.event_on(SPEECH, endpoint(1_000, 900));
        harness.event_on(SPEECH, of(2, endpoint(2_000, 900)));
        harness.event_on(TRANSCRIPTS, of(2, transcript(Understanding::Words, "no, two tables", 2_480)));
        assert_eq!(proposed(&mut harness), Vec::<String>::new());
        harness.event_on(TRANSCRIPTS, transcript(Understanding::Words, "book a table", 1_480));
        assert_eq!(proposed(&mut harness), ["book a table", "no, two tables"]);
    }

    #[test]
    fn words_behind_the_complete_final_are_dropped_and_no_interruption() {
        let mut harness = Harness::new(Utterance::new(UtteranceParams::default()));
        harness.event_on(SPEECH, endpoint(1_000, 900));
        harness.event_on(TRANSCRIPTS, transcript(Understanding::Words, "book a table", 1_480));
        assert_eq!(proposed(&mut harness), ["book a table"]);
        harness.event_on(TRANSCRIPTS, transcript(Understanding::Partial, "for", 1_480));
        harness.event_on(TRANSCRIPTS, transcript(Understanding::Words, "for four", 1_480));
        let asked = harness.asked();
        assert!(matches!(asked[..], [AskKind::Dropped { items: 1, .. }]), "{asked:?}");
    }

    #[test]
    fn speech_that_nobody_understood_opens_a_turn_if_there_was_enough() {
        let rejected = || (TRANSCRIPTS, transcript(Understanding::Rejected, "", 1_480));
        check(vec![(SPEECH, endpoint(1_000, 400)), rejected()], Some(("", false)));
        check(vec![(SPEECH, endpoint(1_000, 380)), rejected()], None);
        check(vec![(SPEECH, endpoint(1_000, 900)), (TRANSCRIPTS, transcript(Understanding::Empty, "", 1_480))], None);
    }
}
