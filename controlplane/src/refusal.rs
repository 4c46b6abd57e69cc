//! Why something is not done: a code for programs, words for people, and when it is worth another try.

use crate::store::StoreError;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// It can't be read.
    Malformed,
    /// Nobody known asks.
    Unauthorized,
    /// Who asks may not.
    Forbidden,
    /// It is not there.
    NotFound,
    /// It does not go with what is there.
    Conflict,
    /// It was checked, and is wrong.
    Invalid,
    /// Who asks does not hold what it speaks for, not any more.
    Stale,
    /// A limit that holds until somebody raises it.
    Rejected,
    /// Not now: later it may go.
    Deferred,
    /// The store can't do it now: locked, full, or damaged.
    Unavailable,
}

impl Code {
    /// As programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Code::Malformed => "malformed",
            Code::Unauthorized => "unauthorized",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::Invalid => "invalid",
            Code::Stale => "stale",
            Code::Rejected => "reject",
            Code::Deferred => "defer",
            Code::Unavailable => "unavailable",
        }
    }

    /// As HTTP has it.
    pub fn status(self) -> u16 {
        match self {
            Code::Malformed => 400,
            Code::Unauthorized => 401,
            Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::Conflict => 409,
            Code::Stale => 410,
            Code::Invalid => 422,
            Code::Rejected | Code::Deferred => 429,
            Code::Unavailable => 503,
        }
    }
}

/// Something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{says}")]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// What, where, and what to do.
    pub says: String,
    /// When it is worth another try.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: Code, says: impl Into<String>) -> Self {
        Self { code, says: says.into(), retry_after_ms: None }
    }

    /// Not now.
    pub fn deferred(says: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(Code::Deferred, says) }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let retry_after_ms = matches!(error, StoreError::Busy).then_some(AFTER_BUSY_MS);
        Self { retry_after_ms, ..Self::new(Code::Unavailable, error.to_string()) }
    }
}

/// A store that was locked is tried again after so long.
const AFTER_BUSY_MS: u64 = 200;
