//! The journal: what a fleet keeps of each session while its call runs, so that another worker can go on with it (`F-096`,
//! `F-155`, `F-158`).
//!
//! It is no recording. A recording is what the redactor lets through, and is kept; the journal has everything that the core
//! was told and said, since a session is rebuilt from that ([`crate::failover`]), and is gone when the call is.
//!
//! Who may write is decided here as well as by the control plane. [`Journal::take`] takes a session under an epoch, and from
//! that moment on what anybody appends under a lower one is refused; what was appended before is in the [`Past`] that it
//! gives. A tick's effects leave when its append was *not* refused, so whatever an old holder has ever done is in that past,
//! however late it wakes.
//!
//! The first implementation is a folder that all workers share ([`SharedFolder`]). `scribe` is the thread that writes for a
//! worker.

mod folder;
mod scribe;
mod segment;

use std::sync::Arc;

use rspp_specs::ids::LeaseEpoch;
use rspp_specs::plan::PlanHash;
use rspp_specs::timeline::{Entry, Input, Record};
use serde::{Deserialize, Serialize};

pub use folder::SharedFolder;
pub(crate) use scribe::{Scribe, Stretch};

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Whose {
    /// The customer.
    pub tenant: Arc<str>,
    /// The session's name, among theirs.
    pub session: Arc<str>,
}

/// Where the sessions of a fleet are kept.
pub trait Journal: Send + Sync {
    /// Takes a session under this epoch: who has a lower one appends nothing more.
    ///
    /// # Errors
    /// Somebody has it under a higher epoch, or it can't be reached.
    fn take(&self, whose: &Whose, epoch: LeaseEpoch) -> Result<Taken, JournalError>;
}

/// A session that was taken.
pub struct Taken {
    /// What was written of it before, if anything was.
    pub past: Option<Past>,
    /// What it goes on with.
    pub pen: Box<dyn Pen>,
}

/// What was written of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// What its client was told before the first of these.
    pub told: ToldBefore,
    /// Whole ticks, from one that begins with what the session goes on from.
    pub records: Vec<Record>,
}

impl Past {
    /// What the session ran last.
    pub fn plan(&self) -> Option<&PlanHash> {
        self.records.iter().rev().find_map(|record| match &record.entry {
            Entry::Input(_, Input::SessionOpen(open)) => Some(open.plan.hash()),
            _ => None,
        })
    }
}

/// What a session's client was told, and what of its audio came in, before a part of the journal begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldBefore {
    /// The number of the last message.
    pub messages: u64,
    /// Samples of the caller's audio, at the call's rate.
    pub received_samples: u64,
}

/// Writes one session's journal.
pub trait Pen: Send {
    /// Writes whole ticks. When this returns, they are kept, and nobody had taken the session before they were.
    ///
    /// # Errors
    /// Somebody else has the session: then nothing that stands in these ticks may be done. Or it can't be written.
    fn append(&mut self, records: &[Record]) -> Result<(), JournalError>;

    /// Begins a part that needs nothing of what was written before: its first tick begins with what the session goes on from.
    ///
    /// # Errors
    /// As [`Pen::append`].
    fn begin_part(&mut self, told: ToldBefore, records: &[Record]) -> Result<(), JournalError>;

    /// The session is over, or can't be kept any more: nothing of it stays that is this pen's or older.
    fn erase(self: Box<Self>);
}

/// Why something is not in the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The session has another holder.
    #[error("the session was taken under a later epoch than {epoch}: its route says by whom")]
    Stale {
        /// The epoch that is not the session's any more.
        epoch: u64,
    },
    /// The system refuses.
    #[error("can't {doing} the journal {path}: {source}; check that the folder is there, is shared, and has room")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// Something of a session is over a limit of the format.
    #[error("the session can't be kept, and will not go on elsewhere: {0}")]
    Limit(#[from] rspp_specs::wire::WireError),
}
