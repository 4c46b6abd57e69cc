//! What keeping a session's timeline costs the worker (Stage A), and what the codec has to do with it. Whether an exporter
//! that stands still can be felt is measured by `stalled`.
//!
//! Aims: at most 200 ns an event without a payload, and 1 us with 640 bytes of audio, at every level. What is timed is what
//! the worker does: it hands a tick to the log's writer, which has a thread of its own. *To the system* is what it costs
//! where the worker writes by itself.
//!
//! An event's cost holds in a tick that many sessions share. Whatever is in it, a tick costs some microseconds more where the
//! writer sleeps and has to be woken: that is all there is in a tick of one session. A worker has at most 1,000 ticks a second
//! once it has much to do, so this is at most a hundredth or two of its core, and less of what a tick itself costs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use columnar::{Columnar, Len, Push};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rspp::adapters::recording::{LogSize, LogWriterThread, WorkerLog};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::{InvocationId, RuntimeSequence, Slot, TurnId};
use rspp::specs::plan::{Plan, RecordingLevel};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{AckOccasion, Effect, EgressEpoch, Entry, Input, PlayoutAck, Record, SessionOpen, Signal};
use rspp::specs::wire;
use rspp::{Registry, compile};

criterion_group!(benches, stage_a, codecs);
criterion_main!(benches);

const SESSIONS: u32 = 1_000;
/// Long enough that a log is seldom made anew.
const LARGE: LogSize =
    LogSize { segment_bytes: 64 << 20, segments: 12, reserve_bytes: 64 << 20, queue_bytes: 64 << 20 };
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
    writer: Option<LogWriterThread>,
    _folder: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }
}

impl Stage {
    fn new(plan: &Arc<Plan>, sessions: u32, level: RecordingLevel, is_handed: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut log = WorkerLog::create(folder.path(), 0, LARGE).expect("there is room");
        let writer = is_handed.then(|| log.writer().and_then(|writer| writer.spawn(|| ())).expect("there is a thread"));
        let open = |slot: u32| {
            let open =
                SessionOpen { recording: Some(level), ..SessionOpen::new(format!("call-{slot}"), Arc::clone(plan)) };
            record(slot, 1, Entry::Input(RuntimeSequence(1), Input::SessionOpen(Box::new(open))))
        };
        log.append(&(0..sessions).map(open).collect::<Vec<_>>());
        log.flush();
        Self { log, writer, _folder: folder }
    }

    fn is_nearly_full(&self, per_tick: u64) -> bool {
        self.log.free_bytes() < LARGE.reserve_bytes + 4 * per_tick
    }
}

fn stage_a(criterion: &mut Criterion) {
    let (plan, frame) = (plan(), frame());
    for (name, audio) in [("without payload", false), ("with 640 bytes", true)] {
        let mut group = criterion.benchmark_group(format!("stage A, an event {name}"));
        for (level, sessions, is_handed) in cases() {
            let tick: Vec<Record> = (0..sessions)
                .flat_map(|slot| if audio { with_audio(slot, 2, &frame).to_vec() } else { bare(slot, 2).to_vec() })
                .collect();
            group.throughput(Throughput::Elements(tick.len() as u64));
            let how = if is_handed { "" } else { ", to the system" };
            let id = BenchmarkId::new(level.name(), format!("{sessions} sessions{how}"));
            let mut stage = None;
            group.bench_function(id, |bencher| {
                let stage = &mut stage;
                bencher.iter_custom(|rounds| (0..rounds).map(|_| timed(stage, &plan, level, is_handed, &tick)).sum());
            });
        }
    }
}

fn cases() -> Vec<(RecordingLevel, u32, bool)> {
    let handed = |level| [1, 100, SESSIONS].map(|sessions| (level, sessions, true));
    let of = |level| handed(level).into_iter().chain([(level, 1, false), (level, SESSIONS, false)]);
    LEVELS.into_iter().flat_map(of).collect()
}

/// One tick into a log that is made anew, untimed, when it is nearly full: nothing follows it here. The writer is as far as
/// the worker before the next tick, as it is in a server, in which a tick is followed by its effects.
fn timed(
    stage: &mut Option<Stage>,
    plan: &Arc<Plan>,
    level: RecordingLevel,
    is_handed: bool,
    tick: &[Record],
) -> Duration {
    if stage.as_ref().is_none_or(|stage| stage.is_nearly_full(tick.len() as u64 * 1_024)) {
        *stage = None;
        *stage = Some(Stage::new(plan, SESSIONS, level, is_handed));
    }
    let Some(stage) = stage else { return Duration::ZERO };
    let began = Instant::now();
    let place = stage.log.append(tick);
    let took = began.elapsed();
    while !stage.log.is_written(place) {
        std::thread::yield_now();
    }
    assert_eq!(black_box(stage.log.counts()).left_out, 0);
    took
}

// ---- codecs: the same two events, encoded and decoded --------------------------------------------------------------
//
// `abomonation`, the floor, takes `unsafe` and is measured in a workspace of its own, `benches/floor`, beside the wire. It copies
// memory as it lies there, and so does `copying alone`.

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
