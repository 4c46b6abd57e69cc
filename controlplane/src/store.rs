//! Where the control plane's rows are: transactions over SQL that SQLite and PostgreSQL both speak.
//!
//! Types are 64-bit integers and texts, parameters are `$1`, `$2`, … in the order of their first use, conflicts are resolved by
//! `ON CONFLICT`, and nothing else of a database shows. A transaction is serializable: two control planes on one database
//! behave as if one of them had gone first.

mod sqlite;

pub use sqlite::{Bounds, Sqlite};

use crate::refusal::Refusal;

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// None.
    Null,
    /// A number.
    Integer(i64),
    /// A text.
    Text(String),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(text.clone())
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Value::Null, Value::from)
    }
}

impl From<u64> for Value {
    /// No count and no time of ours comes near to 2^63.
    fn from(number: u64) -> Self {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<crate::time::Millis> for Value {
    fn from(at: crate::time::Millis) -> Self {
        at.0.into()
    }
}

/// A row, its values in the order of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Vec<Value>);

impl Row {
    /// A number; a column that is none is a mistake in a question of ours.
    ///
    /// # Errors
    /// The store has something else there: it was altered by somebody.
    pub fn integer(&self, column: usize) -> Result<u64, StoreError> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => {
                u64::try_from(*number).map_err(|_| StoreError::altered("a negative number"))
            }
            _ => Err(StoreError::altered("no number where one belongs")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// The store has something else there.
    pub fn text(&self, column: usize) -> Result<String, StoreError> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err(StoreError::altered("no text where one belongs")),
        }
    }

    /// A text, or none.
    ///
    /// # Errors
    /// The store has something else there.
    pub fn optional_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }
}

/// What a store can't do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another one has it.
    #[error("the store is locked by another control plane: try again")]
    Busy,
    /// There is no room.
    #[error("the store has no room left: make room on its disk; what was there is whole, this was not done")]
    Full,
    /// Something is there already that this contradicts.
    #[error("the store has this already, with other content ({0})")]
    Contradicts(String),
    /// It is damaged, or of another program.
    #[error("the store can't be used ({0}): restore it from a copy")]
    Damaged(String),
}

impl StoreError {
    fn altered(says: &str) -> Self {
        StoreError::Damaged(format!("it was altered: {says}"))
    }
}

/// What may be done within a transaction.
pub trait Transaction {
    /// Changes rows; gives how many.
    ///
    /// # Errors
    /// The store can't.
    fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, StoreError>;

    /// Asks for rows.
    ///
    /// # Errors
    /// The store can't.
    fn query(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, StoreError>;
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only to look.
    Read,
    /// To change something: it is alone from its beginning on.
    Write,
}

/// Work within a transaction.
pub type Work<'a> = dyn FnMut(&mut dyn Transaction) -> Result<(), Refusal> + 'a;

/// A store: everything of one transaction is kept, for good, or nothing of it.
pub trait Store: Send + Sync {
    /// Does this work in a transaction, which is kept if the work succeeds.
    ///
    /// # Errors
    /// The work's own, or the store can't.
    fn transact(&self, mode: Mode, work: &mut Work<'_>) -> Result<(), Refusal>;
}

/// Does work that comes to something.
///
/// # Errors
/// The work's own, or the store can't.
pub fn within<T>(
    store: &dyn Store,
    mode: Mode,
    mut work: impl FnMut(&mut dyn Transaction) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut result = None;
    store.transact(mode, &mut |transaction| {
        result = Some(work(transaction)?);
        Ok(())
    })?;
    result.ok_or_else(|| StoreError::altered("a transaction without its work").into())
}
