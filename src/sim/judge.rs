//! Judges every session's trace as it is written, and keeps no more of it than it takes to tell what went wrong.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use rspp_adapters::recording::RecordingError;
use rspp_adapters::sim::{Ended, Load, Watch, Which};
use rspp_checker::{Checker, Limits};
use rspp_engine::View;
use rspp_specs::limits::MAX_SESSION_INVOCATIONS;
use rspp_specs::plan::{NodeKind, Plan, PlanEdge};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;
use rspp_specs::trace::{Line, Paper, Renderer, Section};
use serde::Serialize;

use super::Options;
use super::recordings::Recordings;
use super::report::Report;

/// Violations that are told in full; more are counted.
const MAX_TOLD: usize = 10;
/// Ticks up to a violation that are told with it; those that bring the caller's audio and nothing else are not among
/// them.
const MAX_LAST_TICKS: usize = 16;
/// Lines of a tick that are kept: a flood says the same again and again.
const MAX_LINES_OF_A_TICK: usize = 64;
/// Inputs that may be on their way to one call: two answers of a minute each, and a flood.
const MAX_SCHEDULED: usize = 16_384;
/// What the checker may remember of one call.
const MAX_REMEMBERED: usize = 2_048;
/// It is looked at so often.
const REMEMBERED_EVERY_TICKS: u64 = 64;
/// Nodes, writes, invocations and what is derived: what can hold a turn.
const MAX_HOLDERS: usize = 256;

/// What must hold beside the checker's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// What waits, and what is kept, is bounded.
    BoundedMemory,
    /// Turns and sessions end.
    Progress,
    /// Nothing panics but what was told to.
    NoPanic,
    /// Exactly one worker writes a session, and the next one goes on where it stood.
    OneWriter,
    /// Where the transport can be asked, nothing is heard twice.
    HeardOnce,
}

impl Invariant {
    /// Its name, beside those of the checker's rules.
    pub const fn name(self) -> &'static str {
        match self {
            Invariant::BoundedMemory => "bounded-memory",
            Invariant::Progress => "progress",
            Invariant::NoPanic => "no-panic",
            Invariant::OneWriter => "one-writer",
            Invariant::HeardOnce => "heard-once",
        }
    }
}

/// One breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The session, from 0.
    pub session: u32,
    /// Its call, from 1.
    pub call: u32,
    /// The call's own tick.
    pub tick: u64,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// The line of the call's trace, from 1; 0 if it is about no line.
    pub line: usize,
    /// Which rule.
    pub rule: String,
    /// What is wrong.
    pub detail: String,
    /// What the call's trace says last.
    pub last_events: Vec<String>,
    /// A command that shows exactly this.
    pub reproduce: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, call, tick, at_ms, line, rule, detail, .. } = self;
        writeln!(f, "session {session}, call {call}, at {at_ms} ms, tick {tick}, line {line}: {rule}: {detail}")?;
        self.last_events.iter().try_for_each(|event| writeln!(f, "    {event}"))?;
        writeln!(f, "  again: {}", self.reproduce)
    }
}

/// The judge of all sessions.
pub(super) struct Judge {
    options: Options,
    report: Report,
    calls: Vec<Option<Call>>,
    lines: Vec<Line>,
    paper: Paper,
    trace: Option<Box<dyn Write>>,
    /// Whose lines went to the trace last.
    traced: Option<Which>,
    recordings: Option<Recordings>,
    latest: Micros,
}

/// The judge of one call.
struct Call {
    renderer: Renderer,
    checker: Checker,
    told: usize,
    /// The lines of the last ticks.
    recent: VecDeque<Vec<Line>>,
    tick: u64,
    /// The highest turn whose fence was applied.
    fenced: u32,
    deauthorized: bool,
}

impl Judge {
    pub(super) fn new(options: Options, trace: Option<Box<dyn Write>>, recordings: Option<Recordings>) -> Self {
        let report = Report::new(&options);
        let (calls, lines, paper) = (Vec::new(), Vec::new(), Paper::default());
        Self { options, report, calls, lines, paper, trace, traced: None, recordings, latest: Micros(0) }
    }

    /// Everything that was found; or that the calls could not be recorded.
    pub(super) fn finish(mut self) -> Result<Report, RecordingError> {
        self.recordings.take().map_or(Ok(()), Recordings::finish)?;
        self.report.finish();
        Ok(self.report)
    }

    /// Something in the program itself panicked: whose fault it was is not known.
    pub(super) fn on_panic(&mut self) {
        let which = Which { session: 0, call: 0 };
        let (at, detail) = (self.latest, "the program panicked; the message is on standard error".to_owned());
        let mut found = self.found(which, at, 0, Invariant::NoPanic.name(), detail, Vec::new());
        found.reproduce = self.command();
        self.tell(found);
    }

    fn call(&mut self, which: Which) -> Option<&mut Call> {
        self.calls.get_mut(which.session as usize)?.as_mut()
    }

    fn breach(&mut self, which: Which, at: Micros, invariant: Invariant, detail: String) {
        let (tick, last) = self.call(which).map_or((0, Vec::new()), |call| (call.tick, call.last_events()));
        let found = self.found(which, at, tick, invariant.name(), detail, last);
        self.tell(found);
    }

    fn found(&self, of: Which, at: Micros, tick: u64, rule: &str, detail: String, last_events: Vec<String>) -> Found {
        let Which { session, call } = of;
        let reproduce = format!("{} --only {session} --trace session-{session}.trace", self.command());
        let (at_ms, rule) = (at.as_ms(), rule.to_owned());
        Found { session, call, tick, at_ms, line: 0, rule, detail, last_events, reproduce }
    }

    fn command(&self) -> String {
        let Options { spec, seed, sessions, minutes, faults, .. } = &self.options;
        let spec = spec.as_ref().map_or_else(String::new, |spec| format!(" --spec {}", spec.display()));
        format!("rspp sim{spec} --seed {seed} --sessions {sessions} --minutes {minutes} --faults {faults}")
    }

    fn tell(&mut self, found: Found) {
        self.report.violations += 1;
        if self.report.found.len() < MAX_TOLD {
            self.report.found.push(found);
        }
    }

    fn render(&mut self, which: Which, records: &[Record], view: Option<&View>) {
        let (mut lines, mut paper) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.paper));
        paper.take_back(&mut lines);
        if let Some(call) = self.call(which) {
            lines.extend(records.iter().map(|record| call.renderer.record_on(&mut paper, record)));
            if let (Some(view), Some(last)) = (view, records.last()) {
                lines.extend(call.renderer.state(last.at, view.tick, view.state, &view.holders));
            }
        }
        (self.lines, self.paper) = (lines, paper);
    }

    fn write_trace(&mut self, which: Which) -> std::io::Result<()> {
        let Some(trace) = &mut self.trace else { return Ok(()) };
        if self.traced != Some(which) {
            self.traced = Some(which);
            writeln!(trace, "# session {}, call {}", which.session, which.call)?;
        }
        self.lines.iter().try_for_each(|line| writeln!(trace, "{line}"))
    }

    /// What the checker has found in this tick.
    fn judge(&mut self, which: Which) {
        let lines = std::mem::take(&mut self.lines);
        for line in &lines {
            self.report.count(line);
        }
        if let Some(call) = self.calls.get_mut(which.session as usize).and_then(Option::as_mut) {
            call.count_gates(&lines, &mut self.report);
            call.checker.push_tick(&lines);
            self.lines = call.remember(lines);
            if call.checker.violations().len() > call.told {
                self.tell_new(which);
            }
        } else {
            self.lines = lines;
        }
    }

    fn tell_new(&mut self, which: Which) {
        let at = self.latest;
        let Some(call) = self.call(which) else { return };
        let (tick, last) = (call.tick, call.last_events());
        let new = call.checker.violations()[call.told..].to_vec();
        call.told += new.len();
        for violation in new {
            let mut found = self.found(which, at, tick, violation.rule.name(), violation.detail, last.clone());
            found.line = violation.line;
            self.tell(found);
        }
    }

    fn check_bounds(&mut self, which: Which, at: Micros, view: Option<&View>, load: Load) {
        let remembered = match self.call(which) {
            // It is a sum over tables, and they grow slowly.
            Some(call) if call.tick % REMEMBERED_EVERY_TICKS == 0 => call.checker.remembered(),
            _ => 0,
        };
        let (invocations, holders) = view.map_or((0, 0), |view| (view.invocations, view.holders.len()));
        let peaks = &mut self.report.peaks;
        peaks.scheduled_inputs = peaks.scheduled_inputs.max(load.scheduled);
        peaks.invocations = peaks.invocations.max(invocations);
        peaks.holders = peaks.holders.max(holders);
        peaks.remembered = peaks.remembered.max(remembered);
        let bounds = [
            ("inputs are on their way", load.scheduled, MAX_SCHEDULED),
            ("invocations are in the core's table", invocations, MAX_SESSION_INVOCATIONS),
            ("holders of a turn", holders, MAX_HOLDERS),
            ("things are remembered by the checker", remembered, MAX_REMEMBERED),
            ("frames wait for the transport", load.bridged, load.max_bridged),
        ];
        for (what, is, bound) in bounds.into_iter().filter(|(_, is, bound)| is > bound) {
            self.breach(which, at, Invariant::BoundedMemory, format!("{is} {what}, and {bound} is the bound"));
        }
    }
}

impl Watch for Judge {
    fn on_begin(&mut self, which: Which, plan: &Arc<Plan>) {
        let place = which.session as usize;
        if self.calls.len() <= place {
            self.calls.resize_with(place + 1, || None);
        }
        self.report.calls += 1;
        if let Some(recordings) = &mut self.recordings {
            recordings.begin(which, plan);
        }
        self.calls[place] = Some(Call::new(plan));
    }

    fn on_tick(&mut self, which: Which, records: &[Record], view: Option<&View>, load: Load) {
        let Some(last) = records.last() else { return };
        self.latest = last.at;
        if let Some(recordings) = &mut self.recordings {
            recordings.take(which, records);
        }
        self.report.invariants_checked += 1;
        self.render(which, records, view);
        if self.write_trace(which).is_err() {
            // Whoever read it has gone, or the disk is full; the judgement goes on.
            self.trace = None;
        }
        if let Some(call) = self.call(which) {
            call.tick = last.tick;
        }
        self.judge(which);
        self.check_bounds(which, last.at, view, load);
    }

    fn on_stuck(&mut self, which: Which, at: Micros, what: &str) {
        self.breach(which, at, Invariant::Progress, what.to_owned());
    }

    fn on_crowd(&mut self) {
        self.report.crowded_ticks += 1;
    }

    fn on_takeover(&mut self, _which: Which, records: usize) {
        self.report.migrations.records_restored += records as u64;
    }

    fn on_lost(&mut self, which: Which, at: Micros, what: String) {
        self.breach(which, at, Invariant::OneWriter, what);
    }

    fn on_end(&mut self, which: Which, lasted: Micros, ended: Ended) {
        let Ended { fenced_frames, stale_writes, repeated_samples } = ended;
        self.report.call_ms += lasted.as_ms();
        self.report.fenced_outputs += fenced_frames;
        self.report.migrations.stale_writes_refused += stale_writes;
        self.report.gates.samples_heard_twice += repeated_samples;
        if repeated_samples > 0 {
            let detail = format!("{repeated_samples} samples were heard twice");
            self.breach(which, self.latest, Invariant::HeardOnce, detail);
        }
        if let Some(recordings) = &mut self.recordings {
            recordings.end(which);
        }
        self.calls[which.session as usize] = None;
    }
}

/// The numbers that a call of this plan is judged by.
pub(crate) fn limits_of(plan: &Plan) -> Limits {
    let lookahead = plan.nodes().iter().find_map(|node| match &node.kind {
        NodeKind::Playout(params) => Some(params.lookahead),
        _ => None,
    });
    let contract = Limits::CONTRACT;
    let playout_lookahead = lookahead.unwrap_or(contract.playout_lookahead);
    Limits { playout_lookahead, voices_are_heard: voices_are_heard(plan), ..contract }
}

/// Whether all that voices give goes to playout, and nowhere else.
fn voices_are_heard(plan: &Plan) -> bool {
    let speaks = |edge: &&PlanEdge| matches!(plan.node(edge.from).kind, NodeKind::Tts { .. });
    plan.edges()
        .iter()
        .filter(speaks)
        .all(|edge| edge.when.is_none() && matches!(plan.node(edge.to).kind, NodeKind::Playout(_)))
}

impl Call {
    fn new(plan: &Plan) -> Self {
        let limits = limits_of(plan);
        Self {
            renderer: Renderer::new(plan),
            checker: Checker::new(limits),
            told: 0,
            recent: VecDeque::with_capacity(MAX_LAST_TICKS),
            tick: 0,
            fenced: 0,
            deauthorized: false,
        }
    }

    /// Counted here once more, so that the numbers in the report do not rest on the checker's rules.
    fn count_gates(&mut self, lines: &[Line], report: &mut Report) {
        let turn = |line: &Line| line.field("turn").and_then(|turn| turn.turn()).map_or(0, |turn| turn.0);
        let mut accepted = 0;
        for line in lines {
            match (line.section, line.name.as_ref()) {
                (Section::Signal, "cancel_accepted") => accepted = turn(line),
                (Section::Signal, "fence_applied") => {
                    self.fenced = self.fenced.max(turn(line));
                    report.gates.fenced_in_the_same_tick += u64::from(accepted == turn(line));
                }
                (Section::Signal, "deauthorized_drain") => self.deauthorized = true,
                (Section::Effect, "transmit") => {
                    report.gates.outputs_after_the_fence += u64::from(turn(line) <= self.fenced);
                    report.gates.stale_outputs += u64::from(self.deauthorized);
                }
                _ => {}
            }
        }
    }

    /// Keeps the lines of a tick; gives back those of one that is too long ago.
    fn remember(&mut self, mut lines: Vec<Line>) -> Vec<Line> {
        if lines.iter().all(is_audio) {
            return lines;
        }
        lines.truncate(MAX_LINES_OF_A_TICK);
        let oldest = if self.recent.len() == MAX_LAST_TICKS { self.recent.pop_front() } else { None };
        self.recent.push_back(lines);
        oldest.unwrap_or_default()
    }

    fn last_events(&self) -> Vec<String> {
        self.recent.iter().flatten().filter(|line| !is_audio(line)).map(ToString::to_string).collect()
    }
}

/// What the caller says, on its way in and on its way to the recogniser.
fn is_audio(line: &Line) -> bool {
    matches!(line.name.as_ref(), "audio" | "feed")
}
