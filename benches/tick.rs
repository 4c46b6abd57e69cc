//! What a tick costs: one event through a chain of operators, and a hop where many sessions share a tick.
//!
//! Measured is [`Core::tick`](rspp::Core::tick), from the door to the effects. Filling the batch and throwing away
//! the timeline are the shell's work, and not timed.

mod chain;

use std::hint::black_box;
use std::time::{Duration, Instant};

use chain::{HOPS, Worker, chain as plan, registry};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Ticks before anything is measured: buffers get their size.
const WARM_UP_TICKS: usize = 10;

criterion_group!(benches, one_event, sessions, shapes);
criterion_main!(benches);

/// One caller's frame through all operators: at most 15 us.
fn one_event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick");
    measure(&mut group, BenchmarkId::from_parameter("one event"), 1, 1);
}

/// A frame for each session of one shape: an element is a hop. At most 100 ns with 100 sessions, 50 ns from 1,000 on.
fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hop by sessions");
    for sessions in [100, 1_000, 10_000] {
        group.throughput(Throughput::Elements((sessions * HOPS) as u64));
        measure(&mut group, BenchmarkId::from_parameter(sessions), 1, sessions);
    }
}

/// A frame for each of 1,000 sessions that have so many shapes between them.
fn shapes(criterion: &mut Criterion) {
    const SESSIONS: usize = 1_000;
    let mut group = criterion.benchmark_group("hop by shapes");
    group.throughput(Throughput::Elements((SESSIONS * HOPS) as u64));
    for shapes in [1, 10, 100] {
        measure(&mut group, BenchmarkId::from_parameter(shapes), shapes, SESSIONS);
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, shapes: usize, sessions: usize) {
    let registry = registry(shapes);
    let plans: Vec<_> = (0..shapes).map(|shape| plan(shape, &registry)).collect();
    let mut worker = Worker::open(registry, &plans, sessions);
    for _ in 0..WARM_UP_TICKS {
        timed_frames(&mut worker);
    }
    group.bench_function(id, |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| timed_frames(&mut worker)).sum());
    });
}

/// A frame of every caller, in as many ticks as it takes.
fn timed_frames(worker: &mut Worker) -> Duration {
    let mut elapsed = Duration::ZERO;
    loop {
        let more = worker.arrive();
        let start = Instant::now();
        worker.tick();
        elapsed += start.elapsed();
        black_box(worker.forget());
        if !more {
            return elapsed;
        }
    }
}
