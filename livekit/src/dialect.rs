//! The dialect of a room: the caller's Opus in, the agent's out, transcripts and the agent's state beside it.
//!
//! Nobody in a room says what was played, or can throw away what was sent: the pacer's playhead stands for what was heard,
//! what was sent is heard, and a cut ends with a decay. What comes over UDP is put in order, and what does not come is
//! concealed, from the copy in the packet behind it where there is one. A pause that the sender makes is told from a loss by
//! the packets' numbers: behind a pause nothing is waited for.

use bytes::Bytes;
use rspp_adapters::audio::{
    Arrival, CALL_RATE_HZ, Digit, Encoding, Jitter, JitterProfile, Next, OpusReader, Outbound, Rechunker, WireFormat,
    opus_samples,
};
use rspp_adapters::doors::rspp::{Story, Told, TurnChange, Who};
use rspp_adapters::telephony::{Keypad, KeypadRules};
use rspp_adapters::transport::{
    Audio, Bind, Bound, Capabilities, Ended, Exchange, Message, Refusal, RefusalCode, Transport,
};
use rspp_specs::ids::TurnId;
use rspp_specs::limits::MAX_TEXT_BYTES;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Entry, Input};

use crate::words::{AgentState, Finality, FromRoom, Heard, RTP_RATE_HZ, Spoken, ToRoom, Transcript, Whose};

/// What an answer is coded at: wide enough for speech that was made at 22 or 24 kHz.
const SPOKEN: WireFormat = WireFormat { encoding: Encoding::Opus, rate_hz: 24_000 };
/// After so long without another frame an answer is over: its last milliseconds are sent.
const ANSWER_ENDS_AFTER: Micros = Micros::from_ms(30);
/// A frame that comes so long after its time begins anew: the clock of the stream goes on with ours.
const PAUSES_AFTER: Micros = Micros::from_ms(100);
/// The level of silence.
const SILENCE: u8 = 127;
/// What is lost is asked for again, and is there within this where the server is near: a gap waits so long, and nothing else does.
const PATIENT: JitterProfile = JitterProfile { min_wait: Micros::from_ms(120), ..JitterProfile::LOSSY };
/// What a codec makes up for a loss fades by itself too slowly for who listens to hear the end of an utterance: behind this it is
/// silence.
const CONCEALED_AT_MOST: Micros = Micros::from_ms(100);
/// Packets that are late one after the other for so long, and come no faster than they were spoken, are of a sender whose clock
/// stood still: a microphone that was off, or a browser that had nothing to play.
const LATE_AT_MOST: Micros = Micros::from_ms(100);
/// A packet that has no more than this says that the sender pauses (DTX).
const PAUSE_BYTES: usize = 2;

/// One room.
pub struct LiveKit {
    label: String,
    bound: bool,
    ear: Ear,
    mouth: Mouth,
    keys: Keypad,
    story: Story,
    minutes: Minutes,
}

impl LiveKit {
    /// A room of this name.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            bound: false,
            ear: Ear::new(),
            mouth: Mouth::new(),
            keys: Keypad::new(KeypadRules::default()),
            story: Story::default(),
            minutes: Minutes::default(),
        }
    }

    fn on_word(&mut self, now: Micros, word: FromRoom, out: &mut Exchange) -> Result<(), Refusal> {
        match word {
            FromRoom::Left => out.leave(),
            FromRoom::Muted { muted } => out.mute(muted),
            _ if !self.bound => return Err(Refusal::mild(RefusalCode::OutOfOrder, "the session is not there yet")),
            FromRoom::Text { text } if text.len() > MAX_TEXT_BYTES => {
                let says = format!("a text has at most {MAX_TEXT_BYTES} bytes");
                return Err(Refusal::mild(RefusalCode::TooLarge, says));
            }
            FromRoom::Text { text } if text.trim().is_empty() => {}
            FromRoom::Text { text } => out.give(Input::UserText(text.into())),
            FromRoom::Key { key } => {
                let says = "a key is one of 0 to 9, * and #";
                let digit = Digit::named(&key).ok_or_else(|| Refusal::mild(RefusalCode::Malformed, says))?;
                give_keyed(self.keys.press(now, digit), out);
            }
        }
        Ok(())
    }
}

fn give_keyed(keyed: Option<String>, out: &mut Exchange) {
    if let Some(keyed) = keyed {
        out.give(Input::UserText(keyed.into()));
    }
}

/// The caller's audio.
struct Ear {
    stream: Option<u32>,
    order: Jitter<Bytes>,
    reader: OpusReader,
    cutter: Rechunker,
    /// The number of the last packet that came in order, and the place behind it.
    last: Option<(u64, u64)>,
    /// How long nothing has been heard, at the rate of RTP; `None` while the sender pauses, and what is missing is silence.
    missing: Option<u64>,
    /// Since when all packets are late, and the place of the first of them.
    late: Option<(Micros, u64)>,
}

impl Ear {
    fn new() -> Self {
        Self {
            stream: None,
            order: Jitter::new(PATIENT, RTP_RATE_HZ),
            reader: OpusReader::new(CALL_RATE_HZ).expect("the call's rate is one of Opus's"),
            cutter: Rechunker::live(CALL_RATE_HZ).expect("the call's rate is one that is supported"),
            last: None,
            missing: Some(0),
            late: None,
        }
    }

    fn take(&mut self, now: Micros, heard: Heard, out: &mut Exchange) -> Result<(), Refusal> {
        let Some(samples) = opus_samples(&heard.packet) else {
            return Err(Refusal::mild(RefusalCode::Malformed, "that is no packet of Opus"));
        };
        if self.stream != Some(heard.stream) {
            *self = Self { stream: Some(heard.stream), ..Self::new() };
        }
        // The sender paused: what lies between is silence that nobody will send.
        if let Some((number, end)) = self.last
            && heard.number == number + 1
            && heard.at > end
        {
            self.order.pause(end, heard.at);
        }
        if self.last.is_none_or(|(number, _)| heard.number > number) {
            self.last = Some((heard.number, heard.at + samples));
        }
        if self.order.insert(now, heard.at, samples, heard.packet.clone()) != Arrival::Late {
            self.late = None;
        } else if self.stood_still(now, heard.at) {
            self.late = None;
            self.order = Jitter::new(PATIENT, RTP_RATE_HZ);
            self.order.insert(now, heard.at, samples, heard.packet);
        }
        self.hear(now, out);
        Ok(())
    }

    /// Whether packets are late because the sender's clock stood still. What a network kept back comes all at once.
    fn stood_still(&mut self, now: Micros, at: u64) -> bool {
        let (since, first) = *self.late.get_or_insert((now, at));
        let spoken = Micros::of_samples(at.saturating_sub(first), RTP_RATE_HZ);
        let passed = now.since(since);
        passed >= LATE_AT_MOST && spoken.0 <= 2 * passed.0
    }

    /// What is in order by now goes in.
    fn hear(&mut self, now: Micros, out: &mut Exchange) {
        let mut samples = Vec::new();
        while let Some(next) = self.order.pull(now) {
            match next {
                Next::Packet(packet) if packet.len() <= PAUSE_BYTES => {
                    self.missing = None;
                    let pauses = opus_samples(&packet).unwrap_or_default();
                    samples.resize(samples.len() + in_call(pauses), 0);
                }
                // What can't be read is a loss like any other.
                Next::Packet(packet) => match self.reader.push(&packet, &mut samples) {
                    Ok(()) => self.missing = Some(0),
                    Err(_) => self.reader.lost(None, &mut samples),
                },
                Next::Lost { samples: lost } => self.conceal(lost, &mut samples),
            }
        }
        let frames = self.cutter.push_pcm(&samples, CALL_RATE_HZ, None).unwrap_or_default();
        frames.into_iter().for_each(|frame| out.give(Input::CallerAudio(frame)));
    }

    /// What is made up for what does not come.
    fn conceal(&mut self, lost: u64, samples: &mut Vec<i16>) {
        let whole = samples.len() + in_call(lost);
        let conceals = self.missing.filter(|missing| *missing < CONCEALED_AT_MOST.to_samples(RTP_RATE_HZ));
        if let Some(missing) = conceals {
            self.reader.lost(self.order.peek().map(|packet| &packet[..]), samples);
            self.missing = Some(missing + lost);
        }
        samples.resize(whole, 0);
    }
}

/// So many samples of RTP's, in the call.
fn in_call(samples: u64) -> usize {
    Micros::of_samples(samples, RTP_RATE_HZ).to_samples(CALL_RATE_HZ) as usize
}

/// The agent's audio.
struct Mouth {
    outbound: Outbound,
    /// The place behind what was sent, at the rate of RTP.
    end: u64,
    level: u8,
    /// When the answer that is being sent is over, if no more of it comes.
    answer_ends_at: Option<Micros>,
}

impl Mouth {
    fn new() -> Self {
        let outbound = Outbound::new(SPOKEN).expect("the rate is one of Opus's");
        Self { outbound, end: 0, level: SILENCE, answer_ends_at: None }
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        self.level = level(&audio.frame.samples);
        // Frames come from the core, whose rates are all within ours.
        let packets = self.outbound.push(&audio.frame).unwrap_or_default();
        packets.into_iter().for_each(|packet| self.send_packet(now, packet, out));
        self.answer_ends_at = Some(now + ANSWER_ENDS_AFTER);
    }

    fn send_packet(&mut self, now: Micros, packet: Bytes, out: &mut Exchange) {
        let due = now.to_samples(RTP_RATE_HZ);
        let begins = self.answer_ends_at.is_none() && due > self.end + PAUSES_AFTER.to_samples(RTP_RATE_HZ);
        let at = if begins { due } else { self.end };
        self.end = at + opus_samples(&packet).unwrap_or_default();
        let Message::Binary(bytes) = (Spoken { at, begins, level: self.level, packet }).write() else { return };
        out.say_bytes(bytes);
    }

    fn finish(&mut self, now: Micros, out: &mut Exchange) {
        let packets = self.outbound.finish();
        packets.into_iter().for_each(|packet| self.send_packet(now, packet, out));
        self.answer_ends_at = None;
    }

    fn cut(&mut self, now: Micros, out: &mut Exchange) {
        if let Some(packet) = self.outbound.cut() {
            self.send_packet(now, packet, out);
        }
        self.answer_ends_at = None;
    }
}

/// How far these samples are below the loudest, in decibels.
fn level(samples: &[i16]) -> u8 {
    let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let root = (power / samples.len().max(1) as f64).sqrt() / f64::from(i16::MAX);
    (-20.0 * root.log10()).clamp(0.0, f64::from(SILENCE)) as u8
}

/// What has been written down of the call.
#[derive(Default)]
struct Minutes {
    /// Streams of text that were opened.
    streams: u64,
    /// Utterances of the caller's that are over.
    utterances: u64,
    /// The turn whose words are being written, and the stream that they are in.
    answer: Option<(u32, u64)>,
    state: Option<AgentState>,
}

impl Minutes {
    fn of(&mut self, told: Told) -> Vec<ToRoom> {
        let mut says = Vec::new();
        match told {
            Told::Caption { who: Who::Caller, text, is_final, .. } => says.push(self.caller_says(text, is_final)),
            Told::Caption { who: Who::Agent, turn, text, .. } => self.agent_says(turn.unwrap_or(0), &text, &mut says),
            Told::Heard { turn, text, cut: true } => {
                self.close(&mut says);
                says.push(self.whole(segment(turn), Whose::Agent, text, Finality::Final));
            }
            Told::Heard { cut: false, .. } => self.close(&mut says),
            Told::Turn { state, .. } => {
                if matches!(state, TurnChange::Committed | TurnChange::Aborted) {
                    self.close(&mut says);
                }
                says.extend(state_at(state).and_then(|state| self.becomes(state)));
            }
            Told::Signal { name: "playback_completed" | "playback_cancelled", .. } => {
                says.extend(self.becomes(AgentState::Listening));
            }
            Told::Speech { .. } | Told::Invocation { .. } | Told::Tool { .. } | Told::Signal { .. } => {}
        }
        says
    }

    fn becomes(&mut self, state: AgentState) -> Option<ToRoom> {
        (self.state.replace(state) != Some(state)).then_some(ToRoom::State { state })
    }

    fn caller_says(&mut self, text: String, is_final: bool) -> ToRoom {
        let segment = format!("caller-{}", self.utterances);
        self.utterances += u64::from(is_final);
        let finality = if is_final { Finality::Final } else { Finality::Interim };
        self.whole(segment, Whose::Caller, text, finality)
    }

    /// Each of the caller's revisions, and what was heard of a turn that was cut, takes the place of what was written before.
    fn whole(&mut self, segment: String, who: Whose, text: String, finality: Finality) -> ToRoom {
        self.streams += 1;
        let stream = self.streams;
        ToRoom::Transcript(Transcript { segment, who, stream, opens: true, text, closes: Some(finality) })
    }

    fn agent_says(&mut self, turn: u32, text: &str, says: &mut Vec<ToRoom>) {
        if self.answer.is_some_and(|(other, _)| other != turn) {
            self.close(says);
        }
        let opens = self.answer.is_none();
        let (_, stream) = *self.answer.get_or_insert_with(|| {
            self.streams += 1;
            (turn, self.streams)
        });
        let text = if opens { text.to_owned() } else { format!(" {text}") };
        let (segment, who) = (segment(turn), Whose::Agent);
        says.push(ToRoom::Transcript(Transcript { segment, who, stream, opens, text, closes: None }));
    }

    fn close(&mut self, says: &mut Vec<ToRoom>) {
        let Some((turn, stream)) = self.answer.take() else { return };
        let (segment, who, closes) = (segment(turn), Whose::Agent, Some(Finality::Final));
        says.push(ToRoom::Transcript(Transcript { segment, who, stream, opens: false, text: String::new(), closes }));
    }
}

fn segment(turn: u32) -> String {
    format!("turn-{turn}")
}

fn state_at(change: TurnChange) -> Option<AgentState> {
    match change {
        TurnChange::Open => Some(AgentState::Thinking),
        TurnChange::Speaking | TurnChange::Resumed => Some(AgentState::Speaking),
        TurnChange::Held | TurnChange::Cancelled | TurnChange::Aborted => Some(AgentState::Listening),
        TurnChange::Committed | TurnChange::Closed => None,
    }
}

impl Transport for LiveKit {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "livekit", acknowledges: false, clears: false, tells: true, streams: true, resumes: false }
    }

    fn on_open(&mut self, _now: Micros, out: &mut Exchange) {
        out.bind(Bind { label: Some(self.label.clone()), ..Bind::default() });
    }

    fn on_bound(&mut self, _now: Micros, _bound: &Bound, out: &mut Exchange) {
        self.bound = true;
        let ready = self.minutes.becomes(AgentState::Listening);
        ready.into_iter().for_each(|says| out.say(says.write()));
    }

    fn on_message(&mut self, now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        match message {
            Message::Text(text) => self.on_word(now, FromRoom::read(&text)?, out),
            Message::Binary(bytes) => {
                let heard = Heard::read(&bytes)?;
                // Before there is a session nobody listens; it takes a moment.
                if self.bound { self.ear.take(now, heard, out) } else { Ok(()) }
            }
        }
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        self.mouth.send(now, audio, out);
    }

    fn fence(&mut self, now: Micros, _turn: TurnId, _epoch: EgressEpoch, out: &mut Exchange) {
        self.mouth.cut(now, out);
    }

    fn tell(&mut self, _at: Micros, entry: &Entry, out: &mut Exchange) {
        for told in self.story.of(entry).into_iter().flatten() {
            self.minutes.of(told).iter().for_each(|says| out.say(says.write()));
        }
    }

    fn next_at(&self) -> Option<Micros> {
        let order = self.ear.order.next_at().filter(|_| self.bound);
        [order, self.mouth.answer_ends_at, self.keys.next_at()].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        give_keyed(self.keys.on_time(now), out);
        self.ear.hear(now, out);
        if self.mouth.answer_ends_at.is_some_and(|at| now >= at) {
            self.mouth.finish(now, out);
        }
    }

    fn refuse(&mut self, _now: Micros, _refusal: &Refusal, _out: &mut Exchange) {
        // What a room says is made by our own side of it; whoever is in it has nothing to hear of that.
    }

    fn on_end(&mut self, _now: Micros, _ended: &Ended, _out: &mut Exchange) {
        // The participant leaves the room, which everybody in it sees.
    }
}

#[cfg(test)]
mod tests;
