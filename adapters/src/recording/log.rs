//! Stage A: what a worker thread writes of all of its sessions, in one log, before any effect leaves (`F-154`).
//!
//! The log is a ring of segments of fixed size, whose room is taken from the disk when it is made: the worker never makes,
//! lengthens or waits for a file, and never for [`Exporter`](super::export::Exporter), which follows it. A tick's events are
//! one write, into the system's page cache; ticks without an effect wait for the next one that has one, or for a full
//! buffer. When the ring is nearly full, events are left out and evidence alone is kept, in room that nothing else may
//! take; [`WorkerLog::measure`] says long before what the sessions are to be told.

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
use super::recorder::Recorder;

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
}

impl Default for LogSize {
    /// A few minutes of a thousand sessions at L0, some seconds of them at L2.
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, segments: 8, reserve_bytes: 32 << 20 }
    }
}

impl LogSize {
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
    #[error("a log of {0:?}: give at least four segments of 4 KiB, and less than a half of all as reserve")]
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

/// What worker and exporter know of each other: how far the one has written, and the other read. Both count bytes since
/// the log was made.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) written: AtomicU64,
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
    scratch: Vec<u8>,
    gauge: Gauge,
    counts: LogCounts,
    /// The system refuses: nothing more can be kept.
    broken: bool,
}

impl WorkerLog {
    /// Makes the log of a worker in a folder. What an earlier process left there must have been recovered before
    /// ([`Exporter::recover`](super::export::Exporter::recover)): it is written over.
    ///
    /// # Errors
    /// When there is no room, or the sizes make no sense.
    pub fn create(folder: &Path, worker: u32, size: LogSize) -> Result<Self, LogError> {
        if size.segments < 4 || size.segment_bytes < 4 << 10 || size.reserve_bytes * 2 > size.bytes() {
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
        let shared =
            Shared { written: first.into(), followed: first.into(), released: first.into(), waiting: 0.into() };
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
            scratch: Vec::new(),
            gauge: Gauge::default(),
            counts: LogCounts::default(),
            broken: false,
        };
        log.begin_segment();
        Ok(log)
    }

    /// What the exporter needs.
    pub(super) fn follow(&self) -> io::Result<(Ring, Arc<Shared>)> {
        Ok((self.ring.again()?, Arc::clone(&self.shared)))
    }

    /// What was written and what was not, so far.
    pub fn counts(&self) -> LogCounts {
        self.counts
    }

    /// Takes what a tick wrote, of all sessions of the worker. When it returns, everything that has an effect is with the
    /// system, and its effects may leave.
    pub fn append(&mut self, records: &[Record]) {
        let mut has_effect = false;
        for record in records {
            self.take(record);
            has_effect |= matches!(&record.entry, Entry::Effect(effect) if !matches!(effect, Effect::WakeAt { .. }));
        }
        if has_effect || self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands everything to the system: when a worker has nothing to do, or ends.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let (file, at, _) = self.ring.locate(self.place);
        if let Err(_refused) = file.write_all_at(&self.buffer, at) {
            self.counts.failed_writes += 1;
            self.broken = true;
        }
        self.place += self.buffer.len() as u64;
        self.buffer.clear();
        self.shared.written.store(self.place, Ordering::Release);
    }

    /// How the log fares. Gives what every session of the worker is to be told, when that changes.
    pub fn measure(&mut self, now: Micros) -> Option<RecorderReport> {
        let size = self.ring.size;
        let measured = Measured {
            written: self.end(),
            followed: self.shared.followed.load(Ordering::Acquire),
            used: self.end() - self.shared.released.load(Ordering::Acquire),
            bytes: size.bytes() - size.segment_bytes - size.reserve_bytes,
            has_room_for_evidence: !self.broken && self.free() >= size.reserve_bytes / 4,
        };
        self.gauge.measure(now, measured)
    }

    /// What is free: for events, but for the reserve.
    pub fn free_bytes(&self) -> u64 {
        self.free()
    }

    /// Where the next item goes.
    fn end(&self) -> u64 {
        self.place + self.buffer.len() as u64
    }

    /// What is free, but for one segment: the exporter may be reading in the one that comes next.
    fn free(&self) -> u64 {
        let used = self.end() - self.shared.released.load(Ordering::Acquire);
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
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        match wire::encode_lean(record, redacted.as_ref(), &mut payload) {
            Ok(()) if self.put_payload(session.number, ItemKind::Event, session.events, &payload, false) => {
                self.counts.events += 1;
            }
            Ok(()) => {
                session.has_gap = true;
                self.counts.left_out += 1;
                self.put_payload(session.number, ItemKind::Gap, session.events, &[], true);
            }
            // It is left out, and its number is skipped.
            Err(_over) => self.counts.over_a_limit += 1,
        }
        self.scratch = payload;
    }

    /// Puts an item into the buffer, if there is room: what is not evidence leaves the reserve alone.
    fn put_payload(&mut self, session: u32, kind: ItemKind, event: u64, payload: &[u8], is_evidence: bool) -> bool {
        let length = (ITEM_HEAD_BYTES + payload.len()) as u64;
        let segment_bytes = self.ring.size.segment_bytes;
        let usable = segment_bytes - (SEGMENT_HEAD_BYTES + ITEM_HEAD_BYTES) as u64;
        let kept_back = if is_evidence { 0 } else { self.ring.size.reserve_bytes };
        // At worst, the rest of a segment stays empty.
        if self.broken || length > usable || self.free() < kept_back + length + ITEM_HEAD_BYTES as u64 {
            return false;
        }
        if self.end() % segment_bytes + length > segment_bytes - ITEM_HEAD_BYTES as u64 {
            self.turn_segment();
        }
        let round = self.end() / segment_bytes;
        put_item(&mut self.buffer, round, session, kind, event, payload);
        true
    }

    /// The segment is full: the next one begins.
    fn turn_segment(&mut self) {
        let round = self.end() / self.ring.size.segment_bytes;
        put_item(&mut self.buffer, round, 0, ItemKind::Turn, 0, &[]);
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

fn put_item(buffer: &mut Vec<u8>, round: u64, session: u32, kind: ItemKind, event: u64, payload: &[u8]) {
    let start = buffer.len();
    let length = u32::try_from(payload.len()).expect("an item fits into a segment");
    buffer.extend(length.to_le_bytes());
    buffer.extend([0; 4]);
    buffer.extend(session.to_le_bytes());
    // A session has fewer events than 2^56.
    buffer.extend((event << 8 | kind as u64).to_le_bytes());
    buffer.extend(payload);
    let sum = checksum(round, &buffer[start + 8..]);
    buffer[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
}
