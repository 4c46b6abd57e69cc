//! Reads a recording, event by event, and trusts nothing that it says of itself.

use std::io::{Read, Seek, SeekFrom};

use prost::Message;
use rspp_specs::recording::Redacted;
use rspp_specs::timeline::Record;
use rspp_specs::wire::generated::recording_frame::Kind;
use rspp_specs::wire::generated::{Envelope, IndexedBlock, RecordingFrame, RecordingHead, TurnEvidence};
use rspp_specs::wire::{self, EventName};

use super::block::{Beginning, Block, BlockKind, Blocks, Chain};
use super::damage::{Damage, DamageKind};
use super::index::{Index, Place, Target};
use super::writer::{MAX_INDEXED_BLOCKS, Tally};
use super::{RecordingError, io_error};

/// One thing that a recording has.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An event, and what was taken out of it before it was written.
    Event(Box<Record>, Option<Redacted>),
    /// What is kept of a turn that is closed.
    Evidence(Box<TurnEvidence>),
}

/// Reads a recording event by event, for those that are longer than memory.
#[derive(Debug)]
pub struct RecordingReader<R> {
    blocks: Blocks<R>,
    head: RecordingHead,
    tally: Tally,
    after: Option<EventName>,
    /// The block that is being read, and how far.
    block: Option<Open>,
    /// Blocks of events that were read; what the index must say.
    places: Vec<IndexedBlock>,
    /// It began within the file, so that what came before was not counted.
    within: bool,
    done: bool,
}

#[derive(Debug)]
struct Open {
    payload: Vec<u8>,
    at: usize,
    place: IndexedBlock,
    beginning: Beginning,
    /// Events that its head promises and that were not read.
    left: u32,
}

impl<R: Read> RecordingReader<R> {
    /// Reads the header and the head.
    ///
    /// # Errors
    /// When it is no recording, or not even the head is sound.
    pub fn new(input: R) -> Result<Self, RecordingError> {
        let mut blocks = Blocks::new(input)?;
        let head = read_head(&mut blocks)?;
        Ok(Self::begin(blocks, head, false))
    }

    fn begin(blocks: Blocks<R>, head: RecordingHead, within: bool) -> Self {
        let (tally, after, block) = (Tally::default(), None, None);
        Self { blocks, head, tally, after, block, places: Vec::new(), within, done: false }
    }

    /// Whose recording it is.
    pub fn head(&self) -> &RecordingHead {
        &self.head
    }

    /// The last link of the chain so far.
    pub(super) fn digest(&self) -> Chain {
        self.blocks.chain
    }

    /// The next event; `None` at the end of a whole recording, and after damage.
    ///
    /// # Errors
    /// [`RecordingError::Damaged`] where the recording stops being what was written.
    pub fn next_record(&mut self) -> Result<Option<Record>, RecordingError> {
        loop {
            match self.next_item()? {
                Some(Item::Event(record, _)) => return Ok(Some(*record)),
                Some(Item::Evidence(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next event, or what is kept of a turn; `None` at the end of a whole recording, and after damage.
    ///
    /// # Errors
    /// [`RecordingError::Damaged`] where the recording stops being what was written.
    pub fn next_item(&mut self) -> Result<Option<Item>, RecordingError> {
        let read = match self.next_frame()? {
            None => return Ok(None),
            Some(Frame::Evidence(evidence)) => Ok(Some(Item::Evidence(evidence))),
            Some(Frame::Event(envelope)) => self.read_event(*envelope),
        };
        self.ended_by(read)
    }

    /// The next event or evidence, as it stands in the file.
    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, RecordingError> {
        if self.done {
            return Ok(None);
        }
        let read = self.step();
        self.ended_by(read)
    }

    fn ended_by<T>(&mut self, read: Result<Option<T>, RecordingError>) -> Result<Option<T>, RecordingError> {
        self.done |= !matches!(read, Ok(Some(_)));
        read.map_err(|error| match error {
            RecordingError::Damaged(mut damage) => {
                damage.after = self.after.take();
                RecordingError::Damaged(damage)
            }
            other => other,
        })
    }

    fn read_event(&mut self, envelope: Envelope) -> Result<Option<Item>, RecordingError> {
        let name = EventName { tick: envelope.tick, at_us: envelope.at_us, event_type: envelope.event_type.clone() };
        let detail = match wire::of_envelope(envelope) {
            Ok((record, context)) if *context.session == self.head.session => {
                self.after = Some(name);
                return Ok(Some(Item::Event(Box::new(record), context.redacted)));
            }
            Ok((_, context)) => format!("it is of the session {:?}", context.session),
            Err(error) => error.to_string(),
        };
        self.blocks.next_record -= 1;
        self.malformed(Some(name), &detail)
    }

    fn malformed<T>(&self, event: Option<EventName>, detail: &str) -> Result<T, RecordingError> {
        let damage = Damage { event, ..self.blocks.damage(DamageKind::Malformed, detail) };
        Err(RecordingError::Damaged(Box::new(damage)))
    }

    fn step(&mut self) -> Result<Option<Frame>, RecordingError> {
        loop {
            if let Some(open) = self.block.take_if(|open| open.at < open.payload.len()) {
                return self.step_within(open).map(Some);
            }
            if self.block.take().is_some_and(|open| open.left > 0) {
                return self.malformed(None, "the block has fewer events than its head says");
            }
            let Some(block) = self.blocks.next_block()? else {
                return Err(self.blocks.damaged(DamageKind::MissingEnd, ""));
            };
            match block.head.kind {
                BlockKind::Events => self.open(block),
                BlockKind::Index => return self.end(&block),
                BlockKind::Head => return self.malformed(None, "a second head"),
                BlockKind::End => return self.malformed(None, "an end without an index"),
            }
        }
    }

    fn open(&mut self, block: Block) {
        let beginning = block.head.beginning;
        let place = IndexedBlock {
            byte_offset: block.start,
            link: block.before.to_vec(),
            first_record: beginning.record,
            first_tick: beginning.tick,
            first_at_us: beginning.at_us,
            turns: beginning.turns,
        };
        self.block = Some(Open { payload: block.payload, at: 0, place, beginning, left: block.head.events });
    }

    /// The next frame of the open block.
    fn step_within(&mut self, mut open: Open) -> Result<Frame, RecordingError> {
        let mut rest = &open.payload[open.at..];
        let frame = match RecordingFrame::decode_length_delimited(&mut rest) {
            Ok(RecordingFrame { kind: Some(Kind::Event(envelope)) }) => Frame::Event(envelope),
            Ok(RecordingFrame { kind: Some(Kind::Evidence(evidence)) }) => Frame::Evidence(evidence),
            Ok(RecordingFrame { kind: None }) => return self.malformed(None, "a frame that this reader doesn't know"),
            Ok(_) => return self.malformed(None, "a frame that is no event stands among the events"),
            Err(error) => return self.malformed(None, &error.to_string()),
        };
        let counts = &self.tally.counts;
        let (tick, at_us) = match &frame {
            Frame::Event(envelope) => (envelope.tick, envelope.at_us),
            Frame::Evidence(evidence) => (evidence.last_tick, counts.last_at_us),
        };
        if open.at == 0 {
            let found = Beginning { record: counts.events + 1, tick, at_us, turns: self.tally.turns };
            if found != open.beginning && !self.within {
                return self.malformed(None, "the block begins otherwise than its head says");
            }
            if self.places.len() < MAX_INDEXED_BLOCKS {
                self.places.push(std::mem::take(&mut open.place));
            }
        }
        match &frame {
            Frame::Event(_) if open.left == 0 => {
                return self.malformed(None, "the block has more events than its head says");
            }
            Frame::Event(envelope) => {
                self.tally.add(envelope);
                self.blocks.next_record += 1;
                open.left -= 1;
            }
            Frame::Evidence(_) => self.tally.counts.evidence += 1,
        }
        open.at = open.payload.len() - rest.len();
        self.block = Some(open);
        Ok(frame)
    }

    /// The index, the end and the trailer must say what was read.
    fn end(&mut self, block: &Block) -> Result<Option<Frame>, RecordingError> {
        let index_at = block.start;
        match only_frame(&block.payload) {
            Some(Kind::Index(index)) if self.within || index.blocks == self.places => {}
            Some(Kind::Index(_)) => return self.malformed(None, "the index does not name the blocks that there are"),
            _ => return self.malformed(None, "the index is none"),
        }
        let Some(block) = self.blocks.next_block()? else {
            return Err(self.blocks.damaged(DamageKind::MissingEnd, ""));
        };
        match only_frame(&block.payload) {
            Some(Kind::End(end)) if self.within || end == self.tally.counts => {}
            Some(Kind::End(end)) => {
                let detail = format!("it counts {end:?}, and there were {:?}", self.tally.counts);
                return self.malformed(None, &detail);
            }
            _ => return self.malformed(None, "no end follows the index"),
        }
        self.blocks.expect_trailer(index_at).map(|()| None)
    }
}

impl<R: Read + Seek> RecordingReader<R> {
    /// Begins with the first event of the tick, of the turn or of the time that is looked for, without reading what
    /// stands before its block. Of what was passed over nothing is known, damage neither.
    ///
    /// # Errors
    /// As [`Self::new`], and when nothing that is sound has the place.
    pub fn seek(mut input: R, target: Target) -> Result<Self, RecordingError> {
        let index = Index::read(&mut input)?;
        let mut place = *index.place(target);
        let mut reader = RecordingReader::at(&mut input, &place)?;
        let tick = loop {
            match reader.next_record()? {
                Some(record) if target.is_at(&record) => break record.tick,
                Some(_) => {}
                None => return Err(RecordingError::NoSuchPlace(target)),
            }
        };
        // The tick may have begun in the block before.
        place = *index.place(Target::Tick(tick));
        let mut before = 0_u64;
        let mut reader = RecordingReader::at(&mut input, &place)?;
        while reader.next_record()?.is_some_and(|record| record.tick < tick) {
            before += 1;
        }
        let mut reader = Self::at(input, &place)?;
        for _ in 0..before {
            reader.next_record()?;
        }
        Ok(reader)
    }

    fn at(mut input: R, place: &Place) -> Result<Self, RecordingError> {
        input.seek(SeekFrom::Start(0)).map_err(io_error("read the recording".to_owned()))?;
        let head = read_head(&mut Blocks::new(&mut input)?)?;
        input.seek(SeekFrom::Start(place.byte_offset)).map_err(io_error("read the recording".to_owned()))?;
        Ok(Self::begin(Blocks::resume(input, place.byte_offset, place.link, place.record), head, true))
    }
}

/// An event or evidence, as it stands in the file.
#[derive(Debug)]
pub(super) enum Frame {
    Event(Box<Envelope>),
    Evidence(Box<TurnEvidence>),
}

/// The one frame of a block that has no more.
pub(super) fn only_frame(payload: &[u8]) -> Option<Kind> {
    let mut rest = payload;
    let frame = RecordingFrame::decode_length_delimited(&mut rest).ok()?;
    frame.kind.filter(|_| rest.is_empty())
}

fn read_head(blocks: &mut Blocks<impl Read>) -> Result<RecordingHead, RecordingError> {
    let Some(block) = blocks.next_block()? else {
        return Err(blocks.damaged(DamageKind::MissingEnd, "there is no head"));
    };
    match (block.head.kind, only_frame(&block.payload)) {
        (BlockKind::Head, Some(Kind::Head(head))) => {
            blocks.next_record = 1;
            Ok(head)
        }
        _ => Err(blocks.damaged(DamageKind::Malformed, "the first block is no head")),
    }
}
