//! Who looks on at what sessions do: from outside, and without a say. Metrics and traces are made of the same records that
//! recordings are made of, so the core knows nothing of them, and what they cost is known where it is paid.

use std::sync::Arc;

use rspp_specs::event::Request;
use rspp_specs::ids::NodeIndex;
use rspp_specs::plan::{NodeKind, Plan};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Entry;

/// Looks on at all sessions of a server.
pub trait Onlooker: Send + Sync {
    /// A session is about to begin: who looks on at it.
    fn begin(&self, session: &Arc<str>, plan: &Arc<Plan>) -> Box<dyn Watch>;

    /// What is counted of the looking on itself, for the page of metrics.
    fn counts(&self) -> Vec<Count> {
        Vec::new()
    }
}

/// Looks on at one session, on its worker's thread: it never waits. When it is dropped, the session is over.
pub trait Watch: Send {
    /// What the session did, or what came in for it, at this time.
    fn on(&mut self, at: Micros, entry: &Entry);
}

/// Something counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Its name on the page of metrics, without what all have in common.
    pub name: &'static str,
    /// What it is, for people.
    pub says: &'static str,
    /// How many.
    pub value: u64,
}

/// The node that asks this of this provider. Where several nodes share a provider, it is the first; a tool is asked by the
/// model that has it.
pub fn asker(plan: &Plan, request: &Request, binding: &str) -> Option<NodeIndex> {
    let is_bound = |node: NodeIndex| {
        let node = plan.node(node);
        node.kind.binding() == Some(binding) || node.provider.fallback.iter().any(|other| other == binding)
    };
    let asks = |kind: &NodeKind| match (request, kind) {
        (Request::Transcribe { .. }, NodeKind::Stt { .. })
        | (Request::Chat { .. }, NodeKind::Llm { .. })
        | (Request::Speak { .. }, NodeKind::Tts { .. }) => true,
        (Request::Tool(call), NodeKind::Llm { tools, .. }) => tools.iter().any(|tool| *tool.name == *call.name),
        _ => false,
    };
    let askers = || plan.indexed_nodes().filter(|(_, node)| asks(&node.kind)).map(|(index, _)| index);
    if matches!(request, Request::Tool(_)) {
        return askers().next();
    }
    askers().find(|node| is_bound(*node)).or_else(|| askers().next())
}
