//! Where paths meet: what arrives for a sub-tick waits until no more can arrive, then goes on in canonical order.
//!
//! Inside a tick, a short path delivers before a long one, and which is shorter depends on the rest of the
//! graph. A fan-in therefore holds what it got for `(n, lane)` until all its input frontiers have passed it,
//! and sorts by its rule: (slot, cause, port) unless its plan says otherwise. Every synchronous path finishes inside the tick, so this costs no
//! waiting; and a session's events come out in the same order whatever shares its ticks.
//!
//! Whoever comes behind, and the core last of all, goes by causes. So where a rule puts an event behind one with a later
//! cause, the event follows from that one as well, and takes its cause: otherwise the next fan-in would undo the order.

use rspp_specs::event::Payload;
use rspp_specs::ids::{PortIndex, RuntimeSequence, Slot};
use rspp_specs::plan::MergeOrder;

use crate::node::Context;

/// What a fan-in holds for one sub-tick.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    rows: Vec<(Slot, RuntimeSequence, u16, T)>,
}

/// What has a cause, and may get a later one.
pub(crate) trait Caused {
    fn cause_mut(&mut self) -> &mut RuntimeSequence;
}

impl<T: Caused> Waiting<T> {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// Holds a row that came in at `port`.
    pub(crate) fn push(&mut self, slot: Slot, cause: RuntimeSequence, port: u16, row: T) {
        self.rows.push((slot, cause, port, row));
    }

    /// Hands over all rows in canonical order. The sort is stable: rows of one path keep the order in which
    /// they were emitted.
    pub(crate) fn drain_in_order(&mut self, order: MergeOrder) -> impl Iterator<Item = T> + '_ {
        match order {
            MergeOrder::ByCause => self.rows.sort_by_key(|(slot, cause, port, _)| (*slot, *cause, *port)),
            MergeOrder::ByPort => {
                self.rows.sort_by_key(|(slot, cause, port, _)| (*slot, *port, *cause));
                self.follow();
            }
        }
        self.rows.drain(..).map(|(_, _, _, row)| row)
    }

    /// Each row follows from the rows of its session before it.
    fn follow(&mut self) {
        let mut before: Option<(Slot, RuntimeSequence)> = None;
        for (slot, cause, _, row) in &mut self.rows {
            let latest = before.filter(|(of, _)| of == slot).map_or(*cause, |(_, latest)| latest.max(*cause));
            if latest > *cause {
                *row.cause_mut() = latest;
            }
            before = Some((*slot, latest));
        }
    }
}

/// Which inputs of a fan-in have ended. A stream that ends twice, as that of a model which is asked twice does, is one.
#[derive(Debug)]
pub(crate) struct Ended {
    inputs: Vec<bool>,
}

impl Ended {
    /// Of so many inputs, none.
    pub(crate) fn new(inputs: usize) -> Self {
        Self { inputs: vec![false; inputs] }
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// This input has ended; whether all have.
    pub(crate) fn note(&mut self, port: PortIndex) -> bool {
        if let Some(ended) = self.inputs.get_mut(usize::from(port.0)) {
            *ended = true;
        }
        self.inputs.iter().all(|ended| *ended)
    }
}

/// One of so many streams takes back what it gave. Where several meet, nobody can tell what that was: it ends here, and is
/// said. The engine asks no model again whose half answer has come to such a place; only a user's node can send it.
pub(crate) fn retract(cx: &mut Context<'_>, inputs: usize) {
    if inputs == 1 {
        cx.emit(Payload::Retract);
    } else {
        cx.dropped(1, "fan-in: what one stream takes back can't be told from what the others gave");
    }
}
