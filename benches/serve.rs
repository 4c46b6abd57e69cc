//! How many callers one core serves: the server on one core, this program's callers on another, and beside it, in the same
//! run, a WebSocket that says back what it hears and does nothing else, and a bot of Pipecat that says back what it hears
//! through six processors that pass it on.
//!
//! Every caller sends a frame of 640 bytes each 20 ms, and is spoken to all the time. Printed are
//!
//! - *late*: how much later a frame of an answer comes than when its last sample would be due by the pace of that answer's
//!   frame which came earliest: what a jitter buffer of the caller's has to bridge. An answer's first frame is left out: the
//!   second comes with it, so that the peer has something in hand, and from there on the lead stays the same;
//! - *there and back*: of an echo, from a frame's sending to its coming back; of the server, from `talk` to the word that the
//!   caller speaks, which goes through the core and its detector's node;
//! - gaps: samples of an answer that did not come;
//! - memory of the server's process for each call, from what it had before the first. `server` says long answers, which wait
//!   in the buffers that the pipeline declares; `short` says a few words at a time, so that next to nothing waits there, but
//!   what is kept for who comes back (256 messages, five seconds of audio); `rest` is asked nothing, and hears its callers.
//!
//! A kind *holds* so many callers if nothing is cut short or has gaps, and p99 of what is late is at most 20 ms.
//!
//! `cargo bench --bench serve` pins with `taskset` where that is there. `RSPP_BENCH_RUNS=echo:800,server:800,rest:800,pipecat:60`
//! says which. Pipecat is the one of `ci/setup`; `RSPP_BENCH_PYTHON` names another Python that has it.

#[path = "process/mod.rs"]
mod process;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{Message as Wire, WebSocketUpgrade};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use process::Process;
use rspp::adapters::admission::Capacity;
use rspp::adapters::server::Limits;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const FRAME: Duration = Duration::from_millis(20);
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(10);
/// Samples a second.
const RATE_HZ: u64 = 16_000;
/// Who is later is not there any more when the frame is to be played.
const HOLDS_MS: f64 = 20.0;
const RUNS: &str = "echo:800,server:800,rest:800,pipecat:60";
/// From one `talk` of a caller to the next.
const TALKS_EVERY: Duration = Duration::from_secs(1);

/// The pipeline, up to what it says.
const SPEC: &str = "\
kind: PipelineSpec
name: loaded
version: 1
template: voice-assistant
turn: {interruption: ignore}
nodes: {vad: {type: vad, detector: energy}}
";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("server") => {
            run_server(&"This is a long answer that goes on and on and does not say very much at all. ".repeat(3));
        }
        Some("short" | "rest") => run_server("Yes, so it is."),
        Some("echo") => run_echo(),
        _ => orchestrate(),
    }
}

/// Starts each server by itself, and calls it.
fn orchestrate() {
    let runs = std::env::var("RSPP_BENCH_RUNS").unwrap_or_else(|_| RUNS.to_owned());
    let runs = runs.split(',').filter_map(|run| run.split_once(':'));
    let runs: Vec<(&str, usize)> = runs.filter_map(|(kind, count)| Some((kind, count.parse().ok()?))).collect();
    let mut report = format!("{}\n", process::machine());
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, count) in runs {
        let Some(process) = start(kind) else {
            report += &format!("{kind}: SKIPPED, there is no Python with Pipecat: ci/setup installs it\n");
            continue;
        };
        let before = process.memory_kib();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a system");
        let (mut measured, at_most) = runtime.block_on(call(kind, &process, count));
        let each = at_most.saturating_sub(before) as f64 / count as f64;
        report += &measured.shown(kind, count, each);
        if measured.holds() {
            let most = held.entry(kind.to_owned()).or_default();
            *most = count.max(*most);
        }
    }
    report += &format!("{}\nheld: {held:?}\n", process::machine());
    if let Some(server) = held.get("server") {
        for peer in ["echo", "pipecat"] {
            let ratio = held.get(peer).map(|peer| *server as f64 / *peer as f64);
            ratio.into_iter().for_each(|ratio| report += &format!("server to {peer}: {ratio:.2}\n"));
        }
    }
    std::io::stdout().write_all(report.as_bytes()).expect("what it measured can be printed");
}

fn start(kind: &str) -> Option<Process> {
    if kind != "pipecat" {
        return Some(Process::start(kind));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("RSPP_BENCH_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root.join(".venv-clients/bin/python"));
    let has_it = Command::new(&python).args(["-c", "import pipecat, websockets"]).output();
    has_it.is_ok_and(|output| output.status.success()).then(|| {
        Process::of(Command::new(&python).args(["-W", "ignore"]).arg(root.join("benches/peers/pipecat_echo.py")))
    })
}

/// The server as a user has it, with a pipeline that asks nobody and says this.
fn run_server(says: &str) {
    let folder = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("there is room");
    let bind = format!("bind: {{stt: 'captions:none.yaml', llm: 'say:{says}', tts: 'tone:'}}\n");
    write("pipeline.yaml", &format!("{SPEC}{bind}"));
    write("none.yaml", "kind: Captions\ncaptions:\n  - {from_ms: 3500000, to_ms: 3500001, words: none}\n");
    // All callers have one address.
    let limits = Limits {
        connections_of_an_address: 16_384,
        arrivals_of_an_address: 16_384,
        arrivals: 16_384,
        ..Limits::of(16_384)
    };
    let capacity = Capacity {
        sessions: 65_536,
        sessions_of_a_key: 65_536,
        turns: 65_536,
        turns_of_a_key: 65_536,
        invocations: 65_536,
        invocations_of_a_key: 65_536,
        headroom_percent: 0,
    };
    process::run(folder.path().join("pipeline.yaml"), limits, capacity);
}

/// Says back what it hears.
fn run_echo() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("there is a system").block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        process::tell(listener.local_addr().expect("it has one"));
        let echo = |upgrade: WebSocketUpgrade| async move {
            upgrade.read_buffer_size(4_096).write_buffer_size(0).on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.next().await {
                    if matches!(message, Wire::Binary(_)) && socket.send(message).await.is_err() {
                        return;
                    }
                }
            })
        };
        axum::serve(listener, Router::new().route("/v1/rspp", get(echo))).await.expect("it serves");
    });
}

/// What was measured, in microseconds.
#[derive(Default)]
struct Measured {
    late: Vec<u64>,
    round_trips: Vec<u64>,
    frames: u64,
    /// How long the server had its core.
    worked: Duration,
    /// Answers that ended before their end.
    cut_short: u64,
    /// Frames that do not begin where the one before ended.
    gaps: u64,
    /// What was said of one of them.
    why: Option<String>,
}

/// In milliseconds, of sorted values.
fn at(values: &[u64], share: f64) -> f64 {
    let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
    values.get(place).map_or(f64::NAN, |value| *value as f64 / 1_000.0)
}

impl Measured {
    fn holds(&self) -> bool {
        self.cut_short == 0 && self.gaps == 0 && at(&self.late, 0.99) <= HOLDS_MS
    }

    fn shown(&mut self, kind: &str, callers: usize, kib_each: f64) -> String {
        let seconds = MEASURED.as_secs_f64();
        let mut text = format!(
            "{kind}: {callers} callers, {:.0} frames a second to them of {} wanted, {} answers cut short, {} gaps, \
             {kib_each:.1} KiB of memory each, {:.0}% of a core\n",
            self.frames as f64 / seconds,
            callers * 50,
            self.cut_short,
            self.gaps,
            self.worked.as_secs_f64() / seconds * 100.0,
        );
        if let Some(why) = &self.why {
            text += &format!("  cut short: {why}\n");
        }
        for (name, values) in [("late", &mut self.late), ("there and back", &mut self.round_trips)] {
            values.sort_unstable();
            let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(|share| at(values, share));
            text += &format!(
                "  {name:<15} {:>9} values; ms: p50 {p50:.2}, p95 {p95:.2}, p99 {p99:.2}, most {most:.2}\n",
                values.len()
            );
        }
        text
    }
}

/// So many callers at once; gives what they saw, and the server's memory at the end.
async fn call(kind: &str, process: &Process, count: usize) -> (Measured, u64) {
    let all = Arc::new(Mutex::new(Measured::default()));
    let start = Instant::now() + Duration::from_millis(count as u64 * 2);
    let mut tasks = Vec::new();
    for number in 0..count {
        let all = Arc::clone(&all);
        let begins = start + FRAME * (number as u32 % 97) / 97;
        let mut caller = Caller::connect(kind, process.address, begins, number).await;
        tasks.push(tokio::spawn(async move {
            caller.run().await;
            let mut all = all.lock().await;
            all.late.extend(caller.lateness());
            all.round_trips.extend(&caller.measured.round_trips);
            all.frames += caller.measured.frames;
            all.cut_short += caller.measured.cut_short;
            all.gaps += caller.gaps();
            if all.cut_short > 0 && all.why.is_none() {
                all.why = caller.said.take();
            }
        }));
    }
    tokio::time::sleep_until((start + WARM_UP).into()).await;
    let worked = process.worked();
    tokio::time::sleep_until((start + WARM_UP + MEASURED).into()).await;
    all.lock().await.worked = process.worked() - worked;
    let memory = process.memory_kib();
    for task in tasks {
        task.await.expect("a caller does not panic");
    }
    (std::mem::take(&mut *all.lock().await), memory)
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// A frame that came.
#[derive(Clone, Copy)]
struct Arrival {
    turn: u32,
    /// Its first sample in the turn's audio, and the one behind its last.
    from: u64,
    until: u64,
    at: Instant,
}

impl Arrival {
    /// When the turn would have begun if the frame had come at the moment at which its last sample is due.
    fn offset(&self) -> Instant {
        self.at - Duration::from_micros(self.until * 1_000_000 / RATE_HZ)
    }
}

struct Caller {
    is_echo: bool,
    /// Wants to be answered.
    asks: bool,
    socket: Socket,
    begins: Instant,
    arrivals: Vec<Arrival>,
    sent: Vec<Instant>,
    came: usize,
    talked_at: Option<Instant>,
    talks_at: Instant,
    presses: bool,
    /// What the server said when it ended the call, or when it refused something.
    said: Option<String>,
    measured: Measured,
}

impl Caller {
    async fn connect(kind: &str, address: SocketAddr, begins: Instant, number: usize) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("it is a socket");
        let request = format!("ws://{address}/v1/rspp").into_client_request().expect("it is a URL");
        let config = WebSocketConfig::default().read_buffer_size(4_096);
        let connected = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (mut socket, _) = connected.expect("the server lets us in");
        let is_echo = !matches!(kind, "server" | "short" | "rest");
        if !is_echo {
            for text in [r#"{"type":"hello","version":1}"#, r#"{"type":"mute","muted":false}"#] {
                socket.send(Message::text(text)).await.expect("the server reads");
            }
        }
        let talks_at = begins + WARM_UP + TALKS_EVERY * (number as u32 % 101) / 101;
        let measured = Measured::default();
        let (arrivals, sent) = (Vec::new(), Vec::new());
        Self {
            is_echo,
            asks: !is_echo && kind != "rest",
            socket,
            begins,
            arrivals,
            sent,
            came: 0,
            talked_at: None,
            talks_at,
            presses: true,
            said: None,
            measured,
        }
    }

    async fn run(&mut self) {
        let ends = self.begins + WARM_UP + MEASURED;
        let mut next = self.begins;
        let silence = vec![0_u8; 640];
        if self.asks {
            self.ask().await;
        }
        while next < ends {
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {
                    self.sent.push(next);
                    next += FRAME;
                    self.socket.feed(Message::binary(silence.clone())).await.expect("the server reads");
                    self.talk_now_and_then().await;
                    self.socket.flush().await.expect("the server reads");
                }
                message = self.socket.next() => match message {
                    Some(Ok(message)) => self.on_message(message, ends).await,
                    other => panic!("the server hung up: {other:?}; it had said {:?}", self.said),
                },
            }
        }
    }

    async fn ask(&mut self) {
        self.socket.send(Message::text(r#"{"type":"text","text":"go on"}"#)).await.expect("the server reads");
    }

    async fn talk_now_and_then(&mut self) {
        let now = Instant::now();
        if self.is_echo || now < self.talks_at {
            return;
        }
        self.talks_at += TALKS_EVERY;
        let state = if self.presses { "press" } else { "release" };
        if self.presses {
            self.talked_at = Some(now);
        }
        self.presses = !self.presses;
        let text = format!(r#"{{"type":"talk","state":"{state}"}}"#);
        self.socket.feed(Message::text(text)).await.expect("the server reads");
    }

    async fn on_message(&mut self, message: Message, ends: Instant) {
        let now = Instant::now();
        let is_measured = now >= self.begins + WARM_UP && now < ends;
        match message {
            Message::Binary(bytes) if self.is_echo => {
                let sent = self.sent[self.came];
                self.came += 1;
                if is_measured {
                    self.measured.frames += 1;
                    self.measured.round_trips.push((now - sent).as_micros() as u64);
                    let from = self.came as u64 * 320;
                    self.arrivals.push(Arrival { turn: 0, from, until: from + 320, at: now });
                }
                drop(bytes);
            }
            Message::Binary(bytes) => {
                let turn = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
                let from = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
                if is_measured {
                    self.measured.frames += 1;
                    let until = from + (bytes.len() as u64 - 16) / 2;
                    self.arrivals.push(Arrival { turn, from, until, at: now });
                }
            }
            Message::Text(text) => {
                if text.contains(r#""type":"speech","speaking":true"#)
                    && let Some(talked_at) = self.talked_at.take()
                {
                    self.measured.round_trips.push((now - talked_at).as_micros() as u64);
                }
                let aborted = text.contains(r#""state":"aborted""#);
                if aborted {
                    self.measured.cut_short += 1;
                    self.said = Some(text.to_string());
                }
                if aborted || text.contains(r#""state":"committed""#) {
                    self.ask().await;
                }
                if text.contains(r#""type":"refused""#) {
                    self.said = Some(text.to_string());
                }
            }
            Message::Close(frame) => self.said = Some(format!("{frame:?}")),
            _ => {}
        }
    }

    /// How much later each frame came than by the pace of the one that came earliest, of each answer by itself.
    fn lateness(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for turn in self.arrivals.chunk_by(|a, b| a.turn == b.turn) {
            let paced = || turn.iter().filter(|arrival| self.is_echo || arrival.from > 0).map(Arrival::offset);
            let Some(earliest) = paced().min() else { continue };
            all.extend(paced().map(|offset| (offset - earliest).as_micros() as u64));
        }
        all
    }

    /// Frames that do not begin where the one before ended.
    fn gaps(&self) -> u64 {
        let turns = self.arrivals.chunk_by(|a, b| a.turn == b.turn);
        turns.map(|turn| turn.windows(2).filter(|pair| pair[0].until != pair[1].from).count() as u64).sum()
    }
}
