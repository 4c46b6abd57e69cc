//! What is kept of every accepted turn, at every level and under every pressure (`F-149`, `F-150`, `F-176`).

use std::collections::BTreeMap;

use rspp_specs::ids::{InvocationId, TurnId};
use rspp_specs::plan::{NodeKind, Plan, RecordingLevel};
use rspp_specs::timeline::{Effect, Entry, Input, Record, SessionOpen, Signal};
use rspp_specs::wire::generated::{CancelEvidence, InvocationEvidence, TurnEvidence};
use rspp_specs::wire::number_of_level;

/// Invocations of one turn of which the evidence tells; of more, it tells that there were more.
const MAX_INVOCATIONS: usize = 64;

/// Gathers one session's evidence from its timeline.
#[derive(Debug)]
pub struct Evidence {
    /// What all turns of the session share.
    shared: TurnEvidence,
    open: Option<Box<TurnEvidence>>,
    /// Of the tick that is being read.
    tick: u64,
    first_sequence: u64,
    last_sequence: u64,
    is_admitted: bool,
    /// Who is called again, as which attempt; and who is called in another's place.
    retried: BTreeMap<String, u32>,
    switched_to: Vec<String>,
    /// Providers of invocations that have not ended.
    bindings: BTreeMap<InvocationId, String>,
}

/// What all turns of a session have that begins so.
fn shared(open: &SessionOpen) -> TurnEvidence {
    let SessionOpen { session, plan, epoch, .. } = open;
    TurnEvidence {
        session: session.to_string(),
        pipeline: plan.name().to_owned(),
        pipeline_version: plan.version(),
        plan_hash: plan.hash().to_string(),
        profile: plan.profile().to_owned(),
        epoch_at_open: epoch.0,
        merge_rules: merge_rules(plan),
        ..TurnEvidence::default()
    }
}

impl Evidence {
    /// Of a session that begins so.
    pub fn new(open: &SessionOpen) -> Self {
        Self {
            shared: shared(open),
            open: None,
            tick: 0,
            first_sequence: 0,
            last_sequence: 0,
            is_admitted: false,
            retried: BTreeMap::new(),
            switched_to: Vec::new(),
            bindings: BTreeMap::new(),
        }
    }

    /// The session goes on under another plan.
    pub fn go_by(&mut self, open: &SessionOpen) {
        self.shared = shared(open);
    }

    /// Takes the next record; gives what is kept of a turn that it closes.
    pub fn take(&mut self, record: &Record, level: RecordingLevel) -> Option<TurnEvidence> {
        match &record.entry {
            Entry::Input(sequence, input) => {
                if record.tick != self.tick {
                    (self.tick, self.first_sequence) = (record.tick, sequence.0);
                }
                self.last_sequence = sequence.0;
                self.on_input(input);
                None
            }
            Entry::Effect(Effect::Invoke { id, binding, .. }) => {
                self.on_invoke(*id, binding);
                None
            }
            Entry::Effect(_) => None,
            Entry::Signal(turn, signal) => self.on_signal(record, *turn, signal, level),
        }
    }

    fn on_input(&mut self, input: &Input) {
        if let Input::Admission(snapshot) = input {
            self.shared.snapshots = vec![format!("admission/{}", snapshot.version)];
        }
        if let Some(open) = &mut self.open {
            open.external_inputs += u64::from(input.is_external());
        }
        if let Input::Provider(id, rspp_specs::event::ProviderResult::End(outcome)) = input {
            self.bindings.remove(id);
            if let Some(row) = self.row(*id) {
                outcome.name().clone_into(&mut row.outcome);
            }
        }
    }

    fn row(&mut self, id: InvocationId) -> Option<&mut InvocationEvidence> {
        self.open.as_mut()?.invocations.iter_mut().find(|row| row.id == id.0)
    }

    fn on_invoke(&mut self, id: InvocationId, binding: &str) {
        let attempt = self.retried.remove(binding).unwrap_or(1);
        let place = self.switched_to.iter().position(|to| to == binding);
        let switched = place.map(|place| self.switched_to.swap_remove(place)).is_some();
        self.bindings.insert(id, binding.to_owned());
        let Some(open) = &mut self.open else { return };
        if open.invocations.len() == MAX_INVOCATIONS {
            open.incomplete = true;
            return;
        }
        let binding = binding.to_owned();
        open.invocations.push(InvocationEvidence { id: id.0, binding, outcome: String::new(), attempt, switched });
    }

    fn on_signal(
        &mut self,
        record: &Record,
        turn: Option<TurnId>,
        signal: &Signal,
        level: RecordingLevel,
    ) -> Option<TurnEvidence> {
        match (signal, turn) {
            (Signal::Admit, _) => self.is_admitted = true,
            (Signal::LeaseMoved { epoch }, _) => self.shared.epoch_at_open = epoch.0,
            (Signal::TurnOpen { .. }, Some(turn)) => self.on_open(record, turn),
            (Signal::ProviderRetry { id, attempt }, _) => {
                if let Some(binding) = self.bindings.get(id).cloned() {
                    self.retried.insert(binding, *attempt);
                }
            }
            (Signal::ProviderSwitch { binding, .. }, _) if self.switched_to.len() < MAX_INVOCATIONS => {
                self.switched_to.push(binding.to_string());
            }
            (Signal::Close, Some(turn)) => return self.on_close(record, turn, level),
            _ => self.on_turn_signal(record, turn, signal),
        }
        None
    }

    fn on_turn_signal(&mut self, record: &Record, turn: Option<TurnId>, signal: &Signal) {
        let epoch = self.shared.epoch_at_open;
        let Some(open) = &mut self.open else { return };
        let of_turn = turn.is_some_and(|turn| turn.0 == open.turn);
        match signal {
            Signal::CancelAccepted { reason } if of_turn => {
                let cancelled = open.cancelled.get_or_insert_default();
                reason.name().clone_into(&mut cancelled.reason);
                cancelled.accepted_at_us = record.at.0;
            }
            Signal::FenceApplied { .. } if of_turn => {
                if let Some(cancelled) = &mut open.cancelled {
                    cancelled.fenced_at_us = record.at.0;
                }
            }
            Signal::OutputFenced { frames } => reject(&mut open.cancelled, u64::from(*frames)),
            Signal::LateAfterCancel { .. } => reject(&mut open.cancelled, 1),
            Signal::Commit if of_turn => {
                open.epoch_at_terminal = epoch;
                "commit".clone_into(&mut open.terminal);
            }
            Signal::Abort { reason } if of_turn => {
                open.epoch_at_terminal = epoch;
                "abort".clone_into(&mut open.terminal);
                reason.name().clone_into(&mut open.reason);
            }
            _ => {}
        }
    }

    fn on_open(&mut self, record: &Record, turn: TurnId) {
        let admission = if std::mem::take(&mut self.is_admitted) { "admit" } else { "" };
        self.open = Some(Box::new(TurnEvidence {
            turn: turn.0,
            admission: admission.to_owned(),
            first_sequence: if record.tick == self.tick { self.first_sequence } else { self.last_sequence },
            first_tick: record.tick,
            opened_at_us: record.at.0,
            ..self.shared.clone()
        }));
    }

    fn on_close(&mut self, record: &Record, turn: TurnId, level: RecordingLevel) -> Option<TurnEvidence> {
        let open = self.open.take_if(|open| open.turn == turn.0)?;
        Some(TurnEvidence {
            last_sequence: self.last_sequence,
            last_tick: record.tick,
            closed_at_us: record.at.0,
            level: number_of_level(level),
            ..*open
        })
    }
}

fn reject(cancelled: &mut Option<CancelEvidence>, outputs: u64) {
    if let Some(cancelled) = cancelled {
        cancelled.rejected_outputs += outputs;
    }
}

/// By which rule, and in which version, each node at which streams meet merges them.
fn merge_rules(plan: &Plan) -> Vec<String> {
    let merges = plan.nodes().iter().filter_map(|node| match &node.kind {
        NodeKind::Merge { order } => Some(format!("{}: {}", node.name, order.name())),
        _ => None,
    });
    merges.collect()
}

/// The fields that evidence must have and that this one lacks; none, if it is whole.
pub fn missing(evidence: &TurnEvidence) -> Vec<&'static str> {
    let TurnEvidence { session, turn, plan_hash, admission, first_sequence, terminal, reason, .. } = evidence;
    let checks = [
        ("session", session.is_empty()),
        ("turn", *turn == 0),
        ("plan_hash", plan_hash.is_empty()),
        ("admission", admission.is_empty()),
        ("first_sequence", *first_sequence == 0),
        ("terminal", terminal.is_empty()),
        ("reason", terminal == "abort" && reason.is_empty()),
        ("cancelled", reason == "cancelled" && evidence.cancelled.is_none()),
        ("closed_at_us", evidence.closed_at_us < evidence.opened_at_us),
    ];
    checks.into_iter().filter_map(|(field, is_missing)| is_missing.then_some(field)).collect()
}
