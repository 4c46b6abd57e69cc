//! What lies between an agent and a LiveKit server: a network that can be cut, loses packets and delivers late, by a seed.
//!
//! Signalling goes through a port of the relay's own. In what the server says there, its address for media, 127.0.0.1, is made
//! 127.0.0.2, where the relay listens on the same port. The server has to be an ICE lite one, which sends nothing to addresses
//! that it was told and not spoken to from.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const DATAGRAM_BYTES: usize = 2_048;

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Of a hundred, so many are lost.
    pub(crate) loss_percent: u64,
    /// Each is late by up to this.
    pub(crate) jitter: Duration,
    /// Nothing gets through at all.
    pub(crate) is_cut: bool,
    /// No datagram gets through, and connections do.
    pub(crate) no_udp: bool,
}

/// A network for one agent.
pub(crate) struct Relay {
    pub(crate) port: u16,
    weather: watch::Sender<Weather>,
    says: broadcast::Sender<Vec<u8>>,
    reset: watch::Sender<u64>,
    lost: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Relay {
    /// Before a server's ports of signalling and of media.
    pub(crate) fn before(signalling: u16, media: u16, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("there is a thread");
        let (weather, _) = watch::channel(Weather::default());
        let (reset, _) = watch::channel(0);
        let (says, _) = broadcast::channel(16);
        let (lost, passed) = (Arc::default(), Arc::default());
        let (listener, socket) = runtime.block_on(async {
            let listener = TcpListener::bind((SERVER, 0)).await.expect("a port is free");
            (listener, UdpSocket::bind((RELAY, media)).await.expect("nobody else has the port there"))
        });
        let port = listener.local_addr().expect("it is bound").port();
        let line =
            Line { signalling, media, weather: weather.subscribe(), reset: reset.subscribe(), says: says.clone() };
        runtime.spawn(line.listen(listener));
        let air = Air { weather: weather.subscribe(), lost: Arc::clone(&lost), passed: Arc::clone(&passed) };
        runtime.spawn(air.carry(Arc::new(socket), media, seed));
        Self { port, weather, says, reset, lost, passed, runtime: Some(runtime) }
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Every connection of signalling is lost.
    pub(crate) fn reset(&self) {
        self.reset.send_modify(|times| *times += 1);
    }

    /// Says this to every participant, as if the server had.
    pub(crate) fn say(&self, message: Vec<u8>) {
        self.says.send(message).expect("somebody is in the room");
    }

    /// Datagrams that were lost, and those that were not.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.lost.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Signalling.
#[derive(Debug)]
struct Line {
    signalling: u16,
    media: u16,
    weather: watch::Receiver<Weather>,
    reset: watch::Receiver<u64>,
    says: broadcast::Sender<Vec<u8>>,
}

impl Line {
    async fn listen(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let mut reset = self.reset.clone();
            reset.mark_unchanged();
            let carried = carry(client, self.signalling, self.media, self.weather.clone(), self.says.subscribe());
            tokio::spawn(async move {
                tokio::select! {
                    _ = carried => {}
                    _ = reset.changed() => {}
                }
            });
        }
    }
}

/// One connection, until either side ends it.
async fn carry(
    client: TcpStream,
    signalling: u16,
    media: u16,
    weather: watch::Receiver<Weather>,
    says: broadcast::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let server = TcpStream::connect((SERVER, signalling)).await?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut up = Box::pin(ask(from_client, to_server, weather.clone()));
    let mut down = Box::pin(answer(from_server, to_client, media, weather, says));
    tokio::select! {
        done = &mut up => done,
        done = &mut down => done,
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) -> io::Result<()> {
    let mut bytes = [0; DATAGRAM_BYTES];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        clear(&mut weather).await;
        to.write_all(&bytes[..read]).await?;
    }
}

async fn clear(weather: &mut watch::Receiver<Weather>) {
    let _ = weather.wait_for(|weather| !weather.is_cut).await;
}

/// The answer's head as it is, and then frame by frame.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    media: u16,
    mut weather: watch::Receiver<Weather>,
    mut says: broadcast::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    clear(&mut weather).await;
    to.write_all(&head).await?;
    if !head.starts_with(b"HTTP/1.1 101") {
        return tokio::io::copy(&mut from, &mut to).await.map(|_| ());
    }
    let (named, made) = (format!("{SERVER} {media} typ"), format!("{RELAY} {media} typ"));
    let mut first = [0];
    loop {
        tokio::select! {
            read = from.read(&mut first) => if read? == 0 { return Ok(()) },
            Ok(message) = says.recv() => {
                to.write_all(&framed(0x82, &message)).await?;
                continue;
            }
        }
        let mut payload = payload(&mut from).await?;
        replace(&mut payload, named.as_bytes(), made.as_bytes());
        clear(&mut weather).await;
        to.write_all(&framed(first[0], &payload)).await?;
    }
}

/// What a frame of a server's has, behind its first byte.
async fn payload(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = match from.read_u8().await? {
        126 => from.read_u16().await?.into(),
        127 => from.read_u64().await?,
        short => u64::from(short),
    };
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    from.read_exact(&mut payload).await?;
    Ok(payload)
}

fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        middle @ 126..65_536 => {
            frame.push(126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// Both have the same length, so nothing around them changes.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..bytes.len().saturating_sub(from.len() - 1) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
}

/// Media.
#[derive(Clone)]
struct Air {
    weather: watch::Receiver<Weather>,
    lost: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
}

impl Air {
    /// From each client to the server by a socket of its own, and back.
    async fn carry(self, socket: Arc<UdpSocket>, media: u16, seed: u64) {
        let mut dice = Dice(seed);
        let mut ways: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
        let mut bytes = [0; DATAGRAM_BYTES];
        while let Ok((length, client)) = socket.recv_from(&mut bytes).await {
            let way = match ways.get(&client) {
                Some(way) => Arc::clone(way),
                None => {
                    let way = UdpSocket::bind((SERVER, 0)).await.expect("a port is free");
                    way.connect((SERVER, media)).await.expect("it is on this machine");
                    let way = Arc::new(way);
                    ways.insert(client, Arc::clone(&way));
                    let back =
                        self.clone().carry_back(Arc::clone(&way), Arc::clone(&socket), client, Dice(dice.throw()));
                    tokio::spawn(back);
                    way
                }
            };
            if let Some(late) = self.fate(&mut dice) {
                let datagram = bytes[..length].to_vec();
                tokio::spawn(async move {
                    tokio::time::sleep_until(late).await;
                    let _ = way.send(&datagram).await;
                });
            }
        }
    }

    async fn carry_back(self, way: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, mut dice: Dice) {
        let mut bytes = [0; DATAGRAM_BYTES];
        loop {
            // An error is a server that is down.
            let Ok(length) = way.recv(&mut bytes).await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            if let Some(late) = self.fate(&mut dice) {
                let (socket, datagram) = (Arc::clone(&socket), bytes[..length].to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep_until(late).await;
                    let _ = socket.send_to(&datagram, client).await;
                });
            }
        }
    }

    /// When a datagram arrives, if it does.
    fn fate(&self, dice: &mut Dice) -> Option<Instant> {
        let weather = *self.weather.borrow();
        let (loss, late) = (dice.throw() % 100, dice.throw());
        if weather.is_cut || weather.no_udp || loss < weather.loss_percent {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.passed.fetch_add(1, Ordering::Relaxed);
        let jitter = u64::try_from(weather.jitter.as_micros()).expect("it is short");
        Some(Instant::now() + Duration::from_micros(late % (jitter + 1)))
    }
}

/// The same throws for the same seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 29)
    }
}
