//! Computing in virtual time: it takes as long as a node says, and no other time passes.

use std::cell::Cell;

use rspp_specs::meter::{Meter, Stopwatch};
use rspp_specs::time::Micros;

thread_local! {
    static COMPUTED: Cell<u64> = const { Cell::new(0) };
}

/// What a worker lets pass without a word.
const FLOOR: Micros = Micros::from_ms(5);

/// A node of a simulation computes for so long.
pub fn compute(time: Micros) {
    COMPUTED.set(COMPUTED.get() + time.0);
}

struct Virtual;

impl Stopwatch for Virtual {
    fn computed(&self) -> Micros {
        Micros(COMPUTED.get())
    }

    /// A session is measured alone as it is among others.
    fn glance(&self) -> Option<Micros> {
        None
    }
}

/// Measures what nodes say that they compute.
pub(super) fn meter() -> Meter {
    Meter::new(Box::new(Virtual), FLOOR)
}
