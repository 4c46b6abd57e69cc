//! Invocations in flight: rows of a session's table, each with who asked, in whose name, and for whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rspp_specs::event::Request;
use rspp_specs::ids::{CallRef, InvocationId, NodeIndex, Scope, TurnCapability};
use rspp_specs::limits::MAX_SESSION_INVOCATIONS;
use rspp_specs::time::Micros;

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
    /// Who is called.
    pub(crate) binding: Arc<str>,
    /// Its place among those that the plan allows.
    pub(crate) choice: usize,
    /// How often it was called for this, this time included.
    pub(crate) attempt: u32,
    /// What was asked, as long as it can be asked again: until the first result.
    pub(crate) request: Option<Request>,
    /// The failed invocation in whose place this one stands.
    pub(crate) replaces: Option<InvocationId>,
    /// When a result came last.
    pub(crate) last_result: Option<Micros>,
    /// Whether it is the one call that tries a provider whose circuit is half open.
    pub(crate) probes: bool,
    /// The keys of the tools that a model wants called; so many that all of a turn's writes are among them.
    pub(crate) wishes: Vec<Arc<str>>,
}

impl Invocation {
    /// A first attempt, that is cancelled with `scope` and answers it.
    pub(crate) fn new(node: NodeIndex, call: CallRef, kind: Kind, scope: Scope) -> Self {
        Self {
            node,
            call,
            kind,
            cancelled_with: scope,
            results_to: Some(scope),
            tool_key: None,
            binding: Arc::default(),
            choice: 0,
            attempt: 1,
            request: None,
            replaces: None,
            last_result: None,
            probes: false,
            wishes: Vec::new(),
        }
    }

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
    /// Those that failed and will be tried again in a while, by the number that they had.
    waiting: BTreeMap<InvocationId, Invocation>,
    /// Of late results it can be said that they were cancelled, as long as the number is remembered.
    cancelled: VecDeque<Cancelled>,
}

/// An invocation of which nobody takes results any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cancelled {
    id: InvocationId,
    /// When its provider was told.
    pub(crate) told_at: Micros,
    /// What came all the same.
    pub(crate) late_results: u32,
    /// It is ended by force.
    pub(crate) forced: bool,
}

/// Tools that one call of a model may want and that are remembered with it. One that wants more has its writes behind them
/// outlive its own cancellation.
const MAX_MODEL_WISHES: usize = 64;
/// Cancelled invocations that are remembered.
const MAX_REMEMBERED: usize = 256;

impl Invocations {
    pub(crate) fn resume(last: u32) -> Self {
        Self { last, ..Self::default() }
    }

    /// A new row, or `None` if too many are in flight.
    pub(crate) fn start(&mut self, invocation: Invocation) -> Option<InvocationId> {
        if self.rows.len() + self.waiting.len() >= MAX_SESSION_INVOCATIONS {
            return None;
        }
        self.last += 1;
        let id = InvocationId(self.last);
        self.rows.insert(id, invocation);
        Some(id)
    }

    /// The number of the last one.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// Whether none is in flight, and none waits to be tried again.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.waiting.is_empty()
    }

    /// How many more there may be.
    pub(crate) fn room(&self) -> usize {
        MAX_SESSION_INVOCATIONS.saturating_sub(self.rows.len() + self.waiting.len())
    }

    pub(crate) fn get(&self, id: InvocationId) -> Option<&Invocation> {
        self.rows.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: InvocationId) -> Option<&mut Invocation> {
        self.rows.get_mut(&id)
    }

    /// A model wants a tool called.
    pub(crate) fn note_wish(&mut self, id: InvocationId, key: &Arc<str>) {
        if let Some(row) = self.rows.get_mut(&id).filter(|row| row.wishes.len() < MAX_MODEL_WISHES) {
            row.wishes.push(Arc::clone(key));
        }
    }

    /// A failed invocation waits for another attempt.
    pub(crate) fn wait(&mut self, id: InvocationId, row: Invocation) {
        self.waiting.insert(id, row);
    }

    /// One that has waited long enough, unless it was cancelled meanwhile.
    pub(crate) fn take_waiting(&mut self, id: InvocationId) -> Option<Invocation> {
        self.waiting.remove(&id)
    }

    /// All that wait and end with `scope`.
    pub(crate) fn waiting_of(&self, scope: Scope) -> Vec<InvocationId> {
        self.waiting.iter().filter(|(_, row)| row.cancelled_with == scope).map(|(id, _)| *id).collect()
    }

    /// Takes all of these out.
    pub(crate) fn take_waiting_of(&mut self, scope: Scope) -> Vec<InvocationId> {
        let ids = self.waiting_of(scope);
        ids.iter().for_each(|id| drop(self.waiting.remove(id)));
        ids
    }

    /// Nobody waits for this one any more: what it still sends is late.
    pub(crate) fn abandon(&mut self, id: InvocationId, now: Micros) {
        self.rows.remove(&id);
        if self.cancelled.len() == MAX_REMEMBERED {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back(Cancelled { id, told_at: now, late_results: 0, forced: false });
    }

    /// The row that a node knows by its own reference.
    pub(crate) fn find(&self, node: NodeIndex, call: CallRef) -> Option<InvocationId> {
        self.rows.iter().find(|(_, row)| row.node == node && row.call == call).map(|(id, _)| *id)
    }

    pub(crate) fn end(&mut self, id: InvocationId) {
        self.rows.remove(&id);
    }

    /// The keys of the tools that end with `scope`.
    pub(crate) fn tool_keys_of(&self, scope: Scope) -> Vec<Arc<str>> {
        let ending = self.rows.values().filter(|row| row.cancelled_with == scope);
        ending.filter_map(|row| row.tool_key.clone()).collect()
    }

    /// Removes every row that ends with `scope`, by number; rows that outlive it lose their audience.
    pub(crate) fn cancel(&mut self, scope: Scope, now: Micros) -> Vec<InvocationId> {
        let cancelled: Vec<InvocationId> =
            self.rows.iter().filter(|(_, row)| row.cancelled_with == scope).map(|(id, _)| *id).collect();
        cancelled.iter().for_each(|id| self.abandon(*id, now));
        for row in self.rows.values_mut().filter(|row| row.results_to == Some(scope)) {
            row.results_to = None;
        }
        cancelled
    }

    /// Removes what ends with the session, apart from tools: a committed write is irrevocable.
    pub(crate) fn cancel_prelude(&mut self, now: Micros) -> Vec<InvocationId> {
        self.rows.retain(|_, row| row.kind != Kind::Tool);
        self.cancel(Scope::Session, now)
    }

    /// What is remembered of a cancelled one.
    pub(crate) fn cancelled_mut(&mut self, id: InvocationId) -> Option<&mut Cancelled> {
        self.cancelled.iter_mut().find(|cancelled| cancelled.id == id)
    }

    /// Those, in flight or waiting for another attempt, that can be cancelled apart from their turn: `of` says which.
    /// A committed write can't.
    pub(crate) fn cancellable(&self, of: impl Fn(InvocationId, &Invocation) -> bool) -> Vec<InvocationId> {
        let irrevocable = |row: &Invocation| row.kind == Kind::Tool && row.cancelled_with == Scope::Session;
        let all = self.rows.iter().chain(&self.waiting);
        all.filter(|(id, row)| !irrevocable(row) && of(**id, row)).map(|(id, _)| *id).collect()
    }

    /// A node's calls to models and voices, in flight or waiting for another attempt.
    pub(crate) fn callable(&self, node: NodeIndex) -> impl Iterator<Item = (InvocationId, &Invocation)> {
        let all = self.rows.iter().chain(&self.waiting);
        let calls = all.filter(move |(_, row)| row.node == node && matches!(row.kind, Kind::Chat | Kind::Speak));
        calls.map(|(id, row)| (*id, row))
    }

    /// Takes one out, wherever it is.
    pub(crate) fn take(&mut self, id: InvocationId) -> Option<Invocation> {
        self.rows.remove(&id).or_else(|| self.waiting.remove(&id))
    }

    /// Whether something of the turn is being spoken.
    pub(crate) fn is_speaking(&self, turn: TurnCapability) -> bool {
        self.rows.values().any(|row| row.kind == Kind::Speak && row.holds() == Some(turn))
    }

    /// Somebody has used what a turn's models gave: it can't be taken back, so they are not asked again.
    pub(crate) fn note_used(&mut self, turn: TurnCapability, by: NodeIndex) {
        for row in self.rows.values_mut().filter(|row| row.kind == Kind::Chat && row.node != by) {
            if row.holds() == Some(turn) && row.last_result.is_some() {
                row.request = None;
            }
        }
    }

    /// Models and voices that may still give something, oldest first, each with its node.
    pub(crate) fn streams(&self) -> Vec<(InvocationId, NodeIndex)> {
        let of = self.rows.iter().filter(|(_, row)| matches!(row.kind, Kind::Chat | Kind::Speak));
        of.map(|(id, row)| (*id, row.node)).collect()
    }

    /// Who is waited for by this turn.
    pub(crate) fn holding(&self, turn: TurnCapability) -> impl Iterator<Item = InvocationId> + '_ {
        let all = self.rows.iter().chain(&self.waiting);
        all.filter(move |(_, row)| row.holds() == Some(turn)).map(|(id, _)| *id)
    }

    /// The numbers of all that are in flight.
    pub(crate) fn ids(&self) -> impl Iterator<Item = InvocationId> + '_ {
        self.rows.keys().copied()
    }

    /// Whether one of this kind is in flight.
    pub(crate) fn any(&self, kind: Kind) -> bool {
        self.rows.values().any(|row| row.kind == kind)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}
