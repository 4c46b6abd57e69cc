//! The console page (`F-039`): static files that are in the program, and what it shows of the pipeline.
//!
//! The page is a client of the server's own protocol and of nothing else. It may load nothing from elsewhere, and no other
//! page may show it in a frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::{House, recorded};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type, text.
const FILES: [(&str, &str, &str); 12] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../console/index.html")),
    ("/console.css", "text/css; charset=utf-8", include_str!("../../../console/console.css")),
    ("/console.js", JAVASCRIPT, include_str!("../../../console/console.js")),
    ("/calls.js", JAVASCRIPT, include_str!("../../../console/calls.js")),
    ("/captions.js", JAVASCRIPT, include_str!("../../../console/captions.js")),
    ("/graph.js", JAVASCRIPT, include_str!("../../../console/graph.js")),
    ("/latency.js", JAVASCRIPT, include_str!("../../../console/latency.js")),
    ("/line.js", JAVASCRIPT, include_str!("../../../console/line.js")),
    ("/sound.js", JAVASCRIPT, include_str!("../../../console/sound.js")),
    ("/story.js", JAVASCRIPT, include_str!("../../../console/story.js")),
    ("/timeline.js", JAVASCRIPT, include_str!("../../../console/timeline.js")),
    ("/worklets.js", JAVASCRIPT, include_str!("../../../console/worklets.js")),
];

/// Nothing from elsewhere, and in nobody's frame.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Adds the page to the routes.
pub(super) fn routes(mut router: Router<Arc<House>>) -> Router<Arc<House>> {
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { file(kind, text) }));
    }
    let router = router.route("/pipeline.json", get(pipeline)).route("/pipeline.svg", get(graph));
    recorded::routes(router.route("/live.json", get(live)))
}

pub(super) fn file(kind: &'static str, text: impl IntoResponse) -> Response {
    (headers(kind), text).into_response()
}

fn headers(kind: &'static str) -> [(HeaderName, &'static str); 4] {
    [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A newer program has another page.
        (CACHE_CONTROL, "no-cache"),
    ]
}

async fn pipeline(State(house): State<Arc<House>>) -> Response {
    let plan = &house.pipeline.plan;
    let text = json!({"name": plan.name(), "version": plan.version(), "plan_hash": plan.hash()});
    file("application/json", text.to_string())
}

async fn graph(State(house): State<Arc<House>>) -> Response {
    file("image/svg+xml", house.graph.clone())
}

/// What the parts of the pipeline do, as counters: who looks twice has rates. It says nothing of who calls.
async fn live(State(house): State<Arc<House>>) -> Response {
    let mut live = house.bridge.meters().live(&house.pipeline.plan);
    let waiting = house.pipeline.pool.waiting().map(|waiting| (waiting.node.to_owned(), waiting.invocations.into()));
    live["waiting"] = serde_json::Value::Object(waiting.collect());
    live["inbox"] = house.bridge.waiting().into();
    live["sessions"] = house.bridge.counts().sessions.load(Ordering::Relaxed).into();
    file("application/json", live.to_string())
}
