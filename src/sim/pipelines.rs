//! The pipelines that simulated sessions run unless they are given another: the assistant under each policy of
//! interruption, with little room in playout, with branches, without a caller's audio, with the neural detector.

use std::sync::Arc;

use rspp_adapters::sim::{Fault, Faults, NODE_COMPUTES, NODE_FAILS, NODE_PANICS, Pipeline, compute};
use rspp_compiler::{Findings, NodeType, Registry, compile};
use rspp_operators::{Context, Node};
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{Payload, PortType};
use rspp_specs::ids::PortIndex;
use rspp_specs::time::Micros;

/// The type's name in specs: a node that passes text on until it is told to break.
const BREAKABLE: &str = "breakable";

/// Panics, gives up, or computes for too long, at the words for it.
struct Breakable;

impl Node for Breakable {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match &payload {
            // Without the panic hook, which would print each of thousands.
            Payload::Text(text) if **text == *NODE_PANICS => {
                std::panic::resume_unwind(Box::new("the simulator told it to panic"));
            }
            Payload::Text(text) if **text == *NODE_COMPUTES => compute(Micros::from_ms(30)),
            Payload::Text(text) if **text == *NODE_FAILS => cx.fail("the simulator told it to give up"),
            _ => cx.emit(payload),
        }
    }
}

/// The type's name in specs: a face that is moved by the text and the gestures that it is given, a step at a time.
const FACE: &str = "face";

/// Takes a step each 40 ms, of both its streams, and passes the text on.
#[derive(Default)]
struct Face {
    moves: bool,
}

impl Node for Face {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        if matches!(payload, Payload::Text(_)) {
            self.moves = true;
            cx.wake_at(cx.now() + STEP);
        }
        if port == PortIndex(0) {
            cx.emit(payload);
        }
    }

    fn on_directive(&mut self, _: &mut Context<'_>, directive: &Directive) {
        self.moves &= !matches!(directive, Directive::Wake(_));
    }

    fn accepts(&self, _: PortIndex) -> bool {
        !self.moves
    }

    fn holds(&self) -> bool {
        self.moves
    }
}

/// How long a face takes for one step.
const STEP: Micros = Micros::from_ms(40);

/// These node types, and the one that breaks.
pub(super) fn with_breakable(registry: Registry) -> Registry {
    let face = NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Face::default())));
    let face = face.with_ports(&[("words", PortType::Text), ("gestures", PortType::Text)], &[("out", PortType::Text)]);
    let breakable = NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Breakable)));
    registry.with(BREAKABLE, breakable).with(FACE, face.paced())
}

/// One of the assistants.
struct Assistant {
    name: &'static str,
    interruption: &'static str,
    detector: &'static str,
    max_queued_ms: u32,
    /// What more it says of turns.
    turn: &'static str,
}

const HOLD: Assistant =
    Assistant { name: "hold", interruption: "hold", detector: "energy", max_queued_ms: 120_000, turn: "" };
const IMMEDIATE: Assistant = Assistant {
    name: "immediate",
    interruption: "immediate",
    turn: ", greeting: {say: Good evening. What can I do for you?}, \
        silence: {after_ms: 4000, ask: Nobody speaks., times: 2, then: end}",
    ..HOLD
};
const IGNORE: Assistant = Assistant { name: "ignore", interruption: "ignore", ..HOLD };
const NARROW: Assistant = Assistant { name: "narrow", max_queued_ms: 800, ..HOLD };
/// Tight budgets, of every kind, and every kind of step.
const FRUGAL: Assistant = Assistant {
    name: "frugal",
    turn: ", greeting: {ask: Greet the caller.}, silence: {after_ms: 3000, say: Are you still there?}, budgets: {first_audio: {ms: 1200, then: degrade}, whole: {ms: 20000, then: degrade}, \
        nodes: {llm: {ms: 500, then: fallback}, tts: {ms: 400, then: degrade}, breakable: {ms: 300, then: terminate}}, \
        paths: {answer: {from: user_turn, to: playout, ms: 1500, then: degrade}}, \
        edges: {segmenter -> tts: {ms: 900, then: degrade}}}, \
        degrade: [{provider: llm}, {skip: breakable}, {provider: tts}, {shorten: {node: segmenter, sentences: 1}}]",
    ..HOLD
};
const NEURAL: Assistant = Assistant { name: "neural", detector: "earshot", ..HOLD };

const TOOLS: &str =
    "[{name: lookup, effect: read, binding: simulated}, {name: book, effect: write, binding: simulated}]";

impl Assistant {
    fn spec(&self) -> String {
        let Self { name, interruption, detector, max_queued_ms, turn } = self;
        format!(
            "kind: PipelineSpec
name: simulated-{name}
version: 1
turn: {{interruption: {interruption}{turn}}}
nodes:
  caller: {{type: caller}}
  vad: {{type: vad, detector: {detector}}}
  stt: {{type: stt, bind: simulated}}
  utterance: {{type: utterance}}
  user_turn: {{type: user_turn}}
  llm: {{type: llm, bind: simulated, tools: {TOOLS}, provider: {{fallback: [second, third]}}}}
  breakable: {{type: {BREAKABLE}}}
  segmenter: {{type: segmenter}}
  tts: {{type: tts, bind: simulated, provider: {{fallback: [second]}}}}
  playout: {{type: playout, max_queued_ms: {max_queued_ms}}}
edges:
  - caller -> vad
  - caller -> stt.audio
  - vad -> stt.speech
  - vad -> utterance.speech
  - stt -> utterance.transcripts
  - user_turn -> llm
  - llm -> breakable
  - breakable -> segmenter
  - segmenter -> tts
  - tts -> playout
"
        )
    }
}

/// No audio of the caller's: text comes in, and a detector elsewhere says what it sees.
fn typed() -> String {
    format!(
        "kind: PipelineSpec
name: simulated-typed
version: 1
nodes:
  user_turn: {{type: user_turn}}
  llm: {{type: llm, bind: simulated, tools: {TOOLS}}}
  breakable: {{type: {BREAKABLE}}}
  segmenter: {{type: segmenter}}
  tts: {{type: tts, bind: simulated}}
  playout: {{type: playout}}
edges: [user_turn -> llm, llm -> breakable, breakable -> segmenter, segmenter -> tts, tts -> playout]
"
    )
}

/// The answer goes three ways and comes together again.
fn branches() -> String {
    format!(
        "kind: PipelineSpec
name: simulated-branches
version: 1
turn: {{interruption: immediate}}
nodes:
  user_turn: {{type: user_turn}}
  llm: {{type: llm, bind: simulated}}
  sentences: {{type: segmenter}}
  breakable: {{type: {BREAKABLE}}}
  both: {{type: merge}}
  first: {{type: segmenter}}
  second: {{type: segmenter}}
  pairs: {{type: join}}
  tts: {{type: tts, bind: simulated}}
  playout: {{type: playout}}
edges:
  - user_turn -> llm
  - llm -> sentences
  - sentences -> both
  - {{edge: llm -> breakable, when: {{attribute: length, below: 12}}}}
  - breakable -> both
  - both -> first
  - first -> second
  - second -> pairs.long
  - both -> pairs.short
  - pairs -> tts
  - tts -> playout
"
    )
}

/// Two streams of one answer that play together before a face, the second with little room; what is lost in one is dropped in
/// the other, or marked.
fn together(on_drop: &str) -> String {
    let sync = format!("sync: {{group: face, on_drop: {on_drop}}}");
    format!(
        "kind: PipelineSpec
name: simulated-together
version: 1
nodes:
  user_turn: {{type: user_turn}}
  llm: {{type: llm, bind: simulated}}
  words: {{type: merge}}
  face: {{type: {FACE}}}
  segmenter: {{type: segmenter}}
  tts: {{type: tts, bind: simulated}}
  playout: {{type: playout}}
edges:
  - user_turn -> llm
  - llm -> words
  - {{edge: words -> face.words, {sync}}}
  - {{edge: words -> face.gestures, buffer: {{max_items: 3, strategy: drop_oldest}}, {sync}}}
  - face -> segmenter
  - segmenter -> tts
  - tts -> playout
"
    )
}

/// The pipelines and their shares, of a hundred.
pub(super) fn mixture(registry: &Registry, faults: Faults) -> Result<Vec<Pipeline>, Findings> {
    let narrow = if faults.has(Fault::EdgeOverflow) { 14 } else { 0 };
    let together = if faults.has(Fault::SyncLoss) { 16 } else { 0 };
    let specs = [
        (44 - narrow - together, HOLD.spec()),
        (8, FRUGAL.spec()),
        (14, IMMEDIATE.spec()),
        (11, IGNORE.spec()),
        (narrow, NARROW.spec()),
        (5, NEURAL.spec()),
        (together / 2, self::together("atomic_drop")),
        (together / 2, self::together("drop_with_discontinuity")),
        (8, typed()),
        (10, branches()),
    ];
    let pipeline = |(weight, spec): (u32, String)| {
        compile("a pipeline of the simulator", &spec, registry).map(|plan| Pipeline { plan: Arc::new(plan), weight })
    };
    specs.into_iter().map(pipeline).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixture_compiles_and_adds_up() {
        let registry = with_breakable(Registry::new());
        for faults in [Faults::NONE, Faults::ALL] {
            let pipelines = mixture(&registry, faults).unwrap_or_else(|findings| panic!("{findings}"));
            assert_eq!(pipelines.iter().map(|pipeline| pipeline.weight).sum::<u32>(), 100);
        }
    }
}
