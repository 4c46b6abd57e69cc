//! `rspp engines install` from the package index that this machine is set to, with a Python that has neither venv nor
//! ensurepip nor pip. `.ci/run` runs it where `ci/setup` could reach the index; without a Python it says so and passes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Group;
use super::machine::Machine;

/// A Python that has no pip and can't get one from its own library. What it is asked besides, the real one answers.
const BARE_PYTHON: &str = r#"
case "$1 $2" in
    "-m pip" | "-m ensurepip" | "-m venv") echo "$0: No module named $2" >&2; exit 1 ;;
esac
exec 'REAL' "$@"
"#;

/// The interpreter itself: what is on the path may be a script that needs its own environment.
fn real_python() -> Option<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let path = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| PathBuf::from(path.trim()))
}

/// A machine with that Python and no voice, set to the index to which this one is set.
fn bare_machine(test: &str) -> Option<Machine> {
    let Some(real) = real_python() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test} needs python3");
        return None;
    };
    let script = BARE_PYTHON.replace("REAL", &real.display().to_string());
    let machine = Machine::new(&[("python3", &script)]);
    let home = machine.folder.path().display().to_string();
    let of_pip =
        |name: &str| name.starts_with("PIP_") || name.to_lowercase().ends_with("_proxy") || name == "SSL_CERT_FILE";
    let variables = std::env::vars().filter(|(name, _)| of_pip(name));
    let machine = variables.fold(machine.with("HOME", &home), |machine, (name, value)| machine.with(&name, &value));
    // What a person has set in a file of their own.
    let own = std::env::var("HOME").map(|home| PathBuf::from(home).join(".config/pip/pip.conf")).ok();
    let set = std::env::var("PIP_CONFIG_FILE").is_err();
    Some(match own.filter(|path| path.is_file() && set) {
        Some(path) => machine.with("PIP_CONFIG_FILE", &path.display().to_string()),
        None => machine,
    })
}

fn json(machine: &Machine, args: &str) -> Value {
    let ran = machine.rspp(args);
    assert_eq!(ran.code, Some(0), "{args}: {}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{args}: {error}: {}", ran.stdout))
}

/// Kills an installation when it begins with its second package.
fn interrupt(machine: &Machine) {
    let mut command = machine.command("engines install");
    let started = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut group = Group(started.expect("cargo has built the program"));
    let lines = BufReader::new(group.0.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let reached = lines.inspect(|line| said.push(line.clone())).any(|line| line.contains("fetching espeakng-loader"));
    drop(group);
    assert!(reached, "{}", said.join("\n"));
}

fn listed(machine: &Machine) -> Vec<String> {
    let listed = json(machine, "engines list --json");
    let engines = listed["engines"].as_array().expect("a list").iter();
    let works = engines.filter(|engine| engine["works"] == true);
    works.map(|engine| engine["binding"].as_str().expect("a text").to_owned()).collect()
}

#[test]
#[ignore = "needs python3 and the package index"]
fn engines_come_from_the_index_speak_understand_and_go() {
    let Some(machine) = bare_machine("installing") else { return };
    assert_eq!(listed(&machine), [""; 0]);
    interrupt(&machine);
    assert_eq!(listed(&machine), [""; 0], "half an installation is none");
    let installed = machine.rspp("engines install");
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    assert!(installed.stdout.starts_with("installed: pocketsphinx 5.1.1, espeakng-loader "), "{}", installed.stdout);
    let log = std::fs::read_to_string(machine.path("cache/install.log")).expect("it was written");
    assert!(!log.contains("Collecting pocketsphinx"), "what had come in is not fetched again: {log}");
    assert_eq!(listed(&machine), ["bundled:pocketsphinx", "bundled:espeakng-loader"]);
    let checked = json(&machine, "engines check --json");
    let pair = &checked["recognisers"][0];
    assert_eq!((&pair["recogniser"], &pair["voice"]), (&"pocketsphinx".into(), &"espeakng-loader".into()));
    assert!(pair["accuracy_percent"].as_f64().is_some_and(|percent| percent >= 80.0), "{checked:#}");
    assert!(checked["voices"][0]["first_audio_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{checked:#}");
    hold_a_call(&machine);
    let removed = machine.rspp("engines remove");
    assert_eq!((removed.code, removed.stdout.as_str()), (Some(0), "removed what was installed in FOLDER/cache\n"));
    assert_eq!(listed(&machine), [""; 0]);
}

/// Two calls with the installed voice give the same bytes: a text is said the same way each time. A spec that binds the
/// program espeak-ng, which is not here, gets it, too.
fn hold_a_call(machine: &Machine) {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(repository.join("specs/examples/restaurant.dialogue.yaml"), machine.path("dialogue.yaml"))
        .expect("the dialogue is bundled");
    let spec = "kind: PipelineSpec\nname: test\nversion: 1\ntemplate: voice-assistant\n\
                bind: {stt: 'captions:captions.yaml', llm: 'dialogue:dialogue.yaml', tts: 'bundled:VOICE'}\n\
                nodes: {vad: {type: vad, detector: energy}}\n";
    let captions = "kind: Captions\ncaptions:\n  - {from_ms: 400, to_ms: 1400, words: where are you}\n";
    std::fs::write(machine.path("captions.yaml"), captions).expect("there is room");
    let form = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut caller = hound::WavWriter::create(machine.path("caller.wav"), form).expect("there is room");
    for at in 0..32_000 {
        let hum = if at / 40 % 2 == 0 { 3_000_i16 } else { -3_000 };
        let sample = if (6_400..22_400).contains(&at) { hum } else { 0 };
        caller.write_sample(sample).expect("there is room");
    }
    caller.finalize().expect("there is room");
    let answers = ["espeakng-loader", "espeak-ng"].map(|voice| {
        std::fs::write(machine.path("spec.yaml"), spec.replace("VOICE", voice)).expect("there is room");
        let call = json(machine, "run spec.yaml --input caller.wav --output answer.wav --json");
        assert_eq!(call["turns"][0]["terminal"], "commit", "{call:#}");
        std::fs::read(machine.path("answer.wav")).expect("the call was written")
    });
    assert!(answers[0] == answers[1], "two runs differ");
}

/// An index that answers these paths, for as long as the test runs.
fn index(pages: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read == 1) {
                asked.push(byte[0]);
            }
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let path = asked.split(' ').nth(1).unwrap_or_default();
            let page = pages.iter().find(|(known, _)| known == path);
            let (status, body) = page.map_or(("404 Not Found", &b""[..]), |(_, body)| ("200 OK", body.as_slice()));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body));
        }
    });
    format!("http://{address}/simple")
}

fn check_index(pages: Vec<(String, Vec<u8>)>, contains: &str) {
    let Some(machine) = bare_machine("an index") else { return };
    let index = index(pages).replace("http://", "http://me:secret@");
    let ran = machine.with("PIP_INDEX_URL", &index).rspp("engines install");
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("looking for pip failed") && ran.stderr.contains(contains), "{}", ran.stderr);
    assert!(!ran.stderr.contains("secret"), "a password is nobody's business: {}", ran.stderr);
}

#[test]
#[ignore = "needs python3"]
fn an_index_whose_pip_can_not_be_used_is_told() {
    let page = |links: &str| vec![("/simple/pip/".to_owned(), links.as_bytes().to_vec())];
    let link = |name: &str, more: &str| format!("<a href=\"../../{name}#sha256={}\" {more}>{name}</a>", "0".repeat(64));
    let wheel = "pip-99.0-py3-none-any.whl";
    check_index(Vec::new(), "answers with status 404");
    check_index(page("<html>"), "the index has no pip for Python 3");
    check_index(page(&link("pip-99.0.tar.gz", "")), "the index has no pip for Python 3");
    check_index(page(&link(wheel, "data-yanked=\"\"")), "the index has no pip for Python 3");
    check_index(page(&link(wheel, "data-requires-python=\"&gt;=4\"")), "the index has no pip for Python 3");
    check_index(page(&link(wheel, "")), "answers with status 404");
    let mut wrong = page(&link(wheel, "data-requires-python=\"&gt;=3.6,!=3.7.*\""));
    wrong.push((format!("/{wheel}"), b"not what was promised".to_vec()));
    check_index(wrong, "is not what the index says: its SHA-256 differs");
}
