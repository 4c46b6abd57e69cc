//! Calls that wait because their node has as many under way as its plan allows (`F-109`).
//!
//! A call that waits has no number yet, and its turn waits with it. It is made when one of its node's calls has left, at the
//! end of that tick, when all that follows from the leaving is known: a second try comes first. The queue is the session's
//! own, in the order in which calls were asked for.

use std::collections::VecDeque;

use rspp_specs::event::{DeliveryContent, ProviderResult, Request};
use rspp_specs::ids::{NodeIndex, RuntimeSequence, Scope, TurnCapability};
use rspp_specs::outcome::Outcome;

use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

/// Calls that wait.
pub(crate) type Queue = VecDeque<(Invocation, Request)>;

impl Session {
    /// Makes a call, or lets it wait for its turn.
    pub(crate) fn call_or_queue(&mut self, desk: &mut Desk<'_>, row: Invocation, request: Request) {
        let node = row.node;
        let is_bounded =
            matches!(row.kind, Kind::Chat | Kind::Speak) && self.plan.node(node).provider.concurrency.is_some();
        if is_bounded && (self.queue.iter().any(|(waiting, _)| waiting.node == node) || !self.has_free_call(node)) {
            if self.queue.len() >= self.invocations.room() {
                return self.fail(desk, node, "too many invocations wait".into());
            }
            return self.queue.push_back((row, request));
        }
        self.call(desk, row, request);
    }

    fn has_free_call(&self, node: NodeIndex) -> bool {
        let limit = self.plan.node(node).provider.concurrency.unwrap_or(u32::MAX);
        self.invocations.callable(node).count() < limit as usize
    }

    /// Calls whose turn has come are made.
    pub(crate) fn call_queued(&mut self, desk: &mut Desk<'_>) {
        let mut place = 0;
        while let Some((row, _)) = self.queue.get(place) {
            if self.has_free_call(row.node) && !self.is_ending(row) {
                if let Some((row, request)) = self.queue.remove(place) {
                    self.call(desk, row, request);
                }
            } else {
                place += 1;
            }
        }
    }

    /// Whether a call of this turn waits.
    pub(crate) fn has_queued(&self, turn: TurnCapability) -> bool {
        self.queue.iter().any(|(row, _)| row.holds() == Some(turn))
    }

    /// What ends with this scope is called no more, and nobody is left to hear so.
    pub(crate) fn drop_queued(&mut self, scope: Scope) {
        self.queue.retain(|(row, _)| row.cancelled_with != scope);
    }

    /// Those calls are not made; their nodes hear that nothing comes.
    pub(crate) fn withdraw_queued(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        of: impl Fn(&Invocation) -> bool,
    ) {
        let (gone, rest): (Queue, Queue) = std::mem::take(&mut self.queue).into_iter().partition(|(row, _)| of(row));
        self.queue = rest;
        for (row, request) in gone {
            if let (Request::Speak { text }, Some(playback)) = (&request, &mut self.playback) {
                playback.on_unspoken(text);
            }
            if let Some(scope) = row.results_to {
                let content = DeliveryContent::Result(row.call, ProviderResult::End(Outcome::Cancelled));
                self.deliver(desk, cause, row.node, scope, content);
            }
        }
    }
}
