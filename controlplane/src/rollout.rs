//! Which version a caller gets (`F-093`, `F-100`, `F-102`).
//!
//! A rollout is of one document: a pipeline, a policy, a provider's configuration; each goes forward and back on its own. Who gets
//! the new version follows from the session's key alone: the same key always falls into the same of ten thousand shares, so a
//! session that has the new version at 10 % has it at 50 %, and asking twice is answered alike, by whichever control plane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// Shares of all session keys.
pub const SHARES: u32 = 10_000;
/// Customers that one rollout names.
pub const MAX_TENANTS: usize = 1_000;

/// What is given to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// What everybody else gets, by digest.
    pub stable: String,
    /// What is tried.
    pub canary: Option<Canary>,
}

/// A version that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canary {
    /// Which, by digest.
    pub digest: String,
    /// How many of ten thousand session keys have it.
    pub shares: u32,
    /// These customers have it, whatever their share.
    pub tenants: Vec<String>,
}

/// What is done to a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A version is given to some; to all, where there was none before.
    Begin {
        /// Which, by digest.
        digest: String,
        /// To how many of a hundred.
        percent: f64,
        /// And to these customers.
        #[serde(default)]
        tenants: Vec<String>,
    },
    /// The version that is tried is given to more, or to fewer.
    Widen {
        /// To how many of a hundred.
        percent: f64,
    },
    /// Everybody gets the version that is tried.
    Promote,
    /// Nobody gets the version that is tried; where none is, all get the one that was there before.
    Rollback,
}

/// What can't be done to a rollout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A percentage.
    #[error("{0} is no percentage: from 0 to 100 are")]
    Percent(String),
    /// Nothing is tried.
    #[error("no version is being tried: begin with one")]
    NoCanary,
    /// There is nothing to go back to.
    #[error("there is no earlier version to go back to")]
    NoEarlier,
    /// Too many customers.
    #[error("more customers than {MAX_TENANTS} are named: give a percentage")]
    TooManyTenants,
}

/// Which version this session gets. `name` is the document's.
pub fn choose<'a>(rollout: &'a Rollout, name: &str, tenant: &str, session: &str) -> &'a str {
    let canary = rollout.canary.as_ref().filter(|canary| {
        canary.tenants.iter().any(|named| named == tenant) || share_of(name, tenant, session) < canary.shares
    });
    canary.map_or(&rollout.stable, |canary| &canary.digest)
}

/// In which share a session's key falls. Every document cuts the keys in another way, so that not always the same callers are
/// the first.
pub fn share_of(name: &str, tenant: &str, session: &str) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for part in [name, tenant, session] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let bytes: [u8; 8] = hasher.finalize().as_bytes()[..8].try_into().expect("a hash has 32 bytes");
    (u64::from_le_bytes(bytes) % u64::from(SHARES)) as u32
}

/// Takes a step. `earlier` is what all got before the newest.
///
/// # Errors
/// It can't be taken.
pub fn take(current: Option<&Rollout>, earlier: Option<&str>, step: &Step) -> Result<Rollout, StepError> {
    match (step, current) {
        (Step::Begin { percent, tenants, .. }, _) if tenants.len() > MAX_TENANTS => {
            shares(*percent)?;
            Err(StepError::TooManyTenants)
        }
        (Step::Begin { digest, percent, .. }, None) => {
            shares(*percent)?;
            Ok(Rollout { stable: digest.clone(), canary: None })
        }
        (Step::Begin { digest, percent, tenants }, Some(current)) => {
            let canary = Canary { digest: digest.clone(), shares: shares(*percent)?, tenants: tenants.clone() };
            Ok(Rollout { stable: current.stable.clone(), canary: Some(canary) })
        }
        (Step::Widen { percent }, Some(Rollout { stable, canary: Some(canary) })) => {
            let canary = Canary { shares: shares(*percent)?, ..canary.clone() };
            Ok(Rollout { stable: stable.clone(), canary: Some(canary) })
        }
        (Step::Promote, Some(Rollout { canary: Some(canary), .. })) => {
            Ok(Rollout { stable: canary.digest.clone(), canary: None })
        }
        (Step::Rollback, Some(Rollout { stable, canary: Some(_) })) => {
            Ok(Rollout { stable: stable.clone(), canary: None })
        }
        (Step::Rollback, Some(_)) => {
            let earlier = earlier.ok_or(StepError::NoEarlier)?;
            Ok(Rollout { stable: earlier.to_owned(), canary: None })
        }
        (Step::Widen { .. } | Step::Promote, _) => Err(StepError::NoCanary),
        (Step::Rollback, None) => Err(StepError::NoEarlier),
    }
}

fn shares(percent: f64) -> Result<u32, StepError> {
    if !(0.0..=100.0).contains(&percent) {
        return Err(StepError::Percent(percent.to_string()));
    }
    Ok((percent * f64::from(SHARES) / 100.0).round() as u32)
}

/// One state of a rollout, and who made it so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// Of which kind of document.
    pub kind: String,
    /// Of which document.
    pub name: String,
    /// Counted from 1.
    pub revision: u64,
    /// What is given to whom.
    pub rollout: Rollout,
    /// Since when.
    pub made_at: Millis,
    /// Who made it so.
    pub made_by: String,
}

/// The newest state of one rollout.
pub(crate) fn newest(rows: &mut dyn Transaction, kind: &str, name: &str) -> Result<Option<Revision>, StoreError> {
    let sql = "SELECT kind, name, revision, stable, canary, percent_hundredths, tenants, made_at, made_by \
               FROM rollouts WHERE kind = $1 AND name = $2 ORDER BY revision DESC LIMIT 1";
    rows.query(sql, &[kind.into(), name.into()])?.first().map(read).transpose()
}

/// The newest state of each.
pub(crate) fn all(rows: &mut dyn Transaction) -> Result<Vec<Revision>, StoreError> {
    let sql = "SELECT kind, name, revision, stable, canary, percent_hundredths, tenants, made_at, made_by \
               FROM rollouts AS one WHERE revision = \
               (SELECT MAX(revision) FROM rollouts AS other WHERE other.kind = one.kind AND other.name = one.name) \
               ORDER BY kind, name";
    rows.query(sql, &[])?.iter().map(read).collect()
}

/// What all got before, if it was something else.
pub(crate) fn earlier(rows: &mut dyn Transaction, newest: &Revision) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT stable FROM rollouts WHERE kind = $1 AND name = $2 AND stable <> $3 ORDER BY revision DESC LIMIT 1";
    let values = [(&newest.kind).into(), (&newest.name).into(), (&newest.rollout.stable).into()];
    rows.query(sql, &values)?.first().map(|row| row.text(0)).transpose()
}

/// Keeps a new state.
pub(crate) fn keep(rows: &mut dyn Transaction, one: &Revision) -> Result<(), StoreError> {
    let sql = "INSERT INTO rollouts (kind, name, revision, stable, canary, percent_hundredths, tenants, made_at, made_by) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let canary = one.rollout.canary.as_ref();
    let tenants = canary.map_or_else(Vec::new, |canary| canary.tenants.clone());
    let tenants = serde_json::to_string(&tenants).expect("words can be written as JSON");
    let values = [
        (&one.kind).into(),
        (&one.name).into(),
        one.revision.into(),
        (&one.rollout.stable).into(),
        canary.map(|canary| canary.digest.as_str()).into(),
        canary.map_or(0, |canary| u64::from(canary.shares)).into(),
        (&tenants).into(),
        one.made_at.into(),
        (&one.made_by).into(),
    ];
    rows.execute(sql, &values)?;
    Ok(())
}

fn read(row: &Row) -> Result<Revision, StoreError> {
    let altered = |says: &str| StoreError::Damaged(format!("a rollout was altered: {says}"));
    let tenants = serde_json::from_str(&row.text(6)?).map_err(|_| altered("its customers"))?;
    let shares = u32::try_from(row.integer(5)?).map_err(|_| altered("its percentage"))?;
    let canary = row.optional_text(4)?.map(|digest| Canary { digest, shares, tenants });
    Ok(Revision {
        kind: row.text(0)?,
        name: row.text(1)?,
        revision: row.integer(2)?,
        rollout: Rollout { stable: row.text(3)?, canary },
        made_at: Millis(row.integer(7)?),
        made_by: row.text(8)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(stable: &str, canary: Option<(&str, u32)>) -> Rollout {
        let canary = canary.map(|(digest, shares)| Canary { digest: digest.into(), shares, tenants: vec![] });
        Rollout { stable: stable.into(), canary }
    }

    #[test]
    fn a_tenth_of_ten_thousand_keys_is_a_tenth_the_same_each_time_and_grows() {
        let keys: Vec<String> = (0..10_000).map(|number| format!("call-{number}")).collect();
        let chosen = |rollout: &Rollout| -> Vec<&String> {
            keys.iter().filter(|key| choose(rollout, "assistant", "acme", key) == "new").collect()
        };
        let tenth = rollout("old", Some(("new", 1_000)));
        let first = chosen(&tenth);
        assert!((900..=1_100).contains(&first.len()), "{} of 10,000", first.len());
        assert_eq!(first, chosen(&tenth), "asking twice is answered alike");
        let half = rollout("old", Some(("new", 5_000)));
        let wider = chosen(&half);
        assert!(first.iter().all(|key| wider.contains(key)), "who has the new version keeps it");
        assert_eq!(chosen(&rollout("old", Some(("new", SHARES)))).len(), keys.len());
        assert!(chosen(&rollout("old", Some(("new", 0)))).is_empty());
        let elsewhere = |key: &&String| share_of("other", "acme", key) < 1_000;
        let same = first.iter().filter(|key| elsewhere(key)).count();
        assert!(same < first.len() / 2, "another document's first callers are others");
    }

    #[test]
    fn customers_by_name_have_it_whatever_their_share() {
        let canary = Canary { digest: "new".into(), shares: 0, tenants: vec!["internal".into()] };
        let rollout = Rollout { stable: "old".into(), canary: Some(canary) };
        let check = |tenant: &str, expected: &str| {
            (0..50).for_each(|number| assert_eq!(choose(&rollout, "a", tenant, &number.to_string()), expected));
        };
        check("internal", "new");
        check("acme", "old");
    }

    #[test]
    fn steps_lead_forward_and_back() {
        let begin = |percent: f64| Step::Begin { digest: "new".into(), percent, tenants: vec![] };
        let check =
            |current: Option<Rollout>, earlier: Option<&str>, step: Step, expected: Result<Rollout, StepError>| {
                assert_eq!(take(current.as_ref(), earlier, &step), expected, "{current:?} {step:?}");
            };
        check(None, None, begin(10.0), Ok(rollout("new", None)));
        check(Some(rollout("old", None)), None, begin(10.0), Ok(rollout("old", Some(("new", 1_000)))));
        check(Some(rollout("old", None)), None, begin(0.01), Ok(rollout("old", Some(("new", 1)))));
        let tried = || Some(rollout("old", Some(("new", 1_000))));
        check(tried(), None, Step::Widen { percent: 50.0 }, Ok(rollout("old", Some(("new", 5_000)))));
        check(tried(), None, Step::Promote, Ok(rollout("new", None)));
        check(tried(), None, Step::Rollback, Ok(rollout("old", None)));
        check(Some(rollout("new", None)), Some("old"), Step::Rollback, Ok(rollout("old", None)));
        check(Some(rollout("new", None)), None, Step::Rollback, Err(StepError::NoEarlier));
        check(Some(rollout("new", None)), None, Step::Promote, Err(StepError::NoCanary));
        check(None, None, Step::Widen { percent: 1.0 }, Err(StepError::NoCanary));
        check(tried(), None, Step::Widen { percent: 101.0 }, Err(StepError::Percent("101".into())));
        check(tried(), None, Step::Widen { percent: f64::NAN }, Err(StepError::Percent("NaN".into())));
    }
}
