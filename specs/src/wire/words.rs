//! Enumerations, each beside its counterpart on the wire. A word that is added to one side alone does not compile
//! (ours) or is refused (theirs).

use super::WireError;
use super::generated as pb;
use crate::admission::{AdmissionPoint, ConnectionState, RejectReason};
use crate::budget::{BudgetOutcome, CircuitState, SwitchCause, TurnBudget};
use crate::buffer::{BranchFault, WatermarkLevel, XonCause};
use crate::data_class::DataClass;
use crate::event::{Talk, Understanding};
use crate::outcome::{AbortReason, CancelReason, Outcome};
use crate::plan::{RecordingLevel, Redaction};
use crate::recording::LevelCause;
use crate::time::{Clock, Lane};
use crate::timeline::{AckOccasion, Confirmation, Opener, TurnState};

/// An enumeration that has numbers on the wire.
pub(super) trait Word: Sized {
    /// Its number.
    fn number(self) -> i32;

    /// Back from its number.
    ///
    /// # Errors
    /// Names `field` when no word has this number.
    fn of_number(field: &'static str, number: i32) -> Result<Self, WireError>;
}

macro_rules! words {
    ($($name:ident { $($word:ident),+ $(,)? })+) => {$(
        impl Word for $name {
            fn number(self) -> i32 {
                match self {
                    $($name::$word => pb::$name::$word as i32,)+
                }
            }

            fn of_number(field: &'static str, number: i32) -> Result<Self, WireError> {
                match pb::$name::try_from(number) {
                    $(Ok(pb::$name::$word) => Ok($name::$word),)+
                    Ok(pb::$name::Unspecified) | Err(_) => Err(WireError::UnknownWord { field, number }),
                }
            }
        }
    )+};
}

words! {
    Lane { Control, Data, Telemetry }
    DataClass { AudioRaw, TextRaw, Pii, Phi, DerivedSummary, Metadata }
    Clock { Wall, Media }
    CancelReason { BargeIn, UserCancel, Policy, Shutdown }
    AckOccasion { Started, Progress, Drained, Cleared }
    Understanding { Partial, Words, Rejected, Empty }
    Outcome {
        Success, Timeout, Overload, RateLimited, Blocked, Disconnected, Cancelled, InvalidRequest, Failed,
    }
    Confirmation { Words, Speech, Onset }
    Opener { Caller, Say, Ask }
    RejectReason {
        TurnActive, Draining, Suspended, NoQuota, SnapshotMissing, SnapshotStale, SnapshotIncompatible, Backchannel,
        NoCapacity, QueueFull, Expired, RecordingUnavailable,
    }
    AdmissionPoint { Enqueue, Dequeue, Dispatch }
    AbortReason {
        AuthorityLoss, Cancelled, BudgetExhausted, NodeTimeoutOrFailure, ProviderFailure,
        TransportDisconnectOrStall, RecordingEvidenceUnavailable,
    }
    TurnState { Idle, Opening, Active, Held, Closed }
    ConnectionState { Connected, Disconnected, Stalled, Silent, Muted }
    TurnBudget { FirstSpeakable, FirstAudio, Whole }
    BudgetOutcome { Continue, Degrade, Fallback, Terminate }
    CircuitState { Closed, Open, HalfOpen }
    SwitchCause { Failed, CircuitOpen, Budget }
    Talk { Press, Release, EndOfUtterance }
    WatermarkLevel { High, Low }
    XonCause { Drained, Expired }
    BranchFault { Timeout, Failed }
    Redaction { Allow, Mask, Tokenize, Hash, Drop }
    RecordingLevel { L0, L1, L2 }
    LevelCause { Pressure, Relief, Asked }
}
