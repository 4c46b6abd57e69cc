//! Two branches for one input: the second carries when the first fails, or gives nothing in time (`F-047`).
//!
//! What the second branch gives before that is decided waits here; whichever carries first, carries to the end.

use std::collections::VecDeque;
use std::sync::Arc;

use rspp_specs::buffer::BranchFault;
use rspp_specs::dataflow::Directive;
use rspp_specs::event::{Attributes, Payload};
use rspp_specs::ids::PortIndex;
use rspp_specs::outcome::Outcome;
use rspp_specs::time::Micros;

use crate::node::{Context, Node};

/// Input: the branch that is wanted.
pub const FIRST: PortIndex = PortIndex(0);
/// Input: the branch in its place.
pub const SECOND: PortIndex = PortIndex(1);

/// Items of the second branch that may wait for the decision.
const MAX_WAITING_ITEMS: usize = 256;

/// Two in, one out.
#[derive(Debug)]
pub struct Fallback {
    after: Option<Micros>,
    carries: Option<PortIndex>,
    first_failed: bool,
    waiting: VecDeque<(Option<Arc<Attributes>>, Payload)>,
}

impl Fallback {
    /// So long the first branch may take from the moment at which the second has something; without it, for ever.
    pub fn new(after: Option<Micros>) -> Self {
        Self { after, carries: None, first_failed: false, waiting: VecDeque::new() }
    }

    fn on_first(&mut self, cx: &mut Context<'_>, payload: Payload) {
        match (self.carries, payload) {
            (Some(SECOND), Payload::End(_)) => {}
            (Some(SECOND), _) => cx.dropped(1, "fallback: the second branch carries"),
            (Some(_), Payload::End(outcome)) if outcome != Outcome::Success => {
                cx.fail("the branch that carried broke off; what was said can't be begun anew by the other");
            }
            (Some(_), payload) => cx.emit(payload),
            // A branch that ends with nothing has not carried, whatever it says.
            (None, Payload::End(_)) => {
                self.first_failed = true;
                self.decide(cx, BranchFault::Failed);
            }
            (None, payload) => {
                self.carries = Some(FIRST);
                let items = self.waiting.drain(..).filter(|(_, item)| !matches!(item, Payload::End(_))).count();
                if items > 0 {
                    cx.dropped(items as u32, "fallback: the first branch carries");
                }
                cx.emit(payload);
            }
        }
    }

    fn on_second(&mut self, cx: &mut Context<'_>, payload: Payload) {
        let is_end = matches!(payload, Payload::End(_));
        match self.carries {
            Some(SECOND) => cx.emit(payload),
            Some(_) if is_end => {}
            Some(_) => cx.dropped(1, "fallback: the first branch carries"),
            None if self.waiting.len() >= MAX_WAITING_ITEMS && !is_end => {
                cx.dropped(1, "fallback: too much waits for the first branch");
            }
            None => {
                if let (true, Some(after)) = (self.waiting.is_empty(), self.after) {
                    cx.wake_at(cx.now() + after);
                }
                self.waiting.push_back((cx.attributes.clone(), payload));
                if self.first_failed {
                    self.decide(cx, BranchFault::Failed);
                }
            }
        }
    }

    /// The second branch begins anew: what waits of it counts no more.
    fn take_back(&mut self, cx: &mut Context<'_>) {
        let items = self.waiting.drain(..).count();
        if items > 0 {
            cx.dropped(items as u32, "fallback: the second branch took it back");
        }
    }

    /// The second branch carries, if it has anything.
    fn decide(&mut self, cx: &mut Context<'_>, fault: BranchFault) {
        if self.carries.is_some() || self.waiting.is_empty() {
            return;
        }
        self.carries = Some(SECOND);
        cx.fall_back(fault);
        for (attributes, payload) in self.waiting.drain(..) {
            cx.attributes = attributes;
            cx.emit(payload);
        }
    }
}

impl Node for Fallback {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        // What says something of a whole stream goes with the stream that carries.
        if payload.is_mark() && !matches!(payload, Payload::End(_)) {
            if self.carries == Some(port) {
                cx.emit(payload);
            } else if port == SECOND && self.carries.is_none() {
                self.take_back(cx);
            }
            return;
        }
        match port {
            FIRST => self.on_first(cx, payload),
            _ => self.on_second(cx, payload),
        }
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        if let Directive::Wake(_) = directive {
            self.decide(cx, BranchFault::Timeout);
        }
    }

    fn holds(&self) -> bool {
        self.carries.is_none() && !self.waiting.is_empty()
    }

    fn keeps(&self) -> usize {
        self.waiting.iter().filter(|(_, item)| !item.is_mark()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::dataflow::AskKind;
    use rspp_specs::ids::NodeIndex;

    /// What happens, in order: an item or an end on one of the branches, or the wake.
    enum Happens {
        Item(PortIndex, &'static str),
        Fails(PortIndex),
        TakesBack(PortIndex),
        Wakes,
    }
    use Happens::{Fails, Item, TakesBack, Wakes};

    fn check(after_ms: Option<u64>, happens: &[Happens], expect: &[&str]) {
        let mut harness = Harness::new(Fallback::new(after_ms.map(Micros::from_ms)));
        for one in happens {
            match one {
                Item(port, text) => harness.event_on(*port, Payload::text(*text)),
                Fails(port) => harness.event_on(*port, Payload::End(Outcome::Failed)),
                TakesBack(port) => harness.event_on(*port, Payload::Retract),
                Wakes => harness.directive(&Directive::Wake(NodeIndex(0))),
            };
        }
        let shown = |payload| match payload {
            Payload::Text(text) => text.to_string(),
            other => format!("{other:?}"),
        };
        let emitted: Vec<String> = harness.emitted().into_iter().map(shown).collect();
        assert_eq!(emitted, expect);
    }

    #[test]
    fn whoever_carries_first_carries_to_the_end() {
        check(Some(100), &[Item(SECOND, "b"), Item(FIRST, "a"), Item(SECOND, "c"), Wakes], &["a"]);
        check(Some(100), &[Item(SECOND, "b"), Wakes, Item(FIRST, "a")], &["b"]);
        check(None, &[Item(SECOND, "b"), Fails(FIRST)], &["b"]);
        check(None, &[Fails(FIRST), Item(SECOND, "b"), Item(SECOND, "c")], &["b", "c"]);
        check(None, &[Item(SECOND, "b")], &[]);
    }

    #[test]
    fn what_a_branch_takes_back_is_its_own() {
        check(None, &[Item(SECOND, "b"), TakesBack(SECOND), Item(SECOND, "c"), Fails(FIRST)], &["c"]);
        check(None, &[Item(SECOND, "b"), TakesBack(FIRST), Fails(FIRST)], &["b"]);
        check(None, &[Item(FIRST, "a"), TakesBack(SECOND), TakesBack(FIRST), Item(FIRST, "c")], &["a", "Retract", "c"]);
        check(Some(100), &[Item(SECOND, "b"), TakesBack(SECOND), Wakes, Item(FIRST, "a")], &["a"]);
    }

    /// How many items are said to be lost, and by which rule.
    fn lost(harness: &mut Harness<Fallback>) -> Vec<(u32, &'static str)> {
        let lost = |ask| match ask {
            AskKind::Dropped { items, reason } => Some((items, reason)),
            _ => None,
        };
        harness.asked().into_iter().filter_map(lost).collect()
    }

    #[test]
    fn what_the_second_branch_gave_in_vain_is_said() {
        let end = || Payload::End(Outcome::Success);
        let mut harness = Harness::new(Fallback::new(None));
        assert!(!harness.holds());
        harness.event_on(SECOND, Payload::text("b")).event_on(SECOND, Payload::text("c")).event_on(SECOND, end());
        assert!(harness.holds());
        harness.event_on(FIRST, Payload::text("a"));
        assert_eq!(lost(&mut harness), [(2, "fallback: the first branch carries")]);
        assert!(!harness.holds());
        harness.event_on(SECOND, end()).event_on(SECOND, Payload::text("d"));
        assert_eq!(lost(&mut harness), [(1, "fallback: the first branch carries")], "an end is no item");
        let mut harness = Harness::new(Fallback::new(None));
        harness.event_on(SECOND, end()).event_on(FIRST, Payload::text("a"));
        assert_eq!(lost(&mut harness), [], "nothing was");
        let mut harness = Harness::new(Fallback::new(None));
        harness.event_on(SECOND, Payload::Retract);
        harness.event_on(SECOND, Payload::text("b")).event_on(SECOND, Payload::text("c"));
        harness.event_on(SECOND, Payload::Retract);
        assert_eq!(lost(&mut harness), [(2, "fallback: the second branch took it back")]);
    }

    #[test]
    fn what_waits_is_bounded_and_an_end_is_never_lost() {
        let mut harness = Harness::new(Fallback::new(None));
        for _ in 0..=MAX_WAITING_ITEMS {
            harness.event_on(SECOND, Payload::text("b"));
        }
        assert_eq!(lost(&mut harness), [(1, "fallback: too much waits for the first branch")]);
        harness.event_on(SECOND, Payload::End(Outcome::Success));
        assert_eq!(lost(&mut harness), []);
        assert_eq!(harness.keeps(), MAX_WAITING_ITEMS);
    }
}
