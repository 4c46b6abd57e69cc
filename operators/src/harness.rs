//! A bench for one node: feed it events, look at what comes out. For tests of nodes, ours and users'.
//!
//! ```
//! use rspp_operators::harness::Harness;
//! use rspp_operators::segmenter::Segmenter;
//! use rspp_specs::event::Payload;
//!
//! let mut harness = Harness::new(Segmenter::default());
//! harness.event(Payload::text("Hello. How are"));
//! assert_eq!(harness.emitted(), [Payload::text("Hello.")]);
//! assert!(harness.holds());
//! ```

use rspp_specs::dataflow::{AskKind, Directive};
use rspp_specs::event::{Attributes, Origin, Payload, ProviderResult};
use rspp_specs::ids::{
    CallRef, Generation, NodeIndex, PortIndex, RuntimeSequence, Scope, Slot, TurnCapability, TurnId,
};
use rspp_specs::limits::MAX_NODE_PORTS;
use rspp_specs::time::Micros;

use crate::node::{Context, Node, Outbox};

/// One node, under the capability of turn 1.
pub struct Harness<N> {
    node: N,
    outbox: Outbox,
    calls: u32,
    sequence: u64,
    /// Events that follow have the cause of the one before.
    same_cause: bool,
    at: Micros,
    capability: TurnCapability,
}

impl<N: Node> Harness<N> {
    /// Around this node, at time 0.
    pub fn new(node: N) -> Self {
        let capability = TurnCapability::mint(Slot(0), TurnId(1), Generation(1));
        Self {
            node,
            outbox: Outbox::new(MAX_NODE_PORTS),
            calls: 0,
            sequence: 0,
            same_cause: false,
            at: Micros(0),
            capability,
        }
    }

    /// Moves time to so many milliseconds.
    pub fn at_ms(&mut self, ms: u64) -> &mut Self {
        self.at = Micros::from_ms(ms);
        self
    }

    /// An event on the first input.
    pub fn event(&mut self, payload: Payload) -> &mut Self {
        self.event_on(PortIndex(0), payload)
    }

    /// An event on one of the inputs.
    pub fn event_on(&mut self, port: PortIndex, payload: Payload) -> &mut Self {
        self.react(None, |node, cx| node.on_event(cx, port, payload))
    }

    /// An event with attributes, on the first input.
    pub fn event_with(&mut self, attributes: Attributes, payload: Payload) -> &mut Self {
        self.react(Some(attributes), |node, cx| node.on_event(cx, PortIndex(0), payload))
    }

    /// All that happens in `run` has one cause, as what comes by several ways has.
    pub fn same_cause(&mut self, run: impl FnOnce(&mut Self)) -> &mut Self {
        self.sequence += 1;
        self.same_cause = true;
        run(self);
        self.same_cause = false;
        self
    }

    /// A result of a call that the node asked for.
    pub fn result(&mut self, call: CallRef, result: ProviderResult) -> &mut Self {
        self.react(None, |node, cx| node.on_result(cx, call, result))
    }

    /// A directive.
    pub fn directive(&mut self, directive: &Directive) -> &mut Self {
        self.react(None, |node, cx| node.on_directive(cx, directive))
    }

    /// What was emitted since the last look, on all outputs, by output.
    pub fn emitted(&mut self) -> Vec<Payload> {
        self.outbox.events.iter_mut().flat_map(|events| events.drain(..)).map(|event| event.payload).collect()
    }

    /// What was asked of the core since the last look.
    pub fn asked(&mut self) -> Vec<AskKind> {
        self.outbox.asks.drain(..).map(|ask| ask.kind).collect()
    }

    /// Whether the node holds its turn.
    pub fn holds(&self) -> bool {
        self.node.holds()
    }

    /// The turn's capability.
    pub fn capability(&self) -> TurnCapability {
        self.capability
    }

    fn react(&mut self, attributes: Option<Attributes>, reaction: impl FnOnce(&mut N, &mut Context<'_>)) -> &mut Self {
        self.sequence += u64::from(!self.same_cause);
        let (scope, cause) = (Scope::Turn(self.capability), RuntimeSequence(self.sequence));
        let origin = Origin { slot: Slot(0), scope, cause, at: self.at };
        let mut cx = Context {
            origin: &origin,
            node: NodeIndex(0),
            attributes: attributes.map(std::sync::Arc::new),
            calls: &mut self.calls,
            outbox: &mut self.outbox,
        };
        reaction(&mut self.node, &mut cx);
        self
    }
}
