//! Gets the engines that need no root: packages of Python, into RSPP's own cache.
//!
//! They are laid out in a folder of their own (`pip install --target`), with a `bin/python` that looks there first, so
//! nothing is asked of the Python but that it runs: no `venv`, no `ensurepip`, not even pip, which is fetched where it
//! lacks. What has come in stays when an installation is interrupted, and the next one goes on from there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::cache::{Layout, Record, gone, write};
use super::command::{NoAnswer, clean, run, start, wait};
use super::discover::{Package, Python, probe};
use super::{Machine, cache};

const FETCH_PIP: &str = include_str!("../../../engines/fetch_pip.py");
const REQUIREMENTS: &str = include_str!("../../../engines/requirements.txt");
/// The packages that are engines. What else the requirements name, an engine can do without here: it is for
/// pocketsphinx's microphone.
const ENGINES: [&str; 2] = ["pocketsphinx", "espeakng-loader"];
/// How long an installation may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long pip may take to say that it is there.
const PIP_ANSWERS: Duration = Duration::from_secs(20);
/// Lines of pip's output that an error repeats.
const LAST_LINES: usize = 6;
/// How much of pip's output is looked at for them.
const LAST_BYTES: u64 = 16 * 1024;
/// Steps besides one for each package: pip, laying out, trying.
const OTHER_STEPS: usize = 3;

/// How far an installation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which step, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// What it does.
    pub says: String,
}

/// What an installation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where it is.
    pub folder: PathBuf,
    /// Its packages, as `NAME==VERSION`.
    pub packages: Vec<String>,
    /// It was there before, and nothing was done.
    pub was_there: bool,
    /// What could not be had, and what else is to be known: one sentence each.
    pub notes: Vec<String>,
}

/// Why nothing was installed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nobody says where the cache is.
    #[error("there is no place for the engines: set RSPP_CACHE_DIR to a folder that may be written")]
    NoCache,
    /// Another process is at it.
    #[error("another `rspp engines` works in {}: wait until it is done", cache.display())]
    Busy {
        /// The cache.
        cache: PathBuf,
    },
    /// No Python is here.
    #[error("the engines run in Python, and {why}: install Python 3.9 or later (Debian: python3), no more is needed")]
    NoPython {
        /// What was found instead.
        why: String,
    },
    /// The cache can't be used.
    #[error("{}: {error}; check that it may be written and has room, or set RSPP_CACHE_DIR", path.display())]
    Files {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A step failed.
    #[error("{step} failed{}{remedy}. All of its output is in {}", said(.last), log.display())]
    Step {
        /// Which.
        step: String,
        /// The last lines that it wrote.
        last: Vec<String>,
        /// What to do.
        remedy: &'static str,
        /// Where the rest is.
        log: PathBuf,
    },
    /// It took too long.
    #[error("the installation did not end within {} s; run `rspp engines install` again, it goes on from here", LIMIT.as_secs())]
    TimedOut,
}

/// Each line on one of its own, between what failed and what to do.
fn said(last: &[String]) -> String {
    match last {
        [] => "; ".to_owned(),
        lines => lines.iter().fold(":\n".to_owned(), |text, line| text + "    " + line + "\n"),
    }
}

/// The packages to install, as `NAME==VERSION`.
fn wanted() -> Vec<String> {
    let of = |name: &&str| REQUIREMENTS.lines().find(|line| line.split("==").next() == Some(*name));
    ENGINES.iter().filter_map(of).map(|line| line.trim().to_owned()).collect()
}

/// Installs the engines, unless they are there and work. `progress` sees each step as it begins.
///
/// # Errors
/// Says what failed and what to do; nothing half-made takes the place of an installation.
pub fn install(machine: &Machine, progress: &mut dyn FnMut(&Step)) -> Result<Installed, InstallError> {
    let layout = Layout { cache: machine.cache().ok_or(InstallError::NoCache)? };
    let _lock = lock(&layout)?;
    if let Some(installed) = already(machine, &layout) {
        return Ok(installed);
    }
    let python = base(machine)?;
    let packages = wanted();
    let record = Record {
        packages: packages.clone(),
        python: python.version.clone().unwrap_or_default(),
        interpreter: python.interpreter.clone(),
    };
    let steps = packages.len() + OTHER_STEPS;
    let mut work = Work::begin(layout, python, record, steps, progress)?;
    work.fetch_pip()?;
    let (had, lacking) = work.fetch(&packages)?;
    work.lay_out(&had)?;
    work.finish(&had)?;
    let notes = lacking.into_iter().chain(notes(machine)).collect();
    Ok(Installed { folder: work.layout.installed(), packages: had, was_there: false, notes })
}

/// Removes what was installed, and what an interrupted installation left; gives the cache and whether there was
/// anything.
///
/// # Errors
/// The cache can't be changed.
pub fn remove(machine: &Machine) -> Result<(PathBuf, bool), InstallError> {
    let layout = Layout { cache: machine.cache().ok_or(InstallError::NoCache)? };
    if !layout.cache.exists() {
        return Ok((layout.cache, false));
    }
    let _lock = lock(&layout)?;
    let any = layout.clear().map_err(|error| InstallError::Files { path: layout.cache.clone(), error })?;
    Ok((layout.cache, any))
}

fn lock(layout: &Layout) -> Result<File, InstallError> {
    let cache = &layout.cache;
    let lock = layout.lock().map_err(|error| InstallError::Files { path: cache.clone(), error })?;
    lock.ok_or_else(|| InstallError::Busy { cache: cache.clone() })
}

/// An installation of just these packages whose engines load.
fn already(machine: &Machine, layout: &Layout) -> Option<Installed> {
    let record = layout.record().filter(|record| record.packages == wanted())?;
    let python = probe(&cache::python(&layout.cache));
    let loads = |package: &Package| matches!(package, Package::Version(_));
    let whole = python.version.is_ok() && loads(&python.pocketsphinx) && loads(&python.espeakng_loader);
    let (folder, packages, notes) = (layout.installed(), record.packages, notes(machine));
    whole.then_some(Installed { folder, packages, was_there: true, notes })
}

fn notes(machine: &Machine) -> Vec<String> {
    let named = machine.text("RSPP_ENGINES_PYTHON").map(|python| {
        format!("RSPP_ENGINES_PYTHON names {python}, which is used instead; unset it to use what is installed here")
    });
    named.into_iter().collect()
}

/// The Python to build on.
fn base(machine: &Machine) -> Result<Python, InstallError> {
    let no_python = |why: &str| InstallError::NoPython { why: why.to_owned() };
    let program = machine.program("python3").or_else(|| machine.program("python"));
    let python = probe(&program.ok_or_else(|| no_python("there is none on the path"))?);
    match &python.version {
        Ok(_) => Ok(python),
        Err(why) => Err(no_python(&format!("{}: {why}", python.program.display()))),
    }
}

/// An installation under way.
struct Work<'p> {
    layout: Layout,
    python: Python,
    record: Record,
    /// What pip is run as, behind the Python.
    pip: Vec<PathBuf>,
    log: File,
    deadline: Instant,
    step: usize,
    steps: usize,
    progress: &'p mut dyn FnMut(&Step),
}

impl<'p> Work<'p> {
    /// Goes on with what was begun for the same packages and Python; else anew.
    fn begin(
        layout: Layout,
        python: Python,
        record: Record,
        steps: usize,
        progress: &'p mut dyn FnMut(&Step),
    ) -> Result<Self, InstallError> {
        let path = layout.building();
        let log = layout.log();
        let prepare = || {
            if layout.begun().as_ref() != Some(&record) {
                gone(&path)?;
                fs::create_dir_all(path.join("wheels"))?;
                write(&path, &record)?;
            }
            File::create(&log)
        };
        let log = prepare().map_err(|error| InstallError::Files { path: path.clone(), error })?;
        let (pip, deadline) = (vec!["-m".into(), "pip".into()], Instant::now() + LIMIT);
        Ok(Self { layout, python, record, pip, log, deadline, step: 0, steps, progress })
    }

    fn say(&mut self, says: String) -> String {
        self.step += 1;
        (self.progress)(&Step { number: self.step, of: self.steps, says: says.clone() });
        says
    }

    /// Makes sure that there is a pip: the Python's own, or one of our own from the package index.
    fn fetch_pip(&mut self) -> Result<(), InstallError> {
        let step = self.say("looking for pip".to_owned());
        let mut own = Command::new(&self.python.program);
        if run(own.args(["-m", "pip", "--version"]), PIP_ANSWERS).is_ok_and(|ran| ran.status.success()) {
            return Ok(());
        }
        let folder = self.layout.building().join("pip");
        let mut fetch = Command::new(&self.python.program);
        fetch.args(["-c", FETCH_PIP, "--into"]).arg(&folder);
        self.run(&step, &mut fetch)?;
        let wheel = fs::read_dir(&folder).ok().into_iter().flatten().flatten().map(|entry| entry.path());
        let wheel = wheel.filter(|path| path.extension().is_some_and(|extension| extension == "whl")).max();
        self.pip = vec![wheel.map_or_else(|| folder.join("pip"), |wheel| wheel.join("pip"))];
        Ok(())
    }

    /// Fetches each package's wheel; gives those that are there, and sentences on those that can't be had.
    fn fetch(&mut self, packages: &[String]) -> Result<(Vec<String>, Vec<String>), InstallError> {
        let wheels = self.layout.building().join("wheels");
        let (mut had, mut lacking) = (Vec::new(), Vec::new());
        let mut failure = None;
        for package in packages {
            let step = self.say(format!("fetching {}", package.replace("==", " ")));
            let done = wheels.join(format!("{package}.done"));
            let mut pip = self.pip("download");
            // An engine that would have to be compiled needs more than a Python.
            pip.args(["--no-deps", "--only-binary", ":all:", "--retries", "2", "--progress-bar", "off", "--dest"]);
            let fetched = if done.is_file() { Ok(()) } else { self.run(&step, pip.arg(&wheels).arg(package)) };
            match fetched {
                Ok(()) => {
                    fs::write(&done, "").map_err(|error| InstallError::Files { path: done, error })?;
                    had.push(package.clone());
                }
                Err(error @ InstallError::Step { .. }) => {
                    lacking.push(format!("{package} could not be had: {error}"));
                    failure = failure.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(error) if had.is_empty() => Err(error),
            _ => Ok((had, lacking)),
        }
    }

    /// Lays the packages out, with a Python that finds them.
    fn lay_out(&mut self, packages: &[String]) -> Result<(), InstallError> {
        let step = self.say("laying the engines out".to_owned());
        let building = self.layout.building();
        let files = |error| InstallError::Files { path: building.clone(), error };
        let site = building.join("site");
        gone(&site).map_err(files)?;
        let mut pip = self.pip("install");
        pip.args(["--no-deps", "--no-index", "--no-warn-script-location", "--root-user-action", "ignore"]);
        pip.arg("--find-links").arg(building.join("wheels")).arg("--target").arg(&site).args(packages);
        self.run(&step, &mut pip)?;
        launcher(&building, &self.python.interpreter).map_err(files)
    }

    /// Tries the engines, and puts the installation in its place.
    fn finish(&mut self, packages: &[String]) -> Result<(), InstallError> {
        let step = self.say("trying the engines".to_owned());
        let building = self.layout.building();
        let Python { version, pocketsphinx, espeakng_loader, .. } = probe(&building.join("bin/python"));
        let broken = |package: &Package| match package {
            Package::Broken(why) => Some(why.clone()),
            _ => None,
        };
        let last: Vec<String> =
            [version.err(), broken(&pocketsphinx), broken(&espeakng_loader)].into_iter().flatten().collect();
        if !last.is_empty() {
            let remedy = "this Python can't load what was made for it: try with another python3 first on the path";
            return Err(InstallError::Step { step, last, remedy, log: self.layout.log() });
        }
        self.record.packages = packages.to_vec();
        let place = || {
            gone(&building.join("wheels"))?;
            gone(&building.join("pip"))?;
            write(&building, &self.record)?;
            self.layout.finish()
        };
        place().map_err(|error| InstallError::Files { path: building.clone(), error })
    }

    fn pip(&self, action: &str) -> Command {
        let mut pip = Command::new(&self.python.program);
        pip.args(&self.pip).args([action, "--no-input", "--disable-pip-version-check"]);
        pip
    }

    /// Runs one program of a step; what it says goes into the log.
    fn run(&mut self, step: &str, command: &mut Command) -> Result<(), InstallError> {
        let path = self.layout.log();
        let files = |error| InstallError::Files { path: path.clone(), error };
        let begin = self.log.seek(SeekFrom::End(0)).map_err(files)?;
        let log = || self.log.try_clone().map(Stdio::from).map_err(files);
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ended = start(command).and_then(|(mut child, _group)| wait(&mut child, left));
        let last = match ended {
            Ok(status) if status.success() => return Ok(()),
            Ok(_) => last_lines(&path, begin).map_err(files)?,
            Err(NoAnswer::TimedOut(_)) => return Err(InstallError::TimedOut),
            Err(error) => vec![error.to_string()],
        };
        let remedy = remedy(&last);
        Err(InstallError::Step { step: step.to_owned(), last, remedy, log: path })
    }
}

/// The last lines of a log, as far as they were written since `begin`.
fn last_lines(log: &Path, begin: u64) -> io::Result<Vec<String>> {
    let mut file = File::open(log)?;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(begin.max(end.saturating_sub(LAST_BYTES))))?;
    let mut bytes = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.is_empty()).collect();
    Ok(lines[lines.len().saturating_sub(LAST_LINES)..].to_vec())
}

/// What to do about what pip says.
fn remedy(last: &[String]) -> &'static str {
    let says = |words: &[&str]| last.iter().any(|line| words.iter().any(|word| line.contains(word)));
    if says(&["No space left"]) {
        "make room, or set RSPP_CACHE_DIR to a folder with room, and run it again"
    } else if says(&["Connection", "connection", "timed out", "resolution", "SSL", "Proxy", "Network", "status 5"]) {
        "check the network, or name your package index in PIP_INDEX_URL, and run it again: it goes on from here"
    } else if says(&["No matching distribution", "Could not find a version", "has no pip for"]) {
        "the index has nothing ready made for this Python on this machine: try with another python3 first on the path"
    } else {
        "look into its output, and run it again: it goes on from here"
    }
}

/// Writes `bin/python`: the interpreter, which finds the packages before its own. The folder may be moved.
fn launcher(folder: &Path, interpreter: &str) -> io::Result<()> {
    let quoted = interpreter.replace('\'', r"'\''");
    let script = format!(
        "#!/bin/sh\n# The Python of RSPP's engines.\nhere=\"${{0%/*}}\"\n\
         export PYTHONPATH=\"$here/../site${{PYTHONPATH:+:$PYTHONPATH}}\"\nexec '{quoted}' \"$@\"\n"
    );
    fs::create_dir_all(folder.join("bin"))?;
    let path = folder.join("bin/python");
    fs::write(&path, script)?;
    executable(&path)
}

#[cfg(unix)]
pub(super) fn executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
pub(super) fn executable(_path: &Path) -> io::Result<()> {
    let what = "engines are installed on Unix systems only so far; name a Python that has them in RSPP_ENGINES_PYTHON";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(test)]
mod tests;
