//! What one worker can take on, and what it sheds first (`F-049`, `F-050`, `F-172` to `F-174`).
//!
//! Here is decided what concerns several sessions at once; each decision enters the sessions that it concerns as an input, so
//! that each of them replays alone. Three things are counted: turns that are open, by worker and by fairness key, and
//! invocations in flight. Who reads this should know what is *never* shed: control, a turn that is open, a write that was
//! committed. A part of the capacity is headroom: only sessions in which somebody waits for an answer may use it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rspp_specs::admission::{AdmissionSnapshot, Quota};
use rspp_specs::event::{ProviderResult, Request};
use rspp_specs::ids::{InvocationId, LeaseEpoch, Slot};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal};
use serde::{Deserialize, Serialize};

/// What the workers of a server can do at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Sessions; one more is refused at the door.
    pub sessions: u32,
    /// Sessions that share a fairness key.
    pub sessions_of_a_key: u32,
    /// Open turns.
    pub turns: u32,
    /// Open turns of sessions that share a fairness key.
    pub turns_of_a_key: u32,
    /// Invocations in flight.
    pub invocations: u32,
    /// Invocations in flight of sessions that share a fairness key.
    pub invocations_of_a_key: u32,
    /// How much of turns and invocations is kept for interactive sessions, in percent.
    pub headroom_percent: u32,
}

impl Default for Capacity {
    /// What a server takes on unless somebody says otherwise. The sessions of a key are bounded by all, so that a server of
    /// a single tenant can be used up.
    fn default() -> Self {
        Self {
            sessions: 4_096,
            sessions_of_a_key: 4_096,
            turns: 2_048,
            turns_of_a_key: 2_048,
            invocations: 4_096,
            invocations_of_a_key: 4_096,
            headroom_percent: 20,
        }
    }
}

/// What is used of a capacity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Open turns.
    pub turns: u32,
    /// Invocations in flight.
    pub invocations: u32,
    /// Both by fairness key.
    pub by_key: BTreeMap<Arc<str>, (u32, u32)>,
}

impl Use {
    /// Both together.
    #[must_use]
    pub fn with(mut self, other: &Use) -> Use {
        self.turns += other.turns;
        self.invocations += other.invocations;
        for (key, (turns, invocations)) in &other.by_key {
            let of = self.by_key.entry(Arc::clone(key)).or_default();
            *of = (of.0 + turns, of.1 + invocations);
        }
        self
    }

    fn of(&self, key: &Arc<str>) -> (u32, u32) {
        self.by_key.get(key).copied().unwrap_or_default()
    }

    /// One more is used of a key, or one less.
    fn count(&mut self, key: &Arc<str>, what: What, more: bool) {
        let (turns, invocations) = self.by_key.entry(Arc::clone(key)).or_default();
        let (all, of_key) = match what {
            What::Turn => (&mut self.turns, turns),
            What::Invocation => (&mut self.invocations, invocations),
        };
        if more {
            (*all, *of_key) = (*all + 1, *of_key + 1);
        } else {
            (*all, *of_key) = (*all - 1, *of_key - 1);
        }
        if self.of(key) == (0, 0) {
            self.by_key.remove(key);
        }
    }
}

#[derive(Clone, Copy)]
enum What {
    Turn,
    Invocation,
}

/// Who goes first when there is not enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Nobody does: a batch, a rehearsal.
    Background,
}

impl Priority {
    /// Whether somebody waits.
    pub fn is_interactive(&self) -> bool {
        *self == Priority::Interactive
    }
}

/// After so long it is worth another try: a turn may have ended.
const RETRY_AFTER: Micros = Micros::from_ms(250);

/// The worker's books.
#[derive(Debug)]
pub struct LocalAdmission {
    capacity: Capacity,
    sessions: BTreeMap<Slot, Account>,
    used: Use,
    /// What others use of the same machine.
    elsewhere: Use,
    /// Another number is used than when that was asked last.
    changed: bool,
    /// Somebody may have to be told another word.
    stale: bool,
    /// Everybody was told that there is enough.
    calm: bool,
}

/// One session's account.
#[derive(Debug)]
struct Account {
    key: Arc<str>,
    priority: Priority,
    turn_open: bool,
    invocations: BTreeSet<InvocationId>,
    epoch: LeaseEpoch,
    /// What the control plane says of it.
    quota: Quota,
    /// What it was told last, where that is known, and under which number.
    told: Option<Quota>,
    version: u64,
}

impl LocalAdmission {
    /// Nobody is there yet.
    pub fn new(capacity: Capacity) -> Self {
        let (used, elsewhere) = (Use::default(), Use::default());
        Self { capacity, sessions: BTreeMap::new(), used, elsewhere, changed: false, stale: false, calm: true }
    }

    /// A session begins, or goes on here. `version` is the number of the last snapshot that it was told: 0 if none.
    pub fn enter(&mut self, slot: Slot, key: Arc<str>, priority: Priority, epoch: LeaseEpoch, version: u64) {
        // Who was told nothing takes it that there is enough; who was told something elsewhere is told anew.
        let (quota, told) = (Quota::Available, (version == 0).then_some(Quota::Available));
        let account =
            Account { key, priority, turn_open: false, invocations: BTreeSet::new(), epoch, quota, told, version };
        self.sessions.insert(slot, account);
        self.calm &= version == 0;
        self.stale = true;
    }

    /// A session begins afresh: it knows nothing of what it was told.
    pub fn renew(&mut self, slot: Slot) {
        if let Some(account) = self.sessions.get_mut(&slot) {
            account.told = Some(Quota::Available);
            (self.calm, self.stale) = (false, true);
        }
    }

    /// A session is gone, and all that it used is free.
    pub fn leave(&mut self, slot: Slot) {
        let Some(account) = self.sessions.remove(&slot) else { return };
        for _ in &account.invocations {
            self.count(&account.key, What::Invocation, false);
        }
        if account.turn_open {
            self.count(&account.key, What::Turn, false);
        }
    }

    /// The number of the last snapshot that a session was told.
    pub fn version(&self, slot: Slot) -> u64 {
        self.sessions.get(&slot).map_or(0, |account| account.version)
    }

    /// The control plane's word on a session's quota.
    pub fn on_quota(&mut self, slot: Slot, quota: Quota) {
        if let Some(account) = self.sessions.get_mut(&slot) {
            account.quota = quota;
            (self.calm, self.stale) = (false, true);
        }
    }

    /// The session's lease, as the control plane has it.
    pub fn on_lease(&mut self, slot: Slot, epoch: LeaseEpoch) {
        if let Some(account) = self.sessions.get_mut(&slot) {
            account.epoch = epoch;
        }
    }

    /// So much is the machine's business besides these sessions.
    pub fn on_use_elsewhere(&mut self, elsewhere: Use) {
        self.stale |= self.elsewhere != elsewhere;
        self.elsewhere = elsewhere;
    }

    /// What these sessions use.
    pub fn used(&self) -> Use {
        self.used.clone()
    }

    /// Whether they use another number than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What a session's tick wrote.
    pub fn on_records(&mut self, slot: Slot, records: &[Record]) {
        records.iter().for_each(|record| self.on_entry(slot, &record.entry));
    }

    /// One entry of it. Where invocations are started, each is asked for in its place between these
    /// ([`LocalAdmission::dispatch`]): one that is started and cancelled in the same tick is not in flight.
    pub fn on_entry(&mut self, slot: Slot, entry: &Entry) {
        match entry {
            Entry::Signal(_, Signal::TurnOpen { .. }) => self.on_turn(slot, true),
            Entry::Signal(_, Signal::Close) => self.on_turn(slot, false),
            Entry::Signal(_, Signal::ProviderError { id, .. })
            | Entry::Effect(Effect::CancelInvocation { id })
            | Entry::Input(_, Input::Provider(id, ProviderResult::End(_))) => self.on_end(slot, *id),
            Entry::Signal(_, Signal::SessionEnded) => self.leave(slot),
            _ => {}
        }
    }

    fn on_turn(&mut self, slot: Slot, opens: bool) {
        let Some(account) = self.sessions.get_mut(&slot).filter(|account| account.turn_open != opens) else { return };
        account.turn_open = opens;
        let key = Arc::clone(&account.key);
        self.count(&key, What::Turn, opens);
    }

    fn count(&mut self, key: &Arc<str>, what: What, more: bool) {
        self.used.count(key, what, more);
        (self.changed, self.stale) = (true, true);
    }

    fn on_end(&mut self, slot: Slot, id: InvocationId) {
        let Some(account) = self.sessions.get_mut(&slot) else { return };
        if account.invocations.remove(&id) {
            let key = Arc::clone(&account.key);
            self.count(&key, What::Invocation, false);
        }
    }

    /// An invocation is to be started: `None`, it may be; else what its session is told instead.
    pub fn dispatch(&mut self, slot: Slot, id: InvocationId, request: &Request) -> Option<Input> {
        let account = self.sessions.get(&slot)?;
        // A tool's call may be a write that was committed; and what the caller says now can't be said again.
        let must = matches!(request, Request::Tool(_) | Request::Transcribe { .. });
        let limit = self.limit(self.capacity.invocations, account.priority);
        let of_key = self.used.of(&account.key).1 + self.elsewhere.of(&account.key).1;
        let is_full = self.used.invocations + self.elsewhere.invocations >= limit;
        if !must && (is_full || of_key >= self.capacity.invocations_of_a_key) {
            return Some(Input::DispatchRefused(id));
        }
        let key = Arc::clone(&account.key);
        if self.sessions.get_mut(&slot).is_some_and(|account| account.invocations.insert(id)) {
            self.count(&key, What::Invocation, true);
        }
        None
    }

    /// Sessions for which another word on new turns holds now than they were told last, with that word.
    pub fn news(&mut self) -> Vec<(Slot, Input)> {
        if !std::mem::take(&mut self.stale) || self.calm && !self.is_tight() {
            return Vec::new();
        }
        let words = self.sessions.iter().map(|(slot, of)| (*slot, self.word(of), of.told));
        let words: Vec<(Slot, Quota)> =
            words.filter(|(_, word, told)| *told != Some(*word)).map(|(slot, word, _)| (slot, word)).collect();
        let mut news = Vec::new();
        for (slot, quota) in words {
            let Some(account) = self.sessions.get_mut(&slot) else { continue };
            account.told = Some(quota);
            account.version += 1;
            let (version, form, epoch) = (account.version, AdmissionSnapshot::FORM, account.epoch);
            news.push((slot, Input::Admission(AdmissionSnapshot { version, form, epoch, quota })));
        }
        self.calm = self.sessions.values().all(|account| account.told == Some(Quota::Available));
        news
    }

    /// Whether there may be a session for which there is not enough.
    fn is_tight(&self) -> bool {
        let is_busy = |key: &Arc<str>| self.of_key(key) >= self.capacity.turns_of_a_key;
        let open = self.used.turns + self.elsewhere.turns;
        open >= self.limit(self.capacity.turns, Priority::Background) || self.used.by_key.keys().any(is_busy)
    }

    /// Open turns of a fairness key, here and elsewhere.
    fn of_key(&self, key: &Arc<str>) -> u32 {
        self.used.of(key).0 + self.elsewhere.of(key).0
    }

    /// What holds for a session now. Its own open turn is counted for the others, and is no reason against its next one,
    /// which would take its place.
    fn word(&self, account: &Account) -> Quota {
        let own = u32::from(account.turn_open);
        let of_key = self.of_key(&account.key) - own;
        let open = self.used.turns + self.elsewhere.turns - own;
        if account.quota != Quota::Available {
            account.quota
        } else if of_key >= self.capacity.turns_of_a_key {
            Quota::Deferred { retry_after: RETRY_AFTER }
        } else if open < self.limit(self.capacity.turns, account.priority) {
            Quota::Available
        } else if account.priority == Priority::Interactive && open < self.capacity.turns * 2 {
            // Somebody waits: a turn may end soon. Under twice what can be done it will not.
            Quota::Deferred { retry_after: RETRY_AFTER }
        } else {
            Quota::Shedding
        }
    }

    fn limit(&self, capacity: u32, priority: Priority) -> u32 {
        match priority {
            Priority::Interactive => capacity,
            Priority::Background => capacity - capacity * self.capacity.headroom_percent.min(100) / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rspp_specs::ids::TurnId;
    use rspp_specs::plan::PlanHash;

    const CAPACITY: Capacity = Capacity {
        sessions: 20,
        sessions_of_a_key: 20,
        turns: 10,
        turns_of_a_key: 4,
        invocations: 5,
        invocations_of_a_key: 5,
        headroom_percent: 20,
    };

    fn turns(turns: u32) -> Use {
        Use { turns, ..Use::default() }
    }

    fn open(turn: u32) -> Entry {
        let generation = rspp_specs::ids::Generation(turn);
        let (plan, text, opener) = (PlanHash("plan".into()), "hello".into(), rspp_specs::timeline::Opener::Caller);
        let opened = Signal::TurnOpen { plan, generation, text, opener, understood: true, speech_end: None };
        Entry::Signal(Some(TurnId(turn)), opened)
    }

    fn close(turn: u32) -> Entry {
        Entry::Signal(Some(TurnId(turn)), Signal::Close)
    }

    fn write(admission: &mut LocalAdmission, slot: u32, entry: Entry) {
        let slot = Slot(slot);
        admission.on_records(slot, &[Record { slot, tick: 1, at: Micros(0), entry }]);
    }

    /// Sessions 0 to 9 of a key each two share; 8 and 9 are in the background.
    fn worker() -> LocalAdmission {
        let mut admission = LocalAdmission::new(CAPACITY);
        for slot in 0..10 {
            let priority = if slot < 8 { Priority::Interactive } else { Priority::Background };
            admission.enter(Slot(slot), format!("tenant-{}", slot / 2).into(), priority, LeaseEpoch(0), 0);
        }
        admission
    }

    fn told(admission: &mut LocalAdmission) -> Vec<(u32, Quota)> {
        let quota = |input| match input {
            Input::Admission(snapshot) => snapshot.quota,
            other => panic!("{other:?} is no snapshot"),
        };
        admission.news().into_iter().map(|(slot, input)| (slot.0, quota(input))).collect()
    }

    const LATER: Quota = Quota::Deferred { retry_after: RETRY_AFTER };

    #[test]
    fn the_background_is_shed_before_anybody_who_waits() {
        let mut admission = worker();
        assert_eq!(told(&mut admission), []);
        admission.on_use_elsewhere(turns(8));
        assert_eq!(told(&mut admission), [(8, Quota::Shedding), (9, Quota::Shedding)], "the headroom is not theirs");
        admission.on_use_elsewhere(turns(10));
        assert_eq!(told(&mut admission), (0..8).map(|slot| (slot, LATER)).collect::<Vec<_>>());
        admission.on_use_elsewhere(turns(20));
        assert_eq!(told(&mut admission).len(), 8, "twice as much as can be done: nobody is kept waiting for nothing");
        admission.on_use_elsewhere(turns(0));
        assert_eq!(told(&mut admission).len(), 10);
    }

    #[test]
    fn a_key_has_its_share_and_an_own_turn_is_no_obstacle() {
        let mut admission = LocalAdmission::new(Capacity { turns_of_a_key: 1, ..CAPACITY });
        for slot in 0..3 {
            let key = if slot < 2 { "busy" } else { "calm" };
            admission.enter(Slot(slot), key.into(), Priority::Interactive, LeaseEpoch(0), 7);
        }
        assert_eq!(told(&mut admission).len(), 3, "what they were told elsewhere is not known here");
        write(&mut admission, 0, open(1));
        write(&mut admission, 0, open(1));
        assert_eq!(told(&mut admission), [(1, LATER)]);
        assert_eq!(admission.version(Slot(1)), 9, "numbers go on where they were");
        write(&mut admission, 0, close(1));
        assert_eq!(told(&mut admission), [(1, Quota::Available)]);
        write(&mut admission, 0, open(2));
        admission.leave(Slot(0));
        assert_eq!(told(&mut admission), []);
    }

    #[test]
    fn a_key_s_share_is_counted_across_workers() {
        let mut admission = worker();
        let busy =
            |turns, invocations| Use { by_key: [("tenant-0".into(), (turns, invocations))].into(), ..Use::default() };
        admission.on_use_elsewhere(busy(4, 0));
        write(&mut admission, 2, open(1));
        assert_eq!(told(&mut admission), [], "nobody of the busy tenant's is here with an open turn");
        write(&mut admission, 1, open(1));
        assert_eq!(told(&mut admission), [(0, LATER), (1, LATER)]);
        admission.on_use_elsewhere(busy(0, 5));
        assert_eq!(told(&mut admission).len(), 2);
        let speak = Request::Speak { text: "hello".into() };
        let id = InvocationId(1);
        assert_eq!(admission.dispatch(Slot(0), id, &speak), Some(Input::DispatchRefused(id)), "its share is used up");
        assert_eq!(admission.dispatch(Slot(2), id, &speak), None);
        assert!(admission.take_changed() && !admission.take_changed());
        assert_eq!(admission.used().with(&busy(1, 1)).by_key.get("tenant-0"), Some(&(2, 1)));
    }

    #[test]
    fn what_the_control_plane_says_goes_first() {
        let mut admission = worker();
        admission.on_quota(Slot(3), Quota::Exhausted);
        admission.on_use_elsewhere(turns(10));
        assert!(told(&mut admission).contains(&(3, Quota::Exhausted)));
    }

    #[test]
    fn invocations_are_bounded_and_what_must_run_runs() {
        let mut admission = worker();
        let speak = || Request::Speak { text: "hello".into() };
        let tool = rspp_specs::event::ToolCall { key: "k".into(), name: "book".into(), arguments: "{}".into() };
        let id = InvocationId;
        for number in 0..4 {
            assert_eq!(admission.dispatch(Slot(8), id(number), &speak()), None);
        }
        assert_eq!(admission.dispatch(Slot(8), id(4), &speak()), Some(Input::DispatchRefused(id(4))), "headroom");
        assert_eq!(admission.dispatch(Slot(0), id(1), &speak()), None);
        assert_eq!(admission.dispatch(Slot(0), id(2), &speak()), Some(Input::DispatchRefused(id(2))));
        assert_eq!(admission.dispatch(Slot(0), id(3), &Request::Tool(tool)), None);
        let ended = Entry::Input(
            rspp_specs::ids::RuntimeSequence(1),
            Input::Provider(id(0), ProviderResult::End(rspp_specs::outcome::Outcome::Success)),
        );
        write(&mut admission, 8, ended);
        write(&mut admission, 8, Entry::Effect(Effect::CancelInvocation { id: id(1) }));
        assert_eq!(admission.dispatch(Slot(0), id(2), &speak()), None);
    }
}
