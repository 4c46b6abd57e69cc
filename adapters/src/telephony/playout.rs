//! What the caller has heard, from the marks that a provider sends back (`F-086`).
//!
//! A mark comes back when what was sent before it has been played. So one stands before an answer's first audio, one
//! behind every tenth of a second and one behind the last. At a clear two things are known of providers: some send the
//! marks of what was thrown away back at once, as if it had been played, some drop them. So nothing is believed of marks
//! older than a clear, and where playing stopped is reckoned: from the last mark before it and the time since, never more
//! than was sent.

use std::collections::VecDeque;

use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, PlayoutAck};

/// Marks that have not come back; of more the oldest are forgotten. Six seconds of audio, which is far more than is ever
/// sent ahead.
pub const MAX_OPEN_MARKS: usize = 64;
/// A mark stands behind so much audio.
const MARK_EVERY: Micros = Micros::from_ms(100);
/// The beginning of the names of our marks.
const NAME: &str = "rspp-";

/// What was sent of one turn, and how far it has been played. Positions are samples of the turn's audio, as the core
/// counts them, whatever rate is on the wire.
#[derive(Debug, Default)]
pub struct Playout {
    turn: Option<TurnId>,
    rate_hz: u32,
    sent_samples: u64,
    marked_samples: u64,
    marks: VecDeque<Mark>,
    next_mark: u64,
    /// What is known to have been played, and since when.
    known: Option<(Micros, u64)>,
    started: bool,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    number: u64,
    samples: u64,
    /// It stands behind audio, and not before the first.
    behind: bool,
}

/// What to send around a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// A mark before it.
    pub before: Option<String>,
    /// A mark behind it.
    pub behind: Option<String>,
}

impl Playout {
    /// A frame of the turn's audio is about to be sent: gives the marks to send around it.
    pub fn send(&mut self, now: Micros, turn: TurnId, from_sample: u64, samples: u64, rate_hz: u32) -> Marks {
        let anew = self.turn != Some(turn) || from_sample != self.sent_samples || self.known.is_none();
        self.rate_hz = rate_hz;
        if anew {
            self.started &= self.turn == Some(turn);
            self.turn = Some(turn);
            self.void();
            (self.sent_samples, self.marked_samples) = (from_sample, from_sample);
            self.known = Some((now, from_sample));
        }
        let before = anew.then(|| self.mark(false));
        self.sent_samples += samples;
        let unmarked = Micros::of_samples(self.sent_samples - self.marked_samples, rate_hz);
        let behind = (unmarked >= MARK_EVERY).then(|| self.mark(true));
        Marks { before, behind }
    }

    /// Nothing more of it will come for now: gives the mark behind the last of it.
    pub fn pause(&mut self) -> Option<String> {
        (self.marked_samples < self.sent_samples).then(|| self.mark(true))
    }

    /// A mark came back: what there is to acknowledge. One that is not ours, or older than a clear, says nothing.
    pub fn on_marked(&mut self, now: Micros, name: &str) -> Vec<PlayoutAck> {
        let number = name.strip_prefix(NAME).and_then(|number| number.parse::<u64>().ok());
        let mark = number.and_then(|number| self.marks.iter().copied().find(|mark| mark.number == number));
        let (Some(turn), Some(mark)) = (self.turn, mark) else { return Vec::new() };
        // Marks come back in order; those before it have come back or are lost.
        self.marks.retain(|open| open.number > mark.number);
        self.known = Some((now, mark.samples));
        let mut occasions = Vec::new();
        if !std::mem::replace(&mut self.started, true) {
            occasions.push(AckOccasion::Started);
        }
        if mark.samples == self.sent_samples {
            occasions.push(AckOccasion::Drained);
        } else if occasions.is_empty() || mark.behind {
            occasions.push(AckOccasion::Progress);
        }
        let ack = |occasion| PlayoutAck { turn, heard_samples: mark.samples, occasion };
        occasions.into_iter().map(ack).collect()
    }

    /// What was sent and not played is thrown away now: where playing stopped.
    pub fn clear(&mut self, now: Micros, turn: TurnId) -> PlayoutAck {
        // Of a turn of which nothing was sent nothing was heard.
        let heard_samples = if self.turn == Some(turn) { self.heard(now) } else { 0 };
        self.void();
        (self.sent_samples, self.marked_samples) = (heard_samples, heard_samples);
        self.known = None;
        PlayoutAck { turn, heard_samples, occasion: AckOccasion::Cleared }
    }

    /// How much of the turn's audio has been heard, as well as it can be told.
    fn heard(&self, now: Micros) -> u64 {
        let Some((since, samples)) = self.known else { return self.sent_samples };
        (samples + now.since(since).to_samples(self.rate_hz)).min(self.sent_samples)
    }

    fn mark(&mut self, behind: bool) -> String {
        if self.marks.len() == MAX_OPEN_MARKS {
            self.marks.pop_front();
        }
        let number = self.next_mark;
        self.next_mark += 1;
        self.marks.push_back(Mark { number, samples: self.sent_samples, behind });
        self.marked_samples = self.sent_samples;
        format!("{NAME}{number}")
    }

    fn void(&mut self) {
        self.marks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TURN: TurnId = TurnId(1);

    fn send(playout: &mut Playout, ms: u64, frame: u64) -> Marks {
        playout.send(Micros::from_ms(ms), TURN, frame * 320, 320, 16_000)
    }

    fn ack(heard_samples: u64, occasion: AckOccasion) -> PlayoutAck {
        PlayoutAck { turn: TURN, heard_samples, occasion }
    }

    #[test]
    fn marks_tell_the_start_the_progress_and_the_end() {
        let mut playout = Playout::default();
        let first = send(&mut playout, 0, 0);
        assert_eq!(first, Marks { before: Some("rspp-0".to_owned()), behind: None });
        for frame in 1..4 {
            assert_eq!(send(&mut playout, frame * 20, frame), Marks { before: None, behind: None });
        }
        assert_eq!(send(&mut playout, 80, 4).behind.as_deref(), Some("rspp-1"));
        send(&mut playout, 100, 5);
        assert_eq!(playout.pause().as_deref(), Some("rspp-2"));
        assert_eq!(playout.pause(), None);
        assert_eq!(playout.on_marked(Micros::from_ms(50), "rspp-0"), [ack(0, AckOccasion::Started)]);
        assert_eq!(playout.on_marked(Micros::from_ms(150), "rspp-1"), [ack(1_600, AckOccasion::Progress)]);
        assert_eq!(playout.on_marked(Micros::from_ms(170), "rspp-2"), [ack(1_920, AckOccasion::Drained)]);
        assert_eq!(playout.on_marked(Micros::from_ms(170), "rspp-2"), []);
    }

    #[test]
    fn where_the_first_mark_was_lost_the_next_tells_both() {
        let mut playout = Playout::default();
        send(&mut playout, 0, 0);
        playout.pause();
        let told = playout.on_marked(Micros::from_ms(40), "rspp-1");
        assert_eq!(told, [ack(320, AckOccasion::Started), ack(320, AckOccasion::Drained)]);
    }

    #[test]
    fn a_clear_is_reckoned_from_the_last_mark_and_believes_no_older_one() {
        let mut playout = Playout::default();
        for frame in 0..10 {
            send(&mut playout, frame * 20, frame);
        }
        playout.on_marked(Micros::from_ms(50), "rspp-0");
        playout.on_marked(Micros::from_ms(150), "rspp-1");
        // 30 ms after a mark at 100 ms of audio.
        assert_eq!(playout.clear(Micros::from_ms(180), TURN), ack(2_080, AckOccasion::Cleared));
        // One provider returns what it threw away, the other does not; it is the same to us.
        assert_eq!(playout.on_marked(Micros::from_ms(190), "rspp-2"), []);
        let marks = playout.send(Micros::from_ms(400), TURN, 2_080, 320, 16_000);
        assert_eq!(marks.before.as_deref(), Some("rspp-3"));
        // The turn's start was told; its audio goes on.
        assert_eq!(playout.on_marked(Micros::from_ms(420), "rspp-3"), [ack(2_080, AckOccasion::Progress)]);
    }

    #[test]
    fn no_more_was_heard_than_was_sent_and_nothing_of_another_turn() {
        let mut playout = Playout::default();
        send(&mut playout, 0, 0);
        assert_eq!(playout.clear(Micros::from_ms(9_000), TurnId(2)).heard_samples, 0);
        let mut playout = Playout::default();
        send(&mut playout, 0, 0);
        assert_eq!(playout.clear(Micros::from_ms(9_000), TURN).heard_samples, 320);
        assert_eq!(playout.clear(Micros::from_ms(9_900), TURN).heard_samples, 320);
    }

    #[test]
    fn marks_of_others_say_nothing() {
        let mut playout = Playout::default();
        send(&mut playout, 0, 0);
        for name in ["", "rspp-", "rspp-9", "rspp--1", "other", "rspp-99999999999999999999"] {
            assert_eq!(playout.on_marked(Micros(0), name), [], "{name}");
        }
    }

    proptest! {
        #[test]
        fn positions_never_go_back_within_a_run_and_never_pass_what_was_sent(
            steps in prop::collection::vec((0..4_u8, 0..80_u64), 1..200),
        ) {
            let mut playout = Playout::default();
            let (mut now, mut frame, mut names) = (Micros(0), 0, Vec::new());
            let mut last = 0;
            for (step, value) in steps {
                now = now + Micros::from_ms(value);
                let told = match step {
                    0 | 1 => {
                        let marks = playout.send(now, TURN, frame * 320, 320, 16_000);
                        names.extend(marks.before.into_iter().chain(marks.behind));
                        frame += 1;
                        Vec::new()
                    }
                    2 if !names.is_empty() => playout.on_marked(now, &names[value as usize % names.len()].clone()),
                    _ => {
                        names.extend(playout.pause());
                        Vec::new()
                    }
                };
                prop_assert!(playout.marks.len() <= MAX_OPEN_MARKS);
                for told in told {
                    prop_assert!(told.heard_samples >= last && told.heard_samples <= frame * 320);
                    last = told.heard_samples;
                }
            }
        }
    }
}
