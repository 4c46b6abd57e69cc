//! The network between a caller and the worker, and the transport at its far end.

use std::collections::VecDeque;

use rspp_specs::admission::ConnectionState;
use rspp_specs::event::AudioFrame;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, EgressEpoch, Input};

use super::character::{Character, Quality};
use super::draws::{Concern, Draws, Origin};
use crate::drive::Schedule;
use crate::transport::{MemoryTransport, TransportTimes};

/// Without a sign of life for so long, the shell calls the transport stalled.
const STALL_NOTICED: Micros = Micros::from_ms(1_000);
/// Without the caller's audio for so long, while the transport lives, the shell calls the caller silent.
const SILENCE_NOTICED: Micros = Micros::from_ms(400);
/// Frames that wait between the core and the transport. The core sends a short lookahead ahead, so more are a bug.
pub(super) const MAX_BRIDGED_FRAMES: usize = 64;

/// What becomes of something on its way to the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It arrives now.
    Now,
    /// It arrives later.
    At(Micros),
    /// It arrives twice, now and later.
    Twice(Micros),
    /// It never arrives.
    Lost,
}

/// One call's network.
#[derive(Debug)]
pub(super) struct Network {
    draws: Draws,
    quality: Quality,
    beat: Micros,
    transport: MemoryTransport,
    bridge: Micros,
    bridged: VecDeque<Bridged>,
    /// Nothing arrives until then; at the end of a stall all does, at the end of a loss nothing.
    stalls_until: Option<Micros>,
    gone_until: Option<Micros>,
    /// Until then the caller sends nothing.
    mute_until: Option<Micros>,
    /// When the next thing goes wrong.
    fails_at: Option<Micros>,
    /// When the shell says that the transport is lost, or ends the session.
    says: VecDeque<(Micros, Input)>,
}

/// A frame that has left the core and has not reached the transport.
#[derive(Debug)]
struct Bridged {
    at: Micros,
    turn: TurnId,
    epoch: EgressEpoch,
    from_sample: u64,
    frame: AudioFrame,
}

const NEVER: Micros = Micros(u64::MAX);

impl Network {
    pub(super) fn new(now: Micros, origin: Origin, character: &Character) -> Self {
        let mut draws = Draws::new(origin, Concern::Network);
        let beat = character.beat.as_ms().max(1);
        let beats = |draws: &mut Draws, most_ms: u64| draws.below(most_ms) / beat * beat;
        let times = TransportTimes {
            plays_after_ms: beats(&mut draws, 80),
            ack_after_ms: beats(&mut draws, 50),
            clear_ack_after_ms: beats(&mut draws, 100),
            silent: character.quality == Quality::Unacknowledging,
        };
        let fails = matches!(character.quality, Quality::Stalling | Quality::Disconnecting | Quality::Muting);
        Self {
            quality: character.quality,
            beat: character.beat,
            transport: MemoryTransport::forgetting(times),
            bridge: character.bridge,
            bridged: VecDeque::new(),
            stalls_until: None,
            gone_until: None,
            mute_until: None,
            fails_at: fails.then(|| character.on_the_beat(now + draws.ms(500, 20_000))),
            says: VecDeque::new(),
            draws,
        }
    }

    pub(super) fn next_at(&self) -> Micros {
        let bridged = self.bridged.front().map(|frame| frame.at);
        let says = self.says.front().map(|(at, _)| *at);
        [bridged, says, self.fails_at].into_iter().flatten().min().unwrap_or(NEVER)
    }

    /// How much waits between the core and the transport.
    pub(super) fn bridged(&self) -> usize {
        self.bridged.len()
    }

    /// Frames that the transport's own gate stopped.
    pub(super) fn fenced_frames(&self) -> u64 {
        self.transport.fenced_frames()
    }

    /// Samples that the caller heard twice, although the transport could be asked where it was.
    pub(super) fn repeated_samples(&self) -> u64 {
        if self.quality == Quality::Acknowledging { self.transport.repeated_samples() } else { 0 }
    }

    /// The worker is lost, with what had not reached the transport.
    pub(super) fn lose_bridge(&mut self) {
        self.bridged.clear();
    }

    /// What the core sends to the caller.
    pub(super) fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) {
        match effect {
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                let (at, frame) = (now + self.bridge, frame.clone());
                self.bridged.push_back(Bridged { at, turn: *turn, epoch: *epoch, from_sample: *from_sample, frame });
                self.deliver(now, schedule);
            }
            // The epoch is told past all that is queued.
            Effect::ClearTransport { turn, epoch } => self.transport.clear(now, *turn, *epoch, schedule),
            _ => {}
        }
    }

    /// Frames whose time has come reach the transport.
    pub(super) fn deliver(&mut self, now: Micros, schedule: &mut Schedule) {
        while let Some(Bridged { turn, epoch, from_sample, frame, .. }) =
            self.bridged.pop_front_if(|frame| frame.at <= now)
        {
            self.transport.play(now, turn, epoch, from_sample, &frame, schedule);
        }
    }

    /// What goes wrong by now, and what the shell says of it.
    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.fails_at.is_some_and(|at| at <= now) {
            self.fail(now);
        }
        while let Some((_, input)) = self.says.pop_front_if(|(at, _)| *at <= now) {
            inputs.push(input);
        }
    }

    /// What becomes of a frame, or of an acknowledgement, that is sent now.
    pub(super) fn passage(&mut self, now: Micros) -> Passage {
        if self.gone_until.is_some_and(|until| now < until) {
            return Passage::Lost;
        }
        if let Some(until) = self.stalls_until.filter(|until| now < *until) {
            return Passage::At(until);
        }
        match self.quality {
            Quality::Lossy if self.draws.chance(40) => Passage::Lost,
            _ => Passage::Now,
        }
    }

    /// As [`Self::passage`], for the caller's audio, of which there is none while it is mute.
    pub(super) fn passage_of_audio(&mut self, now: Micros) -> Passage {
        if self.mute_until.is_some_and(|until| now < until) { Passage::Lost } else { self.passage(now) }
    }

    /// As [`Self::passage`], for acknowledgements, of which a bad network makes more mess.
    pub(super) fn passage_of_acknowledgement(&mut self, now: Micros) -> Passage {
        match self.passage(now) {
            Passage::Now if self.quality == Quality::Lossy => match self.draws.below(100) {
                0..15 => Passage::Lost,
                15..25 => Passage::At(self.later(now, 5, 400)),
                25..35 => Passage::Twice(self.later(now, 5, 400)),
                _ => Passage::Now,
            },
            passage => passage,
        }
    }

    fn later(&mut self, now: Micros, least_ms: u64, most_ms: u64) -> Micros {
        Micros((now + self.draws.ms(least_ms, most_ms)).0.next_multiple_of(self.beat.0))
    }

    fn fail(&mut self, now: Micros) {
        self.fails_at = Some(self.later(now, 1_000, 25_000));
        match self.quality {
            Quality::Stalling => self.stall(now),
            Quality::Muting => self.mute(now),
            _ => self.disconnect(now),
        }
    }

    /// Short stalls nobody notices; long ones are longer than the session waits.
    fn stall(&mut self, now: Micros) {
        let until = self.later(now, 100, 8_000);
        self.stalls_until = Some(until);
        self.fails_at = self.fails_at.max(Some(until));
        if until.since(now) > STALL_NOTICED {
            self.says.push_back((now + STALL_NOTICED, Input::Connection(ConnectionState::Stalled)));
            self.says.push_back((until, Input::Connection(ConnectionState::Connected)));
        }
    }

    fn mute(&mut self, now: Micros) {
        let until = self.later(now, 600, 9_000);
        self.mute_until = Some(until);
        self.fails_at = self.fails_at.max(Some(until));
        // A caller who switches off says so at once.
        let (after, state) =
            self.draws.pick(&[(Micros(0), ConnectionState::Muted), (SILENCE_NOTICED, ConnectionState::Silent)]);
        self.says.push_back((now + after, Input::Connection(state)));
        self.says.push_back((until, Input::Connection(ConnectionState::Connected)));
    }

    fn disconnect(&mut self, now: Micros) {
        let until = self.later(now, 200, 7_000);
        self.gone_until = Some(until);
        self.fails_at = self.fails_at.max(Some(until));
        match self.draws.below(10) {
            // A transport that knows that nobody comes back.
            0..2 => self.says.push_back((now, Input::TransportLost)),
            // The caller hangs up meanwhile.
            2..4 => {
                self.says.push_back((now, Input::Connection(ConnectionState::Disconnected)));
                self.says.push_back((until, Input::SessionEnd));
            }
            // Back within the window, or after it, when there is no session any more.
            _ => {
                self.says.push_back((now, Input::Connection(ConnectionState::Disconnected)));
                self.says.push_back((until, Input::Connection(ConnectionState::Connected)));
            }
        }
    }
}
