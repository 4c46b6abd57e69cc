//! One worker: a core, its sessions, and the loop that ticks it.
//!
//! Time is read once a turn of the loop, before the tick. A turn that comes late, because the machine was busy elsewhere,
//! does in one tick all that was due meanwhile: the pacer's playhead goes by the time and not by how often it was woken, so
//! audio is handed on until it is as far ahead as it should be, and the caller has lost nothing.
//!
//! Where sessions are recorded or kept for others to go on with, a tick's effects wait until it is written (`keeper`). A
//! session that has ended has its slot no more, and its row as long as effects of it wait: so rows are numbered by themselves,
//! and the books go by rows. `arrivals` has how sessions begin here and how they go elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rspp_engine::{Batch, Core, NotTaken};
use rspp_specs::event::ProviderResult;
use rspp_specs::ids::Slot;
use rspp_specs::limits::{MAX_TICK_DATA_INPUTS, MAX_TICK_SESSION_DATA_INPUTS};
use rspp_specs::meter::Overrun;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::{Lane, Micros};
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal};

use super::books::Books;
use super::clock::Clock;
use super::keeper::{Before, Keepers, Tick, Waiting};
use super::outlet::{End, Outlet};
use super::row::{Row, Surroundings};
use super::seats::Seat;
use super::wall::Wall;
use super::{Counts, Key, Load, Opening, Pipeline, count, stopwatch};
use crate::admission::LocalAdmission;
use crate::recording::Place;

/// To a worker.
pub(crate) enum Message {
    /// A session begins.
    Open(Key, Box<Opening>, Arc<Outlet>, Seat),
    /// Something for a session.
    Input(Key, Input),
    /// A session is given up as it stands, for others to go on with.
    Release(Key),
    /// A session is to go on with another version.
    Change(Key, Pipeline),
    /// The worker ends, and with it all that is left.
    Stop,
    /// More of its log is written.
    Written,
}

/// Messages that are taken before a tick: what one can hold, and some control.
const MAX_MESSAGES: usize = 4_096;
/// Inputs that may wait for the next tick; while there are more, no message is taken.
const MAX_HELD: usize = 8_192;
/// Of a tick's data, what providers gave at once may be so much: the other half is for sockets and threads.
const MAX_ANSWERS: usize = MAX_TICK_DATA_INPUTS / 2;
/// And of one session's so much: what is left of its share is for its caller.
const MAX_ANSWERS_OF_SESSION: usize = MAX_TICK_SESSION_DATA_INPUTS / 4;
/// A worker that has nothing to do looks around so often.
const LOOK_EVERY: Micros = Micros::from_ms(500);
/// While sessions are to go over to another version, it looks whether they are at rest so often.
const LOOK_FOR_VERSIONS: Micros = Micros::from_ms(50);
/// While inputs gather, it is looked so often whether the last tick is written.
const LOOK_FOR_WRITTEN: Micros = Micros(100);
/// Of a slot without a session.
pub(super) const NOBODY: usize = usize::MAX;

/// One worker.
pub(crate) struct Worker {
    pub(super) core: Core,
    pub(super) clock: Clock,
    messages: Receiver<Message>,
    /// For providers that answer from threads of their own.
    inbox: Sender<Message>,
    pub(super) load: Arc<Load>,
    pub(super) counts: Arc<Counts>,
    /// What this worker's sessions use, and what they are told of it.
    pub(super) admission: LocalAdmission,
    /// What those of the other workers use.
    books: Books,
    /// Where each session is that has not ended: its slot in the core, and its row.
    pub(super) places: BTreeMap<Key, (Slot, usize)>,
    pub(super) rows: Vec<Option<Row>>,
    pub(super) free_rows: Vec<usize>,
    /// By slot, the row of who has it.
    pub(super) row_of: Vec<usize>,
    batch: Batch,
    pub(super) records: Vec<Record>,
    /// For each of these records, the row of its session.
    pub(super) records_of: Vec<usize>,
    /// Ticks whose effects are to be performed.
    waiting: Waiting,
    pub(super) keepers: Keepers,
    /// Rows of which a tick has written something.
    touched: Vec<usize>,
    /// What did not fit into the last tick.
    held: VecDeque<(Key, Input)>,
    /// Inputs that follow from effects.
    follow: Vec<(Key, Input)>,
    /// Sessions for which a provider that answers at once has answered.
    answered: VecDeque<Key>,
    /// Reactions of the last tick that computed for long.
    overruns: Vec<Overrun>,
    pub(super) wall: Wall,
    looked_around: Micros,
    /// When it was looked last which sessions are at rest.
    pub(super) renewed: Micros,
    /// Some session is to go over to another version.
    pub(super) versions_wait: bool,
    pace: Pace,
    stopping: bool,
}

/// How often a worker ticks.
///
/// A tick costs the same for one input as for many, near enough, and so does waking the thread that reads what it says. A
/// worker with many sessions has an input every few microseconds: by letting them gather for a moment, it does the same
/// work in a fraction of the time, at the price of that moment. A worker with little to do ticks at once, and several times
/// in a row where one thing follows from another.
#[derive(Debug, Default)]
struct Pace {
    /// When the ticks so far would be over if each took [`Pace::TICK`].
    spent_until: Micros,
}

impl Pace {
    /// From one tick to the next, of a worker that has a lot to do.
    const TICK: Micros = Micros(1_000);
    /// Ticks that may follow one another at once.
    const BURST: u64 = 8;

    /// When the next tick may be.
    fn next_at(&self) -> Micros {
        Micros(self.spent_until.0.saturating_sub(Self::TICK.0 * Self::BURST))
    }

    fn on_tick(&mut self, now: Micros) {
        self.spent_until = self.spent_until.max(now) + Self::TICK;
    }
}

impl Worker {
    /// With both ends of its inbox: providers put into it, too.
    pub(crate) fn new(
        core: Core,
        clock: Clock,
        (inbox, messages): (Sender<Message>, Receiver<Message>),
        load: Arc<Load>,
        counts: Arc<Counts>,
        books: Books,
        keepers: Keepers,
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
            places: BTreeMap::new(),
            rows: Vec::new(),
            free_rows: Vec::new(),
            row_of: Vec::new(),
            batch: Batch::default(),
            records: Vec::new(),
            records_of: Vec::new(),
            waiting: Waiting::default(),
            keepers,
            touched: Vec::new(),
            held: VecDeque::new(),
            follow: Vec::new(),
            answered: VecDeque::new(),
            overruns: Vec::new(),
            wall: Wall::default(),
            looked_around: Micros(0),
            renewed: Micros(0),
            versions_wait: false,
            pace: Pace::default(),
            stopping: false,
        }
    }

    /// Until it is told to stop.
    pub(crate) fn run(mut self) {
        while !self.stopping {
            let first = self.wait();
            self.perform_written(self.clock.now());
            if matches!(first, Some(Message::Written)) {
                continue;
            }
            self.gather();
            let now = self.clock.now();
            self.load.looked_at.store(now.0, Ordering::Relaxed);
            self.take_all(now, first);
            self.turn(now);
        }
        if let Some(keeper) = &mut self.keepers.log {
            keeper.write_all();
        }
        self.perform_written(self.clock.now());
        for row in self.rows.iter_mut().flatten() {
            row.finish(End::Stopped);
        }
        if let Some(kept) = self.keepers.journal {
            kept.scribe.stop();
        }
        if let Some(keeper) = self.keepers.log {
            keeper.stop();
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Option<Message> {
        let now = self.clock.now();
        let may_sleep = self.keepers.may_sleep(&self.waiting);
        let look_every = if self.versions_wait { LOOK_FOR_VERSIONS } else { LOOK_EVERY };
        let hurry = !(may_sleep && self.held.is_empty() && self.follow.is_empty() && self.answered.is_empty());
        let at = self.core.next_deadline(now).unwrap_or(Micros(u64::MAX)).min(now + look_every);
        if hurry || at <= now {
            return self.messages.try_recv().ok();
        }
        self.messages.recv_deadline(self.clock.instant(at)).ok()
    }

    /// Lets inputs gather, where there were many ticks just now.
    fn gather(&mut self) {
        let next_at = self.pace.next_at();
        let mut now = self.clock.now();
        while now < next_at {
            // What is written meanwhile waits for no tick.
            self.perform_written(now);
            let rest = next_at.since(now).0;
            let step = if self.waiting.is_empty() { rest } else { rest.min(LOOK_FOR_WRITTEN.0) };
            std::thread::sleep(Duration::from_micros(step));
            now = self.clock.now();
        }
        self.pace.on_tick(now.max(next_at));
    }

    /// Takes what waits, within bounds: what did not fit last time first.
    fn take_all(&mut self, now: Micros, first: Option<Message>) {
        self.renew(now);
        for (key, _) in &self.held {
            if let Some(row) = self.places.get(key).and_then(|(_, row)| self.rows[*row].as_mut()) {
                row.behind = false;
            }
        }
        for (key, input) in std::mem::take(&mut self.held) {
            self.offer(key, input);
        }
        for (key, input) in std::mem::take(&mut self.follow) {
            self.offer(key, input);
        }
        self.take_answers(now);
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
            Message::Release(key) => self.release(key),
            Message::Change(key, to) => self.change(key, to),
            Message::Stop => self.stopping = true,
            Message::Written => {}
        }
    }

    /// What sits on this slot ends, and nobody hears of it.
    pub(super) fn end_slot(&mut self, slot: Slot) {
        self.batch.push(slot, Input::SessionEnd).unwrap_or_else(|error| unreachable!("control always fits: {error}"));
    }

    /// Puts an input into the tick, or behind what waits for the next. Control always fits, and overtakes data. What is
    /// for a session that has ended is dropped.
    pub(super) fn offer(&mut self, key: Key, input: Input) {
        let Some((slot, row)) = self.places.get(&key).copied() else { return };
        let Some(row) = self.rows[row].as_mut() else { return };
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

    /// Takes what providers gave at once, from one session after the other, as long as that is at most its part of the tick.
    /// The rest stays where it is: a long answer that is given at once keeps nobody waiting, its own caller neither.
    fn take_answers(&mut self, now: Micros) {
        for _ in 0..self.answered.len() {
            if self.batch.data() >= MAX_ANSWERS {
                return;
            }
            let Some(key) = self.answered.pop_front() else { return };
            let Some((_, place)) = self.places.get(&key).copied() else { continue };
            for _ in 0..MAX_ANSWERS_OF_SESSION {
                let Some(row) = self.rows[place].as_mut().filter(|row| !row.behind) else { break };
                let Some(input) = row.answered.pop_until(now) else { break };
                self.offer(key, input);
            }
            if let Some(row) = self.rows[place].as_mut() {
                row.is_in_line = row.answered.next_at().is_some();
                self.answered.extend(row.is_in_line.then_some(key));
            }
        }
    }

    /// One tick, and what follows from it and is written.
    fn turn(&mut self, now: Micros) {
        self.core.tick(now, &mut self.batch, &mut self.records);
        count(&self.counts.ticks);
        self.tell_overruns();
        let place = self.keepers.log.as_mut().map(|keeper| keeper.append(&self.records));
        self.find_rows();
        let journal = self.write_journal();
        self.hand_out(now, Before { place, journal });
        if let Some(place) = place {
            self.give_up_what_waits(place);
        }
        self.perform_written(now);
        self.tell_admission();
        if let Some(report) = self.keepers.log.as_mut().and_then(|keeper| keeper.measure(now)) {
            self.follow.extend(self.places.keys().map(|key| (*key, Input::Recorder(report))));
        }
        if now.since(self.looked_around) >= LOOK_EVERY {
            self.look_around(now);
        }
        self.counts.busy_us.fetch_add(self.clock.now().since(now).0, Ordering::Relaxed);
    }

    /// Who has this slot.
    fn row_at(&self, slot: Slot) -> Option<&Row> {
        let row = self.row_of.get(slot.0 as usize)?;
        self.rows.get(*row).and_then(Option::as_ref)
    }

    /// Finds the rows of what the tick wrote.
    fn find_rows(&mut self) {
        let row_of = |record: &Record| self.row_of.get(record.slot.0 as usize).copied().unwrap_or(NOBODY);
        self.records_of.extend(self.records.iter().map(row_of));
    }

    /// Two things wait for nothing: a gate closes, and who has ended gets no more inputs.
    fn hand_out(&mut self, now: Micros, written: Before) {
        if self.records.is_empty() {
            return;
        }
        for (record, place) in self.records.iter().zip(&self.records_of) {
            let Some(row) = self.rows.get(*place).and_then(Option::as_ref) else { continue };
            match &record.entry {
                Entry::Effect(Effect::ClearTransport { epoch, .. }) => row.outlet.fence(*epoch),
                Entry::Signal(_, Signal::SessionEnded) => {
                    self.places.remove(&row.key);
                    if let Some(kept) = self.keepers.journal.as_mut().filter(|_| row.is_kept()) {
                        kept.scribe.erase(row.key);
                    }
                }
                _ => {}
            }
        }
        self.waiting.put(now, written, &mut self.records, &mut self.records_of);
    }

    /// Where more waits for the log than may, the calls end, and nothing that is not in it leaves.
    fn give_up_what_waits(&mut self, place: Place) {
        let waiting = &self.waiting;
        if self.keepers.log.as_mut().is_some_and(|keeper| keeper.gives_up(waiting, place)) {
            self.rows.iter_mut().flatten().for_each(Row::mute);
            self.follow.extend(self.places.keys().map(|key| (*key, Input::SessionEnd)));
        }
    }

    /// Performs the effects of what is written.
    fn perform_written(&mut self, now: Micros) {
        while let Some(tick) = self.waiting.pop(now, &self.keepers, &self.counts) {
            self.heed_refusals();
            self.perform_tick(now, tick);
        }
    }

    /// Each record where it lies: a session's are in its order, and what another does meanwhile is nothing to it.
    fn perform_tick(&mut self, now: Micros, mut tick: Tick) {
        for (record, place) in tick.records.drain(..).zip(&tick.rows) {
            let Some(row) = self.rows.get_mut(*place).and_then(Option::as_mut) else { continue };
            if !std::mem::replace(&mut row.is_touched, true) {
                self.touched.push(*place);
            }
            let (inbox, counts, follow) = (&self.inbox, &*self.counts, &mut self.follow);
            let admission = &mut self.admission;
            row.perform(record, &mut Surroundings { now, inbox, counts, admission, follow });
        }
        self.waiting.take_back(tick);
        let mut touched = std::mem::take(&mut self.touched);
        touched.drain(..).for_each(|place| self.settle(now, place));
        self.touched = touched;
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
        let mut overruns = std::mem::take(&mut self.overruns);
        for Overrun { slot, node, took } in overruns.drain(..) {
            count(&self.counts.overruns);
            let key = self.row_at(slot).map(|row| row.key);
            self.follow.extend(key.map(|key| (key, Input::NodeOverrun { node, took })));
        }
        self.overruns = overruns;
    }

    /// What a tick has said to a session is all said.
    fn settle(&mut self, now: Micros, place: usize) {
        let Some(row) = self.rows[place].as_mut() else { return };
        let (inbox, counts, follow) = (&self.inbox, &*self.counts, &mut self.follow);
        let admission = &mut self.admission;
        let over = row.settle(&mut Surroundings { now, inbox, counts, admission, follow });
        let key = row.key;
        if row.answered.next_at().is_some() && !std::mem::replace(&mut row.is_in_line, true) {
            self.answered.push_back(key);
        }
        if let Some(end) = over {
            // Who hears that it is over finds it counted so.
            self.load.sessions.fetch_sub(1, Ordering::Relaxed);
            self.counts.sessions.fetch_sub(1, Ordering::Relaxed);
            self.rows[place].take().into_iter().for_each(|mut row| row.finish(end));
            self.free_rows.push(place);
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
        if let Some(keeper) = &mut self.keepers.log {
            keeper.look_around(&self.counts);
        }
        if let Some(kept) = &self.keepers.journal {
            self.counts.unkept.store(kept.scribe.failed(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When ticks happen that are wanted at these times, in microseconds.
    fn paced(wanted: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut pace = Pace::default();
        let tick = |at| {
            let at = pace.next_at().max(Micros(at));
            pace.on_tick(at);
            at.0
        };
        wanted.into_iter().map(tick).collect()
    }

    #[test]
    fn a_worker_with_little_to_do_ticks_at_once_and_so_do_the_ticks_that_follow_from_one() {
        let frames = (0..50).map(|frame| 7_000 + frame * 20_000);
        assert_eq!(paced(frames.clone()), frames.collect::<Vec<_>>());
        assert_eq!(paced([40_000; 8]), [40_000; 8]);
    }

    #[test]
    fn a_worker_with_much_to_do_ticks_a_thousand_times_a_second() {
        let at = paced((0..200_000).map(|number| 1_000_000 + number / 20));
        let ticks = |from: u64, to: u64| at.iter().filter(|at| (from..to).contains(*at)).count();
        assert_eq!(ticks(1_100_000, 1_110_000), 10);
    }
}
