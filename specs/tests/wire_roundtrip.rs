//! What is written can be read, what can't be read says why, and no bytes make the reader panic.

mod wire_records;

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use prost::Message;
use rspp_specs::data_class::DataClass;
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::{InvocationId, NodeIndex, RuntimeSequence, Slot, TurnId};
use rspp_specs::limits::{MAX_FRAME_SAMPLES, MAX_TEXT_BYTES};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::Redaction;
use rspp_specs::plan::{Plan, PlanParts, TurnPolicy};
use rspp_specs::recording::Redacted;
use rspp_specs::signals::SIGNALS;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, Signal};
use rspp_specs::trace::Renderer;
use rspp_specs::wire::generated as pb;
use rspp_specs::wire::{self, EnvelopeContext, Lineage, WireError};

fn context() -> EnvelopeContext {
    EnvelopeContext {
        session: "call-7".into(),
        pipeline_version: 3,
        lease_epoch: 2,
        event_id: 9,
        causal_parent: Some(8),
        redacted: Some(Redacted { how: Redaction::Hash, digest: Some([7; 16]) }),
    }
}

fn record(entry: Entry) -> Record {
    Record { slot: Slot(4), tick: 79, at: Micros::from_ms(1_520), entry }
}

fn input(input: Input) -> Record {
    record(Entry::Input(RuntimeSequence(78), input))
}

fn envelope(record: &Record) -> pb::Envelope {
    wire::to_envelope(record, &context()).expect("within the limits")
}

fn empty_plan() -> Plan {
    let parts = PlanParts {
        name: "empty".into(),
        version: 1,
        profile: "simple/v1".into(),
        nodes: vec![],
        edges: vec![],
        turn: TurnPolicy::default(),
        admission: rspp_specs::plan::AdmissionPolicy::default(),
        recording: rspp_specs::plan::RecordingPolicy::default(),
        metadata: rspp_specs::plan::Metadata::new(),
    };
    Plan::new(parts).expect("nothing in it can be wrong")
}

/// Seeds of failures are kept beside this file, and run first from then on.
fn config() -> ProptestConfig {
    let seeds = FileFailurePersistence::Direct("tests/wire_roundtrip.seeds");
    ProptestConfig { cases: 1_000, failure_persistence: Some(Box::new(seeds)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_record_reads_back_as_it_was_written(record in wire_records::record()) {
        let bytes = wire::encode(&record, &context()).expect("within the limits");
        prop_assert_eq!(wire::decode(&bytes).expect("just written"), (record, context()));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = wire::name_of(&bytes);
        let _ = wire::decode(&bytes);
    }

    #[test]
    fn flipped_bits_and_cuts_never_panic(
        record in wire_records::record(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = wire::encode(&record, &context()).expect("within the limits");
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = wire::name_of(&bytes);
        // What still reads is a record like any other: it can be written again.
        if let Ok((record, context)) = wire::decode(&bytes) {
            prop_assert!(wire::encode(&record, &context).is_ok());
        }
    }

    /// The names and lanes of the envelope are those of the trace.
    #[test]
    fn names_and_lanes_are_those_of_traces(record in wire_records::record()) {
        let line = Renderer::new(&empty_plan()).record(&record);
        let envelope = envelope(&record);
        prop_assert_eq!(&envelope.event_type, &line.name);
        let letter = match envelope.lane() {
            pb::Lane::Control => 'C',
            pb::Lane::Data => 'D',
            pb::Lane::Telemetry | pb::Lane::Unspecified => '?',
        };
        prop_assert_eq!(Some(letter), line.lane.map(rspp_specs::time::Lane::letter));
    }
}

/// The strategies reach every signal, or the round trip would prove less than it says.
#[test]
fn the_strategies_reach_every_event() {
    let mut runner = TestRunner::deterministic();
    let strategy = wire_records::record();
    let mut seen = BTreeSet::new();
    for _ in 0..20_000 {
        let record = strategy.new_tree(&mut runner).expect("no filter is that narrow").current();
        seen.insert(envelope(&record).event_type);
    }
    let missing: Vec<&str> = SIGNALS.iter().map(|row| row.name).filter(|name| !seen.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let inputs = 30;
    let effects = 11;
    let others: Vec<_> = seen.iter().filter(|name| SIGNALS.iter().all(|row| row.name != name.as_str())).collect();
    assert_eq!(others.len(), inputs + effects, "{others:?}");
}

#[test]
fn an_envelope_says_what_a_router_and_a_redactor_need() {
    let frame = AudioFrame { samples: Arc::from([1i16, -2]), rate_hz: 16_000, spoken_by: None };
    let request = Request::Transcribe { media_start: Micros(40), preroll: vec![] };
    let cases = [
        (input(Input::CallerAudio(frame)), DataClass::AudioRaw),
        (input(Input::UserText("hello".into())), DataClass::TextRaw),
        (input(Input::SessionEnd), DataClass::Metadata),
        (
            record(Entry::Effect(Effect::Invoke { id: InvocationId(1), binding: "ear".into(), request })),
            DataClass::AudioRaw,
        ),
        (record(Entry::Signal(Some(TurnId(2)), Signal::ToolCommitted { key: "k1".into() })), DataClass::Metadata),
        (
            record(Entry::Signal(None, Signal::NodeError { node: NodeIndex(5), message: "no".into() })),
            DataClass::TextRaw,
        ),
    ];
    let shown: Vec<String> = cases
        .iter()
        .map(|(record, class)| {
            assert_eq!(record.entry.data_class(), *class);
            let e = envelope(record);
            format!(
                "{} {:?} {:?} seq={:?} turn={:?} place={:?} media={:?} key={:?}",
                e.event_type,
                e.lane(),
                e.data_class(),
                e.runtime_sequence,
                e.turn,
                e.place,
                e.media_us,
                e.idempotency_key
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "audio Data AudioRaw seq=Some(78) turn=None place=None media=None key=None",
            "user_text Data TextRaw seq=Some(78) turn=None place=None media=None key=None",
            "session_end Control Metadata seq=Some(78) turn=None place=None media=None key=None",
            "invoke Data AudioRaw seq=None turn=None place=None media=Some(40) key=None",
            "tool_committed Control Metadata seq=None turn=Some(2) place=None media=None key=Some(\"k1\")",
            "node_error Control TextRaw seq=None turn=None place=Some(Node(5)) media=None key=None",
        ]
    );
}

#[test]
fn what_no_version_of_this_code_wrote_is_refused_by_name() {
    let check = |change: fn(&mut pb::Envelope), expected: &str| {
        let mut envelope = envelope(&record(Entry::Signal(Some(TurnId(2)), Signal::Close)));
        change(&mut envelope);
        let error = wire::decode(&envelope.encode_to_vec()).expect_err("altered");
        assert_eq!(error.to_string(), expected);
    };
    check(|e| e.payload = None, "event \"close\" carries no payload that schema version 1 knows");
    check(
        |e| e.payload = Some(pb::envelope::Payload::Signal(pb::Signal { kind: None })),
        "event \"close\" carries no payload that schema version 1 knows",
    );
    check(|e| e.schema_version = 2, "schema version 2, and this reader knows 1: read it with the RSPP that wrote it");
    check(|e| e.lane = 2, "the envelope's lane contradicts its payload: one of them was altered");
    check(|e| e.data_class = 0, "the envelope's data_class contradicts its payload: one of them was altered");
    check(|e| e.tick = u64::MAX, "tick is 18446744073709551615, and the limit is 9007199254740992");
    check(
        |e| {
            let kind = pb::signal::Kind::Abort(77);
            e.payload = Some(pb::envelope::Payload::Signal(pb::Signal { kind: Some(kind) }));
        },
        "abort.reason has the number 77, which schema version 1 doesn't know",
    );
}

#[test]
fn what_is_over_a_limit_is_refused_on_both_sides() {
    let long: Arc<str> = "x".repeat(MAX_TEXT_BYTES + 1).into();
    let text_error = WireError::TooLong { field: "user_text", length: MAX_TEXT_BYTES + 1, limit: MAX_TEXT_BYTES };
    let written = wire::encode(&input(Input::UserText(long.clone())), &context());
    assert_eq!(written, Err(text_error.clone()));

    let audio =
        |bytes: usize, rate_hz| pb::AudioFrame { samples_le16: vec![0; bytes], rate_hz, spoken_by: None, zeros: 0 };
    let read = |kind| {
        let mut envelope = envelope(&input(Input::UserText("short".into())));
        envelope.payload = Some(pb::envelope::Payload::Input(pb::Input { kind: Some(kind) }));
        wire::decode(&envelope.encode_to_vec()).expect_err("over a limit")
    };
    assert_eq!(read(pb::input::Kind::UserText(long.to_string())), text_error);
    let length = MAX_FRAME_SAMPLES + 1;
    assert_eq!(
        read(pb::input::Kind::CallerAudio(audio(length * 2, 16_000))),
        WireError::TooLong { field: "audio.samples", length, limit: MAX_FRAME_SAMPLES }
    );
    assert_eq!(read(pb::input::Kind::CallerAudio(audio(3, 16_000))), WireError::HalfSample { bytes: 3 });
    assert_eq!(read(pb::input::Kind::CallerAudio(audio(2, 0))), WireError::ZeroRate);
}

#[test]
fn a_plan_that_was_altered_is_refused() {
    let open = rspp_specs::timeline::SessionOpen::new("call-7", Arc::new(empty_plan()));
    let mut envelope = envelope(&input(Input::SessionOpen(Box::new(open))));
    let Some(pb::envelope::Payload::Input(pb::Input { kind: Some(pb::input::Kind::SessionOpen(open)) })) =
        &mut envelope.payload
    else {
        panic!("a session's opening was written");
    };
    let altered = String::from_utf8(open.plan_json.clone()).expect("JSON").replace("\"empty\"", "\"other\"");
    open.plan_json = altered.into_bytes();
    assert!(matches!(wire::of_envelope(envelope), Err(WireError::Plan { .. })));
}

#[test]
fn unknown_fields_are_passed_over_and_a_cut_event_still_has_a_name() {
    let close = record(Entry::Signal(Some(TurnId(2)), Signal::Close));
    let mut bytes = wire::encode(&close, &context()).expect("within the limits");
    let name = wire::name_of(&bytes[..bytes.len() - 1]).expect("the header is whole");
    assert_eq!(name.to_string(), "close in tick 79 at 1520 ms");
    assert_eq!(wire::name_of(&bytes[..8]), None);
    // Field 100, a varint.
    bytes.extend([0xa0, 0x06, 0x01]);
    assert_eq!(wire::decode(&bytes), Ok((close, context())));
}

#[test]
fn lineage_names_the_event_that_another_follows_from() {
    let at = |tick, entry| Record { slot: Slot(0), tick, at: Micros(tick), entry };
    let open = |tick, sequence| at(tick, Entry::Input(RuntimeSequence(sequence), Input::UserText("hi".into())));
    let result = |tick, result| at(tick, Entry::Input(RuntimeSequence(9), Input::Provider(InvocationId(1), result)));
    let request = Request::Speak { text: "hello".into() };
    let timeline = [
        open(1, 1),
        open(1, 2),
        at(1, Entry::Effect(Effect::Invoke { id: InvocationId(1), binding: "voice".into(), request })),
        at(1, Entry::Signal(None, Signal::Admit)),
        result(2, ProviderResult::Text("a".into())),
        at(2, Entry::Signal(None, Signal::Commit)),
        result(3, ProviderResult::End(Outcome::Success)),
        result(4, ProviderResult::End(Outcome::Success)),
        at(5, Entry::Signal(None, Signal::Close)),
    ];
    let mut lineage = Lineage::default();
    let parents: Vec<(u64, Option<u64>)> = timeline.iter().map(|record| lineage.of(record)).collect();
    let expected = [None, None, Some(1), Some(1), Some(3), Some(5), Some(3), None, None];
    assert_eq!(parents, (1..).zip(expected).collect::<Vec<_>>());
}
