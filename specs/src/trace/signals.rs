//! The fields of signals' lines.

use super::{Line, Renderer, Value, or_none, snake};
use crate::admission::Refusal;
use crate::buffer::Dropped;
use crate::ids::InvocationId;
use crate::time::Micros;
use crate::timeline::Signal;

impl Renderer {
    pub(super) fn signal_fields(&self, line: Line, signal: &Signal) -> Line {
        match signal {
            Signal::Reject(refusal) | Signal::Shed(refusal) => refusal_fields(line, refusal),
            open @ Signal::TurnOpen { .. } => turn_open_fields(line, open),
            Signal::CancelAccepted { reason } => line.with("reason", reason.name()),
            Signal::SoftCancel { .. }
            | Signal::NodeCancelled { .. }
            | Signal::InvocationCancelled { .. }
            | Signal::CancelSettled { .. }
            | Signal::CancelIgnored { .. } => self.cancelled_fields(line, signal),
            Signal::ToolProposed { key, name } => line.with("key", key).with("name", name),
            Signal::ToolCommitted { key } | Signal::ToolRevoked { key } => line.with("key", key),
            Signal::FenceApplied { generation } => line.with("generation", generation.0),
            Signal::PlayoutResume { .. } | Signal::PlaybackCompleted { .. } | Signal::PlaybackCancelled { .. } => {
                place_fields(line, signal)
            }
            Signal::Heard { text, cut } => line.with("text", text).with("cut", cut),
            Signal::Abort { reason } => line.with("reason", reason.name()),
            Signal::LateAfterCancel { id } => line.with("id", self.invocation(*id)),
            Signal::OutputFenced { frames } => line.with("frames", frames),
            Signal::ProviderError { .. }
            | Signal::ProviderRetry { .. }
            | Signal::ProviderSwitch { .. }
            | Signal::CircuitEvent { .. }
            | Signal::ProviderBudget { .. }
            | Signal::TurnBudgetSpent { .. }
            | Signal::PartBudgetSpent { .. }
            | Signal::Degraded { .. } => self.provider_fields(line, signal),
            Signal::Defer { refusal, retry_after } => deferral_fields(line, refusal, *retry_after),
            Signal::RecordingLevel { level, cause } => line.with("level", level.name()).with("cause", snake(cause)),
            Signal::ConnectionEvent { state } => line.with("state", snake(state)),
            Signal::MigrationStart { .. }
            | Signal::MigrationFinish { .. }
            | Signal::SessionHandoff { .. }
            | Signal::LeaseMoved { .. }
            | Signal::StaleEpochReject { .. } => epoch_fields(line, signal),
            Signal::Refused { state, input } => line.with("state", state.name()).with("input", input),
            Signal::NodeError { node, message } => line.with("node", self.node(*node)).with("message", message),
            Signal::ClockRebased { clock, skew } => line.with("clock", snake(clock)).with("skew_ms", skew.to_string()),
            Signal::NodeOverrun { .. } => self.overrun_fields(line, signal),
            Signal::SessionReady
            | Signal::SessionEnded
            | Signal::Admit
            | Signal::DeauthorizedDrain
            | Signal::OutputAccepted
            | Signal::PlayoutHold
            | Signal::SessionSuspended
            | Signal::SessionResumed
            | Signal::PlaybackStarted
            | Signal::Commit
            | Signal::Close => line,
            of_an_edge => self.edge_fields(line, of_an_edge),
        }
    }

    fn overrun_fields(&self, line: Line, signal: &Signal) -> Line {
        let Signal::NodeOverrun { node, took, strikes, outcome } = signal else { return line };
        let line = line.with("node", self.node(*node)).with("took_ms", took);
        line.with("strikes", strikes).with("outcome", snake(outcome))
    }

    fn edge_fields(&self, line: Line, signal: &Signal) -> Line {
        match signal {
            Signal::DropNotice { node, edge, dropped, reason } => {
                let line = line.with("node", self.node(*node));
                let line = match edge {
                    Some(edge) => line.with("edge", self.edge(*edge)),
                    None => line.with("edge", "none"),
                };
                dropped_fields(line.with("lane", snake(&dropped.lane)), dropped).with("reason", reason)
            }
            Signal::Watermark { edge, level, held, percent } => line
                .with("edge", self.edge(*edge))
                .with("level", snake(level))
                .with("items", held.items)
                .with("bytes", held.bytes)
                .with("queued_ms", held.queued)
                .with("percent", percent),
            Signal::FlowXoff { edge } => line.with("edge", self.edge(*edge)),
            Signal::FlowXon { edge, cause } => line.with("edge", self.edge(*edge)).with("cause", snake(cause)),
            Signal::CreditGrant { edge, items } => line.with("edge", self.edge(*edge)).with("items", items),
            Signal::Merged { edge, group, sequences } => {
                let sequences: Vec<String> = sequences.iter().map(ToString::to_string).collect();
                line.with("edge", self.edge(*edge)).with("group", group).with("sequences", sequences.join(","))
            }
            Signal::Discontinuity { edge, gap, sync, dropped } => {
                let line = line.with("edge", self.edge(*edge)).with("gap", gap).with("sync", &sync.id);
                dropped_fields(line.with("domain", &sync.domain), dropped)
            }
            Signal::BranchFallback { node, fault } => line.with("node", self.node(*node)).with("fault", snake(fault)),
            _ => line,
        }
    }

    fn provider_fields(&self, line: Line, signal: &Signal) -> Line {
        match signal {
            Signal::ProviderError { id, outcome } => self.with_outcome(line, *id, outcome.name()),
            Signal::ProviderRetry { id, attempt } => line.with("id", self.invocation(*id)).with("attempt", attempt),
            Signal::ProviderSwitch { node, binding, cause } => {
                line.with("node", self.node(*node)).with("binding", binding).with("cause", snake(cause))
            }
            Signal::CircuitEvent { binding, state } => line.with("binding", binding).with("state", snake(state)),
            Signal::ProviderBudget { id, outcome } => self.with_outcome(line, *id, snake(outcome)),
            Signal::TurnBudgetSpent { budget, outcome } => {
                line.with("budget", snake(budget)).with("outcome", snake(outcome))
            }
            Signal::PartBudgetSpent { part, outcome } => {
                let (key, name) = self.part(*part);
                line.with(key, name).with("outcome", snake(outcome))
            }
            Signal::Degraded { step, how } => {
                line.with("step", step).with("how", how.name()).with("node", self.node(how.node()))
            }
            _ => line,
        }
    }

    fn cancelled_fields(&self, line: Line, signal: &Signal) -> Line {
        match signal {
            Signal::SoftCancel { reason, grace } => line.with("reason", reason.name()).with("grace_ms", grace),
            Signal::NodeCancelled { node, reason } => line.with("node", self.node(*node)).with("reason", reason.name()),
            Signal::InvocationCancelled { id, reason } => {
                line.with("id", self.invocation(*id)).with("reason", reason.name())
            }
            Signal::CancelSettled { id, after, late_results } => {
                line.with("id", self.invocation(*id)).with("after_ms", after).with("late_results", late_results)
            }
            Signal::CancelIgnored { id, late_results } => {
                line.with("id", self.invocation(*id)).with("late_results", late_results)
            }
            _ => line,
        }
    }

    fn with_outcome(&self, line: Line, id: InvocationId, outcome: impl Into<Value>) -> Line {
        line.with("id", self.invocation(id)).with("outcome", outcome)
    }
}

fn epoch_fields(line: Line, signal: &Signal) -> Line {
    match signal {
        Signal::MigrationStart { epoch }
        | Signal::MigrationFinish { epoch }
        | Signal::SessionHandoff { epoch }
        | Signal::LeaseMoved { epoch } => line.with("epoch", epoch),
        Signal::StaleEpochReject { epoch, current } => line.with("epoch", epoch).with("current", current),
        _ => line,
    }
}

fn turn_open_fields(line: Line, open: &Signal) -> Line {
    // Who had it opened stands in the proposal's line.
    let Signal::TurnOpen { plan, generation, text, opener: _, understood, speech_end } = open else { return line };
    line.with("plan", plan)
        .with("generation", generation.0)
        .with("text", text)
        .with("understood", understood)
        .with("speech_end_ms", or_none(*speech_end))
}

fn refusal_fields(line: Line, refusal: &Refusal) -> Line {
    let Refusal { reason, point, fairness_key } = refusal;
    line.with("reason", snake(reason)).with("point", snake(point)).with("fairness_key", fairness_key)
}

fn deferral_fields(line: Line, refusal: &Refusal, retry_after: Option<Micros>) -> Line {
    refusal_fields(line, refusal).with("retry_after_ms", or_none(retry_after))
}

fn place_fields(line: Line, signal: &Signal) -> Line {
    match signal {
        Signal::PlayoutResume { from_sample: at, estimated } => {
            line.with("from_sample", at).with("estimated", estimated)
        }
        Signal::PlaybackCompleted { heard_samples: at, estimated }
        | Signal::PlaybackCancelled { heard_samples: at, estimated } => {
            line.with("heard_samples", at).with("estimated", estimated)
        }
        _ => line,
    }
}

fn dropped_fields(line: Line, dropped: &Dropped) -> Line {
    line.with("items", dropped.items).with("from_seq", dropped.from.0).with("to_seq", dropped.to.0)
}
