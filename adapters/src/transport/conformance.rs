//! The calls that every transport is put through. A transport's tests hand over its maker and a [`Peer`], which speaks the
//! other side of its dialect, and the suite says by a panic what is not kept.

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::{RuntimeSequence, TurnId};
use rspp_specs::limits::FRAME_MS;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, EgressEpoch, Entry, Input, PlayoutAck, Signal};

use super::{Audio, Bound, Ended, Exchange, Message, Refusal, RefusalCode, Transport};
use crate::audio::{CALL_RATE_HZ, MAX_DECAY_MS};

/// The other side of a dialect.
pub trait Peer {
    /// What it sends before it speaks, from the first message on.
    fn hello(&self) -> Vec<Message>;

    /// 20 ms of its audio: one message, however it sounds.
    fn speech(&self) -> Message;

    /// Its word that all of what it was sent so far is played, if it can give one.
    fn played(&self, sent: &[Message]) -> Vec<Message>;

    /// Its word that it has thrown away what it had, if it can give one, after the transport told it to.
    fn cleared(&self, sent: &[Message]) -> Vec<Message>;

    /// Its goodbye, where that is a message.
    fn goodbye(&self) -> Option<Message>;

    /// What a message of the transport's is to it.
    fn reads(&self, message: &Message) -> Reads;

    /// What no peer should send, apart from what the suite thinks of by itself.
    fn nonsense(&self) -> Vec<Message>;
}

/// What a message is to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// So much audio.
    Audio(Micros),
    /// It has to throw away what it has.
    Clear,
    /// Something else.
    Other,
}

/// Messages that a transport may answer one message with.
const MAX_ANSWERS: usize = 64;
/// What a conversion between rates may keep back.
const SLACK: Micros = Micros::from_ms(10);

/// Puts a transport through all calls.
///
/// # Panics
/// With what is not kept.
pub fn check(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    it_binds_once_and_gives_nothing_before(make, peer);
    speech_comes_in_as_frames_that_the_core_takes(make, peer);
    audio_goes_out_whole(make, peer);
    a_fence_clears_and_sounds_of_nothing(make, peer);
    acknowledgements_count_the_turns_own_samples(make, peer);
    nonsense_is_refused_and_changes_nothing(make, peer);
    what_is_told_is_bounded_and_only_where_it_is_wanted(make, peer);
    it_says_goodbye(make, peer);
}

/// A transport on the stand.
struct Stand<'a> {
    transport: Box<dyn Transport>,
    peer: &'a dyn Peer,
    now: Micros,
    sent: Vec<Message>,
    inputs: Vec<Input>,
    binds: usize,
    is_bound: bool,
    leaves: bool,
}

impl<'a> Stand<'a> {
    fn new(make: &dyn Fn() -> Box<dyn Transport>, peer: &'a dyn Peer) -> Self {
        let (sent, inputs) = (Vec::new(), Vec::new());
        Self { transport: make(), peer, now: Micros(0), sent, inputs, binds: 0, is_bound: false, leaves: false }
    }

    fn bound(make: &dyn Fn() -> Box<dyn Transport>, peer: &'a dyn Peer) -> Self {
        let mut stand = Self::new(make, peer);
        stand.with(|transport, now, out| transport.on_open(now, out));
        for message in peer.hello() {
            stand.hears(message).expect("a proper hello is taken");
            stand.bind();
        }
        stand.bind();
        assert_eq!(stand.binds, 1, "{}: it asks for one session", stand.name());
        stand
    }

    fn bind(&mut self) {
        if self.binds > 0 && !std::mem::replace(&mut self.is_bound, true) {
            let bound = Bound { session: "s".to_owned(), resumed: false, resume: Some("secret".to_owned()) };
            self.with(|transport, now, out| transport.on_bound(now, &bound, out));
        }
    }

    fn name(&self) -> &'static str {
        self.transport.capabilities().name
    }

    fn with<R>(&mut self, work: impl FnOnce(&mut dyn Transport, Micros, &mut Exchange) -> R) -> R {
        let mut out = Exchange::default();
        let result = work(self.transport.as_mut(), self.now, &mut out);
        assert!(out.messages.len() <= MAX_ANSWERS, "{}: {} messages at once", self.name(), out.messages.len());
        self.sent.extend(out.messages);
        self.inputs.extend(out.inputs);
        self.binds += usize::from(out.bind.is_some());
        self.leaves |= out.leaves;
        result
    }

    fn hears(&mut self, message: Message) -> Result<(), Refusal> {
        self.with(|transport, now, out| transport.on_message(now, message, out))
    }

    fn pass(&mut self, time: Micros) {
        let until = self.now + time;
        while let Some(at) = self.transport.next_at().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.with(|transport, now, out| transport.on_time(now, out));
            assert!(self.transport.next_at() != Some(at), "{}: time does not pass for it", self.name());
        }
        self.now = until;
    }

    /// Sends frames of the turn's audio, from this one on.
    fn sends(&mut self, turn: u32, epoch: u32, frames: std::ops::Range<u64>) {
        for number in frames {
            let samples = (CALL_RATE_HZ as u64 * FRAME_MS / 1_000) as usize;
            let frame = AudioFrame { samples: vec![1_000; samples].into(), rate_hz: CALL_RATE_HZ, spoken_by: None };
            let (turn, epoch, from_sample) = (TurnId(turn), EgressEpoch(epoch), number * samples as u64);
            let audio = Audio { turn, epoch, from_sample, frame };
            self.with(|transport, now, out| transport.send(now, &audio, out));
        }
    }

    fn sounded(&self, from: usize) -> Micros {
        self.sent[from..].iter().fold(Micros(0), |sum, message| match self.peer.reads(message) {
            Reads::Audio(length) => sum + length,
            Reads::Clear | Reads::Other => sum,
        })
    }

    fn acks(&self) -> Vec<PlayoutAck> {
        let ack = |input: &Input| match input {
            Input::PlayoutAck(ack) => Some(*ack),
            _ => None,
        };
        self.inputs.iter().filter_map(ack).collect()
    }
}

fn it_binds_once_and_gives_nothing_before(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::new(make, peer);
    let early = stand.hears(peer.speech());
    assert!(stand.inputs.is_empty(), "{}: speech before it is bound went in ({early:?})", stand.name());
    let stand = Stand::bound(make, peer);
    assert!(stand.inputs.iter().all(|input| !matches!(input, Input::SessionEnd | Input::SessionOpen(_))));
}

fn speech_comes_in_as_frames_that_the_core_takes(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    for _ in 0..50 {
        stand.hears(peer.speech()).expect("speech is taken");
        stand.pass(Micros::from_ms(FRAME_MS));
    }
    let mut heard = Micros(0);
    for input in &stand.inputs {
        if let Input::CallerAudio(frame) = input {
            frame.check().expect("a frame keeps to the core's limits");
            assert_eq!(frame.rate_hz, CALL_RATE_HZ, "{}: a session has one rate", stand.name());
            assert!(frame.duration() <= Micros::from_ms(FRAME_MS), "{}: frames are cut", stand.name());
            heard = heard + frame.duration();
        }
    }
    // A jitter buffer may keep some back.
    assert!((800_000..=1_000_000).contains(&heard.0), "{}: of a second {heard} ms came in", stand.name());
}

fn audio_goes_out_whole(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    let before = stand.sent.len();
    for number in 0..50 {
        stand.sends(1, 0, number..number + 1);
        stand.pass(Micros::from_ms(FRAME_MS));
    }
    let sounded = stand.sounded(before);
    let least = Micros::from_ms(1_000).since(SLACK);
    assert!(sounded >= least && sounded <= Micros::from_ms(1_000) + SLACK, "{}: {sounded} ms went out", stand.name());
}

fn a_fence_clears_and_sounds_of_nothing(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    stand.sends(1, 0, 0..5);
    let before = stand.sent.len();
    stand.with(|transport, now, out| transport.fence(now, TurnId(1), EgressEpoch(1), out));
    // Where nothing can be thrown away, a decay ends what was sent.
    let most = if stand.transport.capabilities().clears { Micros(0) } else { Micros::from_ms(MAX_DECAY_MS) };
    assert!(stand.sounded(before) <= most, "{}: a fence sounds", stand.name());
    let clears = stand.sent[before..].iter().filter(|message| peer.reads(message) == Reads::Clear).count();
    assert_eq!(clears > 0, stand.transport.capabilities().clears, "{}: {clears} clears", stand.name());
    // What was kept back for a conversion between rates is of the old turn, and is gone.
    let before = stand.sent.len();
    stand.sends(2, 1, 0..50);
    let sounded = stand.sounded(before);
    assert!(sounded <= Micros::from_ms(1_000) + Micros(100), "{}: {sounded} ms of a second", stand.name());
}

fn acknowledgements_count_the_turns_own_samples(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    if !stand.transport.capabilities().acknowledges {
        stand.sends(1, 0, 0..10);
        stand.pass(Micros::from_ms(1_000));
        assert_eq!(stand.acks(), [], "{}: it acknowledges what nobody said", stand.name());
        return;
    }
    // It goes on behind a rewind: the first second was heard before.
    stand.sends(7, 3, 50..60);
    stand.pass(Micros::from_ms(200));
    for message in peer.played(&stand.sent.clone()) {
        stand.hears(message).expect("an acknowledgement is taken");
    }
    let most = 60 * 320;
    let acks = stand.acks();
    assert!(acks.iter().all(|ack| ack.turn == TurnId(7)), "{}: {acks:?} are of turn 7", stand.name());
    let heard = acks.iter().map(|ack| ack.heard_samples).max();
    let slack = SLACK.to_samples(CALL_RATE_HZ);
    assert!(heard.is_some_and(|heard| heard <= most && heard + slack >= most), "{}: {heard:?}", stand.name());
    stand.sends(7, 3, 60..70);
    stand.with(|transport, now, out| transport.fence(now, TurnId(7), EgressEpoch(4), out));
    for message in peer.cleared(&stand.sent.clone()) {
        stand.hears(message).expect("an acknowledgement is taken");
    }
    let cleared = stand.acks().into_iter().rfind(|ack| ack.occasion == AckOccasion::Cleared);
    let within = cleared.is_some_and(|ack| (50 * 320..=70 * 320).contains(&ack.heard_samples));
    assert!(within, "{}: after a clear it says {cleared:?}", stand.name());
}

fn nonsense_is_refused_and_changes_nothing(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let text = |text: &str| Message::Text(text.to_owned());
    let deep = "[".repeat(10_000);
    let mut nonsense = vec![
        text(""),
        text("{"),
        text("null"),
        text("[]"),
        text("{\"type\":7}"),
        text("{\"type\":\"no such thing\"}"),
        text("{\"event\":\"no such thing\"}"),
        text(&deep),
        text(&"x".repeat(100_000)),
        Message::Binary(vec![0xff; 1].into()),
        Message::Binary(vec![0xff; 33_333].into()),
    ];
    nonsense.extend(peer.nonsense());
    for message in nonsense {
        let mut stand = Stand::bound(make, peer);
        let (before, shown) = (stand.inputs.len(), format!("{message:.60?}"));
        let refused = stand.hears(message);
        let changed = stand.inputs.len() - before;
        assert!(changed == 0, "{}: {shown} went in as {:?}", stand.name(), stand.inputs.last());
        if let Err(refusal) = &refused {
            assert!(!refusal.says.is_empty(), "{}: {shown} is refused without a word", stand.name());
            stand.with(|transport, now, out| transport.refuse(now, refusal, out));
            if !refusal.fatal {
                stand.hears(peer.speech()).expect("the connection goes on");
            }
        }
    }
}

fn what_is_told_is_bounded_and_only_where_it_is_wanted(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    let before = stand.sent.len();
    let entry = |signal| Entry::Signal(Some(TurnId(1)), signal);
    for signal in [Signal::Commit, Signal::Close, Signal::PlaybackStarted] {
        stand.with(|transport, now, out| transport.tell(now, &entry(signal), out));
    }
    let input = Entry::Input(RuntimeSequence(1), Input::UserText("hello".into()));
    stand.with(|transport, now, out| transport.tell(now, &input, out));
    assert_eq!(stand.sounded(before), Micros(0), "{}: words sound", stand.name());
    if !stand.transport.capabilities().tells {
        assert_eq!(stand.sent.len(), before, "{}: it tells, and says that it does not", stand.name());
    }
}

fn it_says_goodbye(make: &dyn Fn() -> Box<dyn Transport>, peer: &dyn Peer) {
    let mut stand = Stand::bound(make, peer);
    if let Some(goodbye) = peer.goodbye() {
        stand.hears(goodbye).expect("a goodbye is taken");
        assert!(stand.leaves, "{}: a goodbye is no end", stand.name());
    }
    let refused = Refusal::fatal(RefusalCode::ShuttingDown, "the server goes down");
    for ended in [Ended::Done, Ended::Lost, Ended::Refused(refused)] {
        let mut stand = Stand::bound(make, peer);
        let before = stand.sent.len();
        stand.with(|transport, now, out| transport.on_end(now, &ended, out));
        assert_eq!(stand.sounded(before), Micros(0), "{}: its last words sound", stand.name());
    }
}
