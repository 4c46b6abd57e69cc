//! The bridge between sockets and cores: worker threads, each with one core, and a line to each session.
//!
//! A worker's loop is short: wait for input or for what the core wants to do next, take what has come, within bounds, tick,
//! hand what the tick wrote to the log, do what it wants done once that is written. It blocks for nobody: what sessions say goes into bounded queues
//! that it never waits for ([`outlet`]), providers that may block have threads of their own, so many as they are allowed
//! ([`pool`]), and those that answer at once are asked where they stand. There is no tokio in here; a socket's task is
//! woken by its `Waker`, whatever it runs on.
//!
//! ```text
//!   task of a socket ──inputs──▶ inbox ──▶ worker: core ──▶ outlet ──▶ task of the socket
//!   thread of a provider ────────▲                └──▶ jobs ──▶ thread of a provider
//! ```

mod arrivals;
mod books;
mod clock;
mod fair;
mod keeper;
pub mod outlet;
pub mod pool;
mod row;
mod seats;
mod stopwatch;
mod wall;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rspp_engine::Core;
use rspp_specs::ids::LeaseEpoch;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Input;

use books::Books;
pub use clock::Clock;
use keeper::{Keeper, Keepers, Kept as KeptJournal};
use outlet::Outlet;
use pool::Pool;
use seats::Seats;
use worker::{Message, Worker};

use crate::admission::{Capacity, Priority};
use crate::journal::{Past, Pen};
use crate::meters::Meters;
use crate::onlooker::{Count, Onlooker};
use crate::recording::KeptLog;

/// Inputs that may wait for one worker. A worker ticks a thousand times a second, so this is far more than it has behind
/// when all is well; whoever finds it full waits with reading its socket.
pub const MAX_INBOX: usize = 65_536;
/// A worker that has not looked at its inbox for so long is stuck.
pub const STUCK_AFTER: Micros = Micros::from_ms(5_000);

/// A pipeline that is served: its plan, and who does the work for it.
#[derive(Clone)]
pub struct Pipeline {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Its providers.
    pub pool: Arc<Pool>,
}

/// A session that is to begin.
pub struct Opening {
    /// Its name.
    pub session: Arc<str>,
    /// With whom it shares what is scarce.
    pub fairness_key: Arc<str>,
    /// Whether somebody waits for its answers.
    pub priority: Priority,
    /// The lease under which it is written.
    pub epoch: LeaseEpoch,
    /// What it runs.
    pub pipeline: Pipeline,
    /// Whether its transport tells what the session says.
    pub tells: bool,
    /// Where it is kept for others to go on with, if it is.
    pub kept: Option<Kept>,
}

/// A session that others can go on with, and that may come from others.
pub struct Kept {
    /// What it goes on from, if it was elsewhere.
    pub past: Option<Arc<Past>>,
    /// What writes its journal.
    pub pen: Box<dyn Pen>,
}

/// What workers begin with.
#[derive(Default)]
pub struct Outfit {
    /// Worker threads; where there are logs, one for each of them.
    pub workers: usize,
    /// Where sessions are recorded, before they do anything.
    pub logs: Vec<KeptLog>,
    /// When their time began, in microseconds since 1970, if sessions are kept for others: what they wrote is in the past of
    /// those that go on with them.
    pub journal_since: Option<u64>,
}

/// How many things happened, for metrics. All of the workers count here.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sessions that are open.
    pub sessions: AtomicUsize,
    /// Sessions that began.
    pub opened: AtomicU64,
    /// Sessions that were not taken, because there was no room.
    pub refused: AtomicU64,
    /// Sessions that came from another worker.
    pub taken_over: AtomicU64,
    /// Sessions that could not be rebuilt from what another worker wrote.
    pub not_rebuilt: AtomicU64,
    /// Sessions whose journal another worker has taken: nothing more of them was done.
    pub stale_writes: AtomicU64,
    /// Sessions of which something could not be kept for others.
    pub unkept: AtomicU64,
    /// Ticks.
    pub ticks: AtomicU64,
    /// Inputs that came in.
    pub inputs: AtomicU64,
    /// Inputs that kept to no limit, and were dropped.
    pub out_of_bounds: AtomicU64,
    /// Frames handed to transports.
    pub frames_out: AtomicU64,
    /// Clears handed to transports.
    pub clears: AtomicU64,
    /// Frames that the third gate stopped.
    pub fenced: AtomicU64,
    /// Turns that opened.
    pub turns: AtomicU64,
    /// Turns that were cancelled.
    pub cancels: AtomicU64,
    /// Provider invocations that ended badly.
    pub provider_errors: AtomicU64,
    /// Lines that took nothing for too long.
    pub stalls: AtomicU64,
    /// Reactions of nodes that computed for long.
    pub overruns: AtomicU64,
    /// Invocations for which there was no room.
    pub dispatches_refused: AtomicU64,
    /// Turns that were put off, or not opened, because there was no room.
    pub turns_refused: AtomicU64,
    /// Microseconds in ticks and effects.
    pub busy_us: AtomicU64,
    /// Events that are in a log.
    pub logged: AtomicU64,
    /// Events that a log had no room for, or that are over a limit.
    pub left_out: AtomicU64,
    /// Turns of which not even evidence could be kept.
    pub evidence_lost: AtomicU64,
    /// Writes to a log that the system refused.
    pub log_failures: AtomicU64,
    /// Ticks whose effects had to wait for the disk for longer than a frame lasts.
    pub slow_writes: AtomicU64,
    /// Recordings that are with the store.
    pub exported: AtomicU64,
    /// Tries to bring a recording to the store that failed.
    pub export_tries_failed: AtomicU64,
    /// Recordings that the store did not take, however often it was tried; they wait in the spool.
    pub exports_given_up: AtomicU64,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The workers.
pub struct Bridge {
    lanes: Vec<Lane>,
    seats: Arc<Seats>,
    next_key: AtomicU64,
    clock: Clock,
    counts: Arc<Counts>,
    meters: Arc<Meters>,
    /// Besides the meters.
    onlookers: Vec<Arc<dyn Onlooker>>,
}

/// What a worker is told, before it begins.
struct Inbox {
    sender: Sender<Message>,
    messages: Receiver<Message>,
}

impl Inbox {
    fn new() -> Self {
        let (sender, messages) = bounded(MAX_INBOX);
        Self { sender, messages }
    }
}

/// One worker, from outside.
struct Lane {
    inbox: Sender<Message>,
    load: Arc<Load>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker shows of itself.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) sessions: AtomicUsize,
    /// When it looked at its inbox last.
    pub(crate) looked_at: AtomicU64,
}

/// There is no room for one more session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The worker that has the fewest has too much to do.
    #[error("the workers have as many sessions as they can hold")]
    Worker,
    /// The server has as many as it may have.
    #[error("the server has {sessions} calls, which is as many as it may have: call again later")]
    Server {
        /// So many.
        sessions: usize,
    },
    /// The tenant has as many as it may have.
    #[error("the tenant has {sessions} calls, which is as many as it may have: call again when one has ended")]
    Tenant {
        /// So many.
        sessions: usize,
    },
}

/// Why an input was not taken.
#[derive(Debug)]
pub enum NotGiven {
    /// The worker has more to do than it can: here is the input back, for a little later.
    Busy(Input),
    /// There is no worker any more.
    Gone,
}

impl Bridge {
    /// Starts so many workers, each with a core of its own that `new_core` makes on its thread. Together they take on what
    /// `capacity` says, and no more. Nothing is recorded.
    pub fn start(workers: usize, capacity: Capacity, new_core: impl Fn() -> Core + Send + Sync + 'static) -> Self {
        let lanes = (0..workers.max(1)).map(|_| (Inbox::new(), Keepers::default()));
        Self::of(lanes.collect(), Clock::start(), capacity, new_core)
    }

    /// Starts a worker for each of these logs, to which it writes what its sessions do before they do it.
    ///
    /// # Errors
    /// There is no thread for one that writes or exports.
    pub fn recording(
        logs: Vec<KeptLog>,
        capacity: Capacity,
        new_core: impl Fn() -> Core + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::fitted(Outfit { logs, ..Outfit::default() }, capacity, new_core)
    }

    /// Starts workers with this outfit.
    ///
    /// # Errors
    /// There is no thread for one that writes or exports.
    pub fn fitted(
        outfit: Outfit,
        capacity: Capacity,
        new_core: impl Fn() -> Core + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let Outfit { workers, logs, journal_since } = outfit;
        let workers = if logs.is_empty() { workers.max(1) } else { logs.len() };
        let mut logs = logs.into_iter();
        let lane = |_| {
            let inbox = Inbox::new();
            let log = logs.next().map(|log| Keeper::new(log, &inbox.sender)).transpose()?;
            let journal = journal_since.map(|_| KeptJournal::new(&inbox.sender)).transpose()?;
            Ok((inbox, Keepers { log, journal }))
        };
        let lanes = (0..workers).map(lane).collect::<std::io::Result<_>>()?;
        let clock = journal_since.map_or_else(Clock::start, Clock::since);
        Ok(Self::of(lanes, clock, capacity, new_core))
    }

    fn of(
        lanes: Vec<(Inbox, Keepers)>,
        clock: Clock,
        capacity: Capacity,
        new_core: impl Fn() -> Core + Send + Sync + 'static,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let new_core = Arc::new(new_core);
        let books = books::Shared::new(capacity, lanes.len());
        let lanes = lanes.into_iter().enumerate().map(|(number, (inbox, keepers))| {
            let books = Books::new(&books, number);
            let (load, new_core, counts) = (Arc::new(Load::default()), Arc::clone(&new_core), Arc::clone(&counts));
            let (shown, Inbox { sender, messages }) = (Arc::clone(&load), inbox);
            let own = sender.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || Worker::new(new_core(), clock, (own, messages), load, counts, books, keepers).run());
            Lane { inbox: sender, load: shown, thread: thread.ok() }
        });
        let seats = Seats::new(capacity.sessions as usize, capacity.sessions_of_a_key as usize);
        let (next_key, meters, onlookers) = (AtomicU64::new(1), Arc::default(), Vec::new());
        Self { lanes: lanes.collect(), seats, next_key, clock, counts, meters, onlookers }
    }

    /// The same, with somebody who looks on at the sessions that begin from now on.
    #[must_use]
    pub fn looked_on_by(mut self, onlooker: Arc<dyn Onlooker>) -> Self {
        self.onlookers.push(onlooker);
        self
    }

    /// The workers' time.
    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    /// When a time of the workers is on the machine's clock.
    pub fn instant(&self, at: Micros) -> std::time::Instant {
        self.clock.instant(at)
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.lanes.len()
    }

    /// What happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What is counted of the parts of pipelines.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What who looks on counts of itself.
    pub fn looked_on(&self) -> impl Iterator<Item = Count> {
        self.onlookers.iter().flat_map(|onlooker| onlooker.counts())
    }

    /// Inputs that wait, in all.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.inbox.len()).sum()
    }

    /// The numbers of workers that have not looked at their inbox for [`STUCK_AFTER`].
    pub fn stuck(&self) -> Vec<usize> {
        let now = self.now();
        let is_stuck = |lane: &Lane| {
            let looked_at = Micros(lane.load.looked_at.load(Ordering::Relaxed));
            now.since(looked_at) > STUCK_AFTER || lane.thread.as_ref().is_none_or(JoinHandle::is_finished)
        };
        self.lanes.iter().enumerate().filter(|(_, lane)| is_stuck(lane)).map(|(number, _)| number).collect()
    }

    /// Opens a session on the worker that has the fewest.
    ///
    /// # Errors
    /// There is no room.
    pub fn open(&self, opening: Opening) -> Result<Session, NoRoom> {
        let mut seat = self.seats.take(&opening.fairness_key).inspect_err(|_| count(&self.counts.refused))?;
        let fewest = self.lanes.iter().min_by_key(|lane| lane.load.sessions.load(Ordering::Relaxed));
        let fewest = fewest.ok_or(NoRoom::Worker)?;
        let key = Key(self.next_key.fetch_add(1, Ordering::Relaxed));
        let (name, outlet) = (Arc::clone(&opening.session), Arc::new(Outlet::default()));
        let session =
            Session { key, name, inbox: fewest.inbox.clone(), outlet: Arc::clone(&outlet), clock: self.clock };
        // Before the worker has taken it, so that many at once do not all find the same worker empty.
        fewest.load.sessions.fetch_add(1, Ordering::Relaxed);
        let meters: &dyn Onlooker = &*self.meters;
        let onlookers = std::iter::once(meters).chain(self.onlookers.iter().map(|onlooker| &**onlooker));
        seat.watches = onlookers.map(|onlooker| onlooker.begin(&opening.session, &opening.pipeline.plan)).collect();
        if fewest.inbox.try_send(Message::Open(key, Box::new(opening), outlet, seat)).is_err() {
            fewest.load.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(NoRoom::Worker);
        }
        Ok(session)
    }

    /// Ends what is left and waits for the workers, so long for each.
    pub fn stop(mut self, at_most: Duration) {
        for lane in &self.lanes {
            let _ = lane.inbox.send_timeout(Message::Stop, at_most);
        }
        for lane in &mut self.lanes {
            if let Some(thread) = lane.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// The number of a session within the process. Slots are used again, keys never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key(pub(crate) u64);

/// A session, from outside. When this is dropped, the session ends.
#[derive(Debug)]
pub struct Session {
    key: Key,
    name: Arc<str>,
    inbox: Sender<Message>,
    outlet: Arc<Outlet>,
    clock: Clock,
}

impl Session {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it says.
    pub fn outlet(&self) -> &Outlet {
        &self.outlet
    }

    /// Its worker's time.
    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Gives it up as it stands, for another worker to go on with: nothing more is heard of it here. Gives whether its worker
    /// has heard that; what it has done by then is in its journal, and what it does later is not done.
    pub fn release(&self) -> bool {
        self.inbox.try_send(Message::Release(self.key)).is_ok()
    }

    /// Has it go on with another version, as soon as it is at rest. Gives whether its worker has heard that.
    pub fn change(&self, to: Pipeline) -> bool {
        self.inbox.try_send(Message::Change(self.key, to)).is_ok()
    }

    /// Gives it an input, without waiting.
    ///
    /// # Errors
    /// Its worker is busy, and gives the input back; or it is gone.
    pub fn give(&self, input: Input) -> Result<(), NotGiven> {
        self.inbox.try_send(Message::Input(self.key, input)).map_err(|error| match error {
            TrySendError::Full(Message::Input(_, input)) => NotGiven::Busy(input),
            TrySendError::Full(_) | TrySendError::Disconnected(_) => NotGiven::Gone,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // If there is no room for the word now, the worker finds the outlet abandoned when it looks around.
        self.outlet.abandon();
        let _ = self.give(Input::SessionEnd);
    }
}
