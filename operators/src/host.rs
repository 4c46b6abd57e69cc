//! The timely operator that runs a node for all sessions of a dataflow.
//!
//! Control rows arrive a lane before the tick's data, so that a revocation has reached every operator before
//! the first data event of its tick. What a control row releases (a resumed playout, a due frame) leaves on the
//! data lane, once the operator's frontier has passed the control lane. An operator with one data path reacts
//! as rows arrive; one where paths meet waits by frontier (see [`fan_in`](crate::fan_in)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use rspp_specs::dataflow::{Ask, AskKind, ControlRow, Directive, NodeFailure};
use rspp_specs::event::{Delivery, DeliveryContent, Event};
use rspp_specs::ids::{NodeIndex, PortIndex, RuntimeSequence, Scope as EventScope, Slot, TurnCapability};
use rspp_specs::plan::{Lifetime, Plan, PlanNode};
use rspp_specs::time::{Micros, SubTick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;

use crate::fan_in::Waiting;
use crate::kept::{Kept, Place};
use crate::node::{Context, Node, Outbox};

/// Makes a node's state from its parameters in a session's plan.
pub type Factory = Rc<dyn Fn(&PlanNode) -> Box<dyn Node>>;

/// What is hosted.
pub struct Hosted {
    /// Its place in the plans of this shape.
    pub node: NodeIndex,
    /// Its name, for logs and panics.
    pub name: String,
    /// How long its state lives.
    pub lifetime: Lifetime,
    /// How many outputs it has.
    pub outputs: usize,
    /// Makes its state.
    pub factory: Factory,
}

/// What a hosted node is connected to.
pub struct Inputs<'s> {
    /// The arbiter's directives.
    pub control: StreamVec<'s, u64, ControlRow>,
    /// Results of its invocations, if it makes any.
    pub inbox: Option<StreamVec<'s, u64, Delivery>>,
    /// Its edges, with the port at which each ends.
    pub edges: Vec<(PortIndex, StreamVec<'s, u64, Event>)>,
}

/// What comes out of a hosted node.
pub struct Outputs<'s> {
    /// Events, by output port.
    pub events: Vec<StreamVec<'s, u64, Event>>,
    /// What it asks of the core.
    pub asks: StreamVec<'s, u64, Ask>,
}

/// Builds the operator.
pub fn host<'s>(scope: Scope<'s, u64>, hosted: Hosted, inputs: Inputs<'s>, kept: &Kept) -> Outputs<'s> {
    let mut builder = OperatorBuilder::new(hosted.name.clone(), scope);
    let mut control = builder.new_input(inputs.control, Pipeline);
    let mut inbox = inputs.inbox.map(|stream| builder.new_input(stream, Pipeline));
    let mut edges: Vec<_> =
        inputs.edges.into_iter().map(|(port, stream)| (port, builder.new_input(stream, Pipeline))).collect();

    let (ask_output, asks) = builder.new_output::<Vec<Ask>>();
    let mut outlets = Outlets { asks: OutputBuilder::from(ask_output), events: Vec::new() };
    let mut events = Vec::new();
    for _ in 0..hosted.outputs {
        let (output, stream) = builder.new_output::<Vec<Event>>();
        outlets.events.push(OutputBuilder::from(output));
        events.push(stream);
    }
    let paths_meet = edges.len() + usize::from(inbox.is_some()) > 1;
    let mut reactor = Reactor::new(hosted, outlets, paths_meet, kept);

    builder.build(move |_| {
        move |frontiers| {
            control.for_each(|capability, rows| reactor.on_control(&capability, rows.drain(..)));
            reactor.release(frontiers);
            if let Some(inbox) = &mut inbox {
                inbox.for_each(|capability, rows| reactor.on_rows(&capability, 0, rows.drain(..).map(Arrival::Result)));
            }
            for (edge, (port, input)) in (1u16..).zip(&mut edges) {
                let arrival = |event| Arrival::Event(*port, event);
                input.for_each(|capability, rows| reactor.on_rows(&capability, edge, rows.drain(..).map(arrival)));
            }
            reactor.catch_up(frontiers);
        }
    });
    Outputs { events, asks }
}

/// What the operator does with what comes in, and what it keeps for the rest of a tick.
struct Reactor {
    seats: Seats,
    outlets: Outlets,
    /// More than one path leads here: rows wait by frontier.
    paths_meet: bool,
    /// Outputs, asks included.
    ports: usize,
    /// What control released, for the data lane of its tick.
    releases: Outbox,
    released: Place,
    /// What came in on the data lane, until no more can.
    waiting: Waiting<Arrival>,
    waited: Place,
    outbox: Outbox,
}

impl Reactor {
    fn new(hosted: Hosted, outlets: Outlets, paths_meet: bool, kept: &Kept) -> Self {
        let (node, outputs) = (hosted.node, hosted.outputs);
        Self {
            seats: Seats::new(hosted),
            outlets,
            paths_meet,
            ports: 1 + outputs,
            releases: Outbox::new(outputs),
            released: kept.place(node),
            waiting: Waiting::new(),
            waited: kept.place(node),
            outbox: Outbox::new(outputs),
        }
    }

    fn on_control(&mut self, capability: &InputCapability<u64>, rows: impl Iterator<Item = ControlRow>) {
        for row in rows {
            self.seats.on_control(&row, &mut self.releases);
        }
        if !self.releases.is_empty() {
            let data = SubTick::unpack(*capability.time()).data_of_tick().pack();
            self.released.keep((0..self.ports).map(|port| capability.delayed(&data, port)));
        }
    }

    /// What control released leaves once the control lane has passed.
    fn release(&mut self, frontiers: &[MutableAntichain<u64>]) {
        if self.released.time().is_some_and(|data| passed(frontiers, data - 1)) {
            self.outlets.send_kept(&mut self.releases, &mut self.released);
        }
    }

    fn on_rows(&mut self, capability: &InputCapability<u64>, edge: u16, rows: impl Iterator<Item = Arrival>) {
        if self.paths_meet {
            self.waited.keep((0..self.ports).map(|port| capability.retain(port)));
            for row in rows {
                let (slot, cause) = row.key();
                self.waiting.push(slot, cause, edge, row);
            }
            return;
        }
        for row in rows {
            self.seats.on_arrival(row, &mut self.outbox);
        }
        self.outlets.send(&mut self.outbox, Right::Input(capability));
    }

    /// Reacts to what waited, once no more can come.
    fn catch_up(&mut self, frontiers: &[MutableAntichain<u64>]) {
        if self.waited.time().is_some_and(|data| passed(frontiers, data)) {
            for arrival in self.waiting.drain_in_order() {
                self.seats.on_arrival(arrival, &mut self.outbox);
            }
            self.outlets.send_kept(&mut self.outbox, &mut self.waited);
        }
    }
}

/// Whether no row of this sub-tick can arrive any more, at any input.
fn passed(frontiers: &[MutableAntichain<u64>], time: u64) -> bool {
    frontiers.iter().all(|frontier| !frontier.less_equal(&time))
}

type Output<D> = OutputBuilder<u64, CapacityContainerBuilder<Vec<D>>>;

struct Outlets {
    asks: Output<Ask>,
    events: Vec<Output<Event>>,
}

/// In whose right rows are sent: of the rows just read, or of capabilities kept for the rest of the tick.
#[derive(Clone, Copy)]
enum Right<'a> {
    Input(&'a InputCapability<u64>),
    Kept(&'a [Capability<u64>]),
}

impl Right<'_> {
    fn give<D: Clone + 'static>(self, port: usize, output: &mut Output<D>, rows: &mut Vec<D>) {
        if rows.is_empty() {
            return;
        }
        let mut output = output.activate();
        match self {
            Right::Input(capability) => output.session(capability).give_container(rows),
            Right::Kept(capabilities) => output.session(&capabilities[port]).give_container(rows),
        }
        rows.clear();
    }
}

impl Outlets {
    /// Sends under kept capabilities, one for each output, and drops them.
    fn send_kept(&mut self, outbox: &mut Outbox, place: &mut Place) {
        self.send(outbox, Right::Kept(place.capabilities()));
        place.release();
    }

    fn send(&mut self, outbox: &mut Outbox, right: Right<'_>) {
        right.give(0, &mut self.asks, &mut outbox.asks);
        for (port, (output, events)) in (1..).zip(self.events.iter_mut().zip(&mut outbox.events)) {
            right.give(port, output, events);
        }
    }
}

enum Arrival {
    Event(PortIndex, Event),
    Result(Delivery),
}

impl Arrival {
    fn key(&self) -> (Slot, RuntimeSequence) {
        match self {
            Arrival::Event(_, event) => (event.slot, event.cause),
            Arrival::Result(delivery) => (delivery.slot, delivery.cause),
        }
    }
}

/// One session's place at this operator.
struct Seat {
    plan: Arc<Plan>,
    node: Option<Box<dyn Node>>,
    /// The turn whose events the node takes.
    open: Option<TurnCapability>,
    calls: u32,
    holds: bool,
    /// A node that panicked or failed takes nothing more until the next turn.
    failed: bool,
}

/// What a reaction is about, apart from the event itself.
struct Occasion {
    slot: Slot,
    scope: EventScope,
    cause: RuntimeSequence,
    at: Micros,
}

struct Seats {
    hosted: Hosted,
    by_slot: Vec<Option<Seat>>,
}

impl Seats {
    fn new(hosted: Hosted) -> Self {
        Self { hosted, by_slot: Vec::new() }
    }

    fn on_control(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        let index = row.slot.0 as usize;
        match &row.directive {
            Directive::Begin(plan) => {
                if self.by_slot.len() <= index {
                    self.by_slot.resize_with(index + 1, || None);
                }
                let plan = Arc::clone(plan);
                self.by_slot[index] =
                    Some(Seat { plan, node: None, open: None, calls: 0, holds: false, failed: false });
                return;
            }
            Directive::Finish => {
                if let Some(seat) = self.by_slot.get_mut(index) {
                    *seat = None;
                }
                return;
            }
            Directive::Wake(node) if *node != self.hosted.node => return,
            _ => {}
        }
        let Some(Some(seat)) = self.by_slot.get_mut(index) else { return };
        match row.directive {
            Directive::Open(capability) => seat.start_turn(Some(capability), self.hosted.lifetime),
            Directive::Revoke(capability) if seat.open == Some(capability) => {
                seat.start_turn(None, self.hosted.lifetime);
                // What a directive of this very tick released for the turn goes with it.
                outbox.asks.retain(|ask| ask.scope != EventScope::Turn(capability));
                for events in &mut outbox.events {
                    events.retain(|event| event.scope != EventScope::Turn(capability));
                }
            }
            _ => {}
        }
        if self.hosted.lifetime == Lifetime::Session || matches!(row.directive, Directive::Wake(_)) {
            let scope = seat.open.map_or(EventScope::Session, EventScope::Turn);
            let occasion = Occasion { slot: row.slot, scope, cause: row.cause, at: row.at };
            seat.react(&self.hosted, &occasion, None, outbox, |node, cx| node.on_directive(cx, &row.directive));
        }
    }

    fn on_arrival(&mut self, arrival: Arrival, outbox: &mut Outbox) {
        let (slot, scope, cause, at) = match &arrival {
            Arrival::Event(_, event) => (event.slot, event.scope, event.cause, event.at),
            Arrival::Result(delivery) => (delivery.slot, delivery.scope, delivery.cause, delivery.at),
        };
        let Some(Some(seat)) = self.by_slot.get_mut(slot.0 as usize) else { return };
        let Some(scope) = seat.admits(scope, self.hosted.lifetime) else { return };
        let occasion = Occasion { slot, scope, cause, at };
        match arrival {
            Arrival::Event(port, event) => {
                let Event { attributes, payload, .. } = event;
                seat.react(&self.hosted, &occasion, attributes, outbox, |node, cx| node.on_event(cx, port, payload));
            }
            Arrival::Result(Delivery { content: DeliveryContent::Result(call, result), .. }) => {
                seat.react(&self.hosted, &occasion, None, outbox, |node, cx| node.on_result(cx, call, result));
            }
            Arrival::Result(_) => {}
        }
    }
}

impl Seat {
    fn start_turn(&mut self, open: Option<TurnCapability>, lifetime: Lifetime) {
        self.open = open;
        self.holds = false;
        if lifetime == Lifetime::Turn {
            self.node = None;
            self.failed = false;
        }
    }

    /// Under which scope an event is taken, if it is: a turn's event needs the turn's capability.
    fn admits(&self, scope: EventScope, lifetime: Lifetime) -> Option<EventScope> {
        match scope {
            EventScope::Turn(capability) => (self.open == Some(capability)).then_some(scope),
            EventScope::Session if lifetime == Lifetime::Session => Some(scope),
            EventScope::Session => self.open.map(EventScope::Turn),
        }
    }

    /// Runs one reaction of the node. A panic ends what this session's node was doing, and nothing else.
    fn react(
        &mut self,
        hosted: &Hosted,
        occasion: &Occasion,
        attributes: Option<Arc<rspp_specs::event::Attributes>>,
        outbox: &mut Outbox,
        reaction: impl FnOnce(&mut dyn Node, &mut Context<'_>),
    ) {
        if self.failed {
            return;
        }
        let Occasion { slot, scope, cause, at } = *occasion;
        let node = self.node.get_or_insert_with(|| (hosted.factory)(self.plan.node(hosted.node)));
        let mut cx = Context { slot, node: hosted.node, scope, cause, at, attributes, calls: &mut self.calls, outbox };
        let outcome = catch_unwind(AssertUnwindSafe(|| reaction(node.as_mut(), &mut cx)));
        let ask = |scope, kind| Ask { slot, node: hosted.node, scope, cause, kind };
        if let Err(panic) = outcome {
            self.node = None;
            self.failed = hosted.lifetime == Lifetime::Turn;
            outbox.asks.push(ask(scope, AskKind::Fail(NodeFailure { message: panic_message(panic.as_ref()) })));
        }
        let holds = self.node.as_ref().is_some_and(|node| node.holds());
        if let Some(capability) = self.open
            && holds != self.holds
        {
            outbox.asks.push(ask(EventScope::Turn(capability), AskKind::Holds(holds)));
        }
        self.holds = holds;
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Arc::from(text.unwrap_or("the node panicked"))
}
