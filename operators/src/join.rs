//! Waits for one item from each of its inputs, and passes them on together, in port order (`F-005`).
//!
//! What it waits with is plain state of the turn, not a timely capability: while it has some but not all, it
//! holds the turn. An input that ends without an item releases the others without it.

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;

use crate::fan_in::retract;
use crate::node::{Context, Node};

/// All of many, then one after the other.
#[derive(Debug)]
pub struct Join {
    inputs: Vec<Branch>,
}

#[derive(Clone, Debug, Default)]
struct Branch {
    items: std::collections::VecDeque<Payload>,
    ended: bool,
}

/// Items of one branch that may wait for the others; more than that is a runaway branch.
const MAX_WAITING_ITEMS: usize = 256;

impl Join {
    /// Of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![Branch::default(); inputs] }
    }

    fn is_complete(&self) -> bool {
        self.inputs.iter().all(|branch| branch.ended || !branch.items.is_empty())
            && self.inputs.iter().any(|branch| !branch.items.is_empty())
    }
}

impl Node for Join {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        let Some(branch) = self.inputs.get_mut(usize::from(port.0)) else { return };
        match payload {
            Payload::End(outcome) => {
                branch.ended = true;
                if self.inputs.iter().all(|branch| branch.ended && branch.items.is_empty()) {
                    cx.emit(Payload::End(outcome));
                    return;
                }
            }
            Payload::Retract => return retract(cx, self.inputs.len()),
            _ if branch.items.len() == MAX_WAITING_ITEMS => {
                cx.dropped(1, "join: a branch ran ahead of the others");
                return;
            }
            item => branch.items.push_back(item),
        }
        while self.is_complete() {
            for branch in &mut self.inputs {
                if let Some(item) = branch.items.pop_front() {
                    cx.emit(item);
                }
            }
        }
        if self.inputs.iter().all(|branch| branch.ended && branch.items.is_empty()) {
            cx.emit(Payload::End(rspp_specs::outcome::Outcome::Success));
        }
    }

    fn holds(&self) -> bool {
        self.keeps() > 0
    }

    fn keeps(&self) -> usize {
        self.inputs.iter().map(|branch| branch.items.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::outcome::Outcome;

    const END: Payload = Payload::End(Outcome::Success);
    const A: PortIndex = PortIndex(0);
    const B: PortIndex = PortIndex(1);

    #[test]
    fn one_of_each_goes_on_together_in_the_order_of_the_inputs() {
        let mut harness = Harness::new(Join::new(2));
        harness.event_on(B, Payload::text("b1")).event_on(B, Payload::text("b2"));
        assert!(harness.emitted().is_empty() && harness.holds());
        harness.event_on(A, Payload::text("a1"));
        assert_eq!(harness.emitted(), ["a1", "b1"].map(Payload::text));
        assert!(harness.holds());
    }

    #[test]
    fn an_input_that_has_ended_keeps_nobody_waiting() {
        let mut harness = Harness::new(Join::new(2));
        harness.event_on(B, Payload::text("b")).event_on(A, END);
        assert_eq!(harness.emitted(), [Payload::text("b")]);
        harness.event_on(B, END);
        assert_eq!(harness.emitted(), [END]);
        assert!(!harness.holds());
    }

    #[test]
    fn a_branch_that_runs_ahead_is_bounded_and_none_takes_back() {
        let mut harness = Harness::new(Join::new(2));
        for _ in 0..=MAX_WAITING_ITEMS {
            harness.event_on(A, Payload::text("a"));
        }
        harness.event_on(A, Payload::Retract);
        assert_eq!(harness.asked().len(), 2, "both are said");
        harness.event_on(B, END).event_on(A, END);
        assert_eq!(harness.emitted().len(), MAX_WAITING_ITEMS + 1);
    }
}
