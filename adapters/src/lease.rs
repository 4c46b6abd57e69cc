//! The lease check outside of the core, in both directions (`F-156`, `NF-027`).
//!
//! Exactly one epoch may write a session. The core knows its own; what can't know is a worker that has lost the session and has
//! not heard of it: stalled, cut off, or a process that should be dead. So whoever stands at the session's ends compares: the
//! bridge, of what comes in, and the transport, of what is to be played. The epoch here comes from the routing view, and
//! moves before a new holder begins.

use rspp_specs::ids::LeaseEpoch;
use rspp_specs::timeline::Input;

/// One session's lease, as its routing view has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseGate {
    epoch: LeaseEpoch,
    refused_writes: u64,
}

/// A write under another epoch than the session's: it is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a write under lease {writer}, and the session is at {current}: the session has another holder")]
pub struct StaleWrite {
    /// The writer's epoch.
    pub writer: LeaseEpoch,
    /// The session's.
    pub current: LeaseEpoch,
}

impl LeaseGate {
    /// For a session that begins under this lease.
    pub fn new(epoch: LeaseEpoch) -> Self {
        Self { epoch, refused_writes: 0 }
    }

    /// The session's epoch.
    pub fn epoch(&self) -> LeaseEpoch {
        self.epoch
    }

    /// The routing view has a new epoch. It never goes back.
    pub fn move_to(&mut self, epoch: LeaseEpoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Something comes in from who takes `sender` for the session's lease: the input, or where that is another one, word of
    /// it.
    pub fn enter(&self, sender: LeaseEpoch, input: Input) -> Input {
        if sender == self.epoch { input } else { Input::StaleEpoch { epoch: sender, input: input.name().into() } }
    }

    /// Whether this writer may write now.
    ///
    /// # Errors
    /// It may not, and what it wanted to write must not be heard.
    pub fn admit(&mut self, writer: LeaseEpoch) -> Result<(), StaleWrite> {
        if writer == self.epoch {
            return Ok(());
        }
        self.refused_writes += 1;
        Err(StaleWrite { writer, current: self.epoch })
    }

    /// Writes that were not done.
    pub fn refused_writes(&self) -> u64 {
        self.refused_writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_epoch_writes_and_the_one_before_never_does_again() {
        let (old, new) = (LeaseEpoch(3), LeaseEpoch(4));
        let mut gate = LeaseGate::new(old);
        assert_eq!((gate.admit(old), gate.admit(new).is_err()), (Ok(()), true), "nor the next before its time");
        gate.move_to(new);
        gate.move_to(old);
        assert_eq!(gate.admit(old), Err(StaleWrite { writer: old, current: new }));
        assert_eq!((gate.admit(new), gate.refused_writes()), (Ok(()), 2));
    }

    #[test]
    fn what_comes_in_under_another_lease_enters_by_its_name_alone() {
        let gate = LeaseGate::new(LeaseEpoch(4));
        let text = || Input::UserText("hello".into());
        assert_eq!(gate.enter(LeaseEpoch(4), text()), text());
        let stale = Input::StaleEpoch { epoch: LeaseEpoch(3), input: "user_text".into() };
        assert_eq!(gate.enter(LeaseEpoch(3), text()), stale);
    }
}
