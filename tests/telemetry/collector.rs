//! A collector for one test: it takes what is posted to `/v1/traces`, and reads it with the messages that OpenTelemetry
//! publishes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Takes,
    /// It reads, and says nothing.
    Hangs,
    /// It has too much to do.
    Refuses,
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    pub(crate) fn open(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            // Connections of one that hangs are held to the end of the test.
            let mut held = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                match answer(&stream, manner) {
                    Some(body) => kept.lock().expect("nobody panics").push(body),
                    None => held.push(stream),
                }
            }
        });
        Self { address, taken }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The bodies that it took.
    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.taken.lock().expect("nobody panics").clone()
    }

    pub(crate) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let read = |body: &Vec<u8>| ExportTraceServiceRequest::decode(body.as_slice()).expect("it is what OTLP says");
        self.bodies().iter().map(read).collect()
    }
}

/// Reads one request; gives its body if it was answered.
fn answer(stream: &TcpStream, manner: Manner) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    let (mut length, mut kind) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "content-type" => value.trim().clone_into(&mut kind),
            _ => {}
        }
    }
    assert_eq!(kind, "application/x-protobuf");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (status, taken) = match manner {
        Manner::Takes => ("200 OK", Some(body)),
        Manner::Refuses => ("503 Service Unavailable", Some(Vec::new())),
        Manner::Hangs => return None,
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    taken.filter(|body| !body.is_empty())
}
