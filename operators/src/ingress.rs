//! The first operator of every dataflow: control to all, deliveries to the node they are for.
//!
//! Like every fan-in it waits until no more can arrive for a sub-tick, then goes by (slot, cause): a session's rows
//! enter the graph in the order that the sequencer gave them, in whatever order they were delivered.

use std::collections::BTreeMap;

use rspp_specs::dataflow::{ControlRow, Row};
use rspp_specs::event::{Delivery, DeliveryContent, Event};
use rspp_specs::ids::NodeIndex;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::progress::operate::FrontierInterest;

use crate::buffers::Buffers;
use crate::host::Shared;

/// What comes out of [`ingress`].
pub struct Ingress<'s> {
    /// To every operator.
    pub control: StreamVec<'s, u64, ControlRow>,
    /// What sources emit.
    pub sources: BTreeMap<NodeIndex, StreamVec<'s, u64, Event>>,
    /// Results, by the node that asked for them.
    pub inboxes: BTreeMap<NodeIndex, StreamVec<'s, u64, Delivery>>,
}

/// The ingress on the list of who keeps capabilities: it is no node of any plan.
const INGRESS: NodeIndex = NodeIndex(u16::MAX);

/// Routes rows. A delivery to a node that is neither a source nor has an inbox is a bug of the core, and is
/// reported in debug builds.
pub fn ingress<'s>(
    scope: Scope<'s, u64>,
    rows: StreamVec<'s, u64, Row>,
    sources: &[NodeIndex],
    inboxes: &[NodeIndex],
    shared: &Shared,
) -> Ingress<'s> {
    let mut builder = OperatorBuilder::new("ingress".to_owned(), scope);
    let mut input = builder.new_input(rows, Pipeline);
    let (control_outlet, control) = Outlet::new(&mut builder, 0);
    let mut outlets = Outlets { control: control_outlet, sources: BTreeMap::new(), inboxes: BTreeMap::new() };
    let mut routed = Ingress { control, sources: BTreeMap::new(), inboxes: BTreeMap::new() };
    for (port, node) in (1..).zip(sources) {
        let (outlet, stream) = Outlet::new(&mut builder, port);
        outlets.sources.insert(*node, outlet);
        routed.sources.insert(*node, stream);
    }
    for (port, node) in (1 + sources.len()..).zip(inboxes) {
        let (outlet, stream) = Outlet::new(&mut builder, port);
        outlets.inboxes.insert(*node, outlet);
        routed.inboxes.insert(*node, stream);
    }
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let buffers = shared.buffers.clone();
    let ports = 1 + sources.len() + inboxes.len();
    let mut place = shared.kept.place(INGRESS);
    let mut waiting: Vec<Row> = Vec::new();
    builder.build(move |_| {
        move |frontiers| {
            input.for_each(|capability, rows| {
                place.keep((0..ports).map(|port| capability.retain(port)));
                if waiting.is_empty() {
                    std::mem::swap(&mut waiting, rows);
                } else {
                    waiting.append(rows);
                }
            });
            if place.time().is_some_and(|time| !frontiers[0].less_equal(&time)) {
                waiting.sort_by_key(|row| match row {
                    Row::Control(row) => (row.slot, row.cause),
                    Row::Delivery(delivery) => (delivery.origin.slot, delivery.origin.cause),
                });
                waiting.drain(..).for_each(|row| outlets.route(row));
                outlets.flush(place.capabilities(), &buffers);
                place.release();
            }
        }
    });
    routed
}

/// One output, and what is on its way there.
struct Outlet<D: Clone + 'static> {
    port: usize,
    output: OutputBuilder<u64, CapacityContainerBuilder<Vec<D>>>,
    rows: Vec<D>,
}

impl<D: Clone + 'static> Outlet<D> {
    fn new<'s>(builder: &mut OperatorBuilder<'s, u64>, port: usize) -> (Self, StreamVec<'s, u64, D>) {
        let (output, stream) = builder.new_output::<Vec<D>>();
        (Self { port, output: OutputBuilder::from(output), rows: Vec::new() }, stream)
    }

    fn flush(&mut self, capabilities: &[Capability<u64>]) {
        if !self.rows.is_empty() {
            self.output.activate().session(&capabilities[self.port]).give_container(&mut self.rows);
            self.rows.clear();
        }
    }
}

struct Outlets {
    control: Outlet<ControlRow>,
    sources: BTreeMap<NodeIndex, Outlet<Event>>,
    inboxes: BTreeMap<NodeIndex, Outlet<Delivery>>,
}

impl Outlets {
    fn route(&mut self, row: Row) {
        let delivery = match row {
            Row::Control(row) => {
                self.control.rows.push(row);
                return;
            }
            Row::Delivery(delivery) => delivery,
        };
        let Delivery { origin, node, content } = delivery;
        match content {
            DeliveryContent::Emit(payload) => {
                let outlet = self.sources.get_mut(&node);
                debug_assert!(outlet.is_some(), "{node} is no source");
                if let Some(outlet) = outlet {
                    outlet.rows.push(Event { origin, attributes: None, payload });
                }
            }
            DeliveryContent::Result(..) | DeliveryContent::Restart(_) => {
                let outlet = self.inboxes.get_mut(&node);
                debug_assert!(outlet.is_some(), "{node} has no inbox");
                if let Some(outlet) = outlet {
                    outlet.rows.push(Delivery { origin, node, content });
                }
            }
        }
    }

    fn flush(&mut self, capabilities: &[Capability<u64>], buffers: &Buffers) {
        self.control.flush(capabilities);
        for outlet in self.sources.values_mut().filter(|outlet| !outlet.rows.is_empty()) {
            outlet.flush(capabilities);
            outlet.rows = buffers.take();
        }
        self.inboxes.values_mut().for_each(|outlet| outlet.flush(capabilities));
    }
}
