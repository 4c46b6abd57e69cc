//! How long a large spec takes. Without optimization only that it comes to an end; with it, `cargo test --release
//! --test spec_speed`, the limits that people notice.

use std::time::Instant;

use rspp_compiler::{Registry, Request, compile, lint};

/// A chain of merges and segmenters.
fn large(nodes: usize) -> String {
    let mut text = "kind: PipelineSpec\nname: large\nversion: 1\nnodes:\n  n0: {type: user_turn}\n".to_owned();
    for node in 1..nodes {
        text += &format!(
            "  n{node}: {{type: llm, bind: \"say:Hello.\", provider: {{attempts: 1, fallback: [\"say:Bye.\"]}}}}\n"
        );
    }
    text += "edges:\n";
    for node in 1..nodes {
        text += &format!("  - n{} -> n{node}\n", node / 2);
    }
    text
}

fn milliseconds(work: impl Fn()) -> u128 {
    work();
    let begun = Instant::now();
    work();
    begun.elapsed().as_millis()
}

#[test]
fn a_large_spec_is_checked_and_compiled_at_once() {
    let (two_hundred, most) = (large(200), large(64));
    let linted = milliseconds(|| {
        let (_, findings) = lint(&Request::new("large.yaml", &two_hundred), &Registry::new());
        // More than 64 nodes are too many for a session; they are looked at all the same.
        assert_eq!(findings.0.len(), 1, "{findings}");
    });
    let compiled = milliseconds(|| {
        compile("large.yaml", &most, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
    });
    eprintln!("200 nodes linted in {linted} ms, 64 compiled in {compiled} ms");
    if !cfg!(debug_assertions) {
        assert!(linted < 50, "{linted} ms");
        assert!(compiled < 20, "{compiled} ms");
    }
}
