//! What a session costs in memory: the kernel's own state of it, and what a tick allocates once all is running.
//!
//! Bytes are those asked of the allocator while sessions begin and not given back, divided by their number. Audio is
//! not in them: it belongs to the buffers that a spec declares (pre-roll, playout), and the frames here are all the
//! same one.

#![allow(clippy::print_stdout, reason = "a bench says what it measured")]

mod chain;

use std::sync::Arc;

use allocation_counter::measure;
use chain::{Worker, chain as chain_plan, registry};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::Slot;
use rspp::specs::plan::Plan;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Input, SessionOpen};
use rspp::{Batch, Core, NotTaken, Registry, compile, core};

/// Kernel state of a session, apart from declared buffers: what it may be.
const MAX_SESSION_KIB: f64 = 16.0;
/// Frames after which a session's pre-roll is full: from there on nothing should be allocated.
const WARM_UP_TICKS: usize = 50;
/// Ticks over which allocations are counted.
const COUNTED_TICKS: u64 = 50;

fn main() {
    println!("kernel state of a voice-assistant session, at most {MAX_SESSION_KIB} KiB:");
    for sessions in [1_000, 10_000] {
        for detector in ["energy", "earshot"] {
            let State { open, heard } = state_of(detector, sessions);
            println!("{sessions:6} sessions, {detector:>7}: open {open:.2} KiB, after the first frame {heard:.2} KiB");
            assert!(heard <= MAX_SESSION_KIB, "a session takes more than it may");
        }
    }
    println!("allocations in a tick that brings each session a frame:");
    for sessions in [1, 100, 1_000] {
        let registry = registry(1);
        let plan = chain_plan(0, &registry);
        println!("{sessions:6} sessions, chain of 8: {}", allocations(Worker::open(registry, &[plan], sessions)));
        let plan = voice_assistant("energy");
        let worker = Worker::open(Registry::new(), &[plan], sessions);
        println!("{sessions:6} sessions, voice assistant in silence: {}", allocations(worker));
    }
}

/// KiB a session, once it is open and once it has heard a frame: nodes are made when their first event comes.
struct State {
    open: f64,
    heard: f64,
}

fn state_of(detector: &str, sessions: usize) -> State {
    let plan = voice_assistant(detector);
    let mut core = core(Registry::new());
    // The first session brings the dataflow of its shape, which all others share.
    let first = open(&mut core, &plan, 1);
    hear(&mut core, &first);

    let mut slots = Vec::new();
    let opened = measure(|| slots = open(&mut core, &plan, sessions)).bytes_current;
    let heard = measure(|| hear(&mut core, &slots)).bytes_current;
    let share = |bytes: i64| bytes as f64 / 1024.0 / sessions as f64;
    State { open: share(opened), heard: share(opened + heard) }
}

fn voice_assistant(detector: &str) -> Arc<Plan> {
    let spec = format!(
        "kind: PipelineSpec\nname: assistant\nversion: 1\ntemplate: voice-assistant\n\
         bind: {{stt: scripted, llm: scripted, tts: scripted}}\n\
         nodes:\n  vad: {{type: vad, detector: {detector}}}\n"
    );
    Arc::new(compile("assistant.yaml", &spec, &Registry::new()).expect("the spec is complete"))
}

/// Opens sessions. The batch and the timeline are the shell's, and gone when this returns.
fn open(core: &mut Core, plan: &Arc<Plan>, sessions: usize) -> Vec<Slot> {
    let slots: Vec<Slot> = (0..sessions).map_while(|_| core.reserve()).collect();
    let inputs = slots.iter().map(|slot| {
        let (session, plan) = (format!("session-{slot}"), Arc::clone(plan));
        (*slot, Input::SessionOpen(Box::new(SessionOpen::new(session, plan))))
    });
    tick(core, Micros(0), inputs);
    slots
}

/// Every caller's first frame.
fn hear(core: &mut Core, slots: &[Slot]) {
    let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
    tick(core, Micros::from_ms(20), slots.iter().map(|slot| (*slot, Input::CallerAudio(frame.clone()))));
}

/// What comes at one time, in as many ticks as it takes.
fn tick(core: &mut Core, now: Micros, inputs: impl Iterator<Item = (Slot, Input)>) {
    let mut batch = Batch::default();
    for (slot, input) in inputs {
        match batch.push(slot, input) {
            Ok(()) => {}
            Err(NotTaken::Full { slot, input }) => {
                core.tick(now, &mut batch, &mut Vec::new());
                batch.push(slot, *input).expect("a new tick has room");
            }
            Err(refused) => panic!("{refused}"),
        }
    }
    core.tick(now, &mut batch, &mut Vec::new());
}

/// Allocations a tick, once buffers have their size.
fn allocations(mut worker: Worker) -> String {
    for _ in 0..WARM_UP_TICKS {
        worker.arrive();
        worker.tick();
        worker.forget();
    }
    let (mut count, mut bytes) = (0, 0);
    for _ in 0..COUNTED_TICKS {
        worker.arrive();
        let counted = measure(|| worker.tick());
        count += counted.count_total;
        bytes += counted.bytes_total;
        worker.forget();
    }
    format!("{} allocations, {} bytes", count / COUNTED_TICKS, bytes / COUNTED_TICKS)
}
