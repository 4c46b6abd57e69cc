//! What the core is told about a session from outside its turns: whether new ones may open, and how the caller is
//! connected; and what it says of a proposal that was not admitted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::LeaseEpoch;
use crate::time::Micros;

/// What admission goes by: the newest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionSnapshot {
    /// Its number; ever higher.
    pub version: u64,
    /// Of which form it is. Only [`AdmissionSnapshot::FORM`] is understood; another is incompatible.
    pub form: u32,
    /// The session's lease, as far as the control plane knows.
    pub epoch: LeaseEpoch,
    /// What there is for new turns.
    pub quota: Quota,
}

impl AdmissionSnapshot {
    /// The form that this version of the core understands.
    pub const FORM: u32 = 1;
}

/// What there is for new turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// Enough.
    Available,
    /// Nothing for the time being.
    Deferred {
        /// When it is worth another try.
        retry_after: Micros,
    },
    /// Nothing.
    Exhausted,
    /// The worker has more than it can do, and sheds new turns.
    Shedding,
}

/// What was not admitted: why, where, and at whose expense (`F-049`, `F-050`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: RejectReason,
    /// Where.
    pub point: AdmissionPoint,
    /// With whom the session shares what is scarce.
    pub fairness_key: Arc<str>,
}

/// Where something waits to be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionPoint {
    /// A proposal comes in.
    Enqueue,
    /// A proposal that had to wait is tried again.
    Dequeue,
    /// An invocation of an open turn is to be started.
    Dispatch,
}

/// Why a proposal was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// A turn is active, and the policy ignores interruptions.
    TurnActive,
    /// The session takes no new turn.
    Draining,
    /// The caller's transport is gone.
    Suspended,
    /// There is nothing left for new turns.
    NoQuota,
    /// The plan asks for an admission snapshot, and there is none.
    SnapshotMissing,
    /// The admission snapshot is too old.
    SnapshotStale,
    /// The admission snapshot is of a form that is not understood.
    SnapshotIncompatible,
    /// The worker has more to do than it can.
    NoCapacity,
    /// As many wait as may.
    QueueFull,
    /// It has waited too long.
    Expired,
    /// The caller only told the speaker to go on.
    Backchannel,
    /// What is kept of every turn can't be kept.
    RecordingUnavailable,
}

impl RejectReason {
    /// The name in traces, and what callers are told.
    pub const fn name(self) -> &'static str {
        match self {
            RejectReason::TurnActive => "turn_active",
            RejectReason::Draining => "draining",
            RejectReason::Suspended => "suspended",
            RejectReason::NoQuota => "no_quota",
            RejectReason::SnapshotMissing => "snapshot_missing",
            RejectReason::SnapshotStale => "snapshot_stale",
            RejectReason::SnapshotIncompatible => "snapshot_incompatible",
            RejectReason::NoCapacity => "no_capacity",
            RejectReason::QueueFull => "queue_full",
            RejectReason::Expired => "expired",
            RejectReason::Backchannel => "backchannel",
            RejectReason::RecordingUnavailable => "recording_unavailable",
        }
    }
}

/// How a caller is connected (`F-086`). A transport tells these apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Audio can flow both ways.
    Connected,
    /// Gone; it may come back.
    Disconnected,
    /// There, and nothing gets through.
    Stalled,
    /// There, and sends nothing.
    Silent,
    /// There, and switched off by the caller.
    Muted,
}

impl ConnectionState {
    /// Whether the caller can hear.
    pub const fn is_open(self) -> bool {
        !matches!(self, ConnectionState::Disconnected | ConnectionState::Stalled)
    }
}
