//! What stands outside a turn and decides about it: the lease, the word of admission, the caller's connection.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// Whoever speaks for another epoch than the session's is refused in that tick, and leases only move on.
pub(crate) fn epochs_move_on(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let epoch = || row.text("epoch").and_then(epoch_number);
    let current = scene.facts.lease;
    match (row.input(), row.signal()) {
        (Some("stale_epoch"), _) if scene.tick.after(row).find_map(Row::signal) != Some("stale_epoch_reject") => {
            out.add(Rule::StaleEpoch, row, "what came under another epoch is not refused");
        }
        (_, Some("lease_rotated")) if epoch().zip(current).is_some_and(|(epoch, current)| epoch <= current) => {
            out.add(Rule::StaleEpoch, row, "the lease goes back");
        }
        _ => {}
    }
}

/// No turn opens against the newest word of admission: without a quota, or under a lease that is behind.
pub(crate) fn opens_only_where_there_is_room(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("turn_open") {
        return;
    }
    let Some(snapshot) = &scene.facts.snapshot else { return };
    if !snapshot.quota {
        out.add(Rule::AdmissionQuota, row, "a turn opens, and there is no quota for it");
    }
    if scene.facts.lease.unwrap_or(0) < snapshot.epoch {
        out.add(Rule::AdmissionQuota, row, format!("a turn opens, and the lease is at e{} elsewhere", snapshot.epoch));
    }
}

/// While the caller's transport is gone, nothing is sent and no turn opens.
pub(crate) fn silent_while_suspended(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if !scene.facts.suspended {
        return;
    }
    if row.effect() == Some("transmit") {
        out.add(Rule::Suspended, row, "audio is sent to a transport that is gone");
    } else if row.signal() == Some("turn_open") {
        out.add(Rule::Suspended, row, "a turn opens while the transport is gone");
    }
}

/// `e7`.
pub(crate) fn epoch_number(text: &str) -> Option<u64> {
    text.strip_prefix('e')?.parse().ok()
}
