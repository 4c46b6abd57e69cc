//! How many rooms of LiveKit one agent worker holds, and how late its frames are: ours, and beside it in the same run one of
//! livekit-agents that does less (`benches/rooms/agent.py`), at the most rooms that it holds.
//!
//! `cargo bench --bench rooms`; `RSPP_ROOMS` and `RSPP_SECONDS` say how many rooms and for how long (40 and 120). Needs what
//! `ci/setup` installs with `RSPP_LIVEKIT=1`. A frame is late by as much as it comes after the earliest of its answer would have it,
//! at its caller, behind the agent, LiveKit's server and two networks of the loopback. The callers and LiveKit's server are on the
//! same machine and take their share of it.

/// What the engine has to know of a call.
mod call {
    pub(crate) const RATE_HZ: u32 = 16_000;
}
#[path = "../tests/call/engine.rs"]
mod engine;
#[path = "../tests/serve/house.rs"]
mod house;
#[path = "../tests/livekit/rooms.rs"]
mod rooms;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rooms::{KEY, Rooms, SECRET, installed, repository};
use rspp::adapters::audio::{Encoding, Outbound, WireFormat};
use rspp::adapters::secret::Secrets;
use rspp::livekit::caller::{Arrival, Caller};
use rspp::livekit::token::{Bearer, Grant, Keys};
use rspp::livekit::worker::endpoint;
use rspp::specs::binding::KeyReference;
use rspp::specs::event::AudioFrame;
use tokio::time::Instant;

/// What is asked of an agent: 99 of 100 frames are not later.
const MOST_LATE: Duration = Duration::from_millis(20);
/// Of each ten seconds a caller speaks for one.
const SPEAKS_PACKETS: usize = 50;
const ROUND_PACKETS: usize = 500;
/// The first frames of an answer are sent ahead.
const AHEAD_FRAMES: usize = 3;
/// A gap of more than this is between answers.
const GAP_SAMPLES: u64 = 4_800;
/// Words of half a second each: longer than anything is measured for.
const CAPTIONS: u64 = 600;
/// So long an agent of the other kind is measured at each number of rooms.
const OTHER_SECONDS: u64 = 20;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// A second of a buzz, and nine of silence, as packets.
fn voice() -> Vec<bytes::Bytes> {
    let mut coder = Outbound::new(WireFormat { encoding: Encoding::Opus, rate_hz: 16_000 }).expect("a rate of Opus's");
    let frame = |loud: bool| {
        let wave = |at: usize| if (at / 40).is_multiple_of(2) { 6_000 } else { -6_000 };
        let samples: Vec<i16> = (0..320).map(|at| if loud { wave(at) } else { 0 }).collect();
        AudioFrame { rate_hz: 16_000, samples: samples.into(), spoken_by: None }
    };
    (0..ROUND_PACKETS).flat_map(|at| coder.push(&frame(at < SPEAKS_PACKETS)).expect("it fits")).collect()
}

/// An agent worker in processes of its own.
struct Agent(Child);

impl Agent {
    fn start(command: &mut Command, rooms: &Rooms) -> Self {
        command.env("LIVEKIT_URL", rooms.url()).env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", SECRET);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let agent = Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let until = std::time::Instant::now() + rooms::PATIENCE;
        while !rooms.log().contains("worker registered") {
            assert!(std::time::Instant::now() < until, "{command:?} does not register");
            std::thread::sleep(Duration::from_millis(20));
        }
        agent
    }

    /// It, and those that it started.
    fn processes(&self) -> Vec<u32> {
        let parents: BTreeMap<u32, u32> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(|id: u32| Some((id, fields(id)?.get(1)?.parse().ok()?)))
            .collect();
        let is_ours = |id: &u32| {
            let mut at = Some(*id);
            while let Some(id) = at.filter(|id| *id != self.0.id()) {
                at = parents.get(&id).copied();
            }
            at.is_some()
        };
        parents.keys().copied().filter(is_ours).collect()
    }

    fn cpu(&self) -> Duration {
        let ticks = |id: &u32| {
            let fields = fields(*id).unwrap_or_default();
            [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum::<u64>()
        };
        Duration::from_millis(10 * self.processes().iter().map(ticks).sum::<u64>())
    }

    /// What is its own of the memory, and its share of what is shared.
    fn memory_kib(&self) -> u64 {
        let pss = |id: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or_default();
            line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        self.processes().iter().map(pss).sum()
    }
}

/// Of `/proc/ID/stat`, what is behind the name.
fn fields(id: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Its own children go with it.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// What was measured with so many rooms.
struct Figures {
    rooms: u64,
    answered: usize,
    frames: usize,
    late: [Duration; 3],
    cpu_percent: f64,
    memory_kib: u64,
}

impl Figures {
    fn holds(&self) -> bool {
        self.answered as u64 == self.rooms && self.late[1] <= MOST_LATE
    }

    fn print(&self, who: &str) {
        let [half, most, worst] = self.late.map(|late| late.as_secs_f64() * 1_000.0);
        println!(
            "{who}: {} rooms, {} answered, {} frames; late p50 {half:.1} ms, p99 {most:.1} ms, worst {worst:.1} ms; \
             a session {:.2}% of a core and {} KiB{}",
            self.rooms,
            self.answered,
            self.frames,
            self.cpu_percent / self.rooms as f64,
            self.memory_kib / self.rooms,
            if self.holds() { "" } else { "; too many" },
        );
    }
}

/// How late each frame is but the first of each answer.
fn lateness(arrivals: &[Arrival]) -> Vec<Duration> {
    let Some(first) = arrivals.first() else { return Vec::new() };
    let offset = |arrival: &Arrival| {
        let media = arrival.at.saturating_sub(first.at) as f64 / 48_000.0;
        arrival.came.duration_since(first.came).as_secs_f64() - media
    };
    let answers = arrivals.chunk_by(|before, after| after.at > before.at && after.at - before.at <= GAP_SAMPLES);
    let late = |answer: &[Arrival]| {
        let frames = answer.get(AHEAD_FRAMES..).unwrap_or_default();
        let earliest = frames.iter().map(offset).fold(f64::INFINITY, f64::min);
        frames.iter().map(|frame| Duration::from_secs_f64(offset(frame) - earliest)).collect::<Vec<_>>()
    };
    answers.flat_map(late).collect()
}

/// So many callers in a room each, for so long.
fn measure(agent: &Agent, server: &Rooms, keys: &Keys, run: &str, rooms: u64, seconds: u64) -> Figures {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let packets = voice();
    let idle_kib = agent.memory_kib();
    runtime.expect("there is a thread").block_on(async {
        let mut callers = Vec::new();
        for number in 0..rooms {
            let grant = Grant { room_join: true, room: format!("{run}-{number}"), ..Grant::default() };
            let token = keys.token(Bearer::Participant("caller"), &grant, rspp::adapters::token::now());
            let endpoint = endpoint(&server.url()).expect("an address");
            callers.push(Caller::join(endpoint, token).await.unwrap_or_else(|error| panic!("{error}")));
        }
        let (began, before) = (Instant::now(), agent.cpu());
        let until = began + Duration::from_secs(seconds);
        let talks: Vec<_> = callers
            .into_iter()
            .enumerate()
            .map(|(number, mut caller)| {
                // They don't all speak at once.
                let mut packets = packets.clone();
                packets.rotate_left(number * 37 % ROUND_PACKETS);
                tokio::spawn(async move { caller.talk(&packets, until).await })
            })
            .collect();
        tokio::time::sleep_until(until - Duration::from_millis(200)).await;
        let (cpu, memory) = (agent.cpu().saturating_sub(before), agent.memory_kib());
        let cpu_percent = 100.0 * cpu.as_secs_f64() / began.elapsed().as_secs_f64();
        let (mut late, mut answered) = (Vec::new(), 0);
        for talk in talks {
            let of_one = lateness(&talk.await.expect("it does not panic"));
            answered += usize::from(!of_one.is_empty());
            late.extend(of_one);
        }
        late.sort_unstable();
        let share = |of_a_thousand: usize| late.get(late.len() * of_a_thousand / 1_000).copied().unwrap_or_default();
        let worst = late.last().copied().unwrap_or_default();
        Figures {
            rooms,
            answered,
            frames: late.len(),
            late: [share(500), share(990), worst],
            cpu_percent,
            memory_kib: memory.saturating_sub(idle_kib),
        }
    })
}

/// Hears a noise when there is one, and answers at length, with nothing outside of the process.
fn pipeline(folder: &Path) -> std::path::PathBuf {
    let says = "This is an answer of some seconds that says the same as all of the others do. ".repeat(2);
    let spec = format!(
        "kind: PipelineSpec\nname: measured\nversion: 1\ntemplate: voice-assistant\n\
         nodes: {{vad: {{type: vad, detector: energy}}}}\n\
         bind: {{stt: 'captions:all.yaml', llm: 'say:{says}', tts: 'tone:'}}\n"
    );
    // Whenever somebody speaks, it is this that is said.
    let word = |at: u64| format!("  - {{from_ms: {}, to_ms: {}, words: go}}\n", at * 500, at * 500 + 500);
    let all: String = (0..CAPTIONS).map(word).collect();
    std::fs::write(folder.join("all.yaml"), format!("kind: Captions\ncaptions:\n{all}"))
        .expect("a file can be written");
    std::fs::write(folder.join("spec.yaml"), spec).expect("a file can be written");
    folder.join("spec.yaml")
}

fn ours(keys: &Keys, folder: &Path) -> Figures {
    let server = Rooms::open();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.arg("serve").arg(pipeline(folder)).args(["--listen", "127.0.0.1:0", "--livekit", &server.url()]);
    let agent = Agent::start(&mut command, &server);
    let figures = measure(&agent, &server, keys, "ours", number("RSPP_ROOMS", 40), number("RSPP_SECONDS", 120));
    figures.print("rspp");
    figures
}

/// More and more rooms, as long as it holds them; the last that it held.
fn theirs(keys: &Keys) -> Option<Figures> {
    let python = installed("RSPP_LIVEKIT_AGENTS", ".venv-livekit/bin/python");
    if !python.is_file() {
        println!("livekit-agents is not there: RSPP_LIVEKIT=1 ci/setup installs it");
        return None;
    }
    let server = Rooms::open();
    let mut command = Command::new(python);
    command.arg(repository().join("benches/rooms/agent.py")).arg("start");
    let agent = Agent::start(&mut command, &server);
    let mut held = None;
    for rooms in [1, 2, 4, 6, 8, 12, 16, 24, 32, 40] {
        let figures = measure(&agent, &server, keys, &format!("theirs-{rooms}"), rooms, OTHER_SECONDS);
        figures.print("livekit-agents");
        if !figures.holds() {
            break;
        }
        held = Some(figures);
    }
    held
}

fn main() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).expect("a file can be written");
    let secret = KeyReference::File(path.display().to_string());
    let keys = Keys::new(KEY, Secrets::beside(folder.path()).read(&secret).expect("it is there"));
    let ours = ours(&keys, folder.path());
    if let Some(theirs) = theirs(&keys) {
        println!(
            "rooms {} to {} ({:.1} times); CPU a session {:.1} times less, memory a session {:.1} times less",
            ours.rooms,
            theirs.rooms,
            ours.rooms as f64 / theirs.rooms as f64,
            theirs.cpu_percent / theirs.rooms as f64 / (ours.cpu_percent / ours.rooms as f64),
            theirs.memory_kib as f64 / theirs.rooms as f64 / (ours.memory_kib as f64 / ours.rooms as f64).max(1.0),
        );
    }
}
