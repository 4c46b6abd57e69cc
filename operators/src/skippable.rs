//! A node that a turn can do without: when its plan says so, what it would be given goes on as it is (`F-048`).
//!
//! It is a node around a node, and keeps what that one has taken and not answered: when it is skipped, because it is too
//! slow, has failed or has panicked, those items go on, and nothing of the stream is lost.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rspp_specs::budget::DegradeStep;
use rspp_specs::buffer::Dropped;
use rspp_specs::dataflow::{Directive, Less};
use rspp_specs::event::{Attributes, Payload, ProviderResult};
use rspp_specs::ids::{CallRef, NodeIndex, PortIndex, Scope};
use rspp_specs::limits::MAX_OWED_ITEMS;
use rspp_specs::plan::Plan;

use crate::host::panic_message;
use crate::node::{Context, Node, Stop};

/// A node, or nothing in its place.
pub struct Skippable {
    /// `None` once it is skipped, has failed or has panicked.
    node: Option<Box<dyn Node>>,
    /// Calls that have not ended.
    calls: u32,
    skipped: bool,
    /// What it has taken and not answered.
    owed: VecDeque<(Option<Arc<Attributes>>, Payload)>,
}

impl Skippable {
    /// The node itself where no step of the plan skips it.
    pub fn around(node: Box<dyn Node>, plan: &Plan, index: NodeIndex) -> Box<dyn Node> {
        let skips = plan.turn_policy().degrade.contains(&DegradeStep::Skip(index));
        if skips { Box::new(Self::new(node)) } else { node }
    }

    /// Around this node.
    pub fn new(node: Box<dyn Node>) -> Self {
        Self { node: Some(node), calls: 0, skipped: false, owed: VecDeque::new() }
    }

    /// Lets the node react. Its panic is its own: the turn can do without it.
    fn react(&mut self, cx: &mut Context<'_>, ended: bool, reaction: impl FnOnce(&mut dyn Node, &mut Context<'_>)) {
        let Some(node) = &mut self.node else { return };
        let (before, asked, calls) = (cx.emitted(), cx.asked(), *cx.calls);
        let panic = catch_unwind(AssertUnwindSafe(|| reaction(node.as_mut(), cx))).err();
        self.calls = self.calls + (*cx.calls - calls) - u32::from(ended).min(self.calls);
        panic.into_iter().for_each(|panic| cx.fail(panic_message(panic.as_ref())));
        if cx.has_failed_since(asked) {
            self.node = None;
            return;
        }
        if self.calls == 0 && !node.holds() {
            // It has done with them what it wanted to, and if that was nothing.
            return self.owed.clear();
        }
        for payload in cx.emitted_since(before) {
            // The end of a stream answers all, anything else all but the end.
            let ends = matches!(payload, Payload::End(_));
            self.owed.retain(|(_, owed)| matches!(owed, Payload::End(_)) && !ends);
        }
    }

    fn skip(&mut self, cx: &mut Context<'_>) {
        self.node.take().into_iter().for_each(|mut node| node.on_stop(Stop::TakenOut));
        self.skipped = true;
        for (attributes, payload) in std::mem::take(&mut self.owed) {
            cx.attributes = attributes;
            cx.emit(payload);
        }
    }
}

impl Node for Skippable {
    fn on_start(&mut self, cx: &mut Context<'_>) {
        self.react(cx, false, |node, cx| node.on_start(cx));
    }

    fn is_ready(&self) -> bool {
        self.node.as_ref().is_none_or(|node| node.is_ready())
    }

    fn on_stop(&mut self, end: Stop) {
        self.node.iter_mut().for_each(|node| node.on_stop(end));
    }

    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        if self.skipped {
            return cx.emit(payload);
        }
        if let Payload::Retract = payload {
            // What was retracted is owed no more.
            self.owed.clear();
        } else if self.owed.len() < MAX_OWED_ITEMS {
            self.owed.push_back((cx.attributes.clone(), payload.clone()));
        }
        self.react(cx, false, |node, cx| node.on_event(cx, port, payload));
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        let ended = matches!(result, ProviderResult::End(_));
        self.react(cx, ended, |node, cx| node.on_result(cx, call, result));
    }

    fn on_restart(&mut self, cx: &mut Context<'_>, call: CallRef) {
        self.react(cx, false, |node, cx| node.on_restart(cx, call));
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        match directive {
            Directive::Degrade(_, Less::Skip) => self.skip(cx),
            directive => self.react(cx, false, |node, cx| node.on_directive(cx, directive)),
        }
    }

    fn accepts(&self, port: PortIndex) -> bool {
        self.node.as_ref().is_none_or(|node| node.accepts(port))
    }

    fn holds(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.holds())
    }

    fn keeps(&self) -> usize {
        self.node.as_ref().map_or(0, |node| node.keeps())
    }

    fn flush(&mut self, scope: Scope) -> Vec<(PortIndex, Dropped)> {
        self.node.as_mut().map(|node| node.flush(scope)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rspp_specs::dataflow::AskKind;
    use rspp_specs::event::Origin;
    use rspp_specs::ids::{RuntimeSequence, Slot};
    use rspp_specs::outcome::Outcome;
    use rspp_specs::time::Micros;

    use super::*;
    use crate::harness::Harness;
    use crate::node::Outbox;

    /// Answers `go`, drops `drop`, broods over anything else, panics at `break`.
    #[derive(Default)]
    struct Moody {
        broods: bool,
    }

    impl Node for Moody {
        fn on_event(&mut self, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
            self.broods = false;
            match &payload {
                Payload::Text(text) if **text == *"drop" => {}
                Payload::Text(text) if **text == *"go" => cx.emit(Payload::text("gone")),
                // Without the hook, which would print it.
                Payload::Text(text) if **text == *"break" => std::panic::resume_unwind(Box::new("it broke")),
                Payload::End(_) => cx.emit(payload),
                _ => self.broods = true,
            }
        }

        fn holds(&self) -> bool {
            self.broods
        }
    }

    fn check(given: &[&str], before: &[&str], behind: &[&str]) {
        let mut harness = Harness::new(Skippable::new(Box::new(Moody::default())));
        let payload = |word: &str| if word == "end" { Payload::End(Outcome::Success) } else { Payload::text(word) };
        let shown = |harness: &mut Harness<Skippable>| -> Vec<String> {
            let shown = harness.emitted().into_iter().map(|payload| match payload {
                Payload::Text(text) => text.to_string(),
                _ => "end".to_owned(),
            });
            shown.collect()
        };
        for word in given {
            harness.event(payload(word));
        }
        assert_eq!(shown(&mut harness), before, "{given:?}");
        harness.directive(&Directive::Degrade(NodeIndex(0), Less::Skip));
        assert_eq!(shown(&mut harness), behind, "{given:?}");
        harness.event(payload("on"));
        assert_eq!(shown(&mut harness), ["on"], "{given:?}");
    }

    #[test]
    fn what_was_not_answered_goes_on_as_it_is() {
        check(&["go"], &["gone"], &[]);
        check(&["a", "b"], &[], &["a", "b"]);
        check(&["a", "go", "b"], &["gone"], &["b"]);
        check(&["a", "end"], &["end"], &[]);
        check(&["a", "drop"], &[], &[]);
        check(&["a", "break", "c"], &[], &["a", "break", "c"]);
    }

    #[test]
    fn what_another_session_gives_up_is_its_own() {
        let mut outbox = Outbox::new(1);
        let mut react = |slot, node: &mut Skippable, text| {
            let scope = Scope::Session;
            let origin = Origin { slot: Slot(slot), scope, cause: RuntimeSequence(1), at: Micros(0) };
            let (outbox, mut calls) = (&mut outbox, 0);
            let mut cx = Context { origin: &origin, node: NodeIndex(0), attributes: None, calls: &mut calls, outbox };
            node.on_event(&mut cx, PortIndex(0), Payload::text(text));
            cx.emitted()
        };
        let (mut one, mut other) =
            (Skippable::new(Box::new(Moody::default())), Skippable::new(Box::new(Moody::default())));
        assert_eq!(react(0, &mut one, "break"), 0);
        assert_eq!((react(1, &mut other, "go"), react(1, &mut other, "go")), (1, 2), "in the same tick, behind it");
    }

    #[test]
    fn a_panic_is_said_and_its_own() {
        let mut harness = Harness::new(Skippable::new(Box::new(Moody::default())));
        harness.event(Payload::text("break"));
        let asked = harness.asked();
        let [AskKind::Fail(failure)] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!(&*failure.message, "it broke");
    }
}
