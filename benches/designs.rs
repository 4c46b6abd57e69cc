//! Why sessions are rows: three ways to run sessions through operators in plain timely, side by side.
//!
//! 1. A dataflow for each session.
//! 2. One dataflow, with sessions as rows in it.
//! 3. The same with what a kernel needs on top: a boxed node for each session at each operator, a control stream to
//!    every operator that runs in a sub-tick ahead of the data, and a fence that compares generations.
//!
//! Eight operators stand in a row, and each session brings a frame of 640 bytes in each round. An element is a frame.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::{InputHandleVec, ProbeHandle, StreamVec};
use timely::worker::Worker;

const HOPS: usize = 8;
const FRAME_SAMPLES: usize = 320;

type Frame = Arc<[i16]>;

criterion_group!(benches, designs);
criterion_main!(benches);

fn designs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame by design");
    for sessions in [1, 100, 1_000] {
        group.throughput(Throughput::Elements(sessions as u64));
        let frames: Vec<Frame> = (0..sessions).map(|_| vec![0; FRAME_SAMPLES].into()).collect();
        let mut dataflows = Dataflows::new(sessions);
        group.bench_function(BenchmarkId::new("a dataflow for each session", sessions), |bencher| {
            bencher.iter(|| dataflows.round(&frames));
        });
        drop(dataflows);
        let mut rows = Rows::new(sessions);
        group.bench_function(BenchmarkId::new("sessions as rows", sessions), |bencher| {
            bencher.iter(|| rows.round(&frames));
        });
        let mut seats = Seats::new(sessions);
        group.bench_function(BenchmarkId::new("rows, nodes, control, fence", sessions), |bencher| {
            bencher.iter(|| seats.round(&frames));
        });
    }
}

fn bare_worker() -> Worker {
    Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None)
}

/// The first design: as many dataflows as sessions.
struct Dataflows {
    worker: Worker,
    sessions: Vec<(InputHandleVec<u64, Frame>, ProbeHandle<u64>)>,
    tick: u64,
}

impl Dataflows {
    fn new(sessions: usize) -> Self {
        let mut worker = bare_worker();
        let sessions = (0..sessions).map(|_| Self::session(&mut worker)).collect();
        Self { worker, sessions, tick: 0 }
    }

    fn session(worker: &mut Worker) -> (InputHandleVec<u64, Frame>, ProbeHandle<u64>) {
        let mut input = InputHandleVec::new();
        let probe = worker.dataflow(|scope| {
            let frames = input.to_stream(scope);
            (0..HOPS).fold(frames, |frames, _| Self::hop(frames)).probe().0
        });
        (input, probe)
    }

    fn hop(frames: StreamVec<'_, u64, Frame>) -> StreamVec<'_, u64, Frame> {
        frames.unary(Pipeline, "hop", |_, _| {
            let mut samples = 0;
            move |input, output| {
                input.for_each(|tick, frames| {
                    samples += frames.iter().map(|frame| frame.len()).sum::<usize>();
                    output.session(&tick).give_container(frames);
                });
            }
        })
    }

    fn round(&mut self, frames: &[Frame]) {
        self.tick += 1;
        for ((input, _), frame) in self.sessions.iter_mut().zip(frames) {
            input.send(Arc::clone(frame));
            input.advance_to(self.tick);
        }
        for (_, probe) in &self.sessions {
            while probe.less_than(&self.tick) {
                self.worker.step();
            }
        }
    }
}

/// The second design: a row names its session, and an operator has a place for each.
struct Rows {
    worker: Worker,
    input: InputHandleVec<u64, (usize, Frame)>,
    probe: ProbeHandle<u64>,
    tick: u64,
}

impl Rows {
    fn new(sessions: usize) -> Self {
        let mut worker = bare_worker();
        let mut input = InputHandleVec::new();
        let probe = worker.dataflow(|scope| {
            let rows = input.to_stream(scope);
            (0..HOPS).fold(rows, |rows, _| Self::hop(rows, sessions)).probe().0
        });
        Self { worker, input, probe, tick: 0 }
    }

    fn hop(rows: StreamVec<'_, u64, (usize, Frame)>, sessions: usize) -> StreamVec<'_, u64, (usize, Frame)> {
        rows.unary(Pipeline, "hop", |_, _| {
            let mut samples = vec![0; sessions];
            move |input, output| {
                input.for_each(|tick, rows| {
                    for (session, frame) in rows.iter() {
                        samples[*session] += frame.len();
                    }
                    output.session(&tick).give_container(rows);
                });
            }
        })
    }

    fn round(&mut self, frames: &[Frame]) {
        let mut rows = frames.iter().cloned().enumerate().collect();
        self.input.send_batch(&mut rows);
        self.tick += 1;
        self.input.advance_to(self.tick);
        while self.probe.less_than(&self.tick) {
            self.worker.step();
        }
    }
}

/// The third design.
struct Seats {
    worker: Worker,
    control: InputHandleVec<u64, Revocation>,
    input: InputHandleVec<u64, Heard>,
    probe: ProbeHandle<u64>,
    generations: Vec<u32>,
    round: u64,
}

/// A session's frame, under the generation in which it was heard.
#[derive(Clone)]
struct Heard {
    session: usize,
    generation: u32,
    frame: Frame,
}

/// From here on a session's rows need this generation.
#[derive(Clone)]
struct Revocation {
    session: usize,
    generation: u32,
}

/// What a session's node does with a frame.
trait Node {
    fn on_frame(&mut self, frame: Frame) -> Frame;
}

struct Count {
    samples: usize,
}

impl Node for Count {
    fn on_frame(&mut self, frame: Frame) -> Frame {
        self.samples += frame.len();
        frame
    }
}

impl Seats {
    fn new(sessions: usize) -> Self {
        let mut worker = bare_worker();
        let (mut control, mut input) = (InputHandleVec::new(), InputHandleVec::new());
        let probe = worker.dataflow(|scope| {
            let revocations = control.to_stream(scope);
            let rows = input.to_stream(scope);
            (0..HOPS).fold(rows, |rows, _| Self::hop(revocations.clone(), rows, sessions)).probe().0
        });
        Self { worker, control, input, probe, generations: vec![0; sessions], round: 0 }
    }

    fn hop<'s>(
        revocations: StreamVec<'s, u64, Revocation>,
        rows: StreamVec<'s, u64, Heard>,
        sessions: usize,
    ) -> StreamVec<'s, u64, Heard> {
        revocations.binary(rows, Pipeline, Pipeline, "hop", |_, _| {
            let mut seats: Vec<(u32, Box<dyn Node>)> =
                (0..sessions).map(|_| (0, Box::new(Count { samples: 0 }) as Box<dyn Node>)).collect();
            move |control, input, output| {
                control.for_each(|_, revocations| {
                    for Revocation { session, generation } in revocations.drain(..) {
                        seats[session].0 = generation;
                    }
                });
                input.for_each(|tick, rows| {
                    let mut session = output.session(&tick);
                    for row in rows.drain(..) {
                        let (generation, node) = &mut seats[row.session];
                        if *generation == row.generation {
                            session.give(Heard { frame: node.on_frame(row.frame), ..row });
                        }
                    }
                });
            }
        })
    }

    /// One session is revoked, then every session brings a frame.
    fn round(&mut self, frames: &[Frame]) {
        let session = self.round as usize % frames.len();
        self.generations[session] += 1;
        self.control.send(Revocation { session, generation: self.generations[session] });
        self.run_to(2 * self.round + 1);
        let rows = frames.iter().zip(&self.generations).enumerate();
        let mut rows = rows
            .map(|(session, (frame, generation))| Heard { session, generation: *generation, frame: Arc::clone(frame) })
            .collect();
        self.input.send_batch(&mut rows);
        self.round += 1;
        self.run_to(2 * self.round);
    }

    fn run_to(&mut self, sub_tick: u64) {
        self.control.advance_to(sub_tick);
        self.input.advance_to(sub_tick);
        while self.probe.less_than(&sub_tick) {
            self.worker.step();
        }
    }
}
