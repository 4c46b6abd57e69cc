//! The words of RSPP: names, times, events, control signals, plans, limits.
//!
//! Everything else speaks in these types, and this crate imports nothing of ours. Start with [`event::Event`]
//! (what moves between nodes), [`timeline`] (what enters and leaves the core) and [`plan::Plan`] (what a
//! pipeline was compiled to).

pub mod admission;
pub mod artifact;
pub mod binding;
pub mod budget;
pub mod buffer;
mod condition;
pub mod data_class;
pub mod dataflow;
pub mod event;
pub mod ids;
pub mod limits;
mod merge_order;
pub mod meter;
pub mod outcome;
pub mod plan;
pub mod port;
pub mod recording;
pub mod signals;
pub mod time;
pub mod timeline;
pub mod trace;
mod turn_state;
pub mod wire;
