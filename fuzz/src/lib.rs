//! Fuzz targets for everything that reads bytes which somebody else may have written: `tests/decoders.rs`. Here is what they
//! share: seeds, which are what the golden calls leave behind, and edits of them.
//!
//! Random bytes alone do not get past a decoder's first checks. Each target therefore takes its input in two ways: as it is, and
//! as a recipe that picks a seed and changes it.

use std::path::{Path, PathBuf};

use prost::Message;
use rspp::Registry;
use rspp::adapters::recording::{RecordingWriter, head};
use rspp::specs::timeline::Record;
use rspp::specs::wire::generated::{Envelope, Signal, envelope::Payload};
use rspp::specs::wire::{self, EnvelopeContext, Lineage};
use rspp::trace::Traced;

/// Bytes of a seed after its edits: enough for a frame of audio and a long text.
const MAX_BYTES: usize = 1 << 16;
/// Edits of one seed.
const MAX_EDITS: usize = 16;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files of the repository below `folder`, in their order, that end so.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut folders = vec![repository().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the folder is part of the repository");
        for path in entries.map(|entry| entry.expect("the folder can be read").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The golden calls: as many as show every kind of event, and no more of their audio than a little.
fn calls() -> Vec<Traced> {
    let is_scenario = |path: &PathBuf| std::fs::read_to_string(path).is_ok_and(|text| text.contains("kind: Scenario"));
    let paths = files("tests/golden", "yaml").into_iter().filter(is_scenario);
    paths.map(|path| rspp::trace::trace(&path, &Registry::new()).expect("golden scenarios run")).collect()
}

/// Encoded events: of each type some, from every call.
pub fn envelopes() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for call in calls() {
        let (mut lineage, mut last) = (Lineage::default(), String::new());
        for record in &call.records {
            let context = context(&mut lineage, record);
            let envelope = wire::to_envelope(record, &context).expect("golden calls keep to the limits");
            // A long run of audio says the same again and again.
            if envelope.event_type != last {
                last.clone_from(&envelope.event_type);
                seeds.push(envelope.encode_to_vec());
            }
        }
    }
    seeds
}

fn context(lineage: &mut Lineage, record: &Record) -> EnvelopeContext {
    let (event_id, causal_parent) = lineage.of(record);
    let session = "fuzz".into();
    EnvelopeContext { session, event_id, causal_parent, ..EnvelopeContext::default() }
}

/// Encoded control signals, each with the envelope that it came in.
pub fn signals() -> Vec<(Envelope, Vec<u8>)> {
    let envelopes = envelopes().into_iter().filter_map(|bytes| Envelope::decode(&*bytes).ok());
    let signal = |envelope: Envelope| match &envelope.payload {
        Some(Payload::Signal(signal)) => Some(signal.encode_to_vec()).map(|bytes| (envelope, bytes)),
        _ => None,
    };
    envelopes.filter_map(signal).collect()
}

/// A control signal from bytes, put into an envelope.
pub fn with_signal(mut envelope: Envelope, bytes: &[u8]) -> Option<Envelope> {
    envelope.payload = Some(Payload::Signal(Signal::decode(bytes).ok()?));
    Some(envelope)
}

/// Whole recordings, of the shorter calls.
pub fn recordings() -> Vec<Vec<u8>> {
    let recording = |call: &Traced| {
        let head = head("fuzz", &call.plan, 1);
        let mut writer = RecordingWriter::new(Vec::new(), head).expect("memory takes everything");
        call.records.iter().for_each(|record| writer.append(record).expect("golden calls keep to the limits"));
        writer.finish().expect("memory takes everything")
    };
    calls().iter().map(recording).filter(|bytes| bytes.len() < MAX_BYTES).collect()
}

/// Specs, good and bad, and the other documents.
pub fn specs() -> Vec<Vec<u8>> {
    let folders = ["specs", "compiler/testdata", "tests/golden"];
    let paths = folders.iter().flat_map(|folder| files(folder, "yaml"));
    paths.map(|path| std::fs::read(path).expect("it was listed")).filter(|text| text.len() < MAX_BYTES).collect()
}

/// A seed, changed as `recipe` says: its first two bytes pick the seed, five bytes each are an edit.
pub fn edited(seeds: &[Vec<u8>], recipe: &[u8]) -> Vec<u8> {
    let Some((pick, edits)) = recipe.split_first_chunk::<2>() else { return recipe.to_vec() };
    let mut bytes = seeds[usize::from(u16::from_le_bytes(*pick)) % seeds.len()].clone();
    for edit in edits.chunks_exact(5).take(MAX_EDITS) {
        let [kind, low, high, length, with] = edit else { continue };
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (bytes.len() + 1);
        let end = (at + usize::from(*length)).min(bytes.len());
        match kind % 7 {
            0 => bytes.get_mut(at).into_iter().for_each(|byte| *byte = *with),
            1 => bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (with % 8)),
            2 => bytes.insert(at, *with),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            // The largest number that a varint holds, and then one that is too large.
            5 => drop(bytes.splice(at..end, [[0xff; 9].as_slice(), &[with & 3]].concat())),
            _ => {
                let other = &seeds[usize::from(*with) % seeds.len()];
                let from = at.min(other.len());
                drop(bytes.splice(at..end, other[from..(from + usize::from(*length)).min(other.len())].to_vec()));
            }
        }
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

/// Bytes before a recording's first block, of a block's head, of its own checksum at the end of that, and of a link.
const HEADER: usize = 8;
const HEAD: usize = 48;
const CHECKSUM: usize = 4;
const LINK: usize = 16;
/// Where a block's head has the length of its payload, and how that is stored.
const STORED: usize = 9;

/// A recording of which one block is edited. Its lengths, its checksums and the links from there on are made again, so that
/// the reader looks at what is in it. `docs/timeline-format.md` has the format.
pub fn reforged(recordings: &[Vec<u8>], recipe: &[u8]) -> Vec<u8> {
    let Some((pick, edits)) = recipe.split_first_chunk::<4>() else { return recipe.to_vec() };
    let [recording, high, wanted, what] = *pick;
    let bytes = &recordings[usize::from(u16::from_le_bytes([recording, high])) % recordings.len()];
    let blocks = blocks(bytes);
    let wanted = usize::from(wanted) % blocks.len();
    let mut forged = bytes[..HEADER].to_vec();
    let mut link = first_link(&forged);
    for (place, (head, payload)) in blocks.iter().enumerate() {
        let (mut head, mut payload) = (head.clone(), payload.clone());
        if place == wanted && what % 4 == 0 {
            // The head, but for what is made again.
            edits.chunks_exact(2).for_each(|edit| head[STORED - 1 + usize::from(edit[0]) % 36] ^= edit[1]);
        } else if place == wanted {
            if head[STORED] == 1 {
                let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
                payload = lz4_flex::block::decompress(&payload, length).expect("a seed is sound");
                head[STORED] = 0;
            }
            payload = edited(&[payload], &[&[0, 0][..], edits].concat());
        }
        seal(&mut forged, &mut link, head, &payload);
    }
    forged.extend(&bytes[bytes.len() - 2 * HEADER..]);
    forged
}

fn first_link(header: &[u8]) -> Vec<u8> {
    blake3::hash(header).as_bytes()[..LINK].to_vec()
}

fn seal(forged: &mut Vec<u8>, link: &mut Vec<u8>, mut head: Vec<u8>, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    head[..4].copy_from_slice(&length);
    if head[STORED] == 0 {
        head[4..8].copy_from_slice(&length);
    }
    let checksum = crc32fast::hash(&head[..HEAD - CHECKSUM]).to_le_bytes();
    head[HEAD - CHECKSUM..].copy_from_slice(&checksum);
    *link = blake3::hash(&[&link[..], &head, payload].concat()).as_bytes()[..LINK].to_vec();
    forged.extend(&head);
    forged.extend(payload);
    forged.extend(crc32fast::hash(payload).to_le_bytes());
    forged.extend(&link[..]);
}

/// The head and the payload of each block of a whole recording.
fn blocks(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut blocks, mut at) = (Vec::new(), HEADER);
    while at + 2 * HEADER < bytes.len() {
        let length = bytes[at..].first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let (start, end) = (at + HEAD, at + HEAD + length);
        blocks.push((bytes[at..start].to_vec(), bytes[start..end].to_vec()));
        at = end + CHECKSUM + LINK;
    }
    blocks
}
