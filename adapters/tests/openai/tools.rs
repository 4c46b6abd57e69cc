//! Tools: programs and addresses, with what they answer and what they do not.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rspp_adapters::provider::{Answer, Kind, Provider, ProviderError, Sink, Timed, Wanted};
use rspp_adapters::secret::Secrets;
use rspp_adapters::tools::{self, Program, ProgramOptions};
use rspp_specs::event::{ProviderResult, Request, ToolCall};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::peer::{Peer, Step};

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
}

impl Sink for Heard {
    fn take(&mut self, timed: Timed) {
        self.lines.push(match timed.result {
            ProviderResult::ToolResult(text) => text.to_string(),
            ProviderResult::End(outcome) => outcome.name().to_owned(),
            other => panic!("no tool gives {other:?}"),
        });
    }

    fn note(&mut self, text: &str) {
        self.lines.push(format!("note {text}"));
    }
}

fn wanted(binding: &str) -> Wanted<'_> {
    Wanted { node: "llm", kind: Kind::Tool, binding, prompt: None, tools: &[] }
}

fn request(arguments: &str) -> Request {
    Request::Tool(ToolCall { key: "call_1".into(), name: "book".into(), arguments: arguments.into() })
}

fn call(provider: &mut dyn Provider, arguments: &str, cancelled: &CancellationToken) -> Vec<String> {
    let mut heard = Heard::default();
    let done = provider.invoke(&request(arguments), &mut Answer::new(&mut heard, cancelled));
    done.unwrap_or_else(|error| panic!("{error}"));
    heard.lines
}

// ---- programs -------------------------------------------------------------------------------------------------

/// A folder with a shell script named `tool` in it. A shell writes it: a file that this process had open for writing could
/// be busy when another test starts a program.
fn folder(script: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let wrote = Command::new("sh").args(["-c", write, "sh", script]).arg(folder.path().join("tool")).status();
    assert!(wrote.is_ok_and(|status| status.success()), "there is a shell, and room");
    folder
}

fn program(folder: &Path, command: &str, timeout: Duration) -> Program {
    let binding = format!("stdio:{command}");
    let opened = Program::open(&wanted(&binding), command, folder, ProgramOptions { timeout });
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn check(script: &str, arguments: &str, expect: &[&str]) {
    let folder = folder(script);
    let mut program = program(folder.path(), "tool one two", Duration::from_secs(20));
    assert_eq!(call(&mut program, arguments, &CancellationToken::new()), expect, "{script}");
}

#[test]
fn a_program_gets_its_arguments_and_answers() {
    check("cat", "{\"people\":2}", &["{\"people\":2}", "success"]);
    check("echo \"$RSPP_IDEMPOTENCY_KEY $RSPP_TOOL_NAME $1 $2 $#\"", "{}", &["call_1 book one two 2", "success"]);
    check("test -f tool && echo '  beside the spec '", "{}", &["beside the spec", "success"]);
    check("exec cat >/dev/null", "{}", &["", "success"]);
}

#[test]
fn a_program_that_fails_says_so_to_the_model_and_to_people() {
    let died = "it ended with exit status: 3: no table";
    check(
        "echo no table >&2; exit 3",
        "{}",
        &[&format!("note llm: tool book: {died}"), &format!("error: {died}"), "failed"],
    );
    let long = "it answered with more than 32768 bytes";
    check(
        "head -c 40000 /dev/zero",
        "{}",
        &[&format!("note llm: tool book: {long}"), &format!("error: {long}"), "failed"],
    );
    let wrong = "the arguments of the call are no JSON object";
    check("cat", "[1]", &[&format!("note llm: tool book: {wrong}"), &format!("error: {wrong}"), "invalid_request"]);
}

#[test]
fn a_program_that_takes_too_long_ends_with_all_that_it_started() {
    let folder = folder("sleep 1000 & echo $! >child; echo $$ >parent; wait");
    let mut program = program(folder.path(), "tool", Duration::from_millis(400));
    let heard = call(&mut program, "{}", &CancellationToken::new());
    assert_eq!(heard[1..], ["error: no result within 400 ms; it was ended", "timeout"]);
    for name in ["child", "parent"] {
        check_gone(&folder.path().join(name));
    }
}

/// Killed, and at most on its way out.
fn check_gone(file: &Path) {
    let number = std::fs::read_to_string(file).expect("the script wrote it");
    let status = Path::new("/proc").join(number.trim()).join("stat");
    for _ in 0..2_000 {
        let state = std::fs::read_to_string(&status).ok();
        if state.is_none_or(|state| state.contains(") Z ")) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{} still runs", file.display());
}

#[test]
fn a_program_that_is_cancelled_ends_with_its_group() {
    let folder = folder("echo $$ >parent; mkfifo gate; echo there >ready; read never <gate");
    let path = folder.path().to_owned();
    let mut program = program(folder.path(), "tool", Duration::from_secs(20));
    let cancelled = CancellationToken::new();
    let working = cancelled.clone();
    let thread = std::thread::spawn(move || call(&mut program, "{}", &working));
    while !path.join("ready").is_file() {
        std::thread::yield_now();
    }
    cancelled.cancel();
    assert_eq!(thread.join().expect("the provider comes back"), Vec::<String>::new());
    check_gone(&path.join("parent"));
}

#[test]
fn a_binding_of_a_tool_that_is_none_is_told() {
    let folder = folder("cat");
    let error = |binding: &str| {
        tools::open(&wanted(binding), &Secrets::beside(folder.path())).err().map(|error| match error {
            ProviderError::NoProgram { .. } => "no program".to_owned(),
            error => error.to_string(),
        })
    };
    assert_eq!(error("stdio:no-such-program-anywhere").as_deref(), Some("no program"));
    assert_eq!(error("stdio:./no-such-program").as_deref(), Some("no program"));
    assert_eq!(error("stdio:tool"), None);
    assert_eq!(error("stdio:sh tool"), None);
    assert!(error("stdio:").is_some_and(|error| error.contains("`stdio:COMMAND ARGUMENTS`")));
    assert!(error("desk").is_some_and(|error| error.contains("`stdio:COMMAND ARGUMENTS`")));
    assert!(error("http://a/b?key=canary").is_some_and(|error| !error.contains("canary")));
    assert!(error("http://a/b?key=file:nothing").is_some_and(|error| error.contains("nothing can't be read")));
}

// ---- addresses ------------------------------------------------------------------------------------------------

fn post(script: Vec<Step>) -> (Vec<String>, Peer) {
    let peer = Peer::start(vec![script]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openai");
    let binding = format!("http://{}/tools/book?key=file:key", peer.address());
    let mut tool = tools::open(&wanted(&binding), &Secrets::beside(&folder)).unwrap_or_else(|error| panic!("{error}"));
    (call(tool.as_mut(), "{\"people\":2}", &CancellationToken::new()), peer)
}

fn answer(status: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    vec![Step::Read, Step::Send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))]
}

#[test]
fn an_address_is_posted_to_with_the_key_of_the_call() {
    let (heard, peer) = post(answer("200 OK", " booked for sk-of-the-tests \n"));
    assert_eq!(heard, ["booked for [the key]", "success"]);
    let request = peer.request();
    let (head, body) = request.split_once("\r\n\r\n").expect("it has a body");
    assert!(head.starts_with("POST /tools/book HTTP/1.1\r\n") && body == "{\"people\":2}", "{request}");
    for line in ["idempotency-key: call_1", "content-type: application/json", "authorization: Bearer sk-of-the-tests"] {
        assert!(head.lines().any(|found| found == line), "no `{line}` in {head}");
    }
}

#[test]
fn an_address_that_fails_says_so() {
    let (heard, _) = post(answer("409 Taken", "no table"));
    assert_eq!(heard, ["note llm: tool book: 409: no table", "error: 409: no table", "invalid_request"]);
    let (heard, _) = post(answer("200 OK", &"a".repeat(40_000)));
    assert_eq!(heard[1..], ["error: the answer is over the limit of 32768 bytes", "failed"]);
    let (heard, _) = post(answer("204 Nothing", ""));
    assert_eq!(heard, ["", "success"]);
}
