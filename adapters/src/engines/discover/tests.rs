//! Searches of machines that a folder describes: programs in it are shell scripts.

use std::fs;
use std::io::{BufReader, Write};
use std::net::TcpListener;

use tempfile::TempDir;

use super::*;
use crate::wyoming::framing::{WireEvent, read_event, write_event};

/// A machine with these programs on its path, each a line of shell.
struct Described {
    folder: TempDir,
}

impl Described {
    fn new(programs: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, script) in programs {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("there is room");
            super::super::install::executable(&path).expect("it is ours");
        }
        Self { folder }
    }

    fn search(&self, more: &[(&str, &str)]) -> Found {
        let path = self.folder.path().as_os_str();
        // A server of models is looked for at no usual place: somebody may listen there.
        let mut variables = vec![("PATH", path), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1".as_ref())];
        variables.extend(more.iter().map(|(name, value)| (*name, value.as_ref())));
        Found::on(&Machine::described(&variables, self.folder.path()))
    }
}

const ESPEAK: (&str, &str) = ("espeak-ng", "echo 'eSpeak NG text-to-speech: 1.51  Data at: /usr/share'");
const FLITE: (&str, &str) = ("flite", "echo '  version: flite-2.2-current Sep 2018 (http://a.b)'; exit 1");

fn python(pocketsphinx: &str, loader: &str) -> String {
    format!(
        "echo 'a package prints this'\necho '{{\"version\": \"3.11.7\", \"new_enough\": true, \"pip\": false, \
         \"interpreter\": \"/usr/bin/python3\", \"pocketsphinx\": {pocketsphinx}, \"espeakng_loader\": {loader}}}'"
    )
}

const MISSING: &str = "{\"missing\": true}";

/// The engines of a search in short: name, version, and why not.
fn told(found: &Found) -> Vec<String> {
    let tell = |engine: &Engine| match &engine.state {
        State::Works => format!("{:?} {} {} works", engine.kind, engine.name, engine.version),
        State::Fails { why, .. } => format!("{:?} {}: {why}", engine.kind, engine.name),
    };
    found.engines.iter().filter(|engine| engine.kind != Kind::Model).map(tell).collect()
}

fn check(programs: &[(&str, &str)], expected: [&str; 4]) {
    let found = Described::new(programs).search(&[]);
    assert_eq!(told(&found), expected, "{programs:?}");
    for engine in &found.engines {
        if let State::Fails { why, remedy } = &engine.state {
            assert!(!why.is_empty() && !remedy.is_empty(), "{engine:?}");
        }
    }
}

#[test]
fn what_is_on_the_path_and_in_pythons_is_found() {
    let both = python("{\"version\": \"5.1.1\"}", "{\"version\": \"0.2.4\"}");
    check(
        &[ESPEAK, FLITE, ("python3", &both)],
        [
            "Recogniser pocketsphinx 5.1.1 works",
            "Voice espeak-ng 1.51 works",
            "Voice flite 2.2 works",
            "Voice espeakng-loader 0.2.4 works",
        ],
    );
    let no_path = "there is no such program on the path";
    let no_package = "no Python here has the package";
    check(
        &[("python3", &python(MISSING, "{\"broken\": \"OSError: no\\u001b[2J\"}"))],
        [
            &format!("Recogniser pocketsphinx: {no_package}"),
            &format!("Voice espeak-ng: {no_path}"),
            &format!("Voice flite: {no_path}"),
            "Voice espeakng-loader: OSError: no [2J",
        ],
    );
}

#[test]
fn without_a_python_nothing_bundled_works_and_that_is_told() {
    let none = "there is no Python 3, which drives the bundled engines";
    let no_path = "Voice flite: there is no such program on the path";
    let [recogniser, voice, loader] = ["Recogniser pocketsphinx", "Voice espeak-ng", "Voice espeakng-loader"];
    check(
        &[ESPEAK],
        [&format!("{recogniser}: {none}"), &format!("{voice}: {none}"), no_path, &format!("{loader}: {none}")],
    );
    let broken = Described::new(&[("python3", "echo out of order >&2; exit 3")]).search(&[]);
    assert!(told(&broken)[0].ends_with("python3: it ended with exit status: 3: out of order"), "{:?}", told(&broken));
    let old = python(MISSING, MISSING).replace("3.11.7", "3.6.1").replace("true, \"pip\"", "false, \"pip\"");
    let old = Described::new(&[("python3", &old)]).search(&[]);
    assert!(told(&old)[0].ends_with("it is Python 3.6.1, before 3.9"), "{:?}", told(&old));
}

#[test]
fn a_program_that_does_not_run_is_told() {
    let broken = "echo 'error while loading shared libraries' >&2; exit 127";
    check(
        &[("espeak-ng", broken), ("python3", &python(MISSING, MISSING))],
        [
            "Recogniser pocketsphinx: no Python here has the package",
            "Voice espeak-ng: it ended with exit status: 127: error while loading shared libraries",
            "Voice flite: there is no such program on the path",
            "Voice espeakng-loader: no Python here has the package",
        ],
    );
}

/// A Wyoming engine that says this of itself, once.
fn wyoming_engine(info: &WireEvent) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let info = info.clone();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("somebody asks");
        let mut reader = BufReader::new(socket.try_clone().expect("a socket can be shared"));
        assert_eq!(read_event(&mut reader).ok().flatten().map(|event| event.kind).as_deref(), Some("describe"));
        let _ = write_event(&mut socket, &info).and_then(|()| Ok(socket.flush()?));
    });
    address
}

#[test]
fn wyoming_engines_come_first_by_what_they_say_of_themselves() {
    let whisper = serde_json::json!([{"name": "faster-\u{1b}whisper", "version": "2.0"}]);
    let piper = serde_json::json!([{"name": "piper", "version": "1.6.0"}]);
    let strange = wyoming_engine(&WireEvent::new("info").with("asr", whisper).with("tts", piper));
    let ours = wyoming_engine(&WireEvent::new("info").with("asr", serde_json::json!([{"name": "rspp-pocketsphinx"}])));
    let free = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let nobody = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let machine = Described::new(&[ESPEAK, ("python3", &python(MISSING, MISSING))]);
    let found = machine.search(&[("RSPP_WYOMING", &format!("{strange}, tcp://{ours} ,{nobody},"))]);
    let bindings: Vec<&str> = found.engines.iter().take(5).map(|engine| engine.binding.as_str()).collect();
    let address = |address: &str| format!("wyoming+tcp://{address}");
    let (strange, nobody) = (address(&strange), address(&nobody));
    assert_eq!(bindings, [&strange, &strange, &format!("{}#in-order", address(&ours)), &nobody, &nobody]);
    let told = told(&found);
    assert_eq!(told[..2], ["Recogniser faster- whisper 2.0 works", "Voice piper 1.6.0 works"]);
    assert!(told[3].starts_with("Recogniser wyoming: no connection"), "{told:?}");
    let chosen = super::super::choose(&found, None);
    assert_eq!((chosen.stt.as_deref(), chosen.tts.as_str()), (Some(strange.as_str()), strange.as_str()));
    assert_eq!(chosen.warning, None);
}

#[test]
fn a_server_of_models_that_is_named_is_told_also_where_it_is_not_there() {
    let found = Described::new(&[]).search(&[("OPENAI_BASE_URL", "http://me:secret@127.0.0.1:1/v1?key=secret")]);
    let models: Vec<&Engine> = found.engines.iter().filter(|engine| engine.kind == Kind::Model).collect();
    assert_eq!(models.len(), 1);
    assert_eq!(models[0].place, "http://127.0.0.1:1/v1");
    assert!(!models[0].works() && !format!("{models:?}").contains("secret"), "{models:?}");
}

#[test]
fn versions_are_found_in_what_programs_say() {
    for (text, expected) in [
        ("eSpeak NG text-to-speech: 1.52.0  Data at: /a/b-1.2", "1.52.0"),
        ("Copyright (c) 1999-2016\n  version: flite-2.2-current Sep 2018", "2.2"),
        ("no version at all", ""),
    ] {
        assert_eq!(version_in(text), expected);
    }
}
