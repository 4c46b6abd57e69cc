//! What the control plane does with a fleet: sessions placed, workers lost and late, rollouts, quotas, and the log of all of it.

mod house;

use std::collections::BTreeMap;

use house::{Clock, beat, body, open_house, plane, register, roll, route};
use rspp_controlplane::admission::Quota;
use rspp_controlplane::plane::{Caller, Plane};
use rspp_controlplane::refusal::Code;
use rspp_controlplane::rollout::Step;
use rspp_controlplane::session::State;
use rspp_controlplane::store::{Bounds, Mode, Sqlite, Store};
use rspp_controlplane::wire::{Heartbeat, RerouteRequest, Route, SessionReport, TenantQuota};

/// A control plane in a folder of its own.
fn fleet(workers: &[&str], capacity: u64) -> (tempfile::TempDir, Clock, Plane) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let clock = Clock::default();
    let plane = plane(&folder.path().join("store"), &clock);
    open_house(&plane, workers, capacity);
    (folder, clock, plane)
}

fn ask_again(plane: &Plane, route: &Route, secret: &str) -> Result<Route, rspp_controlplane::refusal::Refusal> {
    let (tenant, session) = (route.tenant.clone(), route.session.clone());
    plane.reroute(&RerouteRequest { tenant, session, secret: secret.into() })
}

fn report(route: &Route, state: State) -> SessionReport {
    SessionReport { tenant: route.tenant.clone(), session: route.session.clone(), epoch: route.epoch, state }
}

#[test]
fn a_lost_worker_s_session_goes_to_another_under_a_higher_epoch_and_the_late_one_is_refused() {
    let (_folder, clock, plane) = fleet(&["a", "b"], 10);
    let first = route(&plane, "call").expect("there is room");
    let secret = first.secret.clone().expect("it is new");
    let other = if first.worker == "a" { "b" } else { "a" };
    let here = ask_again(&plane, &first, &secret).expect("its worker is alive");
    assert_eq!((here.epoch, here.moved), (first.epoch, false));
    for _ in 0..10 {
        clock.pass(300);
        plane.heartbeat(other, &beat(1)).expect("it is alive");
    }
    assert_eq!(plane.bury_the_dead().expect("it can be written"), [first.worker.as_str()]);
    let there = ask_again(&plane, &first, &secret).expect("the other one has room");
    assert_eq!((there.worker.as_str(), there.moved), (other, true));
    assert!(there.epoch > first.epoch);
    let late = plane.heartbeat(&first.worker, &beat(1)).expect_err("it was buried");
    assert_eq!(late.code, Code::Stale);
    assert_eq!(plane.tell_session(&report(&first, State::Running)).expect_err("it lost it").code, Code::Stale);
    plane.tell_session(&report(&there, State::Running)).expect("it has it");
    let beat = Heartbeat { sessions: vec![report(&first, State::Ended)], ..beat(1) };
    let pulse = plane.heartbeat(other, &beat).expect("it is alive");
    assert_eq!(pulse.stale, [report(&first, State::Ended)], "nor may another speak for it");
    let story = plane.session("acme", "call").expect("it is there");
    assert_eq!(story.session.state, State::Running);
    let workers: Vec<&str> = story.journey.iter().map(|stop| stop.worker.as_str()).collect();
    assert_eq!(workers, [first.worker.as_str(), other]);
}

#[test]
fn a_control_plane_that_was_away_takes_nobody_for_dead_before_it_has_listened() {
    let (folder, clock, before) = fleet(&["a"], 10);
    drop(before);
    clock.pass(60_000);
    let plane = plane(&folder.path().join("store"), &clock);
    assert!(plane.bury_the_dead().expect("it can be read").is_empty());
    clock.pass(1_000);
    plane.heartbeat("a", &beat(1)).expect("its lease was never acted upon");
    clock.pass(1_000);
    assert!(plane.bury_the_dead().expect("it can be read").is_empty());
    clock.pass(5_000);
    assert_eq!(plane.bury_the_dead().expect("it can be written"), ["a"]);
}

#[test]
fn a_session_that_was_given_up_moves_while_its_worker_lives() {
    let (_folder, _clock, plane) = fleet(&["a", "b"], 10);
    let first = route(&plane, "call").expect("there is room");
    let secret = first.secret.clone().expect("it is new");
    plane.drain(&Caller::own(), &first.worker).expect("it has a lease");
    assert!(
        !ask_again(&plane, &first, &secret).expect("it is with its worker").moved,
        "draining moves nothing by itself"
    );
    plane.tell_session(&report(&first, State::Released)).expect("it has it");
    let there = ask_again(&plane, &first, &secret).expect("the other one has room");
    assert!(there.moved && there.worker != first.worker && there.epoch > first.epoch);
    plane.tell_session(&report(&there, State::Ended)).expect("it has it");
    assert_eq!(ask_again(&plane, &first, &secret).expect_err("it is over").code, Code::NotFound);
    assert_eq!(route(&plane, "call").expect_err("its name was used").code, Code::Conflict);
}

#[test]
fn a_canary_takes_its_share_the_same_each_time_and_a_rollback_is_one_step() {
    let (_folder, _clock, plane) = fleet(&["a"], 100_000);
    let digest = plane.publish(&Caller::own(), &body("PipelineSpec assistant 2")).expect("it is fine").artifact.digest;
    roll(&plane, Step::Begin { digest: digest.clone(), percent: 10.0, tenants: vec![] }).expect("it is published");
    let view = plane.view().expect("it can be read");
    let before = view.version;
    let share = (0..1_000).filter(|number| {
        let route = route(&plane, &format!("call-{number}")).expect("there is room");
        route.digest == digest
    });
    let share = share.count();
    assert!((70..=130).contains(&share), "{share} of a thousand");
    roll(&plane, Step::Rollback).expect("there is something to go back from");
    let view = plane.view().expect("it can be read");
    assert!(view.version > before, "workers are told");
    assert!((1_000..1_100).all(|number| route(&plane, &format!("call-{number}")).is_ok_and(|it| it.digest != digest)));
    let unknown = Step::Begin { digest: "none".into(), percent: 1.0, tenants: vec![] };
    assert_eq!(roll(&plane, unknown).expect_err("it is not published").code, Code::NotFound);
}

#[test]
fn policies_and_pipelines_go_each_their_own_way() {
    let (_folder, _clock, plane) = fleet(&["a"], 10);
    let who = Caller::own();
    let step = |kind: &str, name: &str, version: u32| {
        let artifact = plane.publish(&who, &body(&format!("{kind} {name} {version}"))).expect("it is fine").artifact;
        let step = Step::Begin { digest: artifact.digest.clone(), percent: 100.0, tenants: vec![] };
        let request = rspp_controlplane::wire::RolloutStep { kind: kind.into(), name: name.into(), step };
        plane.roll_out(&who, &request).expect("it is published");
        artifact.digest
    };
    let policy = step("PolicyOverlay", "voice", 1);
    let layer = step("ConfigLayer", "providers", 1);
    let stable: BTreeMap<String, String> = plane
        .rollouts()
        .expect("it can be read")
        .rollouts
        .into_iter()
        .map(|revision| (revision.name, revision.rollout.stable))
        .collect();
    assert_eq!((&stable["voice"], &stable["providers"]), (&policy, &layer));
    assert_eq!(stable.len(), 3);
}

#[test]
fn a_version_is_published_once_and_never_changes() {
    let (_folder, _clock, plane) = fleet(&[], 0);
    let who = Caller::own();
    let again = plane.publish(&who, &body("PipelineSpec assistant 1")).expect("it is the very same");
    assert!(!again.is_new);
    let other = plane.publish(&who, &body("PipelineSpec assistant 1 other")).expect_err("its version is taken");
    assert_eq!(other.code, Code::Conflict);
    assert!(other.says.contains("give this one a new version"), "{other}");
    let wrong = plane.publish(&who, &body("nonsense")).expect_err("it is wrong");
    assert_eq!(wrong.code, Code::Invalid);
}

#[test]
fn customers_keep_to_their_quota_and_not_to_their_neighbour_s() {
    let (_folder, clock, plane) = fleet(&["a"], 100);
    let quota = Quota { sessions: 2, per_minute: 60 };
    plane.set_quota(&Caller::own(), &TenantQuota { tenant: "acme".into(), quota }).expect("it may");
    let first = route(&plane, "1").expect("there is room");
    route(&plane, "2").expect("there is room");
    let deferred = route(&plane, "3").expect_err("two are all that it may have");
    assert_eq!(deferred.code, Code::Deferred);
    assert!(deferred.retry_after_ms.is_some());
    plane.tell_session(&report(&first, State::Ended)).expect("it has it");
    clock.pass(1_000);
    route(&plane, "3").expect("one is over");
    let workers = plane.workers().expect("it can be read").workers;
    assert_eq!(workers[0].sessions, 2);
}

#[test]
fn an_audit_log_that_somebody_changed_is_found_and_the_first_bad_entry_named() {
    let (folder, _clock, plane) = fleet(&["a", "b"], 10);
    let whole = plane.verify_audit(None).expect("it can be read");
    assert!(whole.intact && whole.entries >= 4, "{whole:?}");
    assert!(plane.verify_audit(Some(&whole.head)).expect("it can be read").intact);
    let store = Sqlite::open(&folder.path().join("store"), Bounds::default()).expect("it can be opened");
    let tamper = |sql: &'static str| {
        store.transact(Mode::Write, &mut |rows| Ok(rows.execute(sql, &[]).map(drop)?)).expect("it can be written");
        let verdict = plane.verify_audit(Some(&whole.head)).expect("it can be read");
        (verdict.first_bad, verdict.says.unwrap_or_default())
    };
    let (first_bad, says) = tamper("UPDATE audit SET actor = 'somebody' WHERE number = 3");
    assert_eq!(first_bad, Some(3), "{says}");
    assert!(says.contains("entry 3"), "{says}");
    let (first_bad, _) = tamper("DELETE FROM audit WHERE number = 2");
    assert_eq!(first_bad, Some(2));
    let (first_bad, says) = tamper("DELETE FROM audit");
    assert_eq!(first_bad, Some(1), "{says}");
}

#[test]
fn whoever_changes_something_stands_in_the_log_and_so_does_who_reads_it() {
    let (_folder, _clock, plane) = fleet(&["a"], 10);
    register(&plane, "b", 1);
    plane.revoke(&Caller::own(), "b").expect("it has a lease");
    plane.audit_log(&Caller::own(), 0).expect("it may");
    let log = plane.audit_log(&Caller::own(), 0).expect("it may");
    let actions: Vec<&str> = log.entries.iter().map(|entry| entry.action.as_str()).collect();
    let expected = ["publish", "rollout", "worker.register", "worker.register", "worker.revoke", "audit.read"];
    assert_eq!(actions, expected);
}
