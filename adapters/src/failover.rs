//! A worker is lost, and its sessions go on elsewhere (`F-096`, `F-157`, `F-158`).
//!
//! The order is what makes it safe:
//!
//! 1. The control plane moves the session's lease on. From then on the transport, the store of the log and whoever else
//!    compares epochs take nothing from the old worker, dead or only slow.
//! 2. The log is read: what stands in it is all that had an effect, since a tick is written before its effects leave. A last
//!    tick that is not whole had none, and is left out by who reads.
//! 3. [`take_over`] brings a session on another core to where the log ends, and gives what that core is to be told next.
//!
//! What is never known is how many effects of the last tick were performed. The core's part in finding out is told in
//! [`Takeover`]; here it is decided which invocations go on: those of tools, which are asked for again under the same number
//! and idempotency key, and so run once. Streams of the others died with the worker's connections.

use std::collections::BTreeMap;

use rspp_engine::{Core, RestoreError};
use rspp_specs::event::Request;
use rspp_specs::ids::{InvocationId, LeaseEpoch, Slot};
use rspp_specs::timeline::{Effect, Entry, Input, Record, Takeover};

/// A session that stands where its log ends.
#[derive(Debug)]
pub struct TakenOver {
    /// Its slot on the new core.
    pub slot: Slot,
    /// What the next tick brings it, before anything else.
    pub input: Input,
    /// Invocations that go on: to be performed once that tick is written.
    pub again: Vec<Effect>,
}

/// Why a session can't go on.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// No slot is free.
    #[error("the worker is full; give the session to another one")]
    Full,
    /// It did not come to stand where its log ends. It stands on its slot in a state of which nothing is known.
    #[error("{error}")]
    Restore {
        /// Where it stands.
        slot: Slot,
        /// Why.
        error: RestoreError,
    },
}

/// Brings a session to where its log ends, under a new lease.
///
/// # Errors
/// The worker is full, or the log is not one that this program would write. Then nothing may be done in the session's name.
pub fn take_over(core: &mut Core, log: &[Record], epoch: LeaseEpoch) -> Result<TakenOver, TakeoverError> {
    let slot = core.reserve().ok_or(TakeoverError::Full)?;
    core.restore(slot, log).map_err(|error| TakeoverError::Restore { slot, error })?;
    let asked = tools_asked_for(log);
    let in_flight = core.in_flight(slot);
    let again = in_flight.iter().filter_map(|id| asked.get(id)).map(|effect| (*effect).clone()).collect();
    let lost: Vec<InvocationId> = in_flight.into_iter().filter(|id| !asked.contains_key(id)).collect();
    Ok(TakenOver { slot, input: Input::Takeover(Takeover { epoch, lost: lost.into() }), again })
}

fn tools_asked_for(log: &[Record]) -> BTreeMap<InvocationId, &Effect> {
    let invoked = log.iter().filter_map(|record| match &record.entry {
        Entry::Effect(effect @ Effect::Invoke { id, request: Request::Tool(_), .. }) => Some((*id, effect)),
        _ => None,
    });
    invoked.collect()
}
