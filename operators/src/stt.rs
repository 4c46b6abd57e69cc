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
        Self { max_preroll, preroll, preroll_time: Micros(0), media: Micros(0), feeding: None, calls }
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
                cx.emit(Payload::Transcript(Transcript { utterance, ..transcript }));
            }
            ProviderResult::End(_) => {
                // A recogniser that ends without a final has not understood: the caller is owed an answer. One whose
                // last final did not reach the end has nothing more to say, and what it said stands.
                if known.closed_until.is_none_or(|until| until < known.fed_until) {
                    let (utterance, watermark) = (known.utterance, known.fed_until);
                    let understanding = known.closed_until.map_or(Understanding::Rejected, |_| Understanding::Empty);
                    cx.emit(Payload::Transcript(Transcript { utterance, understanding, text: "".into(), watermark }));
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
