//! Who says under which lease, and with which version of the pipeline, a session begins; and who hears how it fares.
//!
//! A server alone has its own pipeline and asks nobody. One of a fleet goes by what the control plane told it.

use std::ops::Deref;
use std::sync::Arc;

use rspp_specs::ids::LeaseEpoch;
use rspp_specs::plan::PlanHash;

use crate::bridge::{Pipeline, Session};
use crate::journal::Whose;
use crate::token::Claims;
use crate::transport::Refusal;

/// Lets sessions begin.
pub trait Authority: Send + Sync {
    /// A caller is here, with this token.
    ///
    /// # Errors
    /// Its session can't begin here, or not now.
    fn begin(&self, claims: Option<&Claims>) -> Result<Begun, Refusal>;

    /// The version with this plan, if it is here: what a session runs that comes from elsewhere.
    fn version_of(&self, plan: &PlanHash) -> Option<Pipeline> {
        let _ = plan;
        None
    }

    /// Whether sessions that others can go on with are to go to others.
    fn gives_up(&self) -> bool {
        false
    }

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
    pub witness: Option<Arc<dyn Witness>>,
}

/// Hears how a session fares. When this is dropped, the session is over.
pub trait Witness: Send + Sync {
    /// Its caller is here.
    fn on_connected(&self);

    /// Its caller is gone, and may come back.
    fn on_parted(&self);

    /// Whether somebody else has the session now: nothing of it may be heard any more.
    fn is_over(&self) -> bool;

    /// The version that the session is to go on with from its next turn on, if that is another one than it has. It is said
    /// once.
    fn next_version(&self) -> Option<Pipeline>;

    /// Asks whether others may go on with the session, and can. It may take a moment.
    ///
    /// # Errors
    /// Nobody can now, or nobody answers: the session stays.
    fn offer(&self) -> Result<(), String>;

    /// The session was given up for others to go on with: its end here is not its end.
    fn on_given_up(&self);
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
    witness: Option<Arc<dyn Witness>>,
    /// By what others find it, if they can go on with it.
    kept: Option<(Whose, LeaseEpoch)>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        // What others go on with must not be ended here.
        if self.kept.is_some() && self.is_over() {
            self.session.release();
        }
    }
}

impl Guest {
    pub(super) fn new(session: Session, witness: Option<Arc<dyn Witness>>, kept: Option<(Whose, LeaseEpoch)>) -> Self {
        Self { session, witness, kept }
    }

    /// Whether others can go on with it.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// By what they find it, and under which epoch it is here.
    pub(super) fn kept(&self) -> Option<(Whose, LeaseEpoch)> {
        self.kept.clone()
    }

    /// Has it go on with another version, if it is to.
    pub(super) fn follow_version(&self) {
        let next = self.witness.as_ref().and_then(|witness| witness.next_version());
        if let Some(next) = next {
            self.session.change(next);
        }
    }

    /// Asks whether others may go on with it, and can.
    pub(super) async fn offer(&self) -> bool {
        let Some(witness) = self.witness.clone() else { return false };
        tokio::task::spawn_blocking(move || witness.offer()).await.is_ok_and(|offered| offered.is_ok())
    }

    /// Gives it up as it stands, for others to go on with.
    pub(super) fn give_up(&self) {
        self.witness.iter().for_each(|witness| witness.on_given_up());
        self.session.release();
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
