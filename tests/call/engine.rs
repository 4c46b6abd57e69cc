//! A Wyoming engine on the loopback that hears what it is told to hear, and whose voice is a noise of its own for
//! each text.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};

use rspp::adapters::wyoming::framing::{WireEvent, read_event, write_event};
use serde_json::json;

use super::call::RATE_HZ;

/// Frames of an utterance before its first words are understood.
const PARTIAL_AFTER_CHUNKS: usize = 30;
/// A letter takes 60 ms.
const LETTER_SAMPLES: usize = RATE_HZ as usize * 60 / 1_000;

/// Starts an engine that hears these words, one utterance after the other and anew on each connection; gives its
/// address. It runs until the test's process ends.
pub(crate) fn start(hears: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || Session { hears, utterances: 0, chunks: 0 }.serve(socket));
        }
    });
    address
}

struct Session {
    hears: &'static [&'static str],
    utterances: usize,
    chunks: usize,
}

impl Session {
    fn serve(mut self, socket: TcpStream) {
        let mut reader = BufReader::new(socket.try_clone().expect("a socket can be shared"));
        let mut writer = socket;
        // The program hangs up when its call is over.
        while let Ok(Some(event)) = read_event(&mut reader) {
            for answer in self.answers(&event) {
                if write_event(&mut writer, &answer).is_err() {
                    return;
                }
            }
            let _ = writer.flush();
        }
    }

    fn answers(&mut self, event: &WireEvent) -> Vec<WireEvent> {
        match event.kind.as_str() {
            "describe" => vec![WireEvent::new("info").with("asr", json!([{"name": "scripted"}]))],
            "ping" => vec![WireEvent::new("pong").with("text", event.text("text"))],
            "transcribe" => {
                self.chunks = 0;
                self.utterances += 1;
                Vec::new()
            }
            "audio-chunk" => {
                self.chunks += 1;
                if self.chunks == PARTIAL_AFTER_CHUNKS { self.partial() } else { Vec::new() }
            }
            "audio-stop" => {
                vec![WireEvent::new("transcript").with("text", self.words()), WireEvent::new("transcript-stop")]
            }
            "synthesize" => speech(event.text("text")),
            _ => Vec::new(),
        }
    }

    fn words(&self) -> &'static str {
        self.hears.get(self.utterances - 1).copied().unwrap_or_default()
    }

    fn partial(&self) -> Vec<WireEvent> {
        let first = self.words().split(' ').next().unwrap_or_default();
        vec![WireEvent::new("transcript-start"), WireEvent::new("transcript-chunk").with("text", format!("{first} "))]
    }
}

fn speech(text: &str) -> Vec<WireEvent> {
    let format = |kind| WireEvent::new(kind).with("rate", RATE_HZ).with("width", 2).with("channels", 1);
    let mut noise = text.bytes().fold(1, |noise: u32, byte| noise.wrapping_mul(31).wrapping_add(byte.into()));
    let mut sample = || {
        noise = noise.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        ((noise >> 16) & 0x1fff) as i16
    };
    let payload = (0..text.len() * LETTER_SAMPLES).flat_map(|_| sample().to_le_bytes()).collect();
    vec![format("audio-start"), format("audio-chunk").carrying(payload), WireEvent::new("audio-stop")]
}
