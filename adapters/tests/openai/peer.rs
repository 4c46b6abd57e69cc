//! A TCP peer that does, on each connection, what a script says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Nothing in these tests takes as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing that a peer does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Reads a request with its body.
    Read,
    /// Reads a request's head, and leaves its body.
    ReadHead,
    /// Writes at once.
    Send(String),
    /// Writes byte by byte.
    Dribble(String),
    /// Writes again and again, until nobody reads.
    Forever(String),
    /// Waits until the other side hangs up.
    UntilClosed,
    /// Ends its own side of the connection.
    HalfClose,
    /// Hangs up over unread data: the other side gets a reset.
    Reset,
}

/// A peer. Behind the last step of a script the connection is closed.
pub(crate) struct Peer {
    address: String,
    connections: Arc<AtomicUsize>,
    requests: Receiver<String>,
    closed: Receiver<Instant>,
}

impl Peer {
    /// Takes as many connections as there are scripts.
    pub(crate) fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (request, requests) = channel();
        let (closing, closed) = channel();
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for script in scripts {
                let Ok((socket, _)) = listener.accept() else { return };
                counter.fetch_add(1, Ordering::SeqCst);
                socket.set_nodelay(true).expect("it is a TCP socket");
                play(&socket, &script, &request);
                drop(socket);
                let _ = closing.send(Instant::now());
            }
        });
        Self { address, connections, requests, closed }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request.
    pub(crate) fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).expect("a request comes")
    }

    /// Waits until a script is over; behind `UntilClosed`, that is when the other side has hung up.
    pub(crate) fn wait_until_closed(&self) -> Instant {
        self.closed.recv_timeout(PATIENCE).expect("the script ends")
    }
}

/// A port on the loopback at which nobody listens.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn play(socket: &TcpStream, script: &[Step], requests: &Sender<String>) {
    let mut reader = BufReader::new(socket);
    let mut writer = socket;
    for step in script {
        let done = match step {
            Step::Read => read(&mut reader).map(|request| drop(requests.send(request))),
            // Not through the buffer, which would take the body, too.
            Step::ReadHead => read_head(socket).map(|request| drop(requests.send(request))),
            Step::Send(text) => writer.write_all(text.as_bytes()),
            Step::Dribble(text) => text.as_bytes().iter().try_for_each(|byte| writer.write_all(&[*byte])),
            Step::Forever(text) => {
                while writer.write_all(text.as_bytes()).is_ok() {}
                Ok(())
            }
            Step::UntilClosed => {
                let _ = reader.read_to_end(&mut Vec::new());
                Ok(())
            }
            Step::HalfClose => socket.shutdown(Shutdown::Write),
            Step::Reset => return,
        };
        // A provider that has what it wants may hang up at any time.
        if done.is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = request.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut rest = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut rest)?;
    Ok(request + &String::from_utf8_lossy(&rest))
}

fn read_head(mut socket: &TcpStream) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
