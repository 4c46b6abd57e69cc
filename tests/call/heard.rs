//! What the caller must have heard, by the recording alone, against what is in the file, sample by sample.

use std::collections::BTreeMap;

use rspp::specs::event::{AudioFrame, ProviderResult, Request};
use rspp::specs::ids::{InvocationId, TurnId};
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, Entry, Input, Record, Signal};

use super::{Call, RATE_HZ};

/// A cut decays for at most 10 ms.
const DECAY_SAMPLES: usize = RATE_HZ as usize / 100;
/// Audio below it may well be the same in two answers: silence between words is.
const LOUD: u16 = 500;
const FRAME_SAMPLES: usize = RATE_HZ as usize / 50;

/// Checks every sample of the agent's channel, and that of cancelled turns nothing is in it but what was heard.
/// Gives the number of turns that were cancelled while they spoke.
pub(crate) fn check_cancelled_turns(call: &Call) -> usize {
    let recording = call.recorded();
    let (ear, agent) = (Ear::of(&recording.records), call.heard());
    ear.check(&agent);
    let turns = cancelled(&recording.records);
    for turn in &turns {
        check_cancelled(turn, &ear, &agent, &recording.records);
    }
    turns.len()
}

/// The caller's ear: what the effects of a recording leave in it, worked out apart from the transport.
#[derive(Default)]
struct Ear {
    samples: Vec<Option<(TurnId, i16)>>,
    cuts: Vec<usize>,
    plays_until: Micros,
}

impl Ear {
    fn of(records: &[Record]) -> Self {
        let mut ear = Self::default();
        for record in records {
            match &record.entry {
                Entry::Effect(Effect::Transmit { turn, frame, .. }) => ear.play(record.at, *turn, frame),
                Entry::Effect(Effect::ClearTransport { .. }) => ear.cut(record.at),
                _ => {}
            }
        }
        ear
    }

    /// A frame plays behind the one before it, or at once.
    fn play(&mut self, at: Micros, turn: TurnId, frame: &AudioFrame) {
        assert_eq!(frame.rate_hz, RATE_HZ);
        let start = self.plays_until.max(at);
        self.samples.resize(position(start), None);
        self.samples.extend(frame.samples.iter().map(|sample| Some((turn, *sample))));
        self.plays_until = start + frame.duration();
    }

    fn cut(&mut self, at: Micros) {
        self.samples.truncate(position(at));
        self.cuts.push(position(at));
        self.plays_until = at;
    }

    fn check(&self, agent: &[i16]) {
        assert!(self.samples.len() <= agent.len(), "the file ends before the call does");
        for (at, sample) in agent.iter().enumerate() {
            match self.samples.get(at).copied().flatten() {
                Some((turn, expected)) => assert_eq!(*sample, expected, "sample {at}, of turn {turn:?}"),
                None => assert!(sample.unsigned_abs() <= self.decay(at, agent), "sample {at} is {sample}, of no turn"),
            }
        }
    }

    /// How loud it may still be behind a cut.
    fn decay(&self, at: usize, agent: &[i16]) -> u16 {
        let cut = self.cuts.iter().rev().find(|cut| (**cut..**cut + DECAY_SAMPLES).contains(&at));
        cut.and_then(|cut| cut.checked_sub(1)).map_or(0, |last| agent[last].unsigned_abs())
    }

    /// How much was heard of a turn, and where that ended.
    fn heard(&self, wanted: TurnId) -> (usize, usize) {
        let of_turn = |(at, sample): (usize, &Option<(TurnId, i16)>)| sample.filter(|it| it.0 == wanted).map(|_| at);
        let places: Vec<usize> = self.samples.iter().enumerate().filter_map(of_turn).collect();
        (places.len(), places.last().map_or(0, |last| last + 1))
    }
}

fn position(at: Micros) -> usize {
    usize::try_from(at.to_samples(RATE_HZ)).expect("a call is short")
}

/// A turn that was cancelled while it spoke.
struct Cancelled {
    turn: TurnId,
    /// The record at which its cancellation was accepted.
    accepted: usize,
    /// By the ledger.
    heard_samples: u64,
}

fn cancelled(records: &[Record]) -> Vec<Cancelled> {
    let accepted = |turn| {
        let is_it = |record: &Record| match &record.entry {
            Entry::Signal(of, Signal::CancelAccepted { .. }) => *of == Some(turn),
            _ => false,
        };
        records.iter().position(is_it).expect("a playback is cancelled after its turn")
    };
    let of_record = |record: &Record| match record.entry {
        Entry::Signal(Some(turn), Signal::PlaybackCancelled { heard_samples, estimated }) => {
            assert!(!estimated, "this transport says what was heard");
            Some(Cancelled { turn, accepted: accepted(turn), heard_samples })
        }
        _ => None,
    };
    records.iter().filter_map(of_record).collect()
}

fn check_cancelled(cancelled: &Cancelled, ear: &Ear, agent: &[i16], records: &[Record]) {
    let Cancelled { turn, accepted, heard_samples } = cancelled;
    let is_of_turn =
        |record: &&Record| matches!(&record.entry, Entry::Effect(Effect::Transmit { turn: of, .. }) if of == turn);
    assert_eq!(records[*accepted..].iter().find(is_of_turn), None, "{turn:?} speaks after its cancellation");
    let (heard, end) = ear.heard(*turn);
    // By the clock on the wall, a frame may begin and a cut may fall within a sample.
    let rounding = u64::from(records.iter().any(|record| record.at.0 % 1_000 != 0));
    let off = heard_samples.abs_diff(heard as u64);
    assert!(off <= rounding, "the ledger of {turn:?} has {heard_samples} samples, and {heard} were in the ear");
    assert!(end <= position(records[*accepted].at), "{turn:?} is heard after its cancellation");
    let spoken = spoken(*turn, records);
    let unheard: Vec<&[i16]> = spoken[heard..].chunks_exact(FRAME_SAMPLES).filter(|frame| is_loud(frame)).collect();
    assert!(!unheard.is_empty(), "{turn:?} was cut, so something of it was not heard");
    for frame in unheard {
        let found = agent[end..].windows(FRAME_SAMPLES).position(|window| window == frame);
        assert_eq!(found.map(|at| at + end), None, "a frame of {turn:?} that was cancelled is in the output");
    }
}

fn is_loud(frame: &[i16]) -> bool {
    frame.iter().any(|sample| sample.unsigned_abs() >= LOUD)
}

/// All that the voice gave for a turn, whether it came in time or late.
fn spoken(wanted: TurnId, records: &[Record]) -> Vec<i16> {
    let mut open = None;
    let mut audio: BTreeMap<InvocationId, Vec<i16>> = BTreeMap::new();
    for record in records {
        match &record.entry {
            Entry::Signal(turn, Signal::TurnOpen { .. }) => open = *turn,
            Entry::Effect(Effect::Invoke { id, request: Request::Speak { .. }, .. }) if open == Some(wanted) => {
                audio.insert(*id, Vec::new());
            }
            Entry::Input(_, Input::Provider(id, ProviderResult::Audio(frame))) => {
                if let Some(samples) = audio.get_mut(id) {
                    samples.extend_from_slice(&frame.samples);
                }
            }
            _ => {}
        }
    }
    audio.into_values().flatten().collect()
}
