//! Whether a webhook comes from the provider: its signature over what it sent and where to.
//!
//! The address that is signed is the one that the provider called, as the world sees it, and not what a proxy made of it.
//! Comparing takes the same time wherever two signatures differ (ring's own). Of the three only Telnyx signs the time;
//! a copied request of the others is worth no more than an answer that names a stream to which only the provider's call
//! can be bound once (`docs/telephony.md`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use thiserror::Error;

use super::Provider;

/// What a provider sends to say that there is a call; it is a few kilobytes.
pub const MAX_WEBHOOK_BYTES: usize = 64 * 1024;
/// Fields of a form.
pub const MAX_WEBHOOK_FIELDS: usize = 256;
/// A signed time may be so far from ours.
pub const MAX_SKEW_SECONDS: u64 = 300;

/// A request, as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    /// `POST` or `GET`.
    pub method: String,
    /// As the provider called it: `https://`, the public host, path and query.
    pub url: String,
    /// Names in lower case. Of a header that came twice, the last.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: Vec<u8>,
}

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureFault {
    /// It is not signed.
    #[error("the webhook has no usable header {0}")]
    Missing(&'static str),
    /// Over [`MAX_WEBHOOK_BYTES`] or [`MAX_WEBHOOK_FIELDS`].
    #[error("the webhook is larger than a provider's are")]
    TooLarge,
    /// The signed time is not now.
    #[error("the webhook was signed at another time: it was sent again by somebody, or a clock is wrong")]
    Stale,
    /// Another secret, another address or another content.
    #[error(
        "the webhook's signature is not the provider's: check its secret, and that the public address is the one \
        that the provider calls"
    )]
    Wrong,
    /// The secret that was given for this provider can't be one.
    #[error("the provider's public key is not 32 bytes in base64: copy it from the provider's portal")]
    Key,
}

/// Whether the provider sent this: `secret` is the auth token, of Telnyx the public key in base64; `now_unix_s` the time
/// by the wall clock.
///
/// # Errors
/// It did not, or it can't be told.
pub fn verify(provider: Provider, secret: &str, webhook: &Webhook, now_unix_s: u64) -> Result<(), SignatureFault> {
    if webhook.body.len() > MAX_WEBHOOK_BYTES || webhook.url.len() > MAX_WEBHOOK_BYTES {
        return Err(SignatureFault::TooLarge);
    }
    match provider {
        Provider::Twilio => twilio(secret, webhook),
        Provider::Telnyx => telnyx(secret, webhook, now_unix_s),
        Provider::Plivo => plivo(secret, webhook),
    }
}

/// The fields of a form, each with all its values.
///
/// # Errors
/// There are more than [`MAX_WEBHOOK_FIELDS`].
pub fn fields(form: &[u8]) -> Result<BTreeMap<String, Vec<String>>, SignatureFault> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (index, (name, value)) in form_urlencoded::parse(form).enumerate() {
        if index == MAX_WEBHOOK_FIELDS {
            return Err(SignatureFault::TooLarge);
        }
        fields.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    Ok(fields)
}

fn header<'a>(webhook: &'a Webhook, name: &'static str) -> Result<&'a str, SignatureFault> {
    let value = webhook.headers.get(name).filter(|value| !value.is_empty());
    value.map(String::as_str).ok_or(SignatureFault::Missing(name))
}

fn posted_fields(webhook: &Webhook) -> Result<BTreeMap<String, Vec<String>>, SignatureFault> {
    let kind = webhook.headers.get("content-type").map_or("", String::as_str);
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    if is_form && webhook.method == "POST" { fields(&webhook.body) } else { Ok(BTreeMap::new()) }
}

/// The address and, in the order of their names, each field's name and value; where the body is no form, its digest stands
/// in the address.
fn twilio(secret: &str, webhook: &Webhook) -> Result<(), SignatureFault> {
    let signature = header(webhook, "x-twilio-signature")?;
    let settings = webhook.headers.get("x-twilio-webhooks-signature-settings").map_or("", String::as_str);
    let mut algorithm = settings.split(',').filter_map(|part| part.split_once('='));
    let algorithm = algorithm.find(|(name, value)| name.trim() == "algorithm" && !value.trim().is_empty());
    let algorithm = match algorithm.map_or("HMAC_SHA1", |(_, value)| value.trim()) {
        name if name.eq_ignore_ascii_case("HMAC_SHA1") => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        name if name.eq_ignore_ascii_case("HMAC_SHA256") => hmac::HMAC_SHA256,
        _ => return Err(SignatureFault::Missing("x-twilio-webhooks-signature-settings")),
    };
    let mut fields = posted_fields(webhook)?;
    if let Some(digest) = query_value(&webhook.url, "bodySHA256") {
        let body = ring::digest::digest(&ring::digest::SHA256, &webhook.body);
        let body: String = body.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        if body != digest {
            return Err(SignatureFault::Wrong);
        }
        fields.clear();
    }
    let mut tail = String::new();
    for (name, mut values) in fields {
        values.sort();
        values.dedup();
        values.iter().for_each(|value| tail.extend([&*name, value]));
    }
    // Providers are not of one mind whether the port is part of what is signed.
    let key = hmac::Key::new(algorithm, secret.as_bytes());
    let addresses = [with_port(&webhook.url), without_port(&webhook.url)];
    let signed = addresses.into_iter().any(|address| is_signed(&key, &format!("{address}{tail}"), signature));
    if signed { Ok(()) } else { Err(SignatureFault::Wrong) }
}

/// The time and the body, by a key pair.
fn telnyx(public_key: &str, webhook: &Webhook, now_unix_s: u64) -> Result<(), SignatureFault> {
    const SIGNATURE: &str = "telnyx-signature-ed25519";
    const TIMESTAMP: &str = "telnyx-timestamp";
    let signature = STANDARD.decode(header(webhook, SIGNATURE)?).map_err(|_| SignatureFault::Missing(SIGNATURE))?;
    let timestamp = header(webhook, TIMESTAMP)?;
    let signed_at: u64 = timestamp.parse().map_err(|_| SignatureFault::Missing(TIMESTAMP))?;
    if signed_at.abs_diff(now_unix_s) > MAX_SKEW_SECONDS {
        return Err(SignatureFault::Stale);
    }
    let key = STANDARD.decode(public_key.trim()).ok().filter(|key| key.len() == 32).ok_or(SignatureFault::Key)?;
    let message = [timestamp.as_bytes(), b"|", &webhook.body].concat();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
    key.verify(&message, &signature).map_err(|_| SignatureFault::Wrong)
}

/// The address with its query in the order of its names, the fields, and a number used once; one of several signatures
/// may be good, while a secret is being changed.
fn plivo(secret: &str, webhook: &Webhook) -> Result<(), SignatureFault> {
    let signatures = header(webhook, "x-plivo-signature-v3")?;
    let nonce = header(webhook, "x-plivo-signature-v3-nonce")?;
    let (address, query) = webhook.url.split_once('?').unwrap_or((&webhook.url, ""));
    let address = address.split('#').next().unwrap_or_default();
    let query = sorted(fields(query.split('#').next().unwrap_or_default().as_bytes())?, "=", "&");
    let posted = sorted(posted_fields(webhook)?, "", "");
    let mut signed = address.to_owned();
    if !query.is_empty() || !posted.is_empty() {
        signed.extend(["?", &query]);
    }
    if !query.is_empty() && !posted.is_empty() {
        signed.push('.');
    }
    signed.extend([&*posted, ".", nonce]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let good = signatures.split(',').take(8).any(|signature| is_signed(&key, &signed, signature.trim()));
    if good { Ok(()) } else { Err(SignatureFault::Wrong) }
}

fn sorted(fields: BTreeMap<String, Vec<String>>, is: &str, and: &str) -> String {
    let mut pairs = Vec::new();
    for (name, mut values) in fields {
        values.sort();
        pairs.extend(values.iter().map(|value| format!("{name}{is}{value}")));
    }
    pairs.join(and)
}

fn is_signed(key: &hmac::Key, message: &str, signature: &str) -> bool {
    STANDARD.decode(signature).is_ok_and(|signature| hmac::verify(key, message.as_bytes(), &signature).is_ok())
}

fn query_value(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Scheme, host and port, and what follows them.
fn parts(url: &str) -> (&str, &str, Option<&str>, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (place, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match place.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (scheme, host, Some(port), path)
        }
        _ => (scheme, place, None, path),
    }
}

fn with_port(url: &str) -> String {
    match parts(url) {
        (_, _, Some(_), _) => url.to_owned(),
        (scheme, host, None, path) => {
            let port = if matches!(scheme, "https" | "wss") { 443 } else { 80 };
            format!("{scheme}://{host}:{port}{path}")
        }
    }
}

fn without_port(url: &str) -> String {
    let (scheme, host, _, path) = parts(url);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    /// Written by `adapters/testdata/telephony/oracle.py` with the providers' own libraries.
    const ORACLE: &str = include_str!("../../testdata/telephony/signatures.json");

    #[derive(Deserialize)]
    struct Case {
        name: String,
        provider: String,
        secret: String,
        method: String,
        url: String,
        headers: BTreeMap<String, String>,
        body: String,
        now_unix_s: u64,
        valid: bool,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(ORACLE).expect("the oracle's file is JSON")
    }

    fn webhook(case: &Case) -> Webhook {
        let headers = case.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        Webhook { method: case.method.clone(), url: case.url.clone(), headers, body: case.body.clone().into_bytes() }
    }

    fn verdict(case: &Case, webhook: &Webhook) -> Result<(), SignatureFault> {
        let provider = Provider::named(&case.provider).expect("a provider");
        verify(provider, &case.secret, webhook, case.now_unix_s)
    }

    #[test]
    fn the_providers_own_libraries_agree() {
        let cases = cases();
        for provider in Provider::ALL {
            for valid in [true, false] {
                let like = cases.iter().filter(|case| case.provider == provider.name() && case.valid == valid).count();
                assert!(like >= 3, "only {like} cases of {provider:?} are {valid}");
            }
        }
        for case in &cases {
            let found = verdict(case, &webhook(case));
            assert_eq!(found.is_ok(), case.valid, "{}: {found:?}", case.name);
        }
    }

    #[test]
    fn whatever_is_signed_can_not_be_changed() {
        for case in cases().iter().filter(|case| case.valid) {
            let good = webhook(case);
            let mut other = Webhook { url: good.url.replace("example", "exbmple"), ..good.clone() };
            if case.provider != "telnyx" {
                assert_eq!(verdict(case, &other), Err(SignatureFault::Wrong), "{}", case.name);
            }
            if !good.body.is_empty() {
                other = Webhook { body: [&good.body[..], b"x"].concat(), ..good.clone() };
                assert_eq!(verdict(case, &other), Err(SignatureFault::Wrong), "{}", case.name);
            }
            let unsigned = Webhook { headers: BTreeMap::new(), ..good };
            assert!(matches!(verdict(case, &unsigned), Err(SignatureFault::Missing(_))), "{}", case.name);
        }
    }

    #[test]
    fn a_signed_time_is_believed_for_five_minutes() {
        let case = cases().into_iter().find(|case| case.provider == "telnyx" && case.valid).expect("there is one");
        let sent = webhook(&case);
        for (after_s, expected) in [(0, Ok(())), (300, Ok(())), (301, Err(SignatureFault::Stale))] {
            let signed_at: u64 = case.headers["telnyx-timestamp"].parse().expect("a number");
            assert_eq!(verify(Provider::Telnyx, &case.secret, &sent, signed_at + after_s), expected);
            assert_eq!(verify(Provider::Telnyx, &case.secret, &sent, signed_at - after_s), expected);
        }
        assert_eq!(verify(Provider::Telnyx, "c2hvcnQ=", &sent, case.now_unix_s), Err(SignatureFault::Key));
    }

    #[test]
    fn a_flood_of_fields_is_refused() {
        let body = "a=b&".repeat(MAX_WEBHOOK_FIELDS + 1).into_bytes();
        assert_eq!(fields(&body), Err(SignatureFault::TooLarge));
        let long = Webhook { body: vec![0; MAX_WEBHOOK_BYTES + 1], ..Webhook::default() };
        assert_eq!(verify(Provider::Twilio, "", &long, 0), Err(SignatureFault::TooLarge));
    }

    proptest! {
        #[test]
        fn no_garbage_is_believed(
            url in ".{0,60}",
            value in "[ -~]{0,60}",
            body in prop::collection::vec(any::<u8>(), 0..200),
            form in any::<bool>(),
        ) {
            let names = ["x-twilio-signature", "telnyx-signature-ed25519", "x-plivo-signature-v3",
                "x-plivo-signature-v3-nonce", "x-twilio-webhooks-signature-settings"];
            let mut headers: BTreeMap<String, String> =
                names.iter().map(|name| ((*name).to_owned(), value.clone())).collect();
            headers.insert("telnyx-timestamp".to_owned(), "1000".to_owned());
            if form {
                headers.insert("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
            }
            let webhook = Webhook { method: "POST".to_owned(), url, headers, body };
            for provider in Provider::ALL {
                prop_assert!(verify(provider, "secret", &webhook, 1_000).is_err());
            }
        }
    }
}
