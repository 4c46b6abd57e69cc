//! State of a turn in a node that outlives turns, kept apart by its type (`F-155`).
//!
//! A node that only a turn's events reach has nothing to do for it: it is made for each turn, and all that it keeps is its
//! turn's. One that the session's events reach as well lives on. What it keeps for a turn, it declares: then it can be got at in
//! the turn's name alone, and is gone when the turn is, however that ends.
//!
//! ```
//! use rspp_operators::scoped::{Scoped, TwoScopes};
//! use rspp_operators::Context;
//! use rspp_specs::event::Payload;
//! use rspp_specs::ids::PortIndex;
//!
//! /// Counts what the caller says between turns, and the pieces of each answer.
//! #[derive(Default)]
//! struct Counter {
//!     said: u32,
//! }
//!
//! impl TwoScopes for Counter {
//!     type Turn = u32;
//!
//!     fn on_session_event(&mut self, _: &mut Context<'_>, _: PortIndex, _: Payload) {
//!         self.said += 1;
//!     }
//!
//!     fn on_turn_event(&mut self, pieces: &mut u32, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
//!         *pieces += 1;
//!         cx.emit(payload);
//!     }
//! }
//!
//! let node = Scoped::new(Counter::default());
//! # drop(node);
//! ```
//!
//! What is a turn's can't be got at in the session's name: there is no such thing to be named.
//!
//! ```compile_fail
//! # use rspp_operators::scoped::TwoScopes;
//! # use rspp_operators::Context;
//! # use rspp_specs::event::Payload;
//! # use rspp_specs::ids::PortIndex;
//! # struct Counter;
//! impl TwoScopes for Counter {
//!     type Turn = u32;
//!
//!     fn on_session_event(&mut self, _: &mut Context<'_>, _: PortIndex, _: Payload) {
//!         *pieces += 1; // whose?
//!     }
//!
//!     fn on_turn_event(&mut self, pieces: &mut u32, _: &mut Context<'_>, _: PortIndex, _: Payload) {
//!         *pieces += 1;
//!     }
//! }
//! ```

use rspp_specs::dataflow::Directive;
use rspp_specs::event::{Payload, ProviderResult};
use rspp_specs::ids::{CallRef, PortIndex, Scope, TurnCapability};

use crate::node::{Context, Node};

/// A node with state of its own, and state for the turn that is open.
pub trait TwoScopes {
    /// What is kept for a turn: made when something of the turn comes first, gone when the turn is.
    type Turn: Default;

    /// An event of the session's.
    fn on_session_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload);

    /// An event of a turn's.
    fn on_turn_event(&mut self, turn: &mut Self::Turn, cx: &mut Context<'_>, port: PortIndex, payload: Payload);

    /// A result of a call that was made in the session's name.
    fn on_session_result(&mut self, _cx: &mut Context<'_>, _call: CallRef, _result: ProviderResult) {}

    /// A result of a call that was made in a turn's name.
    fn on_turn_result(
        &mut self,
        _turn: &mut Self::Turn,
        _cx: &mut Context<'_>,
        _call: CallRef,
        _result: ProviderResult,
    ) {
    }

    /// What the arbiter decided, while no turn is open here.
    fn on_session_directive(&mut self, _cx: &mut Context<'_>, _directive: &Directive) {}

    /// What the arbiter decided, in the name of the turn.
    fn on_turn_directive(&mut self, _turn: &mut Self::Turn, _cx: &mut Context<'_>, _directive: &Directive) {}

    /// Whether it keeps something for the turn that may still become output.
    fn holds(&self, _turn: &Self::Turn) -> bool {
        false
    }
}

/// Such a node, and the state for the turn that is open.
pub struct Scoped<N: TwoScopes> {
    node: N,
    turn: Option<(TurnCapability, N::Turn)>,
}

impl<N: TwoScopes> Scoped<N> {
    /// No turn is open.
    pub fn new(node: N) -> Self {
        Self { node, turn: None }
    }

    /// Reacts in the name in which it is spoken to.
    fn react<T>(
        &mut self,
        cx: &mut Context<'_>,
        what: T,
        in_session: impl FnOnce(&mut N, &mut Context<'_>, T),
        in_turn: impl FnOnce(&mut N, &mut N::Turn, &mut Context<'_>, T),
    ) {
        let Scope::Turn(capability) = cx.scope() else { return in_session(&mut self.node, cx, what) };
        if self.turn.as_ref().is_none_or(|(open, _)| *open != capability) {
            self.turn = Some((capability, N::Turn::default()));
        }
        if let Some((_, turn)) = &mut self.turn {
            in_turn(&mut self.node, turn, cx, what);
        }
    }
}

impl<N: TwoScopes> Node for Scoped<N> {
    fn on_event(&mut self, cx: &mut Context<'_>, port: PortIndex, payload: Payload) {
        let in_session = |node: &mut N, cx: &mut Context<'_>, payload| node.on_session_event(cx, port, payload);
        self.react(cx, payload, in_session, |node, turn, cx, payload| node.on_turn_event(turn, cx, port, payload));
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        let in_session = |node: &mut N, cx: &mut Context<'_>, result| node.on_session_result(cx, call, result);
        self.react(cx, result, in_session, |node, turn, cx, result| node.on_turn_result(turn, cx, call, result));
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        match directive {
            Directive::Close(_) | Directive::Revoke(_) | Directive::Drop(_) => self.turn = None,
            directive => {
                let in_session = |node: &mut N, cx: &mut Context<'_>, _: ()| node.on_session_directive(cx, directive);
                self.react(cx, (), in_session, |node, turn, cx, ()| node.on_turn_directive(turn, cx, directive));
            }
        }
    }

    fn holds(&self) -> bool {
        self.turn.as_ref().is_some_and(|(_, turn)| self.node.holds(turn))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use rspp_specs::event::Payload;

    use super::*;
    use crate::harness::{Harness, Step, check_revocation};

    /// Holds its turn's texts until it hears `done`; counts those of the session.
    #[derive(Default)]
    struct Hoarder {
        said: Rc<Cell<u32>>,
    }

    impl TwoScopes for Hoarder {
        type Turn = Vec<Payload>;

        fn on_session_event(&mut self, _: &mut Context<'_>, _: PortIndex, _: Payload) {
            self.said.set(self.said.get() + 1);
        }

        fn on_turn_event(&mut self, kept: &mut Vec<Payload>, cx: &mut Context<'_>, _: PortIndex, payload: Payload) {
            if payload == Payload::text("done") {
                kept.drain(..).for_each(|payload| cx.emit(payload));
            } else {
                kept.push(payload);
            }
        }

        fn holds(&self, kept: &Vec<Payload>) -> bool {
            !kept.is_empty()
        }
    }

    #[test]
    fn what_is_a_turn_s_is_gone_with_it() {
        let said = Rc::new(Cell::new(0));
        let mut harness = Harness::new(Scoped::new(Hoarder { said: Rc::clone(&said) }));
        harness.event(Payload::text("one")).event(Payload::text("two"));
        assert!(harness.holds());
        harness.event(Payload::text("done"));
        assert_eq!(harness.emitted(), [Payload::text("one"), Payload::text("two")]);
        harness.event(Payload::text("three"));
        let turn = harness.capability();
        harness.directive(&Directive::Close(turn));
        assert!(!harness.holds());
        harness.event(Payload::text("done"));
        assert_eq!(harness.emitted(), []);
        assert_eq!(said.get(), 0);
        harness.revoke().event(Payload::text("hello"));
        assert_eq!(said.get(), 1, "in the session's name");
    }

    #[test]
    fn a_revoked_turn_is_silent() {
        let text = |text: &str| Step::event(Payload::text(text));
        let story = [text("one"), text("two"), text("done"), text("three"), text("done")];
        assert_eq!(check_revocation(|| Scoped::new(Hoarder::default()), &story), Ok(()));
    }
}
