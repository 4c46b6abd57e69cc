//! One session's tables, and the desk at which it works during a tick.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rspp_specs::admission::{AdmissionSnapshot, ConnectionState};
use rspp_specs::dataflow::{ControlRow, Directive, Row};
use rspp_specs::event::{Delivery, DeliveryContent, Origin};
use rspp_specs::ids::{Generation, LeaseEpoch, NodeIndex, RuntimeSequence, Scope, Slot, TurnCapability, TurnId};
use rspp_specs::limits::MAX_SESSION_DERIVED_INPUTS;
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::plan::{NodeKind, Plan};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{
    Confirmation, Derived, Effect, EgressEpoch, Entry, Holder, Input, Record, SessionOpen, Signal, TimerKey,
    TurnProposal, TurnState,
};

use crate::circuit::Circuits;
use crate::commitments::Commitments;
use crate::dataflow::Dataflow;
use crate::degrade::Degraded;
use crate::fence::Fence;
use crate::flow::Flow;
use crate::hosting::Strikes;
use crate::invocations::Invocations;
use crate::ledger::{Conversation, Playback};
use crate::node_set::NodeSet;
use crate::queue::Queue;
use crate::recording::Recording;
use crate::timebase::Timebase;
use crate::timers::Timers;
use crate::unasked::Silence;

/// A session on this worker. What a tick looks at of every session that takes part comes first and stands together, because
/// with thousands of sessions each line of it is fetched from far away.
#[repr(C)]
pub(crate) struct Session {
    /// The last of the worker's ticks that it took part in.
    pub(crate) touched_in: u64,
    pub(crate) tick: u64,
    sequence: u64,
    pub(crate) slot: Slot,
    /// Which of the worker's dataflows it runs in.
    pub(crate) shape: u32,
    pub(crate) derived: VecDeque<Derived>,
    pub(crate) nodes: KnownNodes,
    /// Frames stopped at egress in this tick.
    pub(crate) fenced_frames: u32,
    /// Takes no new turn.
    pub(crate) draining: bool,
    /// Over, once no turn is active.
    pub(crate) ending: bool,
    /// Over, once no turn is active and all that was said is heard.
    pub(crate) retiring: bool,
    /// The lease is somebody else's.
    pub(crate) deauthorized: bool,
    /// The caller's transport is gone, and may come back.
    pub(crate) suspended: bool,
    /// Another worker played until now: playout is on hold until the transport says where it stopped.
    pub(crate) taken_over: bool,
    pub(crate) turn: Option<ActiveTurn>,
    /// What would end the turn, of all that this tick brought.
    pub(crate) end: Option<End>,
    pub(crate) fence: Fence,
    /// The slot's generation when the session began, wherever that was. The timeline counts from here, so that it does not
    /// depend on who used the slot before.
    first_generation: Generation,
    pub(crate) turns: u32,
    pub(crate) speech: CallerSpeech,
    pub(crate) egress: EgressEpoch,
    /// The tick in which a turn closed last.
    pub(crate) closed_in: u64,
    /// The lease under which this worker writes the session.
    pub(crate) epoch: LeaseEpoch,
    pub(crate) admission: Option<Box<Known>>,
    /// With whom it shares what is scarce.
    pub(crate) fairness_key: Arc<str>,
    /// Proposals that wait to be admitted.
    pub(crate) deferred: VecDeque<TurnProposal>,
    /// The caller's connection, as it was told last.
    pub(crate) connection: ConnectionState,
    pub(crate) circuits: Circuits,
    pub(crate) plan: Arc<Plan>,
    pub(crate) invocations: Invocations,
    /// Calls that wait for one of their node's to end.
    pub(crate) queue: Queue,
    pub(crate) playback: Option<Playback>,
    pub(crate) conversation: Conversation,
    pub(crate) recording: Recording,
    /// Edges under pressure, if any are.
    pub(crate) flow: Option<Box<Flow>>,
    /// Which nodes have computed for too long, and how often.
    pub(crate) strikes: BTreeMap<NodeIndex, Strikes>,
    /// Nodes that are out for good.
    pub(crate) taken_out: NodeSet,
    /// Nodes that have begun their life and are not ready.
    pub(crate) starting: NodeSet,
    /// Where the other clocks stand.
    pub(crate) timebase: Timebase,
    /// How long nobody has spoken.
    pub(crate) silence: Silence,
}

/// The nodes of a plan that the core itself has to do with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownNodes {
    pub(crate) caller: Option<NodeIndex>,
    pub(crate) user_turn: Option<NodeIndex>,
    /// The first model, in whose place given words are said.
    pub(crate) model: Option<NodeIndex>,
    /// Somebody listens for speech: without one, nobody heeds a button either.
    pub(crate) has_vad: bool,
}

/// The newest word of admission, and when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) snapshot: AdmissionSnapshot,
    pub(crate) at: Micros,
}

/// The active turn.
#[derive(Debug)]
pub(crate) struct ActiveTurn {
    pub(crate) capability: TurnCapability,
    pub(crate) opened_at: Micros,
    pub(crate) held: bool,
    pub(crate) output_accepted: bool,
    /// The nodes that hold it.
    pub(crate) node_holds: NodeSet,
    pub(crate) writes: Commitments,
    /// The revocation is on its way through the operators.
    pub(crate) revoked: bool,
    /// Cancelled softly: nothing new begins, and it ends when what is being said is said, or at this time.
    pub(crate) closing: Option<(CancelReason, Micros)>,
    /// With how much less it gets by.
    pub(crate) degraded: Degraded,
}

/// What is known of the caller's speech right now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallerSpeech {
    pub(crate) speaking: bool,
    /// The current utterance has words.
    pub(crate) words: bool,
    /// The current utterance is no cough.
    pub(crate) sustained: bool,
    /// It has words, and they only tell a speaker to go on.
    pub(crate) backchannel: bool,
}

impl CallerSpeech {
    /// Whether there is enough of it to interrupt, and by what.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        match (self.words, self.sustained && !self.backchannel) {
            (true, _) => Some(Confirmation::Words),
            (false, true) => Some(Confirmation::Speech),
            (false, false) => None,
        }
    }
}

/// What ends a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) reason: AbortReason,
    pub(crate) cancel: CancelReason,
    pub(crate) cause: RuntimeSequence,
}

/// Where a session puts what it decides in a tick.
pub(crate) struct Desk<'a> {
    pub(crate) now: Micros,
    pub(crate) timeline: &'a mut Vec<Record>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) flow: &'a mut Dataflow,
}

impl Session {
    pub(crate) fn new(slot: Slot, open: &SessionOpen, shape: u32, fence: Fence) -> Self {
        let plan = Arc::clone(&open.plan);
        let nodes = KnownNodes {
            caller: plan.find(|kind| matches!(kind, NodeKind::Caller)),
            user_turn: plan.find(|kind| matches!(kind, NodeKind::UserTurn)),
            model: plan.find(|kind| matches!(kind, NodeKind::Llm { .. })),
            has_vad: plan.find(|kind| matches!(kind, NodeKind::Vad(_))).is_some(),
        };
        Self {
            slot,
            plan,
            shape,
            nodes,
            tick: open.resume.ticks,
            touched_in: 0,
            sequence: open.resume.sequence,
            turns: open.resume.turns,
            fence,
            first_generation: Generation(fence.generation().0.wrapping_sub(open.resume.generations)),
            turn: None,
            speech: CallerSpeech::default(),
            invocations: Invocations::resume(open.resume.invocations),
            queue: Queue::new(),
            derived: VecDeque::new(),
            playback: None,
            conversation: Conversation::resume(&open.resume.context),
            egress: EgressEpoch(open.resume.clears),
            fenced_frames: 0,
            end: None,
            draining: false,
            ending: false,
            retiring: false,
            deauthorized: false,
            suspended: false,
            taken_over: false,
            epoch: open.epoch,
            admission: None,
            fairness_key: Arc::clone(&open.fairness_key),
            deferred: VecDeque::new(),
            connection: ConnectionState::Connected,
            circuits: Circuits::default(),
            closed_in: 0,
            recording: Recording::new(open.recording_level()),
            flow: None,
            strikes: BTreeMap::new(),
            taken_out: NodeSet::default(),
            starting: NodeSet::default(),
            timebase: Timebase::default(),
            silence: Silence::default(),
        }
    }

    /// The door: an input gets its sequence, and stands in the timeline before anything acts on it.
    pub(crate) fn enter(&mut self, desk: &mut Desk<'_>, input: Input) -> RuntimeSequence {
        self.sequence += 1;
        let sequence = RuntimeSequence(self.sequence);
        self.write(desk, Entry::Input(sequence, input));
        sequence
    }

    /// The sequence of the input that entered last.
    pub(crate) fn last_sequence(&self) -> RuntimeSequence {
        RuntimeSequence(self.sequence)
    }

    pub(crate) fn write(&self, desk: &mut Desk<'_>, entry: Entry) {
        debug_assert!(
            !matches!(&entry, Entry::Signal(turn, signal) if !signal.row().scope.allows(*turn)),
            "the table of signals forbids {entry:?}"
        );
        desk.timeline.push(Record { slot: self.slot, tick: self.tick, at: desk.now, entry });
    }

    /// Says something about the session.
    pub(crate) fn say(&self, desk: &mut Desk<'_>, signal: Signal) {
        self.write(desk, Entry::Signal(None, signal));
    }

    /// Says something about a turn.
    pub(crate) fn say_of(&self, desk: &mut Desk<'_>, turn: TurnId, signal: Signal) {
        self.write(desk, Entry::Signal(Some(turn), signal));
    }

    /// Says something about the active turn, or the session where there is none.
    pub(crate) fn say_here(&self, desk: &mut Desk<'_>, signal: Signal) {
        self.write(desk, Entry::Signal(self.active(), signal));
    }

    pub(crate) fn effect(&self, desk: &mut Desk<'_>, effect: Effect) {
        self.write(desk, Entry::Effect(effect));
    }

    /// Sets a timer, and tells the shell.
    pub(crate) fn wake_at(&self, desk: &mut Desk<'_>, key: TimerKey, at: Micros) {
        desk.timers.set(self.slot, key, at);
        self.effect(desk, Effect::WakeAt { at });
    }

    /// Tells every operator.
    pub(crate) fn direct(&self, desk: &mut Desk<'_>, cause: RuntimeSequence, directive: Directive) {
        let row = ControlRow { slot: self.slot, cause, at: desk.now, directive };
        desk.flow.control.push(Row::Control(row));
    }

    /// Delivers to one node, on the data lane.
    pub(crate) fn deliver(
        &self,
        desk: &mut Desk<'_>,
        cause: RuntimeSequence,
        node: NodeIndex,
        scope: Scope,
        content: DeliveryContent,
    ) {
        let origin = Origin { slot: self.slot, scope, cause, at: desk.now };
        desk.flow.data.push(Row::Delivery(Delivery { origin, node, content }));
    }

    /// Puts a decision in front of the session's next tick.
    pub(crate) fn derive(&mut self, derived: Derived) {
        if self.derived.contains(&derived) || self.derived.len() == MAX_SESSION_DERIVED_INPUTS {
            return;
        }
        self.derived.push_back(derived);
    }

    /// A capability's generation, as the session's timeline counts it.
    pub(crate) fn generation_of(&self, capability: TurnCapability) -> Generation {
        self.since_first(capability.generation())
    }

    fn since_first(&self, generation: Generation) -> Generation {
        Generation(generation.0.wrapping_sub(self.first_generation.0))
    }

    /// How often a capability of the session was minted or voided.
    pub(crate) fn generations(&self) -> u32 {
        self.since_first(self.fence.generation()).0
    }

    /// The active turn, if there is one.
    pub(crate) fn active(&self) -> Option<TurnId> {
        self.turn.as_ref().map(|turn| turn.capability.turn())
    }

    /// Whether `capability` may emit now: the first two gates ask this.
    pub(crate) fn admits(&self, capability: TurnCapability) -> bool {
        self.fence.admits(capability) && self.turn.as_ref().is_some_and(|turn| turn.capability == capability)
    }

    /// The arbiter's state at the end of a tick.
    pub(crate) fn state(&self) -> TurnState {
        match &self.turn {
            Some(turn) if turn.held => TurnState::Held,
            Some(_) => TurnState::Active,
            None if self.closed_in == self.tick => TurnState::Closed,
            None => TurnState::Idle,
        }
    }

    /// Everybody who holds the active turn.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let Some(turn) = &self.turn else { return Vec::new() };
        let mut holders: Vec<Holder> = self.invocations.holding(turn.capability).map(Holder::Invocation).collect();
        holders.extend(turn.writes.waiting().map(|key| Holder::Write(Arc::clone(key))));
        let mut nodes = turn.node_holds;
        let queued = self.queue.iter().filter(|(row, _)| row.holds() == Some(turn.capability));
        queued.for_each(|(row, _)| nodes.set(row.node, true));
        holders.extend(nodes.iter().map(Holder::Node));
        if self.derived.iter().any(|derived| derived.turn() == self.active()) {
            holders.push(Holder::Derived);
        }
        if turn.closing.is_some() {
            holders.push(Holder::Grace);
        }
        holders
    }

    /// Whether nobody holds the active turn: no output can follow.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| {
            turn.node_holds.is_empty()
                && !turn.held
                && turn.writes.is_empty()
                && self.invocations.holding(turn.capability).next().is_none()
                && !self.has_queued(turn.capability)
                && !self.derived.iter().any(|derived| derived.turn() == Some(turn.capability.turn()))
        })
    }
}
