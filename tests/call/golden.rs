//! Golden calls.

use std::path::Path;

use rspp::Registry;
use rspp::trace::{Traced, trace};

/// A golden call, by its name.
pub(crate) fn traced(name: &str) -> Traced {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("yaml");
    trace(&path, &Registry::new()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
