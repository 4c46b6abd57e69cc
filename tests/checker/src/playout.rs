//! Playout: what is sent, in which order, how far ahead, and what a hold does to it.

use crate::Scene;
use crate::facts::{Playhead, frame_duration};
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// A hold answers a proposed interruption of the open turn, or the loss of the connection; a resume answers its dismissal,
/// or that the caller is back.
pub(crate) fn hold_and_resume(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some((number, turn)) = scene.facts.turn_of(row).filter(|(_, turn)| !turn.closed) else { return };
    let (cause, held) = match row.signal() {
        Some("playout_hold") => ("interruption_proposed", false),
        Some("playout_resume") => ("interruption_dismissed", true),
        _ => return,
    };
    if turn.held != held {
        let is = if turn.held { "already" } else { "not" };
        out.add(Rule::HoldPairing, row, format!("{} of t{number}, which is {is} on hold", row.line.name));
    } else if !scene.tick.before(row).any(|before| match before.input() {
        Some("connection") => true,
        Some("takeover") => !held,
        // After a takeover it goes on once the transport has said where it stopped, or has not in time.
        Some("playout_ack") => held && scene.facts.taken_over,
        Some("wake") => held && scene.facts.taken_over && before.line.field("playout_ack_wait").is_some(),
        input => input == Some(cause) && before.turn() == Some(number),
    }) {
        out.add(Rule::HoldPairing, row, format!("{} of t{number} without {cause}", row.line.name));
    }
}

/// From hold to resume, nothing is sent.
pub(crate) fn silent_while_held(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.effect() == Some("transmit") && scene.facts.turn_of(row).is_some_and(|(_, turn)| turn.held) {
        out.add(Rule::TransmitWhileHeld, row, "audio is sent while playout is on hold");
    }
}

/// A resume begins where the transport said that the caller stopped hearing, or where the pacer thinks so, and no
/// further than what was sent; the next frame begins there.
pub(crate) fn resumes_where_the_caller_stopped_hearing(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("playout_resume") && row.effect() != Some("transmit") {
        return;
    }
    let Some(from) = row.number_of("from_sample") else { return };
    let Some((_, turn)) = scene.facts.turn_of(row) else { return };
    let audio = &turn.audio;
    if row.signal() == Some("playout_resume") {
        if from > audio.sent_samples {
            out.add(Rule::ResumePosition, row, format!("only {} samples were sent", audio.sent_samples));
        } else if from > 0 && !row.flag("estimated") && audio.acknowledged != Some(from) {
            out.add(Rule::ResumePosition, row, format!("the transport did not acknowledge {from} samples last"));
        }
    } else if row.effect() == Some("transmit") && audio.resumed && from != audio.next_sample {
        out.add(Rule::ResumePosition, row, format!("playout resumed from sample {}", audio.next_sample));
    }
}

/// Each frame begins where the one before it ended, the first with the turn's first sample.
pub(crate) fn samples_in_order(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(from) = row.effect().filter(|it| *it == "transmit").and_then(|_| row.number_of("from_sample")) else {
        return;
    };
    let Some((_, turn)) = scene.facts.turn_of(row).filter(|(_, turn)| !turn.audio.resumed) else { return };
    let next = turn.audio.next_sample;
    if from != next {
        let what = if from < next { "sent twice" } else { "skipped" };
        out.add(Rule::TransmitContiguous, row, format!("sample {next} is next, so audio is {what}"));
    }
}

/// Every clear announces a later epoch; every frame carries the one announced last.
pub(crate) fn epochs(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if !matches!(row.effect(), Some("clear_transport" | "transmit")) {
        return;
    }
    let (Some(epoch), Some(latest)) = (row.number_of("epoch"), scene.facts.epoch) else { return };
    if row.effect() == Some("clear_transport") && epoch <= latest {
        out.add(Rule::TransmitEpoch, row, format!("epoch {epoch} is announced after epoch {latest}"));
    } else if row.effect() == Some("transmit") && epoch != latest {
        out.add(Rule::TransmitEpoch, row, format!("a frame of epoch {epoch} in epoch {latest}"));
    }
}

/// What was sent runs ahead of the playhead by the lookahead at most, or by one frame that is longer than that. The
/// playhead starts with the first frame, and anew after an underrun or a resume.
pub(crate) fn lookahead(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.effect() != Some("transmit") {
        return;
    }
    let Some((_, turn)) = scene.facts.turn_of(row) else { return };
    let Some(playhead) = Playhead::after_frame(turn.audio.playhead, row) else { return };
    let ahead = playhead.ahead(row.line.at);
    let limit =
        frame_duration(row).map_or(scene.limits.playout_lookahead, |one| one.max(scene.limits.playout_lookahead));
    if ahead > limit {
        out.add(Rule::Pacing, row, format!("audio is {ahead} ms ahead of the playhead, and {limit} ms is the limit"));
    }
}

/// The first frame of a turn and `output_accepted` stand together, with at most other frames of that turn and wake-ups
/// between them; it is said once.
pub(crate) fn accepted_with_its_first_frame(scene: &Scene<'_>, out: &mut Findings) {
    let told = |row: &Row<'_>| row.signal() == Some("output_accepted") || row.effect() == Some("transmit");
    for row in scene.tick.rows().filter(told) {
        let Some((number, turn)) = scene.facts.turn_of(row).filter(|(_, turn)| !turn.cancelled) else { continue };
        let (first_frame, accepted) = (turn.audio.first_frame, turn.audio.accepted);
        if row.signal() == Some("output_accepted") {
            if accepted != Some(row.number) || !stand_together(scene, row, first_frame) {
                out.add(Rule::OutputAccepted, row, format!("this is not where the first frame of t{number} is sent"));
            }
        } else if first_frame == Some(row.number) && accepted.is_none() {
            out.add(Rule::OutputAccepted, row, format!("the first frame of t{number}, and nothing is accepted"));
        }
    }
}

/// Whether line `other` is reached from `row`, in either direction, over frames of the same turn alone.
fn stand_together(scene: &Scene<'_>, row: Row<'_>, other: Option<usize>) -> bool {
    let along = |other: &Row<'_>| {
        other.effect() == Some("wake_at") || other.effect() == Some("transmit") && other.turn() == row.turn()
    };
    let wanted = |line: Row<'_>| other == Some(line.number);
    scene.tick.before(row).rev().take_while(along).any(wanted) || scene.tick.after(row).take_while(along).any(wanted)
}

/// A hold and a cancellation clear the transport of what was sent and may not have been played; what is already
/// cleared, or was never sent, is not cleared again.
pub(crate) fn transport_is_cleared(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let clears = row.effect() == Some("clear_transport");
    let must = matches!(row.signal(), Some("playout_hold" | "cancel_accepted"));
    if !clears && !must {
        return;
    }
    let Some((number, turn)) = scene.facts.turn_of(row) else { return };
    if clears {
        // What the worker before had told the transport is not known.
        if !turn.audio.in_transport && scene.tick.input("takeover").is_none() {
            out.add(Rule::ClearTransport, row, format!("nothing of t{number} is in the transport"));
        }
        return;
    }
    let cleared = || scene.tick.rows().any(|at| at.effect() == Some("clear_transport") && at.turn() == Some(number));
    if turn.audio.in_transport && !turn.audio.all_heard() && !cleared() {
        out.add(Rule::ClearTransport, row, format!("{} does not clear the transport of t{number}", row.line.name));
    }
}
