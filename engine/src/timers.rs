//! The timer wheel inside: due timers fire from a tick's `now`, in the order of (deadline, id).

use std::collections::BTreeMap;

use rspp_specs::ids::Slot;
use rspp_specs::time::Micros;
use rspp_specs::timeline::TimerKey;

/// All timers of a worker. A session has at most one for each key.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Micros, u64), (Slot, TimerKey)>,
    keys: BTreeMap<(Slot, TimerKey), (Micros, u64)>,
    next_id: u64,
}

impl Timers {
    /// Sets a timer; replaces one of the same key.
    pub(crate) fn set(&mut self, slot: Slot, key: TimerKey, at: Micros) {
        self.cancel(slot, key);
        let place = (at, self.next_id);
        self.next_id += 1;
        self.due.insert(place, (slot, key));
        self.keys.insert((slot, key), place);
    }

    /// Takes a timer back.
    pub(crate) fn cancel(&mut self, slot: Slot, key: TimerKey) {
        if let Some(place) = self.keys.remove(&(slot, key)) {
            self.due.remove(&place);
        }
    }

    /// Takes back all timers of a session.
    pub(crate) fn cancel_all(&mut self, slot: Slot) {
        let first = (slot, TimerKey::Node(rspp_specs::ids::NodeIndex(0)));
        let keys: Vec<TimerKey> =
            self.keys.range(first..).take_while(|((of, _), _)| *of == slot).map(|((_, key), _)| *key).collect();
        for key in keys {
            self.cancel(slot, key);
        }
    }

    /// The next timer that is due at `now`; where `only` is named, of that session.
    pub(crate) fn pop_due(&mut self, now: Micros, only: Option<Slot>) -> Option<(Slot, TimerKey)> {
        let mut due = self.due.range(..=(now, u64::MAX));
        let (place, (slot, key)) =
            due.find(|(_, (slot, _))| only.is_none_or(|only| *slot == only)).map(|(place, timer)| (*place, *timer))?;
        self.due.remove(&place);
        self.keys.remove(&(slot, key));
        Some((slot, key))
    }

    /// When the next timer is due.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}
