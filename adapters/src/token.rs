//! Session tokens: short-lived, signed with Ed25519, bound to a tenant, a pipeline and a session, and checked without asking
//! anybody.
//!
//! They are JSON Web Tokens of one kind, `EdDSA`, so that any library of any language makes them; nothing else that such a
//! token may say about how it is to be checked is listened to. A token opens one session, once: [`Guard`] remembers those
//! that were used until they have expired.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::admission::Priority;

/// No token is longer.
pub const MAX_TOKEN_BYTES: usize = 4_096;
/// No token is valid for longer.
pub const MAX_VALID_SECONDS: u64 = 3_600;
/// Clocks differ by so much.
pub const CLOCK_SLACK_SECONDS: u64 = 30;
/// Tokens that were used and are remembered; with more, no new session is opened until some have expired.
pub const MAX_REMEMBERED: usize = 100_000;
/// What a token is for.
pub const AUDIENCE: &str = "rspp";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// `rspp`.
    pub aud: String,
    /// Whose call it is.
    pub tenant: String,
    /// Of which pipeline, by its name.
    pub pipeline: String,
    /// The session that it opens, once.
    pub session: String,
    /// Whether somebody waits for its answers.
    #[serde(default, skip_serializing_if = "Priority::is_interactive")]
    pub priority: Priority,
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// Until when a session may be opened with it.
    pub exp: u64,
    /// Under which lease it runs, if a control plane has routed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseClaim>,
}

/// What a control plane's route says of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClaim {
    /// Under which epoch it is held: a higher one ends this.
    pub epoch: u64,
    /// By which worker.
    pub worker: String,
    /// By which of the processes that had the worker's name.
    pub incarnation: u64,
    /// Which version of the pipeline it runs.
    pub digest: String,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// None came.
    #[error("a token is needed: `Authorization: Bearer`, `?token=`, or `token` in hello")]
    Missing,
    /// It is no token.
    #[error("this is no token that is used here: a JSON Web Token signed with EdDSA is")]
    Malformed,
    /// Somebody else signed it, or it was altered.
    #[error("the token's signature is not by a key that is trusted here")]
    Signature,
    /// It is over.
    #[error("the token has expired: get another")]
    Expired,
    /// It is valid for too long, or not yet.
    #[error("the token's times are wrong: it is valid for at most an hour, from when it was made")]
    Times,
    /// It is for something else.
    #[error("the token is for another pipeline or another server")]
    Elsewhere,
    /// It was used.
    #[error("the token was used already: each opens one session")]
    Replayed,
    /// Too many are remembered.
    #[error("more tokens were used in an hour than are remembered")]
    Full,
}

/// Signs tokens.
pub struct Issuer {
    key: Ed25519KeyPair,
}

/// A key that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key: `rspp token new-key FILE` makes one")]
pub struct BadKey;

impl Issuer {
    /// A fresh key, and it as PKCS#8 in PEM.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn fresh() -> Result<(Self, String), BadKey> {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| BadKey)?;
        let key = Ed25519KeyPair::from_pkcs8(der.as_ref()).map_err(|_| BadKey)?;
        Ok((Self { key }, pem("PRIVATE KEY", der.as_ref())))
    }

    /// With a key as PKCS#8 in PEM.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let der = from_pem(text, "PRIVATE KEY").ok_or(BadKey)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| BadKey)?;
        Ok(Self { key })
    }

    /// The public half, for those who check.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; PUBLIC_BYTES];
        bytes.copy_from_slice(self.key.public_key().as_ref());
        PublicKey(bytes)
    }

    /// A token.
    pub fn issue(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("words and numbers can be written as JSON");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;
const PUBLIC_BYTES: usize = 32;
/// What stands before the key itself in a SubjectPublicKeyInfo of Ed25519 (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that tokens are checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_BYTES]);

impl PublicKey {
    /// From PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let der = from_pem(text, "PUBLIC KEY").ok_or(BadKey)?;
        let key = der.strip_prefix(&SPKI_PREFIX[..]).ok_or(BadKey)?;
        key.try_into().map(Self).map_err(|_| BadKey)
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI_PREFIX[..], &self.0].concat())
    }

    /// What a token says, if this key signed it and its times are right.
    fn check(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        if header.alg != "EdDSA" {
            return Err(TokenError::Malformed);
        }
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| TokenError::Signature)?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)?;
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if claims.iat > now + CLOCK_SLACK_SECONDS || claims.exp.saturating_sub(claims.iat) > MAX_VALID_SECONDS {
            return Err(TokenError::Times);
        }
        Ok(claims)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// What a token opens: a customer's session, under an epoch.
type Opened = (String, String, u64);

/// Lets in who has a token.
pub struct Guard {
    keys: Vec<PublicKey>,
    pipeline: String,
    used: Mutex<BTreeMap<Opened, u64>>,
}

impl Guard {
    /// For calls of this pipeline, with tokens signed by one of these keys.
    pub fn new(keys: Vec<PublicKey>, pipeline: &str) -> Self {
        Self { keys, pipeline: pipeline.to_owned(), used: Mutex::default() }
    }

    /// What a token says, if it is one of ours, at `now` in seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        let mut error = TokenError::Signature;
        for key in &self.keys {
            match key.check(token, now) {
                Ok(claims) if claims.aud != AUDIENCE || claims.pipeline != self.pipeline => {
                    return Err(TokenError::Elsewhere);
                }
                Ok(claims) => return Ok(claims),
                // Another key may have signed it.
                Err(TokenError::Signature) => {}
                Err(other) => error = other,
            }
        }
        Err(error)
    }

    /// The session of these claims is opened now, and never again.
    ///
    /// # Errors
    /// It was opened before.
    pub fn spend(&self, claims: &Claims, now: u64) -> Result<(), TokenError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = claims.lease.as_ref().map_or(0, |lease| lease.epoch);
        let name = (claims.tenant.clone(), claims.session.clone(), epoch);
        if used.get(&name).is_some_and(|exp| *exp > now) {
            return Err(TokenError::Replayed);
        }
        if used.len() >= MAX_REMEMBERED {
            used.retain(|_, exp| *exp > now);
        }
        if used.len() >= MAX_REMEMBERED {
            return Err(TokenError::Full);
        }
        // No token of that session outlives this, whoever made it.
        used.insert(name, now + MAX_VALID_SECONDS + CLOCK_SLACK_SECONDS);
        Ok(())
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

fn from_pem(text: &str, kind: &str) -> Option<Vec<u8>> {
    let (_, text) = text.split_once(&format!("-----BEGIN {kind}-----"))?;
    let (text, _) = text.split_once(&format!("-----END {kind}-----"))?;
    let text: String = text.split_whitespace().collect();
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn claims() -> Claims {
        let word = |text: &str| text.to_owned();
        let (tenant, pipeline, session) = (word("acme"), word("assistant"), word("call-1"));
        let priority = Priority::Interactive;
        Claims { aud: word(AUDIENCE), tenant, pipeline, session, priority, iat: NOW, exp: NOW + 300, lease: None }
    }

    fn guard(issuer: &Issuer) -> Guard {
        Guard::new(vec![issuer.public()], "assistant")
    }

    fn check(change: impl FnOnce(&mut Claims), expected: Result<(), TokenError>) {
        let (issuer, _) = Issuer::fresh().expect("there is randomness");
        let mut claims = claims();
        change(&mut claims);
        let checked = guard(&issuer).check(&issuer.issue(&claims), NOW);
        assert_eq!(checked.map(|_| ()), expected, "{claims:?}");
    }

    #[test]
    fn times_and_places_are_checked() {
        check(|_| {}, Ok(()));
        check(|claims| claims.exp = NOW, Err(TokenError::Expired));
        check(|claims| claims.exp = NOW + MAX_VALID_SECONDS + 1, Err(TokenError::Times));
        check(|claims| claims.iat = NOW + CLOCK_SLACK_SECONDS + 1, Err(TokenError::Times));
        check(|claims| claims.pipeline = "other".to_owned(), Err(TokenError::Elsewhere));
        check(|claims| claims.aud = "other".to_owned(), Err(TokenError::Elsewhere));
    }

    #[test]
    fn nothing_but_the_signature_of_a_trusted_key_counts() {
        let (issuer, _) = Issuer::fresh().expect("there is randomness");
        let (other, _) = Issuer::fresh().expect("there is randomness");
        let guard = guard(&issuer);
        let token = issuer.issue(&claims());
        assert_eq!(guard.check(&other.issue(&claims()), NOW), Err(TokenError::Signature));
        let (signed, signature) = token.rsplit_once('.').expect("it has three parts");
        let (_, body) = signed.split_once('.').expect("it has three parts");
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS256"}"#, "{}"] {
            let forged = format!("{}.{body}.{signature}", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(guard.check(&forged, NOW), Err(TokenError::Malformed), "{header}");
        }
        for broken in ["", ".", "..", "a.b.c", &token[1..], &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            assert!(guard.check(broken, NOW).is_err(), "{broken:.40}");
        }
        let altered = format!("{}x.{body}.{signature}", URL_SAFE_NO_PAD.encode(HEADER));
        assert!(guard.check(&altered, NOW).is_err());
    }

    #[test]
    fn a_token_opens_one_session_once() {
        let (issuer, _) = Issuer::fresh().expect("there is randomness");
        let guard = guard(&issuer);
        let first = guard.check(&issuer.issue(&claims()), NOW).expect("it is ours");
        assert_eq!(guard.spend(&first, NOW), Ok(()));
        assert_eq!(guard.spend(&first, NOW + 299), Err(TokenError::Replayed));
        let again = Claims { exp: NOW + 400, ..claims() };
        assert_eq!(guard.spend(&again, NOW), Err(TokenError::Replayed), "another token of the same session");
        let other = Claims { tenant: "other".to_owned(), ..claims() };
        assert_eq!(guard.spend(&other, NOW), Ok(()), "the name is a tenant's own");
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_as_openssl_writes_them() {
        let (issuer, private) = Issuer::fresh().expect("there is randomness");
        let read = Issuer::from_pem(&private).expect("it is a key");
        assert_eq!(read.public(), issuer.public());
        assert_eq!(PublicKey::from_pem(&issuer.public().to_pem()), Ok(issuer.public()));
        let openssl = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                       -----END PUBLIC KEY-----\n";
        assert!(PublicKey::from_pem(openssl).is_ok());
        assert_eq!(PublicKey::from_pem("nonsense"), Err(BadKey));
    }
}
