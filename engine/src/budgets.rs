//! What a turn may take: until its first speakable text, its first audio, its end (`F-109`).

use rspp_specs::budget::{BudgetOutcome, TurnBudget};
use rspp_specs::ids::{RuntimeSequence, TurnId};
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Signal, TimerKey};

use crate::session::{Desk, Session};

impl Session {
    /// A turn opens: its budgets run.
    pub(crate) fn start_budgets(&self, desk: &mut Desk<'_>, turn: TurnId) {
        for (budget, of) in self.plan.turn_policy().budgets.each() {
            desk.timers.set(self.slot, TimerKey::Budget(turn, budget), desk.now + of.limit);
        }
    }

    /// What a budget was for has come.
    pub(crate) fn meet_budget(&self, desk: &mut Desk<'_>, turn: TurnId, budget: TurnBudget) {
        desk.timers.cancel(self.slot, TimerKey::Budget(turn, budget));
    }

    /// The turn is over, and its budgets with it.
    pub(crate) fn stop_budgets(&self, desk: &mut Desk<'_>, turn: TurnId) {
        for budget in [TurnBudget::FirstSpeakable, TurnBudget::FirstAudio, TurnBudget::Whole] {
            self.meet_budget(desk, turn, budget);
        }
    }

    /// A budget is spent: it is said, and where the plan says so, the turn ends.
    pub(crate) fn on_budget_spent(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        turn: TurnId,
        budget: TurnBudget,
    ) {
        if self.active() != Some(turn) {
            return;
        }
        let budgets = &self.plan.turn_policy().budgets;
        let terminate = budgets.each().any(|(of, limit)| of == budget && limit.terminate);
        let outcome = if terminate { BudgetOutcome::Terminate } else { BudgetOutcome::Continue };
        self.say_of(desk, turn, Signal::TurnBudgetSpent { budget, outcome });
        if terminate {
            self.note_end(AbortReason::BudgetExhausted, CancelReason::Policy, cause);
        }
    }

    /// Whether the active turn still has time for another try before its first audio is due.
    pub(crate) fn is_within_budget(&self, now: Micros) -> bool {
        let limit = self.plan.turn_policy().budgets.first_audio.limit;
        self.turn.as_ref().is_some_and(|turn| turn.output_accepted || now < turn.opened_at + limit)
    }
}
