//! One peer, from its arrival to its end: between its messages, a transport, and a session.
//!
//! The third gate stands here. Audio is taken out of the outlet only when all that was written before has left for the
//! socket; then the gate is asked, the transport makes a message of the frame, and the message goes into the socket, without
//! anything in between that could wait. So when a clear has moved the epoch on, nothing of the old one is written any more.

mod parting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use rspp_specs::admission::ConnectionState;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Entry, Input, PlayoutAck, Signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

use super::House;
use super::accept::Counted;
use super::arrival::Arrival;
use super::authority::Guest;
use super::limits::Allowance;
use super::parking::{Displace, Found, Parked};
use super::routes::random_name;
use super::socket::{Came, Gone, Socket};
use crate::bridge::outlet::{End, Outbound};
use crate::bridge::{NotGiven, Session};
use crate::token::Claims;
use crate::transport::connection::Connection;
use crate::transport::{Asked, Bind, Bound, Ended, Exchange, Refusal, RefusalCode, Transport};

/// Somebody who was let in.
pub(super) struct Visit {
    pub(super) house: Arc<House>,
    pub(super) transport: Box<dyn Transport>,
    /// What the token in the request says.
    pub(super) claims: Option<Claims>,
    /// Whether something else than a token vouches for the peer.
    pub(super) vouched: bool,
    pub(super) counted: Arc<Counted>,
}

/// How often it is looked at what no message brings: limits of time, and the server's end.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// When a worker's inbox is full, it is tried again after so long; the socket is not read meanwhile.
const AFTER_BUSY: Duration = Duration::from_millis(1);
/// How long whoever attends a session may take to hand it over.
const HANDING_OVER: Duration = Duration::from_secs(2);
/// How long the core may take to say that it knows of a loss.
const HEARING_OF_LOSS: Duration = Duration::from_millis(500);

/// Attends one peer.
pub(super) struct Attendant {
    house: Arc<House>,
    transport: Box<dyn Transport>,
    claims: Option<Claims>,
    vouched: bool,
    socket: Box<dyn Socket>,
    out: Exchange,
    line: Option<Line>,
    allowance: Allowance,
    refusals: u32,
    began: Instant,
    heard_at: Instant,
    /// Since when it is known that a message has begun to come; none has come whole since.
    midway_since: Option<Instant>,
    pinged_at: Instant,
    look: Pin<Box<Sleep>>,
    /// When it is looked around at the latest.
    look_at: Instant,
    /// Whose turn it is to be looked at first: neither a flood of messages nor one of words keeps the other out.
    outlet_first: bool,
    counted: Arc<Counted>,
}

/// The session that the peer is bound to.
struct Line {
    session: Guest,
    connection: Connection,
    secret: Option<String>,
    asked: mpsc::Receiver<Displace>,
    drains: bool,
}

/// What wakes an attendant.
enum Event {
    Came(Came),
    Said(Outbound),
    Displaced(Displace),
    Look,
}

/// Why it is over.
enum Over {
    /// The peer said goodbye.
    Left,
    /// The connection is lost.
    Lost,
    /// The peer is not served any more.
    Refused(Refusal),
    /// The session has another connection.
    Displaced(Displace),
    /// The session is over.
    Ended(Ended),
    /// Another server is to go on with the session.
    Given,
}

impl Over {
    fn refused(code: RefusalCode, says: impl Into<String>) -> Self {
        Over::Refused(Refusal::fatal(code, says))
    }
}

impl Attendant {
    /// Attends to its end.
    pub(super) async fn attend(visit: Visit, socket: Box<dyn Socket>) {
        let Visit { house, transport, claims, vouched, counted } = visit;
        counted.become_call();
        let now = Instant::now();
        let mut attendant = Self {
            allowance: Allowance::new(&house.limits, now.into_std()),
            house,
            transport,
            claims,
            vouched,
            socket,
            out: Exchange::default(),
            line: None,
            refusals: 0,
            began: now,
            heard_at: now,
            midway_since: None,
            pinged_at: now,
            look: Box::pin(tokio::time::sleep(LOOK_EVERY)),
            look_at: now + LOOK_EVERY,
            outlet_first: false,
            counted,
        };
        let over = match attendant.run().await {
            Err(over) => over,
            Ok(never) => match never {},
        };
        attendant.leave(over).await;
    }

    async fn run(&mut self) -> Result<std::convert::Infallible, Over> {
        self.transport.on_open(self.house.bridge.now(), &mut self.out);
        self.carry_out().await?;
        loop {
            self.arm();
            match self.next().await {
                Event::Came(came) => self.on_came(came).await?,
                Event::Said(outbound) => self.on_said(outbound).await?,
                Event::Displaced(displace) => return Err(Over::Displaced(displace)),
                Event::Look => self.look_around().await?,
            }
        }
    }

    /// It is looked around when it is time for that, and when the transport wants to be called.
    fn arm(&mut self) {
        let wanted = self.transport.next_at().map(|at| Instant::from_std(self.house.bridge.instant(at)));
        let at = wanted.map_or(self.look_at, |wanted| wanted.min(self.look_at));
        if self.look.deadline() != at {
            self.look.as_mut().reset(at);
        }
    }

    /// The next thing that happens.
    async fn next(&mut self) -> Event {
        self.outlet_first = !self.outlet_first;
        std::future::poll_fn(|cx| {
            let event = if self.outlet_first {
                self.poll_line(cx).or_else(|| self.poll_socket(cx))
            } else {
                self.poll_socket(cx).or_else(|| self.poll_line(cx))
            };
            match event {
                Some(event) => Poll::Ready(event),
                None => self.poll_seldom(cx),
            }
        })
        .await
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        match self.socket.poll_next(cx) {
            Poll::Ready(came) => Some(Event::Came(came)),
            Poll::Pending => None,
        }
    }

    /// What happens seldom is looked for when there is nothing else to do; a peer is never so busy that there is not.
    fn poll_seldom(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(line) = self.line.as_mut()
            && let Poll::Ready(Some(displace)) = line.asked.poll_recv(cx)
        {
            return Poll::Ready(Event::Displaced(displace));
        }
        self.look.as_mut().poll(cx).map(|()| Event::Look)
    }

    fn poll_line(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        let line = self.line.as_mut()?;
        match line.session.outlet().poll_next(cx) {
            Poll::Ready(outbound) => Some(Event::Said(outbound)),
            Poll::Pending => None,
        }
    }

    async fn on_came(&mut self, came: Came) -> Result<(), Over> {
        let now = Instant::now();
        self.heard_at = now;
        let message = match came {
            Came::Message(message) => message,
            Came::Alive | Came::Part => return self.on_frame(now).await,
            Came::Closed { orderly } => return Err(self.closed(orderly)),
            Came::Refused(refusal) => return Err(Over::Refused(refusal)),
            Came::Lost => return Err(Over::Lost),
        };
        self.midway_since = None;
        let traffic = &self.house.traffic;
        traffic.messages_in.fetch_add(1, Ordering::Relaxed);
        traffic.bytes_in.fetch_add(message.len() as u64, Ordering::Relaxed);
        let taken = if self.allowance.takes(&self.house.limits, now.into_std(), message.len()) {
            self.transport.on_message(self.house.bridge.now(), message, &mut self.out)
        } else {
            Err(too_fast())
        };
        if let Err(refusal) = taken {
            self.on_refusal(refusal)?;
        }
        self.carry_out().await
    }

    /// Something came that is no message: there may be no more of that than of messages.
    async fn on_frame(&mut self, now: Instant) -> Result<(), Over> {
        if self.allowance.takes(&self.house.limits, now.into_std(), 0) {
            return Ok(());
        }
        self.on_refusal(too_fast())?;
        self.carry_out().await
    }

    /// Something is not taken: the peer is told, so often.
    fn on_refusal(&mut self, refusal: Refusal) -> Result<(), Over> {
        self.refusals += 1;
        if refusal.fatal || self.refusals > self.house.limits.refusals {
            // It is counted where the line ends.
            return Err(Over::Refused(Refusal { fatal: true, ..refusal }));
        }
        self.house.traffic.refuse(refusal.code);
        self.transport.refuse(self.house.bridge.now(), &refusal, &mut self.out);
        Ok(())
    }

    /// The peer closed. Who may come back and did not close in an orderly way is waited for.
    fn closed(&self, orderly: bool) -> Over {
        if orderly || !self.transport.capabilities().resumes { Over::Left } else { Over::Lost }
    }

    async fn on_said(&mut self, outbound: Outbound) -> Result<(), Over> {
        let mut next = Some(outbound);
        while let Some(outbound) = next {
            self.pass_on(outbound)?;
            self.carry_out().await?;
            let Some(line) = &self.line else { return Ok(()) };
            next = line.session.outlet().try_next();
        }
        if let Some(line) = self.line.as_ref().filter(|line| line.session.outlet().take_recovered()) {
            // The peer reads again.
            let state = line.connection.state();
            self.out.give(Input::Connection(state));
            self.carry_out().await?;
        }
        Ok(())
    }

    /// Has the transport make messages of what the session says.
    fn pass_on(&mut self, outbound: Outbound) -> Result<(), Over> {
        let Some(line) = &self.line else { return Ok(()) };
        let (now, out) = (line.session.now(), &mut self.out);
        match outbound {
            Outbound::Audio(audio) if line.session.outlet().admits(audio.epoch) => {
                self.transport.send(now, &audio, out);
            }
            Outbound::Audio(_) => {
                self.house.traffic.fenced.fetch_add(1, Ordering::Relaxed);
            }
            Outbound::Clear { turn, epoch, unsent_from } => {
                self.transport.fence(now, turn, epoch, out);
                // A peer that can't say what it played has at least not played what it was never sent.
                if let Some(heard_samples) = unsent_from.filter(|_| !self.transport.capabilities().acknowledges) {
                    out.acknowledge(PlayoutAck { turn, heard_samples, occasion: AckOccasion::Cleared });
                }
            }
            Outbound::Told(at, entry) => self.transport.tell(at, &entry, out),
            Outbound::Asked(asked) => self.ask(now, &asked),
            Outbound::Missed(number) => self.transport.on_missed(now, number, out),
            Outbound::Ended(end) => return Err(Over::Ended(ended(end))),
        }
        Ok(())
    }

    /// Asks the caller's side to do something; who can't is told of at once.
    fn ask(&mut self, now: Micros, asked: &Asked) {
        if !self.transport.ask(now, asked, &mut self.out) {
            let says = "error: the caller's side can't be asked for that";
            Asked::answer(asked.id, says, Outcome::InvalidRequest, &mut self.out);
        }
    }

    /// Does what the transport wants done: binds, writes, and gives inputs to the session.
    async fn carry_out(&mut self) -> Result<(), Over> {
        if let Some(bind) = self.out.bind.take() {
            self.bind(bind).await?;
        }
        self.write().await?;
        self.give().await?;
        if std::mem::take(&mut self.out.leaves) {
            return Err(Over::Left);
        }
        Ok(())
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Over> {
        if self.line.is_some() {
            return Err(Over::refused(RefusalCode::OutOfOrder, "the connection has its session already"));
        }
        if let Some(secret) = bind.resume.clone() {
            let is_routed = self.claims.is_some() || bind.token.is_some();
            // Who brings a route comes back to a session that another server had, unless it is still here.
            if !is_routed || self.house.parking.knows(&secret) {
                return self.resume(secret).await;
            }
        }
        let claims = match self.claims.take() {
            Some(claims) => Some(claims),
            None if self.vouched => None,
            None => self
                .house
                .admit(bind.token.as_deref())
                .map_err(|error| Over::refused(RefusalCode::Unauthorized, error.to_string()))?,
        };
        let capabilities = self.transport.capabilities();
        if let Some(secret) = self.house.secret_of(claims.as_ref()).filter(|_| capabilities.resumes) {
            return self.resume(secret).await;
        }
        let Arrival { guest, past } =
            self.house.open(claims.as_ref(), capabilities.tells).await.map_err(Over::Refused)?;
        let secret = capabilities.resumes.then(random_name);
        let connection = Connection::new(capabilities.streams);
        if let Some(past) = &past {
            self.transport.recall(past);
        }
        self.attach(guest, connection, secret, past.is_some());
        Ok(())
    }

    fn attach(&mut self, session: Guest, connection: Connection, secret: Option<String>, resumed: bool) {
        let asked = match &secret {
            Some(secret) => self.house.parking.attend(secret, session.kept()),
            None => mpsc::channel(1).1,
        };
        let bound = Bound { session: session.name().to_string(), resumed, resume: secret.clone() };
        let now = session.now();
        session.on_connected();
        self.line = Some(Line { session, connection, secret, asked, drains: false });
        self.transport.on_bound(now, &bound, &mut self.out);
    }

    /// The peer comes back to the session that it had.
    async fn resume(&mut self, secret: String) -> Result<(), Over> {
        let none = || Over::refused(RefusalCode::NoSession, "there is no such session any more: begin a new one");
        let parked = match self.house.parking.find(&secret) {
            Found::Nowhere => return Err(none()),
            Found::Parked(parked) => *parked,
            Found::Attended(asks) => {
                let (displace, handed_over) = oneshot::channel();
                asks.try_send(displace).map_err(|_| none())?;
                let handed_over = tokio::time::timeout(HANDING_OVER, handed_over).await;
                handed_over.map_err(|_| none())?.map_err(|_| none())?
            }
        };
        self.house.traffic.resumed.fetch_add(1, Ordering::Relaxed);
        let Parked { session, mut connection, memory } = parked;
        if session.is_over() {
            return Err(Over::Refused(moved()));
        }
        if let Some(memory) = memory {
            self.transport.adopt(memory);
        }
        // What was said meanwhile is in the transport's memory first, and then told from there, each thing once. Until the
        // core has said that the line is gone, nobody knows what it will send again itself.
        let mut over = None;
        let mut knows = false;
        let until = Instant::now() + HEARING_OF_LOSS;
        while let Some(outbound) = next_said(&session, (!knows).then_some(until)).await {
            knows |= matches!(
                &outbound,
                Outbound::Told(_, Entry::Signal(_, Signal::ConnectionEvent { state: ConnectionState::Disconnected }))
            );
            match outbound {
                Outbound::Audio(audio) if !session.outlet().admits(audio.epoch) => {}
                Outbound::Audio(audio) => self.transport.send(session.now(), &audio, &mut self.out),
                Outbound::Clear { turn, epoch, .. } => {
                    self.transport.fence(session.now(), turn, epoch, &mut self.out);
                }
                Outbound::Told(at, entry) => self.transport.tell(at, &entry, &mut self.out),
                Outbound::Asked(asked) => self.ask(session.now(), &asked),
                Outbound::Missed(number) => self.transport.on_missed(session.now(), number, &mut self.out),
                Outbound::Ended(end) => {
                    over = Some(Over::Ended(ended(end)));
                    knows = true;
                }
            }
        }
        self.out.messages.clear();
        connection.on_back();
        self.attach(session, connection, Some(secret), true);
        over.map_or(Ok(()), Err)
    }

    /// Gives inputs to the session. While its worker is busy, the socket is not read.
    async fn give(&mut self) -> Result<(), Over> {
        let Some(line) = &mut self.line else {
            self.out.inputs.clear();
            return Ok(());
        };
        let now = line.session.now();
        if let Some(muted) = self.out.muted.take() {
            line.connection.on_mute(muted);
        }
        while let Some(mut input) = self.out.inputs.pop_front() {
            if matches!(input, Input::CallerAudio(_)) {
                line.connection.on_audio(now);
            }
            loop {
                match line.session.give(input) {
                    Ok(()) => break,
                    Err(NotGiven::Busy(same)) => input = same,
                    Err(NotGiven::Gone) => return Err(Over::refused(RefusalCode::Internal, "the worker is gone")),
                }
                tokio::time::sleep(AFTER_BUSY).await;
            }
        }
        line.connection.on_time(now);
        if let Some(state) = line.connection.news() {
            // If there is no room for it now, it is news again at the next look.
            let _ = line.session.give(Input::Connection(state));
        }
        Ok(())
    }

    /// Writes what the transport says, and waits until it has left for the socket.
    async fn write(&mut self) -> Result<(), Over> {
        if self.out.messages.is_empty() {
            return Ok(());
        }
        while let Some(message) = self.out.messages.pop_front() {
            let traffic = &self.house.traffic;
            traffic.messages_out.fetch_add(1, Ordering::Relaxed);
            traffic.bytes_out.fetch_add(message.len() as u64, Ordering::Relaxed);
            self.wait_for(|socket, cx| socket.poll_ready(cx)).await?;
            self.socket.start_send(message).map_err(|Gone| Over::Lost)?;
        }
        self.wait_for(|socket, cx| socket.poll_flush(cx)).await
    }

    /// Waits for the socket, so long; or until the session has another connection.
    async fn wait_for(
        &mut self,
        mut poll: impl FnMut(&mut dyn Socket, &mut Context<'_>) -> Poll<Result<(), Gone>>,
    ) -> Result<(), Over> {
        // Most often it is ready, and no timer has to be set.
        let socket = &mut self.socket;
        let at_once = std::future::poll_fn(|cx| Poll::Ready(poll(socket.as_mut(), cx))).await;
        if let Poll::Ready(done) = at_once {
            return done.map_err(|Gone| Over::Lost);
        }
        let limit = tokio::time::sleep(self.house.limits.write);
        tokio::pin!(limit);
        let (socket, line) = (&mut self.socket, &mut self.line);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(done) = poll(socket.as_mut(), cx) {
                return Poll::Ready(done.map_err(|Gone| Over::Lost));
            }
            if let Some(Poll::Ready(Some(displace))) = line.as_mut().map(|line| line.asked.poll_recv(cx)) {
                return Poll::Ready(Err(Over::Displaced(displace)));
            }
            limit.as_mut().poll(cx).map(|()| Err(Over::refused(RefusalCode::SlowReader, "what was sent is not read")))
        })
        .await
    }

    /// Limits of time, and the server's end.
    async fn look_around(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
        }
        self.look_for_end().await?;
        let limits = &self.house.limits;
        if let Some(line) = self.line.as_ref().filter(|line| line.session.is_over()) {
            // The core is told first, so that nothing of its turn is left to be heard. What others go on with is left as it is.
            if !line.session.is_kept() {
                let _ = line.session.give(Input::AuthorityRevoked);
            }
            return Err(Over::Refused(moved()));
        }
        self.line.iter().for_each(|line| line.session.follow_version());
        if self.line.is_none() && now - self.began > limits.hello {
            return Err(Over::refused(
                RefusalCode::HandshakeTimeout,
                "nothing was said that a session could begin with",
            ));
        }
        if !self.socket.is_midway() {
            self.midway_since = None;
        } else if now - *self.midway_since.get_or_insert(now) > limits.message {
            return Err(Over::refused(RefusalCode::TooSlow, "a message was begun, and its end does not come"));
        }
        if now - self.heard_at > limits.idle {
            self.house.traffic.refuse(RefusalCode::Idle);
            return Err(Over::Lost);
        }
        if let Some(line) = self.line.as_mut().filter(|line| !line.drains && self.house.draining.is_cancelled()) {
            line.drains = line.session.give(Input::SessionDrain).is_ok();
        }
        if self.transport.next_at().is_some_and(|at| at <= self.house.bridge.now()) {
            self.transport.on_time(self.house.bridge.now(), &mut self.out);
        }
        if now - self.heard_at.max(self.pinged_at) > limits.ping {
            self.pinged_at = now;
            self.wait_for(|socket, cx| socket.poll_ready(cx)).await?;
            self.socket.ping().map_err(|Gone| Over::Lost)?;
            self.wait_for(|socket, cx| socket.poll_flush(cx)).await?;
        }
        self.carry_out().await
    }

    /// The server goes down: who can goes to another one.
    async fn look_for_end(&mut self) -> Result<(), Over> {
        let goes_down = self.house.over.is_cancelled();
        let is_to_go = goes_down || self.house.draining.is_cancelled() || self.house.authority.gives_up();
        if is_to_go && self.can_be_handed_over() && (goes_down || self.is_taken_elsewhere().await) {
            return Err(Over::Given);
        }
        if goes_down {
            return Err(Over::refused(RefusalCode::ShuttingDown, "the server goes down"));
        }
        Ok(())
    }

    /// Whether another server can go on with the session, and its caller will come back there.
    fn can_be_handed_over(&self) -> bool {
        let is_kept = self.line.as_ref().is_some_and(|line| line.session.is_kept());
        is_kept && self.transport.capabilities().resumes
    }

    /// Asks whether somebody takes the session. A few ask at a time, so that those who take are not asked for all at once.
    async fn is_taken_elsewhere(&mut self) -> bool {
        let (Some(line), Ok(_turn)) = (&self.line, self.house.moving.try_acquire()) else { return false };
        line.session.offer().await
    }
}

fn too_fast() -> Refusal {
    Refusal::mild(RefusalCode::TooFast, "more came in a second than may; send as fast as people speak")
}

/// What a session says next: at once, or until then.
async fn next_said(session: &Session, until: Option<Instant>) -> Option<Outbound> {
    match until {
        None => session.outlet().try_next(),
        Some(until) => {
            let next = std::future::poll_fn(|cx| session.outlet().poll_next(cx));
            tokio::time::timeout_at(until, next).await.ok()
        }
    }
}

fn moved() -> Refusal {
    Refusal::fatal(RefusalCode::Moved, "another worker has the session: ask for its route")
}

fn ended(end: End) -> Ended {
    match end {
        End::Done => Ended::Done,
        End::Lost => Ended::Lost,
        End::NoRoom => Ended::Refused(Refusal::fatal(RefusalCode::Full, "no worker has room for one more session")),
        End::Stopped => Ended::Refused(Refusal::fatal(RefusalCode::ShuttingDown, "the server goes down")),
        End::Moved => Ended::Refused(moved()),
        End::NotRebuilt => Ended::Refused(Refusal::fatal(
            RefusalCode::NoSession,
            "what another worker wrote of the session can't be gone on with: begin a new one",
        )),
        End::Unrecorded => {
            Ended::Refused(Refusal::fatal(RefusalCode::Internal, "what happens in the call can't be recorded now"))
        }
    }
}
