//! The socket of one peer connection.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Instant;

use rspp_specs::binding::Endpoint;
use str0m::net::Transmit;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::peer::Peer;

/// A datagram of media has at most the 1,500 bytes of Ethernet.
const MAX_DATAGRAM_BYTES: usize = 2_048;
/// Datagrams that are read before others have their turn.
const DATAGRAMS_AT_ONCE: usize = 64;

/// The socket of media.
pub(crate) struct Ports {
    udp: UdpSocket,
    pub(crate) local: SocketAddr,
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
        Ok(Self { udp, local })
    }

    /// Hands what has come to its peer; whether that was all.
    pub(crate) fn hear(&self, cx: &mut Context<'_>, peer: &mut Peer) -> bool {
        let mut bytes = [0; MAX_DATAGRAM_BYTES];
        for _ in 0..DATAGRAMS_AT_ONCE {
            let mut datagram = ReadBuf::new(&mut bytes);
            match self.udp.poll_recv_from(cx, &mut datagram) {
                Poll::Ready(Ok(from)) => peer.on_datagram(Instant::now(), from, datagram.filled()),
                // A datagram of ours came back: nobody is there, and a timeout says so.
                Poll::Ready(Err(_)) => {}
                Poll::Pending => return true,
            }
        }
        false
    }

    /// What a full buffer refuses is lost, as on any wire.
    pub(crate) fn transmit(&self, transmit: &Transmit) {
        let _ = self.udp.try_send_to(&transmit.contents, transmit.destination);
    }
}
