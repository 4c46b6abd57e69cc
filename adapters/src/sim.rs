//! A simulated worker: many calls in virtual time, drawn from one seed, under faults.
//!
//! The core is the production core, sessions are rows in it, and the schedule and the transport are those of the
//! shell. What is simulated is who stands outside: callers, providers, the network, the control plane. Everything that
//! is left to chance is drawn from a stream of its own for each session, call and concern, so that a session
//! behaves alone as it does among others, and one concern's draws do not shift another's.
//!
//! Start with [`Simulation`]; then `session` (one line of the worker) and `fault` (what can go wrong, and how a trace
//! shows that it did).

mod application;
mod caller;
mod character;
mod computing;
mod draws;
mod fault;
mod leases;
mod loss;
mod model;
mod network;
mod pressure;
mod providers;
mod recogniser;
mod recorder;
mod session;
mod speech;
mod synthesiser;
mod worker;

pub use character::Pipeline;
pub use computing::compute;
pub use fault::{Fault, Faults, UnknownFault};
pub use model::{NODE_COMPUTES, NODE_FAILS, NODE_PANICS};
pub use session::Load;
pub use worker::{Ended, Simulation, Watch, Which};
