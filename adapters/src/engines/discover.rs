//! The search for engines: programs on the path, packages of the Pythons, Wyoming engines at given addresses, servers
//! of models. Every wait has a limit; parts of the search that wait run side by side.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Deserialize;

use super::command::{clean, run};
use super::models::{NoList, USUAL, models, shown};
use super::{Engine, Machine, State};
use crate::provider::Kind;
use crate::wyoming::{Connection, Info, Program, Timeouts};

const PROBE: &str = include_str!("../../../engines/probe.py");
/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(5);
/// How long a Python may take to load the engines.
const LOAD: Duration = Duration::from_secs(30);
/// How long a Wyoming engine may take to say what it is.
const WYOMING: Timeouts =
    Timeouts { connect: Duration::from_secs(1), describe: Duration::from_secs(5), write: Duration::from_secs(1) };
/// Wyoming addresses that are asked.
const MAX_ADDRESSES: usize = 16;
/// Programs of one Wyoming engine that are told.
const MAX_PROGRAMS: usize = 16;

const GPL: &str = "GPL-3.0-or-later, in a process of its own";

/// What was found on a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Of each kind, the first choice first; those that were looked for and can't be used, too.
    pub engines: Vec<Engine>,
    /// The Pythons that the bundled engines may run in, the first choice first.
    pub pythons: Vec<Python>,
}

/// A Python, and which engines load in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// Its version, or why it is of no use.
    pub version: Result<String, String>,
    /// The interpreter behind the program, apart from any virtual environment; empty if it gives none.
    pub interpreter: String,
    /// Whether it has pip.
    pub pip: bool,
    /// The recogniser.
    pub pocketsphinx: Package,
    /// The voice that needs no root.
    pub espeakng_loader: Package,
}

/// A package of a Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// It loads; its version.
    Version(String),
    /// It is there and does not load; why.
    Broken(String),
    /// It is not there.
    Missing,
}

impl Found {
    /// Searches a machine.
    pub fn on(machine: &Machine) -> Self {
        thread::scope(|scope| {
            let wyoming = scope.spawn(|| wyoming(machine));
            let models = scope.spawn(|| servers(machine));
            let voices = scope.spawn(|| ["espeak-ng", "flite"].map(|name| (name, program(machine, name))));
            let pythons: Vec<Python> = machine.pythons().iter().map(|program| probe(program)).collect();
            // Nothing in these threads panics, and a search that found nothing is still one.
            let mut engines = wyoming.join().unwrap_or_default();
            engines.push(pocketsphinx(&pythons));
            if let Ok(voices) = voices.join() {
                engines.extend(voices.map(|(name, found)| voice(name, found, &pythons)));
            }
            engines.push(espeakng_loader(&pythons));
            engines.extend(models.join().unwrap_or_default());
            Self { engines, pythons }
        })
    }

    /// Those of a kind that work, the first choice first.
    pub fn working(&self, kind: Kind) -> impl Iterator<Item = &Engine> {
        self.engines.iter().filter(move |engine| engine.kind == kind && engine.works())
    }
}

fn fails(why: impl Into<String>, remedy: &str) -> State {
    State::Fails { why: why.into(), remedy: remedy.to_owned() }
}

// ---- programs -------------------------------------------------------------------------------------------------

/// A program on the path: where, and its version or why it does not run.
type OnPath = Option<(PathBuf, Result<String, String>)>;

fn program(machine: &Machine, name: &str) -> OnPath {
    let path = machine.program(name)?;
    let version = match run(Command::new(&path).arg("--version"), VERSION) {
        // flite says its version and ends with 1.
        Ok(ran) if ran.status.success() || !version_in(&ran.stdout).is_empty() => Ok(version_in(&ran.stdout)),
        Ok(ran) => Err(clean(&format!("it ended with {}: {}", ran.status, ran.stderr))),
        Err(error) => Err(error.to_string()),
    };
    Some((path, version))
}

/// The first number with a point in it.
fn version_in(text: &str) -> String {
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let words = text.split(|c: char| c.is_whitespace() || "-,:()".contains(c));
    clean(words.into_iter().find(is_version).unwrap_or_default())
}

fn voice(name: &str, found: OnPath, pythons: &[Python]) -> Engine {
    let licence = if name == "flite" { "BSD-like" } else { GPL };
    let install =
        format!("install the system's package {name}, or run `rspp engines install` for a voice without root");
    let (place, version, state) = match found {
        None => (String::new(), String::new(), fails("there is no such program on the path", &install)),
        Some((path, Err(why))) => (path.display().to_string(), String::new(), fails(why, &install)),
        Some((path, Ok(version))) => {
            let driven = pythons.iter().any(|python| python.version.is_ok());
            let state = if driven { State::Works } else { no_python(pythons) };
            (path.display().to_string(), version, state)
        }
    };
    let binding = format!("bundled:{name}");
    Engine { kind: Kind::Voice, name: name.to_owned(), binding, version, licence, place, state }
}

fn no_python(pythons: &[Python]) -> State {
    let install = "install Python 3.9 or later, or name one in RSPP_ENGINES_PYTHON";
    match pythons.first() {
        Some(Python { program, version: Err(why), .. }) => fails(format!("{}: {why}", program.display()), install),
        _ => fails("there is no Python 3, which drives the bundled engines", install),
    }
}

// ---- packages of Pythons --------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Probed {
    version: String,
    new_enough: bool,
    interpreter: String,
    pip: bool,
    pocketsphinx: ProbedPackage,
    espeakng_loader: ProbedPackage,
}

#[derive(Deserialize)]
struct ProbedPackage {
    version: Option<String>,
    broken: Option<String>,
}

impl From<ProbedPackage> for Package {
    fn from(probed: ProbedPackage) -> Self {
        match (probed.version, probed.broken) {
            (Some(version), _) => Package::Version(clean(&version)),
            (None, Some(why)) => Package::Broken(clean(&why)),
            (None, None) => Package::Missing,
        }
    }
}

/// Asks a Python what it is and what loads in it.
pub(super) fn probe(program: &Path) -> Python {
    let answer = run(Command::new(program).args(["-c", PROBE]), LOAD);
    let useless = |why: String| Python {
        program: program.to_owned(),
        version: Err(why),
        interpreter: String::new(),
        pip: false,
        pocketsphinx: Package::Missing,
        espeakng_loader: Package::Missing,
    };
    let ran = match answer {
        Ok(ran) if ran.status.success() => ran,
        Ok(ran) => return useless(clean(&format!("it ended with {}: {}", ran.status, last_line(&ran.stderr)))),
        Err(error) => return useless(error.to_string()),
    };
    // What a package prints when it loads comes before.
    let Ok(probed) = serde_json::from_str::<Probed>(last_line(&ran.stdout)) else {
        return useless(clean(&format!("it does not answer as a Python does: {}", last_line(&ran.stdout))));
    };
    let version = clean(&probed.version);
    Python {
        program: program.to_owned(),
        version: if probed.new_enough { Ok(version) } else { Err(format!("it is Python {version}, before 3.9")) },
        interpreter: probed.interpreter,
        pip: probed.pip,
        pocketsphinx: probed.pocketsphinx.into(),
        espeakng_loader: probed.espeakng_loader.into(),
    }
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().next_back().unwrap_or_default()
}

fn pocketsphinx(pythons: &[Python]) -> Engine {
    let (version, place, state) = package(pythons, |python| &python.pocketsphinx);
    let (name, binding) = ("pocketsphinx".to_owned(), "bundled:pocketsphinx".to_owned());
    Engine { kind: Kind::Recogniser, name, binding, version, licence: "BSD-2-Clause, its model too", place, state }
}

fn espeakng_loader(pythons: &[Python]) -> Engine {
    let (version, place, state) = package(pythons, |python| &python.espeakng_loader);
    let (name, binding) = ("espeakng-loader".to_owned(), "bundled:espeakng-loader".to_owned());
    Engine { kind: Kind::Voice, name, binding, version, licence: GPL, place, state }
}

/// The first Python in which a package loads; else the first in which it is broken.
fn package(pythons: &[Python], of: impl Fn(&Python) -> &Package) -> (String, String, State) {
    let install = "run `rspp engines install`: no root, no key";
    let usable = || pythons.iter().filter(|python| python.version.is_ok());
    let mut broken = None;
    for python in usable() {
        let place = python.program.display().to_string();
        match of(python) {
            Package::Version(version) => return (version.clone(), place, State::Works),
            Package::Broken(why) if broken.is_none() => broken = Some((String::new(), place, fails(why, install))),
            Package::Broken(_) | Package::Missing => {}
        }
    }
    let missing = match usable().next() {
        Some(_) => fails("no Python here has the package", install),
        None => no_python(pythons),
    };
    broken.unwrap_or((String::new(), String::new(), missing))
}

// ---- servers --------------------------------------------------------------------------------------------------

fn wyoming(machine: &Machine) -> Vec<Engine> {
    let addresses = machine.text("RSPP_WYOMING").unwrap_or_default().split(',').map(str::trim);
    let addresses: Vec<&str> = addresses.filter(|address| !address.is_empty()).take(MAX_ADDRESSES).collect();
    thread::scope(|scope| {
        let asked: Vec<_> = addresses.iter().map(|address| scope.spawn(|| wyoming_at(address))).collect();
        asked.into_iter().flat_map(|asked| asked.join().unwrap_or_default()).collect()
    })
}

fn wyoming_at(address: &str) -> Vec<Engine> {
    let host = address.strip_prefix("wyoming+tcp://").or_else(|| address.strip_prefix("tcp://")).unwrap_or(address);
    let described = Connection::connect(host, WYOMING).and_then(|mut connection| connection.describe());
    let place = clean(host);
    let engine = |kind, name: String, version: &str, binding, state| {
        let (version, place) = (clean(version), place.clone());
        Engine { kind, name, binding, version, licence: "", place, state }
    };
    let binding = format!("wyoming+tcp://{place}");
    match described {
        Err(error) => {
            let fails = |kind| {
                let (why, remedy) = (clean(&error.fault.to_string()), error.fault.remedy());
                engine(kind, "wyoming".to_owned(), "", binding.clone(), fails(why, remedy))
            };
            vec![fails(Kind::Recogniser), fails(Kind::Voice)]
        }
        Ok(info) => {
            let recognises = if info.is_ours() { format!("{binding}#in-order") } else { binding.clone() };
            let of = |kind, programs: &[Program], binding: &str| -> Vec<Engine> {
                let of = |it: &Program| engine(kind, clean(&it.name), &it.version, binding.to_owned(), State::Works);
                programs.iter().take(MAX_PROGRAMS).map(of).collect()
            };
            let Info { asr, tts } = &info;
            [of(Kind::Recogniser, asr, &recognises), of(Kind::Voice, tts, &binding)].concat()
        }
    }
}

/// The models of the server that `OPENAI_BASE_URL` names, or of those that listen at the usual places.
fn servers(machine: &Machine) -> Vec<Engine> {
    if let Some(base) = machine.text("OPENAI_BASE_URL") {
        return server("OPENAI_BASE_URL", base, true);
    }
    thread::scope(|scope| {
        let asked = USUAL.map(|(name, base)| scope.spawn(move || server(name, base, false)));
        asked.into_iter().flat_map(|asked| asked.join().unwrap_or_default()).collect()
    })
}

fn server(name: &str, base: &str, named: bool) -> Vec<Engine> {
    let place = shown(base);
    let engine = |name: String, state| {
        let (binding, version, place) = (String::new(), String::new(), place.clone());
        vec![Engine { kind: Kind::Model, name, binding, version, licence: "", place, state }]
    };
    match models(base) {
        Ok(models) if models.is_empty() => {
            engine(name.to_owned(), fails("the server has no model", "have it load one, as `ollama pull MODEL` does"))
        }
        Ok(models) => models.into_iter().flat_map(|model| engine(model, State::Works)).collect(),
        // At a usual place may be anybody.
        Err(_) if !named => Vec::new(),
        Err(NoList::Nobody(why)) => engine(name.to_owned(), fails(why, "start the server, or correct OPENAI_BASE_URL")),
        Err(NoList::NoServer(why)) => engine(name.to_owned(), fails(why, "correct OPENAI_BASE_URL; it ends with /v1")),
    }
}

#[cfg(test)]
mod tests;
