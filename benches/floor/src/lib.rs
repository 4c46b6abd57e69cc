//! Nothing of its own: the bench is `benches/floor.rs`.
