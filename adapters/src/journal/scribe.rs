//! Writes the journal of a worker's sessions, on a thread of its own: a folder that others share may be slow, and the worker
//! waits for nobody. A tick's effects wait until it is written, and are never performed if it was refused.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rspp_specs::timeline::Record;

use super::{JournalError, Pen, ToldBefore};
use crate::bridge::Key;

/// Orders that may wait. A worker gives one a tick, at most a thousand a second; when so many wait, the folder has stood still
/// for seconds.
const MAX_ORDERS: usize = 8_192;

/// What is to be written.
enum Order {
    /// A session is here.
    Begin(Key, Box<dyn Pen>),
    /// A tick of the worker, by session.
    Tick(u64, Vec<Stretch>),
    /// A session is over: nothing of it is needed any more.
    Erase(Key),
    /// A session is given up, for others to go on with.
    Leave(Key),
}

/// What a session wrote in a tick.
pub(crate) struct Stretch {
    pub(crate) key: Key,
    pub(crate) records: Vec<Record>,
    /// It begins with what the session goes on from, and nothing that stands before it is needed any more. By then its client
    /// had been told so much.
    pub(crate) begins_part: Option<ToldBefore>,
}

/// What the worker sees of it.
#[derive(Default)]
struct Shared {
    /// Up to this tick all is written.
    written: AtomicU64,
    /// Sessions that others have.
    refused: Mutex<Vec<Key>>,
    has_refused: AtomicBool,
    /// Sessions of which nothing more is kept, because something of them could not be.
    failed: AtomicU64,
}

/// A worker's scribe.
pub(crate) struct Scribe {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    tick: u64,
    is_lost: bool,
}

impl Scribe {
    /// Begins to write. `on_written` is called when more is.
    pub(crate) fn spawn(on_written: impl Fn() + Send + 'static) -> io::Result<Self> {
        let ((orders, taken), shared) = (bounded(MAX_ORDERS), Arc::new(Shared::default()));
        let desk = Desk { pens: BTreeMap::new(), shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let thread = thread.spawn(move || desk.run(&taken, on_written))?;
        Ok(Self { orders, shared, thread, tick: 0, is_lost: false })
    }

    fn order(&mut self, order: Order) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.orders.try_send(order) {
            self.is_lost = true;
        }
    }

    /// A session is here.
    pub(crate) fn begin(&mut self, key: Key, pen: Box<dyn Pen>) {
        self.order(Order::Begin(key, pen));
    }

    /// A session is over.
    pub(crate) fn erase(&mut self, key: Key) {
        self.order(Order::Erase(key));
    }

    /// A session is given up as it stands.
    pub(crate) fn leave(&mut self, key: Key) {
        self.order(Order::Leave(key));
    }

    /// What a tick of the worker wrote. Gives by what number it is asked whether it is written.
    pub(crate) fn append(&mut self, records: Vec<Stretch>) -> u64 {
        self.tick += 1;
        self.order(Order::Tick(self.tick, records));
        self.tick
    }

    /// Whether all of this tick is written, or nobody waits for that any more.
    pub(crate) fn is_written(&self, tick: u64) -> bool {
        self.is_lost || self.shared.written.load(Ordering::SeqCst) >= tick
    }

    /// Sessions that others have. To be asked after a tick is written, and before anything of it is done.
    pub(crate) fn take_refused(&self) -> Vec<Key> {
        if !self.shared.has_refused.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sessions that can't go on elsewhere, because something of them could not be kept.
    pub(crate) fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Everything is written when this returns.
    pub(crate) fn stop(self) {
        drop(self.orders);
        let _ = self.thread.join();
    }
}

/// The thread's side.
struct Desk {
    pens: BTreeMap<Key, Box<dyn Pen>>,
    shared: Arc<Shared>,
}

impl Desk {
    fn run(mut self, orders: &Receiver<Order>, on_written: impl Fn()) {
        while let Ok(order) = orders.recv() {
            let mut written = self.carry_out(order);
            // What waits is written before anybody is woken.
            while let Ok(order) = orders.try_recv() {
                written = self.carry_out(order).or(written);
            }
            if let Some(tick) = written {
                self.shared.written.store(tick, Ordering::SeqCst);
                on_written();
            }
        }
    }

    fn carry_out(&mut self, order: Order) -> Option<u64> {
        match order {
            Order::Begin(key, pen) => drop(self.pens.insert(key, pen)),
            Order::Erase(key) => self.pens.remove(&key).into_iter().for_each(Pen::erase),
            Order::Leave(key) => drop(self.pens.remove(&key)),
            Order::Tick(tick, records) => {
                records.into_iter().for_each(|stretch| self.write(&stretch));
                return Some(tick);
            }
        }
        None
    }

    fn write(&mut self, stretch: &Stretch) {
        let key = stretch.key;
        let Some(pen) = self.pens.get_mut(&key) else { return };
        let done = match stretch.begins_part {
            Some(told) => pen.begin_part(told, &stretch.records),
            None => pen.append(&stretch.records),
        };
        match done {
            Ok(()) => {}
            Err(JournalError::Stale { .. }) => {
                self.pens.remove(&key);
                self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).push(key);
                self.shared.has_refused.store(true, Ordering::SeqCst);
            }
            Err(JournalError::Io { .. } | JournalError::Limit(_)) => {
                // Half of a session is worse than nothing: who goes on with that would be somewhere else than its caller.
                self.pens.remove(&key).into_iter().for_each(Pen::erase);
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
