//! Joins streams by media time: an item goes on once every stream is complete up to it (`F-005`).
//!
//! Frontiers order ticks and say nothing of media time, so each stream's watermark is carried in its data: a transcript's, a
//! milestone's, the audio so far, or the number `watermark_ms` of an event's attributes or of a custom payload. What comes
//! without one belongs to the time that its stream has reached.

use std::collections::BTreeMap;

use rspp_specs::event::{Payload, SpeechMilestone};
use rspp_specs::ids::PortIndex;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::fan_in::retract;
use crate::node::{Context, Node};

/// Items that may wait for a stream that is behind.
const MAX_WAITING_ITEMS: usize = 256;

/// Many in, one out, in the order of media time and then of the inputs.
#[derive(Debug)]
pub struct TimedJoin {
    streams: Vec<Stream>,
    waiting: BTreeMap<(Micros, u16, u64), Payload>,
    came: u64,
    ended: bool,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    /// Complete up to here; `None` before anything has come.
    watermark: Option<Micros>,
    ended: bool,
}

impl TimedJoin {
    /// Of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Self { streams: vec![Stream::default(); inputs], waiting: BTreeMap::new(), came: 0, ended: false }
    }

    /// Up to where all streams are complete; `None` if one of them has not begun.
    fn complete_until(&self) -> Option<Micros> {
        let until = |stream: &Stream| if stream.ended { Some(Micros(u64::MAX)) } else { stream.watermark };
        self.streams.iter().map(until).min().flatten()
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        let Some(until) = self.complete_until() else { return };
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= until) {
            cx.emit(first.remove());
        }
        if !self.ended && self.streams.iter().all(|stream| stream.ended) {
            self.ended = true;
            cx.emit(Payload::End(Outcome::Success));
        }
    }
}

/// The media time that an item brings its stream to.
fn watermark(cx: &Context<'_>, payload: &Payload, so_far: Micros) -> Micros {
    let ms = |ms: u64| Micros(ms.saturating_mul(1_000));
    let of_payload = match payload {
        Payload::Transcript(transcript) => Some(transcript.watermark),
        Payload::Speech(event) => match event.milestone {
            SpeechMilestone::Onset { media_start } => Some(media_start),
            SpeechMilestone::Endpoint { media_end, .. } => Some(media_end),
            SpeechMilestone::Sustained | SpeechMilestone::Pause => None,
        },
        Payload::Audio(frame) => Some(Micros(so_far.0.saturating_add(frame.duration().0))),
        Payload::Custom(value) => value.get("watermark_ms").and_then(|at| at.as_u64()).map(ms),
        Payload::Text(_)
        | Payload::ToolCall(_)
        | Payload::Control(_)
        | Payload::Talk(_)
        | Payload::Retract
        | Payload::End(_) => None,
    };
    let of_attributes = || cx.attributes().and_then(|attributes| attributes.get("watermark_ms")?.as_u64()).map(ms);
    of_payload.or_else(of_attributes).unwrap_or(so_far).max(so_far)
}

impl Node for TimedJoin {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        let Some(stream) = self.streams.get_mut(usize::from(port.0)) else { return };
        if let Payload::Retract = payload {
            return retract(cx, self.streams.len());
        }
        if let Payload::End(_) = payload {
            stream.ended = true;
        } else {
            let at = watermark(cx, &payload, stream.watermark.unwrap_or_default());
            stream.watermark = Some(at);
            if self.waiting.len() == MAX_WAITING_ITEMS {
                cx.dropped(1, "join: a stream ran ahead of the others");
            } else {
                self.came += 1;
                self.waiting.insert((at, u16::from(port.0), self.came), payload);
            }
        }
        self.advance(cx);
    }

    fn holds(&self) -> bool {
        self.keeps() > 0
    }

    fn keeps(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::event::{Transcript, Understanding};
    use rspp_specs::ids::UtteranceId;

    fn at(ms: u64) -> Payload {
        let (utterance, understanding, text) = (UtteranceId(1), Understanding::Words, "a".into());
        Payload::Transcript(Transcript { utterance, understanding, text, watermark: Micros::from_ms(ms) })
    }

    #[test]
    fn the_least_watermark_decides() {
        let mut harness = Harness::new(TimedJoin::new(2));
        let (a, b) = (PortIndex(0), PortIndex(1));
        harness.event_on(a, at(10)).event_on(a, at(30));
        assert!(harness.emitted().is_empty() && harness.holds());
        harness.event_on(b, at(20));
        assert_eq!(harness.emitted(), [at(10), at(20)]);
        harness.event_on(b, at(30));
        assert_eq!(harness.emitted(), [at(30), at(30)]);
        harness.event_on(a, at(90)).event_on(b, Payload::End(Outcome::Success));
        assert_eq!(harness.emitted(), [at(90)]);
        harness.event_on(a, Payload::End(Outcome::Success));
        assert_eq!(harness.emitted(), [Payload::End(Outcome::Success)]);
    }

    #[test]
    fn what_a_stream_takes_back_is_no_item() {
        let mut harness = Harness::new(TimedJoin::new(2));
        harness.event_on(PortIndex(0), Payload::Retract);
        assert!(!harness.holds());
        assert_eq!(harness.asked().len(), 1, "that it was not passed on is said");
    }
}
