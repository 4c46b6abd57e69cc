//! What else uses the worker and the tenant's quota, as far as one session notices: now and then too much.
//!
//! The books are those of the shell, kept for one session, so that it behaves alone as it does among others; who else there is
//! is drawn.

use rspp_specs::admission::Quota;
use rspp_specs::event::Request;
use rspp_specs::ids::{InvocationId, LeaseEpoch, Slot};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{DEFAULT_FAIRNESS_KEY, Input, Record};

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};
use crate::admission::{Capacity, LocalAdmission, Priority, Use};

/// One call's view of what is scarce.
#[derive(Debug)]
pub(super) struct Pressure {
    draws: Draws,
    books: LocalAdmission,
    priority: Priority,
    slot: Slot,
    /// When it gets tight, or eases.
    turns_at: Option<Micros>,
    is_tight: bool,
}

const NEVER: Micros = Micros(u64::MAX);
const CAPACITY: Capacity = Capacity {
    sessions: 1,
    sessions_of_a_key: 1,
    turns: 20,
    turns_of_a_key: 8,
    invocations: 30,
    invocations_of_a_key: 30,
    headroom_percent: 20,
};

impl Pressure {
    pub(super) fn new(now: Micros, slot: Slot, origin: Origin, character: &Character, faults: Faults) -> Self {
        let mut draws = Draws::new(origin, Concern::Pressure);
        let priority = draws.weighted(&[(7, Priority::Interactive), (3, Priority::Background)]);
        let concerned = draws.chance(600) && faults.has(Fault::AdmissionOverload);
        let mut books = LocalAdmission::new(CAPACITY);
        books.enter(slot, DEFAULT_FAIRNESS_KEY.into(), priority, LeaseEpoch::default(), 0);
        let turns_at = concerned.then(|| character.on_the_beat(now + draws.ms(500, 15_000)));
        Self { draws, books, priority, slot, turns_at, is_tight: false }
    }

    pub(super) fn next_at(&self) -> Micros {
        self.turns_at.unwrap_or(NEVER)
    }

    /// It gets tight, or eases; gives what the session is told of it.
    pub(super) fn act(&mut self, now: Micros, inputs: &mut Vec<Input>) {
        if self.turns_at.is_some_and(|at| at <= now) {
            self.is_tight = !self.is_tight;
            let lasts = if self.is_tight { self.tighten() } else { self.ease() };
            self.turns_at = Some(now + lasts);
        }
        inputs.extend(self.books.news().into_iter().map(|(_, input)| input));
    }

    fn tighten(&mut self) -> Micros {
        match self.draws.below(10) {
            0 => self.books.on_quota(self.slot, Quota::Exhausted),
            1..3 => {
                let retry_after = self.draws.ms(100, 2_500);
                self.books.on_quota(self.slot, Quota::Deferred { retry_after });
            }
            3..6 => self.books.on_use_elsewhere(Use { turns: self.draws.between(16, 45) as u32, ..Use::default() }),
            _ => {
                let invocations = self.draws.between(24, 40) as u32;
                self.books.on_use_elsewhere(Use { invocations, ..Use::default() });
            }
        }
        self.draws.ms(300, 7_000)
    }

    fn ease(&mut self) -> Micros {
        self.books.on_quota(self.slot, Quota::Available);
        self.books.on_use_elsewhere(Use::default());
        self.draws.ms(1_000, 20_000)
    }

    /// Something that the session's tick wrote.
    pub(super) fn note(&mut self, record: &Record) {
        self.books.on_entry(self.slot, &record.entry);
    }

    /// Whether an invocation may be started; if not, what the session is told.
    pub(super) fn dispatch(&mut self, id: InvocationId, request: &Request) -> Option<Input> {
        self.books.dispatch(self.slot, id, request)
    }

    /// The lease has moved on.
    pub(super) fn on_lease(&mut self, epoch: LeaseEpoch) {
        self.books.on_lease(self.slot, epoch);
    }

    /// The session goes on under another slot, with another worker, whose books know nothing but what it was told.
    pub(super) fn on_takeover(&mut self, slot: Slot, epoch: LeaseEpoch, log: &[Record]) {
        let version = self.books.version(self.slot);
        self.books = LocalAdmission::new(CAPACITY);
        self.books.enter(slot, DEFAULT_FAIRNESS_KEY.into(), self.priority, epoch, version);
        self.books.on_records(slot, log);
        self.slot = slot;
        self.is_tight = false;
    }
}
