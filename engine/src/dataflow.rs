//! One shape's dataflow on this worker: rows in at a sub-tick, asks out once its leaves have passed it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rspp_specs::dataflow::{Ask, Row};
use rspp_specs::ids::NodeIndex;
use rspp_specs::limits::MAX_SUBTICK_STEPS;
use rspp_specs::plan::Plan;
use rspp_specs::time::SubTick;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{InputHandleVec, Scope, StreamVec};
use timely::worker::Worker;

/// Names the nodes that keep a timely capability, with the sub-tick they keep it for.
pub type Culprits = Box<dyn Fn() -> Vec<(NodeIndex, u64)>>;

/// What lowering a plan gives: the leaves, and who to blame if a tick does not come to rest.
pub struct Built<'s> {
    /// What each operator asks. Every operator has such an output, so a probe on all of them is a probe on
    /// every leaf.
    pub asks: Vec<StreamVec<'s, u64, Ask>>,
    /// Who keeps a capability.
    pub culprits: Culprits,
}

/// Lowers a plan's shape into a scope. The engine is handed this and knows nothing of operators.
pub trait Lower {
    /// Builds the operators of one shape. Parameters come later, with each session.
    fn lower<'s>(&self, plan: &Plan, scope: Scope<'s, u64>, rows: StreamVec<'s, u64, Row>) -> Built<'s>;
}

/// A shape's dataflow, and what is staged for its next tick.
pub(crate) struct Dataflow {
    input: InputHandleVec<u64, Row>,
    outlet: Outlet,
    culprits: Culprits,
    tick: u64,
    /// The control lane of the tick has run, the data lane has not.
    mid_tick: bool,
    pub(crate) control: Vec<Row>,
    pub(crate) data: Vec<Row>,
}

#[derive(Clone, Default)]
struct Outlet {
    /// The least timestamp that any leaf may still see.
    frontier: Rc<Cell<u64>>,
    asks: Rc<RefCell<Vec<Ask>>>,
}

impl Dataflow {
    pub(crate) fn build(worker: &mut Worker, plan: &Plan, lower: &dyn Lower) -> Self {
        let mut input = InputHandleVec::new();
        let outlet = Outlet::default();
        let culprits = worker.dataflow::<u64, _, _>(|scope| {
            let built = lower.lower(plan, scope, input.to_stream(scope));
            outlet.attach(scope, built.asks);
            built.culprits
        });
        Self { input, outlet, culprits, tick: 1, mid_tick: false, control: Vec::new(), data: Vec::new() }
    }

    /// Whether the tick has nothing for this dataflow.
    pub(crate) fn is_idle(&self) -> bool {
        self.data.is_empty() && !self.mid_tick
    }

    /// Runs the control lane of the tick: when this returns, what it says has reached every operator.
    pub(crate) fn run_control(&mut self, worker: &mut Worker) {
        if self.control.is_empty() {
            return;
        }
        self.input.advance_to(SubTick::control(self.tick).pack());
        self.input.send_batch(&mut self.control);
        self.control.clear();
        self.mid_tick = true;
        self.run_to(worker, SubTick::data(self.tick));
    }

    /// Runs the data lane of the tick, and hands over what was asked in all of it, in canonical order.
    pub(crate) fn run_data(&mut self, worker: &mut Worker, asks: &mut Vec<Ask>) {
        self.input.advance_to(SubTick::data(self.tick).pack());
        self.input.send_batch(&mut self.data);
        self.data.clear();
        self.mid_tick = false;
        self.tick += 1;
        self.run_to(worker, SubTick::control(self.tick));
        asks.append(&mut self.outlet.asks.borrow_mut());
        asks.sort_by_key(|ask| (ask.slot, ask.cause, ask.node));
    }

    fn run_to(&mut self, worker: &mut Worker, until: SubTick) {
        self.input.advance_to(until.pack());
        for _ in 0..MAX_SUBTICK_STEPS {
            if self.outlet.frontier.get() >= until.pack() {
                debug_assert!(
                    (self.culprits)().iter().all(|(_, time)| *time >= until.pack()),
                    "capabilities are kept past their sub-tick: {:?}",
                    (self.culprits)()
                );
                return;
            }
            worker.step();
        }
        panic!(
            "tick {} does not come to rest within {MAX_SUBTICK_STEPS} steps; capabilities are kept by {:?}",
            self.tick,
            (self.culprits)()
        );
    }
}

impl Outlet {
    /// One operator that is leaf, probe and capture for all asks.
    fn attach<'s>(&self, scope: Scope<'s, u64>, asks: Vec<StreamVec<'s, u64, Ask>>) {
        let mut builder = OperatorBuilder::new("outlet".to_owned(), scope);
        let mut inputs: Vec<_> = asks.into_iter().map(|stream| builder.new_input(stream, Pipeline)).collect();
        let Outlet { frontier, asks } = self.clone();
        builder.build(move |_| {
            move |frontiers| {
                for input in &mut inputs {
                    input.for_each(|_, rows| asks.borrow_mut().append(rows));
                }
                let least = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
                frontier.set(least.unwrap_or(u64::MAX));
            }
        });
    }
}
