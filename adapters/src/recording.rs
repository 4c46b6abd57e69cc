//! The recording: one session's timeline in one file, `.rspp`, that a reader can trust as far as it goes.
//!
//! While a call runs its file is appended to and never rewritten, so what was flushed before a `kill -9` can be read.
//! Each compressed block carries a checksum, for damage, and a link of a hash chain, for alterations whose checksum was
//! made again; the last block counts what came before, so a cut file is told from a whole one. The chain is no
//! signature: who rewrites every block from an alteration on goes unnoticed, unless [`Recording::digest`] was kept
//! elsewhere. An [`Index`] finds a tick, a turn or a time without reading what stands before it.
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

mod archive;
mod block;
mod damage;
mod evidence;
mod export;
mod file;
mod index;
mod log;
mod pressure;
mod queue;
mod reader;
mod recorder;
mod redactor;
mod shelf;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rspp_specs::plan::Plan;
use rspp_specs::recording::Redacted;
use rspp_specs::timeline::Record;
pub use rspp_specs::wire::generated::{RecordingEnd, RecordingHead, TurnEvidence};
use rspp_specs::wire::{EventName, MAX_ENVELOPE_BYTES, WireError};

pub use self::archive::{Archive, ArchiveError, KeptLog};
use self::block::Chain;
pub use self::block::{FORMAT_VERSION, MAX_BLOCK_BYTES};
pub use self::damage::{Damage, DamageKind};
pub use self::evidence::{Evidence, missing};
pub use self::export::{ExportCounts, ExportLimits, Exporter, ExporterThread};
pub use self::file::RecordingFile;
pub use self::index::{Index, Target};
pub use self::log::{LogCounts, LogError, LogSize, Place, WorkerLog};
pub use self::queue::{LogWriter, LogWriterThread};
pub use self::reader::{Item, RecordingReader};
pub use self::recorder::{Recorded, Recorder};
pub use self::redactor::Redactor;
pub use self::shelf::{Kept, Retention, Shelf};
pub use self::store::{LocalFolder, Store};
pub use self::writer::RecordingWriter;

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
    #[error("the recording's head has {bytes} bytes, and the limit is {MAX_ENVELOPE_BYTES}")]
    HeadTooLong {
        /// Its length.
        bytes: usize,
    },
    /// An earlier write failed, and what it left behind may end within a block.
    #[error("an earlier write to the recording failed, and nothing more can follow it: begin another")]
    Broken,
    /// The file is not what was written.
    #[error("{0}; what stands before it is good")]
    Damaged(Box<Damage>),
    /// The worker's log is not what was written.
    #[error("an item of the worker's log makes no sense: {detail}")]
    Log {
        /// What is wrong with it.
        detail: String,
    },
    /// Nothing can be looked for.
    #[error("the recording has no event that is sound")]
    NoEvents,
    /// It is not there.
    #[error("the recording has no {0}")]
    NoSuchPlace(Target),
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
        level: None,
    }
}

fn io_error(doing: String) -> impl FnOnce(io::Error) -> RecordingError {
    |source| RecordingError::Io { doing, source }
}

/// A recording that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Whose it is.
    pub head: RecordingHead,
    /// The timeline.
    pub records: Vec<Record>,
    /// What is kept of each turn that was closed.
    pub evidence: Vec<TurnEvidence>,
    /// What was taken out of which record, by its place among them.
    pub redacted: BTreeMap<usize, Redacted>,
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
        let head = reader.head().clone();
        let (records, evidence, redacted) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut recording = Self { head, records, evidence, redacted, digest: Chain::default() };
        let damage = loop {
            match reader.next_item() {
                Ok(Some(item)) => recording.take(item),
                Ok(None) => break None,
                Err(RecordingError::Damaged(damage)) => break Some(*damage),
                Err(error) => return Err(error),
            }
        };
        recording.digest = reader.digest();
        Ok((recording, damage))
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Event(record, redacted) => {
                if let Some(redacted) = redacted {
                    self.redacted.insert(self.records.len(), redacted);
                }
                self.records.push(*record);
            }
            Item::Evidence(evidence) => self.evidence.push(*evidence),
        }
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
