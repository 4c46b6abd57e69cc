//! Signals.

use std::sync::Arc;

use super::bounded::{of_node, of_text, of_us, samples, to_node, to_text, to_us, within};
use super::cancellations::{
    of_cancel_ignored, of_cancel_settled, of_invocation_cancelled, of_node_cancelled, of_soft_cancel, to_cancelled,
};
use super::generated as pb;
use super::inputs::{of_opener, to_opener};
use super::words::Word;
use super::{Wire, WireError, budgets, edges, known, required};
use crate::admission::Refusal;
use crate::budget::{CircuitState, SwitchCause};
use crate::ids::{Generation, InvocationId, LeaseEpoch, NodeIndex};
use crate::limits::MAX_UNIX_US;
use crate::outcome::{AbortReason, CancelReason, Outcome};
use crate::plan::{PlanHash, RecordingLevel};
use crate::recording::LevelCause;
use crate::time::{Clock, Micros, Skew};
use crate::timeline::{Signal, TurnState};

/// Of a signal that says how far a turn was played.
fn to_played(signal: &Signal) -> Result<pb::signal::Kind, WireError> {
    match signal {
        Signal::PlaybackCompleted { heard_samples, estimated } => {
            Ok(pb::signal::Kind::PlaybackCompleted(to_place(*heard_samples, *estimated)?))
        }
        Signal::PlaybackCancelled { heard_samples, estimated } => {
            Ok(pb::signal::Kind::PlaybackCancelled(to_place(*heard_samples, *estimated)?))
        }
        _ => unreachable!("only these two are given to it"),
    }
}

impl Wire for Signal {
    type Message = pb::Signal;

    fn to_wire(&self) -> Result<pb::Signal, WireError> {
        use pb::signal::Kind;
        let none = pb::Nothing {};
        let kind = match self {
            Signal::SessionReady => Kind::SessionReady(none),
            Signal::SessionEnded => Kind::SessionEnded(none),
            Signal::Admit => Kind::Admit(none),
            Signal::Reject(refusal) => Kind::Reject(refusal.to_wire()?),
            Signal::DeauthorizedDrain => Kind::DeauthorizedDrain(none),
            open @ Signal::TurnOpen { .. } => Kind::TurnOpen(to_turn_open(open)?),
            Signal::OutputAccepted => Kind::OutputAccepted(none),
            Signal::PlayoutHold => Kind::PlayoutHold(none),
            Signal::PlayoutResume { from_sample: at, estimated } => Kind::PlayoutResume(to_place(*at, *estimated)?),
            Signal::CancelAccepted { reason } => Kind::CancelAccepted(reason.number()),
            Signal::SoftCancel { .. }
            | Signal::NodeCancelled { .. }
            | Signal::InvocationCancelled { .. }
            | Signal::CancelSettled { .. }
            | Signal::CancelIgnored { .. } => to_cancelled(self)?,
            Signal::ToolProposed { key, name } => Kind::ToolProposed(to_proposed(key, name)?),
            Signal::ToolCommitted { key } => Kind::ToolCommitted(to_text("tool.key", key)?),
            Signal::ToolRevoked { key } => Kind::ToolRevoked(to_text("tool.key", key)?),
            Signal::FenceApplied { generation } => Kind::FenceApplied(generation.0),
            Signal::PlaybackStarted => Kind::PlaybackStarted(none),
            Signal::PlaybackCompleted { .. } | Signal::PlaybackCancelled { .. } => to_played(self)?,
            Signal::Heard { text, cut } => Kind::Heard(to_heard(text, *cut)?),
            Signal::Commit => Kind::Commit(none),
            Signal::Abort { reason } => Kind::Abort(reason.number()),
            Signal::Close => Kind::Close(none),
            Signal::LateAfterCancel { id } => Kind::LateAfterCancel(id.0),
            Signal::OutputFenced { frames } => Kind::OutputFenced(*frames),
            Signal::ProviderError { .. }
            | Signal::ProviderRetry { .. }
            | Signal::ProviderSwitch { .. }
            | Signal::CircuitEvent { .. }
            | Signal::ProviderBudget { .. }
            | Signal::TurnBudgetSpent { .. } => to_provider(self)?,
            Signal::PartBudgetSpent { part, outcome } => Kind::PartBudget(budgets::to_spent(*part, *outcome)?),
            Signal::Degraded { step, how } => Kind::Degraded(budgets::to_degraded(*step, *how)?),
            Signal::Defer { refusal, retry_after } => Kind::Defer(to_defer(refusal, *retry_after)?),
            Signal::Shed(refusal) => Kind::Shed(refusal.to_wire()?),
            Signal::RecordingLevel { level, cause } => Kind::RecordingLevel(to_level_change(*level, *cause)),
            Signal::ConnectionEvent { state } => Kind::ConnectionEvent(state.number()),
            Signal::MigrationStart { epoch } => Kind::MigrationStart(epoch.0),
            Signal::MigrationFinish { epoch } => Kind::MigrationFinish(epoch.0),
            Signal::SessionHandoff { epoch } => Kind::SessionHandoff(epoch.0),
            Signal::StaleEpochReject { epoch, current } => Kind::StaleEpochReject(to_stale(*epoch, *current)),
            Signal::LeaseMoved { epoch } => Kind::LeaseMoved(epoch.0),
            Signal::SessionSuspended => Kind::SessionSuspended(none),
            Signal::SessionResumed => Kind::SessionResumed(none),
            Signal::Refused { state, input } => Kind::Refused(to_refused(*state, input)?),
            Signal::NodeError { node, message } => Kind::NodeError(to_node_error(*node, message)?),
            Signal::NodeOverrun { .. } => Kind::NodeOverrun(to_overrun(self)?),
            Signal::ClockRebased { clock, skew } => Kind::ClockRebased(to_rebased(*clock, *skew)?),
            of_an_edge => edges::to_kind(of_an_edge)?,
        };
        Ok(pb::Signal { kind: Some(kind) })
    }

    fn of_wire(message: pb::Signal) -> Result<Self, WireError> {
        use pb::signal::Kind;
        Ok(match known("signal", message.kind)? {
            Kind::SessionReady(pb::Nothing {}) => Signal::SessionReady,
            Kind::SessionEnded(pb::Nothing {}) => Signal::SessionEnded,
            Kind::Admit(pb::Nothing {}) => Signal::Admit,
            Kind::Reject(refusal) => Signal::Reject(Refusal::of_wire(refusal)?),
            Kind::DeauthorizedDrain(pb::Nothing {}) => Signal::DeauthorizedDrain,
            Kind::TurnOpen(open) => of_turn_open(open)?,
            Kind::OutputAccepted(pb::Nothing {}) => Signal::OutputAccepted,
            Kind::PlayoutHold(pb::Nothing {}) => Signal::PlayoutHold,
            Kind::PlayoutResume(place) => {
                let (from_sample, estimated) = of_place(place)?;
                Signal::PlayoutResume { from_sample, estimated }
            }
            Kind::CancelAccepted(reason) => {
                Signal::CancelAccepted { reason: CancelReason::of_number("cancel_accepted.reason", reason)? }
            }
            Kind::SoftCancel(cancel) => of_soft_cancel(cancel)?,
            Kind::NodeCancelled(cancelled) => of_node_cancelled(cancelled)?,
            Kind::InvocationCancelled(cancelled) => of_invocation_cancelled(cancelled)?,
            Kind::CancelSettled(settled) => of_cancel_settled(settled)?,
            Kind::CancelIgnored(ignored) => of_cancel_ignored(ignored),
            Kind::ToolProposed(proposed) => of_proposed(&proposed)?,
            Kind::ToolCommitted(key) => Signal::ToolCommitted { key: of_text("tool.key", &key)? },
            Kind::ToolRevoked(key) => Signal::ToolRevoked { key: of_text("tool.key", &key)? },
            Kind::FenceApplied(generation) => Signal::FenceApplied { generation: Generation(generation) },
            Kind::PlaybackStarted(pb::Nothing {}) => Signal::PlaybackStarted,
            Kind::PlaybackCompleted(place) => of_completed(place)?,
            Kind::PlaybackCancelled(place) => of_cut(place)?,
            Kind::Heard(pb::Heard { text, cut }) => Signal::Heard { text: of_text("heard.text", &text)?, cut },
            Kind::Commit(pb::Nothing {}) => Signal::Commit,
            Kind::Abort(reason) => Signal::Abort { reason: AbortReason::of_number("abort.reason", reason)? },
            Kind::Close(pb::Nothing {}) => Signal::Close,
            Kind::LateAfterCancel(id) => Signal::LateAfterCancel { id: InvocationId(id) },
            Kind::OutputFenced(frames) => Signal::OutputFenced { frames },
            Kind::ProviderError(error) => of_provider_error(&error)?,
            Kind::Refused(refused) => of_refused(&refused)?,
            Kind::NodeError(error) => of_node_error(&error)?,
            Kind::ProviderRetry(retry) => of_retry(retry),
            Kind::ProviderSwitch(switch) => of_switch(&switch)?,
            Kind::CircuitEvent(event) => of_circuit(&event)?,
            Kind::ProviderBudget(budget) => of_provider_budget(budget)?,
            Kind::TurnBudget(budget) => of_turn_budget(budget)?,
            Kind::PartBudget(spent) => budgets::of_spent(spent)?,
            Kind::Degraded(degraded) => budgets::of_degraded(degraded)?,
            Kind::Defer(defer) => of_defer(defer)?,
            Kind::StaleEpochReject(stale) => of_stale(stale),
            Kind::LeaseMoved(epoch) => Signal::LeaseMoved { epoch: LeaseEpoch(epoch) },
            Kind::SessionSuspended(pb::Nothing {}) => Signal::SessionSuspended,
            Kind::SessionResumed(pb::Nothing {}) => Signal::SessionResumed,
            Kind::Shed(refusal) => Signal::Shed(Refusal::of_wire(refusal)?),
            Kind::RecordingLevel(change) => of_level_change(change)?,
            Kind::ConnectionEvent(state) => of_connection(state)?,
            Kind::MigrationStart(epoch) => Signal::MigrationStart { epoch: LeaseEpoch(epoch) },
            Kind::MigrationFinish(epoch) => Signal::MigrationFinish { epoch: LeaseEpoch(epoch) },
            Kind::SessionHandoff(epoch) => Signal::SessionHandoff { epoch: LeaseEpoch(epoch) },
            other => of_other(other)?,
        })
    }
}

fn of_other(kind: pb::signal::Kind) -> Result<Signal, WireError> {
    match kind {
        pb::signal::Kind::NodeOverrun(notice) => of_overrun(notice),
        pb::signal::Kind::ClockRebased(rebased) => of_rebased(rebased),
        of_an_edge => edges::of_kind(of_an_edge),
    }
}

fn to_level_change(level: RecordingLevel, cause: LevelCause) -> pb::LevelChange {
    pb::LevelChange { level: level.number(), cause: cause.number() }
}

fn of_level_change(change: pb::LevelChange) -> Result<Signal, WireError> {
    let level = Word::of_number("recording_level.level", change.level)?;
    Ok(Signal::RecordingLevel { level, cause: Word::of_number("recording_level.cause", change.cause)? })
}

fn to_heard(text: &str, cut: bool) -> Result<pb::Heard, WireError> {
    Ok(pb::Heard { text: to_text("heard.text", text)?, cut })
}

fn to_stale(epoch: LeaseEpoch, current: LeaseEpoch) -> pb::StaleEpochReject {
    pb::StaleEpochReject { epoch: epoch.0, current: current.0 }
}

fn of_stale(stale: pb::StaleEpochReject) -> Signal {
    Signal::StaleEpochReject { epoch: LeaseEpoch(stale.epoch), current: LeaseEpoch(stale.current) }
}

fn of_connection(state: i32) -> Result<Signal, WireError> {
    Ok(Signal::ConnectionEvent { state: Word::of_number("connection_event.state", state)? })
}

fn to_turn_open(open: &Signal) -> Result<pb::TurnOpen, WireError> {
    let Signal::TurnOpen { plan, generation, text, opener, understood, speech_end } = open else {
        return Err(WireError::Missing { field: "turn_open" });
    };
    Ok(pb::TurnOpen {
        plan_hash: to_text("turn_open.plan", &plan.0)?,
        generation: generation.0,
        text: to_text("turn_open.text", text)?,
        opener: to_opener(*opener),
        understood: *understood,
        speech_end_us: speech_end.map(|at| to_us("turn_open.speech_end", at)).transpose()?,
    })
}

fn to_provider(signal: &Signal) -> Result<pb::signal::Kind, WireError> {
    use pb::signal::Kind;
    Ok(match signal {
        Signal::ProviderError { id, outcome } => {
            Kind::ProviderError(pb::ProviderError { invocation: id.0, outcome: outcome.number() })
        }
        Signal::ProviderRetry { id, attempt } => {
            Kind::ProviderRetry(pb::ProviderRetry { invocation: id.0, attempt: *attempt })
        }
        Signal::ProviderSwitch { node, binding, cause } => Kind::ProviderSwitch(to_switch(*node, binding, *cause)?),
        Signal::CircuitEvent { binding, state } => Kind::CircuitEvent(to_circuit(binding, *state)?),
        Signal::ProviderBudget { id, outcome } => {
            Kind::ProviderBudget(pb::ProviderBudget { invocation: id.0, outcome: outcome.number() })
        }
        Signal::TurnBudgetSpent { budget, outcome } => {
            Kind::TurnBudget(pb::TurnBudgetSpent { budget: budget.number(), outcome: outcome.number() })
        }
        _ => return Err(WireError::Missing { field: "a provider's signal" }),
    })
}

fn to_switch(node: NodeIndex, binding: &str, cause: SwitchCause) -> Result<pb::ProviderSwitch, WireError> {
    let binding = to_text("provider_switch.binding", binding)?;
    Ok(pb::ProviderSwitch { node: to_node("provider_switch.node", node)?, binding, cause: cause.number() })
}

fn of_retry(retry: pb::ProviderRetry) -> Signal {
    Signal::ProviderRetry { id: InvocationId(retry.invocation), attempt: retry.attempt }
}

fn to_circuit(binding: &str, state: CircuitState) -> Result<pb::CircuitEvent, WireError> {
    Ok(pb::CircuitEvent { binding: to_text("circuit_event.binding", binding)?, state: state.number() })
}

fn of_circuit(event: &pb::CircuitEvent) -> Result<Signal, WireError> {
    let state = Word::of_number("circuit_event.state", event.state)?;
    Ok(Signal::CircuitEvent { binding: of_text("circuit_event.binding", &event.binding)?, state })
}

fn of_provider_budget(budget: pb::ProviderBudget) -> Result<Signal, WireError> {
    let outcome = Word::of_number("provider_budget.outcome", budget.outcome)?;
    Ok(Signal::ProviderBudget { id: InvocationId(budget.invocation), outcome })
}

fn of_turn_budget(spent: pb::TurnBudgetSpent) -> Result<Signal, WireError> {
    let budget = Word::of_number("turn_budget.budget", spent.budget)?;
    Ok(Signal::TurnBudgetSpent { budget, outcome: Word::of_number("turn_budget.outcome", spent.outcome)? })
}

impl Wire for Refusal {
    type Message = pb::Refusal;

    fn to_wire(&self) -> Result<pb::Refusal, WireError> {
        let Refusal { reason, point, fairness_key } = self;
        let fairness_key = to_text("refusal.fairness_key", fairness_key)?;
        Ok(pb::Refusal { reason: reason.number(), point: point.number(), fairness_key })
    }

    fn of_wire(message: pb::Refusal) -> Result<Self, WireError> {
        let pb::Refusal { reason, point, fairness_key } = message;
        Ok(Refusal {
            reason: Word::of_number("refusal.reason", reason)?,
            point: Word::of_number("refusal.point", point)?,
            fairness_key: of_text("refusal.fairness_key", &fairness_key)?,
        })
    }
}

fn to_defer(refusal: &Refusal, retry_after: Option<Micros>) -> Result<pb::Defer, WireError> {
    let retry_after_us = retry_after.map(|after| to_us("defer.retry_after", after)).transpose()?;
    Ok(pb::Defer { retry_after_us, refusal: Some(refusal.to_wire()?) })
}

fn of_defer(defer: pb::Defer) -> Result<Signal, WireError> {
    let retry_after = defer.retry_after_us.map(|after| of_us("defer.retry_after", after)).transpose()?;
    Ok(Signal::Defer { refusal: required("defer.refusal", defer.refusal)?, retry_after })
}

fn to_refused(state: TurnState, input: &str) -> Result<pb::Refused, WireError> {
    Ok(pb::Refused { state: state.number(), input: to_text("refused.input", input)? })
}

fn to_node_error(node: NodeIndex, message: &str) -> Result<pb::NodeError, WireError> {
    let (node, message) = (to_node("node_error.node", node)?, to_text("node_error.message", message)?);
    Ok(pb::NodeError { node, message })
}

/// Both ways: no clock differs by more than all of time.
fn to_rebased(clock: Clock, skew: Skew) -> Result<pb::ClockRebased, WireError> {
    within("clock_rebased.skew", skew.0.unsigned_abs(), MAX_UNIX_US)?;
    Ok(pb::ClockRebased { clock: clock.number(), skew_us: skew.0 })
}

fn of_rebased(rebased: pb::ClockRebased) -> Result<Signal, WireError> {
    let pb::ClockRebased { clock, skew_us } = rebased;
    within("clock_rebased.skew", skew_us.unsigned_abs(), MAX_UNIX_US)?;
    Ok(Signal::ClockRebased { clock: Word::of_number("clock_rebased.clock", clock)?, skew: Skew(skew_us) })
}

fn to_overrun(signal: &Signal) -> Result<pb::NodeOverrunNotice, WireError> {
    let Signal::NodeOverrun { node, took, strikes, outcome } = signal else {
        return Err(WireError::Missing { field: "node_overrun" });
    };
    Ok(pb::NodeOverrunNotice {
        node: to_node("node_overrun.node", *node)?,
        took_us: to_us("node_overrun.took", *took)?,
        strikes: *strikes,
        outcome: outcome.number(),
    })
}

fn of_overrun(notice: pb::NodeOverrunNotice) -> Result<Signal, WireError> {
    let pb::NodeOverrunNotice { node, took_us, strikes, outcome } = notice;
    Ok(Signal::NodeOverrun {
        node: of_node("node_overrun.node", node)?,
        took: of_us("node_overrun.took", took_us)?,
        strikes,
        outcome: Word::of_number("node_overrun.outcome", outcome)?,
    })
}

fn to_place(at: u64, estimated: bool) -> Result<pb::SamplePosition, WireError> {
    Ok(pb::SamplePosition { samples: samples("position.samples", at)?, estimated })
}

fn of_completed(place: pb::SamplePosition) -> Result<Signal, WireError> {
    of_place(place).map(|(heard_samples, estimated)| Signal::PlaybackCompleted { heard_samples, estimated })
}

fn of_cut(place: pb::SamplePosition) -> Result<Signal, WireError> {
    of_place(place).map(|(heard_samples, estimated)| Signal::PlaybackCancelled { heard_samples, estimated })
}

fn of_place(place: pb::SamplePosition) -> Result<(u64, bool), WireError> {
    let pb::SamplePosition { samples: at, estimated } = place;
    Ok((samples("position.samples", at)?, estimated))
}

fn to_proposed(key: &str, name: &str) -> Result<pb::ToolProposed, WireError> {
    Ok(pb::ToolProposed { key: to_text("tool.key", key)?, name: to_text("tool.name", name)? })
}

fn of_proposed(proposed: &pb::ToolProposed) -> Result<Signal, WireError> {
    let pb::ToolProposed { key, name } = proposed;
    Ok(Signal::ToolProposed { key: of_text("tool.key", key)?, name: of_text("tool.name", name)? })
}

fn of_turn_open(open: pb::TurnOpen) -> Result<Signal, WireError> {
    let pb::TurnOpen { plan_hash, generation, text, understood, speech_end_us, opener } = open;
    let plan: Arc<str> = of_text("turn_open.plan", &plan_hash)?;
    Ok(Signal::TurnOpen {
        plan: PlanHash(plan),
        generation: Generation(generation),
        text: of_text("turn_open.text", &text)?,
        opener: of_opener("turn_open.opener", opener)?,
        understood,
        speech_end: speech_end_us.map(|at| of_us("turn_open.speech_end", at)).transpose()?,
    })
}

fn of_provider_error(error: &pb::ProviderError) -> Result<Signal, WireError> {
    let pb::ProviderError { invocation, outcome } = *error;
    let outcome = Outcome::of_number("provider_error.outcome", outcome)?;
    Ok(Signal::ProviderError { id: InvocationId(invocation), outcome })
}

fn of_switch(switch: &pb::ProviderSwitch) -> Result<Signal, WireError> {
    let pb::ProviderSwitch { node, binding, cause } = switch;
    Ok(Signal::ProviderSwitch {
        node: of_node("provider_switch.node", *node)?,
        binding: of_text("provider_switch.binding", binding)?,
        cause: Word::of_number("provider_switch.cause", *cause)?,
    })
}

fn of_refused(refused: &pb::Refused) -> Result<Signal, WireError> {
    let pb::Refused { state, input } = refused;
    let state = TurnState::of_number("refused.state", *state)?;
    Ok(Signal::Refused { state, input: of_text("refused.input", input)? })
}

fn of_node_error(error: &pb::NodeError) -> Result<Signal, WireError> {
    let pb::NodeError { node, message } = error;
    Ok(Signal::NodeError { node: of_node("node_error.node", *node)?, message: of_text("node_error.message", message)? })
}
