//! Stage A: what a worker thread writes of all of its sessions, in one log, before any effect leaves (`F-154`).
//!
//! The log is a ring of segments of fixed size, whose room is taken from the disk when it is made: the worker never makes,
//! lengthens or waits for a file, and never for [`Exporter`](super::export::Exporter), which follows it. A tick's events are
//! one write, into the system's page cache; ticks that nobody outside notices wait for the next one that somebody does, or
//! for a full buffer. The write is made by whoever appends, or, once [`WorkerLog::writer`] was asked for, by a thread of its
//! own, and [`WorkerLog::is_written`] says when a tick's effects may leave. When ring or queue are nearly full, events are
//! left out and evidence alone is kept, in room that nothing else may take; [`WorkerLog::measure`] says long before what the
//! sessions are to be told.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost::Message;
use rspp_specs::recording::{RecorderReport, Redacted};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, SessionOpen, Signal};
use rspp_specs::wire;
use rspp_specs::wire::generated::TurnEvidence;

use super::pressure::{Gauge, Measured};
use super::queue::{LogWriter, Queue};
use super::recorder::Recorder;
use crate::transport::is_told;

/// What stands before an item's payload: its length, its checksum, its session, its kind, and which of the session's
/// events it is.
pub(super) const ITEM_HEAD_BYTES: usize = 20;
/// What stands before a segment's first item: `RSPPLOG2`, and which time round the ring it is.
pub(super) const SEGMENT_HEAD_BYTES: usize = 16;
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"RSPPLOG2";
/// The buffer is written when it has so many bytes, effect or not.
const BUFFER_BYTES: usize = 256 << 10;

/// How large a worker's log is.
#[derive(Clone, Copy, Debug)]
pub struct LogSize {
    /// One segment.
    pub segment_bytes: u64,
    /// So many segments.
    pub segments: u32,
    /// So much of them all is for evidence alone.
    pub reserve_bytes: u64,
    /// So much may wait in memory for the disk. A quarter of it is for evidence alone.
    pub queue_bytes: u64,
}

impl Default for LogSize {
    /// A few minutes of a thousand sessions at L0, some seconds of them at L2.
    fn default() -> Self {
        Self::of(512 << 20)
    }
}

impl LogSize {
    /// A log that takes so much of the disk.
    pub fn of(bytes: u64) -> Self {
        Self {
            segment_bytes: bytes / 8,
            segments: 8,
            reserve_bytes: bytes / 16,
            queue_bytes: (bytes / 16).min(16 << 20),
        }
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.segment_bytes * u64::from(self.segments)
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system refuses.
    #[error("can't {doing} the worker's log {path}: {source}; check that the folder may be written to and has room")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Of which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Sizes that make no sense.
    #[error(
        "a log of {0:?}: give at least four segments of 4 KiB, a queue of 4 KiB, and less than a half of all as reserve"
    )]
    Size(LogSize),
}

/// What an item of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// A session begins: a recording's head.
    Head = 1,
    /// An event, as a lean envelope.
    Event = 2,
    /// What is kept of a turn.
    Evidence = 3,
    /// The session is over.
    End = 4,
    /// From here on there is evidence alone.
    Gap = 5,
    /// The segment ends here.
    Turn = 6,
}

impl ItemKind {
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Head, Self::Event, Self::Evidence, Self::End, Self::Gap, Self::Turn]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// What worker, writer and exporter know of each other: how far the log is written, and how far it was read. They count
/// bytes since the log was made.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) written: AtomicU64,
    /// Writes that the system refused.
    pub(super) failed_writes: AtomicU64,
    /// Up to here it was read.
    pub(super) followed: AtomicU64,
    /// Up to here it is in the files of the spool, and may be written over.
    pub(super) released: AtomicU64,
    /// Recordings that are finished and not with the store yet, in bytes, and how many may be.
    pub(super) waiting: AtomicU64,
}

/// The files of a ring, opened.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) folder: PathBuf,
    pub(super) worker: u32,
    pub(super) files: Vec<File>,
    pub(super) size: LogSize,
}

impl Ring {
    pub(super) fn path(folder: &Path, worker: u32, segment: u32) -> PathBuf {
        folder.join(format!("worker-{worker}.{segment}.log"))
    }

    /// Opens the segments; makes them where they are not there, at their full length.
    fn open(folder: &Path, worker: u32, size: LogSize) -> Result<Self, LogError> {
        let open = |segment| {
            let path = Self::path(folder, worker, segment);
            let failed = |doing| {
                let path = path.clone();
                move |source| LogError::Io { doing, path, source }
            };
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let file = file.map_err(failed("open"))?;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size.segment_bytes)
                .map_err(|error| failed("make room for")(error.into()))?;
            Ok(file)
        };
        let files = (0..size.segments).map(open).collect::<Result<_, _>>()?;
        Ok(Self { folder: folder.to_owned(), worker, files, size })
    }

    /// The same files, for another thread.
    pub(super) fn again(&self) -> io::Result<Self> {
        let files = self.files.iter().map(File::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { folder: self.folder.clone(), worker: self.worker, files, size: self.size })
    }

    /// The file that has this place, where in it, and which time round it is.
    pub(super) fn locate(&self, place: u64) -> (&File, u64, u64) {
        let segment = place / self.size.segment_bytes;
        let file = &self.files[(segment % u64::from(self.size.segments)) as usize];
        (file, place % self.size.segment_bytes, segment)
    }
}

/// A checksum that does not fit another time round the ring.
pub(super) fn checksum(round: u64, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(round as u32 ^ (round >> 32) as u32);
    hasher.update(rest);
    hasher.finalize()
}

/// A session, as the log knows it.
#[derive(Debug)]
struct Logged {
    number: u32,
    recorder: Recorder,
    /// Events so far.
    events: u64,
    /// There was no room: evidence alone is kept from here on.
    has_gap: bool,
}

/// What was left out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounts {
    /// Events that are in the log.
    pub events: u64,
    /// Turns of which evidence is in the log.
    pub evidence: u64,
    /// Events that there was no room for.
    pub left_out: u64,
    /// Turns of which there was no room even for evidence. It stays 0 as long as sessions do what they are told.
    pub evidence_lost: u64,
    /// Events over a limit of the format.
    pub over_a_limit: u64,
    /// Writes that the system refused.
    pub failed_writes: u64,
}

/// A place in the log: up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// A writer for which something has waited so long, and that has written nothing meanwhile, stands still: what is handed to
/// it can't be called kept.
const STANDS_AFTER: Micros = Micros::from_ms(2_000);

/// A worker's log.
#[derive(Debug)]
pub struct WorkerLog {
    ring: Ring,
    shared: Arc<Shared>,
    /// By slot.
    sessions: Vec<Option<Box<Logged>>>,
    next_number: u32,
    /// What the next write has.
    buffer: Vec<u8>,
    /// Where the buffer begins.
    place: u64,
    gauge: Gauge,
    counts: LogCounts,
    /// Where a writer takes what is to be written, if there is one.
    queue: Option<Arc<Queue>>,
    /// How far the log was written when it was looked at, and since when it is no further, though it should be.
    stands: Option<(u64, Micros)>,
}

impl WorkerLog {
    /// Makes the log of a worker in a folder. What an earlier process left there must have been recovered before
    /// ([`Exporter::recover`](super::export::Exporter::recover)): it is written over.
    ///
    /// # Errors
    /// When there is no room, or the sizes make no sense.
    pub fn create(folder: &Path, worker: u32, size: LogSize) -> Result<Self, LogError> {
        let is_small = size.segments < 4 || size.segment_bytes < 4 << 10 || size.queue_bytes < 4 << 10;
        if is_small || size.reserve_bytes * 2 > size.bytes() {
            return Err(LogError::Size(size));
        }
        std::fs::create_dir_all(folder).map_err(|source| LogError::Io {
            doing: "make the folder of",
            path: folder.to_owned(),
            source,
        })?;
        let ring = Ring::open(folder, worker, size)?;
        // Another process's rounds must not look like ours.
        let round = super::export::last_round(&ring).map_or(0, |round| round + u64::from(size.segments));
        let first = round.next_multiple_of(u64::from(size.segments)) * size.segment_bytes;
        let [written, followed, released] = [(); 3].map(|()| first.into());
        let shared = Shared { written, followed, released, ..Shared::default() };
        // Nobody is to take for ours what another process wrote.
        for segment in &ring.files {
            segment.write_all_at(&[0; SEGMENT_HEAD_BYTES], 0).map_err(|source| LogError::Io {
                doing: "begin",
                path: folder.to_owned(),
                source,
            })?;
        }
        let mut log = Self {
            ring,
            shared: Arc::new(shared),
            sessions: Vec::new(),
            next_number: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES * 2),
            place: first,
            gauge: Gauge::default(),
            counts: LogCounts::default(),
            queue: None,
            stands: None,
        };
        log.begin_segment();
        Ok(log)
    }

    /// What the exporter needs.
    pub(super) fn follow(&self) -> io::Result<(Ring, Arc<Shared>)> {
        Ok((self.ring.again()?, Arc::clone(&self.shared)))
    }

    /// Has what is appended from now on written by somebody else.
    ///
    /// # Errors
    /// The system refuses another handle of the log's files.
    pub fn writer(&mut self) -> io::Result<LogWriter> {
        let queue = Arc::new(Queue::default());
        let writer = LogWriter::new(self.ring.again()?, Arc::clone(&self.shared), Arc::clone(&queue));
        self.flush();
        self.queue = Some(queue);
        Ok(writer)
    }

    /// Whether somebody else writes what is appended.
    pub fn has_writer(&self) -> bool {
        self.queue.is_some()
    }

    /// How large it is.
    pub fn size(&self) -> LogSize {
        self.ring.size
    }

    /// What was written and what was not, so far.
    pub fn counts(&self) -> LogCounts {
        LogCounts { failed_writes: self.shared.failed_writes.load(Ordering::Acquire), ..self.counts }
    }

    /// Takes what a tick wrote, of all sessions of the worker. Gives the place up to which the log has to be written before
    /// anybody outside may notice anything of the tick; without a writer, it is written.
    pub fn append(&mut self, records: &[Record]) -> Place {
        let mut is_noticed = false;
        for record in records {
            self.take(record);
            is_noticed |= is_noticed_outside(&record.entry);
        }
        if is_noticed || self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        Place(self.place)
    }

    /// Whether everything up to there is with the system.
    pub fn is_written(&self, place: Place) -> bool {
        self.shared.written.load(Ordering::SeqCst) >= place.0
    }

    /// Hands everything to the system, or to the writer: when a worker has nothing to do, or ends.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match &self.queue {
            Some(queue) => queue.put(self.place, &self.buffer),
            None => self.shared.write(&self.ring, self.place, &self.buffer),
        }
        self.place += self.buffer.len() as u64;
        self.buffer.clear();
    }

    /// The worker ends: so do the recordings of all sessions that it still has, where they are.
    pub fn end_all(&mut self) {
        for session in std::mem::take(&mut self.sessions).into_iter().flatten() {
            self.put_payload(session.number, ItemKind::End, session.events, &[], true);
        }
        self.flush();
    }

    /// How the log fares. Gives what every session of the worker is to be told, when that changes.
    pub fn measure(&mut self, now: Micros) -> Option<RecorderReport> {
        let size = self.ring.size;
        let is_kept = !self.is_broken() && !self.stands_still(now);
        let has_room = self.free() >= size.reserve_bytes / 4 && self.queued() <= size.queue_bytes * 15 / 16;
        let measured = Measured {
            written: self.end(),
            followed: self.shared.followed.load(Ordering::Acquire),
            used: self.end() - self.shared.released.load(Ordering::Acquire),
            bytes: size.bytes() - size.segment_bytes - size.reserve_bytes,
            queued: self.queued(),
            queue_bytes: size.queue_bytes * 3 / 4,
            has_room_for_evidence: is_kept && has_room,
        };
        self.gauge.measure(now, measured)
    }

    /// How the log fares, as it was measured last: what a session is to be told that begins now.
    pub fn says(&self) -> RecorderReport {
        self.gauge.says()
    }

    /// The system refuses: nothing more can be kept.
    fn is_broken(&self) -> bool {
        self.shared.failed_writes.load(Ordering::Acquire) > 0
    }

    fn stands_still(&mut self, now: Micros) -> bool {
        let written = self.shared.written.load(Ordering::SeqCst);
        if written >= self.place {
            self.stands = None;
            return false;
        }
        let (at, since) = *self.stands.get_or_insert((written, now));
        if at != written {
            self.stands = Some((written, now));
            return false;
        }
        now.since(since) >= STANDS_AFTER
    }

    /// What is free: for events, but for the reserve.
    pub fn free_bytes(&self) -> u64 {
        self.free()
    }

    /// What waits in memory.
    fn queued(&self) -> u64 {
        self.end() - self.shared.written.load(Ordering::SeqCst)
    }

    /// Where the next item goes.
    fn end(&self) -> u64 {
        self.place + self.buffer.len() as u64
    }

    /// What is free, but for one segment: the exporter may be reading in the one that comes next.
    fn free(&self) -> u64 {
        self.free_from(self.end())
    }

    fn free_from(&self, end: u64) -> u64 {
        let used = end - self.shared.released.load(Ordering::Acquire);
        (self.ring.size.bytes() - self.ring.size.segment_bytes).saturating_sub(used)
    }

    fn take(&mut self, record: &Record) {
        let slot = record.slot.0 as usize;
        if let Entry::Input(_, Input::SessionOpen(open)) = &record.entry {
            let is_known = self.sessions.get(slot).is_some_and(Option::is_some);
            if !is_known {
                self.begin(slot, open);
            }
        }
        let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) else { return };
        self.take_of(&mut session, record);
        if !matches!(record.entry, Entry::Signal(_, Signal::SessionEnded)) {
            self.sessions[slot] = Some(session);
        }
    }

    fn begin(&mut self, slot: usize, open: &SessionOpen) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        if self.sessions.len() <= slot {
            self.sessions.resize_with(slot + 1, || None);
        }
        let head = Recorder::head(open).encode_to_vec();
        let has_gap = !self.put_payload(number, ItemKind::Head, 0, &head, true);
        let recorder = Recorder::new(open);
        self.sessions[slot] = Some(Box::new(Logged { number, recorder, events: 0, has_gap }));
    }

    fn take_of(&mut self, session: &mut Logged, record: &Record) {
        session.events += 1;
        let evidence = if session.has_gap {
            self.counts.left_out += 1;
            session.recorder.take_evidence(record)
        } else {
            let recorded = session.recorder.take(record);
            let (written, redacted) = match &recorded.instead {
                Some((instead, redacted)) => (&**instead, Some(*redacted)),
                None => (record, None),
            };
            self.put_event(session, written, redacted);
            recorded
                .evidence
                .map(|evidence| TurnEvidence { incomplete: evidence.incomplete || session.has_gap, ..evidence })
        };
        if let Some(evidence) = evidence {
            let payload = evidence.encode_to_vec();
            let is_kept = self.put_payload(session.number, ItemKind::Evidence, session.events, &payload, true);
            self.counts.evidence += u64::from(is_kept);
            self.counts.evidence_lost += u64::from(!is_kept);
        }
        if matches!(record.entry, Entry::Signal(_, Signal::SessionEnded)) {
            self.put_payload(session.number, ItemKind::End, session.events, &[], true);
        }
    }

    fn put_event(&mut self, session: &mut Logged, record: &Record, redacted: Option<Redacted>) {
        let start = self.begin_item();
        match wire::encode_lean(record, redacted.as_ref(), &mut self.buffer) {
            Ok(()) if self.end_item(start, session.number, ItemKind::Event, session.events, false) => {
                self.counts.events += 1;
            }
            Ok(()) => {
                session.has_gap = true;
                self.counts.left_out += 1;
                self.put_payload(session.number, ItemKind::Gap, session.events, &[], true);
            }
            // It is left out, and its number is skipped.
            Err(_over) => {
                self.buffer.truncate(start);
                self.counts.over_a_limit += 1;
            }
        }
    }

    /// Puts an item into the buffer, if there is room.
    fn put_payload(&mut self, session: u32, kind: ItemKind, event: u64, payload: &[u8], is_evidence: bool) -> bool {
        let start = self.begin_item();
        self.buffer.extend_from_slice(payload);
        self.end_item(start, session, kind, event, is_evidence)
    }

    /// Leaves room for an item's head; the payload is to follow.
    fn begin_item(&mut self) -> usize {
        let start = self.buffer.len();
        self.buffer.extend([0; ITEM_HEAD_BYTES]);
        start
    }

    /// The payload stands in the buffer: the item is whole, or goes again where there is no room for it.
    fn end_item(&mut self, start: usize, session: u32, kind: ItemKind, event: u64, is_evidence: bool) -> bool {
        let length = (self.buffer.len() - start) as u64;
        let begins = self.place + start as u64;
        if !self.has_room(begins, length, is_evidence) {
            self.buffer.truncate(start);
            return false;
        }
        let segment_bytes = self.ring.size.segment_bytes;
        let mut start = start;
        if begins % segment_bytes + length > segment_bytes - ITEM_HEAD_BYTES as u64 {
            let item = self.buffer.split_off(start);
            self.turn_segment();
            start = self.buffer.len();
            self.buffer.extend(item);
        }
        let round = (self.place + start as u64) / segment_bytes;
        fill_head(&mut self.buffer[start..], round, session, kind, event);
        true
    }

    /// Whether there is room: what is not evidence leaves the reserves alone.
    fn has_room(&self, begins: u64, length: u64, is_evidence: bool) -> bool {
        let LogSize { segment_bytes, reserve_bytes, queue_bytes, .. } = self.ring.size;
        let usable = segment_bytes - (SEGMENT_HEAD_BYTES + ITEM_HEAD_BYTES) as u64;
        let (kept_back, queue_bytes) =
            if is_evidence { (0, queue_bytes) } else { (reserve_bytes, queue_bytes - queue_bytes / 4) };
        // At worst, the rest of a segment stays empty.
        let is_full = self.free_from(begins) < kept_back + length + ITEM_HEAD_BYTES as u64;
        // Without a writer, the queue is the buffer, and it is written where this happens.
        let queued = begins + length - self.shared.written.load(Ordering::Acquire);
        let is_far_behind = self.queue.is_some() && queued > queue_bytes;
        !(self.is_broken() || length > usable || is_full || is_far_behind)
    }

    /// The segment is full: the next one begins.
    fn turn_segment(&mut self) {
        let round = self.end() / self.ring.size.segment_bytes;
        let start = self.begin_item();
        fill_head(&mut self.buffer[start..], round, 0, ItemKind::Turn, 0);
        self.flush();
        self.place = (round + 1) * self.ring.size.segment_bytes;
        self.begin_segment();
    }

    fn begin_segment(&mut self) {
        let round = self.place / self.ring.size.segment_bytes;
        self.buffer.extend(SEGMENT_MAGIC);
        self.buffer.extend(round.to_le_bytes());
        self.flush();
    }
}

/// Whether anybody outside notices it: then it has to be in the log before.
fn is_noticed_outside(entry: &Entry) -> bool {
    is_told(entry) || matches!(entry, Entry::Effect(effect) if !matches!(effect, Effect::WakeAt { .. }))
}

/// Writes the head of an item that stands there with its payload.
fn fill_head(item: &mut [u8], round: u64, session: u32, kind: ItemKind, event: u64) {
    let length = u32::try_from(item.len() - ITEM_HEAD_BYTES).expect("an item fits into a segment");
    item[0..4].copy_from_slice(&length.to_le_bytes());
    item[8..12].copy_from_slice(&session.to_le_bytes());
    // A session has fewer events than 2^56.
    item[12..20].copy_from_slice(&(event << 8 | kind as u64).to_le_bytes());
    let sum = checksum(round, &item[8..]);
    item[4..8].copy_from_slice(&sum.to_le_bytes());
}
