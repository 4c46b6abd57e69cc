//! `rspp worker`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rspp_adapters::admission::Capacity;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::recording::LogSize;
use rspp_adapters::token::PublicKey;
use rspp_compiler::Registry;

use super::arrivals::Arrivals;
use super::outcome::{Failure, Outcome};
use super::reach::{Reach, failure};
use super::room::Room;
use crate::fleet::worker::{self, WorkerError, work};

/// Be a worker of a fleet: hold the sessions that a control plane gives to it.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp worker --name w1 --pipeline voice-assistant\n  \
    rspp worker --name w2 --pipeline voice-assistant --listen 0.0.0.0:8080 --endpoint ws://10.0.0.6:8080 --region eu\n\n\
    It serves the pipeline in every version that is rolled out, and goes by what it was told last while the control plane is\n\
    away. Ctrl-C and SIGTERM let the calls come to an end, and no new ones are sent to it; a second one does not wait.")]
pub(super) struct Worker {
    /// Its name, which no other worker has.
    #[arg(long)]
    name: String,
    /// The pipeline that it serves.
    #[arg(long)]
    pipeline: String,
    #[command(flatten)]
    reach: Reach,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where callers reach it, as `ws://host:port`; where it listens, if nobody says.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Where it is: callers that wish to be near are sent to it.
    #[arg(long, default_value = "")]
    region: String,
    /// Sessions that it can hold.
    #[arg(long, value_name = "N", default_value_t = 100)]
    capacity: u64,
    #[command(flatten)]
    room: Room,
    #[command(flatten)]
    arrivals: Arrivals,
    /// Worker threads, each with a core of its own and its share of the calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// Write a recording of each call into this folder.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Room on the disk for what each worker thread has recorded and not exported yet.
    #[arg(long, value_name = "MB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(4..=65_536))]
    record_log: u64,
    /// Keep each call in this folder, which all workers share, while it runs: when a worker is lost, another one goes on with its
    /// calls and their conversations. Everything that is said is in there, until the call ends.
    #[arg(long, value_name = "FOLDER")]
    journal: Option<PathBuf>,
    /// Let in, while the control plane is away, whoever has a token signed by this key; may be given several times.
    #[arg(long, value_name = "PUBLIC.pem")]
    token_key: Vec<PathBuf>,
    /// Let pages of another host connect, as `https://example.com`; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Send traces of calls to an OpenTelemetry collector, as `http://127.0.0.1:4318`; `OTEL_EXPORTER_OTLP_ENDPOINT` does, too.
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Seconds that calls may take to come to an end.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    drain: u64,
}

impl Worker {
    pub(super) fn run(self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let read = |path: &PathBuf| {
            let wrong = |says: String| Failure::Input(format!("the key {}: {says}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
            PublicKey::from_pem(&text).map_err(|error| wrong(error.to_string()))
        };
        let token_keys = self.token_key.iter().map(read).collect::<Result<_, Failure>>()?;
        let (control_plane, key) = self.reach.parts();
        let this = worker::Worker {
            control_plane,
            key,
            name: self.name,
            pipeline: self.pipeline,
            listen: self.listen,
            endpoint: self.endpoint,
            region: self.region,
            capacity: self.capacity,
            // What the control plane has given away is not refused at the door.
            limits: self.room.capacity(Capacity::default().sessions.max(self.capacity.min(u64::from(u32::MAX)) as u32)),
            connections: self
                .arrivals
                .limits(usize::try_from(self.capacity).unwrap_or(usize::MAX).saturating_add(worker::SPARE_CONNECTIONS)),
            workers: self.workers,
            record: self.record,
            log: LogSize::of(self.record_log << 20),
            journal: self.journal,
            token_keys,
            allowed_origins: self.allow_origin,
            traces: rspp_telemetry::Options::of(self.otlp),
            drain: Duration::from_secs(self.drain),
        };
        match work(&this, registry, interrupt, |address| eprintln!("listening on ws://{address}")) {
            Ok(()) => match interrupt.signal() {
                None => Ok(String::new()),
                Some(signal) => Err(Failure::Interrupted(signal, String::new(), "stopped".to_owned())),
            },
            Err(WorkerError::Ask(error)) => Err(failure(&error)),
            Err(error) => Err(Failure::Run(error.to_string())),
        }
    }
}
