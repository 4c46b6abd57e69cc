//! The workers' rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lease::{Lease, Standing};
use crate::placement::Candidate;
use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Which of the processes that had this name.
    pub incarnation: u64,
    /// How it stands.
    pub standing: Standing,
    /// Until when it has its lease.
    pub expires_at: Millis,
    /// Where callers reach it.
    pub endpoint: String,
    /// The pipeline that it serves.
    pub pipeline: String,
    /// Where it is.
    pub region: String,
    /// Its program's version.
    pub program: String,
    /// Sessions that it can hold.
    pub capacity: u64,
    /// Sessions that it was given and that have not ended.
    pub sessions: u64,
    /// How much it has to do, in thousandths of what it can.
    pub load_permille: u64,
    /// How its providers are, as it says: `ok`, or what is wrong.
    pub health: String,
    /// When it was heard last.
    pub seen_at: Millis,
}

impl Worker {
    /// Its lease.
    pub fn lease(&self) -> Lease {
        Lease { incarnation: self.incarnation, expires_at: self.expires_at, standing: self.standing }
    }

    /// As placement sees it.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            pipeline: self.pipeline.clone(),
            region: self.region.clone(),
            capacity: self.capacity,
            sessions: self.sessions,
            load_permille: self.load_permille,
            is_open: self.standing == Standing::Live && self.health == HEALTHY,
        }
    }
}

/// What a worker says of its providers when nothing is wrong.
pub const HEALTHY: &str = "ok";

/// One worker.
pub(crate) fn find(rows: &mut dyn Transaction, name: &str) -> Result<Option<Worker>, StoreError> {
    let sql = "SELECT name, incarnation, standing, expires_at, endpoint, pipeline, region, program, capacity, load_permille, \
               health, seen_at, (SELECT COUNT(*) FROM sessions WHERE sessions.worker = workers.name \
               AND sessions.incarnation = workers.incarnation AND sessions.state <> 'ended') \
               FROM workers WHERE name = $1";
    rows.query(sql, &[name.into()])?.first().map(read).transpose()
}

/// All workers, by name.
pub(crate) fn all(rows: &mut dyn Transaction) -> Result<Vec<Worker>, StoreError> {
    let sql = "SELECT name, incarnation, standing, expires_at, endpoint, pipeline, region, program, capacity, load_permille, \
               health, seen_at, (SELECT COUNT(*) FROM sessions WHERE sessions.worker = workers.name \
               AND sessions.incarnation = workers.incarnation AND sessions.state <> 'ended') \
               FROM workers ORDER BY name";
    rows.query(sql, &[])?.iter().map(read).collect()
}

/// Keeps what is known of a worker.
pub(crate) fn keep(rows: &mut dyn Transaction, worker: &Worker) -> Result<(), StoreError> {
    let sql = "INSERT INTO workers (name, incarnation, standing, expires_at, endpoint, pipeline, region, program, capacity, \
               load_permille, health, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
               ON CONFLICT (name) DO UPDATE SET incarnation = excluded.incarnation, standing = excluded.standing, \
               expires_at = excluded.expires_at, endpoint = excluded.endpoint, pipeline = excluded.pipeline, \
               region = excluded.region, \
               program = excluded.program, capacity = excluded.capacity, load_permille = excluded.load_permille, \
               health = excluded.health, seen_at = excluded.seen_at";
    let values = [
        (&worker.name).into(),
        worker.incarnation.into(),
        worker.standing.name().into(),
        worker.expires_at.into(),
        (&worker.endpoint).into(),
        (&worker.pipeline).into(),
        (&worker.region).into(),
        (&worker.program).into(),
        worker.capacity.into(),
        worker.load_permille.into(),
        (&worker.health).into(),
        worker.seen_at.into(),
    ];
    rows.execute(sql, &values)?;
    Ok(())
}

fn read(row: &Row) -> Result<Worker, StoreError> {
    Ok(Worker {
        name: row.text(0)?,
        incarnation: row.integer(1)?,
        standing: Standing::named(&row.text(2)?)?,
        expires_at: Millis(row.integer(3)?),
        endpoint: row.text(4)?,
        pipeline: row.text(5)?,
        region: row.text(6)?,
        program: row.text(7)?,
        capacity: row.integer(8)?,
        load_permille: row.integer(9)?,
        health: row.text(10)?,
        seen_at: Millis(row.integer(11)?),
        sessions: row.integer(12)?,
    })
}
