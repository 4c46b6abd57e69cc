//! What is counted of calls, by the parts of their pipelines: nodes, edges, providers' outcomes, how turns end, and the gates
//! that go by time. Everything is made of the records that sessions write, each counted once, on its worker's thread.
//!
//! What only the core sees is told as far as it says it: how much waits on an edge is known where a watermark was passed,
//! and what waits to be spoken is what voices gave less what was handed to transports.

mod histogram;
mod page;
mod session;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rspp_specs::ids::{EdgeIndex, NodeIndex};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::Plan;

use crate::onlooker::{Onlooker, Watch};
use histogram::Histogram;
use session::SessionMeter;

/// Plans that are counted though no session runs by them any more.
const MAX_IDLE_PLANS: usize = 16;

/// What is counted, by plan.
#[derive(Debug, Default)]
pub struct Meters {
    plans: Mutex<Vec<Arc<PlanMeters>>>,
}

/// What is counted of the sessions of one plan.
#[derive(Debug)]
pub(crate) struct PlanMeters {
    pub(crate) plan: Arc<Plan>,
    /// By its place in the plan.
    pub(crate) nodes: Vec<NodeMeter>,
    /// By its place in the plan.
    pub(crate) edges: Vec<EdgeMeter>,
    pub(crate) turns: TurnMeter,
    /// Speech that was made and not handed to a transport, in microseconds.
    pub(crate) queued_us: AtomicU64,
}

/// Of one node.
#[derive(Debug, Default)]
pub(crate) struct NodeMeter {
    /// What went to its provider: requests and frames.
    pub(crate) given: AtomicU64,
    /// What it let out, as far as that is seen: results of its provider, frames of a source, frames for the transport.
    pub(crate) gave: AtomicU64,
    pub(crate) invocations: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) overruns: AtomicU64,
    pub(crate) budgets_spent: AtomicU64,
    pub(crate) switches: AtomicU64,
    pub(crate) outcomes: [AtomicU64; Outcome::ALL.len()],
    pub(crate) first_result: Histogram,
}

/// Of one edge.
#[derive(Debug, Default)]
pub(crate) struct EdgeMeter {
    /// Items that waited where a watermark was passed last, of all sessions.
    pub(crate) held: AtomicU64,
    /// Sessions in which more waits than the high watermark.
    pub(crate) filling: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) merged: AtomicU64,
    pub(crate) stopped: AtomicU64,
}

/// Of turns.
#[derive(Debug, Default)]
pub(crate) struct TurnMeter {
    pub(crate) opened: AtomicU64,
    /// By their end: `commit`, or why they were aborted.
    pub(crate) ends: Mutex<BTreeMap<&'static str, u64>>,
    /// By their reason.
    pub(crate) cancels: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) holds: AtomicU64,
    pub(crate) fences: AtomicU64,
    pub(crate) late_results: AtomicU64,
    pub(crate) frames_fenced: AtomicU64,
    pub(crate) stale_epochs: AtomicU64,
    pub(crate) gates: Gates,
}

/// The gates that go by time, in the time of the sessions.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    pub(crate) turn_open: Histogram,
    pub(crate) first_output: Histogram,
    pub(crate) cancel_fence: Histogram,
    pub(crate) end_to_end: Histogram,
}

/// One more.
pub(crate) fn more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// So many less; a gauge never goes below nothing.
pub(crate) fn less(gauge: &AtomicU64, by: u64) {
    let _ = gauge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(value.saturating_sub(by)));
}

/// One more of this name.
pub(crate) fn more_of(counters: &Mutex<BTreeMap<&'static str, u64>>, name: &'static str) {
    *counters.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
}

impl PlanMeters {
    fn of(plan: &Arc<Plan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            nodes: plan.nodes().iter().map(|_| NodeMeter::default()).collect(),
            edges: plan.edges().iter().map(|_| EdgeMeter::default()).collect(),
            turns: TurnMeter::default(),
            queued_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn node(&self, node: NodeIndex) -> Option<&NodeMeter> {
        self.nodes.get(usize::from(node.0))
    }

    pub(crate) fn edge(&self, edge: EdgeIndex) -> Option<&EdgeMeter> {
        self.edges.get(usize::from(edge.0))
    }
}

impl Meters {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<PlanMeters>>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted of each plan that sessions ran by, the oldest first.
    pub(crate) fn plans(&self) -> Vec<Arc<PlanMeters>> {
        self.lock().clone()
    }

    /// Of this plan: what was counted before, or from now on.
    fn of(&self, plan: &Arc<Plan>) -> Arc<PlanMeters> {
        let mut plans = self.lock();
        if let Some(known) = plans.iter().find(|known| known.plan.hash() == plan.hash()) {
            return Arc::clone(known);
        }
        let idle = |meters: &Arc<PlanMeters>| Arc::strong_count(meters) == 1;
        if plans.iter().filter(|meters| idle(meters)).count() >= MAX_IDLE_PLANS {
            let oldest = plans.iter().position(idle).expect("some are idle");
            plans.remove(oldest);
        }
        let new = Arc::new(PlanMeters::of(plan));
        plans.push(Arc::clone(&new));
        new
    }

    /// What is counted, in Prometheus' text format.
    pub fn page(&self) -> String {
        page::page(&self.plans())
    }

    /// What is counted of one plan's nodes and edges, for who draws its graph.
    pub fn live(&self, plan: &Plan) -> serde_json::Value {
        let plans = self.plans();
        let of = plans.iter().find(|known| known.plan.hash() == plan.hash());
        page::live(of.map_or(&PlanMeters::of(&Arc::new(plan.clone())), |of| of))
    }
}

impl Onlooker for Meters {
    fn begin(&self, _session: &Arc<str>, plan: &Arc<Plan>) -> Box<dyn Watch> {
        Box::new(SessionMeter::new(self.of(plan)))
    }
}
