//! What a worker keeps of its sessions: levels and redaction, evidence of every turn, a log that no exporter can hold up and
//! that a kill leaves whole, and what becomes of the recordings.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rspp::Registry;
use rspp::adapters::recording::{
    DamageKind, ExportLimits, Exporter, LocalFolder, LogSize, Recorded, Recorder, Recording, RecordingFile, Retention,
    Shelf, Store, WorkerLog, missing,
};
use rspp::replay::{Decided, Verdict, replay};
use rspp::specs::event::ProviderResult;
use rspp::specs::ids::Slot;
use rspp::specs::plan::{RecordingLevel, Redaction};
use rspp::specs::recording::RecorderReport;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Effect, Entry, Input, Record, SessionOpen, Signal};
use rspp::trace::trace;

/// What a golden scenario writes, as a session of this name, slot and level.
fn session(scenario: &str, name: &str, slot: u32, level: RecordingLevel) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(scenario).with_extension("yaml");
    let mut records = trace(&path, &Registry::new()).unwrap_or_else(|error| panic!("{error}")).records;
    for record in &mut records {
        record.slot = Slot(slot);
        if let Entry::Input(_, Input::SessionOpen(open)) = &mut record.entry {
            let plan = Arc::clone(&open.plan);
            **open = SessionOpen { recording: Some(level), ..SessionOpen::new(name, plan) };
        }
    }
    records
}

fn opening(records: &[Record]) -> &SessionOpen {
    match &records[0].entry {
        Entry::Input(_, Input::SessionOpen(open)) => open,
        _ => panic!("a timeline begins with its session"),
    }
}

/// What a recording of these records has, and what was taken out of each.
fn recorded(records: &[Record]) -> Vec<Recorded> {
    let mut recorder = Recorder::new(opening(records));
    records.iter().map(|record| recorder.take(record)).collect()
}

fn words(record: &Record) -> Option<&str> {
    match &record.entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Text(text))) => Some(text),
        Entry::Signal(_, Signal::TurnOpen { text, .. } | Signal::Heard { text, .. }) => Some(text),
        _ => None,
    }
}

fn samples(record: &Record) -> Option<&[i16]> {
    match &record.entry {
        Entry::Input(_, Input::CallerAudio(frame)) | Entry::Effect(Effect::Transmit { frame, .. }) => {
            Some(&frame.samples)
        }
        _ => None,
    }
}

#[test]
fn each_level_keeps_what_its_table_says_and_nothing_more() {
    for level in [RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2] {
        let records = session("plain-call", "call-7", 0, level);
        let mut masked = 0;
        for (record, recorded) in records.iter().zip(recorded(&records)) {
            let written = recorded.instead.as_ref().map_or(record, |(instead, _)| instead);
            let how = recorded.instead.as_ref().map_or(Redaction::Allow, |(_, redacted)| redacted.how);
            if let (Some(said), Some(kept)) = (words(record), words(written)) {
                match (level, how) {
                    (RecordingLevel::L2, how) => assert_eq!((said, how), (kept, Redaction::Allow)),
                    (_, Redaction::Mask) => {
                        masked += 1;
                        assert_eq!(said.split_whitespace().count(), kept.split_whitespace().count());
                        assert!(kept.chars().all(|c| !c.is_alphanumeric() || "x0".contains(c)), "{kept}");
                    }
                    _ => assert!(kept.starts_with('#') && how == Redaction::Hash, "{kept}"),
                }
            }
            if let (Some(heard), Some(kept)) = (samples(record), samples(written)) {
                assert_eq!(heard.len(), kept.len(), "the shape stays");
                let is_gone = kept.iter().all(|sample| *sample == 0);
                assert_eq!(level == RecordingLevel::L2, how == Redaction::Allow);
                assert!(level == RecordingLevel::L2 || is_gone);
            }
        }
        assert_eq!(masked > 0, level == RecordingLevel::L1);
    }
}

#[test]
fn the_level_changes_with_its_mark_and_not_before() {
    use RecordingLevel::{L0, L1, L2};
    let records = session("recording-pressure", "call-7", 0, L2);
    let mut level = L2;
    let mut levels = Vec::new();
    for (record, recorded) in records.iter().zip(recorded(&records)) {
        if let Entry::Signal(_, Signal::RecordingLevel { level: now, .. }) = &record.entry {
            level = *now;
            levels.push(level);
        }
        if words(record).is_some() {
            assert_eq!(recorded.instead.is_none(), level == L2, "{record:?}");
        }
    }
    assert_eq!(levels, [L1, L0, L1, L2, L1, L2, L1, L0, L1, L2]);
}

#[test]
fn there_is_evidence_of_every_accepted_turn_at_every_level() {
    for scenario in
        ["plain-call", "interruption", "tool-committed", "recording-pressure", "provider-circuit", "takeover"]
    {
        for level in [RecordingLevel::L0, RecordingLevel::L2] {
            let records = session(scenario, "call-7", 0, level);
            let evidence: Vec<_> = recorded(&records).into_iter().filter_map(|recorded| recorded.evidence).collect();
            let is_close = |record: &&Record| matches!(record.entry, Entry::Signal(_, Signal::Close));
            assert_eq!(evidence.len(), records.iter().filter(is_close).count(), "{scenario}");
            for evidence in &evidence {
                assert_eq!(missing(evidence), Vec::<&str>::new(), "{scenario}: {evidence:?}");
                assert!(!evidence.incomplete && evidence.external_inputs + 1 > 0);
            }
        }
    }
    let records = session("interruption", "call-7", 0, RecordingLevel::L0);
    let evidence: Vec<_> = recorded(&records).into_iter().filter_map(|recorded| recorded.evidence).collect();
    let cancelled = evidence.iter().find_map(|evidence| evidence.cancelled.clone()).expect("one turn is interrupted");
    assert_eq!((&*cancelled.reason, cancelled.accepted_at_us), ("barge_in", cancelled.fenced_at_us));
    assert!(evidence.iter().all(|evidence| !evidence.invocations.is_empty()));
}

/// What a recorder keeps of these records, read back.
fn kept(records: &[Record]) -> Recording {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("kept.rspp");
    let mut file = RecordingFile::create(&path, Recorder::head(opening(records))).expect("the folder is there");
    file.append_as_declared(records).expect("within the limits");
    file.finish().expect("there is room");
    Recording::open(&path).expect("it is whole")
}

#[test]
fn what_was_decided_is_judged_though_nothing_is_kept_of_what_was_said() {
    for scenario in
        ["plain-call", "interruption", "false-interruption", "tool-committed", "provider-switch", "takeover"]
    {
        for level in [RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2] {
            let mut kept = kept(&session(scenario, "call-7", 0, level));
            let decisions = Decided::of(&kept).expect("it begins with its session");
            assert!(decisions.hold(), "{scenario}, {}: {decisions}", level.name());
            assert_eq!(replay(&kept, &Registry::new()).is_err(), level != RecordingLevel::L2, "{scenario}");
            let is_close = |record: &Record| matches!(record.entry, Entry::Signal(_, Signal::Close));
            let close = kept.records.iter().position(is_close).expect("a turn is closed");
            kept.records.remove(close);
            let decisions = Decided::of(&kept).expect("it begins with its session");
            assert!(!decisions.hold(), "{scenario}, {}: nobody misses a close", level.name());
        }
    }
}

// ---- the log of a worker, and what is cut from it -----------------------------------------------------------------

const SMALL: LogSize = LogSize { segment_bytes: 64 << 10, segments: 8, reserve_bytes: 64 << 10, queue_bytes: 64 << 10 };

/// Room for all that four calls say at L2, though nobody reads it.
const ROOMY: LogSize =
    LogSize { segment_bytes: 64 << 10, segments: 64, reserve_bytes: 64 << 10, queue_bytes: 64 << 10 };

/// Sessions that share a worker: their ticks, one after the other in turn, each given to the log as the worker would.
fn interleaved(sessions: &[Vec<Record>]) -> Vec<Vec<Record>> {
    let mut ticks: Vec<Vec<&[Record]>> =
        sessions.iter().map(|records| records.chunk_by(|a, b| a.tick == b.tick).collect()).collect();
    let longest = ticks.iter().map(Vec::len).max().unwrap_or(0);
    let mut all = Vec::new();
    for at in 0..longest {
        let of_all = ticks.iter_mut().filter_map(|ticks| ticks.get(at).copied());
        all.push(of_all.flatten().cloned().collect());
    }
    all
}

fn sessions() -> Vec<Vec<Record>> {
    let of =
        |(slot, scenario): (usize, &&str)| session(scenario, &format!("call-{slot}"), slot as u32, RecordingLevel::L2);
    ["plain-call", "interruption", "tool-committed", "false-interruption"].iter().enumerate().map(of).collect()
}

/// With an end, so that the exporter knows that the call is over.
fn ended(mut records: Vec<Record>) -> Vec<Record> {
    let last = records.last().expect("there are records").clone();
    records.push(Record { tick: last.tick + 1, entry: Entry::Signal(None, Signal::SessionEnded), ..last });
    records
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder can be made") }
    }

    fn of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> WorkerLog {
        self.log_of(SMALL)
    }

    fn log_of(&self, size: LogSize) -> WorkerLog {
        WorkerLog::create(&self.of("log"), 3, size).expect("there is room")
    }

    fn exporter(&self, log: &WorkerLog) -> Exporter {
        let store = LocalFolder::new(self.of("calls")).expect("a folder can be made");
        Exporter::new(log, &self.of("spool"), Box::new(store), ExportLimits::default()).expect("a folder can be made")
    }

    fn kept(&self, name: &str) -> Recording {
        Recording::open(self.of("calls").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

#[test]
fn each_call_is_cut_from_the_log_as_if_it_had_been_alone() {
    let (place, sessions) = (Place::new(), sessions().into_iter().map(ended).collect::<Vec<_>>());
    let mut log = place.log();
    let mut exporter = place.exporter(&log);
    for tick in interleaved(&sessions) {
        log.append(&tick);
        exporter.step(Instant::now());
    }
    log.flush();
    while exporter.step(Instant::now()) {}
    assert_eq!((log.counts().left_out, log.counts().evidence_lost, exporter.counts().damaged), (0, 0, 0));
    for (slot, records) in sessions.iter().enumerate() {
        let kept = place.kept(&format!("call-{slot}.rspp"));
        assert_eq!(kept.records, *records);
        assert!(kept.evidence.iter().all(|evidence| missing(evidence).is_empty()));
        let alone = place.of("alone.rspp");
        let mut file = RecordingFile::create(&alone, Recorder::head(opening(records))).expect("the folder is there");
        file.append_as_declared(records).expect("within the limits");
        file.finish().expect("there is room");
        assert_eq!(Recording::open(&alone).expect("it is whole").evidence, kept.evidence);
    }
    let mut kept = place.kept("call-0.rspp");
    kept.records.pop();
    let replayed = replay(&kept, &Registry::new());
    assert!(matches!(replayed, Ok(Verdict::Identical { .. })), "{replayed:?}");
}

/// Kills a worker after each of its ticks, with an exporter that reads all along, one that lags and one that has done nothing.
#[test]
fn a_worker_that_is_killed_loses_nothing_that_had_an_effect() {
    let sessions = sessions();
    let ticks = interleaved(&sessions);
    for every in [1, 7, usize::MAX] {
        for killed_after in (1..ticks.len()).step_by(41) {
            let place = Place::new();
            let mut log = place.log_of(ROOMY);
            let mut exporter = place.exporter(&log);
            let mut effects = vec![0; sessions.len()];
            for (at, tick) in ticks[..killed_after].iter().enumerate() {
                log.append(tick);
                for (slot, done) in effects.iter_mut().enumerate() {
                    let of_slot = |record: &&Record| record.slot.0 as usize == slot;
                    *done += tick.iter().filter(of_slot).filter(|record| has_effect(record)).count();
                }
                if at % every == 0 {
                    exporter.step(Instant::now());
                }
            }
            assert_eq!(log.counts().left_out, 0, "there is room for all of it");
            std::mem::forget((log, exporter));
            check_recovered(&place, &sessions, &effects);
        }
    }
}

fn has_effect(record: &Record) -> bool {
    matches!(&record.entry, Entry::Effect(effect) if !matches!(effect, Effect::WakeAt { .. }))
}

fn check_recovered(place: &Place, sessions: &[Vec<Record>], effects: &[usize]) {
    let paths = Exporter::recover(&place.of("log"), 3, ROOMY, &place.of("spool")).expect("it can be read");
    // What had no effect may have waited for what has.
    assert!(paths.len() == sessions.len() || effects.iter().all(|effects| *effects == 0));
    for path in paths {
        let (kept, damage) = Recording::open_prefix(&path).expect("the head is there");
        assert_eq!(damage.expect("nobody ended it").what, DamageKind::MissingEnd);
        let slot = kept.records[0].slot.0 as usize;
        assert_eq!(kept.records, sessions[slot][..kept.records.len()]);
        assert_eq!(kept.records.iter().filter(|record| has_effect(record)).count(), effects[slot], "call {slot}");
    }
}

#[test]
fn a_call_that_was_exported_is_not_recovered_again() {
    let (place, records) = (Place::new(), ended(session("plain-call", "call-0", 0, RecordingLevel::L2)));
    let mut log = place.log();
    let mut exporter = place.exporter(&log);
    // Another session keeps its segment from being let go.
    log.append(&session("interruption", "call-1", 1, RecordingLevel::L2)[..4]);
    log.append(&records);
    log.flush();
    while exporter.step(Instant::now()) {}
    assert_eq!(exporter.counts().exported, 1);
    std::mem::forget((log, exporter));
    let recovered = Exporter::recover(&place.of("log"), 3, SMALL, &place.of("spool")).expect("it can be read");
    let names: Vec<_> = recovered.iter().map(|path| path.file_name().expect("a name").to_string_lossy()).collect();
    assert_eq!(names, ["call-1.rspp"]);
}

/// The exporter stands still while calls go on and on.
#[test]
fn a_full_log_keeps_evidence_of_every_turn_and_says_so_in_time() {
    let place = Place::new();
    let mut log = place.log();
    let mut exporter = place.exporter(&log);
    let (mut reports, mut now, mut turns) = (Vec::new(), Micros(0), 0);
    for call in 0..60 {
        let records = ended(session("plain-call", &format!("call-{call}"), 0, RecordingLevel::L2));
        for tick in records.chunk_by(|a, b| a.tick == b.tick) {
            log.append(tick);
            now = now + Micros::from_ms(20);
            reports.extend(log.measure(now));
        }
        turns += 1;
    }
    use RecorderReport::{Overloaded, Strained};
    assert_eq!(reports[..2], [Strained, Overloaded], "{reports:?}");
    let counts = log.counts();
    assert!(counts.left_out > 0, "{counts:?}");
    assert_eq!((counts.evidence, counts.evidence_lost), (turns, 0), "{counts:?}");
    log.flush();
    while exporter.step(Instant::now()) {}
    let (mut whole, mut evidence) = (0, 0);
    for kept in Shelf::new(place.of("calls")).list().expect("it can be read") {
        let recording = Recording::open(&kept.path).expect("it is whole, as far as there was room");
        whole += u64::from(!recording.records.is_empty());
        evidence += recording.evidence.len() as u64;
        assert!(!recording.records.is_empty() || recording.evidence.iter().all(|evidence| evidence.incomplete));
    }
    assert!(whole >= 3 && evidence == turns, "{whole} calls with events, {evidence} turns with evidence");
    log.append(&[]);
    now = now + Micros::from_ms(1_000);
    assert_eq!(log.measure(now), Some(RecorderReport::Relaxed));
}

/// The disk takes nothing while calls go on; who writes to it is somebody else than the worker.
#[test]
fn a_disk_that_stands_still_holds_up_effects_and_not_the_worker() {
    let place = Place::new();
    let mut log = place.log_of(ROOMY);
    let mut writer = log.writer().expect("the files are open");
    let (mut reports, mut now, mut waiting, mut turns) = (Vec::new(), Micros(0), Vec::new(), 0);
    for call in 0..8 {
        let records = ended(session("plain-call", &format!("call-{call}"), 0, RecordingLevel::L2));
        for tick in records.chunk_by(|a, b| a.tick == b.tick) {
            waiting.push((log.append(tick), tick.iter().any(has_effect)));
            now = now + Micros::from_ms(20);
            reports.extend(log.measure(now));
        }
        turns += 1;
    }
    assert!(waiting.iter().all(|(place, has_effect)| !has_effect || !log.is_written(*place)), "no effect may leave");
    let counts = log.counts();
    assert!(counts.left_out > 0 && counts.failed_writes == 0, "what waits is bounded: {counts:?}");
    assert_eq!((counts.evidence, counts.evidence_lost), (turns, 0), "{counts:?}");
    assert!(reports.contains(&RecorderReport::NoEvidence), "what nobody writes is not kept: {reports:?}");
    assert!(writer.step() && !writer.step());
    assert!(waiting.iter().all(|(place, has_effect)| !has_effect || log.is_written(*place)));
    log.measure(now);
    let mut exporter = place.exporter(&log);
    log.flush();
    while writer.step() || exporter.step(Instant::now()) {}
    assert_eq!(exporter.counts().damaged, 0);
    assert_eq!(log.measure(now), Some(RecorderReport::Relaxed));
    let kept = Shelf::new(place.of("calls")).list().expect("it can be read");
    let evidence = kept.iter().map(|kept| Recording::open(&kept.path).expect("it is whole").evidence.len() as u64);
    assert_eq!(evidence.sum::<u64>(), turns);
}

/// A store that refuses so often.
struct Refusing {
    left: Arc<AtomicU32>,
    inner: LocalFolder,
}

impl Store for Refusing {
    fn put(&mut self, name: &str, recording: &Path) -> io::Result<()> {
        let refuses = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok();
        if refuses { Err(io::Error::other("nobody answers")) } else { self.inner.put(name, recording) }
    }
}

#[test]
fn a_store_that_fails_is_tried_again_and_no_more_often_than_it_may() {
    for (refusals, exported, given_up) in [(3, 1, 0), (100, 0, 1)] {
        let place = Place::new();
        let mut log = place.log();
        let store = Refusing {
            left: Arc::new(AtomicU32::new(refusals)),
            inner: LocalFolder::new(place.of("calls")).expect("a folder can be made"),
        };
        let limits = ExportLimits { tries: 5, ..ExportLimits::default() };
        let mut exporter = Exporter::new(&log, &place.of("spool"), Box::new(store), limits).expect("there is room");
        log.append(&ended(session("plain-call", "../up/call 0", 0, RecordingLevel::L0)));
        log.flush();
        let mut now = Instant::now();
        for _ in 0..200 {
            exporter.step(now);
            now += Duration::from_secs(1);
        }
        let counts = exporter.counts();
        assert_eq!((counts.exported, counts.given_up), (exported, given_up));
        assert_eq!(counts.failed_tries, u64::from(refusals.min(5)));
        let left = if exported == 1 { "calls" } else { "spool" };
        let kept = Shelf::new(place.of(left)).list().expect("it can be read");
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(kept[0].session.as_deref(), Some("../up/call 0"), "and its file is in the folder all the same");
    }
}

/// A thousand sessions' worth of ticks, while the store stands still on its own thread.
#[test]
fn a_store_that_stands_still_does_not_hold_up_the_worker() {
    struct Standing(Arc<AtomicBool>);
    impl Store for Standing {
        fn put(&mut self, _: &str, _: &Path) -> io::Result<()> {
            while !self.0.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            Err(io::Error::other("it stood still"))
        }
    }
    let (place, goes_on) = (Place::new(), Arc::new(AtomicBool::new(false)));
    let mut log = place.log();
    let limits = ExportLimits { tries: 1, ..ExportLimits::default() };
    let exporter = Exporter::new(&log, &place.of("spool"), Box::new(Standing(Arc::clone(&goes_on))), limits);
    let thread = exporter.expect("there is room").spawn().expect("a thread can be had");
    for call in 0..40 {
        log.append(&ended(session("plain-call", &format!("call-{call}"), 0, RecordingLevel::L2)));
    }
    // That the worker got here is the point.
    goes_on.store(true, Ordering::Release);
    let counts = thread.stop();
    assert!(counts.given_up > 0 && counts.exported == 0, "{counts:?}");
    assert_eq!(log.counts().evidence, 40);
}

#[test]
fn recordings_go_when_they_are_too_old_or_too_many_or_when_somebody_wants_them_gone() {
    let place = Place::new();
    std::fs::create_dir_all(place.of("calls")).expect("a folder can be made");
    for (name, caller) in [("a", "ann"), ("b", "bob"), ("c", "ann")] {
        let path = place.of("calls").join(name).with_extension("rspp");
        let records = session("plain-call", caller, 0, RecordingLevel::L2);
        let mut file = RecordingFile::create(&path, Recorder::head(opening(&records))).expect("the folder is there");
        file.append(&records).expect("within the limits");
        file.finish().expect("there is room");
    }
    std::fs::write(place.of("calls").join("notes.txt"), "not a recording").expect("it can be written");
    let shelf = Shelf::new(place.of("calls"));
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let overdue = |retention, now| shelf.overdue(retention, now).expect("it can be read").len();
    let by_age = Retention { max_age: Some(day), max_bytes: None };
    assert_eq!((overdue(by_age, now), overdue(by_age, now + 2 * day)), (0, 3));
    let one = shelf.list().expect("it can be read")[0].bytes;
    assert_eq!(overdue(Retention { max_age: None, max_bytes: Some(one * 2) }, now), 1);
    let of_ann = shelf.of_session("ann").expect("it can be read");
    assert_eq!(of_ann.len(), 2);
    of_ann.iter().for_each(|kept| kept.remove().expect("it is ours"));
    let left = shelf.list().expect("it can be read");
    assert_eq!(left.iter().map(|kept| kept.session.as_deref()).collect::<Vec<_>>(), [Some("bob")]);
}
