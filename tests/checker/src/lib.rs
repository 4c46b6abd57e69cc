//! A judge of traces: what the runtime's contract promises, checked line by line, by code that has never seen the
//! engine.
//!
//! ```
//! let trace = rspp_specs::trace::parse("0 1 in C session_open seq=1 session=a plan=b\n0 1 signal C close turn=t1")?;
//! let found = rspp_checker::check(&trace);
//! assert_eq!(found[0].rule.name(), "terminal-once");
//! assert_eq!(found[0].line, 2);
//! # Ok::<(), rspp_specs::trace::LineError>(())
//! ```
//!
//! A trace is cut into ticks. Each rule is a small function: over a line, which sees what all the lines before it
//! said (`facts`), or over a tick, once all its lines are known. A rule does not rely on where in a tick the
//! `in` lines stand: they may all come first, or each before what it caused.

mod authority;
mod budgets;
mod cancellation;
mod clocks;
mod edges;
mod facts;
mod hosting;
mod invocations;
mod ledger;
mod lifecycle;
mod migration;
mod ordering;
mod playout;
mod recovery;
mod shape;
mod states;
mod tools;
mod view;
mod violation;

use rspp_specs::time::Micros;
use rspp_specs::trace::{Line, Section};

use crate::facts::Facts;
use crate::view::{Row, Tick};
use crate::violation::Findings;

pub use crate::violation::{Rule, Violation};

/// The numbers that a trace is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transmitted audio may run ahead of the pacer's playhead by so much.
    pub playout_lookahead: Micros,
    /// Whoever heard more than this of an answer that was cut has heard at least one word of it.
    pub wordless: Micros,
    /// All that voices give goes to playout, and nowhere else.
    pub voices_are_heard: bool,
}

impl Limits {
    /// What the golden traces are written for.
    pub const CONTRACT: Limits =
        Limits { playout_lookahead: Micros::from_ms(40), wordless: Micros::from_ms(1_000), voices_are_heard: true };
}

impl Default for Limits {
    fn default() -> Self {
        Self::CONTRACT
    }
}

/// Everything in which this trace of one session breaks the contract, by line; empty if nothing does.
pub fn check(trace: &[Line]) -> Vec<Violation> {
    check_within(trace, &Limits::CONTRACT)
}

/// As [`check`], by other numbers.
pub fn check_within(trace: &[Line], limits: &Limits) -> Vec<Violation> {
    let mut checker = Checker::new(*limits);
    trace.chunk_by(|a, b| a.tick == b.tick).for_each(|tick| checker.push_tick(tick));
    checker.finish()
}

/// Judges a trace while it is made, tick by tick. What is long over is forgotten, so it may be of any length.
#[derive(Debug, Default)]
pub struct Checker {
    limits: Limits,
    facts: Facts,
    findings: Findings,
    lines: usize,
}

impl Checker {
    /// For the trace of one session, from its beginning.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Judges the next tick: all of its lines.
    pub fn push_tick(&mut self, lines: &[Line]) {
        if lines.is_empty() {
            return;
        }
        let Self { limits, facts, findings, .. } = self;
        let tick = Tick { lines, first: self.lines + 1 };
        facts.begin_tick();
        for row in tick.rows() {
            let scene = Scene { limits, facts, tick };
            line_rules(row.line.section).iter().for_each(|rule| rule(&scene, row, findings));
            facts.note(row);
        }
        let scene = Scene { limits, facts, tick };
        let told = tick.rows().any(|row| row.signal().is_some());
        let invokes = told || tick.rows().any(|row| row.input() == Some("provider") || row.effect() == Some("invoke"));
        let of_what_is_said = TOLD_TICK_RULES.iter().filter(|_| told);
        let of_invocations = INVOCATION_TICK_RULES.iter().filter(|_| invokes);
        TICK_RULES.iter().chain(of_what_is_said).chain(of_invocations).for_each(|rule| rule(&scene, findings));
        facts.end_tick(tick);
        self.lines += lines.len();
    }

    /// What was found so far, in the order in which it was found.
    pub fn violations(&self) -> &[Violation] {
        self.findings.so_far()
    }

    /// How many lines were judged.
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// How many turns, writes and invocations are remembered: bounded, however long the trace is.
    pub fn remembered(&self) -> usize {
        self.facts.remembered()
    }

    /// Everything that was found, by line.
    pub fn finish(self) -> Vec<Violation> {
        self.findings.sorted()
    }
}

/// What a rule looks at.
struct Scene<'a> {
    limits: &'a Limits,
    /// What the lines before this one said; for a rule over a tick, all of its lines too.
    facts: &'a Facts,
    /// All lines of the tick, later ones too.
    tick: Tick<'a>,
}

type LineRule = fn(&Scene<'_>, Row<'_>, &mut Findings);
type TickRule = fn(&Scene<'_>, &mut Findings);

/// The rules over a line of this section. Most lines are inputs and effects, and most rules are about signals.
fn line_rules(section: Section) -> &'static [LineRule] {
    match section {
        Section::In => &INPUT_RULES,
        Section::Signal => &SIGNAL_RULES,
        Section::Effect => &EFFECT_RULES,
        Section::State => &STATE_RULES,
    }
}

const INPUT_RULES: [LineRule; 8] = [
    shape::fields_of_inputs_and_effects,
    ordering::sequence_steps_by_one,
    ordering::time_never_goes_back,
    invocations::known,
    authority::epochs_move_on,
    migration::told_in_order,
    migration::refused_dispatch_is_shed,
    migration::waits_because_it_was_deferred,
];

const SIGNAL_RULES: [LineRule; 42] = [
    shape::signal_is_in_the_table,
    ordering::time_never_goes_back,
    invocations::known,
    lifecycle::turns_open_in_order,
    lifecycle::one_turn_at_a_time,
    lifecycle::admitted,
    lifecycle::admission_is_answered,
    lifecycle::proposed,
    lifecycle::generations_move_on,
    lifecycle::inside_a_turn,
    lifecycle::one_terminal,
    lifecycle::close_follows,
    lifecycle::reason_of_abort,
    lifecycle::commit_when_nothing_is_left,
    lifecycle::nothing_after_the_session,
    cancellation::caused,
    cancellation::reaches_every_invocation,
    cancellation::softly,
    cancellation::no_output_afterwards,
    playout::hold_and_resume,
    playout::resumes_where_the_caller_stopped_hearing,
    playout::transport_is_cleared,
    ledger::playback,
    tools::decisions,
    authority::epochs_move_on,
    authority::opens_only_where_there_is_room,
    authority::silent_while_suspended,
    recovery::follows_a_failure,
    budgets::steps_are_taken_in_order,
    budgets::what_is_said_is_done,
    budgets::what_is_skipped_is_silent,
    clocks::rebased,
    hosting::overruns,
    edges::watermarks_alternate,
    edges::stop_before_go,
    edges::lineage,
    edges::notices,
    edges::nothing_is_lost_in_silence,
    migration::told_in_order,
    migration::takes_stock,
    migration::refused_dispatch_is_shed,
    migration::waits_because_it_was_deferred,
];

const EFFECT_RULES: [LineRule; 19] = [
    shape::fields_of_inputs_and_effects,
    ordering::time_never_goes_back,
    ordering::invocations_step_by_one,
    invocations::known,
    invocations::live,
    lifecycle::inside_a_turn,
    lifecycle::nothing_after_the_session,
    cancellation::spares_what_is_not_the_turns,
    cancellation::softly,
    cancellation::by_force,
    cancellation::no_output_afterwards,
    playout::silent_while_held,
    playout::resumes_where_the_caller_stopped_hearing,
    playout::samples_in_order,
    playout::epochs,
    playout::lookahead,
    playout::transport_is_cleared,
    authority::silent_while_suspended,
    edges::pauses_pair,
];

const STATE_RULES: [LineRule; 1] = [ordering::time_never_goes_back];

const TICK_RULES: [TickRule; 5] = [
    ordering::inputs_by_lane,
    lifecycle::strongest_end_wins,
    states::state_fits,
    states::held_list_fits,
    playout::accepted_with_its_first_frame,
];

/// For ticks in which something is said.
const TOLD_TICK_RULES: [TickRule; 4] =
    [lifecycle::closed_in_the_tick_of_its_terminal, cancellation::complete, cancellation::in_order, ledger::settled];

/// For ticks in which invocations begin or answer, or something is said of them.
const INVOCATION_TICK_RULES: [TickRule; 3] =
    [invocations::nothing_after_the_end, invocations::late_results_are_marked, tools::invocations_of_writes];
