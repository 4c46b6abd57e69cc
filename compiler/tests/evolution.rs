//! How schemas may change (`F-028`, `F-162`): what a change is, and whether the policy in `specs/compat` allows it
//! without a new major version.

use std::path::Path;

use rspp_compiler::{content, schema_changes, schemas};
use rspp_specs::artifact::{CompatibilityPolicy, SchemaChange};
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
