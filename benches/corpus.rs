//! A corpus, as a team would have it: so many recorded calls of a minute, replayed to the byte by one process and by two, which
//! have to give the same report. What is asked for is 500 times real time a core.
//!
//! `cargo bench --bench corpus` has 1,000 calls and takes a few minutes and 200 MB; `RSPP_CORPUS_CALLS=100` has fewer. It is
//! these commands, and anybody can give them:
//!
//! ```sh
//! rspp sim --sessions 1000 --minutes 1 --faults none --record calls
//! rspp replay --dir calls --json
//! rspp replay --dir calls --json -n 2 -p 1 --hostfile hosts &
//! rspp replay --dir calls --json -n 2 -p 0 --hostfile hosts
//! ```

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const CALLS: u32 = 1_000;

fn main() {
    let calls = std::env::var("RSPP_CORPUS_CALLS").ok().and_then(|calls| calls.parse().ok()).unwrap_or(CALLS);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let sessions = calls.to_string();
    let made = started(
        folder.path(),
        &["sim", "--sessions", &sessions, "--minutes", "1", "--faults", "none", "--record", "calls"],
    );
    finished(made);
    let mut out = String::new();
    let mut reports = Vec::new();
    for processes in [1_usize, 2] {
        let hosts = hosts(folder.path(), processes);
        let began = Instant::now();
        let all: Vec<Child> = (0..processes).map(|number| process(folder.path(), processes, number, &hosts)).collect();
        let said: Vec<String> = all.into_iter().map(finished).collect();
        let took = began.elapsed().as_secs_f64();
        let call_s = call_ms(&said[0]) as f64 / 1_000.0;
        let (speed, busy) = (call_s / took, processes.min(cores()));
        out += &format!(
            "processes {processes}: {call_s:.0} s of calls in {took:.1} s: {speed:.0} times real time, {:.0} a core\n",
            speed / busy as f64
        );
        reports.push(said.into_iter().next());
    }
    assert!(reports[0] == reports[1], "two processes give another report than one");
    out += "the reports are the same, byte for byte\n";
    std::io::stdout().write_all(out.as_bytes()).expect("what it measured can be printed");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How long the calls lasted, by a report.
fn call_ms(report: &str) -> u64 {
    let report: serde_json::Value = serde_json::from_str(report).expect("it is JSON");
    assert_eq!(report["identical"], report["calls"], "every call comes out again");
    report["call_ms"].as_u64().expect("it says so")
}

/// Addresses that nobody uses now.
fn hosts(folder: &Path, processes: usize) -> String {
    let listeners: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("there is a port")).collect();
    let address = |it: &TcpListener| it.local_addr().expect("it is bound").to_string() + "\n";
    let name = format!("hosts-{processes}");
    std::fs::write(folder.join(&name), listeners.iter().map(address).collect::<String>()).expect("there is room");
    name
}

fn process(folder: &Path, processes: usize, number: usize, hosts: &str) -> Child {
    let (processes, number) = (processes.to_string(), number.to_string());
    let args = ["replay", "--dir", "calls", "--json", "-n", &processes, "-p", &number, "--hostfile", hosts];
    started(folder, if processes == "1" { &args[..4] } else { &args })
}

fn started(folder: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("cargo has built the program")
}

/// What it said.
fn finished(child: Child) -> String {
    let output = child.wait_with_output().expect("it is a child of ours");
    assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}
