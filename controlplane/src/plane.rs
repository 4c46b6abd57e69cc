//! The operations of the control plane: each is one transaction, and what it changes stands in the audit log of the same
//! transaction. `fleet` has those of workers and sessions.

mod fleet;

pub use fleet::PIPELINE;

use std::sync::{Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tokio::sync::watch;

use crate::admission::{self, Rules};
use crate::audit::{self, Walk};
use crate::keys::{self, Key, Role};
use crate::lease::Terms;
use crate::placement::Placer;
use crate::refusal::{Code, Refusal};
use crate::registry::{self, Artifact, Body, Standing};
use crate::rollout::{self, Revision, Step};
use crate::store::{Mode, Store, Transaction, within};
use crate::time::Millis;
use crate::wire::{
    Artifacts, AuditLog, AuditVerdict, Document, Done, KeyRequest, Keys, NewKey, Published, Quotas, RolloutStep,
    Rollouts, TenantQuota, View, WhenStale,
};

/// What the control plane is handed, because it is others' to do.
pub struct Hands {
    /// Judges a document that is to be published, beside the newest version of it.
    pub judge: Judge,
    /// Signs a token.
    pub sign: Sign,
    /// The key with which tokens are checked, in PEM.
    pub token_key: String,
    /// What time it is.
    pub clock: Box<dyn Fn() -> Millis + Send + Sync>,
}

/// Judges a document, given the newest published version of the document that it says it is.
pub type Judge = Box<dyn Fn(&Body, &Newest<'_>) -> Result<Judged, Vec<String>> + Send + Sync>;
/// Looks up the newest published version of a kind and a name.
pub type Newest<'a> = dyn Fn(&str, &str) -> Option<Body> + 'a;
/// Makes a token of what it is to say.
pub type Sign = Box<dyn Fn(&Grant<'_>) -> String + Send + Sync>;

/// A document that may be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What kind of document it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// What should be changed, and need not be.
    pub warnings: Vec<String>,
}

/// What a token says.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// Whose call it is.
    pub tenant: &'a str,
    /// The session.
    pub session: &'a str,
    /// What it runs.
    pub pipeline: &'a str,
    /// Which version of it.
    pub digest: &'a str,
    /// With whom.
    pub worker: &'a str,
    /// With which of those that had this name.
    pub incarnation: u64,
    /// Under which epoch.
    pub epoch: u64,
    /// Since when, in seconds since 1970.
    pub issued_at_s: u64,
    /// Until when.
    pub expires_at_s: u64,
}

/// What the control plane goes by.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What leases are granted for.
    pub terms: Terms,
    /// Who is let in.
    pub rules: Rules,
    /// For how long a worker may go by a view.
    pub staleness_bound_ms: u64,
    /// What becomes of new sessions then.
    pub when_stale: WhenStale,
    /// For how long a token lets in.
    pub token_valid_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            terms: Terms::default(),
            rules: Rules::default(),
            staleness_bound_ms: 30_000,
            when_stale: WhenStale::Defer,
            token_valid_s: 60,
        }
    }
}

/// The control plane.
pub struct Plane {
    store: Box<dyn Store>,
    hands: Hands,
    config: Config,
    listening_since: Millis,
    placer: Mutex<Placer>,
    changed: watch::Sender<u64>,
}

/// Who asks: a key's id, or the control plane itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it is called in the audit log.
    pub id: String,
    /// What it may do.
    pub role: Role,
}

impl Caller {
    /// The control plane itself.
    pub fn own() -> Self {
        Self { id: OWN.to_owned(), role: Role::Admin }
    }
}

/// What the control plane is called in its own audit log.
const OWN: &str = "control-plane";
/// Entries of the audit log in one answer.
const MAX_ENTRIES: u64 = 1_000;
/// A name has at most so many bytes.
const MAX_NAME_BYTES: usize = 128;

impl Plane {
    /// On a store.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn new(store: Box<dyn Store>, hands: Hands, config: Config) -> Result<Self, Refusal> {
        let listening_since = (hands.clock)();
        let (placer, changed) = (Mutex::default(), watch::channel(0).0);
        let plane = Self { store, hands, config, listening_since, placer, changed };
        plane.refresh()?;
        Ok(plane)
    }

    /// What it goes by.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Who a key is of.
    ///
    /// # Errors
    /// Nobody's.
    pub fn authenticate(&self, shown: &str) -> Result<Caller, Refusal> {
        let key = self.read(|rows| Ok(keys::find(rows, shown)?))?;
        let key = key.ok_or_else(|| Refusal::new(Code::Unauthorized, "this key is none that is in force here"))?;
        Ok(Caller { id: key.id, role: key.role })
    }

    /// Makes a key.
    ///
    /// # Errors
    /// The store can't.
    pub fn add_key(&self, who: &Caller, request: &KeyRequest) -> Result<NewKey, Refusal> {
        named("the label", &request.label)?;
        let written = keys::written(random() as u64, random());
        let (id, secret) = keys::parts(&written).expect("it was written by the same rule");
        self.write(|rows, now| {
            let about = Key {
                id: id.to_owned(),
                role: request.role,
                label: request.label.clone(),
                made_at: now,
                revoked_at: None,
            };
            keys::keep(rows, &about, secret)?;
            let detail = json!({"role": request.role, "label": request.label});
            audit::note(rows, now, &who.id, ("key.add", id), &detail)?;
            Ok(NewKey { key: written.clone(), about })
        })
    }

    /// Whether anybody has a key.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn has_keys(&self) -> Result<bool, Refusal> {
        self.read(|rows| Ok(!keys::all(rows)?.is_empty()))
    }

    /// All keys.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn keys(&self) -> Result<Keys, Refusal> {
        self.read(|rows| Ok(Keys { keys: keys::all(rows)? }))
    }

    /// A key is not in force any more.
    ///
    /// # Errors
    /// There is none.
    pub fn revoke_key(&self, who: &Caller, id: &str) -> Result<Done, Refusal> {
        self.write(|rows, now| {
            if !keys::revoke(rows, id, now)? {
                return Err(Refusal::new(Code::NotFound, format!("no key {id} is in force")));
            }
            audit::note(rows, now, &who.id, ("key.revoke", id), &json!({}))?;
            Ok(Done { done: true })
        })
    }

    /// Publishes a document, once and for all.
    ///
    /// # Errors
    /// It is wrong, or its version is taken.
    pub fn publish(&self, who: &Caller, body: &Body) -> Result<Published, Refusal> {
        if let Some(says) = body.complaint() {
            return Err(Refusal::new(Code::Invalid, says));
        }
        let newest = |kind: &str, name: &str| self.newest_body(kind, name);
        let judged =
            (self.hands.judge)(body, &newest).map_err(|findings| Refusal::new(Code::Invalid, findings.join("\n")))?;
        named("the name", &judged.name)?;
        let digest = body.digest();
        let text = serde_json::to_string(body).expect("texts can be written as JSON");
        self.write(|rows, now| {
            let (kind, name) = (judged.kind.as_str(), judged.name.as_str());
            let published = registry::find(rows, (kind, name), Some(judged.version))?;
            let warnings = judged.warnings.clone();
            match registry::standing(published.as_ref(), &digest) {
                Standing::Same => {
                    let artifact = published.ok_or_else(|| gone("the document"))?;
                    return Ok(Published { artifact, is_new: false, warnings });
                }
                Standing::Taken => {
                    let says = format!(
                        "{kind} {name}: version {} is published, and with other content; a version never changes: give this one a new version",
                        judged.version
                    );
                    return Err(Refusal::new(Code::Conflict, says));
                }
                Standing::New => {}
            }
            let artifact = Artifact {
                digest: digest.clone(),
                kind: kind.to_owned(),
                name: name.to_owned(),
                version: judged.version,
                published_at: now,
                published_by: who.id.clone(),
            };
            registry::keep(rows, &artifact, &text)?;
            let detail = json!({"digest": digest, "version": judged.version});
            audit::note(rows, now, &who.id, ("publish", &format!("{kind}/{name}")), &detail)?;
            Ok(Published { artifact, is_new: true, warnings })
        })
    }

    fn newest_body(&self, kind: &str, name: &str) -> Option<Body> {
        let found = self.read(|rows| {
            let Some(artifact) = registry::find(rows, (kind, name), None)? else { return Ok(None) };
            Ok(registry::get(rows, &artifact.digest)?.map(|(_, text)| text))
        });
        serde_json::from_str(&found.ok()??).ok()
    }

    /// All published documents.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn artifacts(&self) -> Result<Artifacts, Refusal> {
        self.read(|rows| Ok(Artifacts { artifacts: registry::all(rows)? }))
    }

    /// A published document.
    ///
    /// # Errors
    /// There is none, or it was altered in the store.
    pub fn document(&self, digest: &str) -> Result<Document, Refusal> {
        let found = self.read(|rows| Ok(registry::get(rows, digest)?))?;
        let (artifact, text) =
            found.ok_or_else(|| Refusal::new(Code::NotFound, format!("nothing is published under {digest}")))?;
        let body: Option<Body> = serde_json::from_str(&text).ok();
        let body = body.filter(|body| body.digest() == artifact.digest);
        let altered = || Refusal::new(Code::Unavailable, format!("the document {digest} was altered in the store"));
        Ok(Document { artifact, body: body.ok_or_else(altered)? })
    }

    /// All rollouts.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn rollouts(&self) -> Result<Rollouts, Refusal> {
        self.read(|rows| Ok(Rollouts { rollouts: rollout::all(rows)? }))
    }

    /// Takes a step of a rollout.
    ///
    /// # Errors
    /// It can't be taken, or what is to be rolled out is not published.
    pub fn roll_out(&self, who: &Caller, request: &RolloutStep) -> Result<Revision, Refusal> {
        let (kind, name) = (request.kind.as_str(), request.name.as_str());
        let revision = self.write(|rows, now| {
            if let Step::Begin { digest, .. } = &request.step {
                let found = registry::get(rows, digest)?.map(|(artifact, _)| artifact);
                if !found.is_some_and(|artifact| artifact.kind == kind && artifact.name == name) {
                    let says = format!("{digest} is no published version of {kind} {name}: publish it first");
                    return Err(Refusal::new(Code::NotFound, says));
                }
            }
            let newest = rollout::newest(rows, kind, name)?;
            let earlier = newest.as_ref().map(|newest| rollout::earlier(rows, newest)).transpose()?.flatten();
            let current = newest.as_ref().map(|newest| &newest.rollout);
            let rollout = rollout::take(current, earlier.as_deref(), &request.step)
                .map_err(|error| Refusal::new(Code::Conflict, format!("{kind} {name}: {error}")))?;
            let revision = Revision {
                kind: kind.to_owned(),
                name: name.to_owned(),
                revision: newest.map_or(0, |newest| newest.revision) + 1,
                rollout,
                made_at: now,
                made_by: who.id.clone(),
            };
            rollout::keep(rows, &revision)?;
            next_view(rows)?;
            let detail = json!({"revision": revision.revision, "rollout": revision.rollout});
            audit::note(rows, now, &who.id, ("rollout", &format!("{kind}/{name}")), &detail)?;
            Ok(revision)
        })?;
        self.tell_of_change();
        Ok(revision)
    }

    /// All quotas.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn quotas(&self) -> Result<Quotas, Refusal> {
        let quotas = self.read(|rows| Ok(admission::quotas(rows)?))?;
        let quotas = quotas.into_iter().map(|(tenant, quota)| TenantQuota { tenant, quota }).collect();
        Ok(Quotas { quotas, default_quota: self.config.rules.default_quota })
    }

    /// Sets a customer's quota.
    ///
    /// # Errors
    /// The store can't.
    pub fn set_quota(&self, who: &Caller, request: &TenantQuota) -> Result<Done, Refusal> {
        named("the tenant", &request.tenant)?;
        self.write(|rows, now| {
            admission::set_quota(rows, &request.tenant, request.quota)?;
            audit::note(rows, now, &who.id, ("quota", &request.tenant), &json!(request.quota))?;
            Ok(Done { done: true })
        })
    }

    /// Part of the audit log. That somebody has read it stands in it, too.
    ///
    /// # Errors
    /// The store can't.
    pub fn audit_log(&self, who: &Caller, after: u64) -> Result<AuditLog, Refusal> {
        self.write(|rows, now| {
            let entries = audit::list(rows, after, MAX_ENTRIES)?;
            audit::note(rows, now, &who.id, ("audit.read", "audit"), &json!({"after": after}))?;
            Ok(AuditLog { entries })
        })
    }

    /// Goes through the whole audit log. `kept` is a hash that somebody kept.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn verify_audit(&self, kept: Option<&str>) -> Result<AuditVerdict, Refusal> {
        self.read(|rows| {
            let (mut walk, mut after) = (Walk::new(kept), 0);
            let broken = loop {
                let entries = audit::list(rows, after, MAX_ENTRIES)?;
                let Some(last) = entries.last() else { break walk.clone().end().err() };
                after = last.number;
                if let Some(broken) = entries.iter().find_map(|entry| walk.see(entry).err()) {
                    break Some(broken);
                }
            };
            let first_bad = broken.as_ref().map(|broken| match broken {
                audit::Broken::Altered { number } | audit::Broken::Missing { number } => *number,
                audit::Broken::NotAsKept => walk.seen() + 1,
            });
            Ok(AuditVerdict {
                intact: broken.is_none(),
                entries: walk.seen(),
                head: walk.head().to_owned(),
                first_bad,
                says: broken.map(|broken| broken.to_string()),
            })
        })
    }

    /// What workers go by.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn view(&self) -> Result<View, Refusal> {
        let now = self.now();
        self.read(|rows| {
            Ok(View {
                version: view_version(rows)?,
                form: View::FORM,
                made_at: now,
                staleness_bound_ms: self.config.staleness_bound_ms,
                when_stale: self.config.when_stale,
                rollouts: rollout::all(rows)?,
                token_key: self.hands.token_key.clone(),
            })
        })
    }

    /// Is told when there may be a newer view.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell_of_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn now(&self) -> Millis {
        (self.hands.clock)()
    }

    fn placer(&self) -> MutexGuard<'_, Placer> {
        // Whoever panicked with it left a count that the next refresh puts right.
        self.placer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, work: impl FnMut(&mut dyn Transaction) -> Result<T, Refusal>) -> Result<T, Refusal> {
        within(&*self.store, Mode::Read, work)
    }

    /// The time is asked for within, so that entries of the audit log are in its order.
    fn write<T>(&self, mut work: impl FnMut(&mut dyn Transaction, Millis) -> Result<T, Refusal>) -> Result<T, Refusal> {
        within(&*self.store, Mode::Write, |rows| work(rows, self.now()))
    }
}

fn view_version(rows: &mut dyn Transaction) -> Result<u64, Refusal> {
    let found = rows.query("SELECT value FROM counters WHERE name = 'view'", &[])?;
    Ok(found.first().map_or(Ok(1), |row| row.integer(0))?)
}

fn next_view(rows: &mut dyn Transaction) -> Result<(), Refusal> {
    let next = view_version(rows)? + 1;
    let sql = "INSERT INTO counters (name, value) VALUES ('view', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    rows.execute(sql, &[next.into()])?;
    Ok(())
}

/// A name that people and programs can read.
fn named(what: &str, name: &str) -> Result<(), Refusal> {
    let is_fine = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    let says = || format!("{what} is empty, has control characters, or more than {MAX_NAME_BYTES} bytes");
    if is_fine { Ok(()) } else { Err(Refusal::new(Code::Malformed, says())) }
}

fn gone(what: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("{what} is not there any more"))
}

/// Nobody guesses it.
fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    u128::from_le_bytes(bytes)
}
