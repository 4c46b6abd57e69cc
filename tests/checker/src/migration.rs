//! A session that goes on with another worker: who writes it, what became of what the worker before had in hand.

use crate::Scene;
use crate::authority::epoch_number;
use crate::facts::Facts;
use crate::view::{Name, Row};
use crate::violation::{Findings, Rule};

/// The steps of a migration.
const STEPS: [&str; 4] = ["migration_start", "lease_rotated", "migration_finish", "session_handoff"];

/// A takeover under a later lease is told step by step, in its tick: the first step names the lease before, the others the
/// new one. One under an earlier lease, or the same, is refused. Nobody else migrates.
pub(crate) fn told_in_order(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if matches!(row.signal(), Some("migration_start" | "migration_finish" | "session_handoff"))
        && scene.tick.input("takeover").is_none()
    {
        return out.add(Rule::Migration, row, format!("{} and nobody takes over", row.line.name));
    }
    if row.input() != Some("takeover") {
        return;
    }
    let started = scene.tick.signal("migration_start").and_then(|row| row.text("epoch")).and_then(epoch_number);
    // The lease that a session began under is not in its trace.
    let before = scene.facts.lease.or(started).unwrap_or(0);
    let now = row.text("epoch").and_then(epoch_number).unwrap_or(0);
    if now <= before {
        if scene.tick.after(row).find_map(Row::signal) != Some("stale_epoch_reject") {
            out.add(Rule::Migration, row, format!("a takeover under e{now}, and the lease is at e{before}"));
        }
        return;
    }
    let mut steps = scene.tick.after(row).filter(|later| later.signal().is_some_and(|signal| STEPS.contains(&signal)));
    for step in STEPS {
        let epoch = if step == "migration_start" { before } else { now };
        let fits =
            |told: &Row<'_>| told.signal() == Some(step) && told.text("epoch").and_then(epoch_number) == Some(epoch);
        if steps.next().filter(fits).is_none() {
            return out.add(Rule::Migration, row, format!("{step} of e{epoch} does not follow in its place"));
        }
    }
}

/// Before a migration is finished, whatever died with the worker before is said to be disconnected; and where it played,
/// playout is on hold: nothing more is sent before it is known what was heard.
pub(crate) fn takes_stock(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("migration_finish") {
        return;
    }
    let Some(takeover) = scene.tick.input("takeover") else { return };
    let said = |name: Name<'_>| {
        scene.tick.before(row).any(|before| {
            before.signal() == Some("provider_error")
                && before.text("outcome") == Some("disconnected")
                && before.invocation().is_some_and(|of| of.number == name.number)
        })
    };
    let lost = takeover.text("lost").unwrap_or_default().split(',').filter_map(Name::parse);
    for name in lost.filter(|name| !said(*name)) {
        out.add(Rule::Migration, row, format!("{}#{} died, and nothing is said of it", name.kind, name.number));
    }
    if let Some((number, turn)) = scene.facts.open_turn()
        && turn.audio.in_transport
        && !turn.audio.all_heard()
        && !turn.held
    {
        out.add(Rule::Migration, row, format!("playout of t{number} goes on, and nobody knows what was heard"));
    }
}

/// An invocation for which the worker has no room is shed where it was to be dispatched, and has failed.
pub(crate) fn refused_dispatch_is_shed(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.input() == Some("dispatch_refused") {
        let Some((_, invocation)) = scene.facts.invocation_of(row) else { return };
        let mut after = scene.tick.after(row);
        let shed = |at: Row<'_>| at.signal() == Some("shed") && at.text("point") == Some("dispatch");
        if invocation.in_flight() && !after.any(shed) {
            out.add(Rule::Shed, row, "an invocation is not started, and nothing is shed");
        }
    } else if row.signal() == Some("shed")
        && row.text("point") == Some("dispatch")
        && scene.tick.input("dispatch_refused").is_none()
    {
        out.add(Rule::Shed, row, "shed at dispatch, and nothing was refused there");
    }
}

/// A proposal that waits was deferred, with a time, when it says; only such a one is refused at dequeue.
pub(crate) fn waits_because_it_was_deferred(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let waits = |row: Row<'_>| row.input() == Some("turn_open_proposed") && row.line.field("waits_since_ms").is_some();
    let at_dequeue = row.signal().is_some() && row.text("point") == Some("dequeue");
    if waits(row) && !is_deferred(scene.facts, row) {
        out.add(Rule::Deferral, row, "a proposal has waited, and none was deferred then");
    } else if at_dequeue && !scene.tick.before(row).any(waits) {
        out.add(Rule::Deferral, row, "at dequeue, and no proposal has waited");
    }
}

/// Times are forgotten in a long trace; then nothing is known.
fn is_deferred(facts: &Facts, row: Row<'_>) -> bool {
    crate::facts::waits_since(row).is_some_and(|since| facts.was_deferred_at(since))
}
