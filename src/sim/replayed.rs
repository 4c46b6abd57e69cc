//! Records every simulated call, reads the recording back, replays it, and counts what came out otherwise.
//!
//! At L2, every record must come out again, bytes of audio and words included. At L0 the recording has no words and no
//! audio that a detector could hear again; what the replay gives is redacted as the recording was, and then control,
//! decisions, effects and hashes must be the same, record by record. And by itself, with nothing else to go by, what it says
//! was decided must be what the contract has follow from what it says came in.

use std::sync::Arc;

use rspp_adapters::recording::{Recording, RecordingError, RecordingWriter, Redactor, head};
use rspp_adapters::sim::{Ended, Load, Watch, Which};
use rspp_compiler::Registry;
use rspp_engine::View;
use rspp_specs::plan::{Plan, RecordingLevel};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;
use serde::Serialize;

use super::judge::Judge;
use crate::replay::{Decided, ReplayError, replay_all};

/// What came of replaying every call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Calls that were over when the simulation was, recorded and replayed.
    pub calls: u64,
    /// Records that were compared.
    pub records: u64,
    /// Bytes of the recordings with everything.
    pub bytes_l2: u64,
    /// Bytes of the same recordings at L0.
    pub bytes_l0: u64,
    /// Calls that came out otherwise, or could not be read, at L2.
    pub different_l2: u64,
    /// The same at L0.
    pub different_l0: u64,
    /// The first of them.
    pub first_difference: Option<String>,
}

impl Replayed {
    /// Adds what another simulation came to.
    pub fn add(&mut self, other: Replayed) {
        self.calls += other.calls;
        self.records += other.records;
        self.bytes_l2 += other.bytes_l2;
        self.bytes_l0 += other.bytes_l0;
        self.different_l2 += other.different_l2;
        self.different_l0 += other.different_l0;
        self.first_difference = self.first_difference.take().or(other.first_difference);
    }

    /// Calls that came out otherwise.
    pub fn different(&self) -> u64 {
        self.different_l2 + self.different_l0
    }
}

impl std::fmt::Display for Replayed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calls, records, bytes_l2, bytes_l0, different_l2, different_l0, first_difference } = self;
        writeln!(f, "replayed: {calls} calls, {records} records")?;
        writeln!(f, "  L2: {different_l2} calls differ; {:.1} MB", *bytes_l2 as f64 / 1e6)?;
        writeln!(f, "  L0: {different_l0} calls differ; {:.1} MB", *bytes_l0 as f64 / 1e6)?;
        first_difference.iter().try_for_each(|first| writeln!(f, "  first: {first}"))
    }
}

/// Watches as the judge does, and keeps each call to replay it when it is over.
pub(super) struct Replaying {
    judge: Judge,
    registry: Registry,
    calls: Vec<Option<Call>>,
    found: Replayed,
}

/// A call that is being recorded.
struct Call {
    everything: RecordingWriter<Vec<u8>>,
    least: RecordingWriter<Vec<u8>>,
    redactor: Redactor,
    plan: Arc<Plan>,
    session: String,
    failed: Option<String>,
}

impl Replaying {
    pub(super) fn new(judge: Judge, registry: Registry) -> Self {
        Self { judge, registry, calls: Vec::new(), found: Replayed::default() }
    }

    pub(super) fn into_parts(self) -> (Judge, Replayed) {
        (self.judge, self.found)
    }

    pub(super) fn judge(&mut self) -> &mut Judge {
        &mut self.judge
    }

    fn differs(&mut self, which: Which, level: RecordingLevel, what: &str) {
        match level {
            RecordingLevel::L2 => self.found.different_l2 += 1,
            _ => self.found.different_l0 += 1,
        }
        let Which { session, call } = which;
        let tell = || format!("session {session}, call {call}, {}: {what}", level.name());
        self.found.first_difference.get_or_insert_with(tell);
    }

    /// Replays a call that is over.
    fn check(&mut self, which: Which, call: Call) -> Result<(), String> {
        let told = |error: RecordingError| error.to_string();
        let Call { everything, least, plan, session, failed, .. } = call;
        failed.map_or(Ok(()), Err)?;
        let (everything, least) = (everything.finish().map_err(told)?, least.finish().map_err(told)?);
        let recorded = Recording::read(&*everything).map_err(told)?;
        let again = replay_all(&recorded, &self.registry).map_err(|error: ReplayError| error.to_string())?;
        self.found.calls += 1;
        self.found.records += recorded.records.len() as u64;
        self.found.bytes_l2 += everything.len() as u64;
        self.found.bytes_l0 += least.len() as u64;
        if let Some(place) = first_difference(&recorded.records, &again) {
            self.differs(which, RecordingLevel::L2, &tell(place, &recorded.records, &again));
        }
        let mut redactor = at_l0(&session, &plan);
        let again: Vec<Record> = again.iter().map(|record| redacted(&mut redactor, record)).collect();
        let recording = Recording::read(&*least).map_err(told)?;
        let recorded = &recording.records;
        if let Some(place) = first_difference(recorded, &again) {
            self.differs(which, RecordingLevel::L0, &tell(place, recorded, &again));
        } else {
            let decisions = Decided::of(&recording).map_err(|error| error.to_string())?;
            if !decisions.hold() {
                self.differs(which, RecordingLevel::L0, &decisions.to_string());
            }
        }
        Ok(())
    }
}

fn at_l0(session: &str, plan: &Plan) -> Redactor {
    Redactor::new(session, plan.recording().clone(), RecordingLevel::L0)
}

fn redacted(redactor: &mut Redactor, record: &Record) -> Record {
    let Record { slot, tick, at, .. } = *record;
    let entry = redactor.redact(&record.entry).map_or_else(|| record.entry.clone(), |(entry, _)| entry);
    Record { slot, tick, at, entry }
}

/// The first record that is not the same, apart from the slot: that is the worker's business.
fn first_difference(recorded: &[Record], again: &[Record]) -> Option<usize> {
    let same = |(a, b): (&Record, &Record)| a.tick == b.tick && a.at == b.at && a.entry == b.entry;
    let place = recorded.iter().zip(again).position(|pair| !same(pair));
    place.or((recorded.len() != again.len()).then(|| recorded.len().min(again.len())))
}

fn tell(place: usize, recorded: &[Record], again: &[Record]) -> String {
    format!("record {}: recorded {:?}, replayed {:?}", place + 1, recorded.get(place), again.get(place))
}

impl Call {
    fn begin(which: Which, plan: &Arc<Plan>) -> Result<Self, RecordingError> {
        let session = format!("{}.{}", which.session, which.call);
        let writer = || RecordingWriter::new(Vec::new(), head(&session, plan, 0));
        let (everything, least) = (writer()?, writer()?);
        let redactor = at_l0(&session, plan);
        Ok(Self { everything, least, redactor, plan: Arc::clone(plan), session, failed: None })
    }

    fn take(&mut self, records: &[Record]) {
        let mut append = |record: &Record| {
            self.everything.append(record)?;
            self.least.append(&redacted(&mut self.redactor, record))
        };
        if let Some(error) = records.iter().find_map(|record| append(record).err()) {
            self.failed.get_or_insert_with(|| error.to_string());
        }
    }
}

impl Watch for Replaying {
    fn on_begin(&mut self, which: Which, plan: &Arc<Plan>) {
        let place = which.session as usize;
        if self.calls.len() <= place {
            self.calls.resize_with(place + 1, || None);
        }
        self.calls[place] = Call::begin(which, plan).ok();
        self.judge.on_begin(which, plan);
    }

    fn on_tick(&mut self, which: Which, records: &[Record], view: Option<&View>, load: Load) {
        if let Some(Some(call)) = self.calls.get_mut(which.session as usize) {
            call.take(records);
        }
        self.judge.on_tick(which, records, view, load);
    }

    fn on_stuck(&mut self, which: Which, at: Micros, what: &str) {
        self.judge.on_stuck(which, at, what);
    }

    fn on_crowd(&mut self) {
        self.judge.on_crowd();
    }

    fn on_takeover(&mut self, which: Which, records: usize) {
        self.judge.on_takeover(which, records);
    }

    fn on_lost(&mut self, which: Which, at: Micros, what: String) {
        self.judge.on_lost(which, at, what);
    }

    fn on_end(&mut self, which: Which, lasted: Micros, ended: Ended) {
        if let Some(call) = self.calls.get_mut(which.session as usize).and_then(Option::take)
            && let Err(what) = self.check(which, call)
        {
            self.differs(which, RecordingLevel::L2, &what);
        }
        self.judge.on_end(which, lasted, ended);
    }
}
