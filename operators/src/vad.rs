//! Finds speech in the caller's audio, and its end (`F-017`).
//!
//! An onset is so many frames in a row that are surely speech. From then on an utterance runs: quiet frames add
//! up to a pause, then to the endpoint; after a pause, a new onset says that the caller goes on. The
//! detector is pure arithmetic, so a replay on another machine hears the same. A button says it better than any
//! detector: while it is down all is speech, and when it goes up the utterance is over.

use std::collections::VecDeque;

use rspp_specs::event::{AudioFrame, Payload, SpeechEvent, SpeechMilestone, Talk};
use rspp_specs::ids::{PortIndex, UtteranceId};
use rspp_specs::plan::{Detector, VadParams};
use rspp_specs::time::Micros;

use crate::node::{Context, Node};

/// Audio in, milestones out.
pub struct Vad {
    params: VadParams,
    judge: Judge,
    media: Micros,
    utterance: UtteranceId,
    /// Surely-speech frames in a row, as long as there is no onset.
    candidate: VecDeque<Micros>,
    speech: Speech,
    /// The button is down.
    pressed: bool,
}

/// Where the caller is.
#[derive(Debug, PartialEq)]
enum Speech {
    Silent,
    Speaking(Utterance),
    Paused(Utterance),
}

#[derive(Clone, Debug, PartialEq)]
struct Utterance {
    media_end: Micros,
    speech: Micros,
    quiet: Micros,
    sustained: bool,
}

impl Vad {
    /// With these thresholds.
    pub fn new(params: VadParams) -> Self {
        let judge = Judge::new(params.detector);
        Self {
            params,
            judge,
            media: Micros(0),
            utterance: UtteranceId(0),
            candidate: VecDeque::new(),
            speech: Speech::Silent,
            pressed: false,
        }
    }

    fn on_frame(&mut self, cx: &mut Context<'_>, frame: &AudioFrame) {
        let start = self.media;
        let duration = frame.duration();
        self.media = start + duration;
        let heard = self.judge.probability(frame);
        let probability = if self.pressed { 1.0 } else { heard };
        let onset = self.is_onset(probability, start);
        match std::mem::replace(&mut self.speech, Speech::Silent) {
            Speech::Silent => {
                if onset {
                    self.begin(cx, duration);
                }
            }
            Speech::Speaking(utterance) => self.go_on(cx, utterance, probability, duration, false),
            Speech::Paused(utterance) => {
                if onset {
                    let media_start = self.candidate.front().copied().unwrap_or(start);
                    self.say(cx, SpeechMilestone::Onset { media_start });
                }
                self.go_on(cx, utterance, probability, duration, !onset);
            }
        }
        if !matches!(self.speech, Speech::Speaking(_)) {
            return;
        }
        self.candidate.clear();
    }

    /// Somebody who knows says where speech begins or ends.
    fn on_talk(&mut self, cx: &mut Context<'_>, talk: Talk) {
        match talk {
            Talk::Press => {
                self.pressed = true;
                self.candidate.clear();
                match std::mem::replace(&mut self.speech, Speech::Silent) {
                    Speech::Silent => self.begin(cx, Micros(0)),
                    Speech::Speaking(utterance) => self.speech = Speech::Speaking(utterance),
                    Speech::Paused(utterance) => {
                        self.say(cx, SpeechMilestone::Onset { media_start: self.media });
                        self.speech = Speech::Speaking(utterance);
                    }
                }
            }
            Talk::Release | Talk::EndOfUtterance => {
                self.pressed = false;
                self.candidate.clear();
                match std::mem::replace(&mut self.speech, Speech::Silent) {
                    Speech::Silent => {}
                    Speech::Speaking(utterance) => {
                        self.say(cx, SpeechMilestone::Pause);
                        self.end(cx, &utterance);
                    }
                    Speech::Paused(utterance) => self.end(cx, &utterance),
                }
            }
        }
    }

    fn end(&mut self, cx: &mut Context<'_>, utterance: &Utterance) {
        let Utterance { media_end, speech, .. } = *utterance;
        self.say(cx, SpeechMilestone::Endpoint { media_end, speech });
        self.candidate.clear();
    }

    /// Counts surely-speech frames in a row.
    fn is_onset(&mut self, probability: f32, start: Micros) -> bool {
        if probability < self.params.onset_probability {
            self.candidate.clear();
            return false;
        }
        self.candidate.push_back(start);
        self.candidate.len() >= self.params.onset_frames.max(1) as usize
    }

    fn begin(&mut self, cx: &mut Context<'_>, duration: Micros) {
        self.utterance.0 += 1;
        let speech = Micros(duration.0 * self.candidate.len() as u64);
        let media_start = self.candidate.front().copied().unwrap_or(self.media);
        self.say(cx, SpeechMilestone::Onset { media_start });
        let utterance = Utterance { media_end: self.media, speech, quiet: Micros(0), sustained: false };
        self.speech = Speech::Speaking(self.note_sustained(cx, utterance));
    }

    fn go_on(
        &mut self,
        cx: &mut Context<'_>,
        mut utterance: Utterance,
        probability: f32,
        duration: Micros,
        paused: bool,
    ) {
        if probability >= self.params.release_probability {
            utterance.speech = utterance.speech + duration;
            utterance.media_end = self.media;
            utterance.quiet = Micros(0);
            utterance = self.note_sustained(cx, utterance);
        } else {
            utterance.quiet = utterance.quiet + duration;
        }
        if utterance.quiet >= self.params.hangover {
            return self.end(cx, &utterance);
        }
        let pauses = !paused && utterance.quiet >= self.params.pause;
        if pauses {
            self.say(cx, SpeechMilestone::Pause);
        }
        self.speech = if paused || pauses { Speech::Paused(utterance) } else { Speech::Speaking(utterance) };
    }

    fn note_sustained(&self, cx: &mut Context<'_>, mut utterance: Utterance) -> Utterance {
        if !utterance.sustained && utterance.speech >= self.params.sustained {
            utterance.sustained = true;
            self.say(cx, SpeechMilestone::Sustained);
        }
        utterance
    }

    fn say(&self, cx: &mut Context<'_>, milestone: SpeechMilestone) {
        cx.emit(Payload::Speech(SpeechEvent { utterance: self.utterance, milestone }));
    }
}

impl Node for Vad {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Audio(frame) => self.on_frame(cx, &frame),
            Payload::Talk(talk) => self.on_talk(cx, talk),
            _ => {}
        }
    }
}

/// What judges a frame.
enum Judge {
    Earshot { detector: Box<earshot::Detector>, window: Vec<i16>, last: f32 },
    Energy,
    Nobody,
}

/// Samples that earshot judges at a time: 16 ms at 16 kHz.
const EARSHOT_WINDOW: usize = 256;
/// Root mean square from which on a frame is loud: about -40 dB of full scale.
const LOUD_RMS: i64 = 300;

impl Judge {
    fn new(detector: Detector) -> Self {
        match detector {
            Detector::Earshot => {
                Judge::Earshot { detector: earshot::Detector::default_boxed(), window: Vec::new(), last: 0.0 }
            }
            Detector::Energy => Judge::Energy,
            Detector::PushToTalk => Judge::Nobody,
        }
    }

    /// The highest probability of the windows that end in this frame.
    fn probability(&mut self, frame: &AudioFrame) -> f32 {
        match self {
            Judge::Nobody => 0.0,
            Judge::Energy => {
                let power: i64 = frame.samples.iter().map(|sample| i64::from(*sample) * i64::from(*sample)).sum();
                let loud = power >= LOUD_RMS * LOUD_RMS * frame.samples.len() as i64;
                if loud && !frame.samples.is_empty() { 1.0 } else { 0.0 }
            }
            Judge::Earshot { detector, window, last } => {
                window.extend_from_slice(&frame.samples);
                let mut highest: Option<f32> = None;
                let whole = window.len() / EARSHOT_WINDOW * EARSHOT_WINDOW;
                for samples in window[..whole].chunks_exact(EARSHOT_WINDOW) {
                    let probability = detector.predict_i16(samples);
                    highest = Some(highest.map_or(probability, |before| before.max(probability)));
                }
                window.drain(..whole);
                *last = highest.unwrap_or(*last);
                *last
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;

    /// Feeds 20 ms frames, `s` for speech and `.` for quiet, and shows what is said at which millisecond.
    fn check(caller: &str, expect: &[&str]) {
        let params = VadParams { detector: Detector::Energy, ..VadParams::default() };
        let mut harness = Harness::new(Vad::new(params));
        let mut said = Vec::new();
        for (ms, c) in (1..).map(|frame| frame * 20).zip(caller.chars()) {
            let level = if c == 's' { 3_000 } else { 0 };
            let samples = vec![level; 320].into();
            harness.event(Payload::Audio(AudioFrame { samples, rate_hz: 16_000, spoken_by: None }));
            for payload in harness.emitted() {
                let Payload::Speech(SpeechEvent { utterance, milestone }) = payload else { panic!("only milestones") };
                let what = match milestone {
                    SpeechMilestone::Onset { media_start } => format!("onset from {media_start}"),
                    SpeechMilestone::Sustained => "sustained".to_owned(),
                    SpeechMilestone::Pause => "pause".to_owned(),
                    SpeechMilestone::Endpoint { media_end, speech } => format!("endpoint {media_end} after {speech}"),
                };
                said.push(format!("{ms} {utterance} {what}"));
            }
        }
        assert_eq!(said, expect, "{caller}");
    }

    #[test]
    fn an_utterance_has_an_onset_and_an_endpoint() {
        let call = "s".repeat(50) + &".".repeat(30);
        check(&call, &["80 u1 onset from 0", "400 u1 sustained", "1100 u1 pause", "1480 u1 endpoint 1000 after 1000"]);
    }

    #[test]
    fn a_click_is_no_onset_and_a_cough_is_not_sustained() {
        check("sss..s.ss...", &[]);
        let cough = "s".repeat(7) + &".".repeat(24);
        check(&cough, &["80 u1 onset from 0", "240 u1 pause", "620 u1 endpoint 140 after 140"]);
    }

    #[test]
    fn after_a_pause_the_same_utterance_goes_on() {
        let call = "s".repeat(5) + "......" + &"s".repeat(5) + &".".repeat(24);
        check(
            &call,
            &[
                "80 u1 onset from 0",
                "200 u1 pause",
                "300 u1 onset from 220",
                "420 u1 pause",
                "800 u1 endpoint 320 after 200",
            ],
        );
    }

    #[test]
    fn a_button_begins_and_ends_an_utterance() {
        let params = VadParams { detector: Detector::PushToTalk, ..VadParams::default() };
        let mut harness = Harness::new(Vad::new(params));
        let frame =
            || Payload::Audio(AudioFrame { samples: vec![3_000; 320].into(), rate_hz: 16_000, spoken_by: None });
        harness.event(frame());
        assert!(harness.emitted().is_empty(), "nobody listens while the button is up");
        harness.event(Payload::Talk(Talk::Press)).event(frame()).event(frame());
        harness.event(Payload::Talk(Talk::Release)).event(frame());
        let milestones: Vec<SpeechMilestone> = harness
            .emitted()
            .into_iter()
            .map(|payload| match payload {
                Payload::Speech(event) => event.milestone,
                other => panic!("only milestones: {other:?}"),
            })
            .collect();
        let ms = Micros::from_ms;
        let expect = [
            SpeechMilestone::Onset { media_start: ms(20) },
            SpeechMilestone::Pause,
            SpeechMilestone::Endpoint { media_end: ms(60), speech: ms(40) },
        ];
        assert_eq!(milestones, expect);
    }

    #[test]
    fn earshot_hears_nothing_in_silence() {
        let mut harness = Harness::new(Vad::new(VadParams::default()));
        for _ in 0..50 {
            let samples = vec![0; 320].into();
            harness.event(Payload::Audio(AudioFrame { samples, rate_hz: 16_000, spoken_by: None }));
        }
        assert!(harness.emitted().is_empty());
    }
}
