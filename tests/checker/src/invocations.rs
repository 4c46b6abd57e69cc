//! Invocations: begun once, ended once, and late when they are cancelled.

use std::collections::BTreeMap;

use crate::Scene;
use crate::facts::Invocation;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// Feeding, cancelling and answering name an invocation that was begun, under the kind that it was begun as.
pub(crate) fn known(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let named = matches!(row.input(), Some("provider" | "dispatch_refused"))
        || matches!(row.effect(), Some("feed" | "feed_end" | "cancel_invocation"))
        || matches!(row.signal(), Some("provider_error" | "late_after_cancel" | "provider_retry" | "provider_budget"));
    let Some(name) = named.then(|| row.invocation()).flatten() else { return };
    match scene.facts.invocations.get(&name.number) {
        None if scene.facts.has_forgotten_invocation(name.number) => {}
        None => out.add(Rule::InvocationKnown, row, format!("#{} was never invoked", name.number)),
        Some(begun) if begun.kind != name.kind => {
            out.add(Rule::InvocationKnown, row, format!("#{} was invoked as {}", name.number, begun.kind));
        }
        Some(_) => {}
    }
}

/// Only an invocation in flight is fed or cancelled, and input that is complete gets nothing more. An end that comes
/// in this very tick may stand before or after.
pub(crate) fn live(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(effect @ ("feed" | "feed_end" | "cancel_invocation")) = row.effect() else { return };
    let Some((name, invocation)) = scene.facts.invocation_of(row) else { return };
    let id = name.number;
    if invocation.cancelled.is_some() {
        out.add(Rule::InvocationLive, row, format!("{effect} of #{id}, which was cancelled"));
    } else if invocation.ended_tick.is_some_and(|tick| tick < row.line.tick) {
        out.add(Rule::InvocationLive, row, format!("{effect} of #{id}, which has ended"));
    } else if invocation.input_complete && effect != "cancel_invocation" {
        out.add(Rule::InvocationLive, row, format!("{effect} of #{id}, whose input is complete"));
    }
}

/// Every invocation ends once. What its provider says after that is refused, result by result, and does not enter the
/// graph.
pub(crate) fn nothing_after_the_end(scene: &Scene<'_>, out: &mut Findings) {
    let mut ended_here: Vec<u32> = Vec::new();
    let mut refusals = scene.tick.rows().filter(|row| is_refusal_of_a_result(*row));
    for row in scene.tick.rows().filter(|row| row.input() == Some("provider")) {
        let Some((name, invocation)) = scene.facts.invocation_of(row) else { continue };
        let before = invocation.ended_tick.is_some_and(|tick| tick < row.line.tick);
        let late = (before || ended_here.contains(&name.number)) && invocation.cancelled.is_none();
        if late && !refusals.any(|refusal| refusal.number > row.number) {
            out.add(Rule::ResultAfterEnd, row, format!("#{} has ended", name.number));
        }
        if row.text("kind") == Some("end") {
            ended_here.push(name.number);
        }
    }
}

fn is_refusal_of_a_result(row: Row<'_>) -> bool {
    row.signal() == Some("refused") && row.text("input") == Some("provider")
}

/// A result whose invocation was cancelled is told as late in the tick in which it comes, and never enters the graph.
pub(crate) fn late_results_are_marked(scene: &Scene<'_>, out: &mut Findings) {
    if !scene.tick.rows().any(|row| row.signal() == Some("late_after_cancel") || is_of_a_cancelled_call(scene, row)) {
        return;
    }
    let mut results: BTreeMap<u32, Vec<Row<'_>>> = BTreeMap::new();
    let mut marks: BTreeMap<u32, Vec<Row<'_>>> = BTreeMap::new();
    for row in scene.tick.rows() {
        let Some(name) = row.invocation() else { continue };
        if row.input() == Some("provider") {
            results.entry(name.number).or_default().push(row);
        } else if row.signal() == Some("late_after_cancel") {
            marks.entry(name.number).or_default().push(row);
        }
    }
    for (id, rows) in &results {
        let Some(invocation) = scene.facts.invocations.get(id) else { continue };
        let marked = marks.get(id).map_or(&[][..], Vec::as_slice);
        let late: Vec<Row<'_>> = rows.iter().copied().filter(|row| is_late(scene, invocation, *row)).collect();
        for (position, row) in late.iter().enumerate() {
            if marked.get(position).is_none_or(|mark| mark.number < row.number) {
                out.add(
                    Rule::LateAfterCancel,
                    *row,
                    format!("#{id} was cancelled, and this result is not marked late"),
                );
            }
        }
    }
    for (id, rows) in &marks {
        let cancelled = scene
            .facts
            .invocations
            .get(id)
            .map_or(scene.facts.has_forgotten_invocation(*id), |known| known.cancelled.is_some());
        let possible = results.get(id).filter(|_| cancelled).map_or(0, Vec::len);
        for row in rows.iter().skip(possible) {
            out.add(Rule::LateAfterCancel, *row, format!("no result of #{id} came late in this tick"));
        }
    }
}

fn is_of_a_cancelled_call(scene: &Scene<'_>, row: Row<'_>) -> bool {
    row.input() == Some("provider") && scene.facts.invocation_of(row).is_some_and(|(_, call)| call.cancelled.is_some())
}

/// Control goes before the data of its tick, wherever their lines stand.
fn is_late(scene: &Scene<'_>, invocation: &Invocation, row: Row<'_>) -> bool {
    let Some(cancelled) = invocation.cancelled else { return false };
    let by_control = || invocation.turn.is_some_and(|turn| scene.tick.ends_by_control(turn));
    cancelled.tick < row.line.tick || cancelled.line < row.number || by_control()
}
