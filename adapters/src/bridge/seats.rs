//! How many calls there may be, in all and of one tenant: a call that comes in beyond that is refused at the door.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::NoRoom;
use crate::onlooker::Watch;

/// The calls that there are.
#[derive(Debug)]
pub(crate) struct Seats {
    all: usize,
    of_a_key: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_key: BTreeMap<Arc<str>, usize>,
}

/// One call's place, which is free again when this is dropped, and who looks on from beside it.
pub(crate) struct Seat {
    pub(crate) watches: Vec<Box<dyn Watch>>,
    seats: Arc<Seats>,
    key: Arc<str>,
}

impl Seats {
    /// So many, and so many of one fairness key.
    pub(crate) fn new(all: usize, of_a_key: usize) -> Arc<Self> {
        Arc::new(Self { all, of_a_key, taken: Mutex::default() })
    }

    /// A place for one more call.
    pub(crate) fn take(self: &Arc<Self>, key: &Arc<str>) -> Result<Seat, NoRoom> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all {
            return Err(NoRoom::Server { sessions: self.all });
        }
        let of_key = taken.by_key.get(key).copied().unwrap_or(0);
        if of_key >= self.of_a_key {
            return Err(NoRoom::Tenant { sessions: self.of_a_key });
        }
        taken.by_key.insert(Arc::clone(key), of_key + 1);
        taken.all += 1;
        Ok(Seat { watches: Vec::new(), seats: Arc::clone(self), key: Arc::clone(key) })
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let of_key = taken.by_key.get(&self.key).copied().unwrap_or(0);
        if of_key > 1 {
            taken.by_key.insert(Arc::clone(&self.key), of_key - 1);
        } else {
            taken.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_share_and_what_ends_is_free_again() {
        let seats = Seats::new(3, 2);
        let take = |key: &str| seats.take(&key.into());
        let (first, second) = (take("a").expect("room"), take("a").expect("room"));
        assert_eq!(take("a").err(), Some(NoRoom::Tenant { sessions: 2 }));
        let third = take("b").expect("another's share");
        assert_eq!(take("c").err(), Some(NoRoom::Server { sessions: 3 }));
        drop(first);
        assert!(take("a").is_ok());
        drop((second, third));
        assert_eq!(seats.taken.lock().map(|taken| (taken.all, taken.by_key.len())).ok(), Some((0, 0)));
    }
}
