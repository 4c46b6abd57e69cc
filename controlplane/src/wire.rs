//! What is said to the control plane and by it, as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admission::Quota;
use crate::audit::Entry;
use crate::keys::{Key, Role};
use crate::lease::{Standing, Terms};
use crate::registry::Artifact;
use crate::rollout::{Revision, Step};
use crate::session::{Session, State, Stop};
use crate::time::Millis;
use crate::worker::Worker;

/// Something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// For programs.
    pub code: String,
    /// For people: what, where, and what to do.
    pub message: String,
    /// When it is worth another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Nothing more is to be said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Always true.
    pub done: bool,
}

/// A document was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// Which.
    pub artifact: Artifact,
    /// Whether it is new, or was there before.
    pub is_new: bool,
    /// What should be changed, and need not be.
    pub warnings: Vec<String>,
}

/// All published documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifacts {
    /// By kind and name, the newest versions first.
    pub artifacts: Vec<Artifact>,
}

/// A document with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// Which.
    pub artifact: Artifact,
    /// Its files.
    pub body: crate::registry::Body,
}

/// All rollouts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rollouts {
    /// The newest state of each.
    pub rollouts: Vec<Revision>,
}

/// A step of one rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStep {
    /// Of which kind of document.
    pub kind: String,
    /// Of which document.
    pub name: String,
    /// Which step.
    #[serde(flatten)]
    pub step: Step,
}

/// Somebody asks where a new session goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteRequest {
    /// Whose call it is.
    pub tenant: String,
    /// The session's name, which is used once; one is made up where none is given.
    #[serde(default)]
    pub session: Option<String>,
    /// What it runs.
    pub pipeline: String,
    /// Where it should be.
    #[serde(default)]
    pub region: Option<String>,
}

/// A caller asks where its session is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RerouteRequest {
    /// Whose call it is.
    pub tenant: String,
    /// The session's name.
    pub session: String,
    /// What its route gave for this.
    pub secret: String,
}

/// Where a session is, and how to be let in (`F-099`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Whose call it is.
    pub tenant: String,
    /// The session's name.
    pub session: String,
    /// What it runs.
    pub pipeline: String,
    /// Which version of it.
    pub digest: String,
    /// Where: the worker's address, to which a door's path is added.
    pub endpoint: String,
    /// Who has it.
    pub worker: String,
    /// Under which epoch: what comes under a lower one is not this session's any more.
    pub epoch: u64,
    /// Lets the caller in, once.
    pub token: String,
    /// Until when it does, in seconds since 1970.
    pub token_expires_at_s: u64,
    /// Asks for the route again; only when the session is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether it is elsewhere than before.
    pub moved: bool,
}

/// Sessions that have not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sessions {
    /// The newest first.
    pub sessions: Vec<Session>,
}

/// A session and where it has been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionStory {
    /// The session.
    pub session: Session,
    /// Its stops, in order.
    pub journey: Vec<Stop>,
}

/// All workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workers {
    /// By name.
    pub workers: Vec<Worker>,
}

/// A worker begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Where callers reach it: `ws://host:port`.
    pub endpoint: String,
    /// The pipeline that it serves, in any version.
    pub pipeline: String,
    /// Where it is.
    #[serde(default)]
    pub region: String,
    /// Sessions that it can hold.
    pub capacity: u64,
    /// Its program's version.
    #[serde(default)]
    pub program: String,
}

/// A worker has a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Which of the processes that had its name it is.
    pub incarnation: u64,
    /// What its lease is granted for.
    pub terms: Terms,
    /// What it goes by from now on.
    pub view: View,
}

/// A worker is there, and says how it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Which of the processes that had its name it is.
    pub incarnation: u64,
    /// How much it has to do.
    pub load_permille: u64,
    /// How its providers are: `ok`, or what is wrong.
    pub health: String,
    /// Whether it takes no more sessions.
    pub draining: bool,
    /// Sessions that are otherwise than it said last.
    #[serde(default)]
    pub sessions: Vec<SessionReport>,
}

/// How a session is, as its worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionReport {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub session: String,
    /// Under which epoch the worker has it.
    pub epoch: u64,
    /// How it is.
    pub state: State,
}

/// What a worker that is there is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pulse {
    /// How it stands: one that is draining takes no more sessions.
    pub standing: Standing,
    /// Of its reports, those on sessions that others have: it stops them, and nothing of them is accepted.
    pub stale: Vec<SessionReport>,
    /// The newest view's version.
    pub view_version: u64,
}

/// What workers go by, without asking (`F-159`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// Ever higher.
    pub version: u64,
    /// Of which form it is.
    pub form: u32,
    /// When it was made.
    pub made_at: Millis,
    /// For how long it may be gone by, from when it was had last.
    pub staleness_bound_ms: u64,
    /// What becomes of a new session when it is older than that, or missing, or of another form.
    pub when_stale: WhenStale,
    /// What is given to whom.
    pub rollouts: Vec<Revision>,
    /// The key, in PEM, with which tokens are checked.
    pub token_key: String,
}

impl View {
    /// The form that this version of the program understands.
    pub const FORM: u32 = 1;
}

/// What becomes of a new session without a view that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenStale {
    /// It is to come again.
    #[default]
    Defer,
    /// It is refused.
    Reject,
}

/// A customer's quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantQuota {
    /// Whose.
    pub tenant: String,
    /// What it may have.
    pub quota: Quota,
}

/// All quotas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quotas {
    /// Those of customers that have one of their own.
    pub quotas: Vec<TenantQuota>,
    /// Everybody else's.
    pub default_quota: Quota,
}

/// Part of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLog {
    /// The oldest first.
    pub entries: Vec<Entry>,
}

/// What came of going through the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerdict {
    /// Whether it is what was written.
    pub intact: bool,
    /// So many entries were looked at.
    pub entries: u64,
    /// The newest hash, to be kept elsewhere.
    pub head: String,
    /// The first entry that is not what was written.
    pub first_bad: Option<u64>,
    /// What is wrong.
    pub says: Option<String>,
}

/// Somebody is to have a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What its holder may do.
    pub role: Role,
    /// Whose it is, in words.
    pub label: String,
}

/// A new key: its secret is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewKey {
    /// The key, as its holder shows it.
    pub key: String,
    /// What is known of it.
    pub about: Key,
}

/// All keys, without their secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keys {
    /// The oldest first.
    pub keys: Vec<Key>,
}
