//! Sessions that share a core know nothing of each other: each one's timeline is what it is alone.

use std::path::Path;
use std::sync::Arc;

use rspp::adapters::drive::{Peers, Schedule};
use rspp::adapters::scenario::Scenario;
use rspp::adapters::scripted::ScriptedPeers;
use rspp::specs::buffer::Dropped;
use rspp::specs::dataflow::Directive;
use rspp::specs::event::{Payload, PortType};
use rspp::specs::ids::{PortIndex, Scope, Slot};
use rspp::specs::outcome::AbortReason;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Record, Signal};
use rspp::trace::read_plan;
use rspp::{Batch, Context, Core, Node, NodeType, Registry, compile};

struct Session {
    slot: Slot,
    until: Micros,
    schedule: Schedule,
    peers: ScriptedPeers,
    timeline: Vec<Record>,
}

fn scenario(name: &str) -> (Scenario, Arc<rspp::specs::plan::Plan>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("yaml");
    let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let plan = read_plan(&scenario.spec_path(&path), &registry()).unwrap_or_else(|error| panic!("{error}"));
    (scenario, plan)
}

fn registry() -> Registry {
    Registry::new()
        .with("fragile", NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Fragile))))
        .with("brittle", NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Brittle))))
}

/// Runs scenarios in one core, each on a slot of its own, and gives each one's timeline.
fn run_together(names: &[&str]) -> Vec<Vec<Record>> {
    let mut core = rspp::core(registry());
    let mut sessions: Vec<Session> = names.iter().map(|name| begin(&mut core, &scenario(name))).collect();
    hold(&mut core, &mut sessions);
    sessions.into_iter().map(|session| session.timeline).collect()
}

fn begin(core: &mut Core, (scenario, plan): &(Scenario, Arc<rspp::specs::plan::Plan>)) -> Session {
    Session {
        slot: core.reserve().expect("there is room"),
        until: Micros::from_ms(scenario.until_ms),
        schedule: scenario.schedule(plan).unwrap_or_else(|error| panic!("{error}")),
        peers: ScriptedPeers::new(scenario.providers.clone(), scenario.transport),
        timeline: Vec::new(),
    }
}

/// Holds all sessions until the last of their scenarios is over; of each, what happened within its own.
fn hold(core: &mut Core, sessions: &mut [Session]) {
    let over = sessions.iter().map(|session| session.until).max().expect("there are sessions");
    let mut now = Micros(0);
    let mut records = Vec::new();
    let mut batch = Batch::default();
    loop {
        let scheduled = sessions.iter().filter_map(|session| session.schedule.next_at());
        let Some(at) = scheduled.chain(core.next_deadline(now)).min().filter(|at| *at <= over) else { return };
        now = now.max(at);
        if !core.has_derived() {
            for session in sessions.iter_mut() {
                while let Some(input) = session.schedule.pop_until(now) {
                    batch.push(session.slot, input).expect("the scenarios bring less than a tick takes");
                }
            }
        }
        core.tick(now, &mut batch, &mut records);
        for record in records.drain(..) {
            let session = sessions.iter_mut().find(|session| session.slot == record.slot).expect("it has a slot");
            if now > session.until {
                continue;
            }
            if let Entry::Effect(effect) = &record.entry {
                session.peers.perform(now, effect, &mut session.schedule).unwrap_or_else(|error| panic!("{error}"));
            }
            session.timeline.push(Record { slot: Slot(0), ..record });
        }
    }
}

#[test]
fn a_timeline_does_not_depend_on_who_shares_the_core() {
    let names = ["interruption", "plain-call", "false-interruption", "interruption", "branches", "tool-committed"];
    let together = run_together(&names);
    for (name, shared) in names.iter().zip(together) {
        let alone = run_together(&[name]).remove(0);
        assert_eq!(alone.len(), shared.len(), "{name}");
        for (alone, shared) in alone.iter().zip(&shared) {
            assert_eq!(alone, shared, "{name}");
        }
    }
}

#[test]
fn who_had_the_slot_before_leaves_no_trace() {
    let mut core = rspp::core(registry());
    let mut before = [begin(&mut core, &scenario("session-end"))];
    hold(&mut core, &mut before);
    let mut records = Vec::new();
    core.tick(before[0].until, &mut Batch::default(), &mut records);
    let mut after = [begin(&mut core, &scenario("interruption"))];
    assert_eq!(after[0].slot, before[0].slot);
    hold(&mut core, &mut after);
    assert_eq!(after[0].timeline, run_together(&["interruption"]).remove(0));
}

/// A node that can't bear one word.
struct Fragile;

impl Node for Fragile {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        if matches!(&payload, Payload::Text(text) if text.contains("boom")) {
            panic!("the word");
        }
        cx.emit(payload);
    }
}

const FRAGILE_SPEC: &str = "kind: PipelineSpec\nname: fragile\nversion: 1\nnodes:\n  user_turn: {type: user_turn}\n  \
    llm: {type: llm, bind: scripted}\n  fragile: {type: fragile}\n  tts: {type: tts, bind: scripted}\n  \
    playout: {type: playout}\nedges: [user_turn -> llm, llm -> fragile, fragile -> tts, tts -> playout]\n";

fn fragile(name: &str, node: &str, answers: &[&str]) -> (Scenario, Arc<rspp::specs::plan::Plan>) {
    let spec = FRAGILE_SPEC.replace("{type: fragile}", &format!("{{type: {node}}}"));
    let plan = compile("fragile.yaml", &spec, &registry()).unwrap_or_else(|findings| panic!("{findings}"));
    let scripts: Vec<String> = answers
        .iter()
        .map(|answer| format!("[{{after_ms: 50, text: \"{answer}\"}}, {{after_ms: 60, end: success}}]"))
        .collect();
    let mut scenario = scenario("text-over-answer").0;
    let text = format!("{{llm: [{}]}}", scripts.join(", "));
    let speech = "[{after_ms: 20, audio_ms: 40}, {after_ms: 20, end: success}]";
    let speech = format!("[{}]", [speech; 3].join(", "));
    scenario.providers = yaml(&text);
    scenario.providers.insert("tts".to_owned(), yaml(&speech));
    scenario.name = name.to_owned();
    (scenario, Arc::new(plan))
}

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn said(session: &Session, wanted: &Signal) -> bool {
    session.timeline.iter().any(|record| matches!(&record.entry, Entry::Signal(_, signal) if signal == wanted))
}

#[test]
fn a_panic_ends_one_sessions_turn_and_nothing_else() {
    let mut core = rspp::core(registry());
    let broken = begin(&mut core, &fragile("broken", "fragile", &["boom", "fine"]));
    let whole = begin(&mut core, &fragile("whole", "fragile", &["fine", "fine"]));
    let mut sessions = [broken, whole];
    hold(&mut core, &mut sessions);
    let reason = AbortReason::NodeTimeoutOrFailure;
    assert!(said(&sessions[0], &Signal::Abort { reason }));
    assert!(said(&sessions[0], &Signal::Commit), "its next turn is unharmed");
    assert!(!said(&sessions[1], &Signal::Abort { reason }));
}

/// A node that can't bear to be stopped.
struct Brittle;

impl Node for Brittle {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.emit(payload);
    }

    fn on_directive(&mut self, _: &mut Context<'_>, directive: &Directive) {
        assert!(!matches!(directive, Directive::Drop(_)), "it is cancelled");
    }

    fn flush(&mut self, _: Scope) -> Vec<(PortIndex, Dropped)> {
        panic!("its turn is revoked");
    }
}

#[test]
fn a_panic_at_the_end_of_a_node_ends_nothing_else() {
    let mut core = rspp::core(registry());
    let (mut scenario, plan) = fragile("brittle", "brittle", &["one", "two", "three"]);
    scenario.until_ms = 3_000;
    scenario.inputs = yaml(
        "[{at_ms: 100, user_text: a}, {at_ms: 155, cancellation: {reason: policy, of: {node: 2}}}, \
          {at_ms: 1000, user_text: b}, {at_ms: 1055, cancel: user_cancel}, {at_ms: 2000, user_text: c}]",
    );
    let brittle = begin(&mut core, &(scenario, plan));
    let whole = begin(&mut core, &fragile("whole", "fragile", &["fine", "fine"]));
    let mut sessions = [brittle, whole];
    hold(&mut core, &mut sessions);
    let reason = AbortReason::NodeTimeoutOrFailure;
    assert!(said(&sessions[0], &Signal::Abort { reason }), "cancelled by itself");
    assert!(said(&sessions[0], &Signal::Abort { reason: AbortReason::Cancelled }), "cancelled with its turn");
    assert!(said(&sessions[0], &Signal::Commit), "its third turn is unharmed");
    assert!(!said(&sessions[1], &Signal::Abort { reason }));
}
