//! `src/doors/rspp/wire.rs` says what the schema of RSPP's own protocol says. No `protoc` is needed: the compiler is a crate.

use std::path::Path;
use std::{env, fs};

use prost_build::Config;

const SCHEMA: &str = "rspp/call/v1/call.proto";
const BANNER: &str = "// Made from specs/schemas/rspp/call; do not edit. To make it again:\n\
    // RSPP_REGENERATE=1 cargo test --workspace --test call_generated\n\n";

#[test]
fn the_generated_file_is_what_the_schema_says() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemas = crate_root.join("../specs/schemas");
    let descriptors = protox::compile([SCHEMA], [schemas]).expect("the schema is well formed");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut config = Config::new();
    config.out_dir(scratch).bytes(["."]);
    config.compile_fds(descriptors).expect("descriptors of a well-formed schema compile");
    let generated = fs::read_to_string(scratch.join("rspp.call.v1.rs")).expect("prost-build wrote the package's file");
    let fresh = format!("{BANNER}{generated}");
    let checked_in = crate_root.join("src/doors/rspp/wire.rs");
    if env::var_os("RSPP_REGENERATE").is_some_and(|value| value == "1") {
        fs::write(&checked_in, &fresh).expect("the checkout is writable");
    }
    let found = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        found == fresh,
        "stale generated file: run `RSPP_REGENERATE=1 cargo test --workspace --test call_generated`"
    );
}
