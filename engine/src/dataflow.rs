//! One shape's dataflow on this worker: rows in at a sub-tick, asks out once its leaves have passed it.

use std::cell::Cell;
use std::rc::Rc;

use rspp_specs::dataflow::{Ask, AskQueue, Flushed, Row};
use rspp_specs::event::Event;
use rspp_specs::ids::NodeIndex;
use rspp_specs::limits::MAX_SUBTICK_STEPS;
use rspp_specs::meter::Meter;
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
    /// An output of every operator that leads to no other: what has passed these has passed every operator.
    pub leaves: Vec<StreamVec<'s, u64, Event>>,
    /// Who keeps a capability.
    pub culprits: Culprits,
}

/// Lowers a plan's shape into a scope. The engine is handed this and knows nothing of operators.
pub trait Lower {
    /// Builds the operators of one shape, which ask by way of `asks`. Parameters come later, with each session.
    fn lower<'s>(
        &self,
        plan: &Plan,
        scope: Scope<'s, u64>,
        rows: StreamVec<'s, u64, Row>,
        asks: &AskQueue,
    ) -> Built<'s>;
}

/// A shape's dataflow, and what is staged for its next tick.
pub(crate) struct Dataflow {
    input: InputHandleVec<u64, Row>,
    /// The least timestamp that any leaf may still see.
    frontier: Rc<Cell<u64>>,
    asks: AskQueue,
    culprits: Culprits,
    /// Where the input stands: between ticks, at the first sub-tick of the next one. What comes there does not make any
    /// frontier move before it is through.
    at: SubTick,
    /// The control lane of the tick has run by itself, the data lane has not.
    mid_tick: bool,
    pub(crate) control: Vec<Row>,
    pub(crate) data: Vec<Row>,
}

impl Dataflow {
    pub(crate) fn build(worker: &mut Worker, plan: &Plan, lower: &dyn Lower, meter: &Meter) -> Self {
        let mut input = InputHandleVec::new();
        let (frontier, asks) = (Rc::new(Cell::new(0)), AskQueue::measured(meter.clone()));
        let culprits = worker.dataflow::<u64, _, _>(|scope| {
            let built = lower.lower(plan, scope, input.to_stream(scope), &asks);
            probe(scope, built.leaves, Rc::clone(&frontier));
            built.culprits
        });
        let (control, data) = (Vec::new(), Vec::new());
        Self { input, frontier, asks, culprits, at: SubTick::default(), mid_tick: false, control, data }
    }

    /// Whether the tick has nothing for this dataflow.
    pub(crate) fn is_idle(&self) -> bool {
        self.control.is_empty() && self.data.is_empty() && !self.mid_tick
    }

    /// Runs the control lane of a tick that revokes something: when this returns, it has reached every operator. Where
    /// nothing is revoked, nobody outside waits for the lane to pass, and it goes with the data.
    pub(crate) fn run_revocations(&mut self, worker: &mut Worker) {
        if self.control.iter().any(Row::revokes) {
            self.send_control();
            self.mid_tick = true;
            self.run(worker);
        }
    }

    fn send_control(&mut self) {
        self.input.send_batch(&mut self.control);
        self.control.clear();
        self.move_on();
    }

    fn move_on(&mut self) {
        self.at = self.at.next();
        self.input.advance_to(self.at.pack());
    }

    /// What revocations have flushed from the buffers.
    pub(crate) fn hand_over_flushed(&self, flushed: &mut Vec<Flushed>) {
        self.asks.hand_over_flushed(flushed);
    }

    /// Runs what is left of the tick, and hands over what was asked in all of it, in canonical order.
    pub(crate) fn run_data(&mut self, worker: &mut Worker, asks: &mut Vec<Ask>) {
        if !self.control.is_empty() {
            self.send_control();
        }
        if !self.data.is_empty() {
            let rows = self.data.len();
            self.input.send_batch(&mut self.data);
            self.data = Vec::with_capacity(rows);
        }
        self.mid_tick = false;
        self.move_on();
        self.run(worker);
        self.asks.hand_over(asks);
    }

    /// Until everything before where the input stands has passed every leaf.
    fn run(&mut self, worker: &mut Worker) {
        let until = self.at.pack();
        self.asks.meter().begin();
        for _ in 0..MAX_SUBTICK_STEPS {
            if self.frontier.get() >= until {
                debug_assert!(
                    (self.culprits)().iter().all(|(_, time)| *time >= until),
                    "capabilities are kept past their sub-tick: {:?}",
                    (self.culprits)()
                );
                return;
            }
            worker.step();
        }
        panic!(
            "sub-tick {until} is not reached within {MAX_SUBTICK_STEPS} steps; capabilities are kept by {:?}",
            (self.culprits)()
        );
    }
}

/// One operator that probes all leaves. What they emit, nobody listens to.
fn probe<'s>(scope: Scope<'s, u64>, leaves: Vec<StreamVec<'s, u64, Event>>, frontier: Rc<Cell<u64>>) {
    let mut builder = OperatorBuilder::new("probe".to_owned(), scope);
    let mut inputs: Vec<_> = leaves.into_iter().map(|stream| builder.new_input(stream, Pipeline)).collect();
    builder.build(move |_| {
        move |frontiers| {
            for input in &mut inputs {
                input.for_each(|_, events| events.clear());
            }
            let least = frontiers.iter().filter_map(|f| f.frontier().first().copied()).min();
            frontier.set(least.unwrap_or(u64::MAX));
        }
    });
}
