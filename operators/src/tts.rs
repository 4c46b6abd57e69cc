//! Speaks: an invocation for each speakable chunk, a few at a time, their audio in the order of the text.

use std::collections::VecDeque;

use rspp_specs::event::{AudioFrame, Payload, ProviderResult, Request};
use rspp_specs::ids::{CallRef, PortIndex};
use rspp_specs::limits::{FRAME_MS, MAX_PLAYOUT_MS};
use rspp_specs::outcome::Outcome;

use crate::node::{Context, Node};

/// Invocations in flight: one that plays, and one ahead so that no gap opens between sentences.
const MAX_IN_FLIGHT: usize = 2;
/// Audio of a sentence that is spoken before its turn has come, in frames of the usual length.
const MAX_EARLY_FRAMES: usize = (MAX_PLAYOUT_MS / FRAME_MS) as usize;

/// Text in, audio out.
#[derive(Debug, Default)]
pub struct Tts {
    speaking: VecDeque<Speech>,
    text_ended: bool,
    /// How a sentence ended that was not spoken.
    failed: Option<Outcome>,
}

#[derive(Debug)]
struct Speech {
    call: CallRef,
    early: Vec<AudioFrame>,
    ended: bool,
}

impl Tts {
    /// Lets the front speech pass, and those behind it that have ended already.
    fn advance(&mut self, cx: &mut Context<'_>) {
        while let Some(front) = self.speaking.front_mut() {
            for frame in front.early.drain(..) {
                cx.emit(Payload::Audio(frame));
            }
            if !front.ended {
                break;
            }
            self.speaking.pop_front();
        }
        if self.text_ended && self.speaking.is_empty() {
            self.text_ended = false;
            cx.emit(Payload::End(self.failed.take().unwrap_or(Outcome::Success)));
        }
    }
}

impl Node for Tts {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Text(text) => {
                let call = cx.invoke(Request::Speak { text });
                self.speaking.push_back(Speech { call, early: Vec::new(), ended: false });
            }
            Payload::End(_) => {
                self.text_ended = true;
                self.advance(cx);
            }
            _ => {}
        }
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        let Some(place) = self.speaking.iter().position(|speech| speech.call == call) else { return };
        match result {
            ProviderResult::Audio(frame) if place == 0 => cx.emit(Payload::Audio(frame)),
            ProviderResult::Audio(_) if self.speaking[place].early.len() == MAX_EARLY_FRAMES => {
                cx.dropped(1, "tts: a sentence is spoken too far ahead");
            }
            ProviderResult::Audio(frame) => self.speaking[place].early.push(frame),
            ProviderResult::End(outcome) => {
                if outcome != Outcome::Success {
                    self.failed.get_or_insert(outcome);
                }
                self.speaking[place].ended = true;
                self.advance(cx);
            }
            _ => {}
        }
    }

    /// One sentence that plays, and one ahead.
    fn accepts(&self, _port: PortIndex) -> bool {
        self.speaking.len() < MAX_IN_FLIGHT
    }

    fn holds(&self) -> bool {
        self.keeps() > 0
    }

    fn keeps(&self) -> usize {
        self.speaking.iter().map(|speech| speech.early.len()).sum()
    }
}
