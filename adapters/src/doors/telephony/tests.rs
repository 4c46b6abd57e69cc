use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rspp_specs::event::{ProviderResult, ToolCall};
use rspp_specs::ids::InvocationId;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::timeline::{AckOccasion, PlayoutAck};
use serde_json::{Value, json};

use super::*;
use crate::transport::conformance::{Peer, Reads, check};

/// A provider, as its documents say that it behaves.
struct Line {
    provider: Provider,
    chunks: Cell<u64>,
}

impl Line {
    fn new(provider: Provider) -> Self {
        Self { provider, chunks: Cell::new(0) }
    }

    fn text(value: &Value) -> Message {
        Message::Text(value.to_string())
    }

    fn start(&self, encoding: &str) -> Value {
        match self.provider {
            Provider::Twilio => json!({"event": "start", "sequenceNumber": "1", "streamSid": "S", "start": {
                "streamSid": "S", "accountSid": "A", "callSid": "C", "tracks": ["inbound"],
                "customParameters": {"token": "t"},
                "mediaFormat": {"encoding": encoding, "sampleRate": 8000, "channels": 1}}}),
            Provider::Telnyx => json!({"event": "start", "sequence_number": "1", "stream_id": "S", "start": {
                "user_id": "A", "call_control_id": "C", "from": "+1", "to": "+2", "custom_parameters": {"token": "t"},
                "media_format": {"encoding": encoding, "sample_rate": 8000, "channels": 1}}}),
            Provider::Plivo => json!({"event": "start", "sequenceNumber": 0, "extra_headers": "{\"token\": \"t\"}",
                "start": {"callId": "C", "streamId": "S", "accountId": "A", "tracks": ["inbound"],
                "mediaFormat": {"encoding": encoding, "sampleRate": 8000}}}),
        }
    }

    fn media(chunk: u64, audio: &[u8]) -> Message {
        let payload = STANDARD.encode(audio);
        Self::text(&json!({"event": "media", "media": {"track": "inbound", "chunk": chunk.to_string(),
            "timestamp": (chunk * 20).to_string(), "payload": payload}}))
    }

    fn value(message: &Message) -> Value {
        match message {
            Message::Text(text) => serde_json::from_str(text).expect("what is sent is JSON"),
            Message::Binary(_) => panic!("a provider gets text"),
        }
    }

    /// The marks in what was sent, as they come back.
    fn marks(&self, sent: &[Message]) -> Vec<Message> {
        let back = |message: &Message| {
            let value = Self::value(message);
            match value["event"].as_str() {
                Some("mark") => Some(Self::text(&json!({"event": "mark", "streamSid": "S", "mark": value["mark"]}))),
                Some("checkpoint") => {
                    Some(Self::text(&json!({"event": "playedStream", "streamId": "S", "name": value["name"]})))
                }
                _ => None,
            }
        };
        sent.iter().filter_map(back).collect()
    }
}

impl Peer for Line {
    fn hello(&self) -> Vec<Message> {
        let connected = json!({"event": "connected", "protocol": "Call", "version": "1.0.0"});
        vec![Self::text(&connected), Self::text(&self.start("audio/x-mulaw"))]
    }

    fn speech(&self) -> Message {
        self.chunks.set(self.chunks.get() + 1);
        Self::media(self.chunks.get(), &[0xff; 160])
    }

    fn played(&self, sent: &[Message]) -> Vec<Message> {
        self.marks(sent)
    }

    fn cleared(&self, sent: &[Message]) -> Vec<Message> {
        // Two return the marks of what they threw away, one says that it has and drops them.
        match self.provider {
            Provider::Plivo => vec![Self::text(&json!({"event": "clearedAudio", "streamId": "S"}))],
            Provider::Twilio | Provider::Telnyx => self.marks(sent),
        }
    }

    fn goodbye(&self) -> Option<Message> {
        Some(Self::text(&json!({"event": "stop", "streamSid": "S", "stop": {"callSid": "C"}})))
    }

    fn reads(&self, message: &Message) -> Reads {
        let value = Self::value(message);
        match value["event"].as_str() {
            Some("media" | "playAudio") => {
                let audio = STANDARD.decode(value["media"]["payload"].as_str().expect("there is a payload"));
                Reads::Audio(Micros::of_samples(audio.expect("it is base64").len() as u64, 8_000))
            }
            Some("clear" | "clearAudio") => Reads::Clear,
            _ => Reads::Other,
        }
    }

    fn nonsense(&self) -> Vec<Message> {
        let odd = [
            self.start("audio/x-mulaw"),
            self.start("L16"),
            json!({"event": "media"}),
            json!({"event": "media", "media": {"payload": "?"}}),
            json!({"event": "media", "media": {"track": "outbound", "payload": "/38="}}),
            json!({"event": "dtmf", "dtmf": {"digit": "12"}}),
            json!({"event": "mark", "mark": {"name": "not ours"}}),
            json!({"event": "error", "payload": {"code": 1}}),
        ];
        odd.iter().map(Self::text).collect()
    }
}

fn made(provider: Provider) -> Telephony {
    Telephony::new(provider, KeypadRules::default(), None)
}

#[test]
fn every_provider_keeps_the_contract() {
    for provider in Provider::ALL {
        check(&|| Box::new(made(provider)), &Line::new(provider));
    }
}

/// A line with a session.
fn bound(provider: Provider) -> Telephony {
    let (mut line, mut out) = (made(provider), Exchange::default());
    for message in Line::new(provider).hello() {
        line.on_message(Micros(0), message, &mut out).expect("a proper hello is taken");
    }
    assert_eq!(out.bind.as_ref().and_then(|bind| bind.token.as_deref()), Some("t"));
    assert_eq!(out.bind.as_ref().and_then(|bind| bind.label.as_deref()), Some("C"));
    let bound = Bound { session: "s".to_owned(), resumed: false, resume: None };
    line.on_bound(Micros(0), &bound, &mut out);
    line
}

fn audio(frame: u64) -> Audio {
    let samples: Arc<[i16]> = (0..320).map(|n| ((f64::from(n) * 0.2).sin() * 9_000.0) as i16).collect();
    let frame_of = AudioFrame { samples, rate_hz: CALL_RATE_HZ, spoken_by: None };
    Audio { turn: TurnId(1), epoch: EgressEpoch(0), from_sample: frame * 320, frame: frame_of }
}

/// What was sent, by event.
fn events(out: &Exchange) -> Vec<String> {
    out.messages.iter().map(|message| Line::value(message)["event"].as_str().unwrap_or("?").to_owned()).collect()
}

#[test]
fn an_answer_has_marks_before_every_tenth_of_a_second_and_behind_its_end() {
    let (mut line, mut out) = (bound(Provider::Twilio), Exchange::default());
    for frame in 0..7 {
        line.send(Micros::from_ms(frame * FRAME_MS), &audio(frame), &mut out);
    }
    let (media, mark) = ("media", "mark");
    assert_eq!(events(&out), [mark, media, media, media, media, media, mark, media, media]);
    let ends_at = line.next_at().expect("the answer ends");
    assert_eq!(ends_at, Micros::from_ms(6 * FRAME_MS + 30));
    let mut out = Exchange::default();
    line.on_time(ends_at, &mut out);
    // The filter's last 4 ms, and the mark behind them.
    assert_eq!(events(&out), [media, mark]);
    assert_eq!(line.next_at(), None);
}

#[test]
fn a_clear_says_where_it_stopped_at_once_and_later_marks_change_nothing() {
    for provider in Provider::ALL {
        let (mut line, mut out) = (bound(provider), Exchange::default());
        for frame in 0..7 {
            line.send(Micros::from_ms(frame * FRAME_MS), &audio(frame), &mut out);
        }
        let marks = Line::new(provider).marks(&Vec::from(std::mem::take(&mut out.messages)));
        line.on_message(Micros::from_ms(40), marks[0].clone(), &mut out).expect("a mark is taken");
        line.fence(Micros::from_ms(100), TurnId(1), EgressEpoch(1), &mut out);
        assert!(Line::new(provider).reads(&out.messages[0]) == Reads::Clear && out.messages.len() == 1, "{provider:?}");
        line.on_message(Micros::from_ms(110), marks[1].clone(), &mut out).expect("a late mark is taken");
        let ack = |heard_samples, occasion| Input::PlayoutAck(PlayoutAck { turn: TurnId(1), heard_samples, occasion });
        // It began to play at 40 ms and was cut at 100.
        assert_eq!(out.inputs, [ack(0, AckOccasion::Started), ack(960, AckOccasion::Cleared)], "{provider:?}");
    }
}

#[test]
fn chunks_out_of_order_come_in_in_order_and_a_lost_one_is_made_up() {
    let (mut line, mut out) = (bound(Provider::Telnyx), Exchange::default());
    let tone: Vec<i16> = (0..160 * 8).map(|n| ((f64::from(n) * 0.15).sin() * 9_000.0) as i16).collect();
    let mut wire = Vec::new();
    crate::audio::Law::Mu.encode(&tone, &mut wire);
    let chunks: Vec<&[u8]> = wire.chunks(160).collect();
    for (ms, chunk) in [(0, 1), (20, 2), (40, 4), (50, 3), (80, 5), (120, 7), (140, 8)] {
        line.on_message(Micros::from_ms(ms), Line::media(chunk as u64, chunks[chunk - 1]), &mut out)
            .expect("it is taken");
    }
    assert_eq!(out.inputs.len(), 5, "the sixth is waited for");
    let lost_at = line.next_at().expect("but not for ever");
    line.on_time(lost_at, &mut out);
    assert_eq!(out.inputs.len(), 8);
    let heard: Vec<i16> = out
        .inputs
        .iter()
        .flat_map(|input| match input {
            Input::CallerAudio(frame) => frame.samples.to_vec(),
            other => panic!("{other:?}"),
        })
        .collect();
    // At twice the rate, 4 ms late, and the made-up chunk goes on like the tone for its first half.
    let error: f64 = (400..2_400).map(|n| (f64::from(heard[n + 64]) - f64::from(tone[n / 2])).powi(2)).step_by(2).sum();
    let power: f64 = (400..2_400).map(|n| f64::from(tone[n / 2]).powi(2)).step_by(2).sum();
    assert!(error < power / 50.0, "{error} of {power}");
}

#[test]
fn keys_come_in_as_what_the_caller_typed() {
    let (mut line, mut out) = (bound(Provider::Plivo), Exchange::default());
    for digit in ["1", "2", "#", "7"] {
        let message = Line::text(&json!({"event": "dtmf", "dtmf": {"track": "inbound", "digit": digit}}));
        line.on_message(Micros(0), message, &mut out).expect("a key is taken");
    }
    assert_eq!(out.inputs, [Input::UserText("12".into())]);
    line.on_time(line.next_at().expect("a pause ends a number"), &mut out);
    assert_eq!(out.inputs.back(), Some(&Input::UserText("7".into())));
}

#[test]
fn a_ticket_is_good_for_its_call_only() {
    let mut line = Telephony::new(Provider::Twilio, KeypadRules::default(), Some("another".to_owned()));
    let mut out = Exchange::default();
    let start = Line::text(&Line::new(Provider::Twilio).start("audio/x-mulaw"));
    let refused = line.on_message(Micros(0), start, &mut out).expect_err("it is another call");
    assert!(refused.fatal && refused.code == RefusalCode::Unauthorized && out.bind.is_none());
}

#[test]
fn other_audio_ends_the_call_with_a_reason() {
    let (mut line, mut out) = (made(Provider::Telnyx), Exchange::default());
    let start = Line::text(&Line::new(Provider::Telnyx).start("G722"));
    let refused = line.on_message(Micros(0), start, &mut out).expect_err("it is not spoken");
    assert!(refused.fatal && refused.says.contains("G722"), "{refused}");
}

#[test]
fn dialled_keys_go_beside_the_audio_or_as_tones_in_it() {
    let keys: Vec<Digit> = "12".chars().filter_map(Digit::new).collect();
    for (provider, expected) in
        [(Provider::Plivo, "sendDTMF"), (Provider::Twilio, "media"), (Provider::Telnyx, "media")]
    {
        let (mut line, mut out) = (bound(provider), Exchange::default());
        line.dial(&keys, &mut out);
        assert_eq!(events(&out), [expected], "{provider:?}");
    }
}

#[test]
fn a_model_presses_keys() {
    for (arguments, pressed) in [
        (r##"{"keys": "12#"}"##, true),
        (r#"{"keys": ""}"#, false),
        (r#"{"keys": "call me"}"#, false),
        (r#"{"digits": "1"}"#, false),
        ("no JSON", false),
    ] {
        let (mut line, mut out) = (bound(Provider::Plivo), Exchange::default());
        let call = ToolCall { key: "k".into(), name: "press".into(), arguments: arguments.into() };
        let asked = Asked { id: InvocationId(3), what: "keypad".into(), call };
        assert!(line.ask(Micros(0), &asked, &mut out));
        assert_eq!(events(&out).is_empty(), !pressed, "{arguments}");
        let outcome = if pressed { Outcome::Success } else { Outcome::InvalidRequest };
        assert_eq!(out.inputs.back(), Some(&Input::Provider(InvocationId(3), ProviderResult::End(outcome))));
    }
    let call = ToolCall { key: "k".into(), name: "book".into(), arguments: "{}".into() };
    let asked = Asked { id: InvocationId(3), what: "".into(), call };
    let mut out = Exchange::default();
    assert!(!bound(Provider::Twilio).ask(Micros(0), &asked, &mut out), "a telephone runs no programs");
}
