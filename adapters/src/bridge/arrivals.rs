//! How sessions begin on a worker, come from another one, and go to another one.
//!
//! A session that comes from elsewhere is rebuilt from its journal in one go: that is a thousand ticks for each twenty
//! seconds of call, a few tens of milliseconds in which the worker's other sessions wait. One is rebuilt at a time, and a tick
//! of the others lies between two.
//!
//! So that this stays short however long a call is, a session at rest *begins afresh* now and then, from what it carries
//! ([`rspp_engine::Core::carry`]): its journal then begins there, too. In the same way it goes over to another version.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rspp_specs::admission::ConnectionState;
use rspp_specs::event::ContextEntry;
use rspp_specs::ids::Slot;
use rspp_specs::recording::RecorderReport;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Input, Record, SessionOpen};

use super::keeper::Keeper;
use super::outlet::{End, Outlet};
use super::row::Row;
use super::seats::Seat;
use super::worker::{NOBODY, Worker};
use super::{Key, Opening, Pipeline, count};
use crate::failover::{TakenOver, TakeoverError, take_over};
use crate::journal::{Past, Stretch};

/// It is looked so often which sessions are at rest; before each tick, where another version waits for one.
const LOOK_FOR_REST: Micros = Micros::from_ms(100);
/// A conversation that is longer is not carried on afresh: its journal grows.
const MAX_CARRIED_BYTES: usize = 1 << 20;

fn bytes(context: &[ContextEntry]) -> usize {
    let of = |entry: &ContextEntry| match entry {
        ContextEntry::User { text, .. } | ContextEntry::Remark { text } | ContextEntry::Agent { text, .. } => {
            text.len()
        }
        ContextEntry::Tool { call, result } => call.arguments.len() + result.as_ref().map_or(0, |text| text.len()),
    };
    context.iter().map(of).sum()
}

impl Worker {
    /// A session begins here, or goes on here that was elsewhere.
    pub(super) fn open(&mut self, key: Key, mut opening: Opening, outlet: Arc<Outlet>, seat: Seat) {
        let kept = opening.kept.take();
        let (past, pen) = kept.map_or((None, None), |kept| (kept.past, Some(kept.pen)));
        let takes_calls = self.keepers.log.as_ref().is_none_or(Keeper::takes_calls);
        let begun = match past.as_deref() {
            _ if !takes_calls => Err(End::NoRoom),
            Some(past) => self.go_on(&opening, past),
            None => self.core.reserve().map(|slot| (slot, None)).ok_or(End::NoRoom),
        };
        let (slot, taken_over) = match begun {
            Ok(begun) => begun,
            Err(end) => return self.turn_away(&outlet, end),
        };
        count(&self.counts.opened);
        self.counts.sessions.fetch_add(1, Ordering::Relaxed);
        let row = self.seat(key, slot, outlet, &opening, seat);
        if let (Some(pen), Some(journal)) = (pen, &mut self.keepers.journal) {
            journal.scribe.begin(key, pen);
            self.rows[row].iter_mut().for_each(Row::keep);
        }
        match (taken_over, past) {
            (Some(taken_over), Some(past)) => self.welcome(key, row, taken_over, &past),
            _ => {
                let open = SessionOpen::new(Arc::clone(&opening.session), Arc::clone(&opening.pipeline.plan));
                let fairness_key = Arc::clone(&opening.fairness_key);
                let open = SessionOpen { fairness_key, epoch: opening.epoch, ..open };
                self.offer(key, Input::SessionOpen(Box::new(open)));
            }
        }
        self.tell_surroundings(key);
    }

    /// What every session learns that begins, or begins afresh.
    fn tell_surroundings(&mut self, key: Key) {
        let reading = self.wall.reading(self.clock.now());
        self.offer(key, Input::WallClock(reading));
        let says = self.keepers.log.as_ref().map_or(RecorderReport::Relaxed, Keeper::says);
        if says != RecorderReport::Relaxed {
            self.offer(key, Input::Recorder(says));
        }
    }

    /// Sessions at rest begin afresh, where there is a reason: another version waits for them, or their journal has grown.
    /// What they begin with is the first that enters them in this tick.
    pub(super) fn renew(&mut self, now: Micros) {
        if !self.versions_wait && now.since(self.renewed) < LOOK_FOR_REST {
            return;
        }
        self.renewed = now;
        let rows = self.places.iter().filter_map(|(key, (slot, row))| Some((*key, *slot, self.rows[*row].as_ref()?)));
        self.versions_wait = rows.clone().any(|(_, _, row)| row.next.is_some());
        let due = rows.filter(|(_, _, row)| row.wants_renewal(now)).map(|(key, slot, _)| (key, slot));
        let due: Vec<(Key, Slot)> = due.collect();
        for (key, slot) in due {
            self.renew_session(key, slot);
        }
    }

    fn renew_session(&mut self, key: Key, slot: Slot) {
        let carried = self.core.carry(slot).filter(|resume| bytes(&resume.context) <= MAX_CARRIED_BYTES);
        let (Some(resume), Some(view)) = (carried, self.core.view(slot)) else { return };
        let Some((_, place)) = self.places.get(&key).copied() else { return };
        let Some(row) = self.rows[place].as_mut() else { return };
        let account = row.account();
        let open = SessionOpen { resume, epoch: view.epoch, ..row.go_on_afresh() };
        self.admission.renew(account);
        self.offer(key, Input::SessionOpen(Box::new(open)));
        self.tell_surroundings(key);
    }

    fn turn_away(&self, outlet: &Outlet, end: End) {
        count(&self.counts.refused);
        self.load.sessions.fetch_sub(1, Ordering::Relaxed);
        outlet.push_end(end);
        outlet.wake();
    }

    /// Brings a session to where its journal ends.
    fn go_on(&mut self, opening: &Opening, past: &Past) -> Result<(Slot, Option<TakenOver>), End> {
        match take_over(&mut self.core, &past.records, opening.epoch) {
            Ok(taken_over) => Ok((taken_over.slot, Some(taken_over))),
            Err(TakeoverError::Full) => Err(End::NoRoom),
            Err(TakeoverError::Restore { slot, .. }) => {
                count(&self.counts.not_rebuilt);
                // Nobody sits there: what it says is heard by nobody.
                if let Some(row) = self.row_of.get_mut(slot.0 as usize) {
                    *row = NOBODY;
                }
                self.end_slot(slot);
                Err(End::NotRebuilt)
            }
        }
    }

    /// A row for a session, and its account.
    fn seat(&mut self, key: Key, slot: Slot, outlet: Arc<Outlet>, opening: &Opening, seat: Seat) -> usize {
        let row = self.free_rows.pop().unwrap_or_else(|| {
            self.rows.push(None);
            self.rows.len() - 1
        });
        let account = Slot(u32::try_from(row).expect("a worker has few sessions"));
        let Opening { fairness_key, priority, epoch, .. } = opening;
        self.admission.enter(account, Arc::clone(fairness_key), *priority, *epoch, 0);
        let index = slot.0 as usize;
        self.row_of.resize(self.row_of.len().max(index + 1), NOBODY);
        self.row_of[index] = row;
        self.rows[row] = Some(Row::new(key, account, outlet, opening, seat));
        self.places.insert(key, (slot, row));
        row
    }

    /// A session that stands where its journal ends learns who has it now, and that its caller is there.
    fn welcome(&mut self, key: Key, row: usize, taken_over: TakenOver, past: &Past) {
        count(&self.counts.taken_over);
        let TakenOver { slot, input, again } = taken_over;
        if let Some(keeper) = &mut self.keepers.log {
            // The recording of the call is whole also here.
            let own: Vec<Record> = past.records.iter().map(|record| Record { slot, ..record.clone() }).collect();
            keeper.append(&own);
        }
        if let Some(row) = self.rows[row].as_mut() {
            row.come_from(past, again, &mut self.admission);
        }
        self.offer(key, input);
        self.offer(key, Input::Connection(ConnectionState::Connected));
    }

    /// A session is to go on with this version, as soon as it is at rest.
    pub(super) fn change(&mut self, key: Key, to: Pipeline) {
        let Some((_, row)) = self.places.get(&key).copied() else { return };
        if let Some(row) = self.rows[row].as_mut() {
            row.next = Some(to);
            self.versions_wait = true;
        }
    }

    /// A session is given up as it stands: what it has not done yet another one does.
    pub(super) fn release(&mut self, key: Key) {
        let Some((_, row)) = self.places.get(&key).copied() else { return };
        if let Some(kept) = &mut self.keepers.journal {
            kept.scribe.leave(key);
        }
        if let Some(row) = self.rows[row].as_mut() {
            row.is_elsewhere = true;
        }
        self.offer(key, Input::SessionEnd);
    }

    /// Sessions that others have: nothing of what they do is done, and their slots are free soon.
    pub(super) fn heed_refusals(&mut self) {
        let refused = self.keepers.journal.as_ref().map(|kept| kept.scribe.take_refused()).unwrap_or_default();
        for key in refused {
            count(&self.counts.stale_writes);
            self.release(key);
            // One that ends has no place any more, and a row as long as its last ticks wait.
            let row = self.rows.iter_mut().flatten().find(|row| row.key == key);
            row.into_iter().for_each(|row| row.is_elsewhere = true);
        }
    }

    /// Hands what the tick wrote to the journal, of those sessions that are in it.
    pub(super) fn write_journal(&mut self) -> Option<u64> {
        let kept = self.keepers.journal.as_mut()?;
        let mut of_tick: Vec<Stretch> = Vec::new();
        for (record, place) in self.records.iter().zip(&self.records_of) {
            let Some(row) = self.rows.get_mut(*place).and_then(Option::as_mut).filter(|row| row.is_kept()) else {
                continue;
            };
            match of_tick.last_mut() {
                Some(last) if last.key == row.key => last.records.push(record.clone()),
                _ => {
                    let begins_part = row.begins_part(record);
                    of_tick.push(Stretch { key: row.key, records: vec![record.clone()], begins_part });
                }
            }
            row.tally.count(&record.entry);
        }
        if of_tick.is_empty() {
            return None;
        }
        // What a session wrote in a tick is one whole, however the sessions took turns.
        of_tick.sort_by_key(|stretch| stretch.key);
        of_tick.dedup_by(|later, first| {
            let same = later.key == first.key;
            if same {
                first.records.append(&mut later.records);
            }
            same
        });
        Some(kept.scribe.append(of_tick))
    }
}
