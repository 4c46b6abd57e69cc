//! A session goes on with another worker, from its log: whatever tick the first one is lost in, the second comes to stand where
//! it stood, and calls that died are made again.

use std::path::Path;
use std::sync::Arc;

use rspp::adapters::failover::take_over;
use rspp::adapters::scenario::Scenario;
use rspp::specs::ids::{InvocationId, LeaseEpoch};
use rspp::specs::plan::Plan;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, Signal, Takeover};
use rspp::{Batch, Registry, compile, core};

/// The whole log of a golden scenario, and its plan.
fn log(name: &str) -> (Arc<Plan>, Vec<Record>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("yaml");
    let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
    let spec = std::fs::read_to_string(scenario.spec_path(&path)).expect("it stands beside the scenario");
    let plan = Arc::new(compile("spec", &spec, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}")));
    let (mut worker, mut log) = (core(Registry::new()), Vec::new());
    scenario
        .run(&mut worker, &plan, |records, _| log.extend_from_slice(records))
        .unwrap_or_else(|error| panic!("{error}"));
    (plan, log)
}

/// Where each tick ends.
fn cuts(log: &[Record]) -> Vec<usize> {
    let lengths = log.chunk_by(|a, b| a.tick == b.tick).map(<[Record]>::len);
    lengths
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect()
}

/// What the next tick says on a core that already holds another session, which takes no part.
fn go_on(log: &[Record]) -> (Takeover, Vec<Record>) {
    let mut worker = core(Registry::new());
    let neighbour = worker.reserve().expect("the core is empty");
    let (mut batch, mut records) = (Batch::default(), Vec::new());
    let first = log.iter().find_map(|record| match &record.entry {
        Entry::Input(_, open @ Input::SessionOpen(_)) => Some(open.clone()),
        _ => None,
    });
    batch.push(neighbour, first.expect("a log begins with its session")).expect("control always fits");
    let now = Micros::from_ms(20_000);
    worker.tick(now, &mut batch, &mut records);
    records.clear();

    let taken_over = take_over(&mut worker, log, LeaseEpoch(5)).unwrap_or_else(|error| panic!("{error}"));
    let Input::Takeover(takeover) = taken_over.input.clone() else { panic!("{:?}", taken_over.input) };
    batch.push(taken_over.slot, taken_over.input).expect("control always fits");
    worker.tick(now, &mut batch, &mut records);
    assert!(records.iter().all(|record| record.slot == taken_over.slot), "the neighbour has nothing to do with it");
    (takeover, records)
}

fn says(records: &[Record], wanted: &str) -> bool {
    records.iter().any(|record| matches!(&record.entry, Entry::Signal(_, signal) if signal.name() == wanted))
}

#[test]
fn a_session_can_be_taken_over_after_every_tick() {
    for name in ["plain-call", "interruption", "tool-committed", "provider-retry", "reconnect"] {
        let (_, log) = log(name);
        let ended = |log: &[Record]| log.iter().any(|record| record.entry == Entry::Signal(None, Signal::SessionEnded));
        let cuts: Vec<usize> = cuts(&log).into_iter().filter(|cut| !ended(&log[..*cut])).collect();
        assert!(cuts.len() > 5, "{name} is hardly a call");
        for cut in cuts {
            let (_, records) = go_on(&log[..cut]);
            assert!(says(&records, "session_handoff"), "{name}, after record {cut}");
        }
    }
}

#[test]
fn what_died_is_lost_and_a_tool_goes_on_under_its_key() {
    let (_, log) = log("tool-committed");
    let mut seen = (false, false);
    for cut in cuts(&log) {
        let (Takeover { lost, .. }, records) = go_on(&log[..cut]);
        let invoked = |kind: &str| {
            log[..cut].iter().rev().find_map(|record| match &record.entry {
                Entry::Effect(effect) => {
                    let shown = serde_json::to_string(effect).expect("an effect is JSON");
                    (shown.contains("\"invoke\"") && shown.contains(kind)).then_some(())
                }
                _ => None,
            })
        };
        if !lost.is_empty() {
            seen.0 = true;
            assert!(says(&records, "provider_error"), "after record {cut}, {lost:?} died");
        } else if invoked("\"tool\"").is_some() {
            seen.1 = true;
        }
        assert!(!lost.contains(&InvocationId(0)));
    }
    assert_eq!(seen, (true, true), "calls of both kinds were in flight somewhere");
}

#[test]
fn a_log_of_another_course_is_not_taken_over() {
    let (_, mut log) = log("plain-call");
    let cut = cuts(&log)[20];
    log.truncate(cut);
    let place = log.iter().rposition(|record| matches!(record.entry, Entry::Effect(_))).expect("it does something");
    log.remove(place);
    let mut worker = core(Registry::new());
    let error = take_over(&mut worker, &log, LeaseEpoch(1)).expect_err("something is missing");
    assert!(error.to_string().contains("goes another way than its log in tick"), "{error}");
}
