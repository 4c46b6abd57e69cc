//! The control plane over HTTP.
//!
//! [`ROUTES`] is a table: a route's path, who may ask, what it takes and gives, and what it does. The router, the check of who
//! asks, the OpenAPI document and the test of authorization all go by it, so no route is served that the table does not have.

mod openapi;
mod routes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawPathParams, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;

pub use openapi::openapi;
pub use routes::{Call, Form, Handle, Method, Needs, ROUTES, Route};

use crate::plane::{Caller, Plane};
use crate::refusal::{Code, Refusal};
use crate::registry::MAX_ARTIFACT_BYTES;
use crate::wire::Problem;

/// Bytes of one request: a document, written as JSON.
const MAX_BODY_BYTES: usize = 2 * MAX_ARTIFACT_BYTES;
/// How long somebody waits at most who asks for a newer view.
const AWAITING_VIEW: Duration = Duration::from_secs(20);
/// How often it is looked whether another control plane on the same store has made a newer view.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The routes, served by this control plane.
pub fn router(plane: Arc<Plane>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let handle =
            move |state: State<Arc<Plane>>, params: RawPathParams, headers: HeaderMap, uri: Uri, body: Bytes| {
                answer(route, state.0, given(&params, &headers, &uri), body)
            };
        router = router.route(route.path, on(filter(route.method), handle));
    }
    router.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(plane)
}

/// Serves until `over` is.
///
/// # Errors
/// The system.
pub async fn serve(
    listener: TcpListener,
    plane: Arc<Plane>,
    over: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(plane)).with_graceful_shutdown(over).await
}

/// Listens.
///
/// # Errors
/// The address is taken, or none of this machine.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    }
}

/// What came with a request, besides its body.
struct Given {
    key: Option<String>,
    params: BTreeMap<String, String>,
}

fn given(params: &RawPathParams, headers: &HeaderMap, uri: &Uri) -> Given {
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = query.map(|(name, value)| (name.into_owned(), value.into_owned()));
    // What stands in the path counts more than what a query says under the same name.
    let params = query.chain(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    Given { key: bearer.map(str::to_owned), params }
}

async fn answer(route: &'static Route, plane: Arc<Plane>, given: Given, body: Bytes) -> Response {
    let answered = match route.handle {
        Handle::Do(_) => alone(move || act(route, &plane, &given, &body)).await,
        Handle::AwaitView => await_view(route, plane, given).await,
    };
    match answered {
        Ok(Some(value)) => json(StatusCode::OK, &value),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// The store blocks, so what asks it has a thread of its own.
async fn alone<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let broke =
        |_| Refusal::new(Code::Unavailable, "something broke on the control plane's side; it says more in its log");
    tokio::task::spawn_blocking(work).await.map_err(broke)?
}

fn act(route: &Route, plane: &Plane, given: &Given, body: &[u8]) -> Result<Option<Value>, Refusal> {
    let who = let_in(route, plane, given)?;
    let Handle::Do(handle) = route.handle else { return Ok(None) };
    handle(plane, &Call { who: &who, params: &given.params, body }).map(Some)
}

/// Who asks, if they may.
fn let_in(route: &Route, plane: &Plane, given: &Given) -> Result<Caller, Refusal> {
    let Needs::Key(permission) = route.needs else { return Ok(Caller::own()) };
    let missing = || Refusal::new(Code::Unauthorized, "a key is needed: `Authorization: Bearer rk_…`");
    let who = plane.authenticate(given.key.as_deref().ok_or_else(missing)?)?;
    if !who.role.may(permission) {
        let says = format!("the key {} is a {}'s, and may not do this", who.id, who.role.name());
        return Err(Refusal::new(Code::Forbidden, says));
    }
    Ok(who)
}

/// Waits for a view that is newer than the one that somebody has.
async fn await_view(route: &'static Route, plane: Arc<Plane>, given: Given) -> Result<Option<Value>, Refusal> {
    let given = Arc::new(given);
    let after: u64 = match given.params.get("after") {
        Some(text) => text.parse().map_err(|_| Refusal::new(Code::Malformed, "`after` is the number of a view"))?,
        None => 0,
    };
    let mut changes = plane.changes();
    let until = tokio::time::Instant::now() + AWAITING_VIEW;
    loop {
        let (plane, given) = (Arc::clone(&plane), Arc::clone(&given));
        let view = alone(move || let_in(route, &plane, &given).and_then(|_| plane.view())).await?;
        if view.version > after {
            return Ok(Some(value_of(&view)));
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = tokio::time::sleep_until(until) => return Ok(None),
        }
    }
}

fn value_of(what: &impl Serialize) -> Value {
    serde_json::to_value(what).expect("what is said on the wire can be written as JSON")
}

/// Reads a body; what is wrong with it is said with its place.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            Code::Malformed,
            format!("the request's body can't be read: {error}; /openapi.json tells its form"),
        )
    })
}

fn json(status: StatusCode, value: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    let problem = Problem {
        code: refusal.code.name().to_owned(),
        message: refusal.says.clone(),
        retry_after_ms: refusal.retry_after_ms,
    };
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &value_of(&problem));
    if let Some(ms) = refusal.retry_after_ms {
        response.headers_mut().insert(RETRY_AFTER, ms.div_ceil(1_000).into());
    }
    response
}
