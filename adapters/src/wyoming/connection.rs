//! A connection to one engine: a child process's standard input and output, or a TCP socket. A thread reads, a
//! thread writes, and nobody waits without a limit.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError, bounded, select_biased};
use serde_json::Value;

use super::framing::{FramingError, WireEvent, encode, read_event};
use super::{Fault, WyomingError};
use crate::interrupt;
use crate::orphans::{self, Group};

/// Events that wait between a thread and us, in each direction.
const QUEUED_EVENTS: usize = 8;
/// Events that are set aside while we send, until somebody asks for them.
const MAX_ASIDE_EVENTS: usize = 4_096;
/// Bytes of those events, about.
const MAX_ASIDE_BYTES: usize = 64 * 1024 * 1024;
/// Lines of a child's standard error that an error message repeats.
const STDERR_LINES: usize = 5;
/// Bytes of each of those lines.
const STDERR_LINE_BYTES: usize = 400;
/// How long a child whose output has ended may take to end itself.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait for an engine, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// For an answer to `describe`: an engine may load its model first.
    pub describe: Duration,
    /// For one event to be taken from us.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(2), describe: Duration::from_secs(20), write: Duration::from_secs(5) }
    }
}

/// What an engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Recognisers, in the engine's order.
    pub asr: Vec<Program>,
    /// Synthesisers, in the engine's order.
    pub tts: Vec<Program>,
}

impl Info {
    /// Whether it is one of the engines that come with RSPP, all of which answer `ping` in order.
    pub fn is_ours(&self) -> bool {
        let mut programs = self.asr.iter().chain(&self.tts).peekable();
        programs.peek().is_some() && programs.all(|program| program.name.starts_with("rspp-"))
    }
}

/// A recogniser or a synthesiser, as its engine describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its version; empty if it gives none.
    pub version: String,
    /// The names of its models or voices.
    pub choices: Vec<String>,
}

type Incoming = Result<WireEvent, FramingError>;

/// A connection to one engine. Dropping it kills and reaps the child, or closes the socket.
#[derive(Debug)]
pub struct Connection {
    peer: String,
    link: Link,
    outgoing: Sender<Vec<u8>>,
    incoming: Receiver<Incoming>,
    /// Came while we were sending, and is not asked for yet.
    aside: VecDeque<WireEvent>,
    aside_bytes: usize,
    pings: u64,
    timeouts: Timeouts,
}

#[derive(Debug)]
enum Link {
    Process { group: Option<Group>, child: Child, stderr: Arc<Mutex<VecDeque<String>>>, stderr_ended: Receiver<()> },
    Tcp(TcpStream),
}

impl Connection {
    /// Starts `command` and talks to it over its standard input and output.
    ///
    /// # Errors
    ///
    /// [`Fault::NotFound`] or [`Fault::NotStarted`].
    pub fn spawn<A: AsRef<OsStr>>(command: &str, args: &[A], timeouts: Timeouts) -> Result<Self, WyomingError> {
        let peer = args.iter().fold(command.to_owned(), |line, arg| format!("{line} {}", arg.as_ref().display()));
        let not_started = |detail: String| WyomingError::new(&peer, Fault::NotStarted { detail });
        let mut command = Command::new(command);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, group) = orphans::spawn(&mut command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => WyomingError::new(&peer, Fault::NotFound),
            _ => not_started(error.to_string()),
        })?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            reap(&mut child, Some(group));
            return Err(not_started("the system gave no pipes".to_owned()));
        };
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let stderr_ended = keep_last_lines(stderr, Arc::clone(&lines));
        let (outgoing, incoming) = (write_from(stdin), read_into(stdout));
        let link = Link::Process { group: Some(group), child, stderr: lines, stderr_ended };
        Ok(Self::over(peer, link, outgoing, incoming, timeouts))
    }

    /// Connects to an engine that listens at `address`: `host:port`, or the same behind `tcp://`.
    ///
    /// # Errors
    ///
    /// [`Fault::Refused`] if nobody listens there or the address is none; [`Fault::TimedOut`].
    pub fn connect(address: &str, timeouts: Timeouts) -> Result<Self, WyomingError> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                WyomingError::new(address, Fault::TimedOut { awaited: "connection", after: timeouts.connect })
            }
            _ => WyomingError::new(address, Fault::Refused { detail: error.to_string() }),
        };
        let socket = dial(address.strip_prefix("tcp://").unwrap_or(address), timeouts.connect).map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        let outgoing = write_from(socket.try_clone().map_err(refused)?);
        let incoming = read_into(socket.try_clone().map_err(refused)?);
        Ok(Self::over(address.to_owned(), Link::Tcp(socket), outgoing, incoming, timeouts))
    }

    fn over(
        peer: String,
        link: Link,
        outgoing: Sender<Vec<u8>>,
        incoming: Receiver<Incoming>,
        timeouts: Timeouts,
    ) -> Self {
        Connection { peer, link, outgoing, incoming, aside: VecDeque::new(), aside_bytes: 0, pings: 0, timeouts }
    }

    /// The command or the address.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The process that was started, if one was.
    pub fn process_id(&self) -> Option<u32> {
        match &self.link {
            Link::Process { child, .. } => Some(child.id()),
            Link::Tcp(_) => None,
        }
    }

    /// Asks the engine what it is. Whatever else comes before the answer is dropped: ask first.
    ///
    /// # Errors
    ///
    /// It does not answer in time, or the connection fails.
    pub fn describe(&mut self) -> Result<Info, WyomingError> {
        self.send(&WireEvent::new("describe"))?;
        let deadline = Deadline::after(self.timeouts.describe, "info");
        loop {
            let event = self.receive(deadline)?;
            match event.kind.as_str() {
                "info" => {
                    return Ok(Info { asr: programs(&event, "asr", "models"), tts: programs(&event, "tts", "voices") });
                }
                "error" => return Err(self.reported(&event)),
                _ => {}
            }
        }
    }

    /// Hands an event to the thread that writes.
    ///
    /// # Errors
    ///
    /// [`Fault::TimedOut`] if the engine takes nothing, [`Fault::Closed`] or [`Fault::Exited`] if it is gone,
    /// [`Fault::Protocol`] if the event is too long or, while we waited, nonsense came.
    pub(super) fn send(&mut self, event: &WireEvent) -> Result<(), WyomingError> {
        let mut bytes = encode(event).map_err(|error| self.failed(Fault::Protocol(error)))?;
        let deadline = Deadline::after(self.timeouts.write, "room for more");
        // An engine that waits until we read must not make us wait until it reads.
        loop {
            while let Ok(incoming) = self.incoming.try_recv() {
                let event = incoming.map_err(|error| self.broken(error))?;
                self.set_aside(event)?;
            }
            if let Err(TryRecvError::Disconnected) = interrupt::over().try_recv() {
                return Err(self.failed(Fault::Interrupted));
            }
            let patience = deadline.left().min(Duration::from_millis(20));
            bytes = match self.outgoing.send_timeout(bytes, patience) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Disconnected(_)) => return Err(self.gone()),
                Err(SendTimeoutError::Timeout(_)) if deadline.passed() => return Err(self.late(deadline)),
                Err(SendTimeoutError::Timeout(bytes)) => bytes,
            };
        }
    }

    /// The next event from the engine.
    ///
    /// # Errors
    ///
    /// [`Fault::TimedOut`], [`Fault::Closed`], [`Fault::Exited`] or [`Fault::Protocol`].
    pub(super) fn receive(&mut self, deadline: Deadline) -> Result<WireEvent, WyomingError> {
        if let Some(event) = self.aside.pop_front() {
            self.aside_bytes -= event.weight();
            return Ok(event);
        }
        select_biased! {
            recv(self.incoming) -> incoming => match incoming {
                Ok(Ok(event)) => Ok(event),
                Ok(Err(error)) => Err(self.broken(error)),
                Err(_) => Err(self.gone()),
            },
            recv(interrupt::over()) -> _ => Err(self.failed(Fault::Interrupted)),
            default(deadline.left()) => Err(self.late(deadline)),
        }
    }

    /// Sends a `ping` and returns the text by which its `pong` is known.
    pub(super) fn ping(&mut self) -> Result<String, WyomingError> {
        self.pings += 1;
        let text = format!("rspp-{}", self.pings);
        self.send(&WireEvent::new("ping").with("text", text.as_str()))?;
        Ok(text)
    }

    /// The error that an `error` event stands for.
    pub(super) fn reported(&self, event: &WireEvent) -> WyomingError {
        let code = event.data.get("code").and_then(Value::as_str).map(str::to_owned);
        self.failed(Fault::Engine { text: event.text("text").to_owned(), code })
    }

    pub(super) fn failed(&self, fault: Fault) -> WyomingError {
        WyomingError::new(&self.peer, fault)
    }

    fn set_aside(&mut self, event: WireEvent) -> Result<(), WyomingError> {
        self.aside_bytes += event.weight();
        self.aside.push_back(event);
        if self.aside.len() > MAX_ASIDE_EVENTS || self.aside_bytes > MAX_ASIDE_BYTES {
            return Err(self.failed(Fault::Flooded));
        }
        Ok(())
    }

    fn late(&self, deadline: Deadline) -> WyomingError {
        self.failed(Fault::TimedOut { awaited: deadline.awaited, after: deadline.limit })
    }

    /// A connection that is reset is gone, like one that is closed.
    fn broken(&mut self, error: FramingError) -> WyomingError {
        match error {
            FramingError::Io(_) => self.gone(),
            error => self.failed(Fault::Protocol(error)),
        }
    }

    /// The stream ended: why?
    fn gone(&mut self) -> WyomingError {
        // What was wrong with the last bytes says more than that they were the last.
        if let Ok(Err(error @ (FramingError::Cut(_) | FramingError::NotJson { .. }))) = self.incoming.try_recv() {
            return self.failed(Fault::Protocol(error));
        }
        let fault = match &mut self.link {
            Link::Tcp(_) => Fault::Closed,
            Link::Process { child, stderr, stderr_ended, .. } => {
                let _ = stderr_ended.recv_timeout(LAST_WORDS);
                match ending(child) {
                    None => Fault::Closed,
                    Some(status) => {
                        let lines = stderr.lock().unwrap_or_else(PoisonError::into_inner);
                        Fault::Exited { status: status.to_string(), stderr: lines.iter().cloned().collect() }
                    }
                }
            }
        };
        self.failed(fault)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        match &mut self.link {
            Link::Process { child, group, .. } => reap(child, group.take()),
            Link::Tcp(socket) => {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Until when to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
    awaited: &'static str,
}

impl Deadline {
    pub(super) fn after(limit: Duration, awaited: &'static str) -> Self {
        // A limit of centuries is as good as a year.
        let limit = limit.min(Duration::from_secs(365 * 24 * 3600));
        Deadline { at: Instant::now() + limit, limit, awaited }
    }

    fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    fn passed(self) -> bool {
        self.left().is_zero()
    }
}

fn dial(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Ends with the stream, or when nobody receives any more.
fn read_into(from: impl Read + Send + 'static) -> Receiver<Incoming> {
    let (sender, receiver) = bounded(QUEUED_EVENTS);
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        while let Some(incoming) = read_event(&mut from).transpose() {
            let last = incoming.is_err();
            if sender.send(incoming).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Ends when the stream takes no more, or when the connection is dropped.
fn write_from(mut to: impl Write + Send + 'static) -> Sender<Vec<u8>> {
    let (sender, receiver) = bounded::<Vec<u8>>(QUEUED_EVENTS);
    thread::spawn(move || {
        for bytes in receiver {
            if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    });
    sender
}

/// Keeps the last lines of a stream of any length; the receiver is disconnected at its end.
fn keep_last_lines(from: impl Read + Send + 'static, lines: Arc<Mutex<VecDeque<String>>>) -> Receiver<()> {
    let (sender, receiver) = bounded(0);
    thread::spawn(move || {
        let _held_until_the_end = sender;
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            match from.by_ref().take(STDERR_LINE_BYTES as u64).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            if !line.is_empty() {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push_back(line);
                if lines.len() > STDERR_LINES {
                    lines.pop_front();
                }
            }
        }
    });
    receiver
}

/// How a child ended that has closed its output; `None` if it only closed it.
fn ending(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Deadline::after(LAST_WORDS, "end");
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if !deadline.passed() => thread::park_timeout(Duration::from_millis(1)),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn reap(child: &mut Child, group: Option<Group>) {
    // Before it is waited for: until then its number is its own.
    drop(group);
    let _ = child.kill();
    let _ = child.wait();
}

fn programs(info: &WireEvent, kind: &str, choices: &str) -> Vec<Program> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    list(info.data.get(kind))
        .iter()
        .map(|program| Program {
            name: text(program, "name"),
            version: text(program, "version"),
            choices: list(program.get(choices)).iter().map(|choice| text(choice, "name")).collect(),
        })
        .collect()
}
