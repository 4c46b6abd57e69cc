//! The server: sessions of one pipeline, through all doors.
//!
//! Sockets are tasks on a runtime of their own; the cores are on the workers' threads ([`crate::bridge`]). Everything here
//! has a limit ([`Limits`]), every refusal a code and a reason, and a peer that does not keep to them costs its own call and
//! nobody else's. Start reading at [`Server::run`]; `accept` takes connections, `turnstile` says how many, `routes` what is
//! where, `upgrade` makes WebSockets of requests, `attendant` is the life of one peer, `socket` what it is heard by and `frames`
//! what comes in there, `arrival` begins its session or goes on with one of another server, `parking` keeps sessions whose
//! connection is lost, and `reception` is for peers that come by other ways.

mod accept;
mod arrival;
mod attendant;
mod authority;
mod console;
mod frames;
mod limits;
mod metrics;
mod parking;
mod reception;
mod recorded;
mod routes;
mod socket;
mod turnstile;
mod upgrade;
mod webhooks;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use authority::{Authority, Begun, Witness};
pub use limits::Limits;
pub use reception::{Companion, Place, Reception};
pub use routes::{DOORS, Door, Knock, Opens};
pub use socket::{Came, Gone, Socket};

use crate::bridge::{Bridge, Pipeline};
use crate::journal::Journal;
use crate::notes::Notes;
use crate::telephony::Telephones;
use crate::token::{self, Claims, Guard, Issuer, PublicKey, TokenError};
use crate::transport::RefusalCode;
use authority::Alone;
use parking::Parking;
use turnstile::Arrivals;

/// What is served, and how.
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// With which certificate, if it speaks TLS.
    pub tls: Option<Certificate>,
    /// What it takes.
    pub limits: Limits,
    /// Pages of which hosts may connect, besides those of this one.
    pub allowed_origins: Vec<String>,
    /// Who is let in.
    pub entry: Entry,
    /// The pipeline's graph, drawn as SVG, for the console page.
    pub graph: String,
    /// The telephone numbers that it answers.
    pub telephones: Telephones,
    /// Where recorded calls are, for the console page; it shows them on this machine only, and only where everybody is let in.
    pub recordings: Option<PathBuf>,
    /// Words to people.
    pub notes: Notes,
    /// Who says under which lease, and with which version, a session begins; nobody is asked, if there is none.
    pub authority: Option<Box<dyn Authority>>,
    /// Where sessions that have a lease are kept, for other servers to go on with.
    pub journal: Option<Arc<dyn Journal>>,
}

/// Who is let in.
pub enum Entry {
    /// Whoever has a token that is signed by one of these.
    Tokens(Vec<PublicKey>),
    /// Everybody, for trying things out; `/dev/token` gives tokens that are checked as others would be.
    Everybody,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, and those that it is signed with.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address.
    #[error("can't listen on {listen}: {error}; is another server there? --listen names another address")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The certificate.
    #[error("the certificate {path}: {says}")]
    Certificate {
        /// Its file, or its key's.
        path: PathBuf,
        /// Why.
        says: String,
    },
    /// The system refused.
    #[error("can't start the server: {0}")]
    System(std::io::Error),
}

/// A server that listens.
pub struct Server {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    house: Arc<House>,
    address: SocketAddr,
    companions: Vec<Companion>,
}

/// What all connections share.
struct House {
    bridge: Bridge,
    /// Of a fleet's worker, the first that it had.
    pipeline: Pipeline,
    authority: Box<dyn Authority>,
    journal: Option<Arc<dyn Journal>>,
    limits: Limits,
    arrivals: Arrivals,
    parking: Parking,
    allowed_origins: Vec<String>,
    guard: Guard,
    /// Makes tokens for whoever asks, where none are needed.
    issuer: Option<Issuer>,
    graph: String,
    telephones: Telephones,
    recordings: recorded::Folder,
    notes: Notes,
    traffic: Traffic,
    /// So many calls look for another server at the same time.
    moving: Semaphore,
    /// No new calls; those that are there come to an end, or go to other servers.
    draining: CancellationToken,
    /// Nobody is waited for any more.
    over: CancellationToken,
}

/// What happened at the doors, for metrics.
#[derive(Debug, Default)]
struct Traffic {
    connections: AtomicUsize,
    accepted: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    resumed: AtomicU64,
    fenced: AtomicU64,
    refusals: std::sync::Mutex<BTreeMap<RefusalCode, u64>>,
}

impl Traffic {
    fn refuse(&self, code: RefusalCode) {
        let mut refusals = self.refusals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *refusals.entry(code).or_default() += 1;
    }

    fn refusals(&self) -> BTreeMap<RefusalCode, u64> {
        self.refusals.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Server {
    /// Listens; nobody is answered yet.
    ///
    /// # Errors
    /// The address, the certificate, or a folder.
    pub fn bind(options: Options, pipeline: Pipeline, bridge: Bridge) -> Result<Self, ServerError> {
        let Options { listen, tls, limits, allowed_origins, entry, graph, telephones, recordings, .. } = options;
        let Options { notes, authority, journal, .. } = options;
        let authority = authority.unwrap_or_else(|| Box::new(Alone(pipeline.clone())));
        let (keys, issuer) = match entry {
            Entry::Tokens(keys) => (keys, None),
            Entry::Everybody => {
                let (issuer, _) = Issuer::fresh().map_err(|error| ServerError::System(std::io::Error::other(error)))?;
                (vec![issuer.public()], Some(issuer))
            }
        };
        let guard = Guard::new(keys, pipeline.plan.name());
        let tls = tls.as_ref().map(accept::acceptor).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // Workers wake the sockets' tasks from their own threads. Left alone, the runtime looks at such tasks only once in
            // a while as long as sockets that have come in keep it busy: callers would be heard, and not answered.
            .global_queue_interval(2)
            .worker_threads(limits.io_threads.max(1))
            .thread_name("sockets")
            .enable_all()
            .build()
            .map_err(ServerError::System)?;
        let listener =
            runtime.block_on(TcpListener::bind(listen)).map_err(|error| ServerError::Listen { listen, error })?;
        let address = listener.local_addr().map_err(ServerError::System)?;
        let is_private = issuer.is_some() && address.ip().is_loopback();
        let house = House {
            bridge,
            pipeline,
            authority,
            journal,
            limits,
            arrivals: Arrivals::default(),
            parking: Parking::default(),
            allowed_origins,
            guard,
            issuer,
            graph,
            telephones,
            recordings: recorded::Folder::new(recordings.filter(|_| is_private)),
            notes,
            traffic: Traffic::default(),
            moving: Semaphore::new(MAX_MOVING),
            draining: CancellationToken::new(),
            over: CancellationToken::new(),
        };
        Ok(Self { runtime, listener, tls, house: Arc::new(house), address, companions: Vec::new() })
    }

    /// Somebody works beside the doors while the server runs.
    pub fn invite(&mut self, companion: Companion) {
        self.companions.push(companion);
    }

    /// Where it listens, with the port that it was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is `asked` to end; then takes no new calls, lets those that are there come to an end for so long, and
    /// ends. Gives whether the workers have ended with it.
    pub fn run(self, asked: &CancellationToken, drain: Duration) -> bool {
        let Self { runtime, listener, tls, house, companions, .. } = self;
        runtime.block_on(async {
            for companion in companions {
                tokio::spawn(companion(Reception(Arc::clone(&house))));
            }
            tokio::select! {
                () = accept::accept(listener, tls, Arc::clone(&house)) => {}
                () = asked.cancelled() => {}
            }
            house.draining.cancel();
            let _ = tokio::time::timeout(drain, house.is_empty()).await;
            house.over.cancel();
            let _ = tokio::time::timeout(LAST_WORDS, house.is_empty()).await;
        });
        runtime.shutdown_timeout(LAST_WORDS);
        let Ok(house) = Arc::try_unwrap(house) else { return false };
        drop(house.parking);
        house.bridge.stop(LAST_WORDS);
        true
    }
}

/// Calls that look for another server at the same time.
const MAX_MOVING: usize = 4;
/// How long a request's body may take.
const READING: Duration = Duration::from_secs(5);
/// How long a goodbye may take when nobody is waited for any more.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often it is looked whether all calls are over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl House {
    async fn is_empty(&self) {
        use std::sync::atomic::Ordering;
        while self.bridge.counts().sessions.load(Ordering::Relaxed) > 0
            || self.traffic.connections.load(Ordering::Relaxed) > 0
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a token says. Where none are needed, one that is none of ours says nothing: clients of other protocols have
    /// to send something.
    fn admit(&self, token: Option<&str>) -> Result<Option<Claims>, TokenError> {
        let checked = token.map(|token| self.guard.check(token, token::now()));
        match checked {
            Some(Err(_)) | None if self.issuer.is_some() => Ok(None),
            Some(checked) => checked.map(Some),
            None => Err(TokenError::Missing),
        }
    }
}
