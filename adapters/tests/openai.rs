//! The model behind an OpenAI-compatible endpoint, and tools, against a peer that says exactly what a test tells it to
//! say.

#[path = "openai/peer.rs"]
mod peer;
#[path = "openai/tools.rs"]
mod tools;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use peer::{Peer, Step};
use rspp_adapters::http::Timeouts;
use rspp_adapters::openai::{Bounds, Model, Options};
use rspp_adapters::provider::{Answer, Kind, Provider, Sink, Timed, Wanted};
use rspp_adapters::secret::Secrets;
use rspp_specs::event::{ContextEntry, ProviderResult, Request, ToolCall};
use rspp_specs::outcome::Outcome;
use tokio_util::sync::CancellationToken;

// ---- asking ---------------------------------------------------------------------------------------------------

/// Generous where nothing should be late.
const PATIENT: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(10),
    stall: Duration::from_secs(10),
    whole: Duration::from_secs(20),
};
const SOON: Duration = Duration::from_millis(60);

#[derive(Default)]
struct Heard {
    results: Vec<ProviderResult>,
    notes: Vec<String>,
}

impl Sink for Heard {
    fn take(&mut self, timed: Timed) {
        self.results.push(timed.result);
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

impl Heard {
    fn text(&self) -> String {
        let text = |result: &ProviderResult| match result {
            ProviderResult::Text(text) => Some(text.to_string()),
            _ => None,
        };
        self.results.iter().filter_map(text).collect::<Vec<_>>().join("|")
    }

    fn calls(&self) -> Vec<String> {
        let call = |result: &ProviderResult| match result {
            ProviderResult::ToolCall(ToolCall { key, name, arguments }) => Some(format!("{key} {name} {arguments}")),
            _ => None,
        };
        self.results.iter().filter_map(call).collect()
    }

    /// The end, which is the last result and the only one of its kind.
    fn outcome(&self) -> Outcome {
        let ends: Vec<&ProviderResult> =
            self.results.iter().filter(|result| matches!(result, ProviderResult::End(_))).collect();
        match (ends.as_slice(), self.results.last()) {
            ([_], Some(ProviderResult::End(outcome))) => *outcome,
            _ => panic!("one end, behind everything: {:?}", self.results),
        }
    }
}

fn model(peer: &Peer, query: &str, options: Options) -> Model {
    let binding = format!("http://{}/v1{query}#tiny", peer.address());
    let wanted = Wanted { node: "llm", kind: Kind::Model, binding: &binding, prompt: None, tools: &[] };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai");
    Model::open(&wanted, &Secrets::beside(&folder), options).unwrap_or_else(|error| panic!("{error}"))
}

fn chat() -> Request {
    let said = ContextEntry::User { text: "hello".into(), understood: true };
    Request::Chat { context: vec![said].into() }
}

fn ask(model: &mut Model) -> Heard {
    let mut heard = Heard::default();
    let cancelled = CancellationToken::new();
    model.invoke(&chat(), &mut Answer::new(&mut heard, &cancelled)).unwrap_or_else(|error| panic!("{error}"));
    heard
}

// ---- what a peer says -----------------------------------------------------------------------------------------

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nConnection: close\r\n\r\n";
const DONE: &str = "data: [DONE]\n\n";

fn event(delta: &str, finish: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n")
}

fn said(text: &str) -> String {
    event(&serde_json::json!({ "role": "assistant", "content": text }).to_string(), "null")
}

fn whole() -> String {
    [&said("Hello"), &said(", caller."), &event("{}", "\"stop\""), DONE].map(|part| part.to_owned()).concat()
}

fn status(line: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Read, Step::Send(format!("HTTP/1.1 {line}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))]
}

fn stream(body: &str) -> Vec<Step> {
    vec![Step::Read, Step::Send(format!("{STREAM}{body}"))]
}

/// A peer's script, and what comes of it.
struct Case {
    name: &'static str,
    script: Vec<Step>,
    text: &'static str,
    outcome: Outcome,
    note: &'static str,
}

impl Case {
    fn check(self, options: Options) {
        // A connection that breaks before anything came over it is made anew, once.
        let peer = Peer::start(vec![self.script.clone(), self.script]);
        let heard = ask(&mut model(&peer, "?key=file:key", options));
        let notes = heard.notes.join("\n");
        assert_eq!((heard.text().as_str(), heard.outcome()), (self.text, self.outcome), "{}: {notes}", self.name);
        assert!(notes.contains(self.note), "{}: no `{}` in: {notes}", self.name, self.note);
        assert_eq!(notes.is_empty(), self.outcome == Outcome::Success, "{}: {notes}", self.name);
    }
}

fn case(name: &'static str, script: Vec<Step>, text: &'static str, outcome: Outcome, note: &'static str) -> Case {
    Case { name, script, text, outcome, note }
}

#[test]
fn answers_are_taken_however_they_are_cut() {
    let options = Options { timeouts: PATIENT, ..Options::default() };
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n", body.len());
    let in_chunks = whole().split_inclusive("\n\n").map(chunked).collect::<String>() + "0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let comments = format!(": wait\n\nretry: 10\n\nevent: message\r\n{}", whole().replace("\n\n", "\r\n\r\n"));
    let no_done = whole().replace(DONE, "");
    let usage = whole().replace(DONE, "data: {\"choices\":[],\"usage\":{\"total_tokens\":9}}\n\ndata: [DONE]\n\n");
    let nulls = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":null,\"tool_calls\":null}}}}],\"error\":null}}\n\n{}",
        whole()
    );
    let text = "Hello|, caller.";
    for (name, script) in [
        ("at once", stream(&whole())),
        ("byte by byte", vec![Step::Read, Step::Dribble(format!("{STREAM}{}", whole()))]),
        ("in chunks", vec![Step::Read, Step::Send(format!("{head}{in_chunks}"))]),
        ("chunks, byte by byte", vec![Step::Read, Step::Dribble(format!("{head}{in_chunks}"))]),
        ("comments and other line ends", stream(&comments)),
        ("without [DONE]", stream(&no_done)),
        ("with usage", stream(&usage)),
        ("with nulls", stream(&nulls)),
    ] {
        case(name, script, text, Outcome::Success, "").check(options);
    }
}

#[test]
fn what_a_server_refuses_ends_the_invocation_with_its_reason() {
    let options = Options { timeouts: PATIENT, ..Options::default() };
    let json = "Content-Type: application/json\r\n";
    let error =
        |message: &str, code: &str| serde_json::json!({ "error": { "message": message, "code": code } }).to_string();
    let cases = [
        case(
            "429",
            status("429 Too Many Requests", "Retry-After: 7\r\n", "slow down"),
            "",
            Outcome::RateLimited,
            "it says to wait for 7 s",
        ),
        case("500", status("500 Oops", json, &error("broken", "")), "", Outcome::Overload, "500: broken"),
        case("503", status("503 Busy", "", ""), "", Outcome::Overload, "503"),
        case("504", status("504 Late", "", ""), "", Outcome::Timeout, "504"),
        case(
            "401",
            status("401 No", json, &error("no", "invalid_api_key")),
            "",
            Outcome::InvalidRequest,
            "401: no; the key of file:key was refused",
        ),
        case(
            "404",
            status("404 No", json, "{\"error\":\"model \\\"tiny\\\" not found\"}"),
            "",
            Outcome::InvalidRequest,
            "is `tiny` there",
        ),
        case(
            "400",
            status("400 No", json, &error("filtered", "content_filter")),
            "",
            Outcome::Blocked,
            "400: filtered",
        ),
        case(
            "redirect",
            status("302 Found", "Location: http://elsewhere/\r\n", ""),
            "",
            Outcome::InvalidRequest,
            "redirects are not followed",
        ),
        case(
            "page",
            status("200 OK", "Content-Type: text/html\r\n", "<html>"),
            "",
            Outcome::InvalidRequest,
            "answered with text/html, not with text/event-stream",
        ),
        case("no type", status("200 OK", "", "hello"), "", Outcome::InvalidRequest, "not with text/event-stream"),
        case(
            "error within",
            stream(&format!("{}data: {}\n\n", said("He"), error("overloaded", "overloaded"))),
            "He",
            Outcome::Overload,
            "it reports: overloaded",
        ),
        case(
            "filtered",
            stream(&format!("{}{}{DONE}", said("He"), event("{}", "\"content_filter\""))),
            "He",
            Outcome::Blocked,
            "content filter",
        ),
    ];
    cases.into_iter().for_each(|case| case.check(options));
}

#[test]
fn what_breaks_off_or_makes_no_sense_ends_the_invocation() {
    let options = Options { timeouts: PATIENT, ..Options::default() };
    let half = format!("{STREAM}{}", said("He"));
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        case("hung up at once", vec![Step::Read], "", Outcome::Disconnected, "hung up"),
        case(
            "hung up in the head",
            vec![Step::Read, Step::Send("HTTP/1.1 200".to_owned())],
            "",
            Outcome::Disconnected,
            "hung up",
        ),
        case(
            "half closed",
            vec![Step::Read, Step::Send(half.clone()), Step::HalfClose],
            "He",
            Outcome::Disconnected,
            "in the middle of the answer",
        ),
        case("reset", vec![Step::ReadHead, Step::Send(half), Step::Reset], "He", Outcome::Disconnected, "hung up"),
        case(
            "chunk cut",
            vec![Step::Read, Step::Send(format!("{chunked}ff\r\n{}", said("He")))],
            "He",
            Outcome::Disconnected,
            "hung up",
        ),
        case(
            "no HTTP",
            vec![Step::Read, Step::Send("220 ready\r\n".to_owned())],
            "",
            Outcome::Failed,
            "makes no sense",
        ),
        case("no JSON", stream(&format!("{}data: {{]\n\n", said("He"))), "He", Outcome::Failed, "no JSON"),
        case("no chunk", stream("data: {\"choices\":7}\n\n"), "", Outcome::Failed, "no chunk of a chat completion"),
        case("no choices", stream("data: {}\n\n"), "", Outcome::Failed, "no choices"),
        case("bytes", stream("\u{0}\u{1}\u{2}"), "", Outcome::Disconnected, "in the middle"),
    ];
    cases.into_iter().for_each(|case| case.check(options));
}

#[test]
fn what_is_late_is_not_waited_for() {
    let hold = |say: String| vec![Step::Read, Step::Send(say), Step::UntilClosed];
    let late = |timeouts: Timeouts| Options { timeouts, ..Options::default() };
    let first = late(Timeouts { first_byte: SOON, ..PATIENT });
    case("no head", hold(String::new()), "", Outcome::Timeout, "no first byte of the answer within 60 ms").check(first);
    case("no body", hold(STREAM.to_owned()), "", Outcome::Timeout, "no first byte of the answer within 60 ms")
        .check(first);
    let half = format!("{STREAM}{}", said("He"));
    let stall = late(Timeouts { stall: SOON, ..PATIENT });
    case("stall", hold(half), "He", Outcome::Timeout, "no more of the answer within 60 ms").check(stall);
    let whole = late(Timeouts { whole: SOON, ..PATIENT });
    let endless = vec![Step::Read, Step::Send(STREAM.to_owned()), Step::Forever(": wait\n\n".to_owned())];
    case("endless", endless, "", Outcome::Timeout, "no end of the answer within 60 ms").check(whole);
}

#[test]
fn what_is_too_much_is_not_taken() {
    let bounds = Bounds { response_bytes: 20_000, event_bytes: 10_000, argument_bytes: 50, tool_calls: 2 };
    let options = Options { timeouts: PATIENT, bounds };
    let long = "a".repeat(12_000);
    let call = |index: usize, arguments: &str| {
        let call = serde_json::json!({ "tool_calls": [{ "index": index, "id": format!("c{index}"),
            "function": { "name": "book", "arguments": arguments } }] });
        event(&call.to_string(), "null")
    };
    let forever = vec![Step::Read, Step::Send(STREAM.to_owned()), Step::Forever(said("a"))];
    let never_ends = vec![Step::Read, Step::Send(format!("{STREAM}data: ")), Step::Forever("a".repeat(500))];
    let peer = Peer::start(vec![forever]);
    let heard = ask(&mut model(&peer, "", options));
    assert_eq!(heard.outcome(), Outcome::Failed);
    assert!(heard.notes[0].contains("the answer is over the limit of 20000 bytes"), "{:?}", heard.notes);
    let cases = [
        case("a long event", stream(&said(&long)), "", Outcome::Failed, "an event is over the limit of 10000 bytes"),
        case("an event without end", never_ends, "", Outcome::Failed, "an event is over the limit of 10000 bytes"),
        case(
            "long arguments",
            stream(&call(0, &long[..60])),
            "",
            Outcome::Failed,
            "a tool call is over the limit of 50 bytes",
        ),
        case(
            "many calls",
            stream(&[call(0, "{}"), call(1, "{}"), call(2, "{}")].concat()),
            "",
            Outcome::Failed,
            "one answer is over the limit of 2 tool calls",
        ),
    ];
    cases.into_iter().for_each(|case| case.check(options));
}

// ---- tools ----------------------------------------------------------------------------------------------------

/// Deltas of tool calls, and the calls that they are.
fn check_calls(deltas: &[&str], expect: &[&str]) {
    let deltas = deltas.iter().map(|delta| event(&format!("{{\"tool_calls\":{delta}}}"), "null"));
    let body = deltas.collect::<String>() + &event("{}", "\"tool_calls\"") + DONE;
    let peer = Peer::start(vec![vec![Step::Read, Step::Dribble(format!("{STREAM}{body}"))]]);
    let heard = ask(&mut model(&peer, "", Options { timeouts: PATIENT, ..Options::default() }));
    assert_eq!(
        (heard.calls().as_slice(), heard.outcome()),
        (&expect.iter().map(|call| (*call).to_owned()).collect::<Vec<_>>()[..], Outcome::Success),
        "{body}"
    );
}

#[test]
fn tool_calls_are_put_together_from_their_pieces() {
    check_calls(
        &[
            r#"[{"index":0,"id":"c1","type":"function","function":{"name":"book","arguments":""}}]"#,
            r#"[{"index":0,"function":{"arguments":"{\"people\""}}]"#,
            r#"[{"index":1,"id":"c2","function":{"name":"hours","arguments":""}}]"#,
            r#"[{"index":0,"function":{"arguments":":2}"}}]"#,
        ],
        &["c1 book {\"people\":2}", "c2 hours {}"],
    );
    // Whole calls in one piece, all with one index, as some servers give them.
    check_calls(
        &[
            r#"[{"index":0,"id":"c1","function":{"name":"book","arguments":"{}"}}]"#,
            r#"[{"index":0,"id":"c2","function":{"name":"hours","arguments":"{}"}}]"#,
        ],
        &["c1 book {}", "c2 hours {}"],
    );
    check_calls(
        &[r#"[{"id":"c1","function":{"name":"book","arguments":"{\"a\":"}}]"#, r#"[{"function":{"arguments":"1}"}}]"#],
        &["c1 book {\"a\":1}"],
    );
    // A key that is used again is none.
    check_calls(
        &[
            r#"[{"index":0,"id":"c1","function":{"name":"book","arguments":"{}"}}]"#,
            r#"[{"index":1,"id":"c1","function":{"name":"book","arguments":"{}"}}]"#,
        ],
        &["c1 book {}", "c1-2 book {}"],
    );
}

#[test]
fn a_call_without_a_usable_key_gets_one_of_its_own() {
    let delta = r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"a"}},{"index":1,"id":"x\ny","function":{"name":"b"}}]}"#;
    let body = event(delta, "null") + DONE;
    let peer = Peer::start(vec![stream(&body)]);
    let calls = ask(&mut model(&peer, "", Options { timeouts: PATIENT, ..Options::default() })).calls();
    let keys: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{calls:?}");
    assert!(keys.iter().all(|key| key.len() == 37 && key.starts_with("call-")), "{calls:?}");
}

// ---- connections ----------------------------------------------------------------------------------------------

fn kept(body: &str) -> Step {
    let length = body.len();
    Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {length}\r\n\r\n{body}"))
}

#[test]
fn a_connection_is_kept_from_one_answer_to_the_next() {
    let answer = || [Step::Read, kept(&whole())];
    let peer = Peer::start(vec![[answer(), answer(), answer()].into_iter().flatten().collect()]);
    let mut model = model(&peer, "", Options { timeouts: PATIENT, ..Options::default() });
    for _ in 0..3 {
        assert_eq!(ask(&mut model).outcome(), Outcome::Success);
    }
    assert_eq!(peer.connections(), 1);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let answer = || vec![Step::Read, kept(&whole())];
    let peer = Peer::start(vec![answer(), answer()]);
    let mut model = model(&peer, "", Options { timeouts: PATIENT, ..Options::default() });
    assert_eq!(ask(&mut model).outcome(), Outcome::Success);
    peer.wait_until_closed();
    let again = ask(&mut model);
    assert_eq!((again.outcome(), again.notes.len(), peer.connections()), (Outcome::Success, 0, 2));
}

#[test]
fn a_request_has_the_key_the_model_and_the_conversation() {
    let peer = Peer::start(vec![stream(&whole())]);
    ask(&mut model(&peer, "?key=file:key", Options { timeouts: PATIENT, ..Options::default() }));
    let request = peer.request();
    let (head, body) = request.split_once("\r\n\r\n").expect("it has a body");
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    let host = format!("host: {}", peer.address());
    for line in [host.as_str(), "authorization: bearer sk-of-the-tests", "accept: text/event-stream"] {
        assert!(head.lines().any(|found| found == line), "no `{line}` in {head}");
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
    assert_eq!(
        body,
        serde_json::json!({ "model": "tiny", "stream": true, "messages": [{ "role": "user", "content": "hello" }] })
    );
}

#[test]
fn a_server_that_is_not_there_is_told_before_the_call() {
    let binding = |port: u16| format!("http://127.0.0.1:{port}/v1#tiny");
    let open = |binding: &str| {
        let wanted = Wanted { node: "llm", kind: Kind::Model, binding, prompt: None, tools: &[] };
        Model::open(&wanted, &Secrets::beside(std::path::Path::new("")), Options::default())
            .err()
            .map(|error| error.to_string())
    };
    let error = open(&binding(peer::free_port())).expect("nobody listens");
    assert!(error.contains("no connection") && error.contains("start the server there"), "{error}");
    let error = open("https://api.openai.com/v1#gpt-4o-mini").expect("it wants a key");
    assert!(error.contains("?key=env:OPENAI_API_KEY#gpt-4o-mini"), "{error}");
}

#[test]
fn a_server_that_repeats_the_key_does_not_bring_it_out() {
    let body = "no such key: Bearer sk-of-the-tests (sk-of-the-tests)";
    let escaped = r#"{"error":{"message":"sk-of\u002dthe-tests"}}"#;
    for script in [
        status("401 No", "", body),
        status("400 No", "", escaped),
        status("200 OK", "Content-Type: sk-of-the-tests\r\n", ""),
        stream(&format!("data: {escaped}\n\n")),
        stream("data: sk-of-the-tests\n\n"),
        stream(&(said("your key is sk-of-the-tests.") + DONE)),
        stream(
            &(event(
                r#"{"tool_calls":[{"id":"sk-of-the-tests","function":{"name":"sk-of-the-tests","arguments":"sk-of-the-tests"}}]}"#,
                "null",
            ) + DONE),
        ),
    ] {
        let peer = Peer::start(vec![script]);
        let heard = ask(&mut model(&peer, "?key=file:key", Options { timeouts: PATIENT, ..Options::default() }));
        let shown = format!("{:?} {:?}", heard.results, heard.notes);
        assert!(!shown.contains("of-the-tests"), "{shown}");
    }
}

// ---- cancelling -----------------------------------------------------------------------------------------------

/// Tells when the first text is there.
struct Telling {
    heard: Heard,
    first: std::sync::mpsc::Sender<()>,
}

impl Sink for Telling {
    fn take(&mut self, timed: Timed) {
        self.heard.take(timed);
        let _ = self.first.send(());
    }

    fn note(&mut self, text: &str) {
        self.heard.note(text);
    }
}

/// From the cancellation to the moment in which the peer sees its socket closed.
fn closing_time(say: &str) -> Duration {
    let peer = Peer::start(vec![vec![Step::Read, Step::Send(say.to_owned()), Step::UntilClosed]]);
    let mut model = model(&peer, "", Options { timeouts: PATIENT, ..Options::default() });
    let cancelled = CancellationToken::new();
    let (first, is_there) = channel();
    let has_text = say.contains("data:");
    let working = cancelled.clone();
    let thread = std::thread::spawn(move || {
        let mut telling = Telling { heard: Heard::default(), first };
        model.invoke(&chat(), &mut Answer::new(&mut telling, &working)).unwrap_or_else(|error| panic!("{error}"));
        telling.heard
    });
    peer.request();
    if has_text {
        is_there.recv().expect("the first text comes");
    }
    let begun = Instant::now();
    cancelled.cancel();
    let closed = peer.wait_until_closed();
    let heard = thread.join().expect("the provider comes back");
    // What follows a cancellation is nobody's: no end and no note.
    assert_eq!((heard.results.len(), heard.notes.len()), (usize::from(has_text), 0));
    closed.saturating_duration_since(begun)
}

#[test]
fn a_cancellation_closes_the_socket_within_5_ms() {
    let half = format!("{STREAM}{}", said("He"));
    for (name, say) in [("in the middle of the answer", half.as_str()), ("before its head", "")] {
        // A machine that does something else meanwhile is late once, and not ten times.
        let best = (0..10).map(|_| closing_time(say)).min().expect("there were ten");
        eprintln!("cancelled {name}: the peer sees it after {} us, the best of 10", best.as_micros());
        assert!(best <= Duration::from_millis(5), "{name}: {best:?}");
    }
}

#[test]
fn what_was_cancelled_before_it_began_asks_nobody() {
    let peer = Peer::start(vec![stream(&whole())]);
    let mut model = model(&peer, "", Options { timeouts: PATIENT, ..Options::default() });
    let (mut heard, cancelled) = (Heard::default(), Arc::new(CancellationToken::new()));
    cancelled.cancel();
    model.invoke(&chat(), &mut Answer::new(&mut heard, &cancelled)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(heard.results, []);
    assert_eq!(ask(&mut model).outcome(), Outcome::Success, "it is of use all the same");
}
