//! What the sessions of all workers use together: each worker keeps the books of its own, and hears of the others'.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::admission::{Capacity, LocalAdmission, Use};

/// What each worker's sessions use.
#[derive(Debug)]
pub(super) struct Shared {
    capacity: Capacity,
    by_worker: Mutex<Vec<Use>>,
    /// Moves on with each change.
    changes: AtomicU64,
}

impl Shared {
    pub(super) fn new(capacity: Capacity, workers: usize) -> Arc<Self> {
        Arc::new(Self { capacity, by_worker: Mutex::new(vec![Use::default(); workers]), changes: AtomicU64::new(0) })
    }
}

/// One worker's view of it.
#[derive(Debug)]
pub(super) struct Books {
    shared: Arc<Shared>,
    worker: usize,
    /// The changes that it knows of.
    seen: u64,
}

impl Books {
    pub(super) fn new(shared: &Arc<Shared>, worker: usize) -> Self {
        Self { shared: Arc::clone(shared), worker, seen: 0 }
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.shared.capacity
    }

    /// Tells the others what is used here, if that has changed, and this worker what is used there.
    pub(super) fn balance(&mut self, admission: &mut LocalAdmission) {
        let changed = admission.take_changed();
        if !changed && self.shared.changes.load(Ordering::Acquire) == self.seen {
            return;
        }
        let mut by_worker = self.shared.by_worker.lock().unwrap_or_else(PoisonError::into_inner);
        if by_worker.len() == 1 {
            return;
        }
        if changed {
            by_worker[self.worker] = admission.used();
            self.shared.changes.fetch_add(1, Ordering::AcqRel);
        }
        self.seen = self.shared.changes.load(Ordering::Acquire);
        let others = by_worker.iter().enumerate().filter(|(worker, _)| *worker != self.worker);
        admission.on_use_elsewhere(others.fold(Use::default(), |sum, (_, used)| sum.with(used)));
    }
}
