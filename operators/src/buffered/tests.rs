//! Nodes that do not take everything at once, on the bench: what their buffers keep, say and drop.

use super::*;
use crate::harness::Harness;
use rspp_specs::buffer::{EdgeReport, FlowControl, Shed, SyncGroup, XonCause};
use rspp_specs::dataflow::AskKind;
use rspp_specs::event::{Transcript, Understanding};
use rspp_specs::ids::UtteranceId;

/// Takes nothing until it is woken, and then all, until it is told to hold.
#[derive(Default)]
struct Gate {
    open: bool,
}

impl Node for Gate {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        let marks = cx.attributes().map_or(0, |attributes| attributes.len());
        match payload {
            Payload::Text(text) if marks > 0 => cx.emit_on(port, Payload::text(format!("{text}*{marks}"))),
            payload => cx.emit_on(port, payload),
        }
    }

    fn on_directive(&mut self, _: &mut Context<'_>, directive: &Directive) {
        match directive {
            Directive::Wake(_) => self.open = true,
            Directive::Hold => self.open = false,
            _ => {}
        }
    }

    fn accepts(&self, _: PortIndex) -> bool {
        self.open
    }
}

fn spec(shed: Shed) -> BufferSpec {
    BufferSpec {
        max_items: 4,
        max_bytes: 100,
        max_queue: None,
        max_latency: None,
        max_block: None,
        shed,
        high_percent: 75,
        low_percent: 25,
        flow: FlowControl::Signal,
        defaulted: Vec::new(),
    }
}

fn harness(specs: Vec<(PortIndex, BufferSpec, Option<EdgeSync>)>) -> Harness<Buffered> {
    Harness::new(Buffered::new(Box::new(Gate::default()), specs))
}

/// What is said, in short: the sequences of what is dropped, with the reason.
fn said(harness: &mut Harness<Buffered>) -> Vec<String> {
    let shown = |ask| match ask {
        AskKind::Edge(port, EdgeReport::Dropped(dropped, reason)) => {
            Some(format!("{port} -{}..{} {reason}", dropped.from.0, dropped.to.0))
        }
        AskKind::Edge(port, EdgeReport::Watermark { level, percent, .. }) => {
            Some(format!("{port} {level:?} {percent}").to_lowercase())
        }
        AskKind::Edge(_, EdgeReport::Xoff) => Some("xoff".to_owned()),
        AskKind::Edge(_, EdgeReport::Xon(XonCause::Drained)) => Some("xon".to_owned()),
        AskKind::Edge(_, EdgeReport::Xon(XonCause::Expired)) => Some("xon expired".to_owned()),
        AskKind::Edge(_, EdgeReport::Credit(items)) => Some(format!("credit {items}")),
        AskKind::Edge(_, EdgeReport::Merged(_, sequences)) => Some(format!("merged {}", sequences.len())),
        AskKind::Edge(port, EdgeReport::Discontinuity(gap, _)) => Some(format!("{port} gap {gap}")),
        _ => None,
    };
    harness.asked().into_iter().filter_map(shown).collect()
}

fn texts(harness: &mut Harness<Buffered>) -> Vec<String> {
    let text = |payload| match payload {
        Payload::Text(text) => Some(text.to_string()),
        Payload::Transcript(transcript) => Some(transcript.text.to_string()),
        _ => None,
    };
    harness.emitted().into_iter().filter_map(text).collect()
}

fn open(harness: &mut Harness<Buffered>) {
    harness.directive(&Directive::Wake(NodeIndex(0)));
}

/// Six texts come while nothing goes on.
fn check(shed: Shed, says: &[&str], goes_on: &[&str]) {
    let mut harness = harness(vec![(PortIndex(0), spec(shed), None)]);
    for text in ["a.", "b.", "c.", "d.", "e.", "f."] {
        harness.event(Payload::text(text));
    }
    assert!(harness.holds() && texts(&mut harness).is_empty());
    assert_eq!(said(&mut harness), says, "{shed:?}");
    open(&mut harness);
    assert_eq!(texts(&mut harness), goes_on, "{shed:?}");
    assert!(!harness.holds());
}

#[test]
fn each_rule_sheds_in_its_own_way() {
    let high = "p0 high 75";
    check(Shed::DropNewest, &[high, "p0 -5..5 drop_newest", "p0 -6..6 drop_newest"], &["a.", "b.", "c.", "d."]);
    check(Shed::DropOldest, &[high, "p0 -1..1 drop_oldest", "p0 -2..2 drop_oldest"], &["c.", "d.", "e.", "f."]);
    check(Shed::Merge, &[high], &["a.", "b.", "c.", "d. e. f.*2"]);
    check(Shed::LatestOnly, &[high, "p0 -1..4 latest_only", "p0 low 25"], &["e.", "f."]);
    check(Shed::Sample { every: 2 }, &[high, "p0 -4..4 sample", "p0 -6..6 sample"], &["a.", "b.", "c.", "e."]);
}

/// What comes while nothing goes on, and what becomes of it: said, and handed over.
fn check_story(spec: &BufferSpec, comes: &[Payload], says: &[&str], goes_on: &[&str]) {
    let mut harness = harness(vec![(PortIndex(0), spec.clone(), None)]);
    for payload in comes {
        harness.event(payload.clone());
    }
    assert_eq!(said(&mut harness), says, "{comes:?}");
    open(&mut harness);
    assert_eq!(texts(&mut harness), goes_on, "{comes:?}");
}

fn transcript(utterance: u64, text: &str, understanding: Understanding) -> Payload {
    let (utterance, watermark) = (UtteranceId(utterance.try_into().expect("a small number")), Micros(0));
    Payload::Transcript(Transcript { utterance, understanding, text: text.into(), watermark })
}

/// One item may wait: what becomes one with it is said in the brackets.
#[test]
fn what_is_the_same_to_its_node_becomes_one() {
    let one = BufferSpec { max_items: 1, high_percent: 100, low_percent: 0, ..spec(Shed::Merge) };
    let (high, low) = ("p0 high 100", "merge_impossible");
    let texts = |texts: &[&str]| texts.iter().map(|text| Payload::text(*text)).collect::<Vec<_>>();
    check_story(&one, &texts(&["a wo", "rd."]), &[high], &["a word.*2"]);
    check_story(&one, &texts(&["One.", " Two.", "Three"]), &[high], &["One. Two. Three*2"]);
    check_story(
        &one,
        &texts(&[&"a".repeat(60), &"b".repeat(40)]),
        &[high],
        &[&format!("{}{}*2", "a".repeat(60), "b".repeat(40))],
    );
    check_story(
        &one,
        &texts(&[&"a".repeat(60), &"b".repeat(41)]),
        &[high, &format!("p0 -2..2 {low}")],
        &[&"a".repeat(60)],
    );
    let seventeen = vec![Payload::text("a"); 17];
    check_story(&one, &seventeen, &[high, &format!("p0 -17..17 {low}")], &[&format!("{}*2", "a".repeat(16))]);
    let partial = |utterance, text| transcript(utterance, text, Understanding::Partial);
    let last = transcript(1, "c", Understanding::Words);
    check_story(&one, &[partial(1, "a"), partial(1, "b"), last.clone()], &[high], &["c"]);
    check_story(&one, &[partial(1, "a"), partial(2, "b")], &[high, &format!("p0 -2..2 {low}")], &["a"]);
    check_story(&one, &[last, partial(1, "a")], &[high, &format!("p0 -2..2 {low}")], &["c"]);
}

#[test]
fn audio_becomes_one_where_it_is_alike_and_not_too_long() {
    use rspp_specs::event::AudioFrame;
    use rspp_specs::ids::InvocationId;
    use rspp_specs::limits::MAX_FRAME_SAMPLES;

    let wide = BufferSpec { max_items: 1, max_bytes: 1 << 20, high_percent: 100, ..spec(Shed::Merge) };
    let frame = |rate_hz, by, samples: usize| {
        Payload::Audio(AudioFrame { samples: vec![1; samples].into(), rate_hz, spoken_by: Some(InvocationId(by)) })
    };
    let check = |second: Payload, lengths: &[usize]| {
        let mut harness = harness(vec![(PortIndex(0), wide.clone(), None)]);
        harness.event(frame(8_000, 1, 300)).event(second.clone());
        open(&mut harness);
        let came: Vec<usize> = harness
            .emitted()
            .iter()
            .map(|payload| match payload {
                Payload::Audio(frame) => frame.samples.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(came, lengths, "{second:?}");
    };
    check(frame(8_000, 1, 200), &[500]);
    check(frame(8_000, 1, MAX_FRAME_SAMPLES - 300), &[MAX_FRAME_SAMPLES]);
    check(frame(8_000, 1, MAX_FRAME_SAMPLES - 299), &[300]);
    check(frame(8_000, 2, 200), &[300]);
    check(frame(16_000, 1, 200), &[300]);
}

#[test]
fn what_is_final_makes_room_for_itself_and_what_may_change_does_not() {
    let is = |text: &str| transcript(1, text, if text == "p" { Understanding::Partial } else { Understanding::Words });
    let latest = spec(Shed::LatestOnly);
    let high = "p0 high 75";
    let finals = ["a", "b", "c", "d"].map(is);
    check_story(&latest, &[&finals[..], &[is("e")]].concat(), &[high, "p0 -1..4 latest_only", "p0 low 25"], &["e"]);
    check_story(&latest, &[&finals[..], &[is("p")]].concat(), &[high, "p0 -5..5 latest_only"], &["a", "b", "c", "d"]);
    let mixed = ["a", "p", "b", "p"].map(is);
    check_story(&latest, &[&mixed[..], &[is("c")]].concat(), &[high, "p0 -2..4 latest_only"], &["a", "b", "c"]);
}

#[test]
fn what_is_said_of_a_stream_is_said_once_and_takes_no_room() {
    let end = || Payload::End(rspp_specs::outcome::Outcome::Success);
    let narrow = BufferSpec { max_items: 1, high_percent: 100, low_percent: 0, ..spec(Shed::DropOldest) };
    let mut harness = harness(vec![(PortIndex(0), narrow, None)]);
    for payload in [end(), Payload::Retract, Payload::Retract, end(), end()] {
        harness.event(payload);
    }
    assert!(!harness.holds());
    harness.event(Payload::text("a"));
    assert!(harness.holds());
    harness.event(Payload::text("b"));
    assert_eq!(said(&mut harness), ["p0 high 100", "p0 -6..6 drop_oldest"]);
    open(&mut harness);
    assert_eq!(harness.emitted(), [end(), Payload::Retract, end(), Payload::text("b")]);
    assert_eq!(said(&mut harness), ["p0 low 0"]);
}

/// In what order and under which sequence it came: the sampling begins anew each time the buffer fills up.
#[test]
fn a_buffer_that_fills_up_again_begins_anew() {
    let mut harness = harness(vec![(
        PortIndex(0),
        BufferSpec { max_items: 8, high_percent: 50, ..spec(Shed::Sample { every: 3 }) },
        None,
    )]);
    for _ in 0..2 {
        for _ in 0..9 {
            harness.event(Payload::text("a"));
        }
        open(&mut harness);
        harness.directive(&Directive::Hold);
        let dropped = said(&mut harness);
        assert_eq!(dropped.len(), 6, "{dropped:?}");
        assert_eq!(harness.emitted().len(), 5, "four until it fills up, and one of three behind them");
    }
}

/// When it asks to be woken for its buffers.
fn wakes(harness: &mut Harness<Buffered>) -> Vec<u64> {
    let at = |ask| match ask {
        AskKind::WakeBuffersAt(at) => Some(at.as_ms()),
        _ => None,
    };
    harness.asked().into_iter().filter_map(at).collect()
}

#[test]
fn it_is_woken_when_something_is_due_and_once() {
    let impatient = BufferSpec {
        max_queue: Some(Micros::from_ms(100)),
        max_block: Some(Micros::from_ms(70)),
        ..spec(Shed::DropNewest)
    };
    let wake = Directive::WakeBuffers(NodeIndex(0));
    let mut harness = harness(vec![(PortIndex(0), impatient, None)]);
    harness.event(Payload::Retract);
    assert!(wakes(&mut harness).is_empty(), "what is said of a stream does not expire");
    harness.event(Payload::text("a")).at_ms(10).event(Payload::text("b"));
    assert_eq!(wakes(&mut harness), [100]);
    harness.at_ms(20).event(Payload::text("c"));
    assert_eq!(wakes(&mut harness), [90], "it blocks from here on, and for 70 ms");
    harness.at_ms(90).directive(&wake);
    assert_eq!(wakes(&mut harness), [100]);
    harness.at_ms(99).directive(&wake);
    assert_eq!(said(&mut harness), [] as [&str; 0], "not yet");
    harness.at_ms(100).directive(&wake);
    assert_eq!(said(&mut harness), ["p0 -2..2 expired"]);
    harness.at_ms(125).directive(&wake);
    assert_eq!(said(&mut harness), ["p0 -3..4 expired", "p0 low 0"]);
    assert!(!harness.holds());
    harness.event(Payload::text("d"));
    assert_eq!(wakes(&mut harness), [225]);
}

#[test]
fn who_goes_by_credit_gets_a_window_when_its_time_is_over() {
    let blocks = BufferSpec {
        max_items: 10,
        high_percent: 80,
        low_percent: 20,
        max_block: Some(Micros::from_ms(50)),
        flow: FlowControl::Credit,
        ..spec(Shed::DropNewest)
    };
    let mut harness = harness(vec![(PortIndex(0), blocks.clone(), None)]);
    for _ in 0..8 {
        harness.event(Payload::text("a"));
    }
    assert_eq!(said(&mut harness), ["p0 high 80"], "nobody is told to stop: the credit is used up");
    harness.at_ms(50).directive(&Directive::WakeBuffers(NodeIndex(0)));
    assert_eq!(said(&mut harness), ["credit 8"]);
    open(&mut harness);
    assert_eq!(said(&mut harness), ["p0 low 20"], "what was granted without room is owed");
    let both = BufferSpec { flow: FlowControl::Hybrid, ..blocks };
    let mut harness = self::harness(vec![(PortIndex(0), both, None)]);
    for _ in 0..8 {
        harness.event(Payload::text("a"));
    }
    assert_eq!(said(&mut harness), ["p0 high 80", "xoff"]);
    open(&mut harness);
    assert_eq!(said(&mut harness), ["p0 low 20", "xon", "credit 6", "credit 2"]);
}

#[test]
fn what_is_final_is_not_superseded_by_what_may_change() {
    let transcript = |text: &str, understanding| {
        let (utterance, watermark) = (UtteranceId(1), Micros(0));
        Payload::Transcript(Transcript { utterance, understanding, text: text.into(), watermark })
    };
    let mut harness = harness(vec![(PortIndex(0), spec(Shed::LatestOnly), None)]);
    for text in ["a", "b"] {
        harness.event(transcript(text, Understanding::Words));
    }
    for text in ["c", "d", "e"] {
        harness.event(transcript(text, Understanding::Partial));
    }
    open(&mut harness);
    assert_eq!(texts(&mut harness), ["a", "b", "e"]);
}

#[test]
fn what_blocks_is_let_go_when_there_is_room_or_time_is_over() {
    let blocks = BufferSpec { max_block: Some(Micros::from_ms(50)), ..spec(Shed::DropNewest) };
    let wake = Directive::WakeBuffers(NodeIndex(0));
    let mut harness = harness(vec![(PortIndex(0), blocks, None)]);
    for _ in 0..3 {
        harness.event(Payload::text("a"));
    }
    assert_eq!(said(&mut harness), ["p0 high 75", "xoff"]);
    harness.at_ms(49).directive(&wake);
    assert!(said(&mut harness).is_empty(), "not yet");
    harness.at_ms(50).directive(&wake);
    assert_eq!(said(&mut harness), ["xon expired"]);
    open(&mut harness);
    assert_eq!(said(&mut harness), ["p0 low 25"], "it is said once that the producer may go on");
}

#[test]
fn credit_comes_back_as_items_go_on() {
    let blocks = BufferSpec {
        max_items: 8,
        high_percent: 100,
        max_block: Some(Micros::from_ms(50)),
        flow: FlowControl::Credit,
        ..spec(Shed::DropNewest)
    };
    let mut harness = harness(vec![(PortIndex(0), blocks, None)]);
    for _ in 0..7 {
        harness.event(Payload::text("a"));
    }
    assert!(said(&mut harness).is_empty(), "a window of eight was the producer's from the beginning");
    open(&mut harness);
    assert_eq!(said(&mut harness), ["credit 2", "credit 2", "credit 2"]);
}

#[test]
fn what_has_waited_too_long_goes_and_what_is_too_large_never_comes() {
    let impatient = BufferSpec { max_queue: Some(Micros::from_ms(100)), ..spec(Shed::DropOldest) };
    let mut harness = harness(vec![(PortIndex(0), impatient, None)]);
    harness.event(Payload::text("a")).at_ms(60).event(Payload::text("b")).event(Payload::text("x".repeat(101)));
    assert_eq!(said(&mut harness), ["p0 -3..3 too_large"]);
    harness.at_ms(100).directive(&Directive::WakeBuffers(NodeIndex(0)));
    assert_eq!(said(&mut harness), ["p0 -1..1 expired"]);
    open(&mut harness);
    assert_eq!(texts(&mut harness), ["b"]);
}

#[test]
fn what_waits_for_a_revoked_turn_is_flushed_and_counted() {
    let mut buffered = Buffered::new(Box::new(Gate::default()), vec![(PortIndex(0), spec(Shed::DropOldest), None)]);
    let mut outbox = crate::node::Outbox::new(1);
    let turn = Harness::new(Gate::default()).capability();
    for sequence in 3..6 {
        let cause = rspp_specs::ids::RuntimeSequence(sequence);
        let origin = Origin { slot: turn.slot(), scope: Scope::Turn(turn), cause, at: Micros(0) };
        let (calls, outbox) = (&mut 0, &mut outbox);
        let mut cx = Context { origin: &origin, node: NodeIndex(0), attributes: None, calls, outbox };
        buffered.on_event(&mut cx, PortIndex(0), Payload::text("a"));
    }
    assert_eq!(buffered.flush(Scope::Session), []);
    let flushed = buffered.flush(Scope::Turn(turn));
    assert!(matches!(flushed[..], [(PortIndex(0), Dropped { items: 3, .. })]), "{flushed:?}");
    assert!(!buffered.holds());
}

#[test]
fn only_what_waits_for_a_cancelled_scope_is_flushed() {
    let mut buffered = Buffered::new(
        Box::new(Gate::default()),
        vec![(PortIndex(0), spec(Shed::DropOldest), None), (PortIndex(1), spec(Shed::DropOldest), None)],
    );
    let mut outbox = crate::node::Outbox::new(2);
    let turn = Harness::new(Gate::default()).capability();
    let end = Payload::End(rspp_specs::outcome::Outcome::Success);
    let comes = [
        (0, Scope::Session, Payload::text("a")),
        (0, Scope::Turn(turn), Payload::text("b")),
        (1, Scope::Turn(turn), Payload::text("c")),
        (0, Scope::Turn(turn), end),
    ];
    for (sequence, (port, scope, payload)) in (1..).zip(comes) {
        let cause = rspp_specs::ids::RuntimeSequence(sequence);
        let origin = Origin { slot: turn.slot(), scope, cause, at: Micros(0) };
        let (calls, outbox) = (&mut 0, &mut outbox);
        let mut cx = Context { origin: &origin, node: NodeIndex(0), attributes: None, calls, outbox };
        buffered.on_event(&mut cx, PortIndex(port), payload);
    }
    let one = |sequence| Dropped::one(rspp_specs::ids::RuntimeSequence(sequence));
    assert_eq!(buffered.flush(Scope::Turn(turn)), [(PortIndex(0), one(2)), (PortIndex(1), one(3))]);
    assert!(buffered.holds(), "the session's item waits on");
    let mut harness = Harness::new(buffered);
    open(&mut harness);
    assert_eq!(harness.emitted(), [Payload::text("a")], "the turn's end went with the turn");
}

#[test]
fn a_cancelled_node_gets_nothing_and_learns_what_has_ended() {
    let end = Payload::End(rspp_specs::outcome::Outcome::Success);
    let mut harness = harness(vec![(PortIndex(0), spec(Shed::DropOldest), None)]);
    for payload in [Payload::text("a"), Payload::text("b"), Payload::text("c"), end.clone()] {
        harness.event(payload);
    }
    said(&mut harness);
    harness.directive(&Directive::Drop(NodeIndex(0)));
    assert_eq!(said(&mut harness), ["p0 -1..3 flushed", "p0 low 0"]);
    assert!(!harness.holds());
    open(&mut harness);
    assert_eq!(harness.emitted(), [end]);
}

/// Two streams, the second with room for two items, of which three come in both, and one more in the first.
fn check_sync(on_drop: SyncDrop, says: &[&str], goes_on: &[&str]) {
    let group = SyncGroup { id: "lips".into(), domain: "media".into() };
    let sync = || Some(EdgeSync { group: group.clone(), on_drop });
    let narrow = BufferSpec { max_items: 2, high_percent: 100, ..spec(Shed::DropOldest) };
    let wide = BufferSpec { max_items: 50, ..spec(Shed::DropOldest) };
    let mut harness = harness(vec![(PortIndex(0), wide, sync()), (PortIndex(1), narrow, sync())]);
    for (audio, mouth) in [("a", "A"), ("b", "B"), ("c", "C")] {
        harness.same_cause(|harness| {
            harness.event_on(PortIndex(0), Payload::text(audio));
            harness.event_on(PortIndex(1), Payload::text(mouth));
        });
    }
    let dropped: Vec<String> = said(&mut harness).into_iter().filter(|it| !it.contains("high")).collect();
    assert_eq!(dropped, says, "{on_drop:?}");
    open(&mut harness);
    assert_eq!(texts(&mut harness), goes_on, "{on_drop:?}");
}

#[test]
fn a_loss_in_one_stream_is_seen_in_those_that_play_with_it() {
    let shed = "p1 -1..1 drop_oldest";
    check_sync(SyncDrop::AtomicDrop, &[shed, "p0 -1..1 sync"], &["b", "c", "B", "C"]);
    check_sync(SyncDrop::DropWithDiscontinuity, &[shed, "p1 gap 1"], &["a", "b", "c", "B*1", "C"]);
    check_sync(SyncDrop::NoSync, &[shed], &["a", "b", "c", "B", "C"]);
}

/// Streams with room for so many items, which drop the newest. The first two play together, a third is alone.
fn group(room: &[u32], on_drop: SyncDrop) -> Harness<Buffered> {
    let of = |place: usize, room: &u32| {
        let id = if place == 2 { "alone" } else { "face" };
        let sync = EdgeSync { group: SyncGroup { id: id.into(), domain: "media".into() }, on_drop };
        let spec = BufferSpec { max_items: *room, high_percent: 100, low_percent: 0, ..spec(Shed::DropNewest) };
        (PortIndex(place as u8), spec, Some(sync))
    };
    harness(room.iter().enumerate().map(|(place, room)| of(place, room)).collect())
}

fn dropped(harness: &mut Harness<Buffered>) -> Vec<String> {
    said(harness).into_iter().filter(|it| !it.contains("high") && !it.contains("low")).collect()
}

#[test]
fn of_what_one_input_gives_the_part_that_belongs_to_the_loss_goes() {
    let mut harness = group(&[9, 2, 9], SyncDrop::AtomicDrop);
    harness.event_on(PortIndex(0), Payload::text("only here"));
    harness.same_cause(|harness| {
        for (audio, mouth) in [("a", "A"), ("b", "B"), ("c", "C"), ("d", "D")] {
            harness.event_on(PortIndex(0), Payload::text(audio));
            harness.event_on(PortIndex(2), Payload::text("alone"));
            harness.event_on(PortIndex(1), Payload::text(mouth));
        }
    });
    let third = ["p1 -2..2 drop_newest", "p0 -2..2 sync"];
    assert_eq!(dropped(&mut harness), [third, third].concat());
    open(&mut harness);
    let both = texts(&mut harness);
    assert_eq!(both, ["only here", "a", "b", "A", "B", "alone", "alone", "alone", "alone"]);
}

#[test]
fn what_was_lost_before_its_other_half_comes_is_remembered_and_no_longer() {
    let mut harness = group(&[9, 1], SyncDrop::AtomicDrop);
    let (first, second) = (PortIndex(0), PortIndex(1));
    harness.event_on(second, Payload::text("A"));
    for text in ["b", "c", "d"] {
        harness.same_cause(|harness| {
            harness.event_on(second, Payload::text(text.to_uppercase()));
            // The other half of the second never comes.
            if text != "b" {
                harness.event_on(first, Payload::text(text));
            }
        });
    }
    let lost =
        |sequence: u64| [format!("p1 -{sequence}..{sequence} drop_newest"), format!("p0 -{sequence}..{sequence} sync")];
    let all: Vec<String> = lost(2).into_iter().take(1).chain(lost(3)).chain(lost(4)).collect();
    assert_eq!(dropped(&mut harness), all);
    harness.event_on(first, Payload::text("e"));
    open(&mut harness);
    assert_eq!(texts(&mut harness), ["e", "A"]);
}

#[test]
fn several_that_were_lost_before_their_other_halves_come_go_each_in_its_turn() {
    let mut harness = group(&[9, 1], SyncDrop::AtomicDrop);
    harness.event_on(PortIndex(1), Payload::text("A"));
    harness.same_cause(|harness| {
        for text in ["B", "C", "D"] {
            harness.event_on(PortIndex(1), Payload::text(text));
        }
        for text in ["b", "c", "d", "e"] {
            harness.event_on(PortIndex(0), Payload::text(text));
        }
    });
    open(&mut harness);
    assert_eq!(texts(&mut harness), ["e", "A"]);
}

/// What belongs to a loss that is not remembered any more goes on: that is better than to remember without end.
#[test]
fn no_more_losses_are_remembered_than_the_bound_says() {
    let mut harness = group(&[1_000, 1], SyncDrop::AtomicDrop);
    harness.same_cause(|harness| {
        for port in [PortIndex(1), PortIndex(0)] {
            for _ in 0..300 {
                harness.event_on(port, Payload::text(""));
            }
        }
    });
    let dropped = dropped(&mut harness);
    assert_eq!(dropped.iter().filter(|it| it.ends_with("drop_newest")).count(), 299);
    assert_eq!(dropped.iter().filter(|it| it.ends_with("sync")).count(), 256);
    open(&mut harness);
    assert_eq!(texts(&mut harness).len(), 2 + (299 - 256));
}

#[test]
fn what_was_handed_over_already_leaves_a_gap_that_is_counted() {
    let mut harness = group(&[9, 9], SyncDrop::AtomicDrop);
    for gap in 1..=2 {
        open(&mut harness);
        harness.same_cause(|harness| {
            harness.event_on(PortIndex(0), Payload::text("a"));
            harness.event_on(PortIndex(1), Payload::text("x".repeat(101)));
        });
        let said = dropped(&mut harness);
        assert_eq!(said[1..], [format!("p1 gap {gap}")], "{said:?}");
        harness.directive(&Directive::Hold).event_on(PortIndex(1), Payload::text("b"));
        harness.event_on(PortIndex(1), Payload::text("c"));
    }
    open(&mut harness);
    assert_eq!(texts(&mut harness), ["a", "a", "b*1", "c", "b*1", "c"]);
}
