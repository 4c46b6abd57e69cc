//! A recording reads back as it was written; and whatever happens to it, the reader says where and what.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rspp_adapters::recording::{
    Damage, DamageKind, Recording, RecordingError, RecordingFile, RecordingHead, RecordingReader, RecordingWriter,
};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::{Generation, InvocationId, RuntimeSequence, Slot, TurnId};
use rspp_specs::limits::MAX_TEXT_BYTES;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::PlanHash;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, EgressEpoch, Entry, Input, Record, Signal};

fn head() -> RecordingHead {
    RecordingHead {
        session: "call-7".to_owned(),
        pipeline: "reception".to_owned(),
        pipeline_version: 3,
        plan_hash: "9f2c81d0a4b37e65".to_owned(),
        rspp_version: "0.1.0".to_owned(),
        lease_epoch: 1,
    }
}

fn at(tick: u64, entry: Entry) -> Record {
    Record { slot: Slot(2), tick, at: Micros::from_ms(20 * tick), entry }
}

fn frame(value: i16) -> AudioFrame {
    AudioFrame { samples: Arc::from([value; 8]), rate_hz: 16_000, spoken_by: Some(InvocationId(1)) }
}

/// A small call: five ticks, nine events.
fn timeline() -> Vec<Record> {
    let input = |tick, sequence, input| at(tick, Entry::Input(RuntimeSequence(sequence), input));
    let turn = Some(TurnId(1));
    let open = Signal::TurnOpen {
        plan: PlanHash("9f2c81d0a4b37e65".into()),
        generation: Generation(1),
        text: "hello".into(),
        understood: true,
        speech_end: None,
    };
    let request = Request::Speak { text: "good day".into() };
    let transmit = Effect::Transmit { turn: TurnId(1), epoch: EgressEpoch(0), from_sample: 0, frame: frame(-5) };
    vec![
        input(1, 1, Input::CallerAudio(frame(7))),
        input(2, 2, Input::UserText("hello".into())),
        at(2, Entry::Signal(turn, open)),
        at(2, Entry::Effect(Effect::Invoke { id: InvocationId(1), binding: "voice".into(), request })),
        input(3, 3, Input::Provider(InvocationId(1), ProviderResult::Audio(frame(-5)))),
        at(3, Entry::Effect(transmit)),
        input(4, 4, Input::Provider(InvocationId(1), ProviderResult::End(Outcome::Success))),
        at(4, Entry::Signal(turn, Signal::Commit)),
        at(5, Entry::Signal(turn, Signal::Close)),
    ]
}

fn write(records: &[Record]) -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new(), head()).expect("memory takes everything");
    for record in records {
        writer.append(record).expect("within the limits");
    }
    writer.finish().expect("memory takes everything")
}

/// Where each frame begins, the one after the last included.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![8];
    let mut at = 8;
    while at < bytes.len() {
        let length = bytes[at..].first_chunk().expect("a length");
        at += 4 + u32::from_le_bytes(*length) as usize + 20;
        boundaries.push(at);
    }
    boundaries
}

/// Makes frame `index` again around another payload: the checksum fits, the link does not.
fn forge(bytes: &[u8], index: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    let bounds = boundaries(bytes);
    let (start, end) = (bounds[index] + 4, bounds[index + 1] - 20);
    change(&mut forged[start..end]);
    let checksum = crc32fast::hash(&forged[start..end]);
    forged[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    forged
}

fn damage(bytes: &[u8]) -> (usize, Damage) {
    let (prefix, damage) = Recording::read_prefix(bytes).expect("the head is sound");
    assert_eq!(prefix.records, timeline()[..prefix.records.len()]);
    (prefix.records.len(), damage.expect("damaged"))
}

#[test]
fn a_recording_reads_back_as_it_was_written() {
    let bytes = write(&timeline());
    let recording = Recording::read(&*bytes).expect("whole");
    assert_eq!(recording.head, head());
    assert_eq!(recording.records, timeline());
    let ticks: Vec<usize> = recording.ticks().map(<[Record]>::len).collect();
    assert_eq!(ticks, [1, 3, 2, 2, 1]);
}

/// A change of this number is a change of the format: raise `FORMAT_VERSION` or `SCHEMA_VERSION` with it.
#[test]
fn the_bytes_are_the_same_on_every_machine() {
    assert_eq!(write(&timeline()), write(&timeline()));
    let recording = Recording::read(&*write(&timeline())).expect("whole");
    assert_eq!(recording.digest(), "38337e6e20992a3498ffcee1d8f32be2");
}

/// Reads the framing by the document and nothing else.
#[test]
fn the_framing_is_what_the_document_says() {
    let bytes = write(&timeline());
    assert_eq!(bytes[..8], *b"RSPP\x01\0\0\0");
    let bounds = boundaries(&bytes);
    assert_eq!(bounds.len(), timeline().len() + 3);
    let mut link = blake3::hash(&bytes[..8]).as_bytes()[..16].to_vec();
    for bound in bounds.windows(2) {
        let (payload, tail) = bytes[bound[0] + 4..bound[1]].split_at(bound[1] - bound[0] - 24);
        link = blake3::hash(&[&*link, payload].concat()).as_bytes()[..16].to_vec();
        assert_eq!(tail, [&crc32fast::hash(payload).to_le_bytes()[..], &*link].concat());
    }
}

#[test]
fn a_recording_that_was_cut_anywhere_keeps_what_stands_before() {
    let bytes = write(&timeline());
    let bounds = boundaries(&bytes);
    for cut in 0..bytes.len() {
        if cut < 8 {
            assert!(matches!(Recording::read(&bytes[..cut]), Err(RecordingError::NotARecording)));
            continue;
        }
        let whole_frames = bounds.iter().filter(|bound| **bound <= cut).count() - 1;
        let expected = if bounds.contains(&cut) { DamageKind::MissingEnd } else { DamageKind::Truncated };
        let Err(RecordingError::Damaged(damage)) = Recording::read(&bytes[..cut]) else {
            panic!("cut at {cut}");
        };
        assert_eq!((damage.what, damage.record_index), (expected, whole_frames as u64), "cut at {cut}");
        assert_eq!(damage.byte_offset, bounds[whole_frames] as u64);
        if whole_frames > 0 {
            let (prefix, _) = Recording::read_prefix(&bytes[..cut]).expect("the head is whole");
            assert_eq!(prefix.records, timeline()[..whole_frames - 1]);
        }
    }
}

#[test]
fn a_cut_event_is_named_as_far_as_it_goes() {
    let bytes = write(&timeline());
    let bounds = boundaries(&bytes);
    let (_, damage) = damage(&bytes[..bounds[4] - 30]);
    let length = bounds[4] - bounds[3] - 24;
    let found = length - 10;
    assert_eq!(
        damage.to_string(),
        format!(
            "record 3, at byte {}, turn_open in tick 2 at 40 ms, after user_text in tick 2 at 40 ms: \
             the file ends within it (with {found} of {length} bytes of payload)",
            bounds[3]
        )
    );
}

#[test]
fn every_flipped_bit_is_found_in_its_record() {
    let bytes = write(&timeline());
    let bounds = boundaries(&bytes);
    for at in bounds[1]..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let (kept, damage) = damage(&flipped);
        let index = bounds.iter().filter(|bound| **bound <= at).count() - 1;
        assert_eq!((damage.record_index, kept), (index as u64, index - 1), "byte {at}: {damage}");
    }
}

#[test]
fn an_altered_record_is_named_though_its_checksum_fits() {
    let bytes = write(&timeline());
    let forged = forge(&bytes, 2, |payload| {
        let at = payload.windows(5).rposition(|word| word == b"hello").expect("the caller's words");
        payload[at..at + 5].copy_from_slice(b"bribe");
    });
    let (kept, damage) = damage(&forged);
    assert_eq!(kept, 1);
    assert_eq!(
        damage.to_string(),
        format!(
            "record 2, at byte {}, user_text in tick 2 at 40 ms, after audio in tick 1 at 20 ms: \
             it was altered, or one before it was removed, added or moved",
            boundaries(&bytes)[2]
        )
    );
}

#[test]
fn a_removed_record_shows_at_the_one_after_it() {
    let bytes = write(&timeline());
    let bounds = boundaries(&bytes);
    let removed = [&bytes[..bounds[3]], &bytes[bounds[4]..]].concat();
    let (kept, damage) = damage(&removed);
    assert_eq!((kept, damage.what, damage.record_index), (2, DamageKind::ChainMismatch, 3));
    assert_eq!(damage.event.expect("readable").event_type, "invoke");
}

#[test]
fn a_header_that_was_altered_breaks_the_chain_at_the_head() {
    let mut bytes = write(&timeline());
    bytes[7] = 1;
    let Err(RecordingError::Damaged(damage)) = Recording::read_prefix(&*bytes) else { panic!("altered") };
    assert_eq!((damage.what, damage.record_index), (DamageKind::ChainMismatch, 0));
    bytes[4] = 9;
    assert!(matches!(Recording::read(&*bytes), Err(RecordingError::UnknownFormat { found: 9 })));
}

#[test]
fn what_follows_the_last_record_or_fills_a_lost_block_is_no_part_of_it() {
    let bytes = write(&timeline());
    let longer = [&*bytes, &[1]].concat();
    let (kept, after_end) = damage(&longer);
    assert_eq!((kept, after_end.what, after_end.byte_offset), (9, DamageKind::Malformed, bytes.len() as u64));

    let bounds = boundaries(&bytes);
    let zeros = [&bytes[..bounds[5]], &[0; 4096]].concat();
    let (kept, zeroed) = damage(&zeros);
    assert_eq!((kept, zeroed.what, zeroed.record_index), (4, DamageKind::Malformed, 5));
}

#[test]
fn an_event_over_a_limit_is_refused_and_the_recording_goes_on() {
    let mut writer = RecordingWriter::new(Vec::new(), head()).expect("memory takes everything");
    let long = Input::UserText("x".repeat(MAX_TEXT_BYTES + 1).into());
    let error = writer.append(&at(1, Entry::Input(RuntimeSequence(1), long))).expect_err("too long");
    assert_eq!(
        error.to_string(),
        "event 1 (user_text in tick 1 at 20 ms) is not in the recording: user_text has a length of 65537, \
         and the limit is 65536: split it before it enters"
    );
    writer.append(&timeline()[1]).expect("within the limits");
    let bytes = writer.finish().expect("memory takes everything");
    assert_eq!(Recording::read(&*bytes).expect("whole").records, timeline()[1..2]);
}

/// Takes so many bytes, then fails once.
struct FullDisk {
    left: usize,
}

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.left = usize::MAX;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_follows_a_write_that_failed() {
    let mut writer = RecordingWriter::new(FullDisk { left: 300 }, head()).expect("the head has room");
    let errors: Vec<RecordingError> = timeline().iter().filter_map(|record| writer.append(record).err()).collect();
    assert!(matches!(errors.first(), Some(RecordingError::Io { .. })));
    assert!(errors[1..].iter().all(|error| matches!(error, RecordingError::Broken)));
    assert!(matches!(writer.finish(), Err(RecordingError::Broken)));
}

#[test]
fn what_was_flushed_outlives_the_writer() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("call-7.rspp");
    let partial = directory.path().join("call-7.rspp.partial");
    let mut file = RecordingFile::create(&path, head()).expect("the folder is there");
    file.append(&timeline()[..4]).expect("within the limits");
    // As a kill does: no destructor runs.
    mem::forget(file);

    let (prefix, damage) = Recording::open_prefix(&partial).expect("the head was flushed");
    assert_eq!(prefix.records, timeline()[..4]);
    assert_eq!(damage.expect("never finished").what, DamageKind::MissingEnd);
    assert!(!path.exists(), "the name is given when the call is over");
}

#[test]
fn a_recording_takes_its_name_when_the_call_is_over_well_or_badly() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("call-7.rspp");
    for broke in [false, true, false] {
        let mut file = RecordingFile::create(&path, head()).expect("the folder is there");
        file.append(&timeline()).expect("within the limits");
        if broke { file.abandon() } else { file.finish() }.expect("the disk has room");
        let (recording, damage) = Recording::open_prefix(&path).expect("it has its name");
        assert_eq!(recording.records, timeline());
        assert_eq!(damage.map(|damage| damage.what), broke.then_some(DamageKind::MissingEnd));
    }
    let nowhere = directory.path().join("nowhere/call-7.rspp");
    let refused = RecordingFile::create(&nowhere, head()).expect_err("there is no such folder").to_string();
    assert!(refused.contains("call-7.rspp") && refused.contains("check that its folder exists"), "{refused}");
}

#[test]
fn a_reader_gives_one_event_at_a_time_and_stops_for_good() {
    let bytes = write(&timeline());
    let mut reader = RecordingReader::new(&*bytes).expect("whole");
    assert_eq!(reader.head(), &head());
    let mut read = Vec::new();
    while let Some(record) = reader.next_record().expect("whole") {
        read.push(record);
    }
    assert_eq!(read, timeline());
    assert!(matches!(reader.next_record(), Ok(None)));
}

/// Seeds of failures are kept beside this file, and run first from then on.
fn config() -> ProptestConfig {
    let seeds = FileFailurePersistence::Direct("tests/recording.seeds");
    ProptestConfig { cases: 500, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Recording::read(&*bytes);
        let behind_a_header = [b"RSPP\x01\0\0\0", &*bytes].concat();
        let _ = Recording::read(&*behind_a_header);
        let behind_a_head = [&write(&[])[..boundaries(&write(&[]))[1]], &*bytes].concat();
        prop_assert!(Recording::read_prefix(&*behind_a_head).is_ok());
    }

    /// Frames whose checksums and links fit, around anything at all.
    #[test]
    fn well_framed_nonsense_never_panics(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 0..4),
    ) {
        let mut bytes = b"RSPP\x01\0\0\0".to_vec();
        let mut chain = blake3::hash(&bytes).as_bytes()[..16].to_vec();
        for payload in payloads {
            chain = blake3::hash(&[&*chain, &*payload].concat()).as_bytes()[..16].to_vec();
            let length = u32::try_from(payload.len()).expect("short");
            bytes.extend(length.to_le_bytes());
            bytes.extend(&payload);
            bytes.extend(crc32fast::hash(&payload).to_le_bytes());
            bytes.extend(&chain);
        }
        let _ = Recording::read(&*bytes);
    }

    #[test]
    fn whatever_is_altered_what_is_read_was_written(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = write(&timeline());
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok((prefix, _)) = Recording::read_prefix(&*bytes) {
            prop_assert_eq!(&prefix.records[..], &timeline()[..prefix.records.len()]);
        }
    }
}
