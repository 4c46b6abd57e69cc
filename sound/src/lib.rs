//! Sound as numbers: from one rate to another ([`Resampler`]), any stream to frames of 20 ms ([`Rechunker`]), and the two
//! scales of telephones ([`Law`]).
//!
//! Whole-number arithmetic, once a filter's taps are made: the same samples come of the same samples on every machine. So it
//! may stand on both sides of the door: at the border, and in a pipeline as a node of type `resample`. Start with
//! [`Rechunker`].

mod g711;
mod rechunk;
mod resample;

pub use g711::Law;
pub use rechunk::{Rechunker, UnsupportedRate};
pub use resample::{Filters, Resampler};
