//! Recordings that somebody has been at.

/// A block of a recording, as its head tells: see docs/timeline-format.md.
pub(crate) struct Block {
    /// Where its payload begins, and where it ends.
    pub(crate) payload: std::ops::Range<usize>,
    /// Its first event, from 1, and how many there are; 0 of a block of something else.
    pub(crate) first: u64,
    pub(crate) events: u32,
}

/// The blocks of a whole recording.
pub(crate) fn blocks(recording: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 8;
    while at < recording.len() - 16 {
        let short = |at: usize| u32::from_le_bytes(*recording[at..].first_chunk().expect("the head is there"));
        let long = |at: usize| u64::from_le_bytes(*recording[at..].first_chunk().expect("the head is there"));
        let payload = at + 48..at + 48 + short(at) as usize;
        blocks.push(Block { first: long(at + 16), events: short(at + 12), payload: payload.clone() });
        at = payload.end + 4 + 16;
    }
    blocks
}

/// A recording of which one byte is not what was written.
pub(crate) fn altered(recording: &[u8], byte: usize) -> Vec<u8> {
    let mut altered = recording.to_vec();
    altered[byte] ^= 1;
    altered
}
