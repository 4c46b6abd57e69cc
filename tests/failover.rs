//! A session goes on with another worker, from its log: whatever tick the first one is lost in, the second comes to stand where
//! it stood, and calls that died are made again.

use std::path::Path;
use std::sync::Arc;

use rspp::adapters::failover::take_over;
use rspp::adapters::scenario::Scenario;
use rspp::specs::ids::{InvocationId, LeaseEpoch, Slot};
use rspp::specs::plan::Plan;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, Resume, SessionOpen, Signal, Takeover};
use rspp::{Batch, Core, Registry, compile, core};

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

/// Begins a session afresh where it rests: what it writes then, and what it would carry.
fn renew(worker: &mut Core, slot: Slot, open: &SessionOpen, now: Micros) -> Vec<Record> {
    let (mut batch, mut records) = (Batch::default(), Vec::new());
    batch.push(slot, Input::SessionOpen(Box::new(open.clone()))).expect("control always fits");
    worker.tick(now, &mut batch, &mut records);
    records.iter_mut().for_each(|record| record.slot = Slot(0));
    records
}

/// What came from outside in one tick comes again.
fn again(worker: &mut Core, slot: Slot, logged: &[Record], after: Micros) -> Vec<Record> {
    let (mut batch, mut records) = (Batch::default(), Vec::new());
    for record in logged {
        if let Entry::Input(_, input) = &record.entry
            && input.is_external()
        {
            batch.push(slot, input.clone()).expect("it fitted before");
        }
    }
    worker.tick(logged[0].at + after, &mut batch, &mut records);
    records.retain(|record| record.slot == slot);
    records.iter_mut().for_each(|record| record.slot = Slot(0));
    records
}

/// Wherever a session rests it may begin afresh, and from there on it is what one is that begins there on another worker: also
/// one that has had others on the same slot.
#[test]
fn a_session_that_begins_afresh_is_one_that_begins_there_elsewhere() {
    let mut rests = 0;
    for name in ["plain-call", "interruption", "tool-committed", "provider-retry", "reconnect"] {
        let (plan, log) = log(name);
        for cut in cuts(&log) {
            let mut here = core(Registry::new());
            let slot = here.reserve().expect("the core is empty");
            here.restore(slot, &log[..cut]).unwrap_or_else(|error| panic!("{error}"));
            let Some(resume) = here.carry(slot) else { continue };
            rests += 1;
            let (ticks, sequence) = (resume.ticks, resume.sequence);
            let open = SessionOpen { resume, ..SessionOpen::new("call", Arc::clone(&plan)) };
            if rests % 4 != 1 {
                // Each is as good as any, and they take a while.
                continue;
            }
            let now = log[cut - 1].at + Micros::from_ms(1);
            let first = renew(&mut here, slot, &open, now);
            assert!(first.iter().all(|record| record.tick == ticks + 1), "numbers go on");
            assert!(matches!(&first[0].entry, Entry::Input(of, _) if of.0 == sequence + 1), "numbers go on");
            assert!(says(&first, "session_ready"), "{name}, after record {cut}");
            let mut elsewhere = core(Registry::new());
            let other = elsewhere.reserve().expect("the core is empty");
            assert_eq!(renew(&mut elsewhere, other, &open, now), first, "{name}, after record {cut}");
            for tick in log[cut..].chunk_by(|a, b| a.tick == b.tick).take(150) {
                let after = Micros::from_ms(2);
                let (one, two) = (again(&mut here, slot, tick, after), again(&mut elsewhere, other, tick, after));
                assert_eq!(one, two, "{name}, after record {cut}");
            }
        }
    }
    assert!(rests > 20, "sessions rest: {rests}");
}

/// What it would begin with is not what it is: nothing happens.
#[test]
fn a_session_begins_afresh_only_from_where_it_stands() {
    let (plan, log) = log("plain-call");
    let cut = cuts(&log)[0];
    let mut here = core(Registry::new());
    let slot = here.reserve().expect("the core is empty");
    here.restore(slot, &log[..cut]).unwrap_or_else(|error| panic!("{error}"));
    let resume = here.carry(slot).expect("nothing was said yet");
    let stale = SessionOpen {
        resume: Resume { sequence: resume.sequence - 1, ..resume.clone() },
        ..SessionOpen::new("call", plan)
    };
    let records = renew(&mut here, slot, &stale, Micros::from_ms(50));
    assert!(says(&records, "refused") && !says(&records, "session_ready"), "{records:?}");
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
