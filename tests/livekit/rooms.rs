#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A real LiveKit server, a server of ours that works for it, and callers that nobody here wrote.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rspp::livekit::room::Mode;
use rspp::livekit::worker::endpoint;
use rspp::serve::{LiveKit, Serve};
use rspp::specs::binding::KeyReference;
use serde_json::Value;
use tempfile::TempDir;

use super::engine;
use super::house::House;

pub(crate) const KEY: &str = "devkey";
pub(crate) const SECRET: &str = "a-secret-of-nobody-that-is-long-enough";
/// What the recogniser hears, whatever the noise is.
const HEARS: [&str; 16] = ["what time do you open on friday"; 16];
/// How long the server may take to listen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// A caller's library has this rate.
const VOICE_RATE_HZ: u32 = 48_000;

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn installed(variable: &str, path: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| repository().join(path), PathBuf::from)
}

/// How a server is reached for media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Media {
    /// Over UDP, and TCP too.
    #[default]
    Both,
    /// Over UDP, and only by who speaks first: for a relay before it.
    Lite,
    /// Over TCP only.
    Tcp,
}

/// A LiveKit server of the test's own.
pub(crate) struct Rooms {
    pub(crate) port: u16,
    pub(crate) udp: u16,
    child: Option<Child>,
    folder: TempDir,
}

impl Rooms {
    pub(crate) fn open() -> Self {
        Self::with(Media::Both, "")
    }

    /// A server with more of a configuration.
    pub(crate) fn with(media: Media, more: &str) -> Self {
        let tcp = || TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free").port();
        let udp = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free").port();
        let port = tcp();
        let media = match media {
            Media::Both => format!("udp_port: {udp}\n  tcp_port: {}", tcp()),
            Media::Lite => format!("udp_port: {udp}\n  use_ice_lite: true"),
            Media::Tcp => format!("force_tcp: true\n  tcp_port: {}", tcp()),
        };
        let config = include_str!("server.yaml").replace("{port}", &port.to_string()).replace("{media}", &media);
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("server.yaml"), config + more).expect("a file can be written");
        let mut rooms = Self { port, udp, child: None, folder };
        rooms.start();
        rooms
    }

    /// Starts it, at the same ports as before.
    pub(crate) fn start(&mut self) {
        let server = installed("RSPP_LIVEKIT_SERVER", ".livekit/server");
        let log = self.folder.path().join("server.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a file can be made");
        let child = Command::new(&server)
            .args(["--node-ip", "127.0.0.1", "--config"])
            .arg(self.folder.path().join("server.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run ci/setup", server.display()));
        self.child = Some(child);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server does not listen:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        self.kill();
        // For who looks into why a test failed.
        if std::thread::panicking() {
            let _ = std::fs::write(repository().join("target/livekit-server.log"), self.log());
        }
    }
}

/// What an agent is and how it gets to its server.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) name: &'static str,
    pub(crate) mode: Mode,
    /// The server's port, or that of what is before it.
    pub(crate) port: u16,
    pub(crate) caller: Option<&'static str>,
}

impl Agent {
    pub(crate) fn of(rooms: &Rooms) -> Self {
        Self { name: "", mode: Mode::OneConnection, port: rooms.port, caller: None }
    }
}

/// A server of ours that works for a LiveKit server, and a caller's voice.
pub(crate) struct Stage {
    pub(crate) house: House,
    folder: TempDir,
}

impl Stage {
    pub(crate) fn set(agent: &Agent) -> Self {
        Self::with(agent, House::options())
    }

    pub(crate) fn with(agent: &Agent, options: Serve) -> Self {
        Self::named(agent, "rooms", options)
    }

    /// A pipeline of this name, which rooms show as its agent's.
    pub(crate) fn named(agent: &Agent, name: &str, options: Serve) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let engine = engine::start(&HEARS);
        let spec = format!(
            "kind: PipelineSpec\nname: {name}\nversion: 1\ntemplate: voice-assistant\n\
             bind: {{stt: \"wyoming+tcp://{engine}#in-order\", llm: \"dialogue:{}\", tts: \"wyoming+tcp://{engine}\"}}\n\
             nodes: {{vad: {{type: vad, detector: energy}}}}\n",
            repository().join("specs/examples/restaurant.dialogue.yaml").display(),
        );
        std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
        let spec = folder.path().join("spec.yaml");
        write_voice(&folder.path().join("voice.wav"));
        Self { house: House::with(serving(agent, &folder, Serve { spec, ..options })), folder }
    }

    pub(crate) fn voice(&self) -> PathBuf {
        self.folder.path().join("voice.wav")
    }
}

/// The same, for an agent of a LiveKit server.
pub(crate) fn serving(agent: &Agent, folder: &TempDir, options: Serve) -> Serve {
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), KEY).expect("a file can be written");
    std::fs::write(path("secret"), SECRET).expect("a file can be written");
    let livekit = LiveKit {
        endpoint: endpoint(&format!("ws://127.0.0.1:{}", agent.port)).expect("an address"),
        key: KeyReference::File(path("key").display().to_string()),
        secret: KeyReference::File(path("secret").display().to_string()),
        agent: agent.name.to_owned(),
        caller: agent.caller.map(str::to_owned),
        mode: agent.mode,
    };
    Serve { livekit: Some(livekit), ..options }
}

/// A caller that nobody here wrote, who does as it is told, word by word.
pub(crate) struct Caller {
    child: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Caller {
    /// LiveKit's own library for Python.
    pub(crate) fn of_python(rooms: &Rooms, room: &str, voice: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(installed("RSPP_LIVEKIT_PYTHON", ".venv-rooms/bin/python"));
        command.arg(repository().join("tests/livekit/caller.py"));
        Self::start(command.args([&rooms.url(), KEY, SECRET, room]).arg(voice).args(more))
    }

    /// LiveKit's library for browsers, in Chromium.
    pub(crate) fn of_chromium(rooms: &Rooms, room: &str, voice: &Path, more: &[&str]) -> Self {
        let mut command = Command::new("node");
        command.arg(repository().join("tests/livekit/browser/caller.mjs"));
        Self::start(command.args([&rooms.url(), KEY, SECRET, room]).arg(voice).args(more))
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}; run ci/setup"));
        let (words, answers) = (child.stdin.take(), child.stdout.take());
        let answers = BufReader::new(answers.expect("it is piped")).lines();
        Self { child, words: words.expect("it is piped"), answers }
    }

    /// What comes of a word.
    pub(crate) fn told(&mut self, word: &str) -> Value {
        writeln!(self.words, "{word}").expect("the caller listens");
        let line = self.answers.next().and_then(Result::ok).unwrap_or_else(|| panic!("{word}: the caller is gone"));
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{word}: {error}: {line}"));
        eprintln!("{word}: {answer}");
        assert!(answer.get("failed").is_none(), "{word}: {answer}");
        answer
    }

    /// A number that comes of a word.
    pub(crate) fn number(&mut self, word: &str, name: &str) -> f64 {
        let answer = self.told(word);
        answer[name].as_f64().unwrap_or_else(|| panic!("{word}: no {name} in {answer}"))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = writeln!(self.words, "end");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A second of a buzz that a detector of energy takes for a voice.
fn write_voice(path: &Path) {
    let period = VOICE_RATE_HZ / 200;
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: VOICE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file can be made");
    for at in 0..VOICE_RATE_HZ {
        let sample: i16 = if (at / (period / 2)).is_multiple_of(2) { 6_000 } else { -6_000 };
        writer.write_sample(sample).expect("there is room");
    }
    writer.finalize().expect("there is room");
}
