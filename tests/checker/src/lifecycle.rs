//! A turn's life: proposed, admitted, opened, ended by one terminal, closed.

use crate::Scene;
use crate::facts::RECOGNISER;
use crate::view::{Row, Tick};
use crate::violation::{Findings, Rule};

/// What may still be said of a turn that has closed: what became of audio that had passed egress, and what came late.
const AFTER_CLOSE: [&str; 7] = [
    "playback_started",
    "playback_completed",
    "playback_cancelled",
    "heard",
    "late_after_cancel",
    "output_fenced",
    "provider_error",
];

/// Turns open under ever higher numbers.
pub(crate) fn turns_open_in_order(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(turn) = row.turn().filter(|_| row.signal() == Some("turn_open")) else { return };
    if let Some(last) = scene.facts.last_turn.filter(|last| *last >= turn) {
        out.add(Rule::TurnOrder, row, format!("t{turn} opens after t{last}"));
    }
}

/// A turn opens only when none is open.
pub(crate) fn one_turn_at_a_time(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if let Some(open) = scene.facts.open.filter(|_| row.signal() == Some("turn_open")) {
        out.add(Rule::TurnOverlap, row, format!("t{open} is still open"));
    }
}

/// Nothing happens between a proposal's admission and the opening of its turn.
pub(crate) fn admitted(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("turn_open") {
        return;
    }
    let before = scene.tick.before(row).rfind(|before| before.input().is_none());
    if before.and_then(Row::signal) != Some("admit") {
        out.add(Rule::TurnAdmitted, row, "a turn opens and no admission stands directly before it");
    }
}

/// A turn opens in the tick that handles its proposal.
pub(crate) fn proposed(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let proposed = |before: Row<'_>| before.input() == Some("turn_open_proposed");
    if row.signal() == Some("turn_open") && !scene.tick.before(row).any(proposed) {
        out.add(Rule::TurnProposed, row, "a turn opens in a tick without a proposal");
    }
}

/// An admission is followed at once by the opening, or by what stood against it after all.
pub(crate) fn admission_is_answered(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("admit") {
        return;
    }
    let answer = scene.tick.after(row).find(|after| after.input().is_none()).and_then(Row::signal);
    if !matches!(answer, Some("turn_open" | "reject" | "deauthorized_drain")) {
        out.add(Rule::TurnAdmitted, row, "an admission, and no turn opens");
    }
}

/// Generations never go back, and the one that a fence revokes is its turn's.
pub(crate) fn generations_move_on(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(generation) = row.number_of("generation") else { return };
    if row.signal() == Some("turn_open") {
        if let Some(last) = scene.facts.last_generation.filter(|last| *last >= generation) {
            out.add(Rule::GenerationOrder, row, format!("generation {generation} comes after generation {last}"));
        }
    } else if let Some((number, turn)) = scene.facts.turn_of(row)
        && turn.generation != Some(generation)
    {
        out.add(Rule::GenerationOrder, row, format!("the fence names generation {generation}, not that of t{number}"));
    }
}

/// A turn's signals, frames and invocations fall between its opening and its terminal.
pub(crate) fn inside_a_turn(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let what = row.line.name.as_ref();
    match (row.signal(), row.effect()) {
        (Some("turn_open" | "commit" | "abort" | "close"), _) => {}
        (Some(signal), _) => {
            let Some(number) = row.turn() else { return };
            match scene.facts.turns.get(&number) {
                None if scene.facts.has_forgotten_turn(number) => {}
                None => out.add(Rule::OutsideTurn, row, format!("{what} of t{number}, which never opened")),
                Some(turn)
                    if turn.closed && !AFTER_CLOSE.contains(&signal) && !is_cancelled_output(turn.cancelled, what) =>
                {
                    out.add(Rule::OutsideTurn, row, format!("{what} of t{number}, which has closed"));
                }
                Some(_) => {}
            }
        }
        (_, Some("transmit")) => {
            let Some(number) = row.turn() else { return };
            let turn = scene.facts.turns.get(&number);
            if turn.is_none_or(|turn| (turn.terminal || turn.closed) && !turn.cancelled) {
                out.add(Rule::OutsideTurn, row, format!("audio of t{number}, which is not open"));
            }
        }
        (_, Some("invoke")) if scene.facts.open.is_none() => {
            if let Some(name) = row.invocation().filter(|name| name.kind != RECOGNISER) {
                out.add(Rule::OutsideTurn, row, format!("{}#{} begins and no turn is open", name.kind, name.number));
            }
        }
        _ => {}
    }
}

/// What the rules of cancellation report.
fn is_cancelled_output(cancelled: bool, signal: &str) -> bool {
    cancelled && signal == "output_accepted"
}

/// Commit or abort, never both, never twice, only of a turn that was opened; then one close.
pub(crate) fn one_terminal(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(signal @ ("commit" | "abort" | "close")) = row.signal() else { return };
    let Some(number) = row.turn() else { return };
    match scene.facts.turns.get(&number) {
        None if scene.facts.has_forgotten_turn(number) => {
            out.add(Rule::TerminalOnce, row, format!("{signal} of t{number}, which has closed long ago"));
        }
        None => out.add(Rule::TerminalOnce, row, format!("{signal} of t{number}, which never opened")),
        Some(turn) if turn.closed => {
            out.add(Rule::TerminalOnce, row, format!("{signal} of t{number}, which has closed"));
        }
        Some(turn) if turn.terminal && signal != "close" => {
            out.add(Rule::TerminalOnce, row, format!("{signal} is the second terminal of t{number}"));
        }
        Some(_) => {}
    }
}

/// Between a turn's terminal and its close, nothing is said of the turn; and without a terminal there is no close.
pub(crate) fn close_follows(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(signal) = row.signal() else { return };
    let Some((number, turn)) = scene.facts.turn_of(row).filter(|(_, turn)| !turn.closed) else { return };
    match signal {
        "commit" | "abort" => {}
        "close" if !turn.terminal => {
            out.add(Rule::CloseAfterTerminal, row, format!("t{number} closes and has no terminal"));
        }
        "close" => {}
        _ if turn.last_signal_is_terminal => {
            out.add(Rule::CloseAfterTerminal, row, format!("{signal} stands between terminal and close of t{number}"));
        }
        _ => {}
    }
}

/// A turn closes in the tick of its terminal.
pub(crate) fn closed_in_the_tick_of_its_terminal(scene: &Scene<'_>, out: &mut Findings) {
    let Some((number, _)) = scene.facts.open_turn().filter(|(_, turn)| turn.terminal) else { return };
    let terminal = ["commit", "abort"].iter().find_map(|name| scene.tick.signal_of(name, number));
    let row = terminal.unwrap_or(scene.tick.last());
    out.add(Rule::CloseAfterTerminal, row, format!("t{number} does not close"));
}

/// `cancelled` says that a cancellation was accepted in this tick, `authority_loss` that the session was drained in
/// it, any other reason that the turn failed for it, or the transport was lost; where a cancellation was accepted, no
/// lesser reason may be given.
pub(crate) fn reason_of_abort(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(number) = row.turn().filter(|_| row.signal() == Some("abort")) else { return };
    let drained = scene.tick.before(row).any(|before| before.signal() == Some("deauthorized_drain"));
    let cancelled = scene.tick.before(row).any(|before| before.is_signal_of("cancel_accepted", number));
    let failed = scene.tick.rows().any(|at| {
        at.input() == Some("turn_failed") && at.turn() == Some(number) && at.text("reason") == row.text("reason")
    });
    let detail = match row.text("reason") {
        Some("authority_loss") if !drained => "authority loss without deauthorized_drain",
        Some("cancelled") if !cancelled => "cancelled, and no cancellation was accepted",
        Some("authority_loss" | "cancelled") => return,
        _ if cancelled || drained => "a lesser reason than the tick shows",
        Some("transport_disconnect_or_stall") if scene.tick.loses_the_transport() => return,
        Some("budget_exhausted") if scene.tick.ends_by_budget(number) => return,
        Some(EVIDENCE) if scene.tick.lacks_evidence().is_some() => return,
        Some("node_timeout_or_failure") if scene.tick.ends_by_a_node(number).is_some() => return,
        _ if failed => return,
        _ => "nothing in this tick gives this reason",
    };
    out.add(Rule::AbortReason, row, detail);
}

/// Several ends may fall in one tick: authority loss wins over a cancellation, that over a failure, and that over the
/// loss of the transport, which leads to an end only when its patience is over.
pub(crate) fn strongest_end_wins(scene: &Scene<'_>, out: &mut Findings) {
    let Some(turn) = scene.facts.open_when_the_tick_began else { return };
    let tick = scene.tick;
    // Whether words cancel at once is the policy's choice; where they did, they count as a cancellation.
    let words = || {
        tick.rows().find(|row| row.is_callers_proposal()).filter(|_| tick.signal_of("cancel_accepted", turn).is_some())
    };
    let grace = || tick.rows().find(|row| row.ends_the_grace_of(turn));
    let cancel =
        || tick.hard_cancel().or_else(grace).or_else(|| tick.input_of("interruption_confirmed", turn)).or_else(words);
    let cancel = || cancel().or_else(|| tick.input("session_end"));
    let authority = tick.input("authority_revoked").map(|row| (row, "authority_loss"));
    let cancel = || cancel().map(|row| (row, "cancelled"));
    let budgets = ["turn_budget", "path_budget", "edge_budget"];
    let budget = || budgets.iter().find_map(|name| tick.budget_that_ends(name, turn));
    let node = || tick.ends_by_a_node(turn).map(|row| (row, FAILURES[0]));
    let evidence = || tick.lacks_evidence().map(|row| (row, EVIDENCE));
    let failure = || budget().map(|row| (row, "budget_exhausted")).or_else(evidence).or_else(node);
    let failure = || failure().or_else(|| strongest_failure(tick, turn));
    let Some((cause, reason)) = authority.or_else(cancel).or_else(failure) else { return };
    let terminal = tick.rows().find(|row| row.is_signal_of("abort", turn) || row.is_signal_of("commit", turn));
    match terminal {
        None => out.add(Rule::EndPrecedence, cause, format!("{} does not end t{turn}", cause.line.name)),
        Some(row) if row.text("reason") != Some(reason) => {
            out.add(Rule::EndPrecedence, row, format!("{} asks for an abort for {reason}", cause.line.name));
        }
        Some(_) => {}
    }
}

/// Why a turn ends of which nothing can be kept.
const EVIDENCE: &str = "recording_evidence_unavailable";

/// Failures, the strongest first. What is not here is as weak as the last.
const FAILURES: [&str; 2] = ["node_timeout_or_failure", "provider_failure"];

fn strongest_failure<'a>(tick: Tick<'a>, turn: u32) -> Option<(Row<'a>, &'a str)> {
    let failures = tick.rows().filter(|row| row.input() == Some("turn_failed") && row.turn() == Some(turn));
    let reasons = failures.map(|row| (row, row.text("reason").unwrap_or_default()));
    reasons.min_by_key(|(_, reason)| FAILURES.iter().position(|known| known == reason).unwrap_or(FAILURES.len()))
}

/// A commit means that no output can follow: no invocation of the turn is in flight, no write waits for its commit
/// point or its result, playout is not on hold.
pub(crate) fn commit_when_nothing_is_left(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("commit") {
        return;
    }
    let Some((number, turn)) = scene.facts.turn_of(row).filter(|(_, turn)| !turn.terminal) else { return };
    for (id, invocation) in &scene.facts.invocations {
        let waited_for = invocation.dies_with(number) || (invocation.write && invocation.turn == Some(number));
        if waited_for && invocation.in_flight() {
            out.add(Rule::CommitUnfinished, row, format!("{}#{id} has not ended", invocation.kind));
        }
    }
    for (key, _) in turn.writes.iter().filter(|(_, write)| !write.committed && !write.revoked) {
        out.add(Rule::CommitUnfinished, row, format!("the write {key} waits for its commit point"));
    }
    if turn.held {
        out.add(Rule::CommitUnfinished, row, "playout is on hold");
    }
}

/// A session ends after the close of its turn, once; nothing opens, begins or is sent after that.
pub(crate) fn nothing_after_the_session(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let facts = scene.facts;
    match (row.signal(), row.effect()) {
        (Some("session_ended"), _) if facts.session_ended => {
            out.add(Rule::SessionEnded, row, "the session has ended before");
        }
        (Some("session_ended"), _) => {
            if let Some(open) = facts.open {
                out.add(Rule::SessionEnded, row, format!("t{open} is still open"));
            }
        }
        (Some("session_ready" | "turn_open"), _) | (_, Some("invoke" | "transmit" | "feed")) if facts.session_ended => {
            out.add(Rule::SessionEnded, row, format!("{} after the session's end", row.line.name));
        }
        _ => {}
    }
}
