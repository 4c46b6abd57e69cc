#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A caller whose worker may be lost at any moment: it speaks and listens over a WebSocket, finds its session again by its
//! route, says how far it has heard, and judges what it hears. It plays each sample as it comes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rspp::controlplane::wire::{Route, RouteRequest};
use rspp::fleet::client::Client;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// A frame of the caller's microphone.
const FRAME: Duration = Duration::from_millis(20);
/// How long a socket is read before it is spoken into.
const BREATH: Duration = Duration::from_millis(10);
/// Asks for a sign of life so often, and takes who gives none for so long for gone.
const PING: Duration = Duration::from_millis(200);
const GONE: Duration = Duration::from_millis(700);
/// How long a new line may take to be answered.
const ANSWER: Duration = Duration::from_secs(1);
/// Where somebody stood still, nobody is asked again for so long.
const SUSPECT: Duration = Duration::from_secs(4);
/// It is asked again for a route after so long.
const AFTER_NOTHING: Duration = Duration::from_millis(25);
/// Who was asked something and does not begin to answer may not have heard it.
const AGAIN: Duration = Duration::from_millis(2_500);
/// Thinks for so long before it asks the next thing: people do, and sessions rest meanwhile.
const THINKS: Duration = Duration::from_millis(800);
/// After how many frames it is said how far they were played.
const TELL_EVERY: u64 = 5;

/// What was heard of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) samples: u64,
    /// The words that the agent was to say.
    pub(crate) captions: Vec<String>,
    /// What the server says was heard, and whether that was cut.
    pub(crate) text: Option<(String, bool)>,
    pub(crate) committed: bool,
}

/// A caller.
pub(crate) struct Caller {
    plane: Client,
    pub(crate) route: Route,
    secret: String,
    resume: Option<String>,
    last_seq: u64,
    turn: u32,
    /// Audio of a lower epoch is not played any more.
    epoch: u32,
    pub(crate) turns: BTreeMap<u32, Heard>,
    /// What should not have been.
    pub(crate) wrong: Vec<String>,
    line: Option<Line>,
    /// Lines that were given up, and may still say something.
    old: Vec<WebSocket<TcpStream>>,
    asked_at: Option<Instant>,
    answered_at: Instant,
    /// Under which epoch it gave up who said nothing any more, and when.
    suspect: Option<(u64, Instant)>,
    /// Since when nothing was heard, while a turn was being spoken.
    quiet_since: Option<Instant>,
    pub(crate) longest_gap: Duration,
    pub(crate) answered: u32,
}

struct Line {
    socket: WebSocket<TcpStream>,
    heard_at: Instant,
    pinged_at: Instant,
    spoke_at: Instant,
}

/// What became of listening for a moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Fine,
    Lost,
}

impl Caller {
    pub(crate) fn new(plane: Client, session: &str) -> Self {
        let ask = RouteRequest {
            tenant: "acme".into(),
            session: Some(session.to_owned()),
            pipeline: "served".into(),
            region: None,
        };
        let route: Route = plane.post("/v1/sessions", &ask).unwrap_or_else(|error| panic!("{error}"));
        let secret = route.secret.clone().expect("it is new");
        Self {
            plane,
            route,
            secret,
            resume: None,
            last_seq: 0,
            turn: 0,
            epoch: 0,
            turns: BTreeMap::new(),
            wrong: Vec::new(),
            line: None,
            old: Vec::new(),
            asked_at: None,
            answered_at: Instant::now(),
            suspect: None,
            quiet_since: None,
            longest_gap: Duration::ZERO,
            answered: 0,
        }
    }

    /// Opens a line where the route leads; `false` if nobody answers there.
    pub(crate) fn connect(&mut self) -> bool {
        let connected = self.try_connect();
        connected.is_some()
    }

    fn try_connect(&mut self) -> Option<()> {
        let address: SocketAddr = self.route.endpoint.strip_prefix("ws://")?.parse().ok()?;
        let stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let (mut socket, _) = tungstenite::client(format!("ws://{address}/v1/rspp"), stream).ok()?;
        let mut hello = json!({"type": "hello", "version": 1, "token": self.route.token});
        if let Some(secret) = &self.resume {
            let heard = self.turns.get(&self.turn).map_or(0, |heard| heard.samples);
            let played = (self.turn > 0).then(|| json!({"turn": self.turn, "heard_samples": heard}));
            hello["resume"] = json!({"secret": secret, "last_seq": self.last_seq, "played": played});
        }
        socket.send(Message::text(hello.to_string())).ok()?;
        let began = Instant::now();
        let ready = loop {
            match socket.read() {
                Ok(Message::Text(text)) => {
                    let told: Value = serde_json::from_str(&text).ok()?;
                    if told["type"] == "ready" {
                        break told;
                    }
                    return None;
                }
                Ok(_) if began.elapsed() < ANSWER * 4 => {}
                _ => return None,
            }
        };
        socket.get_mut().set_read_timeout(Some(BREATH)).ok()?;
        if self.resume.is_some() && ready["resumed"] != true {
            self.wrong.push(format!("{}: the session began anew", self.route.session));
        }
        if ready["missed"].as_u64() != Some(0) {
            self.wrong.push(format!("{}: messages are lost: {ready}", self.route.session));
        }
        self.resume = ready["resume"].as_str().map(str::to_owned);
        let now = Instant::now();
        self.line = Some(Line { socket, heard_at: now, pinged_at: now, spoke_at: now });
        Some(())
    }

    /// Gives the line up, and looks where the session is now. `true` once it is with somebody and the line stands.
    pub(crate) fn find_again(&mut self) -> bool {
        if let Some(line) = self.line.take() {
            self.old.push(line.socket);
        }
        let ask = json!({"tenant": self.route.tenant, "session": self.route.session, "secret": self.secret});
        match self.plane.post::<Route>("/v1/reroute", &ask) {
            Ok(route) if route.epoch < self.route.epoch => self.wrong.push("an epoch fell".to_owned()),
            Ok(route) => self.route = route,
            Err(_) => {}
        }
        let is_suspect = |(epoch, since): (u64, Instant)| epoch == self.route.epoch && since.elapsed() < SUSPECT;
        let found = !self.suspect.is_some_and(is_suspect) && self.connect();
        if !found {
            std::thread::sleep(AFTER_NOTHING);
        }
        found
    }

    /// Asks something.
    pub(crate) fn ask(&mut self) {
        self.say(&json!({"type": "text", "text": "what are your opening hours"}));
        self.asked_at = Some(Instant::now());
    }

    pub(crate) fn say(&mut self, what: &Value) {
        if let Some(line) = &mut self.line {
            let _ = line.socket.send(Message::text(what.to_string()));
        }
    }

    /// Whether an answer is being given, or waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Asks the next thing, once it has thought; and again, if nobody seems to have heard it.
    pub(crate) fn go_on(&mut self) {
        let is_time = match self.asked_at {
            None => self.answered_at.elapsed() > THINKS,
            // Who is being answered does not ask again.
            Some(at) => self.quiet_since.is_none() && at.elapsed() > AGAIN,
        };
        if is_time {
            self.ask();
        }
    }

    /// Speaks and listens for a moment.
    pub(crate) fn listen(&mut self) -> Moment {
        let Some(line) = &mut self.line else { return Moment::Lost };
        let now = Instant::now();
        while now - line.spoke_at >= FRAME {
            line.spoke_at += FRAME;
            let quiet: Vec<u8> = (0..320_u16).flat_map(|at| ((at % 251) as i16 - 125).to_le_bytes()).collect();
            if line.socket.send(Message::binary(quiet)).is_err() {
                return Moment::Lost;
            }
        }
        if now - line.pinged_at >= PING {
            line.pinged_at = now;
            if line.socket.send(Message::text(r#"{"type":"ping","id":1}"#)).is_err() {
                return Moment::Lost;
            }
        }
        if now - line.heard_at > GONE {
            self.suspect = Some((self.route.epoch, now));
            return Moment::Lost;
        }
        loop {
            let Some(line) = &mut self.line else { return Moment::Lost };
            match line.socket.read() {
                Ok(Message::Text(text)) => {
                    line.heard_at = Instant::now();
                    let told: Value = serde_json::from_str(&text).expect("the server writes JSON");
                    if told["type"] == "ended" {
                        return Moment::Lost;
                    }
                    self.on_told(&told);
                }
                Ok(Message::Binary(bytes)) => {
                    line.heard_at = Instant::now();
                    self.on_audio(&bytes);
                }
                Ok(Message::Close(_)) => return Moment::Lost,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                {
                    return Moment::Fine;
                }
                Err(_) => return Moment::Lost,
            }
            if self.line.as_ref().is_some_and(|line| line.spoke_at.elapsed() > FRAME * 3) {
                return Moment::Fine;
            }
        }
    }

    fn on_told(&mut self, told: &Value) {
        if let Some(seq) = told["seq"].as_u64() {
            if seq != self.last_seq + 1 {
                self.wrong.push(format!("{}: message {seq} behind {}: {told}", self.route.session, self.last_seq));
            }
            self.last_seq = seq;
        }
        let turn = told["turn"].as_u64().unwrap_or_default() as u32;
        match (told["type"].as_str().unwrap_or_default(), told["state"].as_str().unwrap_or_default()) {
            ("clear", _) => {
                self.epoch = self.epoch.max(told["epoch"].as_u64().unwrap_or_default() as u32);
                self.tell_played(turn, "cleared");
            }
            ("turn", "open") => {
                self.turn = self.turn.max(turn);
                self.asked_at = Some(Instant::now());
            }
            ("turn", "committed") => {
                self.turns.entry(turn).or_default().committed = true;
                self.quiet_since = None;
                self.tell_played(turn, "drained");
            }
            ("caption", _) if told["who"] == "agent" => {
                let text = told["text"].as_str().unwrap_or_default().to_owned();
                self.turns.entry(turn).or_default().captions.push(text);
            }
            ("heard", _) => {
                let text = told["text"].as_str().unwrap_or_default().to_owned();
                let heard = (text, told["cut"] == true);
                if let Some(before) = self.turns.entry(turn).or_default().text.replace(heard) {
                    self.wrong
                        .push(format!("{}: turn {turn} is said to be heard twice: {before:?}", self.route.session));
                }
                self.answered += 1;
                (self.asked_at, self.answered_at) = (None, Instant::now());
            }
            ("turn", "aborted") => {
                self.quiet_since = None;
                (self.asked_at, self.answered_at) = (None, Instant::now());
            }
            _ => {}
        }
    }

    fn tell_played(&mut self, turn: u32, occasion: &str) {
        let heard = self.turns.get(&turn).map_or(0, |heard| heard.samples);
        self.say(&json!({"type": "playout", "turn": turn, "heard_samples": heard, "occasion": occasion}));
    }

    fn on_audio(&mut self, bytes: &[u8]) {
        let number = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four bytes"));
        let (turn, epoch) = (number(0), number(4));
        let from = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        let samples = (bytes.len() - 16) as u64 / 2;
        if epoch < self.epoch {
            return;
        }
        let now = Instant::now();
        if let Some(since) = self.quiet_since.replace(now) {
            self.longest_gap = self.longest_gap.max(now - since);
        }
        self.turn = self.turn.max(turn);
        let heard = self.turns.entry(turn).or_default();
        if from != heard.samples {
            let what = if from < heard.samples { "heard twice" } else { "never heard" };
            let (next, session) = (heard.samples, &self.route.session);
            self.wrong.push(format!("{session}: turn {turn}: between {from} and {next}: {what}"));
        }
        heard.samples = from + samples;
        let told = match heard.samples / samples {
            1 => Some("started"),
            frames if frames % TELL_EVERY == 0 => Some("progress"),
            _ => None,
        };
        if let Some(occasion) = told {
            self.tell_played(turn, occasion);
        }
    }

    /// How many frames of audio came over lines that were given up, after they were. None of them was played.
    pub(crate) fn late_frames(&mut self) -> usize {
        let mut late = 0;
        for socket in &mut self.old {
            while let Ok(message) = socket.read() {
                late += usize::from(matches!(message, Message::Binary(_)));
            }
        }
        late
    }

    /// The call is over.
    pub(crate) fn hang_up(&mut self) {
        self.say(&json!({"type": "end"}));
        self.line = None;
    }

    /// What does not fit together in what was heard.
    pub(crate) fn judge(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for (turn, heard) in &self.turns {
            let Some((text, cut)) = &heard.text else { continue };
            let all = heard.captions.join(" ");
            // Whoever heard all of it heard every word; who did not heard whole words from its beginning.
            if !all.starts_with(text.as_str()) || !*cut && *text != all || heard.committed && *cut {
                wrong.push(format!("{}: turn {turn}: {heard:?}", self.route.session));
            }
        }
        wrong
    }
}
