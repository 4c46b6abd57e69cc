//! The queue of spans, and the thread that brings them to a collector.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use rspp_adapters::notes::Notes;
use rspp_adapters::onlooker::{Count, Onlooker};

use crate::Tracer;
use crate::client::Client;

/// Spans that may wait for the collector: of about a thousand turns, in some megabytes.
pub const MAX_WAITING: usize = 8_192;
/// Spans of one request.
const MAX_BATCH: usize = 512;
/// How long a span waits for others to go with.
const LINGER: Duration = Duration::from_secs(1);
/// What stands behind a collector's address for traces.
const TRACES: &str = "/v1/traces";

/// Where traces go, and how long they are tried.
#[derive(Clone, Debug)]
pub struct Options {
    /// The collector's address, as `http://127.0.0.1:4318`. Without one, the environment says it: `OTEL_EXPORTER_OTLP_ENDPOINT`
    /// and its kin, as OpenTelemetry has them.
    pub endpoint: Option<String>,
    /// How long one request may take.
    pub patience: Duration,
}

impl Options {
    /// To this collector, or to the one in the environment; `None` if there is neither.
    pub fn of(endpoint: Option<String>) -> Option<Self> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let in_environment = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        let wanted = endpoint.is_some() || in_environment.into_iter().any(is_set);
        wanted.then_some(Self { endpoint, patience: Duration::from_secs(5) })
    }
}

/// Why nothing is traced.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The address, or something in the environment.
    #[error("traces can't be exported: {0}; give the collector's address as http://HOST:4318")]
    Exporter(#[from] ExporterBuildError),
    /// The system gives no thread or no runtime.
    #[error("traces can't be exported: {0}")]
    System(#[from] std::io::Error),
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    given_up: AtomicU64,
    failed_batches: AtomicU64,
}

impl Counts {
    fn list(&self) -> Vec<Count> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Self { exported, dropped, given_up, failed_batches } = self;
        let count = |name, says, value| Count { name, says, value };
        vec![
            count("trace_spans_exported_total", "Spans that a collector took.", of(exported)),
            count("trace_spans_dropped_total", "Spans for which the queue had no room.", of(dropped)),
            count("trace_spans_given_up_total", "Spans that the collector did not take.", of(given_up)),
            count("trace_batches_failed_total", "Requests that were given up, with their retries.", of(failed_batches)),
        ]
    }
}

/// Where spans wait. Nobody waits to put one in.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    spans: Sender<SpanData>,
    counts: Arc<Counts>,
}

impl Queue {
    pub(crate) fn put(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> Vec<Count> {
        self.counts.list()
    }
}

/// Traces, on their way.
pub struct Telemetry {
    queue: Queue,
    thread: JoinHandle<()>,
    over: Receiver<()>,
}

impl Telemetry {
    /// Begins to export.
    ///
    /// # Errors
    /// The address, or the system. A collector that is not there is no error: it may come.
    pub fn start(options: &Options, notes: &Notes) -> Result<Self, TelemetryError> {
        let mut builder = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { patience: options.patience })
            .with_retry_policy(RetryPolicy::recommended())
            .with_timeout(options.patience * 2);
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(format!("{}{TRACES}", endpoint.trim_end_matches('/')));
        }
        let mut exporter = builder.build()?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("rspp");
        }
        exporter.set_resource(&resource.build());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (sender, spans) = bounded(MAX_WAITING);
        let (ends, over) = bounded(0);
        let counts = Arc::new(Counts::default());
        let work =
            Work { spans, exporter, runtime, counts: Arc::clone(&counts), notes: notes.clone(), is_silent: false };
        let thread = std::thread::Builder::new().name("traces".to_owned()).spawn(move || {
            work.run();
            drop(ends);
        })?;
        Ok(Self { queue: Queue { spans: sender, counts }, thread, over })
    }

    /// Who looks on at sessions.
    pub fn onlooker(&self) -> Arc<dyn Onlooker> {
        Arc::new(Tracer(self.queue.clone()))
    }

    /// All sessions are over, and nobody looks on any more: what waits is exported, within so long. Gives what became of all.
    pub fn finish(self, at_most: Duration) -> Vec<Count> {
        let Self { queue: Queue { spans, counts }, thread, over } = self;
        drop(spans);
        if over.recv_timeout(at_most) == Err(RecvTimeoutError::Disconnected) {
            let _ = thread.join();
        }
        counts.list()
    }
}

/// The exporting thread.
struct Work {
    spans: Receiver<SpanData>,
    exporter: SpanExporter,
    runtime: tokio::runtime::Runtime,
    counts: Arc<Counts>,
    notes: Notes,
    /// The collector takes nothing, and people know.
    is_silent: bool,
}

impl Work {
    fn run(mut self) {
        while let Ok(first) = self.spans.recv() {
            let batch = self.batch(first);
            self.export(batch);
        }
    }

    fn batch(&self, first: SpanData) -> Vec<SpanData> {
        let until = Instant::now() + LINGER;
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            let Ok(span) = self.spans.recv_deadline(until) else { break };
            batch.push(span);
        }
        batch
    }

    fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        let done = self.runtime.block_on(self.exporter.export(batch));
        match done {
            Ok(()) => {
                self.counts.exported.fetch_add(spans, Ordering::Relaxed);
                if std::mem::take(&mut self.is_silent) {
                    self.notes.say("the collector takes traces again");
                }
            }
            Err(error) => {
                self.counts.given_up.fetch_add(spans, Ordering::Relaxed);
                self.counts.failed_batches.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_silent, true) {
                    self.notes.say(&format!("the collector does not take traces: {error}; calls go on"));
                }
            }
        }
    }
}
