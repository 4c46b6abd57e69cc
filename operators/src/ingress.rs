//! The first operator of every dataflow: control to all, deliveries to the node they are for.
//!
//! Like every fan-in it waits until no more can arrive for a sub-tick, then goes by (slot, cause): a session's rows
//! enter the graph in the order that the sequencer gave them, in whatever order they were delivered. Where both lanes
//! of a tick are there, control leaves before data: every operator has it before anything of its tick.

use std::collections::BTreeMap;
use std::rc::Rc;

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
use crate::kept::Place;

/// What comes out of [`ingress`].
pub struct Ingress<'s> {
    /// To every operator; the rows of a sub-tick at once, and shared, since most concern but one of them.
    pub control: StreamVec<'s, u64, Rc<Vec<ControlRow>>>,
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
    let (mut to_all, control) = Outlet::new(&mut builder, 0);
    let mut outlets = Outlets { sources: BTreeMap::new(), inboxes: BTreeMap::new() };
    let mut routed = Ingress { control, sources: BTreeMap::new(), inboxes: BTreeMap::new() };
    for (place, node) in sources.iter().enumerate() {
        let (outlet, stream) = Outlet::new(&mut builder, place);
        outlets.sources.insert(*node, outlet);
        routed.sources.insert(*node, stream);
    }
    for (place, node) in (sources.len()..).zip(inboxes) {
        let (outlet, stream) = Outlet::new(&mut builder, place);
        outlets.inboxes.insert(*node, outlet);
        routed.inboxes.insert(*node, stream);
    }
    builder.set_notify_for(0, FrontierInterest::IfCapability);
    let buffers = shared.buffers.clone();
    let ports = 1 + sources.len() + inboxes.len();
    let (mut control_place, mut data_place) = (shared.kept.place(INGRESS), shared.kept.place(INGRESS));
    let (mut control_rows, mut data_rows): (Vec<ControlRow>, Vec<Row>) = (Vec::new(), Vec::new());
    builder.build(move |_| {
        move |frontiers| {
            input.for_each(|capability, rows| {
                if matches!(rows.first(), Some(Row::Control(_))) {
                    control_place.keep(std::iter::once(capability.retain(0)));
                    control_rows.extend(rows.drain(..).filter_map(Row::into_control));
                } else {
                    data_place.keep((1..ports).map(|port| capability.retain(port)));
                    take_over(&mut data_rows, rows);
                }
            });
            let passed = |place: &Place| place.time().is_some_and(|time| !frontiers[0].less_equal(&time));
            if passed(&control_place) {
                control_rows.sort_by_key(|row| (row.slot, row.cause));
                to_all.rows.push(Rc::new(std::mem::take(&mut control_rows)));
                to_all.flush(control_place.capabilities());
                control_place.release();
            }
            if passed(&data_place) {
                // A sort asks for room before it looks whether anything is to be done.
                if !data_rows.is_sorted_by_key(Row::key) {
                    data_rows.sort_by_key(Row::key);
                }
                data_rows.drain(..).for_each(|row| outlets.route(row));
                outlets.flush(data_place.capabilities(), &buffers);
                data_place.release();
            }
        }
    });
    routed
}

/// All of `more` behind what is there; where nothing is, nothing is moved.
fn take_over(rows: &mut Vec<Row>, more: &mut Vec<Row>) {
    if rows.is_empty() {
        std::mem::swap(rows, more);
    } else {
        rows.append(more);
    }
}

/// One output, and what is on its way there.
struct Outlet<D: Clone + 'static> {
    /// Which of the capabilities kept for its lane is for it.
    place: usize,
    output: OutputBuilder<u64, CapacityContainerBuilder<Vec<D>>>,
    rows: Vec<D>,
}

impl<D: Clone + 'static> Outlet<D> {
    fn new<'s>(builder: &mut OperatorBuilder<'s, u64>, place: usize) -> (Self, StreamVec<'s, u64, D>) {
        let (output, stream) = builder.new_output::<Vec<D>>();
        (Self { place, output: OutputBuilder::from(output), rows: Vec::new() }, stream)
    }

    fn flush(&mut self, capabilities: &[Capability<u64>]) {
        if !self.rows.is_empty() {
            self.output.activate().session(&capabilities[self.place]).give_container(&mut self.rows);
            self.rows.clear();
        }
    }
}

struct Outlets {
    sources: BTreeMap<NodeIndex, Outlet<Event>>,
    inboxes: BTreeMap<NodeIndex, Outlet<Delivery>>,
}

impl Outlets {
    fn route(&mut self, row: Row) {
        let Row::Delivery(Delivery { origin, node, content }) = row else {
            debug_assert!(false, "control on the data lane: {row:?}");
            return;
        };
        let content = match (content, self.sources.get_mut(&node)) {
            (DeliveryContent::Emit(payload), Some(outlet)) => {
                outlet.rows.push(Event { origin, attributes: None, payload });
                return;
            }
            (content, _) => content,
        };
        let outlet = self.inboxes.get_mut(&node);
        debug_assert!(outlet.is_some(), "{node} has no inbox");
        if let Some(outlet) = outlet {
            outlet.rows.push(Delivery { origin, node, content });
        }
    }

    fn flush(&mut self, capabilities: &[Capability<u64>], buffers: &Buffers) {
        for outlet in self.sources.values_mut().filter(|outlet| !outlet.rows.is_empty()) {
            outlet.flush(capabilities);
            outlet.rows = buffers.take();
        }
        self.inboxes.values_mut().for_each(|outlet| outlet.flush(capabilities));
    }
}
