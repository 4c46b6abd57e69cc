//! The protocol as an AsyncAPI document, `docs/asyncapi.json`: made from the types that read and write it, so that it can't
//! say anything else. `RSPP_REGENERATE=1 cargo test --workspace --lib asyncapi` makes it again.

use std::path::Path;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::json::{AUDIO_HEADER_BYTES, Said, Says};
use super::story::Told;
use super::{Form, VERSION};
use crate::audio::CALL_RATE_HZ;

const ABOUT: &str = "RSPP's own protocol: audio, captions, acknowledgements, and resuming after a lost connection. \
    docs/protocol.md tells how it is used. The same messages as protobuf: specs/schemas/rspp/call/v1/call.proto.";

/// The messages that a type stands for, by the word in their `type`, and the schemas that they refer to.
fn messages<T: JsonSchema>(schemas: &mut Map<String, Value>) -> Map<String, Value> {
    let mut settings = SchemaSettings::draft07();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let mut schema = T::json_schema(&mut generator).to_value();
    schemas.extend(generator.take_definitions(true));
    let kinds = schema["oneOf"].as_array_mut().expect("a type of messages is one of several");
    let named = |kind: &mut Value| {
        let name = kind["properties"]["type"]["const"].as_str().expect("each has a word for it").to_owned();
        (name, kind.take())
    };
    kinds.iter_mut().map(named).collect()
}

/// What stands in each message of the server's.
fn in_an_envelope(mut payload: Value) -> Value {
    payload["properties"]["at_ms"] = json!({"type": "number", "description": "When, in the server's milliseconds."});
    payload["properties"]["seq"] = json!({
        "type": "integer", "minimum": 1, "description": "Its number, of what is counted: what a client resumes from."
    });
    payload["required"].as_array_mut().expect("the type is required").push("at_ms".into());
    payload
}

fn audio(says: &str) -> Value {
    json!({"name": "audio", "contentType": "application/octet-stream", "summary": says, "payload": {"type": "string", "format": "binary"}})
}

fn document() -> Value {
    let mut schemas = Map::new();
    let mut sent = messages::<Told>(&mut schemas);
    sent.extend(messages::<Says<'static>>(&mut schemas));
    let received = messages::<Said>(&mut schemas);
    let text =
        |name: &str, payload: Value| json!({"name": name, "contentType": "application/json", "payload": payload});
    let mut all = Map::new();
    let mut operations = Map::new();
    let sent = sent.into_iter().map(|(name, payload)| (name.clone(), text(&name, in_an_envelope(payload))));
    let header = format!(
        "The turn (u32), the epoch (u32) and the place of the first sample (u64), little-endian: {AUDIO_HEADER_BYTES} bytes. \
         Then 16-bit little-endian PCM at {CALL_RATE_HZ} Hz, mono."
    );
    let sent: Vec<(String, Value)> = sent.chain([("audio".to_owned(), audio(&header))]).collect();
    let received = received.into_iter().map(|(name, payload)| (name.clone(), text(&name, payload)));
    let pcm = "16-bit little-endian PCM at the rate that hello says, mono, 20 ms at a time.";
    let received: Vec<(String, Value)> = received.chain([("audio".to_owned(), audio(pcm))]).collect();
    for (side, action, messages) in [("client", "receive", received), ("server", "send", sent)] {
        let key = |name: &str| format!("{side}.{name}");
        let of: Vec<Value> = messages
            .iter()
            .map(|(name, _)| json!({"$ref": format!("#/channels/call/messages/{}", key(name))}))
            .collect();
        operations.insert(
            format!("from_{side}"),
            json!({"action": action, "channel": {"$ref": "#/channels/call"}, "messages": of}),
        );
        all.extend(messages.into_iter().map(|(name, message)| (key(&name), message)));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "RSPP", "version": VERSION.to_string(), "description": ABOUT},
        "defaultContentType": "application/json",
        "channels": {"call": {
            "address": "/v1/rspp",
            "description": format!("A WebSocket of subprotocol {}.", Form::Json.subprotocol()),
            "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {
                "token": {"type": "string", "description": "The session token."}
            }}}},
            "messages": all
        }},
        "operations": operations,
        "components": {"schemas": schemas}
    })
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_asyncapi_document_is_what_the_types_say() {
    let fresh = serde_json::to_string_pretty(&document()).expect("it is JSON") + "\n";
    let checked_in = root().join("docs/asyncapi.json");
    if std::env::var_os("RSPP_REGENERATE").is_some_and(|value| value == "1") {
        std::fs::write(&checked_in, &fresh).expect("the checkout is writable");
    }
    let found = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(found == fresh, "stale: run `RSPP_REGENERATE=1 cargo test --workspace --lib asyncapi`");
}

/// Every message has its line in the page for people, and its field in the schema of the other form.
#[test]
fn the_asyncapi_document_has_nothing_that_the_page_and_the_schema_have_not() {
    let page = std::fs::read_to_string(root().join("docs/protocol.md")).expect("the page is there");
    let schema = std::fs::read_to_string(root().join("specs/schemas/rspp/call/v1/call.proto")).expect("it is there");
    let document = document();
    let messages = document["channels"]["call"]["messages"].as_object().expect("there are some");
    assert!(messages.len() > 20, "{}", messages.len());
    for key in messages.keys() {
        let (_, name) = key.split_once('.').expect("the side, and the name");
        assert!(name == "audio" || page.contains(&format!("\n| `{name}` |")), "docs/protocol.md has no line for {key}");
        assert!(schema.contains(&format!(" {name} = ")), "call.proto has no {key}");
    }
}
