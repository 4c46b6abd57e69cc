//! Recognises utterances: one invocation for each, from the onset with its pre-roll to the endpoint.
//!
//! It lives as long as the session, and cancelling a turn never touches it: the words that interrupted an
//! answer are part of the utterance that opens the next turn.

use std::collections::VecDeque;

use rspp_specs::event::{
    AudioFrame, Payload, ProviderResult, Request, SpeechEvent, SpeechMilestone, Transcript, Understanding,
};
use rspp_specs::ids::{CallRef, PortIndex, UtteranceId};
use rspp_specs::limits::{MAX_OPEN_UTTERANCES, MAX_PREROLL_MS};
use rspp_specs::time::Micros;

use crate::node::{Context, Node};

/// Input: the caller's audio.
pub const AUDIO: PortIndex = PortIndex(0);
/// Input: milestones of the caller's speech.
pub const SPEECH: PortIndex = PortIndex(1);

/// Audio and milestones in, transcripts out.
#[derive(Debug)]
pub struct Stt {
    max_preroll: Micros,
    preroll: VecDeque<AudioFrame>,
    /// How long it is.
    preroll_time: Micros,
    media: Micros,
    /// The call that is being fed.
    feeding: Option<CallRef>,
    calls: VecDeque<Call>,
    /// Where transcripts that may still change go, apart.
    partials: Option<PortIndex>,
    /// Where those go that may not.
    finals: Option<PortIndex>,
}

#[derive(Debug)]
struct Call {
    call: CallRef,
    utterance: UtteranceId,
    fed_until: Micros,
    /// A final came; how far it reached.
    closed_until: Option<Micros>,
}

impl Stt {
    /// Keeps so much audio from before an onset.
    pub fn new(preroll: Micros) -> Self {
        let max_preroll = preroll.min(Micros::from_ms(MAX_PREROLL_MS));
        let (preroll, calls) = (VecDeque::new(), VecDeque::new());
        let (preroll_time, media) = (Micros(0), Micros(0));
        Self { max_preroll, preroll, preroll_time, media, feeding: None, calls, partials: None, finals: None }
    }

    /// Gives what may still change, and what may not, on outputs of their own as well.
    pub fn telling_apart(self, partials: Option<PortIndex>, finals: Option<PortIndex>) -> Self {
        Self { partials, finals, ..self }
    }

    fn tell(&self, cx: &mut Context<'_>, transcript: Transcript) {
        if let Some(apart) = if transcript.is_final() { self.finals } else { self.partials } {
            cx.emit_on(apart, Payload::Transcript(transcript.clone()));
        }
        cx.emit(Payload::Transcript(transcript));
    }

    fn on_audio(&mut self, cx: &mut Context<'_>, frame: AudioFrame) {
        let duration = frame.duration();
        self.media = self.media + duration;
        if let Some(call) = self.feeding {
            self.note_fed(call);
            cx.feed(call, frame);
            return;
        }
        self.preroll.push_back(frame);
        self.preroll_time = self.preroll_time + duration;
        while self.preroll_time > self.max_preroll
            && let Some(oldest) = self.preroll.pop_front()
        {
            self.preroll_time = self.preroll_time.since(oldest.duration());
        }
    }

    fn on_speech(&mut self, cx: &mut Context<'_>, event: SpeechEvent) {
        match event.milestone {
            SpeechMilestone::Onset { .. } if self.feeding.is_none() => {
                let preroll: Vec<AudioFrame> = self.preroll.drain(..).collect();
                let length = std::mem::take(&mut self.preroll_time);
                let call = cx.invoke(Request::Transcribe { media_start: self.media - length, preroll });
                if self.calls.len() == MAX_OPEN_UTTERANCES {
                    self.calls.pop_front();
                    cx.dropped(1, "stt: too many utterances wait for their transcript");
                }
                let utterance = event.utterance;
                self.calls.push_back(Call { call, utterance, fed_until: self.media, closed_until: None });
                self.feeding = Some(call);
            }
            SpeechMilestone::Endpoint { .. } => {
                if let Some(call) = self.feeding.take() {
                    cx.feed_end(call);
                }
            }
            _ => {}
        }
    }

    fn note_fed(&mut self, fed: CallRef) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.call == fed) {
            call.fed_until = self.media;
        }
    }
}

impl Node for Stt {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match (port, payload) {
            (AUDIO, Payload::Audio(frame)) => self.on_audio(cx, frame),
            (SPEECH, Payload::Speech(event)) => self.on_speech(cx, event),
            _ => {}
        }
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        let Some(place) = self.calls.iter().position(|known| known.call == call) else { return };
        let known = &mut self.calls[place];
        match result {
            ProviderResult::Transcript(transcript) => {
                if transcript.is_final() {
                    known.closed_until = known.closed_until.max(Some(transcript.watermark));
                }
                let utterance = known.utterance;
                self.tell(cx, Transcript { utterance, ..transcript });
            }
            ProviderResult::End(_) => {
                // A recogniser that ends without a final has not understood: the caller is owed an answer. One whose
                // last final did not reach the end has nothing more to say, and what it said stands.
                if known.closed_until.is_none_or(|until| until < known.fed_until) {
                    let (utterance, watermark) = (known.utterance, known.fed_until);
                    let understanding = known.closed_until.map_or(Understanding::Rejected, |_| Understanding::Empty);
                    self.tell(cx, Transcript { utterance, understanding, text: "".into(), watermark });
                }
                if self.feeding == Some(call) {
                    self.feeding = None;
                }
                self.calls.remove(place);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, Step};
    use rspp_specs::outcome::Outcome;

    #[test]
    fn partials_and_finals_are_told_apart_where_somebody_listens() {
        let word = |understanding, text: &str| {
            let transcript =
                Transcript { utterance: UtteranceId(7), understanding, text: text.into(), watermark: Micros(0) };
            Step::Result(CallRef(1), ProviderResult::Transcript(transcript))
        };
        let onset = SpeechMilestone::Onset { media_start: Micros(0) };
        let story = [
            Step::Event(SPEECH, Payload::Speech(SpeechEvent { utterance: UtteranceId(1), milestone: onset })),
            word(Understanding::Partial, "what"),
            word(Understanding::Words, "what time"),
            Step::Result(CallRef(1), ProviderResult::End(Outcome::Success)),
        ];
        let stt = Stt::new(Micros(0)).telling_apart(Some(PortIndex(1)), Some(PortIndex(2)));
        let told = Harness::new(stt).tell(&story).snapshot();
        let (partial, last) = ("transcript Partial \"what\"", "transcript Words \"what time\"");
        let expect = format!(
            "0 ask invoke c1 transcribe\n0 emit p0 {partial}\n0 emit p1 {partial}\n0 emit p0 {last}\n0 emit p2 {last}\n"
        );
        assert_eq!(told, expect);
    }
}
