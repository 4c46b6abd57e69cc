//! A node with buffers before it: what it does not take yet waits, by each edge's [`BufferSpec`].
//!
//! It is a node around a node, so that a node which takes everything at once costs what it always did. After each
//! reaction it hands over what waits, oldest cause first, as long as the node accepts it.

use std::sync::Arc;

use rspp_specs::buffer::{BufferSpec, Dropped, EdgeSync, SyncDrop};
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{Origin, Payload, ProviderResult};
use rspp_specs::ids::{CallRef, NodeIndex, PortIndex, Scope};
use rspp_specs::plan::{Plan, PlanEdge};
use rspp_specs::time::Micros;

use crate::edge_buffer::{EdgeBuffer, Key};
use crate::node::{Context, Node, Stop};

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
        let of =
            |edge: &PlanEdge| Some((edge.to_port, Arc::clone(edge.buffer.as_ref()?), edge.sync.as_deref().cloned()));
        let specs: Vec<_> = specs.filter_map(of).collect();
        if specs.is_empty() {
            return node;
        }
        let budgets = plan.turn_policy().budgets.edges.iter().map(|(edge, _)| plan.edge(*edge));
        let watched = budgets.filter(|edge| edge.to == index).map(|edge| (edge.to_port, None)).collect();
        Box::new(Self { watched, ..Self::new(node, specs) })
    }

    /// With these buffers, and the groups of streams that play together.
    pub fn new(node: Box<dyn Node>, specs: Vec<(PortIndex, impl Into<Arc<BufferSpec>>, Option<EdgeSync>)>) -> Self {
        let inputs = specs.iter().map(|(port, ..)| usize::from(port.0) + 1).max().unwrap_or(0);
        let mut buffers: Vec<Option<EdgeBuffer>> = (0..inputs).map(|_| None).collect();
        for (port, spec, sync) in specs {
            buffers[usize::from(port.0)] = Some(EdgeBuffer::new(port, spec.into(), sync));
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

    /// Hands over what the node accepts, once it has started; then asks to be woken for what waits on.
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
        if !self.node.is_ready() {
            return None;
        }
        let waiting = (0u8..).map(PortIndex).zip(&self.buffers);
        let waiting = waiting.filter_map(|(port, buffer)| Some((buffer.as_ref()?.front()?.cause, port)));
        waiting.filter(|(_, port)| self.node.accepts(*port)).min().map(|(_, port)| port)
    }
}

impl Node for Buffered {
    fn on_start(&mut self, cx: &mut Context<'_>) {
        self.node.on_start(cx);
    }

    fn is_ready(&self) -> bool {
        self.node.is_ready()
    }

    fn on_stop(&mut self, end: Stop) {
        self.node.on_stop(end);
    }

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
mod tests;
