//! Everything outside the core: audio files, providers, transports.

pub mod audio;
pub mod dialogue;
pub mod recording;
pub mod scenario;
pub mod scripted;
pub mod virtual_time;
pub mod wyoming;
