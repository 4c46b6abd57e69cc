//! Whether budgets can hold: against each other, and against what a turn's providers may take together.

use std::collections::BTreeMap;

use petgraph::Direction;
use petgraph::graph::NodeIndex as GraphIndex;
use rspp_specs::budget::BudgetOutcome;
use rspp_specs::plan::{Budget, NodeKind, TurnPolicy};
use rspp_specs::time::Micros;

use crate::finding::{Collector, Place};
use crate::graph::Graph;

/// Reports budgets that can't hold, and fallbacks that are none.
pub(crate) fn check(findings: &mut Collector<'_>, graph: &Graph, turn: &TurnPolicy) {
    let budgets = &turn.budgets;
    // What is only said when it is spent contradicts nothing.
    let mut against = |shorter: &str, limit: Micros, longer: &str, bound: Budget| {
        if bound.then == BudgetOutcome::Terminate && limit > bound.limit {
            let message = format!("{shorter} is {limit} ms, and {longer} ends the turn after {} ms", bound.limit);
            let hint = format!("{shorter} comes before {longer}: give it less");
            findings.report("RSPP0056", Place::default(), format!("turn.budgets.{shorter}"), message, hint);
        }
    };
    if let Some(speakable) = budgets.first_speakable {
        against("first_speakable", speakable.limit, "first_audio", budgets.first_audio);
    }
    against("first_audio", budgets.first_audio.limit, "whole", budgets.whole);
    let (longest, path) = slowest_path(graph);
    if longest > budgets.first_audio.limit {
        let message = format!(
            "{} may take {longest} ms to begin, and first_audio is {} ms",
            path.join(" and "),
            budgets.first_audio.limit
        );
        let hint = "give the providers less (`provider: {first_result_ms: ...}`) or first_audio more";
        let place = graph.node_weights().find(|vertex| Some(&vertex.name) == path.first()).map(|vertex| vertex.place);
        findings.warn("RSPP0057", place.unwrap_or_default(), "turn.budgets.first_audio", message, hint);
    }
    for vertex in graph.node_weights() {
        let (first, mut seen) = (vertex.kind.binding(), Vec::new());
        for (index, fallback) in vertex.provider.fallback.iter().enumerate() {
            if Some(fallback.as_str()) == first || seen.contains(&fallback) {
                let path = format!("nodes.{}.provider.fallback[{index}]", vertex.name);
                let message = format!("this fallback of {} is tried already", vertex.name);
                findings.warn("RSPP0058", vertex.place, path, message, "name another provider, or leave it out");
            }
            seen.push(fallback);
        }
    }
}

/// The path from a turn's opening to its playout whose providers may take the longest to begin, each once, and those
/// providers' nodes.
pub(crate) fn slowest_path(graph: &Graph) -> (Micros, Vec<String>) {
    let Ok(order) = petgraph::algo::toposort(graph, None) else { return (Micros::default(), Vec::new()) };
    let mut reached: BTreeMap<GraphIndex, (Micros, Vec<String>)> = BTreeMap::new();
    let mut slowest = (Micros::default(), Vec::new());
    for index in order {
        let vertex = &graph[index];
        let before = graph.neighbors_directed(index, Direction::Incoming).filter_map(|before| reached.get(&before));
        let Some((mut time, mut path)) = before
            .max_by_key(|(time, _)| *time)
            .cloned()
            .or_else(|| matches!(vertex.kind, NodeKind::UserTurn).then(|| (Micros::default(), Vec::new())))
        else {
            continue;
        };
        if vertex.kind.binding().is_some() {
            time = Micros::from_ms(time.as_ms() + vertex.provider.first_result.as_ms());
            path.push(vertex.name.clone());
        }
        if matches!(vertex.kind, NodeKind::Playout(_)) && time > slowest.0 {
            slowest = (time, path.clone());
        }
        reached.insert(index, (time, path));
    }
    slowest
}
