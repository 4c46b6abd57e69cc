//! Calls with real speech engines, spoken by voices that nothing was made for. `.ci/run` runs them where `ci/setup`
//! could install the engines; where one is missing, they say so and pass.

#[path = "call/altered.rs"]
mod altered;
mod call;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use altered::{altered, blocks};
use call::{Call, RATE_HZ, check_cancelled_turns, repository, rspp, silence, write_caller};
use rspp::adapters::audio::read_call;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Signal};
use tempfile::TempDir;

// ---- engines and voices ---------------------------------------------------------------------------------------

/// Whether an engine is missing; says which, past the test harness, which would keep it to itself.
fn skipped(test: &str) -> bool {
    let works = |program: &str, args: &[&str]| {
        let quiet = Command::new(program).args(args).current_dir(repository()).stdin(Stdio::null()).output();
        quiet.is_ok_and(|output| output.status.success())
    };
    let named = std::env::var("RSPP_ENGINES_PYTHON").ok().filter(|path| !path.is_empty());
    let set_up = repository().join(".venv-engines/bin/python");
    let python = if set_up.is_file() { set_up.display().to_string() } else { "python3".to_owned() };
    let needs: [(&str, &str, &[&str]); 3] = [
        ("espeak-ng", "espeak-ng", &["--version"]),
        ("flite", "flite", &["-lv"]),
        ("PocketSphinx", &named.unwrap_or(python), &["-c", "import pocketsphinx"]),
    ];
    let missing: Vec<&str> = needs.iter().filter(|need| !works(need.1, need.2)).map(|need| need.0).collect();
    if !missing.is_empty() {
        say(&format!("SKIPPED: {test} needs {}: run ./ci/setup", missing.join(", ")));
    }
    !missing.is_empty()
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A caller's voice: a program and the name that it has there.
type Voice = (&'static str, &'static str);

const SLT: Voice = ("flite", "slt");
const RMS: Voice = ("flite", "rms");

/// What a voice says, from its first sound to its last.
fn spoken(folder: &Path, (program, name): Voice, text: &str) -> Vec<i16> {
    let wav = folder.join("spoken.wav");
    let mut command = Command::new(program);
    match program {
        "flite" => command.args(["-voice", name, "-t", text, "-o"]).arg(&wav),
        _ => command.args(["-v", name, "-w"]).arg(&wav).arg(text),
    };
    let output = command.stdin(Stdio::null()).output().expect("the program is there");
    assert!(output.status.success(), "{program} {name}: {}", String::from_utf8_lossy(&output.stderr));
    let samples = read_call(&wav).expect("it wrote a WAV file").samples;
    let is_loud = |sample: &i16| sample.unsigned_abs() > 200;
    let first = samples.iter().position(is_loud).expect("it spoke");
    let last = samples.iter().rposition(is_loud).expect("it spoke");
    samples[first..=last].to_vec()
}

fn voice_assistant() -> PathBuf {
    repository().join("specs/pipelines/voice-assistant.yaml")
}

// ---- what is understood ---------------------------------------------------------------------------------------

const NOT_UNDERSTOOD: &str = "I did not understand.";
/// Within it every answer ends.
const PAUSE_MS: usize = 9_000;

/// Each voice with questions of the grammar, and sentences that are none.
const SPEAKERS: [(Voice, [&str; 4], [&str; 2]); 8] = [
    (
        SLT,
        ["when do you open on thursday", "book a table for nine at six", "what's your address", "cancel my booking"],
        ["my sister bought a purple bicycle", "the soup was cold and salty"],
    ),
    (
        RMS,
        [
            "what time do you close on monday",
            "i would like a table for two at eight thirty",
            "where are you",
            "goodbye",
        ],
        ["we painted the garage on the weekend", "how tall is the tower in paris"],
    ),
    (
        ("flite", "awb"),
        ["when do you close on sunday", "book a table for twelve at half past one", "change my booking", "thank you"],
        ["the library has a new carpet", "can penguins swim under the ice"],
    ),
    (
        ("flite", "kal16"),
        [
            "what time do you open on friday",
            "book a table for three at ten",
            "what is the special today",
            "where are you",
        ],
        ["nobody told the captain about the storm", "please water the flowers on the balcony"],
    ),
    (
        ("espeak-ng", "en-us"),
        [
            "when do you open on saturday",
            "i would like a table for seven at quarter past five",
            "what is your address",
            "thank you very much",
        ],
        ["the printer is out of paper again", "he plays the trumpet in a brass band"],
    ),
    (
        ("espeak-ng", "en-us+f3"),
        [
            "what time do you close on wednesday",
            "book a table for six at seven thirty",
            "what is today's special",
            "change my booking",
        ],
        ["your parcel was left with a neighbour", "a squirrel stole my sandwich"],
    ),
    (
        ("espeak-ng", "en-us+m3"),
        [
            "when do you close on thursday",
            "i would like a table for ten at nine",
            "cancel my booking",
            "what is your address",
        ],
        ["the bridge was closed because of fog", "which bus goes to the stadium"],
    ),
    (
        ("espeak-ng", "en-us+f2"),
        ["what time do you open on tuesday", "book a table for five at half past eleven", "where are you", "goodbye"],
        ["the orchestra is on tour in japan", "someone parked in front of my gate"],
    ),
];

/// What came of one thing that a caller said: the words that were understood, and the answer.
struct Understood {
    user_text: String,
    agent_text: String,
}

/// Says one after the other in one call; what the pipeline did not take for speech is understood as nothing.
fn hold_questions(folder: &Path, voice: Voice, texts: &[&str]) -> Vec<Understood> {
    let mut caller = silence(600);
    let mut ends = Vec::new();
    for text in texts {
        let said = spoken(folder, voice, text);
        let start = caller.len();
        caller.extend(said);
        ends.push((Micros::of_samples(start as u64, RATE_HZ), Micros::of_samples(caller.len() as u64, RATE_HZ)));
        caller.extend(silence(PAUSE_MS));
    }
    let input = folder.join("caller.wav");
    write_caller(&input, &caller);
    let call = Call::hold(&voice_assistant(), &input, &folder.join(voice.1), &[]);
    let turns = call.turns();
    let opened: Vec<(u32, Micros)> = call.recorded().records.iter().filter_map(opened).collect();
    let slack = Micros::from_ms(500);
    let of_span = |(start, end): (Micros, Micros)| {
        let of_it = opened.iter().filter(|(_, speech_end)| (start..end + slack).contains(speech_end));
        let of_it: Vec<_> = of_it.flat_map(|(number, _)| turns.iter().find(|turn| turn.turn == *number)).collect();
        let join = |texts: Vec<&str>| texts.join(" ").trim().to_owned();
        let user_text = join(of_it.iter().map(|turn| turn.user_text.as_str()).collect());
        Understood { user_text, agent_text: join(of_it.iter().map(|turn| turn.agent_text.as_str()).collect()) }
    };
    ends.into_iter().map(of_span).collect()
}

fn opened(record: &rspp::specs::timeline::Record) -> Option<(u32, Micros)> {
    match &record.entry {
        Entry::Signal(Some(turn), Signal::TurnOpen { speech_end, .. }) => Some((turn.0, (*speech_end)?)),
        _ => None,
    }
}

/// Words to insert, delete or replace.
fn word_errors(wanted: &str, got: &str) -> usize {
    let got: Vec<&str> = got.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=got.len()).collect();
    for (i, word) in wanted.split_whitespace().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in got.iter().enumerate() {
            let replaced = diagonal + usize::from(word != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[got.len()]
}

/// Counts of one voice, or of all.
#[derive(Clone, Copy, Default)]
struct Tally {
    words: usize,
    wrong_words: usize,
    questions: usize,
    whole: usize,
    outside: usize,
    declined: usize,
}

impl Tally {
    fn question(&mut self, voice: Voice, text: &str, understood: &Understood) {
        let wrong = word_errors(text, &understood.user_text);
        self.words += text.split_whitespace().count();
        self.wrong_words += wrong;
        self.questions += 1;
        self.whole += usize::from(wrong == 0);
        if wrong > 0 {
            say(&format!("  {} {}: \"{text}\" was understood as \"{}\"", voice.0, voice.1, understood.user_text));
        }
        let spelt = understood.user_text.chars().all(|c| c.is_ascii_lowercase() || " '".contains(c));
        assert!(spelt, "numbers are words: {}", understood.user_text);
    }

    fn outside(&mut self, voice: Voice, text: &str, understood: &Understood) {
        let declined = understood.agent_text.starts_with(NOT_UNDERSTOOD) && understood.user_text.is_empty();
        self.outside += 1;
        self.declined += usize::from(declined);
        if !declined {
            let Understood { user_text, agent_text } = understood;
            say(&format!("  {} {}: \"{text}\" was understood as \"{user_text}\": {agent_text}", voice.0, voice.1));
        }
    }

    fn add(&mut self, other: &Self) {
        self.words += other.words;
        self.wrong_words += other.wrong_words;
        self.questions += other.questions;
        self.whole += other.whole;
        self.outside += other.outside;
        self.declined += other.declined;
    }

    fn accuracy(&self) -> f64 {
        100.0 * (1.0 - self.wrong_words as f64 / self.words as f64)
    }

    fn row(&self, name: &str) -> String {
        let Self { questions, whole, outside, declined, .. } = self;
        format!("{name:20} {:6.1} % {whole:6}/{questions:<3} {declined:9}/{outside}", self.accuracy())
    }
}

#[test]
#[ignore = "needs espeak-ng, flite and PocketSphinx: run ./ci/setup"]
fn questions_are_understood_and_what_is_none_is_declined() {
    if skipped("understanding") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut total = Tally::default();
    let mut table = vec![format!("{:20} {:>8} {:>10} {:>11}", "voice", "words", "whole", "declined")];
    for (voice, questions, outside) in &SPEAKERS {
        let texts: Vec<&str> = questions.iter().chain(outside).copied().collect();
        let understood = hold_questions(folder.path(), *voice, &texts);
        let mut tally = Tally::default();
        let (inside, rest) = understood.split_at(questions.len());
        questions.iter().zip(inside).for_each(|(text, understood)| tally.question(*voice, text, understood));
        outside.iter().zip(rest).for_each(|(text, understood)| tally.outside(*voice, text, understood));
        table.push(tally.row(&format!("{} {}", voice.0, voice.1)));
        total.add(&tally);
    }
    table.push(total.row("all"));
    say(&table.join("\n"));
    assert!(total.questions >= 24 && total.outside >= 8);
    assert!(total.accuracy() >= 95.0, "{:.1} % of the words are right", total.accuracy());
    assert!(total.declined * 10 >= total.outside * 9, "{} of {} are declined", total.declined, total.outside);
}

// ---- an interruption ------------------------------------------------------------------------------------------

const FIRST: &str = "what time do you open on monday";
const SECOND: &str = "what is your address";

/// A caller who speaks into the answer 1.8 s after the question ended.
fn interrupting_caller(folder: &Path, first: Voice, second: Voice) -> PathBuf {
    let path = folder.join("caller.wav");
    let said = [spoken(folder, first, FIRST), silence(1_800), spoken(folder, second, SECOND)].concat();
    write_caller(&path, &[silence(600), said, silence(200)].concat());
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

#[test]
#[ignore = "needs espeak-ng, flite and PocketSphinx: run ./ci/setup"]
fn a_caller_who_speaks_into_an_answer_cuts_it() {
    if skipped("an interruption") {
        return;
    }
    for voices in [(SLT, SLT), (RMS, SLT), (("flite", "awb"), RMS), (("espeak-ng", "en-us+f3"), ("flite", "kal16"))] {
        let folder = folder();
        let input = interrupting_caller(folder.path(), voices.0, voices.1);
        let call = Call::hold(&voice_assistant(), &input, &folder.path().join("call"), &[]);
        let turns = call.turns();
        let said: Vec<&str> = turns.iter().map(|turn| turn.user_text.as_str()).collect();
        assert_eq!(said, [FIRST, SECOND], "{voices:?}");
        turns[0].check_cut();
        turns[1].check_heard_out();
        assert!(turns[1].agent_text.starts_with("Our address is"), "{}", turns[1].agent_text);
        assert_eq!(check_cancelled_turns(&call), 1, "{voices:?}");
    }
}

// ---- the same again -------------------------------------------------------------------------------------------

#[test]
#[ignore = "needs espeak-ng, flite and PocketSphinx: run ./ci/setup"]
fn ten_runs_give_the_same_bytes_and_replay() {
    if skipped("ten runs") {
        return;
    }
    let folder = folder();
    let input = interrupting_caller(folder.path(), SLT, SLT);
    let hold = |run: usize| Call::hold(&voice_assistant(), &input, &folder.path().join(run.to_string()), &[]);
    let calls: Vec<Call> = (0..10).map(hold).collect();
    let first = calls[0].bytes();
    for (run, call) in calls.iter().enumerate() {
        let same: Vec<bool> = call.bytes().iter().zip(&first).map(|(bytes, first)| bytes == first).collect();
        assert_eq!(same, [true; 3], "JSON, answer, recording of run {run} and of run 0");
        call.check_replay();
    }
    check_alterations(folder.path(), &calls[0], &first[2]);
}

/// A block of a recording is not what was written: replay names its events, and says so of what stands before it alone.
fn check_alterations(folder: &Path, call: &Call, bytes: &[u8]) {
    let records = call.recorded().records;
    let path = folder.join("altered.rspp").display().to_string();
    for block in blocks(bytes).iter().filter(|block| block.events > 0).step_by(4).take(3) {
        std::fs::write(&path, altered(bytes, block.payload.start)).expect("a file can be written");
        let ran = rspp(repository(), &["replay", &path]);
        let good = ran.stdout.strip_prefix("identical: ").and_then(|rest| rest.split(' ').next());
        let good: u64 = good.map_or(0, |records| records.parse().expect("a number of records"));
        assert!(ran.code == Some(1) && good < block.first, "{}", ran.stdout);
        let first = &records[block.first as usize - 1];
        let event = format!("in tick {} at {} ms", first.tick, first.at.0 / 1_000);
        let says = format!("records {} to ", block.first);
        assert!(ran.stderr.contains(&says) && ran.stderr.contains(&event), "{}", ran.stderr);
    }
}

#[test]
#[ignore = "needs espeak-ng, flite and PocketSphinx: run ./ci/setup"]
fn a_call_in_real_time_replays() {
    if skipped("real time") {
        return;
    }
    let folder = folder();
    let input = interrupting_caller(folder.path(), RMS, SLT);
    let call = Call::hold(&voice_assistant(), &input, &folder.path().join("call"), &["--realtime"]);
    let turns = call.turns();
    assert!(turns.first().is_some_and(|turn| turn.user_text == FIRST), "{}", call.json);
    check_cancelled_turns(&call);
    call.check_replay();
}
