//! Budgets that are spent, and the steps by which a turn gets by with less.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// The budgets of a turn and of its parts, and the slice of time that a node may compute.
const BUDGETS: [&str; 5] = ["turn_budget", "node_budget", "path_budget", "edge_budget", "node_overrun"];

/// Whether this line is of a spent budget of the turn, with this outcome.
fn is_spent(row: Row<'_>, turn: u32, outcome: &str) -> bool {
    BUDGETS.iter().any(|name| row.is_signal_of(name, turn)) && row.text("outcome") == Some(outcome)
}

/// A step has its cause in its tick, and a later place than all before it in its turn: none is taken twice, or back.
pub(crate) fn steps_are_taken_in_order(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let (Some(number), Some("degrade")) = (row.turn(), row.signal()) else { return };
    let last = scene.facts.turns.get(&number).and_then(|turn| turn.last_step);
    if last.is_some_and(|last| row.number_of("step").is_none_or(|step| step <= last)) {
        out.add(Rule::Degrade, row, format!("t{number} has taken step {} before", last.unwrap_or_default()));
    }
    let lost = |before: Row<'_>| before.input() == Some("node_lost") && before.turn() == Some(number);
    if !scene.tick.before(row).any(|before| is_spent(before, number, "degrade") || lost(before)) {
        out.add(Rule::Degrade, row, "no budget is spent and no node is lost, and the turn gets by with less");
    }
}

/// What a spent budget says that follows, follows in its tick.
pub(crate) fn what_is_said_is_done(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(number) = row.turn().filter(|_| row.signal().is_some()) else { return };
    let follows = |name: &str| scene.tick.after(row).any(|after| after.is_signal_of(name, number));
    if is_spent(row, number, "degrade") && !follows("degrade") {
        out.add(Rule::Degrade, row, "a spent budget takes a step, and none is taken");
    }
    if is_spent(row, number, "fallback") && !follows("provider_switch") {
        out.add(Rule::Degrade, row, "a spent budget turns to another provider, and none is called");
    }
}

/// A node that a turn does without has no budget, no provider and no failure in it any more.
pub(crate) fn what_is_skipped_is_silent(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some("node_budget" | "provider_switch" | "node_error" | "node_overrun") = row.signal() else { return };
    let (Some((number, turn)), Some(node)) = (scene.facts.turn_of(row), row.text("node")) else { return };
    if turn.skipped.contains(node) {
        out.add(Rule::Degrade, row, format!("t{number} does without {node}"));
    }
}
