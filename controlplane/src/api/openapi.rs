//! The OpenAPI document: made of the table of routes and of the forms of what they take and give.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Needs, ROUTES, Route};
use crate::wire::Problem;

/// The document, as OpenAPI 3.1.
pub fn openapi() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.name().to_lowercase()] = operation;
    }
    let _ = generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RSPP control plane",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": generator.take_definitions(true),
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let gives = (route.gives)(generator);
    let problem = generator.subschema_for::<Problem>();
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters(route),
        "responses": {
            "200": {"description": "it is so", "content": {"application/json": {"schema": gives}}},
            "default": {"description": "it was not done", "content": {"application/json": {"schema": problem}}},
        },
    });
    if let Some(takes) = route.takes {
        let schema = takes(generator);
        operation["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    if let Needs::Key(permission) = route.needs {
        operation["security"] = json!([{"key": []}]);
        operation["x-permission"] = json!(format!("{permission:?}").to_lowercase());
    }
    operation
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = route.query.iter().map(|(name, says)| {
        json!({"name": name, "in": "query", "required": false, "description": says, "schema": {"type": "string"}})
    });
    in_path.chain(in_query).collect()
}
