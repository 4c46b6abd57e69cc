//! Hands audio to the transport a little ahead of its time, and takes back what was not heard.
//!
//! What it does not send yet waits in the buffer before it. Its playhead is its own: it starts at the
//! first frame sent, and again after it ran dry. On hold nothing more is sent; a resume rewinds to the first
//! sample that was not heard, so nothing is heard twice and nothing is skipped.

use std::collections::VecDeque;

use rspp_specs::buffer::{Dropped, EdgeReport, FLUSHED};
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{AudioFrame, Payload, PlayoutMark};
use rspp_specs::ids::{PortIndex, RuntimeSequence, Scope, TurnCapability};
use rspp_specs::limits::MAX_UNHEARD_MS;
use rspp_specs::plan::PlayoutParams;
use rspp_specs::time::Micros;

use crate::node::{Context, Node};

/// Audio in; frames to the transport out.
#[derive(Debug)]
pub struct Playout {
    params: PlayoutParams,
    turn: Option<TurnCapability>,
    held: bool,
    /// The frame that is next, and what a resume took back; each with its cause. More does not come in: it waits in the
    /// buffer before this node.
    queue: VecDeque<(RuntimeSequence, AudioFrame)>,
    /// Sent, and perhaps not heard; with the position of the sample behind the last.
    sent: VecDeque<(RuntimeSequence, AudioFrame)>,
    /// How long those play.
    sent_time: Micros,
    sent_end: u64,
    /// When all that was sent will have played, by our own clock.
    playhead_end: Micros,
    /// The wake that was asked for and has not come.
    wake: Option<Micros>,
    /// Where it says what becomes of its playing.
    told: Option<PortIndex>,
    /// Whether the turn's first frame was sent.
    begun: bool,
    /// Nothing more of the turn comes in.
    ended: bool,
}

impl Playout {
    /// With this lookahead and this bound.
    pub fn new(params: PlayoutParams) -> Self {
        Self {
            params,
            turn: None,
            held: false,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            sent_time: Micros(0),
            sent_end: 0,
            playhead_end: Micros(0),
            wake: None,
            told: None,
            begun: false,
            ended: false,
        }
    }

    /// Says on an output what becomes of its playing.
    pub fn telling(self, told: Option<PortIndex>) -> Self {
        Self { told, ..self }
    }

    fn tell(&self, cx: &mut Context<'_>, mark: PlayoutMark) {
        if let Some(told) = self.told {
            cx.emit_on(told, Payload::Control(mark));
        }
    }

    /// Says that the last frame was sent, once it was.
    fn tell_end(&mut self, cx: &mut Context<'_>) {
        if self.ended && self.begun && self.queue.is_empty() && !self.held {
            self.ended = false;
            self.tell(cx, PlayoutMark::Finished);
        }
    }

    fn start(&mut self, turn: Option<TurnCapability>) {
        self.turn = turn;
        self.held = false;
        self.queue.clear();
        self.sent.clear();
        self.sent_time = Micros(0);
        self.sent_end = 0;
        self.playhead_end = Micros(0);
        self.wake = None;
        self.begun = false;
        self.ended = false;
    }

    /// Sends what is due, and asks to be woken for the next frame.
    fn pump(&mut self, cx: &mut Context<'_>) {
        let (Some(turn), false) = (self.turn, self.held) else { return };
        let now = cx.now();
        while let Some((_, front)) = self.queue.front() {
            let duration = front.duration();
            let plays_until = self.playhead_end.max(now) + duration;
            if plays_until.since(now) > self.params.lookahead.max(duration) {
                let due = plays_until.since(self.params.lookahead);
                if self.wake != Some(due) {
                    self.wake = Some(due);
                    cx.wake_at(due);
                }
                return;
            }
            let Some((cause, frame)) = self.queue.pop_front() else { return };
            self.playhead_end = plays_until;
            self.sent_end += frame.samples.len() as u64;
            self.note_sent(cause, frame.clone());
            self.forget_heard();
            cx.under(turn, |cx| {
                if !self.begun {
                    self.tell(cx, PlayoutMark::Begun);
                }
                cx.transmit(frame);
            });
            self.begun = true;
        }
        cx.under(turn, |cx| self.tell_end(cx));
    }

    fn note_sent(&mut self, cause: RuntimeSequence, frame: AudioFrame) {
        self.sent_time = self.sent_time + frame.duration();
        self.sent.push_back((cause, frame));
    }

    fn forget_heard(&mut self) {
        while self.sent_time > Micros::from_ms(MAX_UNHEARD_MS)
            && let Some((_, oldest)) = self.sent.pop_front()
        {
            self.sent_time = self.sent_time.since(oldest.duration());
        }
    }

    /// Takes back everything from this sample on; a frame that was heard in part is cut there.
    fn rewind(&mut self, from_sample: u64) {
        while self.sent_end > from_sample
            && let Some((cause, last)) = self.sent.pop_back()
        {
            let length = last.samples.len() as u64;
            let heard = from_sample.saturating_sub(self.sent_end - length).min(length);
            let rest = AudioFrame { samples: last.samples[heard as usize..].into(), ..last.clone() };
            self.sent_end -= rest.samples.len() as u64;
            self.sent_time = self.sent_time.since(last.duration());
            self.queue.push_front((cause, rest));
            if heard > 0 {
                self.note_sent(cause, AudioFrame { samples: last.samples[..heard as usize].into(), ..last });
            }
        }
    }
}

impl Node for Playout {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        if self.turn.is_none() || self.turn != cx.scope().capability() {
            return;
        }
        match payload {
            Payload::Audio(frame) => {
                self.ended = false;
                self.queue.push_back((cx.origin.cause, frame));
                self.pump(cx);
            }
            Payload::End(_) => {
                self.ended = true;
                self.tell_end(cx);
            }
            _ => {}
        }
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        match directive {
            Directive::Open(capability) => self.start(Some(*capability)),
            Directive::Revoke(capability) if self.turn == Some(*capability) => {
                if self.begun {
                    self.tell(cx, PlayoutMark::Stopped);
                }
                self.start(None);
            }
            Directive::Close(capability) if self.turn == Some(*capability) => self.start(None),
            Directive::Hold => {
                self.held = self.turn.is_some();
                if self.held && self.begun {
                    self.tell(cx, PlayoutMark::Held);
                }
            }
            Directive::Resume { from_sample } => {
                self.held = false;
                self.rewind(*from_sample);
                self.playhead_end = cx.now();
                if self.begun {
                    self.tell(cx, PlayoutMark::Resumed);
                }
                self.pump(cx);
            }
            Directive::Wake(_) => {
                self.wake = None;
                self.pump(cx);
            }
            // What the transport has been given is heard; the turn may bring more.
            Directive::Drop(_) => {
                let gone = self.queue.drain(..).map(|(cause, _)| Dropped::one(cause));
                if let Some(dropped) = gone.reduce(Dropped::with) {
                    cx.report(PortIndex(0), EdgeReport::Dropped(dropped, FLUSHED));
                }
            }
            Directive::Revoke(_)
            | Directive::Begin(_)
            | Directive::Finish
            | Directive::WakeBuffers(_)
            | Directive::Close(_)
            | Directive::TakeOut(_)
            | Directive::Degrade(..) => {}
        }
    }

    /// The next frame, and no more: what follows it waits before this node, within that edge's bounds.
    fn accepts(&self, _port: PortIndex) -> bool {
        !self.held && self.queue.is_empty()
    }

    fn flush(&mut self, scope: Scope) -> Vec<(PortIndex, Dropped)> {
        let ours = self.turn.is_some() && self.turn == scope.capability();
        let gone = self.queue.drain(..).filter(|_| ours).map(|(cause, _)| Dropped::one(cause));
        gone.reduce(Dropped::with).map(|dropped| (PortIndex(0), dropped)).into_iter().collect()
    }

    fn holds(&self) -> bool {
        self.held || !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::dataflow::AskKind;
    use rspp_specs::ids::{Generation, Slot, TurnId};

    /// A frame whose samples all carry its number.
    fn frame(number: i16) -> Payload {
        Payload::Audio(AudioFrame { samples: vec![number; 320].into(), rate_hz: 16_000, spoken_by: None })
    }

    fn open() -> Harness<Playout> {
        let mut harness = Harness::new(Playout::new(PlayoutParams::default()));
        let capability = harness.capability();
        harness.directive(&Directive::Open(capability));
        harness
    }

    /// What was asked, for people: `3` is the frame that carries 3, `3/160` its last 160 samples.
    fn shown(harness: &mut Harness<Playout>) -> Vec<String> {
        let show = |ask| match ask {
            AskKind::Transmit(frame) if frame.samples.len() == 320 => frame.samples[0].to_string(),
            AskKind::Transmit(frame) => format!("{}/{}", frame.samples[0], frame.samples.len()),
            AskKind::WakeAt(at) => format!("wake {at}"),
            other => format!("{other:?}"),
        };
        harness.asked().into_iter().map(show).collect()
    }

    #[test]
    fn it_sends_forty_milliseconds_ahead_and_then_keeps_time() {
        let mut harness = open();
        harness.at_ms(1_640).event(frame(1)).event(frame(2)).event(frame(3));
        assert_eq!(shown(&mut harness), ["1", "2", "wake 1660"]);
        assert!(harness.holds());
        let wake = Directive::Wake(rspp_specs::ids::NodeIndex(0));
        harness.at_ms(1_660).directive(&wake);
        assert_eq!(shown(&mut harness), ["3"]);
        assert!(!harness.holds());
        harness.at_ms(1_900).event(frame(4));
        assert_eq!(shown(&mut harness), ["4"], "after it ran dry, the playhead starts again");
    }

    #[test]
    fn a_resume_takes_back_what_was_not_heard_to_the_sample() {
        let mut harness = open();
        harness.at_ms(0);
        for number in 1..=4 {
            harness.event(frame(number));
        }
        shown(&mut harness);
        harness.directive(&Directive::Hold);
        harness.at_ms(500).event(frame(5));
        assert!(shown(&mut harness).is_empty(), "nothing is sent on hold");
        harness.directive(&Directive::Resume { from_sample: 160 });
        assert_eq!(shown(&mut harness), ["1/160", "2", "wake 510"]);
    }

    #[test]
    fn what_was_taken_back_and_is_dropped_is_said() {
        let mut harness = open();
        for number in 1..=4 {
            harness.at_ms(20 * number as u64).event(frame(number));
        }
        harness.directive(&Directive::Hold);
        harness.directive(&Directive::Resume { from_sample: 0 });
        assert_eq!(shown(&mut harness), ["1", "2", "3", "4", "1", "2", "wake 100"]);
        harness.directive(&Directive::Drop(rspp_specs::ids::NodeIndex(0)));
        let asked = harness.asked();
        let flushed = Dropped::one(RuntimeSequence(4)).and(RuntimeSequence(5));
        assert!(
            matches!(&asked[..], [AskKind::Edge(_, EdgeReport::Dropped(dropped, FLUSHED))] if *dropped == flushed),
            "{asked:?}"
        );
        assert!(!harness.holds());
    }

    /// The marks that were told since the last look.
    fn told(harness: &mut Harness<Playout>) -> Vec<&'static str> {
        let mark = |payload| match payload {
            Payload::Control(mark) => PlayoutMark::name(mark),
            other => panic!("only marks: {other:?}"),
        };
        harness.emitted().into_iter().map(mark).collect()
    }

    #[test]
    fn what_becomes_of_its_playing_is_told_where_somebody_listens() {
        let mut harness = Harness::new(Playout::new(PlayoutParams::default()).telling(Some(PortIndex(0))));
        let capability = harness.capability();
        harness.directive(&Directive::Open(capability));
        for number in 1..=3 {
            harness.event(frame(number));
        }
        assert_eq!(told(&mut harness), ["begun"]);
        harness.directive(&Directive::Hold);
        harness.event(Payload::End(rspp_specs::outcome::Outcome::Success));
        assert_eq!(told(&mut harness), ["held"]);
        harness.directive(&Directive::Resume { from_sample: 640 });
        assert_eq!(told(&mut harness), ["resumed", "finished"]);
        harness.directive(&Directive::Revoke(capability));
        assert_eq!(told(&mut harness), ["stopped"], "what was sent and not heard is taken back");
    }

    #[test]
    fn a_revoked_turn_leaves_nothing() {
        let mut harness = open();
        let other = TurnCapability::mint(Slot(0), TurnId(9), Generation(9));
        harness.event(frame(1)).event(frame(2)).event(frame(3));
        harness.directive(&Directive::Revoke(other));
        assert!(harness.holds(), "another turn's revocation is not ours");
        let ours = harness.capability();
        harness.directive(&Directive::Revoke(ours));
        assert!(!harness.holds());
        shown(&mut harness);
        harness.event(frame(4));
        assert!(shown(&mut harness).is_empty());
    }
}
