//! What a session says, on its way to its socket: bounded, and with the third gate at its end.
//!
//! The worker puts in and never waits. Of audio there is no more than [`MAX_AUDIO_FRAMES`]: a peer that does not read has
//! stalled, and its session waits for it. Of what is told there is no more than [`MAX_TOLD`]; the oldest is dropped, and the
//! reader is told how much it missed.
//!
//! *The third gate.* A frame carries the egress epoch under which the core sent it. A clear moves the outlet's epoch on
//! before anything else happens, so whoever takes a frame out asks [`Outlet::admits`] last of all, in the same breath as it
//! writes to the socket.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rspp_specs::ids::TurnId;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Entry};

use crate::transport::{Asked, Audio};

/// Frames of audio that may wait for a socket: a second of them. The pacer is only two frames ahead, so a queue that is
/// longer is the peer's doing.
pub const MAX_AUDIO_FRAMES: usize = (1_000 / FRAME_MS) as usize;
/// Things told that may wait for a socket.
pub const MAX_TOLD: usize = 256;

/// What a session says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outbound {
    /// Audio for the caller.
    Audio(Audio),
    /// What was sent of this turn and not played is to be thrown away.
    Clear {
        /// Whose audio it was.
        turn: TurnId,
        /// From now on only this epoch is written.
        epoch: EgressEpoch,
        /// The first of the turn's samples that was still in this queue: nobody can have heard it.
        unsent_from: Option<u64>,
    },
    /// Something for transports that tell.
    Told(Micros, Entry),
    /// The caller's side is asked to do something.
    Asked(Asked),
    /// So many things told were dropped here, because nobody read them.
    Missed(u32),
    /// The session is over; nothing follows.
    Ended(End),
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As somebody wanted it to.
    Done,
    /// Its caller was gone for too long.
    Lost,
    /// There was no room for it on its worker.
    NoRoom,
    /// Its worker is gone.
    Stopped,
    /// Another worker has it.
    Moved,
    /// It comes from another worker, and could not be rebuilt from what that one wrote.
    NotRebuilt,
    /// What happens in it can't be kept.
    Unrecorded,
}

/// One session's queue.
#[derive(Debug, Default)]
pub struct Outlet {
    state: Mutex<State>,
    epoch: AtomicU32,
    abandoned: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outbound>,
    audio: usize,
    told: usize,
    missed: u32,
    ended: bool,
    /// It was overfull, and has not been empty since.
    stalled: bool,
    /// Of this turn audio was dropped here from this sample on, because the gate had moved on; its clear is yet to come.
    unsent: Option<(TurnId, u64)>,
    waker: Option<Waker>,
}

/// The queue has as much audio as it may have: the peer does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

impl Outlet {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The third gate: whether audio of this epoch may be written. To be asked last of all.
    pub fn admits(&self, epoch: EgressEpoch) -> bool {
        epoch.0 >= self.epoch.load(Ordering::Acquire)
    }

    /// The next thing that is said, or a promise to be woken.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Outbound> {
        let mut state = self.lock();
        match state.pop(self.epoch.load(Ordering::Acquire)) {
            Some(outbound) => Poll::Ready(outbound),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next thing that is said, if there is one.
    pub fn try_next(&self) -> Option<Outbound> {
        self.lock().pop(self.epoch.load(Ordering::Acquire))
    }

    /// Whether it was overfull and is empty now; says so once.
    pub fn take_recovered(&self) -> bool {
        let mut state = self.lock();
        state.queue.is_empty() && std::mem::take(&mut state.stalled)
    }

    /// How many frames and things told wait.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.audio, state.told)
    }

    /// Audio. The reader is woken by [`Outlet::wake`].
    pub(crate) fn push_audio(&self, audio: Audio) -> Result<(), Overfull> {
        let mut state = self.lock();
        if state.audio == MAX_AUDIO_FRAMES {
            state.stalled = true;
            return Err(Overfull);
        }
        state.audio += 1;
        state.queue.push_back(Outbound::Audio(audio));
        Ok(())
    }

    /// Moves the gate on: what is sent of earlier epochs is stopped from now on. What is told of it may come later.
    pub(crate) fn fence(&self, epoch: EgressEpoch) {
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }

    /// Moves the gate on, throws away what waits of earlier epochs, and says so.
    pub(crate) fn push_clear(&self, turn: TurnId, epoch: EgressEpoch) {
        self.fence(epoch);
        let mut state = self.lock();
        let mut unsent_from = state.unsent.take().filter(|(of, _)| *of == turn).map(|(_, from)| from);
        state.queue.retain(|outbound| match outbound {
            Outbound::Audio(audio) if audio.epoch < epoch => {
                if audio.turn == turn && unsent_from.is_none() {
                    unsent_from = Some(audio.from_sample);
                }
                false
            }
            // One word for each turn is enough, and bounds how many wait.
            Outbound::Clear { turn: earlier, unsent_from: from, .. } if *earlier == turn => {
                unsent_from = unsent_from.or(*from);
                false
            }
            _ => true,
        });
        state.audio = state.queue.iter().filter(|outbound| matches!(outbound, Outbound::Audio(_))).count();
        state.queue.push_back(Outbound::Clear { turn, epoch, unsent_from });
    }

    /// Something told.
    pub(crate) fn push_told(&self, at: Micros, entry: Entry) {
        let mut state = self.lock();
        if state.told == MAX_TOLD {
            let oldest = state.queue.iter().position(|outbound| matches!(outbound, Outbound::Told(..)));
            if let Some(oldest) = oldest {
                state.queue.remove(oldest);
                state.told -= 1;
                state.missed += 1;
            }
        }
        state.told += 1;
        state.queue.push_back(Outbound::Told(at, entry));
    }

    /// The caller's side is asked to do something. A session has few invocations, so these are few.
    pub(crate) fn push_asked(&self, asked: Asked) {
        self.lock().queue.push_back(Outbound::Asked(asked));
    }

    /// The session is over.
    pub(crate) fn push_end(&self, end: End) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.ended, true) {
            state.queue.push_back(Outbound::Ended(end));
        }
    }

    /// Wakes the reader: once for all that a tick has put in.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody reads any more, and nobody will.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Whether it was abandoned since it was asked last.
    pub(crate) fn take_abandoned(&self) -> bool {
        self.abandoned.swap(false, Ordering::AcqRel)
    }
}

impl State {
    fn pop(&mut self, epoch: u32) -> Option<Outbound> {
        while let Some(Outbound::Audio(audio)) = self.queue.front().filter(|_| self.missed == 0)
            && audio.epoch.0 < epoch
        {
            self.unsent.get_or_insert((audio.turn, audio.from_sample));
            self.audio -= 1;
            self.queue.pop_front();
        }
        if self.missed > 0 {
            return Some(Outbound::Missed(std::mem::take(&mut self.missed)));
        }
        let outbound = self.queue.pop_front()?;
        match &outbound {
            Outbound::Audio(_) => self.audio -= 1,
            Outbound::Told(..) => self.told -= 1,
            Outbound::Clear { .. } | Outbound::Asked(_) | Outbound::Missed(_) | Outbound::Ended(_) => {}
        }
        if self.queue.is_empty() && self.queue.capacity() > MAX_AUDIO_FRAMES {
            // A burst is over; a thousand sessions keep nothing for the next.
            self.queue.shrink_to(0);
        }
        Some(outbound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rspp_specs::event::AudioFrame;
    use rspp_specs::timeline::Signal;

    fn audio(turn: u32, epoch: u32, frame: u64) -> Audio {
        let samples = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
        Audio { turn: TurnId(turn), epoch: EgressEpoch(epoch), from_sample: frame * 320, frame: samples }
    }

    #[test]
    fn a_clear_empties_the_queue_and_voids_what_was_taken_out_already() {
        let outlet = Outlet::default();
        for frame in 0..3 {
            outlet.push_audio(audio(1, 0, frame)).expect("there is room");
        }
        let taken = outlet.try_next().expect("three were put in");
        outlet.push_clear(TurnId(1), EgressEpoch(1));
        outlet.push_audio(audio(1, 1, 1)).expect("there is room");
        let Outbound::Audio(taken) = taken else { panic!("audio was first") };
        assert!(!outlet.admits(taken.epoch), "it was taken before the clear, and must not be written after it");
        let clear = Outbound::Clear { turn: TurnId(1), epoch: EgressEpoch(1), unsent_from: Some(320) };
        assert_eq!(outlet.try_next(), Some(clear));
        assert_eq!(outlet.try_next(), Some(Outbound::Audio(audio(1, 1, 1))));
        assert_eq!((outlet.try_next(), outlet.waiting()), (None, (0, 0)));
        assert!(outlet.admits(EgressEpoch(1)));
    }

    /// The gate closes as soon as it is known that it has to, and the clear comes when it is written.
    #[test]
    fn what_a_closed_gate_keeps_back_is_not_taken_for_sent() {
        let outlet = Outlet::default();
        for frame in 0..3 {
            outlet.push_audio(audio(1, 0, frame)).expect("there is room");
        }
        assert_eq!(outlet.try_next(), Some(Outbound::Audio(audio(1, 0, 0))));
        outlet.fence(EgressEpoch(1));
        assert_eq!((outlet.try_next(), outlet.waiting()), (None, (0, 0)));
        outlet.push_clear(TurnId(1), EgressEpoch(1));
        let clear = Outbound::Clear { turn: TurnId(1), epoch: EgressEpoch(1), unsent_from: Some(320) };
        assert_eq!(outlet.try_next(), Some(clear));
    }

    #[test]
    fn a_reader_that_does_not_read_costs_a_second_of_audio_and_the_newest_words() {
        let outlet = Outlet::default();
        let taken = (0..2 * MAX_AUDIO_FRAMES as u64).filter(|frame| outlet.push_audio(audio(1, 0, *frame)).is_ok());
        assert_eq!(taken.count(), MAX_AUDIO_FRAMES);
        for ms in 0..MAX_TOLD as u64 + 7 {
            outlet.push_told(Micros::from_ms(ms), Entry::Signal(None, Signal::SessionReady));
        }
        assert_eq!(outlet.waiting(), (MAX_AUDIO_FRAMES, MAX_TOLD));
        assert_eq!(outlet.try_next(), Some(Outbound::Missed(7)));
        let told = std::iter::from_fn(|| outlet.try_next()).find_map(|outbound| match outbound {
            Outbound::Told(at, _) => Some(at),
            _ => None,
        });
        assert_eq!(told, Some(Micros::from_ms(7)));
    }

    #[test]
    fn the_end_is_said_once() {
        let outlet = Outlet::default();
        outlet.push_end(End::Done);
        outlet.push_end(End::Stopped);
        assert_eq!([outlet.try_next(), outlet.try_next()], [Some(Outbound::Ended(End::Done)), None]);
    }
}
