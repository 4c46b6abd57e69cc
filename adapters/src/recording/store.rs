//! Where finished recordings go.
//!
//! The store is a trait of ours and not the crate `object_store`: that needs chrono, which this tree does not have, and its
//! clients for clouds bring a second HTTP stack. A store for one of them is some twenty lines in the program that wants it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Takes finished recordings.
pub trait Store: Send {
    /// Takes a recording; when it returns, the file is not needed any more, and may be gone.
    ///
    /// # Errors
    /// It was not taken. It is offered again.
    fn put(&mut self, name: &str, recording: &Path) -> io::Result<()>;
}

/// A folder of this machine, or one that is mounted.
#[derive(Debug)]
pub struct LocalFolder {
    folder: PathBuf,
}

impl LocalFolder {
    /// This folder; it is made if it is not there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }
}

impl Store for LocalFolder {
    /// The recording is on the disk, under its name or with a number behind it, before its file in the spool goes.
    fn put(&mut self, name: &str, recording: &Path) -> io::Result<()> {
        let stem = name.strip_suffix(".rspp").unwrap_or(name);
        let names = (1_u32..10_000).map(|n| if n == 1 { name.to_owned() } else { format!("{stem}.{n}.rspp") });
        let free = names.map(|name| self.folder.join(name)).find(|path| !path.exists());
        let to = free.ok_or_else(|| io::Error::other(format!("there are 10,000 recordings of {stem}")))?;
        File::open(recording)?.sync_all()?;
        if std::fs::rename(recording, &to).is_ok() {
            return Ok(());
        }
        // Another file system.
        let partial = to.with_extension("rspp.incoming");
        std::fs::copy(recording, &partial)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &to)?;
        std::fs::remove_file(recording)
    }
}
