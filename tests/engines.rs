//! `rspp engines` and `rspp doctor` on machines that a test describes. Needs nothing but Rust and a shell; what needs
//! a real Python and its index is in `rootless` and is ignored, unless `.ci/run` asks for it.
#![cfg(unix)]

#[path = "engines/machine.rs"]
mod machine;
#[path = "engines/rootless.rs"]
mod rootless;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use machine::{Machine, Ran};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const ESPEAK: (&str, &str) = ("espeak-ng", "echo 'eSpeak NG text-to-speech: 1.51  Data at: /usr/share'");

/// What a run printed, as a snapshot has it.
fn told(ran: &Ran) -> String {
    format!("exit code {:?}\n---- stdout\n{}---- stderr\n{}", ran.code, ran.stdout, ran.stderr)
}

// ---- list -----------------------------------------------------------------------------------------------------

#[test]
fn a_machine_with_nothing_is_told_what_to_do() {
    assert_snapshot!("list_nothing", told(&Machine::new(&[]).rspp("engines list")));
}

#[test]
fn a_machine_with_a_voice_and_a_python_is_told_what_it_lacks() {
    let machine = Machine::new(&[ESPEAK]).with_python();
    assert_snapshot!("list_voice", told(&machine.rspp("engines")));
}

#[test]
fn what_is_listed_is_also_there_for_programs() {
    let machine = Machine::new(&[ESPEAK]).with_python();
    let listed = machine.rspp("engines list --json --wyoming 127.0.0.1:1");
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).expect("it is JSON");
    let works = |engine: &serde_json::Value| format!("{} {}", engine["binding"], engine["works"]).replace('"', "");
    let engines: Vec<String> = listed["engines"].as_array().expect("a list").iter().map(works).collect();
    let expected = [
        "wyoming+tcp://127.0.0.1:1 false",
        "wyoming+tcp://127.0.0.1:1 false",
        "bundled:pocketsphinx false",
        "bundled:espeak-ng true",
        "bundled:flite false",
        "bundled:espeakng-loader false",
        " false",
    ];
    assert_eq!(engines, expected);
    assert_eq!((&listed["chosen"]["tts"], &listed["cache"]), (&"bundled:espeak-ng".into(), &"FOLDER/cache".into()));
}

#[test]
fn where_nothing_works_a_check_fails() {
    assert_snapshot!("check_nothing", told(&Machine::new(&[]).rspp("engines check")));
}

// ---- install, with a Python that plays pip --------------------------------------------------------------------

fn fetched(machine: &Machine) -> Vec<String> {
    let text = std::fs::read_to_string(machine.path("fetched")).unwrap_or_default();
    text.lines().map(|line| line.split("==").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn engines_are_installed_once_and_removed() {
    let machine = Machine::new(&[]).with_python();
    assert_snapshot!("install", told(&machine.rspp("engines install")));
    assert_eq!(fetched(&machine), ["pocketsphinx", "espeakng-loader"]);
    let left = |name: &str| machine.path("cache/engines").join(name).exists();
    assert_eq!(["bin/python", "site", "installed.json", "wheels", "pip"].map(left), [true, true, true, false, false]);
    assert_snapshot!("install_again", told(&machine.rspp("engines install")));
    assert_eq!(fetched(&machine).len(), 2, "nothing is fetched twice");
    let listed = machine.rspp("engines");
    assert!(listed.stdout.contains("stt: bundled:pocketsphinx, tts: bundled:espeakng-loader"), "{}", listed.stdout);
    let removed = ["engines remove", "engines remove"].map(|args| machine.rspp(args).stdout);
    assert_eq!(removed, ["removed what was installed in FOLDER/cache\n", "nothing is installed in FOLDER/cache\n"]);
    assert!(!left("bin/python"));
}

/// A program and all that it starts; killed, whatever becomes of the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        self.0.wait().expect("it is ours");
    }
}

/// Starts an installation that waits at a package, reads what it says up to there, and kills it with all that it
/// started: of that, what fetches has a group of its own, and is known to wait.
fn interrupted(machine: &Machine, package: &str, meanwhile: impl FnOnce()) {
    let hang = machine.path(&format!("hang-{package}"));
    assert!(Command::new("mkfifo").arg(&hang).status().is_ok_and(|status| status.success()), "there is room");
    let mut command = machine.command("engines install");
    let started = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut group = Group(started.expect("cargo has built the program"));
    let stderr = BufReader::new(group.0.stderr.take().expect("it is piped"));
    let mut lines = stderr.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(&format!("fetching {package}"))), "it gets that far");
    let fetches = std::fs::read_to_string(&hang).expect("it is a pipe");
    let fetches = fetches.trim().parse().ok().and_then(Pid::from_raw).expect("its number");
    meanwhile();
    drop(group);
    kill_process(fetches, Signal::KILL).expect("it sleeps");
    std::fs::remove_file(&hang).expect("it is there");
}

#[test]
fn an_interrupted_installation_goes_on_where_it_was_and_two_do_not_collide() {
    let machine = Machine::new(&[]).with_python();
    interrupted(&machine, "espeakng-loader", || {
        assert_snapshot!("install_busy", told(&machine.rspp("engines install")));
        assert_eq!(machine.rspp("engines remove").code, Some(1));
    });
    assert!(!machine.path("cache/engines").exists(), "half an installation is none");
    assert_eq!(fetched(&machine), ["pocketsphinx"]);
    assert_eq!(machine.rspp("engines install").code, Some(0));
    assert_eq!(fetched(&machine), ["pocketsphinx", "espeakng-loader"], "what had come in was kept");
}

#[test]
fn an_installation_that_was_begun_with_other_packages_begins_anew() {
    let machine = Machine::new(&[]).with_python();
    interrupted(&machine, "espeakng-loader", || {});
    let begun = machine.path("cache/engines.building/installed.json");
    let other = std::fs::read_to_string(&begun).expect("it was begun").replace("3.11.7", "3.9.1");
    std::fs::write(&begun, other).expect("there is room");
    assert_eq!(machine.rspp("engines install").code, Some(0));
    assert_eq!(fetched(&machine), ["pocketsphinx", "pocketsphinx", "espeakng-loader"]);
}

#[test]
fn one_engine_is_better_than_none() {
    let machine = Machine::new(&[]).with_python();
    machine.touch("lacks-pocketsphinx");
    assert_snapshot!("install_one", told(&machine.rspp("engines install")));
    std::fs::remove_file(machine.path("lacks-pocketsphinx")).expect("it is there");
    let installed = machine.rspp("engines install");
    assert!(
        installed.stdout.starts_with("installed: pocketsphinx 5.1.1, espeakng-loader 0.2.4\n"),
        "{}",
        told(&installed)
    );
}

// ---- what goes wrong ------------------------------------------------------------------------------------------

#[test]
fn without_a_python_nothing_is_installed() {
    assert_snapshot!("install_no_python", told(&Machine::new(&[]).rspp("engines install")));
}

#[test]
fn an_index_that_does_not_answer_is_told() {
    let machine = Machine::new(&[]).with_python();
    machine.touch("offline");
    assert_snapshot!("install_offline", told(&machine.rspp("engines install")));
    std::fs::remove_file(machine.path("offline")).expect("it is there");
    assert_eq!(machine.rspp("engines install").code, Some(0), "it can be tried again");
}

#[test]
fn a_machine_for_which_nothing_is_ready_made_is_told() {
    let machine = Machine::new(&[]).with_python();
    machine.touch("lacks-pocketsphinx");
    machine.touch("lacks-espeakng-loader");
    assert_snapshot!("install_nothing_ready", told(&machine.rspp("engines install")));
}

#[test]
fn a_cache_that_can_not_be_is_told() {
    let machine = Machine::new(&[]).with_python().without("RSPP_CACHE_DIR");
    assert_snapshot!("install_no_cache", told(&machine.rspp("engines install")));
    machine.touch("file");
    let folder = machine.folder.path().display().to_string();
    let machine = machine.with("RSPP_CACHE_DIR", &format!("{folder}/file/cache"));
    assert_snapshot!("install_cache_in_a_file", told(&machine.rspp("engines install")));
}

#[test]
fn a_python_that_is_named_and_not_there_is_told_in_a_call() {
    let machine = Machine::new(&[]).with_python().with("RSPP_ENGINES_PYTHON", "no-such-python");
    let listed = machine.rspp("engines");
    assert!(listed.stdout.contains("no-such-python: there is no such program"), "{}", listed.stdout);
}

// ---- doctor ---------------------------------------------------------------------------------------------------

/// What is the same on every machine: the lines of these names, with their numbers as `N`.
const SAME: [&str; 8] = ["trial call", "terminal", "python", "recogniser", "voice", "model", "cache", "scratch"];
const ALL: [&str; 15] = [
    "program",
    "processors",
    "clock",
    "wake-up",
    "trial call",
    "terminal",
    "sound",
    "python",
    "recogniser",
    "voice",
    "model",
    "cache",
    "room",
    "scratch",
    "open files",
];

fn without_numbers(text: &str) -> String {
    let mut said = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' if said.ends_with('N') => {}
            '0'..='9' => said.push('N'),
            other => said.push(other),
        }
    }
    said
}

/// A report's lines by name, each with what to do about it.
fn by_name(report: &str) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    for line in report.lines().take_while(|line| !line.is_empty()) {
        match line.get(9..21) {
            Some(name) if !line.starts_with(' ') => named.push((name.trim().to_owned(), line.to_owned())),
            _ => named.last_mut().expect("a line comes before what to do").1.push_str(&format!("\n{line}")),
        }
    }
    named
}

#[test]
fn a_doctor_looks_at_everything_and_says_what_to_do() {
    for (name, machine) in [
        ("doctor_nothing", Machine::new(&[])),
        ("doctor_voice", Machine::new(&[ESPEAK]).with_python().with("NO_COLOR", "1")),
    ] {
        let ran = machine.rspp("doctor");
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
        let lines = by_name(&ran.stdout);
        assert_eq!(lines.iter().map(|line| line.0.as_str()).collect::<Vec<_>>(), ALL);
        let same: Vec<&str> =
            lines.iter().filter(|line| SAME.contains(&line.0.as_str())).map(|line| line.1.as_str()).collect();
        assert_snapshot!(name, without_numbers(&same.join("\n")));
        assert!(ran.stdout.ends_with("\n\nCalls can be held here.\n"), "{}", ran.stdout);
    }
}

#[test]
fn a_doctor_tells_a_problem_and_its_exit_code_too() {
    let machine = Machine::new(&[]);
    let folder = machine.folder.path().display().to_string();
    let machine = machine.with("TMPDIR", &format!("{folder}/nowhere"));
    let ran = machine.rspp("doctor");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let scratch = by_name(&ran.stdout).into_iter().find(|line| line.0 == "scratch").expect("it is looked at").1;
    assert!(
        scratch.starts_with("PROBLEM") && scratch.ends_with("set TMPDIR to a folder that may be written"),
        "{scratch}"
    );
    let ran = machine.rspp("doctor --json");
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    assert_eq!((ran.code, &told["healthy"]), (Some(1), &false.into()));
    assert_eq!(told["lines"].as_array().map(Vec::len), Some(ALL.len()));
}

#[test]
fn a_doctor_finds_what_plays_sound() {
    let machine = Machine::new(&[("aplay", "exit 0"), ("play", "exit 0")]);
    let sound = by_name(&machine.rspp("doctor").stdout).into_iter().find(|line| line.0 == "sound");
    assert!(sound.expect("it is looked at").1.contains("aplay, play; "));
    let runtime = machine.path("run");
    std::fs::create_dir(&runtime).expect("a folder can be made");
    std::fs::write(runtime.join("pipewire-0"), "").expect("there is room");
    let machine = machine.with("XDG_RUNTIME_DIR", &runtime.display().to_string());
    let sound = by_name(&machine.rspp("doctor").stdout).into_iter().find(|line| line.0 == "sound");
    assert_eq!(sound.expect("it is looked at").1, "ok       sound        aplay, play; PipeWire answers");
}
