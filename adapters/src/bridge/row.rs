//! A session, on its worker's side: whom it has asked, and whom it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossbeam_channel::Sender;
use rspp_specs::admission::ConnectionState;
use rspp_specs::event::{ProviderResult, Request};
use rspp_specs::ids::{InvocationId, Slot};
use rspp_specs::outcome::{AbortReason, Outcome};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, Entry, Input, Record, SessionOpen, Signal};
use tokio_util::sync::CancellationToken;

use super::outlet::{End, Outlet};
use super::pool::{Client, Running, Taken, unbound};
use super::seats::Seat;
use super::worker::Message;
use super::{Counts, Key, Opening, Pipeline, count};
use crate::admission::LocalAdmission;
use crate::doors::rspp::Tally;
use crate::drive::Schedule;
use crate::journal::{Past, ToldBefore};
use crate::provider::{Answer, Provider, ProviderError, Sink, Timed};
use crate::tools::CLIENT;
use crate::transport::{Asked, Audio, is_told};

/// One session.
pub(crate) struct Row {
    pub(crate) key: Key,
    /// Its account in the worker's books.
    account: Slot,
    /// Something of the tick that is being performed was its.
    pub(crate) is_touched: bool,
    /// Some of its data waits for the next tick, and what follows waits behind it.
    pub(crate) behind: bool,
    pub(crate) outlet: Arc<Outlet>,
    /// Something is in there of which nobody was told.
    has_spoken: bool,
    session: Arc<str>,
    pipeline: Pipeline,
    /// The version that it is to go on with, once it is at rest.
    pub(crate) next: Option<Pipeline>,
    /// When something was said last, by anybody.
    active_at: Micros,
    /// Since when its journal's part is begun; before that it has none.
    part_since: Option<Micros>,
    /// What its client was told.
    pub(crate) tally: Tally,
    /// With whom it shares what is scarce.
    fairness_key: Arc<str>,
    tells: bool,
    /// What providers that answer at once have answered, and nobody has taken yet.
    pub(crate) answered: Schedule,
    /// The worker knows that something of that waits.
    pub(crate) is_in_line: bool,
    at_once: BTreeMap<InvocationId, Box<dyn Provider>>,
    running: BTreeMap<InvocationId, Running>,
    /// What the caller's side was asked to do, and has not done.
    asked: BTreeSet<InvocationId>,
    /// Its peer does not read, and the core was told.
    stalled: bool,
    lost: bool,
    /// What it does is in no log: nothing of it leaves.
    is_mute: bool,
    ended: bool,
    /// Others can go on with it.
    is_kept: bool,
    /// Another worker has it: nothing of it is done here any more.
    pub(crate) is_elsewhere: bool,
    /// What another worker had begun, and goes on here.
    again: Vec<Effect>,
    /// Its place among all calls, until it is over.
    seat: Option<Seat>,
}

/// What a row needs of its worker.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Micros,
    pub(crate) inbox: &'a Sender<Message>,
    pub(crate) counts: &'a Counts,
    /// The worker's books.
    pub(crate) admission: &'a mut LocalAdmission,
    /// Inputs that follow from effects, for the next tick.
    pub(crate) follow: &'a mut Vec<(Key, Input)>,
}

/// A journal's part that is longer than this ends where the session rests next: whoever goes on with the session does again
/// what stands in it.
const PART: Micros = Micros::from_ms(15_000);
/// Nobody has said anything for so long: a caller who is about to speak may lose a syllable. Another version does not wait for
/// that: it has the next turn.
const QUIET: Micros = Micros::from_ms(500);

impl Row {
    pub(crate) fn new(key: Key, account: Slot, outlet: Arc<Outlet>, opening: &Opening, seat: Seat) -> Self {
        let Opening { session, fairness_key, pipeline, tells, .. } = opening;
        Self {
            key,
            account,
            is_touched: false,
            behind: false,
            outlet,
            has_spoken: false,
            session: Arc::clone(session),
            pipeline: pipeline.clone(),
            next: None,
            active_at: Micros(0),
            part_since: None,
            tally: Tally::default(),
            fairness_key: Arc::clone(fairness_key),
            tells: *tells,
            seat: Some(seat),
            answered: Schedule::default(),
            is_in_line: false,
            at_once: BTreeMap::new(),
            running: BTreeMap::new(),
            asked: BTreeSet::new(),
            stalled: false,
            lost: false,
            is_mute: false,
            ended: false,
            is_kept: false,
            is_elsewhere: false,
            again: Vec::new(),
        }
    }

    /// It is kept for others to go on with.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Whether it is, and others have not gone on with it.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept && !self.is_elsewhere
    }

    /// Others had it until now. What they began and did not end goes on here, once that it is here is written.
    pub(crate) fn come_from(&mut self, past: &Past, again: Vec<Effect>, admission: &mut LocalAdmission) {
        self.tally = Tally::from(past.told);
        for Record { at, entry, .. } in &past.records {
            admission.on_entry(self.account, entry);
            self.tally.count(entry);
            self.part_since.get_or_insert(*at);
        }
        self.again = again;
    }

    /// Its account in the worker's books.
    pub(crate) fn account(&self) -> Slot {
        self.account
    }

    /// Whether a part of its journal begins with this record, though it has one; and what its client had been told by then.
    pub(crate) fn begins_part(&mut self, first: &Record) -> Option<ToldBefore> {
        if !matches!(first.entry, Entry::Input(_, Input::SessionOpen(_))) {
            return None;
        }
        self.part_since.replace(first.at).map(|_| self.tally.told())
    }

    /// Whether it should begin afresh, if it is at rest.
    pub(crate) fn wants_renewal(&self, now: Micros) -> bool {
        let is_long = self.is_kept() && self.part_since.is_some_and(|since| now.since(since) > PART);
        let is_due = self.next.is_some() || is_long && now.since(self.active_at) >= QUIET;
        is_due && !self.is_elsewhere
    }

    /// With what it begins afresh; with the version that waits for it, if one does.
    pub(crate) fn go_on_afresh(&mut self) -> SessionOpen {
        if let Some(next) = self.next.take() {
            self.pipeline = next;
        }
        let fairness_key = Arc::clone(&self.fairness_key);
        SessionOpen { fairness_key, ..SessionOpen::new(Arc::clone(&self.session), Arc::clone(&self.pipeline.plan)) }
    }

    /// Does what a record of a tick wants done.
    pub(crate) fn perform(&mut self, record: Record, around: &mut Surroundings<'_>) {
        let Record { at, entry, .. } = record;
        self.note(&entry, around.counts);
        around.admission.on_entry(self.account, &entry);
        if self.is_mute || self.is_elsewhere {
            return;
        }
        let watches = self.seat.iter_mut().flat_map(|seat| &mut seat.watches);
        watches.for_each(|watch| watch.on(at, &entry));
        if is_told(&entry) || matches!(entry, Entry::Effect(Effect::Transmit { .. })) {
            self.active_at = at;
        }
        if self.tells && is_told(&entry) {
            self.outlet.push_told(at, entry.clone());
            self.has_spoken = true;
        }
        if let Entry::Effect(effect) = entry {
            self.do_effect(effect, around);
        }
    }

    /// A tick is performed: whoever listens is woken, once for all of it. Gives how the session ended, if it has.
    pub(crate) fn settle(&mut self, around: &mut Surroundings<'_>) -> Option<End> {
        self.is_touched = false;
        if !(self.is_elsewhere || self.is_mute) {
            std::mem::take(&mut self.again).into_iter().for_each(|effect| self.do_effect(effect, around));
        }
        if std::mem::take(&mut self.has_spoken) {
            self.outlet.wake();
        }
        self.ended.then_some(match (self.is_elsewhere, self.is_mute, self.lost) {
            (true, ..) => End::Moved,
            (_, true, _) => End::Unrecorded,
            (.., true) => End::Lost,
            _ => End::Done,
        })
    }

    /// Nothing of what it does leaves any more.
    pub(crate) fn mute(&mut self) {
        self.is_mute = true;
    }

    /// The session is over, for whatever reason.
    pub(crate) fn finish(&mut self, end: End) {
        for running in self.running.values().filter(|running| !running.outlives_session()) {
            running.cancel();
        }
        // Who hears that it is over finds its place free.
        drop(self.seat.take());
        self.outlet.push_end(end);
        self.outlet.wake();
    }

    fn note(&mut self, entry: &Entry, counts: &Counts) {
        match entry {
            Entry::Input(_, Input::Provider(id, ProviderResult::End(_))) => {
                self.asked.remove(id);
            }
            Entry::Signal(_, Signal::SessionEnded) => self.ended = true,
            Entry::Signal(_, Signal::SessionSuspended) => self.lost = true,
            Entry::Signal(_, Signal::SessionResumed) => self.lost = false,
            Entry::Signal(_, Signal::Abort { reason: AbortReason::TransportDisconnectOrStall }) => self.lost = true,
            Entry::Signal(_, Signal::TurnOpen { .. }) => count(&counts.turns),
            Entry::Signal(_, Signal::CancelAccepted { .. }) => count(&counts.cancels),
            Entry::Signal(None, Signal::Shed(_) | Signal::Defer { .. }) => count(&counts.turns_refused),
            Entry::Signal(_, Signal::ProviderError { .. }) => count(&counts.provider_errors),
            Entry::Signal(_, Signal::ConnectionEvent { state }) => self.stalled = *state == ConnectionState::Stalled,
            _ => {}
        }
    }

    fn do_effect(&mut self, effect: Effect, around: &mut Surroundings<'_>) {
        match effect {
            Effect::Transmit { turn, epoch, from_sample, frame } => {
                count(&around.counts.frames_out);
                self.has_spoken = true;
                let full = self.outlet.push_audio(Audio { turn, epoch, from_sample, frame }).is_err();
                if full && !std::mem::replace(&mut self.stalled, true) {
                    count(&around.counts.stalls);
                    around.follow.push((self.key, Input::Connection(ConnectionState::Stalled)));
                }
            }
            Effect::ClearTransport { turn, epoch } => {
                count(&around.counts.clears);
                self.has_spoken = true;
                self.outlet.push_clear(turn, epoch);
            }
            Effect::Invoke { id, binding, request } => match around.admission.dispatch(self.account, id, &request) {
                Some(refused) => self.refuse_dispatch(refused, around),
                None => self.invoke(id, &binding, &request, around),
            },
            Effect::Feed { id, frame } => {
                if let Some(running) = self.running.get(&id) {
                    let taken = running.feed(frame);
                    self.end_unless(taken, id);
                } else {
                    self.ask(id, around.now, |provider, answer| provider.feed(&frame, answer));
                }
            }
            Effect::FeedEnd { id } => {
                if let Some(running) = self.running.get(&id) {
                    let taken = running.feed_end();
                    self.end_unless(taken, id);
                } else {
                    self.ask(id, around.now, |provider, answer| provider.feed_end(answer));
                }
            }
            Effect::CancelInvocation { id } | Effect::EndInvocation { id } => self.cancel(id, around.now),
            Effect::PauseInvocation { id } | Effect::ResumeInvocation { id } | Effect::GrantCredit { id, .. } => {
                match self.running.get(&id) {
                    Some(running) => running.control_flow(&effect),
                    None => {
                        self.answered.control_flow(around.now, &effect);
                    }
                }
            }
            Effect::WakeAt { .. } => {}
        }
    }

    fn invoke(&mut self, id: InvocationId, binding: &Arc<str>, request: &Request, around: &mut Surroundings<'_>) {
        if let (Request::Tool(call), Some(what)) = (request, binding.strip_prefix(CLIENT)) {
            self.asked.insert(id);
            return self.outlet.push_asked(Asked { id, what: what.into(), call: call.clone() });
        }
        self.running.retain(|_, running| !running.is_over());
        let client = Client { session: self.key, key: &self.fairness_key, inbox: around.inbox };
        match self.pipeline.pool.invoke(&client, id, binding, request) {
            Taken::AtOnce(provider) => {
                self.at_once.insert(id, provider);
                self.ask(id, around.now, |provider, answer| provider.invoke(request, answer));
            }
            Taken::Running(running) => {
                self.running.insert(id, running);
            }
            Taken::Unbound => {
                for timed in unbound(request) {
                    self.answered.put(around.now, Input::Provider(id, timed.result));
                }
            }
            Taken::Refused => self.refuse_dispatch(Input::DispatchRefused(id), around),
        }
    }

    /// There is no room for an invocation: that is no provider's fault, and its session hears so.
    fn refuse_dispatch(&self, refused: Input, around: &mut Surroundings<'_>) {
        count(&around.counts.dispatches_refused);
        around.follow.push((self.key, refused));
    }

    fn end(&mut self, id: InvocationId, now: Micros, outcome: Outcome) {
        self.answered.put(now, Input::Provider(id, ProviderResult::End(outcome)));
    }

    /// A provider that is hopelessly behind is given up.
    fn end_unless(&mut self, taken: bool, id: InvocationId) {
        if !taken && let Some(running) = self.running.remove(&id) {
            running.cancel();
            self.end(id, Micros(0), Outcome::Overload);
        }
    }

    fn cancel(&mut self, id: InvocationId, now: Micros) {
        if let Some(running) = self.running.remove(&id) {
            running.cancel();
        }
        if self.at_once.remove(&id).is_some() || self.asked.remove(&id) {
            self.end(id, now, Outcome::Cancelled);
        }
    }

    /// Has a provider that answers at once do something.
    fn ask(
        &mut self,
        id: InvocationId,
        now: Micros,
        order: impl FnOnce(&mut dyn Provider, &mut Answer<'_>) -> Result<(), ProviderError>,
    ) {
        let Some(provider) = self.at_once.get_mut(&id) else { return };
        let never = CancellationToken::new();
        let mut sink = Answers { id, now, schedule: &mut self.answered, ended: false };
        let failed = order(provider.as_mut(), &mut Answer::new(&mut sink, &never)).is_err();
        let ended = sink.ended;
        if failed || ended {
            self.at_once.remove(&id);
        }
        if failed && !ended {
            self.end(id, now, Outcome::Failed);
        }
    }
}

/// Answers of a provider that answers at once.
struct Answers<'a> {
    id: InvocationId,
    now: Micros,
    schedule: &'a mut Schedule,
    ended: bool,
}

impl Sink for Answers<'_> {
    fn take(&mut self, timed: Timed) {
        self.ended |= matches!(timed.result, ProviderResult::End(_));
        self.schedule.put(self.now, Input::Provider(self.id, timed.result));
    }

    /// Who answers at once has nobody to fail.
    fn note(&mut self, _text: &str) {}
}
