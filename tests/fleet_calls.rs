//! Calls on workers that a control plane leads: routes, lost workers, a control plane that is away, draining.
#![cfg(unix)]

#[path = "serve/client.rs"]
mod client;
#[path = "fleet/house.rs"]
mod house;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use client::{Client, Seen};
use house::{Plane, Worker};
use rspp::adapters::admission::Priority;
use rspp::adapters::token::{AUDIENCE, Claims, Issuer, now};
use rspp::controlplane::session::State;
use rspp::controlplane::wire::{Route, RouteRequest, SessionStory, Workers};
use serde_json::{Value, json};

/// A control plane with the tests' pipeline rolled out.
fn plane() -> Plane {
    let plane = Plane::start();
    plane.says(&["publish", "tests/serve/pipeline.yaml"]);
    plane.says(&["rollout", "served", "--version", "1"]);
    plane
}

fn route(plane: &Plane, session: &str) -> Route {
    let session = Some(session.to_owned());
    let ask = RouteRequest { tenant: "acme".into(), session, pipeline: "served".into(), region: None };
    plane.client().post("/v1/sessions", &ask).unwrap_or_else(|error| panic!("{error}"))
}

fn reroute(plane: &Plane, route: &Route, secret: &str) -> Result<Route, String> {
    let ask = json!({"tenant": route.tenant, "session": route.session, "secret": secret});
    plane.client().post("/v1/reroute", &ask).map_err(|error| error.to_string())
}

fn address(route: &Route) -> SocketAddr {
    route.endpoint.strip_prefix("ws://").and_then(|address| address.parse().ok()).expect("it is an address")
}

/// What a worker says at this path.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A call with this token.
fn call(address: SocketAddr, token: &str) -> Client {
    let mut client = Client::connect(address);
    client.say(&json!({"type": "hello", "version": 1, "token": token}).to_string());
    client
}

/// A turn, from its text to the agent's words.
fn ask(client: &mut Client) -> Value {
    client.say(r#"{"type":"text","text":"what are your opening hours"}"#);
    let said = client.until("an answer", |seen| match seen {
        Seen::Told(told) => told["type"] == "caption" && told["who"] == "agent" && told["final"] == true,
        Seen::Audio { .. } => false,
    });
    match said {
        Seen::Told(told) => told,
        Seen::Audio { .. } => unreachable!("only what is told was wanted"),
    }
}

/// Asks until something is so. Nothing here takes nearly so long.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < client::PATIENCE, "{what} does not come to be");
        std::thread::yield_now();
    }
}

fn state(plane: &Plane, session: &str) -> State {
    let story: SessionStory = plane.client().get(&format!("/v1/sessions/acme/{session}")).expect("it is there");
    story.session.state
}

#[test]
fn a_route_leads_to_a_worker_and_the_control_plane_hears_how_the_call_fares() {
    let plane = plane();
    let _workers = [Worker::start(&plane, "w1", &[]), Worker::start(&plane, "w2", &[])];
    let routes = [route(&plane, "one"), route(&plane, "two")];
    assert_ne!(routes[0].worker, routes[1].worker, "the emptier one is taken");
    let mut one = call(address(&routes[0]), &routes[0].token);
    assert_eq!(one.until_told("ready", &[])["session"], "one");
    ask(&mut one);
    until("it runs", || (state(&plane, "one") == State::Running).then_some(()));
    let mut elsewhere = call(address(&routes[0]), &routes[1].token);
    let (code, reason) = elsewhere.until_closed().expect("it is told why");
    assert!(code == 4401 && reason.contains("leads to"), "{code} {reason}");
    one.say(r#"{"type":"end"}"#);
    one.until_closed();
    until("it is over", || (state(&plane, "one") == State::Ended).then_some(()));
    assert_eq!(get(address(&routes[0]), "/readyz"), "ok\n");
    plane.says(&["drain", &routes[0].worker]);
    until("it is ready for no more", || get(address(&routes[0]), "/readyz").contains("no more").then_some(()));
    assert_eq!(get(address(&routes[0]), "/healthz"), "ok\n", "it works all the same");
}

#[test]
fn a_killed_worker_s_session_is_led_to_another_under_a_higher_epoch() {
    let plane = plane();
    let mut workers = [("w1", Worker::start(&plane, "w1", &[])), ("w2", Worker::start(&plane, "w2", &[]))];
    let first = route(&plane, "call");
    let secret = first.secret.clone().expect("it is new");
    let mut client = call(address(&first), &first.token);
    client.until_told("ready", &[]);
    let at = workers.iter().position(|(name, _)| *name == first.worker).expect("it is one of them");
    workers[at].1.kill();
    let moved = until("it moves", || reroute(&plane, &first, &secret).ok().filter(|route| route.moved));
    assert!(moved.epoch > first.epoch && moved.worker != first.worker);
    let mut again = call(address(&moved), &moved.token);
    assert_eq!(again.until_told("ready", &[])["session"], "call");
    ask(&mut again);
    // The dead one's name comes back with a life of its own, and no old route opens anything there.
    let back = Worker::start(&plane, &first.worker, &[]);
    let (code, reason) = call(back.address, &first.token).until_closed().expect("it is told why");
    assert!(code == 4410 && reason.contains("earlier life"), "{code} {reason}");
    let late = Claims { exp: now() + 30, ..claims("call") };
    let (other, _) = Issuer::fresh().expect("there is randomness");
    assert!(call(back.address, &other.issue(&late)).until_closed().is_some_and(|(code, _)| code == 4401));
}

/// It stood still for longer than its lease, does not know of it, and goes on where it stood.
#[test]
fn a_worker_that_wakes_too_late_is_refused_by_the_control_plane_and_lets_its_callers_go() {
    let plane = plane();
    let workers = [("w1", Worker::start(&plane, "w1", &[])), ("w2", Worker::start(&plane, "w2", &[]))];
    let first = route(&plane, "call");
    let secret = first.secret.clone().expect("it is new");
    let mut old = call(address(&first), &first.token);
    old.until_told("ready", &[]);
    let (_, stopped) = workers.iter().find(|(name, _)| *name == first.worker).expect("it is one of them");
    stopped.signal("STOP");
    let moved = until("it moves", || reroute(&plane, &first, &secret).ok().filter(|route| route.moved));
    let mut new = call(address(&moved), &moved.token);
    new.until_told("ready", &[]);
    ask(&mut new);
    stopped.signal("CONT");
    let (code, _) = old.until_closed().expect("it is told why");
    assert_eq!(code, 4410, "the old line is cut");
    let back = until("it begins another life", || {
        let all: Workers = plane.client().get("/v1/workers").expect("it answers");
        all.workers.into_iter().find(|worker| worker.name == first.worker && worker.incarnation == 2)
    });
    assert_eq!(back.sessions, 0);
    let story: SessionStory = plane.client().get("/v1/sessions/acme/call").expect("it is there");
    assert_eq!((story.session.epoch, story.session.worker), (moved.epoch, moved.worker.clone()));
    ask(&mut new);
}

#[test]
fn a_worker_whose_lease_is_taken_ends_its_calls_and_comes_back_empty() {
    let plane = plane();
    let _worker = Worker::start(&plane, "w1", &[]);
    let first = route(&plane, "call");
    let mut client = call(address(&first), &first.token);
    client.until_told("ready", &[]);
    ask(&mut client);
    plane.says(&["drain", "w1", "--revoke"]);
    let (code, reason) = client.until_closed().expect("it is told why");
    assert!(code == 4410 && reason.contains("route"), "{code} {reason}");
    let back = until("it registers again", || {
        let all: Workers = plane.client().get("/v1/workers").expect("it answers");
        all.workers.into_iter().find(|worker| worker.incarnation == 2)
    });
    assert_eq!(back.sessions, 0);
}

fn claims(session: &str) -> Claims {
    let word = |text: &str| text.to_owned();
    let (tenant, pipeline, session) = (word("acme"), word("served"), word(session));
    let (priority, iat, exp) = (Priority::Interactive, now(), now() + 60);
    Claims { aud: word(AUDIENCE), tenant, pipeline, session, priority, iat, exp, lease: None }
}

#[test]
fn while_the_control_plane_is_away_calls_go_on_and_new_ones_go_by_the_last_view() {
    let mut plane = plane();
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let (issuer, _) = Issuer::fresh().expect("there is randomness");
    let key = folder.path().join("app.pub.pem");
    std::fs::write(&key, issuer.public().to_pem()).expect("there is room");
    let worker = Worker::start(&plane, "w1", &["--token-key", &key.display().to_string()]);
    let first = route(&plane, "call");
    let mut running = call(address(&first), &first.token);
    running.until_told("ready", &[]);
    plane.kill();
    let mut fresh = call(worker.address, &issuer.issue(&claims("fresh")));
    assert_eq!(fresh.until_told("ready", &[])["session"], "fresh.w1");
    ask(&mut running);
    let mut number = 0;
    let reason = until("the view is too old", || {
        number += 1;
        let mut client = call(worker.address, &issuer.issue(&claims(&format!("late-{number}"))));
        let said = client.until("ready or an end", |seen| match seen {
            Seen::Told(told) => told["type"] == "ready" || told["type"] == "ended",
            Seen::Audio { .. } => false,
        });
        match said {
            Seen::Told(told) if told["type"] == "ended" => Some(told),
            _ => None,
        }
    });
    assert_eq!(reason["reason"], "deferred", "{reason}");
    ask(&mut running);
    plane.start_again();
    until("new ones are let in again", || {
        number += 1;
        let mut client = call(worker.address, &issuer.issue(&claims(&format!("late-{number}"))));
        client.next().filter(|seen| matches!(seen, Seen::Told(told) if told["type"] == "ready"))
    });
    assert_eq!(state(&plane, "call"), State::Running, "nobody was taken for dead");
    ask(&mut running);
}

/// The tests' pipeline as another version, whose agent says something else.
fn other_version(folder: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = root.join("specs/examples");
    let dialogue = std::fs::read_to_string(examples.join("restaurant.dialogue.yaml")).expect("it is there");
    let dialogue = dialogue.replace("I did not understand", "I did not get that");
    std::fs::write(folder.join("other.dialogue.yaml"), dialogue).expect("there is room");
    let captions = std::fs::read_to_string(examples.join("restaurant.captions.yaml")).expect("it is there");
    std::fs::write(folder.join("restaurant.captions.yaml"), captions).expect("there is room");
    let spec = std::fs::read_to_string(root.join("tests/serve/pipeline.yaml")).expect("it is there");
    let spec =
        spec.replace("version: 1", "version: 2").replace("../../specs/examples/restaurant.dialogue", "other.dialogue");
    let path = folder.join("other.yaml");
    std::fs::write(&path, spec.replace("../../specs/examples/", "")).expect("there is room");
    path.display().to_string()
}

/// A running call has the next turn by the version that holds then, also when that is an earlier one; and its conversation
/// goes on.
#[test]
fn a_running_call_follows_its_rollout_from_one_turn_to_the_next_and_back() {
    let plane = plane();
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let journal = folder.path().join("journal").display().to_string();
    let _worker = Worker::start(&plane, "w1", &["--journal", &journal]);
    let first = route(&plane, "call");
    let mut client = call(address(&first), &first.token);
    client.until_told("ready", &[]);
    // Each turn is heard to its end before the next: sessions go over where they are at rest.
    let turn = |client: &mut Client| {
        client.say(r#"{"type":"text","text":"what are your opening hours"}"#);
        let said = client.until_told("heard", &[]);
        said["text"].as_str().unwrap_or_default().to_owned()
    };
    let plain = turn(&mut client);
    assert!(plain.contains("understand"), "{plain}");
    plane.says(&["publish", &other_version(folder.path())]);
    for (command, word) in [
        (&["rollout", "served", "--version", "2", "--percent", "100"][..], "get that"),
        (&["rollback", "served"], "understand"),
    ] {
        plane.says(command);
        let began = std::time::Instant::now();
        let said = until("it follows", || Some(turn(&mut client)).filter(|said| said.contains(word)));
        eprintln!("{}: an answer by it was heard after {:?}", command[0], began.elapsed());
        assert!(said.contains(word));
    }
    assert_eq!(client.told().iter().filter(|told| told["type"] == "ready").count(), 1, "on one line");
}

#[test]
fn a_worker_that_is_told_to_end_takes_no_more_and_lets_its_calls_come_to_an_end() {
    let plane = plane();
    let worker = Worker::start(&plane, "w1", &[]);
    let first = route(&plane, "call");
    let mut client = call(address(&first), &first.token);
    client.until_told("ready", &[]);
    worker.signal("TERM");
    until("it is known to drain", || {
        let all: Workers = plane.client().get("/v1/workers").expect("it answers");
        all.workers.into_iter().find(|worker| worker.standing.name() == "draining")
    });
    client.say(r#"{"type":"end"}"#);
    client.until_closed();
    worker.ended();
    assert_eq!(state(&plane, "call"), State::Ended, "its last word was heard");
}
