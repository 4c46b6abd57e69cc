//! Where an operator keeps what it knows of each session.
//!
//! Each event of each session looks at one seat, and with thousands of sessions it comes from far away. So a seat is half a
//! line of the cache, and what is rarely looked at lies aside. Seats stand close together, also when the worker's slots are
//! shared out among many shapes: a table of seats by slot would be mostly empty, in every operator of every shape.

use std::sync::Arc;

use rspp_specs::dataflow::{Ask, AskKind, ControlRow};
use rspp_specs::event::{Attributes, Origin, Payload};
use rspp_specs::ids::{NodeIndex, PortIndex, RuntimeSequence, Scope, Slot, SlotlessCapability, TurnCapability};
use rspp_specs::plan::{Lifetime, Plan};

use crate::host::Hosted;
use crate::node::{Context, Node, Outbox};

/// One session's place at an operator.
pub(crate) struct Seat {
    pub(crate) node: Option<Box<dyn Node>>,
    /// The turn whose events the node takes.
    open: Option<SlotlessCapability>,
    calls: u32,
    holds: bool,
    /// A node that panicked or failed takes nothing more until the next turn.
    pub(crate) failed: bool,
    /// There are marks aside.
    marked: bool,
    /// The node is not ready yet, and the core knows.
    starting: bool,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Seat>>() == 32);

/// What belongs to a seat and is rarely looked at.
struct Aside {
    /// The plan of whoever has the seat, or had it last.
    plan: Arc<Plan>,
    /// What has been said of whole streams, their ends above all, and has not been passed on: a node that is dropped in
    /// the middle of its turn is told again when it is made anew, since nobody else will.
    marks: Vec<(PortIndex, Payload)>,
}

/// The seats of an operator.
#[derive(Default)]
pub(crate) struct Table {
    /// By slot: which seat, or [`NO_SEAT`].
    place_of: Vec<u32>,
    seats: Vec<Option<Seat>>,
    asides: Vec<Aside>,
    free: Vec<u32>,
}

const NO_SEAT: u32 = u32::MAX;

impl Table {
    /// A session begins, with this plan.
    pub(crate) fn begin(&mut self, slot: Slot, plan: &Arc<Plan>) {
        self.finish(slot);
        let index = slot.0 as usize;
        if self.place_of.len() <= index {
            self.place_of.resize(index + 1, NO_SEAT);
        }
        let seat =
            Seat { node: None, open: None, calls: 0, holds: false, failed: false, marked: false, starting: false };
        let seat = Some(seat);
        let aside = Aside { plan: Arc::clone(plan), marks: Vec::new() };
        if let Some(place) = self.free.pop() {
            self.place_of[index] = place;
            self.seats[place as usize] = seat;
            self.asides[place as usize] = aside;
        } else {
            self.place_of[index] = self.seats.len() as u32;
            self.seats.push(seat);
            self.asides.push(aside);
        }
    }

    /// A session is over. Gives its node, if it has one.
    pub(crate) fn finish(&mut self, slot: Slot) -> Option<Box<dyn Node>> {
        let place = std::mem::replace(self.place_of.get_mut(slot.0 as usize)?, NO_SEAT);
        let seat = self.seats.get_mut(place as usize)?;
        self.free.push(place);
        seat.take()?.node
    }

    /// A session's seat, if it has one.
    #[inline]
    pub(crate) fn of(&mut self, slot: Slot) -> Option<Chair<'_>> {
        let place = *self.place_of.get(slot.0 as usize)? as usize;
        let seat = self.seats.get_mut(place)?.as_mut()?;
        Some(Chair { seat, aside: &mut self.asides[place] })
    }
}

/// A seat, with what lies aside.
pub(crate) struct Chair<'a> {
    pub(crate) seat: &'a mut Seat,
    aside: &'a mut Aside,
}

impl Chair<'_> {
    /// In whose name the node reacts to a directive.
    pub(crate) fn origin(&self, row: &ControlRow) -> Origin {
        let scope = self.seat.open.map_or(Scope::Session, |open| Scope::Turn(open.on(row.slot)));
        Origin { slot: row.slot, scope, cause: row.cause, at: row.at }
    }

    /// Whether a turn is open here.
    pub(crate) fn is_open(&self) -> bool {
        self.seat.open.is_some()
    }

    /// Whether it is this one.
    pub(crate) fn is_open_for(&self, capability: TurnCapability) -> bool {
        self.seat.open == Some(capability.without_slot())
    }

    /// A turn begins here, or ends.
    pub(crate) fn start_turn(&mut self, open: Option<TurnCapability>, lifetime: Lifetime) {
        self.seat.open = open.map(TurnCapability::without_slot);
        self.seat.holds = false;
        self.seat.starting &= lifetime == Lifetime::Session;
        if std::mem::take(&mut self.seat.marked) {
            self.aside.marks.clear();
        }
        if lifetime == Lifetime::Turn {
            self.seat.node = None;
            self.seat.failed = false;
        }
    }

    /// Notes what an event says of a whole stream.
    pub(crate) fn note_mark(&mut self, lifetime: Lifetime, port: PortIndex, mark: &Payload) {
        let is_known = |(of, known): &(PortIndex, Payload)| *of == port && known == mark;
        if lifetime == Lifetime::Turn && !self.aside.marks.iter().any(is_known) {
            self.aside.marks.push((port, mark.clone()));
            self.seat.marked = true;
        }
    }

    /// What has been said of whole streams and was not passed on.
    pub(crate) fn marks(&self) -> Vec<(PortIndex, Payload)> {
        self.aside.marks.clone()
    }

    /// Forgets what the node has passed on in this reaction: whoever comes behind it knows.
    fn forget_marks(&mut self, slot: Slot, outbox: &Outbox) {
        for events in &outbox.events {
            // What a session's rows have given stands together, and last.
            let ours = events.iter().rev().take_while(|event| event.origin.slot == slot);
            for event in ours.filter(|event| event.payload.is_mark()) {
                let kind = std::mem::discriminant(&event.payload);
                self.aside.marks.retain(|(_, mark)| std::mem::discriminant(mark) != kind);
            }
        }
        self.seat.marked = !self.aside.marks.is_empty();
    }

    /// Whether an event of this scope is taken: a turn's event needs the turn's capability. What a node that lives with
    /// a turn makes of the session's events belongs to the turn.
    #[inline]
    pub(crate) fn admits(&self, origin: &mut Origin, lifetime: Lifetime) -> bool {
        match (origin.scope, self.seat.open) {
            (Scope::Turn(capability), open) => open == Some(capability.without_slot()),
            (Scope::Session, _) if lifetime == Lifetime::Session => true,
            (Scope::Session, Some(open)) => {
                origin.scope = Scope::Turn(open.on(origin.slot));
                true
            }
            (Scope::Session, None) => false,
        }
    }

    /// Runs one reaction of the node.
    #[inline]
    pub(crate) fn react(
        &mut self,
        hosted: &Hosted,
        origin: &Origin,
        attributes: Option<Arc<Attributes>>,
        outbox: &mut Outbox,
        reaction: impl FnOnce(&mut dyn Node, &mut Context<'_>),
    ) {
        if self.seat.failed {
            return;
        }
        if self.seat.node.is_none() {
            self.begin_life(hosted, origin, outbox);
        }
        let Some(node) = &mut self.seat.node else { return };
        let mut cx = Context { origin, node: hosted.node, attributes, calls: &mut self.seat.calls, outbox };
        reaction(node.as_mut(), &mut cx);
        if self.seat.marked {
            self.forget_marks(origin.slot, outbox);
        }
        if self.seat.starting {
            self.note_ready(hosted.node, origin, outbox);
        }
        self.note_holds(hosted.node, origin.slot, origin.cause, outbox);
    }

    /// Makes a node, and lets it start.
    #[cold]
    fn begin_life(&mut self, hosted: &Hosted, origin: &Origin, outbox: &mut Outbox) {
        let mut node = (hosted.factory)(&self.aside.plan, hosted.node);
        let mut cx =
            Context { origin, node: hosted.node, attributes: None, calls: &mut self.seat.calls, outbox: &mut *outbox };
        node.on_start(&mut cx);
        self.seat.node = Some(node);
        self.note_ready(hosted.node, origin, outbox);
    }

    /// Tells the core whether the node has started.
    #[cold]
    fn note_ready(&mut self, node: NodeIndex, origin: &Origin, outbox: &mut Outbox) {
        let starting = self.seat.node.as_ref().is_some_and(|node| !node.is_ready());
        if std::mem::replace(&mut self.seat.starting, starting) != starting {
            let Origin { slot, scope, cause, .. } = *origin;
            outbox.asks.push(Ask { slot, node, scope, cause, kind: AskKind::Starts(starting) });
        }
    }

    /// Tells the core when the node begins or ceases to hold the turn.
    #[inline]
    pub(crate) fn note_holds(&mut self, node: NodeIndex, slot: Slot, cause: RuntimeSequence, outbox: &mut Outbox) {
        let holds = self.seat.node.as_ref().is_some_and(|node| node.holds());
        if let Some(open) = self.seat.open
            && holds != self.seat.holds
        {
            let (scope, kind) = (Scope::Turn(open.on(slot)), AskKind::Holds(holds));
            outbox.asks.push(Ask { slot, node, scope, cause, kind });
        }
        self.seat.holds = holds;
    }
}
