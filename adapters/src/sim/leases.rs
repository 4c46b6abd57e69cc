//! The control plane's leases: they move on, and somebody who held one before does not know it.

use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::LeaseEpoch;
use rspp_specs::outcome::{CancelReason, Cancellation};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Input;

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};
use super::speech::silence;
use crate::lease::LeaseGate;

/// One session's lease, as the routing view has it, and what goes wrong with it.
#[derive(Debug)]
pub(super) struct Leases {
    draws: Draws,
    pub(super) gate: LeaseGate,
    /// The last epoch that was issued.
    issued: LeaseEpoch,
    rotates_at: Option<Micros>,
    stale_at: Option<Micros>,
}

const NEVER: Micros = Micros(u64::MAX);

impl Leases {
    pub(super) fn new(now: Micros, origin: Origin, character: &Character, faults: Faults) -> Self {
        let mut draws = Draws::new(origin, Concern::Leases);
        let moves = draws.chance(400) && faults.has(Fault::AuthorityConflict);
        let mut at = |most_ms| moves.then(|| character.on_the_beat(now + draws.ms(500, most_ms)));
        let (rotates_at, stale_at) = (at(40_000), at(20_000));
        Self { draws, gate: LeaseGate::new(LeaseEpoch::default()), issued: LeaseEpoch::default(), rotates_at, stale_at }
    }

    /// An epoch that nobody had before.
    pub(super) fn issue(&mut self) -> LeaseEpoch {
        self.issued.0 += 1;
        self.issued
    }

    pub(super) fn next_at(&self) -> Micros {
        [self.rotates_at, self.stale_at].into_iter().flatten().min().unwrap_or(NEVER)
    }

    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.rotates_at.is_some_and(|at| at <= now) {
            self.rotates_at = Some(now + self.draws.ms(2_000, 60_000));
            // Sometimes the word of an earlier rotation comes again.
            let epoch = if self.draws.chance(200) { self.gate.epoch() } else { self.issue() };
            inputs.push(Input::LeaseRotated(epoch));
        }
        if self.stale_at.is_some_and(|at| at <= now) {
            self.stale_at = Some(now + self.draws.ms(500, 30_000));
            let stale = self.draws_stale();
            inputs.extend(stale);
        }
    }

    /// Who takes an earlier epoch for the session's, or one that is not issued yet, speaks in its name, or writes to its
    /// caller.
    fn draws_stale(&mut self) -> Option<Input> {
        let current = self.gate.epoch().0;
        let sender = LeaseEpoch(if current == 0 { 1 + self.draws.below(3) } else { self.draws.below(current) });
        let frame: AudioFrame = silence();
        let text: Arc<str> = "in another's name".into();
        let input = match self.draws.below(4) {
            0 => Input::UserText(text),
            1 => Input::Cancel(Cancellation::of_turn(CancelReason::Policy)),
            2 => Input::CallerAudio(frame),
            _ => return stale_write(self.gate.admit(sender).err()?.writer),
        };
        Some(self.gate.enter(sender, input))
    }
}

/// What a session is told of a write that its transport refused.
pub(super) fn stale_write(writer: LeaseEpoch) -> Option<Input> {
    Some(Input::StaleEpoch { epoch: writer, input: "transmit".into() })
}
