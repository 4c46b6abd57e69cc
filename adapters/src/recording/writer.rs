//! Writes a recording, block after block.

use std::io::Write;
use std::sync::Arc;

use prost::Message;
use rspp_specs::recording::Redacted;
use rspp_specs::timeline::{Entry, Record};
use rspp_specs::wire::generated::recording_frame::Kind;
use rspp_specs::wire::generated::{
    Envelope, IndexedBlock, RecordingEnd, RecordingFrame, RecordingHead, RecordingIndex, TurnEvidence, envelope, signal,
};
use rspp_specs::wire::{self, EnvelopeContext, EventName, Lineage, MAX_ENVELOPE_BYTES, WireError};

use super::block::{Beginning, BlockKind, Chain, MAX_BLOCK_BYTES, first_link, header, trailer, write_block};
use super::{RecordingError, io_error};

/// A block of events is closed when it has so many bytes and a tick ends: long enough to compress well and to be found
/// by a short index, short enough that little is lost with it.
const BLOCK_BYTES: usize = 64 << 10;
/// The key and the length that a frame puts before an event.
const EVENT_WRAPPING_BYTES: usize = 6;
/// The longest length before a frame.
const LENGTH_BYTES: usize = 5;
/// Blocks in an index: more than any call has.
pub(super) const MAX_INDEXED_BLOCKS: usize = 1 << 18;

const _: () = assert!(MAX_BLOCK_BYTES >= 2 * (MAX_ENVELOPE_BYTES + EVENT_WRAPPING_BYTES + LENGTH_BYTES));

/// Counts what the end of a recording says.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: RecordingEnd,
    tick: Option<u64>,
    /// The last turn that was opened.
    pub(super) turns: u32,
}

impl Tally {
    pub(super) fn add(&mut self, envelope: &Envelope) {
        let counts = &mut self.counts;
        counts.events += 1;
        match &envelope.payload {
            Some(envelope::Payload::Input(_)) => counts.inputs += 1,
            Some(envelope::Payload::Signal(signal)) => {
                counts.signals += 1;
                if matches!(signal.kind, Some(signal::Kind::TurnOpen(_))) {
                    self.turns = self.turns.max(envelope.turn.unwrap_or_default());
                }
            }
            Some(envelope::Payload::Effect(_)) => counts.effects += 1,
            None => {}
        }
        if self.tick.replace(envelope.tick) != Some(envelope.tick) {
            counts.ticks += 1;
        }
        counts.last_at_us = envelope.at_us;
    }
}

/// Writes one session's recording. The same head and records give the same bytes, unless they are flushed at other
/// times.
///
/// A writer that is dropped leaves a recording without its end, as a kill does.
#[derive(Debug)]
pub struct RecordingWriter<W: Write> {
    out: W,
    written: u64,
    chain: Chain,
    context: EnvelopeContext,
    lineage: Lineage,
    tally: Tally,
    /// What the next block has so far.
    block: Pending,
    index: RecordingIndex,
    broken: bool,
}

/// A block of events that is not closed.
#[derive(Debug, Default)]
struct Pending {
    raw: Vec<u8>,
    events: u32,
    beginning: Beginning,
    tick: u64,
}

impl<W: Write> RecordingWriter<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// When the head is too long, or the writer refuses.
    pub fn new(out: W, head: RecordingHead) -> Result<Self, RecordingError> {
        let context = EnvelopeContext {
            session: Arc::from(&*head.session),
            pipeline_version: head.pipeline_version,
            lease_epoch: head.lease_epoch,
            ..EnvelopeContext::default()
        };
        let mut writer = Self {
            out,
            written: 0,
            chain: first_link(&header()),
            context,
            lineage: Lineage::default(),
            tally: Tally::default(),
            block: Pending::default(),
            index: RecordingIndex::default(),
            broken: false,
        };
        let frame = RecordingFrame { kind: Some(Kind::Head(head)) };
        if frame.encoded_len() > MAX_ENVELOPE_BYTES {
            return Err(RecordingError::HeadTooLong { bytes: frame.encoded_len() });
        }
        writer.write(&header())?;
        writer.single(BlockKind::Head, &frame)?;
        Ok(writer)
    }

    /// Appends one event. Events must come in the order of the timeline.
    ///
    /// # Errors
    /// [`RecordingError::Event`] when the event is over a limit: it is left out, and the recording can go on. Any
    /// other error ends the recording.
    pub fn append(&mut self, record: &Record) -> Result<(), RecordingError> {
        self.append_redacted(record, None)
    }

    /// Appends one event of which something was taken out before.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_redacted(&mut self, record: &Record, redacted: Option<Redacted>) -> Result<(), RecordingError> {
        let (event_id, causal_parent) = self.lineage.of(record);
        let context = &mut self.context;
        (context.event_id, context.causal_parent, context.redacted) = (event_id, causal_parent, redacted);
        let refused = |source| RecordingError::Event { event_id, event: event_name(record), source };
        let envelope = wire::to_envelope(record, context).map_err(refused)?;
        if envelope.encoded_len() > MAX_ENVELOPE_BYTES {
            let (length, limit) = (envelope.encoded_len(), MAX_ENVELOPE_BYTES);
            return Err(refused(WireError::TooLong { field: "envelope", length, limit }));
        }
        self.append_envelope(envelope)
    }

    /// Appends an event that another recording has, as it stands there.
    pub(super) fn append_envelope(&mut self, envelope: Envelope) -> Result<(), RecordingError> {
        if self.block.raw.len() >= BLOCK_BYTES && self.block.tick != envelope.tick {
            self.close_block()?;
        }
        if let Some(envelope::Payload::Signal(signal)) = &envelope.payload
            && let Some(signal::Kind::LeaseMoved(epoch)) = &signal.kind
        {
            self.context.lease_epoch = *epoch;
        }
        let beginning = Beginning {
            record: self.tally.counts.events + 1,
            tick: envelope.tick,
            at_us: envelope.at_us,
            turns: self.tally.turns,
        };
        self.tally.add(&envelope);
        let tick = envelope.tick;
        self.push(&RecordingFrame { kind: Some(Kind::Event(Box::new(envelope))) }, beginning)?;
        self.block.events += 1;
        self.block.tick = tick;
        Ok(())
    }

    /// Appends what is kept of a turn, when it is closed.
    ///
    /// # Errors
    /// When the writer refuses.
    pub fn append_evidence(&mut self, evidence: TurnEvidence) -> Result<(), RecordingError> {
        self.tally.counts.evidence += 1;
        let (counts, turns) = (&self.tally.counts, self.tally.turns);
        let (record, at_us) = (counts.events + 1, counts.last_at_us);
        let beginning = Beginning { record, tick: evidence.last_tick, at_us, turns };
        self.push(&RecordingFrame { kind: Some(Kind::Evidence(Box::new(evidence))) }, beginning)
    }

    /// Hands everything so far to the system, so that it outlives this process. What follows is in a block of its own.
    ///
    /// # Errors
    /// When the writer refuses.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.close_block()?;
        let flushed = self.out.flush();
        self.broken |= flushed.is_err();
        flushed.map_err(io_error("flush the recording".to_owned()))
    }

    /// Ends the recording with its index and its counts and flushes it. Making it durable (`sync_all`) is the caller's
    /// choice.
    ///
    /// # Errors
    /// When an earlier write failed, or the writer refuses.
    pub fn finish(mut self) -> Result<W, RecordingError> {
        self.close_block()?;
        let index_at = self.written;
        let index = std::mem::take(&mut self.index);
        self.single(BlockKind::Index, &RecordingFrame { kind: Some(Kind::Index(index)) })?;
        let counts = self.tally.counts;
        self.single(BlockKind::End, &RecordingFrame { kind: Some(Kind::End(counts)) })?;
        self.write(&trailer(index_at))?;
        self.flush()?;
        Ok(self.out)
    }

    /// Goes on with another output, which has all that this one was given.
    pub(super) fn with_out<V: Write>(self, out: V) -> RecordingWriter<V> {
        let Self { out: _, written, chain, context, lineage, tally, block, index, broken } = self;
        RecordingWriter { out, written, chain, context, lineage, tally, block, index, broken }
    }

    fn push(&mut self, frame: &RecordingFrame, beginning: Beginning) -> Result<(), RecordingError> {
        let length = frame.encoded_len() + LENGTH_BYTES;
        if !self.block.raw.is_empty() && self.block.raw.len() + length > MAX_BLOCK_BYTES {
            self.close_block()?;
        }
        if self.block.raw.is_empty() {
            self.block.beginning = beginning;
        }
        frame.encode_length_delimited(&mut self.block.raw).expect("memory takes everything");
        Ok(())
    }

    fn close_block(&mut self) -> Result<(), RecordingError> {
        if self.block.raw.is_empty() {
            return Ok(());
        }
        let Pending { raw, events, beginning, .. } = &self.block;
        let place = IndexedBlock {
            byte_offset: self.written,
            link: self.chain.to_vec(),
            first_record: beginning.record,
            first_tick: beginning.tick,
            first_at_us: beginning.at_us,
            turns: beginning.turns,
        };
        if self.index.blocks.len() < MAX_INDEXED_BLOCKS {
            self.index.blocks.push(place);
        }
        let mut out = Vec::new();
        let chain = write_block(&mut out, &self.chain, BlockKind::Events, *events, *beginning, raw);
        self.write(&out)?;
        self.chain = chain;
        self.block.raw.clear();
        self.block.events = 0;
        Ok(())
    }

    /// A block of one frame that is no event.
    fn single(&mut self, kind: BlockKind, frame: &RecordingFrame) -> Result<(), RecordingError> {
        let mut out = Vec::new();
        let raw = frame.encode_length_delimited_to_vec();
        let chain = write_block(&mut out, &self.chain, kind, 0, Beginning::default(), &raw);
        self.write(&out)?;
        self.chain = chain;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        if self.broken {
            return Err(RecordingError::Broken);
        }
        let written = self.out.write_all(bytes);
        self.broken = written.is_err();
        self.written += bytes.len() as u64;
        written.map_err(io_error("write to the recording".to_owned()))
    }
}

fn event_name(record: &Record) -> EventName {
    let event_type = match &record.entry {
        Entry::Input(_, input) => input.name(),
        Entry::Signal(_, signal) => signal.name(),
        Entry::Effect(_) => "effect",
    };
    EventName { tick: record.tick, at_us: record.at.0, event_type: event_type.to_owned() }
}
