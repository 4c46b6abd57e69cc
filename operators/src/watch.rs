//! For how long the reactions at one operator compute.
//!
//! A clock that can be trusted costs more than all that a hop does, so it is read only where there is a suspicion: after each
//! run of the operator the cheapest clock is looked at, and where it has made a leap, the next reactions are measured one
//! by one, by what the thread has really computed. Then the long ones have a name, and a processor that was busy elsewhere
//! is nobody's fault.

use rspp_specs::dataflow::ControlRow;
use rspp_specs::event::{Delivery, Event};
use rspp_specs::ids::{NodeIndex, Slot};
use rspp_specs::meter::Meter;

/// So many reactions are measured one by one behind a leap, and behind each that was long.
const CLOSE_LOOKS: u32 = 256;

/// Something that a session is in for.
pub(crate) trait OfSession {
    /// Which.
    fn slot(&self) -> Slot;
}

impl OfSession for &ControlRow {
    fn slot(&self) -> Slot {
        self.slot
    }
}

impl OfSession for Event {
    fn slot(&self) -> Slot {
        self.origin.slot
    }
}

impl OfSession for Delivery {
    fn slot(&self) -> Slot {
        self.origin.slot
    }
}

/// The watch over one operator.
pub(crate) struct Watch {
    meter: Meter,
    node: NodeIndex,
    /// How many more reactions are measured one by one.
    close_looks: u32,
}

impl Watch {
    pub(crate) fn new(meter: &Meter, node: NodeIndex) -> Self {
        let close_looks = if meter.is_exact() { CLOSE_LOOKS } else { 0 };
        Self { meter: meter.clone(), node, close_looks }
    }

    /// Whether each reaction is measured.
    #[inline]
    pub(crate) fn is_close(&self) -> bool {
        self.close_looks > 0
    }

    /// Reactions have run that were not measured.
    #[inline]
    pub(crate) fn glance(&mut self) {
        if self.meter.leaps() {
            self.close_looks = CLOSE_LOOKS;
        }
    }

    /// Measures a reaction of this session's.
    pub(crate) fn measure(&mut self, slot: Slot, reaction: impl FnOnce()) {
        let began = self.meter.computed();
        reaction();
        let was_long = self.meter.note(slot, self.node, began);
        let left = self.close_looks.saturating_sub(1);
        self.close_looks = if was_long || self.meter.is_exact() { CLOSE_LOOKS } else { left };
        if left == 0 {
            // What was looked at closely is not to be taken for a leap.
            self.meter.begin();
        }
    }
}
