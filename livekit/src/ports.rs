//! The sockets of one peer connection: one of UDP, and a connection of TCP where UDP does not get through.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Instant;

use rspp_specs::binding::Endpoint;
use str0m::net::{Protocol, Transmit};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::peer::Peer;
use crate::stream::{Came, Stream};

/// A datagram of media has at most the 1,500 bytes of Ethernet.
const MAX_DATAGRAM_BYTES: usize = 2_048;
/// Datagrams that are read before others have their turn.
const DATAGRAMS_AT_ONCE: usize = 64;

/// The sockets of media.
pub(crate) struct Ports {
    udp: UdpSocket,
    pub(crate) local: SocketAddr,
    stream: Option<Stream>,
}

impl Ports {
    /// A socket, with the address that the server's way to us leads to.
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, std::io::Error> {
        let mut servers = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
        let server = servers.next().ok_or_else(|| std::io::Error::other("the server's name has no address"))?;
        let any: IpAddr = if server.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
        let probe = UdpSocket::bind((any, 0)).await?;
        probe.connect(server).await?;
        let ip = probe.local_addr()?.ip();
        let udp = UdpSocket::bind((ip, 0)).await?;
        let local = udp.local_addr()?;
        Ok(Self { udp, local, stream: None })
    }

    /// Hands what has come to its peer; whether that was all.
    pub(crate) fn hear(&mut self, cx: &mut Context<'_>, peer: &mut Peer) -> bool {
        if let Some(to) = peer.next_dial(Instant::now()) {
            self.stream = Some(Stream::dial(to));
        }
        self.hear_datagrams(cx, peer) & self.hear_stream(cx, peer)
    }

    fn hear_datagrams(&self, cx: &mut Context<'_>, peer: &mut Peer) -> bool {
        let mut bytes = [0; MAX_DATAGRAM_BYTES];
        for _ in 0..DATAGRAMS_AT_ONCE {
            let mut datagram = ReadBuf::new(&mut bytes);
            match self.udp.poll_recv_from(cx, &mut datagram) {
                Poll::Ready(Ok(from)) => {
                    peer.on_packet(Instant::now(), Protocol::Udp, (from, self.local), datagram.filled());
                }
                // A datagram of ours came back: nobody is there, and a timeout says so.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => return true,
            }
        }
        false
    }

    fn hear_stream(&mut self, cx: &mut Context<'_>, peer: &mut Peer) -> bool {
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some(stream) = &mut self.stream else { return true };
            let now = Instant::now();
            match stream.poll_next(cx) {
                Poll::Pending => return true,
                Poll::Ready(Came::Open(local)) => peer.on_stream(local),
                Poll::Ready(Came::Packet(local, from, packet)) => {
                    peer.on_packet(now, Protocol::Tcp, (from, local), &packet);
                }
                Poll::Ready(Came::Lost) => {
                    self.stream = None;
                    peer.on_stream_lost(now);
                }
            }
        }
        false
    }

    /// Gives a connection up: the server does not take it for what is agreed on anew.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// What a full buffer refuses is lost, as on any wire.
    pub(crate) fn transmit(&mut self, transmit: &Transmit) {
        match (transmit.proto, &mut self.stream) {
            (Protocol::Udp, _) => {
                let _ = self.udp.try_send_to(&transmit.contents, transmit.destination);
            }
            (_, Some(stream)) => stream.send(&transmit.contents),
            (_, None) => {}
        }
    }
}
