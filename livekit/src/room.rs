//! A participant in a room: one task polls it, and whatever it polls moves all of it. Media is sent in the moment in which
//! it is handed over, so the third gate stands right before the socket.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use livekit_protocol::signal_request::Message as Asks;
use livekit_protocol::signal_response::Message as Says;
use livekit_protocol::{
    AddTrackRequest, DataChannelInfo, DataPacket, DisconnectReason, JoinResponse, LeaveRequest, ParticipantInfo,
    SessionDescription, SignalTarget, SyncState, TrackPublishedResponse, TrackSource, TrackType,
    UpdateParticipantMetadata, UpdateSubscription, leave_request,
};
use prost::Message as _;
use rspp_adapters::server::{Came, Gone, Socket};
use rspp_adapters::transport::{Ended, Message};
use rspp_specs::binding::Endpoint;
use tokio::time::{Instant, Sleep};

use crate::joining::MEDIA_PATIENCE;
pub use crate::joining::{JoinError, Joining, Lost, Whom};
use crate::line::url;
use crate::peer::{MediaError, News, Peer};
use crate::people::{Change, People};
use crate::ports::Ports;
pub use crate::signals::Mode;
use crate::signals::{Joined, Signal, Signals, join};
use crate::text::{Names, Reader, Writer};
pub use crate::words::AgentState;
use crate::words::{FromRoom, Spoken, ToRoom};
use rejoining::{REJOINED, Rejoins, is_back};

mod rejoining;

/// The name of the agent's track, for us and for the server.
const TRACK: &str = "rspp-agent-voice";
/// The attribute that front ends look at.
const STATE: &str = "lk.agent.state";
/// Media that does not flow for so long does not come back by itself.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// Packets of data that wait for their channel.
const MAX_WAITING_PACKETS: usize = 64;

/// A room that was joined.
pub struct Room {
    joining: Joining,
    signals: Signals,
    mode: Mode,
    /// A socket for each of the peers: a server has one port for all, so nothing else tells theirs apart.
    ports: Vec<Ports>,
    /// The one that we publish with, and the one of the server's where there are two.
    peers: Vec<Peer>,
    me: ParticipantInfo,
    name: String,
    people: People,
    track: Option<TrackPublishedResponse>,
    /// Sections for audio that the server wants more of.
    wanted_ears: u32,
    restarts: bool,
    voice_track: Option<String>,
    writer: Writer,
    reader: Reader,
    packets: VecDeque<Bytes>,
    next_sequence: u32,
    requests: u32,
    flows: bool,
    /// Since when media does not.
    silent_since: Option<Instant>,
    news: VecDeque<Came>,
    over: Option<String>,
    /// The way back in, while the room is lost.
    rejoins: Option<Rejoins>,
    /// It was rejoined before.
    has_rejoined: bool,
    /// Where the room may be, in the order in which it is looked for.
    servers: Vec<Endpoint>,
    state: Option<AgentState>,
    /// Until when a caller who was there before the room was rejoined is waited for.
    awaited_until: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    /// Media has flowed.
    is_in: bool,
    left: bool,
}

impl Room {
    /// Joins a room, and waits until media flows.
    ///
    /// # Errors
    /// The server can't be reached, refuses the token, or media finds no way.
    pub async fn join(joining: &Joining) -> Result<Self, JoinError> {
        let mut ports = vec![Ports::open(&joining.endpoint).await.map_err(JoinError::Socket)?];
        let now = Instant::now().into_std();
        let mut publisher = Peer::new(SignalTarget::Publisher, ports[0].local, now);
        let offered = publisher.offer(|changes| {
            changes.open_channels();
            changes.hear();
        });
        let offer = description("offer", offered.unwrap_or_default());
        let joined = join(joining, &offer).await?;
        let mut peers = vec![publisher];
        if joined.mode == Mode::TwoConnections {
            ports.push(Ports::open(&joining.endpoint).await.map_err(JoinError::Socket)?);
            peers = vec![
                Peer::new(SignalTarget::Publisher, ports[0].local, now),
                Peer::new(SignalTarget::Subscriber, ports[1].local, now),
            ];
        }
        let mut room = Self::of(joined, joining.clone(), ports, peers);
        room.publish();
        let flowing = std::future::poll_fn(|cx| room.poll_flowing(cx));
        match tokio::time::timeout(MEDIA_PATIENCE, flowing).await {
            Ok(Ok(())) => {
                room.is_in = true;
                Ok(room)
            }
            Ok(Err(why)) => Err(JoinError::Closed(why)),
            Err(_) => Err(JoinError::NoMedia { url: url(&joining.endpoint) }),
        }
    }

    fn of(joined: Joined, joining: Joining, ports: Vec<Ports>, peers: Vec<Peer>) -> Self {
        let Joined { signals, response, mode } = joined;
        let JoinResponse { room, participant, other_participants, .. } = response;
        let people = People::new(joining.caller.clone(), joining.whom);
        let mut joined = Self {
            servers: vec![joining.endpoint.clone()],
            has_rejoined: false,
            joining,
            signals,
            mode,
            ports,
            peers,
            me: participant.unwrap_or_default(),
            name: room.map(|room| room.name).unwrap_or_default(),
            people,
            track: None,
            wanted_ears: 0,
            restarts: false,
            voice_track: None,
            writer: Writer::default(),
            reader: Reader::default(),
            packets: VecDeque::new(),
            next_sequence: 1,
            requests: 0,
            flows: false,
            silent_since: None,
            news: VecDeque::new(),
            over: None,
            rejoins: None,
            state: None,
            awaited_until: None,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            is_in: false,
            left: false,
        };
        joined.update(other_participants);
        joined
    }

    /// The room's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Our own identity in it.
    pub fn identity(&self) -> &str {
        &self.me.identity
    }

    /// How media is agreed on, in the end.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Waits until there is a caller.
    ///
    /// # Errors
    /// The room was closed meanwhile.
    pub async fn caller(&mut self) -> Result<String, JoinError> {
        std::future::poll_fn(|cx| {
            self.turn(cx);
            match (&self.over, self.people.caller()) {
                (Some(why), _) => Poll::Ready(Err(JoinError::Closed(why.clone()))),
                (None, Some(caller)) => Poll::Ready(Ok(caller.identity.clone())),
                (None, None) => Poll::Pending,
            }
        })
        .await
    }

    /// Shows what the agent does.
    pub fn show(&mut self, state: AgentState) {
        self.state = Some(state);
        self.requests += 1;
        let mut attributes = vec![(STATE.to_owned(), state.name().to_owned())];
        attributes.extend(self.has_rejoined.then(|| (REJOINED.to_owned(), "true".to_owned())));
        let attributes = attributes.into_iter().collect();
        let update = UpdateParticipantMetadata { attributes, request_id: self.requests, ..Default::default() };
        self.ask(Asks::UpdateMetadata(update));
    }

    /// Leaves, and says so.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            let leave = LeaveRequest {
                reason: DisconnectReason::ClientInitiated.into(),
                action: leave_request::Action::Disconnect.into(),
                ..LeaveRequest::default()
            };
            self.ask(Asks::Leave(leave));
            self.peers.iter_mut().for_each(Peer::close);
            self.transmit();
        }
    }

    fn ask(&mut self, asks: Asks) {
        // There is room for far more than is ever asked at once; if there is none, nobody listens any more.
        let _ = self.signals.asks.try_send(asks);
    }

    fn publish(&mut self) {
        let request = AddTrackRequest {
            cid: TRACK.to_owned(),
            name: "agent".to_owned(),
            r#type: TrackType::Audio.into(),
            source: TrackSource::Microphone.into(),
            disable_red: true,
            ..AddTrackRequest::default()
        };
        self.ask(Asks::AddTrack(request));
    }

    /// Until our own voice has its way.
    fn poll_flowing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.turn(cx);
        let publisher = &self.peers[0];
        let flows = self.flows && publisher.has_voice() && !publisher.awaits_answer() && publisher.is_open();
        match &self.over {
            Some(why) => Poll::Ready(Err(why.clone())),
            None if flows => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Takes in all that has come, and has the task woken when there is more.
    fn turn(&mut self, cx: &mut Context<'_>) {
        if !self.poll_rejoined(cx) {
            return;
        }
        loop {
            self.hear_signals(cx);
            self.hear_datagrams(cx);
            let now = Instant::now();
            self.peers.iter_mut().for_each(|peer| peer.on_time(now.into_std()));
            self.take_news(now);
            self.look_around(now);
            self.negotiate();
            self.transmit();
            let due = self.peers.iter().map(Peer::due).min().map(Instant::from_std);
            let due = due.unwrap_or(now + SILENT_FOR).max(now + Duration::from_millis(1));
            if self.alarm.deadline() != due {
                self.alarm.as_mut().reset(due);
            }
            if self.rejoins.is_some() {
                return cx.waker().wake_by_ref();
            }
            if self.alarm.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }

    /// What only time tells: that media does not come back by itself, and that a caller does not.
    fn look_around(&mut self, now: Instant) {
        if self.silent_since.is_some_and(|since| now - since >= SILENT_FOR) {
            self.silent_since = Some(now);
            self.restarts = true;
        }
        if self.people.caller().is_some() {
            self.awaited_until = None;
        } else if self.awaited_until.take_if(|until| now >= *until).is_some() {
            self.tell([FromRoom::Left]);
        }
    }

    fn hear_signals(&mut self, cx: &mut Context<'_>) {
        // What was said behind a word to go is not for who comes back.
        while self.rejoins.is_none()
            && let Poll::Ready(signal) = self.signals.says.poll_recv(cx)
        {
            match signal {
                Some(Signal::Says(says)) => self.on_says(*says),
                Some(Signal::Token(token)) => self.joining.token = token,
                Some(Signal::Resumed) => self.on_resumed(),
                Some(Signal::Lost(why)) => return self.rejoin(&why),
                None => return self.end("signalling is over".to_owned(), false),
            }
        }
    }

    fn hear_datagrams(&mut self, cx: &mut Context<'_>) {
        for (ports, peer) in self.ports.iter_mut().zip(&mut self.peers) {
            if !ports.hear(cx, peer) {
                // There is more, and others have their turn before.
                cx.waker().wake_by_ref();
            }
        }
    }

    fn transmit(&mut self) {
        for (ports, peer) in self.ports.iter_mut().zip(&mut self.peers) {
            while let Some(transmit) = peer.next_transmit() {
                ports.transmit(&transmit);
            }
        }
    }

    fn take_news(&mut self, now: Instant) {
        for index in 0..self.peers.len() {
            while let Some(news) = self.peers[index].next_news() {
                self.on_news(index, news, now);
            }
        }
    }

    fn on_news(&mut self, index: usize, news: News, now: Instant) {
        match news {
            News::Heard(heard) => self.news.push_back(Came::Message(heard.write())),
            News::Connected(flows) => {
                self.flows |= flows && index == 0;
                self.silent_since = (!flows).then_some(now);
            }
            News::Opened => self.send_packets(),
            News::Data(bytes) => {
                let caller = self.people.caller().map(|caller| caller.identity.as_str());
                let packet = DataPacket::decode(bytes).ok();
                let word = packet.and_then(|packet| self.reader.read(packet, caller));
                self.tell(word);
            }
            News::Closed => self.rejoin("the server closed media"),
        }
    }

    fn tell(&mut self, words: impl IntoIterator<Item = FromRoom>) {
        self.news.extend(words.into_iter().map(|word| Came::Message(word.write())));
    }

    fn on_says(&mut self, says: Says) {
        let result = match says {
            Says::Answer(answer) => self.peers[0].on_answer(&answer.sdp),
            Says::Offer(offer) => self.on_offer(&offer),
            Says::Trickle(trickle) => {
                let subscriber = trickle.target() == SignalTarget::Subscriber;
                let index = if subscriber { self.peers.len() - 1 } else { 0 };
                self.peers[index].on_candidate(&trickle.candidate_init);
                Ok(())
            }
            Says::Update(update) => {
                self.update(update.participants);
                Ok(())
            }
            Says::TrackPublished(published) if published.cid == TRACK => {
                self.track = Some(published);
                Ok(())
            }
            Says::MediaSectionsRequirement(wanted) => {
                // Also when it wants no more of them, it wants an offer.
                self.wanted_ears += wanted.num_audios.max(1);
                Ok(())
            }
            Says::Leave(leave) => {
                let why = format!("the server says to leave: {}", leave.reason().as_str_name());
                self.note_servers(&leave);
                match leave.action() {
                    leave_request::Action::Disconnect => self.end(why, true),
                    leave_request::Action::Reconnect => self.rejoin(&why),
                    // It closes signalling, which is resumed.
                    leave_request::Action::Resume => {}
                }
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            self.end(error.to_string(), false);
        }
    }

    fn on_offer(&mut self, offer: &SessionDescription) -> Result<(), MediaError> {
        let Some(subscriber) = self.peers.get_mut(1) else { return Ok(()) };
        let answer = SessionDescription { id: offer.id, ..description("answer", subscriber.on_offer(&offer.sdp)?) };
        self.ask(Asks::Answer(answer));
        Ok(())
    }

    /// Offers what is wanted and not agreed on yet, one offer at a time.
    fn negotiate(&mut self) {
        let speaks = self.track.is_some();
        let publisher = &mut self.peers[0];
        if publisher.awaits_answer() || !(speaks && !publisher.has_voice() || self.wanted_ears > 0 || self.restarts) {
            return;
        }
        let ears = if self.mode == Mode::OneConnection { std::mem::take(&mut self.wanted_ears) } else { 0 };
        let restarts = std::mem::take(&mut self.restarts);
        let (voice, channels) = (speaks && !publisher.has_voice(), !publisher.has_channels());
        self.wanted_ears = 0;
        if restarts {
            publisher.seek(std::time::Instant::now());
            self.ports[0].hang_up();
        }
        let offered = publisher.offer(|changes| {
            if channels {
                changes.open_channels();
            }
            if voice {
                changes.speak(TRACK);
            }
            (0..ears).for_each(|_| changes.hear());
            if restarts {
                changes.restart();
            }
        });
        if let Some(sdp) = offered {
            self.ask(Asks::Offer(description("offer", sdp)));
        }
    }

    fn update(&mut self, mut infos: Vec<ParticipantInfo>) {
        infos.retain(|info| info.identity != self.me.identity);
        if !self.has_rejoined && infos.iter().any(|info| is_back(info, &self.me)) {
            return self.end("an agent that was here before is back".to_owned(), true);
        }
        let changes = self.people.update(infos);
        self.on_changes(changes);
    }

    fn on_changes(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Came => {}
                Change::Left => self.tell([FromRoom::Left]),
                Change::Muted(muted) => self.tell([FromRoom::Muted { muted }]),
                Change::Voice(sid) => {
                    let before = self.voice_track.replace(sid.clone()).filter(|before| *before != sid);
                    before.into_iter().for_each(|before| self.subscribe(before, false));
                    self.subscribe(sid, true);
                }
            }
        }
    }

    fn subscribe(&mut self, sid: String, subscribe: bool) {
        self.ask(Asks::Subscription(UpdateSubscription { track_sids: vec![sid], subscribe, ..Default::default() }));
    }

    /// Signalling is there again: the server is told what there was, and media finds its way anew.
    fn on_resumed(&mut self) {
        let last = &self.peers[self.peers.len() - 1];
        let channels = [("_reliable", 0), ("_lossy", 1)].map(|(label, id)| DataChannelInfo {
            label: label.to_owned(),
            id,
            target: SignalTarget::Publisher.into(),
        });
        let (offer, answer) = (last.offered.clone(), last.answered.clone());
        let state = SyncState {
            offer: (!offer.is_empty()).then(|| description("offer", offer)),
            answer: (!answer.is_empty()).then(|| description("answer", answer)),
            subscription: Some(UpdateSubscription {
                track_sids: self.voice_track.clone().into_iter().collect(),
                subscribe: true,
                ..UpdateSubscription::default()
            }),
            publish_tracks: self.track.clone().into_iter().collect(),
            data_channels: channels.into(),
            ..SyncState::default()
        };
        self.ask(Asks::SyncState(state));
        self.restarts = true;
    }

    fn end(&mut self, why: String, orderly: bool) {
        if self.over.is_none() {
            self.over = Some(why);
            self.news.push_back(Came::Closed { orderly });
            self.news.push_back(Came::Lost);
        }
    }

    fn say(&mut self, says: &ToRoom) {
        match says {
            ToRoom::State { state } => self.show(*state),
            ToRoom::Transcript(piece) => {
                let caller = self.people.caller();
                let names = Names {
                    prefix: &self.me.sid,
                    agent: &self.me.identity,
                    agent_track: self.track.as_ref().and_then(|track| Some(track.track.as_ref()?.sid.as_str())),
                    caller: caller.map(|caller| caller.identity.as_str()),
                    caller_track: self.voice_track.as_deref(),
                };
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
                for mut packet in self.writer.packets(piece, names, now_ms) {
                    packet.sequence = self.next_sequence;
                    packet.participant_sid.clone_from(&self.me.sid);
                    self.next_sequence += 1;
                    if self.packets.len() == MAX_WAITING_PACKETS {
                        self.packets.pop_front();
                    }
                    self.packets.push_back(packet.encode_to_vec().into());
                }
                self.send_packets();
            }
        }
    }

    fn send_packets(&mut self) {
        while let Some(packet) = self.packets.front() {
            if !self.peers[0].send(packet) {
                return;
            }
            self.packets.pop_front();
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Whoever is in the room sees at once that nobody listens any more.
        self.leave();
    }
}

fn description(kind: &str, sdp: String) -> SessionDescription {
    SessionDescription { r#type: kind.to_owned(), sdp, id: 0, mid_to_track_id: Default::default() }
}

impl Socket for Room {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Came> {
        self.turn(cx);
        match self.news.pop_front() {
            Some(came) => Poll::Ready(came),
            None if self.over.is_some() => Poll::Ready(Came::Lost),
            None => Poll::Pending,
        }
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Poll::Ready(if self.over.is_some() { Err(Gone) } else { Ok(()) })
    }

    fn start_send(&mut self, message: Message) -> Result<(), Gone> {
        match message {
            Message::Binary(bytes) => {
                if let Some(spoken) = Spoken::read(&bytes) {
                    self.peers[0].speak(Instant::now().into_std(), &spoken);
                }
            }
            Message::Text(text) => {
                if let Some(says) = ToRoom::read(&text) {
                    self.say(&says);
                }
            }
        }
        self.transmit();
        Ok(())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self) -> Result<(), Gone> {
        // Signalling has pings of its own; a room that is not over is alive.
        self.news.push_back(Came::Alive);
        Ok(())
    }

    fn close(&mut self, _ended: &Ended) -> Result<(), Gone> {
        self.leave();
        self.end("the agent has left".to_owned(), true);
        Ok(())
    }
}
