//! Rooms of a real LiveKit server, with callers that nobody here wrote.
//!
//! `cargo test --workspace --test livekit -- --ignored --test-threads 1`, which `.ci/run` does where `ci/setup` has installed the
//! server into `.livekit` and LiveKit's library for Python into `.venv-rooms`; `RSPP_LIVEKIT_SERVER` and `RSPP_LIVEKIT_PYTHON` name
//! others.

/// What the engine has to know of a call.
mod call {
    pub(crate) const RATE_HZ: u32 = 16_000;
}
#[path = "serve/doors.rs"]
mod doors;
#[path = "call/engine.rs"]
mod engine;
#[path = "serve/house.rs"]
mod house;
#[path = "livekit/loss.rs"]
mod loss;
#[path = "livekit/relay.rs"]
mod relay;
#[path = "livekit/rooms.rs"]
mod rooms;
#[path = "livekit/workers.rs"]
mod workers;

use std::process::Command;
use std::time::Instant;

use doors::{DOORS, Door, Line, Reads};
use prost::Message;
use relay::{Relay, Weather};
use rooms::{Agent, Caller, KEY, Media, Rooms, SECRET, Stage};
use rspp::livekit::protocol::leave_request::Action;
use rspp::livekit::protocol::signal_response::Message as Says;
use rspp::livekit::protocol::{LeaveRequest, RegionInfo, RegionSettings, SignalResponse};
use rspp::livekit::room::Mode;
use serde_json::Value;

const WORDS: &str = "what time do you open on friday";
/// Back within this, whatever happened.
const BACK_SECONDS: f64 = 5.0;

/// A question is answered, an interruption cuts the answer, and the room's other clients can show all of it.
fn converse(caller: &mut Caller) {
    caller.told("agent");
    let answered = caller.number("ask", "answered_after");
    assert!(answered < 5.0, "an answer comes soon");
    caller.told("hear 0.6");
    let interrupted = caller.told("interrupt");
    assert!(interrupted["cut_after"].as_f64().is_some_and(|it| it < 1.5), "an interruption cuts");
    assert!(interrupted["answered_again_after"].as_f64().is_some_and(|it| it < 5.0), "and is answered");
    caller.told("quiet");
    let saw = caller.told("written");
    let states: Vec<&str> = saw["states"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for change in [["thinking", "speaking"], ["speaking", "listening"]] {
        assert!(states.windows(2).any(|pair| pair == change), "{change:?} in {states:?}");
    }
    let transcripts = saw["transcripts"].as_object().expect("there are transcripts");
    let of = |who: &str| -> Vec<String> {
        transcripts.values().filter(|it| it["who"] == who).map(|it| it["text"].to_string()).collect()
    };
    assert!(of("caller").iter().filter(|text| text.contains(WORDS)).count() >= 2, "{saw}");
    assert!(of("agent").len() >= 2, "{saw}");
    assert!(transcripts.values().all(|it| it["track"].as_str().is_some_and(|sid| sid.starts_with("TR_"))), "{saw}");
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_call_in_a_room_over_one_peer_connection() {
    let rooms = Rooms::open();
    let stage = Stage::set(&Agent::of(&rooms));
    converse(&mut Caller::of_python(&rooms, "one", &stage.voice(), &[]));
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_call_in_a_room_over_two_peer_connections_that_asks_for_the_agent_by_name() {
    let rooms = Rooms::open();
    let stage = Stage::set(&Agent { name: "waiter", mode: Mode::TwoConnections, ..Agent::of(&rooms) });
    converse(&mut Caller::of_python(&rooms, "two", &stage.voice(), &["waiter"]));
}

#[test]
#[ignore = "needs livekit-server, Chromium, Node and LiveKit's library for browsers"]
fn a_call_from_chromium() {
    let rooms = Rooms::open();
    let stage = Stage::set(&Agent { name: "waiter", ..Agent::of(&rooms) });
    converse(&mut Caller::of_chromium(&rooms, "browser", &stage.voice(), &["waiter"]));
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn calls_over_tcp_where_the_server_has_no_port_of_udp() {
    for mode in [Mode::OneConnection, Mode::TwoConnections] {
        let rooms = Rooms::with(Media::Tcp, "");
        let stage = Stage::set(&Agent { mode, ..Agent::of(&rooms) });
        converse(&mut Caller::of_python(&rooms, "tcp", &stage.voice(), &[]));
    }
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn one_process_serves_a_room_and_every_door_at_once_by_the_same_spec() {
    let rooms = Rooms::open();
    let stage = Stage::set(&Agent::of(&rooms));
    let mut caller = Caller::of_python(&rooms, "beside", &stage.voice(), &[]);
    caller.told("agent");
    let doors: &'static [Door] = &DOORS;
    let mut lines: Vec<_> = doors.iter().map(|door| (door, Line::connect(door, stage.house.address))).collect();
    lines.iter_mut().for_each(|(_, line)| line.ask());
    caller.told("ask");
    for (door, line) in &mut lines {
        let until = Instant::now() + rooms::PATIENCE;
        let mut frames = 0;
        while frames < 10 {
            let next = line.next(until).unwrap_or_else(|| panic!("{}: no answer", door.name));
            frames += usize::from(matches!(next, Reads::Audio(_)));
        }
    }
    let metrics = stage.house.get("/metrics");
    eprintln!("{}", metrics.lines().filter(|line| line.contains("sessions")).collect::<Vec<_>>().join("\n"));
    caller.told("quiet");
}

/// How long an answer is that nothing happens to: a question, and its answer to the end.
fn answer_seconds(caller: &mut Caller) -> f64 {
    caller.told("agent");
    caller.told("ask");
    caller.number("quiet", "length")
}

/// In the middle of an answer something `happens`: nothing is heard later than it would have been without, who asks is answered
/// soon, and one agent is there.
fn survives(caller: &mut Caller, happens: impl FnOnce(&mut Caller)) -> Value {
    let length = answer_seconds(caller);
    let asked = caller.told("ask");
    let number = |value: &Value, name: &str| value[name].as_f64().expect("a number");
    // A question takes a second, and a caller's own buffer holds some of what it hears.
    let ends = number(&asked, "asked_at") + 1.0 + number(&asked, "answered_after") + length + 0.7;
    caller.told("hear 0.6");
    happens(caller);
    let back = caller.told("back");
    assert!(number(&back, "back_after") <= BACK_SECONDS, "{back}");
    caller.told("quiet");
    let saw = caller.told("hear 0.1");
    let spans =
        saw["spans"].as_array().into_iter().flatten().map(|span| [0, 1].map(|at| span[at].as_f64().unwrap_or(0.0)));
    let answered = number(&back, "asked_at") + 1.0;
    let stale: Vec<_> = spans.filter(|[from, to]| *from < answered && *to > ends).collect();
    assert!(stale.is_empty(), "nothing old is heard after {ends}: {stale:?} in {saw}");
    assert_eq!(saw["agents_there"].as_array().map(Vec::len), Some(1), "one agent is in the room: {saw}");
    saw
}

/// The agent is not the same participant any more, or is.
fn joined_times(saw: &Value) -> u64 {
    saw["agents_heard"].as_u64().expect("a number")
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_server_that_is_killed_and_started_again_goes_on_with_the_call() {
    let mut rooms = Rooms::open();
    let stage = Stage::set(&Agent::of(&rooms));
    let mut caller = Caller::of_python(&rooms, "killed", &stage.voice(), &[]);
    let before = caller.told("agent");
    let saw = survives(&mut caller, |_| {
        rooms.kill();
        rooms.start();
    });
    assert_eq!(before["agent"], saw["agent"], "it is back under its name, with what was said before");
}

/// A server with an unsteady network between it and the agent.
fn behind_a_relay(mode: Mode) -> (Rooms, Relay, Agent) {
    let rooms = Rooms::with(Media::Lite, "");
    let relay = Relay::before(rooms.port, rooms.udp, 8);
    let agent = Agent { mode, port: relay.port, ..Agent::of(&rooms) };
    (rooms, relay, agent)
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_network_that_is_cut_for_five_seconds_goes_on_with_the_call() {
    for mode in [Mode::OneConnection, Mode::TwoConnections] {
        let (rooms, relay, agent) = behind_a_relay(mode);
        let stage = Stage::set(&agent);
        let mut caller = Caller::of_python(&rooms, "cut", &stage.voice(), &[]);
        survives(&mut caller, |caller| {
            relay.weather(Weather { is_cut: true, ..Weather::default() });
            caller.told("hear 5");
            relay.weather(Weather::default());
        });
        let (lost, passed) = relay.counts();
        assert!(lost > 100 && passed > 100, "media went through the relay, or did not: {lost} and {passed}");
    }
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn signalling_that_is_lost_is_resumed_as_the_same_participant() {
    for mode in [Mode::OneConnection, Mode::TwoConnections] {
        let (rooms, relay, agent) = behind_a_relay(mode);
        let stage = Stage::set(&agent);
        let mut caller = Caller::of_python(&rooms, "resumed", &stage.voice(), &[]);
        let saw = survives(&mut caller, |_| relay.reset());
        assert_eq!(joined_times(&saw), 1, "{saw}");
    }
}

/// What a server says that wants a participant to go.
fn leave(action: Action, regions: &[String]) -> Vec<u8> {
    let regions = regions.iter().map(|url| RegionInfo { url: url.clone(), ..RegionInfo::default() }).collect();
    let leave =
        LeaveRequest { action: action.into(), regions: Some(RegionSettings { regions }), ..LeaveRequest::default() };
    SignalResponse { message: Some(Says::Leave(leave)) }.encode_to_vec()
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_server_that_says_to_come_back_is_joined_again() {
    let (rooms, relay, agent) = behind_a_relay(Mode::OneConnection);
    let stage = Stage::set(&agent);
    let mut caller = Caller::of_python(&rooms, "again", &stage.voice(), &[]);
    let saw = survives(&mut caller, |_| relay.say(leave(Action::Reconnect, &[])));
    assert_eq!(joined_times(&saw), 2, "{saw}");
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_room_that_moves_to_another_region_is_followed_there() {
    let (rooms, relay, agent) = behind_a_relay(Mode::OneConnection);
    let elsewhere = Rooms::open();
    let stage = Stage::set(&agent);
    let mut caller = Caller::of_python(&rooms, "moved", &stage.voice(), &[]);
    let before = caller.told("agent");
    answer_seconds(&mut caller);
    let mut moved = Caller::of_python(&elsewhere, "moved", &stage.voice(), &[]);
    moved.told("hear 0.1");
    let nobody = "ws://127.0.0.1:9".to_owned();
    relay.say(leave(Action::Reconnect, &[nobody, elsewhere.url()]));
    let back = moved.number("back", "back_after");
    assert!(back <= BACK_SECONDS, "{back}");
    let saw = moved.told("hear 0");
    assert_eq!(saw["agents_there"][0], before["agent"], "the agent that was there: {saw}");
    assert_eq!(caller.told("hear 0")["agents_there"], Value::Array(Vec::new()), "it is not in both rooms");
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn a_server_that_says_to_leave_is_left() {
    let (rooms, relay, agent) = behind_a_relay(Mode::OneConnection);
    let stage = Stage::set(&agent);
    let mut caller = Caller::of_python(&rooms, "left", &stage.voice(), &[]);
    caller.told("agent");
    relay.say(leave(Action::Disconnect, &[]));
    caller.told("alone");
}

/// What `rspp livekit-check` says with this secret, and its exit code.
fn told(rooms: &Rooms, secret: &str) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    command.args(["livekit-check", &rooms.url()]).env("LIVEKIT_API_KEY", KEY).env("LIVEKIT_API_SECRET", secret);
    let output = command.output().expect("cargo has built the program");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!said.contains(secret), "a secret is shown nowhere: {said}");
    (said, output.status.code())
}

#[test]
#[ignore = "needs livekit-server"]
fn livekit_check_says_what_works_and_what_does_not() {
    let rooms = Rooms::open();
    let (said, code) = told(&rooms, SECRET);
    let works = ["works: register as a worker", "works: join a room by /rtc/v1", "works: join a room by /rtc"];
    assert!(code == Some(0) && works.iter().all(|step| said.contains(step)), "{code:?}: {said}");
    let (said, code) = told(&rooms, "another-secret-that-the-server-has-not");
    assert!(
        code == Some(1) && said.contains("FAILS: register as a worker") && said.contains("401"),
        "{code:?}: {said}"
    );
}
