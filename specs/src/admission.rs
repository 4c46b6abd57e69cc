//! What the core is told about a session from outside its turns: whether new ones may open, and how the caller is
//! connected.

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
