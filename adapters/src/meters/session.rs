//! Counts what one session does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rspp_specs::budget::TurnPart;
use rspp_specs::buffer::WatermarkLevel;
use rspp_specs::event::{ProviderResult, Request};
use rspp_specs::ids::{EdgeIndex, InvocationId, NodeIndex, TurnId};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::NodeKind;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Derived, Effect, Entry, Input, Signal};

use super::{PlanMeters, less, more, more_of};
use crate::onlooker::{Watch, asker};

/// One session.
pub(super) struct SessionMeter {
    of: Arc<PlanMeters>,
    running: BTreeMap<InvocationId, Running>,
    turn: Option<Turn>,
    proposed: Option<Micros>,
    /// What waits to be spoken of the turn.
    queued: Micros,
    /// What waits on edges, as it was said last, and whether that is over the high watermark.
    held: BTreeMap<EdgeIndex, (u64, bool)>,
}

struct Running {
    node: NodeIndex,
    from: Micros,
    is_voice: bool,
    has_answered: bool,
}

struct Turn {
    turn: TurnId,
    opened: Micros,
    speech_end: Option<Micros>,
    cancelled: Option<Micros>,
}

impl SessionMeter {
    pub(super) fn new(of: Arc<PlanMeters>) -> Self {
        let (running, held) = (BTreeMap::new(), BTreeMap::new());
        Self { of, running, turn: None, proposed: None, queued: Micros(0), held }
    }

    /// A node of the plan that is the only one of its kind, or the first.
    fn gave(&self, is: impl Fn(&NodeKind) -> bool) {
        let node = self.of.plan.find(is).and_then(|node| self.of.node(node));
        node.iter().for_each(|node| more(&node.gave));
    }

    fn on_input(&mut self, at: Micros, input: &Input) {
        match input {
            Input::CallerAudio(_) => self.gave(|kind| matches!(kind, NodeKind::Caller)),
            Input::Provider(id, result) => self.on_result(at, *id, result),
            Input::Derived(Derived::TurnOpenProposed(proposal)) => {
                self.proposed = Some(proposal.waits_since.unwrap_or(at));
            }
            Input::NodeOverrun { node, .. } => self.of.node(*node).iter().for_each(|node| more(&node.overruns)),
            _ => {}
        }
    }

    fn on_result(&mut self, at: Micros, id: InvocationId, result: &ProviderResult) {
        if let ProviderResult::End(outcome) = result {
            let Some(running) = self.running.remove(&id) else { return };
            let Some(node) = self.of.node(running.node) else { return };
            let place = Outcome::ALL.iter().position(|one| one == outcome).expect("all outcomes are in the list");
            more(&node.outcomes[place]);
            return less(&node.running, 1);
        }
        let Some(running) = self.running.get_mut(&id) else { return };
        let Some(node) = self.of.node(running.node) else { return };
        more(&node.gave);
        if !std::mem::replace(&mut running.has_answered, true) {
            node.first_result.put(at.since(running.from));
        }
        if let ProviderResult::Audio(frame) = result
            && running.is_voice
        {
            self.queue(self.queued + frame.duration());
        }
    }

    /// So much waits to be spoken from now on.
    fn queue(&mut self, queued: Micros) {
        let before = std::mem::replace(&mut self.queued, queued);
        self.of.queued_us.fetch_add(queued.since(before).0, Ordering::Relaxed);
        less(&self.of.queued_us, before.since(queued).0);
    }

    fn on_effect(&mut self, at: Micros, effect: &Effect) {
        match effect {
            Effect::Invoke { id, request, binding } => self.on_invoke(at, *id, binding, request),
            Effect::Feed { id, .. } => {
                let node = self.running.get(id).and_then(|running| self.of.node(running.node));
                node.iter().for_each(|node| more(&node.given));
            }
            Effect::CancelInvocation { id } => {
                let node = self.running.remove(id).and_then(|running| self.of.node(running.node));
                if let Some(node) = node {
                    more(&node.cancelled);
                    less(&node.running, 1);
                }
            }
            Effect::Transmit { frame, .. } => {
                self.gave(|kind| matches!(kind, NodeKind::Playout(_)));
                self.queue(self.queued.since(frame.duration()));
            }
            _ => {}
        }
    }

    fn on_invoke(&mut self, at: Micros, id: InvocationId, binding: &str, request: &Request) {
        let Some(index) = asker(&self.of.plan, request, binding) else { return };
        let Some(node) = self.of.node(index) else { return };
        more(&node.given);
        more(&node.invocations);
        more(&node.running);
        let is_voice = matches!(request, Request::Speak { .. });
        self.running.insert(id, Running { node: index, from: at, is_voice, has_answered: false });
    }

    fn on_signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal) {
        let turns = &self.of.turns;
        match signal {
            Signal::TurnOpen { speech_end, .. } => self.on_turn_open(at, turn, *speech_end),
            Signal::OutputAccepted => {
                self.of_turn(turn).iter().for_each(|turn| turns.gates.first_output.put(at.since(turn.opened)));
            }
            Signal::PlaybackStarted => {
                let asked = self.of_turn(turn).and_then(|turn| turn.speech_end);
                asked.iter().for_each(|asked| turns.gates.end_to_end.put(at.since(*asked)));
            }
            Signal::CancelAccepted { reason } => {
                more_of(&turns.cancels, reason.name());
                if let Some(turn) = self.turn.as_mut() {
                    turn.cancelled = Some(at);
                }
            }
            Signal::FenceApplied { .. } => {
                more(&turns.fences);
                let cancelled = self.of_turn(turn).and_then(|turn| turn.cancelled);
                cancelled.iter().for_each(|cancelled| turns.gates.cancel_fence.put(at.since(*cancelled)));
                self.queue(Micros(0));
            }
            Signal::Commit => more_of(&turns.ends, "commit"),
            Signal::Abort { reason } => more_of(&turns.ends, reason.name()),
            Signal::Close => self.queue(Micros(0)),
            Signal::PlayoutHold => more(&turns.holds),
            Signal::LateAfterCancel { .. } => more(&turns.late_results),
            Signal::OutputFenced { frames } => {
                turns.frames_fenced.fetch_add(u64::from(*frames), Ordering::Relaxed);
            }
            Signal::StaleEpochReject { .. } => more(&turns.stale_epochs),
            other => self.on_signal_of_a_part(other),
        }
    }

    fn on_signal_of_a_part(&mut self, signal: &Signal) {
        let node = |index: &NodeIndex| self.of.node(*index);
        let edge = |index: &EdgeIndex| self.of.edge(*index);
        match signal {
            Signal::NodeError { node: of, .. } => node(of).iter().for_each(|node| more(&node.failures)),
            Signal::NodeCancelled { node: of, .. } => node(of).iter().for_each(|node| more(&node.cancelled)),
            Signal::ProviderSwitch { node: of, .. } => node(of).iter().for_each(|node| more(&node.switches)),
            Signal::PartBudgetSpent { part: TurnPart::Node(of), .. } => {
                node(of).iter().for_each(|node| more(&node.budgets_spent));
            }
            Signal::DropNotice { edge: Some(of), dropped, .. } => {
                let items = u64::from(dropped.items);
                edge(of).iter().for_each(|edge| {
                    edge.dropped.fetch_add(items, Ordering::Relaxed);
                });
            }
            Signal::FlowXoff { edge: of } => edge(of).iter().for_each(|edge| more(&edge.stopped)),
            Signal::Merged { edge: of, sequences, .. } => {
                let items = sequences.len() as u64;
                edge(of).iter().for_each(|edge| {
                    edge.merged.fetch_add(items, Ordering::Relaxed);
                });
            }
            Signal::Watermark { edge: of, level, held, .. } => {
                self.on_watermark(*of, u64::from(held.items), *level == WatermarkLevel::High);
            }
            _ => {}
        }
    }

    fn on_watermark(&mut self, index: EdgeIndex, items: u64, is_high: bool) {
        let Some(edge) = self.of.edge(index) else { return };
        let (before, was_high) = self.held.insert(index, (items, is_high)).unwrap_or_default();
        edge.held.fetch_add(items.saturating_sub(before), Ordering::Relaxed);
        less(&edge.held, before.saturating_sub(items));
        edge.filling.fetch_add(u64::from(is_high && !was_high), Ordering::Relaxed);
        less(&edge.filling, u64::from(was_high && !is_high));
    }

    fn of_turn(&self, turn: Option<TurnId>) -> Option<&Turn> {
        self.turn.as_ref().filter(|open| Some(open.turn) == turn)
    }

    fn on_turn_open(&mut self, at: Micros, turn: Option<TurnId>, speech_end: Option<Micros>) {
        let Some(turn) = turn else { return };
        more(&self.of.turns.opened);
        self.gave(|kind| matches!(kind, NodeKind::UserTurn));
        if let Some(proposed) = self.proposed.take() {
            self.of.turns.gates.turn_open.put(at.since(proposed));
        }
        self.turn = Some(Turn { turn, opened: at, speech_end, cancelled: None });
    }
}

impl Watch for SessionMeter {
    fn on(&mut self, at: Micros, entry: &Entry) {
        match entry {
            Entry::Input(_, input) => self.on_input(at, input),
            Entry::Signal(turn, signal) => self.on_signal(at, *turn, signal),
            Entry::Effect(effect) => self.on_effect(at, effect),
        }
    }
}

/// The session is over: nothing of it runs or waits any more.
impl Drop for SessionMeter {
    fn drop(&mut self) {
        self.queue(Micros(0));
        for running in std::mem::take(&mut self.running).into_values() {
            self.of.node(running.node).iter().for_each(|node| less(&node.running, 1));
        }
        let held: Vec<EdgeIndex> = self.held.keys().copied().collect();
        held.into_iter().for_each(|edge| self.on_watermark(edge, 0, false));
    }
}
