//! One peer connection, over the sans-IO library str0m: whoever has the socket hands in datagrams and the time, and takes
//! datagrams and [`News`] out until nothing more comes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_protocol::SignalTarget;
use serde_json::Value;
use str0m::change::{SdpAnswer, SdpApi, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive, TcpType, Transmit};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use crate::words::{Heard, Spoken};

/// The channel that loses nothing, and the other; servers know them by these names.
const RELIABLE: &str = "_reliable";
const LOSSY: &str = "_lossy";

/// So long media is looked for over UDP alone; and so long where the server has named no port of UDP, and may yet.
const UDP_FIRST: Duration = Duration::from_millis(1_500);
const UDP_NAMED_WITHIN: Duration = Duration::from_millis(200);
/// The server's addresses for TCP that are remembered.
const MAX_STREAMS: usize = 8;

/// What comes out of a peer connection.
#[derive(Debug)]
pub(crate) enum News {
    /// Media flows, or does not any more.
    Connected(bool),
    Heard(Heard),
    /// A message of a data channel.
    Data(Bytes),
    /// The channel for data is open.
    Opened,
    /// It is over.
    Closed,
}

/// Something of media can't be done: the server's description does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{target:?}: {says}")]
pub(crate) struct MediaError {
    target: SignalTarget,
    says: String,
}

/// One connection.
pub(crate) struct Peer {
    rtc: Rtc,
    target: SignalTarget,
    local: SocketAddr,
    /// When it wants to be called.
    due: Instant,
    pending: Option<SdpPendingOffer>,
    /// What was offered last and agreed on, for a server that has lost it.
    pub(crate) offered: String,
    pub(crate) answered: String,
    voice: Option<Mid>,
    ears: Vec<Mid>,
    next_number: u64,
    /// The stream of which what is lost is asked for.
    asking: Option<Ssrc>,
    reliable: Option<ChannelId>,
    is_open: bool,
    transmits: VecDeque<Transmit>,
    news: VecDeque<News>,
    ways: Ways,
}

/// What is known of the ways to the server.
#[derive(Default)]
struct Ways {
    has_udp: bool,
    streams: Vec<SocketAddr>,
    /// Since when a way is looked for and TCP was not tried.
    seeks_since: Option<Instant>,
    /// The one over TCP.
    stream: Option<Candidate>,
}

impl Ways {
    fn add(&mut self, candidate: &Candidate) {
        match (candidate.proto(), candidate.tcptype()) {
            (Protocol::Udp, _) => self.has_udp = true,
            (Protocol::Tcp, Some(TcpType::Passive)) if !self.streams.contains(&candidate.addr()) => {
                self.streams.push(candidate.addr());
                self.streams.truncate(MAX_STREAMS);
            }
            _ => {}
        }
    }

    /// When TCP is tried, if nothing else works by then.
    fn dials_at(&self) -> Option<Instant> {
        let patience = if self.has_udp { UDP_FIRST } else { UDP_NAMED_WITHIN };
        self.seeks_since.filter(|_| !self.streams.is_empty()).map(|since| since + patience)
    }
}

impl Peer {
    pub(crate) fn new(target: SignalTarget, local: SocketAddr, now: Instant) -> Self {
        let mut config = Rtc::builder().clear_codecs().enable_opus(true, false).set_rtp_mode(true);
        // What is lost on the way to us, the server has, and sends again in good time more often than not.
        config.codec_config().iter_mut().for_each(|params| params.set_fb_nack(true));
        let rtc = config.build(now);
        let mut peer = Self {
            rtc,
            target,
            local,
            due: now,
            pending: None,
            offered: String::new(),
            answered: String::new(),
            voice: None,
            ears: Vec::new(),
            next_number: 1,
            asking: None,
            reliable: None,
            is_open: false,
            transmits: VecDeque::new(),
            news: VecDeque::new(),
            ways: Ways { seeks_since: Some(now), ..Ways::default() },
        };
        if let Ok(candidate) = Candidate::host(local, "udp") {
            peer.rtc.add_local_candidate(candidate);
        }
        peer.drain();
        peer
    }

    /// When it wants to be called next.
    pub(crate) fn due(&self) -> Instant {
        self.ways.dials_at().map_or(self.due, |at| at.min(self.due))
    }

    /// The address that a connection of TCP is wanted to, if it is time for that.
    pub(crate) fn next_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        self.ways.dials_at().filter(|at| now >= *at)?;
        self.ways.seeks_since = None;
        self.ways.streams.iter().find(|to| to.is_ipv4() == self.local.is_ipv4()).copied()
    }

    /// The connection of TCP is there.
    pub(crate) fn on_stream(&mut self, local: SocketAddr) {
        let candidate = Candidate::builder().tcp().host(local).tcptype(TcpType::Active).build();
        self.ways.stream = candidate.ok().and_then(|candidate| self.rtc.add_local_candidate(candidate).cloned());
        self.drain();
    }

    /// It is gone: if it was there, another way is looked for.
    pub(crate) fn on_stream_lost(&mut self, now: Instant) {
        if let Some(candidate) = self.ways.stream.take() {
            self.rtc.direct_api().invalidate_candidate(&candidate);
            self.ways.seeks_since = Some(now);
            self.drain();
        }
    }

    /// All ways are looked for anew, with the next offer.
    pub(crate) fn seek(&mut self, now: Instant) {
        self.on_stream_lost(now);
        self.ways.seeks_since = Some(now);
    }

    pub(crate) fn next_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub(crate) fn next_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Whether something was offered and not answered.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether it sends the voice by now.
    pub(crate) fn has_voice(&self) -> bool {
        self.voice.is_some()
    }

    pub(crate) fn has_channels(&self) -> bool {
        self.reliable.is_some()
    }

    /// An offer with what `change` adds.
    pub(crate) fn offer(&mut self, change: impl FnOnce(&mut Changes<'_>)) -> Option<String> {
        let mut changes = Changes { api: self.rtc.sdp_api(), voice: None, ears: Vec::new(), reliable: None };
        // An answer without a track for it switches a section off; it is wanted all the same.
        for ear in &self.ears {
            changes.api.set_direction(*ear, Direction::RecvOnly);
        }
        change(&mut changes);
        let Changes { api, voice, ears, reliable } = changes;
        self.voice = voice.or(self.voice);
        self.ears.extend(ears);
        self.reliable = reliable.or(self.reliable);
        let offered = api.apply().map(|(offer, pending)| {
            self.pending = Some(pending);
            offer.to_sdp_string()
        });
        self.drain();
        if let Some(offered) = &offered {
            self.offered.clone_from(offered);
        }
        offered
    }

    /// The answer to the last offer.
    pub(crate) fn on_answer(&mut self, sdp: &str) -> Result<(), MediaError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| self.error(error))?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| self.error(error))?;
        sdp.clone_into(&mut self.answered);
        self.note_ways(sdp);
        self.drain();
        Ok(())
    }

    /// An offer of the server's: gives the answer.
    pub(crate) fn on_offer(&mut self, sdp: &str) -> Result<String, MediaError> {
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| self.error(error))?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| self.error(error))?;
        self.drain();
        sdp.clone_into(&mut self.offered);
        self.note_ways(sdp);
        self.answered = answer.to_sdp_string();
        Ok(self.answered.clone())
    }

    fn error(&self, error: impl std::fmt::Display) -> MediaError {
        MediaError { target: self.target, says: error.to_string() }
    }

    /// A candidate of the server's, as browsers write it. One that is not understood is one less.
    pub(crate) fn on_candidate(&mut self, init: &str) {
        let Ok(init) = serde_json::from_str::<Value>(init) else { return };
        let text = init["candidate"].as_str().unwrap_or_default();
        if let Ok(candidate) = Candidate::from_sdp_string(text) {
            self.ways.add(&candidate);
            self.rtc.add_remote_candidate(candidate);
            self.drain();
        }
    }

    fn note_ways(&mut self, sdp: &str) {
        let candidates = sdp.lines().filter_map(|line| line.strip_prefix("a="));
        let candidates = candidates.filter(|line| line.starts_with("candidate:"));
        candidates.filter_map(|line| Candidate::from_sdp_string(line).ok()).for_each(|it| self.ways.add(&it));
    }

    /// A packet came, from an address of theirs to one of ours. What is none of this connection's is dropped.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        protocol: Protocol,
        (from, to): (SocketAddr, SocketAddr),
        packet: &[u8],
    ) {
        if let Ok(receive) = Receive::new(protocol, from, to, packet) {
            let input = Input::Receive(now, receive);
            if self.rtc.accepts(&input) {
                self.handle(input);
            }
        }
    }

    pub(crate) fn on_time(&mut self, now: Instant) {
        if now >= self.due {
            self.handle(Input::Timeout(now));
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        if self.rtc.handle_input(input).is_err() {
            self.news.push_back(News::Closed);
        }
        self.drain();
    }

    /// A packet of the voice, at once.
    pub(crate) fn speak(&mut self, now: Instant, spoken: &Spoken) {
        let Some(mid) = self.voice else { return };
        let Some(pt) = self.rtc.media(mid).and_then(|media| media.remote_pts().first().copied()) else { return };
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        let audio_level = Some(-i8::try_from(spoken.level).unwrap_or(i8::MAX));
        let ext_vals = ExtensionValues { audio_level, voice_activity: Some(true), ..ExtensionValues::default() };
        let payload: Arc<[u8]> = spoken.packet.as_ref().into();
        // RTP's clock is 32 bits wide, and goes round.
        let write = RtpWrite::new(pt, self.next_number.into(), spoken.at as u32, now, payload);
        stream.write_rtp(write.marker(spoken.begins).ext_vals(ext_vals));
        self.next_number += 1;
        self.drain();
        // What is written is sent when its time comes, which is now.
        self.handle(Input::Timeout(now));
    }

    /// A message for the channel that loses nothing; whether it was taken.
    pub(crate) fn send(&mut self, message: &[u8]) -> bool {
        let Some(id) = self.reliable.filter(|_| self.is_open) else { return false };
        let taken = self.rtc.channel(id).is_some_and(|mut channel| channel.write(true, message).unwrap_or(false));
        self.drain();
        taken
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Says goodbye to the server, which then need not wait for a silence.
    pub(crate) fn close(&mut self) {
        let _ = self.rtc.close();
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(due)) => {
                    self.due = due;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.transmits.push_back(transmit),
                Ok(Output::Event(event)) => self.on_event(event),
                Err(_) => {
                    self.news.push_back(News::Closed);
                    return;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::IceConnectionStateChange(state) = &event
            && state.is_connected()
        {
            self.ways.seeks_since = None;
        }
        let news = match event {
            Event::Connected => News::Connected(true),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => News::Connected(false),
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                News::Connected(true)
            }
            Event::RtpPacket(packet) if !packet.payload.is_empty() => {
                // A stream without one for what is sent again asks for nothing by itself.
                if self.asking != Some(packet.header.ssrc)
                    && let Some(stream) = self.rtc.direct_api().stream_rx(&packet.header.ssrc)
                {
                    stream.suppress_nack(false);
                    self.asking = Some(packet.header.ssrc);
                }
                News::Heard(heard(&packet))
            }
            Event::ChannelOpen(id, label) => {
                if Some(id) != self.reliable && label != RELIABLE {
                    return;
                }
                self.reliable = self.reliable.or(Some(id));
                self.is_open = true;
                News::Opened
            }
            Event::ChannelData(data) => News::Data(data.data.into()),
            Event::Closed => News::Closed,
            _ => return,
        };
        self.news.push_back(news);
    }
}

fn heard(packet: &RtpPacket) -> Heard {
    Heard {
        stream: *packet.header.ssrc,
        at: packet.time.numer(),
        number: *packet.seq_no,
        packet: Bytes::copy_from_slice(&packet.payload),
    }
}

/// What an offer adds.
pub(crate) struct Changes<'a> {
    api: SdpApi<'a>,
    voice: Option<Mid>,
    ears: Vec<Mid>,
    reliable: Option<ChannelId>,
}

impl Changes<'_> {
    /// A section that others' audio can come in by.
    pub(crate) fn hear(&mut self) {
        self.ears.push(self.api.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None));
    }

    /// The section of the voice, by the name of its track.
    pub(crate) fn speak(&mut self, track: &str) {
        let (stream, track) = (Some(track.to_owned()), Some(track.to_owned()));
        self.voice = Some(self.api.add_media(MediaKind::Audio, Direction::SendOnly, stream, track, None));
    }

    /// The channels for data.
    pub(crate) fn open_channels(&mut self) {
        self.reliable = Some(self.api.add_channel(RELIABLE.to_owned()));
        self.api.add_channel_with_config(str0m::channel::ChannelConfig {
            label: LOSSY.to_owned(),
            ordered: false,
            reliability: str0m::channel::Reliability::MaxRetransmits { retransmits: 0 },
            ..str0m::channel::ChannelConfig::default()
        });
    }

    /// New credentials, so that media finds its way again.
    pub(crate) fn restart(&mut self) {
        self.api.ice_restart(true);
    }
}
