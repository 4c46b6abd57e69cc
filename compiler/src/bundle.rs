//! Bundles: everything that a pipeline is made of, pinned by digest (`F-015`). The same inputs give the same bytes on
//! any machine: nothing of a clock, a machine or a path outside of the spec's folder is in one.

use std::collections::BTreeMap;

use rspp_specs::artifact::{CompatibilityWindow, PinnedFile, PipelineBundle, PipelineBundleKind};
use rspp_specs::plan::{NodeKind, Plan};

/// Makes a bundle. `files` are the documents and the other files, by their paths from the spec's folder, each with its
/// role and its bytes; `runtime` is the program's version.
pub fn bundle(plan: &Plan, files: &BTreeMap<String, (String, Vec<u8>)>, runtime: &str) -> PipelineBundle {
    let pinned = files.iter().map(|(path, (role, bytes))| PinnedFile {
        path: path.clone(),
        role: role.clone(),
        blake3: blake3::hash(bytes).to_hex().to_string(),
    });
    let mut node_types: Vec<String> = plan.nodes().iter().map(|node| node.kind.type_name().to_owned()).collect();
    node_types.sort();
    node_types.dedup();
    let bindings = plan.nodes().iter().flat_map(|node| {
        let first = node.kind.binding().map(|binding| (node.name.clone(), binding.to_owned()));
        let fallbacks = node.provider.fallback.iter().enumerate();
        let fallbacks = fallbacks.map(|(index, binding)| (format!("{}.fallback[{index}]", node.name), binding.clone()));
        let tools = match &node.kind {
            NodeKind::Llm { tools, .. } => tools.as_slice(),
            _ => &[],
        };
        let tools = tools.iter().map(|tool| (format!("{}.tools.{}", node.name, tool.name), tool.binding.clone()));
        first.into_iter().chain(fallbacks).chain(tools).collect::<Vec<_>>()
    });
    let series = runtime.rsplit_once('.').map_or(runtime, |(series, _)| series).to_owned();
    let mut bundle = PipelineBundle {
        kind: PipelineBundleKind::PipelineBundle,
        name: plan.name().to_owned(),
        version: plan.version(),
        digest: String::new(),
        profile: plan.profile().to_owned(),
        plan: plan.hash().to_string(),
        files: pinned.collect(),
        node_types,
        bindings: bindings.collect(),
        compatibility: CompatibilityWindow { min_runtime: series.clone(), max_runtime: series },
    };
    bundle.digest = digest_of(&bundle);
    bundle
}

/// The digest of everything in a bundle but the digest.
pub(crate) fn digest_of(bundle: &PipelineBundle) -> String {
    let bare = PipelineBundle { digest: String::new(), ..bundle.clone() };
    let canonical = serde_json::to_vec(&bare).expect("a bundle holds only values that JSON has");
    blake3::hash(&canonical).to_hex().to_string()
}
