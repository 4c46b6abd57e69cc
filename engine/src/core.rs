//! The tick: `tick(now, inputs) -> timeline`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rspp_specs::dataflow::{Ask, AskKind, Directive};
use rspp_specs::event::{ContextEntry, DeliveryContent, Payload, ProviderResult, Request, ToolCall};
use rspp_specs::ids::{CallRef, InvocationId, NodeIndex, RuntimeSequence, Scope, Slot, TurnCapability};
use rspp_specs::limits::{MAX_TEXT_BYTES, MAX_WORKER_SESSIONS};
use rspp_specs::outcome::{AbortReason, Outcome};
use rspp_specs::plan::{NodeKind, Shape};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{
    Derived, Effect, Entry, Holder, Input, Record, SessionOpen, Signal, TimerKey, TurnProposal, TurnState,
};
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::worker::Worker;

use crate::batch::Batch;
use crate::commitments::Proposed;
use crate::dataflow::{Dataflow, Lower};
use crate::fence::Fence;
use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};
use crate::timers::Timers;

/// A worker's core: sessions as rows, one dataflow for each shape, no clock.
pub struct Core {
    worker: Worker,
    lower: Box<dyn Lower>,
    shapes: Vec<Shape>,
    flows: Vec<Dataflow>,
    sessions: Vec<Place>,
    free: Vec<Slot>,
    timers: Timers,
    /// Sessions with something derived: their next tick begins with it.
    derived: BTreeSet<Slot>,
    touched: BTreeSet<Slot>,
    asks: Vec<Ask>,
}

/// A slot: its generations outlive its sessions.
#[derive(Default)]
struct Place {
    fence: Fence,
    session: Option<Box<Session>>,
}

/// What can be seen of a session between ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The session's own count of ticks.
    pub tick: u64,
    /// The arbiter's state.
    pub state: TurnState,
    /// Who holds the active turn.
    pub holders: Vec<Holder>,
    /// Invocations in flight.
    pub invocations: usize,
    /// Whether there is audio of which it is not known yet how much the caller heard.
    pub is_playing: bool,
}

/// What binding a tool call gets that the spec does not declare. No provider has this name; the shell refuses the
/// call, and the model is told.
pub(crate) const UNDECLARED_TOOL: &str = "undeclared-tool";

impl Core {
    /// A core without sessions, that lowers plans with `lower`.
    pub fn new(lower: Box<dyn Lower>) -> Self {
        let config = timely::WorkerConfig::default();
        Self {
            worker: Worker::new(config, Allocator::Thread(Thread::default()), None),
            lower,
            shapes: Vec::new(),
            flows: Vec::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            timers: Timers::default(),
            derived: BTreeSet::new(),
            touched: BTreeSet::new(),
            asks: Vec::new(),
        }
    }

    /// A slot for a new session, or `None` if the worker is full. The session begins with
    /// [`Input::SessionOpen`] on this slot, and the slot is free again once it has ended.
    pub fn reserve(&mut self) -> Option<Slot> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.sessions.len() == MAX_WORKER_SESSIONS {
            return None;
        }
        self.sessions.push(Place::default());
        Some(Slot(self.sessions.len() as u32 - 1))
    }

    /// When the core wants to tick again at the latest: now, if something is derived; else when a timer is due.
    pub fn next_deadline(&self, now: Micros) -> Option<Micros> {
        if self.derived.is_empty() { self.timers.next() } else { Some(now) }
    }

    /// Whether the next tick begins with something derived.
    pub fn has_derived(&self) -> bool {
        !self.derived.is_empty()
    }

    /// What can be seen of a session.
    pub fn view(&self, slot: Slot) -> Option<View> {
        let session = self.sessions.get(slot.0 as usize)?.session.as_ref()?;
        Some(View {
            tick: session.tick,
            state: session.state(),
            holders: session.holders(),
            invocations: session.invocations.len(),
            is_playing: session.playback.is_some(),
        })
    }

    /// One tick: control, then data, then what follows from them. Appends to `timeline` everything that entered and
    /// everything that the shell is to do, in order; `batch` comes back empty.
    pub fn tick(&mut self, now: Micros, batch: &mut Batch, timeline: &mut Vec<Record>) {
        self.touched.clear();
        self.take_derived(now, timeline);
        for (slot, input) in batch.control.drain(..) {
            self.take_control(now, slot, input, timeline);
        }
        while let Some((slot, key)) = self.timers.pop_due(now) {
            self.take_control(now, slot, Input::Timer(key), timeline);
        }
        self.each_touched(now, timeline, Session::begin_end);
        for flow in &mut self.flows {
            flow.run_control(&mut self.worker);
        }
        self.each_touched(now, timeline, Session::finish_end);
        for (slot, input) in batch.data.drain(..) {
            self.with(now, slot, timeline, |session, desk| session.on_data(desk, input));
        }
        batch.clear();
        self.run_data(now, timeline);
        self.each_touched(now, timeline, Session::end_tick);
        self.retire();
    }

    fn take_derived(&mut self, now: Micros, timeline: &mut Vec<Record>) {
        for slot in std::mem::take(&mut self.derived) {
            let Some(session) = self.sessions[slot.0 as usize].session.as_mut() else { continue };
            for derived in std::mem::take(&mut session.derived) {
                self.take_control(now, slot, Input::Derived(derived), timeline);
            }
        }
    }

    fn take_control(&mut self, now: Micros, slot: Slot, input: Input, timeline: &mut Vec<Record>) {
        let input = match input {
            Input::SessionOpen(open) => {
                self.open_session(now, slot, open, timeline);
                return;
            }
            input => input,
        };
        self.with(now, slot, timeline, |session, desk| {
            let sequence = session.enter(desk, input.clone());
            session.on_control(desk, sequence, input);
        });
    }

    fn open_session(&mut self, now: Micros, slot: Slot, open: Box<SessionOpen>, timeline: &mut Vec<Record>) {
        let shape = self.flow_of(&open);
        let Some(place) = self.sessions.get_mut(slot.0 as usize) else { return };
        if place.session.is_some() {
            let input = Input::SessionOpen(open);
            self.with(now, slot, timeline, |session, desk| session.refuse(desk, &input));
            return;
        }
        place.session = Some(Box::new(Session::new(slot, &open, shape, place.fence)));
        self.with(now, slot, timeline, |session, desk| {
            let plan = Arc::clone(&open.plan);
            let sequence = session.enter(desk, Input::SessionOpen(open));
            session.direct(desk, sequence, Directive::Begin(plan));
            session.say(desk, Signal::SessionReady);
        });
    }

    /// The dataflow of a plan's shape, built if this worker has none yet.
    fn flow_of(&mut self, open: &SessionOpen) -> usize {
        let shape = open.plan.shape();
        if let Some(known) = self.shapes.iter().position(|known| *known == shape) {
            return known;
        }
        self.shapes.push(shape);
        self.flows.push(Dataflow::build(&mut self.worker, &open.plan, self.lower.as_ref()));
        self.flows.len() - 1
    }

    /// Lets a session work at its desk. Input of a session that is not there is dropped: it has ended.
    fn with(
        &mut self,
        now: Micros,
        slot: Slot,
        timeline: &mut Vec<Record>,
        work: impl FnOnce(&mut Session, &mut Desk<'_>),
    ) {
        let Some(session) = self.sessions.get_mut(slot.0 as usize).and_then(|place| place.session.as_mut()) else {
            return;
        };
        if self.touched.insert(slot) {
            session.tick += 1;
        }
        let flow = &mut self.flows[session.shape];
        work(session, &mut Desk { now, timeline, timers: &mut self.timers, flow });
        if !session.derived.is_empty() {
            self.derived.insert(slot);
        }
    }

    fn each_touched(
        &mut self,
        now: Micros,
        timeline: &mut Vec<Record>,
        work: impl Fn(&mut Session, &mut Desk<'_>) + Copy,
    ) {
        let touched = std::mem::take(&mut self.touched);
        self.touched = touched.clone();
        for slot in touched {
            self.with(now, slot, timeline, work);
        }
    }

    fn run_data(&mut self, now: Micros, timeline: &mut Vec<Record>) {
        let mut asks = std::mem::take(&mut self.asks);
        for flow in 0..self.flows.len() {
            if self.flows[flow].is_idle() {
                continue;
            }
            self.flows[flow].run_data(&mut self.worker, &mut asks);
            for ask in asks.drain(..) {
                self.with(now, ask.slot, timeline, |session, desk| session.on_ask(desk, ask));
            }
        }
        self.asks = asks;
    }

    /// Frees the slots of sessions that have ended.
    fn retire(&mut self) {
        for slot in &self.touched {
            let place = &mut self.sessions[slot.0 as usize];
            if let Some(session) = place.session.take_if(|session| session.ending && session.turn.is_none()) {
                place.fence = session.fence;
                self.timers.cancel_all(*slot);
                self.derived.remove(slot);
                self.free.push(*slot);
            }
        }
    }
}

impl Session {
    /// One input of the data lane.
    fn on_data(&mut self, desk: &mut Desk<'_>, input: Input) {
        let sequence = self.enter(desk, input.clone());
        match input {
            Input::CallerAudio(frame) => match self.nodes.caller {
                Some(node) => {
                    let content = DeliveryContent::Emit(Payload::Audio(frame));
                    self.deliver(desk, sequence, node, Scope::Session, content);
                }
                None => self.refuse(desk, &Input::CallerAudio(frame)),
            },
            Input::UserText(text) if text.len() <= MAX_TEXT_BYTES => {
                let proposal = TurnProposal { text, understood: true, speech_end: None };
                self.derive(Derived::TurnOpenProposed(proposal));
            }
            Input::Provider(id, result) => self.on_result(desk, sequence, id, result),
            refused => self.refuse(desk, &refused),
        }
    }

    /// The first gate: a result whose invocation nobody waits for does not enter the graph.
    fn on_result(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId, result: ProviderResult) {
        let Some(invocation) = self.invocations.get(id).cloned() else {
            let late = self.invocations.was_cancelled(id);
            let input = Input::Provider(id, result);
            if late {
                self.say_here(desk, Signal::LateAfterCancel { id });
            } else {
                self.refuse(desk, &input);
            }
            return;
        };
        let result = self.note_result(desk, id, &invocation, result);
        if let Some(scope) = invocation.results_to {
            let content = DeliveryContent::Result(invocation.call, result);
            self.deliver(desk, cause, invocation.node, scope, content);
        }
    }

    /// What the core itself keeps of a result: provenance, the ledger, the context, the end.
    fn note_result(
        &mut self,
        desk: &mut Desk<'_>,
        id: InvocationId,
        invocation: &Invocation,
        result: ProviderResult,
    ) -> ProviderResult {
        match result {
            ProviderResult::Audio(mut frame) => {
                frame.spoken_by = Some(id);
                if let Some(playback) = &mut self.playback {
                    playback.on_audio(id, &frame);
                }
                ProviderResult::Audio(frame)
            }
            ProviderResult::ToolResult(content) => {
                if let Some(key) = &invocation.tool_key {
                    self.conversation.on_tool_result(key, &content);
                }
                ProviderResult::ToolResult(content)
            }
            ProviderResult::End(outcome) => {
                self.on_invocation_end(desk, id, invocation, outcome);
                ProviderResult::End(outcome)
            }
            other => other,
        }
    }

    fn on_invocation_end(&mut self, desk: &mut Desk<'_>, id: InvocationId, invocation: &Invocation, outcome: Outcome) {
        self.invocations.end(id);
        if let Some(playback) = &mut self.playback {
            playback.on_spoken(id);
        }
        if outcome == Outcome::Success {
            return;
        }
        self.say_here(desk, Signal::ProviderError { id, outcome });
        match (invocation.kind, invocation.holds()) {
            (Kind::Chat | Kind::Speak, Some(capability)) => {
                self.derive(Derived::TurnFailed(capability.turn(), AbortReason::ProviderFailure));
            }
            (Kind::Tool, _) => {
                if let Some(key) = &invocation.tool_key {
                    let content = format!("error: the tool ended with {}", outcome.name());
                    self.conversation.on_tool_result(key, &content.into());
                }
            }
            _ => {}
        }
    }

    /// What an operator asks for. What it asks in the name of a turn that is no more is not done.
    fn on_ask(&mut self, desk: &mut Desk<'_>, ask: Ask) {
        let Ask { node, scope, kind, .. } = ask;
        let allowed = scope.capability().is_none_or(|capability| self.admits(capability));
        match kind {
            AskKind::Transmit(_) if !allowed || scope == Scope::Session => self.fenced_frames += 1,
            _ if !allowed => {}
            AskKind::Transmit(frame) => self.transmit(desk, frame),
            AskKind::Invoke(call, request) => self.invoke(desk, node, call, request, scope),
            AskKind::Feed(call, frame) => {
                if let Some(id) = self.invocations.find(node, call) {
                    self.effect(desk, Effect::Feed { id, frame });
                }
            }
            AskKind::FeedEnd(call) => {
                if let Some(id) = self.invocations.find(node, call) {
                    self.effect(desk, Effect::FeedEnd { id });
                }
            }
            AskKind::ProposeWrite(call, tool) => self.propose_write(desk, Proposed { node, call, tool }),
            AskKind::WakeAt(at) => self.wake_at(desk, TimerKey::Node(node), at),
            AskKind::Holds(holds) => {
                if let Some(turn) = &mut self.turn {
                    let bit = 1 << node.0;
                    turn.node_holds = if holds { turn.node_holds | bit } else { turn.node_holds & !bit };
                }
            }
            AskKind::Observe(observation) => self.observe(observation),
            AskKind::Propose(proposal) => self.derive(Derived::TurnOpenProposed(proposal)),
            AskKind::Fail(failure) => self.fail(desk, node, failure.message),
            AskKind::Dropped { items, reason } => {
                self.say_here(desk, Signal::DropNotice { node, items, reason: reason.into() });
            }
        }
    }

    /// The second gate is passed: the frame goes to the transport, with the third gate's epoch.
    fn transmit(&mut self, desk: &mut Desk<'_>, frame: rspp_specs::event::AudioFrame) {
        let (Some(turn), Some(playback)) = (&mut self.turn, &mut self.playback) else { return };
        let first = !std::mem::replace(&mut turn.output_accepted, true);
        let turn = turn.capability.turn();
        let from_sample = playback.on_transmit(desk.now, &frame);
        if first {
            self.say_of(desk, turn, Signal::OutputAccepted);
        }
        self.effect(desk, Effect::Transmit { turn, epoch: self.egress, from_sample, frame });
    }

    fn invoke(&mut self, desk: &mut Desk<'_>, node: NodeIndex, call: CallRef, request: Request, scope: Scope) {
        let (kind, request) = match request {
            Request::Tool(tool) => {
                if let Some(capability) = scope.capability() {
                    self.start_tool(desk, node, call, tool, scope, capability);
                }
                return;
            }
            Request::Chat { .. } => (Kind::Chat, Request::Chat { context: self.conversation.snapshot() }),
            Request::Speak { text } => (Kind::Speak, Request::Speak { text }),
            request @ Request::Transcribe { .. } => (Kind::Transcribe, request),
        };
        let binding = self.plan.node(node).kind.binding().unwrap_or_default();
        let binding: Arc<str> = binding.into();
        let row = Invocation { node, call, kind, cancelled_with: scope, results_to: Some(scope), tool_key: None };
        let Some(id) = self.invocations.start(row) else {
            self.fail(desk, node, "too many invocations in flight".into());
            return;
        };
        if let (Request::Speak { text }, Some(playback)) = (&request, &mut self.playback) {
            playback.on_speak(id, text);
        }
        self.effect(desk, Effect::Invoke { id, binding, request });
    }

    /// Runs a tool for a turn. One that is `cancelled_with` the session is a committed write: the turn waits for it,
    /// but cancelling the turn does not touch it.
    pub(crate) fn start_tool(
        &mut self,
        desk: &mut Desk<'_>,
        node: NodeIndex,
        call: CallRef,
        tool: ToolCall,
        cancelled_with: Scope,
        turn: TurnCapability,
    ) {
        let results_to = Some(Scope::Turn(turn));
        let tool_key = Some(Arc::clone(&tool.key));
        let row = Invocation { node, call, kind: Kind::Tool, cancelled_with, results_to, tool_key };
        let Some(id) = self.invocations.start(row) else {
            self.fail(desk, node, "too many invocations in flight".into());
            return;
        };
        let binding: Arc<str> = match &self.plan.node(node).kind {
            NodeKind::Llm { tools, .. } => tools
                .iter()
                .find(|declared| *declared.name == *tool.name)
                .map_or(UNDECLARED_TOOL, |declared| declared.binding.as_str())
                .into(),
            _ => UNDECLARED_TOOL.into(),
        };
        self.conversation.push(ContextEntry::Tool { call: tool.clone(), result: None });
        self.effect(desk, Effect::Invoke { id, binding, request: Request::Tool(tool) });
    }

    fn propose_write(&mut self, desk: &mut Desk<'_>, proposed: Proposed) {
        let Some(turn) = &mut self.turn else { return };
        let (id, opened_at) = (turn.capability.turn(), turn.opened_at);
        let (node, key, name) = (proposed.node, proposed.tool.key.clone(), proposed.tool.name.clone());
        if !turn.writes.propose(proposed) {
            self.fail(desk, node, format!("write {key} is one too many, or its key was used before").into());
            return;
        }
        self.say_of(desk, id, Signal::ToolProposed { key, name });
        let at = opened_at + self.plan.turn_policy().commit_point;
        if at > desk.now {
            self.wake_at(desk, TimerKey::CommitPoint(id), at);
        } else {
            self.commit_writes(desk);
        }
    }

    /// A node can't go on; a turn that needs it ends.
    fn fail(&mut self, desk: &mut Desk<'_>, node: NodeIndex, message: Arc<str>) {
        self.say_here(desk, Signal::NodeError { node, message });
        if let Some(turn) = self.active() {
            self.derive(Derived::TurnFailed(turn, AbortReason::NodeTimeoutOrFailure));
        }
    }

    fn end_tick(&mut self, desk: &mut Desk<'_>) {
        let frames = std::mem::take(&mut self.fenced_frames);
        if frames > 0 {
            self.say_here(desk, Signal::OutputFenced { frames });
        }
        self.commit_if_at_rest(desk);
        if self.ending && self.turn.is_none() {
            self.cancel_prelude(desk);
            let cause = self.last_sequence();
            self.direct(desk, cause, Directive::Finish);
            self.write(desk, Entry::Signal(None, Signal::SessionEnded));
        }
    }
}
