//! Recordings replay byte for byte, and what was altered is named.

use std::path::{Path, PathBuf};

use rspp::Registry;
use rspp::adapters::recording::{Recording, RecordingWriter, head};
use rspp::replay::{Verdict, replay};
use rspp::specs::event::ProviderResult;
use rspp::specs::plan::Redaction;
use rspp::specs::recording::Redacted;
use rspp::specs::timeline::{Entry, Input, Record};
use rspp::trace::{Traced, trace};

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("yaml")
}

fn traced(name: &str) -> Traced {
    trace(&scenario(name), &Registry::new()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn written(traced: &Traced, records: &[Record]) -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new(), head("test", &traced.plan, 0)).expect("memory takes everything");
    for record in records {
        writer.append(record).expect("the record is within its limits");
    }
    writer.finish().expect("memory takes everything")
}

fn verdict(bytes: &[u8]) -> Verdict {
    let recording = Recording::read(bytes).expect("the recording is whole");
    replay(&recording, &Registry::new()).expect("the recording has a session")
}

const SCENARIOS: [&str; 6] = [
    "plain-call",
    "interruption",
    "interruption-late-audio",
    "false-interruption",
    "tool-interrupted",
    "tool-committed",
];

#[test]
fn what_was_recorded_comes_out_again() {
    for name in SCENARIOS {
        let traced = traced(name);
        let bytes = written(&traced, &traced.records);
        let Verdict::Identical { records, .. } = verdict(&bytes) else { panic!("{name}: {}", verdict(&bytes)) };
        assert_eq!(records, traced.records.len());
        assert_eq!(bytes, written(&traced, &traced.records), "{name}: the file itself is always the same");
    }
}

#[test]
fn an_altered_input_is_named_by_its_first_consequence() {
    let traced = traced("plain-call");
    let mut records = traced.records.clone();
    let said = records.iter_mut().find_map(|record| match &mut record.entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Text(text))) => Some(text),
        _ => None,
    });
    *said.expect("the model says something") = "We close ".into();
    let shown = verdict(&written(&traced, &records)).to_string();
    assert!(shown.starts_with("differs: tick 82"), "{shown}");
    assert!(shown.contains("recorded: 1600 82 effect D invoke id=tts#3 binding=scripted text=\"We open at noon.\""));
    assert!(shown.contains("replayed: 1600 82 effect D invoke id=tts#3 binding=scripted text=\"We close at noon.\""));
}

#[test]
fn a_removed_output_is_named() {
    let traced = traced("plain-call");
    let mut records = traced.records.clone();
    let commit = records
        .iter()
        .position(|record| matches!(&record.entry, Entry::Signal(_, rspp::specs::timeline::Signal::Commit)));
    records.remove(commit.expect("the turn commits"));
    let shown = verdict(&written(&traced, &records)).to_string();
    assert!(shown.contains("recorded: 1660 87 signal C close turn=t1"), "{shown}");
    assert!(shown.contains("replayed: 1660 87 signal C commit turn=t1"), "{shown}");
}

#[test]
fn an_altered_byte_is_named_even_where_no_effect_would_change() {
    let traced = traced("plain-call");
    let mut bytes = written(&traced, &traced.records);
    // A sample of the caller's first, silent-to-the-detector frame: no decision hangs on it.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let error = Recording::read(&*bytes).expect_err("the bytes are not those that were written").to_string();
    assert!(error.contains("ms") && error.contains("tick"), "{error}");
}

#[test]
fn what_was_taken_out_before_it_was_written_can_not_enter_again() {
    let traced = traced("plain-call");
    let whole = Recording::read(&*written(&traced, &traced.records)).expect("the recording is whole");
    let place =
        |is: fn(&Entry) -> bool| whole.records.iter().position(|record| is(&record.entry)).expect("there is one");
    let without = |place: usize| {
        let mut recording = whole.clone();
        recording.redacted.insert(place, Redacted { how: Redaction::Hash, digest: None });
        replay(&recording, &Registry::new())
    };
    let audio = place(|entry| matches!(entry, Entry::Input(_, Input::CallerAudio(_))));
    let error = without(audio).expect_err("nobody knows what was said").to_string();
    assert!(error.contains("out of 1 events") && error.contains("first in tick 2"), "{error}");
    // What was done can be computed anew, and is compared with what is there.
    let effect = place(|entry| matches!(entry, Entry::Effect(_)));
    assert!(matches!(without(effect), Ok(Verdict::Identical { .. })));
}
