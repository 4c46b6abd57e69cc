//! A node with buffers before it: what it does not take yet waits, by each edge's [`BufferSpec`].
//!
//! It is a node around a node, so that a node which takes everything at once costs what it always did. After each
//! reaction it hands over what waits, oldest cause first, as long as the node accepts it.

use rspp_specs::buffer::{BufferSpec, Dropped, EdgeSync, SyncDrop};
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{Origin, Payload, ProviderResult};
use rspp_specs::ids::{CallRef, NodeIndex, PortIndex, Scope};
use rspp_specs::plan::{Plan, PlanEdge};
use rspp_specs::time::Micros;

use crate::edge_buffer::{EdgeBuffer, Key};
use crate::node::{Context, Node};

/// A node, and a buffer before each of its inputs that has one.
pub struct Buffered {
    node: Box<dyn Node>,
    /// By input.
    buffers: Vec<Option<EdgeBuffer>>,
    /// The wake that was asked for and has not come.
    wake: Option<Micros>,
    /// Inputs whose edges have a budget, and since when something waits there, as the core knows it.
    watched: Vec<(PortIndex, Option<Micros>)>,
}

impl Buffered {
    /// The node itself where the plan puts no buffer before it.
    pub fn around(node: Box<dyn Node>, plan: &Plan, index: NodeIndex) -> Box<dyn Node> {
        let specs = plan.edges().iter().filter(|edge| edge.to == index);
        let of = |edge: &PlanEdge| Some((edge.to_port, edge.buffer.as_deref()?.clone(), edge.sync.as_deref().cloned()));
        let specs: Vec<_> = specs.filter_map(of).collect();
        if specs.is_empty() {
            return node;
        }
        let budgets = plan.turn_policy().budgets.edges.iter().map(|(edge, _)| plan.edge(*edge));
        let watched = budgets.filter(|edge| edge.to == index).map(|edge| (edge.to_port, None)).collect();
        Box::new(Self { watched, ..Self::new(node, specs) })
    }

    /// With these buffers, and the groups of streams that play together.
    pub fn new(node: Box<dyn Node>, specs: Vec<(PortIndex, BufferSpec, Option<EdgeSync>)>) -> Self {
        let inputs = specs.iter().map(|(port, ..)| usize::from(port.0) + 1).max().unwrap_or(0);
        let mut buffers: Vec<Option<EdgeBuffer>> = (0..inputs).map(|_| None).collect();
        for (port, spec, sync) in specs {
            buffers[usize::from(port.0)] = Some(EdgeBuffer::new(port, spec, sync));
        }
        Self { node, buffers, wake: None, watched: Vec::new() }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut EdgeBuffer> {
        self.buffers.iter_mut().flatten()
    }

    /// What one stream of a group has lost is seen in the others.
    fn settle_losses(&mut self, cx: &mut Context<'_>) {
        for place in 0..self.buffers.len() {
            let Some(buffer) = &mut self.buffers[place] else { continue };
            let losses = buffer.take_losses();
            let Some(sync) = buffer.sync().filter(|_| !losses.is_empty()).cloned() else { continue };
            match sync.on_drop {
                SyncDrop::NoSync => {}
                SyncDrop::DropWithDiscontinuity => buffer.mark_gap(cx, &losses),
                SyncDrop::AtomicDrop => {
                    let torn: Vec<Key> =
                        losses.into_iter().filter(|key| !self.lose_elsewhere(cx, place, &sync, *key)).collect();
                    // What belongs to it has been handed over already.
                    self.buffers[place].iter_mut().for_each(|buffer| buffer.mark_gap(cx, &torn));
                }
            }
        }
    }

    fn lose_elsewhere(&mut self, cx: &mut Context<'_>, place: usize, sync: &EdgeSync, key: Key) -> bool {
        let of_the_group = |buffer: &EdgeBuffer| buffer.sync().is_some_and(|other| other.group == sync.group);
        let others = self.buffers.iter_mut().enumerate().filter(|(other, _)| *other != place);
        let others = others.filter_map(|(_, buffer)| buffer.as_mut()).filter(|buffer| of_the_group(buffer));
        // Each of them, also behind one that has handed it over.
        others.map(|buffer| buffer.lose(cx, key)).filter(|lost| !lost).count() == 0
    }

    /// Hands over what the node accepts; then asks to be woken for what waits on.
    fn hand_over(&mut self, cx: &mut Context<'_>) {
        while let Some(port) = self.next_port() {
            let buffer = self.buffers[usize::from(port.0)].as_mut();
            let Some(item) = buffer.and_then(|buffer| buffer.pop(cx)) else { break };
            let origin = Origin { scope: item.scope, ..*cx.origin };
            let Context { node, calls, outbox, .. } = cx;
            let mut cx = Context { origin: &origin, node: *node, attributes: item.attributes, calls, outbox };
            self.node.on_event(&mut cx, port, item.payload);
        }
        let due = self.buffers.iter().flatten().filter_map(EdgeBuffer::due).min();
        if due.is_some() && due != self.wake {
            self.wake = due;
            due.into_iter().for_each(|due| cx.wake_buffers_at(due));
        }
        for (port, told) in &mut self.watched {
            let buffer = self.buffers[usize::from(port.0)].as_ref();
            let since = buffer.and_then(EdgeBuffer::waits_since);
            if *told != since {
                *told = since;
                cx.waits(*port, since);
            }
        }
    }

    /// The input whose oldest item is the oldest of those that the node accepts.
    fn next_port(&self) -> Option<PortIndex> {
        let waiting = (0u8..).map(PortIndex).zip(&self.buffers);
        let waiting = waiting.filter_map(|(port, buffer)| Some((buffer.as_ref()?.front()?.cause, port)));
        waiting.filter(|(_, port)| self.node.accepts(*port)).min().map(|(_, port)| port)
    }
}

impl Node for Buffered {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match self.buffers.get_mut(usize::from(port.0)) {
            Some(Some(buffer)) => {
                buffer.push(cx, payload);
                self.settle_losses(cx);
            }
            _ => self.node.on_event(cx, port, payload),
        }
        self.hand_over(cx);
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        self.node.on_result(cx, call, result);
        self.hand_over(cx);
    }

    fn on_restart(&mut self, cx: &mut Context<'_>, call: CallRef) {
        self.node.on_restart(cx, call);
        self.hand_over(cx);
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        match directive {
            Directive::WakeBuffers(_) => {
                self.wake = None;
                self.each().for_each(|buffer| buffer.on_time(cx));
                self.settle_losses(cx);
            }
            // Nothing is handed over to a node that is being cancelled.
            Directive::Drop(_) => {
                self.each().for_each(|buffer| buffer.clear(cx));
                return self.node.on_directive(cx, directive);
            }
            _ => self.node.on_directive(cx, directive),
        }
        self.hand_over(cx);
    }

    fn holds(&self) -> bool {
        self.node.holds() || self.buffers.iter().flatten().any(EdgeBuffer::has_items)
    }

    /// What waits in its buffers says itself what becomes of it.
    fn keeps(&self) -> usize {
        self.node.keeps()
    }

    fn flush(&mut self, scope: Scope) -> Vec<(PortIndex, Dropped)> {
        let mut flushed = self.node.flush(scope);
        for (port, buffer) in (0u8..).map(PortIndex).zip(&mut self.buffers) {
            let Some(dropped) = buffer.as_mut().and_then(|buffer| buffer.flush(scope)) else { continue };
            match flushed.iter_mut().find(|(of, _)| *of == port) {
                Some((_, sum)) => *sum = sum.with(dropped),
                None => flushed.push((port, dropped)),
            }
        }
        flushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::buffer::{EdgeReport, FlowControl, Shed, SyncGroup, XonCause};
    use rspp_specs::dataflow::AskKind;
    use rspp_specs::event::{Transcript, Understanding};
    use rspp_specs::ids::UtteranceId;

    /// Takes nothing until it is woken, and then all.
    #[derive(Default)]
    struct Gate {
        open: bool,
    }

    impl Node for Gate {
        fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
            let marks = cx.attributes().map_or(0, |attributes| attributes.len());
            match payload {
                Payload::Text(text) if marks > 0 => cx.emit_on(port, Payload::text(format!("{text}*{marks}"))),
                payload => cx.emit_on(port, payload),
            }
        }

        fn on_directive(&mut self, _: &mut Context<'_>, directive: &Directive) {
            self.open |= matches!(directive, Directive::Wake(_));
        }

        fn accepts(&self, _: PortIndex) -> bool {
            self.open
        }
    }

    fn spec(shed: Shed) -> BufferSpec {
        BufferSpec {
            max_items: 4,
            max_bytes: 100,
            max_queue: None,
            max_latency: None,
            max_block: None,
            shed,
            high_percent: 75,
            low_percent: 25,
            flow: FlowControl::Signal,
            defaulted: Vec::new(),
        }
    }

    fn harness(specs: Vec<(PortIndex, BufferSpec, Option<EdgeSync>)>) -> Harness<Buffered> {
        Harness::new(Buffered::new(Box::new(Gate::default()), specs))
    }

    /// What is said, in short: the sequences of what is dropped, with the reason.
    fn said(harness: &mut Harness<Buffered>) -> Vec<String> {
        let shown = |ask| match ask {
            AskKind::Edge(port, EdgeReport::Dropped(dropped, reason)) => {
                Some(format!("{port} -{}..{} {reason}", dropped.from.0, dropped.to.0))
            }
            AskKind::Edge(port, EdgeReport::Watermark { level, percent, .. }) => {
                Some(format!("{port} {level:?} {percent}").to_lowercase())
            }
            AskKind::Edge(_, EdgeReport::Xoff) => Some("xoff".to_owned()),
            AskKind::Edge(_, EdgeReport::Xon(XonCause::Drained)) => Some("xon".to_owned()),
            AskKind::Edge(_, EdgeReport::Xon(XonCause::Expired)) => Some("xon expired".to_owned()),
            AskKind::Edge(_, EdgeReport::Credit(items)) => Some(format!("credit {items}")),
            AskKind::Edge(_, EdgeReport::Merged(_, sequences)) => Some(format!("merged {}", sequences.len())),
            AskKind::Edge(port, EdgeReport::Discontinuity(gap, _)) => Some(format!("{port} gap {gap}")),
            _ => None,
        };
        harness.asked().into_iter().filter_map(shown).collect()
    }

    fn texts(harness: &mut Harness<Buffered>) -> Vec<String> {
        let text = |payload| match payload {
            Payload::Text(text) => Some(text.to_string()),
            Payload::Transcript(transcript) => Some(transcript.text.to_string()),
            _ => None,
        };
        harness.emitted().into_iter().filter_map(text).collect()
    }

    fn open(harness: &mut Harness<Buffered>) {
        harness.directive(&Directive::Wake(NodeIndex(0)));
    }

    /// Six texts come while nothing goes on.
    fn check(shed: Shed, says: &[&str], goes_on: &[&str]) {
        let mut harness = harness(vec![(PortIndex(0), spec(shed), None)]);
        for text in ["a.", "b.", "c.", "d.", "e.", "f."] {
            harness.event(Payload::text(text));
        }
        assert!(harness.holds() && texts(&mut harness).is_empty());
        assert_eq!(said(&mut harness), says, "{shed:?}");
        open(&mut harness);
        assert_eq!(texts(&mut harness), goes_on, "{shed:?}");
        assert!(!harness.holds());
    }

    #[test]
    fn each_rule_sheds_in_its_own_way() {
        let high = "p0 high 75";
        check(Shed::DropNewest, &[high, "p0 -5..5 drop_newest", "p0 -6..6 drop_newest"], &["a.", "b.", "c.", "d."]);
        check(Shed::DropOldest, &[high, "p0 -1..1 drop_oldest", "p0 -2..2 drop_oldest"], &["c.", "d.", "e.", "f."]);
        check(Shed::Merge, &[high], &["a.", "b.", "c.", "d. e. f.*2"]);
        check(Shed::LatestOnly, &[high, "p0 -1..4 latest_only", "p0 low 25"], &["e.", "f."]);
        check(Shed::Sample { every: 2 }, &[high, "p0 -4..4 sample", "p0 -6..6 sample"], &["a.", "b.", "c.", "e."]);
    }

    #[test]
    fn what_is_final_is_not_superseded_by_what_may_change() {
        let transcript = |text: &str, understanding| {
            let (utterance, watermark) = (UtteranceId(1), Micros(0));
            Payload::Transcript(Transcript { utterance, understanding, text: text.into(), watermark })
        };
        let mut harness = harness(vec![(PortIndex(0), spec(Shed::LatestOnly), None)]);
        for text in ["a", "b"] {
            harness.event(transcript(text, Understanding::Words));
        }
        for text in ["c", "d", "e"] {
            harness.event(transcript(text, Understanding::Partial));
        }
        open(&mut harness);
        assert_eq!(texts(&mut harness), ["a", "b", "e"]);
    }

    #[test]
    fn what_blocks_is_let_go_when_there_is_room_or_time_is_over() {
        let blocks = BufferSpec { max_block: Some(Micros::from_ms(50)), ..spec(Shed::DropNewest) };
        let wake = Directive::WakeBuffers(NodeIndex(0));
        let mut harness = harness(vec![(PortIndex(0), blocks, None)]);
        for _ in 0..3 {
            harness.event(Payload::text("a"));
        }
        assert_eq!(said(&mut harness), ["p0 high 75", "xoff"]);
        harness.at_ms(49).directive(&wake);
        assert!(said(&mut harness).is_empty(), "not yet");
        harness.at_ms(50).directive(&wake);
        assert_eq!(said(&mut harness), ["xon expired"]);
        open(&mut harness);
        assert_eq!(said(&mut harness), ["p0 low 25"], "it is said once that the producer may go on");
    }

    #[test]
    fn credit_comes_back_as_items_go_on() {
        let blocks = BufferSpec {
            max_items: 8,
            high_percent: 100,
            max_block: Some(Micros::from_ms(50)),
            flow: FlowControl::Credit,
            ..spec(Shed::DropNewest)
        };
        let mut harness = harness(vec![(PortIndex(0), blocks, None)]);
        for _ in 0..7 {
            harness.event(Payload::text("a"));
        }
        assert!(said(&mut harness).is_empty(), "a window of eight was the producer's from the beginning");
        open(&mut harness);
        assert_eq!(said(&mut harness), ["credit 2", "credit 2", "credit 2"]);
    }

    #[test]
    fn what_has_waited_too_long_goes_and_what_is_too_large_never_comes() {
        let impatient = BufferSpec { max_queue: Some(Micros::from_ms(100)), ..spec(Shed::DropOldest) };
        let mut harness = harness(vec![(PortIndex(0), impatient, None)]);
        harness.event(Payload::text("a")).at_ms(60).event(Payload::text("b")).event(Payload::text("x".repeat(101)));
        assert_eq!(said(&mut harness), ["p0 -3..3 too_large"]);
        harness.at_ms(100).directive(&Directive::WakeBuffers(NodeIndex(0)));
        assert_eq!(said(&mut harness), ["p0 -1..1 expired"]);
        open(&mut harness);
        assert_eq!(texts(&mut harness), ["b"]);
    }

    #[test]
    fn what_waits_for_a_revoked_turn_is_flushed_and_counted() {
        let mut buffered = Buffered::new(Box::new(Gate::default()), vec![(PortIndex(0), spec(Shed::DropOldest), None)]);
        let mut outbox = crate::node::Outbox::new(1);
        let turn = Harness::new(Gate::default()).capability();
        for sequence in 3..6 {
            let cause = rspp_specs::ids::RuntimeSequence(sequence);
            let origin = Origin { slot: turn.slot(), scope: Scope::Turn(turn), cause, at: Micros(0) };
            let (calls, outbox) = (&mut 0, &mut outbox);
            let mut cx = Context { origin: &origin, node: NodeIndex(0), attributes: None, calls, outbox };
            buffered.on_event(&mut cx, PortIndex(0), Payload::text("a"));
        }
        assert_eq!(buffered.flush(Scope::Session), []);
        let flushed = buffered.flush(Scope::Turn(turn));
        assert!(matches!(flushed[..], [(PortIndex(0), Dropped { items: 3, .. })]), "{flushed:?}");
        assert!(!buffered.holds());
    }

    /// Two streams, the second with room for two items, of which three come in both, and one more in the first.
    fn check_sync(on_drop: SyncDrop, says: &[&str], goes_on: &[&str]) {
        let group = SyncGroup { id: "lips".into(), domain: "media".into() };
        let sync = || Some(EdgeSync { group: group.clone(), on_drop });
        let narrow = BufferSpec { max_items: 2, high_percent: 100, ..spec(Shed::DropOldest) };
        let wide = BufferSpec { max_items: 50, ..spec(Shed::DropOldest) };
        let mut harness = harness(vec![(PortIndex(0), wide, sync()), (PortIndex(1), narrow, sync())]);
        for (audio, mouth) in [("a", "A"), ("b", "B"), ("c", "C")] {
            harness.same_cause(|harness| {
                harness.event_on(PortIndex(0), Payload::text(audio));
                harness.event_on(PortIndex(1), Payload::text(mouth));
            });
        }
        let dropped: Vec<String> = said(&mut harness).into_iter().filter(|it| !it.contains("high")).collect();
        assert_eq!(dropped, says, "{on_drop:?}");
        open(&mut harness);
        assert_eq!(texts(&mut harness), goes_on, "{on_drop:?}");
    }

    #[test]
    fn a_loss_in_one_stream_is_seen_in_those_that_play_with_it() {
        let shed = "p1 -1..1 drop_oldest";
        check_sync(SyncDrop::AtomicDrop, &[shed, "p0 -1..1 sync"], &["b", "c", "B", "C"]);
        check_sync(SyncDrop::DropWithDiscontinuity, &[shed, "p1 gap 1"], &["a", "b", "c", "B*1", "C"]);
        check_sync(SyncDrop::NoSync, &[shed], &["a", "b", "c", "B", "C"]);
    }
}
