//! Every route, with every kind of key, with none, and with one that is not in force: who is let in is a table in here, written
//! down apart from the table that the routes go by.

mod house;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use house::{Clock, open_house, plane};
use rspp_controlplane::api::{Method, ROUTES, listen, openapi, serve};
use rspp_controlplane::keys::Role;
use rspp_controlplane::plane::{Caller, Plane};
use rspp_controlplane::wire::KeyRequest;

/// Each route, and who may ask. Everybody else is refused.
const WHO_MAY: &str = "
GET /healthz: everybody
GET /readyz: everybody
GET /openapi.json: everybody
GET /v1/artifacts: viewer publisher operator worker auditor admin
POST /v1/artifacts: publisher operator admin
GET /v1/artifacts/{digest}: viewer publisher operator worker auditor admin
GET /v1/rollouts: viewer publisher operator worker auditor admin
POST /v1/rollouts: publisher operator admin
GET /v1/workers: viewer publisher operator worker auditor admin
PUT /v1/workers/{worker}: worker admin
POST /v1/workers/{worker}/heartbeat: worker admin
POST /v1/workers/{worker}/drain: operator admin
POST /v1/workers/{worker}/revoke: operator admin
GET /v1/sessions: viewer publisher operator worker auditor admin
GET /v1/sessions/{tenant}/{session}: viewer publisher operator worker auditor admin
POST /v1/sessions: caller operator admin
POST /v1/reroute: who has the secret
POST /v1/reports: worker admin
GET /v1/view: worker admin
GET /v1/quotas: viewer publisher operator worker auditor admin
PUT /v1/quotas: operator admin
GET /v1/audit: auditor admin
GET /v1/audit/verdict: auditor admin
GET /v1/keys: admin
POST /v1/keys: admin
DELETE /v1/keys/{id}: admin
";

/// A server, while it is there.
struct Served {
    address: SocketAddr,
    plane: Arc<Plane>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn served() -> Served {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let plane = Arc::new(plane(&folder.path().join("store"), &Clock::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("the system has threads");
    let listener = runtime.block_on(listen(([127, 0, 0, 1], 0).into())).expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    runtime.spawn(serve(listener, Arc::clone(&plane), std::future::pending()));
    Served { address, plane, _runtime: runtime, _folder: folder }
}

impl Served {
    /// The status and the body of an answer.
    fn ask(&self, method: Method, path: &str, key: Option<&str>, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let key = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
        let head = format!("{} {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{key}", method.name());
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it is HTTP");
        (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    }

    fn key(&self, role: Role) -> String {
        let request = KeyRequest { role, label: role.name().into() };
        self.plane.add_key(&Caller::own(), &request).expect("it may").key
    }
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let served = served();
    let keys: Vec<(Role, String)> = Role::ALL.into_iter().map(|role| (role, served.key(role))).collect();
    let revoked = served.key(Role::Admin);
    let id = revoked.split('_').nth(1).expect("it has an id").to_owned();
    served.plane.revoke_key(&Caller::own(), &id).expect("it is in force");
    let (known, last) = keys[6].1.split_at(keys[6].1.len() - 1);
    let forged = format!("{known}{}", if last == "0" { "1" } else { "0" });
    let mut told = String::from("\n");
    for route in ROUTES {
        let path = route.path.replace('{', "").replace('}', "") + "?after=0";
        let refused = |key: Option<&str>| matches!(served.ask(route.method, &path, key, "").0, 401 | 403);
        let is_open = !refused(None);
        for key in [&revoked, &forged, "rk_", ""] {
            assert_eq!(!refused(Some(key)), is_open, "{} with the key {key:?}", route.path);
        }
        let in_by_key = keys.iter().filter(|(_, key)| !refused(Some(key))).map(|(role, _)| role.name());
        let who = match (is_open, route.path) {
            // Without its secret it goes no further than to read what it was sent.
            (true, "/v1/reroute") => "who has the secret".to_owned(),
            (true, _) => "everybody".to_owned(),
            (false, _) => in_by_key.collect::<Vec<_>>().join(" "),
        };
        told += &format!("{} {}: {who}\n", route.method.name(), route.path);
    }
    assert_eq!(told, WHO_MAY);
}

#[test]
fn a_session_s_secret_is_what_its_route_needs() {
    let served = served();
    open_house(&served.plane, &["a"], 10);
    let key = served.key(Role::Caller);
    let (status, route) = served.ask(
        Method::Post,
        "/v1/sessions",
        Some(&key),
        r#"{"tenant": "acme", "session": "s", "pipeline": "assistant"}"#,
    );
    assert_eq!(status, 200, "{route}");
    let route: serde_json::Value = serde_json::from_str(&route).expect("it is JSON");
    let ask = |secret: &str, session: &str| {
        let body = serde_json::json!({"tenant": "acme", "session": session, "secret": secret}).to_string();
        served.ask(Method::Post, "/v1/reroute", None, &body).0
    };
    let secret = route["secret"].as_str().expect("a new session has one");
    assert_eq!((ask(secret, "s"), ask("guessed", "s"), ask(secret, "other")), (200, 401, 401));
}

#[test]
fn refusals_say_what_is_wrong_and_when_to_come_again() {
    let served = served();
    open_house(&served.plane, &["a"], 1);
    let key = served.key(Role::Admin);
    let check = |method: Method, path: &str, body: &str, expected: u16, code: &str| {
        let (status, answer) = served.ask(method, path, Some(&key), body);
        let problem: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        assert_eq!((status, problem["code"].as_str().unwrap_or_default()), (expected, code), "{path}: {answer}");
        problem
    };
    let session = |name: &str| format!(r#"{{"tenant": "acme", "session": "{name}", "pipeline": "assistant"}}"#);
    check(Method::Post, "/v1/sessions", "{", 400, "malformed");
    check(Method::Post, "/v1/sessions", r#"{"tenant": "acme", "pipeline": "none"}"#, 404, "not_found");
    assert_eq!(served.ask(Method::Post, "/v1/sessions", Some(&key), &session("s")).0, 200);
    let full = check(Method::Post, "/v1/sessions", &session("t"), 429, "defer");
    assert!(full["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{full}");
    check(Method::Put, "/v1/quotas", r#"{"tenant": "acme", "quota": {"sessions": 0, "per_minute": 1}}"#, 200, "");
    check(Method::Get, "/v1/sessions/acme/none", "", 404, "not_found");
    check(Method::Get, "/v1/view?after=x", "", 400, "malformed");
    check(Method::Post, "/v1/workers/none/drain", "", 404, "not_found");
}

#[test]
fn the_openapi_document_is_fresh_and_has_every_route() {
    let document = openapi();
    let text = serde_json::to_string_pretty(&document).expect("it is JSON") + "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "controlplane/openapi.json is not what the routes say: UPDATE_OPENAPI=1 writes it anew");
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.name().to_lowercase()];
        assert_eq!(operation["summary"], route.summary, "{}", route.path);
    }
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let there = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        assert!(there.is_some(), "{reference} leads nowhere");
    }
}

/// All references in a document.
fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(|to| to.as_str()).map(str::to_owned));
            fields.values().for_each(|value| collect(value, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}
