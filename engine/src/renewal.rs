//! A session at rest goes on from its durable state alone, with its nodes begun afresh: under the same plan or another one.
//!
//! Where nobody speaks, nothing is asked and all that was said is heard, what a session is comes down to a [`Resume`]: its
//! numbers and its conversation. [`Core::carry`](crate::Core::carry) gives it; coming back in a `SessionOpen`, it is where the
//! session goes on. Two things follow:
//!
//! - The timeline from that input on needs nothing of what came before. A log may begin there, and a session is rebuilt from
//!   what was said since ([`Core::restore`](crate::Core::restore)), however long the call is.
//! - The input may bring another plan: that is how a version is rolled forward or back under a running call.
//!
//! What lives as long as the session and is not in there (what a detector has learned of the noise, which providers failed) is
//! lost, as it may be with a worker.

use rspp_specs::admission::ConnectionState;
use rspp_specs::timeline::Resume;

use crate::session::Session;

impl Session {
    /// From what the session could go on, if it is at rest.
    pub(crate) fn carry(&self) -> Option<Resume> {
        self.rests().then(|| Resume {
            turns: self.turns,
            invocations: self.invocations.last(),
            ticks: self.tick,
            sequence: self.last_sequence().0,
            generations: self.generations(),
            clears: self.egress.0,
            context: self.conversation.snapshot(),
        })
    }

    fn rests(&self) -> bool {
        let is_ending = self.draining || self.ending || self.retiring || self.deauthorized || self.end.is_some();
        let is_away = self.suspended || self.taken_over || self.connection != ConnectionState::Connected;
        let has_said_all = self.turn.is_none() && self.playback.is_none() && self.invocations.is_empty();
        // How often it has asked into a silence is not carried on.
        let is_asking = self.silence.is_unanswered();
        let waits = is_asking || !(self.queue.is_empty() && self.derived.is_empty() && self.deferred.is_empty());
        let is_limited = self.flow.is_some() || !self.starting.is_empty() || self.recording.lacks_evidence;
        has_said_all && !(is_ending || is_away || waits || is_limited || self.speech.speaking)
    }
}
