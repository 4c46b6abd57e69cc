//! Containers that go round: whoever has read one gives it back, whoever fills one takes it from here.
//!
//! Timely hands a container over and forgets it, so without this every hop of every tick would grow a new one.

use std::cell::RefCell;
use std::rc::Rc;

use rspp_specs::event::Event;
use rspp_specs::limits::MAX_SPARE_BUFFERS;

/// Spare containers, shared by the operators of one dataflow.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Rc<RefCell<Vec<Vec<Event>>>>);

impl Buffers {
    /// An empty container; with room in it, once the dataflow has run for a while.
    pub(crate) fn take(&self) -> Vec<Event> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes back a container that has been read.
    pub(crate) fn give_back(&self, rows: &mut Vec<Event>) {
        debug_assert!(rows.is_empty(), "a container is given back with {} rows unread", rows.len());
        let mut spare = self.0.borrow_mut();
        if rows.capacity() > 0 && spare.len() < MAX_SPARE_BUFFERS {
            spare.push(std::mem::take(rows));
        }
    }
}
