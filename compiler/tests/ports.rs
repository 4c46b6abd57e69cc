//! What ports say beyond their type: edges between nodes of a program's own, and what passes through nodes that do not look
//! inside.

use rspp_compiler::{NodeType, Registry, Request, explain};
use rspp_operators::merge::Merge;
use rspp_specs::event::PortType;
use rspp_specs::port::{AudioEncoding, AudioFormat, Finality, Only};

fn node(of: PortType, only: Option<(&str, Only)>) -> NodeType {
    let made = NodeType::new(of, of, |_| Ok(Box::new(Merge::new(1))));
    match only {
        Some((port, only)) => made.with_only(port, &only),
        None => made,
    }
}

fn registry() -> Registry {
    let schema = |name: &str| Only::Schema(name.to_owned());
    let low = Only::Audio(vec![AudioFormat { encoding: AudioEncoding::Mulaw, rate_hz: 8_000 }]);
    Registry::new()
        .with("minutes", node(PortType::Transcript, Some(("in", Only::Finality(Finality::Final)))))
        .with("lookup", node(PortType::Custom, Some(("out", schema("crm.contact/v1")))))
        .with("dial", node(PortType::Custom, Some(("in", schema("crm.contact/v1")))))
        .with("dial-v2", node(PortType::Custom, Some(("in", schema("crm.contact/v2")))))
        .with("untold", node(PortType::Custom, None))
        .with("line", node(PortType::Audio, Some(("in", low))))
}

/// A graph around a caller, and what is found in it, or `good`.
fn check(nodes: &str, edges: &str, expect: &str) {
    let spec = format!(
        "kind: PipelineSpec\nname: x\nversion: 1\nnodes:\n  caller: {{type: caller}}\n  vad: {{type: vad}}\n  \
         stt: {{type: stt, bind: a}}\n{nodes}edges:\n  - caller -> vad\n  - caller -> stt.audio\n  - vad -> stt.speech\n{edges}"
    );
    let checked = Request::new("x.yaml", &spec).check(&registry());
    let told: Vec<String> =
        checked.findings.0.iter().map(|it| format!("{}: {}; {}", it.code, it.message, it.hint)).collect();
    let told = if told.is_empty() { "good".to_owned() } else { told.join("\n") };
    assert_eq!(told, expect, "{nodes}{edges}");
}

#[test]
fn finals_are_wanted_and_given_in_three_ways() {
    let minutes = "  minutes: {type: minutes}\n";
    check(minutes, "  - stt.finals -> minutes\n", "good");
    check(minutes, "  - {edge: stt.transcripts -> minutes, when: {attribute: final, equals: true}}\n", "good");
    check(
        minutes,
        "  - stt -> minutes\n",
        "RSPP0028: stt gives transcript, and minutes takes transcript (final only); begin the edge at `stt.finals`, or \
         give it `when: {attribute: final, equals: true}`",
    );
    check(
        minutes,
        "  - stt.partials -> minutes\n",
        "RSPP0028: stt gives transcript (partial only), and minutes takes transcript (final only); begin the edge at \
         `stt.finals`",
    );
    let through = "  all: {type: merge}\n  minutes: {type: minutes}\n";
    check(through, "  - stt.finals -> all\n  - all -> minutes\n", "good");
    check(
        through,
        "  - stt -> all\n  - all -> minutes\n",
        "RSPP0028: all gives transcript, and minutes takes transcript (final only); give it \
         `when: {attribute: final, equals: true}`",
    );
}

#[test]
fn payloads_of_ones_own_fit_by_their_schema() {
    let nodes = |to: &str| format!("  untold: {{type: untold}}\n  a: {{type: lookup}}\n  b: {{type: {to}}}\n");
    let edges = "  - untold -> a\n  - a -> b\n";
    // What comes in first is not what this is about.
    let enters = "  - stt -> all\n  - all -> untold\n";
    let all = "  all: {type: merge}\n";
    check(
        &format!("{all}{}", nodes("dial")),
        &format!("{enters}{edges}"),
        "RSPP0014: all gives transcript, and untold takes custom; put a node between that turns one into the other",
    );
    let hint = "put a node between that turns one into the other";
    let joined =
        |from: &str, to: &str| format!("  a: {{type: {from}}}\n  b: {{type: {to}}}\n  first: {{type: select}}\n");
    let loops = "  - a -> b\n";
    let unreached = "RSPP0018: nothing reaches input in of a; add an edge `SOME_NODE -> a.in`, or remove the node\n\
                     RSPP0018: nothing reaches first; add an edge `SOME_NODE -> first`, or remove the node";
    check(&joined("lookup", "dial"), loops, unreached);
    check(
        &joined("lookup", "dial-v2"),
        loops,
        &format!("{unreached}\nRSPP0029: a gives custom (crm.contact/v1), and b takes custom (crm.contact/v2); {hint}"),
    );
    check(
        &joined("untold", "dial"),
        loops,
        &format!("{unreached}\nRSPP0029: a gives custom, and b takes custom (crm.contact/v1); {hint}"),
    );
}

#[test]
fn audio_is_followed_through_nodes_that_do_not_look_inside() {
    let nodes = "  any: {type: select}\n  line: {type: line}\n";
    check(
        nodes,
        "  - caller -> any\n  - any -> line\n",
        "RSPP0027: any gives audio (pcm16 at 16000 Hz), and line takes audio (mulaw at 8000 Hz); put a node between: \
         `{type: resample, rate_hz: 8000, encoding: mulaw}`",
    );
    let between =
        "  any: {type: select}\n  low: {type: resample, rate_hz: 8000, encoding: mulaw}\n  line: {type: line}\n";
    check(between, "  - caller -> any\n  - any -> low\n  - low -> line\n", "good");
}

#[test]
fn the_plan_in_words_says_what_ports_carry() {
    let spec = "kind: PipelineSpec\nname: x\nversion: 1\nnodes:\n  caller: {type: caller}\n  low: {type: resample, rate_hz: 8000}\n  \
                line: {type: line}\nedges:\n  - caller -> low\n  - {edge: low -> line}\n";
    let checked =
        Request::new("x.yaml", &spec.replace("rate_hz: 8000", "rate_hz: 8000, encoding: mulaw")).check(&registry());
    let told = explain(&checked.plan.expect("it is right"));
    assert!(told.contains("brings audio to mulaw at 8000 Hz"), "{told}");
    assert!(told.contains("low.audio -> line.in (audio (mulaw at 8000 Hz))"), "{told}");
}
