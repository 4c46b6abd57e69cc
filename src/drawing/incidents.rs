//! Where a call went another way than it might have: cancellations, drops, budgets, failures, and what followed.

use rspp_specs::buffer::FLUSHED;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Input, Record, Signal};

use super::story::Story;
use super::text::Role;

/// Incidents of one call that are kept; a flood says the same again and again.
const MAX_INCIDENTS: usize = 10_000;
/// A buffer fills up and empties again and again, and each time it says so: what is among so many of the last is counted.
const COUNTED_WITH: usize = 8;

/// Something that is worth a sign in the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When.
    pub at: Micros,
    /// Of which turn.
    pub turn: Option<TurnId>,
    /// What kind of thing.
    pub kind: IncidentKind,
    /// What exactly.
    pub words: String,
    /// How often it came again shortly after, this time included.
    pub times: u32,
}

/// The kinds of incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IncidentKind {
    /// Something was cancelled.
    Cancel,
    /// Something was dropped by a declared rule.
    Drop,
    /// A budget was spent.
    Budget,
    /// A provider, a node or a turn failed.
    Failure,
    /// Something went on another way: a second try, another provider, another branch.
    Detour,
    /// A turn was not admitted.
    Refusal,
    /// Somebody spoke under another lease, or the lease moved.
    Authority,
    /// The caller's connection.
    Connection,
    /// An edge's buffer filled up.
    Pressure,
    /// A write waited, ran, or never will.
    Write,
    /// What came too late was stopped.
    Late,
}

impl IncidentKind {
    /// All.
    pub const ALL: [IncidentKind; 11] = [
        IncidentKind::Cancel,
        IncidentKind::Drop,
        IncidentKind::Budget,
        IncidentKind::Failure,
        IncidentKind::Detour,
        IncidentKind::Refusal,
        IncidentKind::Authority,
        IncidentKind::Connection,
        IncidentKind::Pressure,
        IncidentKind::Write,
        IncidentKind::Late,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            IncidentKind::Cancel => "cancel",
            IncidentKind::Drop => "drop",
            IncidentKind::Budget => "budget",
            IncidentKind::Failure => "failure",
            IncidentKind::Detour => "detour",
            IncidentKind::Refusal => "refusal",
            IncidentKind::Authority => "authority",
            IncidentKind::Connection => "line",
            IncidentKind::Pressure => "pressure",
            IncidentKind::Write => "write",
            IncidentKind::Late => "late",
        }
    }

    /// Its sign in the picture.
    pub const fn sign(self) -> char {
        match self {
            IncidentKind::Cancel => 'C',
            IncidentKind::Drop => 'D',
            IncidentKind::Budget => 'B',
            IncidentKind::Failure => 'F',
            IncidentKind::Detour => 'R',
            IncidentKind::Refusal => 'N',
            IncidentKind::Authority => 'A',
            IncidentKind::Connection => 'L',
            IncidentKind::Pressure => 'P',
            IncidentKind::Write => 'W',
            IncidentKind::Late => 'l',
        }
    }

    pub(super) const fn role(self) -> Role {
        match self {
            IncidentKind::Cancel | IncidentKind::Failure | IncidentKind::Authority | IncidentKind::Drop => Role::Cut,
            IncidentKind::Budget | IncidentKind::Detour | IncidentKind::Pressure | IncidentKind::Refusal => Role::Hold,
            IncidentKind::Connection | IncidentKind::Late => Role::Quiet,
            IncidentKind::Write => Role::Model,
        }
    }
}

impl Incident {
    /// What exactly, and how often.
    pub(super) fn told(&self) -> String {
        match self.times {
            1 => self.words.clone(),
            times => format!("{}, {times} times", self.words),
        }
    }
}

impl Story {
    /// Takes in what of a record is an incident.
    pub(super) fn take_incident(&mut self, record: &Record) {
        let told = match &record.entry {
            Entry::Signal(turn, signal) => {
                let told = self.of_turns(signal).or_else(|| self.of_providers(signal)).or_else(|| of_session(signal));
                told.map(|(kind, words)| (*turn, kind, words))
            }
            Entry::Input(_, Input::AuthorityRevoked) => {
                Some((None, IncidentKind::Authority, "another writer holds the session's lease".to_owned()))
            }
            _ => None,
        };
        let Some((turn, kind, words)) = told else { return };
        self.note(Incident { at: record.at, turn, kind, words, times: 1 });
    }

    /// What says the same as another shortly before is counted with it, where that may go on for long.
    fn note(&mut self, incident: Incident) {
        let goes_on = matches!(incident.kind, IncidentKind::Late | IncidentKind::Pressure);
        let same = |last: &&mut Incident| {
            (last.kind, last.turn, &last.words) == (incident.kind, incident.turn, &incident.words)
        };
        let mut last = self.incidents.iter_mut().rev().take(COUNTED_WITH).filter(|_| goes_on);
        if let Some(before) = last.find(same) {
            before.times = before.times.saturating_add(1);
        } else if self.incidents.len() < MAX_INCIDENTS {
            self.incidents.push(incident);
        }
    }

    fn of_turns(&self, signal: &Signal) -> Option<(IncidentKind, String)> {
        use IncidentKind as Kind;
        Some(match signal {
            Signal::CancelAccepted { reason } => (Kind::Cancel, format!("the turn is cancelled: {}", reason.name())),
            Signal::SoftCancel { reason, grace } => {
                (Kind::Cancel, format!("softly, with {} ms to end: {}", grace.as_ms(), reason.name()))
            }
            Signal::NodeCancelled { node, reason } => {
                (Kind::Cancel, format!("what {} does: {}", self.cast.node(*node), reason.name()))
            }
            Signal::InvocationCancelled { id, reason } => {
                (Kind::Cancel, format!("{}: {}", self.asked(*id), reason.name()))
            }
            Signal::CancelIgnored { id, late_results } => {
                (Kind::Cancel, format!("{} goes on all the same, {late_results} results so far", self.asked(*id)))
            }
            Signal::LateAfterCancel { id } => (Kind::Late, format!("results of {} came too late", self.asked(*id))),
            Signal::OutputFenced { frames } => (Kind::Late, format!("{frames} frames were stopped at egress")),
            Signal::DropNotice { reason, .. } if **reason == *FLUSHED => return None,
            Signal::DropNotice { node, edge, dropped, reason } => {
                let place = edge.map_or_else(|| self.cast.node(*node), |edge| self.cast.edge(edge));
                (Kind::Drop, format!("{} at {place}: {reason}", dropped.items))
            }
            Signal::Discontinuity { edge, dropped, .. } => {
                (Kind::Drop, format!("{} are missing on {}", dropped.items, self.cast.edge(*edge)))
            }
            Signal::Watermark { edge, percent, .. } => {
                (Kind::Pressure, format!("{} is {percent}% full", self.cast.edge(*edge)))
            }
            Signal::FlowXoff { edge } => (Kind::Pressure, format!("who fills {} has to stop", self.cast.edge(*edge))),
            Signal::ToolProposed { key, name } => (Kind::Write, format!("{name} ({key}) waits for its commit point")),
            Signal::ToolCommitted { key } => (Kind::Write, format!("{key} runs, whatever becomes of the turn")),
            Signal::ToolRevoked { key } => (Kind::Write, format!("{key} will never run")),
            Signal::Abort { reason } if reason.name() != "cancelled" => {
                (Kind::Failure, format!("the turn is over: {}", reason.name()))
            }
            _ => return None,
        })
    }

    fn of_providers(&self, signal: &Signal) -> Option<(IncidentKind, String)> {
        use IncidentKind as Kind;
        Some(match signal {
            Signal::ProviderBudget { id, outcome } => {
                (Kind::Budget, format!("{} is late: {}", self.asked(*id), word(outcome)))
            }
            Signal::TurnBudgetSpent { budget, outcome } => {
                (Kind::Budget, format!("the turn's {} is spent: {}", word(budget).replace('_', " "), word(outcome)))
            }
            Signal::ProviderError { id, outcome } => {
                (Kind::Failure, format!("{}: {}", self.asked(*id), outcome.name()))
            }
            Signal::NodeError { node, message } => (Kind::Failure, format!("{}: {message}", self.cast.node(*node))),
            Signal::ProviderRetry { id, attempt } => {
                (Kind::Detour, format!("{} again, attempt {attempt}", self.asked(*id)))
            }
            Signal::ProviderSwitch { node, binding, cause } => {
                (Kind::Detour, format!("{} goes to {binding}: {}", self.cast.node(*node), word(cause)))
            }
            Signal::CircuitEvent { binding, state } => {
                (Kind::Detour, format!("the circuit of {binding} is {}", word(state)))
            }
            Signal::BranchFallback { node, fault } => {
                (Kind::Detour, format!("the second branch carries at {}: {}", self.cast.node(*node), word(fault)))
            }
            _ => return None,
        })
    }

    fn asked(&self, id: rspp_specs::ids::InvocationId) -> String {
        self.invocation(id).map_or_else(|| id.to_string(), |it| format!("{}{id}", it.node))
    }
}

fn of_session(signal: &Signal) -> Option<(IncidentKind, String)> {
    use IncidentKind as Kind;
    Some(match signal {
        Signal::Reject(refusal) => (Kind::Refusal, format!("rejected: {}", word(&refusal.reason))),
        Signal::Shed(refusal) => (Kind::Refusal, format!("shed: {}", word(&refusal.reason))),
        Signal::Defer { refusal, .. } => (Kind::Refusal, format!("deferred: {}", word(&refusal.reason))),
        Signal::StaleEpochReject { epoch, current } => {
            (Kind::Authority, format!("somebody spoke under {epoch}, and the lease is {current}"))
        }
        Signal::DeauthorizedDrain => (Kind::Authority, "the session's authority is gone".to_owned()),
        Signal::LeaseMoved { epoch } => (Kind::Authority, format!("the lease is {epoch} now")),
        Signal::SessionHandoff { epoch } => (Kind::Authority, format!("another worker goes on, under {epoch}")),
        Signal::ConnectionEvent { state } => (Kind::Connection, format!("the connection is {}", word(state))),
        Signal::SessionSuspended => (Kind::Connection, "the session waits for its caller".to_owned()),
        Signal::SessionResumed => (Kind::Connection, "the caller is back".to_owned()),
        _ => return None,
    })
}

/// The name that a word of a closed set has in traces.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
