//! What a worker knows of its place in the fleet: its lease, the last view, its sessions. Callers are let in by it, without asking
//! anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rspp_adapters::bridge::Pipeline;
use rspp_adapters::server::{Authority, Begun, Witness};
use rspp_adapters::token::{Claims, LeaseClaim};
use rspp_adapters::transport::{Refusal, RefusalCode};
use rspp_controlplane::lease::{Standing, Tenure, Terms};
use rspp_controlplane::plane::PIPELINE;
use rspp_controlplane::rollout::{Revision, choose};
use rspp_controlplane::session::State;
use rspp_controlplane::time::Millis;
use rspp_controlplane::wire::{Done, Heartbeat, Pulse, SessionReport, View, WhenStale};
use rspp_specs::ids::LeaseEpoch;
use rspp_specs::plan::PlanHash;

use super::client::Client;
use super::shelf::Shelf;

/// A worker's seat.
pub struct Seat {
    name: String,
    pipeline: String,
    shelf: Arc<Shelf>,
    /// The control plane, for what can't wait for the next heartbeat.
    plane: Client,
    began: Instant,
    known: Mutex<Known>,
}

/// By customer and name.
type Name = (String, String);

struct Known {
    terms: Terms,
    /// None before it has registered.
    tenure: Option<Tenure>,
    standing: Standing,
    /// The process is told to end.
    ends: bool,
    view: View,
    /// When it was known last that the view is the newest.
    view_at: Millis,
    sessions: BTreeMap<Name, Here>,
    /// Reports that the control plane has not had yet.
    news: BTreeMap<Name, SessionReport>,
}

/// A session that is here.
struct Here {
    epoch: u64,
    over: bool,
    /// Which version it runs, or is about to.
    digest: String,
    /// By what the rollout chooses.
    chosen_by: String,
}

/// Reports that wait at most, while the control plane is away; the oldest names go first.
const MAX_NEWS: usize = 10_000;

impl Seat {
    /// Of a worker that has seen its first view, and has no lease yet.
    pub fn new(name: &str, pipeline: &str, shelf: Arc<Shelf>, plane: Client, view: View) -> Self {
        let known = Known {
            terms: Terms::default(),
            tenure: None,
            standing: Standing::Live,
            ends: false,
            view,
            view_at: Millis(0),
            sessions: BTreeMap::new(),
            news: BTreeMap::new(),
        };
        let (name, pipeline) = (name.to_owned(), pipeline.to_owned());
        Self { name, pipeline, shelf, plane, began: Instant::now(), known: Mutex::new(known) }
    }

    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The worker's own time.
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The incarnation whose lease is to be renewed, if it is time; and what is to be said with that.
    pub fn next_beat(&self, load_permille: u64, health: &str) -> Option<Heartbeat> {
        let now = self.now();
        let mut known = self.known();
        let terms = known.terms;
        let tenure = known.tenure.filter(|tenure| tenure.wants_renewal(now, terms))?;
        Some(Heartbeat {
            incarnation: tenure.incarnation,
            load_permille,
            health: health.to_owned(),
            draining: known.ends || known.standing == Standing::Draining,
            sessions: std::mem::take(&mut known.news).into_values().collect(),
        })
    }

    /// What is said at the end, whether it is time or not.
    pub fn last_beat(&self) -> Option<Heartbeat> {
        let mut known = self.known();
        let tenure = known.tenure.filter(|tenure| !tenure.is_over)?;
        let sessions = std::mem::take(&mut known.news).into_values().collect();
        let (incarnation, health) = (tenure.incarnation, "ends".to_owned());
        Some(Heartbeat { incarnation, load_permille: 0, health, draining: true, sessions })
    }

    /// How many sessions are here.
    pub fn sessions(&self) -> u64 {
        self.known().sessions.len() as u64
    }

    /// What was said at this time was heard.
    pub fn on_pulse(&self, asked_at: Millis, pulse: &Pulse) {
        let mut known = self.known();
        if let Some(tenure) = &mut known.tenure {
            tenure.on_renewed(asked_at);
        }
        known.standing = pulse.standing;
        if pulse.view_version == known.view.version {
            known.view_at = known.view_at.max(asked_at);
        }
        for report in &pulse.stale {
            known.end(&(report.tenant.clone(), report.session.clone()), report.epoch);
        }
    }

    /// What was to be said was not heard: it is said again, unless there is newer word.
    pub fn on_silence(&self, beat: Heartbeat) {
        let mut known = self.known();
        for report in beat.sessions {
            known.news.entry((report.tenant.clone(), report.session.clone())).or_insert(report);
        }
    }

    /// The lease is over: nothing that was begun under it may be heard any more.
    pub fn on_over(&self) {
        let mut known = self.known();
        if let Some(tenure) = &mut known.tenure {
            tenure.on_over();
        }
        known.news.clear();
        known.sessions.values_mut().for_each(|here| here.over = true);
    }

    /// There is a lease, under an incarnation that nobody had.
    pub fn on_registered(&self, tenure: Tenure, terms: Terms) {
        let mut known = self.known();
        (known.tenure, known.terms, known.standing) = (Some(tenure), terms, Standing::Live);
    }

    /// Whether it has to register.
    pub fn wants_to_register(&self) -> bool {
        self.known().tenure.is_none_or(|tenure| tenure.is_over)
    }

    /// The version of the view that is gone by.
    pub fn view_version(&self) -> u64 {
        self.known().view.version
    }

    /// There is a view that was asked for at this time; the same one, if none is given.
    pub fn on_view(&self, asked_at: Millis, view: Option<View>) {
        let mut known = self.known();
        if let Some(view) = view {
            known.view = view;
        }
        known.view_at = known.view_at.max(asked_at);
    }

    /// The process ends: no more sessions are taken.
    pub fn on_end(&self) {
        self.known().ends = true;
    }

    fn routed(&self, claims: &Claims, lease: &LeaseClaim) -> Result<(LeaseEpoch, String), Refusal> {
        if lease.worker != self.name {
            let says = format!("the route leads to {}, and this is {}", lease.worker, self.name);
            return Err(Refusal::fatal(RefusalCode::Unauthorized, says));
        }
        let name = (claims.tenant.clone(), claims.session.clone());
        let known = self.known();
        if known.tenure.is_none_or(|tenure| tenure.incarnation != lease.incarnation) {
            let says = format!("the route leads to an earlier life of {}: ask for it again", self.name);
            return Err(Refusal::fatal(RefusalCode::Moved, says));
        }
        if known.sessions.get(&name).is_some_and(|here| here.epoch > lease.epoch) {
            return Err(Refusal::fatal(RefusalCode::Moved, "the route is of an earlier epoch: ask for it again"));
        }
        Ok((LeaseEpoch(lease.epoch), lease.digest.clone()))
    }

    /// Without a route, what was known last decides, within its bound.
    fn by_view(&self, claims: &Claims) -> Result<(LeaseEpoch, String), Refusal> {
        let now = self.now();
        let known = self.known();
        let view = &known.view;
        let says = if view.form != View::FORM {
            format!("the view is of form {}, which is not understood here", view.form)
        } else if now.since(known.view_at) > view.staleness_bound_ms {
            let age = now.since(known.view_at) / 1_000;
            format!("nothing was heard of the control plane for {age} s, longer than a view may be gone by")
        } else if let Some(revision) = rollout_of(view, &self.pipeline) {
            let digest = choose(&revision.rollout, &self.pipeline, &claims.tenant, &claims.session);
            return Ok((LeaseEpoch::default(), digest.to_owned()));
        } else {
            format!("no version of {} is rolled out", self.pipeline)
        };
        match view.when_stale {
            WhenStale::Defer => Err(Refusal::fatal(RefusalCode::Deferred, says)),
            WhenStale::Reject => Err(Refusal::fatal(RefusalCode::Unauthorized, says)),
        }
    }
}

impl Known {
    fn end(&mut self, name: &Name, epoch: u64) {
        if let Some(here) = self.sessions.get_mut(name).filter(|here| here.epoch == epoch) {
            here.over = true;
        }
    }

    fn report(&mut self, (tenant, session): &Name, epoch: u64, state: State) {
        // Sessions that nobody was asked about have no epoch, and the control plane knows nothing of them.
        if epoch == 0 {
            return;
        }
        if self.news.len() >= MAX_NEWS {
            self.news.pop_first();
        }
        let report = SessionReport { tenant: tenant.clone(), session: session.clone(), epoch, state };
        self.news.insert((tenant.clone(), session.clone()), report);
    }
}

/// The rollout of a pipeline.
pub(super) fn rollout_of<'a>(view: &'a View, pipeline: &str) -> Option<&'a Revision> {
    view.rollouts.iter().find(|revision| revision.kind == PIPELINE && revision.name == pipeline)
}

/// The seat, for the server.
pub struct Seated(pub Arc<Seat>);

impl Authority for Seated {
    fn begin(&self, claims: Option<&Claims>) -> Result<Begun, Refusal> {
        let seat = &self.0;
        self.is_ready().map_err(|says| Refusal::fatal(RefusalCode::Deferred, says))?;
        let none = || Refusal::fatal(RefusalCode::Unauthorized, "a worker lets in who has a token");
        let claims = claims.ok_or_else(none)?;
        let (epoch, digest) = match &claims.lease {
            Some(lease) => seat.routed(claims, lease)?,
            None => seat.by_view(claims)?,
        };
        let fetched = || Refusal::fatal(RefusalCode::Deferred, "the version is being fetched: come again in a moment");
        let pipeline = seat.shelf.get(&digest).ok_or_else(fetched)?;
        // Two workers that nobody coordinates may be sent the same name: each calls it its own.
        let session = claims.lease.is_none().then(|| format!("{}.{}", claims.session, seat.name));
        let name = (claims.tenant.clone(), session.clone().unwrap_or_else(|| claims.session.clone()));
        let here = Here { epoch: epoch.0, over: false, digest, chosen_by: claims.session.clone() };
        seat.known().sessions.insert(name.clone(), here);
        let witness = Arc::new(Watch { seat: Arc::clone(seat), name, epoch: epoch.0 });
        Ok(Begun { session, epoch, pipeline, witness: Some(witness) })
    }

    fn version_of(&self, plan: &PlanHash) -> Option<Pipeline> {
        self.0.shelf.by_plan(plan)
    }

    fn gives_up(&self) -> bool {
        let known = self.0.known();
        known.ends || known.standing == Standing::Draining
    }

    fn is_ready(&self) -> Result<(), String> {
        let known = self.0.known();
        let says = if known.ends || known.standing == Standing::Draining {
            "the worker takes no more sessions: ask for a route"
        } else if known.tenure.is_none_or(|tenure| tenure.is_over) {
            "the worker has no lease: ask for a route"
        } else {
            return Ok(());
        };
        Err(says.to_owned())
    }
}

/// One session, for the seat.
struct Watch {
    seat: Arc<Seat>,
    name: Name,
    epoch: u64,
}

impl Witness for Watch {
    fn on_connected(&self) {
        self.seat.known().report(&self.name, self.epoch, State::Running);
    }

    fn on_parted(&self) {
        self.seat.known().report(&self.name, self.epoch, State::Degraded);
    }

    fn is_over(&self) -> bool {
        let known = self.seat.known();
        known.sessions.get(&self.name).is_none_or(|here| here.over || here.epoch != self.epoch)
    }

    fn next_version(&self) -> Option<Pipeline> {
        let mut known = self.seat.known();
        let Known { view, sessions, .. } = &mut *known;
        let here = sessions.get_mut(&self.name).filter(|here| here.epoch == self.epoch)?;
        let rollout = &rollout_of(view, &self.seat.pipeline)?.rollout;
        let digest = choose(rollout, &self.seat.pipeline, &self.name.0, &here.chosen_by);
        if view.form != View::FORM || digest == here.digest {
            return None;
        }
        let pipeline = self.seat.shelf.get(digest)?;
        digest.clone_into(&mut here.digest);
        Some(pipeline)
    }

    fn offer(&self) -> Result<(), String> {
        let (tenant, session) = self.name.clone();
        let report = SessionReport { tenant, session, epoch: self.epoch, state: State::Released };
        let told = self.seat.plane.post::<Done>("/v1/reports", &report);
        told.map(drop).map_err(|error| error.to_string())
    }

    fn on_given_up(&self) {
        let mut known = self.seat.known();
        known.news.remove(&self.name);
        known.end(&self.name, self.epoch);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut known = self.seat.known();
        let is_its_own = known.sessions.get(&self.name).is_some_and(|here| here.epoch == self.epoch);
        if is_its_own
            && let Some(here) = known.sessions.remove(&self.name)
            && !here.over
        {
            known.report(&self.name, self.epoch, State::Ended);
        }
    }
}
