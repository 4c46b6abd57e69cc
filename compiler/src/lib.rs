//! From a spec's text to a dataflow: parse, fill in, build the graph, check, plan, lower.
//!
//! [`compile`] goes from text to a [`Plan`], and reports every finding at once.
//! [`lower`] builds the plan's timely operators. Both are pure: no files, no clock.

mod artifacts;
mod budgets;
mod buffer;
mod bundle;
mod compat;
mod degrade;
mod difference;
mod document;
mod explain;
mod fan_in;
mod finding;
mod graph;
mod layers;
mod lower;
mod modules;
mod nodes;
mod policy;
mod ports;
mod providers;
mod publish;
mod recording;
mod reference;
mod registry;
mod request;
mod resolve;
mod shape;
mod sources;
mod template;
mod tree;
mod unasked;

pub use artifacts::lint;
pub use bundle::bundle;
pub use compat::{Day, breaking_changes};
pub use difference::{Bump, Change, difference, schema_changes};
pub use explain::explain;
pub use finding::{Excerpt, Finding, Findings, Severity};
pub use layers::circumstance;
pub use lower::{Lowered, lower, lower_tapped};
pub use publish::publish;
pub use reference::{Schema, markdown, schemas};
pub use registry::{NodeType, Registry};
pub use request::{Checked, Files, Named, NoFiles, Request, content, imported};
pub use resolve::{Resolved, ResolvedField};

use std::collections::BTreeMap;

use rspp_specs::plan::Plan;

/// Compiles a spec that needs no files beside it. `source` is its name in findings: a path, usually.
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
    Request { bindings: bindings.clone(), ..Request::new(source, text) }.compile(registry)
}
