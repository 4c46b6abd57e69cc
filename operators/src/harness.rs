//! The node kit: one node on a bench, in the hands of a test (`F-011`). Feed it events, results, directives and time; look at
//! what comes out, piece by piece or as a snapshot; hold it to the properties that every node has.
//!
//! ```
//! use rspp_operators::harness::Harness;
//! use rspp_operators::segmenter::Segmenter;
//! use rspp_specs::event::Payload;
//!
//! let mut harness = Harness::new(Segmenter::default());
//! harness.event(Payload::text("Hello. How are"));
//! assert_eq!(harness.emitted(), [Payload::text("Hello.")]);
//! assert!(harness.holds());
//! ```
//!
//! A script is a story as data: it is told to a fresh node, and told again under a property.
//!
//! ```
//! use rspp_operators::harness::{Harness, Step, check_properties};
//! use rspp_operators::tts::Tts;
//! use rspp_specs::event::{Payload, ProviderResult};
//! use rspp_specs::ids::CallRef;
//! use rspp_specs::outcome::Outcome;
//!
//! let story = [
//!     Step::event(Payload::text("Hello.")),
//!     Step::event(Payload::End(Outcome::Success)),
//!     Step::At(100),
//!     Step::Result(CallRef(1), ProviderResult::End(Outcome::Success)),
//! ];
//! let told = Harness::new(Tts::default()).tell(&story).snapshot();
//! assert_eq!(told, "0 ask invoke c1 speak \"Hello.\"\n100 emit p0 end success\n");
//! check_properties(Tts::default, &story).unwrap();
//! ```

use std::fmt::Write as _;

use rspp_specs::dataflow::{Ask, AskKind, Directive};
use rspp_specs::event::{Attributes, Event, Origin, Payload, ProviderResult, Request};
use rspp_specs::ids::{
    CallRef, Generation, NodeIndex, PortIndex, RuntimeSequence, Scope, Slot, TurnCapability, TurnId,
};
use rspp_specs::limits::MAX_NODE_PORTS;
use rspp_specs::time::Micros;

use crate::node::{Context, Node, Outbox, Stop};

/// One node, under the capability of turn 1.
pub struct Harness<N> {
    node: N,
    outbox: Outbox,
    calls: u32,
    sequence: u64,
    /// Events that follow have the cause of the one before.
    same_cause: bool,
    at: Micros,
    capability: TurnCapability,
    /// When the node asked to be woken.
    wake: Option<Micros>,
    /// Calls that have not ended.
    open_calls: Vec<CallRef>,
    /// When each cause was.
    times: Vec<Micros>,
    scope: Scope,
}

/// Something that happens to a node.
#[derive(Clone, Debug)]
pub enum Step {
    /// An event on one of its inputs.
    Event(PortIndex, Payload),
    /// A result of a call that it has made: calls count from 1.
    Result(CallRef, ProviderResult),
    /// A call that it has made begins anew.
    Restart(CallRef),
    /// A directive.
    Directive(Directive),
    /// It is so late now, in milliseconds. Whoever asked to be woken meanwhile is woken at that time.
    At(u64),
}

impl Step {
    /// An event on the first input.
    pub fn event(payload: Payload) -> Self {
        Step::Event(PortIndex(0), payload)
    }
}

impl<N: Node> Harness<N> {
    /// Around this node, at time 0.
    pub fn new(node: N) -> Self {
        let capability = TurnCapability::mint(Slot(0), TurnId(1), Generation(1));
        Self {
            node,
            outbox: Outbox::new(MAX_NODE_PORTS),
            calls: 0,
            sequence: 0,
            same_cause: false,
            at: Micros(0),
            capability,
            wake: None,
            open_calls: Vec::new(),
            times: Vec::new(),
            scope: Scope::Turn(capability),
        }
    }

    /// Moves time to so many milliseconds.
    pub fn at_ms(&mut self, ms: u64) -> &mut Self {
        self.at = Micros::from_ms(ms);
        self
    }

    /// The node's life begins, as the host lets it. It is the first thing that a node learns.
    pub fn start(&mut self) -> &mut Self {
        self.react(None, |node, cx| node.on_start(cx))
    }

    /// The node's life is over.
    pub fn stop(&mut self, end: Stop) {
        self.node.on_stop(end);
    }

    /// Whether the node has started.
    pub fn is_ready(&self) -> bool {
        self.node.is_ready()
    }

    /// An event on the first input.
    pub fn event(&mut self, payload: Payload) -> &mut Self {
        self.event_on(PortIndex(0), payload)
    }

    /// An event on one of the inputs.
    pub fn event_on(&mut self, port: PortIndex, payload: Payload) -> &mut Self {
        self.react(None, |node, cx| node.on_event(cx, port, payload))
    }

    /// An event with attributes, on the first input.
    pub fn event_with(&mut self, attributes: Attributes, payload: Payload) -> &mut Self {
        self.react(Some(attributes), |node, cx| node.on_event(cx, PortIndex(0), payload))
    }

    /// All that happens in `run` has one cause, as what comes by several ways has.
    pub fn same_cause(&mut self, run: impl FnOnce(&mut Self)) -> &mut Self {
        self.sequence += 1;
        self.same_cause = true;
        run(self);
        self.same_cause = false;
        self
    }

    /// A result of a call that the node asked for.
    pub fn result(&mut self, call: CallRef, result: ProviderResult) -> &mut Self {
        if let ProviderResult::End(_) = result {
            self.open_calls.retain(|open| *open != call);
        }
        self.react(None, |node, cx| node.on_result(cx, call, result))
    }

    /// A call that the node asked for begins anew.
    pub fn restart(&mut self, call: CallRef) -> &mut Self {
        self.react(None, |node, cx| node.on_restart(cx, call))
    }

    /// Lets time pass to so many milliseconds: who asked to be woken meanwhile is woken, at the time that was asked for.
    pub fn until_ms(&mut self, ms: u64) -> &mut Self {
        let end = Micros::from_ms(ms);
        while let Some(due) = self.wake.filter(|due| *due <= end) {
            self.wake = None;
            self.at = self.at.max(due);
            self.directive(&Directive::Wake(NodeIndex(0)));
        }
        self.at = end;
        self
    }

    /// One step after the other.
    pub fn tell(&mut self, steps: &[Step]) -> &mut Self {
        for step in steps {
            match step.clone() {
                Step::Event(port, payload) => self.event_on(port, payload),
                Step::Result(call, result) => self.result(call, result),
                Step::Restart(call) => self.restart(call),
                Step::Directive(directive) => self.directive(&directive),
                Step::At(ms) => self.until_ms(ms),
            };
        }
        self
    }

    /// Revokes the turn, as the host does with a node that lives as long as the session; one that lives with the turn is
    /// dropped.
    pub fn revoke(&mut self) -> &mut Self {
        let turn = self.capability;
        self.node.flush(Scope::Turn(turn));
        self.directive(&Directive::Revoke(turn));
        self.open_calls.clear();
        self.scope = Scope::Session;
        self
    }

    /// A directive.
    pub fn directive(&mut self, directive: &Directive) -> &mut Self {
        self.react(None, |node, cx| node.on_directive(cx, directive))
    }

    /// What was emitted since the last look, on all outputs, by output.
    pub fn emitted(&mut self) -> Vec<Payload> {
        self.outbox.events.iter_mut().flat_map(|events| events.drain(..)).map(|event| event.payload).collect()
    }

    /// What was asked of the core since the last look.
    pub fn asked(&mut self) -> Vec<AskKind> {
        self.outbox.asks.drain(..).map(|ask| ask.kind).collect()
    }

    /// What was emitted and asked since the last look, a line each, in words: for tests that compare a whole story.
    pub fn snapshot(&mut self) -> String {
        let emitted = self.outbox.events.iter_mut().enumerate();
        let emitted = emitted.flat_map(|(port, events)| events.drain(..).map(move |event| (port, event)));
        let mut lines: Vec<(u64, Micros, String)> = Vec::new();
        for (port, Event { origin, payload, .. }) in emitted {
            lines.push((origin.cause.0, origin.at, format!("emit p{port} {}", in_words(&payload))));
        }
        let times = &self.times;
        let time_of = |cause: RuntimeSequence| times.get(cause.0 as usize - 1).copied().unwrap_or_default();
        for Ask { cause, kind, .. } in self.outbox.asks.drain(..) {
            // When it was asked is known by its cause.
            lines.push((cause.0, time_of(cause), format!("ask {}", asked_in_words(&kind))));
        }
        lines.sort_by_key(|(cause, ..)| *cause);
        let mut text = String::new();
        for (_, at, line) in lines {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{at} {line}");
        }
        text
    }

    /// Calls that have not ended.
    pub fn open_calls(&self) -> &[CallRef] {
        &self.open_calls
    }

    /// Whether the node holds its turn.
    pub fn holds(&self) -> bool {
        self.node.holds()
    }

    /// How many items the node keeps that are lost with it.
    pub fn keeps(&self) -> usize {
        self.node.keeps()
    }

    /// The turn's capability.
    pub fn capability(&self) -> TurnCapability {
        self.capability
    }

    fn react(&mut self, attributes: Option<Attributes>, reaction: impl FnOnce(&mut N, &mut Context<'_>)) -> &mut Self {
        self.sequence += u64::from(!self.same_cause);
        self.times.resize(self.sequence as usize, self.at);
        let (scope, cause) = (self.scope, RuntimeSequence(self.sequence));
        let origin = Origin { slot: Slot(0), scope, cause, at: self.at };
        let before = self.outbox.asks.len();
        let mut cx = Context {
            origin: &origin,
            node: NodeIndex(0),
            attributes: attributes.map(std::sync::Arc::new),
            calls: &mut self.calls,
            outbox: &mut self.outbox,
        };
        reaction(&mut self.node, &mut cx);
        for ask in &self.outbox.asks[before..] {
            match &ask.kind {
                AskKind::WakeAt(at) => self.wake = Some(*at),
                AskKind::Invoke(call, _) | AskKind::ProposeWrite(call, _) => self.open_calls.push(*call),
                _ => {}
            }
        }
        self
    }

    /// Whether anything since the last look is in the name of the turn.
    fn speaks_for_the_turn(&self) -> bool {
        let turn = Scope::Turn(self.capability);
        let mut events = self.outbox.events.iter().flatten();
        events.any(|event| event.origin.scope == turn) || self.outbox.asks.iter().any(|ask| ask.scope == turn)
    }
}

/// A property that a node does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub property: Property,
    /// After so many steps of the story.
    pub after: usize,
    /// What the node did.
    pub told: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { property, after, told } = self;
        write!(f, "after {after} steps: {}\n{told}", property.describe())
    }
}

impl std::error::Error for Broken {}

/// What every node keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Told the same story twice, it does the same twice.
    Deterministic,
    /// Once its turn is revoked, nothing is emitted, asked or held in the turn's name.
    SilentAfterRevocation,
    /// With its input ended, no call open and no wake to come it holds nothing.
    FreeWhenQuiet,
}

impl Property {
    /// What is wrong with a node that does not have it.
    pub const fn describe(self) -> &'static str {
        match self {
            Property::Deterministic => "the same story was told twice, and the node did not do the same",
            Property::SilentAfterRevocation => "the turn is revoked, and the node still speaks for it or holds it",
            Property::FreeWhenQuiet => "nothing can come of the node any more, and it holds its turn for ever",
        }
    }
}

/// Holds a node of a turn to what every node keeps to, along a story.
///
/// # Errors
/// The first property that it does not have.
pub fn check_properties<N: Node>(make: impl Fn() -> N, story: &[Step]) -> Result<(), Broken> {
    let mut first = Harness::new(make());
    let mut second = Harness::new(make());
    let mut ended = false;
    first.start();
    second.start();
    for (after, step) in (1..).zip(story) {
        let step = std::slice::from_ref(step);
        let told = first.tell(step).snapshot();
        if told != second.tell(step).snapshot() {
            return Err(Broken { property: Property::Deterministic, after, told });
        }
        if let [Step::Event(_, payload)] = step {
            ended = matches!(payload, Payload::End(_));
        }
        if ended && first.open_calls.is_empty() && first.wake.is_none() && first.holds() {
            return Err(Broken { property: Property::FreeWhenQuiet, after, told });
        }
    }
    Ok(())
}

/// Holds a node that lives as long as the session to what every such node keeps to, with the turn revoked after each step
/// of the story. One that lives with the turn is dropped by the host, and has nothing to keep to.
///
/// # Errors
/// The first step after which it does not keep to it.
pub fn check_revocation<N: Node>(make: impl Fn() -> N, story: &[Step]) -> Result<(), Broken> {
    for after in 0..=story.len() {
        let mut harness = Harness::new(make());
        harness.start();
        harness.directive(&Directive::Open(harness.capability));
        harness.tell(&story[..after]).snapshot();
        // What the revocation itself makes the node do is in no name any more.
        harness.revoke().snapshot();
        harness.tell(&story[after..]);
        if harness.speaks_for_the_turn() || harness.holds() {
            let told = harness.snapshot();
            return Err(Broken { property: Property::SilentAfterRevocation, after, told });
        }
    }
    Ok(())
}

fn in_words(payload: &Payload) -> String {
    match payload {
        Payload::Audio(frame) => format!("audio {}@{}", frame.samples.len(), frame.rate_hz),
        Payload::Text(text) => format!("text {text:?}"),
        Payload::Transcript(transcript) => format!("transcript {:?} {:?}", transcript.understanding, transcript.text),
        Payload::Speech(speech) => format!("speech {:?}", speech.milestone),
        Payload::ToolCall(call) => format!("tool_call {}", call.name),
        Payload::Control(mark) => format!("control {}", mark.name()),
        Payload::Custom(value) => format!("custom {value}"),
        Payload::Talk(talk) => format!("talk {talk:?}"),
        Payload::Retract => "retract".to_owned(),
        Payload::End(outcome) => format!("end {}", outcome.name()),
    }
}

fn asked_in_words(ask: &AskKind) -> String {
    match ask {
        AskKind::Invoke(CallRef(call), Request::Speak { text }) => format!("invoke c{call} speak {text:?}"),
        AskKind::Invoke(CallRef(call), Request::Chat { .. }) => format!("invoke c{call} chat"),
        AskKind::Invoke(CallRef(call), Request::Tool(tool)) => format!("invoke c{call} tool {}", tool.name),
        AskKind::Invoke(CallRef(call), Request::Transcribe { .. }) => format!("invoke c{call} transcribe"),
        AskKind::ProposeWrite(CallRef(call), tool) => format!("propose_write c{call} {}", tool.name),
        AskKind::Feed(CallRef(call), frame) => format!("feed c{call} {}@{}", frame.samples.len(), frame.rate_hz),
        AskKind::FeedEnd(CallRef(call)) => format!("feed_end c{call}"),
        AskKind::Transmit(frame) => format!("transmit {}@{}", frame.samples.len(), frame.rate_hz),
        AskKind::WakeAt(at) => format!("wake_at {at}"),
        AskKind::Dropped { items, reason } => format!("dropped {items} {reason}"),
        AskKind::Fail(failure) => format!("fail {:?}", failure.message),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use rspp_specs::event::AudioFrame;
    use rspp_specs::outcome::Outcome;
    use rspp_specs::plan::PlayoutParams;

    use super::*;
    use crate::playout::Playout;
    use crate::segmenter::Segmenter;

    fn audio() -> Step {
        Step::event(Payload::Audio(AudioFrame { samples: vec![0; 320].into(), rate_hz: 16_000, spoken_by: None }))
    }

    fn end() -> Step {
        Step::event(Payload::End(Outcome::Success))
    }

    #[test]
    fn a_story_is_told_in_lines_with_wakes_in_their_time() {
        let mut harness = Harness::new(Playout::new(PlayoutParams::default()));
        harness.directive(&Directive::Open(harness.capability()));
        harness.tell(&[audio(), audio(), audio(), Step::At(30)]);
        assert_eq!(
            harness.snapshot(),
            "0 ask transmit 320@16000\n0 ask transmit 320@16000\n0 ask wake_at 20\n20 ask transmit 320@16000\n"
        );
    }

    #[test]
    fn our_own_nodes_have_the_properties() {
        let text = |text: &str| Step::event(Payload::text(text));
        let story = [text("One. Tw"), text("o."), Step::event(Payload::Retract), text("Three"), end()];
        assert_eq!(check_properties(Segmenter::default, &story), Ok(()));
        let playout = || Playout::new(PlayoutParams::default());
        let story = [audio(), audio(), audio(), Step::Directive(Directive::Hold), Step::At(20), audio(), Step::At(80)];
        assert_eq!(check_revocation(playout, &story), Ok(()));
    }

    /// Keeps the first text for ever, and whispers it once its turn is over.
    #[derive(Default)]
    struct Stubborn {
        kept: Option<(TurnCapability, Payload)>,
    }

    impl Node for Stubborn {
        fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
            match (&self.kept, cx.scope()) {
                (Some((turn, kept)), Scope::Session) => {
                    let kept = kept.clone();
                    cx.under(*turn, |cx| cx.emit(kept));
                }
                (None, Scope::Turn(turn)) => self.kept = Some((turn, payload)),
                _ => {}
            }
        }

        fn holds(&self) -> bool {
            self.kept.is_some()
        }
    }

    #[test]
    fn a_node_without_a_property_is_told_so() {
        let story = [Step::event(Payload::text("mine")), end()];
        let broken = |result: Result<(), Broken>| result.err().map(|broken| (broken.property, broken.after));
        assert_eq!(broken(check_properties(Stubborn::default, &story)), Some((Property::FreeWhenQuiet, 2)));
        assert_eq!(broken(check_revocation(Stubborn::default, &story)), Some((Property::SilentAfterRevocation, 1)));
        let made = std::cell::Cell::new(0);
        let fickle = || {
            made.set(made.get() + 1);
            Fickle(made.get())
        };
        assert_eq!(broken(check_properties(fickle, &story)), Some((Property::Deterministic, 1)));
    }

    /// Says which of its kind it is.
    struct Fickle(u32);

    impl Node for Fickle {
        fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, _: Payload) {
            cx.emit(Payload::text(self.0.to_string()));
        }
    }
}
