//! How fast a caller is obeyed when the worker is loaded: 1,000 sessions on one core, each with 50 frames a second each
//! way, all of them being spoken to.
//!
//! Two threads: the worker, which ticks the core as a shell does, and the world, which brings frames, detectors' decisions
//! and providers' results at their time by the clock on the wall. Detectors' decisions are fed in, so that the kernel is
//! measured and not a detector. Each caller interrupts every few seconds, with words, and then asks the next question.
//!
//! Printed are percentiles of
//!
//! - *fence*: from the moment at which the detector's word is handed over until the tick is over that fences the answer;
//!   on the way stand the queue, the tick that is under way, a hold, and the confirmation;
//! - *turn open*: from the moment at which the question is handed over until the tick is over that opens its turn;
//! - *accepted to fenced*: the length of the tick in which the cancellation is accepted, which is the one that fences;
//! - *the machine*: how much later than asked for the world's thread wakes up, in the same run.

use std::collections::BinaryHeap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rspp::specs::event::{AudioFrame, ProviderResult, Request};
use rspp::specs::ids::{InvocationId, Slot, TurnId};
use rspp::specs::limits::FRAME_MS;
use rspp::specs::outcome::Outcome;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, Entry, Input, Observation, Record, SessionOpen, Signal};
use rspp::{Batch, Core, Registry, compile, core};
use rspp_engine::NotTaken;

const SESSIONS: u32 = 1_000;
/// Until every caller has been spoken to; not measured.
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(15);
/// From one interruption of a caller to the next.
const INTERRUPTS_EVERY: Duration = Duration::from_secs(5);
/// From an interruption to the next question.
const ASKS_AFTER: Duration = Duration::from_millis(100);
/// Audio comes from the voice in pieces of so many frames, each as long as it plays.
const VOICE_FRAMES: u64 = 25;
/// What may wait between the threads.
const QUEUE: usize = 65_536;

/// The assistant, with a button in the place of a detector: nobody listens to the frames.
const SPEC: &str = "\
kind: PipelineSpec
name: loaded
version: 1
template: voice-assistant
bind: {stt: none, llm: model, tts: voice}
nodes: {vad: {type: vad, detector: push_to_talk}}
";

fn main() {
    let (to_worker, inbox) = bounded(QUEUE);
    let (to_world, orders) = bounded(QUEUE);
    let start = Instant::now();
    let mut worker = Worker::new(start);
    let slots = worker.open();
    let (over, report) = std::thread::scope(|scope| {
        let world = scope.spawn(move || World::new(start, &slots).run(&to_worker, &orders));
        let report = worker.run(inbox, &to_world);
        (world.join().expect("the world does not panic"), report)
    });
    std::io::stdout().write_all(report.shown(over).as_bytes()).expect("what it measured can be printed");
    assert_eq!(report.outputs_after_fence, 0, "a fenced answer was heard");
}

/// What the world hands to the worker, and when.
struct Message {
    slot: Slot,
    input: Input,
    sent_at: Instant,
}

/// What the worker asks of the world.
enum Ask {
    Invoke(Slot, InvocationId, Request),
    Cancel(Slot, InvocationId),
}

/// The shell of one core.
struct Worker {
    core: Core,
    start: Instant,
    batch: Batch,
    records: Vec<Record>,
    /// When the last word and the last question of each session were handed over.
    asked: Vec<Pending>,
    report: Report,
}

#[derive(Clone, Copy, Default)]
struct Pending {
    words: Option<Instant>,
    question: Option<Instant>,
    fenced: Option<TurnId>,
}

#[derive(Default)]
struct Report {
    fence: Vec<Duration>,
    open: Vec<Duration>,
    fencing_tick: Vec<Duration>,
    busy: Duration,
    ticks: u64,
    inputs: u64,
    frames_out: u64,
    outputs_after_fence: u64,
}

impl Worker {
    fn new(start: Instant) -> Self {
        Self {
            core: core(Registry::new()),
            start,
            batch: Batch::default(),
            records: Vec::new(),
            asked: vec![Pending::default(); SESSIONS as usize],
            report: Report::default(),
        }
    }

    fn open(&mut self) -> Vec<Slot> {
        let plan = Arc::new(compile("loaded.yaml", SPEC, &Registry::new()).expect("the spec is right"));
        let slots: Vec<Slot> = (0..SESSIONS).map(|_| self.core.reserve().expect("there is room")).collect();
        for slot in &slots {
            let open = SessionOpen::new(format!("call-{}", slot.0), Arc::clone(&plan));
            self.batch.push(*slot, Input::SessionOpen(Box::new(open))).expect("control always fits");
        }
        self.core.tick(Micros(0), &mut self.batch, &mut self.records);
        self.records.clear();
        slots
    }

    /// Until the time is over; then nobody takes messages any more, and the world ends, too.
    fn run(mut self, inbox: Receiver<Message>, world: &Sender<Ask>) -> Report {
        let end = self.start + WARM_UP + MEASURED;
        let mut late: Option<Message> = None;
        while Instant::now() < end {
            let deadline = self.core.next_deadline(self.now()).map(|at| self.start + Duration::from_micros(at.0));
            let first = late.take().or_else(|| match deadline {
                Some(deadline) => inbox.recv_deadline(deadline.min(end)).ok(),
                None => inbox.recv_deadline(end).ok(),
            });
            late = first.into_iter().chain(inbox.try_iter()).find_map(|message| self.take(message));
            self.tick(world);
        }
        drop(inbox);
        self.report
    }

    fn now(&self) -> Micros {
        Micros(self.start.elapsed().as_micros() as u64)
    }

    /// Puts a message into the next tick; gives it back if that is full.
    fn take(&mut self, message: Message) -> Option<Message> {
        let Message { slot, input, sent_at } = message;
        let asked = &mut self.asked[slot.0 as usize];
        match &input {
            Input::Observed(Observation::Words) => asked.words = Some(sent_at),
            Input::UserText(_) => asked.question = Some(sent_at),
            _ => {}
        }
        match self.batch.push(slot, input) {
            Ok(()) => {
                self.report.inputs += 1;
                None
            }
            Err(NotTaken::Full { slot, input }) => Some(Message { slot, input: *input, sent_at }),
            Err(refused) => panic!("{refused}"),
        }
    }

    fn tick(&mut self, world: &Sender<Ask>) {
        let begun = Instant::now();
        let now = self.now();
        self.core.tick(now, &mut self.batch, &mut self.records);
        let ended = Instant::now();
        let measured = begun > self.start + WARM_UP;
        if measured {
            self.report.busy += ended - begun;
            self.report.ticks += 1;
        }
        for record in std::mem::take(&mut self.records) {
            self.note(record, begun, ended, measured, world);
        }
    }

    fn note(&mut self, record: Record, begun: Instant, ended: Instant, measured: bool, world: &Sender<Ask>) {
        let slot = record.slot;
        let asked = &mut self.asked[slot.0 as usize];
        let report = &mut self.report;
        match record.entry {
            Entry::Signal(Some(turn), Signal::FenceApplied { .. }) => {
                asked.fenced = Some(turn);
                if let Some(sent_at) = asked.words.take().filter(|_| measured) {
                    report.fence.push(ended - sent_at);
                    report.fencing_tick.push(ended - begun);
                }
            }
            Entry::Signal(Some(_), Signal::TurnOpen { .. }) => {
                if let Some(sent_at) = asked.question.take().filter(|_| measured) {
                    report.open.push(ended - sent_at);
                }
            }
            Entry::Effect(Effect::Transmit { turn, .. }) => {
                report.frames_out += u64::from(measured);
                report.outputs_after_fence += u64::from(asked.fenced.is_some_and(|fenced| turn <= fenced));
            }
            Entry::Effect(Effect::Invoke { id, request, .. }) => {
                world.send(Ask::Invoke(slot, id, request)).expect("the world listens as long as the worker runs");
            }
            Entry::Effect(Effect::CancelInvocation { id }) => {
                world.send(Ask::Cancel(slot, id)).expect("the world listens as long as the worker runs");
            }
            _ => {}
        }
    }
}

/// Callers, detectors and providers.
struct World {
    start: Instant,
    due: BinaryHeap<std::cmp::Reverse<(Instant, u64, Event)>>,
    /// The voice's invocation that each session listens to.
    speaking: Vec<Option<InvocationId>>,
    order: u64,
    oversleep: Vec<Duration>,
    silence: AudioFrame,
}

/// What happens in the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Frame(Slot),
    Interrupt(Slot),
    Ask(Slot),
    Voice(Slot, InvocationId),
}

impl World {
    fn new(start: Instant, slots: &[Slot]) -> Self {
        let silence = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
        let speaking = vec![None; slots.len()];
        let mut world = Self { start, due: BinaryHeap::new(), speaking, order: 0, oversleep: Vec::new(), silence };
        for slot in slots {
            // Callers are spread evenly over every period.
            let of = |period: Duration| start + period * slot.0 / SESSIONS;
            world.put(of(Duration::from_millis(FRAME_MS)), Event::Frame(*slot));
            world.put(of(Duration::from_secs(2)), Event::Ask(*slot));
            world.put(of(INTERRUPTS_EVERY) + Duration::from_secs(2), Event::Interrupt(*slot));
        }
        world
    }

    fn put(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.due.push(std::cmp::Reverse((at, self.order, event)));
    }

    /// Until the worker is gone. Gives how much later than asked for it woke up, each time.
    fn run(mut self, worker: &Sender<Message>, orders: &Receiver<Ask>) -> Vec<Duration> {
        loop {
            while let Ok(ask) = orders.try_recv() {
                if !self.answer(&ask, worker) {
                    return self.oversleep;
                }
            }
            let Some(std::cmp::Reverse((at, _, event))) = self.due.pop() else { return self.oversleep };
            let now = Instant::now();
            if at > now {
                std::thread::sleep(at - now);
                if at > self.start + WARM_UP {
                    self.oversleep.push(Instant::now() - at);
                }
            }
            if !self.happen(at, event, worker) {
                return self.oversleep;
            }
        }
    }

    /// Answers the worker; `false` when nobody is there any more.
    fn answer(&mut self, ask: &Ask, worker: &Sender<Message>) -> bool {
        match *ask {
            Ask::Invoke(slot, id, Request::Chat { .. }) => {
                let text = ProviderResult::Text("It is a long story, and I will tell you all of it.".into());
                send(worker, slot, Input::Provider(id, text))
                    && send(worker, slot, Input::Provider(id, ProviderResult::End(Outcome::Success)))
            }
            Ask::Invoke(slot, id, Request::Speak { .. }) => {
                self.speaking[slot.0 as usize] = Some(id);
                self.put(Instant::now(), Event::Voice(slot, id));
                true
            }
            Ask::Cancel(slot, id) => {
                self.speaking[slot.0 as usize].take_if(|speaking| *speaking == id);
                true
            }
            Ask::Invoke(..) => true,
        }
    }

    fn happen(&mut self, at: Instant, event: Event, worker: &Sender<Message>) -> bool {
        match event {
            Event::Frame(slot) => {
                self.put(at + Duration::from_millis(FRAME_MS), event);
                send(worker, slot, Input::CallerAudio(self.silence.clone()))
            }
            Event::Interrupt(slot) => {
                self.put(at + INTERRUPTS_EVERY, event);
                self.put(at + ASKS_AFTER, Event::Ask(slot));
                send(worker, slot, Input::Observed(Observation::Onset { new_utterance: true }))
                    && send(worker, slot, Input::Observed(Observation::Words))
            }
            Event::Ask(slot) => {
                // The caller has stopped speaking by now.
                send(worker, slot, Input::Observed(Observation::Pause))
                    && send(worker, slot, Input::UserText("and then".into()))
            }
            Event::Voice(slot, id) if self.speaking[slot.0 as usize] == Some(id) => {
                self.put(at + Duration::from_millis(FRAME_MS) * VOICE_FRAMES as u32, event);
                let frame = || Input::Provider(id, ProviderResult::Audio(self.silence.clone()));
                (0..VOICE_FRAMES).all(|_| send(worker, slot, frame()))
            }
            Event::Voice(..) => true,
        }
    }
}

fn send(worker: &Sender<Message>, slot: Slot, input: Input) -> bool {
    worker.send(Message { slot, input, sent_at: Instant::now() }).is_ok()
}

impl Report {
    fn shown(&self, oversleep: Vec<Duration>) -> String {
        let seconds = MEASURED.as_secs_f64();
        let lines = [
            format!("{SESSIONS} sessions, {seconds:.0} s measured after {:.0} s", WARM_UP.as_secs_f64()),
            format!(
                "{:.0} inputs and {:.0} frames out a second; {:.0} ticks a second, the worker busy for {:.0}% of the time",
                self.inputs as f64 / (WARM_UP + MEASURED).as_secs_f64(),
                self.frames_out as f64 / seconds,
                self.ticks as f64 / seconds,
                100.0 * self.busy.as_secs_f64() / seconds
            ),
            String::new(),
            format!("{:<22} {:>7} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "count", "p50", "p95", "p99", "most"),
            line("fence", self.fence.clone()),
            line("turn open", self.open.clone()),
            line("accepted to fenced", self.fencing_tick.clone()),
            line("the machine", oversleep),
            String::new(),
            format!("outputs after the fence: {}\n", self.outputs_after_fence),
        ];
        lines.join("\n")
    }
}

fn line(name: &str, mut values: Vec<Duration>) -> String {
    values.sort_unstable();
    let at = |share: f64| {
        let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
        values.get(place).map_or(f64::NAN, |value| value.as_secs_f64() * 1_000.0)
    };
    let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(at);
    format!("{name:<22} {:>7} {p50:>9.3} {p95:>9.3} {p99:>9.3} {most:>9.3}", values.len())
}
