//! What the worker's effects wait for, once with an exporter that keeps up and once with one that stands still for 30 s.
//!
//! 200 sessions at L2, with a frame each way every 20 ms by the clock on the wall; in each tick one session's turn is cancelled
//! and another's committed, and now and then a call ends, so that there is something to export. Measured is from the moment at
//! which the tick is handed to the log until it is written and its effects may leave, as a worker does it: the log's writer has
//! a thread, and the exporter another. The store either takes what it is given, or does not return for 30 s.
//!
//! Printed are percentiles of both runs and their ratios: a cancellation and a commit do not feel the exporter.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rspp::adapters::recording::{ExportLimits, Exporter, LocalFolder, LogSize, Store, WorkerLog};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::{Generation, InvocationId, RuntimeSequence, Slot, TurnId};
use rspp::specs::plan::{Plan, RecordingLevel};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, EgressEpoch, Entry, Input, Record, SessionOpen, Signal};
use rspp::{Registry, compile};

const CALLS: u32 = 200;
const FRAME: Duration = Duration::from_millis(20);
/// Thirty seconds, and what comes before and after.
const TICKS: u64 = 1_600;
const STANDS: Duration = Duration::from_secs(30);
/// From one end of a call to the next.
const ENDS_EVERY: u64 = 25;
/// More than 200 sessions write in half a minute.
const SIZE: LogSize = LogSize { segment_bytes: 64 << 20, segments: 12, reserve_bytes: 64 << 20, queue_bytes: 16 << 20 };

fn main() {
    let (quick, slow) = (run(false), run(true));
    let mut out = String::from("from the tick to the log, in microseconds\n");
    for (what, quick, slow) in [("cancel", quick.cancels, slow.cancels), ("commit", quick.commits, slow.commits)] {
        for (name, place) in [("p50", 500), ("p90", 900), ("p99", 990)] {
            let (quick, slow) = (percentile(&quick, place), percentile(&slow, place));
            let ratio = slow / quick.max(0.001);
            out += &format!("  {what} {name}: keeps up {quick:.0}, stands still {slow:.0}, ratio {ratio:.2}\n");
        }
    }
    out += &format!("  exported: keeps up {}, stands still {}\n", quick.exported, slow.exported);
    std::io::stdout().write_all(out.as_bytes()).expect("what it measured can be printed");
}

/// What one run measured.
struct Measured {
    cancels: Vec<Duration>,
    commits: Vec<Duration>,
    exported: u64,
}

fn percentile(of: &[Duration], thousandth: usize) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * thousandth / 1_000).map_or(0.0, |it| it.as_secs_f64() * 1e6)
}

/// A store that does not return for half a minute, the first time.
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

fn run(stands_still: bool) -> Measured {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut log = WorkerLog::create(folder.path(), 0, SIZE).expect("there is room");
    let inner = LocalFolder::new(folder.path().join("calls")).expect("a folder can be made");
    let stands = if stands_still { STANDS } else { Duration::ZERO };
    let store = Box::new(Standing { stands, inner });
    let exporter = Exporter::new(&log, &folder.path().join("spool"), store, ExportLimits::default());
    let exporter = exporter.and_then(Exporter::spawn).expect("there is a thread");
    let (told, written) = sync_channel(1);
    let on_written = move || {
        let _ = told.try_send(());
    };
    let writer = log.writer().and_then(|writer| writer.spawn(on_written)).expect("there is a thread");
    let measured = calls(&mut log, &written);
    assert_eq!((log.counts().left_out, log.counts().failed_writes), (0, 0), "there was room for everything");
    log.end_all();
    writer.stop();
    Measured { exported: exporter.stop().exported, ..measured }
}

fn calls(log: &mut WorkerLog, written: &Receiver<()>) -> Measured {
    let (plan, frame) = (plan(), frame());
    let open = |slot| record(slot, 1, Entry::Input(RuntimeSequence(1), opening(&plan, slot)));
    log.append(&(0..CALLS).map(open).collect::<Vec<_>>());
    let (mut cancels, mut commits) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for tick in 2..TICKS {
        let due = began + FRAME * tick as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let records = records(tick, &plan, &frame);
        let began = Instant::now();
        let place = log.append(&records);
        while !log.is_written(place) {
            // It may have been written between the two; the next word comes within a frame.
            let _ = written.recv_timeout(FRAME);
        }
        let took = began.elapsed();
        cancels.push(took);
        commits.push(took);
    }
    Measured { cancels, commits, exported: 0 }
}

/// What one tick writes of all sessions.
fn records(tick: u64, plan: &Arc<Plan>, frame: &AudioFrame) -> Vec<Record> {
    let mut records = Vec::new();
    let (cancelled, committed) = ((tick % u64::from(CALLS)) as u32, ((tick + 1) % u64::from(CALLS)) as u32);
    for slot in 0..CALLS {
        let (turn, epoch, from_sample) = (TurnId(1), EgressEpoch(0), tick * 320);
        let heard = Entry::Input(RuntimeSequence(tick), Input::CallerAudio(frame.clone()));
        let sent = Entry::Effect(Effect::Transmit { turn, epoch, from_sample, frame: frame.clone() });
        records.extend([heard, sent].map(|entry| record(slot, tick, entry)));
        if slot == cancelled {
            let fence = Signal::FenceApplied { generation: Generation(1) };
            records.push(record(slot, tick, Entry::Signal(Some(turn), fence)));
            records.push(record(slot, tick, Entry::Effect(Effect::CancelInvocation { id: InvocationId(3) })));
        }
        if slot == committed {
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
