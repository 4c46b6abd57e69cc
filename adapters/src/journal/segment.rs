//! A part of a session's journal, as bytes: a head, then a frame for each tick, or for what another part had before.
//!
//! A frame is whole or it is not there: its length and its checksum stand before it, and what a worker was writing when it
//! died is left out by who reads.

use rspp_specs::timeline::Record;
use rspp_specs::wire::{self, WireError};
use serde::{Deserialize, Serialize};

use super::{ToldBefore, Whose};

const MAGIC: [u8; 8] = *b"RSPPJNL1";
/// A frame's length and its checksum.
const FRAME_HEAD_BYTES: usize = 8;
/// Before a record: its length.
const LENGTH_BYTES: usize = 4;

/// What stands at the beginning of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    #[serde(flatten)]
    pub(super) whose: Whose,
    pub(super) epoch: u64,
    pub(super) told: ToldBefore,
}

/// A part's beginning.
pub(super) fn begin(head: &Head) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let head = serde_json::to_vec(head).expect("words and numbers can be written as JSON");
    frame(&mut bytes, &head);
    bytes
}

fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a tick is shorter than that");
    out.extend(length.to_le_bytes());
    out.extend(crc32fast::hash(payload).to_le_bytes());
    out.extend(payload);
}

/// Puts whole ticks behind what is there, each as a whole.
pub(super) fn put(out: &mut Vec<u8>, records: &[Record]) -> Result<(), WireError> {
    records.chunk_by(|a, b| a.tick == b.tick).try_for_each(|tick| put_as_one(out, tick))
}

/// Puts ticks behind what is there: all of them, or none.
pub(super) fn put_as_one(out: &mut Vec<u8>, records: &[Record]) -> Result<(), WireError> {
    let mut payload = Vec::new();
    for record in records {
        let start = payload.len();
        payload.extend([0; LENGTH_BYTES]);
        wire::encode_lean(record, None, &mut payload)?;
        let length = payload.len() - start - LENGTH_BYTES;
        let length = u32::try_from(length).expect("an envelope is shorter than that");
        payload[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    }
    frame(out, &payload);
    Ok(())
}

/// What is whole of a part; `None` if not even its head is.
pub(super) fn read(bytes: &[u8]) -> Option<(Head, Vec<Record>)> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    let head = serde_json::from_slice(next_frame(&mut rest)?).ok()?;
    let mut records = Vec::new();
    while let Some(payload) = next_frame(&mut rest) {
        let Some(mut tick) = tick(payload) else { break };
        records.append(&mut tick);
    }
    Some((head, records))
}

fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (sum, after) = after.split_first_chunk::<4>()?;
    let payload = after.get(..u32::from_le_bytes(*length) as usize)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    *rest = &rest[FRAME_HEAD_BYTES + payload.len()..];
    Some(payload)
}

fn tick(mut payload: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !payload.is_empty() {
        let (length, rest) = payload.split_first_chunk::<4>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(wire::decode_lean(record).ok()?.0);
        payload = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rspp_specs::ids::Slot;
    use rspp_specs::time::Micros;
    use rspp_specs::timeline::{Entry, Signal};

    fn record(tick: u64, signal: Signal) -> Record {
        Record { slot: Slot(3), tick, at: Micros::from_ms(tick * 20), entry: Entry::Signal(None, signal) }
    }

    #[test]
    fn a_part_reads_back_up_to_its_last_whole_tick_wherever_it_is_cut() {
        let whose = Whose { tenant: "acme".into(), session: "call".into() };
        let told = ToldBefore { messages: 7, received_samples: 320 };
        let head = Head { whose, epoch: 9, told };
        let mut bytes = begin(&head);
        let begun = bytes.len();
        let ticks =
            [record(1, Signal::SessionReady), record(1, Signal::SessionSuspended), record(2, Signal::SessionResumed)];
        put(&mut bytes, &ticks[..2]).expect("it is short");
        let first = bytes.len();
        put(&mut bytes, &ticks[2..]).expect("it is short");
        for cut in 0..=bytes.len() {
            let expected = match cut {
                _ if cut < begun => None,
                _ if cut < first => Some(&ticks[..0]),
                _ if cut < bytes.len() => Some(&ticks[..2]),
                _ => Some(&ticks[..]),
            };
            let read = read(&bytes[..cut]).map(|(read, records)| {
                assert_eq!(read, head);
                records
            });
            assert_eq!(read.as_deref(), expected, "cut at {cut}");
        }
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(read(&bytes).map(|(_, records)| records.len()), Some(2), "a damaged tick counts as none");
    }
}
