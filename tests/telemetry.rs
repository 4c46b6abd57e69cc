//! Traces and metrics: what a collector gets of a call, what the page of metrics says of it, and that a collector that hangs,
//! refuses or is not there costs spans, with a count, and nothing else.

#[path = "serve/client.rs"]
mod client;
#[path = "telemetry/collector.rs"]
mod collector;
#[path = "serve/house.rs"]
mod house;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use client::{Client, Seen};
use collector::{Collector, Manner};
use house::House;
use insta::assert_snapshot;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use rspp::Registry;
use rspp::adapters::meters::Meters;
use rspp::adapters::notes::Notes;
use rspp::adapters::onlooker::Onlooker;
use rspp::serve::Serve;
use rspp::telemetry::{Options, Telemetry};
use rspp::trace::{Traced, trace};
use serde_json::json;

/// A scenario of the golden ones, run.
fn call(name: &str) -> Traced {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    trace(&path, &Registry::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn show(onlooker: &dyn Onlooker, session: &str, call: &Traced) {
    let mut watch = onlooker.begin(&session.into(), &call.plan);
    call.records.iter().for_each(|record| watch.on(record.at, &record.entry));
}

fn options(endpoint: String) -> Options {
    Options { endpoint: Some(endpoint), patience: Duration::from_millis(300) }
}

fn counted(counts: &[rspp::adapters::onlooker::Count]) -> BTreeMap<&'static str, u64> {
    counts.iter().map(|count| (count.name, count.value)).collect()
}

/// What a collector got of one golden call, and what was counted.
fn exported(name: &str, endpoint: String) -> BTreeMap<&'static str, u64> {
    let traces = Telemetry::start(&options(endpoint), &Notes::default()).expect("the address is one");
    show(&*traces.onlooker(), "golden", &call(name));
    counted(&traces.finish(Duration::from_secs(20)))
}

fn value(value: &Option<AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        other => panic!("{other:?} is not among what we send"),
    }
}

fn attributes(attributes: &[KeyValue]) -> String {
    let shown = attributes.iter().filter(|one| one.key != "rspp.plan_hash" && one.key != "rspp.session");
    shown.map(|one| format!(" {}={}", one.key.trim_start_matches("rspp."), value(&one.value))).collect()
}

/// Spans as a tree: times in milliseconds, attributes, events.
fn tree(spans: &[Span], parent: &[u8], depth: usize, text: &mut String) {
    // One without a parent may say so with zeros.
    let of = |span: &Span| {
        if span.parent_span_id.iter().all(|byte| *byte == 0) { Vec::new() } else { span.parent_span_id.clone() }
    };
    let mut below: Vec<&Span> = spans.iter().filter(|span| of(span) == parent).collect();
    below.sort_by_key(|span| (span.start_time_unix_nano, span.name.clone(), span.end_time_unix_nano));
    let ms = |nanos: u64| nanos / 1_000_000;
    for span in below {
        let (from, to) = (ms(span.start_time_unix_nano), ms(span.end_time_unix_nano));
        let status = span.status.as_ref().map_or(0, |status| status.code);
        let (indent, more) = ("  ".repeat(depth), attributes(&span.attributes));
        *text += &format!("{indent}{} {from}..{to} status={status}{more}\n", span.name);
        for event in &span.events {
            *text +=
                &format!("{indent}  - {} {}{}\n", ms(event.time_unix_nano), event.name, attributes(&event.attributes));
        }
        tree(spans, &span.span_id, depth + 1, text);
    }
}

#[test]
fn a_collector_gets_sessions_turns_nodes_and_invocations() {
    let collector = Collector::open(Manner::Takes);
    let counts = exported("interruption.yaml", collector.url());
    let requests = collector.requests();
    let resources = requests.iter().flat_map(|request| &request.resource_spans);
    let mut spans = Vec::new();
    for resource in resources {
        let of = resource.resource.as_ref().expect("it says whose the spans are");
        assert!(of.attributes.iter().any(|one| one.key == "service.name" && value(&one.value) == "rspp"));
        spans.extend(resource.scope_spans.iter().flat_map(|scope| scope.spans.clone()));
    }
    assert_eq!(counts["trace_spans_exported_total"], spans.len() as u64);
    assert_eq!((counts["trace_spans_dropped_total"], counts["trace_spans_given_up_total"]), (0, 0));
    let trace: Vec<&Vec<u8>> = spans.iter().map(|span| &span.trace_id).collect();
    assert!(trace.iter().all(|id| *id == trace[0] && id.len() == 16), "a session is one trace");
    let is_of_session = |span: &Span| span.attributes.iter().any(|one| one.key == "rspp.session");
    assert!(spans.iter().all(is_of_session));
    let mut text = String::new();
    tree(&spans, &[], 0, &mut text);
    assert_eq!(
        text.lines().filter(|line| !line.trim_start().starts_with('-')).count(),
        spans.len(),
        "none is an orphan"
    );
    assert_snapshot!("spans_of_an_interruption", text);
}

#[test]
fn nothing_that_anybody_says_is_in_a_trace() {
    let collector = Collector::open(Manner::Takes);
    exported("interruption.yaml", collector.url());
    let sent: Vec<u8> = collector.bodies().concat();
    for words in ["when are you open", "cancel my booking", "noon", "Your booking"] {
        assert!(!sent.windows(words.len()).any(|window| window == words.as_bytes()), "{words:?} was sent");
    }
    assert!(sent.windows(4).any(|window| window == b"turn"), "and something was");
}

#[test]
fn what_a_collector_does_not_take_is_given_up_and_counted() {
    let gone = {
        // A port that was free a moment ago, and on which nobody listens.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        format!("http://{}", listener.local_addr().expect("it is bound"))
    };
    let all = exported("interruption.yaml", Collector::open(Manner::Takes).url())["trace_spans_exported_total"];
    let (hangs, refuses) = (Collector::open(Manner::Hangs), Collector::open(Manner::Refuses));
    for endpoint in [gone, hangs.url(), refuses.url()] {
        let counts = exported("interruption.yaml", endpoint);
        assert_eq!(counts["trace_spans_exported_total"], 0);
        assert_eq!(counts["trace_spans_given_up_total"], all);
    }
}

/// If it waited, this test would never end: the collector never answers, and more spans come than may wait.
#[test]
fn who_puts_a_span_into_a_full_queue_does_not_wait() {
    let hangs = Collector::open(Manner::Hangs);
    let patient = Options { endpoint: Some(hangs.url()), patience: Duration::from_secs(3_600) };
    let traces = Telemetry::start(&patient, &Notes::default()).expect("the address is one");
    let (onlooker, call) = (traces.onlooker(), call("interruption.yaml"));
    for number in 0..1_500 {
        show(&*onlooker, &format!("golden-{number}"), &call);
    }
    let dropped = counted(&onlooker.counts())["trace_spans_dropped_total"];
    assert!(dropped > 0, "{dropped}");
    assert_eq!(counted(&traces.finish(Duration::ZERO))["trace_spans_exported_total"], 0);
}

/// A question by text, an answer that is heard, and one that is cancelled: what was told and how much was heard.
fn held(traces: Option<Options>) -> (Vec<serde_json::Value>, String) {
    let house = House::with(Serve { traces, ..House::options() });
    let mut client = Client::connect(house.address);
    client.hello();
    let ask = r#"{"type":"text","text":"what are your opening hours"}"#;
    client.say(ask);
    client.until_told("turn", &[("state", json!("committed"))]);
    client.say(ask);
    client.until("audio", |seen| matches!(seen, Seen::Audio { turn: 2, from_sample: 3_200.., .. }));
    client.say(r#"{"type":"cancel"}"#);
    client.until_told("turn", &[("turn", json!(2)), ("state", json!("closed"))]);
    client.say(r#"{"type":"end"}"#);
    assert_eq!(client.until_closed(), Some((1000, "done".to_owned())));
    let turns = client.told().into_iter().filter(|told| told["type"] == "turn" || told["type"] == "caption");
    let told =
        turns.map(|told| json!([told["type"], told["turn"], told["state"], told["text"], told["reason"]])).collect();
    (told, house.get("/metrics"))
}

#[test]
fn a_call_is_the_same_whatever_the_collector_does() {
    let (untraced, _) = held(None);
    assert!(untraced.len() > 8, "{untraced:?}");
    for manner in [Manner::Takes, Manner::Hangs, Manner::Refuses] {
        let collector = Collector::open(manner);
        let (told, metrics) = held(Some(options(collector.url())));
        assert_eq!(told, untraced, "{manner:?}");
        assert!(metrics.contains("\n# TYPE rspp_trace_spans_dropped_total counter\n"), "{metrics}");
    }
}

#[test]
fn the_page_of_metrics_tells_of_nodes_turns_and_gates() {
    let (_, metrics) = held(None);
    let of = "pipeline=\"served\",version=\"1\"";
    for line in [
        format!("rspp_pipeline_turns_total{{{of}}} 2"),
        format!("rspp_turn_ends_total{{{of},end=\"commit\"}} 1"),
        format!("rspp_turn_ends_total{{{of},end=\"cancelled\"}} 1"),
        format!("rspp_turn_cancels_total{{{of},reason=\"user_cancel\"}} 1"),
        format!("rspp_turn_fences_total{{{of}}} 1"),
        format!("rspp_node_invocations_total{{{of},node=\"llm\",kind=\"llm\"}} 2"),
        format!("rspp_node_invocations_running{{{of},node=\"tts\",kind=\"tts\"}} 0"),
        format!("rspp_gate_seconds_count{{{of},gate=\"first_output\"}} 2"),
        format!("rspp_gate_seconds_bucket{{{of},gate=\"cancel_fence\",le=\"0.15\"}} 1"),
        format!("rspp_speech_queued_milliseconds{{{of}}} 0"),
        "rspp_provider_waiting{node=\"llm\"} 0".to_owned(),
        "rspp_recording_exports_given_up_total 0".to_owned(),
    ] {
        assert!(metrics.contains(&format!("\n{line}\n")), "no line {line:?} in\n{metrics}");
    }
}

/// What golden calls with overflowing edges and failing providers come to.
#[test]
fn drops_and_outcomes_are_counted_by_edge_and_node() {
    let meters = Meters::default();
    for name in ["two-edges-blocked.yaml", "provider-failure.yaml"] {
        show(&meters, name, &call(name));
    }
    let counted = meters.page();
    let lines =
        counted.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.contains("_bucket"));
    assert_snapshot!("metrics_of_blocked_edges_and_failures", lines.collect::<Vec<_>>().join("\n"));
}

/// A page that can't be read is worse than none: each kind of number is said once, and all its lines stand together.
#[test]
fn the_page_of_metrics_keeps_to_its_format() {
    let meters = Meters::default();
    ["interruption.yaml", "two-edges-blocked.yaml"].iter().for_each(|name| show(&meters, name, &call(name)));
    let mut families = Vec::new();
    for line in meters.page().lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap_or_default().to_owned();
            assert!(!families.contains(&name), "{name} twice");
            families.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let family = families.last().expect("a family comes first");
            assert!(
                name.strip_prefix(family.as_str())
                    .is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest)),
                "{line}"
            );
            assert!(line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()), "{line}");
        }
    }
    assert!(families.len() > 20, "{families:?}");
}
