//! Workers that record: a log that does not keep up makes the sessions of a server record less, by decisions that replay.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rspp::Registry;
use rspp::adapters::admission::{Capacity, Priority};
use rspp::adapters::bridge::outlet::{End, Outbound};
use rspp::adapters::bridge::pool::{Limits, Pool};
use rspp::adapters::bridge::{Bridge, Opening, Pipeline, Session};
use rspp::adapters::notes::Notes;
use rspp::adapters::opener::Opener;
use rspp::adapters::recording::{Archive, ExportLimits, LogSize, Recording, Store, missing};
use rspp::replay::{Verdict, replay_all, verdict};
use rspp::specs::event::AudioFrame;
use rspp::specs::ids::LeaseEpoch;
use rspp::specs::plan::RecordingLevel;
use rspp::specs::recording::LevelCause;
use rspp::specs::timeline::{Entry, Input, Signal};
use rspp::trace::read_plan;

/// How long anything may take until the test fails: far more than it does.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAME: Duration = Duration::from_millis(20);
const LOG: LogSize =
    LogSize { segment_bytes: 128 << 10, segments: 8, reserve_bytes: 128 << 10, queue_bytes: 256 << 10 };

/// A store that takes nothing until nobody holds its other end any more.
struct Standing(Receiver<()>, rspp::adapters::recording::LocalFolder);

impl Store for Standing {
    fn put(&mut self, name: &str, path: &Path) -> std::io::Result<()> {
        let _ = self.0.recv();
        self.1.put(name, path)
    }
}

fn pipeline(folder: &Path) -> Pipeline {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/pipeline.yaml");
    let text = std::fs::read_to_string(spec).expect("it is there");
    let text = text.replace("../../specs", &format!("{}/specs", env!("CARGO_MANIFEST_DIR")));
    let own = folder.join("pipeline.yaml");
    std::fs::write(&own, text + "recording: {level: L2}\n").expect("it can be written");
    let plan = read_plan(&own, &Registry::new()).unwrap_or_else(|error| panic!("{error}"));
    let dialogue = format!("dialogue:{}/specs/examples/restaurant.dialogue.yaml", env!("CARGO_MANIFEST_DIR"));
    let opener = Opener::new(folder, Some(&dialogue)).unwrap_or_else(|error| panic!("{error}"));
    let pool = Pool::open(&plan, opener, Limits::default(), &Notes::default());
    Pipeline { plan, pool: Arc::new(pool.unwrap_or_else(|error| panic!("{error}"))) }
}

fn open(bridge: &Bridge, pipeline: &Pipeline, name: &str) -> Session {
    let opening = Opening {
        session: name.into(),
        fairness_key: "anybody".into(),
        priority: Priority::Interactive,
        epoch: LeaseEpoch::default(),
        pipeline: pipeline.clone(),
        tells: true,
        kept: None,
    };
    bridge.open(opening).expect("there is room")
}

/// What a session says of how it is recorded, until this level; it is given audio all the while.
fn until(session: &Session, wanted: RecordingLevel, feed: bool) -> Vec<(RecordingLevel, LevelCause)> {
    let began = Instant::now();
    let mut said = Vec::new();
    let hum = AudioFrame { samples: vec![3; 320].into(), rate_hz: 16_000, spoken_by: None };
    let mut frames = 0;
    while began.elapsed() < PATIENCE {
        if feed && began.elapsed() >= FRAME * frames {
            frames += 1;
            session.give(Input::CallerAudio(hum.clone())).expect("the worker takes it");
        }
        let Some(outbound) = session.outlet().try_next() else {
            std::thread::yield_now();
            continue;
        };
        if let Outbound::Told(_, Entry::Signal(_, Signal::RecordingLevel { level, cause })) = outbound {
            said.push((level, cause));
            if level == wanted {
                return said;
            }
        }
    }
    panic!("not {} within {PATIENCE:?}: {said:?}", wanted.name());
}

fn ended(session: &Session) {
    let began = Instant::now();
    let _ = session.give(Input::SessionEnd);
    while began.elapsed() < PATIENCE {
        match session.outlet().try_next() {
            Some(Outbound::Ended(_)) => return,
            _ => std::thread::yield_now(),
        }
    }
    panic!("the session does not end");
}

#[test]
fn a_store_that_stands_still_makes_sessions_record_less_and_more_again() {
    use RecordingLevel::{L0, L1, L2};
    let folder = tempfile::tempdir().expect("a folder can be made");
    let calls = folder.path().join("calls");
    let (goes_on, stands) = channel::<()>();
    let archive = Archive::open(&calls).expect("nobody records there");
    let inner = rspp::adapters::recording::LocalFolder::new(&calls).expect("a folder can be made");
    let kept = archive.log_of(0, LOG, Box::new(Standing(stands, inner)), ExportLimits::default());
    let bridge =
        Bridge::recording(vec![kept.expect("there is room")], Capacity::default(), || rspp::core(Registry::new()));
    let bridge = bridge.expect("there are threads");
    let pipeline = pipeline(folder.path());
    // The first call that is over is the one that the store does not take.
    ended(&open(&bridge, &pipeline, "first"));
    let session = open(&bridge, &pipeline, "second");
    let fell = until(&session, L0, true);
    assert_eq!(fell, [(L1, LevelCause::Pressure), (L0, LevelCause::Pressure)]);
    drop(goes_on);
    // With each turn one step back up, once the log keeps up again.
    let mut rose = Vec::new();
    while !rose.contains(&(L2, LevelCause::Relief)) {
        session.give(Input::UserText("what are your opening hours".into())).expect("the worker takes it");
        rose.extend(next_level(&session));
    }
    assert_eq!(rose, [(L1, LevelCause::Relief), (L2, LevelCause::Relief)]);
    ended(&session);
    bridge.stop(PATIENCE);
    archive.close().expect("the logs are ours");
    assert_eq!(std::fs::read_dir(calls.join(".log")).expect("it is there").count(), 1, "the lock alone is left");
    let recording = Recording::open(calls.join("second.rspp")).expect("it is whole");
    assert!(recording.evidence.iter().all(|evidence| missing(evidence).is_empty()), "{:?}", recording.evidence);
    let levels =
        recording.records.iter().filter(|it| matches!(it.entry, Entry::Signal(_, Signal::RecordingLevel { .. })));
    assert_eq!(levels.count(), 4);
    // Nobody's words were taken out but those that entered at less than L2: the rest comes out again.
    let whole = recording.records.iter().take_while(|it| !recording_level(&it.entry)).count();
    let replayed = replay_all(&recording, &Registry::new()).expect("it begins with its session");
    let found = verdict(&recording.records[..whole], &replayed[..whole]);
    assert!(matches!(found, Verdict::Identical { .. }), "{found}");
}

/// A disk that takes nothing for long: what waits for the log never leaves, and the calls that are in none end.
#[test]
fn what_is_in_no_log_never_leaves() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let calls = folder.path().join("calls");
    let archive = Archive::open(&calls).expect("nobody records there");
    let store = rspp::adapters::recording::LocalFolder::new(&calls).expect("a folder can be made");
    let mut kept = archive.log_of(0, LOG, Box::new(store), ExportLimits::default()).expect("there is room");
    let writer = kept.writer().expect("there is another handle");
    let bridge = Bridge::recording(vec![kept], Capacity::default(), || rspp::core(Registry::new()));
    let bridge = bridge.expect("there are threads");
    let pipeline = pipeline(folder.path());
    let session = open(&bridge, &pipeline, "first");
    session.give(Input::UserText("what are your opening hours".into())).expect("the worker takes it");
    assert_eq!(flooded(&session), [Outbound::Ended(End::Unrecorded)], "not a word, not a frame");
    assert_eq!(flooded(&open(&bridge, &pipeline, "second")), [Outbound::Ended(End::NoRoom)]);
    // The disk comes to itself.
    let writer = writer.spawn(|| ()).expect("there is a thread");
    let began = Instant::now();
    let session = loop {
        let session = open(&bridge, &pipeline, "third");
        let first = std::iter::from_fn(|| Some(session.outlet().try_next())).flatten().next();
        if !matches!(first, Some(Outbound::Ended(End::NoRoom))) {
            break session;
        }
        assert!(began.elapsed() < PATIENCE, "it takes calls again");
    };
    ended(&session);
    bridge.stop(PATIENCE);
    writer.stop();
    archive.close().expect("the logs are ours");
    assert!(calls.join("third.rspp").exists());
}

/// All that a session says until it is over, while its caller speaks on.
fn flooded(session: &Session) -> Vec<Outbound> {
    let began = Instant::now();
    let hum = AudioFrame { samples: vec![3; 320].into(), rate_hz: 16_000, spoken_by: None };
    let mut said = Vec::new();
    while began.elapsed() < PATIENCE {
        // A worker that is busy takes it a little later.
        let _ = session.give(Input::CallerAudio(hum.clone()));
        let Some(outbound) = session.outlet().try_next() else { continue };
        let is_over = matches!(outbound, Outbound::Ended(_));
        said.push(outbound);
        if is_over {
            return said;
        }
    }
    panic!("the session does not end within {PATIENCE:?}: {said:?}");
}

fn recording_level(entry: &Entry) -> bool {
    matches!(entry, Entry::Signal(_, Signal::RecordingLevel { .. }))
}

/// The next level that a session says, or none if its turn ends before.
fn next_level(session: &Session) -> Option<(RecordingLevel, LevelCause)> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match session.outlet().try_next() {
            Some(Outbound::Told(_, Entry::Signal(_, Signal::RecordingLevel { level, cause }))) => {
                return Some((level, cause));
            }
            Some(Outbound::Told(_, Entry::Signal(_, Signal::Close))) => return None,
            _ => std::thread::yield_now(),
        }
    }
    panic!("the turn does not end");
}
