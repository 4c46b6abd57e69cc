//! What is counted, as Prometheus reads it, and as the console page does.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use rspp_specs::outcome::Outcome;
use rspp_specs::plan::PlanNode;
use serde_json::{Value, json};

use super::histogram::Histogram;
use super::{EdgeMeter, NodeMeter, PlanMeters};

/// One kind of number, of all plans: its lines stand together, as the format asks.
struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    fn begin(page: &'a mut String, name: &'static str, kind: &str, says: &str) -> Self {
        let _ = writeln!(page, "# HELP rspp_{name} {says}\n# TYPE rspp_{name} {kind}");
        Self { page, name }
    }

    fn line(&mut self, labels: &str, value: u64) {
        let _ = writeln!(self.page, "rspp_{}{{{labels}}} {value}", self.name);
    }

    fn histogram(&mut self, labels: &str, histogram: &Histogram) {
        let mut all = 0;
        for (bound, count) in histogram.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |ms| (ms as f64 / 1_000.0).to_string());
            let _ = writeln!(self.page, "rspp_{}_bucket{{{labels},le=\"{bound}\"}} {count}", self.name);
            all = count;
        }
        let seconds = histogram.sum().0 as f64 / 1e6;
        let _ = writeln!(self.page, "rspp_{0}_sum{{{labels}}} {seconds}\nrspp_{0}_count{{{labels}}} {all}", self.name);
    }
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The labels of a plan.
fn plan_labels(meters: &PlanMeters) -> String {
    format!("pipeline=\"{}\",version=\"{}\"", escaped(meters.plan.name()), meters.plan.version())
}

type NodeCounter = fn(&NodeMeter) -> &AtomicU64;
type EdgeCounter = fn(&EdgeMeter) -> &AtomicU64;
type TurnCounter = fn(&PlanMeters) -> &AtomicU64;

const NODES: [(&str, &str, &str, NodeCounter); 9] = [
    ("node_given_total", "counter", "What went to a node's provider: requests and frames.", |node| &node.given),
    ("node_gave_total", "counter", "What a node let out that is seen: results, frames.", |node| &node.gave),
    ("node_invocations_total", "counter", "Times that a node asked its provider.", |node| &node.invocations),
    ("node_invocations_running", "gauge", "Invocations of a node that run.", |node| &node.running),
    ("node_cancelled_total", "counter", "Invocations of a node that were cancelled.", |node| &node.cancelled),
    ("node_failures_total", "counter", "Times that a node failed.", |node| &node.failures),
    ("node_long_reactions_total", "counter", "Reactions of a node that computed for long.", |node| &node.overruns),
    ("node_budgets_spent_total", "counter", "Budgets of a node that were spent.", |node| &node.budgets_spent),
    ("node_provider_switches_total", "counter", "Times that a node went over to another provider.", |node| {
        &node.switches
    }),
];

const EDGES: [(&str, &str, &str, EdgeCounter); 5] = [
    ("edge_held_items", "gauge", "Items that waited where a watermark was passed last.", |edge| &edge.held),
    ("edge_filling_sessions", "gauge", "Sessions in which an edge is over its high watermark.", |edge| &edge.filling),
    ("edge_dropped_items_total", "counter", "Items that were dropped on an edge.", |edge| &edge.dropped),
    ("edge_merged_items_total", "counter", "Items of an edge that became one with others.", |edge| &edge.merged),
    ("edge_stopped_total", "counter", "Times that who fills an edge was told to stop.", |edge| &edge.stopped),
];

const TURNS: [(&str, &str, TurnCounter); 6] = [
    ("pipeline_turns_total", "Turns that opened.", |meters| &meters.turns.opened),
    ("turn_holds_total", "Times that an answer was held because the caller spoke.", |meters| &meters.turns.holds),
    ("turn_fences_total", "Times that a revocation had reached every operator.", |meters| &meters.turns.fences),
    ("late_results_total", "Results that came after their turn was cancelled.", |meters| &meters.turns.late_results),
    ("outputs_fenced_total", "Frames of cancelled turns that were stopped at egress.", |meters| {
        &meters.turns.frames_fenced
    }),
    ("stale_epoch_rejects_total", "What spoke for another lease, and was not heard.", |meters| {
        &meters.turns.stale_epochs
    }),
];

/// Everything, of all plans.
pub(super) fn page(plans: &[Arc<PlanMeters>]) -> String {
    let mut page = String::new();
    let plans: Vec<(String, &PlanMeters)> = plans.iter().map(|meters| (plan_labels(meters), &**meters)).collect();
    of_turns(&mut page, &plans);
    of_nodes(&mut page, &plans);
    for (name, kind, says, counter) in EDGES {
        let mut family = Family::begin(&mut page, name, kind, says);
        for (labels, meters) in &plans {
            for (edge, meter) in meters.plan.edges().iter().zip(&meters.edges).filter(|(edge, _)| edge.buffer.is_some())
            {
                let edge = escaped(&meters.plan.name_of(edge));
                family.line(&format!("{labels},edge=\"{edge}\""), of(counter(meter)));
            }
        }
    }
    page
}

fn of_turns(page: &mut String, plans: &[(String, &PlanMeters)]) {
    for (name, says, counter) in TURNS {
        let mut family = Family::begin(page, name, "counter", says);
        plans.iter().for_each(|(labels, meters)| family.line(labels, of(counter(meters))));
    }
    let mut family = Family::begin(page, "turn_ends_total", "counter", "Turns that ended, by their end.");
    for (labels, meters) in plans {
        for (end, number) in meters.turns.ends.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            family.line(&format!("{labels},end=\"{end}\""), *number);
        }
    }
    let mut family = Family::begin(page, "turn_cancels_total", "counter", "Turns that were cancelled, by the reason.");
    for (labels, meters) in plans {
        for (reason, number) in meters.turns.cancels.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            family.line(&format!("{labels},reason=\"{reason}\""), *number);
        }
    }
    let says = "Speech that was made and not handed to a transport yet, in milliseconds.";
    let mut family = Family::begin(page, "speech_queued_milliseconds", "gauge", says);
    plans.iter().for_each(|(labels, meters)| family.line(labels, of(&meters.queued_us) / 1_000));
    let says = "The gates that go by time, in the time of the sessions.";
    let mut family = Family::begin(page, "gate_seconds", "histogram", says);
    for (labels, meters) in plans {
        let gates = &meters.turns.gates;
        for (gate, histogram) in [
            ("turn_open", &gates.turn_open),
            ("first_output", &gates.first_output),
            ("cancel_fence", &gates.cancel_fence),
            ("end_to_end", &gates.end_to_end),
        ] {
            family.histogram(&format!("{labels},gate=\"{gate}\""), histogram);
        }
    }
}

fn of_nodes(page: &mut String, plans: &[(String, &PlanMeters)]) {
    for (name, kind, says, counter) in NODES {
        let mut family = Family::begin(page, name, kind, says);
        each_node(plans, |labels, _, meter| family.line(labels, of(counter(meter))));
    }
    let says = "Invocations that ended, by their outcome.";
    let mut family = Family::begin(page, "provider_outcomes_total", "counter", says);
    each_node(plans, |labels, node, meter| {
        for (outcome, counter) in Outcome::ALL.iter().zip(&meter.outcomes).filter(|_| node.kind.binding().is_some()) {
            family.line(&format!("{labels},outcome=\"{}\"", outcome.name()), of(counter));
        }
    });
    let says = "From an invocation to its first result.";
    let mut family = Family::begin(page, "provider_first_result_seconds", "histogram", says);
    each_node(plans, |labels, node, meter| {
        if node.kind.binding().is_some() {
            family.histogram(labels, &meter.first_result);
        }
    });
}

fn each_node(plans: &[(String, &PlanMeters)], mut each: impl FnMut(&str, &PlanNode, &NodeMeter)) {
    for (labels, meters) in plans {
        for (node, meter) in meters.plan.nodes().iter().zip(&meters.nodes) {
            let (name, kind) = (escaped(&node.name), escaped(node.kind.type_name()));
            each(&format!("{labels},node=\"{name}\",kind=\"{kind}\""), node, meter);
        }
    }
}

/// One plan's nodes and edges, for a graph. Counters only grow: who wants rates takes the difference of two.
pub(super) fn live(meters: &PlanMeters) -> Value {
    let node = |(node, meter): (&PlanNode, &NodeMeter)| {
        json!({
            "name": node.name,
            "kind": node.kind.type_name(),
            "given": of(&meter.given),
            "gave": of(&meter.gave),
            "invocations": of(&meter.invocations),
            "running": of(&meter.running),
            "cancelled": of(&meter.cancelled),
            "failures": of(&meter.failures),
            "asks": node.kind.binding().is_some(),
        })
    };
    let edge = |(edge, meter): (&rspp_specs::plan::PlanEdge, &EdgeMeter)| {
        let (from, to) = (&meters.plan.node(edge.from).name, &meters.plan.node(edge.to).name);
        let bound = edge.buffer.as_ref().map(|buffer| buffer.max_items);
        json!({
            "name": meters.plan.name_of(edge),
            "from": from,
            "to": to,
            "bound": bound,
            "held": of(&meter.held),
            "filling": of(&meter.filling),
            "dropped": of(&meter.dropped),
        })
    };
    json!({
        "nodes": meters.plan.nodes().iter().zip(&meters.nodes).map(node).collect::<Vec<_>>(),
        "edges": meters.plan.edges().iter().zip(&meters.edges).map(edge).collect::<Vec<_>>(),
        "queued_ms": of(&meters.queued_us) / 1_000,
        "turns": of(&meters.turns.opened),
    })
}
