//! Edges: what waits within bounds, who is stopped and let go, and that nothing is lost in silence.

use std::collections::{BTreeMap, BTreeSet};

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// Inputs of which a merged item may remember that they caused it.
const MAX_LINEAGE: usize = 16;
/// Edges and invocations that are remembered: more than one plan and its calls can have.
const MAX_REMEMBERED: usize = 1_024;

/// What is known of edges under pressure.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// Edges above their high watermark, each with its turn.
    high: BTreeMap<String, Option<u32>>,
    /// Edges whose producer is stopped.
    blocked: BTreeMap<String, Option<u32>>,
    /// Invocations whose provider is not read.
    paused: BTreeSet<u32>,
    /// Audio that voices gave for the open turn, in samples; and whether the turn lost any, and said so.
    spoken: u64,
    lost: bool,
    /// Whether anything of the turn was dropped by a rule.
    dropped: bool,
}

impl Edges {
    /// Whether anything of the turn that was opened last was dropped by a rule.
    pub(crate) fn has_dropped(&self) -> bool {
        self.dropped
    }

    pub(crate) fn remembered(&self) -> usize {
        self.high.len() + self.blocked.len() + self.paused.len()
    }

    /// Notes a line; `speaks_for_the_turn` says of a voice's result that its invocation is the open turn's, and in flight.
    pub(crate) fn note(&mut self, row: Row<'_>, speaks_for_the_turn: bool) {
        let edge = || row.text("edge").unwrap_or_default().to_owned();
        match (row.signal(), row.effect()) {
            (Some("turn_open"), _) => (self.spoken, self.lost, self.dropped) = (0, false, false),
            (Some("watermark"), _) if row.text("level") == Some("high") => {
                self.high.insert(edge(), row.turn());
            }
            (Some("watermark"), _) => {
                self.high.remove(&edge());
            }
            (Some("flow_xoff"), _) if self.blocked.len() < MAX_REMEMBERED => {
                self.blocked.insert(edge(), row.turn());
            }
            (Some("flow_xon"), _) => {
                self.blocked.remove(&edge());
            }
            (Some("drop_notice"), _) => (self.lost, self.dropped) = (true, true),
            (Some("provider_error" | "node_error"), _) => self.lost = true,
            (Some("close"), _) => {
                self.high.retain(|_, turn| *turn != row.turn());
                self.blocked.retain(|_, turn| *turn != row.turn());
                self.paused.clear();
            }
            (_, Some("pause_invocation")) if self.paused.len() < MAX_REMEMBERED => {
                self.paused.extend(row.invocation().map(|name| name.number));
            }
            (_, Some("resume_invocation" | "cancel_invocation")) => {
                self.forget_pause(row);
            }
            _ if speaks_for_the_turn => {
                self.spoken += row.number_of("samples").unwrap_or(0);
                if row.text("kind") == Some("end") {
                    self.forget_pause(row);
                }
            }
            _ => {}
        }
    }

    fn forget_pause(&mut self, row: Row<'_>) {
        if let Some(name) = row.invocation() {
            self.paused.remove(&name.number);
        }
    }
}

/// High, low, high, low; never beyond the bound, and both in their places.
pub(crate) fn watermarks_alternate(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("watermark") {
        return;
    }
    let edge = row.text("edge").unwrap_or_default();
    let is_high = row.text("level") == Some("high");
    if scene.facts.edges.high.contains_key(edge) == is_high {
        let is = if is_high { "already" } else { "not" };
        out.add(Rule::WatermarkPairs, row, format!("{edge} is {is} above its high watermark"));
    }
    if row.number_of("percent").is_none_or(|percent| percent > 100) {
        out.add(Rule::WatermarkPairs, row, format!("{edge} holds more than its bounds allow"));
    }
}

/// Stopped above the high watermark, once; let go after that.
pub(crate) fn stop_before_go(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if !matches!(row.signal(), Some("flow_xoff" | "flow_xon")) {
        return;
    }
    let edge = row.text("edge").unwrap_or_default();
    let (is_blocked, is_high) =
        (scene.facts.edges.blocked.contains_key(edge), scene.facts.edges.high.contains_key(edge));
    match row.signal() {
        Some("flow_xoff") if is_blocked => out.add(Rule::FlowOrder, row, format!("{edge} is blocked already")),
        Some("flow_xoff") if !is_high => {
            out.add(Rule::FlowOrder, row, format!("{edge} is blocked, and not above its high watermark"));
        }
        Some("flow_xon") if !is_blocked => out.add(Rule::FlowOrder, row, format!("{edge} is not blocked")),
        _ => {}
    }
}

/// Nobody is paused twice, or for nothing; nobody goes on who was not paused.
pub(crate) fn pauses_pair(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if !matches!(row.effect(), Some("pause_invocation" | "resume_invocation")) {
        return;
    }
    let Some(name) = row.invocation() else { return };
    let paused = scene.facts.edges.paused.contains(&name.number);
    match row.effect() {
        Some("pause_invocation") if paused => out.add(Rule::FlowEffects, row, "it is paused already"),
        Some("pause_invocation") if scene.facts.edges.blocked.is_empty() => {
            out.add(Rule::FlowEffects, row, "no edge is blocked");
        }
        Some("resume_invocation") if !paused => out.add(Rule::FlowEffects, row, "it was not paused"),
        _ => {}
    }
}

/// What was merged came from two inputs or more, in their order, and from a bounded number.
pub(crate) fn lineage(_: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("merged") {
        return;
    }
    let list = row.text("sequences").unwrap_or_default();
    let sequences: Option<Vec<u64>> = list.split(',').map(|number| number.parse().ok()).collect();
    match sequences {
        Some(sequences) if !(2..=MAX_LINEAGE).contains(&sequences.len()) => {
            out.add(Rule::MergeLineage, row, format!("{} inputs became one", sequences.len()));
        }
        Some(sequences) if !sequences.is_sorted() => {
            out.add(Rule::MergeLineage, row, "the inputs do not stand in their order");
        }
        Some(_) => {}
        None => out.add(Rule::MergeLineage, row, "this is no list of sequences"),
    }
}

/// A notice counts something, of inputs that have entered.
pub(crate) fn notices(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if !matches!(row.signal(), Some("drop_notice" | "discontinuity")) {
        return;
    }
    let (from, to) = (row.number_of("from_seq"), row.number_of("to_seq"));
    let last = scene.tick.rows().filter_map(|row| row.number_of("seq")).max().max(scene.facts.last_sequence);
    if row.number_of("items").unwrap_or(0) == 0 {
        out.add(Rule::DropNotice, row, "nothing was dropped");
    }
    if from.is_none() || from > to || to > last {
        out.add(Rule::DropNotice, row, "what caused it has not entered, or not in this order");
    }
    if row.text("lane") == Some("control") {
        out.add(Rule::DropNotice, row, "control is never dropped");
    }
}

/// What a voice gave for a turn was sent when the turn commits, unless a loss was said.
pub(crate) fn nothing_is_lost_in_silence(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("commit") || !scene.limits.voices_are_heard {
        return;
    }
    let edges = &scene.facts.edges;
    let sent = scene.facts.turn_of(row).map_or(0, |(_, turn)| turn.audio.sent_samples);
    if !edges.lost && edges.spoken > sent {
        let detail = format!("{} of {} samples were sent, and no loss was said", sent, edges.spoken);
        out.add(Rule::DroppedInSilence, row, detail);
    }
}
