//! What holds of every spec: its hash does not depend on how it is written, and nothing that is done to its text makes
//! the compiler panic.

use std::path::Path;

use proptest::prelude::*;
use rspp_compiler::{Registry, Request, compile, lint};

/// The texts of all good specs, without their plans.
fn good() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/good");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    let text = |path: &std::path::PathBuf| std::fs::read_to_string(path).expect("the file can be read");
    paths.iter().map(text).map(|text| text.split("# plan:").next().unwrap_or_default().to_owned()).collect()
}

/// A graph of text nodes: chains, fan-outs, merges, each node reached from those before it.
#[derive(Clone, Debug)]
struct Graph {
    /// For each node: which of those before it lead to it, one for a segmenter, several for a merge.
    inputs: Vec<Vec<usize>>,
}

fn graphs() -> impl Strategy<Value = Graph> {
    prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..4), 1..20).prop_map(|nodes| {
        let inputs = nodes.iter().enumerate().map(|(at, inputs)| {
            let mut inputs: Vec<usize> = inputs.iter().map(|index| index.index(at + 1)).collect();
            inputs.sort_unstable();
            inputs.dedup();
            inputs
        });
        Graph { inputs: inputs.collect() }
    })
}

impl Graph {
    fn lines(&self) -> (Vec<String>, Vec<String>) {
        let mut nodes = vec!["n0: {type: user_turn}".to_owned()];
        let mut edges = Vec::new();
        for (at, inputs) in self.inputs.iter().enumerate() {
            let kind = if inputs.len() > 1 { "merge" } else { "segmenter" };
            nodes.push(format!("n{}: {{type: {kind}}}", at + 1));
            // A merge has a named port for each of its edges, so that the order of lines says nothing.
            let port = |from: &usize| if inputs.len() > 1 { format!(".from{from}") } else { String::new() };
            edges.extend(inputs.iter().map(|from| format!("n{from} -> n{}{}", at + 1, port(from))));
        }
        (nodes, edges)
    }
}

fn spec(nodes: &[String], edges: &[String], between: &str) -> String {
    let list = |lines: &[String], mark: &str| {
        lines.iter().map(|line| format!("{between}  {mark}{line}\n")).collect::<String>()
    };
    format!(
        "kind: PipelineSpec\n{between}name: random\nversion: 1\nnodes:\n{}edges:\n{}",
        list(nodes, ""),
        list(edges, "- ")
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_hash_does_not_depend_on_order_spaces_or_comments(graph in graphs(), seed in any::<u64>()) {
        let (nodes, edges) = graph.lines();
        let plan = compile("a", &spec(&nodes, &edges_by_port(&edges), ""), &Registry::new());
        let plan = plan.unwrap_or_else(|findings| panic!("{findings}"));
        let shuffled = |lines: &[String]| {
            let mut lines = lines.to_vec();
            lines.sort_by_key(|line| line.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))));
            lines
        };
        let other = spec(&shuffled(&nodes), &edges_by_port(&shuffled(&edges)), "# a comment\n\n");
        let other = compile("b", &other, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
        prop_assert_eq!(plan.hash(), other.hash());
    }

    #[test]
    fn mutations_of_good_specs_never_panic(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..12)) {
        let specs = good();
        let mut bytes = specs[which.index(specs.len())].clone().into_bytes();
        for (at, byte, what) in changes {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            const MARKS: &[u8] = b"{}[]:,-#&*!|>'\"%@`?\n\t -0.>";
            match what {
                0 if !bytes.is_empty() => drop(bytes.remove(at)),
                1 => bytes.insert(at, MARKS[usize::from(byte) % MARKS.len()]),
                2 if !bytes.is_empty() => bytes[at] = byte,
                _ => {
                    let end = bytes.len().min(at + usize::from(byte));
                    let part = bytes[at.min(end)..end].to_vec();
                    bytes.extend(part);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let checked = Request::new("mutated.yaml", &text).check(&Registry::new());
        prop_assert!(checked.plan.is_some() || checked.findings.has_errors());
        let _ = checked.findings.drawn(true);
        let _ = lint(&Request::new("mutated.yaml", &text), &Registry::new());
    }
}

/// The order of the edges that end at one merge is the order of its ports: this much of it is kept.
fn edges_by_port(edges: &[String]) -> Vec<String> {
    let mut edges = edges.to_vec();
    edges.sort_by_key(|edge| edge.split("->").nth(1).map(str::to_owned));
    edges
}
