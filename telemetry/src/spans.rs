//! A call as spans. Times are those of its records, on the wall's clock as the session read it at its beginning; names of
//! traces and spans follow from the session's name and that time, so that the same recording gives the same trace.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rspp_adapters::onlooker::{Watch, asker};
use rspp_specs::event::{ProviderResult, Request};
use rspp_specs::ids::{InvocationId, LeaseEpoch, TurnId};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Signal};

/// Events of one span; more are counted and dropped.
const MAX_EVENTS: usize = 128;

/// One session, looked on at.
pub struct CallSpans<S: FnMut(SpanData)> {
    session: Arc<str>,
    plan: Arc<Plan>,
    sink: S,
    scope: InstrumentationScope,
    /// When the session's time was nought, in microseconds since 1970, as it was read first.
    zero_us: Option<u64>,
    began: Micros,
    now: Micros,
    epoch: LeaseEpoch,
    events: Events,
    turn: Option<Turn>,
    /// Of work beside turns: recognition, writes that were committed.
    beside: Nodes,
    running: BTreeMap<InvocationId, Running>,
    /// Spans that were named.
    named: u64,
    has_begun: bool,
    is_over: bool,
}

type Nodes = BTreeMap<Arc<str>, Node>;
type Attributes = Vec<KeyValue>;

/// What happened within a span.
#[derive(Default)]
struct Events {
    kept: Vec<(Micros, &'static str, Attributes)>,
    dropped: u32,
}

impl Events {
    fn push(&mut self, at: Micros, name: &'static str, attributes: Attributes) {
        if self.kept.len() < MAX_EVENTS {
            self.kept.push((at, name, attributes));
        } else {
            self.dropped += 1;
        }
    }
}

struct Turn {
    turn: TurnId,
    span: u64,
    from: Micros,
    opened: Micros,
    events: Events,
    nodes: Nodes,
    attributes: Attributes,
    first_audio: Option<Micros>,
    end: Option<(&'static str, Option<&'static str>)>,
    failed: bool,
}

/// The work of one node in one turn, or beside turns.
struct Node {
    span: u64,
    from: Micros,
    to: Micros,
    kind: &'static str,
    invocations: i64,
    running: u32,
}

struct Running {
    /// Whose work it is.
    turn: Option<TurnId>,
    node: Arc<str>,
    node_span: u64,
    span: u64,
    kind: &'static str,
    binding: Arc<str>,
    from: Micros,
    first: Option<Micros>,
    results: i64,
    cancelled: Option<Micros>,
}

/// What a span is made of.
struct Made {
    span: u64,
    parent: Option<u64>,
    name: Cow<'static, str>,
    kind: SpanKind,
    from: Micros,
    to: Micros,
    attributes: Attributes,
    events: Events,
    status: Status,
}

impl<S: FnMut(SpanData)> CallSpans<S> {
    /// Of a session that begins; each span goes to `sink` when it is over.
    pub fn new(session: &Arc<str>, plan: &Arc<Plan>, sink: S) -> Self {
        Self {
            session: Arc::clone(session),
            plan: Arc::clone(plan),
            sink,
            scope: InstrumentationScope::builder("rspp").with_version(env!("CARGO_PKG_VERSION")).build(),
            zero_us: None,
            began: Micros(0),
            now: Micros(0),
            epoch: LeaseEpoch::default(),
            events: Events::default(),
            turn: None,
            beside: Nodes::new(),
            running: BTreeMap::new(),
            named: 0,
            has_begun: false,
            is_over: false,
        }
    }

    /// A number for a span; the session's own has nought.
    fn name_span(&mut self) -> u64 {
        self.named += 1;
        self.named
    }

    fn on_input(&mut self, at: Micros, input: &Input) {
        match input {
            // It comes again where the session goes on with another version.
            Input::SessionOpen(open) if !self.has_begun => {
                (self.began, self.has_begun) = (at, true);
                self.epoch = open.epoch;
            }
            Input::WallClock(reading) => {
                self.zero_us.get_or_insert(reading.unix_us.saturating_sub(reading.at.0));
            }
            Input::Provider(id, ProviderResult::End(outcome)) => self.on_end(at, *id, *outcome),
            Input::Provider(id, _) => {
                if let Some(running) = self.running.get_mut(id).filter(|running| running.cancelled.is_none()) {
                    running.first.get_or_insert(at);
                    running.results += 1;
                }
            }
            _ => {}
        }
    }

    fn on_effect(&mut self, at: Micros, effect: &Effect) {
        match effect {
            Effect::Invoke { id, binding, request } => self.on_invoke(at, *id, binding, request),
            Effect::CancelInvocation { id } => {
                let Some(running) = self.running.get_mut(id) else { return };
                running.cancelled = Some(at);
                let (turn, node) = (running.turn, Arc::clone(&running.node));
                self.rest(at, turn, &node);
            }
            _ => {}
        }
    }

    fn on_invoke(&mut self, at: Micros, id: InvocationId, binding: &Arc<str>, request: &Request) {
        let kind = kind_of(request);
        let node: Arc<str> = match asker(&self.plan, request, binding) {
            Some(node) => self.plan.node(node).name.as_str().into(),
            None => kind.into(),
        };
        let turn = self.turn.as_ref().filter(|_| kind != "stt").map(|turn| turn.turn);
        let (node_span, span) = (self.name_span(), self.name_span());
        let nodes = self.turn.as_mut().filter(|_| turn.is_some()).map_or(&mut self.beside, |turn| &mut turn.nodes);
        let new = Node { span: node_span, from: at, to: at, kind: node_kind(kind), invocations: 0, running: 0 };
        let work = nodes.entry(Arc::clone(&node)).or_insert(new);
        work.invocations += 1;
        work.running += 1;
        let (node_span, binding) = (work.span, Arc::clone(binding));
        let (first, results, cancelled) = (None, 0, None);
        self.running
            .insert(id, Running { turn, node, node_span, span, kind, binding, from: at, first, results, cancelled });
    }

    /// One invocation less of a node's.
    fn rest(&mut self, at: Micros, turn: Option<TurnId>, node: &str) {
        let of_turn = self.turn.as_mut().filter(|open| Some(open.turn) == turn).map(|open| &mut open.nodes);
        let nodes = if turn.is_none() { Some(&mut self.beside) } else { of_turn };
        if let Some(work) = nodes.and_then(|nodes| nodes.get_mut(node)) {
            work.running = work.running.saturating_sub(1);
            work.to = at;
        }
    }

    fn on_end(&mut self, at: Micros, id: InvocationId, outcome: Outcome) {
        // How a cancelled one ended is told once it has settled.
        if self.running.get(&id).is_none_or(|running| running.cancelled.is_some()) {
            return;
        }
        let Some(running) = self.running.remove(&id) else { return };
        self.rest(at, running.turn, &Arc::clone(&running.node));
        self.finish(id, &running, at, outcome, Vec::new());
    }

    fn finish(&mut self, id: InvocationId, running: &Running, to: Micros, outcome: Outcome, more: Attributes) {
        let mut attributes = vec![
            KeyValue::new("rspp.invocation", i64::from(id.0)),
            KeyValue::new("rspp.kind", running.kind),
            KeyValue::new("rspp.node", running.node.to_string()),
            KeyValue::new("rspp.binding", running.binding.to_string()),
            KeyValue::new("rspp.outcome", outcome.name()),
            KeyValue::new("rspp.results", running.results),
        ];
        attributes.extend(running.turn.map(|turn| KeyValue::new("rspp.turn", i64::from(turn.0))));
        attributes
            .extend(running.first.map(|first| KeyValue::new("rspp.first_result_ms", ms(first.since(running.from)))));
        attributes.extend(more);
        let mut events = Events::default();
        running.first.iter().for_each(|first| events.push(*first, "first_result", Vec::new()));
        running.cancelled.iter().for_each(|at| events.push(*at, "cancel_sent", Vec::new()));
        let status = match outcome {
            Outcome::Success => Status::Ok,
            Outcome::Cancelled => Status::Unset,
            failed => Status::error(failed.name()),
        };
        self.give(Made {
            span: running.span,
            parent: Some(running.node_span),
            name: format!("{} {}", running.kind, running.node).into(),
            kind: SpanKind::Client,
            from: running.from,
            to,
            attributes,
            events,
            status,
        });
    }

    /// A cancelled invocation is not waited for any more.
    fn settle(&mut self, id: InvocationId, to: Option<Micros>, more: Attributes) {
        if let Some(running) = self.running.remove(&id) {
            let to = to.or(running.cancelled).unwrap_or(self.now);
            self.finish(id, &running, to, Outcome::Cancelled, more);
        }
    }

    fn on_signal(&mut self, at: Micros, turn: Option<TurnId>, signal: &Signal) {
        match signal {
            Signal::TurnOpen { plan, generation, understood, speech_end, .. } => {
                let Some(turn) = turn else { return };
                let attributes = vec![
                    KeyValue::new("rspp.plan_hash", plan.to_string()),
                    KeyValue::new("rspp.generation", i64::from(generation.0)),
                    KeyValue::new("rspp.understood", *understood),
                ];
                return self.open_turn(at, turn, speech_end.unwrap_or(at), attributes);
            }
            Signal::CancelSettled { id, after, late_results } => {
                let late = KeyValue::new("rspp.late_results", i64::from(*late_results));
                return self.settle(*id, Some(at), vec![KeyValue::new("rspp.settled_ms", ms(*after)), late]);
            }
            Signal::CancelIgnored { id, late_results } => {
                let late = KeyValue::new("rspp.late_results", i64::from(*late_results));
                return self.settle(*id, Some(at), vec![KeyValue::new("rspp.ignored", true), late]);
            }
            Signal::Close => return self.close_turn(at),
            Signal::SessionEnded => return self.close_session(at),
            // Words are nobody's business out there.
            Signal::Heard { .. } => return,
            _ => {}
        }
        self.note_end(at, signal);
        let attributes = reason_of(signal);
        match self.turn.as_mut().filter(|open| Some(open.turn) == turn) {
            Some(open) => open.events.push(at, signal.name(), attributes),
            None => {
                let of = turn.map(|turn| KeyValue::new("rspp.turn", i64::from(turn.0)));
                self.events.push(at, signal.name(), of.into_iter().chain(attributes).collect());
            }
        }
    }

    fn note_end(&mut self, at: Micros, signal: &Signal) {
        let Some(turn) = &mut self.turn else { return };
        match signal {
            Signal::OutputAccepted => turn.first_audio = Some(at),
            Signal::Commit => turn.end = Some(("commit", None)),
            Signal::CancelAccepted { reason } => turn.end = Some(("abort", Some(reason.name()))),
            Signal::Abort { reason } if turn.end.is_none() => {
                turn.end = Some(("abort", Some(reason.name())));
                turn.failed = true;
            }
            _ => {}
        }
    }

    fn open_turn(&mut self, at: Micros, turn: TurnId, from: Micros, attributes: Attributes) {
        let span = self.name_span();
        let (events, nodes) = (Events::default(), Nodes::new());
        let (first_audio, end, failed) = (None, None, false);
        self.turn = Some(Turn { turn, span, from, opened: at, events, nodes, attributes, first_audio, end, failed });
    }

    fn close_turn(&mut self, at: Micros) {
        let Some(turn) = self.turn.take() else { return };
        let number = KeyValue::new("rspp.turn", i64::from(turn.turn.0));
        self.give_nodes(at, turn.nodes, turn.span, Some(&number));
        let mut attributes = vec![number];
        attributes.extend(turn.attributes);
        let (terminal, reason) = turn.end.unwrap_or(("open", None));
        attributes.push(KeyValue::new("rspp.terminal", terminal));
        attributes.extend(reason.map(|reason| KeyValue::new("rspp.reason", reason)));
        attributes.push(KeyValue::new("rspp.asked_to_open_ms", ms(turn.opened.since(turn.from))));
        let first = turn.first_audio.map(|first| KeyValue::new("rspp.first_audio_ms", ms(first.since(turn.from))));
        attributes.extend(first);
        let failed = reason.filter(|_| turn.failed).map_or(Status::Unset, Status::error);
        let status = if terminal == "commit" { Status::Ok } else { failed };
        let (span, from, events, kind) = (turn.span, turn.from, turn.events, SpanKind::Internal);
        self.give(Made { span, parent: Some(0), name: "turn".into(), kind, from, to: at, attributes, events, status });
    }

    fn give_nodes(&mut self, at: Micros, nodes: Nodes, parent: u64, of: Option<&KeyValue>) {
        for (name, node) in nodes {
            let mut attributes = vec![
                KeyValue::new("rspp.node", name.to_string()),
                KeyValue::new("rspp.kind", node.kind),
                KeyValue::new("rspp.invocations", node.invocations),
            ];
            attributes.extend(of.cloned());
            self.give(Made {
                span: node.span,
                parent: Some(parent),
                name: format!("node {name}").into(),
                kind: SpanKind::Internal,
                from: node.from,
                to: if node.running > 0 { at } else { node.to },
                attributes,
                events: Events::default(),
                status: Status::Unset,
            });
        }
    }

    fn close_session(&mut self, at: Micros) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.close_turn(at);
        let left: Vec<InvocationId> = self.running.keys().copied().collect();
        left.into_iter().for_each(|id| self.settle(id, None, Vec::new()));
        let beside = std::mem::take(&mut self.beside);
        self.give_nodes(at, beside, 0, None);
        let attributes = vec![
            KeyValue::new("rspp.pipeline", self.plan.name().to_owned()),
            KeyValue::new("rspp.version", i64::from(self.plan.version())),
            KeyValue::new("rspp.profile", self.plan.profile().to_owned()),
            KeyValue::new("rspp.lease_epoch", self.epoch.0 as i64),
        ];
        let (events, from) = (std::mem::take(&mut self.events), self.began);
        let (name, kind, status) = ("session".into(), SpanKind::Server, Status::Unset);
        self.give(Made { span: 0, parent: None, name, kind, from, to: at, attributes, events, status });
    }

    fn wall(&self, at: Micros) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.zero_us.unwrap_or_default() + at.0)
    }

    /// The trace's name, and the name of one of its spans.
    fn ids(&self, span: u64) -> (TraceId, SpanId) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.session.as_bytes());
        hasher.update(&self.zero_us.unwrap_or_default().to_le_bytes());
        let trace = hasher.finalize();
        hasher.update(&span.to_le_bytes());
        let span = hasher.finalize();
        let trace = trace.as_bytes().first_chunk().expect("a hash has 32 bytes");
        let span = span.as_bytes().first_chunk().expect("a hash has 32 bytes");
        (TraceId::from_bytes(*trace), SpanId::from_bytes(*span))
    }

    fn give(&mut self, made: Made) {
        let (trace, span) = self.ids(made.span);
        let parent = made.parent.map_or(SpanId::INVALID, |parent| self.ids(parent).1);
        let mut attributes = made.attributes;
        attributes.push(KeyValue::new("rspp.session", Value::from(self.session.to_string())));
        let mut events = SpanEvents::default();
        for (at, name, attributes) in made.events.kept {
            events.events.push(Event::new(name, self.wall(at), attributes, 0));
        }
        events.dropped_count = made.events.dropped;
        let data = SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: made.kind,
            name: made.name,
            start_time: self.wall(made.from),
            end_time: self.wall(made.to.max(made.from)),
            attributes,
            dropped_attributes_count: 0,
            events,
            links: SpanLinks::default(),
            status: made.status,
            instrumentation_scope: self.scope.clone(),
        };
        (self.sink)(data);
    }
}

impl<S: FnMut(SpanData) + Send> Watch for CallSpans<S> {
    fn on(&mut self, at: Micros, entry: &Entry) {
        self.now = at;
        match entry {
            Entry::Input(_, input) => self.on_input(at, input),
            Entry::Signal(turn, signal) => self.on_signal(at, *turn, signal),
            Entry::Effect(effect) => self.on_effect(at, effect),
        }
    }
}

/// A session of which nothing more is seen ended here, for whoever looked on: its worker was told to stop, or its log ends.
impl<S: FnMut(SpanData)> Drop for CallSpans<S> {
    fn drop(&mut self) {
        if self.has_begun {
            self.close_session(self.now);
        }
    }
}

fn kind_of(request: &Request) -> &'static str {
    match request {
        Request::Transcribe { .. } => "stt",
        Request::Chat { .. } => "llm",
        Request::Speak { .. } => "tts",
        Request::Tool(_) => "tool",
    }
}

/// A tool is called in the name of its model's node.
fn node_kind(kind: &'static str) -> &'static str {
    if kind == "tool" { "llm" } else { kind }
}

fn ms(time: Micros) -> f64 {
    time.0 as f64 / 1_000.0
}

/// Why, where a signal says that, in words that are no caller's.
fn reason_of(signal: &Signal) -> Attributes {
    let reason = match signal {
        Signal::CancelAccepted { reason } | Signal::SoftCancel { reason, .. } => reason.name(),
        Signal::Abort { reason } => reason.name(),
        Signal::ProviderError { outcome, .. } => outcome.name(),
        _ => return Vec::new(),
    };
    vec![KeyValue::new("rspp.reason", reason)]
}
