//! LiveKit: a session in a room, and the worker that LiveKit's server sends rooms to.
//!
//! Start reading at [`dialect`], which is the transport: what a room says comes in, and what the session says goes out,
//! without a socket or a clock, like every other door's. [`room`] is the participant: signalling over a WebSocket, media
//! over `peer` connections, all of it moved by whoever polls. [`worker`] brings rooms to a server's reception as jobs come.
//! A crate of its own, so that who works on the doors does not build WebRTC again each time.

pub mod caller;
pub mod check;
pub mod dialect;
mod joining;
mod line;
mod peer;
mod people;
mod ports;
pub mod room;
pub mod services;
mod signals;
mod stream;
mod text;
pub mod token;
pub mod webhook;
mod words;
pub mod worker;

/// LiveKit's own messages.
pub use livekit_protocol as protocol;
