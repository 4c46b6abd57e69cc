//! Delivery inside a (tick, lane) may come in any order and by paths of any length: the output is the same.
//!
//! The rows of each sub-tick are shuffled before they enter the graph, their `runtime_sequence` kept; and every edge is
//! made longer by a random number of hops, so that at every fan-in another path is the first to arrive.

use std::path::Path;

use proptest::prelude::*;
use rspp::Registry;
use rspp::specs::dataflow::{AskQueue, Row};
use rspp::specs::event::Event;
use rspp::specs::plan::{Plan, PlanEdge};
use rspp::trace::trace_in;
use rspp_engine::{Built, Core, Lower};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::{Scope, StreamVec};

/// Lowers like the product, with disorder put in.
struct Disorder {
    seed: u64,
}

/// A small generator: what matters is that every seed gives another order.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

impl Lower for Disorder {
    fn lower<'s>(
        &self,
        plan: &Plan,
        scope: Scope<'s, u64>,
        rows: StreamVec<'s, u64, Row>,
        asks: &AskQueue,
    ) -> Built<'s> {
        let rows = shuffled(rows, self.seed);
        let lengthen = |edge: &PlanEdge, stream| {
            let mut state =
                self.seed ^ (u64::from(edge.from.0) << 32 | u64::from(edge.to.0) << 8 | u64::from(edge.to_port.0));
            lengthened(stream, next(&mut state) % 5)
        };
        let lowered = rspp_compiler::lower_tapped(plan, &Registry::new(), scope, rows, asks, lengthen);
        let kept = lowered.kept;
        Built { leaves: lowered.leaves, culprits: Box::new(move || kept.list()) }
    }
}

fn shuffled(rows: StreamVec<'_, u64, Row>, mut state: u64) -> StreamVec<'_, u64, Row> {
    rows.unary(Pipeline, "shuffle", |_, _| {
        move |input, output| {
            input.for_each(|capability, rows| {
                for last in (1..rows.len()).rev() {
                    rows.swap(last, next(&mut state) as usize % (last + 1));
                }
                let mut session = output.session(&capability);
                // One row a message: nothing may depend on how rows are batched either.
                for row in rows.drain(..) {
                    session.give(row);
                    session.flush();
                }
            });
        }
    })
}

/// Each hop keeps what it got until no more can come, so it delivers a step of the worker later.
fn lengthened(stream: StreamVec<'_, u64, Event>, hops: u64) -> StreamVec<'_, u64, Event> {
    (0..hops).fold(stream, |stream, _| {
        stream.unary_frontier(Pipeline, "hop", |_, _| {
            let mut kept = Vec::new();
            move |(input, frontier), output| {
                input.for_each(|capability, rows| kept.push((capability.retain(0), std::mem::take(rows))));
                for (capability, mut rows) in kept.extract_if(.., |(time, _)| !frontier.less_equal(time.time())) {
                    output.session(&capability).give_container(&mut rows);
                }
            }
        })
    })
}

fn check(name: &str, seed: u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut core = Core::new(Box::new(Disorder { seed }));
    let traced = trace_in(&mut core, &path.with_extension("yaml"), &Registry::new()).expect("the scenario runs");
    let golden = std::fs::read_to_string(path.with_extension("trace")).expect("there is a golden trace");
    for (line, golden) in traced.lines.iter().zip(golden.lines()) {
        assert_eq!(line.to_string(), golden, "{name}, seed {seed}");
    }
    assert_eq!(traced.lines.len(), golden.lines().count(), "{name}, seed {seed}");
}

/// Without the frontier wait of the fan-ins this fails for every scenario whose paths meet.
#[test]
fn golden_traces_hold_by_ways_of_any_length() {
    for name in ["plain-call", "interruption", "tool-committed", "branches", "fan-ins", "merge-by-port"] {
        check(name, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_delivery_changes_nothing(seed: u64) {
        for name in ["plain-call", "interruption", "false-interruption", "tool-committed", "branches", "fan-ins", "merge-by-port"] {
            check(name, seed);
        }
    }
}
