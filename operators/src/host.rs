//! The timely operator that runs a node for all sessions of a dataflow.
//!
//! Control rows arrive a lane before the tick's data, so that a revocation has reached every operator before
//! the first data event of its tick. What a control row releases (a resumed playout, a due frame) leaves on the
//! data lane, once the operator's frontier has passed the control lane; data that came meanwhile goes behind it. An
//! operator with one data path reacts as rows arrive; one where paths meet waits by frontier (see
//! [`fan_in`](crate::fan_in)).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use rspp_specs::dataflow::{Ask, AskKind, AskQueue, ControlRow, Directive, Flushed, NodeFailure};
use rspp_specs::event::{Attributes, Delivery, DeliveryContent, Event, Origin, Payload};
use rspp_specs::ids::{NodeIndex, PortIndex, RuntimeSequence, Scope as EventScope, Slot, TurnCapability};
use rspp_specs::plan::{Lifetime, MergeOrder, Plan};
use rspp_specs::time::SubTick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};
use timely::dataflow::{Scope, StreamVec};
use timely::progress::frontier::MutableAntichain;
use timely::progress::operate::FrontierInterest;

use crate::buffers::Buffers;
use crate::fan_in::Waiting;
use crate::kept::{Kept, Place};
use crate::node::{Context, Node, Outbox};

/// Makes a node's state from its parameters in a session's plan.
pub type Factory = Rc<dyn Fn(&Plan, NodeIndex) -> Box<dyn Node>>;

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
    /// In which order it takes what comes in one tick, where paths meet.
    pub order: MergeOrder,
    /// Makes its state.
    pub factory: Factory,
}

/// What a hosted node is connected to.
pub struct Inputs<'s> {
    /// The arbiter's directives, those of a sub-tick together.
    pub control: StreamVec<'s, u64, Rc<Vec<ControlRow>>>,
    /// Results of its invocations, if it makes any.
    pub inbox: Option<StreamVec<'s, u64, Delivery>>,
    /// Its edges, with the port at which each ends.
    pub edges: Vec<(PortIndex, StreamVec<'s, u64, Event>)>,
}

/// What the operators of one dataflow share.
#[derive(Clone, Default)]
pub struct Shared {
    /// What they ask of the core.
    pub asks: AskQueue,
    /// Who keeps a timely capability.
    pub kept: Kept,
    /// Containers that go round.
    pub buffers: Buffers,
}

/// Builds the operator; gives its events by output port. A node without outputs has one all the same, on which nothing
/// ever comes: there the engine sees that the operator has passed a sub-tick.
pub fn host<'s>(
    scope: Scope<'s, u64>,
    hosted: Hosted,
    inputs: Inputs<'s>,
    shared: &Shared,
) -> Vec<StreamVec<'s, u64, Event>> {
    let mut builder = OperatorBuilder::new(hosted.name.clone(), scope);
    let mut control = builder.new_input(inputs.control, Pipeline);
    let mut inbox = inputs.inbox.map(|stream| builder.new_input(stream, Pipeline));
    let mut edges: Vec<_> =
        inputs.edges.into_iter().map(|(port, stream)| (port, builder.new_input(stream, Pipeline))).collect();

    let mut outlets = Outlets { events: Vec::new(), asks: shared.asks.clone(), buffers: shared.buffers.clone() };
    let mut streams = Vec::new();
    for _ in 0..hosted.outputs.max(1) {
        let (output, stream) = builder.new_output::<Vec<Event>>();
        outlets.events.push(OutputBuilder::from(output));
        streams.push(stream);
    }
    // Who keeps no capability has nothing that waits for a frontier: it runs when rows come in, and only then.
    for input in 0..builder.shape().inputs() {
        builder.set_notify_for(input, FrontierInterest::IfCapability);
    }
    let paths_meet = edges.len() + usize::from(inbox.is_some()) > 1;
    let mut reactor = Reactor::new(hosted, outlets, paths_meet, &shared.kept);

    builder.build(move |_| {
        move |frontiers| {
            control.for_each(|capability, rows| {
                rows.drain(..).for_each(|rows| reactor.on_control(&capability, &rows));
            });
            reactor.release(frontiers);
            if let Some(inbox) = &mut inbox {
                inbox.for_each(|capability, rows| reactor.on_results(&capability, rows.drain(..)));
            }
            for (edge, (port, input)) in (1u16..).zip(&mut edges) {
                input.for_each(|capability, rows| {
                    reactor.on_events(&capability, edge, *port, rows);
                    reactor.outlets.buffers.give_back(rows);
                });
            }
            reactor.catch_up(frontiers);
        }
    });
    streams
}

/// What the operator does with what comes in, and what it keeps for the rest of a tick.
struct Reactor {
    seats: Seats,
    outlets: Outlets,
    /// More than one path leads here: rows wait by frontier.
    paths_meet: bool,
    order: MergeOrder,
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
        let (node, outputs, order) = (hosted.node, hosted.outputs, hosted.order);
        Self {
            seats: Seats::new(hosted),
            ports: outlets.events.len(),
            outlets,
            paths_meet,
            order,
            releases: Outbox::new(outputs),
            released: kept.place(node),
            waiting: Waiting::new(),
            waited: kept.place(node),
            outbox: Outbox::new(outputs),
        }
    }

    fn on_control(&mut self, capability: &InputCapability<u64>, rows: &[ControlRow]) {
        self.seats.each(rows.iter(), &mut self.releases, Seats::on_control);
        self.outlets.asks.put_flushed(&mut self.releases.flushed);
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

    fn on_events(&mut self, capability: &InputCapability<u64>, edge: u16, port: PortIndex, events: &mut Vec<Event>) {
        let events = events.drain(..);
        // What control has released is of the same tick, and first.
        if self.paths_meet || self.released.time().is_some() {
            return self.wait(capability, edge, events.map(|event| Arrival::Event(port, event)));
        }
        self.seats.each(events, &mut self.outbox, |seats, event, outbox| seats.on_event(port, event, outbox));
        self.outlets.send(&mut self.outbox, Right::Input(capability));
    }

    fn on_results(&mut self, capability: &InputCapability<u64>, results: impl Iterator<Item = Delivery>) {
        if self.paths_meet {
            return self.wait(capability, 0, results.map(Arrival::Result));
        }
        self.seats.each(results, &mut self.outbox, Seats::on_result);
        self.outlets.send(&mut self.outbox, Right::Input(capability));
    }

    fn wait(&mut self, capability: &InputCapability<u64>, edge: u16, rows: impl Iterator<Item = Arrival>) {
        self.waited.keep((0..self.ports).map(|port| capability.retain(port)));
        for row in rows {
            let (slot, cause) = row.key();
            self.waiting.push(slot, cause, edge, row);
        }
    }

    /// Reacts to what waited, once no more can come.
    fn catch_up(&mut self, frontiers: &[MutableAntichain<u64>]) {
        if self.waited.time().is_some_and(|data| passed(frontiers, data)) {
            self.seats.each(self.waiting.drain_in_order(self.order), &mut self.outbox, Seats::on_arrival);
            self.outlets.send_kept(&mut self.outbox, &mut self.waited);
        }
    }
}

/// Whether no row of this sub-tick can arrive any more, at any input.
fn passed(frontiers: &[MutableAntichain<u64>], time: u64) -> bool {
    frontiers.iter().all(|frontier| !frontier.less_equal(&time))
}

type Output = OutputBuilder<u64, CapacityContainerBuilder<Vec<Event>>>;

struct Outlets {
    events: Vec<Output>,
    asks: AskQueue,
    buffers: Buffers,
}

/// In whose right rows are sent: of the rows just read, or of capabilities kept for the rest of the tick.
#[derive(Clone, Copy)]
enum Right<'a> {
    Input(&'a InputCapability<u64>),
    Kept(&'a [Capability<u64>]),
}

impl Right<'_> {
    fn give(self, port: usize, output: &mut Output, rows: &mut Vec<Event>) {
        let mut output = output.activate();
        match self {
            Right::Input(capability) => output.session(capability).give_container(rows),
            Right::Kept(capabilities) => output.session(&capabilities[port]).give_container(rows),
        }
    }
}

impl Outlets {
    /// Sends under kept capabilities, one for each output, and drops them.
    fn send_kept(&mut self, outbox: &mut Outbox, place: &mut Place) {
        self.send(outbox, Right::Kept(place.capabilities()));
        place.release();
    }

    fn send(&mut self, outbox: &mut Outbox, right: Right<'_>) {
        self.asks.put(&mut outbox.asks);
        for (port, (output, events)) in (0..).zip(self.events.iter_mut().zip(&mut outbox.events)) {
            if !events.is_empty() {
                right.give(port, output, events);
                *events = self.buffers.take();
            }
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
            Arrival::Event(_, event) => (event.origin.slot, event.origin.cause),
            Arrival::Result(delivery) => (delivery.origin.slot, delivery.origin.cause),
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
    /// What has been said of whole streams, their ends above all, and has not been passed on: a node that is dropped in
    /// the middle of its turn is told again when it is made anew, since nobody else will.
    marks: Vec<(PortIndex, Payload)>,
}

/// Seats of the sessions of this dataflow. They stand close together, also when the worker's slots are shared out
/// among many shapes: a table of seats by slot would be mostly empty, in every operator of every shape.
struct Seats {
    hosted: Hosted,
    /// By slot: which seat, or [`NO_SEAT`].
    place_of: Vec<u32>,
    seats: Vec<Option<Seat>>,
    free: Vec<u32>,
    /// What the node reacts to, while it does.
    reacting: Option<Origin>,
}

const NO_SEAT: u32 = u32::MAX;

impl Seats {
    fn new(hosted: Hosted) -> Self {
        Self { hosted, place_of: Vec::new(), seats: Vec::new(), free: Vec::new(), reacting: None }
    }

    fn begin(&mut self, slot: Slot, plan: &Arc<Plan>) {
        self.finish(slot);
        let index = slot.0 as usize;
        if self.place_of.len() <= index {
            self.place_of.resize(index + 1, NO_SEAT);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() as u32 - 1
        });
        self.place_of[index] = place;
        let plan = Arc::clone(plan);
        self.seats[place as usize] =
            Some(Seat { plan, node: None, open: None, calls: 0, holds: false, failed: false, marks: Vec::new() });
    }

    fn finish(&mut self, slot: Slot) {
        let Some(place) = self.place_of.get_mut(slot.0 as usize) else { return };
        let place = std::mem::replace(place, NO_SEAT);
        if let Some(seat) = self.seats.get_mut(place as usize) {
            *seat = None;
            self.free.push(place);
        }
    }

    /// Reacts to each of the rows. A panic ends what the node did for the session whose row it was, and nothing else:
    /// the rows behind it have their turn.
    fn each<T>(
        &mut self,
        mut rows: impl Iterator<Item = T>,
        outbox: &mut Outbox,
        reaction: impl Fn(&mut Self, T, &mut Outbox),
    ) {
        // One landing place for all rows, since one for each costs a third of what a hop does.
        while let Err(panic) =
            catch_unwind(AssertUnwindSafe(|| rows.by_ref().for_each(|row| reaction(self, row, outbox))))
        {
            self.on_panic(panic, outbox);
        }
    }

    /// A panic outside of any reaction is ours, and goes on.
    fn on_panic(&mut self, panic: Box<dyn Any + Send>, outbox: &mut Outbox) {
        let Some(Origin { slot, scope, cause, .. }) = self.reacting.take() else { resume_unwind(panic) };
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, slot) else { return };
        seat.node = None;
        seat.failed = self.hosted.lifetime == Lifetime::Turn;
        let kind = AskKind::Fail(NodeFailure { message: panic_message(panic.as_ref()) });
        outbox.asks.push(Ask { slot, node: self.hosted.node, scope, cause, kind });
        seat.note_holds(self.hosted.node, slot, cause, outbox);
    }

    fn on_control(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        match &row.directive {
            Directive::Begin(plan) => return self.begin(row.slot, plan),
            Directive::Finish => return self.finish(row.slot),
            Directive::Wake(node)
            | Directive::WakeBuffers(node)
            | Directive::Drop(node)
            | Directive::Degrade(node, _)
                if *node != self.hosted.node =>
            {
                return;
            }
            _ => {}
        }
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, row.slot) else { return };
        let mut concerns = self.hosted.lifetime == Lifetime::Session;
        match row.directive {
            Directive::Open(capability) => seat.start_turn(Some(capability), self.hosted.lifetime),
            Directive::Wake(_) | Directive::Degrade(..) => concerns = true,
            // Whose buffers are gone has nothing to be woken for.
            Directive::WakeBuffers(_) => concerns = seat.node.is_some(),
            Directive::Revoke(capability) if seat.open == Some(capability) => {
                return self.revoke(row, capability, outbox);
            }
            Directive::Drop(_) if self.hosted.lifetime == Lifetime::Turn => return self.drop_node(row, outbox),
            _ => {}
        }
        if concerns {
            self.direct(row, &row.directive, outbox);
        }
        if let Directive::Drop(node) = row.directive {
            // It lives on, and learns what has ended behind what was dropped.
            self.direct(row, &Directive::WakeBuffers(node), outbox);
        }
    }

    /// The node learns of a directive, in the name of its turn.
    fn direct(&mut self, row: &ControlRow, directive: &Directive, outbox: &mut Outbox) {
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, row.slot) else { return };
        let origin = seat.origin(row);
        self.reacting = Some(origin);
        seat.react(&self.hosted, &origin, None, outbox, |node, cx| node.on_directive(cx, directive));
        self.reacting = None;
    }

    /// A turn is revoked: what waits for it goes and is accounted for, and so does what this very tick released for it. The
    /// turn is over at this node before the node is asked, so that one that panics does not keep it.
    fn revoke(&mut self, row: &ControlRow, capability: TurnCapability, outbox: &mut Outbox) {
        let lifetime = self.hosted.lifetime;
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, row.slot) else { return };
        let origin = seat.origin(row);
        let mut dying = if lifetime == Lifetime::Turn { seat.node.take() } else { None };
        seat.start_turn(None, lifetime);
        outbox.asks.retain(|ask| ask.scope != EventScope::Turn(capability));
        for events in &mut outbox.events {
            events.retain(|event| event.origin.scope != EventScope::Turn(capability));
        }
        self.reacting = Some(origin);
        if let Some(node) = dying.as_mut().or(seat.node.as_mut()) {
            let (slot, of) = (row.slot, self.hosted.node);
            let gone = node.flush(EventScope::Turn(capability)).into_iter();
            outbox.flushed.extend(gone.map(|(port, dropped)| Flushed { slot, node: of, port, dropped }));
        }
        self.reacting = None;
        if lifetime == Lifetime::Session {
            self.direct(row, &row.directive, outbox);
        }
    }

    /// A node that lives with its turn is dropped in the middle of it. What waits before it is let go of by rule, and said;
    /// the one that is made in its place learns what streams have ended.
    fn drop_node(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, row.slot) else { return };
        if seat.open.is_none() || seat.node.is_none() {
            return;
        }
        let origin = seat.origin(row);
        self.reacting = Some(origin);
        seat.react(&self.hosted, &origin, None, outbox, |node, cx| node.on_directive(cx, &row.directive));
        seat.node = None;
        for (port, mark) in seat.marks.clone() {
            seat.react(&self.hosted, &origin, None, outbox, |node, cx| node.on_event(cx, port, mark));
        }
        self.reacting = None;
        seat.note_holds(self.hosted.node, row.slot, row.cause, outbox);
    }

    fn on_arrival(&mut self, arrival: Arrival, outbox: &mut Outbox) {
        match arrival {
            Arrival::Event(port, event) => self.on_event(port, event, outbox),
            Arrival::Result(delivery) => self.on_result(delivery, outbox),
        }
    }

    fn on_event(&mut self, port: PortIndex, mut event: Event, outbox: &mut Outbox) {
        // The event is used where it lies: what is taken apart and put together again costs more than all the rest.
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, event.origin.slot) else { return };
        if !seat.admits(&mut event.origin.scope, self.hosted.lifetime) {
            return;
        }
        if event.payload.is_mark() {
            seat.note_mark(self.hosted.lifetime, port, &event.payload);
        }
        self.reacting = Some(event.origin);
        seat.react(&self.hosted, &event.origin, event.attributes, outbox, |node, cx| {
            node.on_event(cx, port, event.payload);
        });
        self.reacting = None;
    }

    fn on_result(&mut self, delivery: Delivery, outbox: &mut Outbox) {
        let Delivery { mut origin, content, .. } = delivery;
        let Some(seat) = seat_of(&self.place_of, &mut self.seats, origin.slot) else { return };
        if !seat.admits(&mut origin.scope, self.hosted.lifetime) {
            return;
        }
        self.reacting = Some(origin);
        seat.react(&self.hosted, &origin, None, outbox, |node, cx| match content {
            DeliveryContent::Result(call, result) => node.on_result(cx, call, result),
            DeliveryContent::Restart(call) => node.on_restart(cx, call),
            DeliveryContent::Emit(_) => {}
        });
        self.reacting = None;
    }
}

/// Apart from [`Seats`], so that the seat and the hosted node can be had at the same time.
fn seat_of<'a>(place_of: &[u32], seats: &'a mut [Option<Seat>], slot: Slot) -> Option<&'a mut Seat> {
    let place = *place_of.get(slot.0 as usize)?;
    seats.get_mut(place as usize)?.as_mut()
}

impl Seat {
    /// In whose name the node reacts to a directive.
    fn origin(&self, row: &ControlRow) -> Origin {
        let scope = self.open.map_or(EventScope::Session, EventScope::Turn);
        Origin { slot: row.slot, scope, cause: row.cause, at: row.at }
    }

    fn note_mark(&mut self, lifetime: Lifetime, port: PortIndex, mark: &Payload) {
        let is_known = |(of, known): &(PortIndex, Payload)| *of == port && known == mark;
        if lifetime == Lifetime::Turn && !self.marks.iter().any(is_known) {
            self.marks.push((port, mark.clone()));
        }
    }

    /// Forgets what the node has passed on in this reaction: whoever comes behind it knows.
    fn forget_marks(&mut self, slot: Slot, outbox: &Outbox) {
        let ours = |event: &&Event| event.origin.slot == slot && event.payload.is_mark();
        for event in outbox.events.iter().flatten().filter(ours) {
            let kind = std::mem::discriminant(&event.payload);
            self.marks.retain(|(_, mark)| std::mem::discriminant(mark) != kind);
        }
    }

    fn start_turn(&mut self, open: Option<TurnCapability>, lifetime: Lifetime) {
        self.open = open;
        self.holds = false;
        self.marks.clear();
        if lifetime == Lifetime::Turn {
            self.node = None;
            self.failed = false;
        }
    }

    /// Whether an event of this scope is taken: a turn's event needs the turn's capability. What a node that lives with
    /// a turn makes of the session's events belongs to the turn.
    #[inline]
    fn admits(&self, scope: &mut EventScope, lifetime: Lifetime) -> bool {
        match (*scope, self.open) {
            (EventScope::Turn(capability), open) => open == Some(capability),
            (EventScope::Session, _) if lifetime == Lifetime::Session => true,
            (EventScope::Session, Some(capability)) => {
                *scope = EventScope::Turn(capability);
                true
            }
            (EventScope::Session, None) => false,
        }
    }

    /// Runs one reaction of the node.
    #[inline]
    fn react(
        &mut self,
        hosted: &Hosted,
        origin: &Origin,
        attributes: Option<Arc<Attributes>>,
        outbox: &mut Outbox,
        reaction: impl FnOnce(&mut dyn Node, &mut Context<'_>),
    ) {
        if self.failed {
            return;
        }
        let node = self.node.get_or_insert_with(|| (hosted.factory)(&self.plan, hosted.node));
        let mut cx = Context { origin, node: hosted.node, attributes, calls: &mut self.calls, outbox };
        reaction(node.as_mut(), &mut cx);
        if !self.marks.is_empty() {
            self.forget_marks(origin.slot, outbox);
        }
        self.note_holds(hosted.node, origin.slot, origin.cause, outbox);
    }

    /// Tells the core when the node begins or ceases to hold the turn.
    #[inline]
    fn note_holds(&mut self, node: NodeIndex, slot: Slot, cause: RuntimeSequence, outbox: &mut Outbox) {
        let holds = self.node.as_ref().is_some_and(|node| node.holds());
        if let Some(capability) = self.open
            && holds != self.holds
        {
            let (scope, kind) = (EventScope::Turn(capability), AskKind::Holds(holds));
            outbox.asks.push(Ask { slot, node, scope, cause, kind });
        }
        self.holds = holds;
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Arc::from(text.unwrap_or("the node panicked"))
}
