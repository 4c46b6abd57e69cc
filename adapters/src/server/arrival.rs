//! A caller's session begins here, or goes on here that another server had.

use std::sync::Arc;
use std::time::Duration;

use rspp_specs::ids::LeaseEpoch;
use rspp_specs::time::Micros;
use rspp_specs::timeline::DEFAULT_FAIRNESS_KEY;

use super::House;
use super::authority::{Begun, Guest};
use super::routes::random_name;
use crate::admission::Priority;
use crate::bridge::{Kept, NoRoom, Opening};
use crate::journal::{Journal, JournalError, Past, Taken, Whose};
use crate::token::{self, Claims, TokenError};
use crate::transport::{Refusal, RefusalCode};

/// A session that is open here.
pub(super) struct Arrival {
    pub(super) guest: Guest,
    /// What was written of it elsewhere.
    pub(super) past: Option<Arc<Past>>,
}

/// By so much another machine's clock may be ahead of this one's: as long is waited.
const MAX_AHEAD: Micros = Micros::from_ms(2_000);

impl House {
    /// Opens a session for a caller. One that another server had goes on here with all that it has done, if its caller brings a
    /// later lease.
    pub(super) async fn open(&self, claims: Option<&Claims>, tells: bool) -> Result<Arrival, Refusal> {
        let refused = |error: TokenError| Refusal::fatal(RefusalCode::Unauthorized, error.to_string());
        let begun = self.authority.begin(claims)?;
        let (session, tenant) = match claims {
            Some(claims) => {
                self.guard.spend(claims, token::now()).map_err(refused)?;
                (claims.session.clone(), claims.tenant.as_str())
            }
            None => (format!("call-{}", random_name()), DEFAULT_FAIRNESS_KEY),
        };
        let Begun { session: other, epoch, pipeline, witness } = begun;
        let whose = Whose { tenant: tenant.into(), session: other.unwrap_or(session).into() };
        // Who has no lease is known to nobody else, and so goes on nowhere else.
        let journal = self.journal.as_ref().filter(|_| epoch.0 > 0);
        let given_up = |_: &Refusal| journal.and(witness.as_ref()).iter().for_each(|witness| witness.on_given_up());
        let kept = match journal {
            // What could not be taken is not over.
            Some(journal) => Some(self.take(journal, whose.clone(), epoch).await.inspect_err(given_up)?),
            None => None,
        };
        let past = kept.as_ref().and_then(|kept| kept.past.clone());
        // What was begun by one version goes on by it, until the session is at rest.
        let own = past.as_ref().and_then(|past| self.authority.version_of(past.plan()?));
        let pipeline = own.unwrap_or(pipeline);
        let is_kept = kept.is_some().then(|| (whose.clone(), epoch));
        let opening = Opening {
            session: whose.session,
            fairness_key: whose.tenant,
            priority: claims.map_or(Priority::Interactive, |claims| claims.priority),
            epoch,
            pipeline,
            tells,
            kept,
        };
        let session = self.bridge.open(opening).map_err(|error| {
            let code = if matches!(error, NoRoom::Tenant { .. }) { RefusalCode::OverQuota } else { RefusalCode::Full };
            Refusal::fatal(code, error.to_string())
        });
        let session = session.inspect_err(given_up)?;
        Ok(Arrival { guest: Guest::new(session, witness, is_kept), past })
    }

    /// The secret of the session that these claims route here, if it is here: its caller was gone before it heard of it.
    pub(super) fn secret_of(&self, claims: Option<&Claims>) -> Option<String> {
        let claims = claims?;
        let whose = Whose { tenant: claims.tenant.as_str().into(), session: claims.session.as_str().into() };
        let secret = self.parking.secret_of(&whose, LeaseEpoch(claims.lease.as_ref()?.epoch))?;
        self.guard.spend(claims, token::now()).ok().map(|()| secret)
    }

    /// Takes a session from whoever had it.
    async fn take(&self, journal: &Arc<dyn Journal>, whose: Whose, epoch: LeaseEpoch) -> Result<Kept, Refusal> {
        let journal = Arc::clone(journal);
        let taken = tokio::task::spawn_blocking(move || journal.take(&whose, epoch)).await;
        let taken = taken.map_err(|_| Refusal::fatal(RefusalCode::Internal, "the journal could not be read"))?;
        let Taken { past, pen } = taken.map_err(|error| match error {
            JournalError::Stale { .. } => Refusal::fatal(RefusalCode::Moved, error.to_string()),
            error => {
                self.notes.say(&error.to_string());
                Refusal::fatal(RefusalCode::Deferred, "the journal can't be reached: come again in a moment")
            }
        })?;
        if let Some(last) = past.as_ref().and_then(|past| past.records.last()) {
            // Its time goes on; it never goes back.
            let ahead = last.at.since(self.bridge.now());
            if ahead > MAX_AHEAD {
                let says = format!("the clock of who had it is {} ms ahead of the one here", ahead.as_ms());
                return Err(Refusal::fatal(RefusalCode::Internal, says));
            }
            tokio::time::sleep(Duration::from_micros(ahead.0)).await;
        }
        Ok(Kept { past: past.map(Arc::new), pen })
    }
}
