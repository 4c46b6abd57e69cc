//! The console page in a real browser, with a file as its microphone: it speaks, hears an answer, and breaks in.
//!
//! Needs Chromium, Node, `tests/console/node_modules` and the speech engines: `./ci/setup` gets them. The pictures of the
//! page are left in `target/console`.

#[path = "serve/house.rs"]
mod house;

use std::path::{Path, PathBuf};
use std::process::Command;

use house::House;
use rspp::serve::Serve;
use serde_json::{Value, json};

/// The restaurant's phone line, recorded with all that is said.
fn spec(folder: &Path) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/examples");
    let spec = format!(
        "kind: PipelineSpec\nname: voice-assistant\nversion: 1\ntemplate: voice-assistant\n\
         bind: {{stt: \"bundled:pocketsphinx\", llm: \"dialogue:{0}/restaurant.dialogue.yaml\", \
         tts: \"bundled:espeak-ng\"}}\nrecording: {{level: L2}}\n",
        examples.display()
    );
    let path = folder.join("spec.yaml");
    std::fs::write(&path, spec).expect("a file can be written");
    path
}

#[test]
#[ignore = "needs Chromium, Node and speech engines: run ./ci/setup"]
fn a_caller_speaks_with_the_page_and_breaks_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let record = Some(folder.path().join("calls"));
    let house = House::with(Serve { spec: spec(folder.path()), record, ..House::options() });
    let pictures = root.join("target/console");
    std::fs::create_dir_all(&pictures).expect("a folder can be made");
    let output = Command::new("node")
        .arg(root.join("tests/console/talk.mjs"))
        .arg(format!("http://{}/", house.address))
        .arg(root.join("specs/examples/restaurant.caller.wav"))
        .arg(&pictures)
        .output()
        .expect("node is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let said = |words: &str| {
        seen["captions"].as_array().is_some_and(|all| all.iter().any(|one| one.to_string().contains(words)))
    };
    assert!(said("when do you open on sunday") && said("book a table for four"), "{seen:#}");
    assert!(said("the agent, turn 3"), "{seen:#}");
    // What nobody heard is struck out, and the table says why.
    assert_eq!(seen["struck"].as_array().map(Vec::len), Some(1), "{seen:#}");
    assert!(seen["latency"].to_string().contains("barge_in"), "{seen:#}");
    assert!(seen["bars"].as_u64().is_some_and(|bars| bars > 20), "{seen:#}");
    // The graph lives, and the recorded call is the same call.
    assert!(seen["live"]["graph"].as_array().is_some_and(|words| !words.is_empty()), "{seen:#}");
    assert!(seen["live"]["house"].as_str().is_some_and(|words| words.starts_with("1 calls now")), "{seen:#}");
    let recorded = &seen["recorded"];
    assert_eq!(
        (&recorded["struck"], &recorded["wider"], &recorded["nameless"]),
        (&json!(1), &json!(0), &json!([])),
        "{seen:#}"
    );
    assert!(recorded["sound"].as_f64() > Some(10.0) && recorded["captions"].as_u64() >= Some(8), "{seen:#}");
    assert!(recorded["latency"].to_string().contains("barge_in") && recorded["stages"].as_u64() > Some(6), "{seen:#}");
    let read = recorded["read"].as_array().expect("it was read out");
    assert!(read.iter().all(|words| words.as_str().is_some_and(|words| words.contains("; at "))), "{seen:#}");
    assert!(read.iter().any(|words| *words != read[0]), "{seen:#}");
    assert_eq!(recorded["back"], json!("As it happens"), "{seen:#}");
    assert_eq!((&seen["problems"], &seen["problem"]), (&Value::Array(Vec::new()), &Value::from("")), "{seen:#}");
}
