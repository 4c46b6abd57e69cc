//! Where to find what, without reading all that stands before it.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Record, Signal};
use rspp_specs::wire::generated::recording_frame::Kind;
use rspp_specs::wire::generated::{IndexedBlock, RecordingIndex};

use super::block::{BlockKind, Blocks, CHAIN_BYTES, Chain, HEADER_BYTES, TRAILER_BYTES, of_trailer};
use super::reader::only_frame;
use super::{RecordingError, io_error};

/// What is looked for in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This tick, or the first after it.
    Tick(u64),
    /// The tick that opened this turn.
    Turn(u32),
    /// The first tick at this time of the session or after it.
    At(Micros),
}

impl Target {
    /// Whether what is looked for is here, or was before.
    pub(super) fn is_at(self, record: &Record) -> bool {
        match self {
            Target::Tick(tick) => record.tick >= tick,
            Target::At(at) => record.at >= at,
            Target::Turn(wanted) => {
                matches!(&record.entry, Entry::Signal(Some(turn), Signal::TurnOpen { .. }) if turn.0 == wanted)
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tick(tick) => write!(f, "tick {tick}"),
            Target::Turn(turn) => write!(f, "turn {turn}"),
            Target::At(at) => write!(f, "anything at {at} ms or later"),
        }
    }
}

/// Where a block of events is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) byte_offset: u64,
    /// The link of the chain before it.
    pub(super) link: Chain,
    pub(super) record: u64,
    tick: u64,
    at_us: u64,
    turns: u32,
}

/// Where the blocks of a recording are: as its end says, or found by looking for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    places: Vec<Place>,
    /// The file has no index that can be used: it was not finished, or is damaged behind its last sound block.
    pub rebuilt: bool,
}

impl Index {
    /// Reads the index of a recording, or makes it again as far as the recording is sound.
    ///
    /// # Errors
    /// When not even the head is sound, or there is no event.
    pub fn read(input: &mut (impl Read + Seek)) -> Result<Self, RecordingError> {
        let index = match Self::written(input)? {
            Some(places) => Self { places, rebuilt: false },
            None => Self { places: Self::scan(input)?, rebuilt: true },
        };
        if index.places.is_empty() { Err(RecordingError::NoEvents) } else { Ok(index) }
    }

    /// How many blocks of events there are.
    pub fn blocks(&self) -> usize {
        self.places.len()
    }

    /// The block in which what is looked for begins, if it is there at all.
    pub(super) fn place(&self, target: Target) -> &Place {
        let after = self.places.partition_point(|place| match target {
            // A tick that a block ends with may go on in the next one.
            Target::Tick(tick) => place.tick < tick,
            Target::At(at) => place.at_us < at.0,
            Target::Turn(turn) => place.turns < turn,
        });
        &self.places[after.saturating_sub(1)]
    }

    /// What the file's own index says; `None` if there is none that is sound.
    fn written(input: &mut (impl Read + Seek)) -> Result<Option<Vec<Place>>, RecordingError> {
        let failed = || io_error("read the recording".to_owned());
        let end = input.seek(SeekFrom::End(0)).map_err(failed())?;
        let Some(trailer_at) = end.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
        input.seek(SeekFrom::Start(trailer_at)).map_err(failed())?;
        let mut bytes = [0; TRAILER_BYTES];
        input.read_exact(&mut bytes).map_err(failed())?;
        let Some(index_at) = of_trailer(&bytes).filter(|at| *at > HEADER_BYTES as u64 && *at < trailer_at) else {
            return Ok(None);
        };
        // The link of the block before it ends where it begins.
        let mut link = Chain::default();
        input.seek(SeekFrom::Start(index_at - CHAIN_BYTES as u64)).map_err(failed())?;
        match input.read_exact(&mut link) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map_err(failed())?,
        }
        let block = match Blocks::resume(input, index_at, link, 0).next_block() {
            Ok(Some(block)) if block.head.kind == BlockKind::Index => block,
            Err(error @ RecordingError::Io { .. }) => return Err(error),
            _ => return Ok(None),
        };
        let Some(Kind::Index(RecordingIndex { blocks })) = only_frame(&block.payload) else { return Ok(None) };
        Ok(blocks.iter().map(Place::of_wire).collect())
    }

    /// Goes through all blocks, and stops where they stop being sound.
    fn scan(input: &mut (impl Read + Seek)) -> Result<Vec<Place>, RecordingError> {
        input.seek(SeekFrom::Start(0)).map_err(io_error("read the recording".to_owned()))?;
        let mut blocks = Blocks::new(input)?;
        let mut places = Vec::new();
        loop {
            match blocks.next_block() {
                Ok(Some(block)) if block.head.kind == BlockKind::Events => {
                    let beginning = block.head.beginning;
                    places.push(Place {
                        byte_offset: block.start,
                        link: block.before,
                        record: beginning.record,
                        tick: beginning.tick,
                        at_us: beginning.at_us,
                        turns: beginning.turns,
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(RecordingError::Damaged(_)) => return Ok(places),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Place {
    fn of_wire(block: &IndexedBlock) -> Option<Self> {
        let IndexedBlock { byte_offset, link, first_record, first_tick, first_at_us, turns } = block;
        let link = Chain::try_from(&**link).ok()?;
        let (record, tick, at_us) = (*first_record, *first_tick, *first_at_us);
        Some(Self { byte_offset: *byte_offset, link, record, tick, at_us, turns: *turns })
    }
}
