//! The store when things go wrong: locked, full, its process killed in the middle of a transaction, two control planes at once.
//! What was answered for is there, what was not is not, and epochs only ever rise.

mod house;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use house::{Clock, body, open_house, over, plane, register, route};
use rspp_controlplane::plane::Caller;
use rspp_controlplane::refusal::Code;
use rspp_controlplane::store::{Bounds, Mode, Sqlite, Store, StoreError, within};
use rspp_controlplane::wire::RerouteRequest;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is a folder for temporary files")
}

#[test]
fn a_locked_store_refuses_in_time_and_goes_on_when_it_is_free() {
    let (folder, clock) = (folder(), Clock::default());
    let path = folder.path().join("store");
    let bounds = Bounds { patience: Duration::from_millis(20), max_pages: None };
    let other = Sqlite::open(&path, bounds).expect("it can be opened");
    let plane = over(Box::new(Sqlite::open(&path, bounds).expect("so can it again")), &clock);
    other
        .transact(Mode::Write, &mut |_| {
            let refused = plane.publish(&Caller::own(), &body("PipelineSpec a 1")).expect_err("another one has it");
            assert_eq!(refused.code, Code::Unavailable);
            assert!(refused.retry_after_ms.is_some(), "it says when to come again: {refused:?}");
            assert!(plane.artifacts().expect("looking is possible").artifacts.is_empty());
            Ok(())
        })
        .expect("nothing was done");
    assert!(plane.publish(&Caller::own(), &body("PipelineSpec a 1")).expect("it is free").is_new);
}

#[test]
fn a_full_disk_loses_nothing_that_was_published() {
    let (folder, clock) = (folder(), Clock::default());
    let path = folder.path().join("store");
    let bounds = Bounds { max_pages: Some(200), ..Bounds::default() };
    let full = over(Box::new(Sqlite::open(&path, bounds).expect("it can be opened")), &clock);
    let mut published = Vec::new();
    let refused = (1..500).find_map(|version| {
        let text = format!("PipelineSpec a {version} {}", "x".repeat(20_000));
        match full.publish(&Caller::own(), &body(&text)) {
            Ok(answer) => {
                published.push(answer.artifact.digest);
                None
            }
            Err(refusal) => Some(refusal),
        }
    });
    let refused = refused.expect("200 pages are not enough for 500 documents");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.says.contains("no room"), "{refused}");
    assert!(published.len() > 10, "only {} had room", published.len());
    drop(full);
    let again = plane(&path, &clock);
    for digest in &published {
        again.document(digest).expect("what was answered for is there");
    }
    assert_eq!(again.artifacts().expect("it can be read").artifacts.len(), published.len());
    assert!(again.verify_audit(None).expect("it can be read").intact);
    assert!(again.publish(&Caller::own(), &body("PipelineSpec a 900")).expect("there is room again").is_new);
}

/// What the child of the next test does: it publishes, says what was answered for, and stops for ever in the middle of a
/// transaction.
#[test]
#[ignore = "a child process of another test"]
fn child_that_stops_in_the_middle() {
    let Ok(path) = std::env::var("STORE_OF_CHILD") else { return };
    let child = plane(Path::new(&path), &Clock::default());
    for version in 1..=20 {
        let text = format!("PipelineSpec a {version}");
        let digest = child.publish(&Caller::own(), &body(&text)).expect("it is fine").artifact.digest;
        eprintln!("published {digest}");
    }
    let store = Sqlite::open(Path::new(&path), Bounds::default()).expect("it can be opened");
    let _ = store.transact(Mode::Write, &mut |rows| {
        let sql = "INSERT INTO counters (name, value) VALUES ('half', 1)";
        rows.execute(sql, &[])?;
        let sql = "UPDATE artifacts SET published_by = 'half'";
        rows.execute(sql, &[])?;
        eprintln!("in the middle");
        // Until the parent kills it, or is gone.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::abort();
    });
}

#[test]
fn killed_in_the_middle_of_a_transaction_nothing_of_it_is_there_and_all_before_is() {
    let folder = folder();
    let path = folder.path().join("store");
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["--ignored", "--exact", "child_that_stops_in_the_middle", "--nocapture"])
        .env("STORE_OF_CHILD", &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started again");
    let mut published = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("it was asked for")).lines() {
        let line = line.expect("it writes text");
        match line.strip_prefix("published ") {
            Some(digest) => published.push(digest.to_owned()),
            None if line.ends_with("in the middle") => break,
            None => {}
        }
    }
    child.kill().expect("it runs");
    child.wait().expect("it was started here");
    assert_eq!(published.len(), 20);
    let again = plane(&path, &Clock::default());
    for digest in &published {
        let document = again.document(digest).expect("what was answered for is there");
        assert_ne!(document.artifact.published_by, "half");
    }
    let store = Sqlite::open(&path, Bounds::default()).expect("it can be opened");
    let half = within(&store, Mode::Read, |rows| Ok(rows.query("SELECT 1 FROM counters WHERE name = 'half'", &[])?));
    assert!(half.expect("it can be read").is_empty());
    assert!(again.verify_audit(None).expect("it can be read").intact);
    assert!(again.publish(&Caller::own(), &body("PipelineSpec a 21")).expect("the lock died with it").is_new);
}

/// Two control planes on one store, asked for the same lost session at the same time, many times over.
#[test]
fn two_control_planes_race_for_a_session_and_one_wins_each_time() {
    let (folder, clock) = (folder(), Clock::default());
    let path = folder.path().join("store");
    let planes = [plane(&path, &clock), plane(&path, &clock)];
    open_house(&planes[0], &["a", "b", "c"], 100);
    planes[1].refresh().expect("it can be read");
    let first = route(&planes[0], "call").expect("there is room");
    let ask = RerouteRequest {
        tenant: "acme".into(),
        session: "call".into(),
        secret: first.secret.clone().expect("it is new"),
    };
    let (mut epoch, mut holder) = (first.epoch, first.worker);
    for round in 0..20 {
        planes[round % 2].revoke(&Caller::own(), &holder).expect("it has a lease");
        let (barrier, answers) = (Barrier::new(2), Mutex::new(Vec::new()));
        std::thread::scope(|threads| {
            for one in &planes {
                threads.spawn(|| {
                    barrier.wait();
                    let answer = one.reroute(&ask);
                    answers.lock().expect("nobody panics with it").push(answer);
                });
            }
        });
        let answers = answers.into_inner().expect("nobody panics with it");
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("there is room")).collect();
        let ends: BTreeSet<(u64, &str)> = answers.iter().map(|answer| (answer.epoch, answer.worker.as_str())).collect();
        assert_eq!(ends.len(), 1, "both say the same: {answers:?}");
        assert!(answers[0].epoch > epoch, "epochs only rise");
        (epoch, holder) = (answers[0].epoch, answers[0].worker.clone());
        for name in ["a", "b", "c"] {
            register(&planes[round % 2], name, 100);
        }
        // A worker that registers anew has lost what it held: the next round gives it away again.
        planes[(round + 1) % 2].refresh().expect("it can be read");
    }
    let story = planes[0].session("acme", "call").expect("it is there");
    let epochs: Vec<u64> = story.journey.iter().map(|stop| stop.epoch).collect();
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    assert!(planes[1].verify_audit(None).expect("it can be read").intact);
}

#[test]
fn many_callers_at_two_control_planes_get_each_an_epoch_of_its_own_and_no_worker_is_overfilled() {
    let (folder, clock) = (folder(), Clock::default());
    let path = folder.path().join("store");
    let planes = [plane(&path, &clock), plane(&path, &clock)];
    open_house(&planes[0], &["a", "b"], 20);
    planes[1].refresh().expect("it can be read");
    let epochs = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for (which, one) in planes.iter().enumerate() {
            let epochs = &epochs;
            threads.spawn(move || {
                for number in 0..30 {
                    if let Ok(route) = route(one, &format!("call-{which}-{number}")) {
                        epochs.lock().expect("nobody panics with it").push(route.epoch);
                    }
                }
            });
        }
    });
    let epochs = epochs.into_inner().expect("nobody panics with it");
    assert_eq!(epochs.len(), 40, "there is room for as many");
    assert_eq!(epochs.iter().collect::<BTreeSet<_>>().len(), 40, "each is given once");
    let workers = planes[0].workers().expect("it can be read").workers;
    assert!(workers.iter().all(|worker| worker.sessions == 20), "{workers:?}");
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("store");
    drop(plane(&path, &Clock::default()));
    let connection = rusqlite::Connection::open(&path).expect("it is there");
    connection.pragma_update(None, "user_version", 99).expect("it can be written");
    let opened = Sqlite::open(&path, Bounds::default());
    assert!(matches!(opened.err(), Some(StoreError::Damaged(says)) if says.contains("newer")));
}
