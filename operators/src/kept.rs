//! Who keeps a timely capability: nobody, once a tick is over.
//!
//! A capability kept past its tick would stop every session of the worker. Operators note here what they keep
//! for the rest of a tick; if a tick does not come to rest, the engine names whoever is still on the list.

use std::cell::RefCell;
use std::rc::Rc;

use rspp_specs::ids::NodeIndex;
use timely::dataflow::operators::Capability;

/// The list, shared by the operators of one dataflow.
#[derive(Clone, Debug, Default)]
pub struct Kept(Rc<RefCell<Vec<(NodeIndex, u64)>>>);

impl Kept {
    /// Every node that keeps a capability, and for which sub-tick.
    pub fn list(&self) -> Vec<(NodeIndex, u64)> {
        let mut list = self.0.borrow().clone();
        list.sort_unstable();
        list
    }

    /// A place for one operator's capabilities.
    pub(crate) fn place(&self, node: NodeIndex) -> Place {
        Place { kept: self.clone(), node, capabilities: Vec::new() }
    }
}

/// Capabilities of one operator for one sub-tick, one for each output.
#[derive(Debug)]
pub(crate) struct Place {
    kept: Kept,
    node: NodeIndex,
    capabilities: Vec<Capability<u64>>,
}

impl Place {
    /// Keeps capabilities until [`Place::release`].
    pub(crate) fn keep(&mut self, capabilities: impl Iterator<Item = Capability<u64>>) {
        if self.capabilities.is_empty() {
            self.capabilities.extend(capabilities);
            if let Some(first) = self.capabilities.first() {
                self.kept.0.borrow_mut().push((self.node, *first.time()));
            }
        }
    }

    /// For which sub-tick capabilities are kept, if any are.
    pub(crate) fn time(&self) -> Option<u64> {
        self.capabilities.first().map(|capability| *capability.time())
    }

    /// The capabilities, by output.
    pub(crate) fn capabilities(&self) -> &[Capability<u64>] {
        &self.capabilities
    }

    /// Drops the capabilities.
    pub(crate) fn release(&mut self) {
        let Some(time) = self.time() else { return };
        self.capabilities.clear();
        let mut kept = self.kept.0.borrow_mut();
        if let Some(place) = kept.iter().position(|one| *one == (self.node, time)) {
            kept.swap_remove(place);
        }
    }
}
