//! How a program was built, and how many threads it had, is in no recording: what a release build has recorded comes out again in
//! this build, on any number of workers, and so does what a server with several workers has recorded.
//!
//! `tests/recorded/release` has calls of all pipelines under all faults, as a release build recorded them:
//!
//! ```sh
//! cargo run --release -- sim --seed 7 --sessions 3 --minutes 1 --faults all --record tests/recorded/release
//! RSPP_UPDATE_GOLDEN=1 cargo test --test released
//! ```
//!
//! They are made anew, by a release build, when the golden traces change; `ci/release` compares the two builds of one tree.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;
#[path = "call/kept.rs"]
mod kept;
#[path = "call/program.rs"]
mod program;

use std::path::{Path, PathBuf};

use client::Client;
use house::House;
use kept::check_kept;
use program::rspp;
use rspp::Registry;
use rspp::adapters::recording::Recording;
use rspp::replay::{Verdict, replay};
use rspp::serve::Serve;
use serde_json::json;

const RELEASED: &str = "tests/recorded/release";
const ASK: &str = r#"{"type":"text","text":"what are your opening hours"}"#;

/// The recordings of a folder, by name.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let mut recordings: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|it| it == "rspp")).collect();
    recordings.sort();
    recordings
}

fn check_identical(path: &Path) -> Recording {
    let recording = Recording::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let registry = rspp::sim::registry(&Registry::new());
    let found = replay(&recording, &registry).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let is_identical = matches!(found, Verdict::Identical { .. });
    assert!(
        is_identical,
        "{}: {found}\n(if golden traces have changed, too: the head of this test says how)",
        path.display()
    );
    recording
}

#[test]
fn what_a_release_build_has_recorded_comes_out_again_in_this_one() {
    let paths = recordings(&Path::new(env!("CARGO_MANIFEST_DIR")).join(RELEASED));
    assert!(paths.len() >= 3, "{paths:?}");
    let digests = paths.iter().map(|path| {
        let name = path.file_name().expect("it is a file").to_string_lossy();
        format!("{name} {}\n", check_identical(path).digest())
    });
    check_kept("tests/recorded/release/digests.txt", &digests.collect::<String>());
}

#[test]
fn any_number_of_workers_gives_the_same_report() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let by = |workers: &str| {
        let ran = rspp(here, &["replay", "--dir", RELEASED, "--json", "-w", workers]);
        assert_eq!(ran.code, Some(0), "{workers} workers: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let alone = by("1");
    for workers in ["2", "4"] {
        assert_eq!(by(workers), alone, "{workers} workers");
    }
}

/// The bridge gives a call to the worker that has the fewest: each of the three has two of these.
#[test]
fn what_several_workers_have_recorded_comes_out_again_on_one() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let calls = folder.path().join("calls");
    let spec = folder.path().join("pipeline.yaml");
    let served = std::fs::read_to_string(House::options().spec).expect("it is there");
    let served = served.replace("../../specs", &format!("{}/specs", env!("CARGO_MANIFEST_DIR")));
    std::fs::write(&spec, served + "recording: {level: L2}\n").expect("it can be written");
    let house = House::with(Serve { spec, workers: 3, record: Some(calls.clone()), ..House::options() });
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(house.address)).collect();
    for client in &mut clients {
        client.hello();
    }
    clients.iter_mut().for_each(|client| client.say(ASK));
    for client in &mut clients {
        client.until_told("turn", &[("state", json!("committed"))]);
        client.say(r#"{"type":"end"}"#);
        client.until_closed();
    }
    house.ask_to_end();
    house.ended();
    let paths = recordings(&calls);
    assert_eq!(paths.len(), 6, "{paths:?}");
    for path in paths {
        assert!(check_identical(&path).evidence.iter().any(|turn| turn.turn == 1), "a turn was held");
    }
}
