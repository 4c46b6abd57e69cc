//! The command line: wrong input is told in one clear message, and a call through scripted engines goes the same way
//! every time. Needs nothing but Rust and a shell.

#[path = "call/altered.rs"]
mod altered;
mod call;
#[path = "call/engine.rs"]
mod engine;

use std::path::Path;

use altered::{altered, blocks};
use call::{Call, check_cancelled_turns, repository, rspp, silence, write_caller};
use rspp::adapters::recording::{Recording, RecordingFile};
use rspp::specs::event::ProviderResult;
use rspp::specs::timeline::{Entry, Input};
use tempfile::TempDir;

// ---- wrong input ----------------------------------------------------------------------------------------------

const RUN: &str = "run spec.yaml --input caller.wav --output answer.wav";

/// A folder with a spec in it, and a second of a caller's speech.
fn folder(spec: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
    std::fs::copy(repository().join("specs/examples/restaurant.dialogue.yaml"), folder.path().join("dialogue.yaml"))
        .expect("the dialogue is bundled");
    write_caller(&folder.path().join("caller.wav"), &[silence(200), speech(1_000), silence(200)].concat());
    folder
}

/// Runs the program and expects one clear message, no panic, and no output; `|` is a space within an argument.
fn check(folder: &TempDir, args: &str, code: i32, contains: &[&str]) {
    let split: Vec<String> = args.split_whitespace().map(|arg| arg.replace('|', " ")).collect();
    let ran = rspp(folder.path(), &split);
    let said = &ran.stderr;
    assert_eq!(ran.code, Some(code), "{args}: {said}{}", ran.stdout);
    for part in contains {
        assert!(said.contains(part), "{args}: no `{part}` in: {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{args}: {said}");
    assert_eq!(ran.stdout, "", "{args}: what failed prints no result");
    assert!(said.lines().filter(|line| line.starts_with("rspp: ")).count() <= 1, "{args}: one message: {said}");
    let ends_with_the_systems_word = said.trim_end().ends_with(')') && said.contains("(os error");
    assert!(!ends_with_the_systems_word, "{args}: says what the system said, and not what to do: {said}");
    for entry in std::fs::read_dir(folder.path()).expect("the folder is there") {
        let name = entry.expect("the folder can be read").file_name().to_string_lossy().into_owned();
        assert!(name != "answer.wav" && !name.ends_with(".partial"), "{args} leaves {name}");
    }
}

fn check_spec(spec: &str, contains: &[&str]) {
    let folder = folder(spec);
    for args in ["explain spec.yaml", RUN] {
        check(&folder, args, 2, contains);
    }
}

/// A spec of the template with these providers and lines.
fn spec(stt: &str, tts: &str, more: &str) -> String {
    format!(
        "kind: PipelineSpec\nname: test\nversion: 1\ntemplate: voice-assistant\n\
         bind: {{stt: \"{stt}\", llm: \"dialogue:dialogue.yaml\", tts: \"{tts}\"}}\n{more}\n"
    )
}

fn energy_spec(stt: &str, tts: &str) -> String {
    spec(stt, tts, "nodes: {vad: {type: vad, detector: energy}}")
}

fn speech(ms: usize) -> Vec<i16> {
    (0..silence(ms).len()).map(|at| if at / 40 % 2 == 0 { 3_000 } else { -3_000 }).collect()
}

#[test]
fn no_arguments_or_wrong_ones_give_the_usage() {
    let folder = folder("");
    check(&folder, "", 2, &["Usage: rspp <COMMAND>", "explain", "trace", "run", "replay"]);
    check(&folder, "rnu", 2, &["unrecognized subcommand 'rnu'", "Usage: rspp <COMMAND>", "--help"]);
    check(&folder, "run spec.yaml --input caller.wav", 2, &["--output <ANSWER.wav>", "--help"]);
    check(&folder, "run spec.yaml --ouptut a.wav", 2, &["unexpected argument '--ouptut'", "'--output'"]);
}

#[test]
fn what_is_misspelt_is_told_with_what_may_be_meant() {
    let folder = folder("");
    check(&folder, "rpelay call.rspp", 2, &["unrecognized subcommand 'rpelay'", "'replay'"]);
    check(&folder, "demo --fats", 2, &["unexpected argument '--fats'", "'--fast'"]);
    check(&folder, "explain spce.yaml", 2, &["spce.yaml: no such file; did you mean spec.yaml?"]);
    check(&folder, "run specs.yaml --input caller.wav --output answer.wav", 2, &["did you mean spec.yaml?"]);
    std::fs::create_dir_all(folder.path().join("specs/pipelines")).expect("a folder can be made");
    std::fs::write(folder.path().join("specs/pipelines/mine.yaml"), "").expect("a file can be written");
    check(&folder, "explain mine.yaml", 2, &["mine.yaml: no such file; did you mean specs/pipelines/mine.yaml?"]);
}

#[test]
fn what_is_no_document_is_told_in_one_sentence() {
    let folder = folder("");
    std::fs::create_dir(folder.path().join("calls")).expect("a folder can be made");
    std::fs::write(folder.path().join("latin.yaml"), b"name: caf\xe9\n").expect("a file can be written");
    for (command, what) in [("explain", "a pipeline's spec"), ("trace", "a scenario")] {
        check(&folder, &format!("{command} calls"), 2, &[&format!("calls is a folder; give the path of {what}")]);
        let message = format!("latin.yaml is no text (byte 9 is no UTF-8); give the path of {what}");
        check(&folder, &format!("{command} latin.yaml"), 2, &[&message]);
        check(&folder, &format!("{command} xyz"), 2, &[&format!("xyz: no such file; give the path of {what}")]);
    }
    check(&folder, "explain nothing.rspp", 2, &["nothing.rspp: no such file; give the path of a recording"]);
    check(&folder, "demo --output spec.yaml --fast --no-install", 1, &["spec.yaml", "can't be written"]);
}

#[test]
fn a_spec_that_is_not_there_is_named() {
    let folder = folder("");
    check(&folder, "explain nothing.yaml", 2, &["nothing.yaml"]);
    check(&folder, "run nothing.yaml --input caller.wav --output answer.wav", 2, &["nothing.yaml"]);
    check(&folder, "trace nothing.yaml", 2, &["nothing.yaml"]);
}

#[test]
fn a_wrong_spec_is_told_with_its_place_and_a_hint() {
    let merges = "nodes: {one: {type: merge}, two: {type: merge}}\nedges: [one -> two, two -> one]";
    check_spec("", &["error[RSPP0001]: the spec is empty", "--> spec.yaml", "help: begin with a template"]);
    check_spec(
        "kind: PipelineSpec\nname: test\nversoin: 1\n",
        &["error[RSPP0040]: a PipelineSpec has no field versoin", "--> spec.yaml:3:1", "help: did you mean `version`?"],
    );
    check_spec(
        &spec("a", "b", "nodes: {vad: {type: vad, detectr: energy}}"),
        &["spec.yaml:6:", "a node of type vad has no field detectr", "help: did you mean `detector`?"],
    );
    check_spec(
        &spec("a", "b", "nodes: {playout: {type: plaout}}"),
        &["spec.yaml:6:", "no node type is named plaout", "help: did you mean `playout`?"],
    );
    check_spec(
        &spec("a", "b", "nodes: {again: {type: segmenter}}\nedges: [caller -> again]"),
        &["spec.yaml:7:", "caller gives audio, and again takes text", "help: put a node between"],
    );
    check_spec(&spec("a", "b", merges), &["spec.yaml:7:", "a cycle: one, two", "help: an edge can't lead back"]);
    check_spec(
        &spec("a", "b", "nodes: {again: {type: segmenter}}"),
        &["spec.yaml:6:", "nothing reaches input text of again", "help: add an edge `SOME_NODE -> again.text`"],
    );
    check_spec(
        "kind: PipelineSpec\nname: test\nversion: 1\ntemplate: voice-assistant\nbind: {stt: a, llm: b}\n",
        &["tts calls a provider, and none is bound to it", "help: add `bind: {tts: PROVIDER}`"],
    );
}

#[test]
fn a_binding_that_means_nothing_is_told_with_its_node() {
    let remedy = "`wyoming+tcp://HOST:PORT`";
    check(&folder(&spec("elephant", "b", "")), RUN, 2, &["stt is bound to `elephant`", remedy]);
    let model = spec("a", "b", "").replace("dialogue:dialogue.yaml", "gpt");
    check(&folder(&model), RUN, 2, &["llm is bound to `gpt`", "`dialogue:FILE`"]);
    let missing = spec("a", "b", "").replace("dialogue.yaml", "nothing.yaml");
    check(&folder(&missing), RUN, 2, &["nothing.yaml"]);
    let not_one = spec("a", "b", "").replace("dialogue.yaml", "spec.yaml");
    check(&folder(&not_one), RUN, 2, &["spec.yaml"]);
}

#[test]
fn a_callers_file_that_is_none_is_named_and_told_what_to_do() {
    let folder = folder(&spec("a", "b", ""));
    std::fs::write(folder.path().join("empty.wav"), "").expect("a file can be written");
    std::fs::write(folder.path().join("song.mp3"), "ID3 and more").expect("a file can be written");
    std::fs::create_dir(folder.path().join("calls")).expect("a folder can be made");
    for (input, message) in [
        ("nothing.wav", "there is no file nothing.wav: check the path"),
        ("empty.wav", "empty.wav holds no audio: record it again"),
        ("song.mp3", "song.mp3 is not a WAV file that can be read (it does not begin with RIFF and WAVE): convert it"),
        ("spec.yaml", "spec.yaml is not a WAV file"),
        ("calls", "calls is not an ordinary file: give the path of a WAV file"),
    ] {
        check(&folder, &RUN.replace("caller.wav", input), 2, &[message]);
    }
}

// ---- places and engines that fail -----------------------------------------------------------------------------

/// A spec of two scripted engines.
fn scripted_spec(hears: &'static [&'static str]) -> String {
    let address = engine::start(hears);
    energy_spec(&format!("wyoming+tcp://{address}#in-order"), &format!("wyoming+tcp://{address}"))
}

#[test]
fn a_place_that_can_not_be_written_to_is_named() {
    let folder = folder(&scripted_spec(&["where are you"]));
    let output = RUN.replace("answer.wav", "nowhere/answer.wav");
    check(&folder, &output, 1, &["nowhere/answer.wav", "check that its folder exists"]);
    check(&folder, &format!("{RUN} --record nowhere/call.rspp"), 1, &["nowhere/call.rspp"]);
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let program = "speech engine no-such-program: there is no such program; install it, or correct the command";
    for stt in ["wyoming+stdio:no-such-program", "wyoming+stdio:no-such-program#in-order"] {
        check(&folder(&energy_spec(stt, "b")), RUN, 1, &[program]);
    }
    let tts = energy_spec("wyoming+stdio:cat", "wyoming+stdio:no-such-program");
    check(&folder(&tts), &format!("{RUN} --json --record call.rspp"), 1, &[program]);
    let nobody = energy_spec("wyoming+tcp://127.0.0.1:1", "b");
    check(&folder(&nobody), RUN, 1, &["127.0.0.1:1", "start the engine there, or correct the address"]);
}

/// What a call that broke leaves behind may be tried again.
#[test]
fn a_call_that_could_not_begin_can_be_tried_again() {
    let folder = folder(&energy_spec("wyoming+stdio:no-such-program", "b"));
    for _ in 0..2 {
        check(&folder, &format!("{RUN} --record call.rspp"), 1, &["no-such-program"]);
    }
}

/// A shell script that answers `describe` and one more event, says its last words and ends.
const DIES: &str = "read describe\necho '{\"type\": \"info\"}'\necho out of memory >&2\nexit 3\n";

fn folder_with_dying(stt: bool) -> TempDir {
    let folder = folder("");
    let script = folder.path().join("dies.sh");
    std::fs::write(&script, DIES).expect("a file can be written");
    let address = engine::start(&["where are you"]);
    let (dies, lives) = (format!("wyoming+stdio:sh {}", script.display()), format!("wyoming+tcp://{address}"));
    let spec = if stt { energy_spec(&dies, &lives) } else { energy_spec(&lives, &dies) };
    std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
    folder
}

#[test]
fn an_engine_that_dies_in_a_call_ends_it_with_its_last_words() {
    for stt in [true, false] {
        let contains = ["dies.sh: it ended with exit status: 3: out of memory; run the command by hand to see why"];
        check(&folder_with_dying(stt), RUN, 1, &contains);
        check(&folder_with_dying(stt), &format!("{RUN} --json --record call.rspp"), 1, &contains);
    }
}

#[test]
fn an_engine_that_dies_in_a_call_in_real_time_ends_it_too() {
    check(&folder_with_dying(false), &format!("{RUN} --realtime"), 1, &["dies.sh: it ended with exit status: 3"]);
}

// ---- recordings -----------------------------------------------------------------------------------------------

/// A folder with a recording of a scripted call in it.
fn folder_with_recording() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let scenario = repository().join("tests/golden/interruption.yaml").display().to_string();
    let ran = rspp(folder.path(), &["trace", &scenario, "--record", "call.rspp"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    folder
}

#[test]
fn what_is_no_recording_or_not_a_whole_one_is_named() {
    let folder = folder_with_recording();
    let whole = std::fs::read(folder.path().join("call.rspp")).expect("it was recorded");
    for (name, bytes) in [("empty", &whole[..0]), ("text", b"no recording"), ("cut", &whole[..whole.len() / 2])] {
        std::fs::write(folder.path().join(name).with_extension("rspp"), bytes).expect("a file can be written");
    }
    check(&folder, "replay nothing.rspp", 2, &["nothing.rspp: no such file; give the path of a recording"]);
    check(&folder, "replay .", 2, &["give the path of a recording"]);
    for name in ["empty.rspp", "text.rspp"] {
        check(&folder, &format!("replay {name}"), 1, &[name, "not a recording", "check which file was given"]);
    }
    check(&folder, "replay cut.rspp", 1, &["cut.rspp: record", "in tick ", "the file ends within it"]);
}

#[test]
fn an_altered_byte_is_told_with_its_events() {
    let folder = folder_with_recording();
    let path = folder.path().join("call.rspp");
    let (whole, recording) = (std::fs::read(&path).expect("it is there"), Recording::open(&path).expect("it is whole"));
    let blocks = blocks(&whole);
    assert!(blocks.iter().map(|block| u64::from(block.events)).sum::<u64>() == recording.records.len() as u64);
    for block in blocks.iter().filter(|block| block.events > 0) {
        std::fs::write(&path, altered(&whole, block.payload.end - 1)).expect("a file can be written");
        let first = &recording.records[block.first as usize - 1];
        let event = format!("in tick {} at {} ms", first.tick, first.at.0 / 1_000);
        let records = format!("records {} to {},", block.first, block.first + u64::from(block.events) - 1);
        let ran = rspp(folder.path(), &["replay", "call.rspp"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        for part in [&*records, &event, "its checksum does not fit"] {
            assert!(ran.stderr.contains(part), "no `{part}` in: {}", ran.stderr);
        }
        // What stands before it is good, and comes out again.
        let good = format!("identical: {} records", block.first - 1);
        assert!(if block.first == 1 { ran.stdout.is_empty() } else { ran.stdout.starts_with(&good) }, "{}", ran.stdout);
    }
}

#[test]
fn an_altered_input_is_told_by_what_first_follows_from_it() {
    let folder = folder_with_recording();
    let path = folder.path().join("call.rspp");
    let mut recording = Recording::open(&path).expect("it is whole");
    let text = recording.records.iter_mut().find_map(|record| match &mut record.entry {
        Entry::Input(_, Input::Provider(_, ProviderResult::Text(text))) => Some(text),
        _ => None,
    });
    *text.expect("the model answers") = "Nobody said this. ".into();
    let mut file = RecordingFile::create(&path, recording.head.clone()).expect("the folder is there");
    file.append(&recording.records).expect("the records are within their limits");
    file.finish().expect("there is room");
    check(&folder, "replay call.rspp", 1, &["call.rspp: differs: tick ", "recorded: ", "Nobody said this."]);
}

// ---- a whole call with scripted engines -----------------------------------------------------------------------

const QUESTIONS: [&str; 3] = ["when do you open on monday", "when do you close on friday", "where are you"];

/// A question with a pause in it and its answer; a question whose answer is cut by a third one.
fn caller(path: &Path) {
    let first = [silence(500), speech(800), silence(300), speech(700), silence(8_000)].concat();
    let cut = [speech(1_200), silence(1_800), speech(1_000), silence(500)].concat();
    write_caller(path, &[first, cut].concat());
}

fn scripted_call(folder: &TempDir, name: &str) -> Call {
    let folder = folder.path();
    Call::hold(&folder.join("spec.yaml"), &folder.join("caller.wav"), &folder.join(name), &[])
}

#[test]
fn a_call_with_an_interruption_is_reported_and_nothing_of_the_cut_answer_is_heard() {
    let folder = folder(&scripted_spec(&QUESTIONS));
    caller(&folder.path().join("caller.wav"));
    let call = scripted_call(&folder, "once");
    let turns = call.turns();
    let said: Vec<&str> = turns.iter().map(|turn| turn.user_text.as_str()).collect();
    assert_eq!(said, QUESTIONS);
    assert_eq!(turns.iter().map(|turn| turn.turn).collect::<Vec<u32>>(), [1, 2, 3]);
    assert_eq!(turns[0].agent_text, "We are closed on Mondays. We open again on Tuesday, at noon.");
    turns[0].check_heard_out();
    turns[1].check_cut();
    turns[2].check_heard_out();
    let report = call.report();
    let fields = |of: &serde_json::Value| of.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&report), ["counts", "plan_hash", "session", "turns"]);
    assert_eq!(fields(&report["counts"]), ["drops", "fenced", "frames_in", "frames_out"]);
    assert_eq!((&report["session"], &report["counts"]["drops"]), (&"caller".into(), &0.into()));
    let count = |name: &str| report["counts"][name].as_u64().expect("a number");
    assert!(count("frames_in") > 700 && count("frames_out") > 300, "{}", call.json);
    assert_eq!(check_cancelled_turns(&call), 1);
}

#[test]
fn the_same_call_gives_the_same_bytes_and_replays() {
    let folder = folder(&scripted_spec(&QUESTIONS));
    caller(&folder.path().join("caller.wav"));
    let calls = ["once", "again"].map(|name| scripted_call(&folder, name));
    assert!(calls[0].bytes() == calls[1].bytes(), "two runs differ: {}\n{}", calls[0].json, calls[1].json);
    calls.iter().for_each(Call::check_replay);
}

#[test]
fn one_address_may_be_bound_to_the_recogniser_and_to_the_voice() {
    let address = engine::start(&["where are you"]);
    let both = format!("wyoming+tcp://{address}#in-order");
    let folder = folder(&energy_spec(&both, &both));
    let turns = scripted_call(&folder, "call").turns();
    assert_eq!(turns.len(), 1, "the caller asked one question");
    turns[0].check_heard_out();
}

// ---- where no engine is there ---------------------------------------------------------------------------------

const CAPTIONS: &str = "kind: Captions\ncaptions:\n  - {from_ms: 500, to_ms: 1300, words: when do you open on monday}\n  \
                        - {from_ms: 11300, to_ms: 12300, words: where are you}\n";

fn folder_with_captions(captions: &str) -> TempDir {
    let folder = folder(&energy_spec("captions:call.captions.yaml", "tone:"));
    std::fs::write(folder.path().join("call.captions.yaml"), captions).expect("a file can be written");
    folder
}

#[test]
fn captions_and_tones_hold_a_call_without_any_engine() {
    let folder = folder_with_captions(CAPTIONS);
    let said = [silence(500), speech(800), silence(10_000), speech(1_000), silence(500)].concat();
    write_caller(&folder.path().join("caller.wav"), &said);
    let calls = ["once", "again"].map(|name| scripted_call(&folder, name));
    let turns = calls[0].turns();
    let heard: Vec<&str> = turns.iter().map(|turn| turn.user_text.as_str()).collect();
    assert_eq!(heard, ["when do you open on monday", "where are you"]);
    turns.iter().for_each(call::Turn::check_heard_out);
    let loud = calls[0].heard().iter().filter(|sample| sample.unsigned_abs() > 1_000).count();
    assert!(loud > 16_000, "the answers can be heard: {loud} samples");
    assert!(calls[0].bytes() == calls[1].bytes(), "two runs differ");
    calls[0].check_replay();
}

#[test]
fn captions_that_can_not_be_used_are_told_with_their_place() {
    let place = "call.captions.yaml: line 3, column 5: 900 to 500 ms is no stretch of a call";
    let wrong = "kind: Captions\ncaptions:\n  - {from_ms: 900, to_ms: 500, words: hello}\n";
    check(&folder_with_captions(wrong), RUN, 2, &[place]);
    let missing = folder(&energy_spec("captions:nothing.yaml", "tone:"));
    check(&missing, RUN, 2, &["the captions nothing.yaml: ", "looked for beside the spec"]);
}
