//! The ledger, word by word.

use super::*;

#[test]
fn what_was_heard_is_cut_back_to_whole_words() {
    let text = "We open at noon.";
    let cut = |heard| whole_words(text, heard, 16);
    let shown: Vec<&str> = (0..=16).map(cut).collect();
    assert_eq!(shown[..4], ["", "", "We", "We"]);
    assert_eq!(shown[6], "We");
    assert_eq!(shown[7], "We open");
    assert_eq!(shown[14], "We open at");
    assert_eq!(shown[15], "We open at noon");
    assert_eq!(shown[16], "We open at noon.");
    assert_eq!(whole_words("", 1, 0), "");
    for apostrophe in APOSTROPHES {
        let text = format!("we don{apostrophe}t");
        assert_eq!([6, 7].map(|heard| whole_words(&text, heard, 8)), ["we"; 2]);
        assert_eq!(whole_words(&text, 8, 8), text);
    }
    assert_eq!(whole_words("say 'yes' now", 8, 13), "say 'yes", "a quotation mark is no part of the word");
    assert_eq!(whole_words("say 'yes' now", 7, 13), "say");
}

#[test]
fn a_voice_that_knows_where_its_words_end_is_believed() {
    let mut playback = Playback::new(TurnId(1));
    let by = InvocationId(1);
    playback.on_speak(by, &"Größe: one two three.".into());
    let end = |chars, samples| WordEnd { chars, samples };
    playback.on_word_ends(by, &[end(6, 100), end(10, 900)]);
    playback.on_word_ends(by, &[end(10, 950), end(14, 960), end(21, 990)]);
    let frame = AudioFrame { samples: vec![0; 1_000].into(), rate_hz: 16_000, spoken_by: Some(by) };
    playback.on_audio(by, &frame);
    playback.on_transmit(Micros(0), &frame);
    let until = |playback: &Playback, samples| playback.text_until(Position { samples, estimated: false });
    assert_eq!(until(&playback, 99).0, "");
    assert_eq!(until(&playback, 949).0, "Größe:", "what is said later of a word counts");
    assert_eq!(until(&playback, 950).0, "Größe: one");
    assert_eq!(until(&playback, 960).0, "Größe: one two");
    assert_eq!(until(&playback, 1_000), ("Größe: one two three.".to_owned(), true));
    playback.on_respeak(by, InvocationId(2));
    playback.on_spoken(InvocationId(2));
    assert_eq!(until(&playback, 500).0, "Größe: one", "another voice has said nothing of them");
}

#[test]
fn what_a_failed_tool_said_itself_stands() {
    let result = |words: Option<&str>| {
        let mut conversation = Conversation::default();
        let call = ToolCall { key: "a".into(), name: "book".into(), arguments: "{}".into() };
        conversation.push(ContextEntry::Tool { call, result: None });
        if let Some(words) = words {
            conversation.on_tool_result("a", &words.into());
        }
        conversation.on_tool_failed("a", &"it failed".into());
        match &conversation.snapshot()[0] {
            ContextEntry::Tool { result, .. } => result.as_ref().map(ToString::to_string),
            _ => None,
        }
    };
    assert_eq!(result(None).as_deref(), Some("it failed"));
    assert_eq!(result(Some("no table")).as_deref(), Some("no table"));
}

#[test]
fn of_a_voice_that_broke_off_only_what_it_can_have_said_was_heard() {
    let mut playback = Playback::new(TurnId(1));
    let frame = |n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: None };
    let (first, second) = (InvocationId(1), InvocationId(2));
    playback.on_speak(first, &"fifteen letters and as many behind".into());
    playback.on_speak(second, &"Yes.".into());
    for (by, samples) in [(first, 16_000), (second, 8_000)] {
        playback.on_audio(by, &frame(samples));
        playback.on_transmit(Micros(0), &frame(samples));
    }
    playback.on_withdrawn(first);
    playback.on_spoken(second);
    let until = |samples| playback.text_until(Position { samples, estimated: false }).0;
    assert_eq!(until(16_000), "fifteen letters");
    assert_eq!(until(24_000), "fifteen letters Yes.");
}

#[test]
fn what_was_dropped_on_its_way_was_not_heard_and_what_came_behind_it_was() {
    let mut playback = Playback::new(TurnId(1));
    let of = |by, n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: Some(by) };
    let (first, second) = (InvocationId(1), InvocationId(2));
    playback.on_speak(first, &"One two three four.".into());
    playback.on_speak(second, &"Five six.".into());
    for by in [first, second] {
        playback.on_audio(by, &of(by, 8_000));
        playback.on_spoken(by);
    }
    playback.on_transmit(Micros(0), &of(first, 4_000));
    playback.on_transmit(Micros(0), &of(second, 8_000));
    let until = |playback: &Playback, samples| playback.text_until(Position { samples, estimated: false });
    assert_eq!(until(&playback, 8_000), ("One two Five".to_owned(), false));
    assert_eq!(until(&playback, 12_000), ("One two Five six.".to_owned(), false));
    playback.rewind(Micros(0), Position { samples: 2_000, estimated: false });
    playback.on_transmit(Micros(0), &of(first, 6_000));
    assert_eq!(until(&playback, 8_000), ("One two three four.".to_owned(), false));
    playback.on_transmit(Micros(0), &of(second, 8_000));
    assert_eq!(until(&playback, 16_000), ("One two three four. Five six.".to_owned(), true));
}

#[test]
fn what_is_sent_at_another_rate_than_it_came_at_is_told_in_the_same_words() {
    let mut playback = Playback::new(TurnId(1));
    let by = InvocationId(1);
    let of = |rate_hz, n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz, spoken_by: Some(by) };
    playback.on_speak(by, &"One two three four.".into());
    for _ in 0..2 {
        playback.on_audio(by, &of(16_000, 8_000));
        playback.on_transmit(Micros(0), &of(8_000, 4_000));
    }
    playback.on_spoken(by);
    let until = |samples| playback.text_until(Position { samples, estimated: false });
    assert_eq!(until(4_000), ("One two".to_owned(), false));
    assert_eq!(until(8_000), ("One two three four.".to_owned(), true));
}

#[test]
fn audio_that_does_not_say_who_spoke_it_is_the_next_that_is_owed() {
    let mut playback = Playback::new(TurnId(1));
    let frame = |n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: None };
    for (by, text) in [(InvocationId(1), "One."), (InvocationId(2), "Two.")] {
        playback.on_speak(by, &text.into());
        playback.on_audio(by, &frame(100));
        playback.on_spoken(by);
        playback.on_transmit(Micros(0), &frame(100));
    }
    playback.on_transmit(Micros(0), &frame(50));
    let until = |samples| playback.text_until(Position { samples, estimated: false });
    assert_eq!(until(100), ("One.".to_owned(), false));
    assert_eq!(until(200), ("One. Two.".to_owned(), true));
    assert_eq!(until(250), ("One. Two.".to_owned(), true), "more audio, and no more words");
}

#[test]
fn an_estimate_never_falls_behind_what_was_acknowledged() {
    let frame = |n: usize| AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: None };
    let mut playback = Playback::new(TurnId(1));
    playback.on_transmit(Micros(0), &frame(320));
    playback.on_transmit(Micros(0), &frame(320));
    assert_eq!(playback.estimate(Micros::from_ms(10)).samples, 160);
    playback.on_heard(400);
    assert_eq!(playback.estimate(Micros::from_ms(10)).samples, 400);
    playback.on_heard(99_999);
    assert_eq!(playback.known_position(), Some(Position { samples: 640, estimated: false }));
}

#[test]
fn a_clear_that_is_answered_late_is_not_the_answer_to_the_next() {
    let mut playback = Playback::new(TurnId(1));
    let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
    playback.on_transmit(Micros(0), &frame);
    playback.on_clear(Micros::from_ms(5));
    let position = playback.settle(Micros::from_ms(5));
    playback.rewind(Micros::from_ms(5), position);
    playback.on_transmit(Micros::from_ms(5), &frame);
    playback.on_clear(Micros::from_ms(20));
    playback.on_cleared(60);
    playback.on_cleared(300);
    assert_eq!(playback.known_position(), Some(Position { samples: 300, estimated: false }));
}

#[test]
fn after_going_back_nothing_is_in_the_transport_and_the_position_is_known() {
    let mut playback = Playback::new(TurnId(1));
    let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
    playback.on_transmit(Micros(0), &frame);
    playback.on_clear(Micros::from_ms(10));
    let position = playback.settle(Micros::from_ms(300));
    assert_eq!(position, Position { samples: 160, estimated: true });
    playback.rewind(Micros::from_ms(300), position);
    assert!(!playback.is_sounding());
    assert_eq!(playback.known_position(), Some(position));
    playback.on_transmit(Micros::from_ms(310), &frame);
    assert!(playback.is_sounding());
    assert_eq!(playback.known_position(), None);
}

#[test]
fn a_transport_that_stopped_before_what_it_acknowledged_takes_nothing_back() {
    let mut playback = Playback::new(TurnId(1));
    playback.on_transmit(Micros(0), &AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None });
    playback.on_heard(200);
    playback.on_clear(Micros::from_ms(15));
    playback.on_cleared(120);
    assert_eq!(playback.known_position(), Some(Position { samples: 200, estimated: false }));
}

fn samples(by: u32, n: usize) -> AudioFrame {
    AudioFrame { samples: vec![0; n].into(), rate_hz: 16_000, spoken_by: Some(InvocationId(by)) }
}

/// Two chunks, of so many samples each, all of which have come.
fn spoken(texts: [&str; 2], lengths: [usize; 2]) -> Playback {
    let mut playback = Playback::new(TurnId(1));
    for (by, (text, length)) in (1..).zip(texts.into_iter().zip(lengths)) {
        playback.on_speak(InvocationId(by), &text.into());
        playback.on_audio(InvocationId(by), &samples(by, length));
        playback.on_spoken(InvocationId(by));
    }
    playback
}

#[test]
fn what_plays_is_between_what_was_sent_and_what_was_heard() {
    let mut playback = spoken(["One.", "Two."], [320, 320]);
    let nothing = Position { samples: 0, estimated: false };
    assert!(playback.is_silent() && playback.is_drained() && !playback.is_sounding());
    assert_eq!(playback.known_position(), Some(nothing));
    assert!(!playback.is_short(nothing));
    assert_eq!(playback.on_transmit(Micros(0), &samples(1, 320)), 0);
    assert_eq!(playback.on_transmit(Micros(0), &samples(2, 320)), 320);
    assert_eq!(playback.plays_until(), Micros::from_ms(40));
    assert!(!playback.is_silent() && !playback.is_drained() && playback.is_sounding());
    assert_eq!(playback.known_position(), None);
    assert_eq!(playback.plays_out(), Position { samples: 640, estimated: true });
    playback.on_heard(639);
    assert!(playback.is_sounding() && !playback.is_drained());
    playback.on_heard(640);
    assert!(!playback.is_sounding() && playback.is_drained());
    let all = Position { samples: 640, estimated: false };
    assert_eq!((playback.known_position(), playback.plays_out()), (Some(all), all));
    assert!(!playback.is_short(all) && playback.is_short(Position { samples: 639, ..all }));
}

#[test]
fn a_transport_that_was_not_told_to_clear_has_stopped_nowhere() {
    let mut playback = spoken(["One.", "Two."], [320, 320]);
    playback.on_transmit(Micros(0), &samples(1, 320));
    playback.on_cleared(100);
    assert_eq!(playback.known_position(), None);
    playback.on_clear(Micros::from_ms(10));
    playback.on_clear_again(Micros::from_ms(15));
    assert_eq!(playback.settle(Micros::from_ms(99)), Position { samples: 160, estimated: true }, "by the first word");
    playback.on_cleared(120);
    assert_eq!(playback.known_position(), Some(Position { samples: 120, estimated: false }));
    playback.on_cleared(140);
    assert_eq!(playback.known_position(), Some(Position { samples: 140, estimated: false }), "more was heard");
}

#[test]
fn a_chunk_without_a_sound_was_said_when_what_stands_before_it_was() {
    let until = |playback: &Playback, samples| playback.text_until(Position { samples, estimated: false });
    let mut playback = spoken(["One two.", "-"], [320, 0]);
    playback.on_transmit(Micros(0), &samples(1, 320));
    assert_eq!(until(&playback, 319), ("One two".to_owned(), false));
    assert_eq!(until(&playback, 320), ("One two. -".to_owned(), true));
    let mut playback = spoken(["One.", "Two."], [320, 320]);
    playback.on_transmit(Micros(0), &samples(1, 320));
    playback.on_respeak(InvocationId(2), InvocationId(7));
    playback.on_transmit(Micros(0), &samples(7, 320));
    assert_eq!(until(&playback, 640), ("One. Two.".to_owned(), true));
}

#[test]
fn speeches_that_take_turns_too_often_are_told_as_one() {
    let rounds = MAX_SPANS / 2 + 10;
    let mut playback = spoken(["One two.", "Three four."], [rounds, rounds]);
    for _ in 0..rounds {
        playback.on_transmit(Micros(0), &samples(1, 1));
        playback.on_transmit(Micros(0), &samples(2, 1));
    }
    assert_eq!(playback.spans.len(), MAX_SPANS);
    assert_eq!(playback.sent_of(0, u64::MAX), MAX_SPANS as u64 / 2);
    assert_eq!(playback.sent_of(1, u64::MAX), MAX_SPANS as u64 / 2 + 20, "all of it is somebody's");
    playback.rewind(Micros(0), Position { samples: 3, estimated: false });
    assert_eq!((playback.sent_of(0, u64::MAX), playback.sent_of(1, u64::MAX)), (2, 1));
}

#[test]
fn the_context_is_bounded_and_a_result_goes_to_its_own_call() {
    let mut conversation = Conversation::default();
    for key in ["a", "b"] {
        let call = ToolCall { key: key.into(), name: "book".into(), arguments: "{}".into() };
        conversation.push(ContextEntry::Tool { call, result: None });
    }
    conversation.on_tool_result("b", &"done".into());
    conversation.on_tool_failed("a", &"failed".into());
    conversation.on_tool_failed("b", &"failed".into());
    let results: Vec<_> = conversation
        .snapshot()
        .iter()
        .map(|entry| match entry {
            ContextEntry::Tool { result, .. } => result.as_deref().map(str::to_owned),
            _ => None,
        })
        .collect();
    assert_eq!(results, [Some("failed".to_owned()), Some("done".to_owned())]);
    for number in 0..MAX_CONTEXT_ENTRIES {
        conversation.push(ContextEntry::Agent { text: number.to_string().into(), cut: false });
    }
    let entries = conversation.snapshot();
    assert_eq!(entries.len(), MAX_CONTEXT_ENTRIES);
    assert!(matches!(&entries[0], ContextEntry::Agent { text, .. } if **text == *"0"), "the oldest have left");
}
