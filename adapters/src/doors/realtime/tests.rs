use rspp_specs::admission::RejectReason;
use rspp_specs::event::{ToolCall, ToolEffect};
use rspp_specs::outcome::Outcome;

use super::*;
use crate::transport::conformance::{Peer, Reads, check};

/// A client that knows the protocol.
struct Client;

impl Client {
    fn text(value: &Value) -> Message {
        Message::Text(value.to_string())
    }
}

impl Peer for Client {
    fn hello(&self) -> Vec<Message> {
        Vec::new()
    }

    fn speech(&self) -> Message {
        Self::text(&json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode([0; 960])}))
    }

    fn played(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn cleared(&self, _sent: &[Message]) -> Vec<Message> {
        Vec::new()
    }

    fn goodbye(&self) -> Option<Message> {
        None
    }

    fn reads(&self, message: &Message) -> Reads {
        let Message::Text(text) = message else { return Reads::Other };
        let event: Value = serde_json::from_str(text).expect("events are JSON");
        if event["type"] != "response.output_audio.delta" {
            return Reads::Other;
        }
        let bytes = STANDARD.decode(event["delta"].as_str().expect("it has a delta")).expect("it is base64");
        Reads::Audio(Micros::of_samples(bytes.len() as u64 / 2, WIRE_RATE_HZ))
    }

    fn nonsense(&self) -> Vec<Message> {
        [
            json!({"type": "session.create"}),
            json!({"type": "session.update"}),
            json!({"type": "session.update", "session": {"type": "transcription"}}),
            json!({"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/wav"}}}}}),
            json!({"type": "session.update", "session": {"instructions": "x".repeat(100_000)}}),
            json!({"type": "input_audio_buffer.append", "audio": "?"}),
            json!({"type": "input_audio_buffer.append", "audio": "AA=="}),
            json!({"type": "input_audio_buffer.commit"}),
            json!({"type": "conversation.item.create", "item": 7}),
            json!({"type": "conversation.item.create", "item": {"type": "message", "role": "judge"}}),
            json!({"type": "conversation.item.retrieve", "item_id": "none"}),
            json!({"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": 9}),
            json!({"type": "response.cancel"}),
        ]
        .iter()
        .map(Self::text)
        .collect()
    }
}

#[test]
fn it_keeps_the_contract() {
    check(&|| Box::new(Realtime::new("any", &[])), &Client);
}

/// A tool of the client's.
fn book() -> ToolSpec {
    ToolSpec {
        name: "book".to_owned(),
        effect: ToolEffect::Write,
        binding: "client:".to_owned(),
        description: Some("Books a table.".to_owned()),
        parameters: None,
    }
}

/// A connection, and what it says.
struct Line {
    door: Realtime,
    inputs: Vec<Input>,
    said: Vec<Value>,
}

impl Line {
    fn new() -> Self {
        let mut line = Self { door: Realtime::new("any", &[&book()]), inputs: Vec::new(), said: Vec::new() };
        let bound = Bound { session: "call-0123456789".to_owned(), resumed: false, resume: None };
        line.with(|door, out| door.on_bound(Micros(0), &bound, out));
        line
    }

    fn with(&mut self, work: impl FnOnce(&mut Realtime, &mut Exchange)) {
        let mut out = Exchange::default();
        work(&mut self.door, &mut out);
        self.inputs.extend(out.inputs);
        self.said.extend(out.messages.into_iter().map(|message| match message {
            Message::Text(text) => serde_json::from_str(&text).expect("events are JSON"),
            Message::Binary(_) => panic!("events are text"),
        }));
    }

    fn hears(&mut self, event: &Value) {
        self.with(|door, out| door.on_message(Micros(0), Client::text(event), out).expect("it is text"));
    }

    fn told(&mut self, entry: &Entry) {
        self.with(|door, out| door.tell(Micros(0), entry, out));
    }

    /// Opens a turn, and has a model answer.
    fn thinks(&mut self) {
        let opened = Signal::TurnOpen {
            plan: rspp_specs::plan::PlanHash("plan".into()),
            generation: rspp_specs::ids::Generation(1),
            opener: rspp_specs::timeline::Opener::Caller,
            text: "a table for two".into(),
            understood: true,
            speech_end: None,
        };
        self.told(&Entry::Signal(Some(TurnId(1)), opened));
        let request = Request::Chat { context: Vec::new().into() };
        self.told(&Entry::Effect(Effect::Invoke { id: InvocationId(1), binding: "llm".into(), request }));
    }

    fn is_asked(&mut self, now: Micros, id: u32, what: &str) -> bool {
        let call = ToolCall { key: "k".into(), name: "book".into(), arguments: r#"{"people":2}"#.into() };
        let asked = Asked { id: InvocationId(id), what: what.into(), call };
        let mut taken = false;
        self.with(|door, out| taken = door.ask(now, &asked, out));
        taken
    }

    /// The model that was asked first has said all.
    fn has_thought(&mut self) {
        self.told(&Entry::Input(
            rspp_specs::ids::RuntimeSequence(1),
            Input::Provider(InvocationId(1), ProviderResult::End(Outcome::Success)),
        ));
    }

    /// The name of the last call.
    fn call_id(&self) -> Value {
        let done = self.said.iter().rfind(|event| event["type"] == "response.function_call_arguments.done");
        done.expect("the client is called")["call_id"].clone()
    }

    fn types(&self) -> Vec<&str> {
        self.said.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect()
    }

    /// Opens a turn, and lets the agent speak for so many frames.
    fn speaks(&mut self, frames: u64) {
        let opened = Signal::TurnOpen {
            plan: rspp_specs::plan::PlanHash("plan".into()),
            generation: rspp_specs::ids::Generation(1),
            text: "hello".into(),
            opener: rspp_specs::timeline::Opener::Caller,
            understood: true,
            speech_end: None,
        };
        self.told(&Entry::Signal(Some(TurnId(1)), opened));
        let request = Request::Speak { text: "We open at noon.".into() };
        self.told(&Entry::Effect(Effect::Invoke { id: InvocationId(9), binding: "tts".into(), request }));
        for number in 0..frames {
            let frame =
                rspp_specs::event::AudioFrame { samples: vec![7; 320].into(), rate_hz: 16_000, spoken_by: None };
            let audio = Audio { turn: TurnId(1), epoch: EgressEpoch(0), from_sample: number * 320, frame };
            self.with(|door, out| door.send(Micros(0), &audio, out));
        }
    }
}

#[test]
fn what_a_client_says_it_has_played_is_what_was_heard() {
    let mut line = Line::new();
    line.speaks(10);
    let item = line.said.iter().find(|event| event["type"] == "response.output_item.added").expect("there is one");
    let item = item["item"]["id"].clone();
    line.told(&Entry::Signal(Some(TurnId(1)), Signal::CancelAccepted { reason: CancelReason::BargeIn }));
    let done = line.said.iter().find(|event| event["type"] == "response.done").expect("it is over");
    assert_eq!(done["response"]["status_details"], json!({"type": "cancelled", "reason": "turn_detected"}));
    assert_eq!(done["response"]["output"][0]["status"], "incomplete");
    line.hears(&json!({
        "type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": 120
    }));
    let heard = PlayoutAck { turn: TurnId(1), heard_samples: 120 * 16, occasion: AckOccasion::Cleared };
    assert_eq!(line.inputs.last(), Some(&Input::PlayoutAck(heard)));
    assert_eq!(line.types().last(), Some(&"conversation.item.truncated"));
}

#[test]
fn an_answer_comes_in_the_order_that_clients_take() {
    let mut line = Line::new();
    line.speaks(1);
    line.told(&Entry::Signal(Some(TurnId(1)), Signal::Commit));
    let expected = [
        "session.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ];
    let types = line.types();
    let mut once = types.clone();
    once.dedup();
    assert_eq!(once, expected);
    assert!(line.said.iter().all(|event| event["event_id"].is_string()));
}

#[test]
fn a_client_that_says_when_presses_and_releases() {
    let mut line = Line::new();
    line.hears(&json!({"type": "session.update", "session": {"audio": {"input": {"turn_detection": null}}}}));
    let audio = json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode([0; 960])});
    line.hears(&audio);
    line.hears(&audio);
    line.hears(&json!({"type": "input_audio_buffer.commit", "event_id": "mine"}));
    let names: Vec<&str> = line.inputs.iter().map(Input::name).collect();
    assert_eq!(names.first(), Some(&"talk"));
    assert_eq!(line.inputs.first(), Some(&Input::Talk(Talk::Press)));
    assert_eq!(line.inputs.last(), Some(&Input::Talk(Talk::Release)));
    line.hears(&json!({"type": "input_audio_buffer.commit", "event_id": "mine"}));
    line.hears(&json!({"type": "response.cancel", "event_id": "mine"}));
    let errors: Vec<&Value> = line.said.iter().filter(|event| event["type"] == "error").collect();
    assert_eq!(errors.last().map(|event| &event["error"]["code"]), Some(&json!("response_cancel_not_active")));
    assert!(errors.iter().all(|event| event["error"]["event_id"] == "mine"));
}

#[test]
fn telephones_speak_g711() {
    for (format, silence) in [("audio/pcmu", 0xff), ("audio/pcma", 0xd5_u8)] {
        let mut line = Line::new();
        let format = json!({"type": format});
        let audio = json!({"input": {"format": format}, "output": {"format": format}});
        line.hears(&json!({"type": "session.update", "session": {"audio": audio}}));
        let updated = line.said.last().expect("it is answered");
        assert_eq!(updated["session"]["audio"]["output"]["format"], format, "{updated}");
        let chunk = json!({"type": "input_audio_buffer.append", "audio": STANDARD.encode([silence; 160])});
        line.hears(&chunk);
        line.hears(&chunk);
        let heard = line.inputs.iter().map(|input| match input {
            Input::CallerAudio(frame) => (frame.rate_hz, frame.samples.len()),
            other => panic!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>(), [(CALL_RATE_HZ, 320); 2], "{format}");
        line.speaks(5);
        let delta = |event: &&Value| event["type"] == "response.output_audio.delta";
        let sent: usize = line
            .said
            .iter()
            .filter(delta)
            .map(|event| STANDARD.decode(event["delta"].as_str().expect("it has one")).expect("it is base64").len())
            .sum();
        // The filter keeps the last milliseconds until the answer is over.
        assert!((700..=800).contains(&sent), "{sent} bytes of {format} for 100 ms");
    }
}

#[test]
fn an_item_goes_where_the_client_wants_it() {
    let mut line = Line::new();
    for (id, after) in
        [("a", json!(null)), ("b", json!("a")), ("c", json!("root")), ("d", json!("a")), ("e", json!("?"))]
    {
        let content = json!([{"type": "input_text", "text": id}]);
        let item = json!({"id": id, "type": "message", "role": "user", "content": content});
        line.hears(&json!({"type": "conversation.item.create", "previous_item_id": after, "item": item}));
    }
    let added = line.said.iter().filter(|event| event["type"] == "conversation.item.added");
    let places: Vec<String> =
        added.map(|event| format!("{}<{}", event["previous_item_id"], event["item"]["id"])).collect();
    assert_eq!(places, [r#"null<"a""#, r#""a"<"b""#, r#"null<"c""#, r#""a"<"d""#, r#""b"<"e""#]);
}

#[test]
fn who_gets_no_answer_is_told_why() {
    let mut line = Line::new();
    let refusal = |reason| rspp_specs::admission::Refusal {
        reason,
        point: rspp_specs::admission::AdmissionPoint::Enqueue,
        fairness_key: "all".into(),
    };
    let before = line.said.len();
    line.told(&Entry::Signal(None, Signal::Reject(refusal(RejectReason::Backchannel))));
    assert_eq!(line.said.len(), before);
    let put_off = Signal::Defer { refusal: refusal(RejectReason::NoQuota), retry_after: Some(Micros::from_ms(90)) };
    line.told(&Entry::Signal(None, put_off));
    let error = &line.said.last().expect("it is told")["error"];
    assert_eq!(error["code"], "no_quota");
    assert_eq!(error["message"], "no answer yet: no_quota; tried again in 90 ms");
}

#[test]
fn the_client_is_called_and_its_output_is_the_tools_answer() {
    let mut line = Line::new();
    assert_eq!(line.said[0]["session"]["tools"][0]["name"], "book");
    line.thinks();
    assert!(!line.is_asked(Micros(0), 2, "keypad"), "a telephone's keys are no business of a program's");
    assert!(line.is_asked(Micros(0), 2, ""));
    assert_eq!(line.types().last(), Some(&"response.output_item.done"), "its model may want more");
    line.has_thought();
    let expected = [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ];
    assert_eq!(line.types()[1..], expected);
    let call = line.call_id();
    let done = line.said.iter().find(|event| event["type"] == "response.done").expect("it is over");
    let output = &done["response"]["output"][0];
    assert_eq!(
        (&output["call_id"], &output["arguments"], &output["status"]),
        (&call, &json!(r#"{"people":2}"#), &json!("completed"))
    );
    let item = json!({"type": "function_call_output", "call_id": call, "output": "booked"});
    line.hears(&json!({"type": "conversation.item.create", "item": item}));
    let result = Input::Provider(InvocationId(2), ProviderResult::ToolResult("booked".into()));
    let end = Input::Provider(InvocationId(2), ProviderResult::End(Outcome::Success));
    assert!(line.inputs.is_empty(), "nothing goes on before the client asks for the answer");
    line.hears(&json!({"type": "response.create", "response": {"metadata": {"topic": "tables"}}}));
    assert_eq!(line.inputs, [result, end], "the turn goes on: nobody asks anything new");
    let created = line.said.last().expect("it goes on");
    assert_eq!(
        (&created["type"], &created["response"]["metadata"]),
        (&json!("response.created"), &json!({"topic": "tables"}))
    );
    line.hears(&json!({"type": "conversation.item.create", "item": item}));
    assert_eq!(line.types().last(), Some(&"error"), "nobody waits for it twice");
}

#[test]
fn what_was_said_before_a_call_is_heard_before_its_response_ends() {
    let mut line = Line::new();
    line.thinks();
    let request = Request::Speak { text: "One moment.".into() };
    line.told(&Entry::Effect(Effect::Invoke { id: InvocationId(9), binding: "tts".into(), request }));
    assert!(line.is_asked(Micros(0), 2, ""));
    let frame = rspp_specs::event::AudioFrame { samples: vec![7; 320].into(), rate_hz: 16_000, spoken_by: None };
    let audio = Audio { turn: TurnId(1), epoch: EgressEpoch(0), from_sample: 0, frame };
    line.with(|door, out| door.send(Micros::from_ms(100), &audio, out));
    line.has_thought();
    assert!(!line.types().contains(&"response.done"));
    let at = line.door.next_at().expect("it is looked at again");
    assert_eq!(at, Micros::from_ms(300));
    line.with(|door, out| door.on_time(at, out));
    let done = line.said.iter().find(|event| event["type"] == "response.done").expect("it is over");
    let kinds: Vec<&Value> =
        done["response"]["output"].as_array().into_iter().flatten().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["message", "function_call"]);
    // Without a word of the client's the answer goes on all the same.
    let item = json!({"type": "function_call_output", "call_id": line.call_id(), "output": "booked"});
    line.hears(&json!({"type": "conversation.item.create", "item": item}));
    let request = Request::Speak { text: "Done.".into() };
    line.told(&Entry::Effect(Effect::Invoke { id: InvocationId(10), binding: "tts".into(), request }));
    let created = line.types().iter().filter(|kind| **kind == "response.created").count();
    assert_eq!((created, line.types().last()), (2, Some(&"response.output_audio_transcript.delta")));
}

#[test]
fn a_client_that_does_not_answer_is_given_up() {
    let mut line = Line::new();
    line.thinks();
    assert!(line.is_asked(Micros(0), 2, ""));
    line.has_thought();
    let at = line.door.next_at().expect("it is not waited for without end");
    line.with(|door, out| door.on_time(at, out));
    let end = Input::Provider(InvocationId(2), ProviderResult::End(Outcome::Timeout));
    assert_eq!(line.inputs.last(), Some(&end));
    assert_eq!(line.door.next_at(), None);
}
