//! The recording: one session's timeline in one file, `.rspp`, that a reader can trust as far as it goes.
//!
//! The file is appended to in place and never rewritten, so what was flushed before a `kill -9` can be read. Each
//! frame carries a checksum, for damage, and a link of a hash chain, for alterations whose checksum was made again;
//! the last frame counts what came before, so a cut file is told from a whole one. The chain is no signature: who
//! rewrites every frame from an alteration on goes unnoticed, unless [`Recording::digest`] was kept elsewhere.
//!
//! `docs/timeline-format.md` says it all byte by byte, for readers in other languages.
//!
//! ```
//! use rspp_adapters::recording::{Recording, RecordingHead, RecordingWriter};
//! use rspp_specs::ids::Slot;
//! use rspp_specs::time::Micros;
//! use rspp_specs::timeline::{Entry, Record, Signal};
//!
//! let head = RecordingHead { session: "call-7".to_owned(), ..RecordingHead::default() };
//! let ready = Entry::Signal(None, Signal::SessionReady);
//! let record = Record { slot: Slot(0), tick: 1, at: Micros(0), entry: ready };
//!
//! let mut writer = RecordingWriter::new(Vec::new(), head)?;
//! writer.append(&record)?;
//! let bytes = writer.finish()?;
//! assert_eq!(Recording::read(&*bytes)?.records, [record]);
//!
//! let (prefix, damage) = Recording::read_prefix(&bytes[..bytes.len() - 1])?;
//! assert_eq!(prefix.records.len(), 1);
//! assert!(damage.is_some());
//! # Ok::<(), rspp_adapters::recording::RecordingError>(())
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use prost::Message;
use rspp_specs::plan::Plan;
use rspp_specs::timeline::{Entry, Record};
pub use rspp_specs::wire::generated::{RecordingEnd, RecordingHead};
use rspp_specs::wire::generated::{RecordingFrame, recording_frame::Kind};
use rspp_specs::wire::{self, EnvelopeContext, EventName, Lineage, MAX_ENVELOPE_BYTES, WireError};

/// The format that this code reads and writes.
pub const FORMAT_VERSION: u16 = 1;
/// One frame's payload.
pub const MAX_FRAME_PAYLOAD_BYTES: usize = 16 << 20;

const MAGIC: [u8; 4] = *b"RSPP";
const HEADER_BYTES: usize = 8;
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
const CHAIN_BYTES: usize = 16;
/// The key and the length that a frame puts before an event.
const EVENT_WRAPPING_BYTES: usize = 6;
/// The key of an event in a frame: field 2, length-delimited.
const EVENT_KEY: u8 = 0x12;

const _: () = assert!(MAX_FRAME_PAYLOAD_BYTES >= MAX_ENVELOPE_BYTES);

/// Why a recording can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The system refused.
    #[error("can't {doing}: {source}")]
    Io {
        /// What was tried, with the path where there is one.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file can't be begun.
    #[error("can't write the recording {path}: {source}; check that its folder exists, and that it may be written to")]
    Create {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It doesn't begin like one.
    #[error("not a recording: it does not begin with the 8 bytes of an .rspp header; check which file was given")]
    NotARecording,
    /// Another version wrote it.
    #[error("recording format {found}, and this reader knows {FORMAT_VERSION}: read it with the RSPP that wrote it")]
    UnknownFormat {
        /// The format in the header.
        found: u16,
    },
    /// An event can't be written. Nothing of it was, and the recording goes on without it.
    #[error("event {event_id} ({event}) is not in the recording: {source}")]
    Event {
        /// The number that it took.
        event_id: u64,
        /// Which it was.
        event: EventName,
        /// Why.
        source: WireError,
    },
    /// The head can't be written.
    #[error("the recording's head has {bytes} bytes, and the limit is {MAX_FRAME_PAYLOAD_BYTES}")]
    HeadTooLong {
        /// Its length.
        bytes: usize,
    },
    /// An earlier write failed, and what it left behind may end within a frame.
    #[error("an earlier write to the recording failed, and nothing more can follow it: begin another")]
    Broken,
    /// The file is not what was written.
    #[error("{0}; what stands before it is good")]
    Damaged(Box<Damage>),
}

/// Where a recording stops being what was written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The frame's number: the head is 0, the first event 1.
    pub record_index: u64,
    /// Where the frame begins, from the beginning of the file. Everything before this byte is sound.
    pub byte_offset: u64,
    /// What is wrong with it.
    pub what: DamageKind,
    /// The damaged event, as far as it can be made out. A damaged frame may misname itself.
    pub event: Option<EventName>,
    /// The last sound event.
    pub after: Option<EventName>,
    /// More, in words.
    pub detail: String,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The file ends within it.
    Truncated,
    /// Its bytes are not those that were written.
    ChecksumMismatch,
    /// It was altered and given a new checksum, or one before it was removed, added or moved.
    ChainMismatch,
    /// It is what was written, and makes no sense.
    Malformed,
    /// The file ends before it, without the last frame: the writer was stopped.
    MissingEnd,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { record_index, byte_offset, what, event, after, detail } = self;
        write!(f, "record {record_index}, at byte {byte_offset}")?;
        if let Some(event) = event {
            write!(f, ", {event}")?;
        }
        if let Some(after) = after {
            write!(f, ", after {after}")?;
        }
        let what = match what {
            DamageKind::Truncated => "the file ends within it",
            DamageKind::ChecksumMismatch => "its checksum does not fit",
            DamageKind::ChainMismatch => "it was altered, or one before it was removed, added or moved",
            DamageKind::Malformed => "it makes no sense",
            DamageKind::MissingEnd => "the file ends here, and the recording was not finished",
        };
        write!(f, ": {what}")?;
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}

/// The head of a recording of this session, written by this version of RSPP.
pub fn head(session: &str, plan: &Plan, lease_epoch: u64) -> RecordingHead {
    RecordingHead {
        session: session.to_owned(),
        pipeline: plan.name().to_owned(),
        pipeline_version: plan.version(),
        plan_hash: plan.hash().to_string(),
        rspp_version: env!("CARGO_PKG_VERSION").to_owned(),
        lease_epoch,
    }
}

type Chain = [u8; CHAIN_BYTES];

fn first_link(header: &[u8]) -> Chain {
    shorten(blake3::hash(header))
}

fn next_link(chain: &Chain, payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain);
    hasher.update(payload);
    shorten(hasher.finalize())
}

fn shorten(hash: blake3::Hash) -> Chain {
    *hash.as_bytes().first_chunk().expect("a hash of 32 bytes has 16")
}

fn header() -> [u8; HEADER_BYTES] {
    let [low, high] = FORMAT_VERSION.to_le_bytes();
    let [r, s, p, q] = MAGIC;
    [r, s, p, q, low, high, 0, 0]
}

/// Counts what the last frame says.
#[derive(Debug, Default)]
struct Tally {
    counts: RecordingEnd,
    tick: Option<u64>,
}

impl Tally {
    fn add(&mut self, record: &Record) {
        let counts = &mut self.counts;
        counts.events += 1;
        match record.entry {
            Entry::Input(..) => counts.inputs += 1,
            Entry::Signal(..) => counts.signals += 1,
            Entry::Effect(_) => counts.effects += 1,
        }
        if self.tick.replace(record.tick) != Some(record.tick) {
            counts.ticks += 1;
        }
        counts.last_at_us = record.at.0;
    }
}

/// Writes one session's recording. The same head and records give the same bytes.
///
/// A writer that is dropped leaves a recording without its last frame, as a kill does.
#[derive(Debug)]
pub struct RecordingWriter<W: Write> {
    out: W,
    chain: Chain,
    context: EnvelopeContext,
    lineage: Lineage,
    tally: Tally,
    broken: bool,
}

/// A recording on its way to its place. It grows in `PATH.partial`, which can be read after a `kill -9`, and takes its
/// name, and the place of whatever had it, when the call is over: well or badly.
#[derive(Debug)]
pub struct RecordingFile {
    writer: RecordingWriter<BufWriter<File>>,
    partial: PathBuf,
    path: PathBuf,
}

impl RecordingFile {
    /// Begins a recording that will be at `path`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(path: impl AsRef<Path>, head: RecordingHead) -> Result<Self, RecordingError> {
        let path = path.as_ref().to_owned();
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|source| RecordingError::Create { path: path.clone(), source })?;
        Ok(Self { writer: RecordingWriter::new(BufWriter::new(file), head)?, partial, path })
    }

    /// Appends what a tick wrote, and hands it to the system.
    ///
    /// # Errors
    /// As [`RecordingWriter::append`] and [`RecordingWriter::flush`].
    pub fn append(&mut self, records: &[Record]) -> Result<(), RecordingError> {
        records.iter().try_for_each(|record| self.writer.append(record))?;
        self.writer.flush()
    }

    /// The call is over: ends the recording, and gives it its name.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn finish(self) -> Result<(), RecordingError> {
        self.writer.finish()?;
        rename(&self.partial, &self.path)
    }

    /// The call broke: the recording gets its name without an end, and a reader says where it stops.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn abandon(mut self) -> Result<(), RecordingError> {
        self.writer.flush()?;
        rename(&self.partial, &self.path)
    }
}

fn rename(partial: &Path, path: &Path) -> Result<(), RecordingError> {
    std::fs::rename(partial, path).map_err(io_error(format!("give the recording its name {}", path.display())))
}

impl<W: Write> RecordingWriter<W> {
    /// Begins a recording. Give it a buffered writer: every event is one write.
    ///
    /// # Errors
    /// When the head is too long, or the writer refuses.
    pub fn new(out: W, head: RecordingHead) -> Result<Self, RecordingError> {
        let header = header();
        let context = EnvelopeContext {
            session: head.session.as_str().into(),
            pipeline_version: head.pipeline_version,
            lease_epoch: head.lease_epoch,
            ..EnvelopeContext::default()
        };
        let (lineage, tally) = (Lineage::default(), Tally::default());
        let mut writer = Self { out, chain: first_link(&header), context, lineage, tally, broken: false };
        let payload = RecordingFrame { kind: Some(Kind::Head(head)) }.encode_to_vec();
        if payload.len() > MAX_FRAME_PAYLOAD_BYTES {
            return Err(RecordingError::HeadTooLong { bytes: payload.len() });
        }
        writer.write(&header)?;
        writer.frame(&payload)?;
        Ok(writer)
    }

    /// Appends one event. Events must come in the order of the timeline.
    ///
    /// # Errors
    /// [`RecordingError::Event`] when the event is over a limit: it is left out, and the recording can go on. Any
    /// other error ends the recording.
    pub fn append(&mut self, record: &Record) -> Result<(), RecordingError> {
        let (event_id, causal_parent) = self.lineage.of(record);
        self.context.event_id = event_id;
        self.context.causal_parent = causal_parent;
        let refused = |source| RecordingError::Event { event_id, event: event_name(record), source };
        let envelope = wire::to_envelope(record, &self.context).map_err(refused)?;
        let payload = RecordingFrame { kind: Some(Kind::Event(Box::new(envelope))) }.encode_to_vec();
        if payload.len() > MAX_FRAME_PAYLOAD_BYTES {
            let limit = MAX_FRAME_PAYLOAD_BYTES - EVENT_WRAPPING_BYTES;
            return Err(refused(WireError::TooLong { field: "envelope", length: payload.len(), limit }));
        }
        self.frame(&payload)?;
        self.tally.add(record);
        Ok(())
    }

    /// Hands everything so far to the system, so that it outlives this process.
    ///
    /// # Errors
    /// When the writer refuses.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = self.out.flush();
        self.broken |= flushed.is_err();
        flushed.map_err(io_error("flush the recording".to_owned()))
    }

    /// Ends the recording with its counts and flushes it. Making it durable (`sync_all`) is the caller's choice.
    ///
    /// # Errors
    /// When an earlier write failed, or the writer refuses.
    pub fn finish(mut self) -> Result<W, RecordingError> {
        let payload = RecordingFrame { kind: Some(Kind::End(self.tally.counts)) }.encode_to_vec();
        self.frame(&payload)?;
        self.flush()?;
        Ok(self.out)
    }

    fn frame(&mut self, payload: &[u8]) -> Result<(), RecordingError> {
        let chain = next_link(&self.chain, payload);
        let length = u32::try_from(payload.len()).expect("a payload is at most MAX_FRAME_PAYLOAD_BYTES");
        let mut frame = Vec::with_capacity(LENGTH_BYTES + payload.len() + CHECKSUM_BYTES + CHAIN_BYTES);
        frame.extend(length.to_le_bytes());
        frame.extend(payload);
        frame.extend(crc32fast::hash(payload).to_le_bytes());
        frame.extend(chain);
        self.write(&frame)?;
        self.chain = chain;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        if self.broken {
            return Err(RecordingError::Broken);
        }
        let written = self.out.write_all(bytes);
        self.broken = written.is_err();
        written.map_err(io_error("write to the recording".to_owned()))
    }
}

fn io_error(doing: String) -> impl FnOnce(io::Error) -> RecordingError {
    |source| RecordingError::Io { doing, source }
}

fn event_name(record: &Record) -> EventName {
    let event_type = match &record.entry {
        Entry::Input(_, input) => input.name(),
        Entry::Signal(_, signal) => signal.name(),
        Entry::Effect(_) => "effect",
    };
    EventName { tick: record.tick, at_us: record.at.0, event_type: event_type.to_owned() }
}

/// A recording that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Whose it is.
    pub head: RecordingHead,
    /// The timeline.
    pub records: Vec<Record>,
    digest: Chain,
}

impl Recording {
    /// Reads a whole recording.
    ///
    /// # Errors
    /// When it is none, or not whole, or not what was written.
    pub fn read(input: impl Read) -> Result<Self, RecordingError> {
        match Self::read_prefix(input)? {
            (recording, None) => Ok(recording),
            (_, Some(damage)) => Err(RecordingError::Damaged(Box::new(damage))),
        }
    }

    /// Reads as much as is sound, and says where and why it stopped.
    ///
    /// # Errors
    /// When not even the head is sound.
    pub fn read_prefix(input: impl Read) -> Result<(Self, Option<Damage>), RecordingError> {
        let mut reader = RecordingReader::new(input)?;
        let mut records = Vec::new();
        let damage = loop {
            match reader.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break None,
                Err(RecordingError::Damaged(damage)) => break Some(*damage),
                Err(error) => return Err(error),
            }
        };
        Ok((Self { head: reader.head, records, digest: reader.frames.chain }, damage))
    }

    /// Reads a whole recording from a file.
    ///
    /// # Errors
    /// As [`Recording::read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        Self::read(open(path.as_ref())?)
    }

    /// Reads as much of a file as is sound.
    ///
    /// # Errors
    /// As [`Recording::read_prefix`].
    pub fn open_prefix(path: impl AsRef<Path>) -> Result<(Self, Option<Damage>), RecordingError> {
        Self::read_prefix(open(path.as_ref())?)
    }

    /// The last link of the chain, in 32 hexadecimal digits: it stands for every byte
    /// of a whole recording. Kept elsewhere, it shows a recording that was rewritten.
    pub fn digest(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The records of one tick after another.
    pub fn ticks(&self) -> impl Iterator<Item = &[Record]> {
        self.records.chunk_by(|earlier, later| earlier.tick == later.tick)
    }
}

fn open(path: &Path) -> Result<File, RecordingError> {
    File::open(path).map_err(io_error(format!("open the recording {}", path.display())))
}

/// Reads a recording event by event, for those that are longer than memory.
#[derive(Debug)]
pub struct RecordingReader<R> {
    frames: Frames<R>,
    head: RecordingHead,
    tally: Tally,
    after: Option<EventName>,
    done: bool,
}

impl<R: Read> RecordingReader<R> {
    /// Reads the header and the head.
    ///
    /// # Errors
    /// When it is no recording, or not even the head is sound.
    pub fn new(input: R) -> Result<Self, RecordingError> {
        let mut frames = Frames::new(input)?;
        let kind = frames.next_kind()?;
        let (tally, after, done) = (Tally::default(), None, false);
        match kind {
            Some(Kind::Head(head)) => Ok(Self { frames, head, tally, after, done }),
            Some(Kind::Event(_) | Kind::End(_)) => {
                Err(frames.damaged(DamageKind::Malformed, &[], "the first record is no head"))
            }
            None => Err(frames.damaged(DamageKind::MissingEnd, &[], "there is no head")),
        }
    }

    /// Whose recording it is.
    pub fn head(&self) -> &RecordingHead {
        &self.head
    }

    /// The next event; `None` at the end of a whole recording, and after damage.
    ///
    /// # Errors
    /// [`RecordingError::Damaged`] where the recording stops being what was written.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordingError> {
        if self.done {
            return Ok(None);
        }
        let read = self.step();
        self.done = !matches!(read, Ok(Some(_)));
        read.map_err(|error| match error {
            RecordingError::Damaged(damage) => {
                RecordingError::Damaged(Box::new(Damage { after: self.after.take(), ..*damage }))
            }
            other => other,
        })
    }

    fn step(&mut self) -> Result<Option<Record>, RecordingError> {
        let malformed = |frames: &Frames<R>, event, detail: String| {
            let mut damage = frames.damage(DamageKind::Malformed, &[], &detail);
            damage.event = event;
            Err(RecordingError::Damaged(Box::new(damage)))
        };
        match self.frames.next_kind()? {
            None => Err(self.frames.damaged(DamageKind::MissingEnd, &[], "")),
            Some(Kind::Head(_)) => malformed(&self.frames, None, "a second head".to_owned()),
            Some(Kind::End(end)) if end != self.tally.counts => {
                let detail = format!("it counts {end:?}, and there were {:?}", self.tally.counts);
                malformed(&self.frames, None, detail)
            }
            Some(Kind::End(_)) => self.frames.expect_nothing().map(|()| None),
            Some(Kind::Event(envelope)) => {
                let name =
                    EventName { tick: envelope.tick, at_us: envelope.at_us, event_type: envelope.event_type.clone() };
                match wire::of_envelope(*envelope) {
                    Ok((_, context)) if *context.session != self.head.session => {
                        malformed(&self.frames, Some(name), format!("it is of the session {:?}", context.session))
                    }
                    Ok((record, _)) => {
                        self.tally.add(&record);
                        self.after = Some(name);
                        Ok(Some(record))
                    }
                    Err(error) => malformed(&self.frames, Some(name), error.to_string()),
                }
            }
        }
    }
}

/// The framing: lengths, checksums and the chain.
#[derive(Debug)]
struct Frames<R> {
    input: BufReader<R>,
    chain: Chain,
    /// Frames that were read, the current one included.
    read: u64,
    /// Where the current frame begins.
    start: u64,
    /// Where the next one does.
    next: u64,
}

impl<R: Read> Frames<R> {
    fn new(input: R) -> Result<Self, RecordingError> {
        let mut frames = Self { input: BufReader::new(input), chain: Chain::default(), read: 0, start: 0, next: 0 };
        let found = frames.take(HEADER_BYTES)?;
        // The two reserved bytes are covered by the chain.
        let &[r, s, p, q, low, high, _, _] = &*found else { return Err(RecordingError::NotARecording) };
        if [r, s, p, q] != MAGIC {
            return Err(RecordingError::NotARecording);
        }
        let version = u16::from_le_bytes([low, high]);
        if version != FORMAT_VERSION {
            return Err(RecordingError::UnknownFormat { found: version });
        }
        frames.chain = first_link(&found);
        Ok(frames)
    }

    /// Up to so many bytes; fewer only at the end of the input. Grows with what is there, not with what is claimed.
    fn take(&mut self, bytes: usize) -> Result<Vec<u8>, RecordingError> {
        let mut taken = Vec::new();
        let read = (&mut self.input).take(bytes as u64).read_to_end(&mut taken);
        read.map_err(io_error("read the recording".to_owned()))?;
        self.next += taken.len() as u64;
        Ok(taken)
    }

    /// What the next frame holds; `None` at the end of the input.
    fn next_kind(&mut self) -> Result<Option<Kind>, RecordingError> {
        let Some(payload) = self.next_payload()? else { return Ok(None) };
        match RecordingFrame::decode(&*payload) {
            Ok(RecordingFrame { kind: Some(kind) }) => Ok(Some(kind)),
            Ok(RecordingFrame { kind: None }) => {
                Err(self.damaged(DamageKind::Malformed, &payload, "a kind of record that this reader doesn't know"))
            }
            Err(error) => Err(self.damaged(DamageKind::Malformed, &payload, &error.to_string())),
        }
    }

    fn next_payload(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        self.start = self.next;
        self.read += 1;
        let length = self.take(LENGTH_BYTES)?;
        if length.is_empty() {
            return Ok(None);
        }
        let Ok(length) = <[u8; LENGTH_BYTES]>::try_from(length) else {
            return Err(self.damaged(DamageKind::Truncated, &[], "within its length"));
        };
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 || length > MAX_FRAME_PAYLOAD_BYTES {
            let detail = format!("a length of {length} bytes, which is not in 1..={MAX_FRAME_PAYLOAD_BYTES}");
            return Err(self.damaged(DamageKind::Malformed, &[], &detail));
        }
        let payload = self.take(length)?;
        if payload.len() < length {
            let detail = format!("with {} of {length} bytes of payload", payload.len());
            return Err(self.damaged(DamageKind::Truncated, &payload, &detail));
        }
        let checksum = self.take(CHECKSUM_BYTES)?;
        let chain = self.take(CHAIN_BYTES)?;
        if chain.len() < CHAIN_BYTES {
            return Err(self.damaged(DamageKind::Truncated, &payload, "after its payload"));
        }
        if checksum != crc32fast::hash(&payload).to_le_bytes() {
            return Err(self.damaged(DamageKind::ChecksumMismatch, &payload, ""));
        }
        let expected = next_link(&self.chain, &payload);
        if chain != expected {
            return Err(self.damaged(DamageKind::ChainMismatch, &payload, ""));
        }
        self.chain = expected;
        Ok(Some(payload))
    }

    /// After the last frame.
    fn expect_nothing(&mut self) -> Result<(), RecordingError> {
        (self.start, self.read) = (self.next, self.read + 1);
        if self.take(1)?.is_empty() {
            return Ok(());
        }
        Err(self.damaged(DamageKind::Malformed, &[], "bytes after the last record"))
    }

    fn damaged(&self, what: DamageKind, payload: &[u8], detail: &str) -> RecordingError {
        RecordingError::Damaged(Box::new(self.damage(what, payload, detail)))
    }

    fn damage(&self, what: DamageKind, payload: &[u8], detail: &str) -> Damage {
        let record_index = self.read.saturating_sub(1);
        let event = name_of_frame(payload);
        Damage { record_index, byte_offset: self.start, what, event, after: None, detail: detail.to_owned() }
    }
}

/// The event in a payload that need not be whole, or right.
fn name_of_frame(payload: &[u8]) -> Option<EventName> {
    let mut event = payload.strip_prefix(&[EVENT_KEY])?;
    prost::decode_length_delimiter(&mut event).ok()?;
    wire::name_of(event)
}
