#![allow(dead_code, reason = "each program that has it uses a part of it")]

//! A caller at each door, as small as it can be: asks something, makes a noise or is silent 20 ms at a time, and tells
//! audio, and the word that what was sent is not to be played any more, from everything else.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rspp::adapters::doors::rtvi::{WireAudio, WireFrame, WireKind, WireMessage};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// 20 ms of the caller's audio.
pub(crate) const FRAME: Duration = Duration::from_millis(20);

/// Writes a pipeline that hears a noise when there is one, and answers everything at length; gives its place.
pub(crate) fn pipeline(folder: &Path) -> PathBuf {
    let says = "This is a long answer that goes on and on and does not say very much at all. ".repeat(12);
    let spec = format!(
        "kind: PipelineSpec\nname: served\nversion: 1\ntemplate: voice-assistant\n\
         nodes: {{vad: {{type: vad, detector: energy}}}}\n\
         bind: {{stt: 'captions:none.yaml', llm: 'say:{says}', tts: 'tone:'}}\n"
    );
    let none = "kind: Captions\ncaptions:\n  - {from_ms: 3500000, to_ms: 3500001, words: none}\n";
    std::fs::write(folder.join("none.yaml"), none).expect("a file can be written");
    std::fs::write(folder.join("spec.yaml"), spec).expect("a file can be written");
    folder.join("spec.yaml")
}

/// What is said at a door.
pub(crate) struct Door {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) subprotocol: &'static str,
    /// The peer can't be told to throw audio away: what it is told instead, and that it gets a decay of at most 10 ms.
    pub(crate) kin: &'static str,
    hello: fn() -> Vec<Message>,
    ask: fn() -> Vec<Message>,
    speech: fn(u64, bool) -> Message,
    reads: fn(&Message) -> Reads,
}

/// What a message of the server's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Audio, so long.
    Audio(Duration),
    /// What was sent is not to be played any more.
    Clear,
    /// All else.
    Other,
}

/// All of them.
pub(crate) const DOORS: [Door; 7] = [
    Door {
        name: "rspp, JSON",
        path: "/v1/rspp",
        subprotocol: "rspp.v1.json",
        kin: "clear",
        hello: || vec![text(&json!({"type": "hello", "version": 1}))],
        ask: || vec![text(&json!({"type": "text", "text": "go on"}))],
        speech: |_, loud| Message::binary(pcm(loud, 16_000)),
        reads: |message| match message {
            Message::Binary(bytes) => audio(bytes.len() - 16, 2, 16_000),
            message if value(message)["type"] == "clear" => Reads::Clear,
            _ => Reads::Other,
        },
    },
    Door {
        name: "rspp, protobuf",
        path: "/v1/rspp",
        subprotocol: "rspp.v1.protobuf",
        kin: "clear",
        hello: || vec![field(1, &[0x08, 1])],
        ask: || vec![field(2, &[&[0x0a, 5], &b"go on"[..]].concat())],
        speech: |_, loud| field(9, &pcm(loud, 16_000)),
        reads: |message| match fields(message).find(|(number, _)| *number >= 3) {
            Some((4, inner)) => {
                let inner = Message::binary(inner);
                fields(&inner)
                    .find(|(number, _)| *number == 4)
                    .map_or(Reads::Other, |(_, pcm)| audio(pcm.len(), 2, 16_000))
            }
            Some((5, _)) => Reads::Clear,
            _ => Reads::Other,
        },
    },
    Door {
        name: "OpenAI Realtime",
        path: "/v1/realtime",
        subprotocol: "",
        kin: "speech_started",
        hello: Vec::new,
        ask: || {
            let content = json!([{"type": "input_text", "text": "go on"}]);
            let item = json!({"type": "message", "role": "user", "content": content});
            vec![
                text(&json!({"type": "conversation.item.create", "item": item})),
                text(&json!({"type": "response.create"})),
            ]
        },
        speech: |_, loud| text(&json!({"type": "input_audio_buffer.append", "audio": base64(&pcm(loud, 24_000))})),
        reads: |message| {
            let event = value(message);
            match event["type"].as_str() {
                Some("response.output_audio.delta") => audio(base64_bytes(&event["delta"]), 2, 24_000),
                Some("input_audio_buffer.speech_started") => Reads::Clear,
                _ => Reads::Other,
            }
        },
    },
    Door {
        name: "RTVI",
        path: "/v1/rtvi",
        subprotocol: "",
        kin: "user-started-speaking",
        hello: || vec![rtvi("client-ready", &json!({"version": "2.1.0"}))],
        ask: || vec![rtvi("send-text", &json!({"content": "go on"}))],
        speech: |_, loud| {
            let audio = pcm(loud, 16_000).into();
            let frame = WireAudio { audio, sample_rate: 16_000, num_channels: 1, ..WireAudio::default() };
            Message::binary(WireFrame::write(WireKind::Audio(frame)))
        },
        reads: |message| match message {
            Message::Binary(bytes) => match WireFrame::read(bytes.clone()) {
                Some(WireKind::Audio(frame)) => audio(frame.audio.len(), 2, frame.sample_rate),
                Some(WireKind::Message(said)) if said.data.contains("\"user-started-speaking\"") => Reads::Clear,
                _ => Reads::Other,
            },
            _ => Reads::Other,
        },
    },
    Door {
        name: "Twilio",
        path: "/v1/twilio",
        subprotocol: "",
        kin: "clear",
        hello: || {
            let format = json!({"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1});
            let start = json!({"streamSid": "S", "callSid": "C", "tracks": ["inbound"], "mediaFormat": format});
            vec![text(&json!({"event": "start", "sequenceNumber": "1", "streamSid": "S", "start": start}))]
        },
        ask: keys,
        speech: |chunk, loud| media(json!({"streamSid": "S"}), &json!(chunk.to_string()), loud),
        reads: telephone,
    },
    Door {
        name: "Telnyx",
        path: "/v1/telnyx",
        subprotocol: "",
        kin: "clear",
        hello: || {
            let format = json!({"encoding": "PCMU", "sample_rate": 8000, "channels": 1});
            let start = json!({"call_control_id": "C", "media_format": format});
            vec![text(&json!({"event": "start", "sequence_number": "1", "stream_id": "S", "start": start}))]
        },
        ask: keys,
        speech: |chunk, loud| media(json!({"stream_id": "S"}), &json!(chunk.to_string()), loud),
        reads: telephone,
    },
    Door {
        name: "Plivo",
        path: "/v1/plivo",
        subprotocol: "",
        kin: "clearAudio",
        hello: || {
            let format = json!({"encoding": "audio/x-mulaw", "sampleRate": 8000});
            let start = json!({"callId": "C", "streamId": "S", "tracks": ["inbound"], "mediaFormat": format});
            vec![text(&json!({"event": "start", "sequenceNumber": 0, "start": start}))]
        },
        ask: keys,
        speech: |chunk, loud| media(json!({"streamId": "S"}), &json!(chunk), loud),
        reads: telephone,
    },
];

fn text(value: &Value) -> Message {
    Message::text(value.to_string())
}

fn value(message: &Message) -> Value {
    message.to_text().ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A message of protobuf with one field that has a length: all that a client of ours says.
fn field(number: u8, value: &[u8]) -> Message {
    let (low, high) = (value.len() as u8 & 0x7f, value.len() >> 7);
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high as u8] };
    Message::binary([vec![number << 3 | 2], length, value.to_vec()].concat())
}

/// The fields that have a length, with their numbers, as far as they can be read.
fn fields(message: &Message) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let mut rest = match message {
        Message::Binary(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    std::iter::from_fn(move || {
        loop {
            let tag = *rest.first()?;
            let number_at = |rest: &[u8]| -> Option<(usize, usize)> {
                let length = rest.iter().position(|byte| *byte < 0x80)? + 1;
                let value = rest[..length].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
                Some((value, length))
            };
            match tag & 7 {
                0 => drop(rest.drain(..1 + number_at(rest.get(1..)?)?.1)),
                1 => drop(rest.drain(..9)),
                _ => {
                    let (value, length) = number_at(rest.get(1..)?)?;
                    let inner = rest.get(1 + length..1 + length + value)?.to_vec();
                    rest.drain(..1 + length + value);
                    return Some((tag >> 3, inner));
                }
            }
        }
    })
}

fn audio(bytes: usize, each: usize, rate_hz: u32) -> Reads {
    Reads::Audio(Duration::from_secs_f64((bytes / each) as f64 / f64::from(rate_hz)))
}

/// A buzz of 200 Hz, or nothing.
fn pcm(loud: bool, rate_hz: usize) -> Vec<u8> {
    let half = rate_hz / 400;
    let sample = |at: usize| match (loud, (at / half).is_multiple_of(2)) {
        (false, _) => 0_i16,
        (true, true) => 6_000,
        (true, false) => -6_000,
    };
    (0..rate_hz / 50).flat_map(|at| sample(at).to_le_bytes()).collect()
}

/// The same in mu-law at 8 kHz.
fn mu_law(loud: bool) -> Vec<u8> {
    let sample = |at: usize| match (loud, (at / 20).is_multiple_of(2)) {
        (false, _) => 0xff,
        (true, true) => 0xa0,
        (true, false) => 0x20,
    };
    (0..160).map(sample).collect()
}

fn rtvi(kind: &str, data: &Value) -> Message {
    let data = json!({"label": "rtvi-ai", "type": kind, "id": "1", "data": data}).to_string();
    Message::binary(WireFrame::write(WireKind::Message(WireMessage { data })))
}

fn keys() -> Vec<Message> {
    let key = |digit: &str| text(&json!({"event": "dtmf", "dtmf": {"digit": digit}}));
    vec![key("1"), key("#")]
}

fn media(mut message: Value, chunk: &Value, loud: bool) -> Message {
    message["event"] = "media".into();
    message["media"] = json!({"track": "inbound", "chunk": chunk, "payload": base64(&mu_law(loud))});
    text(&message)
}

fn telephone(message: &Message) -> Reads {
    let message = value(message);
    match message["event"].as_str() {
        Some("media" | "playAudio") => audio(base64_bytes(&message["media"]["payload"]), 1, 8_000),
        Some("clear" | "clearAudio") => Reads::Clear,
        _ => Reads::Other,
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digits = (0..4).map(|place| char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]));
        text.extend(digits.take(three.len() + 1));
    }
    text.extend(std::iter::repeat_n('=', text.len().next_multiple_of(4) - text.len()));
    text
}

/// How many bytes a text of base64 stands for.
fn base64_bytes(text: &Value) -> usize {
    text.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4)
}

/// A caller at a door.
pub(crate) struct Line {
    door: &'static Door,
    socket: WebSocket<TcpStream>,
    chunks: u64,
}

impl Line {
    /// Comes in, and says who it is.
    pub(crate) fn connect(door: &'static Door, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("it is a socket");
        let mut request = format!("ws://{address}{}", door.path).into_client_request().expect("it is a URL");
        if !door.subprotocol.is_empty() {
            let subprotocol = door.subprotocol.parse().expect("it is a word");
            request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        }
        let (socket, _) = tungstenite::client(request, stream).expect("the server lets us in");
        let mut line = Self { door, socket, chunks: 0 };
        line.send((door.hello)());
        line
    }

    fn send(&mut self, messages: Vec<Message>) {
        messages.into_iter().for_each(|message| self.socket.send(message).expect("the server reads"));
    }

    /// Sends anything; whether the server takes it.
    pub(crate) fn try_send(&mut self, message: Message) -> bool {
        self.socket.send(message).is_ok()
    }

    /// Asks for an answer.
    pub(crate) fn ask(&mut self) {
        self.send((self.door.ask)());
    }

    /// 20 ms of a noise, or of none.
    pub(crate) fn speak(&mut self, loud: bool) {
        self.chunks += 1;
        let message = (self.door.speech)(self.chunks, loud);
        self.send(vec![message]);
    }

    /// The next message, if one comes before then.
    pub(crate) fn next(&mut self, until: Instant) -> Option<Reads> {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        self.socket.get_mut().set_read_timeout(Some(left)).expect("it is a socket");
        match self.socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => Some((self.door.reads)(&message)),
            Ok(Message::Close(frame)) => panic!("{}: the server hung up: {frame:?}", self.door.name),
            Ok(_) => Some(Reads::Other),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                None
            }
            Err(error) => panic!("{}: {error}", self.door.name),
        }
    }

    /// What comes until the server has answered a ping: it has read all that was sent before.
    pub(crate) fn until_pong(&mut self, until: Instant) -> Vec<Reads> {
        self.send(vec![Message::Ping(b"there?".to_vec().into())]);
        self.socket.get_mut().set_read_timeout(Some(until - Instant::now())).expect("it is a socket");
        let mut came = Vec::new();
        loop {
            match self.socket.read().unwrap_or_else(|error| panic!("{}: no pong: {error}", self.door.name)) {
                Message::Pong(_) => return came,
                message => came.push((self.door.reads)(&message)),
            }
        }
    }
}
