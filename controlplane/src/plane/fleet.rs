//! Workers and sessions.

use serde_json::json;

use super::{Caller, Grant, Plane, gone, named, next_view, random, view_version};
use crate::admission::{self, Decision, Situation};
use crate::audit;
use crate::keys;
use crate::lease::{self, Standing};
use crate::placement::{NoRoom, Wish};
use crate::refusal::{Code, Refusal};
use crate::rollout;
use crate::session::{self, Session, State};
use crate::store::Transaction;
use crate::time::Millis;
use crate::wire::{
    Done, Heartbeat, Pulse, Registered, Registration, RerouteRequest, Route, RouteRequest, SessionReport, SessionStory,
    Sessions, Workers,
};
use crate::worker::{self, Worker};

/// The kind of document that sessions run.
pub const PIPELINE: &str = "PipelineSpec";
/// Sessions in one answer.
const MAX_LISTED: u64 = 1_000;
/// Reports in one heartbeat.
const MAX_REPORTS: usize = 10_000;
/// A worker's text on itself has at most so many bytes.
const MAX_HEALTH_BYTES: usize = 1_024;
/// Workers that are tried for one session: another control plane may have filled them meanwhile.
const MAX_TRIES: usize = 4;

impl Plane {
    /// A worker begins: whoever had its name before has no lease any more.
    ///
    /// # Errors
    /// What it says is wrong, or the store can't.
    pub fn register(&self, who: &Caller, name: &str, request: &Registration) -> Result<Registered, Refusal> {
        named("the worker's name", name)?;
        named("the endpoint", &request.endpoint)?;
        named("the pipeline", &request.pipeline)?;
        let incarnation = self.write(|rows, now| {
            let before = worker::find(rows, name)?;
            let lease = lease::begin(before.as_ref().map(Worker::lease).as_ref(), now, self.config.terms);
            if let Some(before) = &before {
                session::orphan(rows, name, before.incarnation)?;
            }
            let worker = Worker {
                name: name.to_owned(),
                incarnation: lease.incarnation,
                standing: lease.standing,
                expires_at: lease.expires_at,
                endpoint: request.endpoint.clone(),
                pipeline: request.pipeline.clone(),
                region: request.region.clone(),
                program: request.program.clone(),
                capacity: request.capacity,
                sessions: 0,
                load_permille: 0,
                health: worker::HEALTHY.to_owned(),
                seen_at: now,
            };
            worker::keep(rows, &worker)?;
            next_view(rows)?;
            let detail = json!({"incarnation": lease.incarnation, "endpoint": request.endpoint});
            audit::note(rows, now, &who.id, ("worker.register", name), &detail)?;
            Ok(lease.incarnation)
        })?;
        self.refresh()?;
        self.tell_of_change();
        Ok(Registered { incarnation, terms: self.config.terms, view: self.view()? })
    }

    /// A worker is there: its lease is renewed, and what it says of its sessions is taken, where they are its own.
    ///
    /// # Errors
    /// Its lease is over: it stops, and registers again.
    pub fn heartbeat(&self, name: &str, beat: &Heartbeat) -> Result<Pulse, Refusal> {
        if beat.sessions.len() > MAX_REPORTS || beat.health.len() > MAX_HEALTH_BYTES {
            return Err(Refusal::new(Code::Malformed, format!("a heartbeat has at most {MAX_REPORTS} reports")));
        }
        let (worker, pulse) = self.write(|rows, now| {
            let known = worker::find(rows, name)?.ok_or_else(|| stale(name))?;
            let lease = lease::renew(Some(&known.lease()), beat.incarnation, now, self.config.terms)
                .map_err(|_| stale(name))?;
            let standing = if beat.draining { Standing::Draining } else { lease.standing };
            let mut stale = Vec::new();
            for report in &beat.sessions {
                let (tenant, session) = (report.tenant.as_str(), report.session.as_str());
                if !session::tell(rows, (tenant, session), report.epoch, report.state, now)? {
                    stale.push(report.clone());
                }
            }
            let (expires_at, load_permille) = (lease.expires_at, beat.load_permille);
            let worker =
                Worker { standing, expires_at, load_permille, health: beat.health.clone(), seen_at: now, ..known };
            worker::keep(rows, &worker)?;
            let worker = worker::find(rows, name)?.ok_or_else(|| gone("the worker"))?;
            Ok((worker, Pulse { standing, stale, view_version: view_version(rows)? }))
        })?;
        self.placer().set(name, worker.candidate());
        Ok(pulse)
    }

    /// All workers.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn workers(&self) -> Result<Workers, Refusal> {
        self.read(|rows| Ok(Workers { workers: worker::all(rows)? }))
    }

    /// A worker takes no more sessions.
    ///
    /// # Errors
    /// There is none, or its lease is over.
    pub fn drain(&self, who: &Caller, name: &str) -> Result<Done, Refusal> {
        self.set_standing(who, name, Standing::Draining, "worker.drain")
    }

    /// A worker has no lease any more: its sessions go to others.
    ///
    /// # Errors
    /// There is none.
    pub fn revoke(&self, who: &Caller, name: &str) -> Result<Done, Refusal> {
        self.set_standing(who, name, Standing::Over, "worker.revoke")
    }

    fn set_standing(&self, who: &Caller, name: &str, standing: Standing, what: &str) -> Result<Done, Refusal> {
        self.write(|rows, now| {
            let worker = worker::find(rows, name)?;
            let worker = worker.filter(|worker| worker.standing != Standing::Over || standing == Standing::Over);
            let says = || format!("no worker {name} has a lease: `rspp workers` lists those that do");
            let worker = worker.ok_or_else(|| Refusal::new(Code::NotFound, says()))?;
            worker::keep(rows, &Worker { standing, ..worker.clone() })?;
            if standing == Standing::Over {
                session::orphan(rows, name, worker.incarnation)?;
            }
            next_view(rows)?;
            audit::note(rows, now, &who.id, (what, name), &json!({"incarnation": worker.incarnation}))?;
            Ok(())
        })?;
        self.refresh()?;
        self.tell_of_change();
        Ok(Done { done: true })
    }

    /// Buries workers that were not heard of for too long; says which.
    ///
    /// # Errors
    /// The store can't.
    pub fn bury_the_dead(&self) -> Result<Vec<String>, Refusal> {
        let terms = self.config.terms;
        let has_lapsed = |worker: &Worker, now: Millis| {
            worker.standing != Standing::Over && lease::has_lapsed(&worker.lease(), now, self.listening_since, terms)
        };
        let all = self.read(|rows| Ok(worker::all(rows)?))?;
        if !all.iter().any(|worker| has_lapsed(worker, self.now())) {
            return Ok(Vec::new());
        }
        let buried = self.write(|rows, now| {
            let mut buried = Vec::new();
            for worker in worker::all(rows)?.into_iter().filter(|worker| has_lapsed(worker, now)) {
                bury(rows, &worker, now)?;
                buried.push(worker.name);
            }
            Ok(buried)
        })?;
        self.refresh()?;
        self.tell_of_change();
        Ok(buried)
    }

    /// What placement goes by is read anew: another control plane may have given sessions to the same workers.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn refresh(&self) -> Result<(), Refusal> {
        let workers = self.read(|rows| Ok(worker::all(rows)?))?;
        let mut placer = self.placer();
        let known: Vec<String> = placer.names().map(str::to_owned).collect();
        for name in known.iter().filter(|name| !workers.iter().any(|worker| worker.name == **name)) {
            placer.remove(name);
        }
        workers.iter().for_each(|worker| placer.set(&worker.name, worker.candidate()));
        Ok(())
    }

    /// A new session: who has it, and how its caller is let in.
    ///
    /// # Errors
    /// It is not admitted, its name was used, or nobody has room.
    pub fn route(&self, who: &Caller, request: &RouteRequest) -> Result<Route, Refusal> {
        let session = request.session.clone().unwrap_or_else(|| format!("call-{:032x}", random()));
        named("the tenant", &request.tenant)?;
        named("the session", &session)?;
        let secret = format!("{:032x}", random());
        let unknown = || {
            let pipeline = &request.pipeline;
            let says = format!("no version of the pipeline {pipeline} is rolled out: `rspp rollout` begins with one");
            Refusal::new(Code::NotFound, says)
        };
        // Nobody looks for room for what there is not.
        self.read(|rows| rollout::newest(rows, PIPELINE, &request.pipeline)?.map(drop).ok_or_else(unknown))?;
        let wish = Wish { pipeline: &request.pipeline, region: request.region.as_deref(), not: None };
        self.try_workers(wish, |rows, now, worker| {
            let (tenant, pipeline) = (request.tenant.as_str(), request.pipeline.as_str());
            if session::find(rows, tenant, &session)?.is_some() {
                let says = format!("{tenant}: the session {session} was there before; a session's name is used once");
                return Err(Refusal::new(Code::Conflict, says));
            }
            let rollout = rollout::newest(rows, PIPELINE, pipeline)?.ok_or_else(unknown)?;
            self.admit(rows, now, (tenant, pipeline))?;
            let digest = rollout::choose(&rollout.rollout, pipeline, tenant, &session).to_owned();
            let given = lease::give(None, None, (&worker.name, worker.incarnation), lease::newest_epoch(rows)?)
                .map_err(|held| Refusal::new(Code::Conflict, held.to_string()))?;
            lease::keep_epoch(rows, given.epoch)?;
            let one = Session {
                tenant: tenant.to_owned(),
                session: session.clone(),
                pipeline: pipeline.to_owned(),
                digest,
                worker: given.worker,
                incarnation: given.incarnation,
                epoch: given.epoch.0,
                state: State::Placed,
                placed_at: now,
                seen_at: now,
            };
            session::keep(rows, &one, &keys::hash_of(&secret), &format!("begun by {}", who.id))?;
            Ok(self.route_to(&one, worker, now, Some(secret.clone()), false))
        })
    }

    /// Where a session is now; if who had it has no lease any more, it is given to another one.
    ///
    /// # Errors
    /// The secret is wrong, the session is over, or nobody has room.
    pub fn reroute(&self, request: &RerouteRequest) -> Result<Route, Refusal> {
        let found = self.read(|rows| Ok(session::find(rows, &request.tenant, &request.session)?))?;
        let known = found.filter(|(_, hash)| keys::is_secret(&request.secret, hash));
        // Whether there is such a session is nobody's to know who has not its secret.
        let says = "there is no such session, or this is not its secret";
        let (known, _) = known.ok_or_else(|| Refusal::new(Code::Unauthorized, says))?;
        if known.state == State::Ended {
            return Err(gone("the session"));
        }
        let holder = self.read(|rows| Ok(worker::find(rows, &known.worker)?))?;
        let lapsed = holder.as_ref().is_none_or(|worker| {
            lease::has_lapsed(&worker.lease(), self.now(), self.listening_since, self.config.terms)
        });
        if let Some(worker) = holder.as_ref().filter(|_| !lapsed)
            && !lease::is_free(known.holding().as_ref(), Some(&worker.lease()))
        {
            return Ok(self.route_to(&known, worker, self.now(), None, false));
        }
        self.give_anew(&known)
    }

    fn give_anew(&self, known: &Session) -> Result<Route, Refusal> {
        let region = self.placer().get(&known.worker).map(|candidate| candidate.region.clone());
        let wish = Wish { pipeline: &known.pipeline, region: region.as_deref(), not: Some(&known.worker) };
        self.try_workers(wish, |rows, now, to| {
            let (tenant, name) = (known.tenant.as_str(), known.session.as_str());
            let (current, _) = session::find(rows, tenant, name)?.ok_or_else(|| gone("the session"))?;
            let holder = worker::find(rows, &current.worker)?;
            let holder = match holder {
                Some(holder) if self.is_lost(&holder, now) => Some(bury(rows, &holder, now)?),
                other => other,
            };
            if current.epoch != known.epoch {
                // Another control plane was asked at the same time, and was first.
                let worker = holder.ok_or_else(|| gone("the worker"))?;
                return Ok(self.route_to(&current, &worker, now, None, true));
            }
            let (lease, newest) = (holder.as_ref().map(Worker::lease), lease::newest_epoch(rows)?);
            let given = lease::give(current.holding().as_ref(), lease.as_ref(), (&to.name, to.incarnation), newest)
                .map_err(|held| Refusal::deferred(held.to_string(), self.config.terms.ttl_ms))?;
            lease::keep_epoch(rows, given.epoch)?;
            let why = format!("{} was lost or gave it up", current.worker);
            let one = Session {
                worker: given.worker,
                incarnation: given.incarnation,
                epoch: given.epoch.0,
                state: State::Placed,
                seen_at: now,
                ..current
            };
            session::keep(rows, &one, "", &why)?;
            let detail = json!({"from": known.worker, "to": to.name, "epoch": given.epoch.0});
            audit::note(rows, now, super::OWN, ("session.move", &format!("{tenant}/{name}")), &detail)?;
            Ok(self.route_to(&one, to, now, None, true))
        })
    }

    fn is_lost(&self, worker: &Worker, now: Millis) -> bool {
        worker.standing != Standing::Over
            && lease::has_lapsed(&worker.lease(), now, self.listening_since, self.config.terms)
    }

    /// Picks a worker, and does this with it, if it still has room when it is alone with the store.
    fn try_workers<T>(
        &self,
        wish: Wish<'_>,
        mut work: impl FnMut(&mut dyn Transaction, Millis, &Worker) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let retry = self.config.rules.retry_after_ms;
        for _ in 0..MAX_TRIES {
            let picked = self.pick(wish).map_err(|error| Refusal::deferred(error.to_string(), retry))?;
            let done = self.write(|rows, now| {
                let worker = worker::find(rows, &picked)?.filter(|worker| {
                    worker.candidate().is_open && worker.sessions < worker.capacity && !self.is_lost(worker, now)
                });
                worker.map(|worker| work(rows, now, &worker)).transpose()
            });
            match done {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => self.refresh()?,
                Err(refusal) => {
                    self.placer().leave(&picked);
                    return Err(refusal);
                }
            }
        }
        Err(Refusal::deferred("the workers fill faster than one can be found", retry))
    }

    /// Rather another one than who had the session, whose name may have a life of its own again; but rather that one than
    /// nobody.
    fn pick(&self, wish: Wish<'_>) -> Result<String, NoRoom> {
        let mut placer = self.placer();
        placer.place(wish).or_else(|_| placer.place(Wish { not: None, ..wish }))
    }

    fn admit(&self, rows: &mut dyn Transaction, now: Millis, whom: (&str, &str)) -> Result<(), Refusal> {
        let (tenant, pipeline) = whom;
        let (capacity, taken) = self.placer().room(pipeline);
        let rules = &self.config.rules;
        let quota = admission::quota(rows, tenant)?.unwrap_or(rules.default_quota);
        let allowance = admission::allowance(rows, tenant)?;
        // The session itself has its place already.
        let taken = taken.saturating_sub(1);
        let situation = Situation { sessions: session::count(rows, tenant)?, allowance, capacity, taken };
        match admission::decide(quota, rules, situation, now) {
            Decision::Admit(left) => Ok(admission::keep_allowance(rows, tenant, left)?),
            Decision::Reject(reason) => Err(Refusal::new(Code::Rejected, format!("{tenant}: {reason}"))),
            Decision::Defer { reason, retry_after_ms } => {
                Err(Refusal::deferred(format!("{tenant}: {reason}"), retry_after_ms))
            }
        }
    }

    fn route_to(&self, one: &Session, worker: &Worker, now: Millis, secret: Option<String>, moved: bool) -> Route {
        let issued_at_s = now.0 / 1_000;
        let expires_at_s = issued_at_s + self.config.token_valid_s;
        let token = (self.hands.sign)(&Grant {
            tenant: &one.tenant,
            session: &one.session,
            pipeline: &one.pipeline,
            digest: &one.digest,
            worker: &worker.name,
            incarnation: one.incarnation,
            epoch: one.epoch,
            issued_at_s,
            expires_at_s,
        });
        Route {
            tenant: one.tenant.clone(),
            session: one.session.clone(),
            pipeline: one.pipeline.clone(),
            digest: one.digest.clone(),
            endpoint: worker.endpoint.clone(),
            worker: worker.name.clone(),
            epoch: one.epoch,
            token,
            token_expires_at_s: expires_at_s,
            secret,
            moved,
        }
    }

    /// Sessions that have not ended.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn sessions(&self) -> Result<Sessions, Refusal> {
        self.read(|rows| Ok(Sessions { sessions: session::list(rows, MAX_LISTED)? }))
    }

    /// One session, and where it has been.
    ///
    /// # Errors
    /// There is none.
    pub fn session(&self, tenant: &str, name: &str) -> Result<SessionStory, Refusal> {
        self.read(|rows| {
            let (session, _) = session::find(rows, tenant, name)?.ok_or_else(|| {
                Refusal::new(Code::NotFound, format!("{tenant} has no session {name}: `rspp sessions` lists them"))
            })?;
            Ok(SessionStory { session, journey: session::journey(rows, tenant, name)? })
        })
    }

    /// What a worker says of one session at once, without waiting for its next heartbeat. One that it gives up for others to
    /// go on with stays its own as long as no other has room.
    ///
    /// # Errors
    /// The session is another's: it is stale. Or nobody could have it.
    pub fn tell_session(&self, report: &SessionReport) -> Result<Done, Refusal> {
        let (tenant, session) = (report.tenant.as_str(), report.session.as_str());
        if report.state == State::Released {
            self.find_another(tenant, session)?;
        }
        let known =
            self.write(|rows, now| Ok(session::tell(rows, (tenant, session), report.epoch, report.state, now)?))?;
        let says = || format!("{tenant}: the session {session} is not held under epoch {}", report.epoch);
        if known { Ok(Done { done: true }) } else { Err(Refusal::new(Code::Stale, says())) }
    }
}

impl Plane {
    /// Whether another worker could have this session.
    fn find_another(&self, tenant: &str, session: &str) -> Result<(), Refusal> {
        let found = self.read(|rows| Ok(session::find(rows, tenant, session)?))?;
        let (known, _) = found.ok_or_else(|| gone("the session"))?;
        let wish = Wish { pipeline: &known.pipeline, region: None, not: Some(&known.worker) };
        let retry = self.config.rules.retry_after_ms;
        let mut placer = self.placer();
        let other = placer.place(wish).map_err(|error| Refusal::deferred(error.to_string(), retry))?;
        placer.leave(&other);
        Ok(())
    }
}

fn bury(rows: &mut dyn Transaction, worker: &Worker, now: Millis) -> Result<Worker, Refusal> {
    let buried = Worker { standing: Standing::Over, ..worker.clone() };
    worker::keep(rows, &buried)?;
    let orphans = session::orphan(rows, &worker.name, worker.incarnation)?;
    next_view(rows)?;
    let detail = json!({"incarnation": worker.incarnation, "last_seen": worker.seen_at, "sessions": orphans});
    audit::note(rows, now, super::OWN, ("worker.lost", &worker.name), &detail)?;
    Ok(buried)
}

fn stale(name: &str) -> Refusal {
    Refusal::new(Code::Stale, format!("the worker {name} has no lease any more: it stops, and registers again"))
}
