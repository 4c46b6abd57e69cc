//! State lines: what they show must be what the signals lead to. They are written only where they change, so the
//! latest one stands for every tick until the next.

use crate::Scene;
use crate::facts::RECOGNISER;
use crate::view::Name;
use crate::violation::{Findings, Rule};

/// Held lasts from hold to resume or cancellation, closed for the tick of a close, opening never to a tick's end.
pub(crate) fn state_fits(scene: &Scene<'_>, out: &mut Findings) {
    let mut lines = scene.tick.rows().filter(|row| row.state().is_some());
    let line = lines.next();
    if let Some(second) = lines.next() {
        out.add(Rule::StateLine, second, "a tick ends in one state");
    }
    if let Some(line) = line.filter(|line| scene.tick.after(*line).any(|row| row.state().is_none())) {
        out.add(Rule::StateLine, line, "a state line stands at the end of its tick");
    }
    let Some(shown) = &scene.facts.shown else { return };
    let fitting = scene.facts.fitting_state(scene.tick);
    let news = line.is_some() || scene.facts.state_before != Some(fitting);
    if news && shown.state != fitting {
        let row = line.unwrap_or(scene.tick.last());
        out.add(Rule::StateLine, row, format!("the tick ends {fitting}, and the state shown is {}", shown.state));
    }
}

/// Of the invocations, exactly the turn's own that are in flight hold it; a turn that is over is held by nobody, and
/// a turn that nobody holds is over. A write that waits for its commit point holds its turn; a committed one may be
/// shown by its key or by its invocation.
pub(crate) fn held_list_fits(scene: &Scene<'_>, out: &mut Findings) {
    let facts = scene.facts;
    let Some(shown) = &facts.shown else { return };
    let line = scene.tick.rows().find(|row| row.state().is_some());
    let as_before = || facts.in_flight_of_open_turn().eq(facts.flight_before.iter().copied());
    if line.is_none() && as_before() && scene.tick.signal("tool_proposed").is_none() {
        return;
    }
    let row = line.unwrap_or(scene.tick.last());
    match shown.state.as_str() {
        "active" if shown.held.is_empty() => out.add(Rule::HeldList, row, "nobody holds the turn, and it goes on"),
        "idle" | "closed" if !shown.held.is_empty() => out.add(Rule::HeldList, row, "no turn is open, and it is held"),
        _ => {}
    }
    let Some((open, turn)) = facts.open_turn() else { return };
    let undecided = turn.writes.iter().filter(|(_, write)| !write.committed && !write.revoked);
    for (key, _) in undecided.filter(|(key, _)| !shown.held.contains(key)) {
        out.add(Rule::HeldList, row, format!("the write {key} waits and does not hold the turn"));
    }
    let names: Vec<Name<'_>> = shown.held.iter().filter_map(|holder| Name::parse(holder)).collect();
    for id in facts.in_flight_of_open_turn().filter(|id| !names.iter().any(|name| name.number == *id)) {
        out.add(Rule::HeldList, row, format!("#{id} is in flight and does not hold the turn"));
    }
    for name in names {
        let holds = facts.invocations.get(&name.number).is_some_and(|invocation| {
            invocation.kind == name.kind
                && invocation.kind != RECOGNISER
                && invocation.turn == Some(open)
                && (invocation.in_flight() || invocation.may_be_tried_again())
        });
        if !holds {
            out.add(Rule::HeldList, row, format!("{}#{} holds a turn that is not its own", name.kind, name.number));
        }
    }
}
