//! The store in a file: SQLite, built in, with a write-ahead log.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params_from_iter};

use super::{Mode, Row, Store, StoreError, Transaction, Value, Work};
use crate::refusal::Refusal;

/// The store's form, one step after another. One that was released never changes.
const MIGRATIONS: [&str; 1] = [include_str!("../../migrations/1.sql")];

/// What a store keeps to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it is waited for another one that has the store.
    pub patience: Duration,
    /// Pages of 4 KiB that the file may have; as many as the disk has, where none is given.
    pub max_pages: Option<u32>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { patience: Duration::from_secs(2), max_pages: None }
    }
}

/// A store in a file.
pub struct Sqlite {
    connection: Mutex<Connection>,
}

impl Sqlite {
    /// Opens the file, makes it if it is not there, and brings it to the newest form.
    ///
    /// # Errors
    /// It can't be opened, or a newer program has made it.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path).map_err(error)?;
        connection.busy_timeout(bounds.patience).map_err(error)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(error)?;
        // What was answered for is on the disk: a power cut loses nothing that somebody was told.
        connection.pragma_update(None, "synchronous", "FULL").map_err(error)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(error)?;
        migrate(&mut connection)?;
        if let Some(pages) = bounds.max_pages {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(error)?;
        }
        Ok(Self { connection: Mutex::new(connection) })
    }
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
    let form: usize =
        transaction
            .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
            .map_err(error)
            .and_then(|form| usize::try_from(form).map_err(|_| StoreError::altered("its form is negative")))?;
    if form > MIGRATIONS.len() {
        let says = format!("its form is {form}, and this program knows {}: use a newer one", MIGRATIONS.len());
        return Err(StoreError::Damaged(says));
    }
    for step in &MIGRATIONS[form..] {
        transaction.execute_batch(step).map_err(error)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64).map_err(error)?;
    transaction.commit().map_err(error)
}

impl Store for Sqlite {
    fn transact(&self, mode: Mode, work: &mut Work<'_>) -> Result<(), Refusal> {
        let behavior = match mode {
            Mode::Read => TransactionBehavior::Deferred,
            Mode::Write => TransactionBehavior::Immediate,
        };
        // A panic in between has rolled back: dropping a transaction does.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = connection.transaction_with_behavior(behavior).map_err(error)?;
        work(&mut transaction)?;
        Ok(transaction.commit().map_err(error)?)
    }
}

impl Transaction for rusqlite::Transaction<'_> {
    fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, StoreError> {
        let mut statement = self.prepare_cached(sql).map_err(error)?;
        let changed = statement.execute(params_from_iter(values.iter().map(owned))).map_err(error)?;
        Ok(changed as u64)
    }

    fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.prepare_cached(sql).map_err(error)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values.iter().map(owned))).map_err(error)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(error)? {
            let values: Result<Vec<Value>, StoreError> =
                (0..columns).map(|column| taken(row.get_ref(column).map_err(error)?)).collect();
            all.push(Row(values?));
        }
        Ok(all)
    }
}

fn owned(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(number) => rusqlite::types::Value::Integer(*number),
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
    }
}

fn taken(value: ValueRef<'_>) -> Result<Value, StoreError> {
    match value {
        ValueRef::Null => Ok(Value::Null),
        ValueRef::Integer(number) => Ok(Value::Integer(number)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| StoreError::altered("a text that is no UTF-8"))?;
            Ok(Value::Text(text.to_owned()))
        }
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(StoreError::altered("a type that is not used")),
    }
}

fn error(error: rusqlite::Error) -> StoreError {
    let says = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ConstraintViolation) => StoreError::Contradicts(says),
        _ => StoreError::Damaged(says),
    }
}
