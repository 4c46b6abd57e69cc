//! One session and its peers, driven by a clock.
//!
//! In virtual time the clock jumps to whatever comes next, so ten minutes of a call take milliseconds, and the same
//! inputs always give the same timeline. With a real clock the same loop holds a call.

use std::collections::{BTreeMap, VecDeque};

use rspp_engine::{Batch, Core, NotTaken, View};
use rspp_specs::event::ProviderResult;
use rspp_specs::ids::{InvocationId, Slot};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record};

/// What is going to come in, by time; of one time, in the order in which it was put here.
#[derive(Debug, Default)]
pub struct Schedule {
    /// In the order of their tickets. Most are put behind all others.
    inputs: VecDeque<(Ticket, Input)>,
    next: u64,
    /// Invocations whose provider is not read as it comes.
    gates: BTreeMap<InvocationId, Gate>,
}

/// Before what a provider gives while nobody has room for it: as a socket that is not read, it keeps what has come.
#[derive(Debug, Default)]
struct Gate {
    paused: bool,
    /// So many more results may pass; `None` for as many as come.
    credit: Option<u32>,
    /// What has come and did not pass, by the ticket that it came with.
    kept: VecDeque<(u64, Input)>,
}

impl Gate {
    /// Whether this passes now; uses credit if it does.
    fn passes(&mut self, input: &Input) -> bool {
        let uses = matches!(input, Input::Provider(_, ProviderResult::Text(_) | ProviderResult::Audio(_)));
        match &mut self.credit {
            _ if self.paused => false,
            Some(0) if uses => false,
            Some(credit) if uses => {
                *credit -= 1;
                true
            }
            _ => true,
        }
    }
}

/// A place in the schedule, for taking the input back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(Micros, u64);

impl Schedule {
    /// Puts an input at a time.
    pub fn put(&mut self, at: Micros, input: Input) -> Ticket {
        let ticket = Ticket(at, self.next);
        self.next += 1;
        self.insert(ticket, input);
        ticket
    }

    fn insert(&mut self, ticket: Ticket, input: Input) {
        match self.inputs.back() {
            Some((last, _)) if *last > ticket => {
                let place = self.inputs.partition_point(|(other, _)| *other < ticket);
                self.inputs.insert(place, (ticket, input));
            }
            _ => self.inputs.push_back((ticket, input)),
        }
    }

    fn pop(&mut self) -> Option<(Ticket, Input)> {
        let first = self.inputs.pop_front()?;
        if self.inputs.is_empty() {
            // Who has nothing more to say keeps no room for it.
            self.inputs = VecDeque::new();
        }
        Some(first)
    }

    /// Takes an input back, if it has not come in.
    pub fn take_back(&mut self, ticket: Ticket) {
        if let Ok(place) = self.inputs.binary_search_by_key(&ticket, |(other, _)| *other) {
            self.inputs.remove(place);
        } else {
            self.gates.values_mut().for_each(|gate| gate.kept.retain(|(number, _)| *number != ticket.1));
        }
    }

    /// Carries out what an effect says of reading a provider; gives whether it says anything of that.
    pub fn control_flow(&mut self, now: Micros, effect: &Effect) -> bool {
        match effect {
            Effect::PauseInvocation { id } => self.gates.entry(*id).or_default().paused = true,
            Effect::ResumeInvocation { id } => {
                self.gates.entry(*id).or_default().paused = false;
                self.reopen(now, *id);
            }
            Effect::GrantCredit { id, results } => {
                let credit = &mut self.gates.entry(*id).or_default().credit;
                *credit = Some(credit.unwrap_or(0).saturating_add(*results));
                self.reopen(now, *id);
            }
            // Nobody waits any more: what is still on its way comes in late, as it would.
            Effect::CancelInvocation { id } => {
                if let Some(gate) = self.gates.remove(id) {
                    self.put_kept(now, gate.kept);
                }
                return false;
            }
            _ => return false,
        }
        true
    }

    /// What was kept is before the gate again, in its order and before what follows it.
    fn reopen(&mut self, now: Micros, id: InvocationId) {
        let Some(gate) = self.gates.get_mut(&id) else { return };
        let kept = std::mem::take(&mut gate.kept);
        self.put_kept(now, kept);
    }

    fn put_kept(&mut self, now: Micros, kept: VecDeque<(u64, Input)>) {
        for (number, input) in kept {
            self.insert(Ticket(now, number), input);
        }
    }

    /// Keeps what `keeps` says of, and drops the rest.
    pub fn retain(&mut self, mut keeps: impl FnMut(&Input) -> bool) {
        self.inputs.retain(|(_, input)| keeps(input));
    }

    /// How many inputs are in it.
    pub fn len(&self) -> usize {
        self.inputs.len() + self.gates.values().map(|gate| gate.kept.len()).sum::<usize>()
    }

    /// Whether nothing is going to come in.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the next input comes in.
    pub fn next_at(&self) -> Option<Micros> {
        self.inputs.front().map(|(ticket, _)| ticket.0)
    }

    /// The next input, if it comes in by `now` and somebody has room for it.
    pub fn pop_until(&mut self, now: Micros) -> Option<Input> {
        loop {
            self.next_at().filter(|at| *at <= now)?;
            let (Ticket(_, number), input) = self.pop()?;
            let Input::Provider(id, result) = &input else { return Some(input) };
            let Some(gate) = self.gates.get_mut(id) else { return Some(input) };
            // Behind what is kept nothing passes, the end of the invocation neither.
            if !gate.kept.is_empty() || !gate.passes(&input) {
                gate.kept.push_back((number, input));
                continue;
            }
            if matches!(result, ProviderResult::End(_)) {
                self.gates.remove(id);
            }
            return Some(input);
        }
    }
}

/// Whoever performs effects: providers, a transport.
pub trait Peers {
    /// Why an effect could not be performed.
    type Error;

    /// Performs an effect; what follows from it is put into the schedule, at `now` or later.
    ///
    /// # Errors
    /// Ends the run.
    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), Self::Error>;

    /// After each tick: what comes in next by itself, as the caller's audio does.
    ///
    /// # Errors
    /// Ends the run.
    fn after_tick(&mut self, _now: Micros, _view: Option<&View>, _schedule: &mut Schedule) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// What tells the time of a run.
pub trait Clock {
    /// Waits until `at`, or until an input comes in; gives the time that it is then, and the input.
    fn wait(&mut self, at: Micros) -> (Micros, Option<Input>);
}

/// It is always the time at which something happens next.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: Micros,
}

impl Clock for VirtualClock {
    fn wait(&mut self, at: Micros) -> (Micros, Option<Input>) {
        self.now = self.now.max(at);
        (self.now, None)
    }
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
    clock: &mut impl Clock,
    until: Micros,
    mut on_tick: impl FnMut(&[Record], Option<&View>),
) -> Result<Micros, P::Error> {
    let mut now = Micros(0);
    let mut batch = Batch::default();
    let mut held_back = Vec::new();
    let mut records = Vec::new();
    loop {
        let next = [core.next_deadline(now), schedule.next_at()].into_iter().flatten().min();
        let next = if held_back.is_empty() { next } else { Some(now) };
        let Some(at) = next.filter(|at| *at <= until) else { return Ok(now) };
        let came_in;
        (now, came_in) = clock.wait(at.max(now));
        if let Some(input) = came_in {
            schedule.put(now, input);
        }
        // What the core derived in its last tick comes first, in a tick of its own.
        if !core.has_derived() {
            for input in std::mem::take(&mut held_back) {
                offer(&mut batch, slot, input, &mut held_back);
            }
            while held_back.is_empty()
                && let Some(input) = schedule.pop_until(now)
            {
                offer(&mut batch, slot, input, &mut held_back);
            }
        }
        core.tick(now, &mut batch, &mut records);
        let view = core.view(slot);
        on_tick(&records, view.as_ref());
        for record in records.drain(..) {
            if let Entry::Effect(effect) = &record.entry {
                schedule.control_flow(now, effect);
                peers.perform(now, effect, schedule)?;
            }
        }
        peers.after_tick(now, view.as_ref(), schedule)?;
    }
}

/// Gives an input to the next tick, or keeps it back for the one after: once one is kept back, so are all behind it. A
/// provider's result that keeps to no limit becomes the end of its invocation.
pub(crate) fn offer(batch: &mut Batch, slot: Slot, input: Input, held_back: &mut Vec<Input>) {
    if !held_back.is_empty() {
        held_back.push(input);
        return;
    }
    let invocation = match &input {
        Input::Provider(id, _) => Some(*id),
        _ => None,
    };
    match batch.push(slot, input) {
        Ok(()) => {}
        Err(NotTaken::Full { input, .. }) => held_back.push(*input),
        Err(NotTaken::OutOfBounds { .. }) => {
            // A provider whose result can't be taken has failed; the core decides what follows.
            if let Some(id) = invocation {
                offer(batch, slot, Input::Provider(id, ProviderResult::End(Outcome::Failed)), held_back);
            }
        }
    }
}
