//! The OpenAI Realtime protocol, spoken by a client that nobody here wrote: the `openai` package for Python. `ci/setup`
//! installs it into `.venv-realtime`; `RSPP_REALTIME` names another interpreter that has it.

#[path = "serve/house.rs"]
mod house;

use std::path::{Path, PathBuf};
use std::process::Command;

use house::House;
use rspp::adapters::audio::{Rechunker, read_call};

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
