//! Values that have a limit, checked in both directions: what is written can be read.

use std::sync::Arc;

use super::WireError;
use crate::ids::{EdgeIndex, NodeIndex, RuntimeSequence};
use crate::limits::{MAX_PLAN_EDGES, MAX_PLAN_NODES, MAX_TEXT_BYTES, MAX_TIME_US, MAX_TURN_SAMPLES};
use crate::time::Micros;

/// The highest sampling rate, in samples a second.
pub(super) const MAX_RATE_HZ: u32 = 48_000;
/// The highest count, which is also the last that every JSON reader keeps exactly.
pub(super) const MAX_COUNT: u64 = 1 << 53;

const _: () = {
    // `Micros::to_samples` and `Micros::of_samples` multiply before they divide.
    assert!(MAX_TIME_US.checked_mul(MAX_RATE_HZ as u64).is_some());
    assert!(MAX_TURN_SAMPLES.checked_mul(1_000_000).is_some());
};

/// `value`, if it is at most `limit`.
pub(super) fn within(field: &'static str, value: u64, limit: u64) -> Result<u64, WireError> {
    if value > limit {
        return Err(WireError::OutOfRange { field, value, limit });
    }
    Ok(value)
}

/// Checks the length of a list, in items, or of a payload, in bytes.
pub(super) fn no_longer(field: &'static str, length: usize, limit: usize) -> Result<(), WireError> {
    if length > limit {
        return Err(WireError::TooLong { field, length, limit });
    }
    Ok(())
}

pub(super) fn count(field: &'static str, value: u64) -> Result<u64, WireError> {
    within(field, value, MAX_COUNT)
}

pub(super) fn samples(field: &'static str, value: u64) -> Result<u64, WireError> {
    within(field, value, MAX_TURN_SAMPLES)
}

pub(super) fn to_us(field: &'static str, time: Micros) -> Result<u64, WireError> {
    within(field, time.0, MAX_TIME_US)
}

pub(super) fn of_us(field: &'static str, value: u64) -> Result<Micros, WireError> {
    within(field, value, MAX_TIME_US).map(Micros)
}

pub(super) fn to_text(field: &'static str, text: &str) -> Result<String, WireError> {
    no_longer(field, text.len(), MAX_TEXT_BYTES)?;
    Ok(text.to_owned())
}

pub(super) fn of_text(field: &'static str, text: &str) -> Result<Arc<str>, WireError> {
    no_longer(field, text.len(), MAX_TEXT_BYTES)?;
    Ok(Arc::from(text))
}

pub(super) fn to_node(field: &'static str, node: NodeIndex) -> Result<u32, WireError> {
    within(field, u64::from(node.0), MAX_PLAN_NODES as u64 - 1)?;
    Ok(u32::from(node.0))
}

pub(super) fn of_node(field: &'static str, node: u32) -> Result<NodeIndex, WireError> {
    let limit = MAX_PLAN_NODES as u64 - 1;
    within(field, u64::from(node), limit)?;
    u16::try_from(node).map(NodeIndex).map_err(|_| WireError::OutOfRange { field, value: u64::from(node), limit })
}

pub(super) fn to_edge(field: &'static str, edge: EdgeIndex) -> Result<u32, WireError> {
    within(field, u64::from(edge.0), MAX_PLAN_EDGES as u64 - 1)?;
    Ok(u32::from(edge.0))
}

pub(super) fn of_edge(field: &'static str, edge: u32) -> Result<EdgeIndex, WireError> {
    let limit = MAX_PLAN_EDGES as u64 - 1;
    within(field, u64::from(edge), limit)?;
    u16::try_from(edge).map(EdgeIndex).map_err(|_| WireError::OutOfRange { field, value: u64::from(edge), limit })
}

pub(super) fn sequence(field: &'static str, value: u64) -> Result<RuntimeSequence, WireError> {
    count(field, value).map(RuntimeSequence)
}
