//! A call from a WAV file: the caller's audio, real engines, and a transport that writes what the caller hears.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rspp_engine::{Core, View};
use rspp_specs::event::{AudioFrame, ProviderResult, Request};
use rspp_specs::ids::InvocationId;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::{NodeKind, Plan};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Input, Record, SessionOpen, TurnState};

use crate::audio::{CALL_RATE_HZ, CallAudio, frames};
use crate::drive::{Clock, Peers, Schedule, VirtualClock, run};
use crate::provider::{Kind, Opener, Provider, ProviderError, Timed};
use crate::transport::{MemoryTransport, TransportTimes};

/// Silence behind the end of the file, at least: so long an utterance may need to end and to be answered.
const MIN_TRAIL: Micros = Micros::from_ms(2_000);
/// How long a call may go on behind the end of its file.
const MAX_TRAIL: Micros = Micros::from_ms(180_000);
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

/// The providers of a call, each by what it is for and what its nodes are bound to.
pub type Providers = BTreeMap<(Kind, Arc<str>), Box<dyn Provider>>;

/// Opens what a plan's nodes are bound to.
///
/// # Errors
/// A binding that says nothing, or an engine that can't be had.
pub fn open(plan: &Plan, opener: &mut Opener) -> Result<Providers, CallError> {
    let mut providers = Providers::new();
    for node in plan.nodes() {
        let (kind, binding) = match &node.kind {
            NodeKind::Stt { binding, .. } => (Kind::Recogniser, binding),
            NodeKind::Llm { binding, .. } => (Kind::Model, binding),
            NodeKind::Tts { binding } => (Kind::Voice, binding),
            _ => continue,
        };
        let open = opener.open(&node.name, kind, binding);
        let open = open.map_err(|error| CallError::Open { node: node.name.clone(), error })?;
        providers.insert((kind, Arc::from(binding.as_str())), open);
    }
    Ok(providers)
}

/// Holds a call. `on_tick` sees what each tick wrote.
///
/// # Errors
/// An engine that dies.
pub fn hold(
    core: &mut Core,
    plan: &Arc<Plan>,
    session: &str,
    audio: &CallAudio,
    providers: Providers,
    pace: Pace,
    on_tick: impl FnMut(&[Record], Option<&View>),
) -> Result<CallResult, CallError> {
    let slot = core.reserve().ok_or(CallError::Full)?;
    let mut schedule = Schedule::default();
    let open = SessionOpen::new(session, Arc::clone(plan));
    schedule.put(Micros(0), Input::SessionOpen(Box::new(open)));
    let until = Micros(u64::MAX);
    let caller = Caller::new(audio);
    match pace {
        Pace::Virtual => {
            let mut peers = CallPeers::new(caller, Waiting { providers, running: BTreeMap::new() });
            run(core, slot, &mut schedule, &mut peers, &mut VirtualClock::default(), until, on_tick)?;
            Ok(peers.finish())
        }
        Pace::RealTime => {
            let (inbox, inputs) = sync_channel(INBOX);
            let mut peers = CallPeers::new(caller, Threads::start(providers, &inbox));
            let mut clock = WallClock { start: Instant::now(), inputs };
            run(core, slot, &mut schedule, &mut peers, &mut clock, until, on_tick)?;
            Ok(peers.finish())
        }
    }
}

/// The caller's audio, frame by frame, with silence behind its end until the call has come to rest.
struct Caller {
    frames: Vec<AudioFrame>,
    sent: usize,
    ended: bool,
}

impl Caller {
    fn new(audio: &CallAudio) -> Self {
        Self { frames: frames(audio).collect(), sent: 0, ended: false }
    }

    fn frame(&self, number: usize) -> AudioFrame {
        let silence = || vec![0; (u64::from(CALL_RATE_HZ) * FRAME_MS / 1_000) as usize].into();
        let none = || AudioFrame { samples: silence(), rate_hz: CALL_RATE_HZ, spoken_by: None };
        self.frames.get(number).cloned().unwrap_or_else(none)
    }

    /// Puts the next frame at the moment at which its last sample is spoken; or the session's end.
    fn go_on(&mut self, now: Micros, view: &View, schedule: &mut Schedule) {
        let frame_end = |number: usize| Micros::from_ms((number as u64 + 1) * FRAME_MS);
        if self.ended || (self.sent > 0 && now < frame_end(self.sent - 1)) {
            return;
        }
        let file_end = Micros::from_ms(self.frames.len() as u64 * FRAME_MS);
        let at_rest = view.state == TurnState::Idle && view.invocations == 0 && !view.is_playing;
        let trail = now.since(file_end);
        if (trail >= MIN_TRAIL && at_rest) || trail >= MAX_TRAIL {
            self.ended = true;
            schedule.put(now, Input::SessionEnd);
            return;
        }
        schedule.put(frame_end(self.sent), Input::CallerAudio(self.frame(self.sent)));
        self.sent += 1;
    }

    fn samples(&self) -> Vec<i16> {
        (0..self.sent).flat_map(|number| self.frame(number).samples.to_vec()).collect()
    }
}

/// Whoever brings effects to providers.
trait Bring {
    fn bring(&mut self, now: Micros, order: Order, schedule: &mut Schedule) -> Result<(), ProviderError>;

    /// What has failed since the last look.
    fn failure(&mut self) -> Option<ProviderError> {
        None
    }
}

/// What an effect asks of a provider.
enum Order {
    Invoke(InvocationId, Arc<str>, Request),
    Feed(InvocationId, AudioFrame),
    FeedEnd(InvocationId),
    Cancel(InvocationId),
}

struct CallPeers<B> {
    caller: Caller,
    transport: MemoryTransport,
    providers: B,
}

impl<B: Bring> CallPeers<B> {
    fn new(caller: Caller, providers: B) -> Self {
        Self { caller, transport: MemoryTransport::new(TransportTimes::WAV), providers }
    }

    fn finish(self) -> CallResult {
        let fenced_frames = self.transport.fenced_frames();
        CallResult { caller: self.caller.samples(), agent: self.transport.into_played(), fenced_frames }
    }
}

impl<B: Bring> Peers for CallPeers<B> {
    type Error = ProviderError;

    fn perform(&mut self, now: Micros, effect: &Effect, schedule: &mut Schedule) -> Result<(), ProviderError> {
        let order = match effect {
            Effect::Invoke { id, binding, request } => Order::Invoke(*id, Arc::clone(binding), request.clone()),
            Effect::Feed { id, frame } => Order::Feed(*id, frame.clone()),
            Effect::FeedEnd { id } => Order::FeedEnd(*id),
            Effect::CancelInvocation { id } => Order::Cancel(*id),
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                self.transport.play(now, *turn, *epoch, *from_sample, frame, schedule);
                return Ok(());
            }
            Effect::ClearTransport { turn, epoch } => {
                self.transport.clear(now, *turn, *epoch, schedule);
                return Ok(());
            }
            Effect::WakeAt { .. } => return Ok(()),
        };
        self.providers.bring(now, order, schedule)
    }

    fn after_tick(&mut self, now: Micros, view: Option<&View>, schedule: &mut Schedule) -> Result<(), ProviderError> {
        if let Some(view) = view {
            self.caller.go_on(now, view, schedule);
        }
        self.providers.failure().map_or(Ok(()), Err)
    }
}

/// What a call answers that no provider is bound to.
fn unbound(request: &Request) -> Vec<Timed> {
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
struct Waiting {
    providers: Providers,
    running: BTreeMap<InvocationId, (Kind, Arc<str>)>,
}

impl Waiting {
    fn provider(&mut self, id: InvocationId) -> Option<&mut Box<dyn Provider>> {
        self.running.get(&id).and_then(|key| self.providers.get_mut(key))
    }
}

impl Bring for Waiting {
    fn bring(&mut self, now: Micros, order: Order, schedule: &mut Schedule) -> Result<(), ProviderError> {
        let (id, results) = match order {
            Order::Invoke(id, binding, request) => {
                let key = (Kind::of(&request), binding);
                let results = match self.providers.get_mut(&key) {
                    Some(provider) => provider.invoke(&request)?,
                    None => unbound(&request),
                };
                self.running.insert(id, key);
                (id, results)
            }
            Order::Feed(id, frame) => (id, self.provider(id).map_or(Ok(Vec::new()), |it| it.feed(&frame))?),
            Order::FeedEnd(id) => (id, self.provider(id).map_or(Ok(Vec::new()), |it| it.feed_end())?),
            // What is on its way comes in late, as it would: the fence is what keeps it out.
            Order::Cancel(id) => {
                self.running.remove(&id);
                return Ok(());
            }
        };
        for Timed { after, result } in results {
            schedule.put(now + after, Input::Provider(id, result));
        }
        Ok(())
    }
}

/// Real time: a thread for each provider, whose answers come in when they come.
struct Threads {
    orders: BTreeMap<(Kind, Arc<str>), SyncSender<Order>>,
    failures: Receiver<ProviderError>,
    running: BTreeMap<InvocationId, (Kind, Arc<str>)>,
}

impl Threads {
    fn start(providers: Providers, inbox: &SyncSender<Input>) -> Self {
        let (failed, failures) = sync_channel(providers.len().max(1));
        let mut orders = BTreeMap::new();
        for (key, provider) in providers {
            let (sender, receiver) = sync_channel(ORDERS);
            let (inbox, failed) = (inbox.clone(), failed.clone());
            std::thread::spawn(move || {
                if let Err(error) = serve(provider, &receiver, &inbox) {
                    // There is room for one failure of each provider, and nobody left to tell if the call is over.
                    let _ = failed.try_send(error);
                }
            });
            orders.insert(key, sender);
        }
        Self { orders, failures, running: BTreeMap::new() }
    }
}

impl Bring for Threads {
    fn failure(&mut self) -> Option<ProviderError> {
        self.failures.try_recv().ok()
    }

    fn bring(&mut self, now: Micros, order: Order, schedule: &mut Schedule) -> Result<(), ProviderError> {
        let (id, key) = match &order {
            Order::Invoke(id, binding, request) => {
                let key = (Kind::of(request), Arc::clone(binding));
                if !self.orders.contains_key(&key) {
                    for Timed { result, .. } in unbound(request) {
                        schedule.put(now, Input::Provider(*id, result));
                    }
                    return Ok(());
                }
                self.running.insert(*id, key.clone());
                (*id, key)
            }
            Order::Feed(id, _) | Order::FeedEnd(id) | Order::Cancel(id) => match self.running.get(id) {
                Some(key) => (*id, key.clone()),
                None => return Ok(()),
            },
        };
        let sent = self.orders.get(&key).is_some_and(|orders| orders.try_send(order).is_ok());
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
    orders: &Receiver<Order>,
    inbox: &SyncSender<Input>,
) -> Result<(), ProviderError> {
    while let Ok(order) = orders.recv() {
        let (id, results) = match order {
            Order::Invoke(id, _, request) => (id, provider.invoke(&request)?),
            Order::Feed(id, frame) => (id, provider.feed(&frame)?),
            Order::FeedEnd(id) => (id, provider.feed_end()?),
            Order::Cancel(_) => continue,
        };
        for Timed { result, .. } in results {
            if inbox.send(Input::Provider(id, result)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
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
