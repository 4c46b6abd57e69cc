//! A journal in a folder that all workers of a fleet share.
//!
//! ```text
//! journal/began                                     when the fleet's time began
//! journal/SESSION/00000000000000000007.000000.log   what the holder under epoch 7 writes
//! journal/SESSION/00000000000000000005.000002.over  what the one before wrote, and writes no more
//! ```
//!
//! *Why an old holder is refused.* Taking a session gives the files of all lower epochs another name, and then reads them.
//! Whoever writes looks, after each write and before anything is done by it, whether its file still has its name. So either
//! the write was there when the file was read, or the name was gone when the writer looked. Two that take a session at once
//! see each other in the same way: each makes its own file first, and looks for others then. What was read is written into
//! the file of who took it, and the others go: what an old holder writes later is nowhere.
//!
//! That asks of the folder what a local disk and file systems for clusters give: a name that is changed on one machine is
//! seen as changed on all. NFS gives it with `noac`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rspp_specs::ids::LeaseEpoch;
use rspp_specs::timeline::{Entry, Input, Record};

use super::segment::{self, Head};
use super::{Journal, JournalError, Past, Pen, Taken, ToldBefore, Whose};

/// The folder.
#[derive(Debug)]
pub struct SharedFolder {
    folder: PathBuf,
    began_unix_us: u64,
}

const BEGAN: &str = "began";
const WRITTEN: &str = "log";
const SEALED: &str = "over";
/// Looks at a session's files while whoever had it goes on beginning others: it has to stop when it sees the first one gone.
const MAX_LOOKS: usize = 64;
/// What nobody has written to for so long is of a session that nobody comes back for.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3_600);

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { doing, path, source }
}

impl SharedFolder {
    /// The journal in this folder, which is made if it is not there. What sessions left that nobody came back for is removed.
    ///
    /// # Errors
    /// The system refuses.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let began_unix_us = began(&folder)?;
        let journal = Self { folder, began_unix_us };
        journal.sweep();
        Ok(journal)
    }

    /// When the time of this fleet began, in microseconds since 1970: all workers count from there, so that what one of them
    /// wrote is in the past of the others.
    pub fn began_unix_us(&self) -> u64 {
        self.began_unix_us
    }

    /// A name that any session has and no other one.
    fn place(&self, whose: &Whose) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(whose.tenant.len() as u64).to_le_bytes());
        hasher.update(whose.tenant.as_bytes());
        hasher.update(whose.session.as_bytes());
        self.folder.join(&hasher.finalize().to_hex()[..32])
    }

    fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for place in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let files = parts(&place).unwrap_or_default();
            let is_old = |path: &PathBuf| {
                let age = std::fs::metadata(path).and_then(|about| about.modified()).map(|at| at.elapsed());
                matches!(age, Ok(Ok(age)) if age > FORGOTTEN_AFTER)
            };
            if files.iter().all(|part| is_old(&part.path)) {
                files.iter().for_each(|part| drop(std::fs::remove_file(&part.path)));
                // One that somebody begins in this moment is not empty.
                let _ = std::fs::remove_dir(&place);
            }
        }
    }
}

/// Whoever is there first says when it began.
fn began(folder: &Path) -> Result<u64, JournalError> {
    let path = folder.join(BEGAN);
    let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(failed("begin", &path))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    write!(draft, "{}", now.as_micros()).map_err(failed("begin", &path))?;
    match draft.persist_noclobber(&path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("begin", &path)(error.error));
        }
        _ => {}
    }
    let text = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
    let none = || failed("read", &path)(io::Error::other("it says no time"));
    text.trim().parse().map_err(|_| none())
}

/// A file of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    epoch: u64,
    number: u32,
    path: PathBuf,
    is_sealed: bool,
}

/// A session's files, in the order in which they were written.
fn parts(place: &Path) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut words = name.split('.');
        let (epoch, number) = (words.next().map(str::parse), words.next().map(str::parse));
        if let (Some(Ok(epoch)), Some(Ok(number)), Some(word @ (WRITTEN | SEALED)), None) =
            (epoch, number, words.next(), words.next())
        {
            parts.push(Part { epoch, number, is_sealed: word == SEALED, path: path.clone() });
        }
    }
    parts.sort();
    Ok(parts)
}

fn path_of(place: &Path, epoch: LeaseEpoch, number: u32) -> PathBuf {
    place.join(format!("{:020}.{number:06}.{WRITTEN}", epoch.0))
}

impl Journal for SharedFolder {
    fn take(&self, whose: &Whose, epoch: LeaseEpoch) -> Result<Taken, JournalError> {
        let place = self.place(whose);
        std::fs::create_dir_all(&place).map_err(failed("make", &place))?;
        let mut pen = FolderPen::begin(&place, whose, epoch, 0)?;
        let taken = seal(&place, epoch).and_then(|earlier| {
            let past = read(&earlier)?;
            let (told, records) = past.as_ref().map(|past| (past.told, past.records.as_slice())).unwrap_or_default();
            pen.write_first(told, records)?;
            earlier.iter().for_each(|part| drop(std::fs::remove_file(&part.path)));
            Ok(past)
        });
        let past = taken.inspect_err(|_| drop(std::fs::remove_file(&pen.path)))?;
        Ok(Taken { past, pen: Box::new(pen) })
    }
}

/// Takes the right to write from all lower epochs; gives what they wrote.
fn seal(place: &Path, epoch: LeaseEpoch) -> Result<Vec<Part>, JournalError> {
    for _ in 0..MAX_LOOKS {
        let parts = parts(place).map_err(failed("read", place))?;
        if parts.iter().any(|part| part.epoch > epoch.0) {
            return Err(JournalError::Stale { epoch: epoch.0 });
        }
        let earlier: Vec<Part> = parts.into_iter().filter(|part| part.epoch < epoch.0).collect();
        if earlier.iter().all(|part| part.is_sealed) {
            return Ok(earlier);
        }
        for part in earlier.iter().filter(|part| !part.is_sealed) {
            match std::fs::rename(&part.path, part.path.with_extension(SEALED)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("take", &part.path)(error)),
                _ => {}
            }
        }
    }
    Err(failed("take", place)(io::Error::other("whoever had it goes on beginning files")))
}

/// The newest part of which more is there than its name. Whoever died before has done nothing by it.
fn read(parts: &[Part]) -> Result<Option<Past>, JournalError> {
    for part in parts.iter().rev() {
        let bytes = std::fs::read(&part.path).map_err(failed("read", &part.path))?;
        let Some((head, records)) = segment::read(&bytes) else { continue };
        if matches!(records.first(), Some(Record { entry: Entry::Input(_, Input::SessionOpen(_)), .. })) {
            return Ok(Some(Past { told: head.told, records }));
        }
    }
    Ok(None)
}

/// Writes into a session's newest file.
#[derive(Debug)]
struct FolderPen {
    place: PathBuf,
    whose: Whose,
    epoch: LeaseEpoch,
    number: u32,
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
}

impl FolderPen {
    /// A file of its own, in which nothing stands yet.
    fn begin(place: &Path, whose: &Whose, epoch: LeaseEpoch, number: u32) -> Result<Self, JournalError> {
        let path = path_of(place, epoch, number);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => JournalError::Stale { epoch: epoch.0 },
            _ => failed("begin", &path)(error),
        })?;
        let (place, whose) = (place.to_owned(), whose.clone());
        Ok(Self { place, whose, epoch, number, path, file, buffer: Vec::new() })
    }

    /// Whether nobody has taken the session.
    fn check(&self) -> Result<(), JournalError> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(JournalError::Stale { epoch: self.epoch.0 }),
            Err(error) => Err(failed("look at", &self.path)(error)),
        }
    }

    /// Writes its beginning: all of it is there, or none.
    fn write_first(&mut self, told: ToldBefore, records: &[Record]) -> Result<(), JournalError> {
        let head = Head { whose: self.whose.clone(), epoch: self.epoch.0, told };
        let mut bytes = segment::begin(&head);
        if !records.is_empty() {
            segment::put_as_one(&mut bytes, records)?;
        }
        self.file.write_all(&bytes).map_err(failed("write to", &self.path))
    }

    fn write(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.buffer.clear();
        segment::put(&mut self.buffer, records)?;
        self.file.write_all(&self.buffer).map_err(failed("write to", &self.path))
    }
}

impl Pen for FolderPen {
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.write(records)?;
        self.check()
    }

    fn begin_part(&mut self, told: ToldBefore, records: &[Record]) -> Result<(), JournalError> {
        let mut next = Self::begin(&self.place, &self.whose, self.epoch, self.number + 1)?;
        next.write_first(told, records)?;
        // Who takes the session looks for files until it finds all of them sealed.
        if let Err(error) = self.check().and_then(|()| next.check()) {
            let _ = std::fs::remove_file(&next.path);
            return Err(error);
        }
        for part in parts(&self.place).unwrap_or_default() {
            if (part.epoch, part.number) < (next.epoch.0, next.number) {
                let _ = std::fs::remove_file(&part.path);
            }
        }
        *self = next;
        Ok(())
    }

    fn erase(self: Box<Self>) {
        let files = parts(&self.place).unwrap_or_default();
        if self.check().is_err() || files.iter().any(|part| part.epoch > self.epoch.0) {
            return;
        }
        // The oldest first: what is left if it is killed here is nothing that anybody could begin with.
        files.iter().for_each(|part| drop(std::fs::remove_file(&part.path)));
        let _ = std::fs::remove_dir(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_run_into_one_another_are_told_apart() {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let journal = SharedFolder::open(folder.path()).expect("it can be written");
        let of = |tenant: &str, session: &str| journal.place(&Whose { tenant: tenant.into(), session: session.into() });
        assert_ne!(of("a", "bc"), of("ab", "c"));
        assert!(of("..", "/etc/passwd").starts_with(folder.path()));
    }
}
