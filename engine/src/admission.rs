//! What stands between a proposal and a turn: the session's own state, the lease, the control plane's snapshot, the
//! quota (`F-049`, `F-050`, `F-101`, `F-156`).
//!
//! What admission decides opens nothing and ends nothing. A proposal that is deferred with a time waits, behind a bound,
//! and is tried again then, or as soon as a snapshot says that there is room; all others that do not pass are gone, and said
//! to be. What sessions share is counted outside, and comes in as an input; so a session replays alone.

use rspp_specs::admission::{AdmissionPoint, AdmissionSnapshot, Quota, Refusal, RejectReason};
use rspp_specs::ids::{InvocationId, RuntimeSequence};
use rspp_specs::limits::{MAX_PENDING_PROPOSALS, MAX_PROPOSAL_WAIT_MS};
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::Otherwise;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Derived, Input, Signal, TimerKey, TurnProposal};

use crate::session::{Desk, Known, Session};

impl Session {
    /// A snapshot came. One that is older than what is known changes nothing.
    pub(crate) fn on_admission(&mut self, desk: &mut Desk<'_>, snapshot: AdmissionSnapshot) {
        if self.admission.as_ref().is_none_or(|known| known.snapshot.version <= snapshot.version) {
            self.admission = Some(Box::new(Known { snapshot, at: desk.now }));
            if snapshot.quota == Quota::Available {
                self.try_deferred(desk);
            }
        }
    }

    /// A proposal comes in, and stands in front of the next tick; one too many is shed.
    pub(crate) fn propose(&mut self, desk: &mut Desk<'_>, proposal: TurnProposal) {
        let pending = self.derived.iter().filter(|derived| matches!(derived, Derived::TurnOpenProposed(_))).count();
        if pending < MAX_PENDING_PROPOSALS {
            self.derive(Derived::TurnOpenProposed(proposal));
        } else {
            let refusal = self.refusal(RejectReason::QueueFull, AdmissionPoint::Enqueue);
            self.say_here(desk, Signal::Shed(refusal));
        }
    }

    /// Proposals that wait are tried again, in their order.
    pub(crate) fn try_deferred(&mut self, desk: &mut Desk<'_>) {
        desk.timers.cancel(self.slot, TimerKey::Deferred);
        for proposal in std::mem::take(&mut self.deferred) {
            self.derive(Derived::TurnOpenProposed(proposal));
        }
    }

    /// A proposal does not pass: it waits if that may help, and is gone otherwise.
    pub(crate) fn turn_away(&mut self, desk: &mut Desk<'_>, obstacle: Signal, proposal: TurnProposal) {
        let Signal::Defer { refusal, retry_after: Some(after) } = &obstacle else {
            return self.say(desk, obstacle);
        };
        let since = proposal.waits_since.unwrap_or(desk.now);
        let given_up = if desk.now.since(since) >= Micros::from_ms(MAX_PROPOSAL_WAIT_MS) {
            Some(RejectReason::Expired)
        } else if self.deferred.len() == MAX_PENDING_PROPOSALS {
            Some(RejectReason::QueueFull)
        } else {
            None
        };
        if let Some(reason) = given_up {
            let refusal = self.refusal(reason, refusal.point);
            self.say_here(desk, Signal::Shed(refusal));
            return;
        }
        desk.timers.set(self.slot, TimerKey::Deferred, desk.now + *after);
        self.deferred.push_back(TurnProposal { waits_since: Some(since), ..proposal });
        self.say(desk, obstacle);
    }

    /// Why a turn can't open now, if it can't. The checks stand in their order: admission and snapshot, then authority.
    pub(crate) fn obstacle(&self, desk: &Desk<'_>, proposal: &TurnProposal) -> Option<Signal> {
        let point = if proposal.waits_since.is_some() { AdmissionPoint::Dequeue } else { AdmissionPoint::Enqueue };
        if self.deauthorized {
            return Some(Signal::DeauthorizedDrain);
        }
        if self.draining {
            return Some(Signal::Reject(self.refusal(RejectReason::Draining, point)));
        }
        if self.recording.lacks_evidence {
            return Some(Signal::Reject(self.refusal(RejectReason::RecordingUnavailable, point)));
        }
        if self.suspended {
            return Some(Signal::Defer { refusal: self.refusal(RejectReason::Suspended, point), retry_after: None });
        }
        self.check_snapshot(desk.now, point).or_else(|| self.check_lease())
    }

    fn check_snapshot(&self, now: Micros, point: AdmissionPoint) -> Option<Signal> {
        let policy = self.plan.admission();
        let undecided = |reason| {
            let refusal = self.refusal(reason, point);
            Some(match policy.otherwise {
                Otherwise::Defer => Signal::Defer { refusal, retry_after: None },
                Otherwise::Reject => Signal::Reject(refusal),
            })
        };
        let Some(Known { snapshot, at }) = self.admission.as_deref() else {
            return policy.snapshot_max_age.and_then(|_| undecided(RejectReason::SnapshotMissing));
        };
        if snapshot.form != AdmissionSnapshot::FORM {
            return undecided(RejectReason::SnapshotIncompatible);
        }
        if policy.snapshot_max_age.is_some_and(|age| now.since(*at) > age) {
            return undecided(RejectReason::SnapshotStale);
        }
        match snapshot.quota {
            Quota::Available => None,
            Quota::Deferred { retry_after } => {
                let refusal = self.refusal(RejectReason::NoQuota, point);
                Some(Signal::Defer { refusal, retry_after: Some(retry_after) })
            }
            Quota::Exhausted => Some(Signal::Reject(self.refusal(RejectReason::NoQuota, point))),
            Quota::Shedding => Some(Signal::Shed(self.refusal(RejectReason::NoCapacity, point))),
        }
    }

    /// The control plane knows a later lease than this worker has: somebody else may write this session by now.
    fn check_lease(&self) -> Option<Signal> {
        let known = self.admission.as_deref()?.snapshot.epoch;
        (known > self.epoch).then_some(Signal::StaleEpochReject { epoch: self.epoch, current: known })
    }

    pub(crate) fn refusal(&self, reason: RejectReason, point: AdmissionPoint) -> Refusal {
        Refusal { reason, point, fairness_key: self.fairness_key.clone() }
    }

    /// The worker had no room for an invocation. The provider is not to blame, and was not asked.
    pub(crate) fn on_dispatch_refused(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId) {
        let Some(row) = self.invocations.get(id).cloned() else {
            self.refuse(desk, &Input::DispatchRefused(id));
            return;
        };
        let refusal = self.refusal(RejectReason::NoCapacity, AdmissionPoint::Dispatch);
        self.say_here(desk, Signal::Shed(refusal));
        self.abandon_blamelessly(desk, cause, id, row, Outcome::Overload);
    }
}
