//! The heard ledger: what the caller heard of each turn, said once and no more than was sent.

use rspp_specs::time::Micros;

use crate::Scene;
use crate::facts::Turn;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// The kind of invocation that speaks.
const VOICE: &str = "tts";

/// Playback of a turn starts at most once, on the transport's word, and is then completed or cancelled, once; the
/// samples heard are those acknowledged, unless they are called an estimate; what was heard follows in that tick.
pub(crate) fn playback(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some((number, turn)) = scene.facts.turn_of(row) else { return };
    match row.signal() {
        Some("playback_started") => started(number, turn, row, out),
        Some("playback_completed" | "playback_cancelled") => {
            if turn.playback_over {
                out.add(Rule::PlaybackOnce, row, format!("the playback of t{number} is over already"));
            }
            samples(number, turn, row, out);
            ledger_follows(scene, turn, row, out);
        }
        Some("heard") => heard(scene, number, row, out),
        _ => {}
    }
}

fn started(number: u32, turn: &Turn, row: Row<'_>, out: &mut Findings) {
    if turn.playback_started {
        out.add(Rule::PlaybackOnce, row, format!("the playback of t{number} has started before"));
    } else if turn.playback_over {
        out.add(Rule::PlaybackStarted, row, format!("the playback of t{number} is over already"));
    } else if turn.audio.acknowledged.is_none() && !turn.cancelled {
        out.add(Rule::PlaybackStarted, row, format!("the transport has said nothing of t{number}"));
    }
}

fn samples(number: u32, turn: &Turn, row: Row<'_>, out: &mut Findings) {
    let Some(heard) = row.number_of("heard_samples") else { return };
    let completed = row.signal() == Some("playback_completed");
    let sent = turn.audio.sent_samples;
    let detail = if sent == 0 {
        format!("nothing of t{number} was sent")
    } else if heard > sent {
        format!("{heard} samples of t{number} heard, and {sent} sent")
    } else if completed && heard != sent {
        format!("t{number} is completed with {heard} samples of {sent}")
    } else if completed && !turn.terminal {
        format!("t{number} is completed and may still say more")
    } else if !row.flag("estimated") && turn.audio.acknowledged != Some(heard) {
        format!("the transport did not acknowledge {heard} samples of t{number} last")
    } else {
        return;
    };
    out.add(Rule::HeardSamples, row, detail);
}

/// A completed playback always leaves words, unless its voice was stopped before the first; one that was cut does when it was long enough for one.
fn ledger_follows(scene: &Scene<'_>, turn: &Turn, row: Row<'_>, out: &mut Findings) {
    let Some(number) = row.turn() else { return };
    let heard = Micros(row.number_of("heard_samples").unwrap_or(0).saturating_mul(1_000_000));
    let long = heard.0.checked_div(turn.audio.rate_hz).is_some_and(|us| us > scene.limits.wordless.0);
    let due = long || (row.signal() == Some("playback_completed") && !loses_words(scene, number));
    if due && !scene.tick.after(row).any(|later| later.is_signal_of("heard", number)) {
        out.add(Rule::HeardFollows, row, format!("what was heard of t{number} does not follow in this tick"));
    }
}

/// Whether a voice was stopped, or failed, before it had said all of its sentence; or some of what it said was dropped on its
/// way.
fn loses_words(scene: &Scene<'_>, turn: u32) -> bool {
    let mut voices = scene.facts.invocations.values().filter(|it| it.kind == VOICE && it.turn == Some(turn));
    voices.any(|voice| voice.cancelled.is_some() || voice.failed) || scene.facts.edges.has_dropped()
}

fn heard(scene: &Scene<'_>, number: u32, row: Row<'_>, out: &mut Findings) {
    let mut earlier = scene.tick.before(row).filter(|before| before.turn() == Some(number));
    let twice = earlier.any(|before| before.signal() == Some("heard"));
    let over = |name: &str| scene.tick.before(row).any(|before| before.is_signal_of(name, number));
    let detail = match (over("playback_completed"), over("playback_cancelled")) {
        _ if twice => "it was said before",
        (false, false) => "no playback is over in this tick",
        (true, false) if row.flag("cut") && !loses_words(scene, number) => "all of it was heard, and it is called cut",
        _ => return,
    };
    out.add(Rule::HeardFollows, row, detail);
}

/// When a turn opens, what was heard of the turns before it has been settled: acknowledged, or estimated.
pub(crate) fn settled(scene: &Scene<'_>, out: &mut Findings) {
    for row in scene.tick.rows().filter(|row| row.signal() == Some("turn_open")) {
        let Some(opened) = row.turn() else { continue };
        for (number, turn) in scene.facts.turns.range(..opened) {
            if turn.audio.sent_samples > 0 && !turn.playback_over {
                out.add(Rule::PlaybackSettled, row, format!("what was heard of t{number} is not settled"));
            }
        }
    }
}
