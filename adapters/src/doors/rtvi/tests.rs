use rspp_specs::admission::{AdmissionPoint, Refusal, RejectReason};
use rspp_specs::event::{ProviderResult, Request, Transcript, Understanding};
use rspp_specs::ids::{InvocationId, RuntimeSequence};
use rspp_specs::outcome::Outcome;
use rspp_specs::timeline::{Effect, Signal};

use super::*;
use crate::transport::conformance::{Peer, Reads, check};

/// Pipecat's client, as its library behaves.
struct Client;

impl Client {
    fn message(kind: &str, data: &Value) -> Message {
        let data = json!({"label": LABEL, "type": kind, "id": "7", "data": data}).to_string();
        Message::Binary(Frame::write(Kind::Message(frames::MessageFrame { data })).into())
    }

    fn audio(samples: usize, num_channels: u32, sample_rate: u32) -> Message {
        let frame = frames::AudioFrame {
            audio: vec![0; samples * 2].into(),
            sample_rate,
            num_channels,
            name: "audio".to_owned(),
            ..frames::AudioFrame::default()
        };
        Message::Binary(Frame::write(Kind::Audio(frame)).into())
    }

    fn reads(message: &Message) -> Kind {
        match message {
            Message::Binary(bytes) => Frame::read(bytes.clone()).expect("what is sent is a frame"),
            Message::Text(_) => panic!("a client gets binary messages"),
        }
    }
}

impl Peer for Client {
    fn hello(&self) -> Vec<Message> {
        vec![Self::message("client-ready", &json!({"version": "2.1.0", "about": {"library": "x"}}))]
    }

    fn speech(&self) -> Message {
        Self::audio(320, 1, 16_000)
    }

    fn played(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn cleared(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn goodbye(&self) -> Option<Message> {
        Some(Self::message("disconnect-bot", &Value::Null))
    }

    fn reads(&self, message: &Message) -> Reads {
        match Self::reads(message) {
            Kind::Audio(frame) => Reads::Audio(Micros::of_samples(frame.audio.len() as u64 / 2, frame.sample_rate)),
            _ => Reads::Other,
        }
    }

    fn nonsense(&self) -> Vec<Message> {
        let interruption = frames::InterruptionFrame::default();
        vec![
            Self::audio(320, 2, 16_000),
            Self::audio(320, 1, 7),
            Self::audio(40_000, 1, 16_000),
            Self::message("send-text", &json!({"content": 7})),
            Self::message("send-text", &json!({"content": "x".repeat(MAX_TEXT_BYTES + 1)})),
            Self::message("dtmf", &json!({"buttons": ["12"]})),
            Self::message("client-message", &json!({"t": "anything"})),
            Self::message("something-new", &json!([])),
            Message::Binary(Frame::write(Kind::Message(frames::MessageFrame { data: "{".to_owned() })).into()),
            Message::Binary(Frame::write(Kind::Interruption(interruption)).into()),
            Message::Binary(Bytes::new()),
        ]
    }
}

#[test]
fn it_keeps_the_contract() {
    check(&|| Box::new(Rtvi::new()), &Client);
}

fn bound() -> Rtvi {
    let (mut rtvi, mut out) = (Rtvi::new(), Exchange::default());
    rtvi.on_message(Micros(0), Client.hello().remove(0), &mut out).expect("a proper hello is taken");
    rtvi.on_bound(Micros(0), &Bound { session: "s".to_owned(), resumed: false, resume: None }, &mut out);
    rtvi
}

/// RTVI messages that were sent, each with its data.
fn said(out: &mut Exchange) -> Vec<(String, Value)> {
    let message = |message: Message| match Client::reads(&message) {
        Kind::Message(frame) => {
            let value: Value = serde_json::from_str(&frame.data).expect("it is JSON");
            assert_eq!(value["label"], LABEL);
            Some((value["type"].as_str().expect("it has a type").to_owned(), value["data"].clone()))
        }
        _ => None,
    };
    std::mem::take(&mut out.messages).into_iter().filter_map(message).collect()
}

#[test]
fn ready_is_answered_when_both_are_there_with_the_clients_id() {
    let (mut rtvi, mut out) = (Rtvi::new(), Exchange::default());
    rtvi.on_message(Micros(0), Client.hello().remove(0), &mut out).expect("it is taken");
    assert!(out.bind.is_some() && out.messages.is_empty());
    rtvi.on_bound(Micros(0), &Bound { session: "s".to_owned(), resumed: false, resume: None }, &mut out);
    let Kind::Message(frame) = Client::reads(&out.messages[0]) else { panic!("it is a message") };
    let value: Value = serde_json::from_str(&frame.data).expect("it is JSON");
    assert_eq!(
        (&value["type"], &value["id"], &value["data"]["version"]),
        (&json!("bot-ready"), &json!("7"), &json!(VERSION))
    );
}

#[test]
fn an_answer_is_told_in_the_words_of_rtvi() {
    let (mut rtvi, mut out) = (bound(), Exchange::default());
    let (stt, llm, tts) = (InvocationId(1), InvocationId(2), InvocationId(3));
    let provider = |id, result| Entry::Input(RuntimeSequence(1), Input::Provider(id, result));
    let invoke = |id, request| Entry::Effect(Effect::Invoke { id, binding: "b".into(), request });
    let transcript = |understanding, text: &str| {
        let (utterance, watermark) = (rspp_specs::ids::UtteranceId(1), Micros(0));
        ProviderResult::Transcript(Transcript { utterance, understanding, text: text.into(), watermark })
    };
    let refusal = |reason| Refusal { reason, point: AdmissionPoint::Enqueue, fairness_key: "all".into() };
    let entries = [
        invoke(stt, Request::Transcribe { media_start: Micros(0), preroll: Vec::new() }),
        provider(stt, transcript(Understanding::Partial, "when")),
        Entry::Effect(Effect::FeedEnd { id: stt }),
        provider(stt, transcript(Understanding::Words, "when do you open")),
        provider(stt, ProviderResult::End(Outcome::Success)),
        invoke(llm, Request::Chat { context: [].into() }),
        provider(llm, ProviderResult::Text("At noon.".into())),
        provider(llm, ProviderResult::End(Outcome::Success)),
        invoke(tts, Request::Speak { text: "At noon.".into() }),
        Entry::Signal(Some(TurnId(1)), Signal::OutputAccepted),
        provider(tts, ProviderResult::End(Outcome::Success)),
        Entry::Signal(Some(TurnId(1)), Signal::PlayoutHold),
        Entry::Signal(Some(TurnId(1)), Signal::CancelAccepted { reason: rspp_specs::outcome::CancelReason::BargeIn }),
        Entry::Signal(None, Signal::Reject(refusal(RejectReason::Backchannel))),
        Entry::Signal(None, Signal::Shed(refusal(RejectReason::QueueFull))),
        Entry::Signal(
            None,
            Signal::Defer { refusal: refusal(RejectReason::NoQuota), retry_after: Some(Micros(90_000)) },
        ),
    ];
    for entry in &entries {
        rtvi.tell(Micros::from_ms(1_500), entry, &mut out);
    }
    let told: Vec<String> = said(&mut out).into_iter().map(|(kind, data)| format!("{kind} {data}")).collect();
    assert_eq!(told.join("\n"), TOLD.trim());
}

const TOLD: &str = r#"
user-started-speaking null
user-transcription {"final":false,"text":"when","timestamp":"1.500","user_id":"caller"}
user-stopped-speaking null
user-transcription {"final":true,"text":"when do you open","timestamp":"1.500","user_id":"caller"}
bot-llm-started null
bot-llm-text {"text":"At noon."}
bot-llm-stopped null
bot-output {"aggregated_by":"sentence","segment_id":3,"spoken_progress":{"accumulated_text":"","remaining_text":"At noon."},"spoken_status":"new","text":"At noon.","will_be_spoken":true}
bot-tts-started null
bot-tts-text {"text":"At noon."}
bot-started-speaking null
bot-tts-stopped null
bot-output {"aggregated_by":"sentence","segment_id":3,"spoken_progress":{"accumulated_text":"At noon.","remaining_text":""},"spoken_status":"completed","text":"At noon.","will_be_spoken":true}
bot-stopped-speaking null
error {"error":"no answer to this: queue_full","fatal":false,"reason":"queue_full"}
error {"error":"no answer yet: no_quota; tried again in 90 ms","fatal":false,"reason":"no_quota","retry_after_ms":90}
"#;

#[test]
fn a_cut_decays_within_10_ms_from_the_last_sample_sent_and_the_next_answer_begins_clean() {
    let (mut rtvi, mut out) = (bound(), Exchange::default());
    let audio = |level: i16, turn| {
        let frame =
            rspp_specs::event::AudioFrame { samples: vec![level; 320].into(), rate_hz: 16_000, spoken_by: None };
        Audio { turn: TurnId(turn), epoch: EgressEpoch(turn), from_sample: 0, frame }
    };
    rtvi.send(Micros(0), &audio(12_000, 1), &mut out);
    out.messages.clear();
    rtvi.fence(Micros(0), TurnId(1), EgressEpoch(2), &mut out);
    let pcm = |out: &mut Exchange| -> Vec<i16> {
        let frames = std::mem::take(&mut out.messages).into_iter().map(|message| Client::reads(&message));
        let bytes = frames.flat_map(|kind| match kind {
            Kind::Audio(frame) => frame.audio.to_vec(),
            _ => Vec::new(),
        });
        bytes.collect::<Vec<u8>>().chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
    };
    let decay = pcm(&mut out);
    assert!(!decay.is_empty() && decay.len() <= 240, "{} samples", decay.len());
    assert!(decay.last().is_some_and(|last| last.abs() < 4_000), "{decay:?}");
    rtvi.fence(Micros(0), TurnId(1), EgressEpoch(3), &mut out);
    assert!(pcm(&mut out).is_empty(), "a cut sounds once");
    rtvi.send(Micros(0), &audio(0, 3), &mut out);
    assert!(pcm(&mut out).iter().all(|sample| *sample == 0));
}

#[test]
fn keys_and_text_come_in_as_what_the_caller_typed() {
    let (mut rtvi, mut out) = (bound(), Exchange::default());
    for message in [
        Client::message("dtmf", &json!({"buttons": ["4", "2", "#"]})),
        Client::message("send-text", &json!({"content": "hello", "options": {"run_immediately": true}})),
    ] {
        rtvi.on_message(Micros(0), message, &mut out).expect("it is taken");
    }
    assert_eq!(out.inputs, [Input::UserText("42".into()), Input::UserText("hello".into())]);
}

#[test]
fn a_request_to_an_application_is_answered_with_an_error_of_its_own_id() {
    let (mut rtvi, mut out) = (bound(), Exchange::default());
    rtvi.on_message(Micros(0), Client::message("client-message", &json!({"t": "x"})), &mut out).expect("it is taken");
    let said = said(&mut out);
    assert_eq!(said[0].0, "error-response");
}
