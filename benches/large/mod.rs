//! Large specs, for the bench and for the test that they work.

/// A spec of so many models in a tree, each with a fallback: everything that is looked up for a node, many times.
pub(crate) fn models(nodes: usize) -> String {
    let mut text = "kind: PipelineSpec\nname: large\nversion: 1\nnodes:\n  n0: {type: user_turn}\n".to_owned();
    for node in 1..nodes {
        text += &format!(
            "  n{node}: {{type: llm, bind: \"say:Hello.\", provider: {{attempts: 1, first_result_ms: 100, fallback: [\"say:Bye.\"]}}}}\n"
        );
    }
    text += "edges:\n";
    for node in 1..nodes {
        text += &format!("  - n{} -> n{node}\n", node / 2);
    }
    text
}
