//! The caller's connection: a session whose transport is gone waits for it, holds what it has to say, and goes on with
//! the first sample that was not heard (`F-086`).

use rspp_specs::admission::ConnectionState;
use rspp_specs::ids::RuntimeSequence;
use rspp_specs::outcome::{AbortReason, CancelReason};
use rspp_specs::timeline::{Observation, Signal, TimerKey};

use crate::session::{Desk, Session};

impl Session {
    /// The transport says how the caller is connected. Silence and mute are no loss: the caller hears.
    pub(crate) fn on_connection(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, state: ConnectionState) {
        if std::mem::replace(&mut self.connection, state) != state {
            self.say(desk, Signal::ConnectionEvent { state });
        }
        match (state.is_open(), self.suspended) {
            (false, false) => self.suspend(desk, cause),
            (true, true) => self.go_on(desk, cause),
            _ => {}
        }
        // Who sends nothing does not speak, and no frame will say so.
        if matches!(state, ConnectionState::Silent | ConnectionState::Muted) && self.speech.speaking {
            self.observe(Observation::Pause);
        }
    }

    fn suspend(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        self.suspended = true;
        self.say(desk, Signal::SessionSuspended);
        let until = desk.now + self.plan.turn_policy().reconnect;
        desk.timers.set(self.slot, TimerKey::Reconnect, until);
        if self.turn.as_ref().is_some_and(|turn| !turn.held) {
            self.pause_playout(desk, cause);
        }
    }

    fn go_on(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        self.suspended = false;
        desk.timers.cancel(self.slot, TimerKey::Reconnect);
        self.say(desk, Signal::SessionResumed);
        // A caller who is speaking meanwhile is an interruption, which is decided as ever.
        let Some(turn) = self.turn.as_ref().filter(|turn| turn.held).map(|turn| turn.capability.turn()) else { return };
        if self.speech.speaking {
            self.bound_hold(desk, turn);
        } else if !self.taken_over {
            self.resume(desk, cause);
        }
    }

    /// The transport has not come back in time: the turn is over, and the session with it.
    pub(crate) fn on_reconnect_late(&mut self, cause: RuntimeSequence) {
        if !self.suspended {
            return;
        }
        self.draining = true;
        self.ending = true;
        if self.turn.is_some() {
            self.note_end(AbortReason::TransportDisconnectOrStall, CancelReason::Policy, cause);
        }
    }
}
