//! What the server takes, each with its unit.

use std::time::Duration;

/// A limit on everything that a peer can do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time, of whatever kind.
    pub connections: usize,
    /// Of those, of one address. A proxy before the server is one address, too.
    pub connections_of_an_address: usize,
    /// Of those, that are no calls: handshakes, requests, and what never becomes either.
    pub waiting_of_an_address: usize,
    /// New connections of one address in a second; ten seconds' worth may come at once.
    pub arrivals_of_an_address: u32,
    /// New connections in a second, in all. Who comes faster waits until it is taken.
    pub arrivals: u32,
    /// From the connection to the end of the TLS handshake, and from there to the end of the request's head.
    pub handshake: Duration,
    /// From the upgraded connection to the message that says what the peer wants.
    pub hello: Duration,
    /// A request's head.
    pub head_bytes: usize,
    /// A message of a peer's.
    pub message_bytes: usize,
    /// From the moment at which it is seen that a message has begun to come to its end.
    pub message: Duration,
    /// Messages of one peer in a second; a part of one counts as one, and so does a ping.
    pub messages_per_second: u32,
    /// Bytes of one peer in a second.
    pub bytes_per_second: u32,
    /// Seconds' worth of both that may come at once, after as long a silence.
    pub burst_seconds: u32,
    /// Refused messages of one peer before its connection ends.
    pub refusals: u32,
    /// Nothing came from a peer, its answer to a ping neither: its connection is lost.
    pub idle: Duration,
    /// A peer that says nothing is pinged so often.
    pub ping: Duration,
    /// A message that can't be written for so long: the connection is lost.
    pub write: Duration,
    /// Sessions whose connection is lost and may come back.
    pub parked: usize,
    /// Threads for sockets.
    pub io_threads: usize,
}

impl Limits {
    /// With so many connections, half of which may be one address's.
    pub fn of(connections: usize) -> Self {
        Self { connections, connections_of_an_address: connections.div_ceil(2), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_of_an_address: 2_048,
            waiting_of_an_address: 512,
            arrivals_of_an_address: 100,
            arrivals: 1_000,
            handshake: Duration::from_secs(5),
            hello: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            message_bytes: 256 * 1024,
            message: Duration::from_secs(10),
            messages_per_second: 200,
            bytes_per_second: 512 * 1024,
            burst_seconds: 5,
            refusals: 16,
            idle: Duration::from_secs(20),
            ping: Duration::from_secs(5),
            write: Duration::from_secs(5),
            parked: 1_024,
            io_threads: 1,
        }
    }
}

/// Seconds' worth of messages that may come at once from a peer that has just come.
const FIRST_SECONDS: u32 = 2;

/// Counts what a peer sends.
#[derive(Debug)]
pub(super) struct Allowance {
    messages: f64,
    bytes: f64,
    filled_at: std::time::Instant,
}

impl Allowance {
    /// Of a peer that has just come: who floods and comes again is no better off than who stays.
    pub(super) fn new(limits: &Limits, now: std::time::Instant) -> Self {
        let burst = f64::from(limits.burst_seconds.min(FIRST_SECONDS));
        let (messages, bytes) = (f64::from(limits.messages_per_second), f64::from(limits.bytes_per_second));
        Self { messages: messages * burst, bytes: bytes * burst, filled_at: now }
    }

    /// Whether a message of this length may come now.
    pub(super) fn takes(&mut self, limits: &Limits, now: std::time::Instant, bytes: usize) -> bool {
        let passed = now.duration_since(self.filled_at).as_secs_f64();
        let burst = f64::from(limits.burst_seconds);
        let (messages, most_bytes) = (f64::from(limits.messages_per_second), f64::from(limits.bytes_per_second));
        self.filled_at = now;
        self.messages = (self.messages + passed * messages).min(messages * burst);
        self.bytes = (self.bytes + passed * most_bytes).min(most_bytes * burst);
        let takes = self.messages >= 1.0 && self.bytes >= bytes as f64;
        if takes {
            self.messages -= 1.0;
            self.bytes -= bytes as f64;
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let limits = Limits { messages_per_second: 10, bytes_per_second: 1_000, burst_seconds: 3, ..Limits::default() };
        let start = Instant::now();
        let mut allowance = Allowance::new(&limits, start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!((0..100).filter(|_| allowance.takes(&limits, at(0), 1)).count(), 20);
        assert!(allowance.takes(&limits, at(100), 1), "a tenth of a second is one message");
        assert!(!allowance.takes(&limits, at(100), 1));
        assert!(!allowance.takes(&limits, at(10_000), 3_001), "more than all of it");
        assert!(allowance.takes(&limits, at(10_000), 3_000));
        assert!(!allowance.takes(&limits, at(10_001), 100), "the bytes are used up");
    }
}
