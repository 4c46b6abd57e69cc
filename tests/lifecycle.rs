//! Every state of a session and its turn, met by every input that can come from outside: what is said and done, and
//! where it leads. The whole matrix, refusals included, stands in `docs/lifecycle.md`, with the diagram that it draws.
//!
//! `RSPP_UPDATE_GOLDEN=1 cargo test --test lifecycle` writes the page anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use rspp::specs::admission::{AdmissionSnapshot, ConnectionState, Quota};
use rspp::specs::event::{AudioFrame, ProviderResult, Talk};
use rspp::specs::ids::{InvocationId, LeaseEpoch, Slot, TurnId};
use rspp::specs::outcome::{CancelReason, CancelScope, Cancellation, Outcome};
use rspp::specs::plan::{NodeKind, Plan};
use rspp::specs::recording::RecorderReport;
use rspp::specs::time::{Micros, WallReading};
use rspp::specs::timeline::{
    AckOccasion, Entry, Input, Observation, PlayoutAck, Prompt, Record, SessionOpen, Signal, Takeover,
};
use rspp::{Batch, Core, Registry, compile, core};

/// One session in a core of its own.
struct Stage {
    core: Core,
    slot: Slot,
    now: Micros,
    batch: Batch,
}

impl Stage {
    fn new(plan: &Arc<Plan>) -> Self {
        let mut core = core(Registry::new());
        let slot = core.reserve().expect("the core is empty");
        let mut stage = Self { core, slot, now: Micros(0), batch: Batch::default() };
        stage.give(Input::SessionOpen(Box::new(SessionOpen::new("matrix", Arc::clone(plan)))));
        stage
    }

    /// One input, and all that is derived from it.
    fn give(&mut self, input: Input) -> Vec<Record> {
        let mut records = Vec::new();
        self.batch.push(self.slot, input).expect("the inputs of this test keep to the limits");
        self.core.tick(self.now, &mut self.batch, &mut records);
        while self.core.has_derived() {
            self.core.tick(self.now, &mut self.batch, &mut records);
        }
        records
    }

    fn all(mut self, inputs: impl IntoIterator<Item = Input>) -> Self {
        for input in inputs {
            self.give(input);
        }
        self
    }

    /// An answer of 60 ms is out, and has committed; the caller hears it.
    fn play(mut self) -> Self {
        let (model, voice) = (InvocationId(1), InvocationId(2));
        let frame = || AudioFrame { samples: vec![1; 320].into(), rate_hz: 16_000, spoken_by: None };
        self.give(Input::Provider(model, ProviderResult::Text("Yes.".into())));
        self.give(Input::Provider(model, ProviderResult::End(Outcome::Success)));
        for _ in 0..3 {
            self.give(Input::Provider(voice, ProviderResult::Audio(frame())));
        }
        self.give(Input::Provider(voice, ProviderResult::End(Outcome::Success)));
        self.now = Micros::from_ms(20);
        self.core.tick(self.now, &mut self.batch, &mut Vec::new());
        self
    }

    fn state(&self) -> &'static str {
        self.core.view(self.slot).map_or("gone", |view| view.state.name())
    }
}

fn text() -> Input {
    Input::UserText("hello".into())
}

fn onset() -> Input {
    Input::Observed(Observation::Onset { new_utterance: true })
}

fn gone() -> Input {
    Input::Connection(ConnectionState::Disconnected)
}

type State = (&'static str, fn(Stage) -> Stage);

/// The states, and how each is reached.
const STATES: [State; 9] = [
    ("Ready, Idle", |fresh| fresh),
    ("Ready, Active", |fresh| fresh.all([text()])),
    ("Ready, Held", |fresh| fresh.all([text(), onset()])),
    ("Ready, Idle, playing", |fresh| fresh.all([text()]).play()),
    ("Suspended, Idle", |fresh| fresh.all([gone()])),
    ("Suspended, Held", |fresh| fresh.all([text(), gone()])),
    ("Draining, Active", |fresh| fresh.all([text(), Input::SessionDrain])),
    ("Deauthorized, Idle", |fresh| fresh.all([Input::AuthorityRevoked])),
    ("Ended", |fresh| fresh.all([Input::SessionEnd, Input::SessionEnd])),
];

/// The inputs that can come from outside.
fn inputs(plan: &Arc<Plan>) -> Vec<(&'static str, Input)> {
    let ack = |occasion| Input::PlayoutAck(PlayoutAck { turn: TurnId(1), heard_samples: 320, occasion });
    let admission = |quota| {
        Input::Admission(AdmissionSnapshot { version: 1, form: AdmissionSnapshot::FORM, epoch: LeaseEpoch(0), quota })
    };
    let provider = |result| Input::Provider(InvocationId(1), result);
    let cancel = |of, soft| Input::Cancel(Cancellation { reason: CancelReason::UserCancel, of, soft });
    let model = plan.find(|kind| matches!(kind, NodeKind::Llm { .. })).expect("there is a model");
    let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
    vec![
        ("session_open", Input::SessionOpen(Box::new(SessionOpen::new("again", Arc::clone(plan))))),
        ("session_end", Input::SessionEnd),
        ("session_drain", Input::SessionDrain),
        ("cancel", Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel))),
        ("cancel (soft)", cancel(CancelScope::Turn, true)),
        ("cancel (session)", cancel(CancelScope::Session, false)),
        ("cancel (node llm)", cancel(CancelScope::Node(model), false)),
        ("cancel (invocation)", cancel(CancelScope::Invocation(InvocationId(1)), false)),
        ("authority_revoked", Input::AuthorityRevoked),
        ("lease (later)", Input::LeaseRotated(LeaseEpoch(7))),
        ("lease (the same)", Input::LeaseRotated(LeaseEpoch(0))),
        ("recorder (strained)", Input::Recorder(RecorderReport::Strained)),
        ("recorder (no evidence)", Input::Recorder(RecorderReport::NoEvidence)),
        ("stale_epoch", Input::StaleEpoch { epoch: LeaseEpoch(3), input: "user_text".into() }),
        ("admission (available)", admission(Quota::Available)),
        ("admission (exhausted)", admission(Quota::Exhausted)),
        ("admission (shedding)", admission(Quota::Shedding)),
        ("dispatch_refused", Input::DispatchRefused(InvocationId(1))),
        ("wall_clock", Input::WallClock(WallReading { unix_us: 1_700_000_000_000_000, at: Micros(0) })),
        ("node_overrun (llm)", Input::NodeOverrun { node: model, took: Micros::from_ms(50) }),
        ("node_overrun (within its slice)", Input::NodeOverrun { node: model, took: Micros::from_ms(20) }),
        ("takeover", Input::Takeover(Takeover { epoch: LeaseEpoch(7), lost: [InvocationId(1)].into() })),
        ("connection (disconnected)", Input::Connection(ConnectionState::Disconnected)),
        ("connection (stalled)", Input::Connection(ConnectionState::Stalled)),
        ("connection (silent)", Input::Connection(ConnectionState::Silent)),
        ("connection (connected)", Input::Connection(ConnectionState::Connected)),
        ("transport_lost", Input::TransportLost),
        ("provider_health (sick)", Input::ProviderHealth { binding: "scripted".into(), healthy: false }),
        ("playout_ack (started)", ack(AckOccasion::Started)),
        ("playout_ack (drained)", ack(AckOccasion::Drained)),
        ("playout_ack (cleared)", ack(AckOccasion::Cleared)),
        ("observed (onset)", onset()),
        ("observed (words)", Input::Observed(Observation::Words)),
        ("observed (sustained)", Input::Observed(Observation::Sustained)),
        ("observed (pause)", Input::Observed(Observation::Pause)),
        ("observed (backchannel)", Input::Observed(Observation::Backchannel)),
        ("audio", Input::CallerAudio(frame)),
        ("talk (press)", Input::Talk(Talk::Press)),
        ("talk (release)", Input::Talk(Talk::Release)),
        ("user_text", text()),
        ("prompt (say)", Input::Prompt(Prompt::Say("Hello.".into()))),
        ("prompt (ask)", Input::Prompt(Prompt::Ask("Greet the caller.".into()))),
        ("provider (text)", provider(ProviderResult::Text("Yes.".into()))),
        ("provider (end, success)", provider(ProviderResult::End(Outcome::Success))),
        ("provider (end, failed)", provider(ProviderResult::End(Outcome::Failed))),
    ]
}

/// What was said and done, in order; what entered in between stands in brackets.
fn shown(records: &[Record]) -> String {
    let names = records.iter().skip(1).filter_map(|record| match &record.entry {
        Entry::Input(_, input) => Some(format!("[{}]", input.name())),
        Entry::Signal(_, signal) => Some(signal.name().to_owned()),
        Entry::Effect(effect) => match effect.lane_and_name().1 {
            "wake_at" => None,
            name => Some(format!("*{name}*")),
        },
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn page() -> String {
    let spec = include_str!("golden/scripted.yaml");
    let plan = Arc::new(compile("scripted.yaml", spec, &Registry::new()).expect("the spec of the golden traces"));
    let mut tables = String::new();
    let mut ways: BTreeSet<(&str, &str, &str)> = BTreeSet::new();
    for (state, reach) in STATES {
        writeln!(tables, "\n## {state}\n\n| input | says and does, in order | state |\n| --- | --- | --- |")
            .expect("a string");
        for (name, input) in inputs(&plan) {
            let mut stage = reach(Stage::new(&plan));
            // The state of a tick that is over is what the next one begins with.
            let before = if stage.state() == "closed" { "idle" } else { stage.state() };
            let records = stage.give(input);
            let after = stage.state();
            if before != after {
                ways.insert((before, after, name));
            }
            writeln!(tables, "| {name} | {} | {after} |", shown(&records)).expect("a string");
        }
    }
    let mut ends = String::new();
    for (names, records) in both_in_one_tick(&plan) {
        writeln!(ends, "| {names} | {} |", shown(&records)).expect("a string");
    }
    let mut diagram = String::new();
    let pairs: BTreeSet<(&str, &str)> = ways.iter().map(|(from, to, _)| (*from, *to)).collect();
    for (from, to) in pairs {
        let by: Vec<&str> = ways.iter().filter(|way| (way.0, way.1) == (from, to)).map(|way| way.2).collect();
        writeln!(diagram, "    {from} --> {to}: {}", by.join(", ")).expect("a string");
    }
    format!("{HEAD}\n```mermaid\nstateDiagram-v2\n{diagram}```\n{tables}\n{ENDS}{ends}")
}

/// What would end the turn, two at a time, in one tick and in both orders.
fn both_in_one_tick(plan: &Arc<Plan>) -> Vec<(String, Vec<Record>)> {
    let ends = [
        ("authority_revoked", Input::AuthorityRevoked),
        ("cancel", Input::Cancel(Cancellation::of_turn(CancelReason::UserCancel))),
        ("session_end", Input::SessionEnd),
        ("transport_lost", Input::TransportLost),
    ];
    let pairs = ends.iter().flat_map(|first| ends.iter().map(move |second| (first, second)));
    let pairs = pairs.filter(|(first, second)| first.0 != second.0);
    let met = pairs.map(|(first, second)| {
        let mut stage = Stage::new(plan).all([text()]);
        stage.batch.push(stage.slot, first.1.clone()).expect("control always fits");
        (format!("{}, {}", first.0, second.0), stage.give(second.1.clone()))
    });
    met.collect()
}

const ENDS: &str = "## Two ends in one tick\n\n\
    Authority loss wins over a cancellation, that over a failure, and that over the loss of the transport, whichever came \
    first. There is\none terminal, then `close`.\n\n| both come in | says and does, in order |\n| --- | --- |\n";

const HEAD: &str = "# Lifecycle\n\n\
    Every state of a session and its turn, met by every input that can come from outside. The page is written by \
    `tests/lifecycle.rs`\nfrom what the core does, and a test keeps it so. Effects stand in *italics*; what the core \
    derived and took up in its next ticks, in\n[brackets]. `refused` changes nothing and names both the state and the \
    input. `closed` is the state of the tick in which a turn ended;\nthe next tick finds `idle`. `gone`: the session \
    has ended, and its slot is free.\n";

#[test]
fn every_state_has_its_answer_to_every_input() {
    let (path, page) = (concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lifecycle.md"), page());
    if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &page).expect("the docs can be written");
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(golden, page, "docs/lifecycle.md is stale: RSPP_UPDATE_GOLDEN=1 cargo test --test lifecycle");
}

#[test]
fn an_answer_begins_to_be_heard_once() {
    let spec = include_str!("golden/scripted.yaml");
    let plan = compile("scripted.yaml", spec, &Registry::new()).expect("the spec of the golden traces");
    let mut stage = Stage::new(&Arc::new(plan)).all([text()]).play();
    let mut started = 0;
    for _ in 0..2 {
        let heard = PlayoutAck { turn: TurnId(1), heard_samples: 0, occasion: AckOccasion::Started };
        let records = stage.give(Input::PlayoutAck(heard));
        started += records.iter().filter(|it| matches!(it.entry, Entry::Signal(_, Signal::PlaybackStarted))).count();
    }
    assert_eq!(started, 1);
}
