//! A whole folder of recorded calls, replayed over a timely cluster: calls are exchanged between workers by their ids,
//! and their results and latencies are reduced by timely's operators.
//!
//! This is timely's own multi-process mode, which live calls do not use: here throughput counts and not the slowest
//! worker's latency. Each call is replayed alone, in a core of its own, so that the report does not depend on who replayed
//! what: one process gives the same bytes as several.
//!
//! Start with [`Corpus::run`].

mod report;
mod state;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::recording::{Recording, RecordingError};
use rspp_compiler::Registry;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;
use timely::communication::Config as CommunicationConfig;
use timely::dataflow::channels::pact::Exchange as ExchangePact;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::vec::{Map, aggregation::Aggregate};
use timely::dataflow::operators::{Exchange, Input, Inspect};
use timely::dataflow::{InputHandle, StreamVec};
use timely::{Config, WorkerConfig};

use crate::diff::{Call, Options, Report as Difference};
use crate::drawing::Story;
use crate::replay::{Anew, AnewError, Verdict, check_inputs, replay, replay_all, verdict};

pub use report::{CallResult, CorpusReport, Judgement, LatencyChange, Quantiles};
pub use state::{State, StateError};

use report::Bucket;

/// What to replay, how, and where.
#[derive(Clone)]
pub struct Corpus {
    /// The folder.
    pub root: PathBuf,
    /// The recordings in it, as paths from the folder; the same in every process.
    pub calls: Vec<String>,
    /// How calls are held anew; none to compare every byte.
    pub anew: Option<Anew>,
    /// Times of a call that is held anew may differ by so much.
    pub tolerance: Micros,
    /// Who replays.
    pub cluster: Cluster,
}

/// A timely cluster, as seen by one of its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers of each process.
    pub workers: usize,
    /// Which process this is, from 0.
    pub process: usize,
    /// Where each process listens; one, or none, for one process alone.
    pub addresses: Vec<String>,
}

/// Why a corpus can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The pipeline that calls are to be held by.
    #[error(transparent)]
    Anew(#[from] AnewError),
    /// The cluster.
    #[error(
        "the cluster does not come together: {0}; check the addresses in the hostfile, and that every process was started"
    )]
    Cluster(String),
    /// A worker panicked.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// Told of each call's result as it comes in, in the first process.
pub type OnResult = Arc<dyn Fn(&CallResult) + Send + Sync>;

impl Corpus {
    /// Replays all calls but those of which the results are `known`. The first process gives the report; the others give
    /// none.
    ///
    /// # Errors
    /// The pipeline, or the cluster.
    pub fn run(
        &self,
        registry: &Registry,
        known: Vec<CallResult>,
        on_result: OnResult,
    ) -> Result<Option<CorpusReport>, CorpusError> {
        let plan = self.anew.as_ref().map(|anew| anew.plan(registry)).transpose()?.flatten();
        let replayer = Arc::new(Replayer { corpus: self.clone(), plan, registry: registry.clone() });
        let done: Vec<&str> = known.iter().map(|result| result.id.as_str()).collect();
        let left = self.calls.iter().filter(|id| !done.contains(&id.as_str())).cloned().collect::<Vec<_>>();
        let counted = known.iter().flat_map(CallResult::buckets).collect();
        let gathered = Arc::new(Mutex::new((known, counted)));
        let (here, is_first) = (Arc::clone(&gathered), self.cluster.process == 0);
        let connected = || {
            timely::execute(self.cluster.config(), move |worker| {
                let calls = if worker.index() == 0 { left.clone() } else { Vec::new() };
                build(worker, calls, &replayer, &here, &on_result);
            })
        };
        let guards = if self.cluster.addresses.len() > 1 { aside(connected) } else { connected() };
        let guards = guards.map_err(CorpusError::Cluster)?;
        for joined in guards.join() {
            joined.map_err(CorpusError::Worker)?;
        }
        let (results, buckets) =
            std::mem::take(&mut *gathered.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(is_first.then(|| CorpusReport::of(results, buckets)))
    }
}

impl Cluster {
    fn config(&self) -> Config {
        let threads = self.workers.max(1);
        let communication = match self.addresses.len() {
            0 | 1 if threads == 1 => CommunicationConfig::Thread,
            0 | 1 => CommunicationConfig::Process(threads),
            _ => CommunicationConfig::Cluster {
                threads,
                process: self.process,
                addresses: self.addresses.clone(),
                report: false,
                zerocopy: false,
            },
        };
        Config { communication, worker: WorkerConfig::default() }
    }
}

/// While processes look for each other timely says so on standard output, which is for the report: it goes to standard
/// error instead.
#[cfg(unix)]
fn aside<T>(connect: impl FnOnce() -> T) -> T {
    let kept = rustix::io::dup(std::io::stdout());
    let moved = kept.is_ok() && rustix::stdio::dup2_stdout(std::io::stderr()).is_ok();
    let connected = connect();
    if let (Ok(kept), true) = (kept, moved) {
        // It was open a moment ago.
        let _ = rustix::stdio::dup2_stdout(kept);
    }
    connected
}

#[cfg(not(unix))]
fn aside<T>(connect: impl FnOnce() -> T) -> T {
    connect()
}

/// Results that have come in, and the latencies that were counted.
type Gathered = Arc<Mutex<(Vec<CallResult>, Vec<(Bucket, u64)>)>>;

/// One worker's part of the dataflow, run to its end.
fn build(
    worker: &mut timely::worker::Worker,
    calls: Vec<String>,
    replayer: &Arc<Replayer>,
    gathered: &Gathered,
    on_result: &OnResult,
) {
    let mut input: InputHandle<u64, timely::container::CapacityContainerBuilder<Vec<String>>> = InputHandle::new();
    let (results_of, buckets_of) = (Arc::clone(gathered), Arc::clone(gathered));
    let on_result = Arc::clone(on_result);
    worker.dataflow::<u64, _, _>(|scope| {
        let calls = scope.input_from(&mut input);
        let results = replayed(calls, Arc::clone(replayer));
        let buckets = results.clone().flat_map(|result: CallResult| result.buckets());
        buckets
            .aggregate::<_, u64, _, _, _>(|_, count, sum| *sum += count, |bucket, sum| (bucket, sum), Bucket::route)
            .exchange(|_| 0)
            .inspect(move |counted| lock(&buckets_of).1.push(counted.clone()));
        results.exchange(|_| 0).inspect(move |result| {
            on_result(result);
            lock(&results_of).0.push(result.clone());
        });
    });
    calls.into_iter().for_each(|call| input.send(call));
    input.close();
    while worker.step_or_park(None) {}
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Replays the calls that fall to each worker, one each time it is scheduled, so that results flow while it goes on.
fn replayed<'s>(calls: StreamVec<'s, u64, String>, replayer: Arc<Replayer>) -> StreamVec<'s, u64, CallResult> {
    let by_id = ExchangePact::new(|id: &String| route(id));
    let scope = calls.scope();
    calls.unary_frontier(by_id, "Replay", |_capability, info| {
        let mut waiting = VecDeque::new();
        let activator = scope.activator_for(info.address);
        move |(input, _frontier), output| {
            input.for_each(|capability, ids| {
                let capability = capability.retain(0);
                waiting.extend(ids.drain(..).map(|id| (capability.clone(), id)));
            });
            if let Some((capability, id)) = waiting.pop_front() {
                output.session(&capability).give(replayer.call(&id));
            }
            if !waiting.is_empty() {
                activator.activate();
            }
        }
    })
}

/// The same on every machine and in every version.
fn route(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Replays calls on one worker.
struct Replayer {
    corpus: Corpus,
    plan: Option<Arc<Plan>>,
    registry: Registry,
}

impl Replayer {
    fn call(&self, id: &str) -> CallResult {
        let path = self.corpus.root.join(id);
        let recording = match Recording::open(&path) {
            Ok(recording) => recording,
            Err(error @ RecordingError::Damaged(_)) => {
                return CallResult::of(id, Judgement::Damaged(error.to_string()));
            }
            Err(error) => return CallResult::of(id, Judgement::Failed(error.to_string())),
        };
        let result = match &self.corpus.anew {
            None => self.compare(id, &recording),
            Some(anew) => self.hold(id, &recording, anew),
        };
        result.unwrap_or_else(|error| CallResult::of(id, Judgement::Failed(error)))
    }

    /// To the byte.
    fn compare(&self, id: &str, recording: &Recording) -> Result<CallResult, String> {
        let fail = |error: crate::replay::ReplayError| error.to_string();
        let found = replay(recording, &self.registry).map_err(fail)?;
        let before = &recording.records;
        if let Verdict::Identical { .. } = found {
            return Ok(CallResult::of(id, Judgement::Identical).with(before, before));
        }
        let after = replay_all(recording, &self.registry).map_err(fail)?;
        let exactly = found.to_string();
        Ok(self.judged(id, before, &after, Micros(0), Some(exactly)))
    }

    /// Held anew: identical, or the same within the tolerance, or not.
    fn hold(&self, id: &str, recording: &Recording, anew: &Anew) -> Result<CallResult, String> {
        check_inputs(recording).map_err(|error| error.to_string())?;
        let anew = Anew { beside: self.folder(id), ..anew.clone() };
        let mut core = crate::core(self.registry.clone());
        let held = anew.hold(&mut core, &recording.records, self.plan.as_ref(), &self.registry, &Interrupt::default());
        let held = held.map_err(|error| error.to_string())?;
        if let Verdict::Identical { .. } = verdict(&recording.records, &held.records) {
            return Ok(CallResult::of(id, Judgement::Identical).with(&recording.records, &held.records));
        }
        Ok(self.judged(id, &recording.records, &held.records, self.corpus.tolerance, None))
    }

    fn folder(&self, id: &str) -> PathBuf {
        let anew = self.corpus.anew.as_ref().filter(|anew| !anew.beside.as_os_str().is_empty());
        let own = || self.corpus.root.join(id).parent().map_or_else(PathBuf::new, Path::to_owned);
        anew.map_or_else(own, |anew| anew.beside.clone())
    }

    fn judged(
        &self,
        id: &str,
        before: &[Record],
        after: &[Record],
        tolerance: Micros,
        exactly: Option<String>,
    ) -> CallResult {
        let call = |name, records| Call { name, records };
        let options = Options { tolerance, prices: None };
        let difference = Difference::of(call("recorded", before), call("replayed", after), options);
        let judgement = match (difference.first(), exactly) {
            (Some(first), _) => Judgement::Differs { class: first.class, first: first.to_string() },
            // Frames alone differ: what was sent to a recogniser, or when.
            (None, Some(first)) => Judgement::Differs { class: crate::diff::Class::Outcome, first },
            (None, None) => Judgement::Same,
        };
        CallResult::of(id, judgement).with(before, after)
    }
}

/// The first sounds of a call's answers, as the caller waited for them.
fn first_sounds(records: &[Record]) -> Vec<Micros> {
    Story::of(records).turns.iter().filter_map(|turn| Some(turn.waits?.total())).collect()
}
