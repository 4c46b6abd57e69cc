//! Media over TCP, for where UDP does not get through: packets with their length before them (RFC 4571), on a connection
//! that we make (RFC 6544). Whatever can't be written at once is lost, as on any wire: audio that is late is worth nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// The system keeps so much of what is sent, so that a way that stands still has little to send when it goes on.
const MAX_UNSENT_BYTES: u32 = 8 * 1024;
/// What is read at once.
const READ_BYTES: usize = 4 * 1024;
/// A connection has to be there within this.
const PATIENCE: Duration = Duration::from_secs(4);
/// A length is two bytes.
const HEAD_BYTES: usize = 2;

/// A connection, or one that is being made.
pub(crate) struct Stream {
    to: SocketAddr,
    state: State,
}

enum State {
    Dialling(Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>),
    Open(Open),
    Lost,
}

struct Open {
    socket: TcpStream,
    local: SocketAddr,
    read: BytesMut,
    /// The end of a packet whose beginning has been sent.
    unsent: BytesMut,
}

/// What comes of a connection.
pub(crate) enum Came {
    /// It is there, from this address of ours.
    Open(SocketAddr),
    /// A packet, between these addresses of ours and theirs.
    Packet(SocketAddr, SocketAddr, BytesMut),
    /// It is gone, or was never there.
    Lost,
}

impl Stream {
    pub(crate) fn dial(to: SocketAddr) -> Self {
        let dialled = async move { tokio::time::timeout(PATIENCE, connect(to)).await.map_err(io::Error::other)? };
        Self { to, state: State::Dialling(Box::pin(dialled)) }
    }

    /// What comes next.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        match &mut self.state {
            State::Lost => Poll::Pending,
            State::Dialling(dialled) => match dialled.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(socket) => match socket.and_then(|it| it.local_addr().map(|local| (it, local))) {
                    Ok((socket, local)) => {
                        self.state =
                            State::Open(Open { socket, local, read: BytesMut::new(), unsent: BytesMut::new() });
                        Poll::Ready(Came::Open(local))
                    }
                    Err(_) => self.lose(),
                },
            },
            State::Open(open) => {
                let local = open.local;
                match open.poll_packet(cx) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(packet)) => Poll::Ready(Came::Packet(local, self.to, packet)),
                    Poll::Ready(Err(_)) => self.lose(),
                }
            }
        }
    }

    fn lose(&mut self) -> Poll<Came> {
        self.state = State::Lost;
        Poll::Ready(Came::Lost)
    }

    /// What does not fit is lost; a packet that was begun is ended before another.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        let State::Open(open) = &mut self.state else { return };
        let Ok(length) = u16::try_from(packet.len()) else { return };
        open.flush();
        if open.unsent.is_empty() {
            open.unsent.put_u16(length);
            open.unsent.put_slice(packet);
            let whole = open.unsent.len();
            open.flush();
            if open.unsent.len() == whole {
                open.unsent.clear();
            }
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(MAX_UNSENT_BYTES)?;
    socket.set_nodelay(true)?;
    socket.connect(to).await
}

impl Open {
    fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.socket.try_write(&self.unsent) {
                Ok(written) => self.unsent.advance(written),
                // That it is gone is told by whoever reads.
                Err(_) => return,
            }
        }
    }

    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        loop {
            if let Some(packet) = self.next_packet() {
                return Poll::Ready(Ok(packet));
            }
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) if read.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => self.read.put_slice(read.filled()),
            }
        }
    }

    /// A packet that is there as a whole. What is read and waits is never longer than the longest packet and a read.
    fn next_packet(&mut self) -> Option<BytesMut> {
        let head = self.read.get(..HEAD_BYTES)?;
        let length = usize::from(u16::from_be_bytes([head[0], head[1]]));
        if self.read.len() < HEAD_BYTES + length {
            return None;
        }
        self.read.advance(HEAD_BYTES);
        Some(self.read.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    async fn opened() -> (Stream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let mut stream = Stream::dial(listener.local_addr().expect("it is bound"));
        assert!(matches!(next(&mut stream).await, Came::Open(_)));
        (stream, listener.accept().expect("somebody dialled").0)
    }

    async fn next(stream: &mut Stream) -> Came {
        std::future::poll_fn(|cx| stream.poll_next(cx)).await
    }

    async fn packet(stream: &mut Stream) -> Vec<u8> {
        match next(stream).await {
            Came::Packet(_, _, packet) => packet.to_vec(),
            _ => panic!("a packet comes"),
        }
    }

    #[tokio::test]
    async fn packets_have_their_length_before_them_and_come_whole() {
        let (mut stream, mut other) = opened().await;
        other.write_all(&[0, 3, 1, 2, 3, 0, 2, 4]).expect("there is room");
        assert_eq!(packet(&mut stream).await, [1, 2, 3]);
        other.write_all(&[5, 0, 0]).expect("there is room");
        assert_eq!(packet(&mut stream).await, [4, 5]);
        assert_eq!(packet(&mut stream).await, [0_u8; 0]);
        stream.send(&[7, 8]);
        let mut read = [0; 4];
        other.read_exact(&mut read).expect("it was sent");
        assert_eq!(read, [0, 2, 7, 8]);
        drop(other);
        assert!(matches!(next(&mut stream).await, Came::Lost));
    }

    #[tokio::test]
    async fn a_way_that_stands_still_keeps_little_and_whole_packets() {
        let (mut stream, mut other) = opened().await;
        let sent = 20_000_u32;
        (0..sent).for_each(|number| stream.send(&[number.to_be_bytes().as_slice(), &[0; 96]].concat()));
        other.set_nonblocking(true).expect("it can be");
        let (mut read, mut chunk, mut quiet) = (Vec::new(), [0; 4096], 0);
        while quiet < 3 {
            match other.read(&mut chunk) {
                Ok(length) => read.extend_from_slice(&chunk[..length]),
                Err(_) => {
                    quiet += 1;
                    stream.send(&[0; 100]);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        let whole = read.len() / 102;
        let numbers = (0..whole).map(|at| &read[at * 102..(at + 1) * 102]);
        assert!(numbers.clone().all(|packet| packet[..2] == [0, 100]), "each is whole");
        assert!(whole < sent as usize / 2, "most are lost: {whole}");
    }
}
