//! `rspp worker`: a server whose sessions are given to it by a control plane.
//!
//! Beside the server's threads there are two: one renews the lease and says how the sessions are, one waits for newer views and
//! fetches the versions that they name. Neither is asked when a caller comes: [`Seat`] knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rspp_adapters::admission::Capacity;
use rspp_adapters::bridge::Pipeline;
use rspp_adapters::bridge::pool::Limits as PoolLimits;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::journal::{Journal, JournalError, SharedFolder};
use rspp_adapters::notes::Notes;
use rspp_adapters::recording::{Archive, ArchiveError, LogSize};
use rspp_adapters::server::{Entry, Limits, Options, Server, ServerError};
use rspp_adapters::telephony::Telephones;
use rspp_adapters::token::PublicKey;
use rspp_compiler::Registry;
use rspp_controlplane::lease::Tenure;
use rspp_controlplane::rollout::Rollout;
use rspp_controlplane::time::Millis;
use rspp_controlplane::wire::{Heartbeat, Pulse, Registered, Registration, View};
use rspp_controlplane::worker::HEALTHY;
use rspp_specs::binding::KeyReference;
use rspp_telemetry::{Telemetry, TelemetryError};

use super::client::{AskError, Client};
use super::seat::{Seat, Seated, rollout_of};
use super::shelf::{Shelf, ShelfError};
use crate::drawing::graph_svg;
use crate::serve::{ServeError, bridge, looked_on};

/// What a worker needs.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Where the control plane is.
    pub control_plane: String,
    /// The key to ask it with.
    pub key: KeyReference,
    /// The worker's name.
    pub name: String,
    /// What it serves.
    pub pipeline: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where callers reach it; where it listens, if nobody says.
    pub endpoint: Option<String>,
    /// Where it is.
    pub region: String,
    /// Sessions that it can hold.
    pub capacity: u64,
    /// What its machine can do at the same time.
    pub limits: Capacity,
    /// What of connections there may be, and from whom.
    pub connections: Limits,
    /// Worker threads, each with a core.
    pub workers: usize,
    /// Where recordings go.
    pub record: Option<PathBuf>,
    /// How large each worker thread's log is, from which recordings are cut.
    pub log: LogSize,
    /// The folder that all workers share, from which each goes on with what another one had.
    pub journal: Option<PathBuf>,
    /// Keys besides the control plane's own whose tokens let callers in, for when it is away.
    pub token_keys: Vec<PublicKey>,
    /// Pages of which hosts may connect.
    pub allowed_origins: Vec<String>,
    /// Where traces of calls go.
    pub traces: Option<rspp_telemetry::Options>,
    /// How long calls may take to come to an end.
    pub drain: Duration,
}

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The control plane.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The pipeline's first version.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The folder for recordings.
    #[error(transparent)]
    Record(#[from] ArchiveError),
    /// Traces.
    #[error(transparent)]
    Traces(#[from] TelemetryError),
    /// The folder that all workers share.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The worker's threads.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The control plane's key.
    #[error("the control plane gives a key that is none: it is of another version")]
    Key,
    /// The system.
    #[error("the worker can't begin: {0}")]
    System(std::io::Error),
}

/// How long a word to the control plane may take: less than a lease is granted for.
const BEAT_PATIENCE: Duration = Duration::from_millis(800);
/// How long a newer view is waited for, with what the network adds.
const VIEW_PATIENCE: Duration = Duration::from_secs(25);
/// How often it is looked whether it is time for something.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// After a control plane did not answer, it is asked again after so long.
const AFTER_SILENCE: Duration = Duration::from_millis(200);
/// Connections beside those of its sessions: callers that come back, and people who look.
pub const SPARE_CONNECTIONS: usize = 64;
/// Behind the calls, goodbyes and files have so long.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// Works until it is told to end. `on_ready` hears where callers can come.
///
/// # Errors
/// Says what, where and what to do.
pub fn work(
    worker: &Worker,
    registry: &Registry,
    interrupt: &Interrupt,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), WorkerError> {
    let patient = Client::new(&worker.control_plane, Some(&worker.key), VIEW_PATIENCE)?;
    let notes = Notes::new(|note| eprintln!("note: {note}"));
    let shelf = Arc::new(Shelf::new(patient.clone(), registry.clone(), PoolLimits::default(), notes.clone())?);
    let Some((view, first)) = first_view(&patient, worker, interrupt, &notes)? else { return Ok(()) };
    let first = shelf.fetch(&first)?;
    let token_key = PublicKey::from_pem(&view.token_key).map_err(|_| WorkerError::Key)?;
    let hasty = Client::new(&worker.control_plane, Some(&worker.key), BEAT_PATIENCE)?;
    let seat = Arc::new(Seat::new(&worker.name, &worker.pipeline, Arc::clone(&shelf), hasty.clone(), view));
    // The server listens before callers are sent to it.
    let archive = worker.record.as_ref().map(Archive::open).transpose()?;
    let traces = worker.traces.as_ref().map(|traces| Telemetry::start(traces, &notes)).transpose()?;
    let kept = (archive.as_ref(), traces.as_ref());
    let server = server(worker, registry, (first, token_key), &seat, kept, &notes)?;
    let address = server.address();
    let agent = Arc::new(Agent {
        hasty,
        patient,
        registration: registration(worker, address),
        seat,
        shelf,
        notes,
        interrupt: interrupt.clone(),
        over: AtomicBool::new(false),
    });
    agent.register()?;
    let lease = {
        let agent = Arc::clone(&agent);
        thread("lease", move || agent.keep_the_lease())?
    };
    let watching = Arc::clone(&agent);
    // It may wait for a view when the process ends: nobody waits for it.
    drop(thread("view", move || watching.keep_the_view())?);
    interrupt.may_take(worker.drain + LAST_MOMENTS);
    let _ending = interrupt.ending();
    on_ready(address);
    let have_ended = server.run(interrupt.asked(), worker.drain);
    agent.over.store(true, Ordering::Release);
    // The last word on its sessions.
    let _ = lease.join();
    if let Some(traces) = traces {
        traces.finish(LAST_MOMENTS);
    }
    if let Some(archive) = archive.filter(|_| have_ended) {
        archive.close()?;
    }
    Ok(())
}

/// The first view that has a version for this worker, and that version.
fn first_view(
    client: &Client,
    worker: &Worker,
    interrupt: &Interrupt,
    notes: &Notes,
) -> Result<Option<(View, String)>, WorkerError> {
    let mut said = false;
    while !interrupt.is_raised() {
        let view: View = client.get("/v1/view")?;
        if let Some(revision) = rollout_of(&view, &worker.pipeline) {
            let stable = revision.rollout.stable.clone();
            return Ok(Some((view, stable)));
        }
        if !std::mem::replace(&mut said, true) {
            notes.say(&format!("no version of {} is rolled out yet: waiting for `rspp rollout`", worker.pipeline));
        }
        std::thread::sleep(AFTER_SILENCE);
    }
    Ok(None)
}

fn server(
    worker: &Worker,
    registry: &Registry,
    (first, token_key): (Pipeline, PublicKey),
    seat: &Arc<Seat>,
    (archive, traces): (Option<&Archive>, Option<&Telemetry>),
    notes: &Notes,
) -> Result<Server, WorkerError> {
    let journal = worker.journal.as_ref().map(SharedFolder::open).transpose()?;
    let journal_since = journal.as_ref().map(SharedFolder::began_unix_us);
    let mut keys = vec![token_key];
    keys.extend(&worker.token_keys);
    let options = Options {
        listen: worker.listen,
        tls: None,
        limits: worker.connections,
        allowed_origins: worker.allowed_origins.clone(),
        entry: Entry::Tokens(keys),
        graph: graph_svg(&first.plan),
        telephones: Telephones::new(&format!("http://{}", worker.listen), BTreeMap::new()),
        recordings: None,
        notes: notes.clone(),
        authority: Some(Box::new(Seated(Arc::clone(seat)))),
        journal: journal.map(|journal| Arc::new(journal) as Arc<dyn Journal>),
    };
    let recorded = archive.map(|archive| (archive, worker.log));
    let bridge = bridge((worker.workers, worker.limits), recorded, journal_since, registry, notes)?;
    Ok(Server::bind(options, first, looked_on(bridge, traces))?)
}

fn registration(worker: &Worker, address: SocketAddr) -> Registration {
    Registration {
        endpoint: worker.endpoint.clone().unwrap_or_else(|| format!("ws://{address}")),
        pipeline: worker.pipeline.clone(),
        region: worker.region.clone(),
        capacity: worker.capacity,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, WorkerError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(WorkerError::System)
}

/// What keeps a worker's seat true.
struct Agent {
    /// For what has to be said in time.
    hasty: Client,
    /// For what may take its time.
    patient: Client,
    registration: Registration,
    seat: Arc<Seat>,
    shelf: Arc<Shelf>,
    notes: Notes,
    interrupt: Interrupt,
    over: AtomicBool,
}

impl Agent {
    fn path(&self, what: &str) -> String {
        format!("/v1/workers/{}{what}", escaped(self.seat.name()))
    }

    fn register(&self) -> Result<(), AskError> {
        let asked_at = self.seat.now();
        let registered: Registered = self.hasty.put(&self.path(""), &self.registration)?;
        self.seat.on_registered(Tenure::begin(registered.incarnation, asked_at), registered.terms);
        self.take_view(asked_at, Some(registered.view));
        Ok(())
    }

    /// Renews the lease and says how the sessions are, to the very end.
    fn keep_the_lease(&self) {
        let mut is_silent = false;
        loop {
            let ends = self.over.load(Ordering::Acquire);
            if self.interrupt.is_raised() {
                self.seat.on_end();
            }
            if !ends && self.seat.wants_to_register() && !self.interrupt.is_raised() && self.register().is_err() {
                std::thread::sleep(AFTER_SILENCE);
            }
            let beat = if ends { self.seat.last_beat() } else { self.seat.next_beat(self.load_permille(), HEALTHY) };
            if let Some(beat) = beat {
                self.say(beat, &mut is_silent);
            }
            if ends {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn say(&self, beat: Heartbeat, is_silent: &mut bool) {
        let asked_at = self.seat.now();
        match self.hasty.post::<Pulse>(&self.path("/heartbeat"), &beat) {
            Ok(pulse) => {
                if std::mem::take(is_silent) {
                    self.notes.say("the control plane answers again");
                }
                self.seat.on_pulse(asked_at, &pulse);
            }
            Err(error) if error.code() == Some("stale") => {
                self.notes.say(&error.to_string());
                self.seat.on_over();
            }
            Err(error) => {
                if !std::mem::replace(is_silent, true) {
                    self.notes.say(&format!("{error}; calls go on"));
                }
                self.seat.on_silence(beat);
                std::thread::sleep(AFTER_SILENCE);
            }
        }
    }

    /// Waits for newer views, and has what they name fetched before it goes by them.
    fn keep_the_view(&self) {
        while !self.over.load(Ordering::Acquire) {
            let asked_at = self.seat.now();
            let path = format!("/v1/view?after={}", self.seat.view_version());
            match self.patient.get_if_any::<View>(&path) {
                Ok(view) => self.take_view(asked_at, view),
                Err(_) => std::thread::sleep(AFTER_SILENCE),
            }
        }
    }

    fn take_view(&self, asked_at: Millis, view: Option<View>) {
        let rollout = view.as_ref().and_then(|view| rollout_of(view, &self.registration.pipeline));
        if let Some(Rollout { stable, canary }) = rollout.map(|revision| &revision.rollout) {
            for digest in std::iter::once(stable).chain(canary.as_ref().map(|canary| &canary.digest)) {
                if let Err(error) = self.shelf.fetch(digest) {
                    self.notes.say(&format!("the version {digest} can't be served: {error}"));
                }
            }
        }
        self.seat.on_view(asked_at, view);
    }

    fn load_permille(&self) -> u64 {
        self.seat.sessions() * 1_000 / self.registration.capacity.max(1)
    }
}

/// A name, as part of a path.
pub(crate) fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
