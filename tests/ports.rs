//! Outputs that are there for whoever listens: a model's wishes to call tools, what becomes of an answer's playing, finals.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rspp::specs::event::{Payload, PortType};
use rspp::specs::ids::PortIndex;
use rspp::specs::port::{Finality, Only};
use rspp::{Context, Node, NodeType, Registry};
use rspp_checker::check;

/// Notes what comes, with the time.
struct Notes(Arc<Mutex<Vec<String>>>);

impl Node for Notes {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        let note = match payload {
            Payload::Control(mark) => mark.name().to_owned(),
            Payload::ToolCall(call) => format!("calls {}", call.name),
            Payload::Transcript(transcript) => format!("final {}", transcript.text),
            Payload::End(_) => "end".to_owned(),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("nobody panicked").push(format!("{} {note}", cx.now()));
    }
}

const SPEC: &str = "kind: PipelineSpec
name: listened
version: 1
template: voice-assistant
bind: {stt: scripted, llm: scripted, tts: scripted}
tools: [{name: lookup, effect: read, binding: scripted}]
nodes:
  vad: {detector: energy}
  face: {type: face}
  ledger: {type: ledger}
  minutes: {type: minutes}
edges:
  - playout.control -> face
  - llm.tool_calls -> ledger
  - stt.finals -> minutes
";

/// Holds a scenario of the golden traces with listeners, and gives what they noted.
fn noted(scenario: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(scenario);
    let text = std::fs::read_to_string(golden).expect("the scenario is there");
    std::fs::write(folder.path().join("scripted.yaml"), SPEC).expect("it can be written");
    std::fs::write(folder.path().join("call.yaml"), text).expect("it can be written");
    let notes = Arc::new(Mutex::new(Vec::new()));
    let listener = |of: PortType| {
        let notes = Arc::clone(&notes);
        let made = NodeType::new(of, PortType::Any, move |_| Ok(Box::new(Notes(Arc::clone(&notes)))));
        made.with_ports(&[("in", of)], &[])
    };
    let finals = listener(PortType::Transcript).with_only("in", &Only::Finality(Finality::Final));
    let registry = Registry::new()
        .with("face", listener(PortType::Control))
        .with("ledger", listener(PortType::ToolCall))
        .with("minutes", finals);
    let traced = rspp::trace::trace(&folder.path().join("call.yaml"), &registry).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(check(&traced.lines), vec![], "{scenario}");
    notes.lock().expect("nobody panicked").clone()
}

#[test]
fn a_face_learns_what_becomes_of_an_answer() {
    let face = |scenario| {
        let marks = ["begun", "held", "resumed", "stopped", "finished"];
        let mut notes = noted(scenario);
        notes.retain(|note| marks.iter().any(|mark| note.ends_with(mark)));
        notes
    };
    assert_eq!(face("plain-call.yaml"), ["1640 begun", "1660 finished"]);
    assert_eq!(face("interruption.yaml"), ["5000 begun", "5580 held", "5830 stopped"]);
    assert_eq!(face("false-interruption.yaml"), ["5000 begun", "5580 held", "5740 resumed", "7140 finished"]);
}

#[test]
fn tool_calls_and_finals_are_told_to_whoever_listens() {
    let mut notes = noted("tool-committed.yaml");
    notes.retain(|note| note.contains("calls"));
    assert_eq!(notes, ["9100 calls lookup", "9250 calls book"]);
    let mut notes = noted("plain-call.yaml");
    notes.retain(|note| note.contains("final "));
    assert_eq!(notes, ["1520 final what time do you open on sunday"]);
}
