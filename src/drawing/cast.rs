//! Who takes part in a call: the nodes of its pipeline by name, and who of them asked for what.

use rspp_specs::event::Request;
use rspp_specs::ids::{EdgeIndex, NodeIndex};
use rspp_specs::plan::{NodeKind, Plan};

use super::story::Lane;

/// The nodes and edges of a plan, as far as pictures name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cast {
    nodes: Vec<Member>,
    edges: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    lane: Option<Lane>,
    /// The first provider, then those that may be called in its place.
    bindings: Vec<String>,
}

impl Cast {
    pub(super) fn of(plan: &Plan) -> Self {
        let member = |node: &rspp_specs::plan::PlanNode| Member {
            name: node.name.clone(),
            lane: match node.kind {
                NodeKind::Stt { .. } => Some(Lane::Stt),
                NodeKind::Llm { .. } => Some(Lane::Llm),
                NodeKind::Tts { .. } => Some(Lane::Tts),
                _ => None,
            },
            bindings: node
                .kind
                .binding()
                .map(str::to_owned)
                .into_iter()
                .chain(node.provider.fallback.clone())
                .collect(),
        };
        let edges = plan.edges().iter().map(|edge| plan.name_of(edge)).collect();
        Self { nodes: plan.nodes().iter().map(member).collect(), edges }
    }

    pub(super) fn node(&self, index: NodeIndex) -> &str {
        self.nodes.get(usize::from(index.0)).map_or("a node", |node| &node.name)
    }

    pub(super) fn edge(&self, index: EdgeIndex) -> &str {
        self.edges.get(usize::from(index.0)).map_or("an edge", |name| name)
    }

    /// The node that asks this of this provider; a tool goes by its own name. Where several nodes share a provider, all
    /// that it does stands in the row of the first.
    pub(super) fn asks(&self, request: &Request, binding: &str) -> String {
        if let Request::Tool(call) = request {
            return call.name.to_string();
        }
        let lane = Lane::of(request);
        let bound = |node: &&Member| node.lane == Some(lane) && node.bindings.iter().any(|known| known == binding);
        let node = self.nodes.iter().find(bound).or_else(|| self.nodes.iter().find(|node| node.lane == Some(lane)));
        node.map_or_else(|| lane.name().to_owned(), |node| node.name.clone())
    }

    /// The place of a row's name in the plan, for rows in the plan's order; tools come last.
    pub(super) fn place(&self, name: &str) -> usize {
        self.nodes.iter().position(|node| node.name == name).unwrap_or(self.nodes.len())
    }
}
