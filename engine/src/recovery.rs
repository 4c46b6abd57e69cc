//! Who is called, and what happens when a call fails: again, elsewhere, or not at all (`F-160` to `F-165`).
//!
//! Only a call of which nobody has used anything yet is tried again: what a caller has half heard can't be begun anew.
//! Half a sentence of a model's, of which nothing was spoken, is taken back. Each attempt is an invocation of its own, so
//! that what an abandoned one still sends is late, and stays outside.

use std::sync::Arc;

use rspp_specs::budget::{BudgetOutcome, CircuitState, SwitchCause, TurnBudget};
use rspp_specs::event::{DeliveryContent, ProviderResult, Request};
use rspp_specs::ids::{InvocationId, NodeIndex, RuntimeSequence, Scope};
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Signal, TimerKey};

use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

/// What a tool may take. The shell's own limits are shorter, and say more.
const TOOL_TIME: Micros = Micros::from_ms(45_000);

impl Session {
    /// Starts an invocation with the first of a node's providers whose circuit lets calls through.
    pub(crate) fn call(&mut self, desk: &mut Desk<'_>, mut row: Invocation, request: Request) {
        let node = row.node;
        if row.kind != Kind::Tool {
            let candidates = self.candidates(node);
            // Where nobody is left, the last one is tried all the same: failing is all that would be left to do.
            let floor = self.floor(node);
            let choice = (floor..candidates.len()).find(|choice| self.circuits.admits(&candidates[*choice], desk.now));
            row.choice = choice.unwrap_or(candidates.len() - 1);
            row.binding = Arc::clone(&candidates[row.choice]);
            if row.choice > 0 {
                let cause = if row.choice > floor { SwitchCause::CircuitOpen } else { SwitchCause::Budget };
                self.say_switch(desk, node, &row.binding, cause);
            }
        }
        self.start(desk, row, request);
    }

    /// The providers that a node's plan allows, in order.
    fn candidates(&self, node: NodeIndex) -> Vec<Arc<str>> {
        let node = self.plan.node(node);
        let first = node.kind.binding().unwrap_or_default();
        std::iter::once(first).chain(node.provider.fallback.iter().map(String::as_str)).map(Arc::from).collect()
    }

    fn start(&mut self, desk: &mut Desk<'_>, mut row: Invocation, request: Request) {
        let (node, kind, binding, replaces) = (row.node, row.kind, Arc::clone(&row.binding), row.replaces);
        // A recogniser's audio has gone by, and a write must not run twice: these are not tried again.
        row.request = matches!(kind, Kind::Chat | Kind::Speak).then(|| request.clone());
        let Some(id) = self.invocations.start(row) else {
            self.fail(desk, node, "too many invocations in flight".into());
            return;
        };
        if let Some(state) = self.circuits.on_call(&binding, desk.now) {
            if let Some(row) = self.invocations.get_mut(id) {
                row.probes = true;
            }
            self.say_circuit(desk, &binding, state);
        }
        self.note_speech(desk, id, replaces, &request);
        self.effect(desk, Effect::Invoke { id, binding, request });
        match kind {
            Kind::Chat | Kind::Speak => {
                let within = self.plan.node(node).provider.first_result;
                desk.timers.set(self.slot, TimerKey::Result(id), desk.now + within);
            }
            Kind::Tool => desk.timers.set(self.slot, TimerKey::Result(id), desk.now + TOOL_TIME),
            // A recogniser listens as long as the caller speaks: its time begins with the end of the audio.
            Kind::Transcribe => {}
        }
        if matches!(kind, Kind::Chat | Kind::Speak) {
            self.begin_stream(desk, id, node);
        }
    }

    /// What is being spoken stands in the ledger, one chunk behind the other; a second attempt in the place of the first.
    fn note_speech(
        &mut self,
        desk: &mut Desk<'_>,
        id: InvocationId,
        replaces: Option<InvocationId>,
        request: &Request,
    ) {
        let Request::Speak { text } = request else { return };
        if let Some(turn) = self.active() {
            self.meet_budget(desk, turn, TurnBudget::FirstSpeakable);
        }
        if let Some(playback) = &mut self.playback {
            match replaces {
                Some(failed) => playback.on_respeak(failed, id),
                None => playback.on_speak(id, text),
            }
        }
    }

    /// A recogniser's input is complete: now it owes its final.
    pub(crate) fn expect_final(&self, desk: &mut Desk<'_>, id: InvocationId, node: NodeIndex) {
        let within = self.plan.node(node).provider.first_result;
        desk.timers.set(self.slot, TimerKey::Result(id), desk.now + within);
    }

    /// A result came in.
    pub(crate) fn note_progress(&mut self, desk: &Desk<'_>, id: InvocationId, is_text: bool) {
        if let Some(row) = self.invocations.get_mut(id) {
            row.last_result = Some(desk.now);
            // Text that nobody has used can be taken back; nothing else can.
            if !is_text {
                row.request = None;
            }
        }
    }

    /// The time for a result is over. One that has come since the timer was set buys the time of another.
    pub(crate) fn on_result_late(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId) {
        let Some(row) = self.invocations.get(id).filter(|row| !self.is_ending(row)) else { return };
        let stall = self.plan.node(row.node).provider.stall;
        if let Some(last) =
            row.last_result.filter(|last| matches!(row.kind, Kind::Chat | Kind::Speak) && *last + stall > desk.now)
        {
            desk.timers.set(self.slot, TimerKey::Result(id), last + stall);
            return;
        }
        let row = row.clone();
        let outcome = match (row.kind, self.alternative(desk, &row, Outcome::Timeout)) {
            (Kind::Transcribe | Kind::Tool, _) => BudgetOutcome::Continue,
            _ if self.is_closing(row.cancelled_with) => BudgetOutcome::Continue,
            (_, Some(_)) => BudgetOutcome::Fallback,
            (_, None) if self.can_do_without(row.node) => BudgetOutcome::Degrade,
            (_, None) => BudgetOutcome::Terminate,
        };
        self.say_here(desk, Signal::ProviderBudget { id, outcome });
        self.effect(desk, Effect::CancelInvocation { id });
        self.invocations.abandon(id, desk.now);
        self.end_invocation(desk, cause, id, row, Outcome::Timeout);
    }

    /// An invocation is over: it is tried again, or its node learns how it ended.
    pub(crate) fn end_invocation(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        id: InvocationId,
        row: Invocation,
        outcome: Outcome,
    ) {
        self.conclude_invocation(desk, cause, id, row, outcome, outcome);
    }

    /// An invocation is over, and its provider is not to blame: it was not asked, or nobody hears it any more.
    pub(crate) fn abandon_blamelessly(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        id: InvocationId,
        row: Invocation,
        outcome: Outcome,
    ) {
        self.conclude_invocation(desk, cause, id, row, outcome, Outcome::Cancelled);
    }

    /// `blame` is the outcome as far as it is the provider's.
    fn conclude_invocation(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        id: InvocationId,
        row: Invocation,
        outcome: Outcome,
        blame: Outcome,
    ) {
        self.invocations.end(id);
        self.let_go(desk, id, &row, blame);
        if outcome != Outcome::Success {
            self.say_here(desk, Signal::ProviderError { id, outcome });
            if let Some(next) = self.alternative(desk, &row, outcome) {
                self.recover(desk, cause, id, row, next);
                return;
            }
        }
        let fatal = self.note_end_of_invocation(id, &row, outcome);
        // A node that makes something of half an answer would do so for a turn that is about to end.
        if let Some(scope) = row.results_to.filter(|_| !fatal) {
            let content = DeliveryContent::Result(row.call, ProviderResult::End(outcome));
            self.deliver(desk, cause, row.node, scope, content);
        }
    }

    /// An invocation has left the table of those in flight: its time, its stream and its provider's circuit learn of it.
    pub(crate) fn let_go(&mut self, desk: &mut Desk<'_>, id: InvocationId, row: &Invocation, blame: Outcome) {
        desk.timers.cancel(self.slot, TimerKey::Result(id));
        self.note_circuit(desk, row, blame);
        self.end_stream(desk, id, row.node);
    }

    /// Whether its turn ends in this very tick, and takes it along: there is nothing to be saved.
    pub(crate) fn is_ending(&self, row: &Invocation) -> bool {
        let turn = self.turn.as_ref().map(|turn| Scope::Turn(turn.capability));
        self.end.is_some() && turn == Some(row.cancelled_with)
    }

    fn note_circuit(&mut self, desk: &mut Desk<'_>, row: &Invocation, outcome: Outcome) {
        let changed = match outcome {
            _ if row.kind == Kind::Tool => None,
            Outcome::Success => self.circuits.on_success(&row.binding),
            fault if fault.is_fault() => self.circuits.on_fault(&row.binding, row.probes, desk.now),
            _ => self.circuits.on_abandoned(&row.binding, row.probes, desk.now),
        };
        if let Some(state) = changed {
            self.say_circuit(desk, &row.binding, state);
        }
    }

    /// What can be done instead of a call that failed, if anything.
    fn alternative(&self, desk: &Desk<'_>, row: &Invocation, outcome: Outcome) -> Option<Alternative> {
        if !self.is_unused(row) || self.is_closing(row.cancelled_with) || self.is_ending(row) {
            return None;
        }
        let policy = &self.plan.node(row.node).provider;
        let elsewhere = row.choice < policy.fallback.len();
        let fit = !elsewhere || self.circuits.admits(&row.binding, desk.now);
        // Who has too much to do is not asked again at once, as long as there is somebody else. Each attempt doubles the wait.
        let backoff = Micros(outcome.backoff().0 << (row.attempt - 1).min(8));
        let busy = backoff > Micros(0);
        let in_time = self.is_within_budget(desk.now + backoff);
        let again = fit && outcome.retryable() && row.attempt < policy.attempts && in_time;
        match (again, elsewhere) {
            (true, true) if busy => Some(Alternative::Elsewhere),
            (true, _) if busy => Some(Alternative::Later(backoff)),
            (true, _) => Some(Alternative::Again),
            (false, true) => Some(Alternative::Elsewhere),
            (false, false) => None,
        }
    }

    /// Whether a call can still be made anew: nothing of it was used, and what it gave can be taken back.
    pub(crate) fn is_unused(&self, row: &Invocation) -> bool {
        row.request.is_some() && (row.last_result.is_none() || !self.plan.mingles(row.node))
    }

    fn recover(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        id: InvocationId,
        mut row: Invocation,
        next: Alternative,
    ) {
        let Some(request) = row.request.clone() else { return };
        if let Alternative::Elsewhere = next {
            let choice = row.choice + 1;
            return self.go_on_with(desk, cause, id, row, choice, SwitchCause::Failed);
        }
        self.take_back(desk, cause, id, &mut row);
        match next {
            Alternative::Elsewhere => {}
            Alternative::Again => self.try_again(desk, id, row, request),
            Alternative::Later(backoff) => {
                desk.timers.set(self.slot, TimerKey::Retry(id), desk.now + backoff);
                self.invocations.wait(id, row);
            }
        }
    }

    /// What a call has given counts no more; another one takes its place.
    fn take_back(&self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId, row: &mut Invocation) {
        row.replaces = Some(id);
        row.probes = false;
        if let (Some(_), Some(scope)) = (row.last_result.take(), row.results_to) {
            self.deliver(desk, cause, row.node, scope, DeliveryContent::Restart(row.call));
        }
    }

    /// A call that has left the tables is made with another of its node's providers.
    pub(crate) fn go_on_with(
        &mut self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        id: InvocationId,
        mut row: Invocation,
        choice: usize,
        switch: SwitchCause,
    ) {
        let Some(request) = row.request.clone() else { return };
        self.take_back(desk, cause, id, &mut row);
        row.choice = choice;
        row.attempt = 1;
        row.binding = Arc::clone(&self.candidates(row.node)[choice]);
        self.say_switch(desk, row.node, &row.binding, switch);
        self.start(desk, row, request);
    }

    /// A failed invocation has waited long enough.
    pub(crate) fn on_retry(&mut self, desk: &mut Desk<'_>, id: InvocationId) {
        let Some(row) = self.invocations.take_waiting(id).filter(|row| !self.is_ending(row)) else { return };
        if let Some(request) = row.request.clone() {
            self.try_again(desk, id, row, request);
        }
    }

    fn try_again(&mut self, desk: &mut Desk<'_>, id: InvocationId, mut row: Invocation, request: Request) {
        row.attempt += 1;
        self.say_here(desk, Signal::ProviderRetry { id, attempt: row.attempt });
        self.start(desk, row, request);
    }

    fn say_switch(&self, desk: &mut Desk<'_>, node: NodeIndex, binding: &Arc<str>, cause: SwitchCause) {
        self.say_here(desk, Signal::ProviderSwitch { node, binding: Arc::clone(binding), cause });
    }

    pub(crate) fn say_circuit(&self, desk: &mut Desk<'_>, binding: &Arc<str>, state: CircuitState) {
        self.say_here(desk, Signal::CircuitEvent { binding: Arc::clone(binding), state });
    }
}

/// What is done instead of a call that failed.
#[derive(Clone, Copy)]
enum Alternative {
    /// The same provider, at once.
    Again,
    /// The same provider, after a while.
    Later(Micros),
    /// The next one that the plan allows.
    Elsewhere,
}
