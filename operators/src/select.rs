//! Lets one of several inputs through (`F-005`): of what comes for one cause, the input that is written first, or the first
//! item of which a condition holds. The host orders what comes by (cause, port) once no more can come, so the choice does not
//! depend on which way was shorter.

use rspp_specs::event::{Event, Payload};
use rspp_specs::ids::{PortIndex, RuntimeSequence};
use rspp_specs::plan::Condition;

use crate::fan_in::{Ended, retract};
use crate::node::{Context, Node};

/// Many to one, one at a time. Its stream ends when all its inputs have ended.
#[derive(Debug)]
pub struct Select {
    when: Option<Condition>,
    ended: Ended,
    /// For which cause the choice is made, and who it is.
    chosen: Option<(RuntimeSequence, PortIndex)>,
}

impl Select {
    /// Of so many inputs; by priority, or by a condition.
    pub fn new(inputs: usize, when: Option<Condition>) -> Self {
        Self { when, ended: Ended::new(inputs), chosen: None }
    }

    fn fits(&self, cx: &Context<'_>, payload: &Payload) -> bool {
        self.when.as_ref().is_none_or(|when| {
            when.holds(&Event { origin: *cx.origin, attributes: cx.attributes.clone(), payload: payload.clone() })
        })
    }
}

impl Node for Select {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match payload {
            Payload::End(_) if !self.ended.note(port) => return,
            Payload::Retract => return retract(cx, self.ended.inputs()),
            _ if payload.is_mark() => return cx.emit(payload),
            _ => {}
        }
        let cause = cx.origin.cause;
        let chosen = self.chosen.filter(|(of, _)| *of == cause).map(|(_, port)| port);
        if chosen.is_some_and(|chosen| chosen != port) {
            cx.dropped(1, "select: another input was chosen");
        } else if self.fits(cx, &payload) {
            self.chosen = Some((cause, port));
            cx.emit(payload);
        } else {
            cx.dropped(1, "select: the condition does not hold");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use rspp_specs::plan::Comparison;

    #[test]
    fn for_one_cause_the_first_input_carries() {
        let mut harness = Harness::new(Select::new(2, None));
        harness.same_cause(|harness| {
            harness.event_on(PortIndex(0), Payload::text("a"));
            harness.event_on(PortIndex(0), Payload::text("b"));
            harness.event_on(PortIndex(1), Payload::text("c"));
        });
        harness.event_on(PortIndex(1), Payload::text("d"));
        let texts = ["a", "b", "d"].map(Payload::text);
        assert_eq!(harness.emitted(), texts);
        assert_eq!(harness.asked().len(), 1, "what is not chosen is said");
    }

    #[test]
    fn it_ends_when_each_of_its_inputs_has_and_takes_nothing_back() {
        let end = Payload::End(rspp_specs::outcome::Outcome::Success);
        let mut harness = Harness::new(Select::new(2, None));
        for payload in [Payload::text("a"), Payload::Retract, end.clone(), end.clone()] {
            harness.event_on(PortIndex(0), payload);
        }
        assert_eq!(harness.emitted(), [Payload::text("a")]);
        assert_eq!(harness.asked().len(), 1, "that it was not passed on is said");
        harness.event_on(PortIndex(1), end.clone());
        assert_eq!(harness.emitted(), [end]);
    }

    #[test]
    fn a_condition_chooses_the_first_that_fits() {
        let is = Comparison::AtLeast(3.0);
        let when = Condition { attribute: "length".into(), is };
        let mut harness = Harness::new(Select::new(3, Some(when)));
        harness.same_cause(|harness| {
            harness.event_on(PortIndex(0), Payload::text("a"));
            harness.event_on(PortIndex(1), Payload::text("long"));
            harness.event_on(PortIndex(2), Payload::text("longer"));
        });
        assert_eq!(harness.emitted(), [Payload::text("long")]);
        let end = Payload::End(rspp_specs::outcome::Outcome::Success);
        for port in (0..3).map(PortIndex) {
            harness.event_on(port, end.clone());
        }
        assert_eq!(harness.emitted(), [end], "an end fits every condition");
    }
}
