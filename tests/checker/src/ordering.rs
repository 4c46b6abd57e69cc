//! One order of everything: sequence numbers, time, lanes.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// Inputs are numbered in the order in which they entered, without a gap.
pub(crate) fn sequence_steps_by_one(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(sequence) = row.input().and_then(|_| row.number_of("seq")) else { return };
    if let Some(last) = scene.facts.last_sequence.filter(|last| last.checked_add(1) != Some(sequence)) {
        out.add(Rule::SequenceStep, row, format!("input {sequence} comes after input {last}"));
    }
}

/// Time and tick numbers never go back, and within a tick time stands still.
pub(crate) fn time_never_goes_back(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some((last_tick, last_at)) = scene.facts.last_time else { return };
    let (tick, at) = (row.line.tick, row.line.at.0);
    if tick < last_tick {
        out.add(Rule::TimeOrder, row, format!("tick {tick} comes after tick {last_tick}"));
    } else if at < last_at {
        out.add(Rule::TimeOrder, row, "time goes back");
    } else if tick == last_tick && at != last_at {
        out.add(Rule::TimeOrder, row, format!("time moves within tick {tick}"));
    }
}

/// Invocations are numbered in the order in which they begin, without a gap.
pub(crate) fn invocations_step_by_one(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(name) = row.effect().filter(|it| *it == "invoke").and_then(|_| row.invocation()) else { return };
    if let Some(last) = scene.facts.last_invocation.filter(|last| last.checked_add(1) != Some(name.number)) {
        out.add(Rule::InvocationStep, row, format!("invocation {} begins after invocation {last}", name.number));
    }
}

/// A tick begins with an input. What the arbiter derived stands first, then other control, then due timers, then data.
pub(crate) fn inputs_by_lane(scene: &Scene<'_>, out: &mut Findings) {
    if let Some(first) = scene.tick.rows().next().filter(|row| row.input().is_none()) {
        out.add(Rule::InputOrder, first, "a tick begins with an input");
    }
    let mut highest = 0;
    for row in scene.tick.rows() {
        let Some(name) = row.input() else { continue };
        let rank = input_rank(name);
        if rank < highest {
            out.add(Rule::InputOrder, row, format!("{name} comes after what it precedes in a tick"));
        }
        highest = highest.max(rank);
    }
}

fn input_rank(name: &str) -> u8 {
    match name {
        "turn_open_proposed" | "turn_failed" | "playback_cut" | "node_lost" => 0,
        "interruption_proposed" | "interruption_confirmed" | "interruption_dismissed" => 0,
        "wake" => 2,
        "audio" | "user_text" | "prompt" | "provider" => 3,
        _ => 1,
    }
}
