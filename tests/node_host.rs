//! The host of nodes: their life, from start to stop, what becomes of one that does not start, and of one that computes for
//! too long.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use rspp::specs::event::{AudioFrame, Payload, PortType, ProviderResult, Request};
use rspp::specs::ids::{CallRef, InvocationId, PortIndex, Slot};
use rspp::specs::meter::{Meter, Overrun, Stopwatch};
use rspp::specs::outcome::{AbortReason, CancelReason, CancelScope, Cancellation, Outcome};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, SessionOpen, Signal};
use rspp::{Batch, Context, Core, Node, NodeType, Registry, Stop, compile, core};

/// What nodes have said of their lives.
type Diary = Arc<Mutex<Vec<String>>>;

/// Writes down what it lives through.
struct Diarist {
    name: &'static str,
    diary: Diary,
    ready: bool,
    /// It waits for its first call's answer.
    calls: bool,
}

impl Diarist {
    fn write(&self, word: &str) {
        self.diary.lock().expect("nobody panics with it").push(format!("{} {word}", self.name));
    }
}

impl Node for Diarist {
    fn on_start(&mut self, cx: &mut Context<'_>) {
        self.write("starts");
        if self.calls {
            cx.invoke(Request::Speak { text: "are you there".into() });
        }
    }

    fn is_ready(&self) -> bool {
        self.ready
    }

    fn on_stop(&mut self, end: Stop) {
        self.write(&format!("{end:?}"));
    }

    fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
        if let Payload::Text(text) = &payload {
            self.write(text);
        }
        cx.emit(payload);
    }

    fn on_result(&mut self, _: &mut Context<'_>, _: CallRef, result: ProviderResult) {
        self.ready |= matches!(result, ProviderResult::Audio(_));
    }
}

impl Drop for Diarist {
    fn drop(&mut self) {
        self.write("is gone");
    }
}

thread_local! {
    /// What this thread has computed, and what a clock on the wall says.
    static COMPUTED: Cell<u64> = const { Cell::new(0) };
    static WALL: Cell<u64> = const { Cell::new(0) };
}

/// Computes for 30 ms over each `slow`; over `late`, somebody else has the processor for as long.
struct Slow;

impl Node for Slow {
    fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
        let takes = |word: &str| matches!(&payload, Payload::Text(text) if text.contains(word));
        if takes("slow") {
            COMPUTED.set(COMPUTED.get() + 30_000);
        }
        if takes("slow") || takes("late") {
            WALL.set(WALL.get() + 30_000);
        }
        cx.emit(payload);
    }
}

struct Hand;

impl Stopwatch for Hand {
    fn computed(&self) -> Micros {
        Micros(COMPUTED.get())
    }
    fn glance(&self) -> Option<Micros> {
        Some(Micros(WALL.get()))
    }
}

struct Stage {
    core: Core,
    slot: Slot,
    now: Micros,
    diary: Diary,
    log: Vec<Record>,
}

fn registry(diary: &Diary) -> Registry {
    let diarist = |name: &'static str, ready: bool, calls: bool| {
        let diary = Arc::clone(diary);
        NodeType::new(PortType::Text, PortType::Text, move |_| {
            Ok(Box::new(Diarist { name, diary: Arc::clone(&diary), ready, calls }))
        })
    };
    let audio = Arc::clone(diary);
    let audio = NodeType::new(PortType::Audio, PortType::Audio, move |_| {
        Ok(Box::new(Diarist { name: "ear", diary: Arc::clone(&audio), ready: true, calls: false }))
    });
    Registry::new()
        .with("diarist", diarist("node", true, false))
        .with("lazy", diarist("lazy", false, false).paced())
        .with("asking", diarist("asking", false, true).paced().calling_providers())
        .with("ear", audio)
        .with("slow", NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Slow))))
}

impl Stage {
    /// A caller's ear beside an answer that goes through a node of this type.
    fn new(node: &str, more: &str) -> Self {
        let diary = Diary::default();
        let spec = format!(
            "kind: PipelineSpec\nname: hosted\nversion: 1\nnodes:\n  caller: {{type: caller}}\n  ear: {{type: ear}}\n  \
             user_turn: {{type: user_turn}}\n  node: {{type: {node}}}\n  tts: {{type: tts, bind: a}}\n  \
             playout: {{type: playout}}\nedges: [caller -> ear, user_turn -> node, node -> tts, tts -> playout]\n{more}"
        );
        let plan = compile("hosted.yaml", &spec, &registry(&diary)).unwrap_or_else(|findings| panic!("{findings}"));
        // To try a config is to make a node of it, which is gone at once.
        diary.lock().expect("nobody panics with it").clear();
        let mut core = core(registry(&diary)).measured(Meter::new(Box::new(Hand), Micros::from_ms(5)));
        let slot = core.reserve().expect("it is empty");
        let mut stage = Self { core, slot, now: Micros(0), diary, log: Vec::new() };
        stage.give([Input::SessionOpen(Box::new(SessionOpen::new("hosted", Arc::new(plan))))]);
        stage
    }

    /// One tick, all that is derived from it, and the one in which nodes hear of a turn's end.
    fn give(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Record> {
        let (mut batch, mut records) = (Batch::default(), Vec::new());
        for input in inputs {
            batch.push(self.slot, input).expect("they keep to the limits");
        }
        self.core.tick(self.now, &mut batch, &mut records);
        while self.core.has_derived() {
            self.core.tick(self.now, &mut batch, &mut records);
        }
        self.core.tick(self.now, &mut batch, &mut records);
        self.log.extend(records.iter().cloned());
        records
    }

    fn say(&mut self, text: &str) -> Vec<Record> {
        self.give([Input::UserText(text.into())])
    }

    fn at_ms(&mut self, ms: u64) -> Vec<Record> {
        self.now = Micros::from_ms(ms);
        self.give([])
    }

    fn diary(&self) -> Vec<String> {
        std::mem::take(&mut *self.diary.lock().expect("nobody panics with it"))
    }

    fn overruns(&self) -> Vec<Overrun> {
        let mut overruns = Vec::new();
        self.core.hand_over_overruns(&mut overruns);
        overruns
    }
}

fn signals(records: &[Record]) -> Vec<&Signal> {
    let signal = |record| match record {
        &Record { entry: Entry::Signal(_, ref signal), .. } => Some(signal),
        _ => None,
    };
    records.iter().filter_map(signal).collect()
}

fn frame() -> AudioFrame {
    AudioFrame { samples: vec![1; 320].into(), rate_hz: 16_000, spoken_by: None }
}

fn spoken(id: u32) -> [Input; 2] {
    let id = InvocationId(id);
    [ProviderResult::Audio(frame()), ProviderResult::End(Outcome::Success)].map(|result| Input::Provider(id, result))
}

fn aborts(records: &[Record], wanted: AbortReason) -> bool {
    signals(records).into_iter().any(|signal| *signal == Signal::Abort { reason: wanted })
}

#[test]
fn a_node_lives_with_its_turn_or_its_session_and_its_state_goes_with_it() {
    let mut stage = Stage::new("diarist", "");
    assert_eq!(stage.diary(), ["ear starts"]);
    stage.say("hello");
    assert_eq!(stage.diary(), ["node starts", "node hello"]);
    stage.give(spoken(1));
    assert_eq!(stage.diary(), ["node Committed", "node is gone"], "and not only when the next turn opens");
    stage.say("again");
    stage.give([Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel))]);
    assert_eq!(stage.diary(), ["node starts", "node again", "node Revoked", "node is gone"]);
    stage.say("once more");
    let node = stage.core.view(stage.slot).map(|_| rspp::specs::ids::NodeIndex(3)).expect("the session is there");
    let of = CancelScope::Node(node);
    stage.give([Input::Cancel(Cancellation { reason: CancelReason::Policy, of, soft: false })]);
    assert_eq!(stage.diary(), ["node starts", "node once more", "node Cancelled", "node is gone"]);
    stage.give([Input::SessionEnd]);
    assert_eq!(stage.diary(), ["ear SessionOver", "ear is gone"]);
}

#[test]
fn a_node_that_does_not_start_in_time_has_failed() {
    let mut stage = Stage::new("lazy", "turn: {compute: {start_ms: 150}}\n");
    stage.say("hello");
    assert_eq!(stage.diary(), ["ear starts", "lazy starts"], "what comes for it waits");
    assert!(signals(&stage.at_ms(149)).is_empty());
    let records = stage.at_ms(150);
    let late = |signal: &&Signal| matches!(signal, Signal::NodeError { message, .. } if message.contains("150 ms"));
    assert!(signals(&records).iter().any(late), "{records:?}");
    assert!(aborts(&records, AbortReason::NodeTimeoutOrFailure));
    assert_eq!(stage.diary(), ["lazy Revoked", "lazy is gone"]);
}

#[test]
fn a_node_takes_what_waits_once_it_is_ready() {
    let mut stage = Stage::new("asking", "turn: {compute: {start_ms: 150}}\n");
    stage.say("hello");
    assert_eq!(stage.diary(), ["ear starts", "asking starts"]);
    stage.give([Input::Provider(InvocationId(1), ProviderResult::Audio(frame()))]);
    assert_eq!(stage.diary(), ["asking hello"]);
    stage.give([Input::Provider(InvocationId(1), ProviderResult::End(Outcome::Success))]);
    assert!(!aborts(&stage.at_ms(1_000), AbortReason::NodeTimeoutOrFailure), "nobody waits for its start any more");
}

#[test]
fn a_node_that_computes_for_too_long_is_taken_out_and_a_replay_does_the_same() {
    let mut stage = Stage::new("slow", "turn: {compute: {strikes: 2}}\n");
    stage.say("late");
    assert_eq!(stage.overruns(), [], "it was not the node that computed");
    stage.give([Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel))]);
    let mut ended = false;
    for text in ["slow", "slow", "fine"] {
        stage.say(text);
        for Overrun { slot, node, took } in stage.overruns() {
            assert_eq!((slot, took), (stage.slot, Micros::from_ms(30)));
            let overrun = Input::NodeOverrun { node, took };
            stage.give([overrun.clone()]);
            ended |= aborts(&stage.give([overrun]), AbortReason::NodeTimeoutOrFailure);
        }
    }
    assert!(ended, "with the second strike of its turn");
    let mut elsewhere = core(registry(&Diary::default()));
    let slot = elsewhere.reserve().expect("it is empty");
    elsewhere.restore(slot, &stage.log).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_leap_of_the_clock_is_looked_into_and_a_name_is_given_to_what_computes() {
    let mut stage = Stage::new("slow", "");
    stage.say("slow");
    assert_eq!(stage.overruns(), [], "a leap, and nobody has measured whose");
    stage.say("slow");
    let overruns = stage.overruns();
    assert_eq!(overruns.len(), 1, "{overruns:?}");
}

/// A session's node that computes for too long is out for good.
#[test]
fn what_lives_as_long_as_the_session_stays_out() {
    let mut stage = Stage::new("diarist", "turn: {compute: {strikes: 1}}\n");
    let ear = rspp::specs::ids::NodeIndex(2);
    let overrun = || Input::NodeOverrun { node: ear, took: Micros::from_ms(21) };
    assert_eq!(stage.diary(), ["ear starts"]);
    let records = stage.give([overrun()]);
    assert!(signals(&records).iter().any(|signal| matches!(signal, Signal::NodeOverrun { node, .. } if *node == ear)));
    assert_eq!(stage.diary(), ["ear TakenOut", "ear is gone"]);
    stage.give([Input::CallerAudio(frame())]);
    assert_eq!(stage.diary(), [""; 0]);
    assert!(signals(&stage.give([overrun()])).is_empty(), "it computes no more");
    stage.say("hello");
    assert!(!stage.diary().is_empty(), "turns go on");
}
