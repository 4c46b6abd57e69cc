//! Signals about cancellations.

use super::WireError;
use super::bounded::{of_node, of_us, to_node, to_us};
use super::generated as pb;
use super::words::Word;
use crate::ids::InvocationId;
use crate::outcome::CancelReason;
use crate::timeline::Signal;

pub(super) fn to_cancelled(signal: &Signal) -> Result<pb::signal::Kind, WireError> {
    use pb::signal::Kind;
    Ok(match signal {
        Signal::SoftCancel { reason, grace } => {
            Kind::SoftCancel(pb::SoftCancel { reason: reason.number(), grace_us: to_us("soft_cancel.grace", *grace)? })
        }
        Signal::NodeCancelled { node, reason } => Kind::NodeCancelled(pb::NodeCancelled {
            node: to_node("node_cancelled.node", *node)?,
            reason: reason.number(),
        }),
        Signal::InvocationCancelled { id, reason } => {
            Kind::InvocationCancelled(pb::InvocationCancelled { invocation: id.0, reason: reason.number() })
        }
        Signal::CancelSettled { id, after, late_results } => Kind::CancelSettled(pb::CancelSettled {
            invocation: id.0,
            after_us: to_us("cancel_settled.after", *after)?,
            late_results: *late_results,
        }),
        Signal::CancelIgnored { id, late_results } => {
            Kind::CancelIgnored(pb::CancelIgnored { invocation: id.0, late_results: *late_results })
        }
        _ => return Err(WireError::Missing { field: "a cancellation" }),
    })
}

pub(super) fn of_soft_cancel(cancel: pb::SoftCancel) -> Result<Signal, WireError> {
    let reason = CancelReason::of_number("soft_cancel.reason", cancel.reason)?;
    Ok(Signal::SoftCancel { reason, grace: of_us("soft_cancel.grace", cancel.grace_us)? })
}

pub(super) fn of_node_cancelled(cancelled: pb::NodeCancelled) -> Result<Signal, WireError> {
    let reason = CancelReason::of_number("node_cancelled.reason", cancelled.reason)?;
    Ok(Signal::NodeCancelled { node: of_node("node_cancelled.node", cancelled.node)?, reason })
}

pub(super) fn of_invocation_cancelled(cancelled: pb::InvocationCancelled) -> Result<Signal, WireError> {
    let reason = CancelReason::of_number("invocation_cancelled.reason", cancelled.reason)?;
    Ok(Signal::InvocationCancelled { id: InvocationId(cancelled.invocation), reason })
}

pub(super) fn of_cancel_settled(settled: pb::CancelSettled) -> Result<Signal, WireError> {
    let pb::CancelSettled { invocation, after_us, late_results } = settled;
    Ok(Signal::CancelSettled {
        id: InvocationId(invocation),
        after: of_us("cancel_settled.after", after_us)?,
        late_results,
    })
}

pub(super) fn of_cancel_ignored(ignored: pb::CancelIgnored) -> Signal {
    Signal::CancelIgnored { id: InvocationId(ignored.invocation), late_results: ignored.late_results }
}
