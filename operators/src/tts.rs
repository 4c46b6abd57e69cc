//! Speaks: an invocation for each speakable chunk, a few at a time, their audio in the order of the text.

use std::collections::VecDeque;
use std::sync::Arc;

use rspp_specs::event::{AudioFrame, Payload, ProviderResult, Request};
use rspp_specs::ids::{CallRef, PortIndex};
use rspp_specs::outcome::Outcome;

use crate::node::{Context, Node};

/// Invocations in flight: one that plays, and one ahead so that no gap opens between sentences.
const MAX_IN_FLIGHT: usize = 2;
/// Sentences of one answer that may wait.
const MAX_WAITING_SENTENCES: usize = 256;

/// Text in, audio out.
#[derive(Debug, Default)]
pub struct Tts {
    waiting: VecDeque<Arc<str>>,
    speaking: VecDeque<Speech>,
    text_ended: bool,
}

#[derive(Debug)]
struct Speech {
    call: CallRef,
    early: Vec<AudioFrame>,
    ended: bool,
}

impl Tts {
    fn speak_next(&mut self, cx: &mut Context<'_>) {
        while self.speaking.len() < MAX_IN_FLIGHT
            && let Some(text) = self.waiting.pop_front()
        {
            let call = cx.invoke(Request::Speak { text });
            self.speaking.push_back(Speech { call, early: Vec::new(), ended: false });
        }
    }

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
        self.speak_next(cx);
        if self.text_ended && self.speaking.is_empty() {
            self.text_ended = false;
            cx.emit(Payload::End(Outcome::Success));
        }
    }
}

impl Node for Tts {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Text(_) if self.waiting.len() == MAX_WAITING_SENTENCES => {
                cx.dropped(1, "tts: too many sentences wait");
            }
            Payload::Text(text) => {
                self.waiting.push_back(text);
                self.speak_next(cx);
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
            ProviderResult::Audio(frame) => self.speaking[place].early.push(frame),
            ProviderResult::End(_) => {
                self.speaking[place].ended = true;
                self.advance(cx);
            }
            _ => {}
        }
    }

    fn holds(&self) -> bool {
        !self.waiting.is_empty() || self.speaking.iter().any(|speech| !speech.early.is_empty())
    }
}
