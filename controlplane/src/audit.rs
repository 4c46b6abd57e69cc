//! Who did what, in a chain that shows when somebody changed it (`F-097`).
//!
//! Each entry has a hash over what it says and the hash before it. Whoever changes, removes or inserts an entry breaks the chain
//! there, and [`Walk`] names the first that is not what was written. Who can rewrite the whole store can rewrite the whole
//! chain: so the newest hash is to be kept somewhere else now and then, and [`Walk`] takes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// What the first entry stands on.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Counted from 1, without gaps.
    pub number: u64,
    /// When.
    pub made_at: Millis,
    /// Who: a key's id, or the control plane itself.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How, as JSON.
    pub detail: String,
    /// Over all of it, and the hash before.
    pub hash: String,
}

impl Entry {
    /// What the hash is to be, after an entry with this one.
    fn chained(&self, before: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        let (number, at) = (self.number.to_string(), self.made_at.0.to_string());
        for part in [before, &number, &at, &self.actor, &self.action, &self.subject, &self.detail] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is not what was written.
    #[error("entry {number} of the audit log is not what was written: it, or what stood before it, was altered")]
    Altered {
        /// The first.
        number: u64,
    },
    /// Entries are missing.
    #[error("entry {number} of the audit log is missing")]
    Missing {
        /// The first.
        number: u64,
    },
    /// It ends before, or otherwise than, somebody remembers.
    #[error(
        "the audit log has no entry with the hash that was kept: entries at its end were removed, or all of it was rewritten"
    )]
    NotAsKept,
}

/// The next entry of a chain.
pub fn next(last: Option<&Entry>, at: Millis, who: &str, what: (&str, &str), detail: &str) -> Entry {
    let before = last.map_or(BEGINNING, |entry| entry.hash.as_str());
    let mut entry = Entry {
        number: last.map_or(0, |entry| entry.number) + 1,
        made_at: at,
        actor: who.to_owned(),
        action: what.0.to_owned(),
        subject: what.1.to_owned(),
        detail: detail.to_owned(),
        hash: String::new(),
    };
    entry.hash = entry.chained(before);
    entry
}

/// Goes through a chain, entry by entry.
#[derive(Clone, Debug)]
pub struct Walk {
    seen: u64,
    before: String,
    kept: Option<String>,
}

impl Walk {
    /// From the beginning. `kept` is a hash that somebody has kept elsewhere.
    pub fn new(kept: Option<&str>) -> Self {
        Self { seen: 0, before: BEGINNING.to_owned(), kept: kept.filter(|kept| *kept != BEGINNING).map(str::to_owned) }
    }

    /// How many entries were seen.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The newest hash.
    pub fn head(&self) -> &str {
        &self.before
    }

    /// The next entry.
    ///
    /// # Errors
    /// It is not what was written, or another one should stand here.
    pub fn see(&mut self, entry: &Entry) -> Result<(), Broken> {
        let number = self.seen + 1;
        if entry.number != number {
            return Err(Broken::Missing { number });
        }
        if entry.hash != entry.chained(&self.before) {
            return Err(Broken::Altered { number });
        }
        self.seen = number;
        self.before.clone_from(&entry.hash);
        if self.kept.as_deref() == Some(self.before.as_str()) {
            self.kept = None;
        }
        Ok(())
    }

    /// There are no more.
    ///
    /// # Errors
    /// The hash that was kept is none of theirs.
    pub fn end(self) -> Result<(), Broken> {
        if self.kept.is_some() { Err(Broken::NotAsKept) } else { Ok(()) }
    }
}

/// Writes down that something was done, in the transaction that does it.
pub(crate) fn note(
    rows: &mut dyn Transaction,
    at: Millis,
    who: &str,
    what: (&str, &str),
    detail: &serde_json::Value,
) -> Result<(), StoreError> {
    let sql = "SELECT number, made_at, actor, action, subject, detail, hash FROM audit ORDER BY number DESC LIMIT 1";
    let last = rows.query(sql, &[])?.first().map(read).transpose()?;
    let entry = next(last.as_ref(), at, who, what, &detail.to_string());
    let sql = "INSERT INTO audit (number, made_at, actor, action, subject, detail, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = [
        entry.number.into(),
        entry.made_at.into(),
        (&entry.actor).into(),
        (&entry.action).into(),
        (&entry.subject).into(),
        (&entry.detail).into(),
        (&entry.hash).into(),
    ];
    rows.execute(sql, &values)?;
    Ok(())
}

/// The entries after this number, the oldest first.
pub(crate) fn list(rows: &mut dyn Transaction, after: u64, most: u64) -> Result<Vec<Entry>, StoreError> {
    let sql = "SELECT number, made_at, actor, action, subject, detail, hash FROM audit \
               WHERE number > $1 ORDER BY number LIMIT $2";
    rows.query(sql, &[after.into(), most.into()])?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        number: row.integer(0)?,
        made_at: Millis(row.integer(1)?),
        actor: row.text(2)?,
        action: row.text(3)?,
        subject: row.text(4)?,
        detail: row.text(5)?,
        hash: row.text(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<Entry> {
        let mut chain: Vec<Entry> = Vec::new();
        for (number, what) in
            [("publish", "a"), ("rollout", "a"), ("drain", "w1"), ("rollback", "a")].iter().enumerate()
        {
            let entry = next(chain.last(), Millis(number as u64 * 1_000), "key-1", *what, "{}");
            chain.push(entry);
        }
        chain
    }

    fn verify(chain: &[Entry], kept: Option<&str>) -> Result<(), Broken> {
        let mut walk = Walk::new(kept);
        chain.iter().try_for_each(|entry| walk.see(entry))?;
        walk.end()
    }

    fn check(tamper: impl FnOnce(&mut Vec<Entry>), expected: Option<&Broken>) {
        let mut tampered = chain();
        let kept = tampered.last().map(|entry| entry.hash.clone());
        tamper(&mut tampered);
        assert_eq!(verify(&tampered, kept.as_deref()).err().as_ref(), expected, "{tampered:?}");
    }

    #[test]
    fn the_first_entry_that_is_not_what_was_written_is_named() {
        check(|_| {}, None);
        check(|chain| chain[1].actor = "key-2".into(), Some(&Broken::Altered { number: 2 }));
        check(|chain| chain[2].made_at = Millis(7), Some(&Broken::Altered { number: 3 }));
        check(|chain| chain[0].detail = "{ }".into(), Some(&Broken::Altered { number: 1 }));
        check(|chain| drop(chain.remove(1)), Some(&Broken::Missing { number: 2 }));
        check(|chain| chain.swap(1, 2), Some(&Broken::Missing { number: 2 }));
        check(|chain| chain.truncate(3), Some(&Broken::NotAsKept));
        let rehashed = |chain: &mut Vec<Entry>| {
            chain[1].actor = "key-2".into();
            chain[1].hash = chain[1].chained(&chain[0].hash.clone());
        };
        check(rehashed, Some(&Broken::Altered { number: 3 }));
        assert_eq!(verify(&[], None), Ok(()));
    }

    #[test]
    fn what_moves_from_one_field_to_the_next_is_seen() {
        let one = next(None, Millis(1), "ab", ("c", "d"), "");
        let other = next(None, Millis(1), "a", ("bc", "d"), "");
        assert_ne!(one.hash, other.hash);
    }
}
