//! Sessions whose connection is lost, until it comes back or the core has had enough of waiting.
//!
//! A session is found by its secret. If the connection that has it is still thought to be there, because the network did not
//! say that it is gone, the one that comes with the secret takes its place: whoever attends the old one hands it over.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rspp_specs::ids::LeaseEpoch;
use tokio::sync::{mpsc, oneshot};

use super::authority::Guest;
use crate::journal::Whose;
use crate::transport::connection::Connection;

/// All that is left of a connection.
pub(super) struct Parked {
    pub(super) session: Guest,
    pub(super) connection: Connection,
    /// What its transport wants the next one to know.
    pub(super) memory: Option<Box<dyn Any + Send>>,
}

/// Asks who attends a session to hand it over.
pub(super) type Displace = oneshot::Sender<Parked>;

enum Place {
    /// Somebody attends it.
    Attended(mpsc::Sender<Displace>),
    /// Nobody does; the number tells it from the next time.
    Parked(u64, Box<Parked>),
}

/// By secret.
#[derive(Default)]
pub(super) struct Parking {
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    by_secret: BTreeMap<String, Place>,
    /// Sessions that have a route, under which epoch they are here, and their secrets.
    by_name: BTreeMap<Whose, (LeaseEpoch, String)>,
    next: u64,
}

impl Places {
    fn remove(&mut self, secret: &str) {
        self.by_secret.remove(secret);
        self.by_name.retain(|_, (_, of)| of != secret);
    }
}

/// Where a session is that somebody has the secret of.
pub(super) enum Found {
    /// Here.
    Parked(Box<Parked>),
    /// Who attends it has to be asked.
    Attended(mpsc::Sender<Displace>),
    /// Nowhere.
    Nowhere,
}

impl Parking {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions that wait.
    pub(super) fn len(&self) -> usize {
        self.lock().by_secret.values().filter(|place| matches!(place, Place::Parked(..))).count()
    }

    /// Somebody attends this session from now on, and takes requests to hand it over.
    pub(super) fn attend(&self, secret: &str, kept: Option<(Whose, LeaseEpoch)>) -> mpsc::Receiver<Displace> {
        let (asks, asked) = mpsc::channel(1);
        let mut places = self.lock();
        places.by_secret.insert(secret.to_owned(), Place::Attended(asks));
        if let Some((whose, epoch)) = kept {
            places.by_name.insert(whose, (epoch, secret.to_owned()));
        }
        asked
    }

    /// The secret of a session that is here under this epoch: who brings its route may not have heard it.
    pub(super) fn secret_of(&self, whose: &Whose, epoch: LeaseEpoch) -> Option<String> {
        let places = self.lock();
        places.by_name.get(whose).filter(|(here, _)| *here == epoch).map(|(_, secret)| secret.clone())
    }

    /// Whether a session of this secret is here.
    pub(super) fn knows(&self, secret: &str) -> bool {
        self.lock().by_secret.contains_key(secret)
    }

    /// Looks for a session; a parked one is taken.
    pub(super) fn find(&self, secret: &str) -> Found {
        let mut places = self.lock();
        match places.by_secret.get(secret) {
            None => Found::Nowhere,
            Some(Place::Attended(asks)) => Found::Attended(asks.clone()),
            Some(Place::Parked(..)) => match places.by_secret.remove(secret) {
                Some(Place::Parked(_, parked)) => Found::Parked(parked),
                _ => Found::Nowhere,
            },
        }
    }

    /// Leaves a session here; gives the number under which it can be taken away. `None`, it is given back: there is no room.
    pub(super) fn park(&self, secret: &str, parked: Parked, most: usize) -> Option<u64> {
        let mut places = self.lock();
        let waiting = places.by_secret.values().filter(|place| matches!(place, Place::Parked(..))).count();
        if waiting >= most {
            places.remove(secret);
            return None;
        }
        places.next += 1;
        let number = places.next;
        places.by_secret.insert(secret.to_owned(), Place::Parked(number, Box::new(parked)));
        Some(number)
    }

    /// A session that waits for its caller here is given up, if others can go on with it: its caller finds it there.
    pub(super) fn give_up(&self, secret: &str, number: u64) {
        if let Some(Place::Parked(parked, left)) = self.lock().by_secret.get(secret)
            && *parked == number
            && left.session.is_kept()
        {
            left.session.give_up();
        }
    }

    /// Takes a session away that nobody came back for.
    pub(super) fn clear_away(&self, secret: &str, number: u64) {
        let mut places = self.lock();
        if matches!(places.by_secret.get(secret), Some(Place::Parked(parked, _)) if *parked == number) {
            places.remove(secret);
        }
    }

    /// The session is over.
    pub(super) fn forget(&self, secret: &str) {
        self.lock().remove(secret);
    }
}
