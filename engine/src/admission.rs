//! What stands between a proposal and a turn: the session's own state, the lease, the control plane's snapshot, the
//! quota (`F-049`, `F-101`, `F-156`).
//!
//! What admission decides opens nothing and ends nothing: a proposal that does not pass is gone, and said to be.

use rspp_specs::admission::{AdmissionSnapshot, Quota};
use rspp_specs::plan::Otherwise;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{RejectReason, Signal};

use crate::session::{Desk, Known, Session};

impl Session {
    /// A snapshot came. One that is older than what is known changes nothing.
    pub(crate) fn on_admission(&mut self, desk: &Desk<'_>, snapshot: AdmissionSnapshot) {
        if self.admission.as_ref().is_none_or(|known| known.snapshot.version <= snapshot.version) {
            self.admission = Some(Box::new(Known { snapshot, at: desk.now }));
        }
    }

    /// Why a turn can't open now, if it can't. The checks stand in their order: admission and snapshot, then authority.
    pub(crate) fn obstacle(&self, desk: &Desk<'_>) -> Option<Signal> {
        if self.deauthorized {
            return Some(Signal::DeauthorizedDrain);
        }
        if self.draining {
            return Some(Signal::Reject { reason: RejectReason::Draining });
        }
        if self.suspended {
            return Some(Signal::Defer { reason: RejectReason::Suspended, retry_after: None });
        }
        self.check_snapshot(desk.now).or_else(|| self.check_lease())
    }

    fn check_snapshot(&self, now: Micros) -> Option<Signal> {
        let policy = self.plan.admission();
        let undecided = |reason| {
            Some(match policy.otherwise {
                Otherwise::Defer => Signal::Defer { reason, retry_after: None },
                Otherwise::Reject => Signal::Reject { reason },
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
                Some(Signal::Defer { reason: RejectReason::NoQuota, retry_after: Some(retry_after) })
            }
            Quota::Exhausted => Some(Signal::Reject { reason: RejectReason::NoQuota }),
        }
    }

    /// The control plane knows a later lease than this worker has: somebody else may write this session by now.
    fn check_lease(&self) -> Option<Signal> {
        let known = self.admission.as_deref()?.snapshot.epoch;
        (known > self.epoch).then_some(Signal::StaleEpochReject { epoch: self.epoch, current: known })
    }
}
