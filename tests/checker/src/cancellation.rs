//! Cancellation: accepted, carried out, fenced and closed in one tick; after that, silence.

use crate::Scene;
use crate::facts::RECOGNISER;
use crate::view::{Row, Tick};
use crate::violation::{Findings, Rule};

/// Why `cancel_accepted` stands here: a barge-in was derived, or a cancellation was asked for with this reason. It
/// names the open turn, once.
pub(crate) fn caused(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(number) = row.turn().filter(|_| row.signal() == Some("cancel_accepted")) else { return };
    let Some(turn) = scene.facts.turns.get(&number).filter(|turn| !turn.closed) else { return };
    if turn.cancelled {
        out.add(Rule::CancelCause, row, format!("t{number} is cancelled for the second time"));
    }
    let reason = row.text("reason");
    let asked = |input: Row<'_>| match input.input() {
        Some("cancel") => input.cancels_the_turn() && input.text("reason") == reason,
        Some("wake") => input.ends_the_grace_of(number) && turn.soft.as_deref() == reason,
        Some("session_end") => reason == Some("shutdown"),
        Some("turn_open_proposed") => input.is_callers_proposal() && reason == Some("barge_in"),
        Some("interruption_proposed" | "interruption_confirmed") => {
            reason == Some("barge_in") && input.turn() == Some(number)
        }
        _ => false,
    };
    if !scene.tick.before(row).any(asked) {
        out.add(Rule::CancelCause, row, "nothing in this tick asks for this cancellation");
    }
}

/// A turn that is cancelled softly begins nothing new, and the softness is asked for.
pub(crate) fn softly(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() == Some("soft_cancel") {
        let asked = |input: Row<'_>| input.cancels_the_turn() && input.flag("soft");
        if !scene.tick.before(row).any(asked) {
            out.add(Rule::SoftCancel, row, "nothing in this tick asks for this cancellation");
        }
    }
    let begins = row.signal() == Some("tool_proposed")
        || (row.effect() == Some("invoke") && row.invocation().is_some_and(|name| name.kind != RECOGNISER));
    if begins && scene.facts.open_turn().is_some_and(|(_, turn)| turn.soft.is_some()) {
        out.add(Rule::SoftCancel, row, "a turn that is cancelled softly begins something");
    }
}

/// Only what was cancelled, and still sends, is ended by force.
pub(crate) fn by_force(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.effect() != Some("end_invocation") {
        return;
    }
    let cancelled = scene.facts.invocation_of(row).is_some_and(|(_, invocation)| invocation.cancelled.is_some());
    let late = scene.tick.before(row).any(|before| before.signal() == Some("cancel_ignored"));
    if !cancelled || !late {
        out.add(Rule::ForcedEnd, row, "ended by force, and has not ignored a cancellation");
    }
}

/// When a turn is aborted, each of its invocations that has not ended has been cancelled. What ends in the tick of a
/// cancellation has not ended yet: data comes after control.
pub(crate) fn reaches_every_invocation(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(number) = row.turn().filter(|_| row.signal() == Some("abort")) else { return };
    if scene.facts.turns.get(&number).is_none_or(|turn| turn.terminal) {
        return;
    }
    let by_control = scene.tick.ends_by_control(number);
    for (id, invocation) in scene.facts.invocations.iter().filter(|(_, invocation)| invocation.dies_with(number)) {
        let ended = invocation.gone || invocation.ended_tick.is_some_and(|tick| tick < row.line.tick || !by_control);
        if !ended && invocation.cancelled.is_none() {
            out.add(Rule::CancelInvocations, row, format!("{}#{id} is in flight and not cancelled", invocation.kind));
        }
    }
}

/// Recognition goes on when a turn is cancelled, unless the session ends with it; a committed write runs to its end.
pub(crate) fn spares_what_is_not_the_turns(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.effect() != Some("cancel_invocation") {
        return;
    }
    let Some((name, invocation)) = scene.facts.invocation_of(row) else { return };
    if invocation.write {
        out.add(Rule::CancelScope, row, format!("#{} runs a committed write", name.number));
    } else if name.kind == RECOGNISER
        && scene.tick.signal("abort").is_some()
        && !session_ends(scene.tick)
        && !cancelled_by_name(scene, row)
        && !is_let_go(scene, row)
    {
        out.add(Rule::CancelScope, row, format!("stt#{} belongs to the session, not to the turn", name.number));
    }
}

/// Whether somebody has cancelled this call, or the node that made it, and not the turn.
fn cancelled_by_name(scene: &Scene<'_>, row: Row<'_>) -> bool {
    scene.tick.before(row).any(|before| match before.signal() {
        Some("invocation_cancelled") => is_the_same(before, row),
        name => name == Some("node_cancelled"),
    })
}

/// Whether this call's time is over, or the turn gets by without it.
fn is_let_go(scene: &Scene<'_>, row: Row<'_>) -> bool {
    scene.tick.before(row).any(|before| match before.signal() {
        Some("provider_budget") => is_the_same(before, row),
        name => name == Some("degraded"),
    })
}

fn is_the_same(one: Row<'_>, other: Row<'_>) -> bool {
    one.invocation().map(|name| name.number) == other.invocation().map(|name| name.number)
}

fn session_ends(tick: Tick<'_>) -> bool {
    let inputs = ["session_end", "authority_revoked", "transport_lost"];
    let cancelled = || tick.rows().any(|row| row.input() == Some("cancel") && row.text("of") == Some("session"));
    tick.signal("session_ended").is_some() || cancelled() || inputs.iter().any(|name| tick.input(name).is_some())
}

/// After the acceptance no frame of the turn is sent, no output of it accepted, no playback of it begins, and nothing
/// is begun for it.
pub(crate) fn no_output_afterwards(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let outward =
        matches!(row.signal(), Some("output_accepted" | "playback_started")) || row.effect() == Some("transmit");
    let begun = row.effect() == Some("invoke") && row.invocation().is_some_and(|name| name.kind != RECOGNISER);
    let turn = if begun { scene.facts.open_turn() } else { scene.facts.turn_of(row).filter(|_| outward) };
    if let Some((number, _)) = turn.filter(|(_, turn)| turn.cancelled) {
        out.add(Rule::OutputAfterCancel, row, format!("{} of t{number}, which was cancelled", row.line.name));
    }
}

/// The tick that accepts a cancellation applies its fence and ends its turn; a fence is applied for no other cause.
pub(crate) fn complete(scene: &Scene<'_>, out: &mut Findings) {
    for row in scene.tick.rows() {
        let Some(number) = row.turn() else { continue };
        match row.signal() {
            Some("cancel_accepted") => {
                for step in ["fence_applied", "abort"] {
                    if !scene.tick.after(row).any(|later| later.is_signal_of(step, number)) {
                        out.add(Rule::CancelComplete, row, format!("{step} of t{number} does not follow in this tick"));
                    }
                }
            }
            Some("fence_applied") if scene.tick.signal_of("abort", number).is_none() => {
                out.add(Rule::CancelComplete, row, format!("a fence, and t{number} is not aborted in this tick"));
            }
            _ => {}
        }
    }
}

/// The steps, in order: acceptance (or drain), writes revoked, invocations cancelled by id, transport cleared, fence
/// applied, playback cancelled, what was heard, abort, close. Only the first two may be several. What was let go
/// before anybody asked for the turn's end, or is cancelled by name, is no step of it.
pub(crate) fn in_order(scene: &Scene<'_>, out: &mut Findings) {
    let Some(close) = scene.tick.signal("close") else { return };
    let Some(turn) = close.turn() else { return };
    let Some(accepted) = scene.tick.cancellation_of(turn) else { return };
    for row in scene.tick.before(accepted) {
        let before = || scene.tick.before(row);
        let asked = || before().any(|before| asks_for_the_end(before, turn));
        let softly = || before().any(|before| before.is_signal_of("soft_cancel", turn));
        let early = match (row.signal(), row.effect()) {
            (Some("fence_applied"), _) => true,
            (Some("tool_revoked"), _) => !softly(),
            (_, Some("cancel_invocation")) => !cancelled_by_name(scene, row) && (asked() || !is_let_go(scene, row)),
            _ => false,
        };
        if early && step(scene, row, turn).is_some() {
            out.add(Rule::CancelOrder, row, format!("{} comes before the cancellation is accepted", row.line.name));
        }
    }
    let mut reached = (0, 0);
    for row in scene.tick.after(accepted).take_while(|row| row.number <= close.number) {
        let Some(step) = step(scene, row, turn) else { continue };
        if step < reached || step == reached && row.signal() != Some("tool_revoked") {
            out.add(Rule::CancelOrder, row, format!("{} comes after what it precedes", row.line.name));
        }
        reached = reached.max(step);
    }
}

/// Whether this may be why the turn is cancelled.
fn asks_for_the_end(row: Row<'_>, turn: u32) -> bool {
    match row.input() {
        Some("cancel") => row.cancels_the_turn() && !row.flag("soft"),
        Some("wake") => row.ends_the_grace_of(turn),
        Some("interruption_confirmed") => row.turn() == Some(turn),
        Some("turn_open_proposed") => row.is_callers_proposal(),
        input => matches!(input, Some("session_end" | "authority_revoked")),
    }
}

/// A step's place, and within the cancelled invocations their numbers.
fn step(scene: &Scene<'_>, row: Row<'_>, turn: u32) -> Option<(u8, u32)> {
    if row.effect() == Some("cancel_invocation") {
        let (name, invocation) = scene.facts.invocation_of(row)?;
        return invocation.dies_with(turn).then_some((2, name.number));
    }
    if row.turn() != Some(turn) {
        return None;
    }
    let place = match row.signal().or(row.effect())? {
        "tool_revoked" => 1,
        "clear_transport" => 3,
        "fence_applied" => 4,
        "playback_cancelled" => 5,
        "heard" => 6,
        "abort" => 7,
        "close" => 8,
        _ => return None,
    };
    Some((place, 0))
}
