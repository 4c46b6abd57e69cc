//! A session goes on with another worker (`F-096`, `F-157`).
//!
//! The worker that held it is gone, and left its log. [`Core::restore`](crate::Core::restore) feeds the log's inputs to a
//! session on a core elsewhere, which so comes to stand where the other one stood: what it says and wants done is compared
//! with the log and not done a second time. Then a [`Takeover`] brings a later lease, and what follows from not knowing how
//! much of the last tick was done:
//!
//! - What the transport played meanwhile it says itself: it is told to clear, and playout goes on with the first sample that
//!   was not heard. Where no answer comes, the pacer's playhead is taken, as ever; up to what was sent and not acknowledged
//!   may then be heard twice or not at all.
//! - An invocation that died with its worker ends as disconnected, without blame for the provider: it is tried again if it had
//!   given nothing, and ends its turn if it had. One that can be taken up under its number (a tool, by its key) goes on.
//! - What was sent of a turn that had committed is not sent again: it plays, or is lost with the worker.

use rspp_specs::ids::{InvocationId, RuntimeSequence};
use rspp_specs::outcome::Outcome;
use rspp_specs::timeline::{Record, Signal, Takeover};

use crate::ledger::Ending;
use crate::session::{Desk, Session};

/// A session did not come to stand where its log says that it stood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The log is of another version of the program, or not whole.
    #[error(
        "the session goes another way than its log in tick {tick}, at record {place}: it was written by another version, or is not whole"
    )]
    Diverged {
        /// The session's tick.
        tick: u64,
        /// Which of the tick's records, from 1.
        place: usize,
    },
    /// One tick has more inputs than one tick takes.
    #[error("tick {tick} of the log has more inputs than a tick takes, or one that keeps to no limit")]
    TooMuch {
        /// The session's tick.
        tick: u64,
    },
}

/// The place of the first record, from 1, in which a tick is not what the log says. Slots are the worker's business.
pub(crate) fn first_difference(logged: &[Record], made: &[Record]) -> Option<usize> {
    let same = |a: &Record, b: &Record| a.tick == b.tick && a.at == b.at && a.entry == b.entry;
    let differs = logged.iter().zip(made).position(|(logged, made)| !same(logged, made));
    differs.or_else(|| (logged.len() != made.len()).then(|| logged.len().min(made.len()))).map(|place| place + 1)
}

impl Session {
    /// The session goes on here.
    pub(crate) fn on_takeover(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, takeover: &Takeover) {
        let Takeover { epoch, lost } = takeover;
        if *epoch <= self.epoch {
            self.say(desk, Signal::StaleEpochReject { epoch: *epoch, current: self.epoch });
            return;
        }
        self.say(desk, Signal::MigrationStart { epoch: self.epoch });
        self.epoch = *epoch;
        self.say(desk, Signal::LeaseMoved { epoch: *epoch });
        self.ask_where_playing_stopped(desk, cause);
        for id in lost.iter() {
            self.lose(desk, cause, *id);
        }
        self.say(desk, Signal::MigrationFinish { epoch: *epoch });
        self.say(desk, Signal::SessionHandoff { epoch: *epoch });
    }

    fn ask_where_playing_stopped(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        let Some(playback) = &mut self.playback else { return };
        let is_open = playback.ending == Ending::Open;
        if is_open && !self.turn.as_ref().is_some_and(|turn| turn.held) {
            if playback.is_sounding() {
                self.taken_over = true;
                self.pause_playout(desk, cause);
            }
        } else if playback.ending != Ending::Committed && playback.known_position().is_none() {
            // The word to clear may have been lost with the worker.
            playback.on_clear_again(desk.now);
            let turn = playback.turn;
            self.send_clear(desk, turn);
        }
    }

    /// It is known where playing stopped: after a takeover, playout goes on there. A caller who is speaking meanwhile is an
    /// interruption, which is decided as ever; one who is gone is waited for.
    pub(crate) fn on_position_known(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence) {
        if !std::mem::take(&mut self.taken_over) || !self.is_held() || self.suspended {
            return;
        }
        match self.active() {
            Some(turn) if self.speech.speaking => self.bound_hold(desk, turn),
            _ => self.resume(desk, cause),
        }
    }

    fn lose(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId) {
        if let Some(row) = self.invocations.get(id).cloned() {
            self.abandon_blamelessly(desk, cause, id, row, Outcome::Disconnected);
        }
    }
}
