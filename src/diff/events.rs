//! A call as the events that a comparison goes by: decisions, results and outputs, without the frames and the numbers
//! that only count.

use std::collections::BTreeMap;

use rspp_specs::event::ProviderResult;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal, TimerKey};
use rspp_specs::trace::{Line, Renderer};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) tick: u64,
    pub(super) at: Micros,
    /// As traces have it.
    pub(super) line: String,
    /// Two events with the same key are the same event, at whatever time.
    pub(super) key: String,
    /// What it is about, without what it says of it.
    pub(super) subject: String,
    /// The key without the provider.
    pub(super) unbound: String,
    pub(super) nature: Nature,
}

/// What an event that only one of two calls has says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Who may write the session.
    Authority,
    /// It happens because time has passed.
    Timed,
    /// Anything else.
    Other,
}

/// Fields that count, or that say when and not what.
const NOT_COMPARED: [&str; 16] = [
    "seq",
    "session",
    "generation",
    "plan",
    "speech_end_ms",
    "watermark_ms",
    "media_start_ms",
    "preroll_frames",
    "waits_since_ms",
    "sequences",
    "from_seq",
    "to_seq",
    "after_ms",
    "heard_samples",
    "queued_ms",
    "from_sample",
];

/// The events of a call.
pub(super) fn events(records: &[Record]) -> Vec<Event> {
    let Some(plan) = crate::replay::plan_of(records) else { return Vec::new() };
    let mut renderer = Renderer::new(plan);
    let mut outputs = outputs(records);
    let mut events = Vec::new();
    for record in records {
        if let Entry::Effect(Effect::Transmit { turn, .. }) = &record.entry {
            // The whole of a turn's output stands where its first frame is sent.
            events.extend(outputs.remove(turn).map(|output| output_event(record, *turn, &output)));
        } else if is_compared(&record.entry) {
            let line = renderer.record(record);
            events.push(Event::new(record, &line));
        }
    }
    events
}

/// Samples of one turn that were sent, and their digest.
#[derive(Default)]
pub(super) struct Output {
    pub(super) samples: u64,
    digest: u32,
}

fn outputs(records: &[Record]) -> BTreeMap<TurnId, Output> {
    let mut outputs: BTreeMap<TurnId, (u64, blake3::Hasher)> = BTreeMap::new();
    for record in records {
        if let Entry::Effect(Effect::Transmit { turn, frame, .. }) = &record.entry {
            let (samples, digest) = outputs.entry(*turn).or_default();
            *samples += frame.samples.len() as u64;
            let bytes: Vec<u8> = frame.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            digest.update(&bytes);
        }
    }
    let digest = |hasher: &blake3::Hasher| {
        hasher.finalize().as_bytes()[..4].iter().fold(0, |digest, byte| digest << 8 | u32::from(*byte))
    };
    outputs.into_iter().map(|(turn, (samples, it))| (turn, Output { samples, digest: digest(&it) })).collect()
}

fn output_event(record: &Record, turn: TurnId, output: &Output) -> Event {
    let Output { samples, digest } = output;
    let line =
        format!("{} {} effect D output turn={turn} samples={samples} digest={digest:08x}", record.at, record.tick);
    let (subject, key) = (format!("output {turn}"), format!("output {turn} {digest:08x}"));
    Event { tick: record.tick, at: record.at, line, unbound: key.clone(), key, subject, nature: Nature::Other }
}

impl Event {
    fn new(record: &Record, line: &Line) -> Self {
        let (mut key, mut unbound) = (line.name.to_string(), line.name.to_string());
        let mut subject = line.name.to_string();
        for (name, value) in line.fields.iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_ref())) {
            // An invocation's number counts how many there were before; what it is of is told by its kind.
            let shown = value.invocation().map_or_else(|| value.to_string(), |(kind, _)| kind.to_owned());
            let part = format!(" {name}={shown}");
            key += &part;
            if name != "binding" {
                unbound += &part;
            }
            if value.invocation().is_some() || value.turn().is_some() {
                subject += &part;
            }
        }
        let nature = nature(&record.entry);
        Self { tick: record.tick, at: record.at, line: line.to_string(), key, subject, unbound, nature }
    }
}

fn is_compared(entry: &Entry) -> bool {
    match entry {
        Entry::Input(_, input) => !matches!(
            input,
            Input::CallerAudio(_)
                | Input::PlayoutAck(_)
                // What the clock on the wall said when.
                | Input::WallClock(_)
                | Input::Provider(_, ProviderResult::Audio(_) | ProviderResult::WordEnds(_))
                | Input::Timer(TimerKey::Node(_) | TimerKey::PlayoutAckWait(_) | TimerKey::Buffers(_))
        ),
        Entry::Signal(_, signal) => !matches!(signal, Signal::LateAfterCancel { .. } | Signal::OutputFenced { .. }),
        Entry::Effect(effect) => matches!(
            effect,
            Effect::Invoke { .. }
                | Effect::FeedEnd { .. }
                | Effect::CancelInvocation { .. }
                | Effect::EndInvocation { .. }
        ),
    }
}

fn nature(entry: &Entry) -> Nature {
    match entry {
        Entry::Input(
            _,
            Input::AuthorityRevoked | Input::LeaseRotated(_) | Input::StaleEpoch { .. } | Input::Takeover(_),
        ) => Nature::Authority,
        Entry::Signal(_, signal) => match signal {
            Signal::StaleEpochReject { .. }
            | Signal::DeauthorizedDrain
            | Signal::LeaseMoved { .. }
            | Signal::MigrationStart { .. }
            | Signal::MigrationFinish { .. }
            | Signal::SessionHandoff { .. } => Nature::Authority,
            Signal::Abort { reason } if reason.name() == "authority_loss" => Nature::Authority,
            Signal::ProviderBudget { .. } | Signal::TurnBudgetSpent { .. } | Signal::CancelIgnored { .. } => {
                Nature::Timed
            }
            _ => Nature::Other,
        },
        Entry::Input(_, Input::Timer(_)) => Nature::Timed,
        Entry::Input(..) | Entry::Effect(_) => Nature::Other,
    }
}
