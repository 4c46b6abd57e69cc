//! The fence: why nothing of a cancelled turn comes out.
//!
//! A turn's output needs its [`TurnCapability`], which names the slot's generation. Cancelling moves the
//! generation on, once; every copy of the capability is void from that moment, and nobody needs to find
//! them. Three gates compare, each at the last place where it still can:
//!
//! 1. where results come in: an invocation of a revoked turn has no row any more, so its result is marked late
//!    and never enters the graph;
//! 2. at egress: an ask to transmit under a capability that is not the active turn's is counted and dropped;
//! 3. at the transport's write: every frame carries the session's egress epoch, and the bridge drops what is
//!    older than the last epoch it was told.
//!
//! Inside the graph, the revocation is a control row: the engine feeds it a lane before the tick's data and steps
//! until every leaf has passed, so when `fence_applied` is said, every operator has dropped what it held.

use rspp_specs::ids::{Generation, Slot, TurnCapability, TurnId};

/// A slot's generation. It never goes back, also when the slot is used again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fence {
    generation: Generation,
}

impl Fence {
    /// Mints the capability of a new turn. Any earlier one of this slot is void.
    pub(crate) fn open(&mut self, slot: Slot, turn: TurnId) -> TurnCapability {
        self.generation.0 += 1;
        TurnCapability::mint(slot, turn, self.generation)
    }

    /// The slot's generation now.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Voids every copy of the slot's capability.
    pub(crate) fn revoke(&mut self) {
        self.generation.0 += 1;
    }

    /// Whether a capability is the slot's valid one.
    pub(crate) fn admits(&self, capability: TurnCapability) -> bool {
        capability.generation() == self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_void_once_revoked_or_replaced() {
        let mut fence = Fence::default();
        let first = fence.open(Slot(3), TurnId(1));
        assert!(fence.admits(first));
        fence.revoke();
        assert!(!fence.admits(first));
        let second = fence.open(Slot(3), TurnId(2));
        assert!(fence.admits(second) && !fence.admits(first));
        assert!(second.generation() > first.generation());
        let mut behind = Fence::default();
        behind.open(Slot(3), TurnId(1));
        assert!(!behind.admits(second), "nor is one good that is not minted yet");
    }
}
