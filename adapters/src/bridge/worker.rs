//! One worker: a core, its sessions, and the loop that ticks it.
//!
//! Time is read once a turn of the loop, before the tick. A turn that comes late, because the machine was busy elsewhere,
//! does in one tick all that was due meanwhile: the pacer's playhead goes by the time and not by how often it was woken, so
//! audio is handed on until it is as far ahead as it should be, and the caller has lost nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use rspp_engine::{Batch, Core, NotTaken};
use rspp_specs::event::ProviderResult;
use rspp_specs::ids::Slot;
use rspp_specs::meter::Overrun;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::{Lane, Micros};
use rspp_specs::timeline::{Input, Record, SessionOpen};

use super::books::Books;
use super::clock::Clock;
use super::outlet::{End, Outlet};
use super::row::{Row, Surroundings};
use super::seats::Seat;
use super::wall::Wall;
use super::{Counts, Key, Load, Opening, count, stopwatch};
use crate::admission::LocalAdmission;

/// To a worker.
pub(crate) enum Message {
    /// A session begins.
    Open(Key, Box<Opening>, Arc<Outlet>, Seat),
    /// Something for a session.
    Input(Key, Input),
    /// The worker ends, and with it all that is left.
    Stop,
}

/// Messages that are taken before a tick: what one can hold, and some control.
const MAX_MESSAGES: usize = 4_096;
/// Inputs that may wait for the next tick; while there are more, no message is taken.
const MAX_HELD: usize = 8_192;
/// A worker that has nothing to do looks around so often.
const LOOK_EVERY: Micros = Micros::from_ms(500);

/// One worker.
pub(crate) struct Worker {
    core: Core,
    clock: Clock,
    messages: Receiver<Message>,
    /// For providers that answer from threads of their own.
    inbox: Sender<Message>,
    load: Arc<Load>,
    counts: Arc<Counts>,
    /// What this worker's sessions use, and what they are told of it.
    admission: LocalAdmission,
    /// What those of the other workers use.
    books: Books,
    slots: BTreeMap<Key, Slot>,
    rows: Vec<Option<Row>>,
    batch: Batch,
    records: Vec<Record>,
    /// Slots of which the tick has written something.
    touched: Vec<Slot>,
    /// What did not fit into the last tick.
    held: VecDeque<(Key, Input)>,
    /// Inputs that follow from effects.
    follow: Vec<(Key, Input)>,
    /// Sessions for which a provider that answers at once has answered.
    answered: Vec<Key>,
    /// Reactions of the last tick that computed for long.
    overruns: Vec<Overrun>,
    wall: Wall,
    looked_around: Micros,
    stopping: bool,
}

impl Worker {
    pub(crate) fn new(
        core: Core,
        clock: Clock,
        messages: Receiver<Message>,
        inbox: Sender<Message>,
        load: Arc<Load>,
        counts: Arc<Counts>,
        books: Books,
    ) -> Self {
        Self {
            core: core.measured(stopwatch::meter()),
            clock,
            messages,
            inbox,
            load,
            counts,
            admission: LocalAdmission::new(books.capacity()),
            books,
            slots: BTreeMap::new(),
            rows: Vec::new(),
            batch: Batch::default(),
            records: Vec::new(),
            touched: Vec::new(),
            held: VecDeque::new(),
            follow: Vec::new(),
            answered: Vec::new(),
            overruns: Vec::new(),
            wall: Wall::default(),
            looked_around: Micros(0),
            stopping: false,
        }
    }

    /// Until it is told to stop.
    pub(crate) fn run(mut self) {
        while !self.stopping {
            let first = self.wait();
            let now = self.clock.now();
            self.load.looked_at.store(now.0, Ordering::Relaxed);
            self.take_all(now, first);
            self.turn(now);
        }
        for row in self.rows.iter_mut().flatten() {
            row.finish(End::Stopped);
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Option<Message> {
        let now = self.clock.now();
        let hurry = !(self.held.is_empty() && self.follow.is_empty() && self.answered.is_empty());
        let at = self.core.next_deadline(now).unwrap_or(Micros(u64::MAX)).min(now + LOOK_EVERY);
        if hurry || at <= now {
            return self.messages.try_recv().ok();
        }
        self.messages.recv_deadline(self.clock.instant(at)).ok()
    }

    /// Takes what waits, within bounds: what did not fit last time first.
    fn take_all(&mut self, now: Micros, first: Option<Message>) {
        for (key, _) in &self.held {
            if let Some(row) = self.slots.get(key).and_then(|slot| self.rows[slot.0 as usize].as_mut()) {
                row.behind = false;
            }
        }
        for (key, input) in std::mem::take(&mut self.held) {
            self.offer(key, input);
        }
        for (key, input) in std::mem::take(&mut self.follow) {
            self.offer(key, input);
        }
        for key in std::mem::take(&mut self.answered) {
            self.take_answers(now, key);
        }
        if let Some(message) = first {
            self.take(message);
        }
        for _ in 0..MAX_MESSAGES {
            if self.held.len() >= MAX_HELD {
                return;
            }
            let Ok(message) = self.messages.try_recv() else { return };
            self.take(message);
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(key, input) => {
                count(&self.counts.inputs);
                self.offer(key, input);
            }
            Message::Open(key, opening, outlet, seat) => self.open(key, *opening, outlet, seat),
            Message::Stop => self.stopping = true,
        }
    }

    fn open(&mut self, key: Key, opening: Opening, outlet: Arc<Outlet>, seat: Seat) {
        let Some(slot) = self.core.reserve() else {
            count(&self.counts.refused);
            self.load.sessions.fetch_sub(1, Ordering::Relaxed);
            outlet.push_end(End::NoRoom);
            outlet.wake();
            return;
        };
        count(&self.counts.opened);
        self.counts.sessions.fetch_add(1, Ordering::Relaxed);
        let Opening { session, fairness_key, priority, epoch, pipeline, .. } = &opening;
        let (fairness_key, epoch) = (Arc::clone(fairness_key), *epoch);
        self.admission.enter(slot, Arc::clone(&fairness_key), *priority, epoch, 0);
        let open = SessionOpen::new(Arc::clone(session), Arc::clone(&pipeline.plan));
        let open = SessionOpen { fairness_key, epoch, ..open };
        let index = slot.0 as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        self.rows[index] = Some(Row::new(key, outlet, opening, seat));
        self.slots.insert(key, slot);
        self.offer(key, Input::SessionOpen(Box::new(open)));
        let reading = self.wall.reading(self.clock.now());
        self.offer(key, Input::WallClock(reading));
    }

    /// Puts an input into the tick, or behind what waits for the next. Control always fits, and overtakes data. What is
    /// for a session that has ended is dropped.
    fn offer(&mut self, key: Key, input: Input) {
        let Some(slot) = self.slots.get(&key).copied() else { return };
        let Some(row) = self.rows[slot.0 as usize].as_mut() else { return };
        if row.behind && input.lane() == Lane::Data {
            self.held.push_back((key, input));
            return;
        }
        let invocation = match &input {
            Input::Provider(id, _) => Some(*id),
            _ => None,
        };
        match self.batch.push(slot, input) {
            Ok(()) => {}
            Err(NotTaken::Full { input, .. }) => {
                row.behind = true;
                self.held.push_back((key, *input));
            }
            Err(NotTaken::OutOfBounds { .. }) => {
                count(&self.counts.out_of_bounds);
                // A provider whose result can't be taken has failed; the core decides what follows.
                if let Some(id) = invocation {
                    self.offer(key, Input::Provider(id, ProviderResult::End(Outcome::Failed)));
                }
            }
        }
    }

    fn take_answers(&mut self, now: Micros, key: Key) {
        let Some(slot) = self.slots.get(&key).copied() else { return };
        while let Some(input) = self.rows[slot.0 as usize].as_mut().and_then(|row| row.answered.pop_until(now)) {
            self.offer(key, input);
        }
    }

    /// One tick, and what follows from it.
    fn turn(&mut self, now: Micros) {
        self.core.tick(now, &mut self.batch, &mut self.records);
        count(&self.counts.ticks);
        self.tell_overruns();
        for record in self.records.drain(..) {
            let Some(row) = self.rows.get_mut(record.slot.0 as usize).and_then(Option::as_mut) else { continue };
            if row.records.is_empty() {
                self.touched.push(record.slot);
            }
            row.records.push(record);
        }
        for slot in std::mem::take(&mut self.touched) {
            self.perform(now, slot);
        }
        self.tell_admission();
        if now.since(self.looked_around) >= LOOK_EVERY {
            self.look_around(now);
        }
        self.counts.busy_us.fetch_add(self.clock.now().since(now).0, Ordering::Relaxed);
    }

    /// What there is for new turns is an input of each session for which it has changed.
    fn tell_admission(&mut self) {
        self.books.balance(&mut self.admission);
        for (slot, input) in self.admission.news() {
            let row = self.rows.get(slot.0 as usize).and_then(Option::as_ref);
            self.follow.extend(row.map(|row| (row.key, input)));
        }
    }

    /// What nodes have computed for too long is an input of their sessions' next tick.
    fn tell_overruns(&mut self) {
        self.core.hand_over_overruns(&mut self.overruns);
        for Overrun { slot, node, took } in self.overruns.drain(..) {
            count(&self.counts.overruns);
            let row = self.rows.get(slot.0 as usize).and_then(Option::as_ref);
            self.follow.extend(row.map(|row| (row.key, Input::NodeOverrun { node, took })));
        }
    }

    fn perform(&mut self, now: Micros, slot: Slot) {
        let Some(row) = self.rows[slot.0 as usize].as_mut() else { return };
        let (inbox, counts, follow) = (&self.inbox, &*self.counts, &mut self.follow);
        let admission = &mut self.admission;
        let over = row.perform(&mut Surroundings { now, inbox, counts, admission, follow });
        let key = row.key;
        if row.answered.next_at().is_some() {
            self.answered.push(key);
        }
        if let Some(end) = over {
            self.slots.remove(&key);
            // Who hears that it is over finds it counted so.
            self.load.sessions.fetch_sub(1, Ordering::Relaxed);
            self.counts.sessions.fetch_sub(1, Ordering::Relaxed);
            self.rows[slot.0 as usize].take().into_iter().for_each(|mut row| row.finish(end));
        }
    }

    /// Sessions of which nobody holds the other end are ended; their word for it may have found no room.
    fn look_around(&mut self, now: Micros) {
        self.looked_around = now;
        if let Some(reading) = self.wall.look(now) {
            let keys = self.rows.iter().flatten().map(|row| row.key);
            self.follow.extend(keys.map(|key| (key, Input::WallClock(reading))));
        }
        let abandoned = self.rows.iter().flatten().filter(|row| row.outlet.take_abandoned()).map(|row| row.key);
        self.follow.extend(abandoned.map(|key| (key, Input::SessionEnd)));
    }
}
