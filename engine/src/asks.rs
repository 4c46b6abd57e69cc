//! What operators ask for, and the second gate: nothing passes egress but under the active turn's capability.

use std::sync::Arc;

use rspp_specs::budget::TurnBudget;
use rspp_specs::buffer::{DEAD_LETTER, Dropped};
use rspp_specs::dataflow::{Ask, AskKind};
use rspp_specs::event::{AudioFrame, ContextEntry, Request, ToolCall};
use rspp_specs::ids::{CallRef, NodeIndex, RuntimeSequence, Scope, TurnCapability};
use rspp_specs::outcome::AbortReason;
use rspp_specs::plan::NodeKind;
use rspp_specs::timeline::{Effect, Signal, TimerKey};

use crate::commitments::Proposed;
use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

/// What binding a tool call gets that the spec does not declare. No provider has this name; the shell refuses the
/// call, and the model is told.
pub(crate) const UNDECLARED_TOOL: &str = "undeclared-tool";

impl Session {
    /// What an operator asks for. What it asks in the name of a turn that is no more is not done.
    pub(crate) fn on_ask(&mut self, desk: &mut Desk<'_>, ask: Ask) {
        let Ask { node, scope, cause, kind, .. } = ask;
        let allowed = scope.capability().is_none_or(|capability| self.admits(capability));
        if let (AskKind::Invoke(..) | AskKind::ProposeWrite(..) | AskKind::Transmit(_), Some(turn)) =
            (&kind, scope.capability())
        {
            self.invocations.note_used(turn, node);
        }
        match kind {
            AskKind::Transmit(_) if !allowed || scope == Scope::Session => self.fenced_frames += 1,
            _ if !allowed => {}
            // Playout was told to go on and to stop in one tick. The stop stands, and the next resume takes the frame back.
            AskKind::Transmit(_) if self.is_held() => {}
            AskKind::Transmit(frame) => self.transmit(desk, frame),
            // A turn that is cancelled softly begins nothing new.
            AskKind::Invoke(..) | AskKind::ProposeWrite(..) if self.is_closing(scope) => {}
            AskKind::Invoke(call, request) => self.invoke(desk, node, call, request, scope),
            AskKind::Feed(call, frame) => {
                if let Some(id) = self.invocations.find(node, call) {
                    self.effect(desk, Effect::Feed { id, frame });
                }
            }
            AskKind::FeedEnd(call) => {
                if let Some(id) = self.invocations.find(node, call) {
                    self.effect(desk, Effect::FeedEnd { id });
                    self.expect_final(desk, id, node);
                }
            }
            AskKind::ProposeWrite(call, tool) => self.propose_write(desk, Proposed { node, call, tool }),
            AskKind::WakeAt(at) => self.wake_at(desk, TimerKey::Node(node), at),
            AskKind::Holds(holds) => {
                if let Some(turn) = &mut self.turn {
                    turn.node_holds.set(node, holds);
                }
            }
            AskKind::Starts(starts) => self.on_starts(desk, node, starts),
            AskKind::Observe(observation) => self.observe(observation),
            AskKind::Propose(proposal) => self.propose(desk, proposal),
            AskKind::Fail(failure) => self.on_failure(desk, node, cause, failure.message),
            AskKind::Edge(port, report) => self.on_edge(desk, node, port, scope, report),
            AskKind::WakeBuffersAt(at) => desk.timers.set(self.slot, TimerKey::Buffers(node), at),
            AskKind::Work(mark) => self.on_work(desk, node, mark),
            AskKind::Waits(port, since) => self.on_waits(desk, node, port, since),
            AskKind::Enough => self.on_enough(desk, node),
            AskKind::BranchFallback(fault) => self.say_here(desk, Signal::BranchFallback { node, fault }),
            AskKind::Dropped { items, reason } => {
                let dropped = Dropped { items, ..Dropped::one(cause) };
                self.say_dropped(desk, self.active(), node, None, dropped, reason);
            }
        }
    }

    /// The second gate is passed: the frame goes to the transport, with the third gate's epoch.
    fn transmit(&mut self, desk: &mut Desk<'_>, frame: AudioFrame) {
        let (Some(turn), Some(playback)) = (&mut self.turn, &mut self.playback) else { return };
        let first = !std::mem::replace(&mut turn.output_accepted, true);
        let turn = turn.capability.turn();
        let from_sample = playback.on_transmit(desk.now, &frame);
        if first {
            self.say_of(desk, turn, Signal::OutputAccepted);
            self.meet_budget(desk, turn, TurnBudget::FirstAudio);
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
        self.call_or_queue(desk, Invocation::new(node, call, kind, scope), request);
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
        let binding: Arc<str> = match &self.plan.node(node).kind {
            NodeKind::Llm { tools, .. } => tools
                .iter()
                .find(|declared| *declared.name == *tool.name)
                .map_or(UNDECLARED_TOOL, |declared| declared.binding.as_str())
                .into(),
            _ => UNDECLARED_TOOL.into(),
        };
        let row = Invocation {
            results_to: Some(Scope::Turn(turn)),
            tool_key: Some(Arc::clone(&tool.key)),
            binding,
            ..Invocation::new(node, call, Kind::Tool, cancelled_with)
        };
        self.conversation.push(ContextEntry::Tool { call: tool.clone(), result: None });
        self.call(desk, row, Request::Tool(tool));
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
        }
    }

    /// A node can't get over what it was given. Where the turn can't do without the node, that is a dead letter: its input's
    /// sequence finds it in a recording (`F-132`). Where it can, what the node owed goes on in its place.
    fn on_failure(&mut self, desk: &mut Desk<'_>, node: NodeIndex, cause: RuntimeSequence, message: Arc<str>) {
        self.fail(desk, node, message);
        if !self.can_do_without(node) {
            self.say_dropped(desk, self.active(), node, None, Dropped::one(cause), DEAD_LETTER);
        }
    }

    /// A node can't go on; a turn that needs it ends.
    pub(crate) fn fail(&mut self, desk: &mut Desk<'_>, node: NodeIndex, message: Arc<str>) {
        self.say_here(desk, Signal::NodeError { node, message });
        if let Some(turn) = self.active() {
            self.fail_turn(turn, node, AbortReason::NodeTimeoutOrFailure);
        }
    }
}
