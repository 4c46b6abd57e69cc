//! `rspp doctor`: what is on this machine, what works, and what to do about the rest.

mod clock;
mod trial;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rspp_adapters::engines::{Engine, Found, Machine, State};
use rspp_adapters::provider::Kind;
use serde::Serialize;

use crate::engines::columns;

/// Programs that play sound, with the sound system that they are of.
const PLAYERS: [(&str, &str); 7] = [
    ("pw-cat", "PipeWire"),
    ("pw-play", "PipeWire"),
    ("paplay", "PulseAudio"),
    ("aplay", "ALSA"),
    ("afplay", "macOS"),
    ("ffplay", "FFmpeg"),
    ("play", "SoX"),
];
/// A wake-up that is later than this can be heard: half a frame.
const LATE_WAKE_UP: Duration = Duration::from_millis(10);
/// What the engines need while they are installed.
const ROOM_MIB: u64 = 250;
/// Files that a call has open, engines and all, and some more.
const FEW_FILES: u64 = 64;
/// Files that a few dozen calls have open.
const ENOUGH_FILES: u64 = 1_024;

/// How good a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Calls go without it, less well.
    Note,
    /// Something that every call needs is broken.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How good it is.
    pub level: Level,
    /// What was looked at.
    pub name: &'static str,
    /// What was seen.
    pub says: String,
    /// What to do about it.
    pub next: Option<String>,
}

impl Line {
    fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, name, says: says.into(), next: None }
    }

    fn note(name: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Note, name, says: says.into(), next: Some(next.into()) }
    }

    fn problem(name: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Problem, name, says: says.into(), next: Some(next.into()) }
    }
}

/// Looks at everything; gives the report, and whether every call's needs are met.
pub fn run(json: bool) -> (String, bool) {
    let lines = examine(&Machine::this());
    let healthy = lines.iter().all(|line| line.level != Level::Problem);
    (if json { told(&lines, healthy) } else { tell(&lines, healthy) }, healthy)
}

fn examine(machine: &Machine) -> Vec<Line> {
    let found = Found::on(machine);
    let mut lines = vec![program(), processors()];
    lines.extend(clock());
    lines.extend([trial_call(), terminal(), sound(machine), python(&found)]);
    lines.extend([engine(&found, Kind::Recogniser), engine(&found, Kind::Voice), model(&found)]);
    lines.extend([cache(machine), room(machine), folder(), open_files()]);
    lines
}

fn tell(lines: &[Line], healthy: bool) -> String {
    let mut text = String::new();
    for Line { level, name, says, next } in lines {
        let level = match level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Problem => "PROBLEM",
        };
        text += &format!("{level:8} {name:12} {says}\n");
        if let Some(next) = next {
            text += &format!("{:21} -> {next}\n", "");
        }
    }
    text + if healthy {
        "\nCalls can be held here.\n"
    } else {
        "\nCalls can't be held here until the problems are solved.\n"
    }
}

fn told(lines: &[Line], healthy: bool) -> String {
    format!("{:#}\n", serde_json::json!({ "healthy": healthy, "lines": lines }))
}

// ---- the program and its clock --------------------------------------------------------------------------------

fn program() -> Line {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    Line::ok("program", format!("rspp {} for {os} on {architecture}", env!("CARGO_PKG_VERSION")))
}

fn processors() -> Line {
    match std::thread::available_parallelism() {
        Ok(count) => Line::ok("processors", format!("{count}")),
        Err(error) => Line::note("processors", format!("not known: {error}"), "nothing: one is enough"),
    }
}

fn clock() -> [Line; 2] {
    let resolution = clock::resolution();
    let wake_up = clock::wake_up();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let says = format!("steps of {:.2} us", us(resolution));
    let fine = if resolution <= Duration::from_millis(1) {
        Line::ok("clock", says)
    } else {
        Line::note("clock", says, "hold calls in virtual time (without --realtime): this clock is coarse")
    };
    let says = format!("late by {:.0} us in the middle, by {:.0} us at worst", us(wake_up.middle), us(wake_up.worst));
    let late = if wake_up.worst <= LATE_WAKE_UP {
        Line::ok("wake-up", says)
    } else {
        Line::note("wake-up", says, "close what keeps this machine busy: in real time, audio may stutter")
    };
    [fine, late]
}

/// Whether a call can be held at all, without any engine.
fn trial_call() -> Line {
    match trial::hold() {
        Ok(says) => Line::ok("trial call", says),
        Err(why) => Line::problem("trial call", why, "this is a defect of this program: report it with this output"),
    }
}

// ---- around it ------------------------------------------------------------------------------------------------

fn terminal() -> Line {
    let says = match columns() {
        Some(columns) => format!("{columns} columns"),
        None if std::io::stdout().is_terminal() => "of unknown width".to_owned(),
        None => "none: output goes to a file or a pipe, and is plain".to_owned(),
    };
    let colours = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    Line::ok("terminal", if colours { says + "; NO_COLOR is set" } else { says })
}

fn sound(machine: &Machine) -> Line {
    let players: Vec<&str> =
        PLAYERS.iter().map(|(name, _)| *name).filter(|name| machine.program(name).is_some()).collect();
    let files = "calls from and to WAV files need none";
    let device = device(machine);
    match (players.is_empty(), device) {
        (false, Some(device)) => Line::ok("sound", format!("{}; {device}", players.join(", "))),
        (false, None) => {
            Line::note("sound", format!("{}; no sound device seems to be here", players.join(", ")), files)
        }
        (true, _) => {
            let says = "no program that plays sound is on the path";
            Line::note("sound", says, format!("{files}; to listen, install one of pw-cat, paplay, aplay, ffplay, sox"))
        }
    }
}

/// A sound server, or a card.
fn device(machine: &Machine) -> Option<String> {
    if cfg!(target_os = "macos") {
        return Some("the system's device".to_owned());
    }
    let runtime = machine.variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let servers = [("pipewire-0", "PipeWire answers"), ("pulse/native", "PulseAudio answers")];
    let server = runtime.and_then(|folder| {
        servers.iter().find(|(socket, _)| folder.join(socket).exists()).map(|(_, says)| (*says).to_owned())
    });
    let card = || {
        let entries = std::fs::read_dir("/dev/snd").ok()?.flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|name| name.starts_with("pcm") && name.ends_with('p')).then(|| "a sound card".to_owned())
    };
    server.or_else(card)
}

// ---- engines --------------------------------------------------------------------------------------------------

const INSTALL: &str = "run `rspp engines install`: no root, no key";

fn python(found: &Found) -> Line {
    let usable = found.pythons.iter().find_map(|python| Some((python, python.version.as_ref().ok()?)));
    match (usable, found.pythons.first()) {
        (Some((python, version)), _) => Line::ok("python", format!("{version} at {}", python.program.display())),
        (None, Some(python)) => {
            let why = python.version.as_ref().err().map_or("", String::as_str);
            Line::note("python", format!("{}: {why}", python.program.display()), "install Python 3.9 or later")
        }
        (None, None) => {
            Line::note("python", "none; the bundled engines run in it", "install Python 3.9 or later (Debian: python3)")
        }
    }
}

fn engine(found: &Found, kind: Kind) -> Line {
    let (name, fallback) = match kind {
        Kind::Voice => ("voice", "tones stand in"),
        _ => ("recogniser", "captions stand in"),
    };
    let working: Vec<String> =
        found.working(kind).map(|engine| format!("{} {}", engine.name, engine.version)).collect();
    if !working.is_empty() {
        return Line::ok(name, working.join(", "));
    }
    let first = found.engines.iter().find(|engine| engine.kind == kind);
    match first.map(|engine| (&engine.name, &engine.state)) {
        Some((engine, State::Fails { why, remedy })) => {
            Line::note(name, format!("none, {fallback}; {engine}: {why}"), remedy.as_str())
        }
        _ => Line::note(name, format!("none, {fallback}"), INSTALL),
    }
}

fn model(found: &Found) -> Line {
    let models: Vec<&Engine> = found.engines.iter().filter(|engine| engine.kind == Kind::Model).collect();
    let working: Vec<&str> = models.iter().filter(|engine| engine.works()).map(|engine| engine.name.as_str()).collect();
    let none = "nothing: a scripted responder needs no model; or start Ollama, llama.cpp or vLLM";
    match (working.is_empty(), models.first()) {
        (false, Some(first)) => Line::ok("model", format!("{} at {}", working.join(", "), first.place)),
        (true, Some(Engine { place, state: State::Fails { why, remedy }, .. })) => {
            Line::note("model", format!("{place}: {why}"), remedy.as_str())
        }
        _ => Line::note("model", "no server answers at the usual places", none),
    }
}

// ---- places ---------------------------------------------------------------------------------------------------

/// The folder itself, or the nearest one above it that is there.
fn nearest(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}

fn cache(machine: &Machine) -> Line {
    let Some(cache) = machine.cache() else {
        return Line::note(
            "cache",
            "nobody says where it may be",
            "set RSPP_CACHE_DIR to a folder that may be written",
        );
    };
    let shown = cache.display();
    match writable(nearest(&cache)) {
        Ok(()) => Line::ok("cache", format!("{shown} may be written")),
        Err(why) => {
            Line::note("cache", format!("{shown}: {why}"), "set RSPP_CACHE_DIR to a folder that may be written")
        }
    }
}

/// Where the bundled engines are laid out while a call runs.
fn folder() -> Line {
    let folder = std::env::temp_dir();
    match tempfile::tempdir() {
        Ok(_) => Line::ok("scratch", format!("{} may be written", folder.display())),
        Err(error) => Line::problem("scratch", error.to_string(), "set TMPDIR to a folder that may be written"),
    }
}

#[cfg(unix)]
fn writable(folder: &Path) -> Result<(), String> {
    use rustix::fs::Access;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| error.to_string())
}

#[cfg(not(unix))]
fn writable(folder: &Path) -> Result<(), String> {
    let read_only = std::fs::metadata(folder).map_err(|error| error.to_string())?.permissions().readonly();
    if read_only { Err("it may only be read".to_owned()) } else { Ok(()) }
}

fn room(machine: &Machine) -> Line {
    let cache = machine.cache().unwrap_or_else(std::env::temp_dir);
    match free_mib(nearest(&cache)) {
        Some(free) if free < ROOM_MIB => {
            let says = format!("{free} MiB are free, and installing engines takes {ROOM_MIB} MiB for a while");
            Line::note("room", says, "make room, or set RSPP_CACHE_DIR to another disk")
        }
        Some(free) => Line::ok("room", format!("{free} MiB are free where the cache is")),
        None => Line::ok("room", "not known on this system"),
    }
}

#[cfg(unix)]
fn free_mib(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)
}

#[cfg(not(unix))]
fn free_mib(_folder: &Path) -> Option<u64> {
    None
}

#[cfg(unix)]
fn open_files() -> Line {
    use rustix::process::{Resource, getrlimit};
    match getrlimit(Resource::Nofile).current {
        None => Line::ok("open files", "no limit"),
        Some(most) => files_line(most),
    }
}

#[cfg(not(unix))]
fn open_files() -> Line {
    Line::ok("open files", "no limit is known on this system")
}

fn files_line(most: u64) -> Line {
    let says = format!("at most {most}");
    match most {
        0..FEW_FILES => Line::problem("open files", says, format!("raise the limit: ulimit -n {ENOUGH_FILES}")),
        FEW_FILES..ENOUGH_FILES => {
            Line::note("open files", says, format!("for many calls at once, raise the limit: ulimit -n {ENOUGH_FILES}"))
        }
        _ => Line::ok("open files", says),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_a_problem_and_some_are_a_note() {
        for (most, level) in [(0, Level::Problem), (63, Level::Problem), (64, Level::Note), (1_024, Level::Ok)] {
            assert_eq!(files_line(most).level, level, "{most}");
        }
    }

    #[test]
    fn a_problem_is_told_and_is_no_health() {
        let lines = [Line::ok("a", "fine"), Line::problem("b", "broken", "mend it")];
        let text = tell(&lines, false);
        assert!(text.contains("PROBLEM  b            broken\n                      -> mend it\n"), "{text}");
        assert!(text.ends_with("until the problems are solved.\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&told(&lines, false)).expect("it is JSON");
        assert_eq!((&json["healthy"], &json["lines"][1]["level"]), (&false.into(), &"problem".into()));
    }

    #[test]
    fn the_nearest_folder_above_is_found() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        assert_eq!(nearest(&folder.path().join("a/b/c")), folder.path());
        assert_eq!(nearest(folder.path()), folder.path());
    }
}
