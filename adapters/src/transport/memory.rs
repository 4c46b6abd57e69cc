//! A transport that plays into memory, in session time: what scenarios and WAV calls speak through.
//!
//! A sample is written where it plays. At a clear playing stops at once, with a decay of a few milliseconds from the
//! last sample played instead of a click; the decay is the transport's and not in the ledger.

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, EgressEpoch, Input, PlayoutAck};
use serde::Deserialize;

use crate::audio::decay;
use crate::drive::{Schedule, Ticket};

/// What a transport adds to the times that it is given.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransportTimes {
    /// From a frame's arrival at an idle transport until it plays.
    pub plays_after_ms: u64,
    /// From a fact of playing until its acknowledgement.
    pub ack_after_ms: u64,
    /// From being told to clear until its acknowledgement.
    pub clear_ack_after_ms: u64,
    /// A transport that never says what was heard.
    pub silent: bool,
}

impl TransportTimes {
    /// The transport of the golden traces.
    pub const SCRIPTED: Self = Self { plays_after_ms: 20, ack_after_ms: 2, clear_ack_after_ms: 5, silent: false };
    /// A WAV file: no delay at all.
    pub const WAV: Self = Self { plays_after_ms: 0, ack_after_ms: 0, clear_ack_after_ms: 0, silent: false };
}

/// Plays one frame behind the other.
#[derive(Debug)]
pub struct MemoryTransport {
    times: TransportTimes,
    rate_hz: u32,
    turn: Option<TurnId>,
    /// The third gate: frames of an earlier epoch are not written.
    epoch: EgressEpoch,
    given_samples: u64,
    /// Since when it plays without a gap, and with which of the turn's samples that began.
    plays_since: (Micros, u64),
    plays_until: Micros,
    started: Option<Ticket>,
    drained: Option<Ticket>,
    /// What was played, unless nobody wants to know.
    played: Option<Vec<i16>>,
    fenced_frames: u64,
    /// Up to where the turn was heard when it was told to clear last.
    heard_at_clear: u64,
    repeated_samples: u64,
}

impl MemoryTransport {
    /// At 16 kHz.
    pub fn new(times: TransportTimes) -> Self {
        Self {
            times,
            rate_hz: 16_000,
            turn: None,
            epoch: EgressEpoch(0),
            given_samples: 0,
            plays_since: (Micros(0), 0),
            plays_until: Micros(0),
            started: None,
            drained: None,
            played: Some(Vec::new()),
            fenced_frames: 0,
            heard_at_clear: 0,
            repeated_samples: 0,
        }
    }

    /// One that keeps time and keeps no audio.
    pub fn forgetting(times: TransportTimes) -> Self {
        Self { played: None, ..Self::new(times) }
    }

    /// Everything that was played, from session time 0 on.
    pub fn into_played(self) -> Vec<i16> {
        self.played.unwrap_or_default()
    }

    /// Frames that the third gate stopped.
    pub fn fenced_frames(&self) -> u64 {
        self.fenced_frames
    }

    /// Samples that were heard a second time, after a clear.
    pub fn repeated_samples(&self) -> u64 {
        self.repeated_samples
    }

    /// Takes a frame, whose first sample is `from_sample` of the turn's audio.
    pub fn play(
        &mut self,
        now: Micros,
        turn: TurnId,
        epoch: EgressEpoch,
        from_sample: u64,
        frame: &AudioFrame,
        schedule: &mut Schedule,
    ) {
        if epoch < self.epoch {
            self.fenced_frames += 1;
            return;
        }
        let start = self.plays_until.max(now + Micros::from_ms(self.times.plays_after_ms));
        let delay = Micros::from_ms(self.times.ack_after_ms);
        self.rate_hz = frame.rate_hz;
        if self.turn != Some(turn) {
            self.turn = Some(turn);
            self.plays_since = (start, from_sample);
            self.started = self.ack(schedule, start + delay, turn, 0, AckOccasion::Started);
            self.heard_at_clear = 0;
        }
        let repeated = self.heard_at_clear.saturating_sub(from_sample).min(frame.samples.len() as u64);
        self.repeated_samples += repeated;
        if start > self.plays_until || self.given_samples != from_sample {
            self.plays_since = (start, from_sample);
        }
        self.write(start, &frame.samples);
        self.plays_until = start + frame.duration();
        self.given_samples = from_sample + frame.samples.len() as u64;
        if let Some(ticket) = self.drained.take() {
            schedule.take_back(ticket);
        }
        self.drained = self.ack(schedule, self.plays_until + delay, turn, self.given_samples, AckOccasion::Drained);
    }

    /// Stops at once, and says where.
    pub fn clear(&mut self, now: Micros, turn: TurnId, epoch: EgressEpoch, schedule: &mut Schedule) {
        self.epoch = epoch;
        for ticket in [self.drained.take(), self.started.take()].into_iter().flatten() {
            schedule.take_back(ticket);
        }
        let (since, from_sample) = self.plays_since;
        let heard = (from_sample + now.since(since).to_samples(self.rate_hz)).min(self.given_samples);
        // Of a turn whose frames are still on their way here nothing was heard, and the gate will stop them.
        let heard = if self.turn == Some(turn) { heard } else { 0 };
        self.cut(now);
        self.plays_until = now;
        self.given_samples = heard;
        self.heard_at_clear = self.heard_at_clear.max(heard);
        let at = now + Micros::from_ms(self.times.clear_ack_after_ms);
        self.ack(schedule, at, turn, heard, AckOccasion::Cleared);
    }

    fn write(&mut self, start: Micros, samples: &[i16]) {
        let Some(played) = &mut self.played else { return };
        let start = start.to_samples(self.rate_hz) as usize;
        let end = start + samples.len();
        if played.len() < end {
            played.resize(end, 0);
        }
        played[start..end].copy_from_slice(samples);
    }

    fn cut(&mut self, now: Micros) {
        let Some(played) = &mut self.played else { return };
        let cut = now.to_samples(self.rate_hz) as usize;
        if cut >= played.len() {
            return;
        }
        played.truncate(cut);
        let last = played.last().copied().unwrap_or(0);
        played.extend(decay(last, self.rate_hz));
    }

    fn ack(
        &self,
        schedule: &mut Schedule,
        at: Micros,
        turn: TurnId,
        heard_samples: u64,
        occasion: AckOccasion,
    ) -> Option<Ticket> {
        let ack = PlayoutAck { turn, heard_samples, occasion };
        (!self.times.silent).then(|| schedule.put(at, Input::PlayoutAck(ack)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(level: i16) -> AudioFrame {
        AudioFrame { samples: vec![level; 320].into(), rate_hz: 16_000, spoken_by: None }
    }

    #[test]
    fn a_clear_cuts_with_a_decay_and_stops_what_was_queued_before_it() {
        let mut schedule = Schedule::default();
        let mut transport = MemoryTransport::new(TransportTimes::WAV);
        let (turn, old, new) = (TurnId(1), EgressEpoch(0), EgressEpoch(1));
        transport.play(Micros(0), turn, old, 0, &frame(1_000), &mut schedule);
        transport.play(Micros(0), turn, old, 320, &frame(1_000), &mut schedule);
        transport.clear(Micros::from_ms(30), turn, new, &mut schedule);
        transport.play(Micros::from_ms(30), turn, old, 640, &frame(9_999), &mut schedule);
        assert_eq!(transport.fenced_frames(), 1);
        let played = transport.into_played();
        assert!(played[..480].iter().all(|sample| *sample == 1_000));
        assert!(played[480..].is_sorted_by(|a, b| a >= b) && played[480] < 1_000, "it decays");
        assert!(played.len() < 480 + 160, "within ten milliseconds");
    }

    #[test]
    fn what_has_not_begun_to_play_takes_nothing_back_of_what_was_heard() {
        let times = TransportTimes { plays_after_ms: 60, ..TransportTimes::WAV };
        let (mut schedule, mut transport) = (Schedule::default(), MemoryTransport::forgetting(times));
        let (turn, epoch) = (TurnId(1), EgressEpoch(0));
        transport.play(Micros(0), turn, epoch, 0, &frame(1), &mut schedule);
        transport.play(Micros::from_ms(100), turn, epoch, 320, &frame(2), &mut schedule);
        transport.clear(Micros::from_ms(120), turn, EgressEpoch(1), &mut schedule);
        let acks = std::iter::from_fn(|| schedule.pop_until(Micros(u64::MAX)));
        let cleared = acks.filter_map(|input| match input {
            Input::PlayoutAck(PlayoutAck { heard_samples, occasion: AckOccasion::Cleared, .. }) => Some(heard_samples),
            _ => None,
        });
        assert_eq!(cleared.collect::<Vec<_>>(), [320]);
    }
}
