//! Who may do what: keys of the API, each with a role (`F-114`).
//!
//! A key is `rk_ID_SECRET`. The store has a hash of the secret and never the secret; it is 128 random bits, so a fast hash is as
//! good as a slow one. What each role may do is one table, and which permission a route asks for is the table of routes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::{Row, StoreError, Transaction};
use crate::time::Millis;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// See what there is.
    Look,
    /// Get routes for callers.
    Route,
    /// Publish documents and roll them out.
    Publish,
    /// Drain workers, end sessions, set quotas.
    Operate,
    /// Be a worker.
    Work,
    /// Read the audit log.
    Audit,
    /// Make and revoke keys.
    Administer,
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees what there is.
    Viewer,
    /// An application that sends callers.
    Caller,
    /// Publishes and rolls out.
    Publisher,
    /// Runs the fleet.
    Operator,
    /// A worker.
    Worker,
    /// Reads the audit log.
    Auditor,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 7] =
        [Role::Viewer, Role::Caller, Role::Publisher, Role::Operator, Role::Worker, Role::Auditor, Role::Admin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Caller => "caller",
            Role::Publisher => "publisher",
            Role::Operator => "operator",
            Role::Worker => "worker",
            Role::Auditor => "auditor",
            Role::Admin => "admin",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it may do this.
    pub fn may(self, permission: Permission) -> bool {
        use Permission::{Look, Operate, Publish, Route, Work};
        match self {
            Role::Viewer => permission == Look,
            Role::Caller => permission == Route,
            Role::Publisher => matches!(permission, Look | Publish),
            Role::Operator => matches!(permission, Look | Publish | Operate | Route),
            Role::Worker => matches!(permission, Look | Work),
            Role::Auditor => matches!(permission, Look | Permission::Audit),
            Role::Admin => true,
        }
    }
}

/// A key, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// What it is called by.
    pub id: String,
    /// What its holder may do.
    pub role: Role,
    /// Whose it is, in words.
    pub label: String,
    /// Since when.
    pub made_at: Millis,
    /// Since when not any more.
    pub revoked_at: Option<Millis>,
}

/// A key as its holder has it, from random bits.
pub fn written(id: u64, secret: u128) -> String {
    format!("rk_{id:016x}_{secret:032x}")
}

/// The id and the secret of a key.
pub fn parts(key: &str) -> Option<(&str, &str)> {
    let (id, secret) = key.strip_prefix("rk_")?.split_once('_')?;
    (id.len() == 16 && secret.len() == 32).then_some((id, secret))
}

/// What is kept of a secret.
pub fn hash_of(secret: &str) -> String {
    blake3::hash(secret.as_bytes()).to_hex().to_string()
}

/// Whether this is the secret with that hash; takes as long whatever the answer.
pub fn is_secret(secret: &str, hash: &str) -> bool {
    blake3::Hash::from_hex(hash).is_ok_and(|hash| blake3::hash(secret.as_bytes()) == hash)
}

/// The key that somebody showed, if there is such a one and it is in force.
pub(crate) fn find(rows: &mut dyn Transaction, shown: &str) -> Result<Option<Key>, StoreError> {
    let Some((id, secret)) = parts(shown) else { return Ok(None) };
    let sql = "SELECT id, role, label, made_at, revoked_at, secret_hash FROM keys WHERE id = $1 AND revoked_at IS NULL";
    let found = rows.query(sql, &[id.into()])?;
    let Some(row) = found.first() else { return Ok(None) };
    if is_secret(secret, &row.text(5)?) { read(row).map(Some) } else { Ok(None) }
}

/// All keys, also those that were revoked.
pub(crate) fn all(rows: &mut dyn Transaction) -> Result<Vec<Key>, StoreError> {
    rows.query("SELECT id, role, label, made_at, revoked_at FROM keys ORDER BY made_at, id", &[])?
        .iter()
        .map(read)
        .collect()
}

/// Keeps a new key.
pub(crate) fn keep(rows: &mut dyn Transaction, key: &Key, secret: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO keys (id, secret_hash, role, label, made_at, revoked_at) VALUES ($1, $2, $3, $4, $5, NULL)";
    let hash = hash_of(secret);
    let values = [(&key.id).into(), (&hash).into(), key.role.name().into(), (&key.label).into(), key.made_at.into()];
    rows.execute(sql, &values)?;
    Ok(())
}

/// A key is not in force any more; says whether it was.
pub(crate) fn revoke(rows: &mut dyn Transaction, id: &str, at: Millis) -> Result<bool, StoreError> {
    let sql = "UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL";
    Ok(rows.execute(sql, &[at.into(), id.into()])? > 0)
}

fn read(row: &Row) -> Result<Key, StoreError> {
    let role = row.text(1)?;
    let role = Role::named(&role).ok_or_else(|| StoreError::Damaged(format!("a key has the role {role:?}")))?;
    let revoked_at = match row.0.get(4) {
        Some(crate::store::Value::Null) | None => None,
        Some(_) => Some(Millis(row.integer(4)?)),
    };
    Ok(Key { id: row.text(0)?, role, label: row.text(2)?, made_at: Millis(row.integer(3)?), revoked_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_id_and_its_secret() {
        let key = written(7, 9);
        let (id, secret) = parts(&key).expect("it is one");
        assert!(is_secret(secret, &hash_of(secret)));
        assert!(!is_secret(&secret.replace('9', "8"), &hash_of(secret)));
        assert_eq!(id, "0000000000000007");
        for broken in ["", "rk_", "rk_7_9", "rk_0000000000000007", &key[1..]] {
            assert_eq!(parts(broken), None, "{broken}");
        }
    }

    #[test]
    fn roles_may_what_they_are_for() {
        use Permission::{Administer, Audit, Look, Operate, Publish, Route, Work};
        let all = [Look, Route, Publish, Operate, Work, Audit, Administer];
        let check = |role: Role, expected: &[Permission]| {
            let may: Vec<Permission> = all.into_iter().filter(|permission| role.may(*permission)).collect();
            assert_eq!(may, expected, "{role:?}");
        };
        check(Role::Viewer, &[Look]);
        check(Role::Caller, &[Route]);
        check(Role::Publisher, &[Look, Publish]);
        check(Role::Operator, &[Look, Route, Publish, Operate]);
        check(Role::Worker, &[Look, Work]);
        check(Role::Auditor, &[Look, Audit]);
        check(Role::Admin, &all);
    }
}
