//! A worker is lost, and what its sessions make of it: their last tick, the time without a worker, the next one.

use rspp_engine::Core;
use rspp_specs::ids::LeaseEpoch;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record};

use super::draws::{Concern, Draws, Origin};
use super::leases::stale_write;
use super::session::Call;
use crate::failover::{TakeoverError, take_over};

/// One loss.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss {
    pub(super) at: Micros,
    /// When another worker takes over.
    pub(super) taken_over_at: Micros,
    /// Where the worker is not dead but cut off: until then it goes on, and thinks that the sessions are its own.
    pub(super) lingers_until: Option<Micros>,
}

/// Workers are lost within the first minutes, as long as logs are kept.
const LOSSES: u64 = 3;
/// Everything about losses falls on this beat, on which most sessions do everything.
const BEAT_MS: u64 = 20;

impl Loss {
    /// When this worker is lost, in order. Drawn for the worker, so that a session alone meets the same.
    pub(super) fn draw(seed: u64, worker: u32) -> Vec<Loss> {
        let mut draws = Draws::new(Origin { seed, session: worker, call: u32::MAX }, Concern::Worker);
        let mut at_ms = 0;
        let loss = |_| {
            at_ms += BEAT_MS * draws.between(4_000 / BEAT_MS, 25_000 / BEAT_MS);
            let at = Micros::from_ms(at_ms);
            at_ms += BEAT_MS * draws.between(5, 2_500 / BEAT_MS);
            let taken_over_at = Micros::from_ms(at_ms);
            let lingers = draws.chance(500).then(|| Micros::from_ms(BEAT_MS * draws.between(10, 100)));
            Loss { at, taken_over_at, lingers_until: lingers.map(|more| taken_over_at + more) }
        };
        (0..LOSSES).map(loss).collect()
    }
}

/// What had become of a session's last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastTick {
    /// It was not written: nothing of it had an effect.
    Unwritten,
    /// It was written, and so many of its effects were performed.
    Performed(usize),
}

impl Call {
    /// The worker is lost in a tick of this session.
    pub(super) fn draw_last_tick(&mut self, records: &[Record]) -> LastTick {
        let effects = records.iter().filter(|record| matches!(record.entry, Entry::Effect(_))).count();
        if self.loss.chance(300) {
            LastTick::Unwritten
        } else {
            LastTick::Performed(self.loss.below(effects as u64 + 1) as usize)
        }
    }

    /// The worker is lost with everything that it had in hand. One that is only cut off has lost its lease at once.
    pub(super) fn lose_worker(&mut self, is_cut_off: bool) {
        self.new_lease = self.leases.issue();
        self.providers.disconnect(&mut self.sent);
        self.arriving.retain(outlives_the_worker);
        self.held_back.retain(outlives_the_worker);
        for input in std::mem::take(&mut self.held_back) {
            self.arriving.put(Micros(0), input);
        }
        self.network.lose_bridge();
        if is_cut_off {
            self.leases.gate.move_to(self.new_lease);
        }
    }

    /// There is no worker: what comes in now is gone, apart from what is told again until somebody hears it.
    pub(super) fn wait_out(&mut self, now: Micros) {
        self.act(now);
        drop(self.spoken(now));
        while let Some(input) = self.sent.pop_until(now) {
            debug_assert!(
                !outlives_the_worker(&input),
                "peers send results and acknowledgements, and {input:?} is neither"
            );
        }
        let mut kept = Vec::new();
        while let Some(input) = self.arriving.pop_until(now) {
            if outlives_the_worker(&input) {
                kept.push(input);
            }
        }
        self.told_again.append(&mut kept);
        self.watch.not_before(now);
    }

    /// Another worker goes on with the session from its log. Gives what its next tick brings.
    pub(super) fn take_over(&mut self, now: Micros, core: &mut Core, log: &[Record]) -> Result<Input, TakeoverError> {
        let epoch = self.new_lease;
        self.leases.gate.move_to(epoch);
        let taken_over = take_over(core, log, epoch)?;
        self.slot = taken_over.slot;
        self.pressure.on_takeover(taken_over.slot, epoch, log);
        self.recorder.on_takeover(now);
        for input in std::mem::take(&mut self.told_again) {
            self.arriving.put(now, input);
        }
        self.again = taken_over.again;
        Ok(taken_over.input)
    }

    /// A worker that has lost the session and does not know it goes on: nothing that it writes is heard, and the session
    /// is told of it, once in a moment. Says whether anything was.
    pub(super) fn refuse(&mut self, now: Micros, records: &[Record], writer: LeaseEpoch) -> bool {
        let writes = |record: &&Record| {
            matches!(record.entry, Entry::Effect(Effect::Transmit { .. } | Effect::ClearTransport { .. }))
        };
        let mut was_heard = false;
        for _ in records.iter().filter(writes) {
            match self.leases.gate.admit(writer) {
                Ok(()) => was_heard = true,
                Err(stale) if self.stale_write_at != Some(now) => {
                    self.stale_write_at = Some(now);
                    if let Some(input) = stale_write(stale.writer) {
                        self.arriving.put(now + self.beat, input);
                    }
                }
                Err(_) => {}
            }
        }
        was_heard
    }
}

/// What a control plane or a transport tells until somebody hears it. The rest is of its moment.
fn outlives_the_worker(input: &Input) -> bool {
    matches!(
        input,
        Input::SessionEnd
            | Input::AuthorityRevoked
            | Input::TransportLost
            | Input::Connection(_)
            | Input::Admission(_)
            | Input::Observed(_)
    )
}
