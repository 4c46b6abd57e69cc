//! Who may write a session: leases of workers, and epochs of sessions (`F-095`, `F-156`).
//!
//! A worker renews one lease. A session is *held* by a worker under an epoch, which is a number that nobody had before and
//! everybody later exceeds. What keeps two workers from writing one session is the epoch, and not a clock:
//!
//! - A session is given to another worker only when the lease of the one that has it is *over*: lapsed and buried, revoked, or
//!   replaced by a later incarnation of the same worker. Burying is written in the transaction that gives the session away, so
//!   a lease that somebody acted upon is never renewed.
//! - The new holder moves the gates at the session's ends (its log, its client) to its epoch before it begins. Whoever has an
//!   earlier one is refused there, however late it wakes.
//!
//! Time only decides how soon: [`Terms::slack_ms`] is what clocks may drift apart in one term, and within it two workers do not
//! even believe in the same session. A control plane that was away counts nobody as lapsed before it has listened for a whole
//! term. `tests/lease_model.rs` explores these very functions.

use rspp_specs::ids::LeaseEpoch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{StoreError, Transaction};
use crate::time::Millis;

/// What leases are granted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    /// For how long, from when the worker asked.
    pub ttl_ms: u64,
    /// How much later the control plane counts it as lapsed.
    pub slack_ms: u64,
}

impl Terms {
    /// A worker asks again after so long: well before half of the term.
    pub fn renew_after_ms(self) -> u64 {
        self.ttl_ms / 3
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self { ttl_ms: 1_200, slack_ms: 200 }
    }
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It takes sessions.
    Live,
    /// It takes no more.
    Draining,
    /// It has no lease any more: what it held is given to others.
    Over,
}

impl Standing {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Live => "live",
            Standing::Draining => "draining",
            Standing::Over => "over",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none: somebody altered the store.
    pub fn named(name: &str) -> Result<Self, StoreError> {
        let all = [Standing::Live, Standing::Draining, Standing::Over];
        all.into_iter()
            .find(|standing| standing.name() == name)
            .ok_or_else(|| StoreError::Damaged(format!("a worker stands as {name:?}")))
    }
}

/// A worker's lease, as the control plane has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Which of the processes that had the worker's name.
    pub incarnation: u64,
    /// Until when it is granted.
    pub expires_at: Millis,
    /// How the worker stands.
    pub standing: Standing,
}

/// A worker has no lease any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's lease is over: it stops what it does, and registers again")]
pub struct LeaseOver;

/// A worker begins: whoever had its name before has no lease any more.
pub fn begin(current: Option<&Lease>, now: Millis, terms: Terms) -> Lease {
    let incarnation = current.map_or(0, |lease| lease.incarnation) + 1;
    Lease { incarnation, expires_at: now.plus(terms.ttl_ms), standing: Standing::Live }
}

/// A worker asks for another term. One that has lapsed and was not buried goes on.
///
/// # Errors
/// It was buried, revoked, or replaced.
pub fn renew(current: Option<&Lease>, incarnation: u64, now: Millis, terms: Terms) -> Result<Lease, LeaseOver> {
    let lease = current.filter(|lease| lease.incarnation == incarnation && lease.standing != Standing::Over);
    let lease = lease.ok_or(LeaseOver)?;
    Ok(Lease { expires_at: lease.expires_at.max(now.plus(terms.ttl_ms)), ..*lease })
}

/// Whether nothing was heard for so long that the worker may be taken for dead. `listening_since` is when this control plane
/// began to listen.
pub fn has_lapsed(lease: &Lease, now: Millis, listening_since: Millis, terms: Terms) -> bool {
    let due = lease.expires_at.max(listening_since.plus(terms.ttl_ms)).plus(terms.slack_ms);
    lease.standing == Standing::Over || now > due
}

/// Who holds a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The worker.
    pub worker: String,
    /// Which of those that had its name.
    pub incarnation: u64,
    /// Under which epoch it writes.
    pub epoch: LeaseEpoch,
}

/// Somebody holds the session, and may be alive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is with {worker}, which has its lease: drain or revoke the worker, or wait")]
pub struct Held {
    /// Who.
    pub worker: String,
}

/// Whether a session has no holder: nobody has it, or the one that has it has no lease.
pub fn is_free(holding: Option<&Holding>, lease: Option<&Lease>) -> bool {
    holding.is_none_or(|holding| {
        lease.is_none_or(|lease| lease.standing == Standing::Over || lease.incarnation != holding.incarnation)
    })
}

/// Gives a session to a worker. `newest` is the highest epoch that was ever given out.
///
/// # Errors
/// Its holder has a lease.
pub fn give(
    holding: Option<&Holding>,
    lease: Option<&Lease>,
    to: (&str, u64),
    newest: LeaseEpoch,
) -> Result<Holding, Held> {
    match holding {
        Some(holding) if !is_free(Some(holding), lease) => Err(Held { worker: holding.worker.clone() }),
        _ => Ok(Holding { worker: to.0.to_owned(), incarnation: to.1, epoch: LeaseEpoch(newest.0 + 1) }),
    }
}

/// The worker's own side: what it knows of its lease, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tenure {
    /// Which of those that had its name it is.
    pub incarnation: u64,
    /// When it sent what was granted last, by its own clock: the term can't have begun later.
    pub asked_at: Millis,
    /// Whether it was told that its lease is over.
    pub is_over: bool,
}

impl Tenure {
    /// What was asked for at this time is granted.
    pub fn begin(incarnation: u64, asked_at: Millis) -> Self {
        Self { incarnation, asked_at, is_over: false }
    }

    /// What was asked for at this time is granted. An answer that was overtaken changes nothing.
    pub fn on_renewed(&mut self, asked_at: Millis) {
        self.asked_at = self.asked_at.max(asked_at);
    }

    /// It is over, and never comes back.
    pub fn on_over(&mut self) {
        self.is_over = true;
    }

    /// Whether it is time to ask again.
    pub fn wants_renewal(&self, now: Millis, terms: Terms) -> bool {
        !self.is_over && now.since(self.asked_at) >= terms.renew_after_ms()
    }

    /// Whether the worker can believe that it holds what it held.
    pub fn holds(&self, now: Millis, terms: Terms) -> bool {
        !self.is_over && now.since(self.asked_at) < terms.ttl_ms
    }
}

/// The next epoch that nobody had.
pub(crate) fn newest_epoch(rows: &mut dyn Transaction) -> Result<LeaseEpoch, StoreError> {
    let found = rows.query("SELECT value FROM counters WHERE name = 'epoch'", &[])?;
    found.first().map_or(Ok(LeaseEpoch(0)), |row| row.integer(0).map(LeaseEpoch))
}

/// An epoch was given out.
pub(crate) fn keep_epoch(rows: &mut dyn Transaction, epoch: LeaseEpoch) -> Result<(), StoreError> {
    let sql = "INSERT INTO counters (name, value) VALUES ('epoch', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    rows.execute(sql, &[epoch.0.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { ttl_ms: 900, slack_ms: 100 };

    fn lease(incarnation: u64, expires_at: u64, standing: Standing) -> Lease {
        Lease { incarnation, expires_at: Millis(expires_at), standing }
    }

    #[test]
    fn a_worker_renews_well_before_half_of_its_term() {
        let tenure = Tenure::begin(1, Millis(1_000));
        let check = |at: u64, wants: bool, holds: bool| {
            let now = Millis(at);
            assert_eq!((tenure.wants_renewal(now, TERMS), tenure.holds(now, TERMS)), (wants, holds), "at {at}");
        };
        check(1_000, false, true);
        check(1_300, true, true);
        check(1_899, true, true);
        check(1_900, true, false);
        assert!(TERMS.renew_after_ms() < TERMS.ttl_ms / 2);
    }

    #[test]
    fn renewing_is_for_who_has_a_lease() {
        let check = |current: Option<Lease>, incarnation: u64, expected: Result<u64, LeaseOver>| {
            let renewed = renew(current.as_ref(), incarnation, Millis(2_000), TERMS);
            assert_eq!(renewed.map(|lease| lease.expires_at.0), expected, "{current:?}");
        };
        check(None, 1, Err(LeaseOver));
        check(Some(lease(1, 1_000, Standing::Live)), 1, Ok(2_900));
        check(Some(lease(1, 9_000, Standing::Live)), 1, Ok(9_000));
        check(Some(lease(1, 1_000, Standing::Draining)), 1, Ok(2_900));
        check(Some(lease(1, 9_000, Standing::Over)), 1, Err(LeaseOver));
        check(Some(lease(2, 9_000, Standing::Live)), 1, Err(LeaseOver));
    }

    #[test]
    fn nobody_is_dead_before_the_control_plane_has_listened() {
        let live = lease(1, 1_000, Standing::Live);
        let check = |now: u64, since: u64, expected: bool| {
            assert_eq!(has_lapsed(&live, Millis(now), Millis(since), TERMS), expected, "at {now}, since {since}");
        };
        check(1_100, 0, false);
        check(1_101, 0, true);
        check(60_000, 59_500, false);
        check(60_501, 59_500, true);
    }

    #[test]
    fn a_session_is_given_away_when_its_holder_has_no_lease() {
        let held = Holding { worker: "a".into(), incarnation: 1, epoch: LeaseEpoch(3) };
        let check = |holding: Option<&Holding>, lease: Option<Lease>, expected: Option<u64>| {
            let given = give(holding, lease.as_ref(), ("b", 7), LeaseEpoch(9));
            assert_eq!(given.ok().map(|holding| holding.epoch.0), expected, "{holding:?} {lease:?}");
        };
        check(None, None, Some(10));
        check(Some(&held), Some(lease(1, 0, Standing::Live)), None);
        check(Some(&held), Some(lease(1, 0, Standing::Draining)), None);
        check(Some(&held), Some(lease(1, 0, Standing::Over)), Some(10));
        check(Some(&held), Some(lease(2, 0, Standing::Live)), Some(10));
        check(Some(&held), None, Some(10));
    }
}
