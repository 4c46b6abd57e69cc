//! A control plane as a process, and the commands that people use on it.

#[path = "fleet/house.rs"]
mod house;

use std::path::Path;
use std::process::Command;

use house::Plane;
use rspp::controlplane::wire::{AuditVerdict, Published, Registered, Registration, Route, RouteRequest};

const SPEC: &str = "specs/pipelines/voice-assistant.yaml";
const NAME: &str = "voice-assistant";

/// The same pipeline with another binding, under this version.
fn changed(folder: &Path, version: u64) -> String {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC);
    let text = std::fs::read_to_string(spec).expect("it is there");
    let was = text.lines().find(|line| line.starts_with("version:")).expect("it has a version").to_owned();
    let text = text.replace(&was, &format!("version: {version}")).replace("../examples", "examples");
    let examples = folder.join("examples");
    std::fs::create_dir_all(&examples).expect("it can be made");
    let dialogue = "restaurant.dialogue.yaml";
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/examples").join(dialogue);
    std::fs::copy(from, examples.join(dialogue)).expect("it is there");
    let path = folder.join(format!("{version}.yaml"));
    std::fs::write(&path, text).expect("it can be written");
    path.display().to_string()
}

#[test]
fn a_pipeline_goes_from_a_file_to_callers_and_back() {
    let plane = Plane::start();
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let published: Published = serde_json::from_str(&plane.says(&["publish", SPEC, "--json"])).expect("it is JSON");
    let first = published.artifact.version.to_string();
    assert!(plane.says(&["publish", SPEC]).contains("was published before"));
    let second = changed(folder.path(), published.artifact.version + 1);
    plane.says(&["publish", &second]);
    let (code, says) = plane.refuses(&["publish", "specs/rollouts/none.yaml"]);
    assert_eq!(code, 2, "{says}");
    let (code, says) = plane.refuses(&["rollback", NAME]);
    assert!(code != 0 && says.contains("no earlier version"), "{says}");
    plane.says(&["rollout", NAME, "--version", &first]);
    let next = (published.artifact.version + 1).to_string();
    let shown = plane.says(&["rollout", NAME, "--version", &next, "--percent", "10", "--tenant", "internal"]);
    assert!(shown.contains("10 %") && shown.contains("internal"), "{shown}");
    assert!(plane.says(&["rollout", NAME, "--percent", "50"]).contains("50 %"));
    plane.says(&["rollback", NAME]);
    let (code, says) = plane.refuses(&["rollout", NAME, "--promote"]);
    assert!(code == 1 && says.contains("no version is being tried"), "{says}");
    let log = plane.says(&["audit"]);
    assert_eq!(log.matches("  rollout  ").count(), 4, "{log}");
}

#[test]
fn a_route_has_a_token_that_the_control_plane_s_key_has_signed_and_outlives_a_kill() {
    let mut plane = Plane::start();
    plane.says(&["publish", SPEC]);
    plane.says(&["rollout", NAME, "--version", "1"]);
    let endpoint = "ws://127.0.0.1:1".to_owned();
    let (pipeline, region, program) = (NAME.to_owned(), String::new(), String::new());
    let worker = Registration { endpoint, pipeline, region, capacity: 10, program };
    let registered: Registered = plane.client().put("/v1/workers/w1", &worker).expect("it may");
    let ask = RouteRequest { tenant: "acme".into(), session: Some("s".into()), pipeline: NAME.into(), region: None };
    let route: Route = plane.client().post("/v1/sessions", &ask).expect("there is room");
    let key = rspp::adapters::token::PublicKey::from_pem(&registered.view.token_key).expect("it is a key");
    let guard = rspp::adapters::token::Guard::new(vec![key], NAME);
    let claims = guard.check(&route.token, rspp::adapters::token::now()).expect("it is signed");
    assert_eq!((claims.tenant.as_str(), claims.session.as_str()), ("acme", "s"));
    plane.kill();
    plane.start_again();
    assert!(plane.says(&["sessions"]).contains("w1"), "what was answered for is there");
    assert!(plane.says(&["sessions", "acme", "s"]).contains("begun by"));
    let again: Route = plane
        .client()
        .post("/v1/reroute", &serde_json::json!({"tenant": "acme", "session": "s", "secret": route.secret}))
        .expect("its worker is not taken for dead before the control plane has listened");
    assert_eq!(again.epoch, route.epoch);
    assert!(plane.says(&["workers"]).contains("ws://127.0.0.1:1"));
    assert!(plane.says(&["drain", "w1"]).contains("takes no more sessions"));
    let verdict: AuditVerdict =
        serde_json::from_str(&plane.says(&["audit", "--verify", "--json"])).expect("it is JSON");
    assert!(verdict.intact);
    let (code, says) = plane.refuses(&["audit", "--verify", "--head", &"0f".repeat(32)]);
    assert!(code == 1 && says.contains("no entry with the hash"), "{says}");
}

#[test]
fn who_has_no_key_and_where_nobody_is_are_told_apart() {
    let plane = Plane::start();
    let program = || Command::new(env!("CARGO_BIN_EXE_rspp"));
    let output = program().args(["workers", "--control-plane", &plane.url]).env_remove("RSPP_KEY").output();
    let output = output.expect("cargo has built the program");
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let output = program().args(["workers", "--control-plane", &plane.url]).env("RSPP_KEY", "rk_none").output();
    let output = output.expect("cargo has built the program");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let output =
        program().args(["workers", "--control-plane", "http://127.0.0.1:1"]).env("RSPP_KEY", "rk_none").output();
    let says = String::from_utf8_lossy(&output.expect("cargo has built the program").stderr).into_owned();
    assert!(says.contains("is `rspp control-plane` there"), "{says}");
}
