//! The graph of a spec: built with petgraph, checked, ordered, and sealed as a plan.

use std::collections::BTreeMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex as GraphIndex};
use petgraph::visit::EdgeRef;
use rspp_specs::buffer::{BufferSpec, EdgeSync, SyncGroup};
use rspp_specs::event::PortType;
use rspp_specs::ids::{NodeIndex, PortIndex};
use rspp_specs::limits::{MAX_PLAN_EDGES, MAX_PLAN_NODES};
use rspp_specs::plan::{
    Condition, Lifetime, NodeKind, Plan, PlanEdge, PlanNode, PlanParts, PlayoutParams, Port, ProviderPolicy,
    SegmenterParams, UtteranceParams, VadParams,
};
use rspp_specs::time::Micros;

use crate::buffer;
use crate::document::{Document, NodeDocument, SyncDocument, WhenDocument};
use crate::fan_in;
use crate::finding::{Collector, Findings, Place, did_you_mean};
use crate::policy::ProviderDocument;
use crate::registry::Registry;
use crate::template::{Draft, DraftEdge};

const PROFILE: &str = "simple/v1";
const BUILT_IN: [&str; 13] = [
    "caller",
    "user_turn",
    "vad",
    "stt",
    "utterance",
    "llm",
    "segmenter",
    "tts",
    "playout",
    "merge",
    "join",
    "select",
    "fallback",
];

type Graph = DiGraph<Vertex, Link>;

/// A node of the graph.
struct Vertex {
    name: String,
    place: Place,
    kind: NodeKind,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    provider: ProviderPolicy,
}

/// An edge of the graph.
struct Link {
    place: Place,
    from_port: usize,
    to_port: usize,
    when: Option<Condition>,
    buffer: Option<BufferSpec>,
    sync: Option<EdgeSync>,
}

/// Checks a draft and makes its plan.
pub(crate) fn plan(source: &str, document: &Document, draft: &Draft, registry: &Registry) -> Result<Plan, Findings> {
    let mut findings = Collector::new(source);
    check_head(&mut findings, document);
    if let Some(turn) = &document.turn {
        turn.value.check(&mut findings, &Place::from(turn.referenced));
    }
    let graph = build(&mut findings, draft, registry);
    check_size(&mut findings, document, &graph);
    check_cycles(&mut findings, &graph);
    check_sync(&mut findings, &graph);
    check_ends(&mut findings, &graph);
    let place = Place::from(document.name.referenced);
    let parts = findings.finish(|| seal(document, &graph))?;
    Plan::new(parts).map_err(|error| {
        let mut findings = Collector::new(source);
        findings.report(
            "RSPP0020",
            place,
            "",
            error.to_string(),
            "this is a bug of the compiler; please report the spec",
        );
        findings.finish(|| ()).expect_err("one was reported just now")
    })
}

fn check_head(findings: &mut Collector<'_>, document: &Document) {
    if document.kind.value != "PipelineSpec" {
        let place = Place::from(document.kind.referenced);
        let message = format!("kind is {}, not PipelineSpec", document.kind.value);
        findings.report("RSPP0002", place, "kind", message, "write `kind: PipelineSpec`");
    }
    if let Some(profile) = document.profile.as_ref().filter(|profile| profile.value != PROFILE) {
        let message = format!("no execution profile is named {}", profile.value);
        findings.report("RSPP0005", Place::from(profile.referenced), "profile", message, format!("there is {PROFILE}"));
    }
}

fn check_size(findings: &mut Collector<'_>, document: &Document, graph: &Graph) {
    let place = || Place::from(document.name.referenced);
    if graph.node_count() == 0 {
        let hint = "name a `template`, or write `nodes` and `edges`";
        findings.report("RSPP0006", place(), "nodes", "the pipeline has no nodes", hint);
    }
    if graph.node_count() > MAX_PLAN_NODES || graph.edge_count() > MAX_PLAN_EDGES {
        let message = format!("{} nodes and {} edges are too many", graph.node_count(), graph.edge_count());
        let hint = format!("at most {MAX_PLAN_NODES} nodes and {MAX_PLAN_EDGES} edges");
        findings.report("RSPP0006", place(), "nodes", message, hint);
    }
}

fn build(findings: &mut Collector<'_>, draft: &Draft, registry: &Registry) -> Graph {
    let mut graph = Graph::new();
    let mut by_name = BTreeMap::new();
    for (name, (place, node)) in &draft.nodes {
        if let Some((kind, inputs, outputs)) = kind_of(findings, name, place, node, registry) {
            let provider = node.provider.as_ref().map(ProviderDocument::policy).unwrap_or_default();
            let vertex = Vertex { name: name.clone(), place: place.clone(), kind, inputs, outputs, provider };
            by_name.insert(name.as_str(), graph.add_node(vertex));
        }
    }
    for edge in &draft.edges {
        connect(findings, &mut graph, &by_name, draft, edge, registry);
    }
    graph
}

type Kind = (NodeKind, Vec<Port>, Vec<Port>);

/// A node's kind and ports; reports what is wrong with its fields.
fn kind_of(
    findings: &mut Collector<'_>,
    name: &str,
    place: &Place,
    node: &NodeDocument,
    registry: &Registry,
) -> Option<Kind> {
    let path = format!("nodes.{name}");
    let (kind, fields) = match built_in(node) {
        Some(known) => known,
        None => return custom(findings, &path, place, node, registry),
    };
    for field in node.given().into_iter().filter(|field| !fields.contains(field)) {
        let message = format!("a node of type {} has no field {field}", node.type_name);
        let hint = if fields.is_empty() { "it has none".to_owned() } else { format!("it has: {}", fields.join(", ")) };
        findings.report("RSPP0008", place.clone(), format!("{path}.{field}"), message, hint);
    }
    check_values(findings, &path, place, node);
    if let Some(when) = &node.when {
        condition(findings, place, &format!("{path}.when"), when);
    }
    if let Some(provider) = &node.provider {
        provider.check(findings, &path, place);
    }
    crate::providers::check(findings, name, place, node);
    if fields.contains(&"bind") && node.bind.as_ref().is_none_or(|bind| bind.trim().is_empty()) {
        let message = format!("{name} calls a provider, and none is bound to it");
        let hint = format!("add `bind: {{{name}: PROVIDER}}` to the spec, or `bind: PROVIDER` to the node");
        findings.report("RSPP0009", place.clone(), format!("{path}.bind"), message, hint);
    }
    let ports = |ports: &[(&str, PortType)]| ports.iter().map(|(name, of)| Port::new(name, *of)).collect();
    let (inputs, outputs) = ports_of(&kind);
    Some((kind, ports(inputs), ports(outputs)))
}

/// The longest time that a field may give: an hour.
const MAX_FIELD_MS: u64 = 3_600_000;

fn check_values(findings: &mut Collector<'_>, path: &str, place: &Place, node: &NodeDocument) {
    let mut report = |field: &str, message: String, hint: &str| {
        findings.report("RSPP0021", place.clone(), format!("{path}.{field}"), message, hint);
    };
    let default = VadParams::default();
    let onset = node.onset_probability.unwrap_or(default.onset_probability);
    let release = node.release_probability.unwrap_or(default.release_probability);
    for (field, probability) in [("onset_probability", onset), ("release_probability", release)] {
        if !(0.0..=1.0).contains(&probability) {
            report(field, format!("{field} is {probability}"), "a probability is a number from 0 to 1");
        }
    }
    if release > onset {
        let message = format!("release_probability {release} is above onset_probability {onset}");
        report("release_probability", message, "speech that has begun ends at a lower probability than it began with");
    }
    if node.onset_frames.is_some_and(|frames| !(1..=50).contains(&frames)) {
        report("onset_frames", "onset_frames is out of bounds".to_owned(), "from 1 to 50 frames of 20 ms");
    }
    let times = [
        ("hangover_ms", node.hangover_ms),
        ("preroll_ms", node.preroll_ms),
        ("min_rejected_speech_ms", node.min_rejected_speech_ms),
        ("max_wait_ms", node.max_wait_ms),
        ("lookahead_ms", node.lookahead_ms),
        ("max_queued_ms", node.max_queued_ms),
        ("after_ms", node.after_ms),
    ];
    for (field, ms) in times.into_iter().filter_map(|(field, ms)| Some((field, ms?))) {
        if ms > MAX_FIELD_MS {
            report(field, format!("{field} is {ms}"), "at most an hour");
        }
    }
}

/// A built-in node's kind, and the fields that its type has.
fn built_in(node: &NodeDocument) -> Option<(NodeKind, &'static [&'static str])> {
    let ms = |given: Option<u64>, default: u64| Micros::from_ms(given.unwrap_or(default));
    let binding = node.bind.clone().unwrap_or_default();
    Some(match node.type_name.as_str() {
        "caller" => (NodeKind::Caller, &[]),
        "user_turn" => (NodeKind::UserTurn, &[]),
        "vad" => (
            NodeKind::Vad(vad_params(node)),
            &["detector", "onset_probability", "release_probability", "onset_frames", "hangover_ms"],
        ),
        "stt" => (NodeKind::Stt { binding, preroll: ms(node.preroll_ms, 300) }, &["bind", "provider", "preroll_ms"]),
        "utterance" => {
            let default = UtteranceParams::default();
            let min_rejected_speech = ms(node.min_rejected_speech_ms, default.min_rejected_speech.as_ms());
            (NodeKind::Utterance(UtteranceParams { min_rejected_speech, ..default }), &["min_rejected_speech_ms"])
        }
        "llm" => {
            let (tools, prompt) = (node.tools.clone().unwrap_or_default(), node.prompt.clone());
            (NodeKind::Llm { binding, tools, prompt }, &["bind", "provider", "tools", "prompt"])
        }
        "segmenter" => {
            let max_wait = ms(node.max_wait_ms, SegmenterParams::default().max_wait.as_ms());
            (NodeKind::Segmenter(SegmenterParams { max_wait }), &["max_wait_ms"])
        }
        "tts" => (NodeKind::Tts { binding }, &["bind", "provider"]),
        "playout" => {
            let default = PlayoutParams::default();
            let lookahead = ms(node.lookahead_ms, default.lookahead.as_ms());
            let max_queued = ms(node.max_queued_ms, default.max_queued.as_ms());
            (NodeKind::Playout(PlayoutParams { lookahead, max_queued }), &["lookahead_ms", "max_queued_ms"])
        }
        _ => return fan_in::built_in(node),
    })
}

fn vad_params(node: &NodeDocument) -> VadParams {
    let default = VadParams::default();
    VadParams {
        detector: node.detector.unwrap_or(default.detector),
        onset_probability: node.onset_probability.unwrap_or(default.onset_probability),
        onset_frames: node.onset_frames.unwrap_or(default.onset_frames),
        release_probability: node.release_probability.unwrap_or(default.release_probability),
        hangover: node.hangover_ms.map_or(default.hangover, Micros::from_ms),
        ..default
    }
}

type Ports = &'static [(&'static str, PortType)];

/// Ports of built-in kinds. The inputs of a merge and of a join grow with their edges.
fn ports_of(kind: &NodeKind) -> (Ports, Ports) {
    use PortType::{Any, Audio, Speech, Text, Transcript};
    match kind {
        NodeKind::Caller => (&[], &[("audio", Audio)]),
        NodeKind::UserTurn => (&[], &[("text", Text)]),
        NodeKind::Vad(_) => (&[("audio", Audio)], &[("speech", Speech)]),
        NodeKind::Stt { .. } => (&[("audio", Audio), ("speech", Speech)], &[("transcripts", Transcript)]),
        NodeKind::Utterance(_) => (&[("speech", Speech), ("transcripts", Transcript)], &[]),
        NodeKind::Llm { .. } | NodeKind::Segmenter(_) => (&[("text", Text)], &[("text", Text)]),
        NodeKind::Tts { .. } => (&[("text", Text)], &[("audio", Audio)]),
        NodeKind::Playout(_) => (&[("audio", Audio)], &[]),
        NodeKind::Merge { .. } | NodeKind::Join { .. } | NodeKind::Select { .. } => (&[], &[("out", Any)]),
        NodeKind::Fallback { .. } => (&[("first", Any), ("second", Any)], &[("out", Any)]),
        NodeKind::Custom { .. } => (&[], &[]),
    }
}

fn custom(
    findings: &mut Collector<'_>,
    path: &str,
    place: &Place,
    node: &NodeDocument,
    registry: &Registry,
) -> Option<Kind> {
    let type_name = node.type_name.clone();
    let Some(node_type) = registry.get(&type_name) else {
        let hint = match did_you_mean(&type_name, BUILT_IN.into_iter().chain(registry.names())) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("built in are {}; others have to be registered by the program", BUILT_IN.join(", ")),
        };
        let message = format!("no node type is named {type_name}");
        findings.report("RSPP0007", place.clone(), format!("{path}.type"), message, hint);
        return None;
    };
    for field in node.given().into_iter().filter(|field| *field != "config") {
        let message = format!("a node of type {type_name} has no field {field}");
        findings.report(
            "RSPP0008",
            place.clone(),
            format!("{path}.{field}"),
            message,
            "its parameters go into `config`",
        );
    }
    let config = node.config.clone().unwrap_or_default();
    if let Err(message) = (node_type.make)(&config) {
        let hint = format!("this is what {type_name} says of its config");
        findings.report("RSPP0010", place.clone(), format!("{path}.config"), message, hint);
    }
    let kind = NodeKind::Custom { type_name, config };
    Some((kind, node_type.inputs.clone(), node_type.outputs.clone()))
}

fn connect(
    findings: &mut Collector<'_>,
    graph: &mut Graph,
    by_name: &BTreeMap<&str, GraphIndex>,
    draft: &Draft,
    edge: &DraftEdge,
    registry: &Registry,
) {
    let place = &edge.place;
    let path = format!("edges: {}", edge.arrow);
    let Some((from, to)) = edge.arrow.split_once("->") else {
        let hint = "write `node -> node`, or `node.port -> node.port`";
        findings.report("RSPP0011", place.clone(), path, "an edge needs an arrow", hint);
        return;
    };
    let mut end = |text: &str, output: bool| {
        let (name, port) = text.trim().split_once('.').map_or((text.trim(), None), |(name, port)| (name, Some(port)));
        let Some(index) = by_name.get(name) else {
            // A node that is there but whose own fields are wrong has its finding already.
            if !draft.nodes.contains_key(name) {
                let hint = did_you_mean(name, by_name.keys().copied());
                let hint = hint.map_or_else(
                    || "every edge joins two of `nodes`".to_owned(),
                    |known| format!("did you mean `{known}`?"),
                );
                findings.report("RSPP0012", place.clone(), path.clone(), format!("no node is named {name}"), hint);
            }
            return None;
        };
        let vertex = &mut graph[*index];
        if fan_in::grows(&vertex.kind) && !output {
            let name = port.map_or_else(|| format!("in{}", vertex.inputs.len()), str::to_owned);
            vertex.inputs.push(Port::new(&name, PortType::Any));
            return Some((*index, vertex.inputs.len() - 1));
        }
        let ports = if output { &vertex.outputs } else { &vertex.inputs };
        let found = match port {
            Some(port) => ports.iter().position(|known| known.name == port),
            None if ports.len() == 1 => Some(0),
            None => None,
        };
        if found.is_none() {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let which = if output { "output" } else { "input" };
            let message = match port {
                Some(port) => format!("{name} has no {which} named {port}"),
                None => format!("{name} has {} {which}s, and the edge does not say which", ports.len()),
            };
            let hint =
                if known.is_empty() { "it has none".to_owned() } else { format!("there is: {}", known.join(", ")) };
            findings.report("RSPP0013", place.clone(), path.clone(), message, hint);
        }
        found.map(|port| (*index, port))
    };
    let (Some((from, from_port)), Some((to, to_port))) = (end(from, true), end(to, false)) else { return };
    check_types(findings, graph, edge, (from, from_port), (to, to_port));
    let when = edge.rest.when.as_ref().and_then(|when| condition(findings, place, &path, when));
    let buffer = buffer_before(findings, (&graph[from], &graph[to]), to_port, edge, registry);
    let (place, sync) = (place.clone(), edge.rest.sync.as_ref().map(SyncDocument::sync));
    graph.add_edge(from, to, Link { place, from_port, to_port, when, buffer, sync });
}

/// What may wait before a node; reports a buffer that makes no sense.
fn buffer_before(
    findings: &mut Collector<'_>,
    (from, to): (&Vertex, &Vertex),
    port: usize,
    edge: &DraftEdge,
    registry: &Registry,
) -> Option<BufferSpec> {
    let path = format!("edges: {}", edge.arrow);
    let document = edge.rest.buffer.as_ref();
    if !buffer::is_paced(&to.kind, registry) {
        if document.is_some() {
            buffer::refuse(findings, &edge.place, &path, &to.name);
        }
        return None;
    }
    let written = document.is_some();
    let document = document.cloned().unwrap_or_default();
    let mut spec = document.spec(&to.kind, to.inputs[port].port_type);
    document.check(findings, &edge.place, &path, &spec);
    buffer::check_credit(findings, edge, &from.kind, spec.flow);
    if !written {
        spec.defaulted = vec!["all".to_owned()];
    }
    Some(spec)
}

fn check_types(
    findings: &mut Collector<'_>,
    graph: &Graph,
    edge: &DraftEdge,
    (from, from_port): (GraphIndex, usize),
    (to, to_port): (GraphIndex, usize),
) {
    let (offered, wanted) = (graph[from].outputs[from_port].port_type, graph[to].inputs[to_port].port_type);
    let path = || format!("edges: {}", edge.arrow);
    if !offered.fits(wanted) {
        let message =
            format!("{} gives {}, and {} takes {}", graph[from].name, offered.name(), graph[to].name, wanted.name());
        findings.report(
            "RSPP0014",
            edge.place.clone(),
            path(),
            message,
            "put a node between that turns one into the other",
        );
    }
    let taken = graph.edges_directed(to, petgraph::Direction::Incoming).any(|link| link.weight().to_port == to_port);
    if taken {
        let message = format!("a second edge ends at the same input of {}", graph[to].name);
        findings.report(
            "RSPP0015",
            edge.place.clone(),
            path(),
            message,
            "let a node of type merge or join bring them together",
        );
    }
}

fn condition(findings: &mut Collector<'_>, place: &Place, path: &str, when: &WhenDocument) -> Option<Condition> {
    let mut comparisons = when.comparisons();
    let endless = [when.at_least, when.below].into_iter().flatten().any(|bound| !bound.is_finite());
    if endless {
        findings.report("RSPP0016", place.clone(), path, "a bound is not a number", "give a finite number");
    }
    if comparisons.len() == 1 {
        return comparisons.pop().map(|is| Condition { attribute: when.attribute.clone(), is });
    }
    let message = format!("a condition needs one comparison, and has {}", comparisons.len());
    findings.report("RSPP0016", place.clone(), path, message, "use one of equals, differs, at_least, below");
    None
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
            let place = inside.map_or(Place { line: 0, column: 0 }, |edge| edge.weight().place.clone());
            let hint = "an edge can't lead back; results, timers and proposals come round through the sequencer";
            findings.report("RSPP0017", place, "edges", message, hint);
        }
    }
}

/// What plays together ends at one node, in buffers: nobody else can drop it together.
fn check_sync(findings: &mut Collector<'_>, graph: &Graph) {
    let mut groups: BTreeMap<&SyncGroup, Vec<petgraph::graph::EdgeReference<'_, Link>>> = BTreeMap::new();
    for edge in graph.edge_references() {
        if let Some(sync) = &edge.weight().sync {
            groups.entry(&sync.group).or_default().push(edge);
        }
    }
    for (group, edges) in groups {
        let first = &edges[0];
        let differs = |edge: &petgraph::graph::EdgeReference<'_, Link>| {
            let policy = |edge: &Link| edge.sync.as_ref().map(|sync| sync.on_drop);
            edge.target() != first.target()
                || edge.weight().buffer.is_none()
                || policy(edge.weight()) != policy(first.weight())
        };
        if let Some(odd) = edges.iter().find(|edge| differs(edge) || edges.len() < 2) {
            let message = format!("the edges of group {} do not play together", group.id);
            let hint = "a group has two edges or more, which end at one paced node and have the same `on_drop`";
            findings.report("RSPP0025", odd.weight().place.clone(), "edges.sync", message, hint);
        }
    }
}

/// Every node has all its inputs connected, so that it can be reached; and sources lead somewhere.
fn check_ends(findings: &mut Collector<'_>, graph: &Graph) {
    for index in graph.node_indices() {
        let vertex = &graph[index];
        let is_source = matches!(vertex.kind, NodeKind::Caller | NodeKind::UserTurn);
        if vertex.inputs.is_empty() && !is_source {
            let message = format!("nothing reaches {}", vertex.name);
            let hint = format!("add an edge `SOME_NODE -> {}`, or remove the node", vertex.name);
            findings.report("RSPP0018", vertex.place.clone(), format!("nodes.{}", vertex.name), message, hint);
        }
        for (port, input) in vertex.inputs.iter().enumerate() {
            let incoming = graph.edges_directed(index, petgraph::Direction::Incoming);
            if !incoming.into_iter().any(|edge| edge.weight().to_port == port) {
                let message = format!("nothing reaches input {} of {}", input.name, vertex.name);
                let hint = format!("add an edge `SOME_NODE -> {}.{}`, or remove the node", vertex.name, input.name);
                findings.report("RSPP0018", vertex.place.clone(), format!("nodes.{}", vertex.name), message, hint);
            }
        }
    }
    let proposes = graph.node_weights().find(|vertex| matches!(vertex.kind, NodeKind::Utterance(_)));
    let opens = graph.node_weights().any(|vertex| matches!(vertex.kind, NodeKind::UserTurn));
    if let (Some(utterance), false) = (proposes, opens) {
        let message = "turns are proposed, but no node of type user_turn takes them up";
        let hint = "add a node of type user_turn, and an edge from it";
        findings.report("RSPP0019", utterance.place.clone(), format!("nodes.{}", utterance.name), message, hint);
    }
    for kind in ["caller", "user_turn", "playout", "utterance"] {
        let same: Vec<&Vertex> = graph.node_weights().filter(|vertex| vertex.kind.type_name() == kind).collect();
        if let [_, second, ..] = same.as_slice() {
            let message = format!("a second node of type {kind}");
            findings.report(
                "RSPP0019",
                second.place.clone(),
                format!("nodes.{}", second.name),
                message,
                "a session has one",
            );
        }
    }
}

/// Orders the nodes by (longest path from a source, name), so that every edge runs from a lower index to a higher.
fn seal(document: &Document, graph: &Graph) -> PlanParts {
    let order = petgraph::algo::toposort(graph, None).expect("cycles were reported before");
    let mut depth: BTreeMap<GraphIndex, usize> = BTreeMap::new();
    let mut in_turn: BTreeMap<GraphIndex, bool> = BTreeMap::new();
    for index in order {
        let before: Vec<GraphIndex> = graph.neighbors_directed(index, petgraph::Direction::Incoming).collect();
        depth.insert(index, before.iter().map(|before| depth[before] + 1).max().unwrap_or(0));
        let kind = &graph[index].kind;
        let starts = matches!(kind, NodeKind::UserTurn);
        let ends = matches!(kind, NodeKind::Playout(_));
        in_turn.insert(index, starts || (!ends && before.iter().any(|before| in_turn[before])));
    }
    let mut sorted: Vec<GraphIndex> = graph.node_indices().collect();
    sorted.sort_by_key(|index| (depth[index], graph[*index].name.clone()));
    let place: BTreeMap<GraphIndex, NodeIndex> = sorted.iter().copied().zip((0..).map(NodeIndex)).collect();
    let nodes = sorted.iter().map(|index| {
        let Vertex { name, kind, inputs, outputs, provider, .. } = &graph[*index];
        let lifetime = if in_turn[index] { Lifetime::Turn } else { Lifetime::Session };
        let (name, mut kind, provider) = (name.clone(), kind.clone(), provider.clone());
        if let Some(turn) = &document.turn {
            turn.value.govern(&mut kind);
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
            buffer: edge.weight().buffer.clone().map(Box::new),
            sync: edge.weight().sync.clone().map(Box::new),
        })
        .collect();
    edges.sort_by_key(|edge| (edge.to, edge.to_port, edge.from, edge.from_port));
    let profile = document.profile.as_ref().map_or_else(|| PROFILE.to_owned(), |profile| profile.value.clone());
    let (name, version) = (document.name.value.clone(), document.version.value);
    let turn = document.turn.as_ref().map(|turn| turn.value.policy()).unwrap_or_default();
    PlanParts { name, version, profile, nodes: nodes.collect(), edges, turn, admission: document.admission.policy() }
}
