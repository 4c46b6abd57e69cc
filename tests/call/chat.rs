//! A chat completions server on the loopback that says what it is told to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// What is asked: a request's head and body.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Asked {
    /// What the last message says.
    pub(crate) fn last(&self) -> &str {
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        messages.last().and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// The key that it came with.
    pub(crate) fn key(&self) -> &str {
        let lines = self.head.lines();
        lines.filter_map(|line| line.strip_prefix("authorization: ")).next().unwrap_or_default()
    }
}

/// What a server says.
pub(crate) enum Says {
    /// This, and hangs up.
    All(String),
    /// This, and no more until the other side hangs up.
    AndWaits(String),
}

/// Starts a server that answers each request, counted from 0, on a connection of its own; gives its address. It runs
/// until the test's process ends.
pub(crate) fn start(answer: impl Fn(usize, &Asked) -> Says + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || serve(&socket, |asked| answer(count.fetch_add(1, Ordering::SeqCst), asked)));
        }
    });
    address
}

fn serve(mut socket: &TcpStream, answer: impl FnOnce(&Asked) -> Says) {
    let mut reader = BufReader::new(socket);
    let Some(asked) = read(&mut reader) else { return };
    // Whoever has what they want may hang up.
    match answer(&asked) {
        Says::All(text) => drop(socket.write_all(text.as_bytes())),
        Says::AndWaits(text) => {
            let _ = socket.write_all(text.as_bytes());
            let _ = reader.read_to_end(&mut Vec::new());
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body: serde_json::from_slice(&body).ok()? })
}

/// A good answer's head and its deltas, without its end.
pub(crate) fn begin(deltas: &[Value]) -> String {
    let event = |delta: &Value| format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": delta }] }));
    let events: String = deltas.iter().map(event).collect();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{events}")
}

/// A whole answer.
pub(crate) fn stream(deltas: &[Value]) -> String {
    begin(deltas) + "data: [DONE]\n\n"
}

/// A whole answer in words.
pub(crate) fn words(text: &str) -> String {
    stream(&text.split_inclusive(' ').map(|word| json!({ "content": word })).collect::<Vec<_>>())
}

/// A whole answer that calls a tool.
pub(crate) fn call(key: &str, name: &str, arguments: &Value) -> String {
    let function = json!({ "name": name, "arguments": arguments.to_string() });
    stream(&[json!({ "tool_calls": [{ "index": 0, "id": key, "type": "function", "function": function }] })])
}

/// An answer that is none.
pub(crate) fn refusal(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
