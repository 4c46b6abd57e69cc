#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A control plane and workers, as processes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rspp::fleet::client::Client;
use rspp::specs::binding::KeyReference;

/// A control plane, while it is there.
pub(crate) struct Plane {
    child: Child,
    pub(crate) url: String,
    data: tempfile::TempDir,
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

fn start(data: &Path, listen: &str) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rspp"))
        .args(["control-plane", "--headroom", "0", "--staleness", "2000", "--listen", listen, "--data"])
        .arg(data)
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo has built the program");
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
    let url = lines.find_map(|line| line.ok()?.strip_prefix("listening on ").map(str::to_owned));
    // What it says later is read and passed over, so that it can go on saying it.
    std::thread::spawn(move || lines.for_each(drop));
    (child, url.expect("it says where it listens"))
}

impl Plane {
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().expect("there is a folder for temporary files");
        let (child, url) = start(data.path(), ANY_PORT);
        Self { child, url, data }
    }

    /// Killed as hard as can be.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    /// Started again where it was, on the same folder.
    pub(crate) fn start_again(&mut self) {
        let listen = self.url.strip_prefix("http://").expect("it is a URL").to_owned();
        (self.child, self.url) = start(self.data.path(), &listen);
    }

    pub(crate) fn key(&self) -> String {
        format!("file:{}", self.data.path().join("admin.key").display())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
        command.args(args).args(["--control-plane", &self.url, "--key", &self.key()]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo has built the program")
    }

    /// What a command that goes well prints.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the program writes UTF-8")
    }

    /// What one that does not says, and its exit code.
    pub(crate) fn refuses(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let says = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or_default(), String::from_utf8_lossy(&says).into_owned())
    }

    pub(crate) fn client(&self) -> Client {
        let key: KeyReference = self.key().parse().expect("it is a reference");
        Client::new(&self.url, Some(&key), std::time::Duration::from_secs(30)).expect("the key is there")
    }
}

/// A worker, while it is there.
pub(crate) struct Worker {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Worker {
    /// One that holds calls of `tests/serve/pipeline.yaml`, which is to be rolled out.
    pub(crate) fn start(plane: &Plane, name: &str, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rspp"))
            .args(["worker", "--name", name, "--pipeline", "served"])
            .args(["--control-plane", &plane.url, "--key", &plane.key()])
            // All callers of a test are one address, and some look for a change as often as they can.
            .args(["--max-arrivals-per-address", "10000"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo has built the program");
        let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
        let address = lines.find_map(|line| line.ok()?.strip_prefix("listening on ws://").map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.and_then(|address| address.parse().ok()).expect("it says where it listens");
        Self { child, address }
    }

    /// Killed as hard as can be.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("there is such a program").success());
    }

    /// Until it has ended by itself.
    pub(crate) fn ended(mut self) {
        self.child.wait().expect("it was started here");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
