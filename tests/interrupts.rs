//! Ctrl-C and SIGTERM at any moment of any command: the program ends within a second, nothing that it started is
//! left, and what it wrote is whole. Each test waits until the program is where it wants it, and then sends a signal.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rspp::adapters::audio::read_call;
use rspp::adapters::recording::Recording;
use rspp::specs::timeline::{Entry, Signal as Said};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// So long the program may take to end.
const LIMIT: Duration = Duration::from_secs(1);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

// ---- the program ----------------------------------------------------------------------------------------------

struct Program(Child);

/// What it left when it had ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Program {
    fn start(folder: &Path, args: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
        command.args(args.split_whitespace()).current_dir(folder).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(child.expect("cargo has built the program"))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a child has a number");
        kill_process(pid, signal).expect("the program runs");
    }

    /// Waits for the end, which must come in time after `since`.
    fn end(mut self, since: Instant) -> Ended {
        let code = self.0.wait().expect("it is a child of ours").code();
        let took = since.elapsed();
        assert!(took < LIMIT, "it took {} ms to end", took.as_millis());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.0.stdout.take().expect("it is a pipe").read_to_string(&mut stdout).expect("it writes UTF-8");
        self.0.stderr.take().expect("it is a pipe").read_to_string(&mut stderr).expect("it writes UTF-8");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Ended { code, stdout, stderr }
    }

    /// Sends signals at once, and waits for the end.
    fn interrupt(self, signals: &[Signal]) -> Ended {
        let since = Instant::now();
        signals.iter().for_each(|signal| self.signal(*signal));
        self.end(since)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that fails leaves nothing behind either.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// ---- a call that goes on until it is interrupted --------------------------------------------------------------

const RUN: &str = "run spec.yaml --input caller.wav --output answer.wav --record call.rspp";

/// A folder with a minute of a caller's speech, and a spec with this recogniser and voice.
fn folder(stt: &str, tts: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let spec = format!(
        "kind: PipelineSpec\nname: test\nversion: 1\ntemplate: voice-assistant\n\
         bind: {{stt: \"{stt}\", llm: \"dialogue:dialogue.yaml\", tts: \"{tts}\"}}\n\
         nodes: {{vad: {{type: vad, detector: energy}}}}\n"
    );
    std::fs::write(folder.path().join("spec.yaml"), spec).expect("a file can be written");
    let dialogue = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/examples/restaurant.dialogue.yaml");
    std::fs::copy(dialogue, folder.path().join("dialogue.yaml")).expect("the dialogue is bundled");
    let form = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(folder.path().join("caller.wav"), form).expect("the folder is there");
    let speech = (0..60 * 16_000).map(|at| if at / 40 % 2 == 0 { 3_000_i16 } else { -3_000 });
    speech.for_each(|sample| writer.write_sample(sample).expect("there is room"));
    writer.finalize().expect("there is room");
    folder
}

/// An engine that takes everything and answers nothing. Tells when it is asked the first time.
fn silent_engine() -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = format!("wyoming+tcp://{}#in-order", listener.local_addr().expect("it is bound"));
    let (asked, ready) = channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let asked = asked.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(socket);
                let mut line = String::new();
                if reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    let _ = asked.send(());
                }
                let _: Option<TcpStream> =
                    std::io::copy(&mut reader, &mut std::io::sink()).ok().map(|_| reader.into_inner());
            });
        }
    });
    (address, ready)
}

fn has_ended(recording: &Recording) -> bool {
    let ended = |record: &rspp::specs::timeline::Record| matches!(record.entry, Entry::Signal(_, Said::SessionEnded));
    recording.records.iter().any(ended)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read"));
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_call_in_real_time_ends_its_session_and_its_files_are_whole() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (engine, ready) = silent_engine();
        let folder = folder(&engine, &engine);
        let program = Program::start(folder.path(), &format!("{RUN} --realtime"));
        ready.recv_timeout(PATIENCE).expect("the caller speaks, and the recogniser is asked");
        let ended = program.interrupt(&[signal]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.stderr, "rspp: stopped: the session was ended, and its files are whole\n");
        assert!(ended.stdout.contains("recorded; try: rspp replay call.rspp"), "{}", ended.stdout);
        let recording = Recording::open(folder.path().join("call.rspp")).expect("the recording is whole");
        assert!(has_ended(&recording));
        assert!(!read_call(folder.path().join("answer.wav")).expect("the WAV file is whole").samples.is_empty());
        assert_eq!(names(folder.path()), ["answer.wav", "call.rspp", "caller.wav", "dialogue.yaml", "spec.yaml"]);
    }
}

#[test]
fn a_call_whose_engine_does_not_answer_ends_without_it() {
    let (engine, ready) = silent_engine();
    let folder = folder(&engine, &engine);
    let program = Program::start(folder.path(), RUN);
    ready.recv_timeout(PATIENCE).expect("the caller speaks, and the recogniser is asked");
    let ended = program.interrupt(&[Signal::INT]);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("an engine did not end it in time"), "{}", ended.stderr);
    let (recording, _) = Recording::open_prefix(folder.path().join("call.rspp")).expect("what there is can be read");
    assert!(!recording.records.is_empty() && !has_ended(&recording));
    assert_eq!(
        names(folder.path()),
        ["call.rspp", "caller.wav", "dialogue.yaml", "spec.yaml"],
        "no half of a WAV file"
    );
}

#[test]
fn a_second_signal_ends_a_call_where_it_stands() {
    let (engine, ready) = silent_engine();
    let folder = folder(&engine, &engine);
    let program = Program::start(folder.path(), RUN);
    ready.recv_timeout(PATIENCE).expect("the caller speaks, and the recogniser is asked");
    // Two of one kind that come together may be one.
    let ended = program.interrupt(&[Signal::INT, Signal::TERM]);
    assert!(matches!(ended.code, Some(130 | 143)), "{:?} {}", ended.code, ended.stderr);
    let (recording, damage) =
        Recording::open_prefix(folder.path().join("call.rspp.partial")).expect("what there is can be read");
    assert!(!recording.records.is_empty() && damage.is_some_and(|damage| damage.detail.is_empty()), "whole records");
    assert!(!folder.path().join("answer.wav").exists());
}

/// An engine that has a child of its own, and tells both numbers when it is asked.
const ENGINE: &str = "read line\nsleep 1000 &\necho $$ $! >numbers\nwait\n";

#[test]
fn no_engine_and_nothing_that_it_started_is_left() {
    for (signals, realtime) in
        [(&[Signal::INT][..], false), (&[Signal::INT, Signal::TERM], false), (&[Signal::TERM], true)]
    {
        let (engine, _) = silent_engine();
        let folder = folder("wyoming+stdio:sh engine.sh#in-order", &engine);
        std::fs::write(folder.path().join("engine.sh"), ENGINE).expect("a file can be written");
        make_fifo(&folder.path().join("numbers"));
        let program = Program::start(folder.path(), &format!("{RUN}{}", if realtime { " --realtime" } else { "" }));
        let numbers = std::fs::read_to_string(folder.path().join("numbers")).expect("the engine tells");
        let numbers: Vec<i32> = numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        assert_eq!(numbers.len(), 2);
        assert!(numbers.iter().all(|number| lives(*number)), "the engine works");
        program.interrupt(signals);
        // Killed before the program ended; the system may take a moment to take them down.
        let deadline = Instant::now() + PATIENCE;
        while numbers.iter().any(|number| lives(*number)) {
            assert!(Instant::now() < deadline, "{numbers:?} are left behind");
            std::thread::yield_now();
        }
    }
}

/// Whether a process runs; one that is dead and not waited for does not.
fn lives(number: i32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        return stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"));
    }
    let listed = Command::new("ps").args(["-o", "stat=", "-p", &number.to_string()]).output().expect("there is ps");
    let state = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("there is mkfifo");
    assert!(made.success());
}

// ---- the demo -------------------------------------------------------------------------------------------------

/// Players of sound: one finds no device, the other keeps what it is given.
const PLAYERS: [(&str, &str); 2] = [("paplay", "exit 1"), ("aplay", "exec cat >heard.raw")];

fn executable(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\nPATH={}\n{script}\n", std::env::var("PATH").unwrap_or_default()))
        .expect("a file can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn the_demo_is_heard_and_ends_properly_when_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).expect("a folder can be made");
    PLAYERS.iter().for_each(|(name, script)| executable(&programs.join(name), script));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(["demo", "--no-install"]).current_dir(folder.path()).env("PATH", &programs).stdin(Stdio::null());
    command.env("RSPP_ENGINES_PYTHON", programs.join("python")).env("RSPP_CACHE_DIR", &programs);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut program = Program(child.expect("cargo has built the program"));
    let mut lines = BufReader::new(program.0.stdout.take().expect("it is a pipe")).lines().map_while(Result::ok);
    let told = |line: &String| line.contains("first sound after");
    let before: Vec<String> = lines.by_ref().take_while(|line| !told(line)).collect();
    assert!(before.iter().any(|line| line.contains("aplay: the caller left, the agent right")), "{before:?}");
    let since = Instant::now();
    program.signal(Signal::INT);
    let rest: Vec<String> = lines.collect();
    let code = program.0.wait().expect("it is a child of ours").code();
    assert!(since.elapsed() < LIMIT && code == Some(130), "{code:?} after {} ms", since.elapsed().as_millis());
    assert!(rest.iter().any(|line| line.contains("call    ends")), "{rest:?}");
    let recording = Recording::open(folder.path().join("call.rspp")).expect("the recording is whole");
    assert!(has_ended(&recording));
    let heard = read_call(folder.path().join("answer.wav")).expect("the WAV file is whole").samples;
    let raw = std::fs::read(folder.path().join("heard.raw")).expect("it was played");
    let left: Vec<i16> = raw.as_chunks::<4>().0.iter().map(|frame| i16::from_le_bytes([frame[0], frame[1]])).collect();
    let loud = |samples: &[i16]| samples.iter().filter(|sample| sample.unsigned_abs() > 1_000).count();
    assert!(loud(&left) > 1_000 && !heard.is_empty(), "the caller is heard on the left");
}

// ---- commands without a call ----------------------------------------------------------------------------------

#[test]
fn a_command_that_reads_ends_at_once() {
    for (command, file) in [
        ("explain spec.yaml", "spec.yaml"),
        ("trace call.yaml --record call.rspp", "call.yaml"),
        ("replay call.rspp", "call.rspp"),
    ] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let folder = tempfile::tempdir().expect("a folder can be made");
            make_fifo(&folder.path().join(file));
            let program = Program::start(folder.path(), command);
            // Opens when the program reads, which then waits for what never comes.
            let writer = std::fs::File::options().write(true).open(folder.path().join(file)).expect("it reads");
            let ended = program.interrupt(&[signal]);
            assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(code), "", ""), "{command}");
            drop(writer);
            assert_eq!(names(folder.path()), [file], "{command} leaves nothing");
        }
    }
}

#[test]
fn a_long_trace_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::copy(golden.join("scripted.yaml"), folder.path().join("scripted.yaml")).expect("it is there");
    make_fifo(&folder.path().join("call.yaml"));
    let program = Program::start(folder.path(), "trace call.yaml");
    let scenario =
        "kind: Scenario\nname: long\nspec: scripted.yaml\nuntil_ms: 36000000\ncaller: {until_ms: 36000000}\n";
    std::fs::write(folder.path().join("call.yaml"), scenario).expect("the program reads it");
    assert_eq!(program.interrupt(&[Signal::INT]).code, Some(130), "ten hours are not traced in an instant");
}
