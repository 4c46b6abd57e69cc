//! What a simulation came to. Nothing in it depends on the clock on the wall: the same command gives the same bytes.

use std::collections::BTreeMap;
use std::fmt;

use rspp_adapters::sim::Fault;
use rspp_specs::buffer::FLUSHED;
use rspp_specs::trace::{Line, Section};
use serde::Serialize;

use super::Options;
use super::judge::Found;

/// A simulation in numbers; what `rspp sim --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Where all chance came from.
    pub seed: u64,
    /// Sessions.
    pub sessions: u32,
    /// Virtual minutes.
    pub minutes: u32,
    /// The classes of failure that were asked for.
    pub asked_faults: String,
    /// Calls that the sessions held, one after the other.
    pub calls: u64,
    /// How long they lasted, summed, in virtual milliseconds.
    pub call_ms: u64,
    /// Turns that were opened.
    pub turns_opened: u64,
    /// How they ended.
    pub terminals: Terminals,
    /// Turns that were closed.
    pub turns_closed: u64,
    /// Proposals that were refused, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Frames stopped at egress, and at the transport's own gate.
    pub fenced_outputs: u64,
    /// Results that came after their cancellation.
    pub late_results: u64,
    /// Inputs that did not fit the state that they met.
    pub refused_inputs: u64,
    /// Items dropped by a declared rule.
    pub drops: u64,
    /// Interruptions.
    pub interruptions: Interruptions,
    /// Faults by class, as far as traces show them.
    pub faults: BTreeMap<&'static str, u64>,
    /// The gates that a simulation can judge.
    pub gates: Gates,
    /// The most that ever waited or was kept for one call.
    pub peaks: Peaks,
    /// What was not admitted, by point.
    pub refused_at: BTreeMap<String, u64>,
    /// What followed when providers failed.
    pub recovery: Recovery,
    /// The states that callers' connections were in, but for connected.
    pub connections: BTreeMap<String, u64>,
    /// Sessions that went on with another worker.
    pub migrations: Migrations,
    /// Ticks that all sessions of a core together filled: only there may one session tell that there are others.
    pub crowded_ticks: u64,
    /// Ticks that were judged: every rule has seen every one of them.
    pub invariants_checked: u64,
    /// Lines of traces that were judged.
    pub lines: u64,
    /// Breaches of the contract.
    pub violations: u64,
    /// The first of them.
    pub found: Vec<Found>,
}

/// How turns ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Terminals {
    /// All of the answer was sent.
    pub commit: u64,
    /// Otherwise, by reason.
    pub abort: BTreeMap<String, u64>,
}

impl Terminals {
    pub(super) fn add(&mut self, other: &Self) {
        self.commit += other.commit;
        for (reason, turns) in &other.abort {
            *self.abort.entry(reason.clone()).or_default() += turns;
        }
    }

    fn sum(&self) -> u64 {
        self.commit + self.abort.values().sum::<u64>()
    }
}

/// Speech over answers, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interruptions {
    /// Playout was held for it.
    pub proposed: u64,
    /// It was one.
    pub confirmed: u64,
    /// It was none.
    pub dismissed: u64,
}

/// What followed when providers failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Calls that were made again.
    pub retries: u64,
    /// Calls that went to another provider.
    pub switches: u64,
    /// Circuit breakers that changed their state.
    pub circuit_events: u64,
}

/// Sessions that went on with another worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrations {
    /// How often a session was handed over.
    pub handoffs: u64,
    /// Records of logs that came out again, one by one, while sessions were restored.
    pub records_restored: u64,
    /// Writes under a lease that was not the session's: none of them was heard.
    pub stale_writes_refused: u64,
}

impl Migrations {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { handoffs, records_restored, stale_writes_refused } = other;
        self.handoffs += handoffs;
        self.records_restored += records_restored;
        self.stale_writes_refused += stale_writes_refused;
    }
}

/// What must hold of every turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gates {
    /// Cancellations accepted.
    pub cancels_accepted: u64,
    /// Cancellations whose fence was applied in the same tick.
    pub fenced_in_the_same_tick: u64,
    /// Frames sent of turns that were fenced.
    pub outputs_after_the_fence: u64,
    /// Frames sent by sessions that had lost their authority.
    pub stale_outputs: u64,
    /// Samples that a caller heard twice, whose transport says what it played.
    pub samples_heard_twice: u64,
    /// Turns opened without exactly one terminal and then a close.
    pub turns_without_one_terminal: u64,
}

/// The most that ever waited or was kept for one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peaks {
    /// Inputs on their way.
    pub scheduled_inputs: usize,
    /// Invocations in the core's table.
    pub invocations: usize,
    /// Holders of a turn.
    pub holders: usize,
    /// Turns, writes and invocations that the checker remembers.
    pub remembered: usize,
}

impl Gates {
    pub(super) fn add(&mut self, other: &Self) {
        self.cancels_accepted += other.cancels_accepted;
        self.fenced_in_the_same_tick += other.fenced_in_the_same_tick;
        self.outputs_after_the_fence += other.outputs_after_the_fence;
        self.stale_outputs += other.stale_outputs;
        self.samples_heard_twice += other.samples_heard_twice;
        self.turns_without_one_terminal += other.turns_without_one_terminal;
    }
}

impl Peaks {
    /// The most of both.
    pub(super) fn raise(&mut self, other: &Self) {
        self.scheduled_inputs = self.scheduled_inputs.max(other.scheduled_inputs);
        self.invocations = self.invocations.max(other.invocations);
        self.holders = self.holders.max(other.holders);
        self.remembered = self.remembered.max(other.remembered);
    }
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        let faults = Fault::ALL.map(|fault| (fault.name(), 0));
        Self {
            seed: options.seed,
            sessions: options.sessions,
            minutes: options.minutes,
            asked_faults: options.faults.to_string(),
            faults: faults.into(),
            ..Self::default()
        }
    }

    /// Counts what a line says.
    pub(super) fn count(&mut self, line: &Line) {
        self.lines += 1;
        match line.section {
            Section::Signal => self.count_signal(line),
            Section::In => match line.name.as_ref() {
                "interruption_proposed" => self.interruptions.proposed += 1,
                "interruption_confirmed" => self.interruptions.confirmed += 1,
                "interruption_dismissed" => self.interruptions.dismissed += 1,
                _ => {}
            },
            Section::Effect | Section::State => {}
        }
    }

    fn count_signal(&mut self, line: &Line) {
        let number = |key: &str| line.field(key).and_then(|value| value.number()).unwrap_or(0);
        let reason = || line.field("reason").map_or_else(String::new, ToString::to_string);
        match line.name.as_ref() {
            "turn_open" => self.turns_opened += 1,
            "commit" => self.terminals.commit += 1,
            "abort" => *self.terminals.abort.entry(reason()).or_default() += 1,
            "close" => self.turns_closed += 1,
            "reject" => *self.rejected.entry(reason()).or_default() += 1,
            "output_fenced" => self.fenced_outputs += number("frames"),
            "late_after_cancel" => self.late_results += 1,
            "refused" => self.refused_inputs += 1,
            "provider_retry" => self.recovery.retries += 1,
            "provider_switch" => self.recovery.switches += 1,
            "circuit_event" => self.recovery.circuit_events += 1,
            "session_handoff" => self.migrations.handoffs += 1,
            "connection_event" => self.count_connection(line),
            "drop_notice" if reason() != FLUSHED => self.drops += number("items"),
            "cancel_accepted" => self.gates.cancels_accepted += 1,
            _ => {}
        }
        if let Some(point) = line.field("point") {
            *self.refused_at.entry(point.to_string()).or_default() += 1;
        }
        for fault in Fault::ALL.into_iter().filter(|fault| fault.is_shown_by(line)) {
            *self.faults.entry(fault.name()).or_default() += 1;
        }
    }

    fn count_connection(&mut self, line: &Line) {
        let state = line.field("state").map_or_else(String::new, ToString::to_string);
        if state != "connected" {
            *self.connections.entry(state).or_default() += 1;
        }
    }

    pub(super) fn finish(&mut self) {
        let whole = self.terminals.sum().min(self.turns_closed);
        self.gates.turns_without_one_terminal = self.turns_opened.abs_diff(whole);
    }
}

/// For people.
impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cancels_accepted, fenced_in_the_same_tick, outputs_after_the_fence, .. } = self;
        write!(
            f,
            "{cancels_accepted} cancellations, {fenced_in_the_same_tick} of them fenced in their tick; \
             {outputs_after_the_fence} outputs after the fence"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, sessions, minutes, calls, turns_opened, interruptions, gates, .. } = self;
        writeln!(f, "seed {seed}, {sessions} sessions, {minutes} minutes, faults: {}", self.asked_faults)?;
        writeln!(f, "{calls} calls, {} s in all; {} lines of traces judged", self.call_ms / 1_000, self.lines)?;
        writeln!(f, "{turns_opened} turns opened, {} committed", self.terminals.commit)?;
        for (reason, turns) in &self.terminals.abort {
            writeln!(f, "  {turns} aborted: {reason}")?;
        }
        let Interruptions { proposed, confirmed, dismissed } = interruptions;
        writeln!(f, "interruptions: {proposed} proposed, {confirmed} confirmed, {dismissed} dismissed")?;
        writeln!(
            f,
            "{} results late, {} frames fenced, {} items dropped, {} inputs refused",
            self.late_results, self.fenced_outputs, self.drops, self.refused_inputs
        )?;
        let Recovery { retries, switches, circuit_events } = self.recovery;
        writeln!(f, "{retries} calls made again, {switches} elsewhere, {circuit_events} circuit events")?;
        let Migrations { handoffs, stale_writes_refused, .. } = self.migrations;
        writeln!(f, "{handoffs} sessions handed over, {stale_writes_refused} writes without a lease refused")?;
        for (name, injected) in &self.faults {
            writeln!(f, "{name}: {injected} injected")?;
        }
        writeln!(f, "{gates}")?;
        writeln!(f, "{} ticks judged, {} violations", self.invariants_checked, self.violations)?;
        self.found.iter().try_for_each(|found| write!(f, "\n{found}"))
    }
}
