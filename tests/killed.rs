//! A server that records is killed in mid-call: what had an effect is in its log, and can be read.

#![cfg(unix)]

#[path = "serve/client.rs"]
mod client;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use client::{Client, Seen};
use rspp::adapters::recording::{DamageKind, Recording};
use rspp::specs::timeline::{Effect, Entry, Signal};

const ASK: &str = r#"{"type":"text","text":"what are your opening hours"}"#;

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path, level: &str) -> Self {
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/pipeline.yaml");
        let own = folder.join("pipeline.yaml");
        let text = std::fs::read_to_string(spec).expect("it is there");
        let text = text.replace("../../specs", &format!("{}/specs", env!("CARGO_MANIFEST_DIR")));
        std::fs::write(&own, text + &format!("recording: {{level: {level}}}\n")).expect("it can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
        command.args(["serve", "pipeline.yaml", "--listen", "127.0.0.1:0", "--record", "calls", "--record-log", "8"]);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo has built the program");
        let mut said = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
        let address = said.find_map(|line| {
            let line = line.expect("it writes UTF-8");
            line.strip_prefix("talk to it at http://")?.strip_suffix('/')?.parse().ok()
        });
        // Whoever writes where nobody reads would die of it.
        std::thread::spawn(move || said.for_each(drop));
        Self { child, address: address.expect("it says where it is") }
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is a child of ours");
    }
}

fn rspp(folder: &Path, args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_rspp")).args(args).current_dir(folder).output();
    output.expect("cargo has built the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Samples of the agent's that a client was sent of its first turn.
fn heard(client: &Client) -> u64 {
    let ends = client.seen.iter().filter_map(|seen| match seen {
        Seen::Audio { turn: 1, from_sample, samples, .. } => Some(from_sample + samples.len() as u64),
        _ => None,
    });
    ends.max().unwrap_or(0)
}

/// Samples of the agent's that a recording says were sent.
fn sent(recording: &Recording) -> u64 {
    let ends = recording.records.iter().filter_map(|record| match &record.entry {
        Entry::Effect(Effect::Transmit { from_sample, frame, .. }) => Some(from_sample + frame.samples.len() as u64),
        _ => None,
    });
    ends.max().unwrap_or(0)
}

#[test]
fn what_a_killed_server_did_is_recorded_and_says_where_it_ends() {
    for level in ["L2", "L0"] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let server = Server::start(folder.path(), level);
        let mut clients = [Client::connect(server.address), Client::connect(server.address)];
        for client in &mut clients {
            client.hello();
            client.say(ASK);
        }
        for client in &mut clients {
            client.until("audio", |seen| matches!(seen, Seen::Audio { from_sample: 3_200.., .. }));
        }
        let ran = rspp(folder.path(), &["recordings", "recover", "calls"]);
        assert_eq!(ran.status.code(), Some(1), "a server that runs is left alone: {}", text(&ran.stdout));
        server.kill();
        let heard: Vec<u64> = clients
            .iter_mut()
            .map(|client| {
                while client.next().is_some() {}
                heard(client)
            })
            .collect();

        let ran = rspp(folder.path(), &["recordings", "list", "calls"]);
        assert!(text(&ran.stderr).contains("rspp recordings recover"), "{}", text(&ran.stderr));
        let ran = rspp(folder.path(), &["recordings", "recover", "calls"]);
        assert!(text(&ran.stdout).ends_with("2 recordings\n"), "{}{}", text(&ran.stdout), text(&ran.stderr));
        let recovered = text(&ran.stdout);
        let mut recorded = Vec::new();
        for path in recovered.lines().filter_map(|line| line.strip_prefix("recovered: ")) {
            let (recording, damage) = Recording::open_prefix(folder.path().join(path)).expect("the head is there");
            assert_eq!(damage.expect("nobody ended it").what, DamageKind::MissingEnd);
            let asked = recording.records.iter().find_map(|record| match &record.entry {
                Entry::Signal(_, Signal::TurnOpen { text, .. }) => Some(&**text),
                _ => None,
            });
            let asked = asked.expect("a turn was opened");
            assert_eq!(asked == "what are your opening hours", level == "L2", "{asked}");
            recorded.push(sent(&recording));
            let ran = rspp(folder.path(), &["timeline", path]);
            assert_eq!(ran.status.code(), Some(1), "it is not whole: {}", text(&ran.stderr));
            assert!(text(&ran.stderr).contains("was not finished"), "{}", text(&ran.stderr));
            assert!(text(&ran.stdout).contains("turn 1"), "{}", text(&ran.stdout));
            if level == "L2" {
                let ran = rspp(folder.path(), &["replay", path]);
                assert_eq!(ran.status.code(), Some(1), "it is not whole: {}", text(&ran.stderr));
                assert!(text(&ran.stdout).starts_with("identical: "), "{}{}", text(&ran.stdout), text(&ran.stderr));
            }
        }
        // Which call is whose is not in the names; both have at least what its client heard.
        let (mut heard, mut recorded) = (heard, recorded);
        heard.sort_unstable();
        recorded.sort_unstable();
        assert!(heard.iter().zip(&recorded).all(|(heard, recorded)| heard <= recorded), "{heard:?} {recorded:?}");
        let ran = rspp(folder.path(), &["recordings", "recover", "calls"]);
        assert_eq!(text(&ran.stdout), "0 recordings\n", "nothing is left");
    }
}
