//! The socket of media.

use std::net::{IpAddr, SocketAddr};

use rspp_specs::binding::Endpoint;
use tokio::net::UdpSocket;

/// The socket of media.
pub(crate) struct Ports {
    pub(crate) udp: UdpSocket,
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
}
