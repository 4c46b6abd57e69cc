//! The first operator of every dataflow: control to all, deliveries to the node they are for.

use std::collections::BTreeMap;

use rspp_specs::dataflow::{ControlRow, Row};
use rspp_specs::event::{Delivery, DeliveryContent, Event};
use rspp_specs::ids::NodeIndex;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

/// What comes out of [`ingress`].
pub struct Ingress<'s> {
    /// To every operator.
    pub control: StreamVec<'s, u64, ControlRow>,
    /// What sources emit.
    pub sources: BTreeMap<NodeIndex, StreamVec<'s, u64, Event>>,
    /// Results, by the node that asked for them.
    pub inboxes: BTreeMap<NodeIndex, StreamVec<'s, u64, Delivery>>,
}

type Output<D> = OutputBuilder<u64, CapacityContainerBuilder<Vec<D>>>;

/// Routes rows. A delivery to a node that is neither a source nor has an inbox is a bug of the core, and is
/// reported in debug builds.
pub fn ingress<'s>(
    scope: Scope<'s, u64>,
    rows: StreamVec<'s, u64, Row>,
    sources: &[NodeIndex],
    inboxes: &[NodeIndex],
) -> Ingress<'s> {
    let mut builder = OperatorBuilder::new("ingress".to_owned(), scope);
    let mut input = builder.new_input(rows, Pipeline);
    let (control_output, control) = builder.new_output::<Vec<ControlRow>>();
    let mut control_output: Output<ControlRow> = OutputBuilder::from(control_output);
    let mut outlets = Outlets::default();
    let mut routed = Ingress { control, sources: BTreeMap::new(), inboxes: BTreeMap::new() };
    for node in sources {
        let (output, stream) = builder.new_output::<Vec<Event>>();
        outlets.sources.insert(*node, (OutputBuilder::from(output), Vec::new()));
        routed.sources.insert(*node, stream);
    }
    for node in inboxes {
        let (output, stream) = builder.new_output::<Vec<Delivery>>();
        outlets.inboxes.insert(*node, (OutputBuilder::from(output), Vec::new()));
        routed.inboxes.insert(*node, stream);
    }
    builder.build(move |_| {
        move |_| {
            input.for_each(|capability, rows| {
                let mut control = control_output.activate();
                let mut control = control.session(&capability);
                for row in rows.drain(..) {
                    match row {
                        Row::Control(row) => control.give(row),
                        Row::Delivery(delivery) => outlets.route(delivery),
                    }
                }
                drop(control);
                outlets.flush(&capability);
            });
        }
    });
    routed
}

#[derive(Default)]
struct Outlets {
    sources: BTreeMap<NodeIndex, (Output<Event>, Vec<Event>)>,
    inboxes: BTreeMap<NodeIndex, (Output<Delivery>, Vec<Delivery>)>,
}

impl Outlets {
    fn route(&mut self, delivery: Delivery) {
        let Delivery { slot, node, scope, cause, at, content } = delivery;
        match content {
            DeliveryContent::Emit(payload) => {
                let outlet = self.sources.get_mut(&node);
                debug_assert!(outlet.is_some(), "{node} is no source");
                if let Some((_, events)) = outlet {
                    events.push(Event { slot, scope, cause, at, attributes: None, payload });
                }
            }
            DeliveryContent::Result(..) => {
                let outlet = self.inboxes.get_mut(&node);
                debug_assert!(outlet.is_some(), "{node} has no inbox");
                if let Some((_, deliveries)) = outlet {
                    deliveries.push(Delivery { slot, node, scope, cause, at, content });
                }
            }
        }
    }

    fn flush(&mut self, capability: &timely::dataflow::operators::InputCapability<u64>) {
        for (output, events) in self.sources.values_mut().filter(|(_, events)| !events.is_empty()) {
            output.activate().session(capability).give_container(events);
            events.clear();
        }
        for (output, deliveries) in self.inboxes.values_mut().filter(|(_, deliveries)| !deliveries.is_empty()) {
            output.activate().session(capability).give_container(deliveries);
            deliveries.clear();
        }
    }
}
