//! The way in for peers that do not come through a door: a companion of the server brings them, each with a dialect and
//! a [`Socket`], and they are attended like all others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rspp_specs::time::Micros;
use tokio_util::sync::CancellationToken;

use super::House;
use super::accept::Counted;
use super::attendant::{Attendant, Visit};
use super::socket::Socket;
use crate::notes::Notes;
use crate::transport::{Refusal, RefusalCode, Transport};

/// Who works beside the doors, on the server's runtime, until the server goes down: then it is dropped wherever it is.
pub type Companion = Box<dyn FnOnce(Reception) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Where companions bring peers in.
#[derive(Clone)]
pub struct Reception(pub(super) Arc<House>);

/// A place for one peer: held as long as this is.
pub struct Place {
    house: Arc<House>,
    counted: Arc<Counted>,
}

impl Reception {
    /// A place for one more peer, also one that is not there yet.
    ///
    /// # Errors
    /// There is none, or no new calls are taken.
    pub fn reserve(&self) -> Result<Place, Refusal> {
        if self.0.draining.is_cancelled() {
            return Err(Refusal::fatal(RefusalCode::ShuttingDown, "no new calls are taken"));
        }
        let counted = Counted::new(&self.0).inspect_err(|refusal| self.0.traffic.refuse(refusal.code))?;
        Ok(Place { house: Arc::clone(&self.0), counted })
    }

    /// How many of the connections that the server may have are there, from 0 to 1.
    pub fn crowd(&self) -> f32 {
        let connections = self.0.traffic.connections.load(Ordering::Relaxed) as f32;
        connections / self.0.limits.connections.max(1) as f32
    }

    /// For how long workers have worked so far, added up, and how many there are.
    pub fn worked(&self) -> (Micros, usize) {
        (Micros(self.0.bridge.counts().busy_us.load(Ordering::Relaxed)), self.0.bridge.workers())
    }

    /// Cancelled when no new calls are taken.
    pub fn draining(&self) -> &CancellationToken {
        &self.0.draining
    }

    /// Cancelled when nobody is waited for any more.
    pub fn over(&self) -> &CancellationToken {
        &self.0.over
    }

    /// Words to people.
    pub fn notes(&self) -> &Notes {
        &self.0.notes
    }

    /// The pipeline that is served.
    pub fn pipeline(&self) -> &str {
        self.0.pipeline.plan.name()
    }
}

impl Place {
    /// Attends a peer, to its end. The companion vouches for who it is.
    pub async fn attend(self, transport: Box<dyn Transport>, socket: Box<dyn Socket>) {
        let Place { house, counted } = self;
        Attendant::attend(Visit { house, transport, claims: None, vouched: true, counted }, socket).await;
    }
}
