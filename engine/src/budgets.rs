//! What a turn and its parts may take, and what follows when that is spent (`F-045` to `F-048`).
//!
//! A turn's budgets run from its opening; a node's from an item that it takes to its answer, a path's from the first item at
//! its beginning to the first answer at its end, an edge's as long as an item waits on it. Nodes without a budget are not
//! watched, and cost nothing. What follows is said, always: things go on, the turn gets by with less, a call goes to another
//! provider, or the turn ends. After all but the last, the budget is given once more.

use rspp_specs::budget::{BudgetOutcome, TurnBudget, TurnPart};
use rspp_specs::dataflow::WorkMark;
use rspp_specs::ids::{NodeIndex, PortIndex, RuntimeSequence, TurnId};
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::plan::{Budget, NodeKind, Plan};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Signal, TimerKey};

use crate::session::{Desk, Session};

impl Session {
    /// A turn opens: its budgets run.
    pub(crate) fn start_budgets(&self, desk: &mut Desk<'_>, turn: TurnId) {
        for (budget, of) in self.plan.turn_policy().budgets.each() {
            desk.timers.set(self.slot, TimerKey::Budget(turn, budget), desk.now + of.limit);
        }
        if let Some(source) = self.nodes.user_turn {
            self.begin_paths(desk, turn, source);
        }
    }

    /// What a budget was for has come.
    pub(crate) fn meet_budget(&self, desk: &mut Desk<'_>, turn: TurnId, budget: TurnBudget) {
        desk.timers.cancel(self.slot, TimerKey::Budget(turn, budget));
        if budget == TurnBudget::FirstAudio {
            self.end_paths(desk, turn, |plan, to| matches!(plan.node(to).kind, NodeKind::Playout(_)));
        }
    }

    /// The turn is over, and its budgets with it.
    pub(crate) fn stop_budgets(&self, desk: &mut Desk<'_>, turn: TurnId) {
        for budget in [TurnBudget::FirstSpeakable, TurnBudget::FirstAudio, TurnBudget::Whole] {
            self.meet_budget(desk, turn, budget);
        }
        let budgets = &self.plan.turn_policy().budgets;
        let nodes =
            self.plan.indexed_nodes().map(|(node, _)| node).filter(|node| self.plan.node_budget(*node).is_some());
        let paths = (0u16..).take(budgets.paths.len());
        let edges = budgets.edges.iter().map(|(edge, _)| TurnPart::Edge(*edge));
        for part in nodes.map(TurnPart::Node).chain(paths.map(TurnPart::Path)).chain(edges) {
            desk.timers.cancel(self.slot, TimerKey::Part(turn, part));
        }
    }

    /// A node with a budget gets on with its work.
    pub(crate) fn on_work(&self, desk: &mut Desk<'_>, node: NodeIndex, mark: WorkMark) {
        let Some(turn) = self.active() else { return };
        match mark {
            WorkMark::Began => self.run_part(desk, turn, TurnPart::Node(node), desk.now),
            WorkMark::Answered => desk.timers.cancel(self.slot, TimerKey::Part(turn, TurnPart::Node(node))),
            WorkMark::FirstIn => self.begin_paths(desk, turn, node),
            WorkMark::FirstOut => self.end_paths(desk, turn, |_, to| to == node),
        }
    }

    /// Since when something waits on an edge with a budget.
    pub(crate) fn on_waits(&self, desk: &mut Desk<'_>, node: NodeIndex, port: PortIndex, since: Option<Micros>) {
        let (Some(turn), Some(edge)) = (self.active(), self.plan.edge_into(node, port)) else { return };
        match since {
            Some(since) => self.run_part(desk, turn, TurnPart::Edge(edge), since),
            None => desk.timers.cancel(self.slot, TimerKey::Part(turn, TurnPart::Edge(edge))),
        }
    }

    fn begin_paths(&self, desk: &mut Desk<'_>, turn: TurnId, from: NodeIndex) {
        for (place, (path, _)) in (0u16..).zip(&self.plan.turn_policy().budgets.paths) {
            if path.from == from {
                self.run_part(desk, turn, TurnPart::Path(place), desk.now);
            }
        }
    }

    fn end_paths(&self, desk: &mut Desk<'_>, turn: TurnId, ends: impl Fn(&Plan, NodeIndex) -> bool) {
        for (place, (path, _)) in (0u16..).zip(&self.plan.turn_policy().budgets.paths) {
            if ends(&self.plan, path.to) {
                desk.timers.cancel(self.slot, TimerKey::Part(turn, TurnPart::Path(place)));
            }
        }
    }

    fn run_part(&self, desk: &mut Desk<'_>, turn: TurnId, part: TurnPart, since: Micros) {
        if let Some(Budget { limit, .. }) = self.budget_of(part) {
            desk.timers.set(self.slot, TimerKey::Part(turn, part), (since + limit).max(desk.now));
        }
    }

    fn budget_of(&self, part: TurnPart) -> Option<Budget> {
        match part {
            TurnPart::Node(node) => self.plan.node_budget(node),
            other => self.plan.turn_policy().budgets.of_part(other),
        }
    }

    /// A budget of the turn is spent.
    pub(crate) fn on_budget_spent(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        turn: TurnId,
        budget: TurnBudget,
    ) {
        let of = self.plan.turn_policy().budgets.each().find(|(of, _)| *of == budget);
        let Some((_, of)) = of.filter(|_| self.active() == Some(turn)) else { return };
        let outcome = match self.possible(of.then, None) {
            // Every turn ends: one that can't get by with still less ends here.
            BudgetOutcome::Continue if budget == TurnBudget::Whole && of.then == BudgetOutcome::Degrade => {
                BudgetOutcome::Terminate
            }
            outcome => outcome,
        };
        self.say_of(desk, turn, Signal::TurnBudgetSpent { budget, outcome });
        if outcome == BudgetOutcome::Degrade {
            desk.timers.set(self.slot, TimerKey::Budget(turn, budget), desk.now + of.limit);
        }
        self.carry_out(desk, cause, outcome, None);
    }

    /// A budget of one of the turn's parts is spent.
    pub(crate) fn on_part_spent(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, turn: TurnId, part: TurnPart) {
        let Some(of) = self.budget_of(part).filter(|_| self.active() == Some(turn)) else { return };
        let node = if let TurnPart::Node(node) = part { Some(node) } else { None };
        let outcome = self.possible(of.then, node);
        self.say_of(desk, turn, Signal::PartBudgetSpent { part, outcome });
        if matches!(outcome, BudgetOutcome::Degrade | BudgetOutcome::Fallback) {
            desk.timers.set(self.slot, TimerKey::Part(turn, part), desk.now + of.limit);
        }
        self.carry_out(desk, cause, outcome, node);
    }

    /// What the plan wants, as far as there is something left to do.
    fn possible(&self, then: BudgetOutcome, node: Option<NodeIndex>) -> BudgetOutcome {
        // A turn that ends in this tick, or soon because it is cancelled softly, begins nothing new.
        let is_over = self.end.is_some() || self.turn.as_ref().is_some_and(|turn| turn.closing.is_some());
        match then {
            BudgetOutcome::Degrade | BudgetOutcome::Fallback if is_over => BudgetOutcome::Continue,
            BudgetOutcome::Degrade if self.next_step().is_none() => BudgetOutcome::Continue,
            BudgetOutcome::Fallback if node.is_none_or(|node| !self.can_turn_elsewhere(node)) => {
                BudgetOutcome::Continue
            }
            then => then,
        }
    }

    fn carry_out(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        outcome: BudgetOutcome,
        node: Option<NodeIndex>,
    ) {
        match (outcome, node) {
            (BudgetOutcome::Continue, _) | (BudgetOutcome::Fallback, None) => {}
            (BudgetOutcome::Degrade, _) => self.take_next_step(desk, cause),
            (BudgetOutcome::Fallback, Some(node)) => self.turn_elsewhere(desk, cause, node),
            (BudgetOutcome::Terminate, Some(_)) => {
                self.note_end(AbortReason::NodeTimeoutOrFailure, CancelReason::Policy, cause);
            }
            (BudgetOutcome::Terminate, None) => {
                self.note_end(AbortReason::BudgetExhausted, CancelReason::Policy, cause);
            }
        }
    }

    /// Whether the active turn still has time for another try before its first audio is due.
    pub(crate) fn is_within_budget(&self, now: Micros) -> bool {
        let limit = self.plan.turn_policy().budgets.first_audio.limit;
        self.turn.as_ref().is_some_and(|turn| turn.output_accepted || now < turn.opened_at + limit)
    }
}
