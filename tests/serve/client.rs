#![allow(dead_code, reason = "each test that has it uses a part of it")]

//! A client of a server under test: a WebSocket, and what came over it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// How long anything may take until the test fails: far more than it does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
    /// Everything that came, in order.
    pub(crate) seen: Vec<Seen>,
    pub(crate) closed: Option<CloseFrame>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Told(Value),
    Audio { turn: u32, epoch: u32, from_sample: u64, samples: Vec<i16> },
}

impl Client {
    /// A connection with this subprotocol, or what the server said instead.
    pub(crate) fn try_connect(address: SocketAddr, path: &str, subprotocol: &str) -> Result<Self, (u16, String)> {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it is a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
        Self::over(stream, address, path, subprotocol)
    }

    pub(crate) fn over(stream: TcpStream, address: SocketAddr, path: &str, sub: &str) -> Result<Self, (u16, String)> {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("it is a URL");
        if !sub.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", sub.parse().expect("it is a word"));
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket, seen: Vec::new(), closed: None }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
            }
            Err(error) => panic!("no handshake: {error}"),
        }
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address, "/v1/rspp", "rspp.v1.json").expect("the server lets us in")
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the server reads");
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.socket.send(message)
    }

    /// 20 ms of the caller's audio.
    pub(crate) fn speak(&mut self, samples: &[i16]) {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.socket.send(Message::binary(bytes)).expect("the server reads");
    }

    /// The next thing that comes; `None` when the server has closed.
    pub(crate) fn next(&mut self) -> Option<Seen> {
        loop {
            let seen = match self.socket.read() {
                Ok(Message::Text(text)) => Seen::Told(serde_json::from_str(&text).expect("the server writes JSON")),
                Ok(Message::Binary(bytes)) => audio(&bytes),
                Ok(Message::Close(frame)) => {
                    self.closed = frame;
                    continue;
                }
                Ok(_) => continue,
                Err(_) => return None,
            };
            self.seen.push(seen.clone());
            return Some(seen);
        }
    }

    /// Reads until something is as wanted.
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&Seen) -> bool) -> Seen {
        let began = Instant::now();
        while let Some(seen) = self.next() {
            if is(&seen) {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "no {what} within {PATIENCE:?}: {:?}", self.told());
        }
        panic!("closed before {what}: {:?} {:?}", self.closed, self.told());
    }

    /// Reads until a message of this type, with these values.
    pub(crate) fn until_told(&mut self, kind: &str, with: &[(&str, Value)]) -> Value {
        let is = |seen: &Seen| match seen {
            Seen::Told(told) => told["type"] == kind && with.iter().all(|(key, value)| told[*key] == *value),
            Seen::Audio { .. } => false,
        };
        match self.until(&format!("{kind} {with:?}"), is) {
            Seen::Told(told) => told,
            Seen::Audio { .. } => unreachable!("only what is told was wanted"),
        }
    }

    /// Reads until the server closes; gives the code and the reason.
    pub(crate) fn until_closed(&mut self) -> Option<(u16, String)> {
        while self.next().is_some() {}
        self.closed.as_ref().map(|frame| (frame.code.into(), frame.reason.to_string()))
    }

    /// What was told, without the audio.
    pub(crate) fn told(&self) -> Vec<&Value> {
        let told = |seen: &'_ Seen| matches!(seen, Seen::Told(_));
        self.seen
            .iter()
            .filter(|seen| told(seen))
            .filter_map(|seen| match seen {
                Seen::Told(value) => Some(value),
                Seen::Audio { .. } => None,
            })
            .collect()
    }

    /// Says hello, and waits for the session.
    pub(crate) fn hello(&mut self) -> Value {
        self.say(r#"{"type":"hello","version":1}"#);
        self.until_told("ready", &[])
    }

    /// Whoever hears nothing for so long from now on takes the line for closed.
    pub(crate) fn patience(&mut self, patience: Duration) {
        self.socket.get_mut().set_read_timeout(Some(patience)).expect("it is a socket");
    }

    /// The socket itself, for who wants to break it.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }
}

fn audio(bytes: &[u8]) -> Seen {
    let number = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four bytes"));
    let from_sample = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
    let samples = bytes[16..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    Seen::Audio { turn: number(0), epoch: number(4), from_sample, samples }
}
