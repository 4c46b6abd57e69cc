//! What redaction goes by: the class of data that an entry of the timeline carries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{ProviderResult, Request};
use crate::timeline::{Derived, Effect, Entry, Input, Signal};

/// Classes of data, each with its own rule for telemetry, timeline and replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataClass {
    /// Somebody's voice, or one made for them.
    AudioRaw,
    /// What somebody said or was told, in words.
    TextRaw,
    /// Personally identifying, as a policy found. The core never says so by itself.
    Pii,
    /// Of somebody's health, as a policy found. The core never says so by itself.
    Phi,
    /// Made from the above, without quoting it.
    DerivedSummary,
    /// Nothing that a person said.
    Metadata,
}

impl DataClass {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::AudioRaw, Self::TextRaw, Self::Pii, Self::Phi, Self::DerivedSummary, Self::Metadata];

    /// The word in documents.
    pub const fn name(self) -> &'static str {
        match self {
            DataClass::AudioRaw => "audio_raw",
            DataClass::TextRaw => "text_raw",
            DataClass::Pii => "pii",
            DataClass::Phi => "phi",
            DataClass::DerivedSummary => "derived_summary",
            DataClass::Metadata => "metadata",
        }
    }
}

impl Entry {
    /// The class of what it carries; the stricter one where it carries several.
    ///
    /// ```
    /// use rspp_specs::data_class::DataClass;
    /// use rspp_specs::timeline::{Entry, Signal};
    ///
    /// assert_eq!(Entry::Signal(None, Signal::SessionReady).data_class(), DataClass::Metadata);
    /// ```
    pub fn data_class(&self) -> DataClass {
        match self {
            Entry::Input(_, input) => of_input(input),
            Entry::Signal(_, signal) => of_signal(signal),
            Entry::Effect(effect) => of_effect(effect),
        }
    }
}

fn of_input(input: &Input) -> DataClass {
    match input {
        Input::CallerAudio(_) => DataClass::AudioRaw,
        // What was said before goes on with the session.
        Input::SessionOpen(open) if !open.resume.context.is_empty() => DataClass::TextRaw,
        Input::UserText(_) | Input::Prompt(_) | Input::Derived(Derived::TurnOpenProposed(_)) => DataClass::TextRaw,
        Input::Provider(_, result) => match result {
            ProviderResult::Audio(_) => DataClass::AudioRaw,
            ProviderResult::Transcript(_)
            | ProviderResult::Text(_)
            | ProviderResult::ToolCall(_)
            | ProviderResult::ToolResult(_) => DataClass::TextRaw,
            // Where words end, and not which.
            ProviderResult::WordEnds(_) | ProviderResult::End(_) => DataClass::Metadata,
        },
        Input::SessionOpen(_)
        | Input::SessionEnd
        | Input::Cancel(_)
        | Input::AuthorityRevoked
        | Input::TransportLost
        | Input::SessionDrain
        | Input::LeaseRotated(_)
        | Input::Recorder(_)
        | Input::StaleEpoch { .. }
        | Input::Admission(_)
        | Input::Connection(_)
        | Input::ProviderHealth { .. }
        | Input::DispatchRefused(_)
        | Input::NodeOverrun { .. }
        | Input::WallClock(_)
        | Input::Takeover(_)
        | Input::PlayoutAck(_)
        | Input::Observed(_)
        | Input::Talk(_)
        | Input::Derived(
            Derived::InterruptionProposed(_)
            | Derived::InterruptionConfirmed(..)
            | Derived::InterruptionDismissed(_)
            | Derived::PlaybackCut(_)
            | Derived::NodeLost(..)
            | Derived::TurnFailed(..),
        )
        | Input::Timer(_) => DataClass::Metadata,
    }
}

fn of_signal(signal: &Signal) -> DataClass {
    match signal {
        // A node's message may quote what it choked on: a panic on a string prints the string.
        Signal::TurnOpen { .. } | Signal::Heard { .. } | Signal::NodeError { .. } => DataClass::TextRaw,
        Signal::SessionReady
        | Signal::SessionEnded
        | Signal::Admit
        | Signal::Reject(_)
        | Signal::DeauthorizedDrain
        | Signal::OutputAccepted
        | Signal::PlayoutHold
        | Signal::PlayoutResume { .. }
        | Signal::CancelAccepted { .. }
        | Signal::SoftCancel { .. }
        | Signal::NodeCancelled { .. }
        | Signal::InvocationCancelled { .. }
        | Signal::CancelSettled { .. }
        | Signal::CancelIgnored { .. }
        | Signal::ToolProposed { .. }
        | Signal::ToolCommitted { .. }
        | Signal::ToolRevoked { .. }
        | Signal::FenceApplied { .. }
        | Signal::PlaybackStarted
        | Signal::PlaybackCompleted { .. }
        | Signal::PlaybackCancelled { .. }
        | Signal::Commit
        | Signal::Abort { .. }
        | Signal::Close
        | Signal::LateAfterCancel { .. }
        | Signal::OutputFenced { .. }
        | Signal::ProviderError { .. }
        | Signal::ProviderRetry { .. }
        | Signal::ProviderSwitch { .. }
        | Signal::CircuitEvent { .. }
        | Signal::ProviderBudget { .. }
        | Signal::TurnBudgetSpent { .. }
        | Signal::PartBudgetSpent { .. }
        | Signal::Degraded { .. }
        | Signal::Defer { .. }
        | Signal::Shed(_)
        | Signal::ConnectionEvent { .. }
        | Signal::RecordingLevel { .. }
        | Signal::MigrationStart { .. }
        | Signal::MigrationFinish { .. }
        | Signal::SessionHandoff { .. }
        | Signal::StaleEpochReject { .. }
        | Signal::LeaseMoved { .. }
        | Signal::SessionSuspended
        | Signal::SessionResumed
        | Signal::Refused { .. } => DataClass::Metadata,
        other => of_host(other),
    }
}

/// Of what is said of edges, nodes and clocks. What is not known here is taken for the strictest that a signal can be.
fn of_host(signal: &Signal) -> DataClass {
    match signal {
        Signal::DropNotice { .. }
        | Signal::Watermark { .. }
        | Signal::FlowXoff { .. }
        | Signal::FlowXon { .. }
        | Signal::CreditGrant { .. }
        | Signal::Merged { .. }
        | Signal::Discontinuity { .. }
        | Signal::BranchFallback { .. }
        | Signal::NodeOverrun { .. }
        | Signal::ClockRebased { .. } => DataClass::Metadata,
        _ => DataClass::TextRaw,
    }
}

fn of_effect(effect: &Effect) -> DataClass {
    match effect {
        Effect::Feed { .. } | Effect::Transmit { .. } => DataClass::AudioRaw,
        Effect::Invoke { request, .. } => match request {
            Request::Transcribe { .. } => DataClass::AudioRaw,
            Request::Chat { .. } | Request::Speak { .. } | Request::Tool(_) => DataClass::TextRaw,
        },
        Effect::FeedEnd { .. }
        | Effect::CancelInvocation { .. }
        | Effect::EndInvocation { .. }
        | Effect::ClearTransport { .. }
        | Effect::PauseInvocation { .. }
        | Effect::ResumeInvocation { .. }
        | Effect::GrantCredit { .. }
        | Effect::WakeAt { .. } => DataClass::Metadata,
    }
}
