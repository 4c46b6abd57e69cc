//! What is said of recorded calls: `rspp timeline`, `rspp summary`, `rspp gates`.

#[path = "call/golden.rs"]
mod golden;
#[path = "call/kept.rs"]
mod kept;
#[path = "call/program.rs"]
mod program;
#[path = "call/recorded.rs"]
mod recorded;

use std::sync::Arc;

use golden::traced;
use kept::check_kept;
use program::rspp;
use recorded::{calls, record};
use rspp::Registry;
use rspp::account::Account;
use rspp::adapters::recording::Recording;
use rspp::gates::{Evidence, Verdict};
use rspp::replay::Cursor;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, Signal};
use rspp::trace::Traced;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_recording_is_drawn_summed_up_and_judged() {
    let folder = calls(&["interruption"]);
    let ran = rspp(folder.path(), &["timeline", "interruption.rspp"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("Events") && ran.stdout.contains("cancel"), "{}", ran.stdout);
    let shown = json(&rspp(folder.path(), &["timeline", "interruption.rspp", "--turn", "2", "--json"]).stdout);
    assert_eq!(shown["turns"].as_array().map(Vec::len), Some(1));
    assert_eq!(shown["turns"][0]["ended"], "barge_in");
    let svg = rspp(folder.path(), &["timeline", "interruption.rspp", "--svg"]).stdout;
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    let account = rspp(folder.path(), &["summary", "interruption.rspp"]);
    assert_eq!((account.code, account.stderr.as_str()), (Some(0), ""));
    check_kept("tests/recorded/interruption.summary.txt", &account.stdout);
    let gates = rspp(folder.path(), &["gates", "--dir", "."]);
    assert_eq!((gates.code, gates.stderr.as_str()), (Some(1), ""), "the golden call stops with a turn open");
    check_kept("tests/recorded/interruption.gates.txt", &gates.stdout);
    let strict = rspp(folder.path(), &["gates", "interruption.rspp", "--strict", "--markdown"]);
    assert_eq!(strict.code, Some(1), "a few turns are not certain: {}", strict.stdout);
    assert!(strict.stdout.contains("| 7 end to end |") && strict.stdout.contains("too few samples"));
}

#[test]
fn a_call_costs_what_the_list_declares_and_nothing_else() {
    let folder = calls(&["plain-call"]);
    let list = "kind: PriceList\ncurrency: CHF\nprices:\n- {binding: scripted, per_invocation: 0.25}\n";
    std::fs::write(folder.path().join("prices.yaml"), list).expect("the file can be written");
    let without = json(&rspp(folder.path(), &["summary", "plain-call.rspp", "--json"]).stdout);
    assert_eq!(without["cost"], Value::Null);
    let with = json(&rspp(folder.path(), &["summary", "plain-call.rspp", "--json", "--prices", "prices.yaml"]).stdout);
    assert_eq!(with["cost"]["total"], 0.75, "stt, llm and tts were asked once each");
    assert_eq!(with["cost"]["currency"], "CHF");
}

#[test]
fn the_parts_of_a_wait_add_up_to_the_whole() {
    for name in ["plain-call", "interruption", "provider-switch", "tool-committed"] {
        let account = Account::of(&traced(name).records, None);
        for turn in account.turns {
            let Some(latency) = turn.latency else { continue };
            let awaited: f64 = latency.providers.iter().map(|it| it.ms).sum();
            let sum = latency.endpointing_ms + latency.runtime_ms + awaited;
            assert!((sum - latency.first_audio_ms).abs() < 0.001, "{name}, turn {}: {latency:?}", turn.turn);
        }
    }
}

fn verdict(evidence: &Evidence, gate: u32) -> Verdict {
    let gates = evidence.gates();
    gates.gates.iter().find(|it| it.gate == gate).expect("there are seven").verdict
}

#[test]
fn every_gate_can_fail() {
    let records = traced("text-over-answer").records;
    let sound = Evidence::of(&records);
    for gate in [4, 5, 6] {
        assert_eq!(verdict(&sound, gate), Verdict::Passed);
    }
    let without = |drops: fn(&Signal) -> bool| {
        let kept = records.iter().filter(|record| !matches!(&record.entry, Entry::Signal(_, signal) if drops(signal)));
        Evidence::of(&kept.cloned().collect::<Vec<_>>())
    };
    assert_eq!(verdict(&without(|signal| matches!(signal, Signal::Admit)), 5), Verdict::Failed);
    assert_eq!(verdict(&without(|signal| matches!(signal, Signal::FenceApplied { .. })), 5), Verdict::Failed);
    assert_eq!(verdict(&without(|signal| matches!(signal, Signal::Close)), 6), Verdict::Failed);
    let later = |late: fn(&Signal) -> bool| {
        let mut records = records.clone();
        for record in &mut records {
            if matches!(&record.entry, Entry::Signal(_, signal) if late(signal)) {
                record.at = record.at + Micros::from_ms(5_000);
            }
        }
        Evidence::of(&records)
    };
    assert_eq!(verdict(&later(|signal| matches!(signal, Signal::TurnOpen { .. })), 1), Verdict::Failed);
    assert_eq!(verdict(&later(|signal| matches!(signal, Signal::OutputAccepted)), 2), Verdict::Failed);
    assert_eq!(verdict(&later(|signal| matches!(signal, Signal::FenceApplied { .. })), 3), Verdict::Failed);
    assert_eq!(verdict(&later(|signal| matches!(signal, Signal::PlaybackStarted)), 7), Verdict::Failed);
    let mut unfenced = records.clone();
    let cancelled = unfenced.iter().position(|it| matches!(it.entry, Entry::Signal(_, Signal::CancelAccepted { .. })));
    let is_sent = |entry: &Entry| matches!(entry, Entry::Effect(rspp::specs::timeline::Effect::Transmit { .. }));
    let cancelled = cancelled.expect("a turn is cancelled");
    let sent = unfenced[..cancelled].iter().rfind(|it| is_sent(&it.entry)).expect("it was spoken").clone();
    unfenced.insert(cancelled + 1, sent);
    assert_eq!(verdict(&Evidence::of(&unfenced), 3), Verdict::Failed, "audio after the cancellation");
}

/// It runs whatever becomes of its turn, and its session may be over before it has ended.
#[test]
fn a_committed_write_that_has_not_ended_is_no_missing_evidence() {
    let mut records = traced("tool-committed").records;
    let answers = |entry: &Entry, of: u32| matches!(entry, Entry::Input(_, Input::Provider(id, _)) if id.0 == of);
    let lost = |records: &[Record], of: u32| {
        let kept = records.iter().filter(|record| !answers(&record.entry, of));
        Evidence::of(&kept.cloned().collect::<Vec<_>>())
    };
    assert_eq!(verdict(&lost(&records, 23), 5), Verdict::Passed, "tool#23 is the write");
    assert_eq!(verdict(&lost(&records, 21), 5), Verdict::Failed, "tool#21 is a read");
    records.retain(|record| !matches!(&record.entry, Entry::Signal(_, Signal::ToolCommitted { .. })));
    assert_eq!(verdict(&lost(&records, 23), 5), Verdict::Failed);
}

#[test]
fn many_calls_are_certain_where_one_is_not() {
    let one = Evidence::of(&traced("plain-call").records);
    assert_eq!(verdict(&one, 1), Verdict::TooFewSamples);
    let mut many = Evidence::default();
    for _ in 0..100 {
        many.add(&one);
    }
    assert_eq!(verdict(&many, 1), Verdict::Passed);
    assert_eq!(verdict(&many, 7), Verdict::Passed);
    assert_eq!(verdict(&Evidence::default(), 7), Verdict::NoSamples);
}

#[test]
fn what_is_no_recording_or_has_no_such_turn_is_told_in_one_sentence() {
    let folder = calls(&["plain-call"]);
    std::fs::write(folder.path().join("list.yaml"), "kind: PriceList\ncurrency: x\nprices: [{per_minute: 3}]\n")
        .expect("the file can be written");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder can be made");
    for (args, code, says) in [
        ("timeline nothing.rspp", 2, "nothing.rspp: no such file"),
        ("timeline list.yaml", 1, "not a recording"),
        ("timeline plain-call.rspp --turn 7", 2, "has no turn 7: its turns are 1"),
        ("summary plain-call.rspp --prices list.yaml", 2, "unknown field `per_minute`"),
        ("gates --dir empty", 2, "has no recording"),
        ("gates --dir nothing", 2, "no such folder"),
    ] {
        let ran = rspp(folder.path(), &args.split(' ').collect::<Vec<_>>());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{args}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("rspp: ") && ran.stderr.contains(says), "{args}: {}", ran.stderr);
    }
}

#[test]
fn of_a_damaged_recording_the_good_part_is_shown() {
    let folder = calls(&[]);
    let whole = record(&traced("interruption"));
    std::fs::write(folder.path().join("cut.rspp"), &whole[..whole.len() * 3 / 4]).expect("the file can be written");
    for command in ["timeline", "summary"] {
        let ran = rspp(folder.path(), &[command, "cut.rspp"]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains("turn"), "{}", ran.stdout);
        assert!(ran.stderr.contains("only what stands before it is shown"), "{}", ran.stderr);
    }
    let ran = rspp(folder.path(), &["replay", "cut.rspp"]);
    assert!(ran.code == Some(1) && ran.stdout.starts_with("identical: "), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("only what stands before it is shown"), "{}", ran.stderr);
}

/// A kill may come in the middle of a tick: wherever a recording breaks off, what is there comes out again.
#[test]
fn a_recording_that_breaks_off_within_a_tick_replays_as_far_as_it_goes() {
    let whole = traced("tool-interrupted");
    for kept in 1..whole.records.len() {
        let traced =
            Traced { records: whole.records[..kept].to_vec(), plan: Arc::clone(&whole.plan), lines: Vec::new() };
        let recording = Recording::read(&*record(&traced)).expect("it is whole");
        let mut cursor = Cursor::new(&recording, &Registry::new()).expect("it begins with its session").breaking_off();
        let mut replayed = 0;
        while let Some(tick) = cursor.tick().unwrap_or_else(|difference| panic!("{kept} records: {difference}")) {
            replayed += tick.len();
        }
        assert_eq!(replayed, kept);
    }
}
