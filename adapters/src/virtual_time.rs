//! A session in virtual time: the clock jumps to whatever comes next, so ten minutes of a call take milliseconds,
//! and the same inputs always give the same timeline.

use std::collections::BTreeMap;

use rspp_engine::{Batch, Core, View};
use rspp_specs::ids::Slot;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record};

/// What is going to come in, by time; of one time, in the order in which it was put here.
#[derive(Debug, Default)]
pub struct Schedule {
    inputs: BTreeMap<(Micros, u64), Input>,
    next: u64,
}

/// A place in the schedule, for taking the input back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(Micros, u64);

impl Schedule {
    /// Puts an input at a time.
    pub fn put(&mut self, at: Micros, input: Input) -> Ticket {
        let ticket = Ticket(at, self.next);
        self.next += 1;
        self.inputs.insert((at, ticket.1), input);
        ticket
    }

    /// Takes an input back, if it has not come in.
    pub fn take_back(&mut self, ticket: Ticket) {
        self.inputs.remove(&(ticket.0, ticket.1));
    }

    fn next_at(&self) -> Option<Micros> {
        self.inputs.first_key_value().map(|((at, _), _)| *at)
    }

    fn pop_until(&mut self, now: Micros) -> Option<Input> {
        self.next_at().filter(|at| *at <= now)?;
        self.inputs.pop_first().map(|(_, input)| input)
    }
}

/// Whoever performs effects in virtual time: providers, a transport.
pub trait Peers {
    /// Why an effect could not be performed.
    type Error;

    /// Performs an effect; what follows from it is put into the schedule, at `now` or later.
    ///
    /// # Errors
    /// Ends the run.
    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), Self::Error>;
}

/// Runs one session until nothing is left to happen, or `until` is past. After each tick, `on_tick` sees what it
/// wrote and how the session stands.
///
/// # Errors
/// What a peer could not perform.
pub fn run<P: Peers>(
    core: &mut Core,
    slot: Slot,
    schedule: &mut Schedule,
    peers: &mut P,
    until: Micros,
    mut on_tick: impl FnMut(&[Record], Option<&View>),
) -> Result<Micros, P::Error> {
    let mut now = Micros(0);
    let mut batch = Batch::default();
    let mut held_back = Vec::new();
    let mut records = Vec::new();
    loop {
        let deadline = core.next_deadline(now);
        let next = [deadline, schedule.next_at()].into_iter().flatten().min().map(|at| at.max(now));
        let next = if held_back.is_empty() { next } else { Some(now) };
        let Some(at) = next.filter(|at| *at <= until) else { return Ok(now) };
        now = at;
        // What the core derived in its last tick comes first, in a tick of its own.
        if !core.has_derived() {
            for input in held_back.drain(..).collect::<Vec<Input>>() {
                offer(&mut batch, slot, input, &mut held_back);
            }
            while held_back.is_empty()
                && let Some(input) = schedule.pop_until(now)
            {
                offer(&mut batch, slot, input, &mut held_back);
            }
        }
        core.tick(now, &mut batch, &mut records);
        on_tick(&records, core.view(slot).as_ref());
        for record in records.drain(..) {
            if let Entry::Effect(effect) = &record.entry {
                peers.perform(now, effect, schedule)?;
            }
        }
    }
}

fn offer(batch: &mut Batch, slot: Slot, input: Input, held_back: &mut Vec<Input>) {
    if !held_back.is_empty() {
        held_back.push(input);
    } else if let Err(full) = batch.push(slot, input) {
        held_back.push(full.input);
    }
}
