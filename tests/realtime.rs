//! The OpenAI Realtime protocol, spoken by clients that nobody here wrote: the `openai` package for Python, OpenAI's agents
//! library for Node, LiveKit's plugin and Pipecat's service. `ci/setup` installs them; `RSPP_REALTIME` names another
//! interpreter that has the first.

#[path = "serve/house.rs"]
mod house;

use std::path::{Path, PathBuf};
use std::process::Command;

use house::House;
use rspp::adapters::audio::{Rechunker, read_call};
use serde_json::{Value, json};

fn python() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv-realtime/bin/python");
    std::env::var_os("RSPP_REALTIME").map_or(installed, PathBuf::from)
}

/// The first question of the bundled call, at the protocol's rate.
fn speech(path: &Path) {
    let call = read_call(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/examples/restaurant.caller.wav"));
    let samples = call.expect("it is bundled").samples;
    let mut rechunker = Rechunker::new(24_000).expect("the rate is one that is supported");
    let frames = rechunker.push_pcm(&samples[..16_000 * 5], 16_000, None).expect("the rate is one that is supported");
    let bytes: Vec<u8> =
        frames.iter().flat_map(|frame| frame.samples.iter()).flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(path, bytes).expect("there is room");
}

#[test]
#[ignore = "needs the packages of ci/realtime.txt"]
fn the_openai_sdk_holds_a_call() {
    let folder = tempfile::tempdir().expect("there is room");
    let pcm = folder.path().join("speech.pcm");
    speech(&pcm);
    let house = House::open();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/realtime/openai_client.py");
    let output = Command::new(python())
        .arg(script)
        .arg(house.address.to_string())
        .arg(&pcm)
        .output()
        .expect("python starts: run ci/setup");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.starts_with("ok: "), "{said}\n{wrong}");
    eprintln!("{said}");
}

/// The template of an agent with tools, which its client carries out.
fn with_tools_of_the_client(folder: &Path) -> PathBuf {
    let template = repository().join("specs/templates/tool-agent");
    let spec = std::fs::read_to_string(template.join("pipeline.yaml")).expect("it is part of the repository");
    let spec = spec.replace("stdio:sh tools/hours.sh", "\"client:\"").replace("stdio:sh tools/book.sh", "\"client:\"");
    for file in ["dialogue.yaml", "captions.yaml"] {
        std::fs::copy(template.join(file), folder.join(file)).expect("there is room");
    }
    std::fs::write(folder.join("pipeline.yaml"), spec).expect("there is room");
    folder.join("pipeline.yaml")
}

#[test]
#[ignore = "needs the packages of ci/realtime.txt"]
fn the_openai_sdk_carries_out_tools() {
    let folder = tempfile::tempdir().expect("there is room");
    let spec = with_tools_of_the_client(folder.path());
    let house = House::with(rspp::serve::Serve { spec, ..House::options() });
    let mut command = Command::new(python());
    command.arg(repository().join("tests/realtime/openai_tools.py")).arg(house.address.to_string());
    let output = command.output().expect("python starts: run ci/setup");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.starts_with("ok: "), "{said}\n{wrong}");
    eprintln!("{said}");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The last line that it prints, which is JSON.
fn saw(command: &mut Command) -> Value {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run ci/setup"));
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {said}\n{wrong}"))
}

#[test]
#[ignore = "needs the package of tests/clients/agents"]
fn the_agents_library_holds_a_call() {
    let house = House::open();
    let mut node = Command::new("node");
    node.arg(repository().join("tests/clients/agents/call.mjs")).arg(format!("ws://{}/v1/realtime", house.address));
    let saw = saw(&mut node);
    assert_eq!((&saw["ok"], &saw["errors"]), (&json!(true), &json!([])), "{saw}");
    assert_eq!((&saw["status"], &saw["truncated"]), (&json!("cancelled"), &json!(true)), "{saw}");
    assert!(saw["wholeBytes"].as_u64() > Some(48_000), "{saw}");
    let said = saw["answers"][0].as_str().unwrap_or_default();
    assert!(!said.is_empty(), "{saw}");
    assert_eq!(saw["history"][1], json!(["assistant", said]), "{saw}");
}

#[test]
#[ignore = "needs the packages of ci/livekit.txt"]
fn livekits_plugin_holds_a_call() {
    let house = House::open();
    let mut python = Command::new(repository().join(".venv-livekit/bin/python"));
    python.arg(repository().join("tests/realtime/livekit_client.py")).arg(house.address.to_string());
    let saw = saw(&mut python);
    assert_eq!((&saw["errors"], &saw["warnings"]), (&json!([]), &json!([])), "{saw}");
    for answer in ["first", "second"] {
        let (words, samples) = (&saw[answer]["words"], &saw[answer]["samples"]);
        assert!(words.as_str().is_some_and(|words| !words.is_empty()), "{saw}");
        assert!(samples.as_u64() > Some(24_000), "{saw}");
    }
}

#[test]
#[ignore = "needs the packages of tests/clients/requirements.txt"]
fn pipecats_service_holds_a_call() {
    let house = House::open();
    let mut python = Command::new(repository().join(".venv-clients/bin/python"));
    python.arg(repository().join("tests/realtime/pipecat_client.py")).arg(house.address.to_string());
    let saw = saw(&mut python);
    assert_eq!((&saw["errors"], &saw["complaints"]), (&json!([]), &json!([])), "{saw}");
    assert!(saw["words"].as_str().is_some_and(|words| !words.is_empty()), "{saw}");
    assert!(saw["samples"].as_u64() > Some(24_000), "{saw}");
}
