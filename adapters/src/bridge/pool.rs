//! The providers of a pipeline, for many sessions at once.
//!
//! Those that answer at once ([`Provider::another`]) are asked on the worker's own thread, each session having its own.
//! The others may block, so each works on a thread of its own, one invocation after the other, for whichever session is
//! next: there are as many threads as invocations at the same time, not as sessions, and at most [`Limits::threads`] for each
//! binding. What finds no thread waits in a short line, in which tenants and their sessions take turns (`fair`).
//! What finds that full, or has to give way in it to somebody who has less, is refused: an input of its session, whose core
//! decides what follows. A provider that dies ends its invocation; the next one gets another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::InvocationId;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::{Plan, ToolSpec};
use rspp_specs::time::Micros;
use rspp_specs::timeline::Input;
use tokio_util::sync::CancellationToken;

use super::Key;
use super::fair::{Bounds, FairLine};
use super::worker::Message;
use crate::call::{CallError, Opened, open_each};
use crate::notes::Notes;
use crate::opener::Opener;
use crate::provider::{Answer, Kind, Provider, ProviderError, Sink, Timed, Wanted};
use crate::valve::Valve;

/// How much may happen at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads of one binding.
    pub threads: usize,
    /// Threads of one binding that work for the same tenant.
    pub threads_of_a_key: usize,
    /// Invocations of one binding that wait for a thread.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { threads: 32, threads_of_a_key: 32, waiting: 64 }
    }
}

/// Frames that may wait for one recogniser: twenty seconds.
const MAX_FED: usize = 1_024;
/// A thread that had nothing to do for so long ends, and its provider with it.
const IDLE: Duration = Duration::from_secs(60);

/// By what a request finds its provider.
type Place = (Kind, Arc<str>);

/// The providers of one pipeline.
pub struct Pool {
    lines: BTreeMap<Place, Arc<Line>>,
}

/// What waits at one binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// A node that has it.
    pub node: &'a str,
    /// Invocations.
    pub invocations: usize,
}

/// One binding.
struct Line {
    wanted: OwnedWanted,
    limits: Limits,
    /// A provider that answers at once, of which each session gets another.
    at_once: Option<Mutex<Box<dyn Provider>>>,
    jobs: Mutex<FairLine<Job>>,
    /// There is something for a thread that waits.
    work: Condvar,
    threads: AtomicUsize,
    idle: AtomicUsize,
    opener: Arc<Mutex<Opener>>,
    notes: Notes,
}

/// What a line opens more of.
struct OwnedWanted {
    node: String,
    kind: Kind,
    binding: Arc<str>,
    prompt: Option<String>,
    tools: Vec<ToolSpec>,
}

impl OwnedWanted {
    fn of(wanted: &Wanted<'_>) -> Self {
        let Wanted { node, kind, binding, prompt, tools } = *wanted;
        let (node, prompt) = (node.to_owned(), prompt.map(str::to_owned));
        Self { node, kind, binding: binding.into(), prompt, tools: tools.to_vec() }
    }

    fn open(&self, opener: &Mutex<Opener>) -> Result<Box<dyn Provider>, ProviderError> {
        let Self { node, kind, binding, prompt, tools } = self;
        let wanted = Wanted { node, kind: *kind, binding, prompt: prompt.as_deref(), tools };
        opener.lock().unwrap_or_else(PoisonError::into_inner).open(&wanted)
    }
}

/// One invocation, for a thread.
struct Job {
    to: Reply,
    request: Request,
    fed: Receiver<Fed>,
}

/// What is fed to a running invocation.
enum Fed {
    Frame(AudioFrame),
    End,
}

/// Where an invocation's results go.
#[derive(Clone)]
struct Reply {
    session: Key,
    id: InvocationId,
    inbox: Sender<Message>,
    over: CancellationToken,
    valve: Valve,
}

impl Reply {
    fn give(&self, result: ProviderResult) -> bool {
        self.inbox.send(Message::Input(self.session, Input::Provider(self.id, result))).is_ok()
    }
}

/// An invocation that is under way on a thread, for its session.
pub(crate) struct Running {
    kind: Kind,
    fed: Sender<Fed>,
    over: CancellationToken,
    valve: Valve,
}

impl Running {
    /// Gives it a frame; `false` when it is hopelessly behind.
    pub(crate) fn feed(&self, frame: AudioFrame) -> bool {
        !matches!(self.fed.try_send(Fed::Frame(frame)), Err(TrySendError::Full(_)))
    }

    /// Nothing more is fed.
    pub(crate) fn feed_end(&self) -> bool {
        !matches!(self.fed.try_send(Fed::End), Err(TrySendError::Full(_)))
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel(&self) {
        self.over.cancel();
    }

    /// Reads it, or does not.
    pub(crate) fn control_flow(&self, effect: &rspp_specs::timeline::Effect) {
        self.valve.set(effect);
    }

    /// Whether its last result has come, or nobody waits for it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Whether it may have changed the world, and is let go on when its session is over.
    pub(crate) fn outlives_session(&self) -> bool {
        self.kind == Kind::Tool
    }
}

/// Who takes an invocation.
pub(crate) enum Taken {
    /// Somebody who answers at once: the session asks.
    AtOnce(Box<dyn Provider>),
    /// A thread.
    Running(Running),
    /// Nobody has that binding.
    Unbound,
    /// There are too many at the same time.
    Refused,
}

/// For whom something is invoked.
pub(crate) struct Client<'a> {
    /// The session.
    pub(crate) session: Key,
    /// With whom it shares what is scarce.
    pub(crate) key: &'a Arc<str>,
    /// Where its results go.
    pub(crate) inbox: &'a Sender<Message>,
}

impl Pool {
    /// The providers of a plan. Each is opened once now, so that what can't be had is known before anybody calls.
    ///
    /// # Errors
    /// A binding that says nothing, or an engine that can't be had and that nothing replaces.
    pub fn open(plan: &Plan, mut opener: Opener, limits: Limits, notes: &Notes) -> Result<Self, CallError> {
        let mut opened = Vec::new();
        open_each(plan, &mut opener, |wanted, provider| opened.push((OwnedWanted::of(wanted), provider)))?;
        let opener = Arc::new(Mutex::new(opener));
        let lines = opened.into_iter().map(|(wanted, provider)| {
            let provider = match provider {
                Opened::Only(provider) => Some(provider),
                Opened::Replaceable(provider) => {
                    provider.map_err(|error| notes.say(&format!("{}: {error}", wanted.node))).ok()
                }
            };
            let place = (wanted.kind, Arc::clone(&wanted.binding));
            (place, Line::open(wanted, provider, limits, Arc::clone(&opener), notes.clone()))
        });
        Ok(Self { lines: lines.collect() })
    }

    /// Threads that there are now.
    pub fn threads(&self) -> usize {
        self.lines.values().map(|line| line.threads.load(Ordering::Relaxed)).sum()
    }

    /// How many invocations wait for a thread, by the node that was first to have the binding.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.lines.values().map(|line| Waiting { node: &line.wanted.node, invocations: line.jobs().len() })
    }

    /// Has a request answered.
    pub(crate) fn invoke(&self, client: &Client<'_>, id: InvocationId, binding: &Arc<str>, request: &Request) -> Taken {
        let kind = Kind::of(request);
        let Some(line) = self.lines.get(&(kind, Arc::clone(binding))) else { return Taken::Unbound };
        if let Some(at_once) = &line.at_once
            && let Some(another) = at_once.lock().unwrap_or_else(PoisonError::into_inner).another()
        {
            return Taken::AtOnce(another);
        }
        let (feeds, fed) = bounded(MAX_FED);
        let (over, valve) = (CancellationToken::new(), Valve::default());
        let Client { session, key, inbox } = *client;
        let to = Reply { session, id, inbox: inbox.clone(), over: over.clone(), valve: valve.clone() };
        let displaced = line.jobs().push(key, session, Job { to, request: request.clone(), fed });
        if let Some(displaced) = displaced {
            if (displaced.to.session, displaced.to.id) == (session, id) {
                return Taken::Refused;
            }
            displaced.refuse();
        }
        line.work.notify_one();
        Line::hire(line, None);
        Taken::Running(Running { kind, fed: feeds, over, valve })
    }
}

impl Line {
    /// A line that begins with this provider, if it could be had.
    fn open(
        wanted: OwnedWanted,
        first: Option<Box<dyn Provider>>,
        limits: Limits,
        opener: Arc<Mutex<Opener>>,
        notes: Notes,
    ) -> Arc<Self> {
        let another = first.as_ref().and_then(|first| first.another());
        let line = Arc::new(Self {
            wanted,
            limits,
            at_once: another.map(Mutex::new),
            jobs: Mutex::new(FairLine::new(Bounds {
                waiting: limits.waiting.max(1),
                served_of_a_key: limits.threads_of_a_key.max(1),
            })),
            work: Condvar::new(),
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            opener,
            notes,
        });
        if line.at_once.is_none() && first.is_some() {
            Line::hire(&line, first);
        }
        line
    }

    /// One more thread, if there is work that no idle one is there for, and there may be one.
    fn hire(line: &Arc<Self>, first: Option<Box<dyn Provider>>) {
        let needed = first.is_some() || line.jobs().len() > line.idle.load(Ordering::Acquire);
        let more = |threads: usize| (needed && threads < line.limits.threads.max(1)).then_some(threads + 1);
        if line.threads.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return;
        }
        let own = Arc::clone(line);
        let spawned =
            std::thread::Builder::new().name(format!("provider {}", line.wanted.node)).spawn(move || own.work(first));
        if spawned.is_err() {
            line.threads.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn jobs(&self) -> MutexGuard<'_, FairLine<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread's work: one invocation after the other.
    fn work(self: Arc<Self>, mut provider: Option<Box<dyn Provider>>) {
        while let Some((key, job)) = self.next() {
            provider = self.carry_out(provider, &job);
            self.jobs().served(&key);
            // One of its tenant's may have waited for that.
            self.work.notify_one();
        }
        self.threads.fetch_sub(1, Ordering::AcqRel);
        // Who came in this moment saw a thread that is going: it is looked after once more.
        Line::hire(&self, None);
    }

    /// The next job, and whose it is; `None` when there was none for long.
    fn next(&self) -> Option<(Arc<str>, Job)> {
        self.idle.fetch_add(1, Ordering::AcqRel);
        let until = Instant::now() + IDLE;
        let mut jobs = self.jobs();
        let next = loop {
            let left = until.saturating_duration_since(Instant::now());
            match jobs.pop() {
                Some(next) => break Some(next),
                None if left.is_zero() => break None,
                None => jobs = self.work.wait_timeout(jobs, left).unwrap_or_else(PoisonError::into_inner).0,
            }
        };
        self.idle.fetch_sub(1, Ordering::AcqRel);
        next
    }

    /// Carries out one invocation; gives the provider back if it is still of use.
    fn carry_out(&self, provider: Option<Box<dyn Provider>>, job: &Job) -> Option<Box<dyn Provider>> {
        if job.to.over.is_cancelled() {
            job.to.give(ProviderResult::End(Outcome::Cancelled));
            return provider;
        }
        let opened = provider.map_or_else(|| self.wanted.open(&self.opener), Ok);
        let done = opened.and_then(|mut provider| {
            let mut sink = ToInbox { to: &job.to, notes: &self.notes, ended: false };
            job.run(provider.as_mut(), &mut sink)?;
            Ok((provider, sink.ended))
        });
        match done {
            Ok((provider, ended)) => {
                if !ended {
                    // It has stopped: that is the answer to its cancellation.
                    job.to.give(ProviderResult::End(Outcome::Cancelled));
                }
                Some(provider)
            }
            Err(error) => {
                self.notes.say(&format!("{}: {error}", self.wanted.node));
                job.to.give(ProviderResult::End(Outcome::Failed));
                job.to.over.cancel();
                None
            }
        }
    }
}

impl Job {
    /// It has to give way: its session hears that nobody works on it.
    fn refuse(&self) {
        self.to.over.cancel();
        // Where even that finds no room, its core does not wait for the answer for long.
        let refused = Message::Input(self.to.session, Input::DispatchRefused(self.to.id));
        let _ = self.to.inbox.try_send(refused);
    }

    fn run(&self, provider: &mut dyn Provider, sink: &mut ToInbox<'_>) -> Result<(), ProviderError> {
        let over = &self.to.over;
        provider.invoke(&self.request, &mut Answer::new(sink, over))?;
        while !over.is_cancelled() && !sink.ended {
            // The session lets go of its end when nobody waits any more.
            match self.fed.recv() {
                Ok(Fed::Frame(frame)) => provider.feed(&frame, &mut Answer::new(sink, over))?,
                Ok(Fed::End) => provider.feed_end(&mut Answer::new(sink, over))?,
                Err(_) => break,
            }
        }
        over.cancel();
        Ok(())
    }
}

/// Results of an invocation, each when it comes.
struct ToInbox<'a> {
    to: &'a Reply,
    notes: &'a Notes,
    ended: bool,
}

impl Sink for ToInbox<'_> {
    fn take(&mut self, timed: Timed) {
        let ended = matches!(timed.result, ProviderResult::End(_));
        self.to.valve.wait(&timed.result, &self.to.over);
        let given = self.to.give(timed.result);
        // Nothing follows the end; and if the worker is gone, nobody takes what would follow.
        self.ended |= ended || !given;
        if self.ended {
            self.to.over.cancel();
        }
    }

    fn note(&mut self, text: &str) {
        self.notes.say(text);
    }
}

/// What a request is answered that no provider is bound to.
pub(crate) fn unbound(request: &Request) -> Vec<Timed> {
    crate::call::unbound(request).into_iter().map(|timed| Timed { after: Micros(0), ..timed }).collect()
}
