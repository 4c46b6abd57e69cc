//! What can go wrong between us and a server, and how an invocation that met it ended.

use std::time::Duration;

use rspp_specs::outcome::Outcome;
use serde_json::Value;

/// Characters of a server's own words that are repeated.
const MAX_SAID_CHARS: usize = 300;

/// What went wrong. No text has a key in it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody waits for the answer any more.
    #[error("cancelled")]
    Cancelled,
    /// Something did not come in time.
    #[error("no {awaited} within {} ms", .after.as_millis())]
    TimedOut {
        /// What.
        awaited: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The name is unknown, or nobody listens there.
    #[error("no connection: {detail}")]
    NoConnection {
        /// The system's words.
        detail: String,
    },
    /// The connection can't be made secure.
    #[error("no secure connection: {detail}")]
    Tls {
        /// Why.
        detail: String,
    },
    /// This machine has no certificates to trust.
    #[error("no root certificates on this machine: install ca-certificates, or name a file by SSL_CERT_FILE")]
    NoRoots,
    /// This machine gives no sockets.
    #[error("the system gives nothing to wait with: {detail}")]
    NoRuntime {
        /// Why.
        detail: String,
    },
    /// The connection broke.
    #[error("it hung up before the answer was complete: {detail}")]
    Disconnected {
        /// How.
        detail: String,
    },
    /// It answered, and not with what was asked for.
    #[error("{code}{}", said(.text))]
    Status {
        /// The status.
        code: u16,
        /// The server's words, and its own code, cut.
        text: String,
        /// What it says of when to try again, in seconds.
        retry_after: Option<u64>,
        /// How an invocation ends by it.
        outcome: Outcome,
    },
    /// It reports a failure in the middle of its answer.
    #[error("it reports{}", said(.text))]
    Reported {
        /// Its words, cut.
        text: String,
        /// How an invocation ends by it.
        outcome: Outcome,
    },
    /// An answer of another media type.
    #[error("it answered with {found}, not with {wanted}")]
    MediaType {
        /// What came.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// More than anybody asked for.
    #[error("{what} is over the limit of {limit} {unit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: usize,
        /// Of these.
        unit: &'static str,
    },
    /// What came makes no sense.
    #[error("what it sends makes no sense: {detail}")]
    Nonsense {
        /// Why.
        detail: String,
    },
    /// The provider refused the content.
    #[error("its content filter stopped the answer")]
    Blocked,
    /// Our own caller is wrong.
    #[error("used wrongly: {detail}")]
    Misuse {
        /// How.
        detail: String,
    },
}

impl Fault {
    /// How an invocation that met this ended.
    pub fn outcome(&self) -> Outcome {
        match self {
            Fault::Cancelled => Outcome::Cancelled,
            Fault::TimedOut { .. } => Outcome::Timeout,
            Fault::NoConnection { .. } | Fault::Disconnected { .. } => Outcome::Disconnected,
            Fault::Status { outcome, .. } | Fault::Reported { outcome, .. } => *outcome,
            Fault::MediaType { .. } | Fault::Misuse { .. } => Outcome::InvalidRequest,
            Fault::Blocked => Outcome::Blocked,
            Fault::Tls { .. }
            | Fault::NoRoots
            | Fault::NoRuntime { .. }
            | Fault::TooMuch { .. }
            | Fault::Nonsense { .. } => Outcome::Failed,
        }
    }

    /// An answer that is none, by its status and what its body says. `scrub` takes the key out of it.
    pub(super) fn of_status(code: u16, retry_after: Option<u64>, body: &str, scrub: impl Fn(&str) -> String) -> Self {
        let value: Option<Value> = serde_json::from_str(body).ok();
        let (text, kind) = match &value {
            Some(value) => words_of(value),
            None => (body.to_owned(), String::new()),
        };
        let outcome = match (outcome_of(&kind), code) {
            (Some(Outcome::Blocked), _) => Outcome::Blocked,
            (_, 429) => Outcome::RateLimited,
            (_, 408 | 504) => Outcome::Timeout,
            (_, 501 | 505) => Outcome::InvalidRequest,
            (_, 500..) => Outcome::Overload,
            // A redirect is not followed: the key would go to somebody else.
            _ => Outcome::InvalidRequest,
        };
        Fault::Status { code, text: cut(&scrub(&text)), retry_after, outcome }
    }

    /// A failure that is reported within an answer. `scrub` takes the key out of it.
    pub(crate) fn reported(value: &Value, scrub: impl Fn(&str) -> String) -> Self {
        let (text, kind) = words_of(value);
        Fault::Reported { text: cut(&scrub(&text)), outcome: outcome_of(&kind).unwrap_or(Outcome::Failed) }
    }
}

fn said(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// What people read of a server's words: one line, not without end.
pub(crate) fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = line.chars().filter(|c| !c.is_control()).take(MAX_SAID_CHARS).collect();
    if line.chars().count() > MAX_SAID_CHARS { shown + "..." } else { shown }
}

/// The message and the code of an error, in any of the shapes that servers give it.
fn words_of(value: &Value) -> (String, String) {
    let error = value.get("error").unwrap_or(value);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let message = text(error)
        .or_else(|| ["message", "detail", "error_description"].iter().find_map(|name| error.get(name).and_then(text)));
    let kind = |name: &str| match error.get(name) {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Number(kind)) => kind.to_string(),
        _ => String::new(),
    };
    (message.unwrap_or_else(|| error.to_string()), format!("{} {}", kind("code"), kind("type")).to_lowercase())
}

/// What a code says of how an invocation ended, where it says it.
fn outcome_of(kind: &str) -> Option<Outcome> {
    let table: [(&[&str], Outcome); 6] = [
        (&["content_filter", "content_policy", "responsible_ai", "moderation"], Outcome::Blocked),
        (&["rate_limit", "insufficient_quota", "429"], Outcome::RateLimited),
        (&["timeout", "504"], Outcome::Timeout),
        (&["overloaded", "unavailable", "server_error", "internal", "500", "502", "503"], Outcome::Overload),
        (
            &["invalid", "context_length", "not_found", "authentication", "permission", "400", "401"],
            Outcome::InvalidRequest,
        ),
        (&["cancel"], Outcome::Cancelled),
    ];
    table.iter().find(|(words, _)| words.iter().any(|word| kind.contains(word))).map(|(_, outcome)| *outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_its_words_become_an_outcome_and_a_line() {
        for (code, body, expect) in [
            (401, r#"{"error":{"message":"no such key","code":"invalid_api_key"}}"#, "InvalidRequest 401: no such key"),
            (404, r#"{"error":"model 'x' not found"}"#, "InvalidRequest 404: model 'x' not found"),
            (400, r#"{"error":{"message":"no","code":"content_filter"}}"#, "Blocked 400: no"),
            (422, r#"{"detail":"bad"}"#, "InvalidRequest 422: bad"),
            (429, "slow\n down", "RateLimited 429: slow down"),
            (500, "", "Overload 500"),
            (503, r#"{"error":{"code":503,"message":"loading"}}"#, "Overload 503: loading"),
            (504, "", "Timeout 504"),
            (302, "", "InvalidRequest 302"),
        ] {
            let fault = Fault::of_status(code, None, body, str::to_owned);
            assert_eq!(format!("{:?} {fault}", fault.outcome()), expect, "{code} {body}");
        }
        let reported =
            Fault::reported(&serde_json::json!({"error": {"message": "x", "type": "overloaded_error"}}), str::to_owned);
        assert_eq!((reported.outcome(), reported.to_string().as_str()), (Outcome::Overload, "it reports: x"));
        let long = Fault::of_status(400, None, &"a".repeat(9_999), str::to_owned).to_string();
        assert_eq!(long.len(), "400: ...".len() + MAX_SAID_CHARS);
    }
}
