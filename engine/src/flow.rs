//! Edges under pressure: what their buffers say of themselves, and who is told to stop (`F-144`, `F-145`).
//!
//! A buffer that fills up blocks whoever feeds it: the streams of providers upstream of it. Each of them is paused, or goes
//! by credit, until there is room; while it waits for us, it owes us nothing, so the time for its next result stands still.

use std::collections::{BTreeMap, BTreeSet};

use rspp_specs::buffer::{Dropped, EdgeReport, FLUSHED};
use rspp_specs::dataflow::Flushed;
use rspp_specs::event::ProviderResult;
use rspp_specs::ids::{EdgeIndex, InvocationId, NodeIndex, PortIndex, Scope, TurnId};
use rspp_specs::plan::{Plan, PlanEdge};
use rspp_specs::timeline::{Effect, Entry, Signal, TimerKey};

use crate::session::{Desk, Session};

/// What is blocked in a session. Most sessions never have one.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    blocked: Vec<Blocked>,
    paused: BTreeSet<InvocationId>,
    /// What nobody has been granted yet, by edge.
    free_credit: BTreeMap<EdgeIndex, u32>,
    /// What was granted and not used.
    credit_of: BTreeMap<InvocationId, u32>,
}

/// An edge whose producer has to wait.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    edge: EdgeIndex,
    /// Whose items fill it.
    turn: Option<TurnId>,
    /// A bit for each node that feeds it.
    feeders: u64,
}

impl Flow {
    fn covers(&self, node: NodeIndex) -> bool {
        self.blocked.iter().any(|blocked| blocked.feeders & (1 << node.0) != 0)
    }

    /// Whether a call waits for us and not we for it.
    fn waits_for_us(&self, id: InvocationId) -> bool {
        self.paused.contains(&id) || self.credit_of.get(&id) == Some(&0)
    }
}

/// The nodes whose output reaches an edge, up to and with the first that call a provider: a bit each.
fn feeders(plan: &Plan, edge: &PlanEdge) -> u64 {
    let mut found = 0u64;
    let mut open = vec![edge.from];
    while let Some(node) = open.pop() {
        let bit = 1 << node.0;
        if found & bit == 0 {
            found |= bit;
            if plan.node(node).kind.binding().is_none() {
                open.extend(plan.edges().iter().filter(|edge| edge.to == node).map(|edge| edge.from));
            }
        }
    }
    found
}

/// The first edge from a node by which its provider goes by credit.
fn credit_edge(plan: &Plan, node: NodeIndex) -> Option<(EdgeIndex, u32)> {
    let edges = (0u16..).map(EdgeIndex).zip(plan.edges());
    let mut granting = edges.filter(|(_, edge)| edge.from == node).filter_map(|(index, edge)| {
        let buffer = edge.buffer.as_deref().filter(|buffer| buffer.max_block.is_some() && buffer.flow.grants())?;
        Some((index, buffer.credit_window()))
    });
    granting.next()
}

impl Session {
    /// What the buffer before one of a node's inputs says.
    pub(crate) fn on_edge(
        &mut self,
        desk: &mut Desk<'_>,
        node: NodeIndex,
        port: PortIndex,
        scope: Scope,
        report: EdgeReport,
    ) {
        let Some(edge) = self.plan.edge_into(node, port) else { return };
        let turn = scope.turn();
        let signal = match report {
            EdgeReport::Watermark { level, held, percent } => Signal::Watermark { edge, level, held, percent },
            EdgeReport::Xoff => {
                self.write(desk, Entry::Signal(turn, Signal::FlowXoff { edge }));
                return self.block(desk, edge, turn);
            }
            EdgeReport::Xon(cause) => {
                self.write(desk, Entry::Signal(turn, Signal::FlowXon { edge, cause }));
                return self.unblock(desk, edge);
            }
            EdgeReport::Credit(items) => {
                self.write(desk, Entry::Signal(turn, Signal::CreditGrant { edge, items }));
                return self.add_credit(desk, edge, items);
            }
            EdgeReport::Dropped(dropped, reason) => {
                return self.say_dropped(desk, turn, node, Some(edge), dropped, reason);
            }
            EdgeReport::Merged(group, sequences) => Signal::Merged { edge, group, sequences: sequences.into() },
            EdgeReport::Discontinuity(gap, dropped) => {
                let Some(sync) = self.plan.edge(edge).sync.as_deref().map(|sync| sync.group.clone()) else { return };
                Signal::Discontinuity { edge, gap, sync, dropped }
            }
        };
        self.write(desk, Entry::Signal(turn, signal));
    }

    /// Says that something was dropped; what one rule drops at one place in one tick is one notice.
    pub(crate) fn say_dropped(
        &self,
        desk: &mut Desk<'_>,
        turn: Option<TurnId>,
        node: NodeIndex,
        edge: Option<EdgeIndex>,
        dropped: Dropped,
        reason: &str,
    ) {
        if let Some(last) = desk.timeline.last_mut()
            && (last.slot, last.tick) == (self.slot, self.tick)
            && let Entry::Signal(of, Signal::DropNotice { node: at, edge: on, dropped: sum, reason: by }) =
                &mut last.entry
            && (*of, *at, *on, &**by) == (turn, node, edge, reason)
        {
            *sum = sum.with(dropped);
            return;
        }
        let signal = Signal::DropNotice { node, edge, dropped, reason: reason.into() };
        self.write(desk, Entry::Signal(turn, signal));
    }

    /// What a revocation has flushed from the buffers is accounted for before its fence is applied.
    pub(crate) fn on_flushed(&mut self, desk: &mut Desk<'_>, flushed: Flushed) {
        let Flushed { node, port, dropped, .. } = flushed;
        let edge = self.plan.edge_into(node, port);
        self.say_dropped(desk, self.active(), node, edge, dropped, FLUSHED);
    }

    fn block(&mut self, desk: &mut Desk<'_>, edge: EdgeIndex, turn: Option<TurnId>) {
        let feeders = feeders(&self.plan, self.plan.edge(edge));
        let flow = self.flow.get_or_insert_default();
        flow.blocked.retain(|blocked| blocked.edge != edge);
        flow.blocked.push(Blocked { edge, turn, feeders });
        for (id, node) in self.invocations.streams() {
            if feeders & (1 << node.0) != 0 {
                self.pause(desk, id);
            }
        }
    }

    fn pause(&mut self, desk: &mut Desk<'_>, id: InvocationId) {
        if self.flow.get_or_insert_default().paused.insert(id) {
            desk.timers.cancel(self.slot, TimerKey::Result(id));
            self.effect(desk, Effect::PauseInvocation { id });
        }
    }

    fn unblock(&mut self, desk: &mut Desk<'_>, edge: EdgeIndex) {
        let Some(flow) = &mut self.flow else { return };
        flow.blocked.retain(|blocked| blocked.edge != edge);
        for (id, node) in self.invocations.streams() {
            let free = self.flow.as_mut().is_some_and(|flow| !flow.covers(node) && flow.paused.remove(&id));
            if free {
                self.effect(desk, Effect::ResumeInvocation { id });
                self.time_again(desk, id);
            }
        }
    }

    /// A call begins: it may have to wait at once, or to go by credit.
    pub(crate) fn begin_stream(&mut self, desk: &mut Desk<'_>, id: InvocationId, node: NodeIndex) {
        if self.flow.as_ref().is_some_and(|flow| flow.covers(node)) {
            self.pause(desk, id);
        }
        if let Some((edge, window)) = credit_edge(&self.plan, node) {
            let flow = self.flow.get_or_insert_default();
            flow.free_credit.entry(edge).or_insert(window);
            flow.credit_of.insert(id, 0);
            self.effect(desk, Effect::GrantCredit { id, results: 0 });
            self.hand_out_credit(desk, edge);
            if self.waits_for_us(id) {
                desk.timers.cancel(self.slot, TimerKey::Result(id));
            }
        }
    }

    /// A result of a call that goes by credit has used some.
    pub(crate) fn use_credit(&mut self, desk: &mut Desk<'_>, id: InvocationId, result: &ProviderResult) {
        if !matches!(result, ProviderResult::Text(_) | ProviderResult::Audio(_)) {
            return;
        }
        let Some(credit) = self.flow.as_mut().and_then(|flow| flow.credit_of.get_mut(&id)) else { return };
        *credit = credit.saturating_sub(1);
        if *credit == 0 {
            desk.timers.cancel(self.slot, TimerKey::Result(id));
        }
    }

    /// A call is over: what it did not use is for the next one of its node.
    pub(crate) fn end_stream(&mut self, desk: &mut Desk<'_>, id: InvocationId, node: NodeIndex) {
        let Some(flow) = &mut self.flow else { return };
        flow.paused.remove(&id);
        let Some(left) = flow.credit_of.remove(&id) else { return };
        if let Some((edge, _)) = credit_edge(&self.plan, node) {
            self.add_credit(desk, edge, left);
        }
    }

    fn add_credit(&mut self, desk: &mut Desk<'_>, edge: EdgeIndex, items: u32) {
        let flow = self.flow.get_or_insert_default();
        let free = flow.free_credit.entry(edge).or_default();
        *free = free.saturating_add(items);
        self.hand_out_credit(desk, edge);
    }

    /// What is free goes to the oldest call of the node before the edge: its output is what comes next.
    fn hand_out_credit(&mut self, desk: &mut Desk<'_>, edge: EdgeIndex) {
        let from = self.plan.edge(edge).from;
        let Some(flow) = &mut self.flow else { return };
        let streams = self.invocations.streams();
        let Some((id, _)) = streams.into_iter().find(|(_, node)| *node == from) else { return };
        let (Some(credit), Some(free)) = (flow.credit_of.get_mut(&id), flow.free_credit.get_mut(&edge)) else { return };
        let results = std::mem::take(free);
        if results > 0 {
            let waited = *credit == 0;
            *credit += results;
            self.effect(desk, Effect::GrantCredit { id, results });
            if waited {
                self.time_again(desk, id);
            }
        }
    }

    /// A call that waited for us owes its next result from now on.
    fn time_again(&self, desk: &mut Desk<'_>, id: InvocationId) {
        let Some(row) = self.invocations.get(id).filter(|_| !self.waits_for_us(id)) else { return };
        let policy = &self.plan.node(row.node).provider;
        let within = if row.last_result.is_some() { policy.stall } else { policy.first_result };
        desk.timers.set(self.slot, TimerKey::Result(id), desk.now + within);
    }

    fn waits_for_us(&self, id: InvocationId) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.waits_for_us(id))
    }

    /// A turn is closed: nothing of it waits, and nobody who filled its edges is left.
    pub(crate) fn clear_flow(&mut self) {
        let Some(flow) = &mut self.flow else { return };
        flow.blocked.retain(|blocked| blocked.turn.is_none());
        if flow.blocked.is_empty() {
            self.flow = None;
        } else {
            **flow = Flow { blocked: std::mem::take(&mut flow.blocked), ..Flow::default() };
        }
    }
}
