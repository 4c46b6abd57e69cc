//! Folders of recorded calls: one result for each, the same whoever replays them.

#[path = "call/golden.rs"]
mod golden;
#[path = "call/program.rs"]
mod program;
#[path = "call/recorded.rs"]
mod recorded;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use golden::traced;
use program::rspp;
use recorded::{calls, record};
use rspp::specs::event::ProviderResult;
use rspp::specs::timeline::{Entry, Input};
use serde_json::Value;
use tempfile::TempDir;

/// Golden calls, one whose input was altered, and one that was cut.
fn folder() -> TempDir {
    let folder = calls(&["plain-call", "interruption", "tool-committed", "provider-switch", "takeover", "fan-ins"]);
    let mut altered = traced("plain-call");
    for record in &mut altered.records {
        if let Entry::Input(_, Input::Provider(_, ProviderResult::Text(text))) = &mut record.entry {
            *text = text.replace("noon", "ten").into();
        }
    }
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("it can be written");
    write("altered.rspp", &record(&altered));
    let whole = record(&traced("ignore"));
    write("cut.rspp", &whole[..whole.len() / 2]);
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn each_call_has_its_result_and_ci_its_file() {
    let folder = folder();
    let ran = rspp(folder.path(), &["replay", "--dir", ".", "--junit", "calls.xml", "--json"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report = json(&ran.stdout);
    assert_eq!((&report["calls"], &report["identical"], &report["damaged"]), (&8.into(), &6.into(), &1.into()));
    assert_eq!(report["differ"]["OUTCOME"], 1, "{report}");
    assert!(report["first_sound"]["before"]["answers"].as_u64() >= Some(5));
    let xml = std::fs::read_to_string(folder.path().join("calls.xml")).expect("it was written");
    assert!(xml.contains("<testsuites tests=\"8\" failures=\"1\" errors=\"1\">"), "{xml}");
    assert!(xml.contains("<failure type=\"OUTCOME\"") && xml.contains("<error type=\"DAMAGED\""), "{xml}");
    for name in ["altered.rspp", "cut.rspp"] {
        std::fs::remove_file(folder.path().join(name)).expect("it is there");
    }
    let ran = rspp(folder.path(), &["replay", "--dir", "."]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("identical 6"), "{}", ran.stdout);
}

#[test]
fn what_is_done_is_not_done_again() {
    let folder = folder();
    let args = ["replay", "--dir", ".", "--state", "done.jsonl", "--json"];
    let first = rspp(folder.path(), &args);
    let state = || std::fs::read_to_string(folder.path().join("done.jsonl")).expect("it was written");
    let done = state();
    assert_eq!(done.lines().count(), 8);
    // A run that was killed while it wrote leaves half a line.
    let kept: String = done.lines().take(5).map(|line| line.to_owned() + "\n").collect();
    std::fs::write(folder.path().join("done.jsonl"), kept + "{\"asked\": \"No").expect("it can be written");
    let second = rspp(folder.path(), &args);
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(state().lines().count(), 9, "three calls were left, and half a line stands among them");
    let bytes = record(&traced("plain-call"));
    std::fs::write(folder.path().join("interruption.rspp"), bytes).expect("it can be written");
    let third = rspp(folder.path(), &args);
    assert_ne!(third.stdout, first.stdout, "a recording that was made again is replayed again");
}

/// Two addresses that nobody uses now.
fn hostfile(folder: &Path) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("there is a port"));
    let hosts = listeners.map(|it| it.local_addr().expect("it is bound").to_string() + "\n");
    std::fs::write(folder.join("hosts"), hosts.concat()).expect("it can be written");
}

fn process(folder: &Path, number: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(["replay", "--dir", ".", "--json", "-w", "2", "-n", "2", "-p", number, "--hostfile", "hosts"]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("cargo has built the program")
}

#[test]
fn two_processes_give_the_same_report_as_one() {
    let folder = folder();
    let alone = rspp(folder.path(), &["replay", "--dir", ".", "--json"]);
    hostfile(folder.path());
    let [first, second] = ["0", "1"].map(|number| process(folder.path(), number));
    let (second, first) = (second.wait_with_output().expect("it ends"), first.wait_with_output().expect("it ends"));
    assert_eq!(String::from_utf8_lossy(&first.stdout), alone.stdout, "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(first.status.code(), Some(1));
    assert!(second.status.success() && second.stdout.is_empty(), "{}", String::from_utf8_lossy(&second.stderr));
}

#[test]
fn wrong_clusters_are_told_in_one_sentence() {
    let folder = calls(&["plain-call"]);
    std::fs::write(folder.path().join("hosts"), "localhost\n").expect("it can be written");
    std::fs::write(folder.path().join("one"), "localhost:4000\n").expect("it can be written");
    for (args, says) in [
        ("-n 2 -p 2", "processes are numbered from 0 to 1"),
        ("-n 2 --hostfile hosts", "`localhost` is no HOST:PORT"),
        ("-n 2 --hostfile one", "has 1 hosts, and -n says 2 processes"),
        ("--against nothing.yaml", "nothing.yaml: no such file"),
    ] {
        let args: Vec<&str> = ["replay", "--dir", "."].into_iter().chain(args.split(' ')).collect();
        let ran = rspp(folder.path(), &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
}
