//! What an envelope repeats of its payload, so that a router or a redactor need not open it.

use super::generated as pb;
use super::words::Word;
use crate::buffer::SyncGroup;
use crate::event::{ProviderResult, Request};
use crate::ids::{EdgeIndex, NodeIndex, TurnId};
use crate::time::{Lane, Micros};
use crate::timeline::{Effect, Entry, Input, Signal, TimerKey};

/// An envelope with the derived fields alone.
pub(super) fn derived(entry: &Entry) -> pb::Envelope {
    let (lane, event_type) = lane_and_type(entry);
    let runtime_sequence = match entry {
        Entry::Input(sequence, _) => Some(sequence.0),
        Entry::Signal(..) | Entry::Effect(_) => None,
    };
    pb::Envelope {
        media_us: media(entry).map(|at| at.0),
        lane: lane.number(),
        runtime_sequence,
        event_type: event_type.to_owned(),
        data_class: entry.data_class().number(),
        turn: turn(entry).map(|turn| turn.0),
        place: edge(entry)
            .map(|edge| pb::envelope::Place::Edge(u32::from(edge.0)))
            .or_else(|| node(entry).map(|node| pb::envelope::Place::Node(u32::from(node.0)))),
        sync_id: sync(entry).map(|sync| sync.id.to_string()),
        sync_domain: sync(entry).map(|sync| sync.domain.to_string()),
        discontinuity_id: discontinuity(entry),
        merge_group: merge_group(entry),
        idempotency_key: idempotency_key(entry).map(str::to_owned),
        late_after_cancel: matches!(entry, Entry::Signal(_, Signal::LateAfterCancel { .. })),
        ..pb::Envelope::default()
    }
}

/// The first derived field in which an envelope is not what its payload says.
pub(super) fn contradiction(found: &pb::Envelope, derived: &pb::Envelope) -> Option<&'static str> {
    let checks = [
        ("media_us", found.media_us == derived.media_us),
        ("lane", found.lane == derived.lane),
        ("runtime_sequence", found.runtime_sequence == derived.runtime_sequence),
        ("event_type", found.event_type == derived.event_type),
        ("data_class", found.data_class == derived.data_class),
        ("turn", found.turn == derived.turn),
        ("place", found.place == derived.place),
        ("sync_id", found.sync_id == derived.sync_id),
        ("sync_domain", found.sync_domain == derived.sync_domain),
        ("discontinuity_id", found.discontinuity_id == derived.discontinuity_id),
        ("merge_group", found.merge_group == derived.merge_group),
        ("idempotency_key", found.idempotency_key == derived.idempotency_key),
        ("late_after_cancel", found.late_after_cancel == derived.late_after_cancel),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

fn lane_and_type(entry: &Entry) -> (Lane, &'static str) {
    match entry {
        Entry::Input(_, input) => (input.lane(), input.name()),
        Entry::Signal(_, signal) => (signal.row().lane, signal.name()),
        Entry::Effect(effect) => effect.lane_and_name(),
    }
}

fn turn(entry: &Entry) -> Option<TurnId> {
    match entry {
        Entry::Signal(turn, _) => *turn,
        Entry::Input(_, Input::PlayoutAck(ack)) => Some(ack.turn),
        Entry::Input(_, Input::Derived(derived)) => derived.turn(),
        Entry::Input(
            _,
            Input::Timer(TimerKey::CommitPoint(turn) | TimerKey::PlayoutAckWait(turn) | TimerKey::Budget(turn, _)),
        ) => Some(*turn),
        Entry::Effect(Effect::Transmit { turn, .. } | Effect::ClearTransport { turn, .. }) => Some(*turn),
        Entry::Input(..) | Entry::Effect(_) => None,
    }
}

fn node(entry: &Entry) -> Option<NodeIndex> {
    match entry {
        Entry::Input(_, Input::Timer(TimerKey::Node(node) | TimerKey::Buffers(node))) => Some(*node),
        Entry::Signal(
            _,
            Signal::DropNotice { node, .. }
            | Signal::BranchFallback { node, .. }
            | Signal::NodeError { node, .. }
            | Signal::ProviderSwitch { node, .. },
        ) => Some(*node),
        _ => None,
    }
}

fn edge(entry: &Entry) -> Option<EdgeIndex> {
    match entry {
        Entry::Signal(
            _,
            Signal::DropNotice { edge: Some(edge), .. }
            | Signal::Watermark { edge, .. }
            | Signal::FlowXoff { edge }
            | Signal::FlowXon { edge, .. }
            | Signal::CreditGrant { edge, .. }
            | Signal::Merged { edge, .. }
            | Signal::Discontinuity { edge, .. },
        ) => Some(*edge),
        _ => None,
    }
}

fn sync(entry: &Entry) -> Option<&SyncGroup> {
    match entry {
        Entry::Signal(_, Signal::Discontinuity { sync, .. }) => Some(sync),
        _ => None,
    }
}

fn discontinuity(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Signal(_, Signal::Discontinuity { edge, gap, .. }) => Some(format!("{edge}.{gap}")),
        _ => None,
    }
}

fn merge_group(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Signal(_, Signal::Merged { edge, group, .. }) => Some(format!("{edge}.{group}")),
        _ => None,
    }
}

fn media(entry: &Entry) -> Option<Micros> {
    match entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Transcript(transcript))) => Some(transcript.watermark),
        Entry::Effect(Effect::Invoke { request: Request::Transcribe { media_start, .. }, .. }) => Some(*media_start),
        _ => None,
    }
}

fn idempotency_key(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::ToolCall(call)))
        | Entry::Effect(Effect::Invoke { request: Request::Tool(call), .. }) => Some(&call.key),
        Entry::Signal(
            _,
            Signal::ToolProposed { key, .. } | Signal::ToolCommitted { key } | Signal::ToolRevoked { key },
        ) => Some(key),
        _ => None,
    }
}
