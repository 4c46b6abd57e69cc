//! Speech engines and models: what can be had on this machine, and the bundled ones.
//!
//! [`Found::on`] looks, [`choose`] says what to bind, [`install`] gets engines that need no root, [`check`] has them
//! speak and listen. Nothing here asks for a key or a login.

pub mod bundled;
pub mod cache;
pub mod check;
mod choose;
mod command;
mod discover;
pub mod install;
mod machine;
mod models;

pub use bundled::{EngineError, EngineFiles};
pub use choose::{Chosen, choose};
pub use discover::{Found, Package, Python};
pub use machine::Machine;

use crate::provider::Kind;

/// An engine that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What a spec binds to get it; empty where no spec can bind it.
    pub binding: String,
    /// Its version; empty if it gives none.
    pub version: String,
    /// Its licence, and what follows from it; empty where nobody here knows it.
    pub licence: &'static str,
    /// Where it is: a program, a Python, an address.
    pub place: String,
    /// Whether it can be used.
    pub state: State,
}

impl Engine {
    /// Whether it can be used.
    pub fn works(&self) -> bool {
        self.state == State::Works
    }
}

/// Whether an engine can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is there, and it answered.
    Works,
    /// It can't be used.
    Fails {
        /// Why not.
        why: String,
        /// What to do about it.
        remedy: String,
    },
}
