//! Whether what each edge carries fits the port at which it ends (`F-003`): types, forms of audio, partial and final, schemas.
//! What passes through nodes that do not look inside is judged by where it comes from.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::Direction;
use petgraph::graph::{EdgeReference, NodeIndex};
use petgraph::visit::EdgeRef;
use rspp_specs::event::PortType;
use rspp_specs::plan::{Comparison, Condition, NodeKind};
use rspp_specs::port::{AudioEncoding, AudioFormat, Finality, Misfit, Only, carries, misfit};

use crate::finding::Collector;
use crate::graph::{Graph, Link, Vertex};
use crate::nodes::{NodeRow, TYPES};

const BETWEEN: &str = "put a node between that turns one into the other";

/// A type, and what more is said of it.
type Carries<'o> = (PortType, Option<&'o Only>);
/// All that an output may give.
type Carried = BTreeSet<(PortType, Option<Only>)>;

/// Reports every edge of which something does not fit.
pub(crate) fn check(findings: &mut Collector<'_>, graph: &Graph) {
    let given = given(graph);
    for edge in graph.edge_references() {
        let link = edge.weight();
        let (from, to) = (&graph[edge.source()], &graph[edge.target()]);
        let taken = to.of_port(&to.inputs[link.to_port], false);
        let carried = along(&given, &edge);
        let wrong = carried.iter().find_map(|(of, only)| Some(((*of, only), misfit((*of, only.as_ref()), taken)?)));
        if let Some(((of, said), misfit)) = wrong {
            // Of what has another type, more need not be said.
            let more = misfit != Misfit::Type;
            let (gives, takes) =
                (carries(of, said.as_ref().filter(|_| more)), carries(taken.0, taken.1.filter(|_| more)));
            let message = format!("{} gives {gives}, and {} takes {takes}", from.name, to.name);
            let (code, hint) = advice(misfit, from, (of, said.as_ref()), taken);
            findings.report_at(code, link.place, link.path.clone(), message, hint);
        }
    }
}

fn advice(misfit: Misfit, from: &Vertex, (of, said): Carries<'_>, taken: Carries<'_>) -> (&'static str, String) {
    match (misfit, taken.1) {
        (Misfit::Audio, Some(Only::Audio(forms))) => ("RSPP0027", resampler(forms)),
        (Misfit::Finality, Some(Only::Finality(finality))) => ("RSPP0028", only_those(*finality, from, said)),
        (Misfit::Schema, _) => ("RSPP0029", BETWEEN.to_owned()),
        _ => ("RSPP0014", between(of, taken.0)),
    }
}

/// How an edge carries only what is final, or only what is not.
fn only_those(finality: Finality, from: &Vertex, said: Option<&Only>) -> String {
    let is_final = finality == Finality::Final;
    let condition = format!("give it `when: {{attribute: final, equals: {is_final}}}`");
    let begin = format!("begin the edge at `{}.{}s`", from.name, finality.name());
    match (&from.kind, said) {
        // Of what is only partial, no condition makes finals.
        (NodeKind::Stt { .. }, Some(_)) => begin,
        (NodeKind::Stt { .. }, None) => format!("{begin}, or {condition}"),
        (_, Some(_)) => "let the edge begin where there are such".to_owned(),
        (_, None) => condition,
    }
}

/// The node that brings audio into the first of these forms.
fn resampler(forms: &[AudioFormat]) -> String {
    let Some(AudioFormat { encoding, rate_hz }) = forms.first() else { return String::new() };
    let scale = match encoding {
        AudioEncoding::Pcm16 => String::new(),
        encoding => format!(", encoding: {}", encoding.name()),
    };
    format!("put a node between: `{{type: resample, rate_hz: {rate_hz}{scale}}}`")
}

/// What stands between two ports that do not fit.
fn between(offered: PortType, wanted: PortType) -> String {
    let fits = |row: &&NodeRow| {
        let takes = row.inputs.iter().any(|(_, of)| *of == offered) && offered != PortType::Any;
        takes && row.outputs.iter().any(|(_, of)| *of == wanted)
    };
    match TYPES.iter().find(fits) {
        Some(row) => format!("put a node of type {} between", row.name),
        None => BETWEEN.to_owned(),
    }
}

type Outputs = BTreeMap<(NodeIndex, usize), Carried>;

/// What each output gives.
fn given(graph: &Graph) -> Outputs {
    let mut outputs = Outputs::new();
    // A cycle has a finding of its own; what goes round in it is not followed.
    let order = petgraph::algo::toposort(graph, None).unwrap_or_default();
    for index in order.into_iter().chain(graph.node_indices()) {
        let vertex = &graph[index];
        let passes = matches!(
            vertex.kind,
            NodeKind::Merge { .. } | NodeKind::Join { .. } | NodeKind::Select { .. } | NodeKind::Fallback { .. }
        );
        for (port, output) in vertex.outputs.iter().enumerate() {
            if outputs.contains_key(&(index, port)) {
                continue;
            }
            let mut carried = Carried::new();
            if passes {
                let incoming = graph.edges_directed(index, Direction::Incoming);
                incoming.for_each(|edge| carried.extend(along(&outputs, &edge)));
            }
            if carried.is_empty() {
                let (of, only) = vertex.of_port(output, true);
                carried.insert((of, only.cloned()));
            }
            outputs.insert((index, port), carried);
        }
    }
    outputs
}

/// What an edge carries of what its output gives.
fn along(outputs: &Outputs, edge: &EdgeReference<'_, Link>) -> Carried {
    let link = edge.weight();
    let Some(given) = outputs.get(&(edge.source(), link.from_port)) else { return Carried::new() };
    let narrowed = link.when.as_ref().and_then(finality);
    let narrow = |(of, only): &(PortType, Option<Only>)| match (of, only, narrowed) {
        (PortType::Transcript, None, Some(finality)) => (*of, Some(Only::Finality(finality))),
        _ => (*of, only.clone()),
    };
    given.iter().map(narrow).collect()
}

/// What a condition says of what is final.
fn finality(when: &Condition) -> Option<Finality> {
    let is_final = match &when.is {
        Comparison::Equals(value) => value.as_bool()?,
        Comparison::Differs(value) => !value.as_bool()?,
        Comparison::AtLeast(_) | Comparison::Below(_) => return None,
    };
    (when.attribute == "final").then_some(if is_final { Finality::Final } else { Finality::Partial })
}
