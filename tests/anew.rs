//! Recorded calls stepped through, and held anew: by the same pipeline, by another one, with other providers.

#[path = "call/golden.rs"]
mod golden;
#[path = "call/program.rs"]
mod program;
#[path = "call/recorded.rs"]
mod recorded;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use program::{Ran, rspp};
use recorded::calls;
use tempfile::TempDir;

/// Runs the program with orders on its standard input.
fn ordered(folder: &Path, args: &str, orders: &str) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command
        .args(args.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("cargo has built the program");
    child.stdin.take().expect("it is a pipe").write_all(orders.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn lines_of(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect()
}

#[test]
fn a_cursor_steps_stops_is_saved_and_goes_on() {
    let folder = calls(&["plain-call"]);
    let whole = ordered(folder.path(), "replay plain-call.rspp --step", "c\n");
    assert_eq!((whole.code, whole.stderr.as_str()), (Some(0), ""));
    let first = ordered(folder.path(), "replay plain-call.rspp --step", "n\nn 99\nt\np\nsave here.json\nq\n");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stdout.contains("at ") && first.stdout.contains("saved: go on with --from here.json"));
    assert!(first.stdout.contains("up to here identical"));
    let rest = ordered(folder.path(), "replay plain-call.rspp --step --from here.json", "c\n");
    assert_eq!(rest.code, Some(0), "{}", rest.stderr);
    let (all, before, after) = (lines_of(&whole), lines_of(&first), lines_of(&rest));
    assert!(before.len() >= 100 && after.len() > 50);
    assert_eq!(all, [before, after].concat(), "nothing is skipped, and nothing twice");
    let unknown = ordered(folder.path(), "replay plain-call.rspp --step", "jump\n");
    assert!(unknown.stdout.contains("? n [COUNT], t, c, p, save FILE, q"));
}

#[test]
fn a_place_is_a_tick_a_time_or_a_turn() {
    let folder = calls(&["plain-call"]);
    for (from, begins) in [
        ("turn:1", "1520 78 in     C turn_open_proposed"),
        ("78", "1520 78 in     C turn_open_proposed"),
        ("78.1", "1520 78 signal C admit"),
        ("1.52s", "1520 77 "),
        ("1520ms", "1520 77 "),
    ] {
        let ran = ordered(folder.path(), &format!("replay plain-call.rspp --step --from {from}"), "n\n");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.starts_with(begins), "{from}: {}", ran.stdout);
    }
}

#[test]
fn a_wrong_place_is_told_in_one_sentence() {
    let folder = calls(&["plain-call", "interruption"]);
    ordered(folder.path(), "replay interruption.rspp --step", "n 5\nsave other.json\n");
    std::fs::write(folder.path().join("none.json"), "{}").expect("a file can be written");
    for (from, says) in [
        ("soon", "`soon` is no place in a recording"),
        ("99999", "the recording has no tick 99999"),
        ("turn:5", "the recording has no turn 5"),
        ("1h", "is no place"),
        ("100s", "the recording has no 100000 ms"),
        ("other.json", "saved in another recording"),
        ("none.json", "no saved cursor"),
    ] {
        let ran = rspp(folder.path(), &["replay", "plain-call.rspp", "--from", from]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{from}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{from}: {}", ran.stderr);
    }
    let ran = rspp(folder.path(), &["replay", "plain-call.rspp", "--against", "x.yaml", "--step"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let ran = rspp(folder.path(), &["replay", "plain-call.rspp", "--bind", "lmm=tone:"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("no node lmm") && ran.stderr.contains("llm, stt, tts"), "{}", ran.stderr);
}

const SPEC: &str = "specs/pipelines/voice-assistant.yaml";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The bundled caller, held by engines that are on every machine.
fn held() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let at = |path: &str| repository().join(path).display().to_string();
    let (spec, input) = (at(SPEC), at("specs/examples/restaurant.caller.wav"));
    let bindings = ["--bind", "stt=captions:../examples/restaurant.captions.yaml", "--bind", "tts=tone:"];
    let files = ["--input", &input, "--output", "answer.wav", "--record", "call.rspp"];
    let ran = rspp(folder.path(), &[&["run", spec.as_str()][..], &bindings, &files].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    folder
}

fn replayed(folder: &TempDir, more: &[&str]) -> Ran {
    let specs = repository().join("specs/pipelines").display().to_string();
    let args = [&["replay", "call.rspp", "--beside", specs.as_str()], more].concat();
    rspp(folder.path(), &args)
}

#[test]
fn providers_that_are_asked_again_give_the_same_call() {
    let folder = held();
    for mode in ["playback", "resimulate"] {
        let ran = replayed(&folder, &["--mode", mode, "--wav", "again.wav"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{mode}: {}", ran.stdout);
        assert!(ran.stdout.starts_with("identical: "), "{mode}: {}", ran.stdout);
        let sound = std::fs::read(folder.path().join("again.wav")).expect("it was written");
        assert!(
            sound == std::fs::read(folder.path().join("answer.wav")).expect("so was this"),
            "{mode}: the same sound"
        );
    }
}

#[test]
fn a_call_from_memory_is_the_same_call() {
    let folder = held();
    let spec = std::fs::read_to_string(repository().join(SPEC)).expect("it is there");
    let bound = spec.replace("bundled:pocketsphinx", "captions:../examples/restaurant.captions.yaml");
    std::fs::write(folder.path().join("same.yaml"), bound.replace("bundled:espeak-ng", "\"tone:\""))
        .expect("there is room");
    // Neither the captions nor the dialogue are there: the recording has what they said.
    let ran = replayed(&folder, &["--against", "same.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
}

#[test]
fn yesterdays_caller_meets_another_policy() {
    let folder = held();
    let spec = "kind: PipelineSpec\nname: ignoring\nversion: 2\nprofile: simple/v1\ntemplate: voice-assistant\n\
                turn: {interruption: ignore}\nbind: {stt: a, llm: b, tts: c}\n";
    std::fs::write(folder.path().join("ignoring.yaml"), spec).expect("a file can be written");
    let ran = replayed(&folder, &["--against", "ignoring.yaml", "--record", "other.rspp"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("plan: turn.interruption: \"hold\" -> \"ignore\""), "{}", ran.stdout);
    // The interruption is not heard, so the second answer is heard to its end.
    let ran = rspp(folder.path(), &["summary", "other.rspp"]);
    assert!(ran.stdout.contains("interruptions  0"), "{}", ran.stdout);
    let ran = rspp(folder.path(), &["diff", "call.rspp", "other.rspp", "--html", "report.html"]);
    assert_eq!(ran.code, Some(1));
    let page = std::fs::read_to_string(folder.path().join("report.html")).expect("it was written");
    assert_eq!(page.matches("<svg ").count(), 2);
    assert_eq!(rspp(folder.path(), &["replay", "other.rspp"]).code, Some(0), "what came out replays, too");
}

#[test]
fn one_node_is_answered_by_another_provider() {
    let folder = held();
    let ran = replayed(&folder, &["--bind", "llm=say:Please call again tomorrow."]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stdout.contains("differs first: PLAN: another provider is asked"), "{}", ran.stdout);
    assert!(ran.stdout.contains("nobody recorded speech for \"Please call again tomorrow.\""), "{}", ran.stdout);
    assert!(ran.stdout.contains("heard \"Please call again tomorrow.\""), "{}", ran.stdout);
}

#[test]
fn others_decisions_are_recorded_or_left_out() {
    let folder = calls(&["admission"]);
    let recorded = rspp(folder.path(), &["summary", "admission.rspp", "--json"]).stdout;
    let ran = rspp(folder.path(), &["replay", "admission.rspp", "--decisions", "recompute", "--record", "free.rspp"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let turns = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
        value["turns"].as_array().map_or(0, Vec::len)
    };
    let free = rspp(folder.path(), &["summary", "free.rspp", "--json"]).stdout;
    assert!(turns(&free) > turns(&recorded), "without the quota more turns open");
}

#[test]
fn a_live_replay_draws_the_call() {
    let folder = calls(&["interruption"]);
    let ran = rspp(folder.path(), &["replay", "interruption.rspp", "--speed", "10000"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("hold") && ran.stdout.contains("identical: "), "{}", ran.stdout);
}
