//! What edges say beside their arrows, where no built-in node can show it: streams that play together, and what becomes of
//! a buffer under policies and between two versions.

use rspp_compiler::{Bump, Named, NodeType, Registry, Request, compile, difference, explain};
use rspp_operators::merge::Merge;
use rspp_specs::event::PortType::{Audio, Text};
use rspp_specs::plan::Plan;

/// A face that takes voice and movements of the mouth by the clock.
fn registry() -> Registry {
    let avatar = NodeType::new(Audio, Audio, |_| Ok(Box::new(Merge::new(2))));
    Registry::new().with("avatar", avatar.with_ports(&[("audio", Audio), ("shapes", Text)], &[]).paced())
}

fn avatar(audio: &str, shapes: &str) -> String {
    format!(
        "kind: PipelineSpec\nname: x\nversion: 1\nnodes:\n  user_turn: {{type: user_turn}}\n  \
         tts: {{type: tts, bind: \"tone:\"}}\n  avatar: {{type: avatar}}\nedges:\n  - user_turn -> tts\n  \
         - {{edge: tts -> avatar.audio, sync: {audio}}}\n  - {{edge: user_turn -> avatar.shapes, sync: {shapes}}}\n"
    )
}

#[test]
fn streams_play_together_before_one_paced_node() {
    for (audio, shapes, codes) in [
        ("{group: lips}", "{group: lips}", vec![]),
        ("{group: lips}", "{group: lips, on_drop: atomic_drop}", vec![]),
        ("{group: lips}", "{group: lips, on_drop: no_sync}", vec!["RSPP0025"]),
        ("{group: lips}", "{group: mouth}", vec!["RSPP0025"; 2]),
        ("{group: lips}", "{group: lips, domain: wall}", vec!["RSPP0025"; 2]),
    ] {
        let checked = Request::new("spec.yaml", &avatar(audio, shapes)).check(&registry());
        let found: Vec<&str> = checked.findings.0.iter().map(|finding| finding.code).collect();
        assert_eq!(found, codes, "{audio} and {shapes}: {}", checked.findings);
        let told = checked.plan.as_ref().map(explain).unwrap_or_default();
        assert_eq!(told.matches("; plays with group lips by media (atomic_drop)").count(), [2, 0][codes.len().min(1)]);
    }
}

fn template(edges: &str) -> Plan {
    let text = format!(
        "kind: PipelineSpec\nname: x\nversion: 1\ntemplate: voice-assistant\nbind: {{stt: a, llm: b, tts: c}}\nedges: {edges}\n"
    );
    compile("spec.yaml", &text, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"))
}

#[test]
fn what_may_wait_is_a_difference() {
    let (old, same) = (template("[]"), template("[{edge: segmenter -> tts, buffer: {max_items: 256}}]"));
    assert_eq!(difference(&old, &same), [], "who said a bound changes nothing");
    let new = template("[{edge: segmenter -> tts, buffer: {max_items: 9, then: drop_oldest}}]");
    let changes = difference(&old, &new);
    let told: Vec<(Bump, &str)> = changes.iter().map(|change| (change.bump, change.says.as_str())).collect();
    assert_eq!(told, [(Bump::Patch, "256 became 9"), (Bump::Minor, "\"merge\" became \"drop_oldest\"")]);
}

#[test]
fn what_waits_before_a_node_waits_there_behind_an_insert_too() {
    let spec = "kind: PipelineSpec\nname: x\nversion: 1\ntemplate: voice-assistant\nbind: {stt: a, llm: b, tts: c}\n\
                inserts: {before-voice: segmenter -> tts}\nedges:\n  \
                - {edge: segmenter -> tts, when: {attribute: length, below: 200}, buffer: {max_items: 7}}\n";
    let policy = "kind: PolicyOverlay\nname: guarded\nversion: 1\ninserts:\n  \
                  - {at: before-voice, name: guard, node: {type: filter, deny: [promise]}}\n";
    let policies = vec![Named { name: "policy.yaml".to_owned(), text: policy.to_owned() }];
    let plan = Request { policies, ..Request::new("spec.yaml", spec) }.compile(&Registry::new());
    let told = explain(&plan.unwrap_or_else(|findings| panic!("{findings}")));
    assert!(told.contains("segmenter.text -> guard.text (text), when length is below 200; buffer: none"), "{told}");
    assert!(told.contains("guard.text -> tts.text (text); buffer: 7 items"), "{told}");
}
