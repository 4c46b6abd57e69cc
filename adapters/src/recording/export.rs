//! Stage B: follows a worker's log, cuts each call's recording from it by session, and brings what is finished to a
//! store (`F-154`).
//!
//! Recordings grow in the *spool*, a folder beside the log, and go from there. A store that fails is tried again, so often
//! and no more; what it did not take stays in the spool, and is tried again by the next exporter of that folder. The spool is
//! bounded too: when more than it may hold waits for the store, the log is not read on, and so the sessions' recordings
//! shrink. A worker never waits for any of this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost::Message;
use rspp_specs::wire;

use super::log::{
    ITEM_HEAD_BYTES, ItemKind, LogSize, Ring, SEGMENT_HEAD_BYTES, SEGMENT_MAGIC, Shared, WorkerLog, checksum,
};
use super::reader::{Item as Read, RecordingReader};
use super::store::Store;
use super::writer::RecordingWriter;
use super::{RecordingError, RecordingHead, TurnEvidence, file, io_error, open};

/// How often a store is tried, and how much may wait for it.
#[derive(Clone, Copy, Debug)]
pub struct ExportLimits {
    /// Tries of one recording.
    pub tries: u32,
    /// How long after the first failure the second try is; the next are twice as late each.
    pub first_retry: Duration,
    /// No try is later than this after the one before.
    pub longest_retry: Duration,
    /// Finished recordings that may wait in the spool.
    pub spool_bytes: u64,
}

impl Default for ExportLimits {
    fn default() -> Self {
        let (first_retry, longest_retry) = (Duration::from_millis(200), Duration::from_secs(30));
        Self { tries: 10, first_retry, longest_retry, spool_bytes: 4 << 30 }
    }
}

/// What an exporter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportCounts {
    /// Recordings that are with the store.
    pub exported: u64,
    /// Tries that failed.
    pub failed_tries: u64,
    /// Recordings that the store did not take; they are in the spool.
    pub given_up: u64,
    /// Items of the log that made no sense, and recordings that could not be written.
    pub damaged: u64,
}

/// Follows one worker's log.
pub struct Exporter {
    ring: Ring,
    shared: Arc<Shared>,
    spool: PathBuf,
    sessions: BTreeMap<u32, Spooled>,
    /// Up to where everything is in the spool.
    place: u64,
    finished: Vec<Finished>,
    store: Box<dyn Store>,
    limits: ExportLimits,
    counts: ExportCounts,
}

/// A recording that grows in the spool.
struct Spooled {
    writer: RecordingWriter<SpoolFile>,
    path: PathBuf,
    /// Events that it has from before, when it is recovered.
    events: u64,
}

/// A recording on its way to the store.
struct Finished {
    path: PathBuf,
    bytes: u64,
    tries: u32,
    next_try: Instant,
}

impl Exporter {
    /// Follows this log. Finished recordings that wait in the spool from before go to the store too.
    ///
    /// # Errors
    /// When the spool can't be made or read.
    pub fn new(log: &WorkerLog, spool: &Path, store: Box<dyn Store>, limits: ExportLimits) -> io::Result<Self> {
        let (ring, shared) = log.follow()?;
        let place = shared.released.load(Ordering::Acquire);
        std::fs::create_dir_all(spool)?;
        let mut exporter = Self {
            ring,
            shared,
            spool: spool.to_owned(),
            sessions: BTreeMap::new(),
            place,
            finished: Vec::new(),
            store,
            limits,
            counts: ExportCounts::default(),
        };
        exporter.note()?;
        for path in finished_in(spool)? {
            exporter.queue(path);
        }
        Ok(exporter)
    }

    /// What was done so far.
    pub fn counts(&self) -> ExportCounts {
        self.counts
    }

    /// Reads what the worker has written since, and tries what is due at the store. Gives whether there was anything to do.
    pub fn step(&mut self, now: Instant) -> bool {
        let read = self.has_room() && self.follow();
        let tried = self.try_store(now);
        read || tried
    }

    fn has_room(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) <= self.limits.spool_bytes
    }

    /// Reads to where the worker has written, at most a segment.
    fn follow(&mut self) -> bool {
        let written = self.shared.written.load(Ordering::Acquire);
        let from = self.place;
        while self.place < written {
            let (file, at, round) = self.ring.locate(self.place);
            let end = written.min((round + 1) * self.ring.size.segment_bytes);
            let mut bytes = vec![0; (end - self.place) as usize];
            if file.read_exact_at(&mut bytes, at).is_err() {
                self.counts.damaged += 1;
                self.place = end;
                continue;
            }
            let segment_end = (round + 1) * self.ring.size.segment_bytes;
            // Behind the mark that ends a segment early stands what an earlier time round has left.
            self.place = if self.take_bytes(round, at, &bytes) { segment_end } else { end };
            let is_whole = self.place == segment_end;
            if is_whole {
                self.release();
            }
        }
        if self.sessions.is_empty() && self.place > from {
            self.release();
        }
        self.shared.followed.store(self.place, Ordering::Release);
        self.place > from
    }

    /// What was read is in the files of the spool, so the worker may write over it.
    fn release(&mut self) {
        for spooled in self.sessions.values_mut() {
            self.counts.damaged += u64::from(spooled.writer.flush().is_err());
        }
        self.counts.damaged += u64::from(self.note().is_err());
        self.shared.released.store(self.place, Ordering::Release);
    }

    /// Notes beside the log up to where it need not be read again, for who recovers it.
    fn note(&self) -> io::Result<()> {
        let path = note_path(&self.ring.folder, self.ring.worker);
        let new = path.with_extension("new");
        std::fs::write(&new, self.place.to_le_bytes())?;
        std::fs::rename(new, path)
    }

    /// Notes that a session is over and its recording has its name.
    fn note_end(&self, session: u32) -> io::Result<()> {
        let path = note_path(&self.ring.folder, self.ring.worker);
        File::options().append(true).open(path)?.write_all(&session.to_le_bytes())
    }

    /// Whether the segment ends within these bytes.
    fn take_bytes(&mut self, round: u64, at: u64, bytes: &[u8]) -> bool {
        let skipped = if at == 0 { SEGMENT_HEAD_BYTES } else { 0 };
        let mut items = Items { round, rest: bytes.get(skipped..).unwrap_or_default() };
        while let Some(item) = items.next_item() {
            if item.kind == ItemKind::Turn {
                return true;
            }
            let session = item.session;
            if self.take_item(&item).is_err() {
                // Nothing of one session may stop the others'.
                self.counts.damaged += 1;
                self.sessions.remove(&session);
            }
        }
        self.counts.damaged += u64::from(!items.rest.is_empty());
        false
    }

    fn take_item(&mut self, item: &Item<'_>) -> Result<(), RecordingError> {
        match item.kind {
            ItemKind::Head => {
                let head = RecordingHead::decode(item.payload).map_err(not_written)?;
                let spooled = Spooled::begin(&self.spool, item.session, head)?;
                self.sessions.insert(item.session, spooled);
            }
            ItemKind::Event => {
                if let Some(spooled) =
                    self.sessions.get_mut(&item.session).filter(|spooled| item.event > spooled.events)
                {
                    let (record, redacted) = wire::decode_lean(item.payload).map_err(not_written)?;
                    spooled.writer.append_redacted(&record, redacted)?;
                }
            }
            ItemKind::Evidence => {
                let evidence = TurnEvidence::decode(item.payload).map_err(not_written)?;
                if !self.sessions.contains_key(&item.session) {
                    let head = head_of(&evidence);
                    self.sessions.insert(item.session, Spooled::begin(&self.spool, item.session, head)?);
                }
                if let Some(spooled) =
                    self.sessions.get_mut(&item.session).filter(|spooled| item.event > spooled.events)
                {
                    spooled.writer.append_evidence(evidence)?;
                }
            }
            ItemKind::End => {
                if let Some(spooled) = self.sessions.remove(&item.session) {
                    let path = spooled.finish()?;
                    self.counts.damaged += u64::from(self.note_end(item.session).is_err());
                    self.queue(path);
                }
            }
            ItemKind::Gap | ItemKind::Turn => {}
        }
        Ok(())
    }

    fn queue(&mut self, path: PathBuf) {
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        self.shared.waiting.fetch_add(bytes, Ordering::AcqRel);
        self.finished.push(Finished { path, bytes, tries: 0, next_try: Instant::now() });
    }

    /// Tries the recordings whose time has come.
    fn try_store(&mut self, now: Instant) -> bool {
        let mut tried = false;
        let mut waiting = std::mem::take(&mut self.finished);
        waiting.retain_mut(|finished| {
            if finished.next_try > now {
                return true;
            }
            tried = true;
            let name = finished.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            match self.store.put(&name, &finished.path) {
                Ok(()) => self.counts.exported += 1,
                Err(_refused) => {
                    self.counts.failed_tries += 1;
                    finished.tries += 1;
                    if finished.tries < self.limits.tries {
                        let doublings = 2_u32.saturating_pow(finished.tries - 1);
                        let after = self.limits.first_retry.saturating_mul(doublings).min(self.limits.longest_retry);
                        finished.next_try = now + after;
                        return true;
                    }
                    self.counts.given_up += 1;
                }
            }
            self.shared.waiting.fetch_sub(finished.bytes, Ordering::AcqRel);
            false
        });
        waiting.append(&mut self.finished);
        self.finished = waiting;
        tried
    }

    /// Puts what a worker left in its log, when it was killed, into the spool: recordings without an end, whose events are all
    /// that had an effect. Gives their paths. Call it before the worker's log is made again.
    ///
    /// # Errors
    /// When the log or the spool can't be read or written.
    pub fn recover(folder: &Path, worker: u32, size: LogSize, spool: &Path) -> Result<Vec<PathBuf>, RecordingError> {
        let failed = || io_error(format!("recover the log of worker {worker} in {}", folder.display()));
        std::fs::create_dir_all(spool).map_err(failed())?;
        let open_segment = |segment| File::open(Ring::path(folder, worker, segment));
        let Ok(files) = (0..size.segments).map(open_segment).collect::<io::Result<Vec<File>>>() else {
            return Ok(Vec::new());
        };
        let ring = Ring { folder: folder.to_owned(), worker, files, size };
        let (released, ended) = read_note(&note_path(folder, worker));
        let mut rounds: Vec<u64> = (0..size.segments).filter_map(|segment| round_of(&ring, segment)).collect();
        rounds.sort_unstable();
        let mut recovery = Recovery { spool, ended, sessions: BTreeMap::new(), finished: Vec::new() };
        for round in rounds {
            let segment = round % u64::from(size.segments);
            let mut bytes = vec![0; size.segment_bytes as usize];
            ring.files[segment as usize].read_exact_at(&mut bytes, 0).map_err(failed())?;
            let mut items = Items { round, rest: bytes.get(SEGMENT_HEAD_BYTES..).unwrap_or_default() };
            loop {
                let place = round * size.segment_bytes + size.segment_bytes - items.rest.len() as u64;
                match items.next_item().filter(|item| item.kind != ItemKind::Turn) {
                    Some(item) if place >= released => recovery.take(&item)?,
                    Some(_) => {}
                    None => break,
                }
            }
        }
        recovery.finish()
    }

    /// Runs on a thread of its own until it is stopped.
    pub fn spawn(mut self) -> io::Result<ExporterThread> {
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        let counts = Arc::new(Mutex::new(self.counts));
        let shown = Arc::clone(&counts);
        let thread = std::thread::Builder::new().name("rspp-export".to_owned()).spawn(move || {
            loop {
                let is_last = told.load(Ordering::Acquire);
                while self.step(Instant::now()) {
                    *shown.lock().unwrap_or_else(PoisonError::into_inner) = self.counts;
                }
                if is_last {
                    self.release();
                    return self.counts;
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        })?;
        Ok(ExporterThread { stopped, counts, thread })
    }
}

/// An exporter that runs.
#[derive(Debug)]
pub struct ExporterThread {
    stopped: Arc<AtomicBool>,
    counts: Arc<Mutex<ExportCounts>>,
    thread: JoinHandle<ExportCounts>,
}

impl ExporterThread {
    /// What it has done so far.
    pub fn counts(&self) -> ExportCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it read what was written, and ends it; what the store has not taken stays in the spool.
    pub fn stop(self) -> ExportCounts {
        self.stopped.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// One item of the log.
struct Item<'a> {
    session: u32,
    kind: ItemKind,
    event: u64,
    payload: &'a [u8],
}

/// The items of a stretch of one segment, as far as they are what was written.
struct Items<'a> {
    round: u64,
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    fn next_item(&mut self) -> Option<Item<'a>> {
        let head = self.rest.first_chunk::<ITEM_HEAD_BYTES>()?;
        let number = |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("it is within the head"));
        let length = ITEM_HEAD_BYTES.checked_add(number(0) as usize)?;
        let item = self.rest.get(..length)?;
        if checksum(self.round, &item[8..]) != number(4) {
            return None;
        }
        let word = u64::from_le_bytes(*head[12..].first_chunk().expect("it is within the head"));
        let kind = ItemKind::of(word as u8)?;
        self.rest = &self.rest[length..];
        Some(Item { session: number(8), kind, event: word >> 8, payload: &item[ITEM_HEAD_BYTES..] })
    }
}

/// Which time round the ring a segment was written last, if ever.
fn round_of(ring: &Ring, segment: u32) -> Option<u64> {
    let mut head = [0; SEGMENT_HEAD_BYTES];
    ring.files[segment as usize].read_exact_at(&mut head, 0).ok()?;
    let (magic, round) = head.split_first_chunk::<8>()?;
    let round = u64::from_le_bytes(*round.first_chunk()?);
    (*magic == SEGMENT_MAGIC && round % u64::from(ring.size.segments) == u64::from(segment)).then_some(round)
}

/// The last time round that anything was written.
pub(super) fn last_round(ring: &Ring) -> Option<u64> {
    (0..ring.size.segments).filter_map(|segment| round_of(ring, segment)).max()
}

/// What is made of a log whose worker is gone.
struct Recovery<'a> {
    spool: &'a Path,
    /// Sessions whose recordings have their names.
    ended: BTreeSet<u32>,
    sessions: BTreeMap<u32, Spooled>,
    finished: Vec<PathBuf>,
}

impl Recovery<'_> {
    fn take(&mut self, item: &Item<'_>) -> Result<(), RecordingError> {
        if self.ended.contains(&item.session) {
            return Ok(());
        }
        if item.kind == ItemKind::Head && !self.sessions.contains_key(&item.session) {
            let head = RecordingHead::decode(item.payload).map_err(not_written)?;
            if let Some(spooled) = Spooled::recover(self.spool, item.session, head)? {
                self.sessions.insert(item.session, spooled);
            }
            return Ok(());
        }
        if !self.sessions.contains_key(&item.session)
            && let Some(spooled) = Spooled::find(self.spool, item.session)?
        {
            self.sessions.insert(item.session, spooled);
        }
        let Some(spooled) = self.sessions.get_mut(&item.session) else { return Ok(()) };
        let is_new = item.event > spooled.events;
        match item.kind {
            ItemKind::Event if is_new => {
                let (record, redacted) = wire::decode_lean(item.payload).map_err(not_written)?;
                spooled.writer.append_redacted(&record, redacted)?;
            }
            ItemKind::Evidence if is_new => {
                spooled.writer.append_evidence(TurnEvidence::decode(item.payload).map_err(not_written)?)?;
            }
            ItemKind::End => {
                if let Some(spooled) = self.sessions.remove(&item.session) {
                    self.finished.push(spooled.finish()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What has no end gets its name without one; also what has nothing in the log any more that is not in the spool.
    fn finish(mut self) -> Result<Vec<PathBuf>, RecordingError> {
        for spooled in self.sessions.into_values() {
            self.finished.push(spooled.abandon()?);
        }
        for path in partials_in(self.spool)? {
            self.finished.push(named(&path)?);
        }
        Ok(self.finished)
    }
}

impl Spooled {
    fn begin(spool: &Path, session: u32, head: RecordingHead) -> Result<Self, RecordingError> {
        let path = path_of(spool, session, &head.session);
        File::create(&path).map_err(|source| RecordingError::Create { path: path.clone(), source })?;
        let writer = RecordingWriter::new(SpoolFile { path: path.clone() }, head)?;
        Ok(Self { writer, path, events: 0 })
    }

    /// Goes on with what is in the spool of this session; begins anew if there is nothing.
    fn recover(spool: &Path, session: u32, head: RecordingHead) -> Result<Option<Self>, RecordingError> {
        let path = path_of(spool, session, &head.session);
        if path.exists() { Self::resume(path) } else { Self::begin(spool, session, head).map(Some) }
    }

    /// What is in the spool of a session whose beginning has left the log.
    fn find(spool: &Path, session: u32) -> Result<Option<Self>, RecordingError> {
        let prefix = format!("{session}-");
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match partials_in(spool)?.into_iter().find(|path| name(path).starts_with(&prefix)) {
            Some(path) => Self::resume(path),
            None => Ok(None),
        }
    }

    /// Writes what is sound of a file again, and goes on behind it.
    fn resume(path: PathBuf) -> Result<Option<Self>, RecordingError> {
        let Ok(reader) = RecordingReader::new(open(&path)?) else { return Ok(None) };
        let again = file::beside(&path, "again");
        File::create(&again).map_err(|source| RecordingError::Create { path: again.clone(), source })?;
        let mut writer = RecordingWriter::new(SpoolFile { path: again.clone() }, reader.head().clone())?;
        let events = copy(reader, &mut writer)?;
        writer.flush()?;
        std::fs::rename(&again, &path).map_err(io_error(format!("replace {}", path.display())))?;
        let writer = writer.with_out(SpoolFile { path: path.clone() });
        Ok(Some(Self { writer, path, events }))
    }

    fn finish(self) -> Result<PathBuf, RecordingError> {
        self.writer.finish()?;
        named(&self.path)
    }

    fn abandon(mut self) -> Result<PathBuf, RecordingError> {
        self.writer.flush()?;
        named(&self.path)
    }
}

/// Writes again what is sound of a recording; gives how many events that is.
fn copy(mut from: RecordingReader<File>, to: &mut RecordingWriter<SpoolFile>) -> Result<u64, RecordingError> {
    let mut events = 0;
    loop {
        match from.next_item() {
            Ok(Some(Read::Event(record, redacted))) => {
                to.append_redacted(&record, redacted)?;
                events += 1;
            }
            Ok(Some(Read::Evidence(evidence))) => to.append_evidence(*evidence)?,
            Ok(None) | Err(RecordingError::Damaged(_)) => return Ok(events),
            Err(error) => return Err(error),
        }
    }
}

/// Where it is noted up to where a log need not be read again.
fn note_path(folder: &Path, worker: u32) -> PathBuf {
    folder.join(format!("worker-{worker}.read"))
}

/// The place, and the sessions that have ended since.
fn read_note(path: &Path) -> (u64, BTreeSet<u32>) {
    let bytes = std::fs::read(path).unwrap_or_default();
    let Some((place, sessions)) = bytes.split_first_chunk::<8>() else { return (0, BTreeSet::new()) };
    let sessions = sessions.as_chunks::<4>().0.iter().map(|session| u32::from_le_bytes(*session));
    (u64::from_le_bytes(*place), sessions.collect())
}

/// What the name of a recording ends with that grows in the spool.
const PARTIAL: &str = ".rspp.partial";

/// A session's name in the name of a file: what could lead elsewhere is not in it.
pub(super) fn file_name(session: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = session.chars().take(100).map(allowed).collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() { "call".to_owned() } else { name.to_owned() }
}

fn path_of(spool: &Path, session: u32, name: &str) -> PathBuf {
    spool.join(format!("{session}-{}{PARTIAL}", file_name(name)))
}

pub(super) fn named(partial: &Path) -> Result<PathBuf, RecordingError> {
    let path = partial.with_extension("");
    // Two calls of one name are two recordings.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.split_once('-').map_or(name.as_str(), |(_, name)| name).to_owned();
    let stem = name.strip_suffix(".rspp").unwrap_or(&name).to_owned();
    let free = (1_u32..).map(|n| if n == 1 { name.clone() } else { format!("{stem}.{n}.rspp") });
    let path = free.map(|name| path.with_file_name(name)).find(|path| !path.exists()).unwrap_or(path);
    std::fs::rename(partial, &path).map_err(io_error(format!("give the recording its name {}", path.display())))?;
    Ok(path)
}

/// Recordings in the spool that are not finished.
pub(super) fn partials_in(spool: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let entries = std::fs::read_dir(spool).map_err(io_error(format!("read {}", spool.display())))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(PARTIAL));
    paths.sort();
    Ok(paths)
}

/// Recordings in the spool that have their name.
pub(super) fn finished_in(spool: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(spool)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rspp"));
    paths.sort();
    Ok(paths)
}

fn head_of(evidence: &TurnEvidence) -> RecordingHead {
    RecordingHead {
        session: evidence.session.clone(),
        pipeline: evidence.pipeline.clone(),
        pipeline_version: evidence.pipeline_version,
        plan_hash: evidence.plan_hash.clone(),
        rspp_version: env!("CARGO_PKG_VERSION").to_owned(),
        lease_epoch: evidence.epoch_at_open,
        level: Some(evidence.level),
    }
}

fn not_written(error: impl std::fmt::Display) -> RecordingError {
    RecordingError::Log { detail: error.to_string() }
}

/// Appends to a file that is open only while it is written: there may be thousands.
#[derive(Debug)]
struct SpoolFile {
    path: PathBuf,
}

impl Write for SpoolFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        File::options().append(true).open(&self.path)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
