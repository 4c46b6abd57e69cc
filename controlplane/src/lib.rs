//! Many workers, one authority: who holds which session, which version of a pipeline a caller gets, who is let in, and what was
//! done by whom.
//!
//! What is decided is decided by pure functions ([`lease`], [`placement`], [`rollout`], [`admission`], [`audit`], [`keys`]), each
//! with its SQL beside it; a [`Store`](store::Store) keeps rows, and makes everything of one operation happen or nothing of it.
//! [`Plane`](plane::Plane) is the operations, one transaction each, and [`api`] has them over HTTP.
//!
//! Where to start reading: [`lease`], for what may never happen; [`plane`], for what does.

pub mod admission;
pub mod api;
pub mod audit;
pub mod keys;
pub mod lease;
pub mod placement;
pub mod plane;
pub mod refusal;
pub mod registry;
pub mod rollout;
pub mod session;
pub mod store;
pub mod time;
pub mod wire;
pub mod worker;
