//! A node whose work has a budget: when it takes an item that it does not answer at once, the core is told, and told again
//! when it has answered (`F-045`).
//!
//! It is a node around a node, so that a node without a budget costs what it always did. What a node answers in the tick
//! of the item is no work: time passes only between ticks.

use rspp_specs::buffer::Dropped;
use rspp_specs::dataflow::{Directive, Less, WorkMark};
use rspp_specs::event::{Payload, ProviderResult};
use rspp_specs::ids::{CallRef, NodeIndex, PortIndex, Scope};
use rspp_specs::plan::{Lifetime, Plan};

use crate::node::{Context, Node, Stop};

/// A node, and an account of its work.
pub struct Timed {
    node: Box<dyn Node>,
    /// Calls that have not ended.
    calls: u32,
    /// Whether the core is told of the node's own work.
    has_budget: bool,
    /// It has taken an item and owes an answer; the core knows.
    works: bool,
    /// A path begins here, and nothing has come yet.
    begins_path: bool,
    /// A path ends here, and nothing has gone yet.
    ends_path: bool,
}

impl Timed {
    /// The node itself where the plan gives it no budget.
    pub fn around(node: Box<dyn Node>, plan: &Plan, index: NodeIndex) -> Box<dyn Node> {
        let of = plan.node(index);
        if of.lifetime != Lifetime::Turn {
            return node;
        }
        let paths = || plan.turn_policy().budgets.paths.iter().map(|(path, _)| path);
        let has_budget = plan.node_budget(index).is_some();
        let begins_path = paths().any(|path| path.from == index);
        let ends_path = paths().any(|path| path.to == index);
        if !has_budget && !begins_path && !ends_path {
            return node;
        }
        Box::new(Self { node, calls: 0, has_budget, works: false, begins_path, ends_path })
    }

    /// Lets the node react, and sees what came of it.
    fn react(
        &mut self,
        cx: &mut Context<'_>,
        took: bool,
        ended: bool,
        reaction: impl FnOnce(&mut dyn Node, &mut Context<'_>),
    ) {
        if took && std::mem::take(&mut self.begins_path) {
            cx.mark(WorkMark::FirstIn);
        }
        let (before, calls) = (cx.emitted(), *cx.calls);
        reaction(self.node.as_mut(), cx);
        self.calls = self.calls + (*cx.calls - calls) - u32::from(ended).min(self.calls);
        let answered = cx.emitted() > before;
        if answered && std::mem::take(&mut self.ends_path) {
            cx.mark(WorkMark::FirstOut);
        }
        if !self.has_budget {
            return;
        }
        let idle = self.calls == 0 && !self.node.holds();
        if self.works && (answered || idle) {
            self.works = false;
            cx.mark(WorkMark::Answered);
        } else if took && !self.works && !answered && !idle {
            self.works = true;
            cx.mark(WorkMark::Began);
        }
    }
}

impl Node for Timed {
    fn on_start(&mut self, cx: &mut Context<'_>) {
        self.react(cx, false, false, |node, cx| node.on_start(cx));
    }

    fn is_ready(&self) -> bool {
        self.node.is_ready()
    }

    fn on_stop(&mut self, end: Stop) {
        self.node.on_stop(end);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        let took = payload.port_type().is_some();
        self.react(cx, took, false, |node, cx| node.on_event(cx, port, payload));
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        let ended = matches!(result, ProviderResult::End(_));
        self.react(cx, false, ended, |node, cx| node.on_result(cx, call, result));
    }

    fn on_restart(&mut self, cx: &mut Context<'_>, call: CallRef) {
        self.node.on_restart(cx, call);
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        match directive {
            // What is dropped or skipped works no more, whatever it had called for.
            Directive::Drop(_) if std::mem::take(&mut self.works) => cx.mark(WorkMark::Answered),
            Directive::Degrade(_, Less::Skip) => self.calls = 0,
            _ => {}
        }
        self.react(cx, false, false, |node, cx| node.on_directive(cx, directive));
    }

    fn accepts(&self, port: PortIndex) -> bool {
        self.node.accepts(port)
    }

    fn holds(&self) -> bool {
        self.node.holds()
    }

    fn keeps(&self) -> usize {
        self.node.keeps()
    }

    fn flush(&mut self, scope: Scope) -> Vec<(PortIndex, Dropped)> {
        self.node.flush(scope)
    }
}

#[cfg(test)]
mod tests {
    use rspp_specs::dataflow::AskKind;
    use rspp_specs::event::Request;
    use rspp_specs::outcome::Outcome;

    use super::*;
    use crate::harness::Harness;

    /// Calls a voice for each text, and passes on what comes of it.
    struct Caller;

    impl Node for Caller {
        fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
            match payload {
                Payload::Text(text) if text.is_empty() => cx.emit(Payload::Text(text)),
                Payload::Text(text) => drop(cx.invoke(Request::Speak { text })),
                _ => {}
            }
        }

        fn on_result(&mut self, cx: &mut Context<'_>, _: CallRef, result: ProviderResult) {
            if let ProviderResult::Text(text) = result {
                cx.emit(Payload::Text(text));
            }
        }
    }

    fn marks(harness: &mut Harness<Timed>) -> Vec<WorkMark> {
        let marks = harness.asked().into_iter().filter_map(|ask| match ask {
            AskKind::Work(mark) => Some(mark),
            _ => None,
        });
        marks.collect()
    }

    #[test]
    fn work_lasts_from_an_item_to_the_answer_or_to_the_end_of_all_calls() {
        let node = Box::new(Caller);
        let timed = Timed { node, calls: 0, has_budget: true, works: false, begins_path: true, ends_path: true };
        let mut harness = Harness::new(timed);
        let text = |text: &str| Payload::text(text);
        assert_eq!(marks(harness.event(text("a"))), [WorkMark::FirstIn, WorkMark::Began]);
        assert_eq!(marks(harness.event(text("b"))), [], "it owes already");
        let answer = ProviderResult::Text("yes".into());
        assert_eq!(marks(harness.result(CallRef(1), answer.clone())), [WorkMark::FirstOut, WorkMark::Answered]);
        assert_eq!(marks(harness.result(CallRef(1), answer)), [], "it owes nothing");
        assert_eq!(marks(harness.event(text(""))), [], "answered at once");
        assert_eq!(marks(harness.event(text("c"))), [WorkMark::Began]);
        for call in 1..=2 {
            assert_eq!(marks(harness.result(CallRef(call), ProviderResult::End(Outcome::Success))), []);
        }
        let end = ProviderResult::End(Outcome::Failed);
        assert_eq!(marks(harness.result(CallRef(3), end)), [WorkMark::Answered], "nothing more can come");
    }
}
