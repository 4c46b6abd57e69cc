//! A folder of recordings: what is in it, what has been kept long enough, and what somebody wants gone (`F-071`,
//! `NF-014`).

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::export::file_name;
use super::{Index, RecordingReader};

/// A recording that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where.
    pub path: PathBuf,
    /// Whose; `None` if not even its head can be read.
    pub session: Option<String>,
    /// Its pipeline.
    pub pipeline: Option<String>,
    /// Its length.
    pub bytes: u64,
    /// When it was written last.
    pub modified: SystemTime,
    /// It has its end and its index.
    pub is_whole: bool,
}

/// How long recordings are kept, and how much of them. What is not said has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// No longer than this.
    pub max_age: Option<Duration>,
    /// The oldest go when there is more than this.
    pub max_bytes: Option<u64>,
}

/// A folder of recordings.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// Files that belong to recordings.
const ENDINGS: [&str; 5] = [".rspp", ".rspp.partial", ".rspp.whole", ".rspp.partial.again", ".rspp.incoming"];

impl Shelf {
    /// This folder, and no folder in it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// What is kept, the oldest first.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn list(&self) -> io::Result<Vec<Kept>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ENDINGS.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
                all.push(Kept::read(path)?);
            }
        }
        all.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        Ok(all)
    }

    /// What has been kept long enough, as it is now: what is too old, and then the oldest until there is room.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn overdue(&self, retention: Retention, now: SystemTime) -> io::Result<Vec<Kept>> {
        let all = self.list()?;
        let mut bytes: u64 = all.iter().map(|kept| kept.bytes).sum();
        let mut overdue = Vec::new();
        for kept in all {
            let age = now.duration_since(kept.modified).unwrap_or_default();
            let is_old = retention.max_age.is_some_and(|max| age > max);
            let is_much = retention.max_bytes.is_some_and(|max| bytes > max);
            if is_old || is_much {
                bytes -= kept.bytes;
                overdue.push(kept);
            }
        }
        Ok(overdue)
    }

    /// Everything of a session, by its name; what can't be read counts by the name of its file.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn of_session(&self, session: &str) -> io::Result<Vec<Kept>> {
        let mut all = self.list()?;
        let name = file_name(session);
        all.retain(|kept| match &kept.session {
            Some(of) => of == session,
            None => kept.path.file_name().is_some_and(|file| file.to_string_lossy().contains(&*name)),
        });
        Ok(all)
    }
}

impl Kept {
    fn read(path: PathBuf) -> io::Result<Self> {
        let mut file = File::open(&path)?;
        let metadata = file.metadata()?;
        let head = RecordingReader::new(&mut file).ok().map(|reader| reader.head().clone());
        let is_whole = Index::read(&mut file).is_ok_and(|index| !index.rebuilt);
        let (session, pipeline) = head.map(|head| (head.session, head.pipeline)).unzip();
        Ok(Self { session, pipeline, bytes: metadata.len(), modified: metadata.modified()?, is_whole, path })
    }

    /// Removes it: first its content, so that it is gone though somebody has it open, then its name.
    ///
    /// # Errors
    /// The system refuses.
    pub fn remove(&self) -> io::Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.set_len(0)?;
        file.sync_all()?;
        std::fs::remove_file(&self.path)
    }
}
