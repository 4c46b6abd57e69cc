//! What is where: the doors, and what operators look at.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ring::rand::{SecureRandom, SystemRandom};

use super::accept::Counted;
use super::attendant::{Attendant, Visit};
use super::{House, metrics};
use crate::doors::rspp::{Form, Rspp};
use crate::transport::{Refusal, RefusalCode, Transport};

/// A door: a path, and the dialect that is spoken behind it.
pub struct Door {
    /// Where it is.
    pub path: &'static str,
    /// Subprotocols of WebSocket that it speaks; none if it does not care.
    pub subprotocols: &'static [&'static str],
    /// Whether a peer can send its token in a message; if not, it has to stand in the request.
    pub token_in_message: bool,
    /// A transport for who knocks.
    pub open: fn(&Knock<'_>) -> Result<Box<dyn Transport>, Refusal>,
}

/// Somebody at a door.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'a> {
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<&'a str>,
    /// What was asked for.
    pub uri: &'a Uri,
    /// With which headers.
    pub headers: &'a HeaderMap,
}

impl Knock<'_> {
    /// A value of the query, as it stands there.
    pub fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.uri.query()?.split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The token in the request: `Authorization: Bearer`, or `?token=`.
    pub fn token(&self) -> Option<&str> {
        let header = self.headers.get("authorization").and_then(|value| value.to_str().ok());
        header.and_then(|value| value.strip_prefix("Bearer ")).or_else(|| self.query("token"))
    }
}

/// All doors.
pub const DOORS: &[Door] = &[Door {
    path: "/v1/rspp",
    subprotocols: &[Form::Json.subprotocol()],
    token_in_message: true,
    open: |knock| {
        let form = Form::ALL.into_iter().find(|form| Some(form.subprotocol()) == knock.subprotocol);
        Ok(Box::new(Rspp::new(form.unwrap_or(Form::ALL[0]))))
    },
}];

pub(super) fn router(house: Arc<House>) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page));
    for door in DOORS {
        let enter =
            move |State(house): State<Arc<House>>,
                  Extension(counted): Extension<Arc<Counted>>,
                  upgrade: WebSocketUpgrade,
                  request: Request| async move { enter(&house, door, counted, upgrade, &request) };
        router = router.route(door.path, get(enter));
    }
    router.with_state(house)
}

/// The process works.
async fn healthz(State(house): State<Arc<House>>) -> Response {
    match house.bridge.stuck().as_slice() {
        [] => (StatusCode::OK, "ok\n").into_response(),
        stuck => (StatusCode::SERVICE_UNAVAILABLE, format!("stuck: workers {stuck:?}\n")).into_response(),
    }
}

/// It takes new calls.
async fn readyz(State(house): State<Arc<House>>) -> Response {
    if house.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining: no new calls are taken\n").into_response();
    }
    healthz(State(house)).await
}

async fn metrics_page(State(house): State<Arc<House>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::page(&house)).into_response()
}

/// Somebody is at a door: lets them in, or says why not.
fn enter(
    house: &Arc<House>,
    door: &'static Door,
    counted: Arc<Counted>,
    upgrade: WebSocketUpgrade,
    request: &Request,
) -> Response {
    if house.draining.is_cancelled() {
        return refused(house, &Refusal::fatal(RefusalCode::ShuttingDown, "no new calls are taken"));
    }
    if let Err(refusal) = check_origin(house, request.headers()) {
        return refused(house, &refusal);
    }
    let limits = house.limits;
    let mut upgrade = upgrade
        .max_message_size(limits.message_bytes)
        .max_frame_size(limits.message_bytes)
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
        .protocols(door.subprotocols.iter().copied());
    let subprotocol = upgrade.selected_protocol().and_then(|value| value.to_str().ok()).map(str::to_owned);
    if subprotocol.is_none() && !door.subprotocols.is_empty() && upgrade.requested_protocols().next().is_some() {
        let says = format!("none of these subprotocols is spoken here; {} are", door.subprotocols.join(", "));
        return refused(house, &Refusal::fatal(RefusalCode::Unsupported, says));
    }
    let knock = Knock { subprotocol: subprotocol.as_deref(), uri: request.uri(), headers: request.headers() };
    match (door.open)(&knock) {
        Err(refusal) => refused(house, &refusal),
        Ok(transport) => {
            let visit = Visit { house: Arc::clone(house), transport, counted };
            upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES);
            upgrade.on_upgrade(move |socket| Attendant::attend(visit, socket))
        }
    }
}

/// A socket's own buffers. A message of 20 ms has less than a kilobyte.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const MAX_WRITE_BUFFER_BYTES: usize = 512 * 1024;

/// A browser says which page it speaks for: any page in the world could otherwise speak with a server on this machine.
fn check_origin(house: &House, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    if text(HOST) == Some(host) || house.allowed_origins.iter().any(|allowed| allowed == origin || allowed == "*") {
        return Ok(());
    }
    let says = format!("pages of {origin} may not connect; --allow-origin lets them");
    Err(Refusal::fatal(RefusalCode::Unauthorized, says))
}

fn refused(house: &House, refusal: &Refusal) -> Response {
    house.traffic.refuse(refusal.code);
    let status = match refusal.code {
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::NoSession => StatusCode::NOT_FOUND,
        RefusalCode::Full | RefusalCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::TooFast => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, format!("{refusal}\n")).into_response()
}

/// Nobody guesses it: 128 bits, as hexadecimal digits.
pub(super) fn random_name() -> String {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
