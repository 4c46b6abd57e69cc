//! Who says under which lease, and with which version of the pipeline, a session begins; and who hears how it fares.
//!
//! A server alone has its own pipeline and asks nobody. One of a fleet goes by what the control plane told it.

use std::ops::Deref;

use rspp_specs::ids::LeaseEpoch;

use crate::bridge::{Pipeline, Session};
use crate::token::Claims;
use crate::transport::Refusal;

/// Lets sessions begin.
pub trait Authority: Send + Sync {
    /// A caller is here, with this token.
    ///
    /// # Errors
    /// Its session can't begin here, or not now.
    fn begin(&self, claims: Option<&Claims>) -> Result<Begun, Refusal>;

    /// Whether new sessions are taken.
    ///
    /// # Errors
    /// Why not.
    fn is_ready(&self) -> Result<(), String>;
}

/// What a session begins with.
pub struct Begun {
    /// Its name, if the token's is not its own.
    pub session: Option<String>,
    /// Its lease.
    pub epoch: LeaseEpoch,
    /// What it runs.
    pub pipeline: Pipeline,
    /// Who hears how it fares.
    pub witness: Option<Box<dyn Witness>>,
}

/// Hears how a session fares. When this is dropped, the session is over.
pub trait Witness: Send + Sync {
    /// Its caller is here.
    fn on_connected(&self);

    /// Its caller is gone, and may come back.
    fn on_parted(&self);

    /// Whether somebody else has the session now: nothing of it may be heard any more.
    fn is_over(&self) -> bool;
}

/// A server that asks nobody.
pub(super) struct Alone(pub(super) Pipeline);

impl Authority for Alone {
    fn begin(&self, _claims: Option<&Claims>) -> Result<Begun, Refusal> {
        Ok(Begun { session: None, epoch: LeaseEpoch::default(), pipeline: self.0.clone(), witness: None })
    }

    fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A session, and who hears how it fares.
pub(super) struct Guest {
    // Dropped first: when the witness hears that it is over, it is.
    session: Session,
    witness: Option<Box<dyn Witness>>,
}

impl Guest {
    pub(super) fn new(session: Session, witness: Option<Box<dyn Witness>>) -> Self {
        Self { session, witness }
    }

    pub(super) fn on_connected(&self) {
        self.witness.iter().for_each(|witness| witness.on_connected());
    }

    pub(super) fn on_parted(&self) {
        self.witness.iter().for_each(|witness| witness.on_parted());
    }

    pub(super) fn is_over(&self) -> bool {
        self.witness.as_ref().is_some_and(|witness| witness.is_over())
    }
}

impl Deref for Guest {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}
