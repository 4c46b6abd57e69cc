//! Between a worker and its log: a bounded queue in memory, and the thread that writes from it.
//!
//! A disk that is slow shows as a write that does not return. It must hold up neither the worker, which cancels, fences and
//! ticks other sessions meanwhile, nor the promise that what had an effect is in the log: so the worker hands over bytes and
//! goes on, and the effects of a tick wait until the writer has said that the tick is with the system. What is handed over
//! and not written is bounded by [`LogSize::queue_bytes`](super::log::LogSize::queue_bytes); as with the log itself, a part
//! of that is for evidence alone.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use super::log::{Ring, Shared};

/// What was handed over, and is to be written next.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// Where stretches of it go, and how long they are: one after the other, but where a segment ends early.
    stretches: Vec<(u64, usize)>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// The writer has found nothing, and sleeps or is about to.
    sleeps: AtomicBool,
    writer: Mutex<Option<Thread>>,
}

impl Queue {
    /// Hands over what goes to this place. It never waits: the writer keeps the lock for as long as it takes to swap two
    /// vectors.
    pub(super) fn put(&self, place: u64, bytes: &[u8]) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.bytes.extend_from_slice(bytes);
        match pending.stretches.last_mut() {
            Some((start, length)) if *start + *length as u64 == place => *length += bytes.len(),
            _ => pending.stretches.push((place, bytes.len())),
        }
        drop(pending);
        if self.sleeps.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }

    fn take(&self, into: &mut Pending) {
        into.bytes.clear();
        into.stretches.clear();
        std::mem::swap(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner), into);
    }
}

/// Writes what a worker's log has handed over.
#[derive(Debug)]
pub struct LogWriter {
    ring: Ring,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    taken: Pending,
}

impl LogWriter {
    pub(super) fn new(ring: Ring, shared: Arc<Shared>, queue: Arc<Queue>) -> Self {
        Self { ring, shared, queue, taken: Pending::default() }
    }

    /// Writes what was handed over by now. Gives whether there was anything.
    pub fn step(&mut self) -> bool {
        self.queue.take(&mut self.taken);
        let mut bytes = &*self.taken.bytes;
        for (place, length) in &self.taken.stretches {
            let (stretch, rest) = bytes.split_at(*length);
            bytes = rest;
            self.shared.write(&self.ring, *place, stretch);
        }
        !self.taken.stretches.is_empty()
    }

    /// Writes on a thread of its own until it is stopped. `on_written` is called whenever more of the log is with the system.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn spawn(mut self, on_written: impl Fn() + Send + 'static) -> io::Result<LogWriterThread> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (told, queue) = (Arc::clone(&stopped), Arc::clone(&self.queue));
        let thread = std::thread::Builder::new().name("rspp-log".to_owned()).spawn(move || {
            *self.queue.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
            loop {
                let is_last = told.load(Ordering::SeqCst);
                self.queue.sleeps.store(true, Ordering::SeqCst);
                if self.step() {
                    on_written();
                } else if is_last {
                    return;
                } else {
                    std::thread::park();
                }
            }
        })?;
        Ok(LogWriterThread { stopped, queue, thread })
    }
}

/// A writer that runs.
#[derive(Debug)]
pub struct LogWriterThread {
    stopped: Arc<AtomicBool>,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl LogWriterThread {
    /// Lets it write what was handed over, and ends it.
    pub fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        self.queue.wake();
        let _ = self.thread.join();
    }
}

impl Shared {
    /// Writes to the log's files, and says so. What the system refuses is not kept; nothing after it can be, either.
    pub(super) fn write(&self, ring: &Ring, place: u64, bytes: &[u8]) {
        let (file, at, _) = ring.locate(place);
        if file.write_all_at(bytes, at).is_err() {
            self.failed_writes.fetch_add(1, Ordering::AcqRel);
        }
        self.written.store(place + bytes.len() as u64, Ordering::SeqCst);
    }
}
