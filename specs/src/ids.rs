//! Names of things. Inside the core they are small integers; the long names exist at the borders.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// The row of a session on its worker. Slots are reused; a [`Generation`] tells apart who used one.
    Slot(u32), "s"
);
id!(
    /// A turn's number within its session, from 1.
    TurnId(u32), "t"
);
id!(
    /// Moves on at every turn opening and every cancellation of a slot, and never goes back.
    Generation(u32), "g"
);
id!(
    /// A provider invocation's number within its session, from 1.
    InvocationId(u32), "#"
);
id!(
    /// A node's place in the topological order of its plan.
    NodeIndex(u16), "n"
);
id!(
    /// An edge's place in its plan.
    EdgeIndex(u16), "e"
);
id!(
    /// A port's place among its node's inputs or outputs.
    PortIndex(u8), "p"
);
id!(
    /// A node's own number for a call that it asked for, from 1; the core maps it to an [`InvocationId`].
    CallRef(u32), "c"
);
id!(
    /// The order in which a session's inputs entered through the sequencer, from 1 (`F-150`).
    RuntimeSequence(u64), ""
);
id!(
    /// How many utterances a session's caller has begun, from 1.
    UtteranceId(u32), "u"
);

id!(
    /// Which holder of a session's lease an event speaks for; the control plane issues ever higher ones (`F-156`).
    LeaseEpoch(u64), "e"
);

/// The right to emit for one turn of one session.
///
/// Only the arbiter mints capabilities. Cancelling a turn moves the slot's generation on, which revokes
/// every copy at once: nothing needs to find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TurnCapability {
    slot: Slot,
    turn: TurnId,
    /// Not zero, which leaves room for [`Scope::Session`]: every row of the dataflow carries a scope.
    generation: NonZeroU32,
}

impl TurnCapability {
    /// Mints a capability. Called by `engine::fence` alone, which a test of the workspace enforces.
    ///
    /// # Panics
    /// With generation 0, in which no turn has been opened yet.
    pub fn mint(slot: Slot, turn: TurnId, generation: Generation) -> Self {
        let generation = NonZeroU32::new(generation.0).expect("opening a turn moves its slot's generation on");
        Self { slot, turn, generation }
    }

    /// The session's row.
    pub fn slot(self) -> Slot {
        self.slot
    }

    /// The turn that may be emitted for.
    pub fn turn(self) -> TurnId {
        self.turn
    }

    /// The generation in which this capability is valid.
    pub fn generation(self) -> Generation {
        Generation(self.generation.get())
    }

    /// Without its slot, for a table that has a place for each slot.
    pub fn without_slot(self) -> SlotlessCapability {
        let Self { turn, generation, .. } = self;
        SlotlessCapability { turn, generation }
    }
}

/// A [`TurnCapability`] in a place that is its slot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotlessCapability {
    turn: TurnId,
    generation: NonZeroU32,
}

impl SlotlessCapability {
    /// The capability, as it was on this slot.
    pub fn on(self, slot: Slot) -> TurnCapability {
        let Self { turn, generation } = self;
        TurnCapability { slot, turn, generation }
    }
}

/// What an event belongs to: the session's prelude, which can't reach egress, or one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Before and beside turns: recognition, endpointing, committed writes.
    Session,
    /// Under the capability of one turn.
    Turn(TurnCapability),
}

impl Scope {
    /// The turn's capability, where there is one.
    pub fn capability(self) -> Option<TurnCapability> {
        match self {
            Scope::Session => None,
            Scope::Turn(capability) => Some(capability),
        }
    }

    /// The turn's number, where there is one.
    pub fn turn(self) -> Option<TurnId> {
        self.capability().map(TurnCapability::turn)
    }
}
