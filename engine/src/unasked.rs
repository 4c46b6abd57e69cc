//! What the agent says although nobody has spoken to it: its greeting, what the application wants said, and what it does
//! when nobody speaks any more.
//!
//! It opens a turn like any other, which is admitted, interrupted and recorded as others are; but it takes nobody's turn
//! away. Given words are said in the model's place: they come out of the model's node as its answer would.

use rspp_specs::ids::{NodeIndex, RuntimeSequence};
use rspp_specs::timeline::{Input, Opener, Prompt, TimerKey, TurnProposal};

use crate::invocations::Kind;
use crate::session::{Desk, Session};

/// How long nobody has spoken, where the plan has the agent do something about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Silence {
    /// The timer is set.
    is_timed: bool,
    /// So often the agent has spoken into it, and nobody answered.
    unanswered: u32,
}

impl Silence {
    /// Whether the agent has spoken into it, and waits for an answer.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered > 0
    }

    /// The caller has said something.
    pub(crate) fn is_answered(&mut self) {
        self.unanswered = 0;
    }
}

impl Session {
    /// The session begins; the agent may speak first. One that began elsewhere was greeted there.
    pub(crate) fn greet(&mut self, desk: &mut Desk<'_>) {
        if self.turns == 0
            && let Some(greeting) = self.plan.turn_policy().greeting.clone()
        {
            self.on_prompt(desk, greeting);
        }
    }

    /// The agent is to speak unasked: refused where nobody can.
    pub(crate) fn on_prompt(&mut self, desk: &mut Desk<'_>, prompt: Prompt) {
        let proposal = TurnProposal::unasked(&prompt);
        if self.source_of(proposal.opener).is_some() && self.nodes.user_turn.is_some() {
            self.propose(desk, proposal);
        } else {
            self.refuse(desk, &Input::Prompt(prompt));
        }
    }

    /// Where a turn's text enters: the model's own place, where it is to be said as it is.
    pub(crate) fn source_of(&self, opener: Opener) -> Option<NodeIndex> {
        match opener {
            Opener::Caller | Opener::Ask => self.nodes.user_turn,
            Opener::Say => self.nodes.model,
        }
    }

    /// At the end of a tick: the time of silence begins when nobody speaks, is about to, or is being listened to.
    pub(crate) fn watch_silence(&mut self, desk: &mut Desk<'_>) {
        let Some(policy) = &self.plan.turn_policy().silence else { return };
        let has_more = self.silence.unanswered < policy.times || policy.then_end;
        let is_quiet = has_more && self.is_quiet();
        if is_quiet == self.silence.is_timed {
            return;
        }
        self.silence.is_timed = is_quiet;
        if is_quiet {
            self.wake_at(desk, TimerKey::Silence, desk.now + policy.after);
        } else {
            desk.timers.cancel(self.slot, TimerKey::Silence);
        }
    }

    fn is_quiet(&self) -> bool {
        self.turn.is_none()
            && self.playback.is_none()
            && self.derived.is_empty()
            && self.deferred.is_empty()
            && !self.speech.speaking
            && !self.suspended
            && !self.draining
            && !self.ending
            // What was said last is not understood yet.
            && !self.invocations.any(Kind::Transcribe)
    }

    /// Nobody has spoken for as long as the plan says.
    pub(crate) fn on_silence(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        self.silence.is_timed = false;
        let Some(policy) = self.plan.turn_policy().silence.clone() else { return };
        if !self.is_quiet() {
            return;
        }
        if self.silence.unanswered < policy.times {
            self.silence.unanswered += 1;
            self.on_prompt(desk, policy.prompt);
        } else if policy.then_end {
            self.on_session_end(cause);
        }
    }
}
