//! The framing: blocks with a checksummed head, a compressed payload, a checksum and a link of the chain.

use std::io::{BufReader, Read};

use super::damage::{Damage, DamageKind};
use super::{RecordingError, io_error};

/// The format that this code reads and writes.
pub const FORMAT_VERSION: u16 = 2;
/// One block's payload, compressed or not.
pub const MAX_BLOCK_BYTES: usize = 33 << 20;

pub(super) const HEADER_BYTES: usize = 8;
pub(super) const HEAD_BYTES: usize = 48;
pub(super) const CHAIN_BYTES: usize = 16;
pub(super) const TRAILER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;
const MAGIC: [u8; 4] = *b"RSPP";
const TRAILER_MAGIC: [u8; 4] = *b"ppsr";
/// Less is not worth the trouble.
const MIN_COMPRESSED_BYTES: usize = 256;

pub(super) type Chain = [u8; CHAIN_BYTES];

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    Head = 1,
    Events = 2,
    Index = 3,
    End = 4,
}

/// How its payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Plain = 0,
    Lz4 = 1,
}

/// Where a block of events begins, in the words of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The number of its first event among those of the file, from 1.
    pub(super) record: u64,
    pub(super) tick: u64,
    pub(super) at_us: u64,
    /// The last turn that was opened before it.
    pub(super) turns: u32,
}

/// What stands before a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    stored: u32,
    raw: u32,
    pub(super) kind: BlockKind,
    codec: Codec,
    pub(super) events: u32,
    pub(super) beginning: Beginning,
}

impl BlockHead {
    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let Self { stored, raw, kind, codec, events, beginning } = self;
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..4].copy_from_slice(&stored.to_le_bytes());
        bytes[4..8].copy_from_slice(&raw.to_le_bytes());
        bytes[8] = kind as u8;
        bytes[9] = codec as u8;
        bytes[12..16].copy_from_slice(&events.to_le_bytes());
        bytes[16..24].copy_from_slice(&beginning.record.to_le_bytes());
        bytes[24..32].copy_from_slice(&beginning.tick.to_le_bytes());
        bytes[32..40].copy_from_slice(&beginning.at_us.to_le_bytes());
        bytes[40..44].copy_from_slice(&beginning.turns.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Back from bytes whose checksum fits.
    fn of_bytes(bytes: &[u8; HEAD_BYTES]) -> Result<Self, String> {
        let short = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("it is within the head"));
        let long = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("it is within the head"));
        let (stored, raw) = (short(0), short(4));
        let limits = 1..=MAX_BLOCK_BYTES;
        if !limits.contains(&(stored as usize)) || !limits.contains(&(raw as usize)) {
            return Err(format!("a length of {stored}, {raw} bytes once read, which is not in {limits:?}"));
        }
        let kind = match bytes[8] {
            1 => BlockKind::Head,
            2 => BlockKind::Events,
            3 => BlockKind::Index,
            4 => BlockKind::End,
            other => return Err(format!("a block of the kind {other}, which this reader doesn't know")),
        };
        let codec = match bytes[9] {
            0 if stored == raw => Codec::Plain,
            0 => return Err("a plain block of two lengths".to_owned()),
            1 => Codec::Lz4,
            other => return Err(format!("a block compressed by {other}, which this reader doesn't know")),
        };
        if bytes[10..12] != [0, 0] {
            return Err("reserved bytes that are not zero".to_owned());
        }
        let beginning = Beginning { record: long(16), tick: long(24), at_us: long(32), turns: short(40) };
        Ok(Self { stored, raw, kind, codec, events: short(12), beginning })
    }
}

/// The first 8 bytes of a file.
pub(super) fn header() -> [u8; HEADER_BYTES] {
    let [low, high] = FORMAT_VERSION.to_le_bytes();
    let [r, s, p, q] = MAGIC;
    [r, s, p, q, low, high, 0, 0]
}

/// The last 16 bytes of a whole file: where the index is.
pub(super) fn trailer(index_at: u64) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..8].copy_from_slice(&index_at.to_le_bytes());
    bytes[12..].copy_from_slice(&TRAILER_MAGIC);
    let checksum = crc32fast::hash(&bytes[..8]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Where the index is, if these are the last bytes of a whole file.
pub(super) fn of_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<u64> {
    let index_at = u64::from_le_bytes(*bytes.first_chunk()?);
    (*bytes == trailer(index_at)).then_some(index_at)
}

/// The link before the first block.
pub(super) fn first_link(header: &[u8]) -> Chain {
    shorten(blake3::hash(header))
}

fn next_link(chain: &Chain, head: &[u8], payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain);
    hasher.update(head);
    hasher.update(payload);
    shorten(hasher.finalize())
}

pub(super) fn shorten(hash: blake3::Hash) -> Chain {
    *hash.as_bytes().first_chunk().expect("a hash of 32 bytes has 16")
}

/// Appends a block to `out`, compressed if that makes it shorter, and gives the link after it.
pub(super) fn write_block(
    out: &mut Vec<u8>,
    chain: &Chain,
    kind: BlockKind,
    events: u32,
    beginning: Beginning,
    raw: &[u8],
) -> Chain {
    let compressed = if raw.len() < MIN_COMPRESSED_BYTES { Vec::new() } else { lz4_flex::block::compress(raw) };
    let shorter = !compressed.is_empty() && compressed.len() < raw.len();
    let (codec, payload) = if shorter { (Codec::Lz4, &*compressed) } else { (Codec::Plain, raw) };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a block is at most MAX_BLOCK_BYTES");
    let head = BlockHead { stored: length(payload), raw: length(raw), kind, codec, events, beginning }.to_bytes();
    let chain = next_link(chain, &head, payload);
    out.reserve(HEAD_BYTES + payload.len() + CHECKSUM_BYTES + CHAIN_BYTES);
    out.extend(head);
    out.extend(payload);
    out.extend(crc32fast::hash(payload).to_le_bytes());
    out.extend(chain);
    chain
}

/// A block that is what was written.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) head: BlockHead,
    /// Where it begins.
    pub(super) start: u64,
    /// The link before it.
    pub(super) before: Chain,
    pub(super) payload: Vec<u8>,
}

/// Reads block after block.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    input: BufReader<R>,
    pub(super) chain: Chain,
    /// Where the current block begins.
    pub(super) start: u64,
    /// Where the next one does.
    next: u64,
    /// The number of the first record that was not read: the head is 0.
    pub(super) next_record: u64,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(input: R) -> Result<Self, RecordingError> {
        let input = BufReader::new(input);
        let mut blocks = Self { input, chain: Chain::default(), start: 0, next: 0, next_record: 0 };
        let found = blocks.take(HEADER_BYTES)?;
        // The two reserved bytes are covered by the chain.
        let &[r, s, p, q, low, high, _, _] = &*found else { return Err(RecordingError::NotARecording) };
        if [r, s, p, q] != MAGIC {
            return Err(RecordingError::NotARecording);
        }
        let version = u16::from_le_bytes([low, high]);
        if version != FORMAT_VERSION {
            return Err(RecordingError::UnknownFormat { found: version });
        }
        blocks.chain = first_link(&found);
        Ok(blocks)
    }

    /// Goes on elsewhere in the file, where the chain stands at `chain`.
    pub(super) fn resume(input: R, at: u64, chain: Chain, next_record: u64) -> Self {
        Self { input: BufReader::new(input), chain, start: at, next: at, next_record }
    }

    /// Up to so many bytes; fewer only at the end of the input. Grows with what is there, not with what is claimed.
    pub(super) fn take(&mut self, bytes: usize) -> Result<Vec<u8>, RecordingError> {
        let mut taken = Vec::new();
        let read = (&mut self.input).take(bytes as u64).read_to_end(&mut taken);
        read.map_err(io_error("read the recording".to_owned()))?;
        self.next += taken.len() as u64;
        Ok(taken)
    }

    /// The next block; `None` at the end of the input.
    pub(super) fn next_block(&mut self) -> Result<Option<Block>, RecordingError> {
        self.start = self.next;
        let bytes = self.take(HEAD_BYTES)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let Some(bytes) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Err(self.damaged(DamageKind::Truncated, "within the block's head"));
        };
        if crc32fast::hash(&bytes[..44]).to_le_bytes() != bytes[44..] {
            return Err(self.damaged(DamageKind::ChecksumMismatch, "in the block's head"));
        }
        let head = BlockHead::of_bytes(bytes).map_err(|detail| self.damaged(DamageKind::Malformed, &detail))?;
        let within = |what, detail: String, blocks: &Self| Err(blocks.damaged_block(what, &head, &detail));
        let stored = head.stored as usize;
        let payload = self.take(stored)?;
        if payload.len() < stored {
            let detail = format!("with {} of {stored} bytes of the block's payload", payload.len());
            return within(DamageKind::Truncated, detail, self);
        }
        let (checksum, link) = (self.take(CHECKSUM_BYTES)?, self.take(CHAIN_BYTES)?);
        if link.len() < CHAIN_BYTES {
            return within(DamageKind::Truncated, "after the block's payload".to_owned(), self);
        }
        if checksum != crc32fast::hash(&payload).to_le_bytes() {
            return within(DamageKind::ChecksumMismatch, String::new(), self);
        }
        let expected = next_link(&self.chain, bytes, &payload);
        if link != expected {
            return within(DamageKind::ChainMismatch, String::new(), self);
        }
        let payload = match head.codec {
            Codec::Plain => payload,
            Codec::Lz4 => match lz4_flex::block::decompress(&payload, head.raw as usize) {
                Ok(raw) if raw.len() == head.raw as usize => raw,
                Ok(_) => return within(DamageKind::Malformed, "it has another length than it says".to_owned(), self),
                Err(error) => return within(DamageKind::Malformed, error.to_string(), self),
            },
        };
        let before = std::mem::replace(&mut self.chain, expected);
        Ok(Some(Block { head, start: self.start, before, payload }))
    }

    /// After the last block: where the index is, and then nothing.
    pub(super) fn expect_trailer(&mut self, index_at: u64) -> Result<(), RecordingError> {
        self.start = self.next;
        let bytes = self.take(TRAILER_BYTES)?;
        if bytes.len() < TRAILER_BYTES {
            return Err(self.damaged(DamageKind::Truncated, "within its last 16 bytes"));
        }
        if bytes != trailer(index_at) {
            return Err(self.damaged(DamageKind::ChecksumMismatch, "in its last 16 bytes"));
        }
        self.start = self.next;
        if self.take(1)?.is_empty() {
            return Ok(());
        }
        Err(self.damaged(DamageKind::Malformed, "bytes after the end"))
    }

    pub(super) fn damaged(&self, what: DamageKind, detail: &str) -> RecordingError {
        RecordingError::Damaged(Box::new(self.damage(what, detail)))
    }

    pub(super) fn damage(&self, what: DamageKind, detail: &str) -> Damage {
        Damage::new(self.next_record, self.start, what, detail)
    }

    fn damaged_block(&self, what: DamageKind, head: &BlockHead, detail: &str) -> RecordingError {
        let damage = self.damage(what, detail);
        if head.kind != BlockKind::Events {
            return RecordingError::Damaged(Box::new(damage));
        }
        RecordingError::Damaged(Box::new(damage.of_events(head.events, head.beginning)))
    }
}
