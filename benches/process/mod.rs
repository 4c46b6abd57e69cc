#![allow(dead_code, reason = "each benchmark that has it uses a part of it")]

//! A server in a process of its own, on a core of its own, so far as the machine lets us.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rspp::Registry;
use rspp::adapters::admission::Capacity;
use rspp::adapters::bridge::pool;
use rspp::adapters::interrupt::Interrupt;
use rspp::adapters::recording::LogSize;
use rspp::adapters::server::Limits;
use rspp::serve::{Serve, serve};

/// The core of whoever calls, and that of whoever is called.
const OWN_CORE: u32 = 1;
const SERVER_CORE: u32 = 0;

/// A server that ends with this.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts this program again, with this word, which has it call [`run`]. This process goes to another core.
    pub(crate) fn start(word: &str) -> Self {
        let own = std::env::current_exe().expect("it runs");
        Self::of(Command::new(own).arg(word))
    }

    /// Starts any program that says first where it listens.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        pin(child.id(), SERVER_CORE);
        pin(std::process::id(), OWN_CORE);
        let mut address = String::new();
        let out = child.stdout.take().expect("it is a pipe");
        BufReader::new(out).read_line(&mut address).expect("it says where it is");
        Self { address: address.trim().parse().expect("it is an address"), child }
    }

    /// What it has in memory.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}

impl Process {
    /// How long it has had a core so far, in user and in system.
    pub(crate) fn worked(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Behind the name, which may have blanks in it: the twelfth and the thirteenth, in hundredths of a second.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        Duration::from_millis(10 * fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves this pipeline until it is ended.
pub(crate) fn run(spec: PathBuf, limits: Limits, capacity: Capacity) {
    let options = Serve {
        spec,
        over: rspp::spec::Over::default(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        certificate: None,
        record: None,
        log: LogSize::default(),
        workers: 1,
        limits,
        capacity,
        pool: pool::Limits::default(),
        allowed_origins: Vec::new(),
        token_keys: Vec::new(),
        telephones: BTreeMap::new(),
        livekit: None,
        traces: None,
        public_url: None,
        dev: false,
        drain: Duration::from_secs(1),
    };
    serve(&options, &Registry::new(), &Interrupt::default(), tell).unwrap_or_else(|error| panic!("{error}"));
}

/// Says to whoever started this process where it listens.
pub(crate) fn tell(address: SocketAddr) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}").and_then(|()| out.flush()).expect("whoever started it reads");
}

/// How much later than it wanted a thread is woken that sleeps for a millisecond at a time, on the server's core, for a second
/// in which nothing of ours runs: what the machine itself adds.
pub(crate) fn machine() -> String {
    pin(std::process::id(), SERVER_CORE);
    let began = Instant::now();
    let mut late = Vec::new();
    while began.elapsed() < Duration::from_secs(1) {
        let (wanted, slept) = (Duration::from_millis(1), Instant::now());
        std::thread::sleep(wanted);
        late.push(slept.elapsed().saturating_sub(wanted));
    }
    late.sort_unstable();
    let [p50, p99, most] = [50, 99, 100].map(|percent| percentile(&late, percent).as_secs_f64() * 1_000.0);
    format!("machine: wakes {p50:.2} ms late at p50, {p99:.2} at p99, {most:.2} at most")
}

fn pin(process: u32, core: u32) {
    let pinned = Command::new("taskset")
        .args(["-a", "-cp", &core.to_string(), &process.to_string()])
        .stdout(Stdio::null())
        .status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("not pinned to a core: there is no taskset");
    }
}

/// The value that so many of a hundred do not pass.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// In milliseconds, for people.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}
