//! `rspp serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rspp_adapters::admission::Capacity;
use rspp_adapters::bridge::pool;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::recording::LogSize;
use rspp_adapters::server::{Certificate, DOORS, Limits};
use rspp_adapters::telephony::Provider;
use rspp_compiler::Registry;
use rspp_specs::binding::{BindingError, KeyReference};

use super::arrivals::Arrivals;
use super::livekit::Rooms;
use super::outcome::{Failure, Outcome};
use super::over::LaidOver;
use super::room::Room;
use crate::serve::{self, BuiltIn, ServeError, serve};
use crate::spec::Over;

/// Serve a pipeline: callers come in over WebSockets.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp serve                 a bundled pipeline, with the engines of this machine\n  \
    rspp serve specs/pipelines/voice-assistant.yaml\n  \
    rspp serve mine/pipeline.yaml --listen 0.0.0.0:8443 --cert chain.pem --key key.pem --record calls\n\n\
    docs/protocol.md tells what is spoken. /healthz, /readyz and /metrics are for operators.\n\
    Ctrl-C and SIGTERM let the calls come to an end; a second one does not wait.\n\
    Exit code 2: the spec, a file or an address is wrong. 1: an engine is missing.")]
pub(super) struct Serve {
    /// The pipeline's spec; a bundled restaurant's phone line if none is named.
    spec: Option<PathBuf>,
    #[command(flatten)]
    over: LaidOver,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Speak TLS with this certificate, and those that it is signed with.
    #[arg(long, value_name = "CHAIN.pem", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "KEY.pem", requires = "cert")]
    key: Option<PathBuf>,
    /// Write a recording of each call into this folder.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Room on the disk for what each worker has recorded and not exported yet.
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(4..=65_536))]
    record_log: u64,
    /// Worker threads, each with a core of its own and its share of the calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Connections at the same time.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    max_connections: usize,
    #[command(flatten)]
    arrivals: Arrivals,
    /// Calls at the same time; one more is refused.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().sessions)]
    max_calls: u32,
    #[command(flatten)]
    room: Room,
    /// Threads of each provider that has to be waited for.
    #[arg(long, value_name = "N", default_value_t = pool::Limits::default().threads)]
    provider_threads: usize,
    /// Let pages of another host connect, as `https://example.com`; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Let in whoever has a token signed by this key (Ed25519, PEM); may be given several times.
    #[arg(long, value_name = "PUBLIC.pem")]
    token_key: Vec<PathBuf>,
    /// Let everybody in, also where other machines reach it.
    #[arg(long, conflicts_with = "token_key")]
    dev: bool,
    /// Answer a telephone provider's calls, with its secret, as `twilio=env:TWILIO_AUTH_TOKEN`; may be given several times.
    #[arg(long, value_name = "PROVIDER=env:NAME|file:PATH", value_parser = telephone)]
    telephone: Vec<(Provider, KeyReference)>,
    #[command(flatten)]
    livekit: Rooms,
    /// Send traces of calls to an OpenTelemetry collector, as `http://127.0.0.1:4318`; `OTEL_EXPORTER_OTLP_ENDPOINT` does, too.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// How the world calls this server, as `https://voice.example.com`: what telephone providers sign.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Seconds that calls may take to come to an end.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
}

impl Serve {
    pub(super) fn run(self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let is_tls = self.cert.is_some();
        let (recorded, is_open) = (self.record.clone(), self.token_key.is_empty());
        let capacity = self.room.capacity(self.max_calls);
        let threads_of_a_key = self.room.share(self.provider_threads as u32);
        let limits = self.arrivals.limits(self.max_connections);
        let mut over = self.over.over();
        // As long as it is served.
        let built_in = if self.spec.is_none() { Some(built_in(&mut over)?) } else { None };
        let options = serve::Serve {
            spec: self.spec.or_else(|| built_in.as_ref().map(|built_in| built_in.spec.clone())).unwrap_or_default(),
            over,
            listen: self.listen,
            certificate: self.cert.zip(self.key).map(|(chain, key)| Certificate { chain, key }),
            record: self.record,
            log: LogSize::of(self.record_log << 20),
            workers: self.workers,
            limits,
            pool: pool::Limits {
                threads: self.provider_threads,
                threads_of_a_key: threads_of_a_key as usize,
                ..pool::Limits::default()
            },
            capacity,
            allowed_origins: self.allow_origin,
            token_keys: self.token_key,
            dev: self.dev,
            telephones: self.telephone.into_iter().collect(),
            livekit: self.livekit.livekit(),
            traces: rspp_telemetry::Options::of(self.otlp),
            public_url: self.public_url,
            drain: Duration::from_secs(self.drain),
        };
        let tell = |address: SocketAddr| {
            let (page, scheme) = if is_tls { ("https", "wss") } else { ("http", "ws") };
            eprintln!("talk to it at {page}://{address}/");
            for door in DOORS.iter().filter(|door| !door.path.contains('{')) {
                eprintln!("listening on {scheme}://{address}{}", door.path);
            }
            if is_open {
                eprintln!(
                    "DEV MODE: everybody is let in, without a token; /dev/token gives some to try. --token-key ends that"
                );
            }
            if let Some(folder) = &recorded {
                eprintln!("recording into {}", folder.display());
            }
        };
        match serve(&options, registry, interrupt, tell) {
            Ok(()) => match interrupt.signal() {
                None => Ok(String::new()),
                Some(signal) => Err(Failure::Interrupted(signal, String::new(), STOPPED.to_owned())),
            },
            Err(error) => Err(failure(&error)),
        }
    }
}

/// The bundled pipeline, below what is laid over it; says what it is.
fn built_in(over: &mut Over) -> Result<BuiltIn, Failure> {
    let built_in = BuiltIn::unpack().map_err(|error| Failure::Run(error.to_string()))?;
    over.bindings.splice(0..0, built_in.bindings.iter().cloned());
    eprintln!("no spec is named: a bundled restaurant's phone line is served");
    built_in.notes.iter().for_each(|note| eprintln!("{note}"));
    Ok(built_in)
}

fn telephone(argument: &str) -> Result<(Provider, KeyReference), String> {
    let form = "write PROVIDER=env:NAME or PROVIDER=file:PATH, with twilio, telnyx or plivo";
    let (provider, secret) = argument.split_once('=').ok_or(form)?;
    let provider = Provider::named(provider).ok_or(form)?;
    Ok((provider, secret.parse().map_err(|error: BindingError| error.to_string())?))
}

/// Said of a server that was told to end, and did.
const STOPPED: &str = "stopped: the calls were ended";

fn failure(error: &ServeError) -> Failure {
    if error.is_wrong_usage() { Failure::Input(error.to_string()) } else { Failure::Run(error.to_string()) }
}
