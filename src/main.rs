//! The `rspp` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rspp::cli::main(&rspp::Registry::new())
}
