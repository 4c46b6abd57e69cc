//! A chat completions server on the loopback that says what it is told to say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

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
            std::thread::spawn(move || serve(socket, |asked| answer(count.fetch_add(1, Ordering::SeqCst), asked)));
        }
    });
    address
}

/// Starts a server that answers each request over TLS; gives its port and its certificate, which is for `localhost`.
pub(crate) fn start_secure(answer: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("localhost is a name");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("it was made just now");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("ring has them").with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).expect("they fit"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("the configuration is whole");
            let mut socket = StreamOwned::new(session, socket);
            serve(&mut socket, &answer);
            socket.conn.send_close_notify();
            let _ = socket.flush();
        }
    });
    (port, made.cert.pem())
}

fn serve(socket: impl Read + Write, answer: impl FnOnce(&Asked) -> Says) {
    let mut socket = BufReader::new(socket);
    let Some(asked) = read(&mut socket) else { return };
    // Whoever has what they want may hang up.
    match answer(&asked) {
        Says::All(text) => drop(socket.get_mut().write_all(text.as_bytes())),
        Says::AndWaits(text) => {
            let _ = socket.get_mut().write_all(text.as_bytes());
            let _ = socket.read_to_end(&mut Vec::new());
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
