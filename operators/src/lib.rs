//! The operators: what a pipeline's nodes do, and the one timely operator that hosts them.
//!
//! A node is one file and one small state for each session; it implements [`Node`] and knows nothing of turns
//! being opened, cancelled or fenced. [`host`] runs nodes inside a timely dataflow: it keeps the order of
//! events where paths meet, drops what a cancelled turn's nodes held, and carries what a node asks for to the
//! core. A new built-in node is a file here, a variant of
//! [`NodeKind`](rspp_specs::plan::NodeKind), an arm of the compiler's lowering and a golden spec.

mod backchannel;
pub mod buffered;
pub mod buffers;
mod edge_buffer;
pub mod fallback;
pub mod fan_in;
pub mod filter;
pub mod harness;
pub mod host;
pub mod ingress;
pub mod join;
pub mod kept;
pub mod llm;
pub mod merge;
pub mod node;
pub mod playout;
pub mod resample;
pub mod scoped;
mod seat;
pub mod segmenter;
pub mod select;
pub mod skippable;
pub mod stt;
pub mod timed;
pub mod timed_join;
pub mod tts;
pub mod utterance;
pub mod vad;
pub mod vote;
mod watch;

pub use node::{Context, Node, Stop};
