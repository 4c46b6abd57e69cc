//! A worker in virtual time: one core, its sessions as rows, and the loop that ticks it.
//!
//! A session behaves alone as it does among others: it draws from streams of its own, and inputs of one moment wait
//! until whatever the core wants to do at that moment is done. The one thing that could tell is a tick that all sessions
//! together have filled; so few of them share a core that this is next to impossible, and it is counted.

use std::collections::VecDeque;
use std::sync::Arc;

use rspp_engine::{Batch, Core, View};
use rspp_specs::limits::MAX_TICK_DATA_INPUTS;
use rspp_specs::meter::Overrun;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Input, Record};

use super::character::Pipeline;
use super::computing;
use super::fault::{Fault, Faults};
use super::loss::{LastTick, Loss};
use super::session::{Load, Session};

/// What is to be simulated.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many lines there are.
    pub sessions: u32,
    /// For how long, in virtual time.
    pub until: Micros,
    /// What may go wrong.
    pub faults: Faults,
    /// What the sessions run.
    pub pipelines: Vec<Pipeline>,
    /// This session alone, which behaves as it does among the others.
    pub only: Option<u32>,
}

/// Which call of which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// The session, from 0.
    pub session: u32,
    /// Its call, from 1.
    pub call: u32,
}

/// Who watches.
pub trait Watch {
    /// A call begins.
    fn on_begin(&mut self, which: Which, plan: &Arc<Plan>);

    /// What one tick wrote of a call, and how the call stands then.
    fn on_tick(&mut self, which: Which, records: &[Record], view: Option<&View>, load: Load);

    /// An open turn does not move, or a session does not end.
    fn on_stuck(&mut self, which: Which, at: Micros, what: &str);

    /// All sessions together have filled a tick, so what happens next in one may depend on the others.
    fn on_crowd(&mut self);

    /// Another worker has taken the call over from its log, which has so many records.
    fn on_takeover(&mut self, which: Which, records: usize);

    /// Another worker could not take the call over, or one that had lost it was heard.
    fn on_lost(&mut self, which: Which, at: Micros, what: String);

    /// A call has ended, so long after it began.
    fn on_end(&mut self, which: Which, lasted: Micros, ended: Ended);
}

/// What became of what a call sent to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Frames that the transport's own gate has stopped.
    pub fenced_frames: u64,
    /// Writes under another lease than the session's, which were not done.
    pub stale_writes: u64,
    /// Samples that the caller heard twice.
    pub repeated_samples: u64,
}

/// How long after its end a simulation waits for sessions to end.
const LAST_MOMENTS: Micros = Micros::from_ms(1_000);
/// Sessions of one core.
const MAX_SESSIONS: usize = 256;
/// Ticks at one moment, of which each session has but a few.
const MAX_TICKS_AT_ONE_MOMENT: u32 = 10_000;

impl Simulation {
    /// Runs all sessions, in as many cores one after the other as they need.
    pub fn run(&self, new_core: impl Fn() -> Core, watch: &mut impl Watch) {
        // Whose nodes never compute for long need no watch.
        let measured = self.faults.has(Fault::NodeFailure);
        let new_core = || if measured { new_core().measured(computing::meter()) } else { new_core() };
        let numbers = self.only.map_or(0..self.sessions, |only| only..only + 1);
        for first in numbers.clone().step_by(MAX_SESSIONS) {
            let of_this_core = numbers.clone().skip_while(|number| *number < first).take(MAX_SESSIONS);
            let sessions = of_this_core.map(|number| Session::new(self.seed, number, self.faults, &self.pipelines));
            let lost = self.faults.has(Fault::WorkerLoss);
            let losses = if lost { Loss::draw(self.seed, first / MAX_SESSIONS as u32) } else { Vec::new() };
            Worker::new(&new_core, sessions.collect(), losses, self.until).run(watch);
        }
    }
}

/// One core and its sessions; when it is lost, the next one.
struct Worker<'a> {
    new_core: &'a dyn Fn() -> Core,
    core: Core,
    losses: VecDeque<Loss>,
    /// There is no worker until the loss is taken over.
    down: Option<Loss>,
    /// A worker that has lost its sessions and does not know it.
    cut_off: Option<CutOff>,
    until: Micros,
    now: Micros,
    lines: Vec<Line>,
    /// When each line has something to do next. So few lines are looked through faster than a heap is kept.
    agenda: Vec<Micros>,
    /// By slot, the line that has it.
    line_of: Vec<usize>,
    batch: Batch,
    records: Vec<Record>,
    hung_up: bool,
}

struct Line {
    session: Session,
    /// What the tick has written of it.
    records: Vec<Record>,
    /// All that was written of it, as long as somebody may have to go on from there.
    log: Vec<Record>,
}

/// A worker that goes on without a lease.
struct CutOff {
    core: Core,
    until: Micros,
    /// By slot, the line and the call that had it.
    which: Vec<(usize, Which)>,
    records: Vec<Record>,
}

impl<'a> Worker<'a> {
    fn new(new_core: &'a dyn Fn() -> Core, sessions: Vec<Session>, losses: Vec<Loss>, until: Micros) -> Self {
        let line = |session| Line { session, records: Vec::new(), log: Vec::new() };
        let lines: Vec<Line> = sessions.into_iter().map(line).collect();
        let agenda = lines.iter().map(|line| line.session.next_at()).collect();
        Self {
            new_core,
            core: new_core(),
            losses: losses.into(),
            down: None,
            cut_off: None,
            until,
            now: Micros(0),
            lines,
            agenda,
            line_of: Vec::new(),
            batch: Batch::default(),
            records: Vec::new(),
            hung_up: false,
        }
    }

    /// Ticks until all calls are over.
    fn run(mut self, watch: &mut impl Watch) {
        let mut ticks_now = 0;
        while let Some(at) = self.next_at() {
            if at > self.until && !self.hung_up {
                self.hang_up();
                continue;
            }
            if at > self.until + LAST_MOMENTS || ticks_now > MAX_TICKS_AT_ONE_MOMENT {
                break;
            }
            let is_new = at > self.now;
            ticks_now = if is_new { 0 } else { ticks_now + 1 };
            self.now = at.max(self.now);
            self.tick_without_lease(watch);
            if self.is_down(watch) {
                continue;
            }
            // What the core wants to do at this moment comes before more inputs of the same moment, also if it is
            // another session's.
            if is_new || self.core.next_deadline(self.now).is_none_or(|at| at > self.now) {
                self.offer_due(watch);
            }
            self.core.tick(self.now, &mut self.batch, &mut self.records);
            self.hand_out();
            self.tell_overruns();
            if self.losses.front().is_some_and(|loss| loss.at <= self.now) {
                self.die(watch);
            } else {
                self.perform(watch);
            }
        }
        self.say_who_is_left(watch);
    }

    fn next_at(&self) -> Option<Micros> {
        let planned = self.agenda.iter().copied().min().filter(|at| *at < Micros(u64::MAX));
        let wanted = if self.down.is_some() { None } else { self.core.next_deadline(self.now) };
        let lost = self.down.map(|loss| loss.taken_over_at).or(self.losses.front().map(|loss| loss.at));
        let cut_off = self.cut_off.as_ref().and_then(|cut_off| cut_off.core.next_deadline(self.now));
        [planned, wanted, lost, cut_off].into_iter().flatten().min()
    }

    fn plan(&mut self, place: usize) {
        self.agenda[place] = self.lines[place].session.next_at();
    }

    fn hang_up(&mut self) {
        self.hung_up = true;
        for place in 0..self.lines.len() {
            if let Some(call) = &mut self.lines[place].session.call {
                call.hang_up(self.until);
            }
            self.plan(place);
        }
    }

    /// Every session whose time has come offers its inputs, and begins or is looked after.
    fn offer_due(&mut self, watch: &mut impl Watch) {
        let mut offered = 0;
        for place in 0..self.lines.len() {
            if self.agenda[place] <= self.now {
                offered += self.offer(place, watch);
                self.plan(place);
            }
        }
        if offered > MAX_TICK_DATA_INPUTS {
            watch.on_crowd();
        }
    }

    /// Says how much data was offered.
    fn offer(&mut self, place: usize, watch: &mut impl Watch) -> usize {
        let (now, session) = (self.now, &mut self.lines[place].session);
        if session.call.is_none() {
            let Some(slot) = self.core.reserve() else { return 0 };
            let open = session.begin(now, slot);
            let index = slot.0 as usize;
            self.line_of.resize(self.line_of.len().max(index + 1), place);
            self.line_of[index] = place;
            self.batch.push(slot, open).unwrap_or_else(|error| unreachable!("control always fits: {error}"));
        }
        let which = session.which();
        let Some(call) = &mut session.call else { return 0 };
        if let Some(what) = call.stuck(now) {
            watch.on_stuck(which, now, what);
        }
        call.offer_due(now, &mut self.batch)
    }

    /// Sorts what the tick wrote by session.
    fn hand_out(&mut self) {
        for record in self.records.drain(..) {
            let place = self.line_of[record.slot.0 as usize];
            self.lines[place].records.push(record);
        }
    }

    /// What nodes have computed for too long comes in next.
    fn tell_overruns(&mut self) {
        let mut overruns = Vec::new();
        self.core.hand_over_overruns(&mut overruns);
        for Overrun { slot, node, took } in overruns {
            let place = self.line_of[slot.0 as usize];
            if let Some(call) = &mut self.lines[place].session.call {
                call.arriving.put(self.now + call.beat, Input::NodeOverrun { node, took });
            }
            self.plan(place);
        }
    }

    fn perform(&mut self, watch: &mut impl Watch) {
        for (line, agenda) in self.lines.iter_mut().zip(&mut self.agenda) {
            let Some(first) = line.records.first() else { continue };
            let which = line.session.which();
            if first.tick == 1 {
                line.log.clear();
                watch.on_begin(which, line.session.plan());
            }
            if !self.losses.is_empty() {
                line.log.extend_from_slice(&line.records);
            }
            if let Some(call) = &mut line.session.call {
                let view = self.core.view(call.slot);
                let ended = call.perform(self.now, &line.records, view.as_ref());
                watch.on_tick(which, &line.records, view.as_ref(), call.load());
                if ended && let Some(call) = line.session.end(self.now, self.until) {
                    watch.on_end(which, self.now.since(call.began), call.outside());
                }
            }
            line.records.clear();
            *agenda = line.session.next_at();
        }
    }

    /// The worker dies with the tick that it has just computed: of each session that took part, the tick was not written,
    /// or it was, and some of its effects were performed.
    fn die(&mut self, watch: &mut impl Watch) {
        let Some(loss) = self.losses.pop_front() else { return };
        for line in &mut self.lines {
            let (which, plan) = (line.session.which(), Arc::clone(line.session.plan()));
            let Some(call) = &mut line.session.call else { continue };
            if let Some(first) = line.records.first() {
                let begins = first.tick == 1;
                // A session of which nothing is written has never begun.
                let last = if begins { LastTick::Performed(usize::MAX) } else { call.draw_last_tick(&line.records) };
                if let LastTick::Performed(effects) = last {
                    if begins {
                        line.log.clear();
                        watch.on_begin(which, &plan);
                    }
                    line.log.extend_from_slice(&line.records);
                    let view = self.core.view(call.slot);
                    let ended = call.perform_first(self.now, &line.records, view.as_ref(), effects);
                    watch.on_tick(which, &line.records, view.as_ref(), call.load());
                    if ended && let Some(call) = line.session.end(self.now, self.until) {
                        watch.on_end(which, self.now.since(call.began), call.outside());
                    }
                }
                line.records.clear();
            }
            if let Some(call) = &mut line.session.call {
                call.lose_worker(loss.lingers_until.is_some());
            }
        }
        let dead = std::mem::replace(&mut self.core, (self.new_core)());
        self.cut_off = loss.lingers_until.map(|until| self.linger(dead, until));
        self.down = Some(loss);
        self.batch = Batch::default();
        for place in 0..self.lines.len() {
            self.plan(place);
        }
    }

    fn linger(&self, core: Core, until: Micros) -> CutOff {
        let which = self.line_of.iter().map(|place| (*place, self.lines[*place].session.which())).collect();
        CutOff { core, until, which, records: Vec::new() }
    }

    /// Whether there is no worker. When the time has come, the next one takes over.
    fn is_down(&mut self, watch: &mut impl Watch) -> bool {
        let Some(loss) = self.down else { return false };
        if self.now < loss.taken_over_at {
            for place in 0..self.lines.len() {
                if self.agenda[place] <= self.now {
                    let session = &mut self.lines[place].session;
                    match &mut session.call {
                        Some(call) => call.wait_out(self.now),
                        None => session.call_later(loss.taken_over_at),
                    }
                    self.plan(place);
                }
            }
            return true;
        }
        self.down = None;
        self.take_over(watch);
        true
    }

    /// Another worker goes on with every session, from its log.
    fn take_over(&mut self, watch: &mut impl Watch) {
        for place in 0..self.lines.len() {
            let line = &mut self.lines[place];
            let which = line.session.which();
            let Some(call) = &mut line.session.call else { continue };
            match call.take_over(self.now, &mut self.core, &line.log) {
                Ok(input) => {
                    let index = call.slot.0 as usize;
                    self.line_of.resize(self.line_of.len().max(index + 1), place);
                    self.line_of[index] = place;
                    self.batch.push(call.slot, input).unwrap_or_else(|error| unreachable!("control fits: {error}"));
                    watch.on_takeover(which, line.log.len());
                }
                Err(error) => watch.on_lost(which, self.now, error.to_string()),
            }
            self.plan(place);
        }
        self.core.tick(self.now, &mut self.batch, &mut self.records);
        self.hand_out();
        self.perform(watch);
    }

    /// A worker that is cut off does what it thinks that it has to do, for a while; nobody may hear it.
    fn tick_without_lease(&mut self, watch: &mut impl Watch) {
        let Some(cut_off) = &mut self.cut_off else { return };
        if self.now > cut_off.until {
            self.cut_off = None;
            return;
        }
        if cut_off.core.next_deadline(self.now).is_none_or(|at| at > self.now) {
            return;
        }
        cut_off.core.tick(self.now, &mut Batch::default(), &mut cut_off.records);
        cut_off.records.sort_by_key(|record| record.slot);
        for records in cut_off.records.chunk_by(|a, b| a.slot == b.slot) {
            let slot = records[0].slot;
            let (place, which) = cut_off.which[slot.0 as usize];
            let line = &mut self.lines[place].session;
            let Some(view) = cut_off.core.view(slot).filter(|_| line.which() == which) else { continue };
            if line.call.as_mut().is_some_and(|call| call.refuse(self.now, records, view.epoch)) {
                watch.on_lost(which, self.now, "a worker that had lost the session was heard".to_owned());
            }
            self.agenda[place] = self.lines[place].session.next_at();
        }
        cut_off.records.clear();
    }

    fn say_who_is_left(self, watch: &mut impl Watch) {
        for line in self.lines.iter().filter(|line| line.session.call.is_some()) {
            watch.on_stuck(line.session.which(), self.now, "the session does not end");
        }
    }
}
