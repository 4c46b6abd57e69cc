//! The model server of `ci/models.txt`, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::call::repository;

/// A server that runs until it is dropped.
pub(crate) struct FakeServer {
    process: Child,
    address: String,
}

impl FakeServer {
    /// Starts it with these rules; `None`, and a word to people, where it is not installed.
    pub(crate) fn start(folder: &Path, rules: &str) -> Option<Self> {
        let program = repository().join(".venv-models/bin/fakellm");
        if !program.is_file() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: needs the model server of ci/models.txt: run ./ci/setup");
            return None;
        }
        std::fs::write(folder.join("rules.yaml"), rules).expect("a file can be written");
        let process = Command::new(program)
            .args(["serve", "--port", "0", "--config", "rules.yaml"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = process.expect("it starts");
        let lines = BufReader::new(process.stderr.take().expect("it was asked for")).lines();
        let mut lines = lines.map_while(Result::ok);
        // With port 0 the system chooses one, and the server says which once it listens.
        let address = lines.find_map(|line| {
            let (_, address) = line.split_once("running on http://")?;
            address.split_whitespace().next().map(str::to_owned)
        });
        // Nobody reads what it says from here on, and it must not have to wait for that.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address: address.expect("it says where it listens") })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
