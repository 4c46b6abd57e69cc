//! Webhooks of a LiveKit server: what it says happened, signed with a key that both have.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use livekit_protocol::WebhookEvent;
use serde::Deserialize;

use crate::token::Keys;

/// A webhook is no longer than this.
pub const MAX_WEBHOOK_BYTES: usize = 256 * 1024;
/// Clocks of two machines may differ by so much.
const CLOCK_SECONDS: u64 = 60;

/// Why a webhook is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// It is too long.
    #[error("the webhook has {0} bytes, and at most {MAX_WEBHOOK_BYTES} are read")]
    TooLong(usize),
    /// It has no signature that can be read.
    #[error("the webhook's Authorization header is no signed token")]
    Unsigned,
    /// It is signed with another key.
    #[error("the webhook is signed with the key {0}, which is not ours")]
    OtherKey(String),
    /// Its signature is not by the secret of the key.
    #[error("the webhook's signature is wrong")]
    Forged,
    /// Its signature was valid at another time.
    #[error("the webhook's signature is not valid any more, or not yet")]
    Expired,
    /// Its signature is that of another body.
    #[error("the webhook's signature is that of another body")]
    Altered,
    /// It is signed, and not as LiveKit writes them.
    #[error("the webhook can't be read: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    nbf: u64,
    exp: u64,
    sha256: String,
}

impl Keys {
    /// What a webhook says, if it is the server's: its `Authorization` header and its body, at this second of the Unix epoch.
    ///
    /// # Errors
    /// It is not, or can't be read.
    pub fn webhook(&self, authorization: &str, body: &[u8], now: u64) -> Result<WebhookEvent, WebhookError> {
        if body.len() > MAX_WEBHOOK_BYTES {
            return Err(WebhookError::TooLong(body.len()));
        }
        let claims = self.claims(authorization.strip_prefix("Bearer ").unwrap_or(authorization).trim())?;
        if now + CLOCK_SECONDS < claims.nbf || now > claims.exp + CLOCK_SECONDS {
            return Err(WebhookError::Expired);
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, body);
        if STANDARD.decode(&claims.sha256).is_ok_and(|signed| signed == digest.as_ref()) {
            serde_json::from_slice(body).map_err(|error| WebhookError::Malformed(error.to_string()))
        } else {
            Err(WebhookError::Altered)
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, WebhookError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(WebhookError::Unsigned)?;
        let (head, claims) = signed.split_once('.').ok_or(WebhookError::Unsigned)?;
        let head: Head = part(head)?;
        let claims: Claims = part(claims)?;
        if head.alg != "HS256" {
            return Err(WebhookError::Unsigned);
        }
        if claims.iss != self.name() {
            return Err(WebhookError::OtherKey(claims.iss));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| WebhookError::Unsigned)?;
        if self.is_signed(signed.as_bytes(), &signature) { Ok(claims) } else { Err(WebhookError::Forged) }
    }
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, WebhookError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| WebhookError::Unsigned)?;
    serde_json::from_slice(&bytes).map_err(|_| WebhookError::Unsigned)
}
