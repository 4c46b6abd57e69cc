//! How a turn gets by with less: by the steps that its plan declares, in their order, and never back (`F-048`).
//!
//! A step is taken when a budget is spent that says so, or when a node can't go on without which the turn can: then all
//! steps up to the one that skips it. A step that would change nothing, because a node's last provider is called already, is
//! passed over. The next turn begins with everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use rspp_specs::budget::{DegradeStep, SwitchCause};
use rspp_specs::dataflow::{Directive, Less};
use rspp_specs::ids::{InvocationId, NodeIndex, RuntimeSequence, TurnId};
use rspp_specs::outcome::{AbortReason, CancelReason, Outcome};
use rspp_specs::timeline::{Derived, Effect, Signal, TimerKey};

use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

/// With how much less a turn gets by.
#[derive(Debug, Default)]
pub(crate) struct Degraded {
    /// Steps of the plan that are behind it.
    passed: usize,
    /// From which of their providers on nodes call.
    floors: BTreeMap<NodeIndex, usize>,
}

impl Degraded {
    /// Whether the step is behind the turn that skips this node.
    pub(crate) fn has_skipped(&self, steps: &[DegradeStep], node: NodeIndex) -> bool {
        steps.iter().position(|step| *step == DegradeStep::Skip(node)).is_some_and(|place| place < self.passed)
    }
}

impl Session {
    /// The first of a node's providers that the active turn still calls.
    pub(crate) fn floor(&self, node: NodeIndex) -> usize {
        self.turn.as_ref().and_then(|turn| turn.degraded.floors.get(&node).copied()).unwrap_or(0)
    }

    /// The step that comes next, if one is left that changes something, by its place.
    pub(crate) fn next_step(&self) -> Option<usize> {
        let turn = self.turn.as_ref()?;
        let steps = self.plan.turn_policy().degrade.iter().enumerate().skip(turn.degraded.passed);
        let mut fit = steps.filter(|(_, step)| self.changes_something(**step));
        fit.next().map(|(place, _)| place)
    }

    fn changes_something(&self, step: DegradeStep) -> bool {
        match step {
            DegradeStep::Provider(node) => self.next_choice(node).is_some(),
            DegradeStep::Skip(_) | DegradeStep::Shorten { .. } => true,
        }
    }

    pub(crate) fn take_next_step(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        if let Some(place) = self.next_step() {
            self.take_step(desk, cause, place);
        }
    }

    fn take_step(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, place: usize) {
        let how = self.plan.turn_policy().degrade[place];
        let choice = if let DegradeStep::Provider(node) = how { self.next_choice(node) } else { None };
        let Some(turn) = &mut self.turn else { return };
        turn.degraded.passed = place + 1;
        let id = turn.capability.turn();
        if let Some(choice) = choice {
            turn.degraded.floors.insert(how.node(), choice);
        }
        self.say_of(desk, id, Signal::Degraded { step: place as u32 + 1, how });
        match how {
            DegradeStep::Provider(node) => self.move_calls(desk, cause, node),
            DegradeStep::Skip(node) => {
                self.withdraw_work(desk, cause, node);
                self.direct(desk, cause, Directive::Degrade(node, Less::Skip));
            }
            DegradeStep::Shorten { node, sentences } => {
                self.direct(desk, cause, Directive::Degrade(node, Less::Shorten(sentences)));
            }
        }
    }

    /// A node can't go on. Where the turn can do without it, it will, from the next tick on.
    pub(crate) fn do_without(&mut self, turn: TurnId, node: NodeIndex) -> bool {
        let fit = self.can_do_without(node);
        if fit {
            self.derive(Derived::NodeLost(turn, node));
        }
        fit
    }

    pub(crate) fn can_do_without(&self, node: NodeIndex) -> bool {
        self.turn.is_some() && self.plan.turn_policy().degrade.contains(&DegradeStep::Skip(node))
    }

    /// All steps are taken up to the one that skips the node; if it is skipped already, or the turn ends in this very tick,
    /// nothing is left to do.
    pub(crate) fn on_node_lost(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex) {
        if self.end.is_some() {
            return;
        }
        let skip = self.plan.turn_policy().degrade.iter().position(|step| *step == DegradeStep::Skip(node));
        while let Some(place) = self.next_step().filter(|place| skip.is_some_and(|skip| *place <= skip)) {
            self.take_step(desk, cause, place);
        }
    }

    /// The provider behind the one that a node calls now.
    fn next_choice(&self, node: NodeIndex) -> Option<usize> {
        let called = self.invocations.callable(node).map(|(_, row)| row.choice).max().unwrap_or(0);
        let next = self.floor(node).max(called) + 1;
        (next <= self.plan.node(node).provider.fallback.len()).then_some(next)
    }

    /// Whether a call of this node's, of which nothing was used, can be made elsewhere.
    pub(crate) fn can_turn_elsewhere(&self, node: NodeIndex) -> bool {
        let last = self.plan.node(node).provider.fallback.len();
        self.invocations.callable(node).any(|(_, row)| row.choice < last && self.is_unused(row))
    }

    /// A node's calls of which nothing was used are made with the next provider.
    pub(crate) fn turn_elsewhere(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex) {
        let last = self.plan.node(node).provider.fallback.len();
        self.move_calls_to(desk, cause, node, |row| (row.choice < last).then_some(row.choice + 1));
    }

    fn move_calls(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, node: NodeIndex) {
        let floor = self.floor(node);
        self.move_calls_to(desk, cause, node, |row| (row.choice < floor).then_some(floor));
    }

    fn move_calls_to(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        node: NodeIndex,
        choice: impl Fn(&Invocation) -> Option<usize>,
    ) {
        let unused = self.invocations.callable(node).filter(|(_, row)| self.is_unused(row));
        let moved: Vec<_> = unused.filter_map(|(id, row)| Some((id, choice(row)?))).collect();
        for (id, choice) in moved {
            if let Some(row) = self.let_be(desk, id) {
                self.go_on_with(desk, cause, id, row, choice, SwitchCause::Budget);
            }
        }
    }

    /// Nobody waits for this call any more, and its provider is not to blame.
    fn let_be(&mut self, desk: &mut Desk<'_>, id: InvocationId) -> Option<Invocation> {
        let in_flight = self.invocations.get(id).is_some();
        let row = self.invocations.take(id)?;
        if in_flight {
            self.effect(desk, Effect::CancelInvocation { id });
            self.invocations.abandon(id, desk.now);
            self.let_go(desk, id, &row, Outcome::Cancelled);
        } else {
            desk.timers.cancel(self.slot, TimerKey::Retry(id));
        }
        Some(row)
    }

    /// A node needs no more of what models would give it: those that work for nobody else stop.
    pub(crate) fn on_enough(&mut self, desk: &mut Desk<'_>, node: NodeIndex) {
        let Some(turn) = self.turn.as_ref().map(|turn| turn.capability) else { return };
        let plan = Arc::clone(&self.plan);
        let of_the_turn = |row: &Invocation| row.kind == Kind::Chat && row.holds() == Some(turn);
        self.withdraw_queued(desk, self.last_sequence(), |row| of_the_turn(row) && plan.leads_only_to(row.node, node));
        for id in self.invocations.cancellable(|_, row| of_the_turn(row) && plan.leads_only_to(row.node, node)) {
            self.say_here(desk, Signal::InvocationCancelled { id, reason: CancelReason::Policy });
            self.let_be(desk, id);
        }
    }

    /// A node's failure, or that of the provider that it called: the turn does without it, or ends.
    pub(crate) fn fail_turn(&mut self, turn: TurnId, node: NodeIndex, reason: AbortReason) {
        if !self.do_without(turn, node) {
            self.derive(Derived::TurnFailed(turn, reason));
        }
    }
}
