//! How many callers one core serves: the server on one core, this program's callers on another, and beside it, in the same
//! run, a WebSocket that says back what it hears and does nothing else.
//!
//! Every caller sends a frame of 640 bytes each 20 ms, and is spoken to all the time. Printed are
//!
//! - *late*: how much later a frame of the answer comes than the 20 ms after the one before it that it should, counted from
//!   the frame that came earliest by its own clock: what a jitter buffer of the caller's would have to bridge;
//! - *there and back*: of the bare echo, from a frame's sending to its coming back; of the server, from `talk` to the word that
//!   the caller speaks, which goes through the core and its detector's node;
//! - memory of the server's process for each call, from what it had before the first.
//!
//! `cargo bench --bench serve` pins with `taskset` where that is there. `RSPP_BENCH_CALLERS=100,800` says how many.

#[path = "process/mod.rs"]
mod process;

use std::io::Write as _;
use std::net::SocketAddr;
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
const WARM_UP: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(15);
/// Of each answer, before its frames come one by one.
const FIRST_FRAMES: u64 = 4;
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
        Some("server") => run_server(),
        Some("echo") => run_echo(),
        _ => orchestrate(),
    }
}

/// Starts each server by itself, and calls it.
fn orchestrate() {
    let wanted = std::env::var("RSPP_BENCH_CALLERS").unwrap_or_else(|_| "100,800,1200".to_owned());
    let counts: Vec<usize> = wanted.split(',').filter_map(|count| count.parse().ok()).collect();
    let mut report = String::new();
    for kind in ["echo", "server"] {
        for count in &counts {
            let process = Process::start(kind);
            let before = process.memory_kib();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a system");
            let (measured, at_most) = runtime.block_on(call(kind, &process, *count));
            let each = at_most.saturating_sub(before) as f64 / *count as f64;
            report += &measured.shown(kind, *count, each);
        }
    }
    std::io::stdout().write_all(report.as_bytes()).expect("what it measured can be printed");
}

/// The server as a user has it, with a pipeline that asks nobody.
fn run_server() {
    let folder = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("there is room");
    let says = "This is a long answer that goes on and on and does not say very much at all. ".repeat(3);
    let bind = format!("bind: {{stt: 'captions:none.yaml', llm: 'say:{says}', tts: 'tone:'}}\n");
    write("pipeline.yaml", &format!("{SPEC}{bind}"));
    write("none.yaml", "kind: Captions\ncaptions:\n  - {from_ms: 3500000, to_ms: 3500001, words: none}\n");
    let limits = Limits { connections: 16_384, ..Limits::default() };
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
    /// Answers that ended before their end.
    cut_short: u64,
    /// What was said of one of them.
    why: Option<String>,
}

impl Measured {
    fn shown(mut self, kind: &str, callers: usize, kib_each: f64) -> String {
        let seconds = MEASURED.as_secs_f64();
        let mut text = format!(
            "{kind}: {callers} callers, {:.0} frames a second to them of {} wanted, {} answers cut short, {kib_each:.1} KiB of memory each\n",
            self.frames as f64 / seconds,
            callers * 50,
            self.cut_short,
        );
        if let Some(why) = self.why {
            text += &format!("  cut short: {why}\n");
        }
        for (name, values) in [("late", &mut self.late), ("there and back", &mut self.round_trips)] {
            values.sort_unstable();
            let at = |share: f64| {
                let place = ((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1));
                values.get(place).map_or(f64::NAN, |value| *value as f64 / 1_000.0)
            };
            let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(at);
            text += &format!(
                "  {name:<15} {:>9} values; ms: p50 {p50:.2}, p95 {p95:.2}, p99 {p99:.2}, most {most:.2}\n",
                values.len()
            );
        }
        text
    }
}

/// So many callers at once; gives what they saw, and the server's memory at the end.
async fn call(kind: &'static str, process: &Process, count: usize) -> (Measured, u64) {
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
            if all.cut_short > 0 && all.why.is_none() {
                all.why = caller.said.take();
            }
        }));
    }
    tokio::time::sleep_until((start + WARM_UP + MEASURED).into()).await;
    let memory = process.memory_kib();
    for task in tasks {
        task.await.expect("a caller does not panic");
    }
    (std::mem::take(&mut *all.lock().await), memory)
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

struct Caller {
    is_echo: bool,
    socket: Socket,
    begins: Instant,
    /// When each frame of a stretch of speech came, with its place in it.
    arrivals: Vec<(u32, u64, Instant)>,
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
        let is_echo = kind == "echo";
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
        if !self.is_echo {
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
                    self.arrivals.push((0, self.came as u64, now));
                }
                drop(bytes);
            }
            Message::Binary(bytes) => {
                let turn = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
                let from = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
                if is_measured {
                    self.measured.frames += 1;
                    self.arrivals.push((turn, from / 320, now));
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

    /// How much later each frame came than by the clock of the one that came earliest; of each turn by itself, and from
    /// where it is under way: its first frames come at once, so that the peer has something in hand.
    fn lateness(&self) -> Vec<u64> {
        let mut all = Vec::new();
        for turn in self.arrivals.chunk_by(|a, b| a.0 == b.0) {
            let under_way = || turn.iter().filter(|(_, place, _)| self.is_echo || *place >= FIRST_FRAMES);
            let offset = |(_, place, at): &(u32, u64, Instant)| *at - FRAME * *place as u32;
            let Some(earliest) = under_way().map(offset).min() else { continue };
            all.extend(under_way().map(|arrival| (offset(arrival) - earliest).as_micros() as u64));
        }
        all
    }
}
