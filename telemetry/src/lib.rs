//! Traces of calls, for whoever collects them with OpenTelemetry (`F-070`): `session -> turn -> node -> invocation`, made of the
//! records that sessions write and of nothing else, and sent over OTLP.
//!
//! Data flows one way. [`spans`] looks on at a session and makes spans of what it did, with the times of its records; they go
//! into a bounded queue that nobody waits for, and what finds it full is dropped and counted; [`export`] empties it, on a
//! thread of its own. A collector that is slow or gone costs spans, and nothing else.
//!
//! Nothing of what callers or agents say is in a span: names, numbers, times and reasons are.
//!
//! Start with [`Telemetry::start`].

mod client;
pub mod export;
pub mod spans;

use std::sync::Arc;

use rspp_adapters::onlooker::{Count, Onlooker, Watch};
use rspp_specs::plan::Plan;

use export::Queue;
pub use export::{Options, Telemetry, TelemetryError};
use spans::CallSpans;

/// Looks on at all sessions, and traces them.
pub struct Tracer(Queue);

impl Onlooker for Tracer {
    fn begin(&self, session: &Arc<str>, plan: &Arc<Plan>) -> Box<dyn Watch> {
        let queue = self.0.clone();
        Box::new(CallSpans::new(session, plan, move |span| queue.put(span)))
    }

    fn counts(&self) -> Vec<Count> {
        self.0.counts()
    }
}
