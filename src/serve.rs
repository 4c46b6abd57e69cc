//! `rspp serve`: a pipeline behind the server's doors.

mod built_in;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rspp_adapters::admission::Capacity;
use rspp_adapters::bridge::pool::{Limits as PoolLimits, Pool};
use rspp_adapters::bridge::{Bridge, Outfit, Pipeline};
use rspp_adapters::call::CallError;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::notes::Notes;
use rspp_adapters::opener::Opener;
use rspp_adapters::provider::ProviderError;
use rspp_adapters::recording::{Archive, ArchiveError, ExportLimits, LogSize};
use rspp_adapters::secret::{SecretError, Secrets};
use rspp_adapters::server::{Certificate, Entry, Limits, Options, Server, ServerError};
use rspp_adapters::telephony::{Provider, Telephones};
use rspp_adapters::token::PublicKey;
use rspp_compiler::Registry;
use rspp_livekit::room::Mode;
use rspp_livekit::token::Keys;
use rspp_livekit::worker;
use rspp_specs::binding::{Endpoint, KeyReference};
use rspp_telemetry::{Options as Traces, Telemetry, TelemetryError};

pub use built_in::BuiltIn;

use crate::drawing::graph_svg;
use crate::run::dialogue_of;
use crate::spec::Over;
use crate::trace::{TraceError, read_plan_under};

/// What to serve.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The pipeline.
    pub spec: PathBuf,
    /// What is laid over it.
    pub over: Over,
    /// Where to listen.
    pub listen: SocketAddr,
    /// With which certificate.
    pub certificate: Option<Certificate>,
    /// Where recordings go.
    pub record: Option<PathBuf>,
    /// How large each worker's log is, from which recordings are cut.
    pub log: LogSize,
    /// Worker threads, each with a core.
    pub workers: usize,
    /// What the server takes.
    pub limits: Limits,
    /// What providers may do at the same time.
    pub pool: PoolLimits,
    /// What calls may do at the same time.
    pub capacity: Capacity,
    /// Pages of which hosts may connect, besides those of this one.
    pub allowed_origins: Vec<String>,
    /// Keys that sign the tokens of whoever is let in; without any, everybody is.
    pub token_keys: Vec<PathBuf>,
    /// Everybody is let in also where other machines reach it.
    pub dev: bool,
    /// Which telephone providers' calls are answered, each with its secret.
    pub telephones: BTreeMap<Provider, KeyReference>,
    /// The LiveKit server whose rooms are served.
    pub livekit: Option<LiveKit>,
    /// Where traces of calls go.
    pub traces: Option<Traces>,
    /// How the world calls the server; where it listens, if nobody says.
    pub public_url: Option<String>,
    /// How long calls may take to come to an end.
    pub drain: Duration,
}

/// A LiveKit server, and how it is worked for.
#[derive(Clone, Debug)]
pub struct LiveKit {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Where the name of its key is.
    pub key: KeyReference,
    /// Where the key's secret is.
    pub secret: KeyReference,
    /// The name that rooms ask for.
    pub agent: String,
    /// The only participant that is listened to.
    pub caller: Option<String>,
    /// How media is agreed on.
    pub mode: Mode,
}

impl LiveKit {
    /// Reads its key and its secret.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn keys(&self, folder: &Path) -> Result<Keys, SecretError> {
        let secrets = Secrets::beside(folder);
        Ok(Keys::new(secrets.read(&self.key)?.reveal(), secrets.read(&self.secret)?))
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The spec.
    #[error(transparent)]
    Spec(#[from] TraceError),
    /// A provider's binding, or a file that it needs.
    #[error(transparent)]
    Binding(ProviderError),
    /// A provider.
    #[error(transparent)]
    Provider(CallError),
    /// A telephone provider's secret.
    #[error("{}: {error}", provider.name())]
    Telephone {
        /// Whose.
        provider: Provider,
        /// Why.
        error: SecretError,
    },
    /// LiveKit's key or its secret.
    #[error("LiveKit: {0}")]
    LiveKit(SecretError),
    /// The server.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Traces.
    #[error(transparent)]
    Traces(#[from] TelemetryError),
    /// The folder for recordings.
    #[error(transparent)]
    Record(#[from] ArchiveError),
    /// A key.
    #[error("the key {path}: {says}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why it can't be used.
        says: String,
    },
    /// Everybody would be let in, from anywhere.
    #[error(
        "{0} can be reached from other machines, and everybody would be let in: --token-key says who is, --dev that all are"
    )]
    Open(SocketAddr),
}

impl ServeError {
    /// Whether the command line, the spec or its files are wrong, and not the world.
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            ServeError::Spec(_) | ServeError::Key { .. } | ServeError::Open(_) => true,
            ServeError::Telephone { .. } | ServeError::LiveKit(_) => true,
            ServeError::Binding(error) | ServeError::Provider(CallError::Open { error, .. }) => error.is_wrong_usage(),
            ServeError::Provider(_) => false,
            ServeError::Traces(error) => matches!(error, TelemetryError::Exporter(_)),
            ServeError::Record(error) => matches!(error, ArchiveError::Taken(_) | ArchiveError::Io { .. }),
            ServeError::Server(error) => !matches!(error, ServerError::System(_)),
        }
    }
}

/// Serves until it is told to end. `on_ready` hears where, when callers can come.
///
/// # Errors
/// Says what, where and what to do.
pub fn serve(
    options: &Serve,
    registry: &Registry,
    interrupt: &Interrupt,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let entry = entry(options)?;
    let plan = read_plan_under(&options.spec, &options.over, registry)?;
    let folder = options.spec.parent().unwrap_or(Path::new(""));
    let opener = Opener::new(folder, dialogue_of(&plan).as_deref()).map_err(ServeError::Binding)?;
    let notes = Notes::new(|note| eprintln!("note: {note}"));
    let pool = Pool::open(&plan, opener, options.pool, &notes).map_err(ServeError::Provider)?;
    let archive = options.record.as_ref().map(Archive::open).transpose()?;
    let recorded = archive.as_ref().map(|archive| (archive, options.log));
    let bridge = bridge((options.workers, options.capacity), recorded, None, registry, &notes)?;
    let traces = options.traces.as_ref().map(|traces| Telemetry::start(traces, &notes)).transpose()?;
    let bridge = looked_on(bridge, traces.as_ref());
    let server = Options {
        listen: options.listen,
        tls: options.certificate.clone(),
        limits: options.limits,
        allowed_origins: options.allowed_origins.clone(),
        entry,
        graph: graph_svg(&plan),
        telephones: telephones(options, folder)?,
        recordings: options.record.clone(),
        notes,
        authority: None,
        journal: None,
    };
    let mut server = Server::bind(server, Pipeline { plan, pool: Arc::new(pool) }, bridge)?;
    if let Some(livekit) = &options.livekit {
        server.invite(worker::companion(work_for(livekit, folder)?));
    }
    interrupt.may_take(options.drain + LAST_MOMENTS);
    let _ending = interrupt.ending();
    on_ready(server.address());
    let have_ended = server.run(interrupt.asked(), options.drain);
    if let Some(traces) = traces {
        traces.finish(LAST_MOMENTS);
    }
    if let Some(archive) = archive.filter(|_| have_ended) {
        archive.close()?;
    }
    Ok(())
}

fn work_for(livekit: &LiveKit, folder: &Path) -> Result<worker::Options, ServeError> {
    let keys = livekit.keys(folder).map_err(ServeError::LiveKit)?;
    let LiveKit { endpoint, agent, caller, mode, .. } = livekit.clone();
    Ok(worker::Options { endpoint, keys, agent, caller, mode })
}

/// The workers; with what a killed server left made into recordings before, where calls are recorded.
pub(crate) fn bridge(
    (workers, capacity): (usize, Capacity),
    archive: Option<(&Archive, LogSize)>,
    journal_since: Option<u64>,
    registry: &Registry,
    notes: &Notes,
) -> Result<Bridge, ServeError> {
    let registry = registry.clone();
    let new_core = move || crate::core(registry.clone());
    let mut logs = Vec::new();
    if let Some((archive, size)) = archive {
        for path in archive.recover()? {
            notes.say(&format!("an earlier server did not end this recording: {}", path.display()));
        }
        logs = archive.logs_of(workers, size, ExportLimits::default())?;
    }
    let outfit = Outfit { workers, logs, journal_since };
    Ok(Bridge::fitted(outfit, capacity, new_core).map_err(ServerError::System)?)
}

/// The same workers, traced.
pub(crate) fn looked_on(bridge: Bridge, traces: Option<&Telemetry>) -> Bridge {
    match traces {
        Some(traces) => bridge.looked_on_by(traces.onlooker()),
        None => bridge,
    }
}

/// Who is let in.
fn entry(options: &Serve) -> Result<Entry, ServeError> {
    if options.token_keys.is_empty() {
        let is_here = options.listen.ip().is_loopback();
        return if is_here || options.dev { Ok(Entry::Everybody) } else { Err(ServeError::Open(options.listen)) };
    }
    let read = |path: &PathBuf| {
        let says = |says: String| ServeError::Key { path: path.clone(), says };
        let text = std::fs::read_to_string(path).map_err(|error| says(error.to_string()))?;
        PublicKey::from_pem(&text).map_err(|error| says(error.to_string()))
    };
    Ok(Entry::Tokens(options.token_keys.iter().map(read).collect::<Result<_, _>>()?))
}

fn telephones(options: &Serve, folder: &Path) -> Result<Telephones, ServeError> {
    let secrets = Secrets::beside(folder);
    let secret = |(provider, reference): (&Provider, &KeyReference)| {
        let secret = secrets.read(reference);
        secret.map(|secret| (*provider, secret)).map_err(|error| ServeError::Telephone { provider: *provider, error })
    };
    let secrets = options.telephones.iter().map(secret).collect::<Result<_, _>>()?;
    let scheme = if options.certificate.is_some() { "https" } else { "http" };
    let here = format!("{scheme}://{}", options.listen);
    Ok(Telephones::new(options.public_url.as_deref().unwrap_or(&here), secrets))
}

/// Behind the calls, goodbyes and files have so long.
const LAST_MOMENTS: Duration = Duration::from_secs(2);
