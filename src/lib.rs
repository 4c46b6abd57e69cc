//! RSPP as a library: compile a spec, run sessions through it, bring your own nodes.
//!
//! ```
//! use rspp::{Registry, compile, core};
//!
//! let spec = "kind: PipelineSpec\nname: mine\nversion: 1\ntemplate: voice-assistant\n\
//!             bind: {stt: a, llm: b, tts: c}\n";
//! let plan = compile("mine.yaml", spec, &Registry::new()).expect("the spec is complete");
//! let core = core(Registry::new());
//! assert_eq!(plan.name(), "mine");
//! assert!(!core.has_derived());
//! ```

pub use rspp_adapters as adapters;
pub use rspp_adapters::playback;
pub use rspp_compiler::{Findings, NodeType, Registry, compile, compile_bound, explain};
pub use rspp_controlplane as controlplane;
pub use rspp_engine::{Batch, Core, NotTaken, View};
pub use rspp_livekit as livekit;
pub use rspp_operators::{Context, Node, Stop, harness, scoped};
pub use rspp_specs as specs;
pub use rspp_telemetry as telemetry;

pub mod account;
pub mod cli;
pub mod corpus;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod drawing;
pub mod engines;
mod files;
pub mod fleet;
pub mod format;
pub mod gates;
pub mod junit;
pub mod percentile;
pub mod prices;
pub mod replay;
pub mod run;
pub mod screen;
pub mod serve;
pub mod sim;
pub mod spec;
pub mod summary;
pub mod templates;
pub mod timeline;
pub mod trace;

use rspp_engine::{Built, Lower};
use rspp_specs::dataflow::{AskQueue, Row};
use rspp_specs::plan::Plan;
use timely::dataflow::{Scope, StreamVec};

/// A core whose dataflows are lowered with these node types.
pub fn core(registry: Registry) -> Core {
    Core::new(Box::new(Lowering { registry }))
}

/// What joins the compiler to the engine, which know nothing of each other.
struct Lowering {
    registry: Registry,
}

impl Lower for Lowering {
    fn lower<'s>(
        &self,
        plan: &Plan,
        scope: Scope<'s, u64>,
        rows: StreamVec<'s, u64, Row>,
        asks: &AskQueue,
    ) -> Built<'s> {
        let lowered = rspp_compiler::lower(plan, &self.registry, scope, rows, asks);
        let kept = lowered.kept;
        Built { leaves: lowered.leaves, culprits: Box::new(move || kept.list()) }
    }
}
