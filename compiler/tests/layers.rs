//! What is laid under and over a spec: each effective field knows its source, and policies do what they say.

use rspp_compiler::{Checked, Named, Registry, Request, Resolved};
use rspp_specs::plan::Plan;

const SPEC: &str = "kind: PipelineSpec\nname: x\nversion: 1\nprofile: low-latency/v1\ntemplate: voice-assistant\n\
                    bind: {stt: \"captions:a\", llm: \"say:Hello.\", tts: \"tone:\"}\n\
                    nodes: {vad: {onset_frames: 5}}\ninserts: {before-voice: segmenter -> tts}\n";
const ENVIRONMENT: &str = "kind: ConfigLayer\nname: production\nlayer: environment\nturn: {reconnect_ms: 8000, commit_point_ms: 111}\n\
                           nodes: {playout: {lookahead_ms: 60}}\n";
const TENANT: &str =
    "kind: ConfigLayer\nname: acme\nlayer: tenant\nturn: {reconnect_ms: 9000}\nbind: {llm: \"say:Acme.\"}\n";
const SESSION: &str = "kind: ConfigLayer\nname: call\nlayer: session\nturn: {interruption: ignore}\n";
const POLICY: &str = "kind: PolicyOverlay\nname: voice\nversion: 1\nproviders:\n  \
                      - {node: stt, when: {language: [de], region: [eu]}, bind: \"captions:de\", fallback: [\"captions:b\", \"captions:c\"]}\n\
                      degrade:\n  - {when: {cost_tier: [low]}, nodes: {vad: {detector: energy}}}\n\
                      inserts:\n  - {at: before-voice, when: {tenant: [bank]}, name: guard, node: {type: filter, deny: [promise]}}\n\
                      cost_caps: {max_attempts: 1, max_fallbacks: 1, max_turn_ms: 30000}\n";

fn named(name: &str, text: &str) -> Named {
    Named { name: name.to_owned(), text: text.to_owned() }
}

/// With these layers in any order, and what is known of the call.
fn checked(layers: &[(&str, &str)], policies: &[&str], known: &[(&str, &str)]) -> Checked {
    let mut request = Request::new("spec.yaml", SPEC);
    request.layers = layers.iter().map(|(name, text)| named(name, text)).collect();
    request.policies = policies.iter().map(|text| named("policy.yaml", text)).collect();
    request.circumstances = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    request.check(&Registry::new())
}

fn field(resolved: &Resolved, path: &str) -> String {
    let field = resolved.fields.iter().find(|field| field.path == path);
    field.map_or_else(|| "nothing".to_owned(), |field| format!("{} from {}", field.value, field.source))
}

#[test]
fn each_field_knows_its_source() {
    let layers = [("session.yaml", SESSION), ("acme.yaml", TENANT), ("production.yaml", ENVIRONMENT)];
    let Checked { resolved, findings, .. } = checked(&layers, &[], &[]);
    let resolved = resolved.unwrap_or_else(|| panic!("{findings}"));
    for (path, expect) in [
        ("nodes.vad.onset_frames", "5 from spec.yaml:7"),
        ("nodes.vad.hangover_ms", "300 from profile low-latency/v1"),
        ("nodes.utterance.min_rejected_speech_ms", "400 from default"),
        ("nodes.caller.type", "\"caller\" from template voice-assistant"),
        ("nodes.playout.lookahead_ms", "60 from production.yaml:5"),
        ("nodes.llm.bind", "\"say:Acme.\" from acme.yaml:5"),
        ("turn.reconnect_ms", "9000 from acme.yaml:4"),
        ("turn.commit_point_ms", "111 from production.yaml:4"),
        ("turn.interruption", "\"ignore\" from session.yaml:4"),
        ("turn.budgets.whole.ms", "60000 from profile low-latency/v1"),
    ] {
        assert_eq!(field(&resolved, path), expect, "{path}\n{}", resolved.table());
    }
}

fn plan(known: &[(&str, &str)]) -> Plan {
    let Checked { plan, findings, .. } = checked(&[], &[POLICY], known);
    plan.unwrap_or_else(|| panic!("{findings}"))
}

fn bindings(plan: &Plan) -> String {
    let shown = plan.nodes().iter().filter_map(|node| {
        let fallback = node.provider.fallback.join("+");
        Some(format!("{} {} {} {fallback}", node.name, node.kind.binding()?, node.provider.attempts))
    });
    shown.collect::<Vec<_>>().join("; ")
}

#[test]
fn policies_choose_insert_degrade_and_cap() {
    let nobody = plan(&[]);
    assert_eq!(bindings(&nobody), "llm say:Hello. 1 ; stt captions:a 1 ; tts tone: 1 ");
    assert_eq!(nobody.turn_policy().budgets.whole.limit.as_ms(), 30_000);
    assert!(nobody.nodes().iter().all(|node| node.name != "guard"));
    let loose =
        POLICY.replace("max_attempts: 1", "max_attempts: 5").replace("max_turn_ms: 30000", "max_turn_ms: 600000");
    let Checked { plan: uncapped, findings, .. } = checked(&[], &[&loose], &[]);
    let uncapped = uncapped.unwrap_or_else(|| panic!("{findings}"));
    assert_eq!(bindings(&uncapped), bindings(&nobody), "a cap lowers, and never raises");
    assert_eq!(uncapped.turn_policy().budgets.whole.limit.as_ms(), 60_000);
    let half = plan(&[("language", "de")]);
    assert_eq!(bindings(&half), bindings(&nobody), "all circumstances have to hold");
    let german = plan(&[("language", "de"), ("region", "eu")]);
    assert_eq!(bindings(&german), "llm say:Hello. 1 ; stt captions:de 1 captions:b; tts tone: 1 ");
    let cheap = plan(&[("cost_tier", "low")]);
    assert!(rspp_compiler::explain(&cheap).contains("energy"), "{}", rspp_compiler::explain(&cheap));
    let bank = plan(&[("tenant", "bank")]);
    let told = rspp_compiler::explain(&bank);
    assert!(told.contains("segmenter.text -> guard.text") && told.contains("guard.text -> tts.text"), "{told}");
    assert!(!told.contains("segmenter.text -> tts.text"), "{told}");
}

#[test]
fn what_is_wrong_with_them_is_told_in_them() {
    let told = |layers: &[(&str, &str)], policies: &[&str], known: &[(&str, &str)]| {
        let Checked { findings, .. } = checked(layers, policies, known);
        findings
            .0
            .iter()
            .map(|it| format!("{}:{}:{} {}", it.source, it.line, it.column, it.code))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let layer = "kind: ConfigLayer\nname: a\nlayer: tenant\nbind: {lm: a}\nnodes: {vad: {onset_frame: 3}}\nturn: {interruption: hald}\n";
    assert_eq!(told(&[("a.yaml", layer)], &[], &[]), "a.yaml:4:8 RSPP0004, a.yaml:5:15 RSPP0008, a.yaml:6:22 RSPP0046");
    assert_eq!(told(&[("a.yaml", SPEC)], &[], &[]), "a.yaml:1:7 RSPP0002");
    assert_eq!(told(&[("a.yaml", "kind: ConfigLayer\nname: a\nlayer: galaxy\n")], &[], &[]), "a.yaml:3:8 RSPP0046");
    let policy = POLICY.replace("before-voice", "before-vioce").replace("node: stt", "node: sst");
    let known = [("tenant", "bank"), ("language", "de"), ("region", "eu")];
    assert_eq!(told(&[], &[&policy], &known), "policy.yaml:5:61 RSPP0004, policy.yaml:9:10 RSPP0055");
}
