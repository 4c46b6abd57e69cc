//! What can go wrong, by class, and what a trace must show before a fault counts as injected.

use std::fmt;
use std::str::FromStr;

use rspp_specs::buffer::{DEAD_LETTER, FLUSHED, SYNC};
use rspp_specs::trace::{Line, Section};

/// A class of failure that the runtime must shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// F1: quota or capacity is gone when a turn wants to open.
    AdmissionOverload,
    /// F2: a node panics or gives up.
    NodeFailure,
    /// F3: a provider times out, refuses, disconnects or sends garbage.
    ProviderFailure,
    /// F4: more waits at an edge than may.
    EdgeOverflow,
    /// F5: one stream of a group that belongs together is lost.
    SyncLoss,
    /// F6: the caller's transport is gone, or stalls.
    TransportLoss,
    /// F7: another writer holds the session's lease.
    AuthorityConflict,
    /// F8: a worker or a region is lost.
    WorkerLoss,
}

impl Fault {
    /// All of them, in order.
    pub const ALL: [Fault; 8] = [
        Fault::AdmissionOverload,
        Fault::NodeFailure,
        Fault::ProviderFailure,
        Fault::EdgeOverflow,
        Fault::SyncLoss,
        Fault::TransportLoss,
        Fault::AuthorityConflict,
        Fault::WorkerLoss,
    ];

    /// `F1` to `F8`.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::AdmissionOverload => "F1",
            Fault::NodeFailure => "F2",
            Fault::ProviderFailure => "F3",
            Fault::EdgeOverflow => "F4",
            Fault::SyncLoss => "F5",
            Fault::TransportLoss => "F6",
            Fault::AuthorityConflict => "F7",
            Fault::WorkerLoss => "F8",
        }
    }

    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Fault::AdmissionOverload => "admission overload",
            Fault::NodeFailure => "node failure",
            Fault::ProviderFailure => "provider failure",
            Fault::EdgeOverflow => "edge overflow",
            Fault::SyncLoss => "partial loss in a group of streams",
            Fault::TransportLoss => "transport loss",
            Fault::AuthorityConflict => "authority conflict",
            Fault::WorkerLoss => "worker loss",
        }
    }

    /// Whether this line of a trace shows that a fault of this class struck, and was answered. Nothing else counts as
    /// an injection, whatever the simulator tried.
    pub fn is_shown_by(self, line: &Line) -> bool {
        if line.section != Section::Signal {
            return false;
        }
        let says = |key: &str, wanted: &str| line.field(key).and_then(|value| value.text()) == Some(wanted);
        let (reason, state) = (|wanted: &str| says("reason", wanted), |wanted: &str| says("state", wanted));
        match self {
            Fault::AdmissionOverload => {
                let overload = ["no_quota", "no_capacity", "queue_full", "expired"];
                matches!(line.name.as_ref(), "defer" | "shed" | "reject") && overload.into_iter().any(reason)
            }
            Fault::NodeFailure => {
                let is_timed = matches!(line.name.as_ref(), "node_budget" | "node_overrun");
                line.name == "node_error" || is_timed && !says("outcome", "continue")
            }
            Fault::ProviderFailure => line.name == "provider_error",
            Fault::EdgeOverflow => match line.name.as_ref() {
                "drop_notice" => ![FLUSHED, SYNC, DEAD_LETTER].into_iter().any(reason),
                "watermark" => line.field("level").and_then(|level| level.text()) == Some("high"),
                name => name == "flow_xoff",
            },
            Fault::SyncLoss => line.name == "discontinuity" || line.name == "drop_notice" && reason(SYNC),
            Fault::TransportLoss => {
                line.name == "connection_event" && !state("connected")
                    || line.name == "abort" && reason("transport_disconnect_or_stall")
            }
            Fault::AuthorityConflict => matches!(line.name.as_ref(), "deauthorized_drain" | "stale_epoch_reject"),
            Fault::WorkerLoss => line.name == "migration_start",
        }
    }
}

/// Which classes of failure a run is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults([bool; Fault::ALL.len()]);

impl Faults {
    /// None of them.
    pub const NONE: Faults = Faults([false; Fault::ALL.len()]);
    /// All of them.
    pub const ALL: Faults = Faults([true; Fault::ALL.len()]);

    /// Whether this class is among them.
    pub fn has(self, fault: Fault) -> bool {
        self.0[fault as usize]
    }

    /// Those that were asked for, in order.
    pub fn list(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.has(*fault))
    }
}

/// A word that names no class of failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no class of failure: give all, none, or some of F1 to F8 with commas between them")]
pub struct UnknownFault(String);

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        match text {
            "all" => return Ok(Faults::ALL),
            "none" => return Ok(Faults::NONE),
            _ => {}
        }
        let mut faults = Faults::NONE;
        for word in text.split(',') {
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == word.trim());
            faults.0[fault.ok_or_else(|| UnknownFault(word.to_owned()))? as usize] = true;
        }
        Ok(faults)
    }
}

/// As it is asked for on the command line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Faults::ALL => f.write_str("all"),
            Faults::NONE => f.write_str("none"),
            some => f.write_str(&some.list().map(Fault::name).collect::<Vec<_>>().join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_asked_for_by_name() {
        let shown = |text: &str| text.parse::<Faults>().map(|faults| faults.to_string());
        for text in ["all", "none", "F2", "F3,F7"] {
            assert_eq!(shown(text).as_deref(), Ok(text));
        }
        assert_eq!(shown("F7, F3").as_deref(), Ok("F3,F7"));
        assert!(shown("F9").is_err() && shown("").is_err() && shown("f1").is_err());
    }

    #[test]
    fn only_what_a_trace_shows_counts() {
        let shows = |fault: Fault, line: &str| fault.is_shown_by(&line.parse().expect("a line of a trace"));
        let abort = "5 2 signal C abort turn=t1 reason=";
        assert!(shows(Fault::TransportLoss, &format!("{abort}transport_disconnect_or_stall")));
        assert!(!shows(Fault::TransportLoss, &format!("{abort}cancelled")));
        assert!(!shows(Fault::TransportLoss, "5 2 in C transport_lost seq=3"));
        assert!(shows(Fault::TransportLoss, "5 2 signal C connection_event state=muted"));
        assert!(!shows(Fault::TransportLoss, "5 2 signal C connection_event state=connected"));
        assert!(shows(Fault::AdmissionOverload, "5 2 signal C shed reason=no_capacity point=dispatch fairness_key=a"));
        assert!(!shows(Fault::AdmissionOverload, "5 2 signal C reject reason=draining point=enqueue fairness_key=a"));
        assert!(shows(Fault::AuthorityConflict, "5 2 signal C deauthorized_drain"));
        assert!(shows(Fault::NodeFailure, "5 2 signal C node_budget turn=t1 node=llm outcome=degrade"));
        assert!(!shows(Fault::NodeFailure, "5 2 signal C node_budget turn=t1 node=llm outcome=continue"));
        assert!(!shows(Fault::NodeFailure, "5 2 in C turn_failed seq=3 turn=t1 reason=node_timeout_or_failure"));
    }
}
