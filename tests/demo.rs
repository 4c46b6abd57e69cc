//! `rspp demo`: the first thing that anybody runs. Without a speech engine on the machine captions and tones stand in,
//! and in virtual time the call is the same on every machine.

mod call;
#[path = "call/kept.rs"]
mod kept;

use std::path::Path;
use std::process::{Command, Stdio};

use call::{Call, check_cancelled_turns, repository, rspp, silence, write_caller};
use rspp::adapters::audio::read_call;
use serde_json::Value;
use tempfile::TempDir;

use kept::check_kept;

// ---- the caller's side ----------------------------------------------------------------------------------------

const CALLER: &str = "specs/examples/restaurant.caller.wav";
const CAPTIONS: &str = "specs/examples/restaurant.captions.yaml";
/// What the caller says, each behind so many milliseconds of silence. The first answer is heard out within 8.6 s,
/// whoever speaks it; the second has begun when the third question cuts it, and has not ended.
const SAID: [(usize, &str); 3] = [
    (600, "when do you open on sunday"),
    (8_600, "when do you close on friday"),
    (2_500, "book a table for four at half past seven"),
];

/// How the caller's side was made: by `flite -voice rms`, cut to its sounds, with the silences between.
fn made(folder: &Path) -> (Vec<i16>, String) {
    let mut samples = Vec::new();
    let mut captions = "# What restaurant.caller.wav says, and when.\nkind: Captions\ncaptions:\n".to_owned();
    for (quiet, words) in SAID {
        samples.extend(silence(quiet));
        let wav = folder.join("said.wav");
        let spoken =
            Command::new("flite").args(["-voice", "rms", "-t", words, "-o"]).arg(&wav).stdin(Stdio::null()).status();
        assert!(spoken.expect("flite is there").success());
        let said = read_call(&wav).expect("it wrote a WAV file").samples;
        let is_loud = |sample: &i16| sample.unsigned_abs() > 200;
        let (first, last) = (said.iter().position(is_loud), said.iter().rposition(is_loud));
        let from_ms = samples.len() / 16;
        samples.extend(&said[first.expect("it spoke")..=last.expect("it spoke")]);
        captions += &format!("  - {{from_ms: {from_ms}, to_ms: {}, words: {words}}}\n", samples.len() / 16);
    }
    (samples, captions)
}

#[test]
#[ignore = "needs flite: run ./ci/setup"]
fn the_callers_side_is_what_flite_says() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (samples, captions) = made(folder.path());
    if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
        write_caller(&repository().join(CALLER), &samples);
    }
    check_kept(CAPTIONS, &captions);
    let kept = read_call(repository().join(CALLER)).expect("it is bundled").samples;
    assert!(kept == samples, "another flite has spoken; RSPP_UPDATE_GOLDEN=1 keeps what this one says");
    let bytes = std::fs::metadata(repository().join(CALLER)).expect("it is bundled").len();
    assert!(bytes < 700_000, "{bytes} bytes in every program");
}

// ---- the call -------------------------------------------------------------------------------------------------

/// A folder, and the program in it on a machine that has no engine.
fn demo(folder: &TempDir, args: &[&str]) -> String {
    let nowhere = folder.path().join("nowhere");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.arg("demo").args(args).current_dir(folder.path()).stdin(Stdio::null());
    command.env("PATH", &nowhere).env("RSPP_ENGINES_PYTHON", nowhere.join("python")).env("RSPP_CACHE_DIR", &nowhere);
    for name in ["CARGO", "COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LANG", "LC_CTYPE"] {
        command.env_remove(name);
    }
    let output = command.env("LC_ALL", "C.UTF-8").output().expect("cargo has built the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    assert_eq!((output.status.code(), text(output.stderr).as_str()), (Some(0), ""));
    text(output.stdout)
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

#[test]
fn the_demo_is_drawn_as_it_was_and_leaves_a_call_that_replays() {
    let folder = folder();
    let drawn = demo(&folder, &["--fast", "--no-install"]);
    check_kept("tests/demo/fast.txt", &drawn);
    assert!(!drawn.contains('\u{1b}') && !drawn.contains('\r'), "a file gets no colours and nothing written over");
    let ran = rspp(folder.path(), &["replay", "call.rspp"]);
    assert!(ran.stdout.starts_with("identical"), "{}{}", ran.stdout, ran.stderr);
    let ran = rspp(folder.path(), &["explain", "call.rspp"]);
    assert!(ran.stdout.starts_with("voice-assistant version 1"), "{}{}", ran.stdout, ran.stderr);
}

const QUESTIONS: [&str; 3] = [SAID[0].1, SAID[1].1, SAID[2].1];

#[test]
fn the_demo_as_data_has_three_turns_and_the_second_is_cut() {
    let calls = [folder(), folder()].map(|folder| {
        let json = demo(&folder, &["--fast", "--no-install", "--json", "--output", "calls/first"]);
        let left = folder.path().join("calls/first");
        let call = Call { json, answer: left.join("answer.wav"), recording: left.join("call.rspp") };
        check_three_turns(&call);
        (call.bytes(), folder)
    });
    // What was looked for has paths of the folder in it.
    assert!(calls[0].0[1..] == calls[1].0[1..], "the same call twice");
}

/// One object: that of `rspp run --json`, what held the call, and what it left.
fn check_three_turns(call: &Call) {
    let report = call.report();
    assert!(report["engines"]["stt"].is_string() && report["engines"]["tts"].is_string(), "{report}");
    assert!(report["files"]["recording"].as_str().is_some_and(|path| path.ends_with("call.rspp")), "{report}");
    assert_eq!(report["sound"], Value::Null);
    let turns = call.turns();
    let said: Vec<&str> = turns.iter().map(|turn| turn.user_text.as_str()).collect();
    assert_eq!(said, QUESTIONS);
    turns[0].check_heard_out();
    turns[1].check_cut();
    turns[2].check_heard_out();
    let seconds = call.heard().len() / 16_000;
    assert!((20..=32).contains(&seconds), "{seconds} s");
    call.check_replay();
}

/// Whoever holds it, the same thing happens: the questions are as far apart as any voice needs.
#[test]
#[ignore = "needs espeak-ng, flite and PocketSphinx: run ./ci/setup"]
fn every_voice_is_interrupted_once() {
    let spec = std::fs::read_to_string(repository().join("specs/pipelines/voice-assistant.yaml")).expect("it is there");
    let examples = repository().join("specs/examples");
    for stt in ["bundled:pocketsphinx".to_owned(), format!("captions:{}", repository().join(CAPTIONS).display())] {
        for tts in ["bundled:espeak-ng", "bundled:flite", "'tone:'"] {
            let folder = folder();
            let spec = spec.replace("bundled:pocketsphinx", &stt).replace("bundled:espeak-ng", tts);
            let spec = spec.replace("../examples", &examples.display().to_string());
            std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
            let call = Call::hold(&folder.path().join("spec.yaml"), &repository().join(CALLER), folder.path(), &[]);
            let turns = call.turns();
            assert_eq!(turns.iter().map(|turn| turn.user_text.as_str()).collect::<Vec<_>>(), QUESTIONS, "{stt} {tts}");
            turns[1].check_cut();
            turns[2].check_heard_out();
            // Tones are alike, in whatever turn they sound.
            assert!(tts.contains("tone") || check_cancelled_turns(&call) == 1, "{stt} {tts}");
        }
    }
}
