//! `rspp serve`, over real sockets: a call by text, a barge-in, a connection that is lost and comes back, and the end.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;

use std::time::Instant;

use client::{Client, Seen};
use house::House;
use rspp::adapters::admission::{Capacity, Priority};
use rspp::adapters::token::{AUDIENCE, Claims, Issuer, now};
use rspp::serve::{BuiltIn, Serve};
use serde_json::{Value, json};

const ASK: &str = r#"{"type":"text","text":"what are your opening hours"}"#;

#[test]
fn who_types_is_answered_in_speech_and_in_words() {
    let house = House::open();
    let mut client = Client::connect(house.address);
    let ready = client.hello();
    assert_eq!((&ready["version"], &ready["resumed"], &ready["rate_hz"]), (&json!(1), &json!(false), &json!(16_000)));
    client.say(ASK);
    let open = client.until_told("turn", &[("state", json!("open"))]);
    assert_eq!((&open["turn"], &open["text"]), (&json!(1), &json!("what are your opening hours")));
    let said = client.until_told("caption", &[("who", json!("agent"))]);
    assert!(said["text"].as_str().is_some_and(|text| !text.is_empty()), "{said}");
    client.until_told("turn", &[("state", json!("committed"))]);
    // One after the other, without a gap or a repetition.
    let mut expected = 0;
    for seen in &client.seen {
        if let Seen::Audio { turn: 1, epoch: 0, from_sample, samples } = seen {
            assert_eq!(*from_sample, expected);
            expected += samples.len() as u64;
        }
    }
    assert!(expected >= 16_000, "only {expected} samples");
    client.say(&format!(r#"{{"type":"playout","turn":1,"heard_samples":{expected},"occasion":"drained"}}"#));
    let heard = client.until_told("heard", &[]);
    assert_eq!(heard["cut"], json!(false), "{heard}");
    client.say(r#"{"type":"end"}"#);
    assert_eq!(client.until_closed(), Some((1000, "done".to_owned())));
    let metrics = house.get("/metrics");
    assert!(metrics.contains("\nrspp_turns_total 1\n") && metrics.contains("\nrspp_sessions 0\n"), "{metrics}");
}

#[test]
fn a_cancel_clears_and_nothing_of_the_old_turn_follows() {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    client.until("audio", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
    client.say(r#"{"type":"cancel"}"#);
    let clear = client.until_told("clear", &[("turn", json!(1))]);
    let played = 4_000;
    client.say(&format!(r#"{{"type":"playout","turn":1,"heard_samples":{played},"occasion":"cleared"}}"#));
    let heard = client.until_told("heard", &[]);
    assert_eq!(heard["cut"], json!(true), "{heard}");
    let at = client.seen.iter().position(|seen| matches!(seen, Seen::Told(told) if *told == clear));
    client.say(ASK);
    client.until("the next answer", |seen| matches!(seen, Seen::Audio { turn: 2, .. }));
    let after = &client.seen[at.expect("it was seen")..];
    let old = after.iter().filter(|seen| matches!(seen, Seen::Audio { turn: 1, .. })).count();
    assert_eq!(old, 0, "frames of the old turn after its clear");
}

#[test]
fn operators_see_how_it_is() {
    let house = House::open();
    assert_eq!((house.get("/healthz").as_str(), house.get("/readyz").as_str()), ("ok\n", "ok\n"));
    let refused = Client::try_connect(house.address, "/v1/rspp", "chess").err().expect("nobody plays chess here");
    assert_eq!(refused.0, 400);
    assert!(refused.1.starts_with("unsupported: "), "{}", refused.1);
    assert!(house.get("/metrics").contains("rspp_refusals_total{code=\"unsupported\"} 1\n"));
}

#[test]
fn a_bundled_pipeline_is_there_where_none_is_named() {
    let built_in = BuiltIn::unpack().expect("there is room");
    assert!(built_in.bindings.iter().any(|(node, _)| node == "tts"), "{:?}", built_in.notes);
    // Engines differ from machine to machine; what it has in their place is the same everywhere.
    let house = House::with(Serve { spec: built_in.spec.clone(), ..House::options() });
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    client.until("an answer", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
}

#[test]
fn the_console_is_one_page_that_loads_nothing_from_elsewhere() {
    let house = House::open();
    let page = house.get("/");
    let linked: Vec<&str> = page.split('"').filter(|text| text.ends_with(".js") || text.ends_with(".css")).collect();
    assert_eq!(linked, ["console.css", "console.js"]);
    assert!(!page.contains("://"), "all that it loads is here");
    for module in ["calls", "captions", "console", "graph", "latency", "line", "sound", "story", "timeline", "worklets"]
    {
        let text = house.get(&format!("/{module}.js"));
        let imports = text.lines().filter_map(|line| line.split_once(" from \"./")?.1.strip_suffix("\";"));
        for import in imports {
            assert!(!house.get(&format!("/{import}")).is_empty(), "{module}.js imports {import}");
        }
        assert!(!text.is_empty(), "{module}.js");
    }
    assert!(house.get("/pipeline.json").contains("\"name\":\"served\""));
    assert!(house.get("/pipeline.svg").starts_with("<svg"));
}

#[test]
fn the_end_waits_for_answers_and_takes_no_new_calls() {
    let house = House::open();
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    client.until("audio", |seen| matches!(seen, Seen::Audio { .. }));
    house.ask_to_end();
    client.until_told("turn", &[("state", json!("committed"))]);
    assert_eq!(client.until_closed(), Some((1000, "done".to_owned())));
    house.ended();
}

/// What the server takes on.
fn with_capacity(capacity: Capacity) -> House {
    House::with(Serve { capacity, ..House::options() })
}

#[test]
fn one_call_too_many_is_refused_with_a_code_and_a_reason() {
    let house = with_capacity(Capacity { sessions: 1, ..Capacity::default() });
    let mut first = Client::connect(house.address);
    first.hello();
    let mut second = Client::connect(house.address);
    second.say(r#"{"type":"hello","version":1}"#);
    let (code, reason) = second.until_closed().expect("it is told why");
    assert!(code == 1013 && reason.starts_with("full: the server has 1 calls"), "{code} {reason}");
    first.say(r#"{"type":"end"}"#);
    assert_eq!(first.until_closed(), Some((1000, "done".to_owned())));
    let mut third = Client::connect(house.address);
    third.hello();
    let shared = with_capacity(Capacity { sessions_of_a_key: 1, ..Capacity::default() });
    let mut first = Client::connect(shared.address);
    first.hello();
    let mut second = Client::connect(shared.address);
    second.say(r#"{"type":"hello","version":1}"#);
    let (code, reason) = second.until_closed().expect("it is told why");
    assert!(code == 1013 && reason.starts_with("over_quota: the tenant has 1 calls"), "{code} {reason}");
}

#[test]
fn a_turn_for_which_there_is_no_room_waits_until_there_is() {
    let house = with_capacity(Capacity { turns: 1, ..Capacity::default() });
    let mut first = Client::connect(house.address);
    first.hello();
    let mut second = Client::connect(house.address);
    second.hello();
    first.say(ASK);
    first.until("audio", |seen| matches!(seen, Seen::Audio { .. }));
    second.say(ASK);
    second.until_told("signal", &[("name", json!("defer"))]);
    first.say(r#"{"type":"end"}"#);
    second.until_told("turn", &[("state", json!("open"))]);
    let metrics = house.get("/metrics");
    assert!(!metrics.contains("\nrspp_turns_refused_total 0\n"), "{metrics}");
}

#[test]
fn who_waits_for_no_answer_is_shed_first() {
    // All of it is headroom: nothing is left for the background.
    let capacity = Capacity { headroom_percent: 100, ..Capacity::default() };
    let (issuer, _) = Issuer::fresh().expect("there is randomness");
    let folder = tempfile::tempdir().expect("there is room");
    let key = folder.path().join("key.pub.pem");
    std::fs::write(&key, issuer.public().to_pem()).expect("there is room");
    let house = House::with(Serve { token_keys: vec![key], capacity, ..House::options() });
    let call = |session: &str, priority: Priority| {
        let word = |text: &str| text.to_owned();
        let (tenant, pipeline, session) = (word("acme"), word("served"), word(session));
        let (aud, iat, exp) = (word(AUDIENCE), now(), now() + 60);
        let claims = Claims { aud, tenant, pipeline, session, priority, iat, exp, lease: None };
        let mut client = Client::connect(house.address);
        client.say(&json!({"type": "hello", "version": 1, "token": issuer.issue(&claims)}).to_string());
        client.until_told("ready", &[]);
        client
    };
    let mut rehearsal = call("rehearsal", Priority::Background);
    let mut caller = call("caller", Priority::Interactive);
    rehearsal.say(ASK);
    rehearsal.until_told("signal", &[("name", json!("shed"))]);
    caller.say(ASK);
    caller.until_told("turn", &[("state", json!("open"))]);
}

/// A server that records, and the name of a call that it has recorded.
fn with_a_recorded_call() -> (House, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let house = House::with(Serve { record: Some(folder.path().to_owned()), ..House::options() });
    let mut client = Client::connect(house.address);
    client.hello();
    client.say(ASK);
    client.until_told("turn", &[("state", json!("committed"))]);
    client.say(r#"{"type":"end"}"#);
    client.until_closed();
    let until = Instant::now() + client::PATIENCE;
    loop {
        let calls: Value = serde_json::from_str(&house.get("/recordings.json")).expect("it is JSON");
        if let Some(name) = calls[0]["name"].as_str() {
            return (house, folder, name.to_owned());
        }
        assert!(Instant::now() < until, "the call is not there");
    }
}

#[test]
fn a_recorded_call_is_told_as_it_was_and_to_this_machine_alone() {
    let (house, _folder, name) = with_a_recorded_call();
    let path = format!("/recordings/{name}/call.json");
    let call: Value = serde_json::from_str(&house.get(&path)).expect("it is JSON");
    let messages = call["messages"].as_array().expect("it has some");
    let is_open = |told: &&Value| told["type"] == "turn" && told["state"] == "open";
    let open = messages.iter().find(is_open).expect("a turn opened");
    assert!(
        open["at"].as_f64().is_some_and(|at| at >= 0.0 && at < call["lasted_ms"].as_f64().unwrap_or(0.0)),
        "{open}"
    );
    assert!(messages.iter().is_sorted_by_key(|told| told["at"].as_f64().map(|at| at as u64)));
    // At the level of the profile nothing is recorded that sounds.
    assert_eq!(call["has_sound"], json!(false));
    assert_eq!(house.get_as("127.0.0.1", &format!("/recordings/{name}/sound.wav")).0, 404);
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example"] {
        for path in [path.as_str(), "/recordings.json"] {
            assert_eq!(house.get_as(host, path).0, 403, "{host} {path}");
        }
    }
    for name in ["..%2f..%2fetc%2fpasswd", ".log", "none.rspp", "%2e%2e%2fx.rspp"] {
        assert_eq!(house.get_as("localhost", &format!("/recordings/{name}/call.json")).0, 404, "{name}");
    }
    assert_eq!(House::open().get_as("localhost", "/recordings.json").0, 404, "nothing is recorded there");
}

#[test]
fn the_graph_has_numbers_that_grow() {
    let (house, _folder, _) = with_a_recorded_call();
    let live: Value = serde_json::from_str(&house.get("/live.json")).expect("it is JSON");
    let node = |name: &str| live["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == name));
    let (llm, tts) = (node("llm").expect("it is there"), node("tts").expect("it is there"));
    assert_eq!((&llm["invocations"], &llm["running"]), (&json!(1), &json!(0)));
    assert!(tts["gave"].as_u64() > Some(10), "{tts}");
    assert_eq!((&live["turns"], &live["sessions"], &live["queued_ms"]), (&json!(1), &json!(0), &json!(0)));
    let edge = |edge: &&Value| edge["to"] == "playout" && edge["bound"].as_u64().is_some();
    assert!(live["edges"].as_array().is_some_and(|edges| edges.iter().any(|one| edge(&one))), "{live}");
}
