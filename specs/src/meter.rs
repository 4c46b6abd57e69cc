//! What nodes' computing takes, as measured by whoever has a clock.
//!
//! The core has none: it asks a [`Stopwatch`] that its shell lends it, decides nothing by what that says, and hands the
//! long reactions over. The shell gives them back as inputs, so that a replay, which measures nothing, decides the same.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::ids::{NodeIndex, Slot};
use crate::limits::MAX_TICK_OVERRUNS;
use crate::time::Micros;

/// Tells how long something takes.
pub trait Stopwatch {
    /// How long this thread has computed. What others do on its processor meanwhile is not in it.
    fn computed(&self) -> Micros;

    /// The cheapest clock that there is, read each time that an operator has run: where it makes a leap, the next
    /// reactions of that operator are measured one by one. `None`: each reaction is measured, always.
    fn glance(&self) -> Option<Micros>;
}

/// A reaction that computed for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Of which session.
    pub slot: Slot,
    /// Of which node.
    pub node: NodeIndex,
    /// How long.
    pub took: Micros,
}

/// Measures the operators of one worker. By default it measures nothing, and costs nothing.
#[derive(Clone, Default)]
pub struct Meter(Option<Rc<Inner>>);

struct Inner {
    stopwatch: Box<dyn Stopwatch>,
    /// Shorter reactions are nobody's business.
    floor: Micros,
    glanced: Cell<Micros>,
    overruns: RefCell<Vec<Overrun>>,
}

impl Meter {
    /// Measures with this stopwatch; tells reactions that take longer than `floor`.
    pub fn new(stopwatch: Box<dyn Stopwatch>, floor: Micros) -> Self {
        let (glanced, overruns) = (Cell::default(), RefCell::default());
        Self(Some(Rc::new(Inner { stopwatch, floor, glanced, overruns })))
    }

    /// Whether each reaction is measured, always.
    pub fn is_exact(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.stopwatch.glance().is_none())
    }

    /// Glances count from here.
    pub fn begin(&self) {
        if let Some(inner) = &self.0
            && let Some(now) = inner.stopwatch.glance()
        {
            inner.glanced.set(now);
        }
    }

    /// Whether more time has passed since the last glance than any reaction should take.
    #[inline]
    pub fn leaps(&self) -> bool {
        let Some(inner) = &self.0 else { return false };
        let Some(now) = inner.stopwatch.glance() else { return false };
        now.since(inner.glanced.replace(now)) > inner.floor
    }

    /// How long this thread has computed.
    pub fn computed(&self) -> Micros {
        self.0.as_ref().map(|inner| inner.stopwatch.computed()).unwrap_or_default()
    }

    /// A reaction that began when the thread had computed for so long is over. Gives whether it was a long one.
    pub fn note(&self, slot: Slot, node: NodeIndex, began: Micros) -> bool {
        let Some(inner) = &self.0 else { return false };
        let took = inner.stopwatch.computed().since(began);
        let mut overruns = inner.overruns.borrow_mut();
        if took > inner.floor && overruns.len() < MAX_TICK_OVERRUNS {
            overruns.push(Overrun { slot, node, took });
        }
        took > inner.floor
    }

    /// Hands over what was noted; nothing is left behind.
    pub fn hand_over(&self, overruns: &mut Vec<Overrun>) {
        if let Some(inner) = &self.0 {
            overruns.append(&mut inner.overruns.borrow_mut());
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meter").field(&self.0.as_ref().map(|inner| inner.floor)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is set by hand; the second hand runs only while the thread computes.
    #[derive(Clone, Default)]
    struct Hand(Rc<Cell<u64>>, Rc<Cell<u64>>);

    impl Stopwatch for Hand {
        fn computed(&self) -> Micros {
            Micros(self.1.get())
        }
        fn glance(&self) -> Option<Micros> {
            Some(Micros(self.0.get()))
        }
    }

    #[test]
    fn a_leap_is_a_suspicion_and_only_computing_is_an_overrun() {
        let hand = Hand::default();
        let meter = Meter::new(Box::new(hand.clone()), Micros(10));
        hand.0.set(500);
        meter.begin();
        assert!(!meter.leaps());
        hand.0.set(511);
        assert!(meter.leaps() && !meter.leaps(), "a leap is one leap");
        let began = meter.computed();
        hand.0.set(900);
        assert!(!meter.note(Slot(1), NodeIndex(2), began), "somebody else had the processor");
        hand.1.set(11);
        assert!(meter.note(Slot(1), NodeIndex(2), began));
        let mut overruns = Vec::new();
        meter.hand_over(&mut overruns);
        assert_eq!(overruns, [Overrun { slot: Slot(1), node: NodeIndex(2), took: Micros(11) }]);
        overruns.clear();
        meter.hand_over(&mut overruns);
        assert_eq!(overruns, []);
    }

    #[test]
    fn without_a_stopwatch_nothing_is_measured() {
        let meter = Meter::default();
        meter.begin();
        assert!(!meter.leaps() && !meter.is_exact() && !meter.note(Slot(0), NodeIndex(0), Micros(0)));
    }
}
