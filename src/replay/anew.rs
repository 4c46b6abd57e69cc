//! A recorded call held anew: by the same pipeline with its providers asked again, or by another pipeline.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_adapters::again::{Decisions, Outside};
use rspp_adapters::call::{CallError, CallResult, open_for};
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::memory::{Memory, Recollection};
use rspp_adapters::opener::Opener;
use rspp_adapters::provider::ProviderError;
use rspp_compiler::Registry;
use rspp_engine::Core;
use rspp_specs::plan::{NodeKind, Plan, PlanError, PlanNode, PlanParts};
use rspp_specs::timeline::Record;

use super::{ReplayError, check_nodes};
use crate::run::dialogue_of;
use crate::trace::{TraceError, read_plan};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The recording, but for the nodes that are bound anew.
    Playback,
    /// Every node's provider, asked again.
    Resimulate,
}

/// How a recorded call is held anew.
#[derive(Clone, Debug)]
pub struct Anew {
    /// By which pipeline; without one, by the recorded one.
    pub spec: Option<PathBuf>,
    /// Which nodes are bound to other providers.
    pub bindings: BTreeMap<String, String>,
    /// Who answers.
    pub mode: Mode,
    /// What becomes of others' decisions.
    pub decisions: Decisions,
    /// Where relative paths in bindings lead from: the spec's folder, or this one.
    pub beside: PathBuf,
}

/// Why a recorded call can't be held anew.
#[derive(Debug, thiserror::Error)]
pub enum AnewError {
    /// The recording.
    #[error(transparent)]
    Recording(#[from] ReplayError),
    /// The spec.
    #[error(transparent)]
    Spec(#[from] TraceError),
    /// A node that is to be bound is not there, or calls no provider.
    #[error("--bind {node}=...: the pipeline has no node {node} that calls a provider; it has {nodes}")]
    NoSuchNode {
        /// Which.
        node: String,
        /// Those that call one.
        nodes: String,
    },
    /// The recorded plan does not take the binding.
    #[error("--bind: {0}")]
    Plan(#[from] PlanError),
    /// A binding.
    #[error(transparent)]
    Binding(ProviderError),
    /// A provider.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl AnewError {
    /// Whether what was given is wrong.
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            AnewError::Spec(_) | AnewError::NoSuchNode { .. } | AnewError::Plan(_) => true,
            AnewError::Binding(error) | AnewError::Call(CallError::Open { error, .. }) => error.is_wrong_usage(),
            AnewError::Recording(_) | AnewError::Call(_) => false,
        }
    }
}

/// A call that was held anew.
pub struct Held {
    /// What it wrote.
    pub records: Vec<Record>,
    /// The caller's and the agent's side.
    pub audio: CallResult,
    /// What was answered from the recording.
    pub recollection: Recollection,
}

impl Anew {
    /// The pipeline by which recorded calls are held; `None` where it is each call's own.
    ///
    /// # Errors
    /// The spec, or a binding.
    pub fn plan(&self, registry: &Registry) -> Result<Option<Arc<Plan>>, AnewError> {
        let Some(spec) = &self.spec else { return Ok(None) };
        let plan = read_plan(spec, registry)?;
        rebound(&plan, &self.bindings).map(Some)
    }

    /// Holds a call anew, by `plan` or by its own.
    ///
    /// # Errors
    /// The recording, a binding or a provider.
    pub fn hold(
        &self,
        core: &mut Core,
        records: &[Record],
        plan: Option<&Arc<Plan>>,
        registry: &Registry,
        interrupt: &Interrupt,
    ) -> Result<Held, AnewError> {
        let outside = Outside::of(records, self.decisions).ok_or(ReplayError::NoSession)?;
        let plan = match plan {
            Some(plan) => Arc::clone(plan),
            None => rebound(outside.plan(), &self.bindings)?,
        };
        check_nodes(&plan, registry)?;
        let memory = Memory::of(records);
        let mut providers = self.providers(&plan)?;
        if self.mode == Mode::Playback {
            memory.stand_in(&plan, &mut providers);
        }
        let mut held = Vec::new();
        let audio = outside.call(core, &plan, providers, interrupt, |records, _| held.extend_from_slice(records))?;
        Ok(Held { records: held, audio, recollection: memory.recollection() })
    }

    fn providers(&self, plan: &Plan) -> Result<rspp_adapters::call::Providers, AnewError> {
        let wants = |node: &str| self.mode == Mode::Resimulate || self.bindings.contains_key(node);
        let folder = self.spec.as_ref().and_then(|spec| spec.parent()).unwrap_or(&self.beside);
        // A voice needs no dialogue; a model is one, and a recogniser may get its grammar from it.
        let needs =
            |node: &PlanNode| matches!(node.kind, NodeKind::Stt { .. } | NodeKind::Llm { .. }) && wants(&node.name);
        let dialogue = dialogue_of(plan).filter(|_| plan.nodes().iter().any(needs));
        let mut opener = Opener::new(Path::new(folder), dialogue.as_deref()).map_err(AnewError::Binding)?;
        Ok(open_for(plan, &mut opener, wants)?)
    }
}

/// The same plan with some nodes bound to other providers.
fn rebound(plan: &Arc<Plan>, bindings: &BTreeMap<String, String>) -> Result<Arc<Plan>, AnewError> {
    if bindings.is_empty() {
        return Ok(Arc::clone(plan));
    }
    let mut parts = PlanParts::from(plan.as_ref().clone());
    for (name, wanted) in bindings {
        let calls = |kind: &NodeKind| kind.binding().is_some();
        let node = parts.nodes.iter_mut().find(|node| node.name == *name && calls(&node.kind));
        match node.map(|node| &mut node.kind) {
            Some(NodeKind::Stt { binding, .. } | NodeKind::Llm { binding, .. } | NodeKind::Tts { binding }) => {
                wanted.clone_into(binding);
            }
            _ => {
                let nodes = plan.nodes().iter().filter(|node| calls(&node.kind)).map(|node| node.name.as_str());
                let nodes = nodes.collect::<Vec<_>>().join(", ");
                return Err(AnewError::NoSuchNode { node: name.clone(), nodes });
            }
        }
    }
    Ok(Arc::new(Plan::new(parts)?))
}
