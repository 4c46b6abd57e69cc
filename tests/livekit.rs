//! Rooms of a real LiveKit server, with a caller that nobody here wrote: LiveKit's own library for Python.
//!
//! `cargo test --workspace --test livekit -- --ignored`, which `.ci/run` does where `ci/setup` has installed the server into
//! `.livekit` and the library into `.venv-rooms`; `RSPP_LIVEKIT_SERVER` and `RSPP_LIVEKIT_PYTHON` name others.

/// What the engine has to know of a call.
mod call {
    pub(crate) const RATE_HZ: u32 = 16_000;
}
#[path = "call/engine.rs"]
mod engine;
#[path = "serve/house.rs"]
mod house;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use house::House;
use rspp::livekit::room::Mode;
use rspp::livekit::worker::endpoint;
use rspp::serve::LiveKit;
use rspp::specs::binding::KeyReference;
use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "devkey";
const SECRET: &str = "a-secret-of-nobody-that-is-long-enough";
/// What the recogniser hears, whatever the noise is.
const HEARS: [&str; 4] =
    ["what time do you open on friday", "when do you close on sunday", "where are you", "where are you"];
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// A caller's library has this rate.
const VOICE_RATE_HZ: u32 = 48_000;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn installed(variable: &str, path: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| repository().join(path), PathBuf::from)
}

/// A LiveKit server of the test's own.
struct Rooms {
    port: u16,
    child: Child,
    folder: TempDir,
}

impl Rooms {
    fn open() -> Self {
        let tcp = || TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free").port();
        let udp = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free").port();
        let port = tcp();
        let config = include_str!("livekit/server.yaml");
        let config = [("{port}", port), ("{tcp}", tcp()), ("{udp}", udp)]
            .iter()
            .fold(config.to_owned(), |config, (name, port)| config.replace(name, &port.to_string()));
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("server.yaml"), config).expect("a file can be written");
        let server = installed("RSPP_LIVEKIT_SERVER", ".livekit/server");
        let log = std::fs::File::create(folder.path().join("server.log")).expect("a file can be made");
        let child = Command::new(&server)
            .args(["--node-ip", "127.0.0.1", "--config"])
            .arg(folder.path().join("server.yaml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run ci/setup", server.display()));
        let rooms = Self { port, child, folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the server does not listen:\n{}", rooms.log());
            std::thread::yield_now();
        }
        rooms
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A LiveKit server, a server of ours that works for it, and a caller's voice.
struct Stage {
    rooms: Rooms,
    _house: House,
    folder: TempDir,
}

impl Stage {
    fn set(agent: &str, mode: Mode) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let rooms = Rooms::open();
        let engine = engine::start(&HEARS);
        let spec = format!(
            "kind: PipelineSpec\nname: rooms\nversion: 1\ntemplate: voice-assistant\n\
             bind: {{stt: \"wyoming+tcp://{engine}#in-order\", llm: \"dialogue:{}\", tts: \"wyoming+tcp://{engine}\"}}\n\
             nodes: {{vad: {{type: vad, detector: energy}}}}\n",
            repository().join("specs/examples/restaurant.dialogue.yaml").display(),
        );
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("spec.yaml"), spec).expect("a file can be written");
        std::fs::write(path("key"), KEY).expect("a file can be written");
        std::fs::write(path("secret"), SECRET).expect("a file can be written");
        write_voice(&path("voice.wav"));
        let livekit = LiveKit {
            endpoint: endpoint(&rooms.url()).expect("an address"),
            key: KeyReference::File(path("key").display().to_string()),
            secret: KeyReference::File(path("secret").display().to_string()),
            agent: agent.to_owned(),
            caller: None,
            mode,
        };
        let options = rspp::serve::Serve { spec: path("spec.yaml"), livekit: Some(livekit), ..House::options() };
        Self { rooms, _house: House::with(options), folder }
    }

    /// A caller's call: what it saw.
    fn call(&self, room: &str, agent: &str) -> Value {
        let mut caller = Command::new(installed("RSPP_LIVEKIT_PYTHON", ".venv-rooms/bin/python"));
        caller.arg(repository().join("tests/livekit/caller.py")).args([&self.rooms.url(), KEY, SECRET, room]);
        caller.arg(self.folder.path().join("voice.wav")).arg(agent);
        let output = caller.output().unwrap_or_else(|error| panic!("{caller:?}: {error}; run ci/setup"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{stdout}\n{stderr}\nthe server:\n{}", self.rooms.log());
        let line = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"))
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

/// A question is answered, an interruption cuts the answer, and the room's other clients can show all of it.
fn check(saw: &Value) {
    let number = |name: &str| saw[name].as_f64().unwrap_or_else(|| panic!("no {name}: {saw}"));
    assert!(number("answered_after") < 5.0, "an answer comes soon: {saw}");
    assert!(number("cut_after") < 1.5, "an interruption cuts: {saw}");
    assert!(number("answered_again_after") < 5.0, "the interruption is answered: {saw}");
    let states: Vec<&str> = saw["states"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for change in [["thinking", "speaking"], ["speaking", "listening"]] {
        assert!(states.windows(2).any(|pair| pair == change), "{change:?} in {states:?}");
    }
    let transcripts = saw["transcripts"].as_object().expect("there are transcripts");
    let of = |who: &str| -> Vec<String> {
        transcripts.values().filter(|it| it["who"] == who).map(|it| it["text"].to_string()).collect()
    };
    let caller = of("caller");
    assert!(HEARS[..2].iter().all(|words| caller.iter().any(|text| text.contains(words))), "{caller:?}");
    assert!(of("agent").len() >= 2, "{saw}");
    assert!(transcripts.values().all(|it| it["final"] == true), "each is final in the end: {saw}");
    assert!(transcripts.values().all(|it| it["track"].as_str().is_some_and(|sid| sid.starts_with("TR_"))), "{saw}");
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_call_in_a_room_over_one_peer_connection() {
    let stage = Stage::set("", Mode::OneConnection);
    let saw = stage.call("one", "");
    eprintln!("{saw}");
    check(&saw);
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_call_in_a_room_over_two_peer_connections_that_asks_for_the_agent_by_name() {
    let stage = Stage::set("waiter", Mode::TwoConnections);
    let saw = stage.call("two", "waiter");
    eprintln!("{saw}");
    check(&saw);
}

/// What `rspp livekit-check` says with this secret, and its exit code.
fn told(rooms: &Rooms, secret: &str) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(["livekit-check", &rooms.url()]).env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", secret);
    let output = command.output().expect("cargo has built the program");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!said.contains(secret), "a secret is shown nowhere: {said}");
    (said, output.status.code())
}

#[test]
#[ignore = "needs livekit-server"]
fn livekit_check_says_what_works_and_what_does_not() {
    let rooms = Rooms::open();
    let (said, code) = told(&rooms, SECRET);
    let works = ["works: register as a worker", "works: join a room by /rtc/v1", "works: join a room by /rtc"];
    assert!(code == Some(0) && works.iter().all(|step| said.contains(step)), "{code:?}: {said}");
    let (said, code) = told(&rooms, "another-secret-that-the-server-has-not");
    assert!(
        code == Some(1) && said.contains("FAILS: register as a worker") && said.contains("401"),
        "{code:?}: {said}"
    );
}
