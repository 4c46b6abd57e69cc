//! The trace: a timeline as lines of text, for golden files, for people, and for checkers that know nothing of
//! the engine.
//!
//! ```text
//! 1520 79 in     C turn_open_proposed seq=78 text="what time do you open"
//! 1520 79 signal C turn_open turn=t1 plan=9f2c81d0a4b37e65 generation=1 text="what time do you open" understood=true speech_end_ms=1000
//! 1520 79 effect D invoke id=llm#2
//! 1520 79 state  - active held=llm#2
//! ```
//!
//! A line is: milliseconds of session time, the session's tick, the section, the lane, a name, then
//! `key=value` pairs. A value is bare, or a JSON string.

mod signals;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::admission::{AdmissionSnapshot, Quota};
use crate::budget::TurnPart;
use crate::event::{AudioFrame, ProviderResult, Request, Understanding, WordEnd};
use crate::ids::{EdgeIndex, InvocationId, NodeIndex};
use crate::outcome::{CancelScope, Cancellation};
use crate::plan::Plan;
use crate::recording::RecorderReport;
use crate::time::{Lane, Micros, WallReading};
use crate::timeline::{
    Derived, Effect, Entry, Holder, Input, Observation, Opener, Prompt, Record, TimerKey, TurnState,
};

pub use value::{Value, parse_invocation};

/// Which kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Something entered.
    In,
    /// The core says what it did.
    Signal,
    /// The shell is to do something.
    Effect,
    /// The arbiter's state at the end of a tick, and who holds the turn.
    State,
}

impl Section {
    const ALL: [Section; 4] = [Section::In, Section::Signal, Section::Effect, Section::State];

    /// The word in the line.
    pub const fn name(self) -> &'static str {
        match self {
            Section::In => "in",
            Section::Signal => "signal",
            Section::Effect => "effect",
            Section::State => "state",
        }
    }
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Session time.
    pub at: Micros,
    /// The session's tick.
    pub tick: u64,
    /// The kind of line.
    pub section: Section,
    /// The lane, where there is one.
    pub lane: Option<Lane>,
    /// What happened.
    pub name: Cow<'static, str>,
    /// Its fields, in order.
    pub fields: Vec<Field>,
}

impl Line {
    /// A field's value.
    pub fn field(&self, key: &str) -> Option<&Value> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((Cow::Borrowed(key), value.into()));
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lane = self.lane.map_or('-', Lane::letter);
        write!(f, "{} {} {:<6} {lane} {}", self.at, self.tick, self.section.name(), self.name)?;
        for (key, value) in &self.fields {
            let value = value.shown();
            let bare = !value.is_empty() && value.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=');
            if bare {
                write!(f, " {key}={value}")?;
            } else {
                write!(f, " {key}={}", serde_json::Value::from(value.as_ref()))?;
            }
        }
        Ok(())
    }
}

/// Why a line can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of a trace ({what}): {line}")]
pub struct LineError {
    /// What is wrong.
    pub what: &'static str,
    /// The line.
    pub line: String,
}

impl FromStr for Line {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let fail = |what| LineError { what, line: line.to_owned() };
        let mut rest = line.trim();
        let mut word = || {
            let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = tail.trim_start();
            first
        };
        let at = parse_ms(word()).ok_or_else(|| fail("time"))?;
        let tick = word().parse().map_err(|_| fail("tick"))?;
        let section = word();
        let section = Section::ALL.into_iter().find(|s| s.name() == section).ok_or_else(|| fail("section"))?;
        let lane = match word() {
            "C" => Some(Lane::Control),
            "D" => Some(Lane::Data),
            "T" => Some(Lane::Telemetry),
            "-" => None,
            _ => return Err(fail("lane")),
        };
        let name = Cow::Owned(word().to_owned());
        let fields = parse_fields(rest).ok_or_else(|| fail("fields"))?;
        Ok(Line { at, tick, section, lane, name, fields })
    }
}

fn parse_ms(text: &str) -> Option<Micros> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let micros: u64 = if decimals.is_empty() { 0 } else { format!("{decimals:0<3}").parse().ok()? };
    Some(Micros(whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(micros)?))
}

fn parse_fields(mut rest: &str) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=')?;
        let value: String;
        if tail.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(tail).into_iter::<String>();
            value = values.next()?.ok()?;
            rest = tail[values.byte_offset()..].trim_start();
        } else {
            let (bare, after) = tail.split_once(' ').unwrap_or((tail, ""));
            value = bare.to_owned();
            rest = after.trim_start();
        }
        fields.push((Cow::Owned(key.to_owned()), Value::from(value)));
    }
    Some(fields)
}

/// Reads a trace. Empty lines and lines that begin with `#` are comments.
///
/// # Errors
/// Names the first line that can't be read.
pub fn parse(text: &str) -> Result<Vec<Line>, LineError> {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).map(str::parse).collect()
}

/// Turns a session's records into lines.
#[derive(Debug)]
pub struct Renderer {
    node_names: Vec<Arc<str>>,
    path_names: Vec<Arc<str>>,
    edge_names: Vec<Arc<str>>,
    unknown: Arc<str>,
    invocations: BTreeMap<InvocationId, &'static str>,
    last_state: Option<(TurnState, Vec<Holder>)>,
}

/// A key and its value.
type Field = (Cow<'static, str>, Value);

/// What lines were written on that nobody wants any more. Renderers share one, so that what is written on next is what
/// was read last.
#[derive(Debug, Default)]
pub struct Paper(Vec<Vec<Field>>);

/// Lines' worth of fields that wait to be used again.
const MAX_SPARE_FIELDS: usize = 64;

impl Paper {
    /// Takes lines back that were read.
    pub fn take_back(&mut self, lines: &mut Vec<Line>) {
        for mut line in lines.drain(..) {
            if self.0.len() < MAX_SPARE_FIELDS {
                line.fields.clear();
                self.0.push(line.fields);
            }
        }
    }

    fn sheet(&mut self) -> Vec<Field> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(6))
    }
}

/// Invocations whose kind is remembered for what comes late; of an older one a line says `unknown#7`.
const MAX_NAMED_INVOCATIONS: usize = 4_096;

impl Renderer {
    /// For a session of this plan.
    pub fn new(plan: &Plan) -> Self {
        let node_names = plan.nodes().iter().map(|node| Arc::from(node.name.as_str())).collect();
        let edge_names = plan.edges().iter().map(|edge| Arc::from(plan.name_of(edge))).collect();
        let paths = plan.turn_policy().budgets.paths.iter();
        Self {
            node_names,
            path_names: paths.map(|(path, _)| Arc::clone(&path.name)).collect(),
            edge_names,
            unknown: Arc::from("unknown"),
            invocations: BTreeMap::new(),
            last_state: None,
        }
    }

    /// One record as a line.
    pub fn record(&mut self, record: &Record) -> Line {
        self.record_on(&mut Paper::default(), record)
    }

    /// One record as a line, on paper that was used before.
    pub fn record_on(&mut self, paper: &mut Paper, record: &Record) -> Line {
        let fields = paper.sheet();
        let blank = |section, lane, name: &'static str| Line {
            at: record.at,
            tick: record.tick,
            section,
            lane: Some(lane),
            name: Cow::Borrowed(name),
            fields,
        };
        match &record.entry {
            Entry::Input(sequence, input) => {
                let line = blank(Section::In, input.lane(), input_name(input)).with("seq", sequence);
                self.input_fields(line, input)
            }
            Entry::Signal(turn, signal) => {
                let mut line = blank(Section::Signal, signal.row().lane, signal.name());
                if let Some(turn) = turn {
                    line = line.with("turn", turn);
                }
                self.signal_fields(line, signal)
            }
            Entry::Effect(effect) => {
                if let Effect::Invoke { id, request, .. } = effect {
                    self.invocations.insert(*id, request_label(request));
                    if self.invocations.len() > MAX_NAMED_INVOCATIONS {
                        self.invocations.pop_first();
                    }
                }
                let (lane, name) = effect.lane_and_name();
                self.effect_fields(blank(Section::Effect, lane, name), effect)
            }
        }
    }

    /// The state at the end of a tick, where it is not what it was.
    pub fn state(&mut self, at: Micros, tick: u64, state: TurnState, holders: &[Holder]) -> Option<Line> {
        if self.last_state.as_ref().is_some_and(|(last, held_by)| *last == state && held_by == holders) {
            return None;
        }
        let (section, name) = (Section::State, Cow::Borrowed(state.name()));
        let mut line = Line { at, tick, section, lane: None, name, fields: Vec::new() };
        if !holders.is_empty() {
            let held: Vec<String> = holders.iter().map(|holder| self.holder(holder)).collect();
            line = line.with("held", held.join(","));
        }
        self.last_state = Some((state, holders.to_vec()));
        Some(line)
    }

    fn invocation(&self, id: InvocationId) -> Value {
        Value::Invocation(self.invocations.get(&id).copied().unwrap_or("unknown"), id)
    }

    fn node(&self, node: NodeIndex) -> &Arc<str> {
        self.node_names.get(usize::from(node.0)).unwrap_or(&self.unknown)
    }

    fn edge(&self, edge: EdgeIndex) -> &Arc<str> {
        self.edge_names.get(usize::from(edge.0)).unwrap_or(&self.unknown)
    }

    /// What a part of a turn is, and its name.
    fn part(&self, part: TurnPart) -> (&'static str, &Arc<str>) {
        let path = |path| self.path_names.get(usize::from(path)).unwrap_or(&self.unknown);
        match part {
            TurnPart::Node(node) => ("node", self.node(node)),
            TurnPart::Path(place) => ("path", path(place)),
            TurnPart::Edge(edge) => ("edge", self.edge(edge)),
        }
    }

    fn holder(&self, holder: &Holder) -> String {
        match holder {
            Holder::Invocation(id) => self.invocation(*id).to_string(),
            Holder::Write(key) => key.to_string(),
            Holder::Node(node) => self.node(*node).to_string(),
            Holder::Derived => "derived".to_owned(),
            Holder::Grace => "grace".to_owned(),
        }
    }

    fn input_fields(&self, line: Line, input: &Input) -> Line {
        match input {
            Input::SessionOpen(open) => line.with("session", &open.session).with("plan", open.plan.hash()),
            Input::Cancel(cancellation) => self.cancel_fields(line, cancellation),
            Input::Talk(talk) => line.with("talk", snake(talk)),
            Input::PlayoutAck(ack) => line
                .with("turn", ack.turn)
                .with("heard_samples", ack.heard_samples)
                .with("occasion", snake(&ack.occasion)),
            Input::Observed(observation) => line.with("observation", observation_name(*observation)),
            Input::CallerAudio(frame) => audio_fields(line, frame),
            Input::UserText(text) => line.with("text", text),
            Input::Prompt(Prompt::Say(text)) => line.with("say", text),
            Input::Prompt(Prompt::Ask(text)) => line.with("ask", text),
            Input::Provider(id, result) => result_fields(line.with("id", self.invocation(*id)), result),
            Input::Derived(Derived::NodeLost(turn, node)) => line.with("turn", turn).with("node", self.node(*node)),
            Input::Derived(derived) => derived_fields(line, derived),
            Input::Timer(TimerKey::Node(node)) => line.with("node", self.node(*node)),
            Input::Timer(TimerKey::CommitPoint(turn)) => line.with("commit_point", turn),
            Input::Timer(TimerKey::PlayoutAckWait(turn)) => line.with("playout_ack_wait", turn),
            Input::Timer(TimerKey::Result(id)) => line.with("result_of", self.invocation(*id)),
            Input::Timer(TimerKey::Retry(id)) => line.with("retry_of", self.invocation(*id)),
            Input::Timer(TimerKey::Budget(turn, budget)) => line.with("budget", snake(budget)).with("turn", turn),
            Input::Timer(TimerKey::Part(turn, part)) => {
                let (_, name) = self.part(*part);
                line.with(part.budget_name(), name).with("turn", turn)
            }
            Input::Timer(TimerKey::Buffers(node)) => line.with("buffers_of", self.node(*node)),
            Input::Timer(TimerKey::Reconnect) => line.with("reconnect", "late"),
            Input::Timer(TimerKey::Hold(turn)) => line.with("hold", turn),
            Input::Timer(TimerKey::CancelGrace(turn)) => line.with("cancel_grace", turn),
            Input::Timer(TimerKey::Deferred) => line.with("deferred", "due"),
            Input::Timer(TimerKey::Silence) => line.with("silence", true),
            Input::Timer(TimerKey::NodeStart(node)) => line.with("start_of", self.node(*node)),
            Input::LeaseRotated(epoch) => line.with("epoch", epoch),
            Input::Recorder(RecorderReport::Asked(level)) => line.with("asked", level.name()),
            Input::Recorder(report) => line.with("is", snake(report)),
            Input::StaleEpoch { epoch, input } => line.with("epoch", epoch).with("input", input),
            Input::Admission(snapshot) => admission_fields(line, snapshot),
            Input::Connection(state) => line.with("state", snake(state)),
            Input::ProviderHealth { binding, healthy } => line.with("binding", binding).with("healthy", healthy),
            Input::DispatchRefused(id) => line.with("id", self.invocation(*id)),
            Input::WallClock(WallReading { unix_us, at }) => line.with("unix_us", unix_us).with("read_ms", at),
            Input::NodeOverrun { node, took } => line.with("node", self.node(*node)).with("took_ms", took),
            Input::Takeover(takeover) => {
                let lost: Vec<String> = takeover.lost.iter().map(|id| self.invocation(*id).to_string()).collect();
                line.with("epoch", &takeover.epoch).with("lost", lost.join(","))
            }
            Input::SessionEnd | Input::SessionDrain | Input::AuthorityRevoked | Input::TransportLost => line,
        }
    }

    /// The scope only where it is not the turn, and softness only where it is soft.
    fn cancel_fields(&self, line: Line, cancellation: &Cancellation) -> Line {
        let Cancellation { reason, of, soft } = cancellation;
        let line = line.with("reason", reason.name());
        let line = match of {
            CancelScope::Turn => line,
            CancelScope::Session => line.with("of", "session"),
            CancelScope::Node(node) => line.with("of", self.node(*node)),
            CancelScope::Invocation(id) => line.with("of", self.invocation(*id)),
        };
        if *soft { line.with("soft", true) } else { line }
    }

    fn effect_fields(&self, line: Line, effect: &Effect) -> Line {
        match effect {
            Effect::Invoke { id, binding, request } => {
                let line = line.with("id", self.invocation(*id)).with("binding", binding);
                match request {
                    Request::Transcribe { media_start, preroll } => {
                        line.with("media_start_ms", media_start).with("preroll_frames", preroll.len())
                    }
                    Request::Chat { context } => line.with("context_entries", context.len()),
                    Request::Speak { text } => line.with("text", text),
                    Request::Tool(call) => line.with("name", &call.name).with("key", &call.key),
                }
            }
            Effect::Feed { id, frame } => audio_fields(line.with("id", self.invocation(*id)), frame),
            Effect::FeedEnd { id }
            | Effect::CancelInvocation { id }
            | Effect::EndInvocation { id }
            | Effect::PauseInvocation { id }
            | Effect::ResumeInvocation { id } => line.with("id", self.invocation(*id)),
            Effect::GrantCredit { id, results } => line.with("id", self.invocation(*id)).with("results", results),
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                audio_fields(line.with("turn", turn).with("epoch", epoch.0).with("from_sample", from_sample), frame)
            }
            Effect::ClearTransport { turn, epoch } => line.with("turn", turn).with("epoch", epoch.0),
            Effect::WakeAt { at } => line.with("at_ms", at),
        }
    }
}

fn or_none(time: Option<Micros>) -> String {
    time.map_or_else(|| "none".to_owned(), |time| time.to_string())
}

fn audio_fields(line: Line, frame: &AudioFrame) -> Line {
    line.with("samples", frame.samples.len())
        .with("rate_hz", frame.rate_hz)
        .with("digest", Value::Digest(Arc::clone(&frame.samples)))
}

fn result_fields(line: Line, result: &ProviderResult) -> Line {
    match result {
        ProviderResult::Transcript(transcript) => {
            let kind = match transcript.understanding {
                Understanding::Partial => "partial",
                Understanding::Words => "final",
                Understanding::Rejected => "rejected",
                Understanding::Empty => "empty",
            };
            line.with("kind", kind).with("text", &transcript.text).with("watermark_ms", transcript.watermark)
        }
        ProviderResult::Text(text) => line.with("kind", "text").with("text", text),
        ProviderResult::ToolCall(call) => {
            line.with("kind", "tool_call").with("name", &call.name).with("key", &call.key)
        }
        ProviderResult::Audio(frame) => audio_fields(line.with("kind", "audio"), frame),
        ProviderResult::WordEnds(ends) => {
            let last = ends.last().copied().unwrap_or(WordEnd { chars: 0, samples: 0 });
            let line = line.with("kind", "word_ends").with("words", ends.len());
            line.with("chars", last.chars).with("until_sample", last.samples)
        }
        ProviderResult::ToolResult(content) => line.with("kind", "tool_result").with("content", content),
        ProviderResult::End(outcome) => line.with("kind", "end").with("outcome", outcome.name()),
    }
}

fn admission_fields(line: Line, snapshot: &AdmissionSnapshot) -> Line {
    let AdmissionSnapshot { version, form, epoch, quota } = snapshot;
    let line = line.with("version", version).with("form", form).with("epoch", epoch);
    match quota {
        Quota::Available => line.with("quota", "available"),
        Quota::Exhausted => line.with("quota", "exhausted"),
        Quota::Shedding => line.with("quota", "shedding"),
        Quota::Deferred { retry_after } => line.with("quota", "deferred").with("retry_after_ms", retry_after),
    }
}

/// Who has a turn opened, where it is not the caller.
fn opener_field(line: Line, opener: Opener) -> Line {
    if opener.is_caller() { line } else { line.with("opener", snake(&opener)) }
}

fn derived_fields(line: Line, derived: &Derived) -> Line {
    match derived {
        Derived::TurnOpenProposed(proposal) => {
            let line = line.with("text", &proposal.text).with("understood", proposal.understood);
            let line = opener_field(line, proposal.opener);
            let line = if proposal.backchannel { line.with("backchannel", true) } else { line };
            match proposal.waits_since {
                Some(since) => line.with("waits_since_ms", since),
                None => line,
            }
        }
        Derived::InterruptionProposed(turn) | Derived::InterruptionDismissed(turn) | Derived::PlaybackCut(turn) => {
            line.with("turn", turn)
        }
        Derived::InterruptionConfirmed(turn, by) => line.with("turn", turn).with("by", snake(by)),
        Derived::TurnFailed(turn, reason) => line.with("turn", turn).with("reason", reason.name()),
        // Its node's name is the plan's.
        Derived::NodeLost(turn, _) => line.with("turn", turn),
    }
}

fn input_name(input: &Input) -> &'static str {
    match input {
        Input::SessionOpen(_) => "session_open",
        Input::SessionEnd => "session_end",
        Input::Cancel(_) => "cancel",
        Input::AuthorityRevoked => "authority_revoked",
        Input::TransportLost => "transport_lost",
        Input::SessionDrain => "session_drain",
        Input::LeaseRotated(_) => "lease",
        Input::Recorder(_) => "recorder",
        Input::StaleEpoch { .. } => "stale_epoch",
        Input::Admission(_) => "admission",
        Input::Connection(_) => "connection",
        Input::ProviderHealth { .. } => "provider_health",
        Input::DispatchRefused(_) => "dispatch_refused",
        Input::NodeOverrun { .. } => "node_overrun",
        Input::WallClock(_) => "wall_clock",
        Input::Takeover(_) => "takeover",
        Input::PlayoutAck(_) => "playout_ack",
        Input::Observed(_) => "observed",
        Input::Talk(_) => "talk",
        Input::CallerAudio(_) => "audio",
        Input::UserText(_) => "user_text",
        Input::Prompt(_) => "prompt",
        Input::Provider(..) => "provider",
        Input::Derived(Derived::TurnOpenProposed(_)) => "turn_open_proposed",
        Input::Derived(Derived::InterruptionProposed(_)) => "interruption_proposed",
        Input::Derived(Derived::InterruptionConfirmed(..)) => "interruption_confirmed",
        Input::Derived(Derived::InterruptionDismissed(_)) => "interruption_dismissed",
        Input::Derived(Derived::PlaybackCut(_)) => "playback_cut",
        Input::Derived(Derived::TurnFailed(..)) => "turn_failed",
        Input::Derived(Derived::NodeLost(..)) => "node_lost",
        Input::Timer(_) => "wake",
    }
}

impl Input {
    /// The name in traces.
    pub fn name(&self) -> &'static str {
        input_name(self)
    }
}

impl Effect {
    /// The lane, and the name in traces and on the wire.
    pub fn lane_and_name(&self) -> (Lane, &'static str) {
        match self {
            Effect::Invoke { .. } => (Lane::Data, "invoke"),
            Effect::Feed { .. } => (Lane::Data, "feed"),
            Effect::FeedEnd { .. } => (Lane::Data, "feed_end"),
            Effect::CancelInvocation { .. } => (Lane::Control, "cancel_invocation"),
            Effect::EndInvocation { .. } => (Lane::Control, "end_invocation"),
            Effect::Transmit { .. } => (Lane::Data, "transmit"),
            Effect::ClearTransport { .. } => (Lane::Control, "clear_transport"),
            Effect::WakeAt { .. } => (Lane::Control, "wake_at"),
            Effect::PauseInvocation { .. } => (Lane::Control, "pause_invocation"),
            Effect::ResumeInvocation { .. } => (Lane::Control, "resume_invocation"),
            Effect::GrantCredit { .. } => (Lane::Control, "grant_credit"),
        }
    }
}

fn request_label(request: &Request) -> &'static str {
    match request {
        Request::Transcribe { .. } => "stt",
        Request::Chat { .. } => "llm",
        Request::Speak { .. } => "tts",
        Request::Tool(_) => "tool",
    }
}

fn observation_name(observation: Observation) -> &'static str {
    match observation {
        Observation::Onset { new_utterance: true } => "onset",
        Observation::Onset { new_utterance: false } => "onset_again",
        Observation::Sustained => "sustained",
        Observation::Pause => "pause",
        Observation::Words => "words",
        Observation::Backchannel => "backchannel",
    }
}

/// The name that a unit-like enum has in JSON.
fn snake(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unnamed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_as_it_was_written() {
        let text = "1520.5 79 signal C turn_open turn=t1 text=\"what \\\"time\\\" = now\" empty=\"\" plan=ab";
        let line: Line = text.parse().expect("well formed");
        assert_eq!(line.at, Micros(1_520_500));
        assert_eq!(line.field("text").and_then(Value::text), Some("what \"time\" = now"));
        assert_eq!(line.field("empty").and_then(Value::text), Some(""));
        assert_eq!(line.to_string(), text);
    }

    #[test]
    fn what_is_no_line_says_where_it_stops_making_sense() {
        let what = |text: &str| text.parse::<Line>().expect_err("malformed").what;
        assert_eq!(what("x 1 in C a"), "time");
        assert_eq!(what("1 x in C a"), "tick");
        assert_eq!(what("1 1 inn C a"), "section");
        assert_eq!(what("1 1 in X a"), "lane");
        assert_eq!(what("1 1 in C a b"), "fields");
        assert_eq!(what("1 1 in C a b=\"open"), "fields");
    }
}
