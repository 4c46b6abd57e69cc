//! Signals of edges: what waits, what is blocked, what is dropped.

use std::sync::Arc;

use super::bounded::{count, no_longer, of_edge, of_node, of_text, of_us, sequence, to_edge, to_node, to_text, to_us};
use super::generated as pb;
use super::generated::signal::Kind;
use super::words::Word;
use super::{WireError, known};
use crate::buffer::{Dropped, Held, SyncGroup};
use crate::ids::RuntimeSequence;
use crate::limits::MAX_MERGE_LINEAGE;
use crate::time::Lane;
use crate::timeline::Signal;

pub(super) fn to_kind(signal: &Signal) -> Result<Kind, WireError> {
    Ok(match signal {
        Signal::DropNotice { node, edge, dropped, reason } => Kind::DropNotice(pb::DropNotice {
            node: to_node("drop_notice.node", *node)?,
            items: dropped.items,
            reason: to_text("drop_notice.reason", reason)?,
            edge: edge.map(|edge| to_edge("drop_notice.edge", edge)).transpose()?,
            lane: dropped.lane.number(),
            from_sequence: count("drop_notice.from_sequence", dropped.from.0)?,
            to_sequence: count("drop_notice.to_sequence", dropped.to.0)?,
        }),
        Signal::Watermark { edge, level, held, percent } => Kind::Watermark(pb::Watermark {
            edge: to_edge("watermark.edge", *edge)?,
            level: level.number(),
            items: held.items,
            bytes: count("watermark.bytes", held.bytes)?,
            queued_us: to_us("watermark.queued", held.queued)?,
            percent: *percent,
        }),
        Signal::FlowXoff { edge } => Kind::FlowXoff(to_edge("flow_xoff.edge", *edge)?),
        Signal::FlowXon { edge, cause } => {
            Kind::FlowXon(pb::FlowXon { edge: to_edge("flow_xon.edge", *edge)?, cause: cause.number() })
        }
        Signal::CreditGrant { edge, items } => {
            Kind::CreditGrant(pb::CreditGrant { edge: to_edge("credit_grant.edge", *edge)?, items: *items })
        }
        Signal::Merged { edge, group, sequences } => {
            no_longer("merged.sequences", sequences.len(), MAX_MERGE_LINEAGE)?;
            let sequences = sequences.iter().map(|cause| count("merged.sequences", cause.0));
            let (edge, sequences) = (to_edge("merged.edge", *edge)?, sequences.collect::<Result<_, _>>()?);
            Kind::Merged(pb::Merged { edge, group: *group, sequences })
        }
        Signal::Discontinuity { edge, gap, sync, dropped } => Kind::Discontinuity(pb::Discontinuity {
            edge: to_edge("discontinuity.edge", *edge)?,
            gap: *gap,
            sync_id: to_text("discontinuity.sync_id", &sync.id)?,
            sync_domain: to_text("discontinuity.sync_domain", &sync.domain)?,
            items: dropped.items,
            from_sequence: count("discontinuity.from_sequence", dropped.from.0)?,
            to_sequence: count("discontinuity.to_sequence", dropped.to.0)?,
        }),
        Signal::BranchFallback { node, fault } => Kind::BranchFallback(pb::BranchFallback {
            node: to_node("branch_fallback.node", *node)?,
            fault: fault.number(),
        }),
        _ => return Err(WireError::Missing { field: "signal" }),
    })
}

pub(super) fn of_kind(kind: Kind) -> Result<Signal, WireError> {
    Ok(match kind {
        Kind::DropNotice(notice) => of_drop_notice(&notice)?,
        Kind::Watermark(watermark) => of_watermark(watermark)?,
        Kind::FlowXoff(edge) => Signal::FlowXoff { edge: of_edge("flow_xoff.edge", edge)? },
        Kind::FlowXon(pb::FlowXon { edge, cause }) => {
            Signal::FlowXon { edge: of_edge("flow_xon.edge", edge)?, cause: Word::of_number("flow_xon.cause", cause)? }
        }
        Kind::CreditGrant(pb::CreditGrant { edge, items }) => {
            Signal::CreditGrant { edge: of_edge("credit_grant.edge", edge)?, items }
        }
        Kind::Merged(pb::Merged { edge, group, sequences }) => {
            no_longer("merged.sequences", sequences.len(), MAX_MERGE_LINEAGE)?;
            let sequences: Result<Arc<[RuntimeSequence]>, WireError> =
                sequences.into_iter().map(|cause| sequence("merged.sequences", cause)).collect();
            Signal::Merged { edge: of_edge("merged.edge", edge)?, group, sequences: sequences? }
        }
        Kind::Discontinuity(gap) => of_discontinuity(&gap)?,
        Kind::BranchFallback(pb::BranchFallback { node, fault }) => Signal::BranchFallback {
            node: of_node("branch_fallback.node", node)?,
            fault: Word::of_number("branch_fallback.fault", fault)?,
        },
        _ => known("signal", None)?,
    })
}

fn of_drop_notice(notice: &pb::DropNotice) -> Result<Signal, WireError> {
    Ok(Signal::DropNotice {
        node: of_node("drop_notice.node", notice.node)?,
        edge: notice.edge.map(|edge| of_edge("drop_notice.edge", edge)).transpose()?,
        dropped: Dropped {
            items: notice.items,
            lane: Lane::of_number("drop_notice.lane", notice.lane)?,
            from: sequence("drop_notice.from_sequence", notice.from_sequence)?,
            to: sequence("drop_notice.to_sequence", notice.to_sequence)?,
        },
        reason: of_text("drop_notice.reason", &notice.reason)?,
    })
}

fn of_watermark(watermark: pb::Watermark) -> Result<Signal, WireError> {
    let pb::Watermark { edge, level, items, bytes, queued_us, percent } = watermark;
    let bytes = count("watermark.bytes", bytes)?;
    let held = Held { items, bytes, queued: of_us("watermark.queued", queued_us)? };
    let level = Word::of_number("watermark.level", level)?;
    Ok(Signal::Watermark { edge: of_edge("watermark.edge", edge)?, level, held, percent })
}

fn of_discontinuity(gap: &pb::Discontinuity) -> Result<Signal, WireError> {
    Ok(Signal::Discontinuity {
        edge: of_edge("discontinuity.edge", gap.edge)?,
        gap: gap.gap,
        sync: SyncGroup {
            id: of_text("discontinuity.sync_id", &gap.sync_id)?,
            domain: of_text("discontinuity.sync_domain", &gap.sync_domain)?,
        },
        dropped: Dropped {
            items: gap.items,
            lane: Lane::Data,
            from: sequence("discontinuity.from_sequence", gap.from_sequence)?,
            to: sequence("discontinuity.to_sequence", gap.to_sequence)?,
        },
    })
}
