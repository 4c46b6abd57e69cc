//! Bindings as they are written in specs, as far as they say where something is on the net and by which key.
//!
//! `https://HOST:PORT/PATH?key=env:NAME#MODEL`. A key is always a reference, to an environment variable, a file or a store: a
//! binding is part of a plan, and a plan stands in traces and in recordings.
//!
//! ```
//! use rspp_specs::binding::{Endpoint, KeyReference};
//!
//! let endpoint = Endpoint::parse("https://api.openai.com/v1?key=env:OPENAI_API_KEY#gpt-4o-mini")?;
//! assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()), ("api.openai.com", 443, "/v1"));
//! assert_eq!(endpoint.key, Some(KeyReference::Environment("OPENAI_API_KEY".to_owned())));
//! assert_eq!(endpoint.model.as_deref(), Some("gpt-4o-mini"));
//! # Ok::<(), rspp_specs::binding::BindingError>(())
//! ```

use std::fmt;

use crate::limits::{MAX_BINDING_BYTES, MAX_KEY_NAME_CHARS};

/// What a binding over HTTP says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Over TLS.
    pub secure: bool,
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// The port: 443 or 80 unless another is given.
    pub port: u16,
    /// From its first slash, without one at its end; may be empty.
    pub path: String,
    /// Where the key is.
    pub key: Option<KeyReference>,
    /// What stands behind `#`.
    pub model: Option<String>,
}

/// The references to a key, as they begin.
const REFERENCES: [&str; 3] = ["env:", "file:", "store:"];

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyReference {
    /// In an environment variable.
    Environment(String),
    /// In a file, beside the spec unless its path is absolute.
    File(String),
    /// In a store that the program knows by a name.
    Store {
        /// Which store.
        store: String,
        /// The secret's name there.
        name: String,
    },
}

impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyReference::Environment(name) => write!(f, "env:{name}"),
            KeyReference::File(path) => write!(f, "file:{path}"),
            KeyReference::Store { store, name } => write!(f, "store:{store}/{name}"),
        }
    }
}

impl std::str::FromStr for KeyReference {
    type Err = BindingError;

    fn from_str(value: &str) -> Result<Self, BindingError> {
        reference(value)
    }
}

/// Why a binding can't be used. No text has a value in it that might be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// Too long.
    #[error("it is longer than {MAX_BINDING_BYTES} bytes")]
    TooLong,
    /// A key, where only a reference to one may be.
    #[error(
        "a key stands in it, and would stand in every trace and recording: write `key=env:NAME`, `key=file:PATH` or \
         `key=store:STORE/NAME`, and if it was committed or sent anywhere, have it replaced"
    )]
    LiteralKey,
    /// A user and a password before the host.
    #[error("it has a user or a password before its host: write `?key=env:NAME` or `?key=file:PATH` instead")]
    Credentials,
    /// A parameter that means nothing.
    #[error("it has the parameter {0:?}; there is only `key=env:NAME`, `key=file:PATH` or `key=store:STORE/NAME`")]
    UnknownParameter(String),
    /// Neither `http://` nor `https://`.
    #[error("it does not begin with http:// or https://")]
    Scheme,
    /// No host, or one that can be none.
    #[error("its host is missing, or has characters that a host can't have: write `http://HOST:PORT/v1#MODEL`")]
    Host,
    /// A port that is none.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// A path that can be none.
    #[error("its path has a space or a character that has to be percent-encoded")]
    Path,
}

impl Endpoint {
    /// Whether a binding is one over HTTP.
    pub fn is_one(binding: &str) -> bool {
        scheme(binding).is_some()
    }

    /// Reads a binding.
    ///
    /// # Errors
    /// What is wrong with it, without a value that might be a key.
    pub fn parse(binding: &str) -> Result<Self, BindingError> {
        check_secrets(binding)?;
        let (secure, rest) = scheme(binding).ok_or(BindingError::Scheme)?;
        let (rest, model) = rest.split_once('#').map_or((rest, None), |(rest, model)| (rest, Some(model)));
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (host, port) = host_and_port(authority, secure)?;
        let path = path.trim_end_matches('/');
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte)) {
            return Err(BindingError::Path);
        }
        let (host, path) = (host.to_owned(), path.to_owned());
        let model = model.map(str::trim).filter(|model| !model.is_empty()).map(str::to_owned);
        Ok(Self { secure, host, port, path, key: key(query)?, model })
    }

    /// The host, and the port where it is not the scheme's own: what people and a `Host` header are told.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<core::net::IpAddr>();
        self.host == "localhost" || self.host.ends_with(".localhost") || address.is_ok_and(|it| it.is_loopback())
    }
}

/// Refuses a binding of any kind that has a key in it, or is too long.
///
/// # Errors
/// [`BindingError::LiteralKey`], [`BindingError::Credentials`] or [`BindingError::TooLong`].
pub fn check_secrets(binding: &str) -> Result<(), BindingError> {
    if binding.len() > MAX_BINDING_BYTES {
        return Err(BindingError::TooLong);
    }
    let lower = binding.to_ascii_lowercase();
    let is_reference = |at: usize| REFERENCES.iter().any(|word| lower[at..].starts_with(word));
    if lower.match_indices("key=").any(|(at, word)| !is_reference(at + word.len())) {
        return Err(BindingError::LiteralKey);
    }
    let after_scheme = binding.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    if authority.contains('@') { Err(BindingError::Credentials) } else { Ok(()) }
}

fn scheme(binding: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = binding.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Some((true, rest)),
        "http" => Some((false, rest)),
        _ => None,
    }
}

fn host_and_port(authority: &str, secure: bool) -> Result<(&str, u16), BindingError> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(BindingError::Host)?)),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let is_ipv6 = authority.starts_with('[') && host.parse::<core::net::Ipv6Addr>().is_ok();
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if host.is_empty() || host.len() > 253 || !(is_ipv6 || is_name) {
        return Err(BindingError::Host);
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(BindingError::Port)?,
        None if secure => 443,
        None => 80,
    };
    Ok((host, port))
}

fn key(query: Option<&str>) -> Result<Option<KeyReference>, BindingError> {
    let mut key = None;
    for parameter in query.unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name != "key" || key.is_some() {
            // Only a name that is a word is repeated: anything else may be a key that has lost its place.
            let is_word = name.len() <= 20 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            return Err(BindingError::UnknownParameter(if is_word { name } else { "..." }.to_owned()));
        }
        key = Some(reference(value)?);
    }
    Ok(key)
}

/// What does not look like the name of a variable may well be a key behind `env:`.
fn reference(value: &str) -> Result<KeyReference, BindingError> {
    let is_name = |name: &str| {
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        begins && word && name.len() <= MAX_KEY_NAME_CHARS
    };
    match value.split_once(':') {
        Some(("env", name)) if is_name(name) => Ok(KeyReference::Environment(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(KeyReference::File(path.to_owned())),
        Some(("store", path)) => stored(path),
        _ => Err(BindingError::LiteralKey),
    }
}

/// `STORE/NAME`. A key alone, which has no store before it, is not taken for a name.
fn stored(path: &str) -> Result<KeyReference, BindingError> {
    let (store, name) = path.split_once('/').ok_or(BindingError::LiteralKey)?;
    let is_store = store.starts_with(|first: char| first.is_ascii_lowercase())
        && store.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && store.len() <= MAX_KEY_NAME_CHARS;
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let is_name = name.len() <= 2 * MAX_KEY_NAME_CHARS
        && name.bytes().all(in_names)
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    if is_store && is_name {
        Ok(KeyReference::Store { store: store.to_owned(), name: name.to_owned() })
    } else {
        Err(BindingError::LiteralKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(binding: &str, expect: &str) {
        let shown = match Endpoint::parse(binding) {
            Ok(Endpoint { secure, host, port, path, key, model }) => {
                let key = key.map_or("-".to_owned(), |key| key.to_string());
                format!("{secure} {host} {port} {path} {key} {}", model.unwrap_or("-".to_owned()))
            }
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(shown, expect, "{binding}");
    }

    #[test]
    fn a_binding_says_where_and_by_which_key() {
        check("http://localhost:11434/v1#qwen2.5:7b", "false localhost 11434 /v1 - qwen2.5:7b");
        check("http://[::1]:8080/v1/#a/b", "false ::1 8080 /v1 - a/b");
        check("https://a.b?key=env:KEY#m", "true a.b 443  env:KEY m");
        check("HTTP://10.0.0.1/v1?key=file:keys/one", "false 10.0.0.1 80 /v1 file:keys/one -");
        check("http://a/v1#", "false a 80 /v1 - -");
        check("https://a?key=store:vault/team/openai#m", "true a 443  store:vault/team/openai m");
    }

    #[test]
    fn what_is_wrong_is_told() {
        check("ftp://a/v1", "Scheme");
        check("a:80", "Scheme");
        check("http:///v1", "Host");
        check("http://a b/v1", "Host");
        check("http://::1/v1", "Host");
        check("http://a:0/v1", "Port");
        check("http://a:99999/v1", "Port");
        check("http://a/v 1", "Path");
        check("http://a/v1?temperature=1", "UnknownParameter(\"temperature\")");
        check("http://a/v1?sk-123&x=1", "UnknownParameter(\"...\")");
        check(&format!("http://a/{}", "b".repeat(MAX_BINDING_BYTES)), "TooLong");
    }

    #[test]
    fn a_key_in_a_binding_is_refused_and_not_repeated() {
        for binding in [
            "https://a/v1?key=sk-canary#m",
            "https://a/v1?key=env:sk-canary#m",
            "https://a/v1?key=store:sk-canary#m",
            "https://a/v1?key=store:vault/../canary#m",
            "https://a/v1?key=store:Vault/canary#m",
            "https://a/v1?api_key=canary#m",
            "https://a/v1?KEY=canary#m",
            "https://user:canary@a/v1#m",
            "https://a/v1?canary1#m",
            "htps://a/v1?key=canary#m",
            "wyoming+tcp://a:1?key=canary",
        ] {
            let error = check_secrets(binding).err().or_else(|| Endpoint::parse(binding).err());
            let text = error.unwrap_or_else(|| panic!("{binding} is taken")).to_string();
            assert!(!text.contains("canary"), "{binding}: {text}");
        }
        assert_eq!(check_secrets("wyoming+stdio:engine --key=env:X"), Ok(()));
    }
}
