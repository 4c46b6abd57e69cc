//! The agent worker: LiveKit's server knows it, asks it when a room wants an agent, and sends it there.
//!
//! It answers by what the server that it is a companion of can take on, keeps a place for each job that it says yes to, and tells
//! how busy it is. When no new calls are taken it says so, and stays until the last of its rooms is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use livekit_protocol::server_message::Message as Says;
use livekit_protocol::worker_message::Message as Tells;
use livekit_protocol::{
    AvailabilityRequest, AvailabilityResponse, Job, JobAssignment, JobStatus, JobType, ParticipantPermission,
    RegisterWorkerRequest, ServerMessage, UpdateJobStatus, UpdateWorkerStatus, WorkerMessage, WorkerPing, WorkerStatus,
};
use rspp_adapters::server::{Companion, Place, Reception};
use rspp_specs::binding::Endpoint;
use rspp_specs::time::Micros;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::dialect::LiveKit;
use crate::joining::{Lost, Whom};
pub use crate::line::endpoint;
use crate::line::{DIALLING, Ended, Line, LineError, url};
use crate::room::{AgentState, JoinError, Joining, Mode, Room};
use crate::token::{Bearer, Grant, Keys};

/// Where workers register, and the version of what is spoken there.
const PATH: &str = "/agent";
const QUERY: &str = "protocol=1";
/// How often the server is told how busy the worker is.
const TELL_EVERY: Duration = Duration::from_millis(2_500);
/// The first wait before another connection; it doubles up to the last.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const AGAIN_AFTER_AT_MOST: Duration = Duration::from_secs(30);
/// A job that was said yes to has to come within this.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(15);
/// A room in which nobody turns up is left.
const CALLER_WITHIN: Duration = Duration::from_secs(60);
/// Messages of jobs to the server that may wait.
const MAX_WAITING: usize = 256;
/// Busier than this no more rooms are taken on: the server's own default.
const TARGET_LOAD: f32 = 0.7;

/// How a server is worked for.
pub struct Options {
    /// The server.
    pub endpoint: Endpoint,
    /// The key with which the worker registers.
    pub keys: Keys,
    /// The name under which rooms ask for it; rooms that ask for nobody get workers without one.
    pub agent: String,
    /// The only participant that is listened to, if it is always the same.
    pub caller: Option<String>,
    /// How media is agreed on.
    pub mode: Mode,
}

/// A companion of a server that brings in rooms until it goes down.
pub fn companion(options: Options) -> Companion {
    Box::new(move |reception| Box::pin(Worker { options: Arc::new(options), reception }.work()))
}

struct Worker {
    options: Arc<Options>,
    reception: Reception,
}

/// Why a connection is over.
enum Over {
    /// No new calls are taken, and no room is left.
    Drained,
    /// It is lost, or refused.
    Lost(String),
}

impl Worker {
    async fn work(self) {
        let mut wait = AGAIN_AFTER;
        // Rooms outlive the connection that brought them.
        let (tell, mut told) = mpsc::channel(MAX_WAITING);
        let mut desk = Desk::new(&self, tell);
        while !self.reception.draining().is_cancelled() {
            let why = match self.register().await {
                Ok(line) => {
                    wait = AGAIN_AFTER;
                    match desk.attend(line, &mut told).await {
                        Over::Drained => return,
                        Over::Lost(why) => format!("{}: {why}", url(&self.options.endpoint)),
                    }
                }
                Err(error) => error.to_string(),
            };
            self.reception.notes().say(&format!("LiveKit: {why}; tried again in {:.1} s", wait.as_secs_f32()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.reception.draining().cancelled() => {}
            }
            wait = (wait * 2).min(AGAIN_AFTER_AT_MOST);
            while let Ok(tells) = told.try_recv() {
                desk.file(&tells);
            }
        }
    }

    async fn register(&self) -> Result<Line, LineError> {
        register(&self.options.endpoint, &self.options.keys, &self.options.agent).await.map(|(line, id)| {
            let name = match self.options.agent.as_str() {
                "" => "for all rooms".to_owned(),
                name => format!("as {name}"),
            };
            self.reception
                .notes()
                .say(&format!("LiveKit: registered {name} at {} ({id})", url(&self.options.endpoint)));
            line
        })
    }
}

/// Registers a worker: gives the connection, and the name that the server gave it.
pub(crate) async fn register(endpoint: &Endpoint, keys: &Keys, agent: &str) -> Result<(Line, String), LineError> {
    let token = keys.token(Bearer::Program, &Grant { agent: true, ..Grant::default() }, rspp_adapters::token::now());
    let mut line = Line::dial(endpoint, PATH, QUERY, &token).await?;
    let request = RegisterWorkerRequest {
        r#type: JobType::JtRoom.into(),
        agent_name: agent.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ping_interval: TELL_EVERY.as_secs() as u32,
        allowed_permissions: Some(ParticipantPermission {
            can_subscribe: true,
            can_publish: true,
            can_publish_data: true,
            can_update_metadata: true,
            ..ParticipantPermission::default()
        }),
        ..RegisterWorkerRequest::default()
    };
    let nonsense = |Ended(says)| LineError::Nonsense { url: url(endpoint), says };
    line.send(&WorkerMessage { message: Some(Tells::Register(request)) }).await.map_err(nonsense)?;
    let answer = timeout(DIALLING, line.next::<ServerMessage>()).await;
    let answer = answer.map_err(|_| LineError::TimedOut { url: url(endpoint), after: DIALLING })?;
    match answer.map_err(nonsense)?.message {
        Some(Says::Register(response)) => Ok((line, response.worker_id)),
        _ => Err(nonsense(Ended("its first word is no answer to a registration".to_owned()))),
    }
}

fn is_ended(update: &UpdateJobStatus) -> bool {
    matches!(update.status(), JobStatus::JsSuccess | JobStatus::JsFailed)
}

/// What the worker knows of its jobs, whatever becomes of its connection.
struct Desk<'a> {
    worker: &'a Worker,
    tell: mpsc::Sender<Tells>,
    /// Places for jobs that were said yes to.
    kept: BTreeMap<String, (Instant, Place)>,
    /// Jobs that run, and what ends them.
    jobs: BTreeMap<String, Running>,
    drains: bool,
    /// When the workers were looked at last, and what they had worked then.
    looked: (Instant, Micros),
    busy: f32,
}

/// A job that runs.
struct Running {
    room: String,
    lost: Lost,
    ends: CancellationToken,
}

impl<'a> Desk<'a> {
    fn new(worker: &'a Worker, tell: mpsc::Sender<Tells>) -> Self {
        let looked = (Instant::now(), worker.reception.worked().0);
        Self { worker, tell, kept: BTreeMap::new(), jobs: BTreeMap::new(), drains: false, looked, busy: 0.0 }
    }

    async fn attend(&mut self, mut line: Line, told: &mut mpsc::Receiver<Tells>) -> Over {
        let draining = self.worker.reception.draining();
        let mut ticks = interval(TELL_EVERY);
        loop {
            let mut tells = Vec::new();
            tokio::select! {
                says = line.next::<ServerMessage>() => match says {
                    Ok(says) => tells.extend(says.message.and_then(|says| self.on_says(says))),
                    Err(Ended(why)) => return Over::Lost(why),
                },
                Some(job) = told.recv() => {
                    self.file(&job);
                    tells.extend([job, self.status()]);
                }
                _ = ticks.tick() => {
                    self.forget_late();
                    tells.extend([self.status(), Tells::Ping(WorkerPing::default())]);
                }
                () = draining.cancelled(), if !self.drains => {
                    self.drains = true;
                    tells.push(self.status());
                }
            }
            for message in tells {
                if let Err(Ended(why)) = line.send(&WorkerMessage { message: Some(message) }).await {
                    return Over::Lost(why);
                }
            }
            if self.drains && self.jobs.is_empty() {
                line.close().await;
                return Over::Drained;
            }
        }
    }

    /// A job that is over is one less.
    fn file(&mut self, tells: &Tells) {
        if let Tells::UpdateJob(update) = tells
            && is_ended(update)
        {
            self.jobs.remove(&update.job_id);
        }
    }

    fn on_says(&mut self, says: Says) -> Option<Tells> {
        match says {
            Says::Availability(request) => self.on_availability(request),
            Says::Assignment(assignment) => {
                self.begin(assignment);
                Some(self.status())
            }
            Says::Termination(termination) => {
                // A server ends the job of an agent that has left; one that is on its way back has left to come again.
                if let Some(running) = self.jobs.get(&termination.job_id).filter(|running| !running.lost.is_lost()) {
                    running.ends.cancel();
                }
                None
            }
            Says::Register(_) | Says::Pong(_) | Says::GoAway(_) => None,
        }
    }

    fn on_availability(&mut self, request: AvailabilityRequest) -> Option<Tells> {
        let job = request.job?;
        let takes = self.load() < TARGET_LOAD && !self.is_on_its_way_back(&job);
        let place = if takes { self.worker.reception.reserve().ok() } else { None };
        let available = place.is_some();
        if let Some(place) = place {
            self.kept.insert(job.id.clone(), (Instant::now(), place));
        }
        Some(Tells::Availability(AvailabilityResponse {
            participant_identity: format!("agent-{}", job.id),
            participant_name: self.worker.reception.pipeline().to_owned(),
            participant_attributes: [("lk.agent.state".to_owned(), AgentState::Initializing.name().to_owned())].into(),
            job_id: job.id,
            available,
            ..AvailabilityResponse::default()
        }))
    }

    /// Whether an agent of ours lost this room's server: it comes back, with the conversation that it had there.
    fn is_on_its_way_back(&self, job: &Job) -> bool {
        let room = job.room.as_ref().map_or("", |room| &room.name);
        self.jobs.values().any(|running| running.room == room && running.lost.is_lost())
    }

    fn begin(&mut self, assignment: JobAssignment) {
        let Some(job) = assignment.job else { return };
        let Some((_, place)) = self.kept.remove(&job.id) else { return };
        let room = job.room.as_ref().map_or_else(String::new, |room| room.name.clone());
        let (ends, lost) = (CancellationToken::new(), Lost::default());
        self.jobs.insert(job.id.clone(), Running { room, lost: lost.clone(), ends: ends.clone() });
        let options = &self.worker.options;
        // A server that is part of a larger one may say where the room is.
        let elsewhere = assignment.url.as_deref().filter(|url| !url.is_empty()).and_then(|url| endpoint(url).ok());
        let joining = Joining {
            endpoint: elsewhere.unwrap_or_else(|| options.endpoint.clone()),
            token: assignment.token,
            mode: options.mode,
            caller: job.participant.as_ref().map(|info| info.identity.clone()).or_else(|| options.caller.clone()),
            whom: Whom::Callers,
            lost,
        };
        let visit =
            Visit { job, joining, place, ends, reception: self.worker.reception.clone(), tell: self.tell.clone() };
        tokio::spawn(visit.pay());
    }

    fn forget_late(&mut self) {
        self.kept.retain(|_, (since, _)| since.elapsed() < ASSIGNED_WITHIN);
    }

    /// From 0 to 1: places that are taken, or the workers' time, whichever is scarcer.
    fn load(&mut self) -> f32 {
        let (worked, workers) = self.worker.reception.worked();
        let (since, before) = self.looked;
        let passed = since.elapsed();
        if passed >= TELL_EVERY / 2 {
            self.busy = worked.since(before).0 as f32 / passed.as_micros() as f32 / workers.max(1) as f32;
            self.looked = (Instant::now(), worked);
        }
        self.busy.max(self.worker.reception.crowd()).clamp(0.0, 1.0)
    }

    fn status(&mut self) -> Tells {
        let load = self.load();
        let full = self.drains || load >= TARGET_LOAD;
        let status = if full { WorkerStatus::WsFull } else { WorkerStatus::WsAvailable };
        Tells::UpdateWorker(UpdateWorkerStatus {
            status: Some(status.into()),
            load,
            job_count: self.jobs.len() as u32,
            draining: self.drains,
            ..UpdateWorkerStatus::default()
        })
    }
}

/// One job: a visit to a room.
struct Visit {
    job: Job,
    joining: Joining,
    place: Place,
    ends: CancellationToken,
    reception: Reception,
    tell: mpsc::Sender<Tells>,
}

impl Visit {
    async fn pay(self) {
        let Visit { job, joining, place, ends, reception, tell } = self;
        let name = job.room.as_ref().map_or_else(String::new, |room| room.name.clone());
        let update = |status: JobStatus, error: String| {
            Tells::UpdateJob(UpdateJobStatus { job_id: job.id.clone(), status: status.into(), error })
        };
        let _ = tell.send(update(JobStatus::JsRunning, String::new())).await;
        let visit = async {
            let room = enter(&joining).await?;
            place.attend(Box::new(LiveKit::new(room.name().to_owned())), Box::new(room)).await;
            Ok::<(), JoinError>(())
        };
        let ended = tokio::select! {
            ended = visit => ended,
            () = ends.cancelled() => Ok(()),
            () = reception.over().cancelled() => Ok(()),
        };
        let last = match ended {
            Ok(()) => update(JobStatus::JsSuccess, String::new()),
            Err(error) => {
                reception.notes().say(&format!("LiveKit: room {name}: {error}"));
                update(JobStatus::JsFailed, error.to_string())
            }
        };
        let _ = tell.send(last).await;
    }
}

/// Joins a room, and waits for a caller.
async fn enter(joining: &Joining) -> Result<Room, JoinError> {
    let mut room = Room::join(joining).await?;
    match timeout(CALLER_WITHIN, room.caller()).await {
        Ok(caller) => {
            caller?;
            Ok(room)
        }
        Err(_) => {
            room.leave();
            Err(JoinError::Closed(format!("nobody came within {} s", CALLER_WITHIN.as_secs())))
        }
    }
}
