//! A control plane for tests, whose clock is set by hand.

#![allow(dead_code, reason = "each test file uses what it needs")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rspp_controlplane::admission::{Quota, Rules};
use rspp_controlplane::plane::{Caller, Config, Hands, Judged, Plane};
use rspp_controlplane::refusal::Refusal;
use rspp_controlplane::registry::Body;
use rspp_controlplane::rollout::Step;
use rspp_controlplane::store::{Bounds, Sqlite, Store};
use rspp_controlplane::time::Millis;
use rspp_controlplane::wire::{Heartbeat, Registration, RolloutStep, Route, RouteRequest};

/// What time it is, for several control planes.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    /// So many milliseconds pass.
    pub(crate) fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Millis {
        Millis(1_000_000 + self.0.load(Ordering::SeqCst))
    }
}

/// On a store in this file.
pub(crate) fn plane(path: &Path, clock: &Clock) -> Plane {
    let bounds = Bounds { patience: Duration::from_secs(20), max_pages: None };
    over(Box::new(Sqlite::open(path, bounds).expect("the file can be opened")), clock)
}

/// On this store.
pub(crate) fn over(store: Box<dyn Store>, clock: &Clock) -> Plane {
    let clock = clock.clone();
    let hands = Hands {
        judge: Box::new(|body, _| judge(body)),
        sign: Box::new(|grant| format!("{}/{}@{}", grant.tenant, grant.session, grant.epoch)),
        token_key: "the key".into(),
        clock: Box::new(move || clock.now()),
    };
    Plane::new(store, hands, config()).expect("the store can be read")
}

pub(crate) fn config() -> Config {
    let default_quota = Quota { sessions: 1_000_000, per_minute: 1_000_000 };
    Config { rules: Rules { default_quota, headroom_permille: 0, ..Rules::default() }, ..Config::default() }
}

/// A document is `KIND NAME VERSION`, and then whatever.
fn judge(body: &Body) -> Result<Judged, Vec<String>> {
    let wrong = || vec!["a test's document is `KIND NAME VERSION`".to_owned()];
    let mut words = body.text().unwrap_or_default().split_whitespace().map(str::to_owned);
    let (kind, name, version) = (words.next().ok_or_else(wrong)?, words.next().ok_or_else(wrong)?, words.next());
    let version = version.and_then(|version| version.parse().ok()).ok_or_else(wrong)?;
    Ok(Judged { kind, name, version, warnings: Vec::new() })
}

pub(crate) fn body(text: &str) -> Body {
    Body { main: "a".into(), files: [("a".to_owned(), text.to_owned())].into() }
}

/// Publishes version 1 of `assistant` and gives it to all; `worker` is there for so many sessions.
pub(crate) fn open_house(plane: &Plane, workers: &[&str], capacity: u64) {
    let who = Caller::own();
    let digest = plane.publish(&who, &body("PipelineSpec assistant 1")).expect("it is fine").artifact.digest;
    roll(plane, Step::Begin { digest, percent: 100.0, tenants: vec![] }).expect("it is published");
    for name in workers {
        register(plane, name, capacity);
    }
}

pub(crate) fn roll(plane: &Plane, step: Step) -> Result<rspp_controlplane::rollout::Revision, Refusal> {
    plane.roll_out(&Caller::own(), &RolloutStep { kind: "PipelineSpec".into(), name: "assistant".into(), step })
}

/// Gives the incarnation.
pub(crate) fn register(plane: &Plane, name: &str, capacity: u64) -> u64 {
    let endpoint = format!("ws://{name}");
    let pipeline = "assistant".to_owned();
    let request = Registration { endpoint, pipeline, region: String::new(), capacity, program: String::new() };
    plane.register(&Caller::own(), name, &request).expect("it may").incarnation
}

pub(crate) fn beat(incarnation: u64) -> Heartbeat {
    Heartbeat { incarnation, load_permille: 0, health: "ok".into(), draining: false, sessions: vec![] }
}

pub(crate) fn route(plane: &Plane, session: &str) -> Result<Route, Refusal> {
    let request = RouteRequest {
        tenant: "acme".into(),
        session: Some(session.into()),
        pipeline: "assistant".into(),
        region: None,
    };
    plane.route(&Caller::own(), &request)
}
