//! The sessions' rows: who holds each, how it is, and where it has been (`F-101`).

use rspp_specs::ids::LeaseEpoch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lease::Holding;
use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has a place, and its caller is awaited.
    Placed,
    /// Its caller is connected.
    Running,
    /// Its caller, or its worker, is gone, and may come back.
    Degraded,
    /// Its worker gave it up for another one to have.
    Released,
    /// It is over.
    Ended,
}

impl State {
    const ALL: [State; 5] = [State::Placed, State::Running, State::Degraded, State::Released, State::Ended];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            State::Placed => "placed",
            State::Running => "running",
            State::Degraded => "degraded",
            State::Released => "released",
            State::Ended => "ended",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A session, as the control plane knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// Whose it is.
    pub tenant: String,
    /// Its name, among its customer's.
    pub session: String,
    /// What it runs.
    pub pipeline: String,
    /// Which version of it, by digest.
    pub digest: String,
    /// Who holds it.
    pub worker: String,
    /// Which of those that had this name.
    pub incarnation: u64,
    /// Under which epoch.
    pub epoch: u64,
    /// How it is.
    pub state: State,
    /// Since when it is there.
    pub placed_at: Millis,
    /// When it was heard of last.
    pub seen_at: Millis,
}

impl Session {
    /// Who holds it; nobody, once it was given up.
    pub fn holding(&self) -> Option<Holding> {
        let epoch = LeaseEpoch(self.epoch);
        let holding = Holding { worker: self.worker.clone(), incarnation: self.incarnation, epoch };
        (self.state != State::Released).then_some(holding)
    }
}

/// Where a session was, from when on, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stop {
    /// Under which epoch.
    pub epoch: u64,
    /// With whom.
    pub worker: String,
    /// Since when.
    pub made_at: Millis,
    /// Why.
    pub why: String,
}

/// One session, and the hash of the secret that asks for its route again.
pub(crate) fn find(
    rows: &mut dyn Transaction,
    tenant: &str,
    session: &str,
) -> Result<Option<(Session, String)>, StoreError> {
    let sql = "SELECT tenant, session, pipeline, digest, worker, incarnation, epoch, state, placed_at, seen_at, resume_hash \
               FROM sessions WHERE tenant = $1 AND session = $2";
    let found = rows.query(sql, &[tenant.into(), session.into()])?;
    found.first().map(|row| Ok((read(row)?, row.text(10)?))).transpose()
}

/// Sessions that have not ended, the newest first.
pub(crate) fn list(rows: &mut dyn Transaction, most: u64) -> Result<Vec<Session>, StoreError> {
    let sql = "SELECT tenant, session, pipeline, digest, worker, incarnation, epoch, state, placed_at, seen_at \
               FROM sessions WHERE state <> 'ended' ORDER BY placed_at DESC, tenant, session LIMIT $1";
    rows.query(sql, &[most.into()])?.iter().map(read).collect()
}

/// How many a customer has.
pub(crate) fn count(rows: &mut dyn Transaction, tenant: &str) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) FROM sessions WHERE tenant = $1 AND state <> 'ended'";
    rows.query(sql, &[tenant.into()])?.first().map_or(Ok(0), |row| row.integer(0))
}

/// Keeps a session, and where it is now.
pub(crate) fn keep(rows: &mut dyn Transaction, one: &Session, resume_hash: &str, why: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO sessions (tenant, session, pipeline, digest, worker, incarnation, epoch, state, placed_at, \
               seen_at, resume_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
               ON CONFLICT (tenant, session) DO UPDATE SET worker = excluded.worker, \
               incarnation = excluded.incarnation, epoch = excluded.epoch, state = excluded.state, \
               seen_at = excluded.seen_at";
    let values = [
        (&one.tenant).into(),
        (&one.session).into(),
        (&one.pipeline).into(),
        (&one.digest).into(),
        (&one.worker).into(),
        one.incarnation.into(),
        one.epoch.into(),
        one.state.name().into(),
        one.placed_at.into(),
        one.seen_at.into(),
        resume_hash.into(),
    ];
    rows.execute(sql, &values)?;
    let sql = "INSERT INTO journeys (tenant, session, epoch, worker, made_at, why) VALUES ($1, $2, $3, $4, $5, $6)";
    let values = [
        (&one.tenant).into(),
        (&one.session).into(),
        one.epoch.into(),
        (&one.worker).into(),
        one.seen_at.into(),
        why.into(),
    ];
    rows.execute(sql, &values)?;
    Ok(())
}

/// A session is so now, as its holder says. Says whether that was its holder.
pub(crate) fn tell(
    rows: &mut dyn Transaction,
    (tenant, session): (&str, &str),
    epoch: u64,
    state: State,
    at: Millis,
) -> Result<bool, StoreError> {
    let sql = "UPDATE sessions SET state = $1, seen_at = $2 \
               WHERE tenant = $3 AND session = $4 AND epoch = $5 AND state <> 'ended' AND state <> 'released'";
    let values = [state.name().into(), at.into(), tenant.into(), session.into(), epoch.into()];
    Ok(rows.execute(sql, &values)? > 0)
}

/// The sessions of a worker wait for another one; says how many.
pub(crate) fn orphan(rows: &mut dyn Transaction, worker: &str, incarnation: u64) -> Result<u64, StoreError> {
    let sql = "UPDATE sessions SET state = 'degraded' WHERE worker = $1 AND incarnation = $2 \
               AND (state = 'placed' OR state = 'running')";
    rows.execute(sql, &[worker.into(), incarnation.into()])
}

/// Where a session has been.
pub(crate) fn journey(rows: &mut dyn Transaction, tenant: &str, session: &str) -> Result<Vec<Stop>, StoreError> {
    let sql = "SELECT epoch, worker, made_at, why FROM journeys WHERE tenant = $1 AND session = $2 ORDER BY epoch";
    let read = |row: &Row| {
        Ok(Stop { epoch: row.integer(0)?, worker: row.text(1)?, made_at: Millis(row.integer(2)?), why: row.text(3)? })
    };
    rows.query(sql, &[tenant.into(), session.into()])?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Session, StoreError> {
    let state = row.text(7)?;
    let state =
        State::named(&state).ok_or_else(|| StoreError::Damaged(format!("a session is in the state {state:?}")))?;
    Ok(Session {
        tenant: row.text(0)?,
        session: row.text(1)?,
        pipeline: row.text(2)?,
        digest: row.text(3)?,
        worker: row.text(4)?,
        incarnation: row.integer(5)?,
        epoch: row.integer(6)?,
        state,
        placed_at: Millis(row.integer(8)?),
        seen_at: Millis(row.integer(9)?),
    })
}
