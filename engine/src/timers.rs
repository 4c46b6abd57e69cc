//! The timers inside: due ones fire from a tick's `now`, in the order of (deadline, id).
//!
//! Every frame that is sent sets one, so they cost as little as they can: a heap says which is next, and each slot knows its
//! own, which are few. What was taken back stays in the heap until it comes up, or until half of the heap is such.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rspp_specs::ids::Slot;
use rspp_specs::time::Micros;
use rspp_specs::timeline::TimerKey;

/// All timers of a worker. A session has at most one for each key.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The first of them is set; others may not be any more.
    due: BinaryHeap<Reverse<Due>>,
    /// By slot.
    set: Vec<Vec<Set>>,
    /// How many are set.
    number: usize,
    next_id: u64,
}

/// A deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Micros,
    id: u64,
    slot: Slot,
    key: TimerKey,
}

/// A timer of a slot.
#[derive(Clone, Copy, Debug)]
struct Set {
    key: TimerKey,
    at: Micros,
    id: u64,
}

/// A heap with fewer deadlines is never cleared of those that are not set any more.
const FEW: usize = 64;

impl Timers {
    /// Sets a timer; replaces one of the same key.
    pub(crate) fn set(&mut self, slot: Slot, key: TimerKey, at: Micros) {
        let index = slot.0 as usize;
        if self.set.len() <= index {
            self.set.resize_with(index + 1, Vec::new);
        }
        let id = self.next_id;
        self.next_id += 1;
        let (of_slot, timer) = (&mut self.set[index], Set { key, at, id });
        match of_slot.iter_mut().find(|other| other.key == key) {
            Some(other) => *other = timer,
            None => {
                of_slot.push(timer);
                self.number += 1;
            }
        }
        self.due.push(Reverse(Due { at, id, slot, key }));
        self.clear_up();
    }

    /// Takes a timer back.
    pub(crate) fn cancel(&mut self, slot: Slot, key: TimerKey) {
        let Some(of_slot) = self.set.get_mut(slot.0 as usize) else { return };
        if let Some(place) = of_slot.iter().position(|timer| timer.key == key) {
            of_slot.swap_remove(place);
            self.number -= 1;
            self.clear_up();
        }
    }

    /// Takes back all timers of a session.
    pub(crate) fn cancel_all(&mut self, slot: Slot) {
        if let Some(of_slot) = self.set.get_mut(slot.0 as usize) {
            self.number -= of_slot.len();
            of_slot.clear();
            self.clear_up();
        }
    }

    /// The next timer that is due at `now`; where `only` is named, of that session.
    pub(crate) fn pop_due(&mut self, now: Micros, only: Option<Slot>) -> Option<(Slot, TimerKey)> {
        let (slot, key) = match only {
            None => {
                self.due.peek().map(|Reverse(due)| *due).filter(|due| due.at <= now).map(|due| (due.slot, due.key))?
            }
            Some(slot) => {
                let of_slot = self.set.get(slot.0 as usize)?.iter();
                let first = of_slot.filter(|timer| timer.at <= now).min_by_key(|timer| (timer.at, timer.id))?;
                (slot, first.key)
            }
        };
        self.cancel(slot, key);
        Some((slot, key))
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Sees to it that the first deadline is that of a timer which is set, and that most are.
    fn clear_up(&mut self) {
        let is_set = |due: &Due| self.set[due.slot.0 as usize].iter().any(|timer| timer.id == due.id);
        while self.due.peek().is_some_and(|Reverse(due)| !is_set(due)) {
            self.due.pop();
        }
        if self.due.len() > FEW + 2 * self.number {
            self.due.retain(|Reverse(due)| is_set(due));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rspp_specs::ids::NodeIndex;
    use std::collections::BTreeMap;

    /// What may be done with timers: `None` takes all of the slot back, a key without a time takes that one back.
    type Step = (u32, Option<(u16, Option<u64>)>);

    fn step() -> impl Strategy<Value = Step> {
        (0..4_u32, prop::option::weighted(0.95, (0..3_u16, prop::option::weighted(0.8, 0..100_u64))))
    }

    proptest! {
        /// By time, and among those of one time in the order in which they were set; each once, and none that was taken back.
        #[test]
        fn timers_fire_in_their_order(steps in prop::collection::vec(step(), 0..300), pop_every in 1..20_u64) {
            let (mut timers, mut known) = (Timers::default(), BTreeMap::new());
            for (number, (slot, of)) in (0_u64..).zip(steps) {
                let slot = Slot(slot);
                match of {
                    None => {
                        timers.cancel_all(slot);
                        known.retain(|(other, _), _| *other != slot);
                    }
                    Some((key, at)) => {
                        let key = TimerKey::Node(NodeIndex(key));
                        match at {
                            Some(at) => {
                                timers.set(slot, key, Micros(at));
                                known.insert((slot, key), (Micros(at), number));
                            }
                            None => {
                                timers.cancel(slot, key);
                                known.remove(&(slot, key));
                            }
                        }
                    }
                }
                if number % pop_every == 0 {
                    let only = (number % 2 == 0).then_some(slot);
                    let now = Micros(number % 100);
                    let all = known.iter().filter(|((slot, _), (at, _))| *at <= now && only.is_none_or(|only| only == *slot));
                    let first = all.min_by_key(|(_, place)| **place).map(|(of, _)| *of);
                    prop_assert_eq!(timers.pop_due(now, only), first);
                    first.map(|of| known.remove(&of));
                }
                prop_assert_eq!(timers.next(), known.values().map(|(at, _)| *at).min());
                prop_assert!(timers.due.len() <= FEW + 2 * known.len().max(1));
            }
        }
    }
}
