//! Clients that nobody here wrote, at the doors of `rspp serve`: streamdouble plays Twilio, a script that Pipecat's
//! serializers judge plays Telnyx and Plivo, and Pipecat's own client library speaks RTVI, in Node and in Chromium.
//!
//! `cargo test --workspace --test clients -- --ignored`, which `.ci/run` does where `ci/setup` has installed them.

/// What the engine has to know of a call.
mod call {
    pub(crate) const RATE_HZ: u32 = 16_000;
}
#[path = "call/engine.rs"]
mod engine;
#[path = "serve/house.rs"]
mod house;

use std::path::{Path, PathBuf};
use std::process::Command;

use house::House;
use serde_json::Value;
use tempfile::TempDir;

/// What the recogniser hears, whatever the noise is.
const HEARS: [&str; 4] =
    ["what time do you open on friday", "when do you close on sunday", "where are you", "where are you"];

/// A server whose recogniser hears in order, and a caller's voice.
struct Stage {
    house: House,
    folder: TempDir,
}

impl Stage {
    fn set(rate_hz: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let engine = engine::start(&HEARS);
        let spec = format!(
            "kind: PipelineSpec\nname: clients\nversion: 1\ntemplate: voice-assistant\n\
             bind: {{stt: \"wyoming+tcp://{engine}#in-order\", llm: \"dialogue:{}\", tts: \"wyoming+tcp://{engine}\"}}\n\
             nodes: {{vad: {{type: vad, detector: energy}}}}\n",
            repository().join("specs/examples/restaurant.dialogue.yaml").display(),
        );
        std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
        write_voice(&folder.path().join("caller.wav"), rate_hz);
        let options = rspp::serve::Serve {
            spec: folder.path().join("spec.yaml"),
            // A page of the test's own speaks for its caller.
            allowed_origins: vec!["*".to_owned()],
            ..House::options()
        };
        Self { house: House::with(options), folder }
    }

    fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.house.address)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A second of a buzz that a detector of energy takes for a voice.
fn write_voice(path: &Path, rate_hz: usize) {
    let period = rate_hz / 200;
    let samples: Vec<i16> =
        (0..rate_hz).map(|at| if (at / (period / 2)).is_multiple_of(2) { 6_000 } else { -6_000 }).collect();
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file can be made");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("there is room"));
    writer.finalize().expect("there is room");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn clients() -> PathBuf {
    repository().join(".venv-clients/bin")
}

/// The last line that it prints, which is JSON.
fn run(command: &mut Command) -> Value {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run ci/setup"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{stdout}\n{stderr}");
    let json = stdout.rfind("\n{").map_or(stdout.as_str(), |at| &stdout[at + 1..]);
    serde_json::from_str(json.trim()).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"))
}

const SCENARIO: &str = "\
name: a question, an interruption, keys
steps:
  - wait: 0.3
  - say: caller.wav
  - wait_for: audio
  - wait: 0.6
  - say: caller.wav
  - wait_for: clear
  - expect: clear
  - wait_for: mark
  - wait_for: quiet
  - dtmf: \"42#\"
  - wait_for: audio
  - expect: no_violations
";

#[test]
#[ignore = "needs streamdouble"]
fn a_telephone_call_as_twilio_streams_it() {
    let stage = Stage::set(8_000);
    std::fs::write(stage.path("scenario.yaml"), SCENARIO).expect("a file can be written");
    let mut streamdouble = Command::new(clients().join("streamdouble"));
    streamdouble.arg("scenario").arg(stage.path("scenario.yaml")).arg(stage.url("/v1/twilio"));
    streamdouble.args(["--json", "--param", "tenant=acme"]).arg("--trace").arg(stage.path("trace.jsonl"));
    let saw = run(&mut streamdouble);
    eprintln!("{saw:#}");
    let number = |name: &str| saw[name].as_u64().unwrap_or_default();
    assert_eq!((saw["violations"].to_string(), saw["unknown_events"].to_string()), ("[]".into(), "[]".into()));
    assert!(number("clears_received") >= 1, "the interruption clears");
    assert!(number("marks_echoed") >= 3, "marks come back");
    // Behind each clear nothing of the old answer: the next audio is the next answer's.
    let trace = std::fs::read_to_string(stage.path("trace.jsonl")).expect("it was asked for");
    assert!(trace.contains("clear"), "{trace}");
}

fn telephone(provider: &str) {
    let stage = Stage::set(8_000);
    let mut script = Command::new(clients().join("python"));
    script.arg(repository().join("tests/clients/telephony.py")).arg(provider);
    let saw = run(script.arg(stage.url(&format!("/v1/{provider}"))).arg(stage.path("caller.wav")));
    eprintln!("{saw}");
    assert_eq!((saw["bad"].to_string(), saw["odd"].to_string()), ("[]".into(), "[]".into()), "{provider}");
    assert!(saw["clears"].as_u64() >= Some(1) && saw["marks"].as_u64() >= Some(3), "{provider}: {saw}");
    assert_eq!(saw["after_clear"], 0, "{provider}: audio of the old answer after a clear");
}

#[test]
#[ignore = "needs Pipecat's serializers"]
fn a_telephone_call_as_telnyx_streams_it() {
    telephone("telnyx");
}

#[test]
#[ignore = "needs Pipecat's serializers"]
fn a_telephone_call_as_plivo_streams_it() {
    telephone("plivo");
}

#[test]
#[ignore = "needs node and Pipecat's client library"]
fn an_rtvi_call_with_pipecats_own_client() {
    let stage = Stage::set(16_000);
    let mut node = Command::new("node");
    node.arg(repository().join("tests/clients/rtvi/call.js")).arg(stage.url("/v1/rtvi"));
    let saw = run(node.arg(stage.path("caller.wav")));
    eprintln!("{saw}");
    assert_eq!(
        (saw["ok"].as_bool(), saw["oddFrames"].as_u64(), saw["errors"].to_string()),
        (Some(true), Some(0), "[]".into())
    );
    assert_eq!(saw["texts"][0], HEARS[0]);
    assert!(saw["audioSamples"].as_u64() > Some(24_000), "{saw}");
    assert_eq!(saw["request"], "refused: this agent answers no client messages");
    let names: Vec<&str> =
        saw["events"].as_array().into_iter().flatten().filter_map(|event| event[1].as_str()).collect();
    for expected in ["ready", "user-started", "user-stopped", "transcript", "llm-started", "tts-started", "output"] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
}

#[test]
#[ignore = "needs Chromium, node and Pipecat's client library"]
fn chromium_holds_a_call_with_pipecats_own_client() {
    let stage = Stage::set(16_000);
    let mut node = Command::new("node");
    node.arg(repository().join("tests/clients/rtvi/browser.mjs")).arg(stage.url("/v1/rtvi"));
    let saw = run(node.arg(repository().join("specs/examples/restaurant.caller.wav")));
    assert_eq!((saw["errors"].to_string(), saw["problems"].to_string()), ("[]".into(), "[]".into()), "{saw}");
    assert_eq!((&saw["ready"]["version"], &saw["texts"][0]), (&"2.1.0".into(), &HEARS[0].into()), "{saw}");
    let spoken = saw["outputs"].as_array().is_some_and(|all| all.len() >= 2);
    assert!(spoken, "{saw}");
}
