//! From a spec's text to a dataflow: parse, fill in, build the graph, check, plan, lower.
//!
//! [`compile`] goes from text to a [`Plan`], and reports every finding at once.
//! [`lower`] builds the plan's timely operators. Both are pure: no files, no clock.

mod buffer;
mod document;
mod explain;
mod fan_in;
mod finding;
mod graph;
mod lower;
mod policy;
mod providers;
mod registry;
mod template;

pub use explain::explain;
pub use finding::{Finding, Findings, Place};
pub use lower::{Lowered, lower, lower_tapped};
pub use registry::{NodeType, Registry};

use std::collections::BTreeMap;

use rspp_specs::plan::Plan;

/// Compiles a spec. `source` is its name in findings: a path, usually.
///
/// # Errors
/// All findings of the spec, in the order of the text.
pub fn compile(source: &str, text: &str, registry: &Registry) -> Result<Plan, Findings> {
    compile_bound(source, text, &BTreeMap::new(), registry)
}

/// Compiles a spec of which some nodes are bound to other providers than it says: bindings by the names of nodes.
///
/// # Errors
/// All findings of the spec, and bindings of nodes that it does not have.
pub fn compile_bound(
    source: &str,
    text: &str,
    bindings: &BTreeMap<String, String>,
    registry: &Registry,
) -> Result<Plan, Findings> {
    let document = document::parse(source, text)?;
    let draft = template::apply(source, &document, bindings)?;
    graph::plan(source, &document, &draft, registry)
}
