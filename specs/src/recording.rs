//! What is taken out of an event before it is written (`F-073`).

/// What is done to what a person said, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Redaction {
    /// Nothing.
    Allow,
    /// It keeps its kind and its length, and says nothing.
    Mask,
    /// A stand-in takes its place.
    Tokenize,
    /// Its digest takes its place.
    Hash,
    /// It is left out.
    Drop,
}

/// What was done to an event before it was written. Its shape is kept: audio has as many samples, all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// What was done.
    pub how: Redaction,
    /// Of audio that was hashed.
    pub digest: Option<[u8; 16]>,
}
