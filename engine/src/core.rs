//! The tick: `tick(now, inputs) -> timeline`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rspp_specs::dataflow::{Ask, ControlRow, Directive, Flushed, Row};
use rspp_specs::ids::{InvocationId, LeaseEpoch, Slot};
use rspp_specs::limits::MAX_WORKER_SESSIONS;
use rspp_specs::meter::{Meter, Overrun};
use rspp_specs::plan::Shape;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Entry, Holder, Input, Record, Resume, SessionOpen, Signal, TurnState};
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::worker::Worker;

use crate::batch::Batch;
use crate::dataflow::{Dataflow, Lower};
use crate::fence::Fence;
use crate::session::{Desk, Session};
use crate::takeover::{RestoreError, first_difference};
use crate::timers::Timers;

/// A worker's core: sessions as rows, one dataflow for each shape, no clock.
pub struct Core {
    worker: Worker,
    lower: Box<dyn Lower>,
    shapes: Vec<Shape>,
    flows: Vec<Dataflow>,
    sessions: Vec<Place>,
    free: Vec<Slot>,
    timers: Timers,
    /// Sessions with something derived: their next tick begins with it.
    derived: BTreeSet<Slot>,
    /// Sessions that take part in this tick; in the order of their slots once `each_touched` has run.
    touched: Vec<Slot>,
    /// Sessions that may have ended in this tick; some twice.
    ended: Vec<Slot>,
    /// The worker's own count of ticks: tells a session that was touched in this one.
    ticks: u64,
    asks: Vec<Ask>,
    flushed: Vec<Flushed>,
    meter: Meter,
}

/// A slot: its generations outlive its sessions.
#[derive(Default)]
struct Place {
    fence: Fence,
    session: Option<Box<Session>>,
}

/// What can be seen of a session between ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The session's own count of ticks.
    pub tick: u64,
    /// The arbiter's state.
    pub state: TurnState,
    /// Who holds the active turn.
    pub holders: Vec<Holder>,
    /// Invocations in flight.
    pub invocations: usize,
    /// Whether there is audio of which it is not known yet how much the caller heard.
    pub is_playing: bool,
    /// The lease under which it is written.
    pub epoch: LeaseEpoch,
}

impl Core {
    /// A core without sessions, that lowers plans with `lower`.
    pub fn new(lower: Box<dyn Lower>) -> Self {
        let config = timely::WorkerConfig::default();
        Self {
            worker: Worker::new(config, Allocator::Thread(Thread::default()), None),
            lower,
            shapes: Vec::new(),
            flows: Vec::new(),
            sessions: Vec::new(),
            free: Vec::new(),
            timers: Timers::default(),
            derived: BTreeSet::new(),
            touched: Vec::new(),
            ended: Vec::new(),
            ticks: 0,
            asks: Vec::new(),
            flushed: Vec::new(),
            meter: Meter::default(),
        }
    }

    /// The same, with nodes' computing measured by this meter.
    #[must_use]
    pub fn measured(self, meter: Meter) -> Self {
        Self { meter, ..self }
    }

    /// Hands over the reactions of the last tick that took long. Each is to come in again as an
    /// [`Input::NodeOverrun`] of its session, which is then still on its slot.
    pub fn hand_over_overruns(&self, overruns: &mut Vec<Overrun>) {
        self.meter.hand_over(overruns);
    }

    /// A slot for a new session, or `None` if the worker is full. The session begins with
    /// [`Input::SessionOpen`] on this slot, and the slot is free again once it has ended.
    pub fn reserve(&mut self) -> Option<Slot> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        if self.sessions.len() == MAX_WORKER_SESSIONS {
            return None;
        }
        self.sessions.push(Place::default());
        Some(Slot(self.sessions.len() as u32 - 1))
    }

    /// When the core wants to tick again at the latest: now, if something is derived; else when a timer is due.
    pub fn next_deadline(&self, now: Micros) -> Option<Micros> {
        if self.derived.is_empty() { self.timers.next() } else { Some(now) }
    }

    /// Whether the next tick begins with something derived.
    pub fn has_derived(&self) -> bool {
        !self.derived.is_empty()
    }

    /// What can be seen of a session.
    pub fn view(&self, slot: Slot) -> Option<View> {
        let session = self.sessions.get(slot.0 as usize)?.session.as_ref()?;
        Some(View {
            tick: session.tick,
            state: session.state(),
            holders: session.holders(),
            invocations: session.invocations.len(),
            is_playing: session.playback.is_some(),
            epoch: session.epoch,
        })
    }

    /// A session's invocations in flight, by number.
    pub fn in_flight(&self, slot: Slot) -> Vec<InvocationId> {
        let session = self.sessions.get(slot.0 as usize).and_then(|place| place.session.as_ref());
        session.map_or_else(Vec::new, |session| session.invocations.ids().collect())
    }

    /// From what a session could go on, if it is at rest: its durable state. As the first input of its next tick, a
    /// `SessionOpen` that has it begins the session afresh there, with the plan that it brings.
    pub fn carry(&self, slot: Slot) -> Option<Resume> {
        self.sessions.get(slot.0 as usize)?.session.as_ref()?.carry()
    }

    /// Brings a session that another worker held to where its log ends: whole ticks, from its beginning or from where it
    /// went on from what it carried. Nothing that the log wants done is to be done again. Timers that came due since fire in the next tick, which is to bring the
    /// [`Takeover`](rspp_specs::timeline::Takeover). Other sessions take no part.
    ///
    /// # Errors
    /// The session does not go the way of its log. Then it stands on its slot in a state of which nothing is known: end
    /// it, and do nothing that it says.
    pub fn restore(&mut self, slot: Slot, log: &[Record]) -> Result<(), RestoreError> {
        let (mut batch, mut made) = (Batch::default(), Vec::new());
        for logged in log.chunk_by(|a, b| a.tick == b.tick) {
            let (tick, at) = (logged[0].tick, logged[0].at);
            for record in logged {
                if let Entry::Input(_, input) = &record.entry
                    && input.is_external()
                {
                    batch.push(slot, input.clone()).map_err(|_| RestoreError::TooMuch { tick })?;
                }
            }
            self.step(at, Some(slot), &mut batch, &mut made);
            if let Some(place) = first_difference(logged, &made) {
                return Err(RestoreError::Diverged { tick, place });
            }
            made.clear();
        }
        // How long it took here has nothing to do with how long it took there.
        self.meter.hand_over(&mut Vec::new());
        Ok(())
    }

    /// One tick: control, then data, then what follows from them. Appends to `timeline` everything that entered and
    /// everything that the shell is to do, in order; `batch` comes back empty.
    pub fn tick(&mut self, now: Micros, batch: &mut Batch, timeline: &mut Vec<Record>) {
        self.step(now, None, batch, timeline);
    }

    /// A tick of all sessions, or of one alone.
    fn step(&mut self, now: Micros, only: Option<Slot>, batch: &mut Batch, timeline: &mut Vec<Record>) {
        self.retire();
        self.ticks += 1;
        self.take_derived(now, only, timeline);
        for (slot, input) in batch.control.drain(..) {
            self.take_control(now, slot, input, timeline);
        }
        while let Some((slot, key)) = self.timers.pop_due(now, only) {
            self.take_control(now, slot, Input::Timer(key), timeline);
        }
        self.each_touched(now, timeline, Session::end_control);
        self.run_revocations(now, timeline);
        self.each_touched(now, timeline, Session::finish_end);
        // With thousands of sessions each look at one waits for memory; looks that follow each other closely wait together.
        for slot in batch.data_slots() {
            self.touch(slot);
        }
        for (slot, input) in batch.drain_data() {
            self.with(now, slot, timeline, |session, desk| session.on_data(desk, input));
        }
        self.run_data(now, timeline);
        self.each_touched(now, timeline, Session::end_tick);
    }

    fn take_derived(&mut self, now: Micros, only: Option<Slot>, timeline: &mut Vec<Record>) {
        let slots = match only {
            None => std::mem::take(&mut self.derived),
            Some(slot) => self.derived.take(&slot).into_iter().collect(),
        };
        for slot in slots {
            let Some(session) = self.sessions[slot.0 as usize].session.as_mut() else { continue };
            for derived in std::mem::take(&mut session.derived) {
                self.take_control(now, slot, Input::Derived(derived), timeline);
            }
        }
    }

    fn take_control(&mut self, now: Micros, slot: Slot, input: Input, timeline: &mut Vec<Record>) {
        let is_free = self.sessions.get(slot.0 as usize).is_some_and(|place| place.session.is_none());
        let input = match input {
            Input::SessionOpen(open) if is_free => {
                self.open_session(now, slot, open, timeline);
                return;
            }
            Input::SessionOpen(open) if self.carry(slot).is_some_and(|carried| carried == open.resume) => {
                self.renew_session(now, slot, open, timeline);
                return;
            }
            input => input,
        };
        self.with(now, slot, timeline, |session, desk| {
            let sequence = session.enter(desk, input.clone());
            session.on_control(desk, sequence, input);
        });
    }

    fn open_session(&mut self, now: Micros, slot: Slot, open: Box<SessionOpen>, timeline: &mut Vec<Record>) {
        let shape = self.flow_of(&open);
        let place = &mut self.sessions[slot.0 as usize];
        place.session = Some(Box::new(Session::new(slot, &open, shape, place.fence)));
        self.with(now, slot, timeline, |session, desk| {
            let plan = Arc::clone(&open.plan);
            let sequence = session.enter(desk, Input::SessionOpen(open));
            session.direct(desk, sequence, Directive::Begin(plan));
            session.say(desk, Signal::SessionReady);
            session.greet(desk);
        });
    }

    /// A session that is at rest goes on from what it carries. Nothing else of it stays, so that it is what one would be that
    /// begins there elsewhere.
    fn renew_session(&mut self, now: Micros, slot: Slot, open: Box<SessionOpen>, timeline: &mut Vec<Record>) {
        self.timers.cancel_all(slot);
        let place = &mut self.sessions[slot.0 as usize];
        if let Some(session) = place.session.take() {
            place.fence = session.fence;
            // It stands before the input that begins anew: what is over is through when that begins.
            let (cause, directive) = (session.last_sequence(), Directive::Finish);
            let row = Row::Control(ControlRow { slot, cause, at: now, directive });
            self.flows[session.shape as usize].control.push(row);
        }
        self.open_session(now, slot, open, timeline);
    }

    /// The dataflow of a plan's shape, built if this worker has none yet.
    fn flow_of(&mut self, open: &SessionOpen) -> u32 {
        let shape = open.plan.shape();
        if let Some(known) = self.shapes.iter().position(|known| *known == shape) {
            return known as u32;
        }
        self.shapes.push(shape);
        self.flows.push(Dataflow::build(&mut self.worker, &open.plan, self.lower.as_ref(), &self.meter));
        self.flows.len() as u32 - 1
    }

    /// Lets a session work at its desk. Input of a session that is not there is dropped: it has ended.
    fn with(
        &mut self,
        now: Micros,
        slot: Slot,
        timeline: &mut Vec<Record>,
        work: impl FnOnce(&mut Session, &mut Desk<'_>),
    ) {
        if !self.touch(slot) {
            return;
        }
        let Some(session) = &mut self.sessions[slot.0 as usize].session else { return };
        let flow = &mut self.flows[session.shape as usize];
        work(session, &mut Desk { now, timeline, timers: &mut self.timers, flow });
        if !session.derived.is_empty() {
            self.derived.insert(slot);
        }
        if session.ending && session.turn.is_none() {
            self.ended.push(slot);
        }
    }

    /// The session takes part in this tick, if it is there.
    fn touch(&mut self, slot: Slot) -> bool {
        let Some(session) = self.sessions.get_mut(slot.0 as usize).and_then(|place| place.session.as_mut()) else {
            return false;
        };
        if session.touched_in != self.ticks {
            session.touched_in = self.ticks;
            session.tick += 1;
            self.touched.push(slot);
        }
        true
    }

    fn each_touched(
        &mut self,
        now: Micros,
        timeline: &mut Vec<Record>,
        work: impl Fn(&mut Session, &mut Desk<'_>) + Copy,
    ) {
        self.touched.sort_unstable();
        for place in 0..self.touched.len() {
            self.with(now, self.touched[place], timeline, work);
        }
    }

    fn run_revocations(&mut self, now: Micros, timeline: &mut Vec<Record>) {
        let mut flushed = std::mem::take(&mut self.flushed);
        for flow in 0..self.flows.len() {
            self.flows[flow].run_revocations(&mut self.worker);
            self.flows[flow].hand_over_flushed(&mut flushed);
            for one in flushed.drain(..) {
                self.with(now, one.slot, timeline, |session, desk| session.on_flushed(desk, one));
            }
        }
        self.flushed = flushed;
    }

    fn run_data(&mut self, now: Micros, timeline: &mut Vec<Record>) {
        let mut asks = std::mem::take(&mut self.asks);
        for flow in 0..self.flows.len() {
            if self.flows[flow].is_idle() {
                continue;
            }
            self.flows[flow].run_data(&mut self.worker, &mut asks);
            for ask in asks.drain(..) {
                self.with(now, ask.slot, timeline, |session, desk| session.on_ask(desk, ask));
            }
        }
        self.asks = asks;
    }

    /// Frees the slots of sessions that ended in the last tick. Until then they can still be looked at; and their
    /// `Finish`, which this tick's control lane carries, is through before anybody begins on the slot.
    fn retire(&mut self) {
        self.touched.clear();
        for slot in self.ended.drain(..) {
            let place = &mut self.sessions[slot.0 as usize];
            if let Some(session) = place.session.take_if(|session| session.ending && session.turn.is_none()) {
                place.fence = session.fence;
                self.timers.cancel_all(slot);
                self.derived.remove(&slot);
                self.free.push(slot);
            }
        }
    }
}
