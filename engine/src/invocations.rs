//! Invocations in flight: rows of a session's table, each with who asked, in whose name, and for whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rspp_specs::ids::{CallRef, InvocationId, NodeIndex, Scope, TurnCapability};
use rspp_specs::limits::MAX_SESSION_INVOCATIONS;

/// What kind of work it is, as far as the core must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transcribe,
    Chat,
    Speak,
    Tool,
}

/// One invocation in flight.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) node: NodeIndex,
    pub(crate) call: CallRef,
    pub(crate) kind: Kind,
    /// With what it is cancelled: a turn, or the session. A committed write belongs to the session.
    pub(crate) cancelled_with: Scope,
    /// Who gets its results: the session's node, a turn's node, or nobody any more.
    pub(crate) results_to: Option<Scope>,
    /// The idempotency key, of a tool's call.
    pub(crate) tool_key: Option<Arc<str>>,
}

impl Invocation {
    /// The turn that waits for it, and that it therefore holds.
    pub(crate) fn holds(&self) -> Option<TurnCapability> {
        self.results_to.and_then(Scope::capability)
    }
}

/// Invocations of a session, by number.
#[derive(Debug, Default)]
pub(crate) struct Invocations {
    last: u32,
    rows: BTreeMap<InvocationId, Invocation>,
    /// Of late results it can be said that they were cancelled, as long as the number is remembered.
    cancelled: VecDeque<InvocationId>,
}

/// Cancelled invocations that are remembered.
const MAX_REMEMBERED: usize = 256;

impl Invocations {
    pub(crate) fn resume(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// A new row, or `None` if too many are in flight.
    pub(crate) fn start(&mut self, invocation: Invocation) -> Option<InvocationId> {
        if self.rows.len() >= MAX_SESSION_INVOCATIONS {
            return None;
        }
        self.last += 1;
        let id = InvocationId(self.last);
        self.rows.insert(id, invocation);
        Some(id)
    }

    pub(crate) fn get(&self, id: InvocationId) -> Option<&Invocation> {
        self.rows.get(&id)
    }

    /// The row that a node knows by its own reference.
    pub(crate) fn find(&self, node: NodeIndex, call: CallRef) -> Option<InvocationId> {
        self.rows.iter().find(|(_, row)| row.node == node && row.call == call).map(|(id, _)| *id)
    }

    pub(crate) fn end(&mut self, id: InvocationId) {
        self.rows.remove(&id);
    }

    /// Removes every row that ends with `scope`, by number; rows that outlive it lose their audience.
    pub(crate) fn cancel(&mut self, scope: Scope) -> Vec<InvocationId> {
        let cancelled: Vec<InvocationId> =
            self.rows.iter().filter(|(_, row)| row.cancelled_with == scope).map(|(id, _)| *id).collect();
        for id in &cancelled {
            self.rows.remove(id);
            if self.cancelled.len() == MAX_REMEMBERED {
                self.cancelled.pop_front();
            }
            self.cancelled.push_back(*id);
        }
        for row in self.rows.values_mut().filter(|row| row.results_to == Some(scope)) {
            row.results_to = None;
        }
        cancelled
    }

    /// Removes what ends with the session, apart from tools: a committed write is irrevocable.
    pub(crate) fn cancel_prelude(&mut self) -> Vec<InvocationId> {
        self.rows.retain(|_, row| row.kind != Kind::Tool);
        self.cancel(Scope::Session)
    }

    pub(crate) fn was_cancelled(&self, id: InvocationId) -> bool {
        self.cancelled.contains(&id)
    }

    /// Who is waited for by this turn.
    pub(crate) fn holding(&self, turn: TurnCapability) -> impl Iterator<Item = InvocationId> + '_ {
        self.rows.iter().filter(move |(_, row)| row.holds() == Some(turn)).map(|(id, _)| *id)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
