//! `src/wire/generated.rs` says what the schemas say. No `protoc` is needed: the compiler is a Rust crate.
//!
//! This test links the crate, so a new event is written in this order: the schema, then the generated file by
//! `RSPP_REGENERATE=1`, then the type in `timeline` and its conversion, which the compiler asks for.

use std::path::Path;
use std::{env, fs};

use prost_build::Config;

const SCHEMAS: [&str; 2] = ["rspp/v1/event.proto", "rspp/v1/recording.proto"];
const BANNER: &str = "// Made from specs/schemas; do not edit. To make it again:\n\
    // RSPP_REGENERATE=1 cargo test -p rspp-specs --test wire_generated\n\n";

/// What the schemas generate today.
fn generate(schemas: &Path) -> String {
    let descriptors = protox::compile(SCHEMAS, [schemas]).expect("the schemas are well formed");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut config = Config::new();
    // An envelope is much larger than the other kinds of frame, and what is known of a turn comes next.
    config.out_dir(scratch).boxed(".rspp.v1.RecordingFrame.kind.event");
    config.boxed(".rspp.v1.RecordingFrame.kind.evidence");
    config.compile_fds(descriptors).expect("descriptors of well-formed schemas compile");
    let generated = fs::read_to_string(scratch.join("rspp.v1.rs")).expect("prost-build wrote the package's file");
    format!("{BANNER}{generated}")
}

#[test]
fn the_generated_file_is_what_the_schemas_say() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked_in = crate_root.join("src/wire/generated.rs");
    let fresh = generate(&crate_root.join("schemas"));
    if env::var_os("RSPP_REGENERATE").is_some_and(|value| value == "1") {
        fs::write(&checked_in, &fresh).expect("the checkout is writable");
    }
    let found = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        found == fresh,
        "stale generated file: run `RSPP_REGENERATE=1 cargo test -p rspp-specs --test wire_generated`"
    );
}
