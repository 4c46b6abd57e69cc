//! What the benches run: a chain of nodes that pass audio on, and a worker with sessions of such chains.

use std::fmt::Write as _;
use std::sync::Arc;

use rspp::specs::event::{AudioFrame, Payload, PortType};
use rspp::specs::ids::{PortIndex, Slot};
use rspp::specs::plan::Plan;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Input, Record, SessionOpen};
use rspp::{Batch, Context, Core, Node, NodeType, Registry, compile, core};

/// Operators of a chain.
pub(crate) const HOPS: usize = 8;
/// A frame of 640 bytes: 20 ms at 16 kHz.
const FRAME_SAMPLES: usize = 320;
/// Time from tick to tick.
const TICK: Micros = Micros::from_ms(20);

/// The smallest node there is: what it costs is what a hop costs.
struct Pass;

impl Node for Pass {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.emit(payload);
    }
}

/// Node types that differ in nothing but their names. Plans of different types have different shapes.
pub(crate) fn registry(shapes: usize) -> Registry {
    (0..shapes).fold(Registry::new(), |registry, shape| {
        let pass = NodeType::new(PortType::Audio, PortType::Audio, |_| Ok(Box::new(Pass)));
        registry.with(&format!("pass{shape}"), pass)
    })
}

/// From the caller through [`HOPS`] nodes of one type; nobody listens to the last.
pub(crate) fn chain(shape: usize, registry: &Registry) -> Arc<Plan> {
    let mut spec = format!("kind: PipelineSpec\nname: chain{shape}\nversion: 1\nnodes:\n  caller: {{type: caller}}\n");
    for hop in 0..HOPS {
        writeln!(spec, "  hop{hop}: {{type: pass{shape}}}").expect("a string takes all that is written to it");
    }
    spec.push_str("edges:\n  - caller -> hop0\n");
    for hop in 1..HOPS {
        writeln!(spec, "  - hop{} -> hop{hop}", hop - 1).expect("a string takes all that is written to it");
    }
    Arc::new(compile("chain.yaml", &spec, registry).expect("the chain is a complete spec"))
}

/// A core with its sessions, and a frame of each caller.
pub(crate) struct Worker {
    core: Core,
    now: Micros,
    batch: Batch,
    timeline: Vec<Record>,
    callers: Vec<(Slot, AudioFrame)>,
    /// Callers whose frame is there and did not fit into a tick yet.
    waiting: usize,
}

impl Worker {
    /// Opens so many sessions, in turn of each of the plans.
    pub(crate) fn open(registry: Registry, plans: &[Arc<Plan>], sessions: usize) -> Self {
        let mut worker = Self {
            core: core(registry),
            now: Micros(0),
            batch: Batch::default(),
            timeline: Vec::new(),
            callers: Vec::new(),
            waiting: 0,
        };
        for (session, plan) in plans.iter().cycle().take(sessions).enumerate() {
            let slot = worker.core.reserve().expect("a worker takes more sessions than a bench has");
            let open = SessionOpen::new(format!("session-{session}"), Arc::clone(plan));
            worker.batch.push(slot, Input::SessionOpen(Box::new(open))).expect("control always fits");
            let samples = vec![0; FRAME_SAMPLES].into();
            worker.callers.push((slot, AudioFrame { samples, rate_hz: 16_000, spoken_by: None }));
        }
        worker.tick();
        worker.forget();
        worker
    }

    /// Every caller's next frame is there, and goes into the batch, as many as a tick takes: what the shell does before a
    /// tick. Gives whether some have to wait for the next.
    pub(crate) fn arrive(&mut self) -> bool {
        if self.waiting == 0 {
            self.now = self.now + TICK;
            self.waiting = self.callers.len();
        }
        while self.waiting > 0 {
            let (slot, frame) = self.callers[self.callers.len() - self.waiting].clone();
            if self.batch.push(slot, Input::CallerAudio(frame)).is_err() {
                return true;
            }
            self.waiting -= 1;
        }
        false
    }

    /// One tick.
    pub(crate) fn tick(&mut self) {
        self.core.tick(self.now, &mut self.batch, &mut self.timeline);
    }

    /// What the shell does after a tick, once the timeline is written. Gives its length.
    pub(crate) fn forget(&mut self) -> usize {
        let length = self.timeline.len();
        self.timeline.clear();
        length
    }
}
