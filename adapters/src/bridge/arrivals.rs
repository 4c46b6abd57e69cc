//! How sessions begin on a worker, come from another one, and go to another one.
//!
//! A session that comes from elsewhere is rebuilt from its journal in one go: that is a thousand ticks for each twenty
//! seconds of call, a few tens of milliseconds in which the worker's other sessions wait. One is rebuilt at a time, and a tick
//! of the others lies between two.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rspp_specs::admission::ConnectionState;
use rspp_specs::ids::Slot;
use rspp_specs::recording::RecorderReport;
use rspp_specs::timeline::{Input, Record, SessionOpen};

use super::keeper::Keeper;
use super::outlet::{End, Outlet};
use super::row::Row;
use super::seats::Seat;
use super::worker::{NOBODY, Worker};
use super::{Key, Opening, count};
use crate::failover::{TakenOver, TakeoverError, take_over};
use crate::journal::Past;

impl Worker {
    /// A session begins here, or goes on here that was elsewhere.
    pub(super) fn open(&mut self, key: Key, mut opening: Opening, outlet: Arc<Outlet>, seat: Seat) {
        let kept = opening.kept.take();
        let (past, pen) = kept.map_or((None, None), |kept| (kept.past, Some(kept.pen)));
        let begun = match past.as_deref() {
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
        let reading = self.wall.reading(self.clock.now());
        self.offer(key, Input::WallClock(reading));
        let says = self.keepers.log.as_ref().map_or(RecorderReport::Relaxed, Keeper::says);
        if says != RecorderReport::Relaxed {
            self.offer(key, Input::Recorder(says));
        }
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
        let mut of_tick: Vec<(Key, Vec<Record>)> = Vec::new();
        for (record, place) in self.records.iter().zip(&self.records_of) {
            let Some(row) = self.rows.get(*place).and_then(Option::as_ref).filter(|row| row.is_kept()) else { continue };
            match of_tick.last_mut() {
                Some((key, records)) if *key == row.key => records.push(record.clone()),
                _ => of_tick.push((row.key, vec![record.clone()])),
            }
        }
        if of_tick.is_empty() {
            return None;
        }
        // What a session wrote in a tick is one whole, however the sessions took turns.
        of_tick.sort_by_key(|(key, _)| *key);
        of_tick.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1.append(&mut later.1);
            }
            same
        });
        Some(kept.scribe.append(of_tick))
    }
}
