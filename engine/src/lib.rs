//! The deterministic core: inputs in, timeline out.
//!
//! [`Core::tick`] takes what came in and appends to a timeline everything that entered, what the core says of
//! it, and what the shell is to do. Between the door and the effects there is no clock, socket, thread, random
//! source or hash order, so the same inputs give the same timeline, byte for byte.
//!
//! Start reading at [`Core::tick`]; then `session` (a session's tables), `arbiter` (what opens, holds and ends a
//! turn), `fence` (why a cancelled turn stays silent) and `ledger` (what the caller heard).

mod admission;
mod arbiter;
mod asks;
mod batch;
mod budgets;
mod cancellation;
mod circuit;
mod commitments;
mod connection;
mod core;
mod dataflow;
mod degrade;
mod fence;
mod flow;
mod hosting;
mod invocations;
mod ledger;
mod node_set;
mod queue;
mod recording;
mod recovery;
mod renewal;
mod results;
mod session;
mod takeover;
mod timebase;
mod timers;
mod unasked;

pub use batch::{Batch, NotTaken};
pub use core::{Core, View};
pub use dataflow::{Built, Culprits, Lower};
pub use takeover::RestoreError;
