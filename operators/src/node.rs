//! The seam that every node is written against.

use std::iter::once_with;
use std::sync::Arc;

use rspp_specs::buffer::{BranchFault, Dropped, EdgeReport};
use rspp_specs::dataflow::{Ask, AskKind, Directive, Flushed, NodeFailure, WorkMark};
use rspp_specs::event::{Attributes, AudioFrame, Event, Origin, Payload, ProviderResult, Request, ToolCall};
use rspp_specs::ids::{CallRef, NodeIndex, PortIndex, Scope, TurnCapability};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Observation, TurnProposal};

/// One node's state for one session.
///
/// A node reacts to events, in order, and asks through its [`Context`]. It never blocks, never reads a clock
/// and never computes for long: what takes time is an invocation, and its results come back as events. A
/// node whose lifetime is a turn is made afresh for each turn, so a cancelled turn leaves nothing behind.
///
/// ```
/// use rspp_operators::{Context, Node};
/// use rspp_specs::event::Payload;
/// use rspp_specs::ids::PortIndex;
///
/// struct Shout;
///
/// impl Node for Shout {
///     fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
///         match payload {
///             Payload::Text(text) => cx.emit(Payload::text(text.to_uppercase())),
///             other => cx.emit(other),
///         }
///     }
/// }
/// ```
pub trait Node {
    /// Its life begins: with its turn, where it lives with one, else with its session; and again when it is made anew. It
    /// may ask for what it needs, and say by [`Node::is_ready`] that it waits for that.
    fn on_start(&mut self, _cx: &mut Context<'_>) {}

    /// Whether it has started. It has as long as its plan's `start_ms` says; who is not ready by then has failed. Before a
    /// paced node items wait until it is.
    fn is_ready(&self) -> bool {
        true
    }

    /// Its life is over, and what it keeps goes with it. Nobody hears it any more, so there is nothing that it could ask for. A
    /// node that has panicked is not told.
    fn on_stop(&mut self, _end: Stop) {}

    /// An event on one of the node's inputs.
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload);

    /// A result of a call that the node asked for. The last one of each call is `End`.
    fn on_result(&mut self, _cx: &mut Context<'_>, _call: CallRef, _result: ProviderResult) {}

    /// A call that the node asked for has broken off before anybody used what it gave, and is tried again: what came of
    /// it counts no more. Who has passed it on passes on a [`Payload::Retract`].
    fn on_restart(&mut self, _cx: &mut Context<'_>, _call: CallRef) {}

    /// What the arbiter decided. Only nodes that live as long as the session need to look: the others are
    /// made afresh when a turn opens and dropped when it is revoked.
    fn on_directive(&mut self, _cx: &mut Context<'_>, _directive: &Directive) {}

    /// Whether it takes another item on this input now. A node that is slower than its input says no while it has enough
    /// to do: what comes meanwhile waits in the buffer that its plan puts before it, and is handed over, in order, after
    /// the reaction that makes it say yes. Without a buffer nobody asks.
    fn accepts(&self, _port: PortIndex) -> bool {
        true
    }

    /// Drops what waits in this scope, which was revoked, and says what that was. Only nodes in which what came in waits as
    /// it came need to look.
    fn flush(&mut self, _scope: Scope) -> Vec<(PortIndex, Dropped)> {
        Vec::new()
    }

    /// Whether it keeps something that may still become output: half a sentence, unsent audio. While it does,
    /// the turn does not commit.
    fn holds(&self) -> bool {
        false
    }

    /// How many items it keeps that nobody hears of when it is taken out of a turn that goes on: the host says so many lost.
    /// Only nodes that keep several, or say themselves what becomes of them, need to look.
    fn keeps(&self) -> usize {
        usize::from(self.holds())
    }
}

/// Why a node's life is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its turn has committed.
    Committed,
    /// Its turn was revoked.
    Revoked,
    /// It was cancelled, and its turn goes on: another one is made in its place.
    Cancelled,
    /// Its turn, or its session, goes on without it.
    TakenOut,
    /// Its session is over.
    SessionOver,
}

/// What a node's reaction produces, until the host sends it on.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Events by output port.
    pub events: Vec<Vec<Event>>,
    /// What is asked of the core.
    pub asks: Vec<Ask>,
    /// What a revocation has flushed.
    pub flushed: Vec<Flushed>,
}

impl Outbox {
    /// With so many output ports.
    pub fn new(ports: usize) -> Self {
        Self { events: vec![Vec::new(); ports], asks: Vec::new(), flushed: Vec::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.events.iter().all(Vec::is_empty)
    }
}

/// A node's view of the world during one reaction.
#[derive(Debug)]
pub struct Context<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) node: NodeIndex,
    pub(crate) attributes: Option<Arc<Attributes>>,
    pub(crate) calls: &'a mut u32,
    pub(crate) outbox: &'a mut Outbox,
}

impl Context<'_> {
    /// The tick's time.
    pub fn now(&self) -> Micros {
        self.origin.at
    }

    /// In whose name the node reacts.
    pub fn scope(&self) -> Scope {
        self.origin.scope
    }

    /// Emits on the first output, under the scope of what the node reacts to.
    #[inline]
    pub fn emit(&mut self, payload: Payload) {
        self.emit_on(PortIndex(0), payload);
    }

    /// Emits on one of the outputs. An output that the node type does not have, or that nobody listens to,
    /// takes nothing.
    #[inline]
    pub fn emit_on(&mut self, port: PortIndex, payload: Payload) {
        if let Some(events) = self.outbox.events.get_mut(usize::from(port.0)) {
            // Made where it will lie, and not moved there: every hop of every frame comes through here.
            events.extend(once_with(|| Event { origin: *self.origin, attributes: self.attributes.clone(), payload }));
        }
    }

    /// Sets the attributes of what this reaction emits from here on; conditional edges look at them.
    pub fn set_attributes(&mut self, attributes: Attributes) {
        self.attributes = Some(Arc::new(attributes));
    }

    /// The attributes of the event that the node reacts to, or those set since.
    pub fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_deref()
    }

    /// Starts an invocation of the node's provider; results come to [`Node::on_result`].
    pub fn invoke(&mut self, request: Request) -> CallRef {
        let call = self.next_call();
        self.ask(AskKind::Invoke(call, request));
        call
    }

    /// Gives an invocation more input.
    pub fn feed(&mut self, call: CallRef, frame: AudioFrame) {
        self.ask(AskKind::Feed(call, frame));
    }

    /// Says that an invocation's input is complete.
    pub fn feed_end(&mut self, call: CallRef) {
        self.ask(AskKind::FeedEnd(call));
    }

    /// Proposes a tool call that changes the world. It runs once the turn is past its commit point, or never.
    pub fn propose_write(&mut self, tool: ToolCall) -> CallRef {
        let call = self.next_call();
        self.ask(AskKind::ProposeWrite(call, tool));
        call
    }

    /// Hands a frame to the transport. It passes egress only under a turn's valid capability.
    pub fn transmit(&mut self, frame: AudioFrame) {
        self.ask(AskKind::Transmit(frame));
    }

    /// Asks to be woken, with [`Directive::Wake`]; replaces what was asked before.
    pub fn wake_at(&mut self, at: Micros) {
        self.ask(AskKind::WakeAt(at));
    }

    /// Tells the arbiter something about the caller's speech.
    pub fn observe(&mut self, observation: Observation) {
        self.ask(AskKind::Observe(observation));
    }

    /// Tells the arbiter that the caller's utterance is complete.
    pub fn propose_turn(&mut self, proposal: TurnProposal) {
        self.ask(AskKind::Propose(proposal));
    }

    /// Says that data was dropped by a declared rule. Nothing is dropped in silence.
    pub fn dropped(&mut self, items: u32, reason: &'static str) {
        self.ask(AskKind::Dropped { items, reason });
    }

    /// What the buffer before one of the node's inputs says of itself.
    pub(crate) fn report(&mut self, port: PortIndex, report: EdgeReport) {
        self.ask(AskKind::Edge(port, report));
    }

    /// Says that the first branch of a fallback did not carry.
    pub(crate) fn fall_back(&mut self, fault: BranchFault) {
        self.ask(AskKind::BranchFallback(fault));
    }

    /// Says how the node gets on, where it has a budget.
    pub(crate) fn mark(&mut self, mark: WorkMark) {
        self.ask(AskKind::Work(mark));
    }

    /// Since when something waits before an input whose edge has a budget.
    pub(crate) fn waits(&mut self, port: PortIndex, since: Option<Micros>) {
        self.ask(AskKind::Waits(port, since));
    }

    /// Says that what models would still give for this node, in this turn, is not needed.
    pub fn enough(&mut self) {
        self.ask(AskKind::Enough);
    }

    /// Asks that the buffers before the node be woken; replaces what was asked before.
    pub(crate) fn wake_buffers_at(&mut self, at: Micros) {
        self.ask(AskKind::WakeBuffersAt(at));
    }

    /// Gives up: the node can't go on in this turn.
    pub fn fail(&mut self, message: impl Into<Arc<str>>) {
        self.ask(AskKind::Fail(NodeFailure { message: message.into() }));
    }

    /// Goes on in the name of a turn whose capability the node kept.
    pub fn under(&mut self, capability: TurnCapability, reaction: impl FnOnce(&mut Context<'_>)) {
        let origin = Origin { scope: Scope::Turn(capability), ..*self.origin };
        let attributes = self.attributes.clone();
        let Context { node, calls, outbox, .. } = self;
        reaction(&mut Context { origin: &origin, node: *node, attributes, calls, outbox });
    }

    /// How many events have been emitted in this reaction and before it, by output.
    pub(crate) fn emitted(&self) -> usize {
        self.outbox.events.iter().map(Vec::len).sum()
    }

    /// What has been emitted on the first output since so many events were.
    pub(crate) fn emitted_since(&self, before: usize) -> impl Iterator<Item = &Payload> {
        let first = self.outbox.events.first().map(Vec::as_slice).unwrap_or_default();
        let new = self.emitted().saturating_sub(before).min(first.len());
        first[first.len() - new..].iter().map(|event| &event.payload)
    }

    /// How much has been asked for in this tick, by whomever.
    pub(crate) fn asked(&self) -> usize {
        self.outbox.asks.len()
    }

    /// Whether the node has said that it can't go on, since so much had been asked for. What was asked for before may be
    /// another session's: one outbox serves all that react in a tick.
    pub(crate) fn has_failed_since(&self, before: usize) -> bool {
        self.outbox.asks[before..].iter().any(|ask| matches!(ask.kind, AskKind::Fail(_)))
    }

    fn next_call(&mut self) -> CallRef {
        *self.calls += 1;
        CallRef(*self.calls)
    }

    fn ask(&mut self, kind: AskKind) {
        let Origin { slot, scope, cause, .. } = *self.origin;
        self.outbox.asks.push(Ask { slot, node: self.node, scope, cause, kind });
    }
}
