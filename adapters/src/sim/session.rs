//! One line of a simulated worker: a call, and when it is over another one.

use std::sync::Arc;

use rspp_engine::{Batch, View};
use rspp_specs::ids::{LeaseEpoch, Slot};
use rspp_specs::plan::Plan;
use rspp_specs::time::{Lane, Micros};
use rspp_specs::timeline::{Effect, Entry, Input, Record, SessionOpen, Signal, TurnState};

use super::application::Application;
use super::caller::{Agent, Caller};
use super::character::{Character, Pipeline};
use super::draws::{Concern, Draws, Origin};
use super::fault::Faults;
use super::leases::Leases;
use super::network::{MAX_BRIDGED_FRAMES, Network, Passage};
use super::pressure::Pressure;
use super::providers::Providers;
use super::recorder::Recorder;
use super::worker::{Ended, Which};
use crate::drive::{Peers, Schedule, offer};

/// No simulated turn has a reason to be open for longer.
const MAX_TURN: Micros = Micros::from_ms(300_000);
/// No hold has a reason to last longer: a stalled transport is called lost before that.
const MAX_HOLD: Micros = Micros::from_ms(15_000);
/// How long nothing may happen to an open turn before it is asked what it waits for.
const WATCH_EVERY: Micros = Micros::from_ms(2_000);
/// Between two calls of one line.
const PAUSE_BETWEEN_CALLS: Micros = Micros::from_ms(1_500);

const NEVER: Micros = Micros(u64::MAX);

/// What waits for a call outside of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Inputs that are going to come in.
    pub scheduled: usize,
    /// Invocations that providers work on.
    pub running: usize,
    /// Frames between core and transport.
    pub bridged: usize,
    /// More of those would be more than the core's lookahead can explain.
    pub max_bridged: usize,
}

/// One line: who it is, and its call.
#[derive(Debug)]
pub(super) struct Session {
    number: u32,
    calls: u32,
    seed: u64,
    faults: Faults,
    character: Character,
    pub(super) call: Option<Call>,
    calls_at: Micros,
}

impl Session {
    pub(super) fn new(seed: u64, number: u32, faults: Faults, pipelines: &[Pipeline]) -> Self {
        let character = Character::draw(seed, number, faults, pipelines);
        let calls_at = character.begins;
        Self { number, calls: 0, seed, faults, character, call: None, calls_at }
    }

    pub(super) fn which(&self) -> Which {
        Which { session: self.number, call: self.calls }
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.character.plan
    }

    pub(super) fn next_at(&self) -> Micros {
        self.call.as_ref().map_or(self.calls_at, Call::next_at)
    }

    /// Begins a call on this slot; gives what the core is told.
    pub(super) fn begin(&mut self, now: Micros, slot: Slot) -> Input {
        self.calls += 1;
        let origin = Origin { seed: self.seed, session: self.number, call: self.calls };
        self.call = Some(Call::new(now, slot, origin, &self.character, self.faults));
        let session = format!("{}.{}", self.number, self.calls);
        let plan = Arc::clone(&self.character.plan);
        Input::SessionOpen(Box::new(SessionOpen::new(session, plan)))
    }

    /// There is no worker to call before this.
    pub(super) fn call_later(&mut self, at: Micros) {
        self.calls_at = self.calls_at.max(self.character.on_the_beat(at));
    }

    /// The call is over; another follows, unless the simulation is over before.
    pub(super) fn end(&mut self, now: Micros, until: Micros) -> Option<Call> {
        let next = self.character.on_the_beat(now + PAUSE_BETWEEN_CALLS);
        self.calls_at = if next < until { next } else { NEVER };
        self.call.take()
    }
}

/// One call: its caller, its providers, its network, and what is on the way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) slot: Slot,
    pub(super) began: Micros,
    door: usize,
    pub(super) beat: Micros,
    caller: Caller,
    application: Application,
    pub(super) network: Network,
    pub(super) providers: Providers,
    /// What peers have sent; acknowledgements have the network before them.
    pub(super) sent: Schedule,
    /// What has the network behind it.
    pub(super) arriving: Schedule,
    pub(super) leases: Leases,
    pub(super) pressure: Pressure,
    pub(super) recorder: Recorder,
    /// How this session fares when its worker is lost.
    pub(super) loss: Draws,
    /// The lease of the next worker, once this one is lost.
    pub(super) new_lease: LeaseEpoch,
    /// What is told again until a worker hears it.
    pub(super) told_again: Vec<Input>,
    /// Invocations that go on with the next worker.
    pub(super) again: Vec<Effect>,
    /// When a write of somebody without a lease was reported last.
    pub(super) stale_write_at: Option<Micros>,
    /// What the core had no room for: first in the next tick.
    pub(super) held_back: Vec<Input>,
    acts: Vec<Input>,
    ended: bool,
    pub(super) watch: TurnWatch,
}

/// What an open turn waits for.
#[derive(Debug)]
pub(super) struct TurnWatch {
    open_since: Option<Micros>,
    held_since: Option<Micros>,
    /// When something other than the caller's audio came in or went out last.
    last_event: Micros,
    /// The latest moment at which the core wants to be woken.
    wakes_at: Micros,
    looks_at: Micros,
}

impl Call {
    fn new(now: Micros, slot: Slot, origin: Origin, character: &Character, faults: Faults) -> Self {
        let watch = TurnWatch { open_since: None, held_since: None, last_event: now, wakes_at: now, looks_at: NEVER };
        Self {
            slot,
            began: now,
            door: character.door,
            beat: character.beat,
            caller: Caller::new(now, origin, character),
            application: Application::new(now, origin, character, faults),
            network: Network::new(now, origin, character),
            providers: Providers::new(origin, character, faults),
            leases: Leases::new(now, origin, character, faults),
            pressure: Pressure::new(now, slot, origin, character, faults),
            recorder: Recorder::new(now, origin, character, faults),
            loss: Draws::new(origin, Concern::Loss),
            new_lease: LeaseEpoch::default(),
            told_again: Vec::new(),
            again: Vec::new(),
            stale_write_at: None,
            sent: Schedule::default(),
            arriving: Schedule::default(),
            held_back: Vec::new(),
            acts: Vec::new(),
            ended: false,
            watch,
        }
    }

    fn next_at(&self) -> Micros {
        if !self.held_back.is_empty() {
            return Micros(0);
        }
        let people = self.caller.next_at().min(self.application.next_at());
        let people = people.min(self.leases.next_at()).min(self.pressure.next_at()).min(self.recorder.next_at());
        let outside =
            Micros(people.0.checked_next_multiple_of(self.beat.0).unwrap_or(u64::MAX)).min(self.network.next_at());
        let on_the_way = [self.sent.next_at(), self.arriving.next_at()].into_iter().flatten().min().unwrap_or(NEVER);
        outside.min(on_the_way).min(self.watch.looks_at)
    }

    /// The simulation is over.
    pub(super) fn hang_up(&mut self, now: Micros) {
        self.arriving.put(now, Input::SessionEnd);
    }

    /// What became of everything outside.
    pub(super) fn outside(&self) -> Ended {
        Ended {
            fenced_frames: self.network.fenced_frames(),
            stale_writes: self.leases.gate.refused_writes(),
            repeated_samples: self.network.repeated_samples(),
        }
    }

    pub(super) fn load(&self) -> Load {
        Load {
            scheduled: self.sent.len() + self.arriving.len() + self.held_back.len(),
            running: self.providers.running(),
            bridged: self.network.bridged(),
            max_bridged: MAX_BRIDGED_FRAMES,
        }
    }

    /// Offers to the core what comes in by now: as much as the door takes, the rest later. Says how much data it was.
    pub(super) fn offer_due(&mut self, now: Micros, batch: &mut Batch) -> usize {
        let mut room = self.door;
        for input in std::mem::take(&mut self.held_back) {
            self.offer(batch, &mut room, input);
        }
        self.act(now);
        let frame = self.spoken(now);
        while self.has_room(room)
            && let Some(input) = self.arriving.pop_until(now)
        {
            self.offer(batch, &mut room, input);
        }
        while self.has_room(room)
            && let Some(input) = self.sent.pop_until(now)
        {
            self.bring(now, input, batch, &mut room);
        }
        match frame {
            Some(frame) if self.has_room(room) => self.offer(batch, &mut room, frame),
            Some(frame) => drop(self.arriving.put(now, frame)),
            None => {}
        }
        self.door - room
    }

    fn has_room(&self, room: usize) -> bool {
        room > 0 && self.held_back.is_empty()
    }

    fn offer(&mut self, batch: &mut Batch, room: &mut usize, input: Input) {
        *room = room.saturating_sub(usize::from(input.lane() == Lane::Data));
        offer(batch, self.slot, input, &mut self.held_back);
    }

    /// Everybody outside does what they do by now.
    pub(super) fn act(&mut self, now: Micros) {
        self.network.deliver(now, &mut self.sent);
        self.caller.act(now, &mut self.acts);
        self.application.act(now, &mut self.acts);
        self.leases.act(now, &mut self.acts);
        self.pressure.act(now, &mut self.acts);
        self.recorder.act(now, &mut self.acts);
        self.network.act(now, &mut self.acts);
        for input in self.acts.drain(..) {
            self.arriving.put(now, input);
        }
    }

    /// The caller's frame that ends now, if it arrives now.
    pub(super) fn spoken(&mut self, now: Micros) -> Option<Input> {
        let frame = Input::CallerAudio(self.caller.frame(now)?);
        match self.network.passage_of_audio(now) {
            Passage::Now | Passage::Twice(_) => Some(frame),
            Passage::At(at) => {
                self.arriving.put(at, frame);
                None
            }
            Passage::Lost => None,
        }
    }

    /// Something that a peer sent: acknowledgements pass the network first.
    fn bring(&mut self, now: Micros, input: Input, batch: &mut Batch, room: &mut usize) {
        if let Input::Provider(id, _) = &input {
            self.providers.note_delivered(*id, &input);
        } else if matches!(input, Input::PlayoutAck(_)) {
            match self.network.passage_of_acknowledgement(now) {
                Passage::Now => {}
                Passage::Twice(again) => drop(self.arriving.put(again, input.clone())),
                Passage::At(at) => {
                    self.arriving.put(at, input);
                    return;
                }
                Passage::Lost => return,
            }
        }
        self.offer(batch, room, input);
    }

    /// What the core wrote in a tick: effects are performed, and the caller hears what they do. Says whether the
    /// session has ended.
    pub(super) fn perform(&mut self, now: Micros, records: &[Record], view: Option<&View>) -> bool {
        self.perform_first(now, records, view, usize::MAX)
    }

    /// As [`Self::perform`], of the first few effects alone: before the next one the worker was lost.
    pub(super) fn perform_first(
        &mut self,
        now: Micros,
        records: &[Record],
        view: Option<&View>,
        mut effects: usize,
    ) -> bool {
        self.providers.meaning.clone_from(self.caller.meaning());
        for record in records {
            self.pressure.note(record);
            match &record.entry {
                Entry::Effect(Effect::WakeAt { at }) => self.watch.wakes_at = self.watch.wakes_at.max(*at),
                Entry::Effect(_) if effects == 0 => {}
                Entry::Effect(effect) => {
                    effects -= 1;
                    self.sent.control_flow(now, effect);
                    self.perform_one(now, effect);
                }
                Entry::Signal(_, Signal::SessionEnded) => self.ended = true,
                Entry::Signal(_, Signal::LeaseMoved { epoch }) => {
                    self.leases.gate.move_to(*epoch);
                    self.pressure.on_lease(*epoch);
                }
                Entry::Signal(..) | Entry::Input(..) => {}
            }
        }
        for effect in std::mem::take(&mut self.again) {
            self.perform_one(now, &effect);
        }
        if let Some(view) = view {
            let answers = matches!(view.state, TurnState::Active | TurnState::Held);
            self.caller.notice(now, Agent { answers, speaks: view.is_playing });
            self.watch.note(now, records, view);
        }
        self.ended
    }

    pub(super) fn perform_one(&mut self, now: Micros, effect: &Effect) {
        match effect {
            Effect::Transmit { .. } | Effect::ClearTransport { .. } => {
                self.network.perform(now, effect, &mut self.sent);
            }
            Effect::Invoke { id, request, .. } => match self.pressure.dispatch(*id, request) {
                Some(refused) => drop(self.arriving.put(now + self.beat, refused)),
                None => {
                    let Ok(()) = self.providers.perform(now, effect, &mut self.sent);
                }
            },
            _ => {
                let Ok(()) = self.providers.perform(now, effect, &mut self.sent);
            }
        }
    }

    /// What an open turn is stuck with, if it is.
    pub(super) fn stuck(&mut self, now: Micros) -> Option<&'static str> {
        if now < self.watch.looks_at {
            return None;
        }
        self.watch.looks_at = now + WATCH_EVERY;
        let longer = |since: Option<Micros>, bound: Micros| since.is_some_and(|since| now.since(since) > bound);
        let load = self.load();
        if longer(self.watch.open_since, MAX_TURN) {
            Some("a turn has been open for five minutes")
        } else if longer(self.watch.held_since, MAX_HOLD) {
            Some("playout has been on hold for fifteen seconds")
        } else if self.watch.held_since.is_none()
            && now.since(self.watch.last_event) >= WATCH_EVERY
            && self.watch.wakes_at < now
            && (load.scheduled, load.running, load.bridged) == (0, 0, 0)
        {
            Some("a turn is open, and nothing is on its way that could end it")
        } else {
            None
        }
    }
}

impl TurnWatch {
    /// Nobody looks before this is over.
    pub(super) fn not_before(&mut self, now: Micros) {
        if self.looks_at <= now {
            self.looks_at = now + WATCH_EVERY;
        }
    }

    fn note(&mut self, now: Micros, records: &[Record], view: &View) {
        let is_audio = |record: &Record| matches!(record.entry, Entry::Input(_, Input::CallerAudio(_)));
        if !records.iter().all(is_audio) {
            self.last_event = now;
        }
        match view.state {
            TurnState::Active | TurnState::Held => {
                if self.open_since.is_none() {
                    self.open_since = Some(now);
                    self.looks_at = now + WATCH_EVERY;
                }
                let held = view.state == TurnState::Held;
                self.held_since = held.then(|| self.held_since.unwrap_or(now));
            }
            TurnState::Idle | TurnState::Opening | TurnState::Closed => {
                (self.open_since, self.held_since, self.looks_at) = (None, None, NEVER);
            }
        }
    }
}
