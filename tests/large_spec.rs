//! A pipeline of 200 nodes is checked, compiled, lowered, and holds a call like any other.

#[path = "../benches/large/mod.rs"]
mod large;

use rspp::specs::limits::MAX_PLAN_NODES;
use rspp::trace::trace;
use rspp::{Registry, compile};
use rspp_checker::check;
use rspp_compiler::{Request, lint};

#[test]
fn two_hundred_nodes_are_checked_and_compiled() {
    let text = large::models(200);
    let (_, findings) = lint(&Request::new("large.yaml", &text), &Registry::new());
    assert!(findings.0.is_empty(), "{findings}");
    let plan = compile("large.yaml", &text, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(plan.nodes().len(), 200);
    // What is over is told, and looked at all the same.
    let text = large::models(MAX_PLAN_NODES + 1).replacen("attempts: 1", "attempts: 9", 1);
    let (_, findings) = lint(&Request::new("large.yaml", &text), &Registry::new());
    let codes: Vec<&str> = findings.0.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&"RSPP0006") && codes.contains(&"RSPP0021"), "{findings}");
}

/// From the model to the voice through so many nodes, half of which meet where paths meet.
fn long_way(nodes: usize) -> String {
    let mut text = "kind: PipelineSpec\nname: long\nversion: 1\nnodes:\n  user_turn: {type: user_turn}\n  \
                    llm: {type: llm, bind: scripted}\n  tts: {type: tts, bind: scripted}\n  playout: {type: playout}\n"
        .to_owned();
    let hops = nodes - 4;
    for hop in 0..hops {
        let kind = if hop % 2 == 0 { "filter, deny: [never]" } else { "merge" };
        text += &format!("  h{hop}: {{type: {kind}}}\n");
    }
    text += "edges:\n  - user_turn -> llm\n  - llm -> h0\n  - tts -> playout\n";
    for hop in 1..hops {
        text += &format!("  - h{} -> h{hop}\n", hop - 1);
    }
    text + &format!("  - h{} -> tts\n", hops - 1)
}

#[test]
fn two_hundred_nodes_hold_a_call() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("long.yaml"), long_way(200)).expect("it can be written");
    let call = "kind: Scenario\nname: long\nspec: long.yaml\nuntil_ms: 10000\ninputs:\n  \
                - {at_ms: 100, user_text: one}\n  - {at_ms: 400, user_text: two}\nproviders:\n  llm:\n    \
                - [{after_ms: 50, text: One.}, {after_ms: 70, end: success}]\n    \
                - [{after_ms: 50, text: Two.}, {after_ms: 70, end: success}]\n  tts:\n    \
                - [{after_ms: 20, audio_ms: 1000}, {after_ms: 70, end: success}]\n    \
                - [{after_ms: 20, audio_ms: 100}, {after_ms: 40, end: success}]\n";
    let scenario = folder.path().join("call.yaml");
    std::fs::write(&scenario, call).expect("it can be written");
    let traced = trace(&scenario, &Registry::new()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(traced.plan.nodes().len(), 200);
    let judged = check(&traced.lines);
    assert!(judged.is_empty(), "{judged:?}");
    let text: String = traced.lines.iter().map(|line| format!("{line}\n")).collect();
    for part in ["abort turn=t1", "commit turn=t2", "playback_completed turn=t2"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
}
