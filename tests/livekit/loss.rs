//! Words over a network that loses packets and delivers them late: how many of them a real recogniser still gets.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rspp::serve::Serve;

use super::house::House;
use super::relay::Weather;
use super::rooms::{Caller, repository, serving};
use super::{Mode, behind_a_relay};

/// What the bundled recogniser's grammar has.
const SENTENCES: [&str; 12] = [
    "when do you open on thursday",
    "book a table for nine at six",
    "what is your address",
    "what time do you close on monday",
    "i would like a table for two at eight thirty",
    "where are you",
    "when do you close on sunday",
    "book a table for twelve at half past one",
    "what time do you open on friday",
    "book a table for three at ten",
    "what is the special today",
    "when do you open on saturday",
];
/// The same on every run, so far as a network in real time can be.
const JITTER: Duration = Duration::from_millis(50);

/// A sentence as flite's voice says it, at the rate of a caller's library.
fn spoken(folder: &Path, number: usize) -> PathBuf {
    let (narrow, wide) = (folder.join("narrow.wav"), folder.join(format!("{number}.wav")));
    let run = |command: &mut Command| {
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{command:?}: run ci/setup");
    };
    run(Command::new("flite").args(["-voice", "slt", "-t", SENTENCES[number], "-o"]).arg(&narrow));
    run(Command::new("sox").arg(&narrow).args(["-r", "48000", "-c", "1", "-b", "16"]).arg(&wide));
    wide
}

/// The fewest words to add, leave out or change between what was said and what was heard.
fn mistakes(said: &str, heard: &str) -> usize {
    let heard: Vec<&str> = heard.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (line, word) in said.split_whitespace().enumerate() {
        let mut before = std::mem::replace(&mut row[0], line + 1);
        for (at, other) in heard.iter().enumerate() {
            let changed = before + usize::from(word != *other);
            before = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(before + 1);
        }
    }
    row[heard.len()]
}

#[test]
fn mistakes_are_counted_by_words() {
    for (said, heard, count) in [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a b", "x b c", 2), ("a", "", 1)] {
        assert_eq!(mistakes(said, heard), count, "{said} and {heard}");
    }
}

/// Of a hundred words, so many are heard as they were said.
fn accuracy(caller: &mut Caller, voices: &[PathBuf]) -> f64 {
    let mut wrong = 0;
    for (said, voice) in SENTENCES.iter().zip(voices) {
        let heard = caller.told(&format!("speak {}", voice.display()));
        wrong += mistakes(said, heard["heard"].as_str().expect("words")).min(said.split_whitespace().count());
    }
    let words: usize = SENTENCES.iter().map(|said| said.split_whitespace().count()).sum();
    100.0 - 100.0 * wrong as f64 / words as f64
}

#[test]
#[ignore = "needs livekit-server, LiveKit's library for Python and the speech engines"]
fn words_survive_a_network_that_loses_them() {
    let (rooms, relay, agent) = behind_a_relay(Mode::OneConnection);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let spec = repository().join("specs/pipelines/voice-assistant.yaml");
    let _house = House::with(serving(&agent, &folder, Serve { spec, ..House::options() }));
    let voices: Vec<PathBuf> = (0..SENTENCES.len()).map(|number| spoken(folder.path(), number)).collect();
    let mut caller = Caller::of_python(&rooms, "lossy", &voices[0], &[]);
    caller.told("agent");
    let mut heard_at = |loss_percent: u64, jitter: Duration| {
        relay.weather(Weather { loss_percent, jitter, ..Weather::default() });
        let before = relay.counts();
        let accuracy = accuracy(&mut caller, &voices);
        let (lost, passed) = relay.counts();
        let share = 100.0 * (lost - before.0) as f64 / (lost + passed - before.0 - before.1) as f64;
        eprintln!("loss {loss_percent}% ({share:.1}%), jitter {} ms: {accuracy:.1}% of the words", jitter.as_millis());
        accuracy
    };
    let clean = heard_at(0, Duration::ZERO);
    let (little, much) = (heard_at(2, JITTER), heard_at(10, JITTER));
    assert!(clean >= 90.0, "the recogniser hears what was said: {clean:.1}%");
    assert!(little >= clean - 3.0, "2% of loss cost {:.1} points", clean - little);
    assert!(much >= clean - 10.0, "10% of loss cost {:.1} points", clean - much);
}
