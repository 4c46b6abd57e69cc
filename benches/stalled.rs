//! What the worker's effects wait for while the exporter stands still for 30 s, against one that keeps up.
//!
//! Two workers' logs, each with 200 sessions at L2, a frame each way every 20 ms by the clock on the wall; a tick cancels a
//! session's turn or commits one, and now and then a call ends, so that there is something to export. The one's store takes what
//! it is given; the other's does not return for 30 s. Both have the same machine at the same time: each tick is handed to the one
//! and then to the other, in turns which first, and only ticks within the 30 s count. Measured is from the moment at which a tick
//! is handed to the log until it is written and its effects may leave, as a worker does it: the log's writer has a thread, and
//! the exporter another.
//!
//! Printed are percentiles of both and their ratio, with the bounds within which it lies in 95 of 100 resamples of whole seconds:
//! neighbours share what else the machine did. 1 is within them where a cancellation and a commit do not feel the exporter.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rspp::adapters::recording::{
    ExportLimits, Exporter, ExporterThread, LocalFolder, LogSize, LogWriterThread, Store, WorkerLog,
};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::{Generation, InvocationId, RuntimeSequence, Slot, TurnId};
use rspp::specs::plan::{Plan, RecordingLevel};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, EgressEpoch, Entry, Input, Record, SessionOpen, Signal};
use rspp::{Registry, compile};

const CALLS: u32 = 200;
const FRAME: Duration = Duration::from_millis(20);
const STANDS: Duration = Duration::from_secs(30);
/// From one end of a call to the next: with the first, the store begins to stand still.
const ENDS_EVERY: u64 = 25;
/// Ticks within the half minute: the first call has ended, and the store has not returned.
const COUNTED: std::ops::Range<u64> = 50..1_500;
/// Half minutes.
const ROUNDS: u32 = 3;
/// More than 200 sessions write in half a minute.
const SIZE: LogSize = LogSize { segment_bytes: 64 << 20, segments: 12, reserve_bytes: 64 << 20, queue_bytes: 16 << 20 };
const RESAMPLES: usize = 1_000;
/// Of one kind, there are 25 ticks in a second.
const SECOND: usize = 25;

fn main() {
    let rounds = std::env::var("RSPP_STALLED_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let (mut cancels, mut commits) = (Vec::new(), Vec::new());
    let mut exported = [0, 0];
    for _ in 0..rounds {
        let round = round();
        cancels.extend(round.cancels);
        commits.extend(round.commits);
        exported = [exported[0] + round.exported[0], exported[1] + round.exported[1]];
    }
    let mut out = String::from("from the tick to the log, in microseconds\n");
    for (what, pairs) in [("cancel", cancels), ("commit", commits)] {
        for (name, place) in [("p50", 500), ("p90", 900), ("p99", 990)] {
            let [keeps_up, stands] = both(&pairs, place);
            let (low, high) = bounds(&pairs, place);
            let ratio = stands / keeps_up;
            out += &format!("  {what} {name}: keeps up {keeps_up:.0}, stands still {stands:.0}, ");
            out += &format!("ratio {ratio:.2} ({low:.2} to {high:.2}) of {} ticks\n", pairs.len());
        }
    }
    out += &format!("  exported: keeps up {}, stands still {}\n", exported[0], exported[1]);
    std::io::stdout().write_all(out.as_bytes()).expect("what it measured can be printed");
}

/// What a tick took in microseconds: with an exporter that keeps up, and with one that stands still.
type Pair = [f64; 2];

struct Round {
    cancels: Vec<Pair>,
    commits: Vec<Pair>,
    exported: [u64; 2],
}

fn both(pairs: &[Pair], thousandth: usize) -> Pair {
    [0, 1].map(|side| {
        let mut sorted: Vec<f64> = pairs.iter().map(|pair| pair[side]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[(sorted.len() * thousandth / 1_000).min(sorted.len() - 1)].max(0.001)
    })
}

/// Between which ratios lie 95 of 100 resamples of whole seconds.
fn bounds(pairs: &[Pair], thousandth: usize) -> (f64, f64) {
    let seconds: Vec<&[Pair]> = pairs.chunks(SECOND).collect();
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<Pair> =
                (0..seconds.len()).flat_map(|_| seconds[next(seconds.len())].iter().copied()).collect();
            let [keeps_up, stands] = both(&drawn, thousandth);
            stands / keeps_up
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    (ratios[RESAMPLES / 40], ratios[RESAMPLES - 1 - RESAMPLES / 40])
}

/// A store that does not return for so long, the first time.
struct Standing {
    stands: Duration,
    inner: LocalFolder,
}

impl Store for Standing {
    fn put(&mut self, name: &str, path: &Path) -> std::io::Result<()> {
        std::thread::sleep(std::mem::take(&mut self.stands));
        self.inner.put(name, path)
    }
}

/// A worker's log with its threads.
struct Side {
    log: WorkerLog,
    writer: LogWriterThread,
    written: Receiver<()>,
    exporter: ExporterThread,
    _folder: tempfile::TempDir,
}

impl Side {
    fn new(stands: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut log = WorkerLog::create(folder.path(), 0, SIZE).expect("there is room");
        let inner = LocalFolder::new(folder.path().join("calls")).expect("a folder can be made");
        let store = Box::new(Standing { stands, inner });
        let exporter = Exporter::new(&log, &folder.path().join("spool"), store, ExportLimits::default());
        let exporter = exporter.and_then(Exporter::spawn).expect("there is a thread");
        let (told, written) = sync_channel(1);
        let on_written = move || {
            let _ = told.try_send(());
        };
        let writer = log.writer().and_then(|writer| writer.spawn(on_written)).expect("there is a thread");
        Self { log, writer, written, exporter, _folder: folder }
    }

    /// Hands a tick over, and gives what its effects waited for.
    fn take(&mut self, records: &[Record]) -> f64 {
        let began = Instant::now();
        let place = self.log.append(records);
        while !self.log.is_written(place) {
            // It may have been written between the two; the next word comes within a frame.
            let _ = self.written.recv_timeout(FRAME);
        }
        began.elapsed().as_secs_f64() * 1e6
    }

    fn end(mut self) -> u64 {
        assert_eq!((self.log.counts().left_out, self.log.counts().failed_writes), (0, 0), "there was room for all");
        self.log.end_all();
        self.writer.stop();
        self.exporter.stop().exported
    }
}

/// Half a minute of both.
fn round() -> Round {
    let (plan, frame) = (plan(), frame());
    let mut sides = [Side::new(Duration::ZERO), Side::new(STANDS)];
    let open = |slot| record(slot, 1, Entry::Input(RuntimeSequence(1), opening(&plan, slot)));
    let opened: Vec<Record> = (0..CALLS).map(open).collect();
    for side in &mut sides {
        side.log.append(&opened);
    }
    let (mut cancels, mut commits) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for tick in 2..COUNTED.end {
        let due = began + FRAME * tick as u32;
        let records = records(tick, &plan, &frame);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut pair = [0.0; 2];
        for side in if (tick / 2).is_multiple_of(2) { [0, 1] } else { [1, 0] } {
            pair[side] = sides[side].take(&records);
        }
        if COUNTED.contains(&tick) {
            if is_cancelling(tick) { &mut cancels } else { &mut commits }.push(pair);
        }
    }
    Round { cancels, commits, exported: sides.map(Side::end) }
}

/// Every second tick cancels a turn, the others commit one.
fn is_cancelling(tick: u64) -> bool {
    tick.is_multiple_of(2)
}

/// What one tick writes of all sessions.
fn records(tick: u64, plan: &Arc<Plan>, frame: &AudioFrame) -> Vec<Record> {
    let mut records = Vec::new();
    let chosen = (tick % u64::from(CALLS)) as u32;
    for slot in 0..CALLS {
        let (turn, epoch, from_sample) = (TurnId(1), EgressEpoch(0), tick * 320);
        let heard = Entry::Input(RuntimeSequence(tick), Input::CallerAudio(frame.clone()));
        let sent = Entry::Effect(Effect::Transmit { turn, epoch, from_sample, frame: frame.clone() });
        records.extend([heard, sent].map(|entry| record(slot, tick, entry)));
        if slot == chosen && is_cancelling(tick) {
            let fence = Signal::FenceApplied { generation: Generation(1) };
            records.push(record(slot, tick, Entry::Signal(Some(turn), fence)));
            records.push(record(slot, tick, Entry::Effect(Effect::CancelInvocation { id: InvocationId(3) })));
        } else if slot == chosen {
            records.push(record(slot, tick, Entry::Signal(Some(turn), Signal::Commit)));
            records.push(record(slot, tick, Entry::Signal(Some(turn), Signal::Close)));
        }
        if tick.is_multiple_of(ENDS_EVERY) && u64::from(slot) == tick / ENDS_EVERY % u64::from(CALLS) {
            records.push(record(slot, tick, Entry::Signal(None, Signal::SessionEnded)));
            records.push(record(slot, tick, Entry::Input(RuntimeSequence(1), opening(plan, slot))));
        }
    }
    records
}

fn plan() -> Arc<Plan> {
    let spec =
        "kind: PipelineSpec\nname: bench\nversion: 1\ntemplate: voice-assistant\nbind: {stt: a, llm: b, tts: c}\n";
    Arc::new(compile("bench.yaml", spec, &Registry::new()).expect("the spec is complete"))
}

fn opening(plan: &Arc<Plan>, slot: u32) -> Input {
    let open = SessionOpen::new(format!("call-{slot}"), Arc::clone(plan));
    Input::SessionOpen(Box::new(SessionOpen { recording: Some(RecordingLevel::L2), ..open }))
}

fn record(slot: u32, tick: u64, entry: Entry) -> Record {
    Record { slot: Slot(slot), tick, at: Micros::from_ms(tick * 20), entry }
}

fn frame() -> AudioFrame {
    let samples = (0..320_i32).map(|at| (at * 7_919 % 20_011) as i16).collect();
    AudioFrame { samples, rate_hz: 16_000, spoken_by: Some(InvocationId(3)) }
}
