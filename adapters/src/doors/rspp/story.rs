//! What a session says, in the words of the protocol: enough for captions, and for a page that draws the call as it happens.

use std::collections::BTreeMap;

use rspp_specs::event::{ProviderResult, Request, Understanding};
use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::timeline::{Effect, Entry, Input, Signal};
use serde::Serialize;

/// Something that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Told {
    /// The caller's words, or the agent's.
    Caption {
        /// Whose.
        who: Who,
        /// The agent's turn.
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<u32>,
        /// The words.
        text: String,
        /// No revision of them will come.
        #[serde(rename = "final")]
        is_final: bool,
    },
    /// The caller begins or ends to speak, as the detector hears it.
    Speech {
        /// Whether it begins.
        speaking: bool,
    },
    /// A turn changes.
    Turn {
        /// Which.
        turn: u32,
        /// To what.
        state: TurnChange,
        /// What the caller said, when it opens.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Why, when it is cancelled or aborted.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
    },
    /// What the caller is known to have heard of a turn, in whole words: what the conversation remembers.
    Heard {
        /// Of which turn.
        turn: u32,
        /// The words.
        text: String,
        /// Whether it was cut.
        cut: bool,
    },
    /// A provider begins or ends to work.
    Invocation {
        /// Which one.
        id: u32,
        /// For whom: `stt`, `llm`, `tts`, `tool`.
        kind: &'static str,
        /// Whether it begins.
        running: bool,
        /// How it ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<&'static str>,
    },
    /// A tool's call changes.
    Tool {
        /// Its key.
        key: String,
        /// Which tool.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// `proposed`, `committed`, `revoked`.
        state: &'static str,
    },
    /// Something else, by its name in traces, for whoever draws the call.
    Signal {
        /// Which.
        name: &'static str,
        /// Of which turn.
        #[serde(skip_serializing_if = "Option::is_none")]
        turn: Option<u32>,
        /// Why the caller's words open no turn, or not yet: of `reject`, `shed` and `defer`.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        /// They are tried again by themselves after so long.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// The caller's.
    Caller,
    /// The agent's.
    Agent,
}

/// What becomes of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TurnChange {
    /// It is open.
    Open,
    /// Its first audio is on its way.
    Speaking,
    /// The caller speaks: nothing more is said until it is clear whether that is an interruption.
    Held,
    /// It was none.
    Resumed,
    /// It is cancelled.
    Cancelled,
    /// Nothing more will come of it.
    Committed,
    /// It ended otherwise.
    Aborted,
    /// It is over.
    Closed,
}

impl Told {
    fn turn(turn: TurnId, state: TurnChange) -> Self {
        Told::Turn { turn: turn.0, state, text: None, reason: None }
    }

    fn turn_because(turn: TurnId, state: TurnChange, reason: &'static str) -> Self {
        Told::Turn { turn: turn.0, state, text: None, reason: Some(reason) }
    }
}

/// What has to be remembered to tell it.
#[derive(Debug, Default)]
pub struct Story {
    turn: Option<TurnId>,
    running: BTreeMap<InvocationId, &'static str>,
}

impl Story {
    /// What is told of an entry, in order.
    pub fn of(&mut self, entry: &Entry) -> [Option<Told>; 2] {
        match entry {
            Entry::Input(_, Input::Provider(id, result)) => [self.of_result(*id, result), None],
            Entry::Effect(Effect::Invoke { id, request, .. }) => self.of_request(*id, request),
            Entry::Effect(Effect::FeedEnd { .. }) => [Some(Told::Speech { speaking: false }), None],
            Entry::Signal(turn, signal) => [self.of_signal(*turn, signal), None],
            Entry::Input(..) | Entry::Effect(_) => [None, None],
        }
    }

    fn of_result(&mut self, id: InvocationId, result: &ProviderResult) -> Option<Told> {
        match result {
            ProviderResult::Transcript(transcript) if !transcript.text.is_empty() => Some(Told::Caption {
                who: Who::Caller,
                turn: None,
                text: transcript.text.to_string(),
                is_final: transcript.understanding != Understanding::Partial,
            }),
            ProviderResult::End(outcome) => {
                let kind = self.running.remove(&id)?;
                Some(Told::Invocation { id: id.0, kind, running: false, outcome: Some(outcome.name()) })
            }
            _ => None,
        }
    }

    fn of_request(&mut self, id: InvocationId, request: &Request) -> [Option<Told>; 2] {
        let turn = self.turn.map(|turn| turn.0);
        let (kind, also) = match request {
            Request::Transcribe { .. } => ("stt", Some(Told::Speech { speaking: true })),
            Request::Chat { .. } => ("llm", None),
            Request::Speak { text } => {
                ("tts", Some(Told::Caption { who: Who::Agent, turn, text: text.to_string(), is_final: true }))
            }
            Request::Tool(_) => ("tool", None),
        };
        self.running.insert(id, kind);
        [Some(Told::Invocation { id: id.0, kind, running: true, outcome: None }), also]
    }

    fn of_signal(&mut self, turn: Option<TurnId>, signal: &Signal) -> Option<Told> {
        let tool = |key: &str, name: Option<&str>, state| {
            Some(Told::Tool { key: key.to_owned(), name: name.map(str::to_owned), state })
        };
        if *signal == Signal::SessionReady {
            // Where a session goes on afresh, nothing is under way.
            *self = Self::default();
        }
        match (signal, turn) {
            (Signal::TurnOpen { text, opener, .. }, Some(turn)) => {
                self.turn = Some(turn);
                // What nobody said is no caption of the caller's.
                let text = opener.is_caller().then(|| text.to_string());
                Some(Told::Turn { turn: turn.0, state: TurnChange::Open, text, reason: None })
            }
            (Signal::OutputAccepted, Some(turn)) => Some(Told::turn(turn, TurnChange::Speaking)),
            (Signal::PlayoutHold, Some(turn)) => Some(Told::turn(turn, TurnChange::Held)),
            (Signal::PlayoutResume { .. }, Some(turn)) => Some(Told::turn(turn, TurnChange::Resumed)),
            (Signal::CancelAccepted { reason }, Some(turn)) => {
                Some(Told::turn_because(turn, TurnChange::Cancelled, reason.name()))
            }
            (Signal::Commit, Some(turn)) => Some(Told::turn(turn, TurnChange::Committed)),
            (Signal::Abort { reason }, Some(turn)) => {
                Some(Told::turn_because(turn, TurnChange::Aborted, reason.name()))
            }
            (Signal::Close, Some(turn)) => Some(Told::turn(turn, TurnChange::Closed)),
            (Signal::Heard { text, cut }, Some(turn)) => {
                Some(Told::Heard { turn: turn.0, text: text.to_string(), cut: *cut })
            }
            (Signal::ToolProposed { key, name }, _) => tool(key, Some(name), "proposed"),
            (Signal::ToolCommitted { key }, _) => tool(key, None, "committed"),
            (Signal::ToolRevoked { key }, _) => tool(key, None, "revoked"),
            (signal, turn) => {
                let (reason, retry_after_ms) = refusal(signal);
                Some(Told::Signal { name: signal.name(), turn: turn.map(|turn| turn.0), reason, retry_after_ms })
            }
        }
    }
}

/// Why no turn opens, and after how many milliseconds that is tried again.
pub(in crate::doors) fn refusal(signal: &Signal) -> (Option<&'static str>, Option<u64>) {
    match signal {
        Signal::Reject(refusal) | Signal::Shed(refusal) => (Some(refusal.reason.name()), None),
        Signal::Defer { refusal, retry_after } => (Some(refusal.reason.name()), retry_after.map(|after| after.as_ms())),
        _ => (None, None),
    }
}
