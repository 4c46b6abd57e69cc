//! From a plan to timely operators: one loop over the topological order, one exhaustive match.

use std::collections::BTreeMap;
use std::rc::Rc;

use rspp_operators::Node;
use rspp_operators::buffered::Buffered;
use rspp_operators::fallback::Fallback;
use rspp_operators::filter::Filter as FilterNode;
use rspp_operators::host::{Hosted, Inputs, Shared, host};
use rspp_operators::ingress::ingress;
use rspp_operators::join::Join;
use rspp_operators::kept::Kept;
use rspp_operators::llm::Llm;
use rspp_operators::merge::Merge;
use rspp_operators::playout::Playout;
use rspp_operators::resample::Resample;
use rspp_operators::segmenter::Segmenter;
use rspp_operators::select::Select;
use rspp_operators::skippable::Skippable;
use rspp_operators::stt::Stt;
use rspp_operators::timed::Timed;
use rspp_operators::timed_join::TimedJoin;
use rspp_operators::tts::Tts;
use rspp_operators::utterance::Utterance;
use rspp_operators::vad::Vad;
use rspp_operators::vote::Vote;
use rspp_specs::dataflow::{AskQueue, Row};
use rspp_specs::event::Event;
use rspp_specs::ids::{NodeIndex, PortIndex};
use rspp_specs::plan::{JoinBy, NodeKind, Plan, PlanEdge, PlanNode};
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::{Scope, StreamVec};

use crate::registry::Registry;

/// What a plan's shape was lowered to.
pub struct Lowered<'s> {
    /// An output of every operator that leads to no other.
    pub leaves: Vec<StreamVec<'s, u64, Event>>,
    /// Who keeps a timely capability.
    pub kept: Kept,
}

/// Builds the operators of a plan's shape. Sessions of every plan of this shape run through them: a node's
/// parameters are read when a session begins.
pub fn lower<'s>(
    plan: &Plan,
    registry: &Registry,
    scope: Scope<'s, u64>,
    rows: StreamVec<'s, u64, Row>,
    asks: &AskQueue,
) -> Lowered<'s> {
    lower_tapped(plan, registry, scope, rows, asks, |_, stream| stream)
}

/// The same with something on the edges: what `tap` makes of an edge's stream is what its node gets.
pub fn lower_tapped<'s>(
    plan: &Plan,
    registry: &Registry,
    scope: Scope<'s, u64>,
    rows: StreamVec<'s, u64, Row>,
    asks: &AskQueue,
    tap: impl Fn(&PlanEdge, StreamVec<'s, u64, Event>) -> StreamVec<'s, u64, Event>,
) -> Lowered<'s> {
    let sources: Vec<NodeIndex> = select(plan, |kind| matches!(kind, NodeKind::Caller | NodeKind::UserTurn));
    let callers: Vec<NodeIndex> = select(plan, |kind| calls_providers(kind, registry));
    let shared = Shared { asks: asks.clone(), ..Shared::default() };
    let mut lowered = Lowered { leaves: Vec::new(), kept: shared.kept.clone() };
    let mut entry = ingress(scope, rows, &sources, &callers, &shared);
    let mut outputs: BTreeMap<(NodeIndex, PortIndex), StreamVec<'s, u64, Event>> = BTreeMap::new();
    for (index, node) in plan.indexed_nodes() {
        let Some(factory) = factory(&node.kind, registry) else {
            let emitted = entry.sources.remove(&index).expect("every source has an outlet of the ingress");
            outputs.insert((index, PortIndex(0)), emitted);
            continue;
        };
        let hosted = Hosted {
            node: index,
            name: node.name.clone(),
            lifetime: node.lifetime,
            outputs: node.outputs.len(),
            order: node.kind.order(),
            // Each is the node itself where the session's plan does not ask for it.
            factory: Rc::new(move |plan, index| {
                let node = Skippable::around(factory(plan.node(index)), plan, index);
                Buffered::around(Timed::around(node, plan, index), plan, index)
            }),
        };
        let edges = plan.edges().iter().filter(|edge| edge.to == index).map(|edge| {
            let from = outputs[&(edge.from, edge.from_port)].clone();
            let stream = match edge.when.clone() {
                Some(condition) => from.filter(move |event| condition.holds(event)),
                None => from,
            };
            (edge.to_port, tap(edge, stream))
        });
        let inputs =
            Inputs { control: entry.control.clone(), inbox: entry.inboxes.remove(&index), edges: edges.collect() };
        let built = host(scope, hosted, inputs, &shared);
        if !plan.edges().iter().any(|edge| edge.from == index) {
            lowered.leaves.push(built[0].clone());
        }
        outputs.extend((0..).map(|port| (index, PortIndex(port))).zip(built));
    }
    lowered
}

fn select(plan: &Plan, wanted: impl Fn(&NodeKind) -> bool) -> Vec<NodeIndex> {
    plan.indexed_nodes().filter(|(_, node)| wanted(&node.kind)).map(|(index, _)| index).collect()
}

fn calls_providers(kind: &NodeKind, registry: &Registry) -> bool {
    match kind {
        NodeKind::Stt { .. } | NodeKind::Llm { .. } | NodeKind::Tts { .. } => true,
        NodeKind::Custom { type_name, .. } => registry.get(type_name).is_some_and(|known| known.calls_providers),
        _ => false,
    }
}

/// Makes a node's state from its parameters in a session's plan.
type Make = Rc<dyn Fn(&PlanNode) -> Box<dyn Node>>;

/// The place of an output that a node has only where an edge begins at it.
fn output(node: &PlanNode, name: &str) -> Option<PortIndex> {
    (0..).map(PortIndex).zip(&node.outputs).find(|(_, port)| port.name == name).map(|(index, _)| index)
}

/// How to make a node's state for a session; `None` for sources, which the ingress is.
fn factory(kind: &NodeKind, registry: &Registry) -> Option<Make> {
    /// Parameters come from the session's own plan, whose node at this place has the same type.
    macro_rules! make {
        ($kind:pat => $node:expr) => {
            make!(_node, $kind => $node)
        };
        ($of:ident, $kind:pat => $node:expr) => {
            Rc::new(move |$of: &PlanNode| -> Box<dyn Node> {
                let $kind = &$of.kind else { unreachable!("plans of one shape have the same types in place") };
                Box::new($node)
            })
        };
    }
    Some(match kind {
        NodeKind::Caller | NodeKind::UserTurn => return None,
        NodeKind::Vad(_) => make!(NodeKind::Vad(params) => Vad::new(params.clone())),
        NodeKind::Stt { .. } => make!(node, NodeKind::Stt { preroll, .. } => {
            Stt::new(*preroll).telling_apart(output(node, "partials"), output(node, "finals"))
        }),
        NodeKind::Utterance(_) => make!(NodeKind::Utterance(params) => Utterance::new(params.clone())),
        NodeKind::Llm { .. } => make!(node, NodeKind::Llm { tools, .. } => {
            Llm::new(tools.clone()).showing_tool_calls(output(node, "tool_calls"))
        }),
        NodeKind::Resample { .. } => {
            let filters = Rc::default();
            make!(NodeKind::Resample(form) => Resample::new(*form, Rc::clone(&filters)))
        }
        NodeKind::Segmenter(_) => make!(NodeKind::Segmenter(params) => Segmenter::new(params)),
        NodeKind::Tts { .. } => Rc::new(|_| Box::new(Tts::default())),
        NodeKind::Playout(_) => make!(node, NodeKind::Playout(params) => {
            Playout::new(params.clone()).telling(output(node, "control"))
        }),
        NodeKind::Filter(_) => make!(NodeKind::Filter(params) => FilterNode::new(params)),
        NodeKind::Vote => Rc::new(|node| Box::new(Vote::new(node.inputs.len()))),
        NodeKind::Merge { .. } => Rc::new(|node| Box::new(Merge::new(node.inputs.len()))),
        NodeKind::Join { by: JoinBy::Items } => Rc::new(|node| Box::new(Join::new(node.inputs.len()))),
        NodeKind::Join { by: JoinBy::Watermark } => Rc::new(|node| Box::new(TimedJoin::new(node.inputs.len()))),
        NodeKind::Select { .. } => {
            make!(node, NodeKind::Select { when } => Select::new(node.inputs.len(), when.clone()))
        }
        NodeKind::Fallback { .. } => make!(NodeKind::Fallback { after } => Fallback::new(*after)),
        NodeKind::Custom { type_name, .. } => {
            let make = registry.get(type_name).expect("the compiler knew the type").make.clone();
            Rc::new(move |node| {
                let NodeKind::Custom { config, .. } = &node.kind else {
                    unreachable!("plans of one shape have the same types in place")
                };
                make(config).expect("the config was tried when the spec was compiled")
            })
        }
    })
}
