//! Each target under random recipes, for a second as a plain test and for as long as `BOLERO_RANDOM_TEST_TIME_MS` says.
//! `docs/fuzzing.md` has the commands. What once failed stands in `found`, and is tried first.

use std::path::Path;

use rspp::adapters::recording::{Recording, RecordingError};
use rspp::specs::wire::{self, WireError};
use rspp::{Registry, compile};
use rspp_fuzz::{edited, envelopes, recordings, reforged, signals, specs, with_signal};

/// What is read can be written, and reads back as the same.
fn read_event(bytes: &[u8]) -> Result<(), WireError> {
    let _ = wire::name_of(bytes);
    let (record, context) = wire::decode(bytes)?;
    let written = wire::encode(&record, &context).expect("what was read keeps to the limits of what is written");
    let (record, context) = wire::decode(&written).expect("what was written can be read");
    assert_eq!(wire::encode(&record, &context).as_ref(), Ok(&written));
    Ok(())
}

fn read_recording(bytes: &[u8]) -> Result<(), RecordingError> {
    let (prefix, damage) = Recording::read_prefix(bytes)?;
    assert!(prefix.ticks().map(<[_]>::len).sum::<usize>() == prefix.records.len());
    match Recording::read(bytes) {
        Ok(whole) => assert!(damage.is_none() && whole.digest() == prefix.digest()),
        Err(_) => assert!(damage.is_some()),
    }
    Ok(())
}

fn read_spec(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(findings) = compile("fuzz.yaml", &text, &Registry::new()) {
        assert!(!findings.to_string().is_empty());
    }
}

/// What a target once failed on: files of `found/TARGET`.
fn found(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found").join(target);
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.expect("the folder can be read").path();
        check(&std::fs::read(path).expect("it was listed"));
    }
}

/// Bytes of a recipe: more are more edits than are made.
const RECIPE: usize = 96;

#[test]
fn envelope() {
    found("envelope", |bytes| drop(read_event(bytes)));
    let seeds = envelopes();
    seeds.iter().for_each(|seed| read_event(seed).expect("a seed is sound"));
    bolero::check!().with_max_len(RECIPE).for_each(|recipe: &[u8]| {
        let _ = read_event(recipe);
        let _ = read_event(&edited(&seeds, recipe));
    });
}

#[test]
fn control_signal() {
    let seeds = signals();
    let bytes: Vec<Vec<u8>> = seeds.iter().map(|(_, bytes)| bytes.clone()).collect();
    let check = |at: usize, bytes: &[u8]| {
        let envelope = with_signal(seeds[at % seeds.len()].0.clone(), bytes);
        if let Some((record, context)) = envelope.and_then(|envelope| wire::of_envelope(envelope).ok()) {
            let written = wire::encode(&record, &context).expect("what was read keeps to the limits");
            read_event(&written).expect("what was written can be read");
        }
    };
    (0..).zip(&bytes).for_each(|(at, bytes)| check(at, bytes));
    found("control_signal", |bytes| (0..seeds.len()).for_each(|at| check(at, bytes)));
    bolero::check!().with_max_len(RECIPE).for_each(|recipe: &[u8]| {
        let at = usize::from(u16::from_le_bytes(*recipe.first_chunk().unwrap_or(&[0, 0])));
        check(at, recipe);
        check(at, &edited(&bytes, recipe));
    });
}

#[test]
fn recording() {
    found("recording", |bytes| drop(read_recording(bytes)));
    let seeds = recordings();
    seeds.iter().for_each(|seed| read_recording(seed).expect("a seed is sound"));
    bolero::check!().with_max_len(RECIPE).for_each(|recipe: &[u8]| {
        let _ = read_recording(recipe);
        let _ = read_recording(&edited(&seeds, recipe));
        let _ = read_recording(&reforged(&seeds, recipe));
    });
}

#[test]
fn spec() {
    found("spec", read_spec);
    let seeds = specs();
    bolero::check!().with_max_len(RECIPE).for_each(|recipe: &[u8]| {
        read_spec(recipe);
        read_spec(&edited(&seeds, recipe));
    });
}
