//! The folder into which a server records: finished recordings stand in it, and in `.log` what is on its way there.
//!
//! ```text
//! calls/call-7.rspp            finished, with the store
//! calls/.log/lock              held by the server that writes here; the system lets go of it when that dies
//! calls/.log/worker-0.3.log    a worker's log (Stage A)
//! calls/.log/spool-0/          recordings that grow, or wait for the store (Stage B)
//! ```
//!
//! What a server leaves that was killed is made into recordings by the next one, or by `rspp recordings recover`.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::export::{ExportLimits, Exporter, partials_in};
use super::log::{LogError, LogSize, WorkerLog};
use super::queue::LogWriter;
use super::store::{LocalFolder, Store};
use super::{RecordingError, io_error};

/// A folder of recordings, and its lock.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    log: PathBuf,
    _lock: File,
}

/// A worker's log, and who exports it.
pub struct KeptLog {
    pub(crate) log: WorkerLog,
    pub(crate) exporter: Exporter,
}

impl KeptLog {
    /// Has the log written by whoever has this; else the worker has a thread for it.
    ///
    /// # Errors
    /// The system refuses another handle of the log's files.
    pub fn writer(&mut self) -> io::Result<LogWriter> {
        self.log.writer()
    }
}

/// Why a server can't record there.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Somebody else does.
    #[error("a server is recording into {0}: stop it first, or give another folder")]
    Taken(PathBuf),
    /// The system refuses.
    #[error("the folder for recordings {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// A worker has no log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What a killed server left can't be read.
    #[error(transparent)]
    Recovery(#[from] RecordingError),
}

const LOG: &str = ".log";
const SPOOL: &str = "spool-";

impl Archive {
    /// Takes this folder for its own; it is made if it is not there.
    ///
    /// # Errors
    /// A server records there, or the system refuses.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ArchiveError> {
        let folder = folder.into();
        let log = folder.join(LOG);
        let failed = |source| ArchiveError::Io { path: folder.clone(), source };
        std::fs::create_dir_all(&log).map_err(failed)?;
        let lock = File::options().write(true).create(true).truncate(false).open(log.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, log, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ArchiveError::Taken(folder)),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether there may be something that a server left which was killed, or that runs.
    pub fn is_left_behind(folder: &Path) -> bool {
        let entries = std::fs::read_dir(folder.join(LOG)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).any(|name| name != "lock")
    }

    /// Makes recordings of what a killed server left, and gives their paths. Nothing of its logs stays.
    ///
    /// # Errors
    /// What is there can't be read, or the system refuses. Nothing is lost then: it can be tried again.
    pub fn recover(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        let workers = self.workers()?;
        for worker in &workers {
            if let Some(size) = self.size_of(*worker)? {
                Exporter::recover(&self.log, *worker, size, &self.spool(*worker))?;
            }
        }
        let kept = self.bring_to_store()?;
        for path in self.logs()? {
            std::fs::remove_file(&path).map_err(|source| ArchiveError::Io { path, source })?;
        }
        Ok(kept)
    }

    /// So many workers' logs, made anew. What was left there has to be recovered before.
    ///
    /// # Errors
    /// There is no room, or the system refuses.
    pub fn logs_of(&self, workers: usize, size: LogSize, limits: ExportLimits) -> Result<Vec<KeptLog>, ArchiveError> {
        let of = |worker: usize| -> Result<KeptLog, ArchiveError> {
            let store: Box<dyn Store> = Box::new(LocalFolder::new(&self.folder).map_err(|source| self.failed(source))?);
            self.log_of(worker as u32, size, store, limits)
        };
        (0..workers.max(1)).map(of).collect()
    }

    /// One worker's log, with another store than this folder.
    ///
    /// # Errors
    /// As [`Self::logs_of`].
    pub fn log_of(
        &self,
        worker: u32,
        size: LogSize,
        store: Box<dyn Store>,
        limits: ExportLimits,
    ) -> Result<KeptLog, ArchiveError> {
        let log = WorkerLog::create(&self.log, worker, size)?;
        let exporter = Exporter::new(&log, &self.spool(worker), store, limits).map_err(|source| self.failed(source))?;
        Ok(KeptLog { log, exporter })
    }

    /// All workers have ended: their logs have nothing that is not in recordings, and go. What the store did not take stays.
    ///
    /// # Errors
    /// The system refuses.
    pub fn close(self) -> Result<(), ArchiveError> {
        for path in self.logs()? {
            std::fs::remove_file(&path).map_err(|source| ArchiveError::Io { path, source })?;
        }
        for spool in self.entries()?.into_iter().filter(|path| path.is_dir()) {
            // One that is not empty stays.
            let _ = std::fs::remove_dir(spool);
        }
        Ok(())
    }

    /// Something that this folder needs was refused.
    pub fn failed(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Io { path: self.folder.clone(), source }
    }

    fn entries(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        let entries = std::fs::read_dir(&self.log).map_err(|source| self.failed(source))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Ok(paths)
    }

    /// The files of all workers' logs.
    fn logs(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        let mut paths = self.entries()?;
        paths.retain(|path| worker_of(path, "worker-").is_some());
        Ok(paths)
    }

    /// Workers of which anything is there.
    fn workers(&self) -> Result<Vec<u32>, ArchiveError> {
        let of = |path: &PathBuf| worker_of(path, "worker-").or_else(|| worker_of(path, SPOOL));
        let mut workers: Vec<u32> = self.entries()?.iter().filter_map(of).collect();
        workers.sort_unstable();
        workers.dedup();
        Ok(workers)
    }

    /// How large a worker's log is that is there.
    fn size_of(&self, worker: u32) -> Result<Option<LogSize>, ArchiveError> {
        let segments: Vec<PathBuf> = self.logs()?.into_iter().filter(|path| is_segment_of(path, worker)).collect();
        let Some(first) = segments.first() else { return Ok(None) };
        let segment_bytes = std::fs::metadata(first).map_err(|source| self.failed(source))?.len();
        Ok(Some(LogSize { segment_bytes, segments: segments.len() as u32, ..LogSize::default() }))
    }

    fn spool(&self, worker: u32) -> PathBuf {
        self.log.join(format!("{SPOOL}{worker}"))
    }

    /// Everything in the spools gets to this folder: what has no end, too.
    fn bring_to_store(&self) -> Result<Vec<PathBuf>, ArchiveError> {
        let mut store = LocalFolder::new(&self.folder).map_err(|source| self.failed(source))?;
        let mut kept = Vec::new();
        for spool in self.entries()?.into_iter().filter(|path| worker_of(path, SPOOL).is_some()) {
            for partial in partials_in(&spool)? {
                super::export::named(&partial)?;
            }
            for path in super::export::finished_in(&spool).map_err(|source| self.failed(source))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let failed = io_error(format!("bring {} to {}", path.display(), self.folder.display()));
                kept.push(store.place(&name, &path).map_err(failed)?);
            }
            let _ = std::fs::remove_dir(&spool);
        }
        Ok(kept)
    }
}

/// The worker in the name of one of its files.
fn worker_of(path: &Path, prefix: &str) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let rest = name.strip_prefix(prefix)?;
    rest.split('.').next()?.parse().ok()
}

fn is_segment_of(path: &Path, worker: u32) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.starts_with(&format!("worker-{worker}.")) && name.ends_with(".log")
}
