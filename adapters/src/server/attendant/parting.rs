//! How an attendant parts from its peer: the end of a connection, and perhaps not of its session.

use std::sync::Arc;
use std::time::Duration;

use rspp_specs::timeline::Input;
use tokio::time::Instant;

use super::{Attendant, Event, Line, Over, moved, next_said};
use crate::bridge::outlet::Outbound;
use crate::server::parking::Parked;
use crate::server::socket::{Came, Gone};
use crate::transport::{Ended, Exchange, Refusal, RefusalCode};

/// How long a session that was told to end is listened to, so that its last words are heard.
const WINDING_UP: Duration = Duration::from_millis(500);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);
/// A session is parked for so long after the core should have ended it.
const SLACK: Duration = Duration::from_secs(2);

impl Attendant {
    /// The end of the connection, and perhaps not of the session.
    pub(super) async fn leave(mut self, over: Over) {
        self.out = Exchange::default();
        match over {
            Over::Lost => self.part(),
            Over::Displaced(displace) => {
                let moved = Refusal::fatal(RefusalCode::OutOfOrder, "the session has another connection now");
                if let Some(parked) = self.give_up_session() {
                    let _ = displace.send(parked);
                }
                self.say_goodbye(&Ended::Refused(moved)).await;
            }
            Over::Left => {
                self.wind_up().await;
                self.forget();
                self.say_goodbye(&Ended::Done).await;
            }
            Over::Refused(refusal) => {
                self.house.traffic.refuse(refusal.code);
                if refusal.code.is_breach() {
                    self.counted.misbehave();
                }
                // A peer that does not read may do so after it has come back.
                if refusal.code == RefusalCode::SlowReader {
                    self.part();
                    return;
                }
                self.forget();
                self.say_goodbye(&Ended::Refused(refusal)).await;
            }
            Over::Ended(ended) => {
                self.forget();
                self.say_goodbye(&ended).await;
            }
            Over::Given => {
                self.hand_over().await;
                self.forget();
                self.say_goodbye(&Ended::Refused(moved())).await;
            }
        }
    }

    /// The session is given up; it has come to rest here when this returns, so that who goes on with it has all of it.
    async fn hand_over(&mut self) {
        let Some(line) = &self.line else { return };
        line.session.give_up();
        let until = Instant::now() + WINDING_UP;
        while let Some(outbound) = next_said(&line.session, Some(until)).await {
            if matches!(outbound, Outbound::Ended(_)) {
                return;
            }
        }
    }

    /// The session is over.
    fn forget(&mut self) {
        if let Some(secret) = self.line.take().and_then(|line| line.secret) {
            self.house.parking.forget(&secret);
        }
    }

    /// What another connection goes on with.
    fn give_up_session(&mut self) -> Option<Parked> {
        let Line { session, mut connection, .. } = self.line.take()?;
        session.on_parted();
        connection.on_lost();
        if let Some(state) = connection.news() {
            let _ = session.give(Input::Connection(state));
        }
        Some(Parked { session, connection, memory: self.transport.park() })
    }

    /// The connection is lost: the session waits for another, if it may.
    fn part(&mut self) {
        let secret = self.line.as_ref().and_then(|line| line.secret.clone());
        let (Some(secret), Some(parked)) = (secret, self.give_up_session()) else { return };
        let house = Arc::clone(&self.house);
        let reconnect = house.pipeline.plan.turn_policy().reconnect;
        if let Some(number) = house.parking.park(&secret, parked, house.limits.parked) {
            tokio::spawn(async move {
                let most = Duration::from_micros(reconnect.0) + SLACK;
                tokio::select! {
                    () = tokio::time::sleep(most) => {}
                    () = house.draining.cancelled() => house.parking.give_up(&secret, number),
                }
                house.parking.clear_away(&secret, number);
            });
        }
    }

    /// The session is told to end, and listened to until it has.
    async fn wind_up(&mut self) {
        let Some(line) = &self.line else { return };
        let _ = line.session.give(Input::SessionEnd);
        let until = Instant::now() + WINDING_UP;
        self.look.as_mut().reset(until);
        loop {
            match self.next().await {
                Event::Said(outbound) if !matches!(outbound, Outbound::Audio(_)) => {
                    if self.pass_on(outbound).is_err() || self.write().await.is_err() {
                        return;
                    }
                    self.out.inputs.clear();
                }
                Event::Look | Event::Came(Came::Lost | Came::Refused(_)) => return,
                Event::Said(_) | Event::Came(_) | Event::Displaced(_) => {}
            }
        }
    }

    async fn say_goodbye(mut self, ended: &Ended) {
        self.out = Exchange::default();
        self.transport.on_end(self.house.bridge.now(), ended, &mut self.out);
        let goodbye = async {
            self.write().await?;
            self.wait_for(|socket, cx| socket.poll_ready(cx)).await?;
            self.socket.close(ended).map_err(|Gone| Over::Lost)?;
            self.wait_for(|socket, cx| socket.poll_flush(cx)).await?;
            // Until the peer has closed, too, so that what it was told is not lost with a reset.
            let mut came = Came::Alive;
            while !matches!(came, Came::Lost | Came::Refused(_)) {
                came = std::future::poll_fn(|cx| self.socket.poll_next(cx)).await;
            }
            Ok::<(), Over>(())
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}
