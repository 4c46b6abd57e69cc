#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A server for one test, in the test's own process.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use rspp::Registry;
use rspp::adapters::admission::Capacity;
use rspp::adapters::bridge::pool;
use rspp::adapters::interrupt::Interrupt;
use rspp::adapters::recording::LogSize;
use rspp::adapters::server::Limits;
use rspp::serve::{Serve, serve};
use rspp::spec::Over;

pub(crate) struct House {
    pub(crate) address: SocketAddr,
    interrupt: Interrupt,
    thread: Option<JoinHandle<()>>,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(Self::options())
    }

    pub(crate) fn options() -> Serve {
        Serve {
            spec: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/pipeline.yaml"),
            over: Over::default(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: None,
            record: None::<PathBuf>,
            log: LogSize::of(8 << 20),
            workers: 1,
            limits: Self::limits(),
            capacity: Capacity::default(),
            pool: pool::Limits::default(),
            allowed_origins: Vec::new(),
            token_keys: Vec::new(),
            dev: false,
            telephones: BTreeMap::new(),
            livekit: None,
            traces: None,
            public_url: None,
            drain: Duration::from_secs(20),
        }
    }

    /// Those of a server, but for how often an address may come: tests ask as fast as they can.
    pub(crate) fn limits() -> Limits {
        Limits { arrivals_of_an_address: 1_000_000, arrivals: 1_000_000, ..Limits::default() }
    }

    pub(crate) fn with(options: Serve) -> Self {
        let interrupt = Interrupt::default();
        let raised = interrupt.clone();
        let (ready, address) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            serve(&options, &Registry::new(), &raised, |address| ready.send(address).expect("the test waits"))
                .unwrap_or_else(|error| panic!("{error}"));
        });
        Self { address: address.recv().expect("the server is ready"), interrupt, thread: Some(thread) }
    }

    /// What is at this path.
    pub(crate) fn get(&self, path: &str) -> String {
        self.get_as(&self.address.to_string(), path).1
    }

    /// The status of what is at this path for who calls the server so, and what is there.
    pub(crate) fn get_as(&self, host: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("it begins with its status"), body.to_owned())
    }

    pub(crate) fn ask_to_end(&self) {
        self.interrupt.raise(15);
    }

    /// Until the server has ended by itself.
    pub(crate) fn ended(mut self) {
        self.thread.take().expect("it is joined once").join().expect("the server does not panic");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.interrupt.raise(15);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
