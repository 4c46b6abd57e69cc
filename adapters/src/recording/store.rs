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

impl LocalFolder {
    /// Puts a recording there, and gives where: under its name, or with a number behind it. It is on the disk before its file
    /// in the spool goes.
    ///
    /// # Errors
    /// The system refuses.
    pub fn place(&mut self, name: &str, recording: &Path) -> io::Result<PathBuf> {
        let stem = name.strip_suffix(".rspp").unwrap_or(name);
        let names = (1_u32..10_000).map(|n| if n == 1 { name.to_owned() } else { format!("{stem}.{n}.rspp") });
        File::open(recording)?.sync_all()?;
        // Who makes the file has the name: several workers may bring calls of one name at the same time.
        let mut to = None;
        for path in names.map(|name| self.folder.join(name)) {
            match File::create_new(&path) {
                Ok(_) => to = Some(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            break;
        }
        let to = to.ok_or_else(|| io::Error::other(format!("there are 10,000 recordings of {stem}")))?;
        let moved = move_to(recording, &to);
        if moved.is_err() {
            let _ = std::fs::remove_file(&to);
        }
        moved.map(|()| to)
    }
}

fn move_to(recording: &Path, to: &Path) -> io::Result<()> {
    if std::fs::rename(recording, to).is_ok() {
        return Ok(());
    }
    // Another file system.
    let partial = to.with_extension("rspp.incoming");
    std::fs::copy(recording, &partial)?;
    File::open(&partial)?.sync_all()?;
    std::fs::rename(&partial, to)?;
    std::fs::remove_file(recording)
}

impl Store for LocalFolder {
    fn put(&mut self, name: &str, recording: &Path) -> io::Result<()> {
        self.place(name, recording).map(drop)
    }
}
