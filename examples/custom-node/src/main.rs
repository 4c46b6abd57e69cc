//! `rspp` with a node of one's own. Try `cargo run -p custom-node -- trace examples/custom-node/call.yaml`.

mod profanity;

use std::process::ExitCode;

use rspp::Registry;

fn main() -> ExitCode {
    rspp::cli::main(&Registry::new().with("profanity_filter", profanity::ProfanityFilter::node_type()))
}
