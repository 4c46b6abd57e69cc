//! What else comes to a session from its side of the network: an application that cancels, a detector of its own, and
//! a control plane that takes the lease away.

use rspp_specs::ids::{InvocationId, NodeIndex};
use rspp_specs::outcome::{CancelReason, CancelScope, Cancellation};
use rspp_specs::time::{Micros, WallReading};
use rspp_specs::timeline::{Input, Observation, Prompt};

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};

/// The application and the control plane of one call.
#[derive(Debug)]
pub(super) struct Application {
    draws: Draws,
    authority: Draws,
    /// When the turn is cancelled from outside.
    cancels_at: Option<Micros>,
    /// Only without a caller's audio: a detector elsewhere, and the next thing that it sees.
    observes_at: Option<Micros>,
    speaking: bool,
    /// When the lease is taken away.
    revoked_at: Option<Micros>,
    /// When a session without a lease is ended.
    ends_at: Option<Micros>,
    prompts: Draws,
    /// When the agent is to speak unasked.
    prompts_at: Option<Micros>,
    wall: Draws,
    /// When the clock on the wall is read next, and how far it is ahead of session time.
    reads_wall_at: Option<Micros>,
    wall_us: u64,
}

const NEVER: Micros = Micros(u64::MAX);

impl Application {
    pub(super) fn new(now: Micros, origin: Origin, character: &Character, faults: Faults) -> Self {
        let mut draws = Draws::new(origin, Concern::Application);
        let mut authority = Draws::new(origin, Concern::Authority);
        let mut wall = Draws::new(origin, Concern::Wall);
        let mut prompts = Draws::new(origin, Concern::Prompts);
        let (cancels, observes) = (draws.chance(300), draws.chance(500) && !character.hears);
        let revokes = authority.chance(400) && faults.has(Fault::AuthorityConflict);
        Self {
            cancels_at: cancels.then(|| now + draws.ms(1_000, 40_000)),
            observes_at: observes.then(|| now + draws.ms(1_000, 10_000)),
            revoked_at: revokes.then(|| now + authority.ms(1_000, 120_000)),
            draws,
            authority,
            speaking: false,
            ends_at: None,
            prompts_at: prompts.chance(250).then(|| now + prompts.ms(0, 20_000)),
            prompts,
            reads_wall_at: wall.chance(300).then_some(now),
            wall_us: 1_700_000_000_000_000 + wall.below(1 << 40),
            wall,
        }
    }

    pub(super) fn next_at(&self) -> Micros {
        let times =
            [self.cancels_at, self.observes_at, self.revoked_at, self.ends_at, self.reads_wall_at, self.prompts_at];
        times.into_iter().flatten().min().unwrap_or(NEVER)
    }

    /// Everything that it does by now.
    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.cancels_at.is_some_and(|at| at <= now) {
            inputs.push(Input::Cancel(self.cancellation()));
            self.cancels_at = Some(now + self.draws.ms(500, 60_000));
        }
        if self.observes_at.is_some_and(|at| at <= now) {
            self.observe(now, inputs);
        }
        if self.revoked_at.is_some_and(|at| at <= now) {
            self.revoke(now, inputs);
        }
        if self.reads_wall_at.is_some_and(|at| at <= now) {
            self.read_wall(now, inputs);
        }
        if self.prompts_at.is_some_and(|at| at <= now) {
            inputs.push(Input::Prompt(self.prompt()));
            self.prompts_at = Some(now + self.prompts.ms(100, 30_000));
        }
        if self.ends_at.is_some_and(|at| at <= now) {
            inputs.push(Input::SessionEnd);
            self.ends_at = None;
        }
    }

    /// Whether anybody speaks or not.
    fn prompt(&mut self) -> Prompt {
        let text = self.prompts.pick(&["Are you still there? I am.", "Please hold the line.", ""]);
        if self.prompts.chance(500) { Prompt::Say(text.into()) } else { Prompt::Ask(text.into()) }
    }

    /// The clock on the wall is read now and then; mostly it has crept, and sometimes it was set.
    fn read_wall(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        self.wall_us += self.wall.weighted(&[(6, 0), (3, 8_000), (2, 25_000)]);
        self.wall_us -= self.wall.weighted(&[(9, 0), (1, 3_600_000_000)]);
        inputs.push(Input::WallClock(WallReading { unix_us: self.wall_us + now.0, at: now }));
        self.reads_wall_at = Some(now + self.wall.ms(5_000, 90_000));
    }

    /// Mostly of the turn, at once or softly; sometimes of more, or of less.
    fn cancellation(&mut self) -> Cancellation {
        let reason = self.draws.pick(&[CancelReason::UserCancel, CancelReason::Policy]);
        let of = match self.draws.below(8) {
            0 => CancelScope::Session,
            1 => CancelScope::Node(NodeIndex(self.draws.below(12) as u16)),
            2 => CancelScope::Invocation(InvocationId(self.draws.below(60) as u32)),
            _ => CancelScope::Turn,
        };
        Cancellation { reason, of, soft: of == CancelScope::Turn && self.draws.chance(400) }
    }

    /// An onset, then perhaps words or enough speech, then a pause.
    fn observe(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        let seen = if self.speaking {
            self.draws.weighted(&[
                (4, Observation::Pause),
                (2, Observation::Words),
                (2, Observation::Sustained),
                (1, Observation::Backchannel),
            ])
        } else {
            Observation::Onset { new_utterance: self.draws.chance(700) }
        };
        self.speaking = seen != Observation::Pause;
        inputs.push(Input::Observed(seen));
        let again = if self.speaking { self.draws.ms(40, 600) } else { self.draws.ms(500, 9_000) };
        self.observes_at = Some(now + again);
    }

    /// The lease is gone, and the session ends soon. Sometimes a cancellation comes in the very same tick, before or
    /// behind: authority wins either way.
    fn revoke(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        let cancel = Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel));
        match self.authority.below(4) {
            0 => inputs.extend([cancel, Input::AuthorityRevoked]),
            1 => inputs.extend([Input::AuthorityRevoked, cancel]),
            _ => inputs.push(Input::AuthorityRevoked),
        }
        self.revoked_at = None;
        self.ends_at = Some(now + self.authority.ms(0, 3_000));
    }
}
