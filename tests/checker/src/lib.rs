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
mod cancellation;
mod facts;
mod invocations;
mod ledger;
mod lifecycle;
mod ordering;
mod playout;
mod recovery;
mod shape;
mod states;
mod tools;
mod view;
mod violation;

use rspp_specs::time::Micros;
use rspp_specs::trace::Line;

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
}

impl Limits {
    /// What the golden traces are written for.
    pub const CONTRACT: Limits = Limits { playout_lookahead: Micros::from_ms(40), wordless: Micros::from_ms(1_000) };
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
    let rows: Vec<Row<'_>> = trace.iter().zip(1..).map(|(line, number)| Row { line, number }).collect();
    let mut facts = Facts::default();
    let mut findings = Findings::default();
    for rows in rows.chunk_by(|a, b| a.line.tick == b.line.tick) {
        let tick = Tick { rows };
        facts.begin_tick();
        for row in rows {
            let scene = Scene { limits, facts: &facts, tick };
            LINE_RULES.iter().for_each(|rule| rule(&scene, *row, &mut findings));
            facts.note(*row);
        }
        let scene = Scene { limits, facts: &facts, tick };
        TICK_RULES.iter().for_each(|rule| rule(&scene, &mut findings));
        facts.end_tick(tick);
    }
    findings.sorted()
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

const LINE_RULES: [LineRule; 37] = [
    shape::fields_of_inputs_and_effects,
    shape::signal_is_in_the_table,
    ordering::sequence_steps_by_one,
    ordering::time_never_goes_back,
    ordering::invocations_step_by_one,
    invocations::known,
    invocations::live,
    invocations::no_result_after_the_end,
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
    cancellation::spares_what_is_not_the_turns,
    cancellation::no_output_afterwards,
    playout::hold_and_resume,
    playout::silent_while_held,
    playout::resumes_where_the_caller_stopped_hearing,
    playout::samples_in_order,
    playout::epochs,
    playout::lookahead,
    playout::transport_is_cleared,
    ledger::playback,
    tools::decisions,
    authority::epochs_move_on,
    authority::opens_only_where_there_is_room,
    authority::silent_while_suspended,
    recovery::follows_a_failure,
];

const TICK_RULES: [TickRule; 11] = [
    ordering::inputs_by_lane,
    invocations::late_results_are_marked,
    lifecycle::closed_in_the_tick_of_its_terminal,
    lifecycle::strongest_end_wins,
    states::state_fits,
    states::held_list_fits,
    cancellation::complete,
    cancellation::in_order,
    playout::accepted_with_its_first_frame,
    ledger::settled,
    tools::invocations_of_writes,
];
