//! What keeping a session's timeline costs the worker (Stage A), what the codec has to do with it, and whether an exporter
//! that stands still can be felt.
//!
//! Aims: at most 200 ns an event without a payload, and 1 us with 640 bytes of audio, at every level; and the same latencies
//! of cancellations and commits with an exporter that stands still as with one that keeps up.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use columnar::{Columnar, Len, Push};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rspp::adapters::recording::{ExportLimits, Exporter, LocalFolder, LogSize, WorkerLog};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::{InvocationId, RuntimeSequence, Slot, TurnId};
use rspp::specs::plan::{Plan, RecordingLevel};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{AckOccasion, Effect, EgressEpoch, Entry, Input, PlayoutAck, Record, SessionOpen, Signal};
use rspp::specs::wire;
use rspp::{Registry, compile};

criterion_group!(benches, stage_a, codecs, stalled);
criterion_main!(benches);

const SESSIONS: u32 = 1_000;
/// Long enough that a log is seldom made anew.
const LARGE: LogSize = LogSize { segment_bytes: 64 << 20, segments: 12, reserve_bytes: 64 << 20 };
const LEVELS: [RecordingLevel; 3] = [RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2];

fn plan() -> Arc<Plan> {
    let spec =
        "kind: PipelineSpec\nname: bench\nversion: 1\ntemplate: voice-assistant\nbind: {stt: a, llm: b, tts: c}\n";
    Arc::new(compile("bench.yaml", spec, &Registry::new()).expect("the spec is complete"))
}

fn record(slot: u32, tick: u64, entry: Entry) -> Record {
    Record { slot: Slot(slot), tick, at: Micros::from_ms(tick * 20), entry }
}

fn frame() -> AudioFrame {
    let samples = (0..320_i32).map(|at| (at * 7_919 % 20_011) as i16).collect();
    AudioFrame { samples, rate_hz: 16_000, spoken_by: Some(InvocationId(3)) }
}

/// What has no payload, in the shares of a call: acknowledgements, marks, grants, wakes.
fn bare(slot: u32, tick: u64) -> [Record; 4] {
    let turn = TurnId(1);
    let ack = PlayoutAck { turn, heard_samples: tick * 320, occasion: AckOccasion::Progress };
    let input = Entry::Input(RuntimeSequence(tick), Input::PlayoutAck(ack));
    let granted = Effect::GrantCredit { id: InvocationId(3), results: 4 };
    let wake = Effect::WakeAt { at: Micros::from_ms(tick * 20 + 20) };
    [input, Entry::Signal(Some(turn), Signal::PlaybackStarted), Entry::Effect(granted), Entry::Effect(wake)]
        .map(|entry| record(slot, tick, entry))
}

fn with_audio(slot: u32, tick: u64, frame: &AudioFrame) -> [Record; 2] {
    let (turn, epoch, from_sample) = (TurnId(1), EgressEpoch(0), tick * 320);
    let transmit = Effect::Transmit { turn, epoch, from_sample, frame: frame.clone() };
    [Entry::Input(RuntimeSequence(tick), Input::CallerAudio(frame.clone())), Entry::Effect(transmit)]
        .map(|entry| record(slot, tick, entry))
}

/// A log with its sessions begun, in a folder of its own.
struct Stage {
    log: WorkerLog,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(plan: &Arc<Plan>, sessions: u32, level: RecordingLevel, size: LogSize) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut log = WorkerLog::create(folder.path(), 0, size).expect("there is room");
        let open = |slot: u32| {
            let open =
                SessionOpen { recording: Some(level), ..SessionOpen::new(format!("call-{slot}"), Arc::clone(plan)) };
            record(slot, 1, Entry::Input(RuntimeSequence(1), Input::SessionOpen(Box::new(open))))
        };
        log.append(&(0..sessions).map(open).collect::<Vec<_>>());
        log.flush();
        Self { log, folder }
    }

    fn is_nearly_full(&self, per_tick: u64) -> bool {
        self.log.free_bytes() < LARGE.reserve_bytes + 4 * per_tick
    }
}

fn stage_a(criterion: &mut Criterion) {
    let (plan, frame) = (plan(), frame());
    for (name, audio) in [("without payload", false), ("with 640 bytes", true)] {
        let mut group = criterion.benchmark_group(format!("stage A, an event {name}"));
        for level in LEVELS {
            for sessions in [1, SESSIONS] {
                let tick: Vec<Record> = (0..sessions)
                    .flat_map(|slot| if audio { with_audio(slot, 2, &frame).to_vec() } else { bare(slot, 2).to_vec() })
                    .collect();
                group.throughput(Throughput::Elements(tick.len() as u64));
                let id = BenchmarkId::new(level.name(), format!("{sessions} sessions"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|rounds| {
                        (0..rounds).scan(None, |stage, _| Some(timed(stage, &plan, level, &tick))).sum()
                    });
                });
            }
        }
    }
}

/// One tick into a log that is made anew, untimed, when it is nearly full: nothing follows it here.
fn timed(stage: &mut Option<Stage>, plan: &Arc<Plan>, level: RecordingLevel, tick: &[Record]) -> Duration {
    if stage.as_ref().is_none_or(|stage| stage.is_nearly_full(tick.len() as u64 * 1_024)) {
        *stage = None;
        *stage = Some(Stage::new(plan, SESSIONS, level, LARGE));
    }
    let Some(stage) = stage else { return Duration::ZERO };
    let began = Instant::now();
    stage.log.append(tick);
    let took = began.elapsed();
    assert_eq!(black_box(stage.log.counts()).left_out, 0);
    took
}

// ---- codecs: the same two events, encoded and decoded --------------------------------------------------------------

/// What columnar has to keep of an event with audio.
#[derive(Clone, Columnar)]
struct Flat {
    slot: u32,
    tick: u64,
    at_us: u64,
    kind: u8,
    turn: u32,
    from_sample: u64,
    samples: Vec<i16>,
}

fn flat(record: &Record) -> Flat {
    let (kind, turn, from_sample, samples) = match &record.entry {
        Entry::Input(_, Input::CallerAudio(frame)) => (0, 0, 0, frame.samples.to_vec()),
        Entry::Effect(Effect::Transmit { turn, from_sample, frame, .. }) => {
            (1, turn.0, *from_sample, frame.samples.to_vec())
        }
        _ => (2, 0, 0, Vec::new()),
    };
    Flat { slot: record.slot.0, tick: record.tick, at_us: record.at.0, kind, turn, from_sample, samples }
}

fn codecs(criterion: &mut Criterion) {
    let frame = frame();
    let tick: Vec<Record> = (0..500).flat_map(|slot| with_audio(slot, 2, &frame)).collect();
    let flats: Vec<Flat> = tick.iter().map(flat).collect();
    let mut group = criterion.benchmark_group("codec, an event with 640 bytes");
    group.throughput(Throughput::Elements(tick.len() as u64));
    group.bench_function("protobuf, lean", |bencher| {
        bencher.iter_batched_ref(buffer, |out| tick.iter().for_each(|record| lean(record, out)), BatchSize::LargeInput);
    });
    group.bench_function("protobuf, lean, both ways", |bencher| {
        bencher.iter_batched_ref(
            buffer,
            |out| {
                for record in &tick {
                    out.clear();
                    lean(record, out);
                    black_box(wire::decode_lean(out).expect("it was encoded"));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("bincode", |bencher| {
        bencher.iter_batched_ref(
            buffer,
            |out| tick.iter().for_each(|record| bincode::serialize_into(&mut *out, record).expect("memory takes all")),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("bincode, both ways", |bencher| {
        bencher.iter_batched_ref(
            buffer,
            |out| {
                for record in &tick {
                    out.clear();
                    bincode::serialize_into(&mut *out, record).expect("memory takes all");
                    black_box(bincode::deserialize::<Record>(out).expect("it was encoded"));
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("columnar", |bencher| {
        bencher.iter_batched_ref(
            <Flat as Columnar>::Container::default,
            |columns| {
                flats.iter().for_each(|flat| columns.push(flat));
                assert_eq!(columns.len(), flats.len());
            },
            BatchSize::LargeInput,
        );
    });
    let bytes: Vec<Vec<u8>> =
        flats.iter().map(|flat| flat.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()).collect();
    group.bench_function("copying alone", |bencher| {
        bencher.iter_batched_ref(
            buffer,
            |out| bytes.iter().for_each(|bytes| out.extend_from_slice(bytes)),
            BatchSize::LargeInput,
        );
    });
}

fn buffer() -> Vec<u8> {
    Vec::with_capacity(2 << 20)
}

fn lean(record: &Record, out: &mut Vec<u8>) {
    wire::encode_lean(record, None, out).expect("within the limits");
}

// ---- an exporter that stands still ---------------------------------------------------------------------------------

/// What the worker waits for before the effects of a cancellation, or of a commit, leave: 200 sessions at L2 with a frame
/// each way, and one of them ends its turn. Once with an exporter that keeps up, once with one that has stood still until
/// the log was full, which is what 30 seconds of it come to.
fn stalled(criterion: &mut Criterion) {
    const CALLS: u32 = 200;
    let (plan, frame) = (plan(), frame());
    let size = LogSize { segment_bytes: 16 << 20, segments: 8, reserve_bytes: 16 << 20 };
    let mut tick: Vec<Record> = (0..CALLS).flat_map(|slot| with_audio(slot, 2, &frame)).collect();
    let turn = Some(TurnId(1));
    tick.push(record(0, 2, Entry::Effect(Effect::CancelInvocation { id: InvocationId(3) })));
    tick.push(record(1, 2, Entry::Signal(turn, Signal::Commit)));
    tick.push(record(1, 2, Entry::Signal(turn, Signal::Close)));
    let mut group = criterion.benchmark_group("a cancellation and a commit");
    for (name, stands) in [("exporter keeps up", false), ("exporter stands still", true)] {
        let Stage { mut log, folder } = Stage::new(&plan, CALLS, RecordingLevel::L2, size);
        let store = LocalFolder::new(folder.path().join("calls")).expect("a folder can be made");
        let exporter = Exporter::new(&log, &folder.path().join("spool"), Box::new(store), ExportLimits::default());
        let mut exporter = exporter.expect("there is room");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    let began = Instant::now();
                    log.append(&tick);
                    took += began.elapsed();
                    if !stands {
                        // On the exporter's own thread in a server; here in between, and not timed.
                        exporter.step(Instant::now());
                    }
                }
                took
            });
        });
    }
}
