//! The documents around a pipeline's spec: profiles, modules, layers, policies, bundles, rollouts, extensions, replay
//! manifests and compatibility policies. Each has a `kind`; their JSON Schemas are in `specs/schemas`.
//!
//! A pipeline's own document, `PipelineSpec`, is the compiler's, since its nodes are what the compiler's table says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::PortType;
use crate::port::{AudioFormat, Finality};

/// Fields of nodes, by the name or the type of a node; what they are is for the nodes' types to say.
pub type NodeValues = BTreeMap<String, BTreeMap<String, Value>>;

/// Defaults for what a spec leaves open, under a name: `simple/v1` (`F-078`). A published one never changes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionProfile {
    /// `ExecutionProfile`.
    pub kind: ExecutionProfileKind,
    /// The name, with its version: `simple/v1`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Fields of nodes, by the nodes' types.
    #[serde(default)]
    pub nodes: NodeValues,
    /// How turns are taken, as in a `PipelineSpec`.
    #[serde(default)]
    pub turn: BTreeMap<String, Value>,
    /// What is recorded, as in a `PipelineSpec`.
    #[serde(default)]
    pub recording: BTreeMap<String, Value>,
    /// What is done to each class of data, as in a `PipelineSpec`.
    #[serde(default)]
    pub redaction: BTreeMap<String, Value>,
}

/// Part of a pipeline under a name of its own, to be imported by several (`F-019`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineModule {
    /// `PipelineModule`.
    pub kind: PipelineModuleKind,
    /// The module's name.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// A whole number, that grows with every change of its ports, parameters or behaviour.
    pub version: u32,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// What whoever imports it may or must say: `${NAME}` in a text stands for the value.
    #[serde(default)]
    pub parameters: BTreeMap<String, ModuleParameter>,
    /// Its inputs by name: which `node.port` each leads to.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// Its outputs by name: which `node.port` each comes from.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
    /// Its nodes.
    pub nodes: BTreeMap<String, BTreeMap<String, Value>>,
    /// The edges between them.
    #[serde(default)]
    pub edges: Vec<Value>,
}

/// A parameter of a module.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModuleParameter {
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Its value where none is given; without one, it has to be given.
    #[serde(default)]
    pub default: Option<Value>,
}

/// What an environment, a tenant or a session lays over a spec (`F-080`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigLayer {
    /// `ConfigLayer`.
    pub kind: ConfigLayerKind,
    /// Its name: `production`, `acme`.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Whose it is. A session's goes over a tenant's, a tenant's over an environment's.
    pub layer: LayerRank,
    /// Which provider nodes call, by the nodes' names.
    #[serde(default)]
    pub bind: BTreeMap<String, String>,
    /// Fields of nodes, by the nodes' names; only of nodes that the spec has.
    #[serde(default)]
    pub nodes: NodeValues,
    /// How turns are taken, as in a `PipelineSpec`.
    #[serde(default)]
    pub turn: BTreeMap<String, Value>,
    /// What new turns need, as in a `PipelineSpec`.
    #[serde(default)]
    pub admission: BTreeMap<String, Value>,
    /// What is recorded, as in a `PipelineSpec`.
    #[serde(default)]
    pub recording: BTreeMap<String, Value>,
    /// What is done to each class of data, as in a `PipelineSpec`.
    #[serde(default)]
    pub redaction: BTreeMap<String, Value>,
}

/// Whose a layer is, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerRank {
    /// A deployment's.
    Environment,
    /// A customer's.
    Tenant,
    /// One call's.
    Session,
}

impl LayerRank {
    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            LayerRank::Environment => "environment",
            LayerRank::Tenant => "tenant",
            LayerRank::Session => "session",
        }
    }
}

/// Rules that choose providers, insert nodes and cap costs by whom a call is for (`F-057`, `F-102`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyOverlay {
    /// `PolicyOverlay`.
    pub kind: PolicyOverlayKind,
    /// The policy's name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// A whole number of your own.
    pub version: u32,
    /// Who is called, by rules; of those that apply to a node the last counts.
    #[serde(default)]
    pub providers: Vec<ProviderRule>,
    /// Fields of nodes under circumstances: a cheaper detector, fewer attempts.
    #[serde(default)]
    pub degrade: Vec<DegradeRule>,
    /// Nodes that are put into edges which the spec opens for it.
    #[serde(default)]
    pub inserts: Vec<InsertRule>,
    /// What nothing may go beyond.
    #[serde(default)]
    pub cost_caps: Option<CostCaps>,
}

/// Circumstances. All that are given have to hold; none given always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Circumstances {
    /// One of these customers.
    pub tenant: Vec<String>,
    /// One of these languages, as `de` or `pt-BR`.
    pub language: Vec<String>,
    /// One of these regions.
    pub region: Vec<String>,
    /// One of these tiers.
    pub cost_tier: Vec<String>,
}

impl Circumstances {
    /// Whether they hold for a call, of which some is known by name: `tenant`, `language`, `region`, `cost_tier`.
    pub fn hold(&self, known: &BTreeMap<String, String>) -> bool {
        let Self { tenant, language, region, cost_tier } = self;
        let each = [("tenant", tenant), ("language", language), ("region", region), ("cost_tier", cost_tier)];
        each.iter().all(|(name, any)| any.is_empty() || known.get(*name).is_some_and(|value| any.contains(value)))
    }
}

/// Which provider a node calls.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderRule {
    /// The node's name.
    pub node: String,
    /// When.
    #[serde(default)]
    pub when: Circumstances,
    /// Whom it calls.
    pub bind: String,
    /// Who is called instead, in this order.
    #[serde(default)]
    pub fallback: Vec<String>,
}

/// Fields of nodes under circumstances.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DegradeRule {
    /// When.
    pub when: Circumstances,
    /// Fields of nodes, by the nodes' names.
    pub nodes: NodeValues,
}

/// A node that is put into an edge.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InsertRule {
    /// The name of the place: one of the spec's `inserts`.
    pub at: String,
    /// When.
    #[serde(default)]
    pub when: Circumstances,
    /// The new node's name.
    pub name: String,
    /// The new node's fields, its `type` among them. It needs one input and one output.
    pub node: BTreeMap<String, Value>,
}

/// Bounds on what a call may cost. A spec that asks for more gets this much.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CostCaps {
    /// Times that one provider is tried for one answer.
    #[schemars(range(min = 1, max = 5))]
    pub max_attempts: Option<u32>,
    /// Providers that may be called instead.
    #[schemars(range(max = 8))]
    pub max_fallbacks: Option<u32>,
    /// Milliseconds that a turn may take.
    #[schemars(range(min = 1_000, max = 600_000))]
    pub max_turn_ms: Option<u64>,
}

/// Everything that a pipeline is made of, pinned by digest: what is rolled out, and what a replay needs (`F-015`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineBundle {
    /// `PipelineBundle`.
    pub kind: PipelineBundleKind,
    /// The pipeline's name.
    pub name: String,
    /// The pipeline's version.
    pub version: u32,
    /// The digest of all below: the same inputs give the same digest on any machine.
    pub digest: String,
    /// The execution profile.
    pub profile: String,
    /// The plan's hash.
    pub plan: String,
    /// The documents and files, by their paths from the spec's folder.
    pub files: Vec<PinnedFile>,
    /// The node types, and for registered ones nothing but their name: they are the program's.
    pub node_types: Vec<String>,
    /// The bindings, by node. Keys stand in them by reference only.
    pub bindings: BTreeMap<String, String>,
    /// Which programs may run it.
    pub compatibility: CompatibilityWindow,
}

/// A file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedFile {
    /// Its path from the spec's folder.
    pub path: String,
    /// What it is for: `spec`, `module`, `dialogue`, `captions`.
    pub role: String,
    /// BLAKE3 of its bytes, in hexadecimal.
    pub blake3: String,
}

/// Versions of the program, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompatibilityWindow {
    /// `0.1`.
    pub min_runtime: String,
    /// `0.1`.
    pub max_runtime: String,
}

/// Which bundle is given to whom, and how far (`F-093`, `F-100`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutManifest {
    /// `RolloutManifest`.
    pub kind: RolloutManifestKind,
    /// The rollout's name.
    pub name: String,
    /// The digest of the bundle that is rolled out.
    pub bundle: String,
    /// The digest of the bundle that is gone back to.
    pub rollback: String,
    /// The steps, in order; each gives the bundle to at least as many as the one before.
    #[schemars(length(min = 1, max = 32))]
    pub steps: Vec<RolloutStep>,
}

/// One step of a rollout.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutStep {
    /// So many of a hundred new sessions.
    #[schemars(range(max = 100))]
    pub percent: u32,
    /// These customers, whatever the percentage.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Minutes before the next step.
    #[serde(default)]
    pub hold_minutes: u32,
}

/// A node type or an adapter from outside the tree (`F-121`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionManifest {
    /// `ExtensionManifest`.
    pub kind: ExtensionManifestKind,
    /// The extension's name: the node type's, for a node.
    pub name: String,
    /// Its own version, `1.2.0`.
    pub version: String,
    /// What it extends.
    pub extends: ExtensionPoint,
    /// The version of the node interface that it is written for.
    pub api_version: u32,
    /// How far it is trusted.
    pub trust: TrustLevel,
    /// BLAKE3 of the package, in hexadecimal.
    #[serde(default)]
    pub digest: Option<String>,
    /// Its input ports.
    #[serde(default)]
    pub inputs: BTreeMap<String, ManifestPort>,
    /// Its output ports.
    #[serde(default)]
    pub outputs: BTreeMap<String, ManifestPort>,
    /// What it may use. Has to be given for what runs outside of the program.
    #[serde(default)]
    pub limits: Option<ExtensionLimits>,
}

/// A port of an extension: its type, or its type and what more is said of what it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ManifestPort {
    /// Its type.
    Type(PortType),
    /// Its type and more.
    More(ManifestPortFields),
}

/// A port's type and what more is said of what it carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestPortFields {
    /// Its type.
    #[serde(rename = "type")]
    pub port_type: PortType,
    /// Of audio: its form.
    #[serde(default)]
    pub audio: Option<AudioFormat>,
    /// Of transcripts: only those that are final, or that are not.
    #[serde(default)]
    pub finality: Option<Finality>,
    /// Of a payload of your own: its schema, a name with its version, `crm.contact/v1`.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128))]
    pub schema: Option<String>,
}

/// What an extension extends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExtensionPoint {
    /// A node within the program.
    Node,
    /// A node outside of it.
    ExternalNode,
    /// A transport or a provider.
    Adapter,
}

/// How far an extension is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustLevel {
    /// Our own.
    FirstParty,
    /// Looked through and signed off.
    Reviewed,
    /// Anybody's: only outside of the program.
    Untrusted,
}

/// What an extension may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionLimits {
    /// Memory, in mebibytes.
    #[schemars(range(min = 1, max = 65_536))]
    pub memory_mib: u32,
    /// Time for one event, in milliseconds.
    #[schemars(range(min = 1, max = 60_000))]
    pub event_ms: u32,
}

/// Which recordings are replayed against what, and what may differ (`F-151`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayManifest {
    /// `ReplayManifest`.
    pub kind: ReplayManifestKind,
    /// The suite's name.
    pub name: String,
    /// The digest of the bundle that the recordings were made with; without one, what each recording says.
    #[serde(default)]
    pub bundle: Option<String>,
    /// The recordings, by their paths from this document.
    #[schemars(length(min = 1, max = 10_000))]
    pub recordings: Vec<String>,
    /// What may differ.
    #[serde(default)]
    pub divergence: DivergencePolicy,
}

/// What may differ between a recording and its replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DivergencePolicy {
    /// Nothing, to the byte.
    #[default]
    None,
    /// Times, and nothing else.
    Timing,
}

/// How schemas may change, what is deprecated, and which versions work together (`F-028`, `F-162`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompatibilityPolicy {
    /// `CompatibilityPolicy`.
    pub kind: CompatibilityPolicyKind,
    /// The policy's name.
    pub name: String,
    /// So many minor versions may lie between a program and what it works with.
    #[schemars(range(max = 12))]
    pub version_skew: u32,
    /// The changes of a schema that need no new major version.
    pub compatible: Vec<SchemaChange>,
    /// What goes, and when.
    #[serde(default)]
    pub deprecations: Vec<Deprecation>,
}

/// A change of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaChange {
    /// A field that may be left out.
    AddOptionalField,
    /// A field that may not.
    AddRequiredField,
    /// A field less.
    RemoveField,
    /// Another type of a field.
    ChangeType,
    /// A word more that a field may have.
    AddWord,
    /// A word less.
    RemoveWord,
    /// Closer bounds.
    NarrowBounds,
    /// Wider bounds.
    WidenBounds,
}

/// Something that goes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deprecation {
    /// The field's path: `PipelineSpec.provider`.
    pub path: String,
    /// What takes its place.
    pub instead: String,
    /// From this day on it is warned of, `2027-01-31`.
    pub warned_from: String,
    /// From this day on it is an error.
    pub refused_from: String,
    /// From this version on it may be gone.
    pub removed_in: String,
}

/// The word of a document's `kind`.
macro_rules! kinds {
    ($($kind:ident $name:ident),* $(,)?) => {
        $(
            /// The word of the document's `kind`.
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
            pub enum $kind {
                /// The only one.
                #[default]
                $name,
            }
        )*
    };
}

kinds! {
    ExecutionProfileKind ExecutionProfile,
    PipelineModuleKind PipelineModule,
    ConfigLayerKind ConfigLayer,
    PolicyOverlayKind PolicyOverlay,
    PipelineBundleKind PipelineBundle,
    RolloutManifestKind RolloutManifest,
    ExtensionManifestKind ExtensionManifest,
    ReplayManifestKind ReplayManifest,
    CompatibilityPolicyKind CompatibilityPolicy,
}
