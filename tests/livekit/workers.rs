//! Several workers of one server: who is sent where, who is asked no more, and what the server's services tell of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rspp::adapters::secret::Secrets;
use rspp::adapters::server::Limits;
use rspp::livekit::protocol::{CreateRoomRequest, WebhookEvent};
use rspp::livekit::services::Services;
use rspp::livekit::token::Keys;
use rspp::livekit::webhook::WebhookError;
use rspp::livekit::worker::endpoint;
use rspp::serve::Serve;
use rspp::specs::binding::KeyReference;
use tempfile::TempDir;

use super::house::House;
use super::rooms::{Agent, Caller, KEY, Media, PATIENCE, Rooms, SECRET, Stage};

fn keys(folder: &TempDir) -> Keys {
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).expect("a file can be written");
    let secrets = Secrets::beside(folder.path());
    Keys::new(KEY, secrets.read(&KeyReference::File(path.display().to_string())).expect("it is there"))
}

/// A server's services, asked one thing after the other.
struct Desk {
    services: Services,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

impl Desk {
    fn of(rooms: &Rooms) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let services = Services::new(endpoint(&rooms.url()).expect("an address"), keys(&folder));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a thread");
        Self { services, runtime, _folder: folder }
    }

    fn create(&self, room: &str) {
        let request = CreateRoomRequest { name: room.to_owned(), ..CreateRoomRequest::default() };
        let made = self.runtime.block_on(self.services.create_room(&request)).expect("a room can be made");
        assert_eq!(made.name, room);
    }

    /// The agent in a room, by the name of what it serves, as soon as there is one.
    fn agent_in(&self, room: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let there = self.runtime.block_on(self.services.participants(room)).unwrap_or_default();
            if let Some(agent) = there.first() {
                assert_eq!(there.len(), 1, "one agent is sent to a room: {there:?}");
                return agent.name.clone();
            }
            assert!(Instant::now() < until, "no agent comes to {room}");
            std::thread::yield_now();
        }
    }

    /// How many rooms each has, of these.
    fn shares(&self, rooms: &[String]) -> BTreeMap<String, usize> {
        let mut shares = BTreeMap::new();
        rooms.iter().for_each(|room| *shares.entry(self.agent_in(room)).or_default() += 1);
        shares
    }
}

fn stage(agent: &Agent, name: &'static str, connections: usize) -> Stage {
    let limits = Limits { connections, ..Limits::default() };
    Stage::named(agent, name, Serve { limits, drain: Duration::from_millis(500), ..House::options() })
}

#[test]
#[ignore = "needs livekit-server"]
fn workers_share_the_rooms_by_their_load_and_one_that_drains_gets_no_more() {
    let rooms = Rooms::open();
    let agent = Agent { name: "waiter", ..Agent::of(&rooms) };
    // Of five places, 0.7 are taken by the fourth room.
    let (small, large) = (stage(&agent, "small", 5), stage(&agent, "large", 200));
    let desk = Desk::of(&rooms);
    let begun: Vec<String> = (0..16).map(|number| format!("room-{number}")).collect();
    for room in &begun {
        desk.create(room);
        let sent = desk.runtime.block_on(desk.services.dispatch(room, "waiter")).expect("it is sent");
        assert_eq!(sent.agent_name, "waiter");
        desk.agent_in(room);
    }
    let shares = desk.shares(&begun);
    let of = |name: &str| shares.get(name).copied().unwrap_or_default();
    eprintln!("{shares:?}");
    assert!((1..=4).contains(&of("small")), "as many as it takes: {shares:?}");
    assert_eq!(of("small") + of("large"), begun.len(), "{shares:?}");
    small.house.ask_to_end();
    let more: Vec<String> = (0..6).map(|number| format!("more-{number}")).collect();
    for room in &more {
        desk.create(room);
        desk.runtime.block_on(desk.services.dispatch(room, "waiter")).expect("it is sent");
        assert_eq!(desk.agent_in(room), "large", "who drains is sent nowhere");
    }
    // The server writes a job down some time after its agent has come.
    let until = Instant::now() + PATIENCE;
    loop {
        let dispatches = desk.runtime.block_on(desk.services.dispatches(&more[0])).expect("they are told");
        let states = dispatches.iter().flat_map(|dispatch| &dispatch.state);
        let jobs = states.flat_map(|state| &state.jobs).count();
        if jobs == 1 {
            break;
        }
        assert!(jobs == 0 && Instant::now() < until, "{dispatches:?}");
        std::thread::yield_now();
    }
    drop(large);
}

#[test]
#[ignore = "needs livekit-server"]
fn a_new_room_gets_an_agent_that_nobody_asked_for_and_loses_it_when_it_is_closed() {
    let rooms = Rooms::open();
    let _stage = stage(&Agent::of(&rooms), "anybody", 200);
    let desk = Desk::of(&rooms);
    desk.create("new");
    assert_eq!(desk.agent_in("new"), "anybody");
    let there = desk.runtime.block_on(desk.services.rooms()).expect("they are told");
    assert_eq!(there.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), ["new"]);
    desk.runtime.block_on(desk.services.delete_room("new")).expect("it can be closed");
    let refused = desk.runtime.block_on(desk.services.participants("new"));
    assert!(refused.as_ref().map_or(true, Vec::is_empty), "nobody is there: {refused:?}");
}

/// Takes webhooks: the header that is signed, and the body.
fn webhooks() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                read.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&read).into_owned();
            let header = |name: &str| {
                let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
                line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
            };
            let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
            if stream.read_exact(&mut body).is_ok() && tell.send((header("authorization"), body)).is_err() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, told)
}

#[test]
#[ignore = "needs livekit-server"]
fn webhooks_of_the_server_are_believed_and_others_are_not() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (url, told) = webhooks();
    let rooms = Rooms::with(Media::Both, &format!("webhook: {{api_key: {KEY}, urls: ['{url}']}}\n"));
    Desk::of(&rooms).create("told");
    let (signature, body) = told.recv_timeout(PATIENCE).expect("the server tells of a room");
    let (keys, now) = (keys(&folder), rspp::adapters::token::now());
    let event: WebhookEvent = keys.webhook(&signature, &body, now).expect("it is the server's");
    assert_eq!((event.event.as_str(), event.room.map(|room| room.name).as_deref()), ("room_started", Some("told")));
    let altered = [body.as_slice(), b" "].concat();
    assert_eq!(keys.webhook(&signature, &altered, now), Err(WebhookError::Altered));
    assert_eq!(keys.webhook(&signature, &body, now + 7_200), Err(WebhookError::Expired));
    assert_eq!(keys.webhook("Bearer nobody", &body, now), Err(WebhookError::Unsigned));
    let forged = format!("{}AAAA", &signature[..signature.len() - 4]);
    assert_eq!(keys.webhook(&forged, &body, now), Err(WebhookError::Forged));
}

#[test]
#[ignore = "needs livekit-server and LiveKit's library for Python"]
fn only_the_caller_that_is_named_is_heard_and_not_while_it_is_muted() {
    let rooms = Rooms::open();
    let stage = Stage::set(&Agent { caller: Some("ann"), ..Agent::of(&rooms) });
    let mut bob = Caller::of_python(&rooms, "both", &stage.voice(), &["", "caller-bob"]);
    bob.told("hear 0.5");
    let mut ann = Caller::of_python(&rooms, "both", &stage.voice(), &["", "ann"]);
    ann.told("agent");
    let answers = |caller: &mut Caller| caller.told("hear 3.5")["spans"].as_array().map_or(0, Vec::len);
    bob.told("say");
    assert_eq!(answers(&mut bob), 0, "the other one is not heard");
    ann.told("mute");
    ann.told("say");
    assert_eq!(answers(&mut bob), 0, "a microphone that is off says nothing");
    ann.told("unmute");
    ann.told("ask");
    assert!(bob.told("hear 0.2")["spans"].as_array().is_some_and(|spans| !spans.is_empty()), "all hear the answer");
}
