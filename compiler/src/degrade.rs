//! Budgets of a turn's parts, and the steps by which it gets by with less: whether they name what is there, and what they
//! are in a plan.

use std::collections::BTreeMap;

use petgraph::algo::has_path_connecting;
use petgraph::graph::NodeIndex as GraphIndex;
use petgraph::visit::EdgeRef;
use rspp_specs::budget::{BudgetOutcome, DegradeStep, TurnPath};
use rspp_specs::ids::{EdgeIndex, NodeIndex};
use rspp_specs::limits::{MAX_DEGRADE_STEPS, MAX_TURN_PATHS};
use rspp_specs::plan::{Budget, NodeKind, PlanEdge, PlanNode, TurnPolicy};
use rspp_specs::time::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::{Collector, Place, meant};
use crate::graph::{Graph, Vertex, in_turn};
use crate::policy::{BudgetDocument, TurnDocument};

/// A path with a budget.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathDocument {
    /// The node at whose first item it begins: `user_turn`, or one behind it.
    from: String,
    /// The node with whose first answer it ends; of `playout`, with the first audio that passes egress.
    to: String,
    /// Milliseconds.
    #[schemars(range(max = 600_000))]
    ms: u64,
    /// What follows when it is spent; `continue` unless given.
    #[serde(default)]
    then: BudgetOutcome,
}

/// A step by which a turn gets by with less; exactly one of its fields.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StepDocument {
    /// Calls of this node go to the next of its `fallback` providers.
    provider: Option<String>,
    /// What this node would be given goes on as it is.
    skip: Option<String>,
    /// Of the answer only so many more sentences are said.
    shorten: Option<ShortenDocument>,
}

/// A shorter answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShortenDocument {
    /// The segmenter that cuts the answer.
    node: String,
    /// So many more sentences.
    #[schemars(range(max = 1_000))]
    sentences: u32,
}

/// Which nodes and edges have which place.
pub(crate) struct Places<'p> {
    pub(crate) nodes: &'p [PlanNode],
    pub(crate) edges: &'p [PlanEdge],
}

impl Places<'_> {
    fn node(&self, name: &str) -> Option<NodeIndex> {
        self.nodes.iter().zip(0u16..).find(|(node, _)| node.name == name).map(|(_, place)| NodeIndex(place))
    }

    fn edge(&self, arrow: &str) -> Option<EdgeIndex> {
        let fits = |edge: &PlanEdge| {
            let (from, to) = (&self.nodes[usize::from(edge.from.0)], &self.nodes[usize::from(edge.to.0)]);
            let (output, input) =
                (&from.outputs[usize::from(edge.from_port.0)], &to.inputs[usize::from(edge.to_port.0)]);
            is_arrow_of(arrow, (&from.name, &output.name), (&to.name, &input.name))
        };
        self.edges.iter().zip(0u16..).find(|(edge, _)| fits(edge)).map(|(_, place)| EdgeIndex(place))
    }
}

/// Whether `from -> to`, with or without ports, names this edge.
fn is_arrow_of(arrow: &str, from: (&str, &str), to: (&str, &str)) -> bool {
    let is = |text: &str, (node, port): (&str, &str)| match text.trim().split_once('.') {
        Some((name, of)) => name == node && of == port,
        None => text.trim() == node,
    };
    arrow.split_once("->").is_some_and(|(start, end)| is(start, from) && is(end, to))
}

/// What the plan has of the document's budgets and steps. What does not fit has been reported.
pub(crate) fn resolve(document: &TurnDocument, places: &Places<'_>, policy: &mut TurnPolicy) {
    let (budgets, steps) = (&document.budgets, &document.degrade);
    let nodes = budgets.nodes.iter().filter_map(|(name, budget)| Some((places.node(name)?, budget.budget())));
    policy.budgets.nodes = nodes.collect();
    let paths = budgets.paths.iter().filter_map(|(name, of)| {
        let path = TurnPath { name: name.as_str().into(), from: places.node(&of.from)?, to: places.node(&of.to)? };
        Some((path, Budget { limit: Micros::from_ms(of.ms), then: of.then }))
    });
    policy.budgets.paths = paths.collect();
    let edges = budgets.edges.iter().filter_map(|(arrow, budget)| Some((places.edge(arrow)?, budget.budget())));
    policy.budgets.edges = edges.collect();
    let steps = steps.iter().filter_map(|step| {
        let StepDocument { provider, skip, shorten } = step;
        let provider = provider.as_ref().and_then(|name| places.node(name)).map(DegradeStep::Provider);
        let skip = skip.as_ref().and_then(|name| places.node(name)).map(DegradeStep::Skip);
        let shorten = shorten.as_ref().and_then(|ShortenDocument { node, sentences }| {
            Some(DegradeStep::Shorten { node: places.node(node)?, sentences: *sentences })
        });
        provider.or(skip).or(shorten)
    });
    policy.degrade = steps.collect();
}

/// Reports budgets and steps that name what is not there, or what they can't be of.
pub(crate) fn check(findings: &mut Collector<'_>, graph: &Graph, document: &TurnDocument) {
    let mut parts = Parts { findings, graph, in_turn: in_turn(graph), has_steps: !document.degrade.is_empty() };
    let budgets = &document.budgets;
    for (name, budget) in [
        ("first_speakable", &budgets.first_speakable),
        ("first_audio", &budgets.first_audio),
        ("whole", &budgets.whole),
    ] {
        if let Some(budget) = budget {
            parts.outcome(&format!("turn.budgets.{name}"), budget.then, false);
        }
    }
    if let Some(budget) = &budgets.node {
        parts.outcome("turn.budgets.node", budget.then, true);
    }
    budgets.nodes.iter().for_each(|(name, budget)| parts.node(name, budget));
    budgets.paths.iter().for_each(|(name, path)| parts.path(name, path));
    budgets.edges.iter().for_each(|(arrow, budget)| parts.edge(arrow, budget));
    (0..).zip(&document.degrade).for_each(|(place, step)| parts.step(place, step));
    if budgets.paths.len() > MAX_TURN_PATHS || document.degrade.len() > MAX_DEGRADE_STEPS {
        let message = format!("{} paths and {} steps are too many", budgets.paths.len(), document.degrade.len());
        parts.report("turn", message, &format!("at most {MAX_TURN_PATHS} paths and {MAX_DEGRADE_STEPS} steps"));
    }
}

struct Parts<'p, 'a> {
    findings: &'p mut Collector<'a>,
    graph: &'p Graph,
    in_turn: BTreeMap<GraphIndex, bool>,
    has_steps: bool,
}

impl Parts<'_, '_> {
    fn report(&mut self, path: &str, message: String, hint: &str) {
        self.findings.report("RSPP0070", Place::default(), path.to_owned(), message, hint);
    }

    /// A node of this name; where there is none, that is reported.
    fn find(&mut self, path: &str, name: &str) -> Option<GraphIndex> {
        let found = self.graph.node_indices().find(|index| self.graph[*index].name == name);
        if found.is_none() {
            let names: Vec<&str> = self.graph.node_weights().map(|vertex| vertex.name.as_str()).collect();
            let hint = meant(name, names.into_iter(), "there are");
            self.report(path, format!("no node is named {name}"), &hint);
        }
        found
    }

    fn is_of_the_turn(&self, index: GraphIndex) -> bool {
        self.in_turn.get(&index) == Some(&true) && !matches!(self.graph[index].kind, NodeKind::UserTurn)
    }

    fn outcome(&mut self, path: &str, then: BudgetOutcome, of_a_node: bool) {
        if then == BudgetOutcome::Degrade && !self.has_steps {
            let message = "the budget wants the turn to get by with less, and no step says how".to_owned();
            self.report(path, message, "add `degrade: [{provider: NODE}]` to `turn`, or another step");
        }
        if then == BudgetOutcome::Fallback && !of_a_node {
            let message = "only a call can go to another provider, and this is no node's budget".to_owned();
            self.report(path, message, "write `then: degrade`, or put it in `budgets.nodes`");
        }
    }

    fn node(&mut self, name: &str, budget: &BudgetDocument) {
        let path = format!("turn.budgets.nodes.{name}");
        self.outcome(&path, budget.then, true);
        let Some(index) = self.find(&path, name) else { return };
        if !self.is_of_the_turn(index) {
            self.report(&path, format!("{name} does not work for a turn"), "take one behind `user_turn`");
        } else if budget.then == BudgetOutcome::Fallback && self.graph[index].provider.fallback.is_empty() {
            self.report(&path, format!("{name} has no other provider"), "give it `provider: {fallback: [...]}`");
        }
    }

    fn path(&mut self, name: &str, of: &PathDocument) {
        let path = format!("turn.budgets.paths.{name}");
        self.outcome(&path, of.then, false);
        let (Some(from), Some(to)) = (self.find(&path, &of.from), self.find(&path, &of.to)) else { return };
        let begins = self.is_of_the_turn(from) || matches!(self.graph[from].kind, NodeKind::UserTurn);
        let ends = self.is_of_the_turn(to) || matches!(self.graph[to].kind, NodeKind::Playout(_));
        if !begins || !ends || !has_path_connecting(self.graph, from, to, None) {
            let message = format!("no way of a turn leads from {} to {}", of.from, of.to);
            self.report(&path, message, "take nodes behind `user_turn`, in the order of the edges");
        }
    }

    fn edge(&mut self, arrow: &str, budget: &BudgetDocument) {
        let path = format!("turn.budgets.edges.{arrow}");
        self.outcome(&path, budget.then, false);
        let graph = self.graph;
        let found = graph.edge_references().find(|edge| {
            let (from, to): (&Vertex, &Vertex) = (&graph[edge.source()], &graph[edge.target()]);
            let (output, input) = edge.weight().ports(from, to);
            is_arrow_of(arrow, (&from.name, output), (&to.name, input))
        });
        match found {
            None => self.report(&path, format!("no edge is {arrow}"), "write it as in `edges`"),
            Some(edge) if edge.weight().buffer.is_none() => {
                self.report(&path, format!("nothing can wait on {arrow}"), "only an edge with a buffer has a budget");
            }
            Some(_) => {}
        }
    }

    fn step(&mut self, place: usize, step: &StepDocument) {
        let path = format!("turn.degrade[{place}]");
        match step {
            StepDocument { provider: Some(name), skip: None, shorten: None } => self.provider_step(&path, name),
            StepDocument { provider: None, skip: Some(name), shorten: None } => self.skip_step(&path, name),
            StepDocument { provider: None, skip: None, shorten: Some(ShortenDocument { node, .. }) } => {
                let Some(index) = self.find(&path, node) else { return };
                if !matches!(self.graph[index].kind, NodeKind::Segmenter(_)) || !self.is_of_the_turn(index) {
                    let message = format!("{node} does not cut an answer into sentences");
                    self.report(&path, message, "name a node of type segmenter");
                }
            }
            _ => {
                let message = "a step is exactly one of provider, skip, shorten".to_owned();
                self.report(&path, message, "write `{provider: NODE}`, `{skip: NODE}` or `{shorten: {...}}`");
            }
        }
    }

    fn provider_step(&mut self, path: &str, name: &str) {
        let Some(index) = self.find(path, name) else { return };
        if self.graph[index].provider.fallback.is_empty() || !self.is_of_the_turn(index) {
            let message = format!("{name} has no other provider in a turn");
            self.report(path, message, "give it `provider: {fallback: [...]}`");
        }
    }

    fn skip_step(&mut self, path: &str, name: &str) {
        let Some(index) = self.find(path, name) else { return };
        let vertex = &self.graph[index];
        if !vertex.passes_on() || !self.is_of_the_turn(index) {
            let message = format!("what {name} is given can't go on as it is");
            self.report(
                path,
                message,
                "only a node of a turn with one input and one output of the same type is skipped",
            );
        }
    }
}
