//! Nodes as their host sees them: whether they start, and for how long they compute (`F-012`, `F-109`).
//!
//! A reaction holds up every session of its worker, so it may take a slice of time and no more. How long it took is measured
//! outside and enters as an input; what follows is decided here, so that a replay, which measures nothing, decides the same.
//! An overrun is said. With the last that the plan allows within its time the node is taken out, in the very tick of the
//! input and before its data: the turn does without it, where its plan says so, or ends. A node that lives as long as the
//! session stays out, since another of its kind would do the same.

use rspp_specs::budget::BudgetOutcome;
use rspp_specs::dataflow::Directive;
use rspp_specs::ids::{NodeIndex, RuntimeSequence};
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::plan::Lifetime;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Input, Signal, TimerKey};

use crate::session::{Desk, Session};

/// Overruns of a node that count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strikes {
    count: u32,
    /// When the first of them was.
    since: Micros,
}

impl Session {
    /// A node has computed for long.
    pub(crate) fn on_overrun(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex, took: Micros) {
        if usize::from(node.0) >= self.plan.nodes().len() {
            return self.refuse(desk, &Input::NodeOverrun { node, took });
        }
        let policy = self.plan.turn_policy().compute;
        if took <= policy.slice || !self.computes(node) {
            return;
        }
        let known = self.strikes.get(&node).filter(|known| desk.now.since(known.since) <= policy.within);
        let Strikes { count, since } = known.copied().unwrap_or(Strikes { count: 0, since: desk.now });
        let strikes = count + 1;
        self.strikes.insert(node, Strikes { count: strikes, since });
        let outcome = if strikes < policy.strikes { BudgetOutcome::Continue } else { self.loss_of(node) };
        self.say_here(desk, Signal::NodeOverrun { node, took, strikes, outcome });
        match outcome {
            BudgetOutcome::Degrade => self.on_node_lost(desk, cause, node),
            BudgetOutcome::Terminate => self.take_out(desk, cause, node),
            BudgetOutcome::Continue | BudgetOutcome::Fallback => {}
        }
    }

    /// What follows when a node is to compute no more.
    fn loss_of(&self, node: NodeIndex) -> BudgetOutcome {
        if self.can_do_without(node) { BudgetOutcome::Degrade } else { BudgetOutcome::Terminate }
    }

    /// Whether the node can compute at all: it is not out, and the turn that it lives with goes on and needs it.
    fn computes(&self, node: NodeIndex) -> bool {
        match (self.plan.node(node).lifetime, &self.turn) {
            (Lifetime::Session, _) => !self.taken_out.contains(node),
            (Lifetime::Turn, Some(_)) if self.end.is_some() => false,
            (Lifetime::Turn, Some(turn)) => !turn.degraded.has_skipped(&self.plan.turn_policy().degrade, node),
            (Lifetime::Turn, None) => false,
        }
    }

    fn take_out(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex) {
        self.strikes.remove(&node);
        self.on_starts(desk, node, false);
        if self.plan.node(node).lifetime == Lifetime::Session {
            self.taken_out.set(node, true);
        }
        self.direct(desk, cause, Directive::TakeOut(node));
        if self.turn.is_some() {
            self.note_end(AbortReason::NodeTimeoutOrFailure, CancelReason::Policy, cause);
        }
    }

    /// A node has begun its life and is not ready, or is ready now.
    pub(crate) fn on_starts(&mut self, desk: &mut Desk<'_>, node: NodeIndex, starts: bool) {
        self.starting.set(node, starts);
        if starts {
            let within = self.plan.turn_policy().compute.start;
            desk.timers.set(self.slot, TimerKey::NodeStart(node), desk.now + within);
        } else {
            desk.timers.cancel(self.slot, TimerKey::NodeStart(node));
        }
    }

    /// A node is not ready, and should be.
    pub(crate) fn on_start_late(&mut self, desk: &mut Desk<'_>, node: NodeIndex) {
        let within = self.plan.turn_policy().compute.start;
        self.starting.set(node, false);
        self.fail(desk, node, format!("it is not ready {within} ms after its start").into());
    }

    /// A turn is closed: what its nodes have overrun is forgotten, and nobody waits for one that has not started.
    pub(crate) fn forget_hosting(&mut self, desk: &mut Desk<'_>) {
        if self.strikes.is_empty() && self.starting.is_empty() {
            return;
        }
        let of_the_turn = |node: NodeIndex| self.plan.node(node).lifetime == Lifetime::Turn;
        self.strikes.retain(|node, _| !of_the_turn(*node));
        let late: Vec<NodeIndex> = self.starting.iter().filter(|node| of_the_turn(*node)).collect();
        for node in late {
            self.starting.set(node, false);
            desk.timers.cancel(self.slot, TimerKey::NodeStart(node));
        }
    }
}
