//! Passes on what its inputs bring. The order where they meet is the host's: cause, then port (`F-005`).

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;

use crate::fan_in::{Ended, retract};
use crate::node::{Context, Node};

/// Many to one. Its stream ends when all that it merges have ended.
#[derive(Debug)]
pub struct Merge {
    ended: Ended,
}

impl Merge {
    /// Of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Self { ended: Ended::new(inputs) }
    }
}

impl Node for Merge {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        match payload {
            Payload::Retract => retract(cx, self.ended.inputs()),
            Payload::End(_) if !self.ended.note(port) => {}
            payload => cx.emit(payload),
        }
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
    fn it_ends_when_each_of_its_inputs_has() {
        let mut harness = Harness::new(Merge::new(2));
        harness.event_on(A, END).event_on(A, END).event_on(B, Payload::text("b"));
        assert_eq!(harness.emitted(), [Payload::text("b")]);
        harness.event_on(B, END);
        assert_eq!(harness.emitted(), [END]);
    }

    #[test]
    fn of_several_streams_none_can_take_back_what_is_mixed() {
        let mut harness = Harness::new(Merge::new(2));
        harness.event_on(A, Payload::text("a")).event_on(A, Payload::Retract);
        assert_eq!(harness.emitted(), [Payload::text("a")]);
        assert_eq!(harness.asked().len(), 1, "that it was not passed on is said");
        let mut alone = Harness::new(Merge::new(1));
        alone.event_on(A, Payload::text("a")).event_on(A, Payload::Retract);
        assert_eq!(alone.emitted(), [Payload::text("a"), Payload::Retract]);
    }
}
