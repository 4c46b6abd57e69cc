//! Brings audio into another form: to another rate, and to a telephone's scale. The same samples come of the same samples on
//! every machine.
//!
//! A frame of 20 ms in is one out, at once; what is heard is a few milliseconds later, which is what the filter looks ahead.
//! Frames keep their stamp, so that the ledger knows whose words they are.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rspp_sound::{Filters, Law, Rechunker};
use rspp_specs::event::{AudioFrame, Payload};
use rspp_specs::ids::PortIndex;
use rspp_specs::port::{AudioEncoding, AudioFormat};

use crate::node::{Context, Node};

/// Audio in, audio out.
#[derive(Debug)]
pub struct Resample {
    to: AudioFormat,
    /// `None` for a rate that frames of 20 ms can't have: the compiler knows better than to ask for one.
    cutter: Option<Rechunker>,
    filters: Rc<RefCell<Filters>>,
    /// What it keeps is a turn's.
    of_a_turn: bool,
}

impl Resample {
    /// Into this form. Sessions that share `filters` make each of them once.
    ///
    /// ```
    /// use rspp_operators::harness::Harness;
    /// use rspp_operators::resample::Resample;
    /// use rspp_specs::event::{AudioFrame, Payload};
    /// use rspp_specs::port::{AudioEncoding, AudioFormat};
    ///
    /// let to = AudioFormat { encoding: AudioEncoding::Pcm16, rate_hz: 8_000 };
    /// let mut harness = Harness::new(Resample::new(to, Default::default()));
    /// let frame = AudioFrame { samples: vec![500; 320].into(), rate_hz: 16_000, spoken_by: None };
    /// harness.event(Payload::Audio(frame));
    /// assert_eq!(harness.snapshot(), "0 emit p0 audio 160@8000\n");
    /// ```
    pub fn new(to: AudioFormat, filters: Rc<RefCell<Filters>>) -> Self {
        Self { to, cutter: Rechunker::live(to.rate_hz).ok(), filters, of_a_turn: false }
    }

    fn give(&self, cx: &mut Context<'_>, frames: Vec<AudioFrame>) {
        for frame in frames {
            cx.emit(Payload::Audio(self.on_scale(frame)));
        }
    }

    fn on_scale(&self, frame: AudioFrame) -> AudioFrame {
        let law = match self.to.encoding {
            AudioEncoding::Pcm16 => return frame,
            AudioEncoding::Mulaw => Law::Mu,
            AudioEncoding::Alaw => Law::A,
        };
        let mut samples = frame.samples.to_vec();
        law.settle(&mut samples);
        AudioFrame { samples: Arc::from(samples), ..frame }
    }

    fn on_audio(&mut self, cx: &mut Context<'_>, frame: &AudioFrame) {
        self.of_a_turn = cx.scope().capability().is_some();
        let pushed = self.cutter.as_mut().map(|cutter| cutter.push_with(frame, &mut self.filters.borrow_mut()));
        match pushed {
            Some(Ok(frames)) => self.give(cx, frames),
            // The door lets no such frame in; a node from outside the tree may make one.
            Some(Err(error)) => cx.fail(error.to_string()),
            None => cx.fail(format!("no frames of 20 ms at {} Hz", self.to.rate_hz)),
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        let rest = self.cutter.as_mut().map(Rechunker::finish).unwrap_or_default();
        self.give(cx, rest);
    }
}

impl Node for Resample {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Audio(frame) => self.on_audio(cx, &frame),
            Payload::End(_) => {
                self.finish(cx);
                cx.emit(payload);
            }
            Payload::Retract => {
                if let Some(cutter) = &mut self.cutter {
                    cutter.reset();
                }
                cx.emit(payload);
            }
            other => cx.emit(other),
        }
    }

    /// The last milliseconds of a turn's audio are in the filter until its end.
    fn holds(&self) -> bool {
        self.of_a_turn && self.cutter.as_ref().is_some_and(Rechunker::is_owing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, Step, check_properties};
    use rspp_specs::ids::InvocationId;
    use rspp_specs::outcome::Outcome;

    fn to(encoding: AudioEncoding, rate_hz: u32) -> Resample {
        Resample::new(AudioFormat { encoding, rate_hz }, Rc::default())
    }

    /// A frame of a tone.
    fn tone(rate_hz: u32, by: u32) -> Step {
        let wave = (0..rate_hz / 50).map(|n| ((n * 37 % 200) as i16 - 100) * 90);
        Step::event(Payload::Audio(AudioFrame { samples: wave.collect(), rate_hz, spoken_by: Some(InvocationId(by)) }))
    }

    fn end() -> Step {
        Step::event(Payload::End(Outcome::Success))
    }

    fn told(node: Resample, story: &[Step]) -> String {
        Harness::new(node).tell(story).snapshot()
    }

    #[test]
    fn a_frame_in_is_a_frame_out_and_the_rest_comes_before_the_end() {
        let story = [tone(24_000, 1), tone(24_000, 1), end()];
        let expect =
            "0 emit p0 audio 320@16000\n0 emit p0 audio 320@16000\n0 emit p0 audio 32@16000\n0 emit p0 end success\n";
        assert_eq!(told(to(AudioEncoding::Pcm16, 16_000), &story), expect);
    }

    #[test]
    fn audio_that_has_the_form_passes_unchanged() {
        let mut harness = Harness::new(to(AudioEncoding::Pcm16, 16_000));
        let Step::Event(_, frame) = tone(16_000, 3) else { unreachable!("a tone is an event") };
        harness.event(frame.clone());
        assert_eq!(harness.emitted(), [frame]);
    }

    #[test]
    fn sentences_keep_their_stamps() {
        let mut harness = Harness::new(to(AudioEncoding::Pcm16, 8_000));
        harness.tell(&[tone(16_000, 1), tone(16_000, 2), end()]);
        let stamps = harness.emitted().into_iter().filter_map(|payload| match payload {
            Payload::Audio(frame) => Some((frame.spoken_by.map(|by| by.0), frame.samples.len())),
            _ => None,
        });
        // What the filter still had of the first is the first's.
        let stamps: Vec<_> = stamps.collect();
        assert_eq!(stamps, [(Some(1), 160), (Some(1), 32), (Some(2), 160), (Some(2), 32)]);
    }

    #[test]
    fn a_telephones_scale_loses_nothing_on_its_wire() {
        let mut harness = Harness::new(to(AudioEncoding::Mulaw, 8_000));
        harness.tell(&[tone(16_000, 1), end()]);
        for payload in harness.emitted() {
            if let Payload::Audio(frame) = payload {
                let mut again = frame.samples.to_vec();
                Law::Mu.settle(&mut again);
                assert_eq!(again, *frame.samples);
            }
        }
    }

    #[test]
    fn what_is_taken_back_is_not_heard_before_the_next() {
        let mut harness = Harness::new(to(AudioEncoding::Pcm16, 8_000));
        let quiet = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
        harness.tell(&[tone(16_000, 1), Step::event(Payload::Retract)]);
        assert!(!harness.holds());
        harness.emitted();
        harness.event(Payload::Audio(quiet));
        assert_eq!(
            harness.emitted(),
            [Payload::Audio(AudioFrame { samples: vec![0; 160].into(), rate_hz: 8_000, spoken_by: None })]
        );
    }

    #[test]
    fn it_keeps_to_what_every_node_keeps_to() {
        let story = [tone(24_000, 1), tone(24_000, 1), tone(22_050, 2), end()];
        check_properties(|| to(AudioEncoding::Alaw, 16_000), &story).unwrap();
    }
}
