#![allow(dead_code, reason = "each benchmark that has it uses a part of it")]

//! A server in a process of its own, on a core of its own, so far as the machine lets us.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        let mut child = Command::new(own).arg(word).stdout(Stdio::piped()).spawn().expect("it starts again");
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
