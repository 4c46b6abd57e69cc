//! A caller with audio that was coded before. Many of them cost little, so that what is measured is the server and its agents:
//! `cargo bench --bench rooms`.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rspp_adapters::audio::opus_samples;
use rspp_adapters::server::{Came, Socket};
use rspp_adapters::transport::Message;
use rspp_specs::binding::Endpoint;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::joining::{JoinError, Joining, Lost, Whom};
use crate::room::{Mode, Room};
use crate::words::{Heard, Spoken};

/// A packet's time.
const PACKET: Duration = Duration::from_millis(20);
/// What a voice is loud.
const LEVEL: u8 = 20;

/// Somebody in a room who listens to the agent.
pub struct Caller {
    room: Room,
    /// Where it is in what it says, at RTP's rate.
    at: u64,
}

/// A packet of the agent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it came.
    pub came: Instant,
    /// The place of its first sample, at 48 kHz.
    pub at: u64,
}

impl Caller {
    /// Comes into a room.
    ///
    /// # Errors
    /// As for whoever joins.
    pub async fn join(endpoint: Endpoint, token: String) -> Result<Self, JoinError> {
        let mode = Mode::OneConnection;
        let joining = Joining { endpoint, token, mode, caller: None, whom: Whom::Agents, lost: Lost::default() };
        Ok(Self { room: Room::join(&joining).await?, at: 0 })
    }

    /// Says packets of 20 ms, one after the other and round and round, and hears the agent meanwhile.
    pub async fn talk(&mut self, packets: &[Bytes], until: Instant) -> Vec<Arrival> {
        let mut heard = Vec::new();
        let mut ticks = interval(PACKET);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for packet in packets.iter().cycle() {
            loop {
                tokio::select! {
                    biased;
                    _ = ticks.tick() => break,
                    came = std::future::poll_fn(|cx| self.poll_heard(cx)) => match came {
                        Some(packet) => heard.push(Arrival { came: Instant::now(), at: packet.at }),
                        None => return heard,
                    },
                }
            }
            if Instant::now() >= until {
                break;
            }
            let spoken = Spoken { at: self.at, begins: self.at == 0, level: LEVEL, packet: packet.clone() };
            self.at += opus_samples(packet).unwrap_or_default();
            if let Message::Binary(bytes) = spoken.write()
                && self.room.start_send(Message::Binary(bytes)).is_err()
            {
                break;
            }
        }
        heard
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Option<Heard>> {
        loop {
            match self.room.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Came::Message(Message::Binary(bytes))) => {
                    if let Ok(heard) = Heard::read(&bytes) {
                        return Poll::Ready(Some(heard));
                    }
                }
                Poll::Ready(Came::Lost) => return Poll::Ready(None),
                Poll::Ready(_) => {}
            }
        }
    }
}
