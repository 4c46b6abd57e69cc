//! Calls with a model behind an OpenAI-compatible endpoint, scripted here, and with scripted speech engines: `--bind`,
//! tools, what is told of failures, and that a key is nowhere.

mod call;
#[path = "call/chat.rs"]
mod chat;
#[path = "call/engine.rs"]
mod engine;
#[path = "call/fake_server.rs"]
mod fake_server;

use std::path::Path;
use std::process::{Command, Output};

use call::{Call, silence, write_caller};
use chat::{Says, words};
use fake_server::FakeServer;
use serde_json::json;
use tempfile::TempDir;

const QUESTIONS: [&str; 2] = ["when do you open", "and on sunday"];
const CANARY: &str = "sk-canary-9f1c7e";

fn speech(ms: usize) -> Vec<i16> {
    (0..silence(ms).len()).map(|at| if at / 40 % 2 == 0 { 3_000 } else { -3_000 }).collect()
}

/// A folder with a spec of scripted engines, whose model has to be bound, and a caller of two questions.
fn folder(more: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let engine = engine::start(&QUESTIONS);
    let spec = format!(
        "kind: PipelineSpec\nname: test\nversion: 1\ntemplate: voice-assistant\nprompt: Be brief.\n\
         bind: {{stt: \"wyoming+tcp://{engine}#in-order\", llm: \"dialogue:none.yaml\", tts: \"wyoming+tcp://{engine}\"}}\n\
         nodes: {{vad: {{type: vad, detector: energy}}}}\n{more}\n"
    );
    std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
    let caller = [silence(200), speech(1_000), silence(8_000), speech(1_000), silence(200)].concat();
    write_caller(&folder.path().join("caller.wav"), &caller);
    folder
}

fn hold(folder: &Path, name: &str, llm: &str) -> Call {
    let bind = format!("llm={llm}");
    Call::hold(&folder.join("spec.yaml"), &folder.join("caller.wav"), &folder.join(name), &["--bind", &bind])
}

/// Runs the program in a folder, with the canary in an environment variable and in a file.
fn run(folder: &Path, args: &[&str]) -> Output {
    std::fs::write(folder.join("key"), format!("{CANARY}\n")).expect("a file can be written");
    let program =
        Command::new(env!("CARGO_BIN_EXE_rspp")).args(args).current_dir(folder).env("CANARY", CANARY).output();
    program.expect("cargo has built the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const RUN: [&str; 8] = ["run", "spec.yaml", "--input", "caller.wav", "--output", "answer.wav", "--record", "call.rspp"];

// ---- a whole call ---------------------------------------------------------------------------------------------

#[test]
fn a_model_answers_from_the_conversation_and_the_same_call_gives_the_same_bytes() {
    let address = chat::start(|_, asked| {
        let messages = asked.body["messages"].as_array().expect("a list");
        let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
        Says::All(words(&format!("You said {}. I was told {}.", asked.last(), roles.join(" "))))
    });
    let folder = folder("");
    let binding = format!("http://{address}/v1#tiny");
    let calls = ["once", "again"].map(|name| hold(folder.path(), name, &binding));
    let turns = calls[0].turns();
    let said: Vec<&str> = turns.iter().map(|turn| turn.agent_text.as_str()).collect();
    let first = "You said when do you open. I was told system user.";
    assert_eq!(said, [first, "You said and on sunday. I was told system user assistant user."]);
    turns.iter().for_each(call::Turn::check_heard_out);
    assert!(calls[0].bytes() == calls[1].bytes(), "{}\n{}", calls[0].json, calls[1].json);
    calls[0].check_replay();
}

#[test]
fn a_model_that_is_interrupted_in_real_time_stops_and_answers_the_next_question() {
    // The first answer never ends by itself: the second request comes only if the first was cancelled.
    let address = chat::start(|number, asked| match number {
        0 => Says::AndWaits(chat::begin(&[json!({ "content": format!("Let me think about {}. Well", asked.last()) })])),
        _ => Says::All(words(asked.last())),
    });
    let folder = folder("");
    let caller = [silence(200), speech(1_000), silence(1_200), speech(1_400), silence(200)].concat();
    write_caller(&folder.path().join("caller.wav"), &caller);
    let (spec, input) = (folder.path().join("spec.yaml"), folder.path().join("caller.wav"));
    let bind = format!("llm=http://{address}/v1#tiny");
    let call = Call::hold(&spec, &input, &folder.path().join("call"), &["--bind", &bind, "--realtime"]);
    let turns = call.turns();
    assert_eq!(turns.len(), 2, "{}", call.json);
    turns[0].check_cut();
    assert_eq!(turns[1].user_text, QUESTIONS[1]);
    assert!(turns[1].agent_text.contains("The caller spoke over your last answer"), "{}", call.json);
    assert!(turns[1].agent_text.ends_with("and on sunday"), "{}", call.json);
    assert_eq!(call::check_cancelled_turns(&call), 1);
    call.check_replay();
}

const TOOLS: &str = "tools:\n  - {name: hours, effect: read, binding: \"stdio:sh hours.sh\", description: When we open.}\n\
                     \x20 - {name: book, effect: write, binding: \"stdio:sh book.sh\", \
                     parameters: {type: object, properties: {people: {type: integer}}}}";

#[test]
fn a_model_calls_tools_and_is_told_their_results() {
    let address = chat::start(|number, asked| {
        let tools = asked.body["tools"].as_array().map_or(0, Vec::len);
        assert_eq!(tools, 2, "both are declared");
        Says::All(match number {
            0 => chat::call("call_1", "hours", &json!({ "day": "monday" })),
            1 => words(&format!("The tool says {}.", asked.last())),
            2 => chat::call("call_2", "book", &json!({ "people": 2 })),
            _ => words(&format!("Done: {}.", asked.last())),
        })
    });
    let folder = folder(TOOLS);
    std::fs::write(folder.path().join("hours.sh"), "read day; echo \"noon for $day\"").expect("a file can be written");
    std::fs::write(folder.path().join("book.sh"), "cat >>booked; echo \"$RSPP_IDEMPOTENCY_KEY\"").expect("and another");
    let call = hold(folder.path(), "call", &format!("http://{address}/v1#tiny"));
    let turns = call.turns();
    let said: Vec<&str> = turns.iter().map(|turn| turn.agent_text.as_str()).collect();
    assert_eq!(said, ["The tool says noon for {\"day\":\"monday\"}.", "Done: call_2."]);
    assert_eq!(std::fs::read_to_string(folder.path().join("booked")).expect("it was booked"), "{\"people\":2}");
    call.check_replay();
}

#[test]
fn a_server_is_asked_over_tls_if_its_certificate_is_trusted() {
    let (port, certificate) = chat::start_secure(|asked| Says::All(words(&format!("You said {}.", asked.last()))));
    let folder = folder("");
    std::fs::write(folder.path().join("trusted.pem"), certificate).expect("a file can be written");
    let bind = format!("llm=https://localhost:{port}/v1#tiny");
    for (certificates, code, told) in [
        ("trusted.pem", 0, "You said when do you open."),
        // A file without the server's certificate is all that is trusted then.
        ("spec.yaml", 1, "no root certificates on this machine"),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rspp"));
        program.args(RUN).args(["--bind", &bind]).current_dir(folder.path()).env("SSL_CERT_FILE", certificates);
        let ran = program.env_remove("SSL_CERT_DIR").output().expect("cargo has built the program");
        let said = text(&[ran.stdout, ran.stderr].concat());
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{said}");
    }
    let wrong = format!("llm=https://127.0.0.1:{port}/v1#tiny");
    let mut program = Command::new(env!("CARGO_BIN_EXE_rspp"));
    program.args(RUN).args(["--bind", &wrong]).current_dir(folder.path()).env("SSL_CERT_FILE", "trusted.pem");
    let ran = program.output().expect("cargo has built the program");
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("no secure connection") && said.contains("its certificate is trusted here"), "{said}");
}

// ---- failures -------------------------------------------------------------------------------------------------

#[test]
fn a_request_that_fails_is_told_and_tried_once_more_before_its_turn_is_aborted() {
    for (refusals, aborts) in [(1, false), (2, true)] {
        let address = chat::start(move |number, _| {
            Says::All(if number < refusals { chat::refusal("503 Busy", "loading") } else { words("Good day.") })
        });
        let folder = folder("");
        let bind = format!("llm=http://{address}/v1#tiny");
        let ran = run(folder.path(), &[&RUN[..], &["--bind", &bind]].concat());
        let notes = format!("note: llm: {address}: 503: loading\n");
        assert_eq!((ran.status.code(), text(&ran.stderr)), (Some(0), notes));
        let told = text(&ran.stdout);
        assert_eq!(told.contains("abort (provider_failure)"), aborts, "{told}");
        assert!(told.contains("Good day."), "{told}");
    }
}

#[test]
fn a_server_that_is_not_there_is_replaced_by_the_last_word() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let folder = folder("provider: {llm: {fallback: [\"say:Sorry, please call again.\"]}}\n");
    let bind = format!("llm=http://{closed}/v1#tiny");
    let ran = run(folder.path(), &[&RUN[..], &["--bind", &bind]].concat());
    let (told, noted) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{noted}");
    assert!(noted.ends_with("the next of its providers is called\n") && noted.lines().count() == 1, "{noted}");
    assert_eq!(told.matches("Sorry, please call again.").count(), QUESTIONS.len(), "{told}");
}

#[test]
fn a_binding_that_can_not_be_is_told_before_the_call() {
    let folder = folder("");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let closed = format!("llm=http://{closed}/v1#tiny");
    for (bind, code, contains) in [
        ("lm=x", 2, "no node is named lm"),
        ("vad=x", 2, "a node of type vad has no field bind"),
        ("llm", 2, "write NODE=BINDING"),
        ("llm=http://127.0.0.1:9/v1", 2, "it names no model"),
        ("llm=http://127.0.0.1:9/v1?key=sk-canary#m", 2, "a key stands in it"),
        ("llm=http://127.0.0.1:9/v1?key=env:NOBODY_SET_IT#m", 2, "the environment variable NOBODY_SET_IT is not set"),
        ("llm=http://127.0.0.1:9/v1?key=file:none#m", 2, "none can't be read"),
        ("llm=https://api.openai.com/v1#m", 2, "write `https://api.openai.com/v1?key=env:OPENAI_API_KEY#m`"),
        (closed.as_str(), 1, "no connection"),
        ("stt=bundled:pocketsphinx", 2, "none.yaml"),
    ] {
        let ran = run(folder.path(), &[&RUN[..], &["--bind", bind]].concat());
        let told = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{bind}: {told}");
        assert!(told.contains(contains) && !told.contains("canary"), "{bind}: no `{contains}` in: {told}");
    }
    let model = format!("llm=http://{}/v1#m", chat::start(|_, _| Says::All(words("Hello."))));
    let both = [&RUN[..], &["--bind", &model, "--bind", "stt=bundled:pocketsphinx"]].concat();
    let told = text(&run(folder.path(), &both).stderr);
    assert!(told.contains("`bundled:pocketsphinx#any-words`") && told.contains("wyoming+tcp://"), "{told}");
}

// ---- keys -----------------------------------------------------------------------------------------------------

/// Writes down the command line of everything that runs.
const SPY: &str = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >cmdlines; echo looked";

/// Every file that a call left and every word that it said.
fn check_no_canary(folder: &Path, ran: &Output, what: &str) {
    let mut places = vec![("stdout".to_owned(), ran.stdout.clone()), ("stderr".to_owned(), ran.stderr.clone())];
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if !path.ends_with("key") {
            places.push((path.display().to_string(), std::fs::read(&path).expect("it is a file")));
        }
    }
    for (name, bytes) in places {
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{what}: the key is in {name}: {}", text(&bytes));
    }
}

#[test]
fn a_key_is_nowhere_but_in_the_request() {
    let address = chat::start(|_, asked| {
        let key = asked.key().to_owned();
        assert_eq!(key, format!("Bearer {CANARY}"), "it is used");
        // What is asked for is in the path of the binding.
        let kind = asked.head.split(' ').nth(1).and_then(|path| path.split('/').nth(1)).unwrap_or_default();
        Says::All(match kind {
            "good" if asked.last() == "looked" => words(&format!("Your key is {key}.")),
            "good" => chat::call("call_1", "hours", &json!({})),
            "401" => chat::refusal("401 No", &json!({ "error": { "message": format!("wrong: {key}") } }).to_string()),
            "500" => chat::refusal("500 No", &key),
            "page" => format!("HTTP/1.1 200 OK\r\nContent-Type: {key}\r\n\r\n{key}"),
            "garbage" => chat::begin(&[]) + &format!("data: {key}\n\n"),
            _ => chat::begin(&[]) + &format!("data: {}\n\n", json!({ "error": key })),
        })
    });
    for kind in ["good", "401", "500", "page", "garbage", "within"] {
        for reference in ["env:CANARY", "file:key"] {
            let folder = folder(TOOLS);
            write_caller(&folder.path().join("caller.wav"), &[silence(200), speech(600), silence(200)].concat());
            std::fs::write(folder.path().join("hours.sh"), SPY).expect("a file can be written");
            std::fs::write(folder.path().join("book.sh"), "").expect("and another");
            let bind = format!("llm=http://{address}/{kind}/v1?key={reference}#tiny");
            let ran = run(folder.path(), &[&RUN[..], &["--json", "--bind", &bind]].concat());
            assert_eq!(ran.status.code(), Some(0), "{bind}: {}", text(&ran.stderr));
            assert_eq!(ran.stderr.is_empty(), kind == "good", "{bind}: {}", text(&ran.stderr));
            check_no_canary(folder.path(), &ran, &bind);
            let seen = std::fs::read_to_string(folder.path().join("cmdlines")).unwrap_or_default();
            assert_eq!(seen.contains("--bind"), kind == "good", "the spy sees the program: {seen}");
            if kind == "good" {
                check_no_canary(folder.path(), &run(folder.path(), &["replay", "call.rspp"]), &bind);
            }
        }
    }
}

#[test]
fn a_key_that_was_written_into_a_spec_is_not_repeated() {
    let folder = folder("");
    let spec = std::fs::read_to_string(folder.path().join("spec.yaml")).expect("it was written");
    let spec = spec.replace("dialogue:none.yaml", &format!("https://api.openai.com/v1?key={CANARY}#gpt-4o-mini"));
    std::fs::write(folder.path().join("spec.yaml"), &spec).expect("a file can be written");
    for args in [&["explain", "spec.yaml"][..], &RUN[..]] {
        let ran = run(folder.path(), args);
        let told = text(&[ran.stdout, ran.stderr].concat());
        assert_eq!(ran.status.code(), Some(2), "{told}");
        assert!(told.contains("RSPP0022") && told.contains("key=env:NAME") && !told.contains(CANARY), "{told}");
    }
}

// ---- a server that nobody here wrote --------------------------------------------------------------------------

/// What it says: a rule for each question, and one for a tool's result.
const RULES: &str = "version: 1\nrules:\n  \
    - {name: result, when: {tool_result_contains: noon}, respond: {content: The kitchen opens at noon.}}\n  \
    - {name: ask, when: {tools_include: hours, messages_contain: when do you open}, \
       respond: {tool_calls: [{name: hours, arguments: {day: monday}}]}}\n  \
    - {name: plain, when: {messages_contain: when do you open}, \
       respond: {content: We open at noon. And on Sundays we are closed.}}\n";

#[test]
#[ignore = "needs the model server of ci/models.txt: run ./ci/setup"]
fn an_independent_server_answers_a_call() {
    let folder = folder("");
    let Some(server) = FakeServer::start(folder.path(), RULES) else { return };
    let call = hold(folder.path(), "call", &format!("http://{}/v1#tiny", server.address()));
    let turns = call.turns();
    let said: Vec<&str> = turns.iter().map(|turn| turn.agent_text.as_str()).collect();
    assert_eq!(said, ["We open at noon. And on Sundays we are closed."; 2]);
    turns.iter().for_each(call::Turn::check_heard_out);
    call.check_replay();
}

#[test]
#[ignore = "needs the model server of ci/models.txt: run ./ci/setup"]
fn an_independent_server_calls_a_tool() {
    let folder = folder(TOOLS);
    let Some(server) = FakeServer::start(folder.path(), RULES) else { return };
    std::fs::write(folder.path().join("hours.sh"), "read day; echo \"noon for $day\"").expect("a file can be written");
    std::fs::write(folder.path().join("book.sh"), "").expect("and another");
    let bind = format!("llm=http://{}/v1#tiny", server.address());
    let call = Call::hold(
        &folder.path().join("spec.yaml"),
        &folder.path().join("caller.wav"),
        &folder.path().join("call"),
        &["--bind", &bind, "--realtime"],
    );
    let turns = call.turns();
    assert_eq!(turns[0].agent_text, "The kitchen opens at noon.", "{}", call.json);
    call.check_replay();
}

#[test]
#[ignore = "needs the model server of ci/models.txt: run ./ci/setup"]
fn an_independent_server_is_asked_at_a_wrong_path() {
    let folder = folder("");
    let Some(server) = FakeServer::start(folder.path(), RULES) else { return };
    let bind = format!("llm=http://{}/v2#tiny", server.address());
    let ran = run(folder.path(), &[&RUN[..], &["--bind", &bind]].concat());
    let told = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{told}");
    assert!(told.contains("404: Not Found; is `tiny` there, and is the path right"), "{told}");
}
