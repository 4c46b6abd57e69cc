//! The graph of a spec: built with petgraph, checked, ordered, and sealed as a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, EdgeReference, NodeIndex as GraphIndex};
use petgraph::visit::EdgeRef;
use rspp_specs::buffer::{BufferSpec, EdgeSync, SyncGroup};
use rspp_specs::event::PortType;
use rspp_specs::ids::{NodeIndex, PortIndex};
use rspp_specs::limits::{MAX_METADATA_BYTES, MAX_NODE_PORTS, MAX_PLAN_EDGES, MAX_PLAN_NODES};
use rspp_specs::plan::{
    AdmissionPolicy, Condition, Lifetime, NodeKind, Plan, PlanEdge, PlanNode, PlanParts, ProviderPolicy,
    RecordingPolicy, StateClass, TurnPolicy,
};
use rspp_specs::port::{Only, Port};

use crate::budgets;
use crate::buffer;
use crate::degrade;
use crate::document::{Document, SyncDocument};
use crate::fan_in::condition;
use crate::finding::{Collector, Place, meant};
use crate::layers::DEFAULT_PROFILE;
use crate::nodes::{self, NodeRow, TYPES};
use crate::policy::{AdmissionDocument, ProviderDocument, TurnDocument};
use crate::ports;
use crate::providers::NodeFindings;
use crate::recording;
use crate::registry::Registry;
use crate::shape::Shape;
use crate::template::{Draft, DraftEdge};
use crate::tree::Tree;
use crate::unasked;

pub(crate) type Graph = DiGraph<Vertex, Link>;

/// A node of the graph.
pub(crate) struct Vertex {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) kind: NodeKind,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
    /// What follows from what the node is: of its inputs, and of its outputs, where it says nothing itself.
    implied: [Option<Only>; 2],
    pub(crate) provider: ProviderPolicy,
}

impl Vertex {
    /// What an input takes, or an output gives.
    pub(crate) fn of_port<'v>(&'v self, port: &'v Port, is_output: bool) -> (PortType, Option<&'v Only>) {
        (port.port_type, port.only.as_ref().or(self.implied[usize::from(is_output)].as_ref()))
    }

    /// Whether what it is given can go on in its place.
    pub(crate) fn passes_on(&self) -> bool {
        match (self.inputs.as_slice(), self.outputs.as_slice()) {
            ([input], [output]) => input.port_type == output.port_type,
            _ => false,
        }
    }
}

/// An edge of the graph.
pub(crate) struct Link {
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) from_port: usize,
    pub(crate) to_port: usize,
    pub(crate) when: Option<Condition>,
    pub(crate) buffer: Option<BufferSpec>,
    sync: Option<EdgeSync>,
}

impl Link {
    /// The names of the ports that it joins.
    pub(crate) fn ports<'v>(&self, from: &'v Vertex, to: &'v Vertex) -> (&'v str, &'v str) {
        (&from.outputs[self.from_port].name, &to.inputs[self.to_port].name)
    }
}

/// Checks a draft and makes its plan; `None` if something is wrong.
pub(crate) fn plan(
    findings: &mut Collector<'_>,
    document: &Document,
    draft: &Draft,
    registry: &Registry,
) -> Option<Plan> {
    let turns = Turns::read(findings, draft);
    let (graph, by_name) = build(findings, draft, registry);
    ports::check(findings, &graph);
    check_size(findings, draft, &graph);
    check_cycles(findings, &graph);
    check_sync(findings, &graph, draft);
    check_ends(findings, &graph, draft, &by_name);
    check_state(findings, &graph, registry);
    budgets::check(findings, &graph, &turns.turn);
    if let Some(document) = &turns.document {
        unasked::check(findings, &graph, document, &turns.turn);
    }
    check_metadata(findings, document);
    if let Some(document) = turns.document.as_ref().filter(|_| by_name.len() == draft.nodes.len()) {
        degrade::check(findings, &graph, document);
    }
    if findings.has_errors() {
        return None;
    }
    Plan::new(seal(document, turns, &graph))
        .map_err(|error| {
            let hint = "this is a bug of the compiler; please report the spec";
            findings.report("RSPP0020", Place::default(), "name", error.to_string(), hint);
        })
        .ok()
}

fn check_size(findings: &mut Collector<'_>, draft: &Draft, graph: &Graph) {
    if draft.nodes.is_empty() && !draft.has_broken_edges && !findings.has_errors() {
        let hint = "name a `template`, or write `nodes` and `edges`";
        findings.report(
            "RSPP0006",
            Place { line: 1, column: 1, ..Place::default() },
            "name",
            "the pipeline has no nodes",
            hint,
        );
    }
    if draft.nodes.len() > MAX_PLAN_NODES || graph.edge_count() > MAX_PLAN_EDGES {
        let message = format!("{} nodes and {} edges are too many", draft.nodes.len(), graph.edge_count());
        let hint = format!("at most {MAX_PLAN_NODES} nodes and {MAX_PLAN_EDGES} edges");
        findings.report("RSPP0006", Place::default(), "nodes", message, hint);
    }
    for vertex in graph.node_weights().filter(|vertex| vertex.inputs.len() > MAX_NODE_PORTS) {
        let message = format!("{} edges end at {}", vertex.inputs.len(), vertex.name);
        let hint = format!("at most {MAX_NODE_PORTS}; let several nodes bring them together");
        findings.report_at("RSPP0006", vertex.place, format!("nodes.{}", vertex.name), message, hint);
    }
}

/// What is said for people and tools goes into every recording.
fn check_metadata(findings: &mut Collector<'_>, document: &Document) {
    let size = document.metadata.iter().map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>();
    if size > MAX_METADATA_BYTES {
        let message = format!("the metadata are {size} bytes of JSON");
        let hint = format!("at most {MAX_METADATA_BYTES}: they go into every recording; refer to what is longer");
        findings.report("RSPP0021", Place::default(), "metadata", message, hint);
    }
}

type ByName<'d> = BTreeMap<&'d str, GraphIndex>;

fn build<'d>(findings: &mut Collector<'_>, draft: &'d Draft, registry: &Registry) -> (Graph, ByName<'d>) {
    let mut graph = Graph::new();
    let mut by_name = ByName::new();
    let mut shapes = BTreeMap::new();
    let beginnings = draft.edges.iter().filter_map(|edge| edge.arrow.split("->").next()?.trim().split_once('.'));
    let beginnings: BTreeSet<(&str, &str)> = beginnings.collect();
    for (name, (place, node)) in &draft.nodes {
        let mut kinds = Kinds { findings, shapes: &mut shapes, registry, beginnings: &beginnings, name, place: *place };
        if let Some(vertex) = kinds.vertex_of(node) {
            by_name.insert(name.as_str(), graph.add_node(vertex));
        }
    }
    for edge in &draft.edges {
        if let Some((from, to)) = ends(findings, &mut graph, &by_name, draft, edge) {
            connect(findings, &mut graph, edge, from, to, registry);
        }
    }
    (graph, by_name)
}

/// Finds out what one node is.
struct Kinds<'k, 'a> {
    findings: &'k mut Collector<'a>,
    /// Of the types that were seen so far.
    shapes: &'k mut BTreeMap<&'static str, Shape>,
    registry: &'k Registry,
    /// The outputs that edges name.
    beginnings: &'k BTreeSet<(&'k str, &'k str)>,
    name: &'k str,
    place: Place,
}

impl Kinds<'_, '_> {
    /// A node's kind and ports; reports what is wrong with its fields.
    fn vertex_of(&mut self, node: &Tree) -> Option<Vertex> {
        let path = format!("nodes.{}", self.name);
        check_name(self.findings, self.name, self.place);
        let Some(type_name) = node.get("type").and_then(Tree::as_text) else {
            let names: Vec<&str> = TYPES.iter().map(|row| row.name).collect();
            let hint = format!("add `type: ...`; built in are {}", names.join(", "));
            let message = format!("the node {} has no type", self.name);
            self.findings.report_at("RSPP0047", self.place, format!("{path}.type"), message, hint);
            return None;
        };
        let fields = node.without("type");
        match nodes::row(type_name) {
            Some(row) => self.built_in(row, &path, &fields),
            None => self.custom(type_name, &path, node.get("type").map_or(self.place, |it| it.place), &fields),
        }
    }

    fn built_in(&mut self, row: &'static NodeRow, path: &str, fields: &Tree) -> Option<Vertex> {
        let shape = self
            .shapes
            .entry(row.name)
            .or_insert_with(|| (row.shape)().called(&format!("a node of type {}", row.name)));
        let before = self.findings.count();
        let value = shape.check(self.findings, path, fields)?;
        let document = match (row.read)(value) {
            Ok(document) => document,
            Err(error) => {
                self.findings.report_at("RSPP0044", self.place, path, error.to_string(), "");
                return None;
            }
        };
        let each_is_right = self.findings.count() == before;
        let (findings, place, node) = (&mut *self.findings, self.place, self.name);
        document.check(&mut NodeFindings { findings, place, each_is_right, node });
        let port = |(name, of): &(&str, PortType), is_output| Port::new(name, *of).with(document.says(name, is_output));
        let inputs = row.inputs.iter().map(|input| port(input, false)).collect();
        let more = row.more.iter().filter(|(port, _)| self.begins_at(port));
        let outputs = row.outputs.iter().chain(more).map(|output| port(output, true)).collect();
        let implied = [document.implies(false), document.implies(true)];
        let provider = document.provider().map(ProviderDocument::policy).unwrap_or_default();
        let (name, place) = (self.name.to_owned(), self.place);
        Some(Vertex { name, place, kind: document.kind(), inputs, outputs, implied, provider })
    }

    /// Whether an edge begins at this output.
    fn begins_at(&self, port: &str) -> bool {
        self.beginnings.contains(&(self.name, port))
    }

    fn custom(&mut self, type_name: &str, path: &str, place: Place, fields: &Tree) -> Option<Vertex> {
        let Some(node_type) = self.registry.get(type_name) else {
            let known: Vec<&str> = TYPES.iter().map(|row| row.name).chain(self.registry.names()).collect();
            let hint = meant(type_name, known.into_iter(), "the program has none of this name; there are");
            let message = format!("no node type is named {type_name}");
            self.findings.report_at("RSPP0007", place, format!("{path}.type"), message, hint);
            return None;
        };
        for field in fields.fields().iter().filter(|field| field.key != "config") {
            let message = format!("a node of type {type_name} has no field {}", field.key);
            let hint = "its parameters go into `config`";
            self.findings.report_at("RSPP0008", field.key_place, format!("{path}.{}", field.key), message, hint);
        }
        let config = fields.get("config").map(Tree::value).unwrap_or_default();
        if let Err(message) = (node_type.make)(&config) {
            let hint = format!("this is what {type_name} says of its config");
            self.findings.report("RSPP0010", self.place, format!("{path}.config"), message, hint);
        }
        let kind = NodeKind::Custom { type_name: type_name.to_owned(), config };
        let (inputs, outputs) = (node_type.inputs.clone(), node_type.outputs.clone());
        let (name, place, provider) = (self.name.to_owned(), self.place, ProviderPolicy::default());
        Some(Vertex { name, place, kind, inputs, outputs, implied: [None, None], provider })
    }
}

/// A name stands in edges, in paths and in traces.
fn check_name(findings: &mut Collector<'_>, name: &str, place: Place) {
    let is_word = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if name.is_empty() || name.chars().count() > 64 || !is_word || name.contains("->") {
        let message = format!("{name:?} can't be a node's name");
        let hint = "up to 64 letters, digits, `_` and `-`; edges are written with the names";
        findings.report_at("RSPP0048", place, "nodes", message, hint);
    }
}

/// A node, and one of its ports.
type End = (GraphIndex, usize);

/// What an edge joins.
fn ends(
    findings: &mut Collector<'_>,
    graph: &mut Graph,
    by_name: &ByName<'_>,
    draft: &Draft,
    edge: &DraftEdge,
) -> Option<(End, End)> {
    let (place, path) = (edge.place, edge.path.clone());
    let ends: Vec<&str> = edge.arrow.split("->").map(str::trim).collect();
    let (&[from, to], false) = (ends.as_slice(), ends.contains(&"")) else {
        let message = if ends.len() < 2 { "an edge needs an arrow" } else { "an edge joins two nodes by one arrow" };
        let hint = "write `node -> node`, or `node.port -> node.port`";
        findings.report_at("RSPP0011", place, path, message, hint);
        return None;
    };
    let mut end = |text: &str, output: bool| {
        let (name, port) = text.split_once('.').map_or((text, None), |(name, port)| (name, Some(port)));
        let Some(index) = by_name.get(name) else {
            // A node that is there but whose own fields are wrong has its finding already.
            if !draft.nodes.contains_key(name) {
                let hint = meant(name, draft.nodes.keys().map(String::as_str), "every edge joins two of `nodes`");
                findings.report_at("RSPP0012", place, path.clone(), format!("no node is named {name}"), hint);
            }
            return None;
        };
        let vertex = &mut graph[*index];
        let row = nodes::row(vertex.kind.type_name());
        let grows = row.and_then(|row| row.grows);
        if let (Some(of), false) = (grows, output) {
            let name = port.map_or_else(|| format!("in{}", vertex.inputs.len()), str::to_owned);
            vertex.inputs.push(Port::new(&name, of));
            return Some((*index, vertex.inputs.len() - 1));
        }
        let ports = if output { &vertex.outputs } else { &vertex.inputs };
        let found = match port {
            Some(port) => ports.iter().position(|known| known.name == port),
            None if ports.len() == 1 || output && row.is_some_and(|row| row.outputs.len() == 1) => Some(0),
            None => None,
        };
        if found.is_none() {
            no_port(findings, edge, vertex, port, output);
        }
        found.map(|port| (*index, port))
    };
    let (from, to) = (end(from, true), end(to, false));
    from.zip(to)
}

/// Reports an edge whose end says a port that the node does not have, or does not say which.
fn no_port(findings: &mut Collector<'_>, edge: &DraftEdge, vertex: &Vertex, port: Option<&str>, output: bool) {
    let (name, ports) = (&vertex.name, if output { &vertex.outputs } else { &vertex.inputs });
    let row = nodes::row(vertex.kind.type_name()).filter(|_| output);
    let more = row.map_or(&[][..], |row| row.more).iter().map(|(name, _)| *name);
    let known: BTreeSet<&str> = ports.iter().map(|port| port.name.as_str()).chain(more).collect();
    let known: Vec<&str> = known.into_iter().collect();
    let (which, side) = if output { ("output", "begin at") } else { ("input", "end at") };
    let message = match port {
        Some(port) => format!("{name} has no {which} named {port}"),
        None if known.is_empty() => format!("{name} has no {which}s"),
        None if ports.is_empty() => format!("{name} has no {which} that an edge may leave unnamed"),
        None => format!("{name} has {} {which}s, and the edge does not say which", ports.len()),
    };
    let hint = match port {
        _ if known.is_empty() => format!("let the edge {side} another node"),
        Some(port) => meant(port, known.iter().copied(), "there is"),
        None => format!("write `{name}.{}`; there is: {}", known[0], known.join(", ")),
    };
    findings.report_at("RSPP0013", edge.place, edge.path.clone(), message, hint);
}

fn connect(
    findings: &mut Collector<'_>,
    graph: &mut Graph,
    edge: &DraftEdge,
    (from, from_port): End,
    (to, to_port): End,
    registry: &Registry,
) {
    let (place, path) = (edge.place, edge.path.clone());
    check_taken(findings, graph, edge, (to, to_port));
    let when = edge.rest.when.as_ref().and_then(|when| condition(findings, place, &path, when));
    let buffer = buffer::before(findings, (&graph[from], &graph[to]), to_port, edge, registry);
    let sync = edge.rest.sync.as_ref().map(SyncDocument::sync);
    graph.add_edge(from, to, Link { place, path, from_port, to_port, when, buffer, sync });
}

fn check_taken(findings: &mut Collector<'_>, graph: &Graph, edge: &DraftEdge, (to, to_port): End) {
    let taken = graph.edges_directed(to, petgraph::Direction::Incoming).any(|link| link.weight().to_port == to_port);
    if taken {
        let message = format!("a second edge ends at the same input of {}", graph[to].name);
        let hint = "let a node of type merge or join bring them together";
        findings.report_at("RSPP0015", edge.place, edge.path.clone(), message, hint);
    }
}

fn check_cycles(findings: &mut Collector<'_>, graph: &Graph) {
    for component in tarjan_scc(graph) {
        let loops = component.len() > 1 || graph.contains_edge(component[0], component[0]);
        if loops {
            let mut names: Vec<&str> = component.iter().map(|index| graph[*index].name.as_str()).collect();
            names.sort_unstable();
            let message = format!("a cycle: {}", names.join(", "));
            let inside = graph
                .edge_references()
                .find(|edge| component.contains(&edge.source()) && component.contains(&edge.target()));
            let place = inside.as_ref().map_or(Place::default(), |edge| edge.weight().place);
            let path = inside.map_or_else(|| "edges".to_owned(), |edge| edge.weight().path.clone());
            let hint = "an edge can't lead back; results, timers and proposals come round through the sequencer";
            findings.report_at("RSPP0017", place, path, message, hint);
        }
    }
}

/// What plays together ends at one node, in buffers: nobody else can drop it together.
fn check_sync(findings: &mut Collector<'_>, graph: &Graph, draft: &Draft) {
    // An edge of the group that could not be read has its finding already.
    if draft.has_broken_edges || graph.edge_count() < draft.edges.len() {
        return;
    }
    let mut groups: BTreeMap<&SyncGroup, Vec<EdgeReference<'_, Link>>> = BTreeMap::new();
    for edge in graph.edge_references() {
        if let Some(sync) = &edge.weight().sync {
            groups.entry(&sync.group).or_default().push(edge);
        }
    }
    for (group, edges) in groups {
        let first = &edges[0];
        let policy = |edge: &EdgeReference<'_, Link>| edge.weight().sync.as_ref().map(|sync| sync.on_drop);
        let differs = |edge: &EdgeReference<'_, Link>| {
            edge.target() != first.target() || edge.weight().buffer.is_none() || policy(edge) != policy(first)
        };
        if let Some(odd) = edges.iter().find(|edge| differs(edge) || edges.len() < 2) {
            let message = format!("the edges of group {} do not play together", group.id);
            let hint = "a group has two edges or more, which end at one paced node and have the same `on_drop`";
            let path = format!("{}.sync", odd.weight().path);
            findings.report("RSPP0025", odd.weight().place, path, message, hint);
        }
    }
}

/// Every node has all its inputs connected, so that it can be reached; and sources lead somewhere.
fn check_ends(findings: &mut Collector<'_>, graph: &Graph, draft: &Draft, by_name: &ByName<'_>) {
    let written = written(draft);
    for index in graph.node_indices() {
        let vertex = &graph[index];
        let path = || format!("nodes.{}", vertex.name);
        let excused = draft.has_broken_edges || mentioned_in_vain(graph, index, written.as_ref(), by_name);
        let is_source = matches!(vertex.kind, NodeKind::Caller | NodeKind::UserTurn);
        if vertex.inputs.is_empty() && !is_source && !excused {
            let message = format!("nothing reaches {}", vertex.name);
            let hint = format!("add an edge `SOME_NODE -> {}`, or remove the node", vertex.name);
            findings.report_at("RSPP0018", vertex.place, path(), message, hint);
        }
        for (port, input) in vertex.inputs.iter().enumerate().filter(|_| !excused) {
            let incoming = graph.edges_directed(index, petgraph::Direction::Incoming);
            if !incoming.into_iter().any(|edge| edge.weight().to_port == port) {
                let message = format!("nothing reaches input {} of {}", input.name, vertex.name);
                let hint = format!("add an edge `SOME_NODE -> {}.{}`, or remove the node", vertex.name, input.name);
                findings.report_at("RSPP0018", vertex.place, path(), message, hint);
            }
        }
    }
    let all_known = by_name.len() == draft.nodes.len();
    let proposes = graph.node_weights().find(|vertex| matches!(vertex.kind, NodeKind::Utterance(_)));
    let opens = graph.node_weights().any(|vertex| matches!(vertex.kind, NodeKind::UserTurn));
    if let (Some(utterance), false, true) = (proposes, opens, all_known) {
        let message = "turns are proposed, but no node of type user_turn takes them up";
        let hint = "add a node of type user_turn, and an edge from it";
        findings.report_at("RSPP0019", utterance.place, format!("nodes.{}", utterance.name), message, hint);
    }
    for row in TYPES.iter().filter(|row| row.once) {
        let same: Vec<&Vertex> = graph.node_weights().filter(|vertex| vertex.kind.type_name() == row.name).collect();
        if let [_, second, ..] = same.as_slice() {
            let message = format!("a second node of type {}", row.name);
            findings.report_at(
                "RSPP0019",
                second.place,
                format!("nodes.{}", second.name),
                message,
                "a session has one",
            );
        }
    }
}

/// A node stands where it lives as long as what it keeps may.
fn check_state(findings: &mut Collector<'_>, graph: &Graph, registry: &Registry) {
    let in_turn = in_turn(graph);
    for (index, vertex) in graph.node_indices().zip(graph.node_weights()) {
        let NodeKind::Custom { type_name, .. } = &vertex.kind else { continue };
        let Some(keeps) = registry.get(type_name).and_then(|known| known.keeps) else { continue };
        let (message, hint) = match (keeps, in_turn.get(&index)) {
            (StateClass::TurnEphemeral, Some(false)) => (
                format!("{} keeps what is a turn's, and lives as long as the session", vertex.name),
                "put it behind `user_turn`, where only a turn's events reach it",
            ),
            (StateClass::SessionHot, Some(true)) => (
                format!("{} keeps what is the session's, and is made anew for each turn", vertex.name),
                "put it where no turn's events reach it",
            ),
            _ => continue,
        };
        findings.report_at("RSPP0072", vertex.place, format!("nodes.{}", vertex.name), message, hint);
    }
}

/// An edge as it is written: the nodes that it names, and its path.
type Written<'d> = (&'d str, &'d str, &'d str);

/// The edges as they are written; `None` if one of them joins no two nodes.
fn written(draft: &Draft) -> Option<Vec<Written<'_>>> {
    fn node(end: &str) -> &str {
        end.trim().split('.').next().unwrap_or_default()
    }
    let edges = draft.edges.iter().map(|edge| {
        let (from, to) = edge.arrow.split_once("->").filter(|(_, to)| !to.contains("->"))?;
        Some((node(from), node(to), edge.path.as_str()))
    });
    edges.collect()
}

/// Whether an edge that was written to lead to the node has a finding of its own: to be told once is enough.
fn mentioned_in_vain(
    graph: &Graph,
    index: GraphIndex,
    written: Option<&Vec<Written<'_>>>,
    by_name: &ByName<'_>,
) -> bool {
    let Some(written) = written else { return true };
    let leads_here = written.iter().filter(|(_, to, _)| *to == graph[index].name);
    leads_here.into_iter().any(|(from, _, path)| {
        let mut incoming = graph.edges_directed(index, petgraph::Direction::Incoming);
        !by_name.contains_key(from) || !incoming.any(|link| link.weight().path == *path)
    })
}

/// Which nodes only a turn's events reach.
pub(crate) fn in_turn(graph: &Graph) -> BTreeMap<GraphIndex, bool> {
    let mut in_turn: BTreeMap<GraphIndex, bool> = BTreeMap::new();
    // A cycle has a finding of its own.
    for index in petgraph::algo::toposort(graph, None).unwrap_or_default() {
        let kind = &graph[index].kind;
        let (starts, ends) = (matches!(kind, NodeKind::UserTurn), matches!(kind, NodeKind::Playout(_)));
        let mut before = graph.neighbors_directed(index, petgraph::Direction::Incoming);
        let is_reached = !ends && before.any(|before| in_turn[&before]);
        in_turn.insert(index, starts || is_reached);
    }
    in_turn
}

/// Orders the nodes by (longest path from a source, name), so that every edge runs from a lower index to a higher.
fn seal(document: &Document, turns: Turns, graph: &Graph) -> PlanParts {
    let order = petgraph::algo::toposort(graph, None).expect("cycles were reported before");
    let mut depth: BTreeMap<GraphIndex, usize> = BTreeMap::new();
    let in_turn = in_turn(graph);
    for index in order {
        let before: Vec<GraphIndex> = graph.neighbors_directed(index, petgraph::Direction::Incoming).collect();
        depth.insert(index, before.iter().map(|before| depth[before] + 1).max().unwrap_or(0));
    }
    let mut sorted: Vec<GraphIndex> = graph.node_indices().collect();
    sorted.sort_by_key(|index| (depth[index], graph[*index].name.clone()));
    let place: BTreeMap<GraphIndex, NodeIndex> = sorted.iter().copied().zip((0..).map(NodeIndex)).collect();
    let nodes = sorted.iter().map(|index| {
        let Vertex { name, kind, inputs, outputs, provider, .. } = &graph[*index];
        let lifetime = if in_turn[index] { Lifetime::Turn } else { Lifetime::Session };
        let (name, mut kind, provider) = (name.clone(), kind.clone(), provider.clone());
        if let Some(document) = &turns.document {
            document.govern(&mut kind);
        }
        PlanNode { name, kind, lifetime, inputs: inputs.clone(), outputs: outputs.clone(), provider }
    });
    let mut edges: Vec<PlanEdge> = graph
        .edge_references()
        .map(|edge| PlanEdge {
            from: place[&edge.source()],
            from_port: PortIndex(edge.weight().from_port as u8),
            to: place[&edge.target()],
            to_port: PortIndex(edge.weight().to_port as u8),
            when: edge.weight().when.clone(),
            buffer: edge.weight().buffer.clone().map(Arc::new),
            sync: edge.weight().sync.clone().map(Box::new),
        })
        .collect();
    edges.sort_by_key(|edge| (edge.to, edge.to_port, edge.from, edge.from_port));
    let profile = document.profile.clone().unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
    let nodes: Vec<PlanNode> = nodes.collect();
    let (name, version, metadata) = (document.name.clone(), document.version, document.metadata.clone());
    let Turns { document, mut turn, admission, recording } = turns;
    if let Some(document) = &document {
        degrade::resolve(document, &degrade::Places { nodes: &nodes, edges: &edges }, &mut turn);
    }
    PlanParts { name, version, profile, nodes, edges, turn, admission, recording, metadata }
}

/// How a pipeline takes turns and what is recorded of them, with all that is laid over the spec.
struct Turns {
    document: Option<TurnDocument>,
    turn: TurnPolicy,
    admission: AdmissionPolicy,
    recording: RecordingPolicy,
}

impl Turns {
    fn read(findings: &mut Collector<'_>, draft: &Draft) -> Self {
        let turn = draft
            .head
            .get("turn")
            .and_then(|turn| Shape::of::<TurnDocument>("turn").read::<TurnDocument>(findings, "turn", turn));
        let admission = draft.head.get("admission").and_then(|admission| {
            Shape::of::<AdmissionDocument>("admission").read::<AdmissionDocument>(findings, "admission", admission)
        });
        if let Some(index) = turn.as_ref().and_then(TurnDocument::speechless) {
            let path = format!("turn.backchannels[{index}]");
            findings.report(
                "RSPP0021",
                Place::default(),
                path,
                "a backchannel without a word",
                "write what callers say: `uh-huh`",
            );
        }
        let policy = turn.as_ref().map(TurnDocument::policy).unwrap_or_default();
        let admission = admission.as_ref().map(AdmissionDocument::policy).unwrap_or_default();
        let recording = recording::read(findings, draft);
        Self { document: turn, turn: policy, admission, recording }
    }
}
