//! How schemas may change (`F-028`, `F-162`): what a change is, and whether the policy in `specs/compat` allows it
//! without a new major version.

use std::path::Path;

use rspp_compiler::{
    Day, Named, Registry, Request, breaking_changes, bundle, compile, content, lint, publish, schema_changes, schemas,
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
        |new| new["properties"]["bind"]["additionalProperties"]["type"] = json!("integer"),
        &[(".bind.*", ChangeType)],
        false,
    );
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
        // The event ABI's baseline has a test of its own.
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let old: Value = serde_json::from_str(&text).expect("a schema is JSON");
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let now = schemas().into_iter().find(|schema| schema.file == name);
        let now = now.unwrap_or_else(|| panic!("{name} is gone: no kind of document goes within a series"));
        let breaking = breaking_changes(&policy(), (env!("CARGO_PKG_VERSION"), None), now.kind, (&old, &now.schema));
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
    let breaks = |policy: &CompatibilityPolicy, runtime, today: &str| {
        !breaking_changes(policy, (runtime, Day::parse(today)), "ConfigLayer", (&old, &new)).is_empty()
    };
    assert!(breaks(&policy, "0.9.0", "2030-01-01"), "nobody was warned");
    policy.deprecations.push(deprecation("ConfigLayer.bind"));
    for (runtime, today, expect) in [
        ("0.2.9", "2026-07-01", true),
        ("0.3.0", "2026-06-30", true),
        ("0.3.0", "2026-07-01", false),
        ("0.2.9", "", true),
        ("0.3.0", "", false),
    ] {
        assert_eq!(breaks(&policy, runtime, today), expect, "{runtime} on {today}");
    }
}

#[test]
fn a_policy_that_lets_a_field_go_before_it_is_refused_is_told_so() {
    let policy = json!({
        "kind": "CompatibilityPolicy", "name": "x", "version_skew": 0, "compatible": [],
        "deprecations": [deprecation("ConfigLayer.bind")],
    });
    let codes = |runtime: &str, today: &str| {
        let request = Request {
            today: Day::parse(today),
            runtime: Some(runtime.to_owned()),
            ..Request::new("policy.json", &policy.to_string())
        };
        let (_, findings) = lint(&request, &Registry::new());
        findings.0.iter().map(|it| format!("{} {}", it.code, it.path)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(codes("0.2.0", "2026-03-01"), "");
    assert_eq!(codes("0.3.0", "2026-03-01"), "RSPP0065 deprecations[0].removed_in");
    assert_eq!(codes("0.3.0", "2026-07-01"), "");
}

/// What a bundle is told next to the one that was published before it.
fn told(old: (u32, &str), new: (u32, &str)) -> Vec<String> {
    let spec = |(version, more): (u32, &str)| {
        format!(
            "kind: PipelineSpec\nname: x\nversion: {version}\ntemplate: voice-assistant\n\
             bind: {{stt: \"captions:a\", llm: \"say:b\", tts: \"tone:\"}}\n{more}"
        )
    };
    let made = |spec: &str| {
        let plan = compile("x.yaml", spec, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
        let files = [("x.yaml".to_owned(), ("spec".to_owned(), spec.as_bytes().to_vec()))];
        bundle(&plan, &files.into_iter().collect(), "0.1.0")
    };
    let (old, new) = (spec(old), spec(new));
    let text = serde_json::to_string_pretty(&made(&old)).expect("a bundle is JSON");
    let previous = Named { name: "old.json".to_owned(), text };
    let findings = publish(&Request::new("x.yaml", &new), &made(&new), &previous);
    findings
        .0
        .iter()
        .map(|it| format!("{} {}:{}:{} {}; {}", it.code, it.source, it.line, it.column, it.message, it.hint))
        .collect()
}

#[test]
fn a_published_version_never_changes_and_the_next_is_told() {
    assert_eq!(told((3, ""), (3, "")), [""; 0]);
    assert_eq!(told((3, ""), (4, "nodes: {vad: {hangover_ms: 700}}\n")), [""; 0]);
    let at = "RSPP0071 x.yaml:3:10 version 3 is published and never changes, and this is another";
    assert_eq!(
        told((3, ""), (3, "# A word.\n")),
        [format!(
            "{at}: x.yaml changed; what a session does is the same, and the bytes are not: write `version: 4`, or take the change back"
        )]
    );
    assert_eq!(
        told((3, ""), (3, "nodes: {vad: {hangover_ms: 700}}\n")),
        [format!("{at}: the plan; x.yaml changed; a patch change: write `version: 4`, or take the change back")]
    );
    assert_eq!(
        told((3, ""), (3, "nodes: {tts: {bind: \"say:c\"}}\n")),
        [format!(
            "{at}: tts was bound to tone:, and is to say:c; x.yaml changed; a minor change: write `version: 4`, or take the change back"
        )]
    );
    let older = told((3, ""), (2, ""));
    assert!(older[0].contains("version 2 is older than 3, which is published"), "{older:?}");
}

#[test]
fn an_edited_bundle_is_no_predecessor_and_one_of_long_ago_no_way_back() {
    let spec = "kind: PipelineSpec\nname: x\nversion: 1\nnodes: {a: {type: user_turn}}\n";
    let plan = compile("x.yaml", spec, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
    let codes = |previous: &str, runtime: &str| {
        let next = bundle(&plan, &Default::default(), "0.4.0");
        let request = Request { runtime: Some(runtime.to_owned()), ..Request::new("x.yaml", spec) };
        let previous = Named { name: "old.json".to_owned(), text: previous.to_owned() };
        let findings = publish(&request, &next, &previous);
        let told = findings.0.iter().map(|it| format!("{} {}", it.code, it.severity.name())).collect::<Vec<_>>();
        told.join(", ")
    };
    let old = serde_json::to_string(&bundle(&plan, &Default::default(), "0.4.0")).expect("a bundle is JSON");
    assert_eq!(codes(&old, "0.4.0"), "");
    assert_eq!(codes(&old.replace("simple/v1", "simple/v2"), "0.4.0"), "RSPP0061 error");
    assert_eq!(codes(&old, "0.6.0"), "RSPP0069 warning");
    assert_eq!(codes(spec, "0.4.0"), "RSPP0002 error");
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
