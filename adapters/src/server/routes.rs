//! What is where: the doors, and what operators look at.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ring::rand::{SecureRandom, SystemRandom};
use rspp_specs::plan::{NodeKind, Plan, ToolSpec};

use super::accept::Counted;
use super::attendant::Visit;
use super::upgrade::Upgrade;
use super::{House, console, metrics, webhooks};
use crate::admission::Priority;
use crate::doors::realtime::Realtime;
use crate::doors::rspp::{Form, Rspp};
use crate::doors::rtvi::Rtvi;
use crate::telephony::{Provider, Telephones};
use crate::token::{self, AUDIENCE, Claims, TokenError};
use crate::tools::CLIENT;
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
    pub open: Opens,
}

/// Makes a transport for who knocks.
pub type Opens = fn(&Knock<'_>) -> Result<Box<dyn Transport>, Refusal>;

/// Somebody at a door.
#[derive(Clone, Copy)]
pub struct Knock<'a> {
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<&'a str>,
    /// What was asked for.
    pub uri: &'a Uri,
    /// With which headers.
    pub headers: &'a HeaderMap,
    /// The numbers that this server answers.
    pub telephones: &'a Telephones,
    /// What is served.
    pub plan: &'a Plan,
}

impl Knock<'_> {
    /// A value of the query, as it stands there.
    pub fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.uri.query()?.split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Tools that are the client's to carry out.
    fn client_tools(&self) -> Vec<&ToolSpec> {
        let tools = self.plan.nodes().iter().flat_map(|node| match &node.kind {
            NodeKind::Llm { tools, .. } => tools.as_slice(),
            _ => &[],
        });
        tools.filter(|tool| tool.binding == CLIENT).collect()
    }

    /// The token in the request: `Authorization: Bearer`, `?token=`, or where browsers put a key for this protocol.
    pub fn token(&self) -> Option<&str> {
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let mut offered = text("sec-websocket-protocol").unwrap_or_default().split(',').map(str::trim);
        bearer.or_else(|| self.query("token")).or_else(|| offered.find_map(|word| word.strip_prefix(KEY_SUBPROTOCOL)))
    }
}

/// Before a key, in a browser's list of subprotocols.
const KEY_SUBPROTOCOL: &str = "openai-insecure-api-key.";

/// All doors.
pub const DOORS: &[Door] = &[
    Door {
        path: "/v1/rspp",
        subprotocols: &[Form::Json.subprotocol(), Form::Protobuf.subprotocol()],
        token_in_message: true,
        open: |knock| {
            let form = Form::ALL.into_iter().find(|form| Some(form.subprotocol()) == knock.subprotocol);
            Ok(Box::new(Rspp::new(form.unwrap_or(Form::ALL[0]))))
        },
    },
    Door {
        path: "/v1/realtime",
        subprotocols: &["realtime"],
        token_in_message: false,
        open: |knock| Ok(Box::new(Realtime::new(knock.query("model").unwrap_or("rspp"), &knock.client_tools()))),
    },
    Door { path: "/v1/rtvi", subprotocols: &[], token_in_message: false, open: |_| Ok(Box::new(Rtvi::new())) },
    telephone("/v1/twilio", |knock| webhooks::stream(Provider::Twilio, knock)),
    telephone("/v1/twilio/{ticket}", |knock| webhooks::stream(Provider::Twilio, knock)),
    telephone("/v1/telnyx", |knock| webhooks::stream(Provider::Telnyx, knock)),
    telephone("/v1/telnyx/{ticket}", |knock| webhooks::stream(Provider::Telnyx, knock)),
    telephone("/v1/plivo", |knock| webhooks::stream(Provider::Plivo, knock)),
    telephone("/v1/plivo/{ticket}", |knock| webhooks::stream(Provider::Plivo, knock)),
];

/// A telephone provider's door. Who answers webhooks gives out its addresses, each with a ticket.
const fn telephone(path: &'static str, open: Opens) -> Door {
    Door { path, subprotocols: &[], token_in_message: true, open }
}

pub(super) fn router(house: Arc<House>) -> Router {
    let mut router = console::routes(Router::new())
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .route("/telephony/{provider}", get(webhooks::answer).post(webhooks::answer));
    if house.issuer.is_some() {
        router = router.route("/dev/token", get(dev_token));
    }
    for door in DOORS {
        let enter = move |State(house): State<Arc<House>>,
                          Extension(counted): Extension<Arc<Counted>>,
                          request: Request| async move { enter(&house, door, counted, request) };
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
    if let Err(says) = house.authority.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{says}\n")).into_response();
    }
    healthz(State(house)).await
}

async fn metrics_page(State(house): State<Arc<House>>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::page(&house)).into_response()
}

/// A token for one call, of a server that needs none: so that clients can be tried with one.
async fn dev_token(State(house): State<Arc<House>>, headers: HeaderMap) -> Response {
    if let Err(refusal) = check_origin(&house, &headers) {
        return refused(&house, &refusal);
    }
    let Some(issuer) = &house.issuer else { return StatusCode::NOT_FOUND.into_response() };
    let (iat, session) = (token::now(), format!("dev-{}", random_name()));
    let (tenant, pipeline) = ("dev".to_owned(), house.pipeline.plan.name().to_owned());
    let claims = Claims {
        aud: AUDIENCE.to_owned(),
        tenant,
        pipeline,
        session,
        priority: Priority::Interactive,
        iat,
        exp: iat + DEV_TOKEN_SECONDS,
        lease: None,
    };
    ([(CONTENT_TYPE, "text/plain")], issuer.issue(&claims)).into_response()
}

/// A token of `/dev/token` is valid for so long.
const DEV_TOKEN_SECONDS: u64 = 300;

/// Somebody is at a door: lets them in, or says why not.
fn enter(house: &Arc<House>, door: &'static Door, counted: Arc<Counted>, mut request: Request) -> Response {
    let admitted = admit(house, door, &mut request);
    let (upgrade, transport, claims) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return refused(house, &refusal),
    };
    // A ticket, which the door has looked at, vouches for who brings it.
    let vouched = door.path.ends_with("/{ticket}");
    let visit = Visit { house: Arc::clone(house), transport, claims, vouched, counted };
    upgrade.attend(visit, house.limits.message_bytes)
}

/// What somebody comes in with.
type Admitted = (Upgrade, Box<dyn Transport>, Option<Claims>);

fn admit(house: &House, door: &'static Door, request: &mut Request) -> Result<Admitted, Refusal> {
    if house.draining.is_cancelled() {
        return Err(Refusal::fatal(RefusalCode::ShuttingDown, "no new calls are taken"));
    }
    check_origin(house, request.headers())?;
    let mut upgrade = Upgrade::of(request)?;
    let Some(subprotocol) = upgrade.agree(door.subprotocols, request.headers()) else {
        let says = format!("none of these subprotocols is spoken here; {} are", door.subprotocols.join(", "));
        return Err(Refusal::fatal(RefusalCode::Unsupported, says));
    };
    let (uri, headers) = (request.uri(), request.headers());
    let knock = Knock { subprotocol, uri, headers, telephones: &house.telephones, plan: &house.pipeline.plan };
    let claims = match house.admit(knock.token()) {
        Err(TokenError::Missing) if door.token_in_message => None,
        claims => claims.map_err(|error| Refusal::fatal(RefusalCode::Unauthorized, error.to_string()))?,
    };
    let transport = (door.open)(&knock)?;
    Ok((upgrade, transport, claims))
}

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

pub(super) fn refused(house: &House, refusal: &Refusal) -> Response {
    house.traffic.refuse(refusal.code);
    let status = match refusal.code {
        RefusalCode::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusalCode::NoSession => StatusCode::NOT_FOUND,
        RefusalCode::Moved => StatusCode::GONE,
        RefusalCode::Full | RefusalCode::Deferred | RefusalCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::OverQuota => StatusCode::TOO_MANY_REQUESTS,
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
