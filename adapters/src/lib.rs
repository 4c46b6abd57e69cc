//! Everything outside the core: audio files, providers, transports, recordings, and the loop that drives a session.
//!
//! Start with [`drive`] (one session, its peers and a clock) and [`call`] (a call from a WAV file); [`sim`] simulates many
//! calls at once.

pub mod admission;
pub mod again;
pub mod audio;
pub mod bridge;
pub mod call;
pub mod captions;
pub mod dialogue;
pub mod doors;
pub mod drive;
pub mod engines;
pub mod failover;
pub mod http;
pub mod input_file;
pub mod interrupt;
pub mod journal;
pub mod lease;
pub mod loudspeaker;
pub mod memory;
pub mod meters;
pub mod notes;
pub mod onlooker;
pub mod openai;
pub mod opener;
pub mod orphans;
pub mod playback;
pub mod provider;
pub mod recording;
mod replaceable;
pub mod scenario;
pub mod scripted;
pub mod secret;
pub mod server;
pub mod sim;
pub mod telephony;
pub mod token;
pub mod tone;
pub mod tools;
pub mod transport;
mod valve;
pub mod wyoming;
