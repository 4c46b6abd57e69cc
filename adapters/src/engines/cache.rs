//! RSPP's own folder for engines: what is where in it, and who may change it.
//!
//! `engines` is a whole installation or not there: it is built as `engines.building` and takes its name at the end.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A whole installation.
const ENGINES: &str = "engines";
/// One that is being built; a later run goes on with it.
const BUILDING: &str = "engines.building";
/// The one that is being replaced.
const OLD: &str = "engines.old";
const LOCK: &str = "install.lock";
const LOG: &str = "install.log";
/// Within an installation: what it is. Written last.
const RECORD: &str = "installed.json";
/// Largest record that is read.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// What an installation is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its packages, as `NAME==VERSION`.
    pub packages: Vec<String>,
    /// The version of its Python.
    pub python: String,
    /// The interpreter of its Python.
    pub interpreter: String,
}

/// The Python of an installation in a cache; there only if the installation is whole.
pub fn python(cache: &Path) -> PathBuf {
    cache.join(ENGINES).join("bin/python")
}

/// The folders of one cache.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) cache: PathBuf,
}

impl Layout {
    pub(super) fn installed(&self) -> PathBuf {
        self.cache.join(ENGINES)
    }

    pub(super) fn building(&self) -> PathBuf {
        self.cache.join(BUILDING)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.cache.join(LOG)
    }

    /// Takes the cache for oneself; `None` if another process has it. It is free again when the file is closed, however
    /// the process ends.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        fs::create_dir_all(&self.cache)?;
        let file = File::options().create(true).truncate(false).write(true).open(self.cache.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What is installed, if anything is.
    pub(super) fn record(&self) -> Option<Record> {
        read(&self.installed())
    }

    /// What was being built when somebody stopped.
    pub(super) fn begun(&self) -> Option<Record> {
        read(&self.building())
    }

    /// Puts what was built in the place of what was there.
    pub(super) fn finish(&self) -> io::Result<()> {
        let old = self.cache.join(OLD);
        gone(&old)?;
        if self.installed().exists() {
            fs::rename(self.installed(), &old)?;
        }
        fs::rename(self.building(), self.installed())?;
        gone(&old)
    }

    /// Removes everything of engines; gives whether there was anything.
    pub(super) fn clear(&self) -> io::Result<bool> {
        let folders = [self.installed(), self.building(), self.cache.join(OLD)];
        let any = folders.iter().any(|folder| folder.exists());
        folders.iter().try_for_each(|folder| gone(folder))?;
        match fs::remove_file(self.log()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(any),
        }
    }
}

/// Writes what an installation is into its folder.
pub(super) fn write(folder: &Path, record: &Record) -> io::Result<()> {
    let text = serde_json::to_string_pretty(record)?;
    let part = folder.join(RECORD).with_extension("part");
    fs::write(&part, text + "\n")?;
    fs::rename(part, folder.join(RECORD))
}

fn read(folder: &Path) -> Option<Record> {
    use io::Read;
    let mut text = String::new();
    File::open(folder.join(RECORD)).ok()?.take(MAX_RECORD_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Removes a folder, if it is there.
pub(super) fn gone(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(python: &str) -> Record {
        Record {
            packages: vec!["a==1".to_owned()],
            python: python.to_owned(),
            interpreter: "/usr/bin/python3".to_owned(),
        }
    }

    fn built(layout: &Layout, python: &str) {
        fs::create_dir_all(layout.building().join("bin")).expect("a folder can be made");
        write(&layout.building(), &record(python)).expect("there is room");
    }

    #[test]
    fn an_installation_takes_its_place_whole_and_goes_whole() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let layout = Layout { cache: folder.path().join("deep/cache") };
        assert_eq!((layout.record(), layout.begun()), (None, None));
        for version in ["3.11", "3.12"] {
            built(&layout, version);
            assert_eq!(layout.begun(), Some(record(version)));
            layout.finish().expect("there is room");
            assert_eq!((layout.record(), layout.begun()), (Some(record(version)), None));
        }
        assert!(layout.clear().expect("it may be removed") && layout.record().is_none());
        assert!(!layout.clear().expect("nothing is there"));
    }

    #[test]
    fn a_cache_is_one_processs_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let layout = Layout { cache: folder.path().to_owned() };
        let held = layout.lock().expect("the folder may be written");
        assert!(held.is_some());
        assert!(layout.lock().expect("the folder may be written").is_none(), "it is taken");
        drop(held);
        assert!(layout.lock().expect("the folder may be written").is_some(), "it is free again");
    }

    #[test]
    fn a_record_that_is_none_is_no_installation() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let layout = Layout { cache: folder.path().to_owned() };
        fs::create_dir(layout.installed()).expect("a folder can be made");
        fs::write(layout.installed().join(RECORD), "{").expect("there is room");
        assert_eq!(layout.record(), None);
    }
}
