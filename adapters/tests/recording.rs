//! A recording reads back as it was written; and whatever happens to it, the reader says where and what.

use std::io::{self, Cursor, Write};
use std::mem;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rspp_adapters::recording::{
    Damage, DamageKind, Index, Recording, RecordingError, RecordingFile, RecordingHead, RecordingReader,
    RecordingWriter, Target,
};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::{Generation, InvocationId, RuntimeSequence, Slot, TurnId};
use rspp_specs::limits::MAX_TEXT_BYTES;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::PlanHash;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, EgressEpoch, Entry, Input, Opener, Record, Signal};

fn head() -> RecordingHead {
    RecordingHead {
        session: "call-7".to_owned(),
        pipeline: "reception".to_owned(),
        pipeline_version: 3,
        plan_hash: "9f2c81d0a4b37e65".to_owned(),
        rspp_version: "0.1.0".to_owned(),
        lease_epoch: 1,
        level: None,
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
        opener: Opener::Caller,
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

/// As a live call does: a block for each tick.
fn write_by_tick(records: &[Record]) -> Vec<u8> {
    let mut writer = RecordingWriter::new(Vec::new(), head()).expect("memory takes everything");
    for tick in records.chunk_by(|earlier, later| earlier.tick == later.tick) {
        tick.iter().for_each(|record| writer.append(record).expect("within the limits"));
        writer.flush().expect("memory takes everything");
    }
    writer.finish().expect("memory takes everything")
}

/// Enough events for several blocks, and audio that does not compress away.
fn long_timeline() -> Vec<Record> {
    let mut noise = 1_u32;
    let mut records = Vec::new();
    for tick in 1..=400 {
        let samples = (0..320).map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 20) as i16
        });
        let frame = AudioFrame { samples: samples.collect(), rate_hz: 16_000, spoken_by: None };
        records.push(at(tick, Entry::Input(RuntimeSequence(tick), Input::CallerAudio(frame.clone()))));
        records.push(at(tick, Entry::Effect(Effect::Feed { id: InvocationId(1), frame })));
        if tick % 100 == 50 {
            let open = Signal::TurnOpen {
                plan: PlanHash("9f2c81d0a4b37e65".into()),
                generation: Generation(tick as u32 / 100 + 1),
                text: "hello".into(),
                opener: Opener::Caller,
                understood: true,
                speech_end: None,
            };
            records.push(at(tick, Entry::Signal(Some(TurnId(tick as u32 / 100 + 1)), open)));
        }
    }
    records
}

const HEAD: usize = 48;

/// Where each block begins, and the trailer, and the end.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![8];
    let mut at = 8;
    while at < bytes.len() - 16 {
        let length = bytes[at..].first_chunk().expect("a length");
        at += HEAD + u32::from_le_bytes(*length) as usize + 20;
        boundaries.push(at);
    }
    boundaries.push(bytes.len());
    boundaries
}

/// How many events are in the blocks before each boundary.
fn events_before(bytes: &[u8], bounds: &[usize]) -> Vec<usize> {
    let mut before = vec![0];
    for bound in &bounds[..bounds.len() - 2] {
        let events = u32::from_le_bytes(*bytes[bound + 12..].first_chunk().expect("a head")) as usize;
        before.push(before[before.len() - 1] + events);
    }
    before.push(before[before.len() - 1]);
    before
}

/// Makes block `index` again around another payload: the checksums fit, the link does not.
fn forge(bytes: &[u8], index: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut forged = bytes.to_vec();
    let bounds = boundaries(bytes);
    let (start, end) = (bounds[index] + HEAD, bounds[index + 1] - 20);
    change(&mut forged[start..end]);
    let checksum = crc32fast::hash(&forged[start..end]);
    forged[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
    forged
}

fn damage(bytes: &[u8]) -> (usize, Damage) {
    damage_of(bytes, &timeline())
}

fn damage_of(bytes: &[u8], timeline: &[Record]) -> (usize, Damage) {
    let (prefix, damage) = Recording::read_prefix(bytes).expect("the head is sound");
    assert_eq!(prefix.records, timeline[..prefix.records.len()]);
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
    assert_eq!(recording.digest(), "25f1ab13a66ca4acfec664ac9886e097");
}

/// Reads the framing by the document and nothing else.
#[test]
fn the_framing_is_what_the_document_says() {
    let bytes = write_by_tick(&timeline());
    assert_eq!(bytes[..8], *b"RSPP\x02\0\0\0");
    let bounds = boundaries(&bytes);
    // A head, five ticks, an index, an end; then the trailer.
    assert_eq!(bounds.len(), 1 + 5 + 1 + 1 + 2);
    let mut link = blake3::hash(&bytes[..8]).as_bytes()[..16].to_vec();
    for bound in bounds[..9].windows(2) {
        let (head, rest) = bytes[bound[0]..bound[1]].split_at(HEAD);
        let (payload, tail) = rest.split_at(rest.len() - 20);
        assert_eq!(head[44..], crc32fast::hash(&head[..44]).to_le_bytes());
        link = blake3::hash(&[&*link, head, payload].concat()).as_bytes()[..16].to_vec();
        assert_eq!(tail, [&crc32fast::hash(payload).to_le_bytes()[..], &*link].concat());
    }
    let index_at = (bounds[6] as u64).to_le_bytes();
    let trailer = [&index_at[..], &crc32fast::hash(&index_at).to_le_bytes(), b"ppsr"].concat();
    assert_eq!(bytes[bounds[8]..], trailer);
    let heads: Vec<(u8, u32)> = bounds[..8].iter().map(|at| (bytes[at + 8], u32::from(bytes[at + 12]))).collect();
    assert_eq!(heads, [(1, 0), (2, 1), (2, 3), (2, 2), (2, 2), (2, 1), (3, 0), (4, 0)]);
}

#[test]
fn a_recording_that_was_cut_anywhere_keeps_the_blocks_before() {
    let bytes = write_by_tick(&timeline());
    let bounds = boundaries(&bytes);
    let before = events_before(&bytes, &bounds);
    for cut in 0..bytes.len() {
        if cut < 8 {
            assert!(matches!(Recording::read(&bytes[..cut]), Err(RecordingError::NotARecording)));
            continue;
        }
        check_cut(&bytes, &timeline(), cut, &bounds, &before);
    }
}

fn check_cut(bytes: &[u8], timeline: &[Record], cut: usize, bounds: &[usize], before: &[usize]) {
    let whole_blocks = bounds.iter().filter(|bound| **bound <= cut).count() - 1;
    let at_trailer = whole_blocks == bounds.len() - 2;
    let expected = if bounds.contains(&cut) && !at_trailer { DamageKind::MissingEnd } else { DamageKind::Truncated };
    if whole_blocks == 0 {
        let Err(RecordingError::Damaged(damage)) = Recording::read(&bytes[..cut]) else { panic!("cut at {cut}") };
        assert_eq!((damage.what, damage.byte_offset), (expected, 8), "cut at {cut}");
        return;
    }
    let (kept, damage) = damage_of(&bytes[..cut], timeline);
    assert_eq!((damage.what, damage.byte_offset), (expected, bounds[whole_blocks] as u64), "cut at {cut}");
    assert_eq!((kept, damage.record_index), (before[whole_blocks], before[whole_blocks] as u64 + 1), "cut at {cut}");
}

/// Bytes of chance that are the same each time.
fn chance(seed: u64, below: usize) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    })
}

#[test]
fn a_long_recording_that_was_cut_at_every_block_and_at_a_thousand_places_says_how_much_is_good() {
    let timeline = long_timeline();
    let bytes = write(&timeline);
    let (bounds, blocks) = (boundaries(&bytes), boundaries(&bytes).len() - 2);
    let before = events_before(&bytes, &bounds);
    assert!(blocks > 6, "{blocks} blocks");
    let places = chance(7, bytes.len() - 8).map(|at| at + 8).take(1_000);
    for cut in bounds[..blocks + 1].iter().copied().chain(places) {
        check_cut(&bytes, &timeline, cut, &bounds, &before);
    }
}

#[test]
fn a_thousand_flipped_bits_are_found_each_in_its_block() {
    let timeline = long_timeline();
    let bytes = write(&timeline);
    let (bounds, mut flipped) = (boundaries(&bytes), bytes.clone());
    let before = events_before(&bytes, &bounds);
    for bit in chance(11, bytes.len() * 8).take(1_000) {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let index = bounds.iter().filter(|bound| **bound <= bit / 8).count();
        match Recording::read_prefix(&*flipped) {
            Err(RecordingError::NotARecording | RecordingError::UnknownFormat { .. }) => assert_eq!(index, 0),
            // A reserved byte of the header is covered by the head's link.
            Err(RecordingError::Damaged(damage)) => assert!(index <= 1 && damage.record_index == 0, "{damage}"),
            Err(other) => panic!("{other}"),
            Ok((prefix, damage)) => {
                let damage = damage.expect("nothing is accepted silently");
                assert_eq!((prefix.records.len(), damage.byte_offset as usize), (before[index - 1], bounds[index - 1]));
                assert_eq!(prefix.records, timeline[..prefix.records.len()]);
            }
        }
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(Recording::read(&*flipped).expect("it is as it was").records, timeline);
}

#[test]
fn damage_is_told_with_the_events_that_are_lost() {
    let bytes = write_by_tick(&timeline());
    let bounds = boundaries(&bytes);
    let (_, cut) = damage(&bytes[..bounds[3] - 30]);
    let length = bounds[3] - bounds[2] - HEAD - 20;
    assert_eq!(
        cut.to_string(),
        format!(
            "records 2 to 4, at byte {}, an event in tick 2 at 40 ms, after audio in tick 1 at 20 ms: \
             the file ends within it (with {} of {length} bytes of the block's payload)",
            bounds[2],
            length - 10
        )
    );
    let forged = forge(&write_by_tick(&timeline()[..2]), 2, |payload| {
        let at = payload.windows(5).rposition(|word| word == b"hello").expect("the caller's words");
        payload[at..at + 5].copy_from_slice(b"bribe");
    });
    let (kept, altered) = damage(&forged);
    assert_eq!(kept, 1);
    assert_eq!(
        altered.to_string(),
        format!(
            "record 2, at byte {}, an event in tick 2 at 40 ms, after audio in tick 1 at 20 ms: \
             it was altered, or something before it was removed, added or moved",
            bounds[2]
        )
    );
}

#[test]
fn a_removed_block_shows_at_the_one_after_it() {
    let bytes = write_by_tick(&timeline());
    let bounds = boundaries(&bytes);
    let removed = [&bytes[..bounds[3]], &bytes[bounds[4]..]].concat();
    let (kept, damage) = damage(&removed);
    assert_eq!((kept, damage.what, damage.record_index), (4, DamageKind::ChainMismatch, 5));
}

#[test]
fn a_header_that_was_altered_breaks_the_chain_at_the_head() {
    let mut bytes = write(&timeline());
    bytes[7] = 1;
    let Err(RecordingError::Damaged(damage)) = Recording::read_prefix(&*bytes) else { panic!("altered") };
    assert_eq!((damage.what, damage.record_index), (DamageKind::ChainMismatch, 0));
    for other in [1, 9] {
        bytes[4] = other;
        let error = Recording::read(&*bytes).expect_err("another format");
        assert!(matches!(error, RecordingError::UnknownFormat { found } if found == u16::from(other)));
    }
}

#[test]
fn what_follows_the_end_or_fills_a_lost_block_is_no_part_of_it() {
    let bytes = write(&timeline());
    let longer = [&*bytes, &[1]].concat();
    let (kept, after_end) = damage(&longer);
    assert_eq!((kept, after_end.what, after_end.byte_offset), (9, DamageKind::Malformed, bytes.len() as u64));

    let bytes = write_by_tick(&timeline());
    let zeros = [&bytes[..boundaries(&bytes)[3]], &[0; 4096]].concat();
    let (kept, zeroed) = damage(&zeros);
    assert_eq!((kept, zeroed.what, zeroed.record_index), (4, DamageKind::ChecksumMismatch, 5));
}

#[test]
fn a_tick_a_turn_and_a_time_are_found_without_reading_what_is_before() {
    let timeline = long_timeline();
    let whole = write(&timeline);
    let unfinished = &whole[..boundaries(&whole)[boundaries(&whole).len() - 4]];
    for (bytes, rebuilt) in [(&whole[..], false), (unfinished, true)] {
        let index = Index::read(&mut Cursor::new(bytes)).expect("the head is sound");
        assert_eq!((index.rebuilt, index.blocks() > 3), (rebuilt, true));
        let tick_of = |turn| timeline.iter().find(|record| is_open(record, turn)).expect("it opens").tick;
        let targets = [
            (Target::Tick(1), 1),
            (Target::Tick(333), 333),
            (Target::Turn(1), tick_of(1)),
            (Target::Turn(3), tick_of(3)),
            (Target::At(Micros::from_ms(20 * 200 - 5)), 200),
        ];
        for (target, tick) in targets {
            let mut reader = RecordingReader::seek(Cursor::new(bytes), target).expect("it is there");
            let first = reader.next_record().expect("sound").expect("it is there");
            let expected = timeline.iter().find(|record| record.tick == tick);
            assert_eq!(Some(&first), expected, "{target}");
        }
        let nowhere = RecordingReader::seek(Cursor::new(bytes), Target::Turn(77));
        assert!(nowhere.is_err(), "there is no such turn");
    }
}

fn is_open(record: &Record, turn: u32) -> bool {
    matches!(record.entry, Entry::Signal(Some(TurnId(of)), Signal::TurnOpen { .. }) if of == turn)
}

#[test]
fn what_a_live_call_leaves_is_put_together_and_is_what_would_have_been_written_at_once() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let path = directory.path().join("call-7.rspp");
    let mut file = RecordingFile::create(&path, head()).expect("the folder is there");
    let timeline = long_timeline();
    for tick in timeline.chunk_by(|earlier, later| earlier.tick == later.tick) {
        file.append(tick).expect("within the limits");
    }
    file.finish().expect("the disk has room");
    assert_eq!(std::fs::read(&path).expect("it has its name"), write(&timeline));
    assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 1, "nothing else is left");
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
    let flushed = |record: &Record| writer.append(record).and_then(|()| writer.flush()).err();
    let errors: Vec<RecordingError> = timeline().iter().filter_map(flushed).collect();
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
        let behind_a_header = [b"RSPP\x02\0\0\0", &*bytes].concat();
        let _ = Recording::read(&*behind_a_header);
        let behind_a_head = [&write(&[])[..boundaries(&write(&[]))[1]], &*bytes].concat();
        prop_assert!(Recording::read_prefix(&*behind_a_head).is_ok());
    }

    /// Blocks whose checksums and links fit, around anything at all.
    #[test]
    fn well_framed_nonsense_never_panics(
        payloads in proptest::collection::vec(
            (0_u8..6, 0_u8..3, 0_u32..4, any::<u32>(), proptest::collection::vec(any::<u8>(), 1..60)),
            0..4,
        ),
    ) {
        let mut bytes = b"RSPP\x02\0\0\0".to_vec();
        let mut chain = blake3::hash(&bytes).as_bytes()[..16].to_vec();
        let head = boundaries(&write(&[]))[1];
        bytes.extend(&write(&[])[8..head]);
        chain.copy_from_slice(&write(&[])[head - 16..head]);
        for (kind, codec, events, raw, payload) in payloads {
            let mut head = [0; HEAD];
            let length = u32::try_from(payload.len()).expect("short");
            head[..4].copy_from_slice(&length.to_le_bytes());
            head[4..8].copy_from_slice(&if codec == 0 { length } else { raw >> 8 }.to_le_bytes());
            (head[8], head[9]) = (kind, codec);
            head[12..16].copy_from_slice(&events.to_le_bytes());
            head[16] = 1;
            let checksum = crc32fast::hash(&head[..44]);
            head[44..].copy_from_slice(&checksum.to_le_bytes());
            chain = blake3::hash(&[&*chain, &head, &*payload].concat()).as_bytes()[..16].to_vec();
            bytes.extend(head);
            bytes.extend(&payload);
            bytes.extend(crc32fast::hash(&payload).to_le_bytes());
            bytes.extend(&chain);
        }
        prop_assert!(Recording::read(&*bytes).is_err());
        let _ = RecordingReader::seek(Cursor::new(&*bytes), Target::Tick(1));
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
