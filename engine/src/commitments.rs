//! Writes: tools that change the world wait for their commit point, and are irrevocable from then on.

use std::sync::Arc;

use rspp_specs::event::ToolCall;
use rspp_specs::ids::{CallRef, NodeIndex};
use rspp_specs::limits::MAX_TURN_WRITES;

/// A write that waits for its commit point.
#[derive(Clone, Debug)]
pub(crate) struct Proposed {
    pub(crate) node: NodeIndex,
    pub(crate) call: CallRef,
    pub(crate) tool: ToolCall,
}

/// The writes that a turn has proposed. Dropping them is revoking them.
#[derive(Debug, Default)]
pub(crate) struct Commitments {
    proposed: Vec<Proposed>,
    seen: Vec<Arc<str>>,
}

impl Commitments {
    /// Takes a proposal, unless there are too many or its key was used in this turn already: one idempotency key,
    /// one write.
    pub(crate) fn propose(&mut self, proposed: Proposed) -> bool {
        if self.seen.len() == MAX_TURN_WRITES || self.seen.contains(&proposed.tool.key) {
            return false;
        }
        self.seen.push(Arc::clone(&proposed.tool.key));
        self.proposed.push(proposed);
        true
    }

    /// All that wait, in the order of proposal; they wait no longer.
    pub(crate) fn take(&mut self) -> Vec<Proposed> {
        std::mem::take(&mut self.proposed)
    }

    /// Those of all that wait, in their order; they wait no longer, and the others do.
    pub(crate) fn take_those(&mut self, of: impl Fn(&Proposed) -> bool) -> Vec<Proposed> {
        self.proposed.extract_if(.., |proposed| of(proposed)).collect()
    }

    /// The keys of all that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Arc<str>> {
        self.proposed.iter().map(|proposed| &proposed.tool.key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.proposed.is_empty()
    }
}
