use prost::Message as _;

use super::story::{Told, TurnChange, Who};
use super::wire::{from_client, from_server};
use super::*;
use crate::transport::conformance::{Peer, Reads, check};

/// A client that speaks JSON.
struct Client;

impl Client {
    fn text(text: &str) -> Message {
        Message::Text(text.to_owned())
    }

    /// The turn, and the sample behind the last that it was sent.
    fn last(sent: &[Message]) -> (u32, u64) {
        let audio = sent.iter().rev().find_map(|message| match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Text(_) => None,
        });
        let bytes = audio.expect("there was audio");
        let turn = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let from = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
        (turn, from + (bytes.len() as u64 - 16) / 2)
    }

    fn playout(sent: &[Message], occasion: &str) -> Vec<Message> {
        let (turn, heard) = Self::last(sent);
        let text = format!(r#"{{"type":"playout","turn":{turn},"heard_samples":{heard},"occasion":"{occasion}"}}"#);
        vec![Message::Text(text)]
    }
}

impl Peer for Client {
    fn hello(&self) -> Vec<Message> {
        vec![Self::text(r#"{"type":"hello","version":1}"#)]
    }

    fn speech(&self) -> Message {
        Message::Binary(vec![0; 640].into())
    }

    fn played(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "drained")
    }

    fn cleared(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "cleared")
    }

    fn goodbye(&self) -> Option<Message> {
        Some(Self::text(r#"{"type":"end"}"#))
    }

    fn reads(&self, message: &Message) -> Reads {
        match message {
            Message::Binary(bytes) => Reads::Audio(Micros::of_samples((bytes.len() as u64 - 16) / 2, CALL_RATE_HZ)),
            Message::Text(text) if text.contains(r#""type":"clear""#) => Reads::Clear,
            Message::Text(_) => Reads::Other,
        }
    }

    fn nonsense(&self) -> Vec<Message> {
        [
            r#"{"type":"hello","version":1}"#,
            r#"{"type":"hello","version":2}"#,
            r#"{"type":"talk","state":"shout"}"#,
            r#"{"type":"playout","turn":-1,"heard_samples":0,"occasion":"drained"}"#,
        ]
        .map(Self::text)
        .into()
    }
}

#[test]
fn it_keeps_the_contract() {
    check(&|| Box::new(Rspp::new(Form::Json)), &Client);
}

/// A client that speaks protobuf.
struct Binary;

impl Binary {
    fn says(says: from_client::Says) -> Message {
        Message::Binary(wire::FromClient { says: Some(says) }.encode_to_vec().into())
    }

    fn hears(message: &Message) -> from_server::Says {
        let Message::Binary(bytes) = message else { panic!("every message is binary: {message:?}") };
        let read = wire::FromServer::decode(bytes.clone()).expect("the server writes what the schema says");
        read.says.expect("it says something")
    }

    fn playout(sent: &[Message], occasion: &str) -> Vec<Message> {
        let last = sent.iter().rev().find_map(|message| match Self::hears(message) {
            from_server::Says::Audio(audio) => Some(audio),
            _ => None,
        });
        let wire::Audio { turn, from_sample, pcm, .. } = last.expect("there was audio");
        let heard_samples = from_sample + pcm.len() as u64 / 2;
        let occasion = occasion.to_owned();
        vec![Self::says(from_client::Says::Playout(wire::Playout { turn, heard_samples, occasion }))]
    }
}

impl Peer for Binary {
    fn hello(&self) -> Vec<Message> {
        vec![Self::says(from_client::Says::Hello(wire::Hello { version: 1, ..wire::Hello::default() }))]
    }

    fn speech(&self) -> Message {
        Self::says(from_client::Says::Audio(vec![0; 640].into()))
    }

    fn played(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "drained")
    }

    fn cleared(&self, sent: &[Message]) -> Vec<Message> {
        Self::playout(sent, "cleared")
    }

    fn goodbye(&self) -> Option<Message> {
        Some(Self::says(from_client::Says::End(wire::End {})))
    }

    fn reads(&self, message: &Message) -> Reads {
        match Self::hears(message) {
            from_server::Says::Audio(audio) => {
                Reads::Audio(Micros::of_samples(audio.pcm.len() as u64 / 2, CALL_RATE_HZ))
            }
            from_server::Says::Clear(_) => Reads::Clear,
            _ => Reads::Other,
        }
    }

    fn nonsense(&self) -> Vec<Message> {
        let word = |state: &str| from_client::Says::Talk(wire::Talk { state: state.to_owned() });
        let playout = wire::Playout { turn: 1, heard_samples: 1, occasion: "eaten".to_owned() };
        vec![
            Self::says(from_client::Says::Hello(wire::Hello { version: 1, ..wire::Hello::default() })),
            Self::says(from_client::Says::Hello(wire::Hello { version: 2, ..wire::Hello::default() })),
            Self::says(word("shout")),
            Self::says(from_client::Says::Playout(playout)),
            Self::says(from_client::Says::Audio(vec![0; 3].into())),
            Message::Binary(Vec::new().into()),
            Message::Text("{}".to_owned()),
        ]
    }
}

#[test]
fn it_keeps_the_contract_as_protobuf() {
    check(&|| Box::new(Rspp::new(Form::Protobuf)), &Binary);
}

/// Each message says the same in both forms: its fields, without those that a form leaves out, have the same values.
#[test]
fn both_forms_say_the_same() {
    let refusal = Refusal::fatal(RefusalCode::TooFast, "slower");
    let caption = Told::Caption { who: Who::Agent, turn: Some(3), text: "yes".to_owned(), is_final: true };
    let opened =
        Told::Turn { turn: 3, state: TurnChange::Open, text: Some("well".to_owned()), reason: Some("barge_in") };
    let running = Told::Invocation { id: 9, kind: "llm", running: false, outcome: Some("timeout") };
    for says in [
        FromServer::Ready {
            session: "s".to_owned(),
            resumed: true,
            resume: Some("r".to_owned()),
            received_samples: 7,
            missed: 2,
        },
        FromServer::Clear { turn: TurnId(3), epoch: EgressEpoch(4) },
        FromServer::Error(refusal),
        FromServer::Ended { reason: "done", says: "over".to_owned() },
        FromServer::Pong(5),
        FromServer::Missed(6),
        FromServer::Told(caption),
        FromServer::Told(opened),
        FromServer::Told(running),
        FromServer::Told(Told::Heard { turn: 3, text: "ye".to_owned(), cut: true }),
        FromServer::Told(Told::Speech { speaking: true }),
        FromServer::Told(Told::Tool { key: "k".to_owned(), name: Some("n".to_owned()), state: "revoked" }),
        FromServer::Told(Told::Signal { name: "watermark", turn: Some(3), reason: None, retry_after_ms: None }),
        FromServer::Told(Told::Signal {
            name: "defer",
            turn: None,
            reason: Some("no_quota"),
            retry_after_ms: Some(90),
        }),
    ] {
        let Message::Text(json) = Json::write(11, Micros(1_500), &says) else { panic!("JSON is text") };
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        let protobuf = format!("{:?}", Binary::hears(&Protobuf::write(11, Micros(1_500), &says)));
        for (field, value) in json.as_object().expect("a message is an object") {
            let shown = match value {
                serde_json::Value::String(word) => format!("{word:?}"),
                other => other.to_string(),
            };
            let is_there = ["type", "seq", "at_ms"].contains(&field.as_str())
                || protobuf.contains(&format!("{field}: {shown}"))
                || protobuf.contains(&format!("{field}: Some({shown})"));
            assert!(is_there, "{field} of {json} is not in {protobuf}");
        }
    }
}

#[test]
fn who_comes_back_with_another_form_is_told_in_that() {
    let mut out = Exchange::default();
    let mut before = Rspp::new(Form::Json);
    before.say(Micros(20), FromServer::Told(Told::Speech { speaking: true }), &mut out);
    let mut after = Rspp::new(Form::Protobuf);
    after.adopt(before.park().expect("it is kept"));
    let resume = ResumeFrom { secret: "s".to_owned(), last_seq: 0, played: None };
    let hello = Hello { version: VERSION, resume: Some(resume), ..Hello::default() };
    after.greet(hello, &mut out).expect("the version is spoken");
    out.messages.clear();
    let bound = Bound { session: "s".to_owned(), resumed: true, resume: Some("s".to_owned()) };
    after.on_bound(Micros(40), &bound, &mut out);
    let said: Vec<from_server::Says> = out.messages.iter().map(Binary::hears).collect();
    assert!(
        matches!(&said[..], [from_server::Says::Ready(_), from_server::Says::Speech(wire::Speech { speaking: true })]),
        "{said:?}"
    );
}

/// A client that comes back to another server is told what it has missed: so what that server makes of the log, what is counted of
/// it while it is written, and what was told the first time have the same numbers.
#[test]
fn what_is_told_what_is_counted_and_what_is_recalled_have_the_same_numbers() {
    use rspp_specs::event::{ProviderResult, Request};
    use rspp_specs::ids::{InvocationId, RuntimeSequence};
    use rspp_specs::outcome::Outcome;
    let frame = AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None };
    let (turn, id, epoch) = (TurnId(1), InvocationId(1), EgressEpoch(1));
    let input = |input| Entry::Input(RuntimeSequence(1), input);
    let entries = [
        Entry::Signal(None, Signal::SessionReady),
        input(Input::CallerAudio(frame.clone())),
        input(Input::UserText("hello".into())),
        Entry::Effect(Effect::Invoke { id, binding: "tone:".into(), request: Request::Speak { text: "hello".into() } }),
        Entry::Signal(Some(turn), Signal::OutputAccepted),
        Entry::Effect(Effect::Transmit { turn, epoch: EgressEpoch(0), from_sample: 0, frame: frame.clone() }),
        Entry::Effect(Effect::ClearTransport { turn, epoch }),
        Entry::Effect(Effect::Transmit { turn, epoch, from_sample: 0, frame: frame.clone() }),
        input(Input::Provider(id, ProviderResult::End(Outcome::Success))),
        input(Input::Provider(InvocationId(9), ProviderResult::End(Outcome::Success))),
        Entry::Signal(Some(turn), Signal::Commit),
        Entry::Signal(Some(turn), Signal::Close),
    ];
    let (mut first, mut out) = (Rspp::new(Form::Json), Exchange::default());
    let (mut second, mut tally) = (Kept::default(), Tally::default());
    for entry in &entries {
        match entry {
            Entry::Effect(Effect::Transmit { turn, epoch, from_sample, frame }) => {
                let audio = Audio { turn: *turn, epoch: *epoch, from_sample: *from_sample, frame: frame.clone() };
                first.send(Micros(0), &audio, &mut out);
            }
            Entry::Effect(Effect::ClearTransport { turn, epoch }) => first.fence(Micros(0), *turn, *epoch, &mut out),
            Entry::Input(_, Input::CallerAudio(frame)) => first.kept.received_samples += frame.samples.len() as u64,
            entry if is_told(entry) => first.tell(Micros(0), entry, &mut out),
            _ => {}
        }
        second.recall(Micros(0), entry);
        tally.count(entry);
        let told = ToldBefore { messages: first.kept.seq, received_samples: first.kept.received_samples };
        assert_eq!((second.seq, second.received_samples), (told.messages, told.received_samples), "{entry:?}");
        assert_eq!(tally.told(), told, "{entry:?}");
    }
    assert_eq!((first.kept.seq, second.messages == first.kept.messages, second.audio.len()), (8, true, 1));
}
