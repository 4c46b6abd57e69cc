//! Whether one more session begins (`F-049`, `F-050`, `F-098`, `F-114`): by its customer's quota and rate, and by the room that
//! the fleet has. What can't begin now and may later is *deferred*, with when; what can't until somebody raises a limit is
//! *rejected*. Customers do not share what is counted here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{StoreError, Transaction};
use crate::time::Millis;

/// What a customer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// Sessions at the same time; none are taken where it is 0.
    pub sessions: u64,
    /// Sessions that begin in a minute.
    pub per_minute: u64,
}

/// What the fleet keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rules {
    /// What a customer may have for whom nothing is said.
    pub default_quota: Quota,
    /// So much of the room of all workers is kept free, for sessions that lose theirs.
    pub headroom_permille: u64,
    /// When a deferred session is worth another try, where nothing better is known.
    pub retry_after_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        let default_quota = Quota { sessions: 1_000, per_minute: 6_000 };
        Self { default_quota, headroom_permille: 100, retry_after_ms: 1_000 }
    }
}

/// What is left of a customer's minute, in thousandths of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What is left.
    pub left_milli: u64,
    /// When it was counted.
    pub counted_at: Millis,
}

/// How things are.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Sessions that the customer has.
    pub sessions: u64,
    /// What is left of its minute; all of it, where nothing is known.
    pub allowance: Option<Allowance>,
    /// Room on all workers.
    pub capacity: u64,
    /// What of it is taken.
    pub taken: u64,
}

/// What becomes of a session that wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It begins, and this is left.
    Admit(Allowance),
    /// It does not, for this reason.
    Reject(&'static str),
    /// Not now.
    Defer {
        /// Why.
        reason: &'static str,
        /// When it is worth another try.
        retry_after_ms: u64,
    },
}

const MINUTE_MS: u64 = 60_000;
const ONE_MILLI: u64 = 1_000;

/// Decides.
pub fn decide(quota: Quota, rules: &Rules, now: Situation, at: Millis) -> Decision {
    if quota.sessions == 0 || quota.per_minute == 0 {
        return Decision::Reject("the customer's quota is none: raise it");
    }
    if now.sessions >= quota.sessions {
        let reason = "the customer has as many sessions as its quota allows";
        return Decision::Defer { reason, retry_after_ms: rules.retry_after_ms };
    }
    let allowance = refilled(quota, now.allowance, at);
    if allowance.left_milli < ONE_MILLI {
        let missing = ONE_MILLI - allowance.left_milli;
        let retry_after_ms = (missing * MINUTE_MS).div_ceil(quota.per_minute * ONE_MILLI).max(1);
        return Decision::Defer { reason: "the customer began as many sessions in a minute as it may", retry_after_ms };
    }
    let free_after = now.capacity.saturating_sub(now.taken + 1);
    if now.taken >= now.capacity || free_after * 1_000 < now.capacity * rules.headroom_permille {
        let reason = "the workers have no more room than is kept for sessions that lose theirs";
        return Decision::Defer { reason, retry_after_ms: rules.retry_after_ms };
    }
    Decision::Admit(Allowance { left_milli: allowance.left_milli - ONE_MILLI, ..allowance })
}

/// A bucket that is full after a minute.
fn refilled(quota: Quota, allowance: Option<Allowance>, at: Millis) -> Allowance {
    let full = quota.per_minute * ONE_MILLI;
    let left_milli = allowance.map_or(full, |old| {
        let since = at.since(old.counted_at).min(MINUTE_MS);
        (old.left_milli + since * quota.per_minute * ONE_MILLI / MINUTE_MS).min(full)
    });
    // A clock that went back gives nothing, and takes nothing.
    Allowance { left_milli, counted_at: allowance.map_or(at, |old| old.counted_at.max(at)) }
}

/// A customer's quota, if it has one of its own.
pub(crate) fn quota(rows: &mut dyn Transaction, tenant: &str) -> Result<Option<Quota>, StoreError> {
    let found = rows.query("SELECT sessions, per_minute FROM quotas WHERE tenant = $1", &[tenant.into()])?;
    let read = |row: &crate::store::Row| Ok(Quota { sessions: row.integer(0)?, per_minute: row.integer(1)? });
    found.first().map(read).transpose()
}

/// All quotas, by customer.
pub(crate) fn quotas(rows: &mut dyn Transaction) -> Result<Vec<(String, Quota)>, StoreError> {
    let found = rows.query("SELECT tenant, sessions, per_minute FROM quotas ORDER BY tenant", &[])?;
    let read =
        |row: &crate::store::Row| Ok((row.text(0)?, Quota { sessions: row.integer(1)?, per_minute: row.integer(2)? }));
    found.iter().map(read).collect()
}

/// A customer has this quota from now on.
pub(crate) fn set_quota(rows: &mut dyn Transaction, tenant: &str, quota: Quota) -> Result<(), StoreError> {
    let sql = "INSERT INTO quotas (tenant, sessions, per_minute) VALUES ($1, $2, $3) \
               ON CONFLICT (tenant) DO UPDATE SET sessions = excluded.sessions, per_minute = excluded.per_minute";
    rows.execute(sql, &[tenant.into(), quota.sessions.into(), quota.per_minute.into()])?;
    Ok(())
}

/// What is left of a customer's minute.
pub(crate) fn allowance(rows: &mut dyn Transaction, tenant: &str) -> Result<Option<Allowance>, StoreError> {
    let found = rows.query("SELECT left_milli, counted_at FROM allowances WHERE tenant = $1", &[tenant.into()])?;
    let read =
        |row: &crate::store::Row| Ok(Allowance { left_milli: row.integer(0)?, counted_at: Millis(row.integer(1)?) });
    found.first().map(read).transpose()
}

/// This is left.
pub(crate) fn keep_allowance(rows: &mut dyn Transaction, tenant: &str, left: Allowance) -> Result<(), StoreError> {
    let sql = "INSERT INTO allowances (tenant, left_milli, counted_at) VALUES ($1, $2, $3) \
               ON CONFLICT (tenant) DO UPDATE SET left_milli = excluded.left_milli, counted_at = excluded.counted_at";
    rows.execute(sql, &[tenant.into(), left.left_milli.into(), left.counted_at.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { sessions: 5, per_minute: 60 };
    const NOW: Millis = Millis(100_000_000);

    fn check(quota: Quota, change: impl FnOnce(&mut Situation), expected: &str) {
        let mut situation = Situation { sessions: 0, allowance: None, capacity: 100, taken: 0 };
        change(&mut situation);
        let said = match decide(quota, &Rules::default(), situation, NOW) {
            Decision::Admit(left) => format!("admit, {} left", left.left_milli),
            Decision::Reject(_) => "reject".to_owned(),
            Decision::Defer { reason, retry_after_ms } => {
                format!("defer {retry_after_ms}: {}", reason.split_whitespace().nth(1).unwrap_or_default())
            }
        };
        assert_eq!(said, expected, "{quota:?} {situation:?}");
    }

    #[test]
    fn quotas_rates_and_room_decide_each_in_its_way() {
        let left = |left_milli: u64, ago: u64| {
            move |now: &mut Situation| {
                now.allowance = Some(Allowance { left_milli, counted_at: Millis(NOW.0 - ago) });
            }
        };
        check(QUOTA, |_| {}, "admit, 59000 left");
        check(QUOTA, |now| now.sessions = 4, "admit, 59000 left");
        check(QUOTA, |now| now.sessions = 5, "defer 1000: customer");
        check(Quota { sessions: 0, ..QUOTA }, |_| {}, "reject");
        check(QUOTA, left(0, 0), "defer 1000: customer");
        check(QUOTA, left(0, 400), "defer 600: customer");
        check(QUOTA, left(0, 1_000), "admit, 0 left");
        check(QUOTA, left(0, 9_000_000), "admit, 59000 left");
        check(QUOTA, |now| now.taken = 89, "admit, 59000 left");
        check(QUOTA, |now| now.taken = 90, "defer 1000: workers");
        check(QUOTA, |now| now.capacity = 0, "defer 1000: workers");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_twice() {
        let ahead = Allowance { left_milli: 0, counted_at: NOW.plus(60_000) };
        let refilled = refilled(QUOTA, Some(ahead), NOW);
        assert_eq!(refilled, ahead);
    }
}
