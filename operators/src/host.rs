//! The timely operator that runs a node for all sessions of a dataflow.
//!
//! Control rows arrive a sub-tick before the tick's data, so that a revocation has reached every operator before
//! the first data event of its tick. What a control row releases (a resumed playout, a due frame) leaves on the
//! data lane, once the operator's frontier has passed the control lane; data that came meanwhile goes behind it. An
//! operator with one data path reacts as rows arrive; one where paths meet waits by frontier (see
//! [`fan_in`](crate::fan_in)).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use rspp_specs::buffer::FLUSHED;
use rspp_specs::dataflow::{Ask, AskKind, AskQueue, ControlRow, Directive, Flushed, NodeFailure};
use rspp_specs::event::{Delivery, DeliveryContent, Event, Origin};
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
use crate::fan_in::{Caused, Waiting};
use crate::kept::{Kept, Place};
use crate::node::{Node, Outbox, Stop};
use crate::seat::Table;
use crate::watch::{OfSession, Watch};

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
    watch: Watch,
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
        let watch = Watch::new(outlets.asks.meter(), node);
        Self {
            seats: Seats::new(hosted),
            watch,
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
        self.seats.each(&mut self.watch, rows.iter(), &mut self.releases, Seats::on_control);
        self.outlets.asks.put_flushed(&mut self.releases.flushed);
        if !self.releases.is_empty() {
            let data = SubTick::unpack(*capability.time()).next().pack();
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
        let on_event = |seats: &mut Seats, event, outbox: &mut Outbox| seats.on_event(port, event, outbox);
        self.seats.each(&mut self.watch, events, &mut self.outbox, on_event);
        self.outlets.send(&mut self.outbox, Right::Input(capability));
    }

    fn on_results(&mut self, capability: &InputCapability<u64>, results: impl Iterator<Item = Delivery>) {
        if self.paths_meet {
            return self.wait(capability, 0, results.map(Arrival::Result));
        }
        self.seats.each(&mut self.watch, results, &mut self.outbox, Seats::on_result);
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
            let waited = self.waiting.drain_in_order(self.order);
            self.seats.each(&mut self.watch, waited, &mut self.outbox, Seats::on_arrival);
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

impl OfSession for Arrival {
    fn slot(&self) -> Slot {
        self.key().0
    }
}

impl Caused for Arrival {
    fn cause_mut(&mut self) -> &mut RuntimeSequence {
        match self {
            Arrival::Event(_, event) => &mut event.origin.cause,
            Arrival::Result(delivery) => &mut delivery.origin.cause,
        }
    }
}

impl Arrival {
    fn key(&self) -> (Slot, RuntimeSequence) {
        match self {
            Arrival::Event(_, event) => (event.origin.slot, event.origin.cause),
            Arrival::Result(delivery) => (delivery.origin.slot, delivery.origin.cause),
        }
    }
}

/// A node, with its state for each session of this dataflow.
struct Seats {
    hosted: Hosted,
    table: Table,
    /// What the node reacts to, while it does.
    reacting: Option<Origin>,
}

impl Seats {
    fn new(hosted: Hosted) -> Self {
        Self { hosted, table: Table::default(), reacting: None }
    }

    /// Reacts to each of the rows, under a watch.
    fn each<T: OfSession>(
        &mut self,
        watch: &mut Watch,
        rows: impl Iterator<Item = T>,
        outbox: &mut Outbox,
        reaction: impl Fn(&mut Self, T, &mut Outbox),
    ) {
        if watch.is_close() {
            return rows.for_each(|row| {
                watch.measure(row.slot(), || self.all(std::iter::once(row), outbox, &reaction));
            });
        }
        self.all(rows, outbox, reaction);
        watch.glance();
    }

    /// Reacts to each of the rows. A panic ends what the node did for the session whose row it was, and nothing else:
    /// the rows behind it have their turn.
    fn all<T>(
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
        let Some(mut chair) = self.table.of(slot) else { return };
        chair.seat.node = None;
        chair.seat.failed |= self.hosted.lifetime == Lifetime::Turn;
        let kind = AskKind::Fail(NodeFailure { message: panic_message(panic.as_ref()) });
        outbox.asks.push(Ask { slot, node: self.hosted.node, scope, cause, kind });
        chair.note_holds(self.hosted.node, slot, cause, outbox);
    }

    fn on_control(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        match &row.directive {
            Directive::Begin(plan) => {
                self.table.begin(row.slot, plan);
                return self.start(row, Lifetime::Session, outbox);
            }
            Directive::Finish => {
                let origin = Origin { slot: row.slot, scope: EventScope::Session, cause: row.cause, at: row.at };
                let node = self.table.finish(row.slot);
                return self.stop(origin, node, Stop::SessionOver);
            }
            Directive::Wake(node)
            | Directive::WakeBuffers(node)
            | Directive::Drop(node)
            | Directive::TakeOut(node)
            | Directive::Degrade(node, _)
                if *node != self.hosted.node =>
            {
                return;
            }
            _ => {}
        }
        let Some(mut chair) = self.table.of(row.slot) else { return };
        let mut concerns = self.hosted.lifetime == Lifetime::Session;
        match row.directive {
            Directive::Open(capability) => {
                chair.start_turn(Some(capability), self.hosted.lifetime);
                self.start(row, Lifetime::Turn, outbox);
            }
            Directive::Close(capability) if chair.is_open_for(capability) => self.close(row),
            Directive::TakeOut(_) => return self.take_out(row, outbox),
            Directive::Wake(_) | Directive::Degrade(..) => concerns = true,
            // Whose buffers are gone has nothing to be woken for.
            Directive::WakeBuffers(_) => concerns = chair.seat.node.is_some(),
            Directive::Revoke(capability) if chair.is_open_for(capability) => {
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

    /// The life of a node begins that lives for so long.
    fn start(&mut self, row: &ControlRow, lifetime: Lifetime, outbox: &mut Outbox) {
        let Some(mut chair) = self.table.of(row.slot).filter(|_| self.hosted.lifetime == lifetime) else { return };
        let origin = chair.origin(row);
        self.reacting = Some(origin);
        chair.react(&self.hosted, &origin, None, outbox, |_, _| {});
        self.reacting = None;
    }

    /// The life of a node is over. Nobody hears it any more, and if it panics, nobody is the worse for it: it does so in the
    /// name of what is over.
    fn stop(&mut self, origin: Origin, node: Option<Box<dyn Node>>, end: Stop) {
        let Some(mut node) = node else { return };
        self.reacting = Some(origin);
        node.on_stop(end);
        drop(node);
        self.reacting = None;
    }

    /// A turn has committed and closed, and what was kept for it goes.
    fn close(&mut self, row: &ControlRow) {
        let lifetime = self.hosted.lifetime;
        let Some(mut chair) = self.table.of(row.slot) else { return };
        let origin = chair.origin(row);
        let node = if lifetime == Lifetime::Turn { chair.seat.node.take() } else { None };
        chair.start_turn(None, lifetime);
        self.stop(origin, node, Stop::Committed);
    }

    /// A node computes no more. What it keeps and what waits before it goes, by a rule that says so.
    fn take_out(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        let Some(mut chair) = self.table.of(row.slot) else { return };
        let origin = chair.origin(row);
        self.reacting = Some(origin);
        let mut node = chair.seat.node.take();
        chair.seat.failed = true;
        chair.note_holds(self.hosted.node, row.slot, row.cause, outbox);
        let (slot, of) = (row.slot, self.hosted.node);
        let gone = node.iter_mut().flat_map(|node| node.flush(origin.scope));
        outbox.flushed.extend(gone.map(|(port, dropped)| Flushed { slot, node: of, port, dropped }));
        self.stop(origin, node, Stop::TakenOut);
    }

    /// The node learns of a directive, in the name of its turn. Where no turn is open, nobody of a turn's is there.
    fn direct(&mut self, row: &ControlRow, directive: &Directive, outbox: &mut Outbox) {
        let Some(mut chair) = self.table.of(row.slot) else { return };
        if self.hosted.lifetime == Lifetime::Turn && !chair.is_open() {
            return;
        }
        let origin = chair.origin(row);
        self.reacting = Some(origin);
        chair.react(&self.hosted, &origin, None, outbox, |node, cx| node.on_directive(cx, directive));
        self.reacting = None;
    }

    /// A turn is revoked: what waits for it goes and is accounted for, and so does what this very tick released for it. The
    /// turn is over at this node before the node is asked, so that one that panics does not keep it.
    fn revoke(&mut self, row: &ControlRow, capability: TurnCapability, outbox: &mut Outbox) {
        let lifetime = self.hosted.lifetime;
        let Some(mut chair) = self.table.of(row.slot) else { return };
        let origin = chair.origin(row);
        let mut dying = if lifetime == Lifetime::Turn { chair.seat.node.take() } else { None };
        chair.start_turn(None, lifetime);
        outbox.asks.retain(|ask| ask.scope != EventScope::Turn(capability));
        for events in &mut outbox.events {
            events.retain(|event| event.origin.scope != EventScope::Turn(capability));
        }
        self.reacting = Some(origin);
        if let Some(node) = dying.as_mut().or(chair.seat.node.as_mut()) {
            let (slot, of) = (row.slot, self.hosted.node);
            let gone = node.flush(EventScope::Turn(capability)).into_iter();
            outbox.flushed.extend(gone.map(|(port, dropped)| Flushed { slot, node: of, port, dropped }));
        }
        self.reacting = None;
        self.stop(origin, dying, Stop::Revoked);
        if lifetime == Lifetime::Session {
            self.direct(row, &row.directive, outbox);
        }
    }

    /// A node that lives with its turn is dropped in the middle of it. What waits before it is let go of by rule, and said;
    /// the one that is made in its place learns what streams have ended.
    fn drop_node(&mut self, row: &ControlRow, outbox: &mut Outbox) {
        let Some(mut chair) = self.table.of(row.slot) else { return };
        if !chair.is_open() || chair.seat.node.is_none() {
            return;
        }
        let origin = chair.origin(row);
        self.reacting = Some(origin);
        chair.react(&self.hosted, &origin, None, outbox, |node, cx| {
            node.on_directive(cx, &row.directive);
            if node.keeps() > 0 {
                cx.dropped(node.keeps() as u32, FLUSHED);
            }
        });
        chair.seat.node.take().into_iter().for_each(|mut node| node.on_stop(Stop::Cancelled));
        for (port, mark) in chair.marks() {
            chair.react(&self.hosted, &origin, None, outbox, |node, cx| node.on_event(cx, port, mark));
        }
        self.reacting = None;
        chair.note_holds(self.hosted.node, row.slot, row.cause, outbox);
    }

    fn on_arrival(&mut self, arrival: Arrival, outbox: &mut Outbox) {
        match arrival {
            Arrival::Event(port, event) => self.on_event(port, event, outbox),
            Arrival::Result(delivery) => self.on_result(delivery, outbox),
        }
    }

    fn on_event(&mut self, port: PortIndex, mut event: Event, outbox: &mut Outbox) {
        // The event is used where it lies: what is taken apart and put together again costs more than all the rest.
        let Some(mut chair) = self.table.of(event.origin.slot) else { return };
        if !chair.admits(&mut event.origin, self.hosted.lifetime) {
            return;
        }
        if chair.seat.failed {
            return self.lose(&event, outbox);
        }
        if event.payload.is_mark() {
            chair.note_mark(self.hosted.lifetime, port, &event.payload);
        }
        self.reacting = Some(event.origin);
        chair.react(&self.hosted, &event.origin, event.attributes, outbox, |node, cx| {
            node.on_event(cx, port, event.payload);
        });
        self.reacting = None;
    }

    /// What comes for a node that is out is lost. Of a turn that goes on without it that is said; one that lost it ends.
    fn lose(&self, event: &Event, outbox: &mut Outbox) {
        let Origin { slot, scope, cause, .. } = event.origin;
        let is_said = self.hosted.lifetime == Lifetime::Session && scope != EventScope::Session;
        if is_said && !event.payload.is_mark() {
            let kind = AskKind::Dropped { items: 1, reason: "taken_out" };
            outbox.asks.push(Ask { slot, node: self.hosted.node, scope, cause, kind });
        }
    }

    fn on_result(&mut self, delivery: Delivery, outbox: &mut Outbox) {
        let Delivery { mut origin, content, .. } = delivery;
        let Some(mut chair) = self.table.of(origin.slot) else { return };
        if !chair.admits(&mut origin, self.hosted.lifetime) {
            return;
        }
        self.reacting = Some(origin);
        chair.react(&self.hosted, &origin, None, outbox, |node, cx| match content {
            DeliveryContent::Result(call, result) => node.on_result(cx, call, result),
            DeliveryContent::Restart(call) => node.on_restart(cx, call),
            DeliveryContent::Emit(payload) => cx.emit(payload),
        });
        self.reacting = None;
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Arc::from(text.unwrap_or("the node panicked"))
}
