//! Writes: proposed, then committed or revoked, and run only when committed.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// A write is proposed once and decided once; it is not committed while an interruption is pending, nor in a tick that
/// aborts its turn; no abort leaves one undecided.
pub(crate) fn decisions(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some((number, turn)) = scene.facts.turn_of(row) else { return };
    let Some(signal) = row.signal() else { return };
    if signal == "abort" && !turn.terminal {
        for (key, _) in turn.writes.iter().filter(|(_, write)| !write.committed && !write.revoked) {
            out.add(Rule::ToolUndecided, row, format!("the write {key} of t{number} is not revoked"));
        }
    }
    let Some(key) = row.text("key") else { return };
    let detail = match (signal, turn.writes.get(key)) {
        ("tool_proposed", Some(_)) => "was proposed before",
        ("tool_committed" | "tool_revoked", None) => "was not proposed",
        ("tool_committed" | "tool_revoked", Some(write)) if write.committed => "is committed already",
        ("tool_committed" | "tool_revoked", Some(write)) if write.revoked => "is revoked already",
        ("tool_committed", Some(_)) if turn.held && scene.tick.signal_of("playout_resume", number).is_none() => {
            return out.add(Rule::ToolCommittedHeld, row, format!("an interruption of t{number} is pending"));
        }
        ("tool_committed", Some(_)) if scene.tick.signal_of("abort", number).is_some() => {
            return out.add(Rule::ToolCommittedHeld, row, format!("t{number} is aborted in this tick"));
        }
        _ => return,
    };
    out.add(Rule::ToolDecision, row, format!("the write {key} {detail}"));
}

/// A committed write is invoked in the tick of its commitment, once; a write is never invoked otherwise.
pub(crate) fn invocations_of_writes(scene: &Scene<'_>, out: &mut Findings) {
    let tick = scene.tick;
    for row in tick.rows() {
        let Some(key) = row.text("key") else { continue };
        if row.signal() == Some("tool_committed")
            && invocations(scene, key).filter(|at| at.number > row.number).count() != 1
        {
            out.add(Rule::ToolInvocation, row, format!("the write {key} is not invoked once in this tick"));
        } else if is_tool_invocation(row) && is_write(scene, row) {
            let committed =
                |before: Row<'_>| before.signal() == Some("tool_committed") && before.text("key") == Some(key);
            if !tick.before(row).any(committed) {
                out.add(Rule::ToolInvocation, row, format!("the write {key} runs and is not committed in this tick"));
            }
        }
    }
}

fn is_tool_invocation(row: Row<'_>) -> bool {
    row.effect() == Some("invoke") && row.invocation().is_some_and(|name| name.kind == "tool")
}

/// Invocations of the write of this key. A call of another tool may have the same.
fn invocations<'a>(scene: &'a Scene<'a>, key: &'a str) -> impl Iterator<Item = Row<'a>> {
    let of_the_write = |row: &Row<'a>| is_tool_invocation(*row) && is_write(scene, *row);
    scene.tick.rows().filter(of_the_write).filter(move |row| row.text("key") == Some(key))
}

/// Whether the call was proposed as a write, or is of a tool that was.
fn is_write(scene: &Scene<'_>, row: Row<'_>) -> bool {
    let facts = scene.facts;
    let proposed = facts.turns.values().any(|turn| turn.has_proposed(row));
    proposed || row.text("name").is_some_and(|name| facts.write_tools.contains(name))
}
