//! Telephone providers: their webhooks are answered, and their streams let in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::routes::{Knock, refused};
use super::{House, READING};
use crate::doors::telephony::Telephony;
use crate::telephony::signature::{MAX_WEBHOOK_BYTES, SignatureFault, Webhook};
use crate::telephony::{KeypadRules, Provider, Unanswered};
use crate::transport::{Refusal, RefusalCode, Transport};

/// A call comes in: says where to stream it, if it is the provider who asks.
pub(super) async fn answer(State(house): State<Arc<House>>, request: Request) -> Response {
    if house.draining.is_cancelled() {
        return refused(&house, &Refusal::fatal(RefusalCode::ShuttingDown, "no new calls are taken"));
    }
    let Some(provider) = request.uri().path().rsplit('/').next().and_then(Provider::named) else {
        return refused(&house, &Refusal::fatal(RefusalCode::NoSession, "calls come from twilio, telnyx or plivo"));
    };
    let webhook = match read(&house, request).await {
        Ok(webhook) => webhook,
        Err(refusal) => return refused(&house, &refusal),
    };
    match house.telephones.answer(provider, &webhook, now_unix_s()) {
        Ok(document) => (StatusCode::OK, [(CONTENT_TYPE, "application/xml")], document).into_response(),
        Err(unanswered) => refused(&house, &Refusal::fatal(code(&unanswered), unanswered.to_string())),
    }
}

fn code(unanswered: &Unanswered) -> RefusalCode {
    match unanswered {
        Unanswered::NotServed(_) => RefusalCode::NoSession,
        Unanswered::NotBelieved(SignatureFault::TooLarge) => RefusalCode::TooLarge,
        Unanswered::NotBelieved(_) => RefusalCode::Unauthorized,
    }
}

/// The request as the provider sent it, within its limits of length and time.
async fn read(house: &House, request: Request) -> Result<Webhook, Refusal> {
    let (parts, body) = request.into_parts();
    let asked = parts.uri.path_and_query().map_or("/", |asked| asked.as_str());
    let text = |value: &axum::http::HeaderValue| value.to_str().map(str::to_owned).ok();
    let headers: BTreeMap<String, String> =
        parts.headers.iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?))).collect();
    let body = tokio::time::timeout(READING, to_bytes(body, MAX_WEBHOOK_BYTES)).await;
    let body =
        body.map_err(|_| Refusal::fatal(RefusalCode::HandshakeTimeout, "the request did not come to its end"))?;
    let body = body.map_err(|_| {
        Refusal::fatal(RefusalCode::TooLarge, format!("a webhook has at most {MAX_WEBHOOK_BYTES} bytes"))
    })?;
    let url = house.telephones.public_address(asked);
    Ok(Webhook { method: parts.method.as_str().to_owned(), url, headers, body: body.to_vec() })
}

/// A provider streams a call: lets it in with its ticket, or without where none is asked for.
pub(super) fn stream(provider: Provider, knock: &Knock<'_>) -> Result<Box<dyn Transport>, Refusal> {
    let last = knock.uri.path().rsplit('/').next().filter(|last| *last != provider.name());
    let expected = knock
        .telephones
        .admit(provider, last, now_unix_s())
        .map_err(|not_taken| Refusal::fatal(RefusalCode::Unauthorized, not_taken.to_string()))?;
    Ok(Box::new(Telephony::new(provider, KeypadRules::default(), expected)))
}

/// By the wall clock, which providers and tickets go by.
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
