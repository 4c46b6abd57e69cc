//! The compiled plan: inert, ordered, hashed. The engine and the operators read it; only the compiler makes it.
//!
//! # Invariants
//!
//! 1. Nodes stand in topological order: every edge runs from a lower index to a higher one.
//! 2. Every edge names ports that its nodes have, and joins types that fit.
//! 3. There are at most [`MAX_PLAN_NODES`] nodes and
//!    [`MAX_PLAN_EDGES`] edges, and names of nodes differ.
//! 4. An input port takes one edge. A merge and a join have a port for each.
//! 5. Every buffer is bounded, and its low watermark is below its high one.
//! 6. Budgets and steps name nodes, edges and paths that are there, in bounded number.
//! 7. The hash covers everything that can change what a session does, and nothing else: the metadata are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::budget::{DegradeStep, TurnPart};
use crate::buffer::{BufferSpec, EdgeSync};
use crate::event::ToolEffect;
use crate::ids::{EdgeIndex, NodeIndex, PortIndex};
use crate::limits::{MAX_DEGRADE_STEPS, MAX_NODE_PORTS, MAX_PLAN_EDGES, MAX_PLAN_NODES, MAX_TURN_PATHS};
use crate::port::{AudioFormat, Misfit, Port, carries, misfit};
use crate::time::Micros;

mod policy;
mod recording;

pub use policy::{
    AdmissionPolicy, Budget, ComputePolicy, Graces, InterruptionPolicy, Otherwise, ProviderPolicy, SilencePolicy,
    TurnBudgets, TurnPolicy,
};
pub use recording::{ClassRedaction, RecordingLevel, RecordingPolicy, RecordingSample, Redaction, Sink};

/// Words for people and tools: a description, an owner, labels.
pub type Metadata = BTreeMap<String, serde_json::Value>;

/// Digest of a plan's canonical JSON, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanHash(pub Arc<str>);

impl std::fmt::Display for PlanHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A compiled pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlanParts", into = "PlanParts")]
pub struct Plan {
    parts: PlanParts,
    hash: PlanHash,
}

/// What a plan is made of, before its invariants are checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanParts {
    /// The pipeline's name.
    pub name: String,
    /// The pipeline's own version.
    pub version: u32,
    /// The execution profile that filled in what the spec left open.
    pub profile: String,
    /// In topological order.
    pub nodes: Vec<PlanNode>,
    /// By (from, to).
    pub edges: Vec<PlanEdge>,
    /// What the arbiter decides by.
    pub turn: TurnPolicy,
    /// What new turns need.
    #[serde(default, skip_serializing_if = "AdmissionPolicy::is_default")]
    pub admission: AdmissionPolicy,
    /// What is recorded, and what is taken out of it.
    #[serde(default, skip_serializing_if = "RecordingPolicy::is_default")]
    pub recording: RecordingPolicy,
    /// Words for people and tools, which change nothing that a session does.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
}

/// One node of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanNode {
    /// The name in the spec.
    pub name: String,
    /// What it does, with its parameters.
    pub kind: NodeKind,
    /// How long its state lives.
    pub lifetime: Lifetime,
    /// Input ports, in order.
    pub inputs: Vec<Port>,
    /// Output ports, in order.
    pub outputs: Vec<Port>,
    /// What is asked of the provider that it calls.
    #[serde(default, skip_serializing_if = "ProviderPolicy::is_default")]
    pub provider: ProviderPolicy,
}

/// How long a node's state lives (`F-155`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// As long as the session: the prelude, and playout.
    Session,
    /// From a turn's opening until the next: everything that only a turn's events reach.
    Turn,
}

/// What a node keeps, by how long that may live (`F-155`). The other classes of state are not nodes': the conversation, which
/// survives the worker with the session's log, and snapshots of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateClass {
    /// Gone when its turn is.
    TurnEphemeral,
    /// Kept as long as the session; where another worker goes on with it, made again from its log.
    SessionHot,
}

impl StateClass {
    /// The class of what a node keeps that lives for so long, unless it says otherwise for a part of it.
    pub const fn of(lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Turn => StateClass::TurnEphemeral,
            Lifetime::Session => StateClass::SessionHot,
        }
    }
}

/// One edge of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanEdge {
    /// From which node.
    pub from: NodeIndex,
    /// Its output port.
    pub from_port: PortIndex,
    /// To which node.
    pub to: NodeIndex,
    /// Its input port.
    pub to_port: PortIndex,
    /// What must hold of an event for the edge to carry it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// What may wait before the node; `None` where nothing can, because the node takes everything at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Arc<BufferSpec>>,
    /// With which other edges to its node it plays together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Box<EdgeSync>>,
}

pub use crate::condition::{Comparison, Condition};

/// What a node does, with its parameters. A new built-in node is one variant here, one file in `operators`,
/// one arm in the lowering and one golden spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NodeKind {
    /// Source: the caller's audio.
    Caller,
    /// Source: what the caller said, once its turn is open.
    UserTurn,
    /// Finds speech and its end.
    Vad(VadParams),
    /// Recognises an utterance.
    Stt {
        /// Which provider.
        binding: String,
        /// Audio from before the onset.
        preroll: Micros,
    },
    /// Joins an utterance's end with its transcript, and proposes a turn.
    Utterance(UtteranceParams),
    /// Answers, and calls tools.
    Llm {
        /// Which provider.
        binding: String,
        /// The tools that the model may call.
        tools: Vec<ToolSpec>,
        /// What the model is told before the conversation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
    },
    /// Cuts an answer into speakable sentences.
    Segmenter(SegmenterParams),
    /// Brings audio into another form.
    Resample(AudioFormat),
    /// Speaks.
    Tts {
        /// Which provider.
        binding: String,
    },
    /// Sink: hands audio to the transport a little ahead of its time.
    Playout(PlayoutParams),
    /// Passes on what its inputs bring, in a declared order.
    Merge {
        /// The order.
        order: MergeOrder,
    },
    /// Waits for each of its inputs, and passes on what they bring together.
    Join {
        /// What belongs together.
        by: JoinBy,
    },
    /// Lets one of its inputs through: the one that is written first, or the first of which a condition holds.
    Select {
        /// The condition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        when: Option<Condition>,
    },
    /// Lets its first input through; the second where the first fails, or gives nothing in time.
    Fallback {
        /// So long the first may take once the second has something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Micros>,
    },
    /// Keeps sentences with certain words from being spoken.
    Filter(FilterParams),
    /// Passes on what most of its recognisers heard.
    Vote,
    /// A node from outside the tree, found in the registry by its type.
    Custom {
        /// The name it is registered under.
        type_name: String,
        /// Its own parameters.
        config: serde_json::Value,
    },
}

impl NodeKind {
    /// The type's name in specs.
    pub fn type_name(&self) -> &str {
        match self {
            NodeKind::Caller => "caller",
            NodeKind::UserTurn => "user_turn",
            NodeKind::Vad(_) => "vad",
            NodeKind::Stt { .. } => "stt",
            NodeKind::Utterance(_) => "utterance",
            NodeKind::Llm { .. } => "llm",
            NodeKind::Segmenter(_) => "segmenter",
            NodeKind::Resample(_) => "resample",
            NodeKind::Tts { .. } => "tts",
            NodeKind::Playout(_) => "playout",
            NodeKind::Merge { .. } => "merge",
            NodeKind::Join { .. } => "join",
            NodeKind::Select { .. } => "select",
            NodeKind::Fallback { .. } => "fallback",
            NodeKind::Filter(_) => "filter",
            NodeKind::Vote => "vote",
            NodeKind::Custom { type_name, .. } => type_name,
        }
    }

    /// What of it decides how it is built: its type, and what a fan-in goes by.
    fn shape(&self) -> String {
        match self {
            NodeKind::Merge { order } => order.name().to_owned(),
            NodeKind::Join { by: JoinBy::Watermark } => "timed_join".to_owned(),
            kind => kind.type_name().to_owned(),
        }
    }

    /// The order in which it takes what one tick brings, where paths meet at it.
    pub fn order(&self) -> MergeOrder {
        match self {
            NodeKind::Merge { order } => *order,
            _ => MergeOrder::default(),
        }
    }

    /// The provider's binding, for nodes that call one.
    pub fn binding(&self) -> Option<&str> {
        match self {
            NodeKind::Stt { binding, .. } | NodeKind::Llm { binding, .. } | NodeKind::Tts { binding } => Some(binding),
            _ => None,
        }
    }
}

pub use crate::merge_order::{JoinBy, MergeOrder};

/// What of the caller's speech is a turn, and what interrupts one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UtteranceParams {
    /// Unintelligible speech of at least this length opens a turn all the same.
    pub min_rejected_speech: Micros,
    /// What listeners say to make a speaker go on, in words; it does not interrupt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backchannels: Vec<String>,
    /// So many words are needed to interrupt.
    #[serde(skip_serializing_if = "is_one")]
    pub confirm_words: u32,
    /// Words that come after their utterance was closed open a turn of their own, if they are not later than this. Zero
    /// drops them all, with a notice.
    #[serde(skip_serializing_if = "is_zero")]
    pub late_words: Micros,
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(time: &Micros) -> bool {
    time.0 == 0
}

impl Default for UtteranceParams {
    fn default() -> Self {
        Self {
            min_rejected_speech: Micros::from_ms(400),
            backchannels: Vec::new(),
            confirm_words: 1,
            late_words: Micros(0),
        }
    }
}

/// How an answer is cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmenterParams {
    /// Words that have waited for so long for the end of their sentence are spoken without it, when others come.
    pub max_wait: Micros,
}

impl Default for SegmenterParams {
    fn default() -> Self {
        Self { max_wait: Micros::from_ms(3_000) }
    }
}

/// How speech is told from silence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VadParams {
    /// What judges a frame.
    pub detector: Detector,
    /// A frame of at least this probability is speech, before the onset.
    pub onset_probability: f32,
    /// So many such frames in a row are an onset.
    pub onset_frames: u32,
    /// A frame of less than this probability is quiet, after the onset.
    pub release_probability: f32,
    /// So much quiet is a pause.
    pub pause: Micros,
    /// So much quiet ends the utterance.
    pub hangover: Micros,
    /// So much speech in an utterance is no cough.
    pub sustained: Micros,
}

impl Default for VadParams {
    fn default() -> Self {
        Self {
            detector: Detector::Earshot,
            onset_probability: 0.7,
            onset_frames: 4,
            release_probability: 0.35,
            pause: Micros::from_ms(100),
            hangover: Micros::from_ms(480),
            sustained: Micros::from_ms(400),
        }
    }
}

/// What judges whether a frame is speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A small neural detector in pure Rust; for 16 kHz.
    Earshot,
    /// Loud is speech: for scripted callers and for lines without noise.
    Energy,
    /// None: only the button says what is speech.
    PushToTalk,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// Its name, as the model calls it.
    pub name: String,
    /// What it does to the world.
    pub effect: ToolEffect,
    /// Which provider runs it.
    pub binding: String,
    /// What the model is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON Schema of its arguments, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
}

/// How playout paces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayoutParams {
    /// How far ahead of its playhead it sends.
    pub lookahead: Micros,
    /// How much audio of a turn may wait; what is over is dropped, newest first, with a notice.
    pub max_queued: Micros,
}

impl Default for PlayoutParams {
    fn default() -> Self {
        Self { lookahead: Micros::from_ms(40), max_queued: Micros::from_ms(crate::limits::MAX_PLAYOUT_MS) }
    }
}

/// What must not be spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterParams {
    /// Words and phrases.
    pub deny: Vec<String>,
    /// What is said in the place of a sentence with one of them; if empty, nothing.
    pub instead: String,
}

/// Which invariant of [`Plan`] does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan invariant {invariant} does not hold: {detail}")]
pub struct PlanError {
    /// The invariant's number in this module's documentation.
    pub invariant: u8,
    /// What is wrong.
    pub detail: String,
}

impl Plan {
    /// Checks the invariants and seals the parts.
    ///
    /// # Errors
    /// Names the first invariant that does not hold.
    pub fn new(parts: PlanParts) -> Result<Self, PlanError> {
        parts.check()?;
        let bare = PlanParts { metadata: Metadata::new(), ..parts.clone() };
        let canonical = serde_json::to_vec(&bare).expect("plan parts hold only values that JSON has");
        let digest = blake3::hash(&canonical).to_hex();
        Ok(Self { parts, hash: PlanHash(Arc::from(&digest.as_str()[..16])) })
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The pipeline's own version.
    pub fn version(&self) -> u32 {
        self.parts.version
    }

    /// The execution profile.
    pub fn profile(&self) -> &str {
        &self.parts.profile
    }

    /// The nodes, in topological order.
    pub fn nodes(&self) -> &[PlanNode] {
        &self.parts.nodes
    }

    /// The nodes with their indices.
    pub fn indexed_nodes(&self) -> impl Iterator<Item = (NodeIndex, &PlanNode)> {
        (0u16..).map(NodeIndex).zip(&self.parts.nodes)
    }

    /// One node.
    pub fn node(&self, index: NodeIndex) -> &PlanNode {
        &self.parts.nodes[usize::from(index.0)]
    }

    /// The first node of which `wanted` is true.
    pub fn find(&self, wanted: impl Fn(&NodeKind) -> bool) -> Option<NodeIndex> {
        self.indexed_nodes().find(|(_, node)| wanted(&node.kind)).map(|(index, _)| index)
    }

    /// Whether what leaves a node meets other streams before anybody uses it: what came of it can't be told from theirs
    /// any more, and not be taken back.
    pub fn mingles(&self, from: NodeIndex) -> bool {
        // Edges lead to higher indices and stand by (from, to), so that one pass reaches all that can be reached.
        let mut reached = BTreeSet::from([from]);
        for edge in self.edges().iter().filter(|edge| edge.from >= from) {
            let to = self.node(edge.to);
            if reached.contains(&edge.from) && to.kind.binding().is_none() {
                // Of a fallback's branches one alone carries, and what it takes back is taken back behind it.
                if to.inputs.len() > 1 && !matches!(to.kind, NodeKind::Fallback { .. }) {
                    return true;
                }
                reached.insert(edge.to);
            }
        }
        false
    }

    /// The edges.
    pub fn edges(&self) -> &[PlanEdge] {
        &self.parts.edges
    }

    /// Whether all that a node gives has another branch in its place: then its failure is not the turn's.
    pub fn is_backed(&self, node: NodeIndex) -> bool {
        // Edges lead to higher indices, so that from the last node on, what is behind each is known.
        let mut backed = vec![false; self.nodes().len()];
        for index in (usize::from(node.0)..backed.len()).rev() {
            let mut out = self.edges().iter().filter(|edge| usize::from(edge.from.0) == index).peekable();
            let is_backed = |edge: &PlanEdge| {
                let first = edge.to_port == PortIndex(0);
                let falls_back = matches!(self.node(edge.to).kind, NodeKind::Fallback { .. }) && first;
                falls_back || backed[usize::from(edge.to.0)]
            };
            backed[index] = out.peek().is_some() && out.all(is_backed);
        }
        backed[usize::from(node.0)]
    }

    /// One edge.
    pub fn edge(&self, index: EdgeIndex) -> &PlanEdge {
        &self.parts.edges[usize::from(index.0)]
    }

    /// The edge that ends at this input.
    pub fn edge_into(&self, node: NodeIndex, port: PortIndex) -> Option<EdgeIndex> {
        let place = self.edges().iter().position(|edge| edge.to == node && edge.to_port == port)?;
        Some(EdgeIndex(place as u16))
    }

    /// An edge's name in traces and messages: `segmenter.text->tts.text`.
    pub fn name_of(&self, edge: &PlanEdge) -> String {
        let (from, to) = (self.node(edge.from), self.node(edge.to));
        let port = |ports: &[Port], index: PortIndex| ports[usize::from(index.0)].name.clone();
        let (output, input) = (port(&from.outputs, edge.from_port), port(&to.inputs, edge.to_port));
        format!("{}.{output}->{}.{input}", from.name, to.name)
    }

    /// What the arbiter decides by.
    pub fn turn_policy(&self) -> &TurnPolicy {
        &self.parts.turn
    }

    /// What a node of a turn may take, if it has a budget: its own, or that of all who call a provider.
    pub fn node_budget(&self, index: NodeIndex) -> Option<Budget> {
        let budgets = &self.turn_policy().budgets;
        let of_callers = || self.node(index).kind.binding().map(|_| budgets.node);
        budgets.of_part(TurnPart::Node(index)).or_else(of_callers)
    }

    /// Whether all that a node gives goes to another one, by whatever way.
    pub fn leads_only_to(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let mut out = self.edges().iter().filter(|edge| edge.from == from).peekable();
        out.peek().is_some() && out.all(|edge| edge.to == to || self.leads_only_to(edge.to, to))
    }

    /// What new turns need.
    pub fn admission(&self) -> &AdmissionPolicy {
        &self.parts.admission
    }

    /// What is recorded, and what is taken out of it.
    pub fn recording(&self) -> &RecordingPolicy {
        &self.parts.recording
    }

    /// Words for people and tools.
    pub fn metadata(&self) -> &Metadata {
        &self.parts.metadata
    }

    /// The digest of everything above but the metadata.
    pub fn hash(&self) -> &PlanHash {
        &self.hash
    }

    /// What decides which dataflow a session of this plan runs in: types of nodes, and edges. Parameters,
    /// bindings, buffers and policies travel with the session.
    pub fn shape(&self) -> Shape {
        let nodes: Vec<String> = self.nodes().iter().map(|node| node.kind.shape()).collect();
        let edges: Vec<PlanEdge> =
            self.edges().iter().map(|edge| PlanEdge { buffer: None, sync: None, ..edge.clone() }).collect();
        let edges = serde_json::to_string(&edges).expect("edges hold only values that JSON has");
        Shape { nodes, edges }
    }
}

/// Two plans of one shape share a dataflow on each worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    nodes: Vec<String>,
    edges: String,
}

impl PlanParts {
    fn check(&self) -> Result<(), PlanError> {
        let fail = |invariant, detail: String| Err(PlanError { invariant, detail });
        if self.nodes.len() > MAX_PLAN_NODES || self.edges.len() > MAX_PLAN_EDGES {
            return fail(3, format!("{} nodes and {} edges", self.nodes.len(), self.edges.len()));
        }
        let mut names = BTreeSet::new();
        for node in &self.nodes {
            if !names.insert(node.name.as_str()) {
                return fail(3, format!("two nodes are named {}", node.name));
            }
            if node.inputs.len().max(node.outputs.len()) > MAX_NODE_PORTS {
                return fail(3, format!("{} has more than {MAX_NODE_PORTS} ports", node.name));
            }
        }
        let mut taken = BTreeSet::new();
        for edge in &self.edges {
            self.check_edge(edge)?;
            if let Some(Err(field)) = edge.buffer.as_deref().map(BufferSpec::check) {
                return fail(5, format!("the buffer of an edge to {}: {field}", edge.to));
            }
            if !taken.insert((edge.to, edge.to_port)) {
                let to = &self.nodes[usize::from(edge.to.0)];
                return fail(4, format!("several edges end at an input of {}", to.name));
            }
        }
        self.check_budgets()
    }

    fn check_budgets(&self) -> Result<(), PlanError> {
        let TurnBudgets { nodes, paths, edges, .. } = &self.turn.budgets;
        let of_paths = paths.iter().flat_map(|(path, _)| [path.from, path.to]);
        let of_steps = self.turn.degrade.iter().copied().map(DegradeStep::node);
        let mut named = nodes.iter().map(|(node, _)| *node).chain(of_paths).chain(of_steps);
        let strange = named.any(|node| usize::from(node.0) >= self.nodes.len());
        let strange = strange || edges.iter().any(|(edge, _)| usize::from(edge.0) >= self.edges.len());
        let many = paths.len() > MAX_TURN_PATHS || self.turn.degrade.len() > MAX_DEGRADE_STEPS;
        if strange || many {
            let detail = "a budget or a step names what is not there, or there are too many".to_owned();
            return Err(PlanError { invariant: 6, detail });
        }
        Ok(())
    }

    fn check_edge(&self, edge: &PlanEdge) -> Result<(), PlanError> {
        let fail = |invariant, detail: String| Err(PlanError { invariant, detail });
        if edge.from >= edge.to {
            return fail(1, format!("an edge runs from {} to {}", edge.from, edge.to));
        }
        fn port(ports: &[Port], index: PortIndex) -> Option<&Port> {
            ports.get(usize::from(index.0))
        }
        let from = self.nodes.get(usize::from(edge.from.0)).and_then(|node| port(&node.outputs, edge.from_port));
        let to = self.nodes.get(usize::from(edge.to.0)).and_then(|node| port(&node.inputs, edge.to_port));
        match (from, to) {
            (Some(from), Some(to)) => {
                // What passes through a node that does not look inside, or a condition, is the compiler's to follow.
                let (given, taken) = ((from.port_type, from.only.as_ref()), (to.port_type, to.only.as_ref()));
                let unknown = from.only.is_none() || edge.when.is_some();
                match misfit(given, taken) {
                    Some(Misfit::Type) => {}
                    Some(_) if !unknown => {}
                    _ => return Ok(()),
                }
                let (gives, takes) = (carries(given.0, given.1), carries(taken.0, taken.1));
                fail(2, format!("an edge from {} to {} joins {gives} to {takes}", edge.from, edge.to))
            }
            _ => fail(2, format!("an edge from {} to {} names a port that is not there", edge.from, edge.to)),
        }
    }
}

impl TryFrom<PlanParts> for Plan {
    type Error = PlanError;

    fn try_from(parts: PlanParts) -> Result<Self, PlanError> {
        Plan::new(parts)
    }
}

impl From<Plan> for PlanParts {
    fn from(plan: Plan) -> Self {
        plan.parts
    }
}
