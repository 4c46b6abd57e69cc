//! Workers are killed under their calls, one after another, and every call goes on, at another one. `CHAOS_CALLS=60
//! CHAOS_KILLS=15 cargo test --test chaos -- --nocapture` is the long form; both say how long the callers waited.
//!
//! What goes on is the session, under its name and a higher epoch: its conversation begins anew.
#![cfg(unix)]

#[path = "serve/client.rs"]
mod client;
#[path = "fleet/house.rs"]
mod house;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use client::PATIENCE;
use house::{Plane, Worker};
use rspp::controlplane::wire::{Route, RouteRequest, SessionStory};
use rspp::fleet::client::Client;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const WORKERS: [&str; 3] = ["w1", "w2", "w3"];

/// What a call tells of itself.
enum News {
    /// It is with this worker now. How long it was without one, if it had one before.
    With(usize, String, Option<Duration>),
    /// It has heard an answer to the end.
    Answered(usize),
}

/// One call, and its way back.
struct Call {
    number: usize,
    client: Client,
    route: Route,
    secret: String,
    news: Sender<News>,
}

impl Call {
    fn begin(plane: &Plane, number: usize, news: Sender<News>) -> Self {
        let session = Some(format!("call-{number}"));
        let ask = RouteRequest { tenant: "acme".into(), session, pipeline: "served".into(), region: None };
        let client = plane.client();
        let route: Route = client.post("/v1/sessions", &ask).unwrap_or_else(|error| panic!("{error}"));
        let secret = route.secret.clone().expect("it is new");
        Self { number, client, route, secret, news }
    }

    /// Talks until it is over; whoever is lost is found again.
    fn talk(mut self, over: &AtomicBool) {
        let mut lost = None;
        while !over.load(Ordering::Relaxed) {
            let Some(mut line) = self.connect() else {
                self.look_for_its_worker(*lost.get_or_insert_with(Instant::now));
                continue;
            };
            let without = lost.take().map(|lost: Instant| lost.elapsed());
            let _ = self.news.send(News::With(self.number, self.route.worker.clone(), without));
            while !over.load(Ordering::Relaxed) && turn(&mut line).is_some() {
                let _ = self.news.send(News::Answered(self.number));
            }
            lost = Some(Instant::now());
        }
    }

    fn connect(&self) -> Option<WebSocket<TcpStream>> {
        let address: SocketAddr = self.route.endpoint.strip_prefix("ws://")?.parse().ok()?;
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let (mut line, _) = tungstenite::client(format!("ws://{address}/v1/rspp"), stream).ok()?;
        let hello = json!({"type": "hello", "version": 1, "token": self.route.token});
        line.send(Message::text(hello.to_string())).ok()?;
        until(&mut line, |told| told["type"] == "ready")?;
        Some(line)
    }

    fn look_for_its_worker(&mut self, lost: Instant) {
        assert!(lost.elapsed() < PATIENCE, "call {} finds nobody", self.number);
        let ask = json!({"tenant": "acme", "session": self.route.session, "secret": self.secret});
        if let Ok(route) = self.client.post::<Route>("/v1/reroute", &ask) {
            assert!(route.epoch >= self.route.epoch, "epochs only rise");
            self.route = route;
        }
    }
}

/// A question, and its answer to the end; `None` if the line breaks.
fn turn(line: &mut WebSocket<TcpStream>) -> Option<()> {
    line.send(Message::text(r#"{"type":"text","text":"what are your opening hours"}"#)).ok()?;
    until(line, |told| told["type"] == "heard").map(drop)
}

fn until(line: &mut WebSocket<TcpStream>, is: impl Fn(&Value) -> bool) -> Option<Value> {
    loop {
        if let Message::Text(text) = line.read().ok()? {
            let told: Value = serde_json::from_str(&text).ok()?;
            if is(&told) {
                return Some(told);
            }
            if told["type"] == "ended" {
                return None;
            }
        }
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Reads news until something is so of all calls.
fn wait(
    news: &Receiver<News>,
    with: &mut [String],
    waits: &mut Vec<Duration>,
    mut is: impl FnMut(&News, &[String]) -> bool,
) {
    loop {
        let one = news.recv_timeout(PATIENCE).expect("calls go on");
        if let News::With(call, worker, without) = &one {
            with[*call].clone_from(worker);
            waits.extend(*without);
        }
        if is(&one, with) {
            return;
        }
    }
}

#[test]
fn every_call_goes_on_when_its_worker_is_killed() {
    let (calls, kills) = (number("CHAOS_CALLS", 6), number("CHAOS_KILLS", 2));
    let plane = Plane::start();
    plane.says(&["publish", "tests/serve/pipeline.yaml"]);
    plane.says(&["rollout", "served", "--version", "1"]);
    let mut workers = WORKERS.map(|name| Worker::start(&plane, name, &[]));
    let (over, (tell, news)) = (AtomicBool::new(false), channel());
    let (mut with, mut waits) = (vec![String::new(); calls], Vec::new());
    std::thread::scope(|threads| {
        for number in 0..calls {
            let call = Call::begin(&plane, number, tell.clone());
            let over = &over;
            threads.spawn(move || call.talk(over));
        }
        wait(&news, &mut with, &mut waits, |_, with| with.iter().all(|worker| !worker.is_empty()));
        for kill in 0..kills {
            let which = kill % WORKERS.len();
            workers[which].kill();
            let victims: Vec<usize> = (0..calls).filter(|call| with[*call] == WORKERS[which]).collect();
            let mut answered = vec![false; calls];
            if !victims.is_empty() {
                // Each is with another one, and has heard an answer there.
                wait(&news, &mut with, &mut waits, |one, with| {
                    if let News::Answered(call) = one {
                        answered[*call] |= with[*call] != WORKERS[which];
                    }
                    victims.iter().all(|call| answered[*call])
                });
            }
            workers[which] = Worker::start(&plane, WORKERS[which], &[]);
        }
        over.store(true, Ordering::Relaxed);
    });
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    eprintln!("{} losses; callers waited p50 {:?}, p95 {:?}, at most {:?}", waits.len(), at(50), at(95), at(100));
    for call in 0..calls {
        let story: SessionStory =
            plane.client().get(&format!("/v1/sessions/acme/call-{call}")).unwrap_or_else(|error| panic!("{error}"));
        assert!(story.journey.is_sorted_by(|a, b| a.epoch < b.epoch), "{story:?}");
    }
}
