//! A recorded caller calls again: another pipeline, or the same one with other providers, and everybody outside does what
//! the recording has of them.
//!
//! What a caller says does not change with what is answered, so a pipeline that is slower is spoken over, and a question
//! that the old answer gave rise to is asked all the same. That is what a counterfactual of a recorded call can be, and no
//! more. What a caller would not do is to hang up in the middle of an answer that takes longer than the old one: who
//! hung up when everything was said waits here until it is.

use std::sync::Arc;

use rspp_engine::{Core, View};
use rspp_specs::admission::{AdmissionSnapshot, Quota};
use rspp_specs::event::AudioFrame;
use rspp_specs::limits::FRAME_MS;
use rspp_specs::outcome::CancelScope;
use rspp_specs::plan::Plan;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{AckOccasion, Effect, Entry, Input, Record, SessionOpen, Signal};

use crate::call::{CallError, CallPeers, CallResult, CallerSide, MAX_TRAIL, Providers, is_at_rest};
use crate::drive::{Schedule, VirtualClock, run};
use crate::interrupt::Interrupt;
use crate::transport::TransportTimes;

/// What becomes of decisions that came from outside of the recorded session: quotas, refusals, leases, what others had found
/// out about providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decisions {
    /// They come in again, as they were recorded.
    Recorded,
    /// They are made anew: here is one session, there is room for it, and nobody else has found anything out.
    Recompute,
}

/// Whoever stood outside of a recorded session.
#[derive(Clone, Debug)]
pub struct Outside {
    open: SessionOpen,
    /// By time, in the order in which it came in.
    inputs: Vec<(Micros, Input)>,
    hangs_up: HangsUp,
    times: TransportTimes,
}

/// When the recorded caller hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HangsUp {
    /// Then, whatever happens.
    At(Micros),
    /// When everything is said, and not before.
    AtRest(Micros),
}

impl Outside {
    /// Of a session's records; `None` where it does not begin with a session.
    pub fn of(records: &[Record], decisions: Decisions) -> Option<Self> {
        let open = records.iter().find_map(|record| match &record.entry {
            Entry::Input(_, Input::SessionOpen(open)) => Some(open.as_ref().clone()),
            _ => None,
        })?;
        let came_in = records.iter().filter_map(|record| match &record.entry {
            Entry::Input(_, input) => Some((record.at, again(input, decisions)?)),
            _ => None,
        });
        let until = records.last().map_or(Micros(0), |record| record.at);
        let ended = records.iter().find(|record| matches!(record.entry, Entry::Input(_, Input::SessionEnd)));
        let end = ended.map_or(until, |record| record.at);
        let hangs_up = if ended.is_some() && !all_was_said(records) { HangsUp::At(end) } else { HangsUp::AtRest(end) };
        Some(Self { open, inputs: came_in.collect(), hangs_up, times: transport_times(records) })
    }

    /// The plan of the recorded session.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.open.plan
    }

    /// The session's name.
    pub fn session(&self) -> &str {
        &self.open.session
    }

    /// The times of the transport, as far as the recording shows them.
    pub fn transport(&self) -> TransportTimes {
        self.times
    }

    /// Calls again. `on_tick` sees what each tick wrote.
    ///
    /// # Errors
    /// A provider that is of no use any more.
    pub fn call(
        self,
        core: &mut Core,
        plan: &Arc<Plan>,
        providers: Providers,
        interrupt: &Interrupt,
        on_tick: impl FnMut(&[Record], Option<&View>),
    ) -> Result<CallResult, CallError> {
        let slot = core.reserve().ok_or(CallError::Full)?;
        let mut schedule = Schedule::default();
        let open = SessionOpen { plan: Arc::clone(plan), ..self.open.clone() };
        let inputs = of_this_plan(&self.inputs, &self.open.plan, plan);
        schedule.put(Micros(0), Input::SessionOpen(Box::new(open)));
        let caller = Caller::new(inputs, self.hangs_up, interrupt.clone());
        let mut peers = CallPeers::waiting(caller, self.times, providers, interrupt.over().clone());
        let until = Micros(u64::MAX);
        run(core, slot, &mut schedule, &mut peers, &mut VirtualClock::default(), until, on_tick)?;
        Ok(peers.left())
    }
}

/// What comes in again: from whoever stood outside, and neither from a provider nor from the transport, which answer anew.
fn again(input: &Input, decisions: Decisions) -> Option<Input> {
    match input {
        Input::SessionOpen(_) | Input::SessionEnd | Input::Provider(..) | Input::PlayoutAck(_) => None,
        Input::Derived(_) | Input::Timer(_) => None,
        // Who waits for the word of admission has it, as often as then.
        Input::Admission(snapshot) if decisions == Decisions::Recompute => {
            let free = AdmissionSnapshot { form: AdmissionSnapshot::FORM, quota: Quota::Available, ..*snapshot };
            Some(Input::Admission(free))
        }
        Input::ProviderHealth { .. }
        | Input::DispatchRefused(_)
        | Input::NodeOverrun { .. }
        | Input::LeaseRotated(_)
        | Input::StaleEpoch { .. }
        | Input::AuthorityRevoked
        | Input::Takeover(_)
            if decisions == Decisions::Recompute =>
        {
            None
        }
        input => Some(input.clone()),
    }
}

/// Numbers of invocations and of nodes mean something under the plan alone under which they were recorded.
fn of_this_plan(inputs: &[(Micros, Input)], recorded: &Plan, plan: &Plan) -> Vec<(Micros, Input)> {
    let same = recorded.hash() == plan.hash();
    let means_something = |input: &Input| match input {
        Input::DispatchRefused(_) | Input::NodeOverrun { .. } => same,
        Input::Cancel(cancellation) => {
            same || !matches!(cancellation.of, CancelScope::Invocation(_) | CancelScope::Node(_))
        }
        _ => true,
    };
    inputs.iter().filter(|(_, input)| means_something(input)).cloned().collect()
}

/// Whether no turn was open and nothing was playing when the session was ended.
fn all_was_said(records: &[Record]) -> bool {
    let (mut open, mut playing) = (false, false);
    for record in records {
        match &record.entry {
            Entry::Input(_, Input::SessionEnd) => break,
            Entry::Signal(_, Signal::TurnOpen { .. }) => open = true,
            Entry::Signal(_, Signal::Close) => open = false,
            Entry::Signal(_, Signal::OutputAccepted) => playing = true,
            Entry::Signal(_, Signal::PlaybackCompleted { .. } | Signal::PlaybackCancelled { .. }) => playing = false,
            _ => {}
        }
    }
    !open && !playing
}

/// From what a recording shows: how long after a frame playing begins, how long after that it is told, and how long a
/// clear takes to be told.
fn transport_times(records: &[Record]) -> TransportTimes {
    let (mut first, mut cleared, mut sent) = (None, None, false);
    let (mut started, mut cut, mut clear_ack) = (None, None, None);
    for record in records {
        match &record.entry {
            Entry::Effect(Effect::Transmit { turn, frame, from_sample: 0, .. }) => {
                first = Some((*turn, record.at, frame.rate_hz));
                sent = true;
            }
            Entry::Effect(Effect::ClearTransport { turn, .. }) => cleared = Some((*turn, record.at)),
            Entry::Input(_, Input::PlayoutAck(ack)) => match (ack.occasion, first, cleared) {
                (AckOccasion::Started, Some((turn, at, _)), _) if turn == ack.turn => {
                    started.get_or_insert(record.at.since(at));
                }
                (AckOccasion::Cleared, first, Some((turn, at))) if turn == ack.turn => {
                    clear_ack.get_or_insert(record.at.since(at));
                    if let Some((_, began, rate_hz)) = first.filter(|(of, ..)| *of == turn) {
                        let heard = Micros::of_samples(ack.heard_samples, rate_hz);
                        cut.get_or_insert(at.since(began).since(heard));
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    let Some(started) = started else { return TransportTimes { silent: sent, ..TransportTimes::WAV } };
    let plays = cut.unwrap_or(started).min(started);
    TransportTimes {
        plays_after_ms: plays.as_ms(),
        ack_after_ms: started.since(plays).as_ms(),
        clear_ack_after_ms: clear_ack.unwrap_or(started.since(plays)).as_ms(),
        silent: false,
    }
}

/// The recorded caller.
struct Caller {
    inputs: Vec<(Micros, Input)>,
    next: usize,
    /// When the last that was put comes in.
    put_until: Option<Micros>,
    hangs_up: HangsUp,
    /// How this caller is silent; none for one of whom there is no audio.
    silence: Option<AudioFrame>,
    /// Silent frames behind what was recorded.
    trail: u64,
    ended: bool,
    interrupt: Interrupt,
}

impl Caller {
    fn new(inputs: Vec<(Micros, Input)>, hangs_up: HangsUp, interrupt: Interrupt) -> Self {
        let silence = inputs.iter().rev().find_map(|(_, input)| match input {
            Input::CallerAudio(frame) => Some(silent(frame.rate_hz)),
            _ => None,
        });
        Self { inputs, next: 0, put_until: None, hangs_up, silence, trail: 0, ended: false, interrupt }
    }

    fn end(&mut self, at: Micros, schedule: &mut Schedule) {
        self.ended = true;
        schedule.put(at, Input::SessionEnd);
    }

    /// Everything of the next moment.
    fn put_next(&mut self, schedule: &mut Schedule) {
        let Some((at, _)) = self.inputs.get(self.next) else { return };
        let at = *at;
        while let Some((_, input)) = self.inputs.get(self.next).filter(|(of, _)| *of == at) {
            schedule.put(at, input.clone());
            self.next += 1;
        }
        self.put_until = Some(at);
    }

    /// Nothing more is recorded: the caller hangs up, or waits in silence until everything is said.
    fn wait_or_hang_up(&mut self, now: Micros, view: &View, schedule: &mut Schedule) {
        let end = match self.hangs_up {
            HangsUp::At(end) => return self.end(end.max(now), schedule),
            HangsUp::AtRest(end) => end,
        };
        if is_at_rest(view) || now.since(end) >= MAX_TRAIL {
            self.end(end.max(now), schedule);
        } else if let Some(silence) = &self.silence {
            let at = self.put_until.unwrap_or(now).max(now) + Micros::from_ms(FRAME_MS);
            schedule.put(at, Input::CallerAudio(silence.clone()));
            self.put_until = Some(at);
            self.trail += 1;
        }
    }
}

fn silent(rate_hz: u32) -> AudioFrame {
    let samples = vec![0; (u64::from(rate_hz) * FRAME_MS / 1_000) as usize];
    AudioFrame { samples: samples.into(), rate_hz, spoken_by: None }
}

impl CallerSide for Caller {
    fn go_on(&mut self, now: Micros, view: &View, schedule: &mut Schedule) {
        if self.ended || self.put_until.is_some_and(|at| now < at) {
            return;
        }
        if self.interrupt.is_raised() {
            return self.end(now, schedule);
        }
        let next = self.inputs.get(self.next).map(|(at, _)| *at);
        match (next, self.hangs_up) {
            (Some(at), HangsUp::At(end)) if at > end => self.end(end.max(now), schedule),
            (Some(_), _) => self.put_next(schedule),
            (None, _) => self.wait_or_hang_up(now, view, schedule),
        }
    }

    fn samples(&self) -> Vec<i16> {
        caller_samples(self.inputs[..self.next].iter().filter_map(|(at, input)| match input {
            Input::CallerAudio(frame) => Some((*at, frame)),
            _ => None,
        }))
    }
}

/// A caller's frames, each where it was spoken.
pub fn caller_samples<'a>(frames: impl Iterator<Item = (Micros, &'a AudioFrame)>) -> Vec<i16> {
    let mut samples: Vec<i16> = Vec::new();
    for (at, frame) in frames {
        let start = at.since(frame.duration()).to_samples(frame.rate_hz) as usize;
        let end = start + frame.samples.len();
        if samples.len() < end {
            samples.resize(end, 0);
        }
        samples[start..end].copy_from_slice(&frame.samples);
    }
    samples
}
