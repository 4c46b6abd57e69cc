//! How many connections one address may have at a server or a worker.

use clap::Args;
use rspp_adapters::server::Limits;

/// What one address may do. A proxy is one address.
#[derive(Args)]
pub(super) struct Arrivals {
    /// Connections from one address at the same time; half of all unless said. A proxy is one address.
    #[arg(long, value_name = "N")]
    max_connections_per_address: Option<usize>,
    /// New connections from one address in a second; ten seconds' worth may come at once.
    #[arg(long, value_name = "N", default_value_t = Limits::default().arrivals_of_an_address)]
    max_arrivals_per_address: u32,
}

impl Arrivals {
    /// With so many connections of all together.
    pub(super) fn limits(&self, connections: usize) -> Limits {
        let limits = Limits::of(connections);
        Limits {
            connections_of_an_address: self.max_connections_per_address.unwrap_or(limits.connections_of_an_address),
            arrivals_of_an_address: self.max_arrivals_per_address,
            ..limits
        }
    }
}
