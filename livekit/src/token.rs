//! Tokens of LiveKit: JSON Web Tokens, signed with the secret that a server knows under the key's name.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rspp_adapters::secret::Secret;
use serde::Serialize;
use serde_json::json;

/// A token of ours is valid for so long: it opens a connection, and the server gives another for coming back.
const VALID_SECONDS: u64 = 600;
/// Clocks of two machines may differ by so much.
const CLOCK_SECONDS: u64 = 10;

/// The name of a key, and its secret.
pub struct Keys {
    name: String,
    secret: Secret,
}

/// What a token lets its bearer do: LiveKit's `video` grant.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// To register as a worker.
    #[serde(skip_serializing_if = "is_false")]
    pub agent: bool,
    /// To join a room.
    #[serde(skip_serializing_if = "is_false")]
    pub room_join: bool,
    /// To make, list and delete rooms, and to send agents to them.
    #[serde(skip_serializing_if = "is_false")]
    pub room_create: bool,
    /// To list rooms.
    #[serde(skip_serializing_if = "is_false")]
    pub room_list: bool,
    /// To do with a room whatever can be done.
    #[serde(skip_serializing_if = "is_false")]
    pub room_admin: bool,
    /// Which room.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub room: String,
    /// To change its own attributes.
    #[serde(skip_serializing_if = "is_false")]
    pub can_update_own_metadata: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// What else a token has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct More {
    /// For how long it opens a connection.
    pub valid_seconds: u64,
    /// What a participant has from the beginning.
    pub attributes: BTreeMap<String, String>,
    /// Agents that are sent to the room, if it is made by who comes with the token.
    pub agents: Vec<String>,
}

impl Default for More {
    fn default() -> Self {
        Self { valid_seconds: VALID_SECONDS, attributes: BTreeMap::new(), agents: Vec::new() }
    }
}

/// Who bears a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer<'a> {
    /// A program that asks for something.
    Program,
    /// Somebody in a room, by its identity there.
    Participant(&'a str),
    /// An agent in a room, by its identity there.
    Agent(&'a str),
}

impl Keys {
    /// The name is no secret: it stands in every token.
    pub fn new(name: impl Into<String>, secret: Secret) -> Self {
        Self { name: name.into(), secret }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A token that is valid from now on, in seconds of the Unix epoch.
    pub fn token(&self, bearer: Bearer<'_>, grant: &Grant, now: u64) -> String {
        self.token_with(bearer, grant, &More::default(), now)
    }

    /// Whether this is the signature of these bytes by the secret; it takes the same time for all that are not.
    pub(crate) fn is_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.secret.reveal().as_bytes());
        ring::hmac::verify(&key, bytes, signature).is_ok()
    }

    /// The same, with more in it.
    pub fn token_with(&self, bearer: Bearer<'_>, grant: &Grant, more: &More, now: u64) -> String {
        let (nbf, exp) = (now.saturating_sub(CLOCK_SECONDS), now + more.valid_seconds);
        let mut claims = json!({"iss": self.name, "nbf": nbf, "exp": exp, "video": grant});
        if let Bearer::Participant(identity) | Bearer::Agent(identity) = bearer {
            claims["sub"] = json!(identity);
        }
        if matches!(bearer, Bearer::Agent(_)) {
            claims["kind"] = json!("agent");
        }
        if !more.attributes.is_empty() {
            claims["attributes"] = json!(more.attributes);
        }
        if !more.agents.is_empty() {
            let agents: Vec<_> = more.agents.iter().map(|name| json!({"agentName": name})).collect();
            claims["roomConfig"] = json!({"agents": agents});
        }
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.secret.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}
