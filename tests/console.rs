//! The console page in a real browser, with a file as its microphone: it speaks, hears an answer, and breaks in.
//!
//! Needs Chromium, Node, `tests/console/node_modules` and the speech engines: `./ci/setup` gets them. The pictures of the
//! page are left in `target/console`.

#[path = "serve/house.rs"]
mod house;

use std::path::Path;
use std::process::Command;

use house::House;
use rspp::serve::Serve;
use serde_json::Value;

#[test]
#[ignore = "needs Chromium, Node and speech engines: run ./ci/setup"]
fn a_caller_speaks_with_the_page_and_breaks_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = root.join("specs/pipelines/voice-assistant.yaml");
    let house = House::with(Serve { spec, ..House::options() });
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
    assert_eq!((&seen["problems"], &seen["problem"]), (&Value::Array(Vec::new()), &Value::from("")), "{seen:#}");
}
