//! The console page (`F-039`): static files that are in the program, and what it shows of the pipeline.
//!
//! The page is a client of the server's own protocol and of nothing else. It may load nothing from elsewhere, and no other
//! page may show it in a frame.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::House;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type, text.
const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../console/index.html")),
    ("/console.css", "text/css; charset=utf-8", include_str!("../../../console/console.css")),
    ("/console.js", JAVASCRIPT, include_str!("../../../console/console.js")),
    ("/line.js", JAVASCRIPT, include_str!("../../../console/line.js")),
    ("/sound.js", JAVASCRIPT, include_str!("../../../console/sound.js")),
    ("/story.js", JAVASCRIPT, include_str!("../../../console/story.js")),
    ("/timeline.js", JAVASCRIPT, include_str!("../../../console/timeline.js")),
    ("/worklets.js", JAVASCRIPT, include_str!("../../../console/worklets.js")),
];

/// Nothing from elsewhere, and in nobody's frame.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Adds the page to the routes.
pub(super) fn routes(mut router: Router<Arc<House>>) -> Router<Arc<House>> {
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { file(kind, text) }));
    }
    router.route("/pipeline.json", get(pipeline)).route("/pipeline.svg", get(graph))
}

fn file(kind: &'static str, text: impl IntoResponse) -> Response {
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
