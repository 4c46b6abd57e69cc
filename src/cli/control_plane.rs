//! `rspp control-plane`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use rspp_adapters::interrupt::Interrupt;
use rspp_compiler::Registry;
use rspp_controlplane::admission::Rules;
use rspp_controlplane::lease::Terms;
use rspp_controlplane::plane::Config;
use rspp_controlplane::wire::WhenStale;

use super::outcome::{Failure, Outcome};
use crate::fleet::host::{Host, HostError, Ready, host};

/// Be the authority of a fleet: who holds which session, which version a caller gets, who is let in.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rspp control-plane\n  \
    rspp control-plane --data fleet --listen 10.0.0.5:7700\n\n\
    The folder has its store, the key that signs session tokens, and the first key of the API, which may do everything.\n\
    /openapi.json tells what it can be asked; docs/control-plane.md tells what it does.\n\
    It speaks HTTP without TLS: keep it in a network of your own, or behind what speaks TLS for it.")]
pub(super) struct ControlPlane {
    /// Its folder.
    #[arg(long, value_name = "FOLDER", default_value = "control-plane")]
    data: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700")]
    listen: SocketAddr,
    /// For how long a worker's lease is granted.
    #[arg(long, value_name = "MS", default_value_t = Terms::default().ttl_ms, value_parser = clap::value_parser!(u64).range(300..=600_000))]
    lease: u64,
    /// How much later a worker is taken for dead: what clocks may drift apart in one term.
    #[arg(long, value_name = "MS", default_value_t = Terms::default().slack_ms)]
    slack: u64,
    /// For how long workers take new sessions by the last view that they had.
    #[arg(long, value_name = "MS", default_value_t = Config::default().staleness_bound_ms)]
    staleness: u64,
    /// What becomes of new sessions after that.
    #[arg(long, value_name = "WHAT", default_value = "defer", value_parser = ["defer", "reject"])]
    when_stale: String,
    /// How much of the workers' room is kept free, for sessions that lose theirs.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=100))]
    headroom: u64,
}

impl ControlPlane {
    pub(super) fn run(self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        let config = Config {
            terms: Terms { ttl_ms: self.lease, slack_ms: self.slack },
            rules: Rules { headroom_permille: self.headroom * 10, ..Rules::default() },
            staleness_bound_ms: self.staleness,
            when_stale: if self.when_stale == "reject" { WhenStale::Reject } else { WhenStale::Defer },
            ..Config::default()
        };
        let on_ready = |ready: &Ready| {
            if let Some(path) = &ready.first_key {
                eprintln!("the first key, which may do everything, is in {}", path.display());
            }
            eprintln!("listening on http://{}", ready.address);
        };
        let this = Host { data: self.data, listen: self.listen, config };
        match host(&this, registry, interrupt, on_ready, |says| eprintln!("note: {says}")) {
            Ok(()) => match interrupt.signal() {
                None => Ok(String::new()),
                Some(signal) => Err(Failure::Interrupted(signal, String::new(), "stopped".to_owned())),
            },
            Err(error @ (HostError::Refused(_) | HostError::System(_))) => Err(Failure::Run(error.to_string())),
            Err(error) => Err(Failure::Input(error.to_string())),
        }
    }
}
