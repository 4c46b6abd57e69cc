//! How schemas may change (`F-028`, `F-162`): what a change is, and whether the policy in `specs/compat` allows it
//! without a new major version.

use std::path::Path;

use rspp_compiler::{
    Day, Named, Registry, Request, breaking_changes, bundle, compile, content, lint, schema_changes, schemas,
};
use rspp_specs::artifact::{CompatibilityPolicy, Deprecation, SchemaChange};
use serde_json::{Value, json};

fn policy() -> CompatibilityPolicy {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/compat/schemas.yaml");
    let text = std::fs::read_to_string(path).expect("the policy is there");
    serde_json::from_value(content("schemas.yaml", &text).expect("it can be read")).expect("it is a policy")
}

fn layer_schema() -> Value {
    let found = schemas().into_iter().find(|schema| schema.kind == "ConfigLayer");
    found.expect("every kind has a schema").schema
}

fn check(change: impl Fn(&mut Value), expect: &[(&str, SchemaChange)], is_allowed: bool) {
    let (old, mut new) = (layer_schema(), layer_schema());
    change(&mut new);
    let changes = schema_changes(&old, &new);
    let expect: Vec<(String, SchemaChange)> =
        expect.iter().map(|(path, change)| ((*path).to_owned(), *change)).collect();
    assert_eq!(changes, expect);
    let allowed = changes.iter().all(|(_, change)| policy().compatible.contains(change));
    assert_eq!(allowed, is_allowed, "{changes:?}");
}

#[test]
fn additions_are_compatible_and_what_breaks_documents_is_not() {
    use SchemaChange::{
        AddOptionalField, AddRequiredField, ChangeType, NarrowBounds, RemoveField, RemoveWord, WidenBounds,
    };
    check(|_| {}, &[], true);
    check(|new| new["description"] = json!("other words"), &[], true);
    check(|new| new["properties"]["owner"] = json!({"type": "string"}), &[(".owner", AddOptionalField)], true);
    check(
        |new| {
            new["properties"]["owner"] = json!({"type": "string"});
            new["required"] = json!(["kind", "name", "layer", "owner"]);
        },
        &[(".owner", AddRequiredField)],
        false,
    );
    check(
        |new| drop(new["properties"].as_object_mut().map(|map| map.remove("bind"))),
        &[(".bind", RemoveField)],
        false,
    );
    check(|new| new["properties"]["name"]["type"] = json!("integer"), &[(".name", ChangeType)], false);
    check(|new| new["properties"]["name"]["maxLength"] = json!(64), &[(".name.maxLength", NarrowBounds)], false);
    check(|new| new["properties"]["name"]["maxLength"] = json!(256), &[(".name.maxLength", WidenBounds)], true);
    check(
        |new| drop(new["$defs"]["LayerRank"]["oneOf"].as_array_mut().map(|words| words.remove(0))),
        &[(".LayerRank", RemoveWord)],
        false,
    );
}

fn deprecation(path: &str) -> Deprecation {
    let [instead, warned_from, refused_from, removed_in] =
        ["`other`", "2026-01-01", "2026-07-01", "0.3"].map(str::to_owned);
    Deprecation { path: path.to_owned(), instead, warned_from, refused_from, removed_in }
}

/// The schemas as they were when they were last published. A new series of the program gets a new baseline, and only then is
/// one changed.
#[test]
fn the_schemas_keep_to_the_baseline() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs/compat/baseline");
    let mut baselines = 0;
    for entry in std::fs::read_dir(folder).expect("the baseline is there") {
        let path = entry.expect("it can be read").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let old: Value = serde_json::from_str(&text).expect("a schema is JSON");
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let now = schemas().into_iter().find(|schema| schema.file == name);
        let now = now.unwrap_or_else(|| panic!("{name} is gone: no kind of document goes within a series"));
        let breaking = breaking_changes(&policy(), env!("CARGO_PKG_VERSION"), now.kind, (&old, &now.schema));
        assert!(breaking.is_empty(), "{name}: {breaking:?}");
        baselines += 1;
    }
    assert_eq!(baselines, schemas().len(), "every kind has its baseline");
}

#[test]
fn a_field_may_go_when_its_time_is_over_and_not_before() {
    let (old, mut new) = (layer_schema(), layer_schema());
    drop(new["properties"].as_object_mut().map(|map| map.remove("bind")));
    let mut policy = policy();
    let breaks = |policy: &CompatibilityPolicy, runtime| {
        !breaking_changes(policy, runtime, "ConfigLayer", (&old, &new)).is_empty()
    };
    assert!(breaks(&policy, "0.9.0"), "nobody was warned");
    policy.deprecations.push(deprecation("ConfigLayer.bind"));
    assert!(breaks(&policy, "0.2.9"));
    assert!(!breaks(&policy, "0.3.0"));
}

#[test]
fn what_goes_is_warned_of_first_and_refused_later() {
    let policy = json!({
        "kind": "CompatibilityPolicy", "name": "x", "version_skew": 0, "compatible": [],
        "deprecations": [deprecation("PipelineSpec.prompt"), deprecation("ConfigLayer.nodes.*.hangover_ms")],
    });
    let codes = |document: &str, today: &str| {
        let request = Request {
            today: Day::parse(today),
            compatibility: Some(Named { name: "policy.json".to_owned(), text: policy.to_string() }),
            ..Request::new("a.yaml", document)
        };
        let (_, findings) = lint(&request, &Registry::new());
        findings.0.iter().map(|it| format!("{} {}:{}", it.code, it.line, it.column)).collect::<Vec<_>>().join(", ")
    };
    let spec = "kind: PipelineSpec\nname: x\nversion: 1\ntemplate: voice-assistant\n\
                bind: {stt: \"captions:a\", llm: \"say:b\", tts: \"tone:\"}\nprompt: Be kind.\n";
    let layer = "kind: ConfigLayer\nname: a\nlayer: tenant\nnodes: {vad: {hangover_ms: 700}}\n";
    for (today, of_spec, of_layer) in [
        ("2025-12-31", "", ""),
        ("2026-01-01", "RSPP0067 6:1", "RSPP0067 4:15"),
        ("2026-06-30", "RSPP0067 6:1", "RSPP0067 4:15"),
        ("2026-07-01", "RSPP0068 6:1", "RSPP0068 4:15"),
        ("", "", ""),
    ] {
        assert_eq!((codes(spec, today).as_str(), codes(layer, today).as_str()), (of_spec, of_layer), "{today}");
    }
}

#[test]
fn a_bundle_is_for_the_programs_of_its_window() {
    let spec = "kind: PipelineSpec\nname: x\nversion: 1\nnodes: {a: {type: user_turn}}\n";
    let plan = compile("x.yaml", spec, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
    let text = serde_json::to_string(&bundle(&plan, &Default::default(), "0.4.2")).expect("a bundle is JSON");
    for (runtime, fits) in
        [("0.2.0", false), ("0.3.9", true), ("0.4.0", true), ("0.5.1", true), ("0.6.0", false), ("1.4.0", false)]
    {
        let request = Request { runtime: Some(runtime.to_owned()), ..Request::new("x.json", &text) };
        let (_, findings) = lint(&request, &Registry::new());
        let codes: Vec<&str> = findings.0.iter().map(|it| it.code).collect();
        assert_eq!(codes, if fits { vec![] } else { vec!["RSPP0069"] }, "{runtime}");
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    for (days, expect) in
        [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_453, "2025-12-31"), (20_820, "2027-01-02")]
    {
        assert_eq!(Day::of_epoch(days).to_string(), expect);
        assert_eq!(Day::parse(expect), Some(Day::of_epoch(days)));
    }
}
