//! How much a server or a worker takes on at the same time.

use clap::Args;
use rspp_adapters::admission::Capacity;

/// What there is room for beside the calls themselves.
#[derive(Args)]
pub(super) struct Room {
    /// Open turns at the same time. Over that, turns wait for a moment; over twice that, they are shed.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().turns)]
    max_turns: u32,
    /// Invocations of providers at the same time.
    #[arg(long, value_name = "N", default_value_t = Capacity::default().invocations)]
    max_invocations: u32,
    /// How much of calls, turns, invocations and provider threads one tenant may have.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    tenant_share: u32,
    /// How much of turns and invocations is kept for calls in which somebody waits for an answer.
    #[arg(long, value_name = "PERCENT", default_value_t = Capacity::default().headroom_percent,
        value_parser = clap::value_parser!(u32).range(0..=100))]
    headroom: u32,
}

impl Room {
    /// All of it, with room for so many calls.
    pub(super) fn capacity(&self, calls: u32) -> Capacity {
        Capacity {
            sessions: calls,
            sessions_of_a_key: self.share(calls),
            turns: self.max_turns,
            turns_of_a_key: self.share(self.max_turns),
            invocations: self.max_invocations,
            invocations_of_a_key: self.share(self.max_invocations),
            headroom_percent: self.headroom,
        }
    }

    /// What one tenant may have of these: at least one.
    pub(super) fn share(&self, all: u32) -> u32 {
        (u64::from(all) * u64::from(self.tenant_share)).div_ceil(100).max(1) as u32
    }
}
