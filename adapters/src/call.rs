//! A call from a WAV file: the caller's audio, real engines, and a transport that writes what the caller hears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rspp_engine::{Core, View};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::InvocationId;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::{NodeKind, Plan, RecordingLevel};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Input, Record, SessionOpen, TurnState};
use tokio_util::sync::CancellationToken;

use crate::audio::{CALL_RATE_HZ, CallAudio, frames};
use crate::drive::{Clock, Peers, Schedule, VirtualClock, run};
use crate::interrupt::Interrupt;
use crate::notes::Notes;
use crate::opener::Opener;
use crate::provider::{Answer, Kind, Provider, ProviderError, Sink, Timed, Wanted};
use crate::replaceable::Replaceable;
use crate::transport::{MemoryTransport, TransportTimes};
use crate::valve::Valve;

/// Silence behind the end of the file, at least: so long an utterance may need to end and to be answered.
const MIN_TRAIL: Micros = Micros::from_ms(2_000);
/// How long a call may go on behind the end of its file.
pub(crate) const MAX_TRAIL: Micros = Micros::from_ms(180_000);
/// Inputs from engines that may wait for the loop, in real time.
const INBOX: usize = 4_096;
/// Orders to one engine that may wait, in real time.
const ORDERS: usize = 1_024;

/// What a call left.
pub struct CallResult {
    /// The caller's side, with the silence behind its end.
    pub caller: Vec<i16>,
    /// What the caller heard.
    pub agent: Vec<i16>,
    /// Frames that the transport's own gate stopped.
    pub fenced_frames: u64,
}

/// Why a call ended early.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A node's provider can't be had.
    #[error("node {node}: {error}")]
    Open {
        /// The node.
        node: String,
        /// Why.
        error: ProviderError,
    },
    /// The worker has no room.
    #[error("the worker is full")]
    Full,
}

/// How time passes in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the engines allow; the clock waits for them.
    Virtual,
    /// By the clock on the wall.
    RealTime,
}

/// By what a request finds its provider: what it is for, and what its node is bound to.
type Key = (Kind, Arc<str>);

/// The providers of a call.
#[derive(Default)]
pub struct Providers {
    by_key: BTreeMap<Key, Box<dyn Provider>>,
    notes: Notes,
}

impl Providers {
    /// Puts a provider in the place of a binding.
    pub fn insert(&mut self, kind: Kind, binding: &str, provider: Box<dyn Provider>) {
        self.by_key.insert((kind, Arc::from(binding)), provider);
    }

    pub(crate) fn has(&self, kind: Kind, binding: &str) -> bool {
        self.by_key.contains_key(&(kind, Arc::from(binding)))
    }

    /// Hands each thing that people should know to `tell`, when it happens: why an invocation failed.
    pub fn on_note(&mut self, tell: impl FnMut(&str) + Send + 'static) {
        self.notes = Notes::new(tell);
    }
}

/// Opens what a plan's nodes are bound to.
///
/// # Errors
/// A binding that says nothing, or an engine that can't be had.
pub fn open(plan: &Plan, opener: &mut Opener) -> Result<Providers, CallError> {
    open_for(plan, opener, |_| true)
}

/// Opens what those of a plan's nodes are bound to that `wants` names.
///
/// # Errors
/// As [`open`].
pub fn open_for(plan: &Plan, opener: &mut Opener, wants: impl Fn(&str) -> bool) -> Result<Providers, CallError> {
    let mut providers = Providers::default();
    open_some(plan, opener, wants, |wanted, provider| {
        let provider = match provider {
            Opened::Only(provider) => provider,
            Opened::Replaceable(provider) => Box::new(Replaceable::new(wanted.node, provider)),
        };
        providers.insert(wanted.kind, wanted.binding, provider);
    })?;
    Ok(providers)
}

/// A provider that was opened.
pub(crate) enum Opened {
    /// Nothing stands in for it.
    Only(Box<dyn Provider>),
    /// The plan names another in its place, so it may be missing.
    Replaceable(Result<Box<dyn Provider>, ProviderError>),
}

/// Opens each different provider that a plan's nodes are bound to, and hands it to `take`.
///
/// # Errors
/// A binding that says nothing, or an engine that can't be had.
pub(crate) fn open_each(
    plan: &Plan,
    opener: &mut Opener,
    take: impl FnMut(&Wanted<'_>, Opened),
) -> Result<(), CallError> {
    open_some(plan, opener, |_| true, take)
}

/// As [`open_each`], for those nodes alone that `wants` names.
fn open_some(
    plan: &Plan,
    opener: &mut Opener,
    wants: impl Fn(&str) -> bool,
    mut take: impl FnMut(&Wanted<'_>, Opened),
) -> Result<(), CallError> {
    let mut taken = BTreeSet::new();
    for node in plan.nodes().iter().filter(|node| wants(&node.name)) {
        let simple = |kind, binding| Wanted { node: &node.name, kind, binding, prompt: None, tools: &[] };
        let wanted = match &node.kind {
            NodeKind::Stt { binding, .. } => simple(Kind::Recogniser, binding),
            NodeKind::Llm { binding, tools, prompt } => {
                check_shared(plan, &node.name, binding).map_err(fail(&node.name))?;
                Wanted { prompt: prompt.as_deref(), tools, ..simple(Kind::Model, binding) }
            }
            NodeKind::Tts { binding } => simple(Kind::Voice, binding),
            _ => continue,
        };
        let fallbacks = &node.provider.fallback;
        let chain = std::iter::once(wanted.binding).chain(fallbacks.iter().map(String::as_str));
        let chain = chain.enumerate().map(|(place, binding)| (Wanted { binding, ..wanted }, place < fallbacks.len()));
        let tools = wanted.tools.iter().map(|tool| (simple(Kind::Tool, &tool.binding), false));
        for (wanted, replaceable) in chain.chain(tools) {
            // One provider serves all nodes, and all tools, that are bound to the same.
            if !taken.insert((wanted.kind, wanted.binding)) {
                continue;
            }
            let opened = match opener.open(&wanted) {
                Err(error) if !replaceable || error.is_wrong_usage() => return Err(fail(&node.name)(error)),
                provider if replaceable => Opened::Replaceable(provider),
                provider => Opened::Only(provider.map_err(fail(&node.name))?),
            };
            take(&wanted, opened);
        }
    }
    Ok(())
}

fn fail(node: &str) -> impl Fn(ProviderError) -> CallError {
    move |error| CallError::Open { node: node.to_owned(), error }
}

/// Models that share a binding share a provider, which has one prompt and one set of tools.
fn check_shared(plan: &Plan, name: &str, binding: &str) -> Result<(), ProviderError> {
    let same =
        plan.nodes().iter().filter(|node| node.kind.type_name() == "llm" && node.kind.binding() == Some(binding));
    let kinds: Vec<&NodeKind> = same.map(|node| &node.kind).collect();
    if kinds.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(());
    }
    let what = "another node of type llm has the same binding and another prompt or other tools: write one of the \
                addresses in another way, as 127.0.0.1 for localhost"
        .to_owned();
    Err(ProviderError::Binding { node: name.to_owned(), binding: binding.to_owned(), what })
}

/// A call that is to be held.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The session's name.
    pub session: &'a str,
    /// The caller's side.
    pub audio: &'a CallAudio,
    /// How time passes.
    pub pace: Pace,
    /// Ends the session when it is raised, as the caller's hanging up does.
    pub interrupt: &'a Interrupt,
    /// At which level it is recorded, where it is not the plan that says so.
    pub recording: Option<RecordingLevel>,
}

/// Holds a call. `on_tick` sees what each tick wrote.
///
/// # Errors
/// An engine that dies; or, when the call is interrupted, one that does not answer in time.
pub fn hold(
    core: &mut Core,
    plan: &Arc<Plan>,
    call: &Call<'_>,
    providers: Providers,
    on_tick: impl FnMut(&[Record], Option<&View>),
) -> Result<CallResult, CallError> {
    let Call { session, audio, pace, interrupt, recording } = *call;
    let slot = core.reserve().ok_or(CallError::Full)?;
    let mut schedule = Schedule::default();
    let open = SessionOpen { recording, ..SessionOpen::new(session, Arc::clone(plan)) };
    schedule.put(Micros(0), Input::SessionOpen(Box::new(open)));
    let until = Micros(u64::MAX);
    let caller = Caller::new(audio, interrupt.clone());
    match pace {
        Pace::Virtual => {
            let mut peers = CallPeers::waiting(caller, TransportTimes::WAV, providers, interrupt.over().clone());
            run(core, slot, &mut schedule, &mut peers, &mut VirtualClock::default(), until, on_tick)?;
            Ok(peers.left())
        }
        Pace::RealTime => {
            let (inbox, inputs) = sync_channel(INBOX);
            let mut peers = CallPeers::new(caller, Threads::start(providers, &inbox, interrupt.over().clone()));
            let mut clock = WallClock { start: Instant::now(), inputs };
            let ran = run(core, slot, &mut schedule, &mut peers, &mut clock, until, on_tick);
            // Nobody takes results any more.
            drop(clock);
            let (result, threads) = peers.finish();
            threads.finish();
            ran?;
            Ok(result)
        }
    }
}

/// The caller's audio, frame by frame, with silence behind its end until the call has come to rest.
struct Caller {
    frames: Vec<AudioFrame>,
    sent: usize,
    ended: bool,
    interrupt: Interrupt,
}

impl Caller {
    fn new(audio: &CallAudio, interrupt: Interrupt) -> Self {
        Self { frames: frames(audio).collect(), sent: 0, ended: false, interrupt }
    }

    fn frame(&self, number: usize) -> AudioFrame {
        let silence = || vec![0; (u64::from(CALL_RATE_HZ) * FRAME_MS / 1_000) as usize].into();
        let none = || AudioFrame { samples: silence(), rate_hz: CALL_RATE_HZ, spoken_by: None };
        self.frames.get(number).cloned().unwrap_or_else(none)
    }

    fn end(&mut self, now: Micros, schedule: &mut Schedule) {
        self.ended = true;
        schedule.put(now, Input::SessionEnd);
    }
}

impl CallerSide for Caller {
    /// Puts the next frame at the moment at which its last sample is spoken; or the session's end.
    fn go_on(&mut self, now: Micros, view: &View, schedule: &mut Schedule) {
        let frame_end = |number: usize| Micros::from_ms((number as u64 + 1) * FRAME_MS);
        if self.ended || (self.sent > 0 && now < frame_end(self.sent - 1)) {
            return;
        }
        if self.interrupt.is_raised() {
            self.end(now, schedule);
            return;
        }
        let file_end = Micros::from_ms(self.frames.len() as u64 * FRAME_MS);
        let at_rest = is_at_rest(view);
        let trail = now.since(file_end);
        if (trail >= MIN_TRAIL && at_rest) || trail >= MAX_TRAIL {
            self.end(now, schedule);
            return;
        }
        schedule.put(frame_end(self.sent), Input::CallerAudio(self.frame(self.sent)));
        self.sent += 1;
    }

    fn samples(&self) -> Vec<i16> {
        (0..self.sent).flat_map(|number| self.frame(number).samples.to_vec()).collect()
    }
}

/// Whether nothing is left to come of what was said so far.
pub(crate) fn is_at_rest(view: &View) -> bool {
    view.state == TurnState::Idle && view.invocations == 0 && !view.is_playing
}

/// Whoever brings effects to providers.
pub(crate) trait Bring {
    fn bring(
        &mut self,
        now: Micros,
        id: InvocationId,
        order: Order,
        schedule: &mut Schedule,
    ) -> Result<(), ProviderError>;

    /// Reads a provider, or does not. In virtual time the schedule alone holds back what has come.
    fn control_flow(&mut self, _id: InvocationId, _effect: &Effect) {}

    /// What has failed since the last look.
    fn failure(&mut self) -> Option<ProviderError> {
        None
    }
}

/// What an effect asks of a provider.
pub(crate) enum Order {
    Invoke(Arc<str>, Request),
    Feed(AudioFrame),
    FeedEnd,
    Cancel,
}

/// Carries out an order that is none to cancel.
fn carry_out(
    provider: &mut dyn Provider,
    order: &Order,
    sink: &mut dyn Sink,
    cancelled: &CancellationToken,
) -> Result<(), ProviderError> {
    let answer = &mut Answer::new(sink, cancelled);
    match order {
        Order::Invoke(_, request) => provider.invoke(request, answer),
        Order::Feed(frame) => provider.feed(frame, answer),
        Order::FeedEnd => provider.feed_end(answer),
        Order::Cancel => Ok(()),
    }
}

/// Who stands at the caller's end.
pub(crate) trait CallerSide {
    /// After each tick: what comes from the caller next.
    fn go_on(&mut self, now: Micros, view: &View, schedule: &mut Schedule);

    /// All that was said, from session time 0 on.
    fn samples(&self) -> Vec<i16>;
}

/// Everybody outside of a call.
pub(crate) struct CallPeers<C, B> {
    caller: C,
    transport: MemoryTransport,
    providers: B,
}

impl<C: CallerSide> CallPeers<C, Waiting> {
    /// In virtual time.
    pub(crate) fn waiting(caller: C, times: TransportTimes, providers: Providers, over: CancellationToken) -> Self {
        let providers = Waiting { providers, running: BTreeMap::new(), over };
        Self { caller, transport: MemoryTransport::new(times), providers }
    }

    /// What the call left.
    pub(crate) fn left(self) -> CallResult {
        self.finish().0
    }
}

impl<C: CallerSide, B: Bring> CallPeers<C, B> {
    fn new(caller: C, providers: B) -> Self {
        Self { caller, transport: MemoryTransport::new(TransportTimes::WAV), providers }
    }

    fn finish(self) -> (CallResult, B) {
        let fenced_frames = self.transport.fenced_frames();
        let (caller, agent) = (self.caller.samples(), self.transport.into_played());
        (CallResult { caller, agent, fenced_frames }, self.providers)
    }
}

impl<C: CallerSide, B: Bring> Peers for CallPeers<C, B> {
    type Error = ProviderError;

    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), ProviderError> {
        let (id, order) = match effect {
            Effect::Invoke { id, binding, request } => (*id, Order::Invoke(Arc::clone(binding), request.clone())),
            Effect::Feed { id, frame } => (*id, Order::Feed(frame.clone())),
            Effect::FeedEnd { id } => (*id, Order::FeedEnd),
            // What is cancelled here gives nothing more, so that there is nothing left to end by force.
            Effect::CancelInvocation { id } | Effect::EndInvocation { id } => (*id, Order::Cancel),
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                self.transport.play(now, *turn, *epoch, *from_sample, frame, schedule);
                return Ok(());
            }
            Effect::ClearTransport { turn, epoch } => {
                self.transport.clear(now, *turn, *epoch, schedule);
                return Ok(());
            }
            Effect::PauseInvocation { id } | Effect::ResumeInvocation { id } | Effect::GrantCredit { id, .. } => {
                self.providers.control_flow(*id, effect);
                return Ok(());
            }
            Effect::WakeAt { .. } => return Ok(()),
        };
        self.providers.bring(now, id, order, schedule)
    }

    fn after_tick(&mut self, now: Micros, view: Option<&View>, schedule: &mut Schedule) -> Result<(), ProviderError> {
        if let Some(view) = view {
            self.caller.go_on(now, view, schedule);
        }
        self.providers.failure().map_or(Ok(()), Err)
    }
}

/// What a call answers that no provider is bound to.
pub(crate) fn unbound(request: &Request) -> Vec<Timed> {
    let after = Micros(0);
    let mut results = Vec::new();
    if let Request::Tool(call) = request {
        let text = format!("error: there is no tool named {}", call.name);
        results.push(Timed { after, result: ProviderResult::ToolResult(text.into()) });
    }
    results.push(Timed { after, result: ProviderResult::End(Outcome::InvalidRequest) });
    results
}

/// Virtual time: the clock waits for each provider, and what it answers comes in after its modelled latency.
pub(crate) struct Waiting {
    providers: Providers,
    running: BTreeMap<InvocationId, Key>,
    /// Nothing else happens while the clock waits, a cancellation neither.
    over: CancellationToken,
}

impl Bring for Waiting {
    fn bring(
        &mut self,
        now: Micros,
        id: InvocationId,
        order: Order,
        schedule: &mut Schedule,
    ) -> Result<(), ProviderError> {
        match &order {
            Order::Invoke(binding, request) => {
                let key = (Kind::of(request), Arc::clone(binding));
                if !self.providers.by_key.contains_key(&key) {
                    unbound(request).into_iter().for_each(|timed| put(schedule, now, id, timed));
                    return Ok(());
                }
                self.running.insert(id, key);
            }
            // What is on its way comes in late, as it would: the fence is what keeps it out.
            Order::Cancel => {
                self.running.remove(&id);
            }
            Order::Feed(_) | Order::FeedEnd => {}
        }
        let Providers { by_key, notes } = &mut self.providers;
        let Some(provider) = self.running.get(&id).and_then(|key| by_key.get_mut(key)) else { return Ok(()) };
        let mut sink = Scheduling { now, id, schedule, notes, ended: false };
        carry_out(provider.as_mut(), &order, &mut sink, &self.over)?;
        if sink.ended {
            self.running.remove(&id);
        }
        Ok(())
    }
}

fn put(schedule: &mut Schedule, now: Micros, id: InvocationId, timed: Timed) {
    schedule.put(now + timed.after, Input::Provider(id, timed.result));
}

/// Results of an invocation, each at its time.
struct Scheduling<'a> {
    now: Micros,
    id: InvocationId,
    schedule: &'a mut Schedule,
    notes: &'a Notes,
    ended: bool,
}

impl Sink for Scheduling<'_> {
    fn take(&mut self, timed: Timed) {
        self.ended |= matches!(timed.result, ProviderResult::End(_));
        put(self.schedule, self.now, self.id, timed);
    }

    fn note(&mut self, text: &str) {
        self.notes.say(text);
    }
}

/// Real time: a thread for each provider, whose results come in when they come.
struct Threads {
    lines: BTreeMap<Key, Line>,
    failures: Receiver<ProviderError>,
    running: BTreeMap<InvocationId, Running>,
    over: CancellationToken,
}

/// What a provider's thread is to do: for which invocation, until when, and whether it may give.
type Errand = (InvocationId, Order, CancellationToken, Valve);

/// To a provider's thread.
struct Line {
    orders: SyncSender<Errand>,
    thread: JoinHandle<()>,
}

struct Running {
    key: Key,
    /// Cancelled when nobody waits for it any more, or when its last result has come.
    over: CancellationToken,
    valve: Valve,
}

impl Threads {
    fn start(providers: Providers, inbox: &SyncSender<Input>, over: CancellationToken) -> Self {
        let Providers { by_key, notes } = providers;
        let (failed, failures) = sync_channel(by_key.len().max(1));
        let mut lines = BTreeMap::new();
        for (key, provider) in by_key {
            let (orders, receiver) = sync_channel(ORDERS);
            let (inbox, failed, notes) = (inbox.clone(), failed.clone(), notes.clone());
            let thread = std::thread::spawn(move || {
                if let Err(error) = serve(provider, &receiver, &inbox, &notes) {
                    // There is room for one failure of each provider, and nobody left to tell if the call is over.
                    let _ = failed.try_send(error);
                }
            });
            lines.insert(key, Line { orders, thread });
        }
        Self { lines, failures, running: BTreeMap::new(), over }
    }

    /// Ends what still runs, apart from tools: a write that was committed is irrevocable, and is waited for.
    fn finish(self) {
        for running in self.running.values().filter(|running| running.key.0 != Kind::Tool) {
            running.over.cancel();
        }
        let tools = self.lines.into_iter().filter_map(|((kind, _), line)| (kind == Kind::Tool).then_some(line.thread));
        // Its orders end with its line, which is gone by now; its own time limit bounds the wait.
        for thread in tools.collect::<Vec<_>>() {
            let _ = thread.join();
        }
    }
}

impl Bring for Threads {
    fn failure(&mut self) -> Option<ProviderError> {
        self.failures.try_recv().ok()
    }

    fn control_flow(&mut self, id: InvocationId, effect: &Effect) {
        if let Some(running) = self.running.get(&id) {
            running.valve.set(effect);
        }
    }

    fn bring(
        &mut self,
        now: Micros,
        id: InvocationId,
        order: Order,
        schedule: &mut Schedule,
    ) -> Result<(), ProviderError> {
        match &order {
            Order::Invoke(binding, request) => {
                let key = (Kind::of(request), Arc::clone(binding));
                if !self.lines.contains_key(&key) {
                    unbound(request)
                        .into_iter()
                        .for_each(|timed| put(schedule, now, id, Timed { after: Micros(0), ..timed }));
                    return Ok(());
                }
                self.running.retain(|_, running| !running.over.is_cancelled());
                let (over, valve) = (self.over.child_token(), Valve::default());
                self.running.insert(id, Running { key, over, valve });
            }
            Order::Cancel => {
                // From another thread than the provider's: it hears of it in the middle of its work.
                if let Some(running) = self.running.remove(&id) {
                    running.over.cancel();
                }
                return Ok(());
            }
            Order::Feed(_) | Order::FeedEnd => {}
        }
        let Some(Running { key, over, valve }) = self.running.get(&id) else { return Ok(()) };
        let order = (id, order, over.clone(), valve.clone());
        let sent = self.lines.get(key).is_some_and(|line| line.orders.try_send(order).is_ok());
        if !sent {
            // The provider is gone, or hopelessly behind: this invocation ends, and the core decides what follows.
            self.running.remove(&id);
            schedule.put(now, Input::Provider(id, ProviderResult::End(Outcome::Overload)));
        }
        Ok(())
    }
}

/// One provider's thread: until the call is over, or the provider fails.
fn serve(
    mut provider: Box<dyn Provider>,
    orders: &Receiver<Errand>,
    inbox: &SyncSender<Input>,
    notes: &Notes,
) -> Result<(), ProviderError> {
    while let Ok((id, order, over, valve)) = orders.recv() {
        if !over.is_cancelled() {
            let mut sink = Inbox { id, inbox, notes, over: over.clone(), valve, ended: false };
            carry_out(provider.as_mut(), &order, &mut sink, &over)?;
            if over.is_cancelled() && !sink.ended {
                // It has stopped: that is the answer to its cancellation. If the call is over, nobody takes it.
                let _ = inbox.send(Input::Provider(id, ProviderResult::End(Outcome::Cancelled)));
            }
        }
    }
    Ok(())
}

/// Results of an invocation, each when it comes.
struct Inbox<'a> {
    id: InvocationId,
    inbox: &'a SyncSender<Input>,
    notes: &'a Notes,
    over: CancellationToken,
    valve: Valve,
    ended: bool,
}

impl Sink for Inbox<'_> {
    fn take(&mut self, timed: Timed) {
        let ended = matches!(timed.result, ProviderResult::End(_));
        self.valve.wait(&timed.result, &self.over);
        let sent = self.inbox.send(Input::Provider(self.id, timed.result));
        // Nothing follows the end; and if the call is over, nobody takes what would follow.
        self.ended |= ended;
        if ended || sent.is_err() {
            self.over.cancel();
        }
    }

    fn note(&mut self, text: &str) {
        self.notes.say(text);
    }
}

/// The clock on the wall, and what comes in while it is waited for.
struct WallClock {
    start: Instant,
    inputs: Receiver<Input>,
}

impl WallClock {
    fn now(&self) -> Micros {
        Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

impl Clock for WallClock {
    fn wait(&mut self, at: Micros) -> (Micros, Option<Input>) {
        let left = Duration::from_micros(at.since(self.now()).0);
        match self.inputs.recv_timeout(left) {
            Ok(input) => (self.now(), Some(input)),
            Err(RecvTimeoutError::Timeout) => (self.now(), None),
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(Duration::from_micros(at.since(self.now()).0));
                (self.now(), None)
            }
        }
    }
}
