//! The arbiter: opens, holds, resumes and ends turns.
//!
//! Control inputs of a tick are taken in order. What would end the turn is noted, and the strongest of the tick
//! is carried out once all have been seen: authority loss, then a cancellation, then failures, then a lost
//! transport. Nothing is ended twice.

use std::sync::Arc;

use rspp_specs::admission::{AdmissionPoint, RejectReason};
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{ContextEntry, DeliveryContent, Payload};
use rspp_specs::ids::{LeaseEpoch, RuntimeSequence, Scope, TurnId};
use rspp_specs::limits::MAX_PLAYOUT_ACK_WAIT_MS;
use rspp_specs::outcome::{AbortReason, CancelReason, Outcome};
use rspp_specs::plan::InterruptionPolicy;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{
    AckOccasion, Confirmation, Derived, Effect, Entry, Input, Observation, Opener, PlayoutAck, Signal, TimerKey,
    TurnProposal,
};

use crate::commitments::Commitments;
use crate::degrade::Degraded;
use crate::ledger::{Ending, Playback, Position};
use crate::node_set::NodeSet;
use crate::session::{ActiveTurn, CallerSpeech, Desk, End, Session};

/// What the model is told of a tool that was cancelled with its turn.
const CANCELLED_TOOL: &str = "cancelled: the turn that asked for this ended before there was a result";

impl Session {
    /// One input of the control lane.
    pub(crate) fn on_control(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, input: Input) {
        match input {
            Input::SessionEnd => self.on_session_end(cause),
            Input::Cancel(cancellation) => self.on_cancel(desk, cause, cancellation),
            Input::AuthorityRevoked => self.on_authority_revoked(desk, cause),
            Input::SessionDrain => {
                self.draining = true;
                self.retiring = true;
            }
            Input::LeaseRotated(epoch) => self.on_lease_rotated(desk, epoch),
            Input::StaleEpoch { epoch, .. } => {
                self.say(desk, Signal::StaleEpochReject { epoch, current: self.epoch });
            }
            Input::Recorder(report) => self.on_recorder(desk, cause, report),
            Input::Takeover(takeover) => self.on_takeover(desk, cause, &takeover),
            Input::DispatchRefused(id) => self.on_dispatch_refused(desk, cause, id),
            Input::NodeOverrun { node, took } => self.on_overrun(desk, cause, node, took),
            Input::WallClock(reading) => self.on_wall_clock(desk, reading),
            Input::Admission(snapshot) => self.on_admission(desk, snapshot),
            Input::Connection(state) => self.on_connection(desk, cause, state),
            Input::ProviderHealth { binding, healthy } => {
                if let Some(state) = self.circuits.on_health(&binding, healthy, desk.now) {
                    self.say_circuit(desk, &binding, state);
                }
            }
            Input::TransportLost if self.turn.is_some() => {
                self.note_end(AbortReason::TransportDisconnectOrStall, CancelReason::Policy, cause);
            }
            Input::PlayoutAck(ack) => self.on_playout_ack(desk, cause, ack),
            Input::Observed(observation) => self.observe(observation),
            Input::Derived(derived) => self.on_derived(desk, cause, derived),
            Input::Timer(key) => self.on_timer(desk, cause, key),
            refused => self.refuse(desk, &refused),
        }
    }

    /// Says that an input does not fit the state that it met. Nothing changes.
    pub(crate) fn refuse(&self, desk: &mut Desk<'_>, input: &Input) {
        let signal = Signal::Refused { state: self.state(), input: input.name().into() };
        self.say_here(desk, signal);
    }

    pub(crate) fn on_session_end(&mut self, cause: RuntimeSequence) {
        self.draining = true;
        self.ending = true;
        if self.turn.is_some() {
            self.note_end(AbortReason::Cancelled, CancelReason::Shutdown, cause);
        }
    }

    /// The lease moves on, and never back.
    fn on_lease_rotated(&mut self, desk: &mut Desk<'_>, epoch: LeaseEpoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.say(desk, Signal::LeaseMoved { epoch });
        } else {
            self.say(desk, Signal::StaleEpochReject { epoch, current: self.epoch });
        }
    }

    fn on_authority_revoked(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        self.draining = true;
        self.deauthorized = true;
        if self.turn.is_some() {
            self.note_end(AbortReason::AuthorityLoss, CancelReason::Policy, cause);
        } else {
            self.say(desk, Signal::DeauthorizedDrain);
        }
    }

    fn on_timer(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, key: TimerKey) {
        match key {
            TimerKey::Node(node) => self.direct(desk, cause, Directive::Wake(node)),
            TimerKey::Buffers(node) => self.direct(desk, cause, Directive::WakeBuffers(node)),
            // The end of this tick's control sees what is due.
            TimerKey::CommitPoint(_) => {}
            TimerKey::PlayoutAckWait(turn) => self.on_playout_ack_missing(desk, cause, turn),
            TimerKey::Result(id) => self.on_result_late(desk, cause, id),
            TimerKey::Retry(id) => self.on_retry(desk, id),
            TimerKey::Budget(turn, budget) => self.on_budget_spent(desk, cause, turn, budget),
            TimerKey::Part(turn, part) => self.on_part_spent(desk, cause, turn, part),
            TimerKey::Reconnect => self.on_reconnect_late(cause),
            TimerKey::Hold(turn) => self.on_hold_long(turn),
            TimerKey::CancelGrace(turn) => self.on_cancel_grace_over(cause, turn),
            TimerKey::Deferred => self.try_deferred(desk),
            TimerKey::NodeStart(node) => self.on_start_late(desk, node),
            TimerKey::Silence => self.on_silence(desk, cause),
        }
    }

    fn on_derived(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, derived: Derived) {
        match derived {
            Derived::TurnOpenProposed(proposal) => self.on_proposal(desk, cause, proposal),
            Derived::TurnFailed(turn, reason) if self.active() == Some(turn) => {
                self.note_end(reason, CancelReason::Policy, cause);
            }
            Derived::NodeLost(turn, node) if self.active() == Some(turn) => self.on_node_lost(desk, cause, node),
            Derived::InterruptionProposed(turn) if self.active() == Some(turn) && !self.is_held() => {
                self.hold(desk, cause);
            }
            Derived::InterruptionConfirmed(turn, _) if self.active() == Some(turn) => {
                self.note_end(AbortReason::Cancelled, CancelReason::BargeIn, cause);
            }
            // Who is not there can't be spoken to: playout goes on when the transport is back, or has said where it is.
            Derived::InterruptionDismissed(turn)
                if self.active() == Some(turn) && (self.suspended || self.taken_over) => {}
            Derived::InterruptionDismissed(turn) if self.active() == Some(turn) && self.is_held() => {
                self.resume(desk, cause);
            }
            Derived::PlaybackCut(turn) if self.turn.is_none() => self.cut_playback(desk, turn),
            stale => self.refuse(desk, &Input::Derived(stale)),
        }
    }

    /// What a node, or a detector outside, saw of the caller's speech.
    pub(crate) fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Onset { new_utterance } => {
                if new_utterance {
                    self.speech = CallerSpeech::default();
                }
                self.speech.speaking = true;
                self.propose_interruption(Confirmation::Onset);
            }
            Observation::Sustained => {
                self.speech.sustained = true;
                self.confirm_if_enough();
            }
            Observation::Words => {
                self.speech.words = true;
                if self.is_held() {
                    self.confirm_if_enough();
                } else {
                    self.propose_interruption(Confirmation::Words);
                }
            }
            Observation::Backchannel => self.speech.backchannel = true,
            Observation::Pause => {
                self.speech.speaking = false;
                if let Some(turn) = self.active()
                    && self.is_held()
                    && !self.speech.words
                {
                    self.derive(Derived::InterruptionDismissed(turn));
                }
            }
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.held)
    }

    fn propose_interruption(&mut self, by: Confirmation) {
        let policy = self.plan.turn_policy().interruption;
        let Some(turn) = self.active() else {
            // Between commit and the last sample heard only `immediate` cuts; otherwise the rest plays.
            if let Some(playback) = self.playback.as_ref().filter(|_| policy == InterruptionPolicy::Immediate) {
                self.derive(Derived::PlaybackCut(playback.turn));
            }
            return;
        };
        match policy {
            InterruptionPolicy::Hold if !self.is_held() => self.derive(Derived::InterruptionProposed(turn)),
            InterruptionPolicy::Immediate => self.derive(Derived::InterruptionConfirmed(turn, by)),
            InterruptionPolicy::Hold | InterruptionPolicy::Ignore => {}
        }
    }

    fn confirm_if_enough(&mut self) {
        if let Some(turn) = self.active()
            && self.is_held()
            && let Some(by) = self.speech.confirmation()
            && !self.derived.iter().any(|derived| matches!(derived, Derived::InterruptionConfirmed(..)))
        {
            self.derive(Derived::InterruptionConfirmed(turn, by));
        }
    }

    /// Playout stops and keeps what was not heard.
    pub(crate) fn pause_playout(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        let Some(turn) = &mut self.turn else { return };
        turn.held = true;
        let turn = turn.capability.turn();
        self.say_of(desk, turn, Signal::PlayoutHold);
        self.clear_transport(desk);
        self.direct(desk, cause, Directive::Hold);
    }

    /// Holds for an interruption. Not a cancellation: it may prove false.
    fn hold(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        self.pause_playout(desk, cause);
        let Some(turn) = self.active() else { return };
        if self.speech.confirmation().is_some() {
            self.confirm_if_enough();
        } else if self.speech.speaking {
            self.bound_hold(desk, turn);
        } else if !self.suspended {
            // The pause came in the tick of the onset, as it does after a stall: no other will.
            self.derive(Derived::InterruptionDismissed(turn));
        }
    }

    /// A hold that hears nothing more, because the caller's line went silent in that moment, ends all the same.
    pub(crate) fn bound_hold(&self, desk: &mut Desk<'_>, turn: TurnId) {
        let until = desk.now + self.plan.turn_policy().graces.hold;
        desk.timers.set(self.slot, TimerKey::Hold(turn), until);
    }

    fn on_hold_long(&mut self, turn: TurnId) {
        if self.active() == Some(turn) && self.is_held() {
            self.speech.speaking = false;
            self.derive(Derived::InterruptionDismissed(turn));
        }
    }

    /// Playout goes on from the first sample that was not heard.
    pub(crate) fn resume(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        let Some(turn) = &mut self.turn else { return };
        turn.held = false;
        self.taken_over = false;
        let turn = turn.capability.turn();
        desk.timers.cancel(self.slot, TimerKey::PlayoutAckWait(turn));
        desk.timers.cancel(self.slot, TimerKey::Hold(turn));
        let Some(playback) = &mut self.playback else { return };
        let position = playback.settle(desk.now);
        playback.rewind(desk.now, position);
        let Position { samples: from_sample, estimated } = position;
        self.say_of(desk, turn, Signal::PlayoutResume { from_sample, estimated });
        self.direct(desk, cause, Directive::Resume { from_sample });
    }

    /// Tells the transport to clear, where it may still have something to play.
    fn clear_transport(&mut self, desk: &mut Desk<'_>) {
        let Some(playback) = self.playback.as_mut().filter(|playback| playback.is_sounding()) else { return };
        playback.on_clear(desk.now);
        let turn = playback.turn;
        self.send_clear(desk, turn);
    }

    /// Sends the word to clear, and waits for the answer.
    pub(crate) fn send_clear(&mut self, desk: &mut Desk<'_>, turn: TurnId) {
        self.egress.0 += 1;
        self.effect(desk, Effect::ClearTransport { turn, epoch: self.egress });
        let at = desk.now + Micros::from_ms(MAX_PLAYOUT_ACK_WAIT_MS);
        self.wake_at(desk, TimerKey::PlayoutAckWait(turn), at);
    }

    /// What is still to be heard of a turn that has committed is thrown away; the ledger follows.
    fn cut_playback(&mut self, desk: &mut Desk<'_>, turn: TurnId) {
        let sounding = |playback: &&mut Playback| playback.turn == turn && playback.is_sounding();
        let Some(playback) = self.playback.as_mut().filter(sounding) else { return };
        playback.ending = Ending::Cut;
        self.clear_transport(desk);
    }

    fn on_proposal(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, proposal: TurnProposal) {
        let may_open = self.turn.is_none() || self.draining || self.suspended || self.recording.lacks_evidence;
        let obstacle = if may_open { self.obstacle(desk, &proposal) } else { None };
        if let Some(obstacle) = obstacle {
            self.turn_away(desk, obstacle, proposal);
        } else if self.turn.is_some() && !proposal.opener.is_caller() {
            // What nobody asked for interrupts nobody.
            let refusal = self.refusal(RejectReason::TurnActive, AdmissionPoint::Enqueue);
            self.say(desk, Signal::Reject(refusal));
        } else if proposal.backchannel && (self.turn.is_some() || self.playback.is_some()) {
            let refusal = self.refusal(RejectReason::Backchannel, AdmissionPoint::Enqueue);
            self.say(desk, Signal::Reject(refusal));
        } else if self.turn.is_none() {
            self.open(desk, cause, proposal);
        } else if self.plan.turn_policy().interruption == InterruptionPolicy::Ignore && self.end.is_none() {
            let refusal = self.refusal(RejectReason::TurnActive, AdmissionPoint::Enqueue);
            self.say(desk, Signal::Reject(refusal));
        } else {
            self.note_end(AbortReason::Cancelled, CancelReason::BargeIn, cause);
            self.derive(Derived::TurnOpenProposed(proposal));
        }
    }

    fn open(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, proposal: TurnProposal) {
        let Some(source) = self.source_of(proposal.opener) else {
            self.refuse(desk, &Input::Derived(Derived::TurnOpenProposed(proposal)));
            return;
        };
        self.settle_playback(desk);
        self.record_more(desk);
        self.turns += 1;
        let turn = TurnId(self.turns);
        let capability = self.fence.open(self.slot, turn);
        self.turn = Some(ActiveTurn {
            capability,
            opened_at: desk.now,
            held: false,
            output_accepted: false,
            node_holds: NodeSet::default(),
            writes: Commitments::default(),
            revoked: false,
            closing: None,
            degraded: Degraded::default(),
        });
        self.playback = Some(Playback::new(turn));
        self.taken_over = false;
        let TurnProposal { text, opener, understood, speech_end, .. } = proposal;
        let speech_end = speech_end.map(|media| self.timebase.session_time(media, desk.now));
        match opener {
            Opener::Caller => self.conversation.push(ContextEntry::User { text: Arc::clone(&text), understood }),
            Opener::Ask => self.conversation.push(ContextEntry::Remark { text: Arc::clone(&text) }),
            Opener::Say => {}
        }
        self.say(desk, Signal::Admit);
        let plan = self.plan.hash().clone();
        let generation = self.generation_of(capability);
        let opened = Signal::TurnOpen { plan, generation, text: Arc::clone(&text), opener, understood, speech_end };
        self.say_of(desk, turn, opened);
        self.start_budgets(desk, turn);
        self.direct(desk, cause, Directive::Open(capability));
        if opener.is_caller() {
            self.silence.is_answered();
        }
        // The turn's input is closed once its words have entered: a node that waits for more of them need not.
        for payload in [Payload::Text(text), Payload::End(Outcome::Success)] {
            self.deliver(desk, cause, source, Scope::Turn(capability), DeliveryContent::Emit(payload));
        }
        if self.speech.speaking {
            self.propose_interruption(Confirmation::Onset);
        }
    }

    /// Notes what would end the turn. The strongest reason of a tick wins; of equals, the first.
    pub(crate) fn note_end(&mut self, reason: AbortReason, cancel: CancelReason, cause: RuntimeSequence) {
        if self.end.is_none_or(|end| reason < end.reason) {
            self.end = Some(End { reason, cancel, cause });
        }
    }

    /// All of a tick's control has been seen: writes that are due run, unless the turn ends.
    pub(crate) fn end_control(&mut self, desk: &mut Desk<'_>) {
        self.commit_writes(desk);
        self.begin_end(desk);
    }

    /// Carries out the end that this tick has brought: everything up to the revocation's way through the graph.
    fn begin_end(&mut self, desk: &mut Desk<'_>) {
        let (Some(end), Some(turn)) = (self.end, &mut self.turn) else { return };
        let capability = turn.capability;
        turn.revoked = true;
        let revoked_writes = turn.writes.take();
        let turn = capability.turn();
        match end.reason {
            AbortReason::Cancelled => self.say_of(desk, turn, Signal::CancelAccepted { reason: end.cancel }),
            AbortReason::AuthorityLoss => self.say_of(desk, turn, Signal::DeauthorizedDrain),
            _ => {}
        }
        self.fence.revoke();
        for write in revoked_writes {
            self.say_of(desk, turn, Signal::ToolRevoked { key: write.tool.key });
        }
        self.cancel_invocations(desk, Scope::Turn(capability));
        self.clear_transport(desk);
        for key in [TimerKey::CommitPoint(turn), TimerKey::Hold(turn), TimerKey::CancelGrace(turn)] {
            desk.timers.cancel(self.slot, key);
        }
        self.derived.retain(|derived| derived.turn() != Some(turn));
        self.direct(desk, end.cause, Directive::Revoke(capability));
    }

    fn cancel_invocations(&mut self, desk: &mut Desk<'_>, scope: Scope) {
        self.drop_queued(scope);
        for id in self.invocations.take_waiting_of(scope) {
            desk.timers.cancel(self.slot, TimerKey::Retry(id));
        }
        // Nobody works on these any more: a model that took them for pending would wait for ever.
        for key in self.invocations.tool_keys_of(scope) {
            self.conversation.on_tool_failed(&key, &CANCELLED_TOOL.into());
        }
        for id in self.invocations.cancel(scope, desk.now) {
            desk.timers.cancel(self.slot, TimerKey::Result(id));
            self.effect(desk, Effect::CancelInvocation { id });
        }
    }

    /// The revocation has reached every operator: says so, and closes the turn.
    pub(crate) fn finish_end(&mut self, desk: &mut Desk<'_>) {
        let Some(end) = self.end.take() else { return };
        let Some(turn) = self.turn.take_if(|turn| turn.revoked) else { return };
        let generation = self.generation_of(turn.capability);
        let turn = turn.capability.turn();
        self.say_of(desk, turn, Signal::FenceApplied { generation });
        if let Some(playback) = &mut self.playback {
            playback.ending = Ending::Cut;
            if let Some(position) = playback.known_position() {
                self.conclude_playback(desk, position);
            }
        }
        self.say_of(desk, turn, Signal::Abort { reason: end.reason });
        self.close(desk, turn);
    }

    /// At the end of a tick: if nobody holds the turn, no output can follow.
    pub(crate) fn commit_if_at_rest(&mut self, desk: &mut Desk<'_>) {
        if self.end.is_some() || self.close_if_said(desk) || !self.is_at_rest() {
            return;
        }
        let Some(turn) = self.turn.take() else { return };
        // Its nodes hear of it in the next tick: in this one nobody can have anything more for them.
        let cause = self.last_sequence();
        self.direct(desk, cause, Directive::Close(turn.capability));
        let turn = turn.capability.turn();
        self.say_of(desk, turn, Signal::Commit);
        self.close(desk, turn);
        let Some(playback) = &mut self.playback else { return };
        playback.ending = Ending::Committed;
        if playback.is_silent() {
            self.playback = None;
        } else if playback.is_drained() {
            let position = playback.settle(desk.now);
            self.conclude_playback(desk, position);
        } else {
            let at = playback.plays_until().max(desk.now) + Micros::from_ms(MAX_PLAYOUT_ACK_WAIT_MS);
            self.wake_at(desk, TimerKey::PlayoutAckWait(turn), at);
        }
    }

    fn close(&mut self, desk: &mut Desk<'_>, turn: TurnId) {
        desk.timers.cancel(self.slot, TimerKey::CommitPoint(turn));
        self.stop_budgets(desk, turn);
        self.closed_in = self.tick;
        self.clear_flow();
        self.forget_hosting(desk);
        self.say_of(desk, turn, Signal::Close);
    }

    fn on_playout_ack(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, ack: PlayoutAck) {
        // An acknowledgement of a turn that the ledger has closed changes nothing.
        let Some(playback) = self.playback.as_mut().filter(|playback| playback.turn == ack.turn) else { return };
        match ack.occasion {
            AckOccasion::Started => {
                // Nobody can have begun to hear what was never sent.
                let first = !playback.is_silent() && !std::mem::replace(&mut playback.started, true);
                if first && playback.ending != Ending::Cut {
                    self.say_of(desk, ack.turn, Signal::PlaybackStarted);
                }
            }
            AckOccasion::Progress | AckOccasion::Drained => playback.on_heard(ack.heard_samples),
            AckOccasion::Cleared => {
                playback.on_cleared(ack.heard_samples);
                desk.timers.cancel(self.slot, TimerKey::PlayoutAckWait(ack.turn));
            }
        }
        let Some(playback) = &self.playback else { return };
        match (playback.ending, playback.known_position()) {
            (Ending::Committed, Some(position)) if playback.is_drained() => self.conclude_playback(desk, position),
            (Ending::Cut, Some(position)) => self.conclude_playback(desk, position),
            (Ending::Open, Some(_)) => self.on_position_known(desk, cause),
            _ => {}
        }
    }

    /// The transport did not say what was heard; the pacer's playhead stands.
    fn on_playout_ack_missing(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, turn: TurnId) {
        let Some(playback) = self.playback.as_mut().filter(|playback| playback.turn == turn) else { return };
        let position = playback.settle(desk.now);
        if playback.ending == Ending::Open {
            self.on_position_known(desk, cause);
        } else {
            self.conclude_playback(desk, position);
        }
    }

    /// A new turn opens, or the session is over: whatever is not known of the last turn's playback is estimated now. What
    /// was committed plays to its end before the new turn's answer; with the session, the caller's line is gone.
    fn settle_playback(&mut self, desk: &mut Desk<'_>) {
        if let Some(playback) = &mut self.playback {
            let plays_on = playback.ending == Ending::Committed && !self.ending;
            let position = if plays_on { playback.plays_out() } else { playback.settle(desk.now) };
            self.conclude_playback(desk, position);
        }
    }

    /// What the caller heard of the turn is final: it is said, and enters the context.
    fn conclude_playback(&mut self, desk: &mut Desk<'_>, position: Position) {
        let Some(playback) = self.playback.take() else { return };
        let turn = playback.turn;
        desk.timers.cancel(self.slot, TimerKey::PlayoutAckWait(turn));
        if playback.is_silent() {
            return;
        }
        let Position { samples: heard_samples, estimated } = position;
        let short = playback.ending == Ending::Cut || playback.is_short(position);
        let (text, whole) = playback.text_until(position);
        let cut = short || !whole;
        let signal = if short {
            Signal::PlaybackCancelled { heard_samples, estimated }
        } else {
            Signal::PlaybackCompleted { heard_samples, estimated }
        };
        self.say_of(desk, turn, signal);
        let text: Arc<str> = text.into();
        if !text.is_empty() {
            self.say_of(desk, turn, Signal::Heard { text: Arc::clone(&text), cut });
            self.conversation.push(ContextEntry::Agent { text, cut });
        }
    }

    /// When all of a tick's control has been seen, and when the tick is over: runs the writes that wait, if the turn is past
    /// its commit point and nothing is pending that may end it, or take out who asked for them. What is derived may be such:
    /// an interruption, a failure, the caller's next words. It is decided in the next tick, which comes at once.
    fn commit_writes(&mut self, desk: &mut Desk<'_>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.writes.is_empty()) else { return };
        let due = desk.now >= turn.opened_at + self.plan.turn_policy().commit_point;
        if !due || turn.held || !self.derived.is_empty() || self.end.is_some() {
            return;
        }
        let capability = turn.capability;
        for write in turn.writes.take() {
            let key = Arc::clone(&write.tool.key);
            self.say_of(desk, capability.turn(), Signal::ToolCommitted { key });
            self.start_tool(desk, write.node, write.call, write.tool, Scope::Session, capability);
        }
    }

    /// The session is over: nobody waits for what its prelude still has in flight.
    pub(crate) fn cancel_prelude(&mut self, desk: &mut Desk<'_>) {
        for id in self.invocations.cancel_prelude(desk.now) {
            self.effect(desk, Effect::CancelInvocation { id });
        }
    }

    /// A tick is over: what it stopped is said, a turn at rest commits, a session that has ended goes.
    pub(crate) fn end_tick(&mut self, desk: &mut Desk<'_>) {
        let frames = std::mem::take(&mut self.fenced_frames);
        if frames > 0 {
            self.say_here(desk, Signal::OutputFenced { frames });
        }
        if !self.queue.is_empty() {
            self.call_queued(desk);
        }
        self.commit_writes(desk);
        self.commit_if_at_rest(desk);
        self.watch_silence(desk);
        if self.retiring && self.playback.is_none() && self.derived.is_empty() {
            self.ending = true;
        }
        if self.ending && self.turn.is_none() {
            if let Some(playback) = self.playback.as_mut().filter(|playback| !playback.is_drained()) {
                playback.ending = Ending::Cut;
            }
            self.settle_playback(desk);
            self.cancel_prelude(desk);
            let cause = self.last_sequence();
            self.direct(desk, cause, Directive::Finish);
            self.write(desk, Entry::Signal(None, Signal::SessionEnded));
        }
    }
}
