//! What can be cancelled beside a turn, and how: a session's work, a node's, one invocation; at once, or softly
//! (`F-033` to `F-036`).
//!
//! A hard cancellation of a turn is the arbiter's and the fence's. A soft one lets what is being said be said to its end,
//! within the plan's grace: nothing new begins, and when nothing is being said any more the turn ends as a hard
//! cancellation ends it. What is cancelled in a smaller scope than the turn does not end the turn.

use std::sync::Arc;

use rspp_specs::dataflow::Directive;
use rspp_specs::event::{ContextEntry, DeliveryContent, ProviderResult};
use rspp_specs::ids::{InvocationId, NodeIndex, RuntimeSequence, Scope, TurnCapability, TurnId};
use rspp_specs::limits::MAX_PLAYOUT_ACK_WAIT_MS;
use rspp_specs::outcome::{AbortReason, CancelReason, CancelScope, Cancellation, Outcome};
use rspp_specs::plan::NodeKind;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Input, Signal, TimerKey};

use crate::commitments::Proposed;
use crate::ledger::Playback;
use crate::node_set::NodeSet;
use crate::session::{Desk, Session};

/// What the model is told of a tool that was cancelled by itself.
const CANCELLED_CALL: &str = "cancelled: somebody stopped this call before there was a result";

impl Session {
    /// A cancellation is asked for from outside. What is not there can't be cancelled.
    pub(crate) fn on_cancel(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, cancellation: Cancellation) {
        let Cancellation { reason, of, soft } = cancellation;
        let known_node = |node: NodeIndex| usize::from(node.0) < self.plan.nodes().len();
        match of {
            CancelScope::Turn if self.turn.is_some() && soft => self.cancel_softly(desk, cause, reason),
            CancelScope::Turn if self.turn.is_some() => self.note_end(AbortReason::Cancelled, reason, cause),
            CancelScope::Session => self.cancel_session(desk, cause, reason),
            CancelScope::Node(node) if known_node(node) => self.cancel_node(desk, cause, node, reason),
            CancelScope::Invocation(id) => match self.invocations.cancellable(|each, _| each == id)[..] {
                [id] => self.cancel_one(desk, cause, id, reason),
                _ => self.refuse(desk, &Input::Cancel(cancellation)),
            },
            CancelScope::Turn | CancelScope::Node(_) => self.refuse(desk, &Input::Cancel(cancellation)),
        }
    }

    /// What is on hold is not being said: then there is nothing to be soft about. Nor is there in a turn that ends in this
    /// very tick.
    fn cancel_softly(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, reason: CancelReason) {
        let Some(turn) = self.turn.as_mut().filter(|_| self.end.is_none()) else { return };
        if turn.held {
            return self.note_end(AbortReason::Cancelled, reason, cause);
        }
        if turn.closing.is_some() {
            return;
        }
        let grace = self.plan.turn_policy().graces.cancel;
        turn.closing = Some((reason, desk.now + grace));
        let (capability, revoked) = (turn.capability, turn.writes.take());
        let id = capability.turn();
        self.say_of(desk, id, Signal::SoftCancel { reason, grace });
        for write in revoked {
            self.say_of(desk, id, Signal::ToolRevoked { key: write.tool.key });
        }
        // What waits for its turn, or to be tried again, has not begun.
        self.withdraw_queued(desk, cause, |row| row.cancelled_with == Scope::Turn(capability));
        for waiting in self.invocations.waiting_of(Scope::Turn(capability)) {
            self.withdraw(desk, cause, waiting);
        }
        desk.timers.set(self.slot, TimerKey::CancelGrace(id), desk.now + grace);
    }

    /// Whether a turn begins nothing new.
    pub(crate) fn is_closing(&self, scope: Scope) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.closing.is_some() && scope == Scope::Turn(turn.capability))
    }

    /// At the end of a tick: whether the turn is cancelled softly. When nothing of it is being said any more, its grace is
    /// over.
    pub(crate) fn close_if_said(&self, desk: &mut Desk<'_>) -> bool {
        let Some(turn) = &self.turn else { return false };
        let Some((_, grace_end)) = turn.closing else { return false };
        if !self.is_saying(turn.capability, &turn.node_holds) {
            let playing = self.playback.as_ref().filter(|playback| !playback.is_drained());
            let said = |playback: &Playback| playback.plays_until() + Micros::from_ms(MAX_PLAYOUT_ACK_WAIT_MS);
            let at = playing.map_or(desk.now, said).clamp(desk.now, grace_end.max(desk.now));
            desk.timers.set(self.slot, TimerKey::CancelGrace(turn.capability.turn()), at);
        }
        true
    }

    fn is_saying(&self, turn: TurnCapability, node_holds: &NodeSet) -> bool {
        let sinks = self.plan.indexed_nodes().filter(|(_, node)| matches!(node.kind, NodeKind::Playout(_)));
        self.invocations.is_speaking(turn) || sinks.into_iter().any(|(sink, _)| node_holds.contains(sink))
    }

    pub(crate) fn on_cancel_grace_over(&mut self, cause: RuntimeSequence, turn: TurnId) {
        let closing = self.turn.as_ref().filter(|active| active.capability.turn() == turn);
        if let Some((reason, _)) = closing.and_then(|turn| turn.closing) {
            self.note_end(AbortReason::Cancelled, reason, cause);
        }
    }

    /// The turn, and what the session does beside it.
    fn cancel_session(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, reason: CancelReason) {
        if self.turn.is_some() {
            self.note_end(AbortReason::Cancelled, reason, cause);
        }
        for id in self.invocations.cancellable(|_, row| row.results_to == Some(Scope::Session)) {
            self.cancel_one(desk, cause, id, reason);
        }
    }

    /// What a node does, and what it keeps. The turn goes on without it.
    fn cancel_node(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex, reason: CancelReason) {
        self.say_here(desk, Signal::NodeCancelled { node, reason });
        self.withdraw_work(desk, cause, node);
        self.direct(desk, cause, Directive::Drop(node));
    }

    /// All that a node has under way, or has asked for and that has not begun.
    pub(crate) fn withdraw_work(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex) {
        self.withdraw_queued(desk, cause, |row| row.node == node);
        for id in self.invocations.cancellable(|_, row| row.node == node) {
            self.withdraw(desk, cause, id);
        }
        self.revoke_writes(desk, cause, |write| write.node == node);
    }

    /// Writes that wait for their commit point in a turn that goes on without them: they never run. Who asked for them hears
    /// that nothing comes, and the model when it is asked next.
    fn revoke_writes(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, of: impl Fn(&Proposed) -> bool) {
        let Some(turn) = &mut self.turn else { return };
        let scope = Scope::Turn(turn.capability);
        let id = turn.capability.turn();
        for Proposed { node, call, tool } in turn.writes.take_those(of) {
            self.say_of(desk, id, Signal::ToolRevoked { key: Arc::clone(&tool.key) });
            self.conversation.push(ContextEntry::Tool { call: tool, result: Some(CANCELLED_CALL.into()) });
            let content = DeliveryContent::Result(call, ProviderResult::End(Outcome::Cancelled));
            self.deliver(desk, cause, node, scope, content);
        }
    }

    /// One invocation.
    fn cancel_one(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId, reason: CancelReason) {
        self.say_here(desk, Signal::InvocationCancelled { id, reason });
        self.withdraw(desk, cause, id);
    }

    /// Takes an invocation out of the tables; the shell is told where it is in flight, and its node that nothing more comes.
    pub(crate) fn withdraw(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId) {
        let in_flight = self.invocations.get(id).is_some();
        let Some(row) = self.invocations.take(id) else { return };
        if in_flight {
            self.effect(desk, Effect::CancelInvocation { id });
            self.invocations.abandon(id, desk.now);
            self.let_go(desk, id, &row, Outcome::Cancelled);
        } else {
            desk.timers.cancel(self.slot, TimerKey::Retry(id));
        }
        if let Some(playback) = &mut self.playback {
            playback.on_withdrawn(id);
        }
        if let Some(key) = &row.tool_key {
            self.conversation.on_tool_failed(key, &Arc::from(CANCELLED_CALL));
        }
        self.revoke_writes(desk, cause, |write| row.wishes.contains(&write.tool.key));
        if let Some(scope) = row.results_to {
            let content = DeliveryContent::Result(row.call, ProviderResult::End(Outcome::Cancelled));
            self.deliver(desk, cause, row.node, scope, content);
        }
    }

    /// The first gate's account of a result that comes too late; `false` where nobody knows its invocation. A provider
    /// that goes on when the grace is over does not heed the cancellation, and is ended by force.
    pub(crate) fn note_late(&mut self, desk: &mut Desk<'_>, id: InvocationId, result: &ProviderResult) -> bool {
        let grace = self.plan.turn_policy().graces.cancel;
        let Some(cancelled) = self.invocations.cancelled_mut(id) else { return false };
        let after = desk.now.since(cancelled.told_at);
        let is_end = matches!(result, ProviderResult::End(_));
        cancelled.late_results += u32::from(!is_end);
        let late_results = cancelled.late_results;
        let is_ignored = !is_end && after > grace && !std::mem::replace(&mut cancelled.forced, true);
        self.say_here(desk, Signal::LateAfterCancel { id });
        if is_end {
            self.say_here(desk, Signal::CancelSettled { id, after, late_results });
        }
        if is_ignored {
            self.say_here(desk, Signal::CancelIgnored { id, late_results });
            self.effect(desk, Effect::EndInvocation { id });
        }
        true
    }
}
