//! The network is cut for three seconds in the middle of an answer, in each of the ways in which networks go: the call goes
//! on, nothing is heard twice, nothing is lost, and what the conversation remembers is what was heard.

#[path = "serve/caller.rs"]
mod caller;
#[path = "serve/client.rs"]
mod client;
#[path = "serve/house.rs"]
mod house;
#[path = "serve/wire.rs"]
mod wire;

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use caller::{ASK, Caller};
use client::{Client, Seen};
use house::House;
use rspp::adapters::recording::Recording;
use rspp::serve::Serve;
use rspp::specs::timeline::{Entry, Input};
use serde_json::{Value, json};
use tempfile::TempDir;
use wire::{Cut, Wire};

/// How long the network is gone.
const GONE: Duration = Duration::from_secs(3);
/// A caller who hears nothing for so long in the middle of an answer looks for another connection.
const NOTICES_AFTER: Duration = Duration::from_millis(300);

/// A pipeline whose detector takes the caller's quiet noise for silence, and whose recording has every sample.
fn spec(folder: &Path) -> std::path::PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/examples");
    let spec = format!(
        "kind: PipelineSpec\nname: served\nversion: 1\ntemplate: voice-assistant\n\
         bind: {{stt: \"captions:{0}/restaurant.captions.yaml\", llm: \"dialogue:{0}/restaurant.dialogue.yaml\", \
         tts: \"tone:\"}}\nnodes: {{vad: {{type: vad, detector: energy}}}}\nrecording: {{level: L2}}\n",
        examples.display()
    );
    let path = folder.join("spec.yaml");
    std::fs::write(&path, spec).expect("a file can be written");
    path
}

/// A server, and the folder that it records into.
struct Stage {
    house: House,
    folder: TempDir,
}

impl Stage {
    fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let spec = spec(folder.path());
        let record = Some(folder.path().join("calls"));
        Self { house: House::with(Serve { spec, record, ..House::options() }), folder }
    }

    /// What the session was told that its caller said.
    fn recorded(self, session: &str) -> Vec<i16> {
        self.house.ask_to_end();
        self.house.ended();
        let recording = Recording::open(self.folder.path().join("calls").join(format!("{session}.rspp")));
        let records = recording.expect("the recording is whole").records;
        let frames = records.iter().filter_map(|record| match &record.entry {
            Entry::Input(_, Input::CallerAudio(frame)) => Some(&frame.samples),
            _ => None,
        });
        frames.flat_map(|samples| samples.iter().copied()).collect()
    }
}

/// The answer, if nothing happens to it: its sound, and its words.
static UNDISTURBED: LazyLock<(Vec<i16>, Value)> = LazyLock::new(|| {
    let stage = Stage::set();
    let mut client = Client::connect(stage.house.address);
    client.hello();
    client.say(ASK);
    let mut caller = Caller::default();
    caller.listens(&mut client, |_, caller| caller.committed);
    let heard = drained(&mut client, &mut caller);
    (caller.heard, heard["text"].clone())
});

/// All of it is played: what the conversation remembers.
fn drained(client: &mut Client, caller: &mut Caller) -> Value {
    let samples = caller.heard.len();
    client.say(&json!({"type": "playout", "turn": 1, "heard_samples": samples, "occasion": "drained"}).to_string());
    let mut heard = Value::Null;
    caller.listens(client, |seen, _| match seen {
        Seen::Told(told) if told["type"] == "heard" => {
            heard = told.clone();
            true
        }
        _ => false,
    });
    heard
}

/// The caller comes back as soon as the network is there, and says again what did not arrive.
fn come_back(wire: &Wire, caller: &mut Caller, secret: &Value) -> Client {
    let mut client = Client::connect(wire.address);
    client.say(&caller.hello(secret));
    let ready = client.until_told("ready", &[]);
    assert_eq!((&ready["resumed"], &ready["missed"]), (&json!(true), &json!(0)), "{ready}");
    caller.spoken = ready["received_samples"].as_u64();
    client
}

fn check(how: Cut) {
    let (expected, words) = &*UNDISTURBED;
    let stage = Stage::set();
    let wire = Wire::to(stage.house.address);
    let mut client = Client::connect(wire.address);
    let ready = client.hello();
    client.say(ASK);
    let mut caller = Caller { spoken: Some(0), ..Caller::default() };
    assert!(caller.listens(&mut client, |_, caller| caller.heard.len() >= 12_000));

    let began = Instant::now();
    wire.cut(how, GONE);
    if how != Cut::Held {
        client.patience(NOTICES_AFTER);
        assert!(!caller.listens(&mut client, |_, _| false), "nothing comes any more");
        assert!(caller.heard.len() < expected.len(), "{how:?}: it is the middle of the answer");
        client = come_back(&wire, &mut caller, &ready["resume"]);
    }
    let whole = |caller: &Caller| caller.heard.len() >= expected.len() && caller.committed;
    assert!(whole(&caller) || caller.listens(&mut client, |_, caller| whole(caller)), "{how:?}: the answer goes on");
    assert!(began.elapsed() >= GONE, "{how:?}: it was cut for less");
    assert!(caller.heard == *expected, "{how:?}: what was heard is not what was said");
    let heard = drained(&mut client, &mut caller);
    assert_eq!((&heard["cut"], &heard["text"]), (&json!(false), words), "{how:?}: {heard}");

    client.say(r#"{"type":"end"}"#);
    assert!(!caller.listens(&mut client, |_, _| false), "the call ends");
    assert_eq!(caller.heard.len(), expected.len(), "{how:?}: nothing more of it");
    let metrics = stage.house.get("/metrics");
    assert!(metrics.contains(&format!("\nrspp_sessions_resumed_total {}\n", u8::from(how != Cut::Held))), "{metrics}");
    let recorded = stage.recorded(ready["session"].as_str().expect("it has a name"));
    let said: Vec<i16> = (0..caller.spoken.expect("it speaks")).map(Caller::says).collect();
    assert_eq!(recorded.len(), said.len(), "{how:?}: what the caller said arrived, each sample once");
    assert!(recorded == said, "{how:?}: in order");
}

#[test]
fn packets_are_lost_and_nobody_is_told() {
    check(Cut::Silent);
}

#[test]
fn both_ends_are_told() {
    check(Cut::Reset);
}

#[test]
fn packets_wait_and_the_connection_outlives_it() {
    check(Cut::Held);
}
