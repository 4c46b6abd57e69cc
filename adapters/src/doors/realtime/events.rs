//! What clients say, and how they are told that something is wrong with it.

use rspp_specs::admission::RejectReason;
use rspp_specs::timeline::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::doors::rspp::refusal;

/// The events of a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub(super) enum FromClient {
    #[serde(rename = "session.update")]
    SessionUpdate { session: Value },
    #[serde(rename = "input_audio_buffer.append")]
    Append { audio: String },
    #[serde(rename = "input_audio_buffer.commit")]
    Commit,
    #[serde(rename = "input_audio_buffer.clear")]
    Clear,
    #[serde(rename = "conversation.item.create")]
    CreateItem {
        item: Value,
        #[serde(default)]
        previous_item_id: Option<String>,
    },
    #[serde(rename = "conversation.item.retrieve")]
    RetrieveItem { item_id: String },
    #[serde(rename = "conversation.item.truncate")]
    TruncateItem { item_id: String, content_index: u32, audio_end_ms: u64 },
    #[serde(rename = "conversation.item.delete")]
    DeleteItem { item_id: String },
    #[serde(rename = "response.create")]
    CreateResponse {
        #[serde(default)]
        response: Option<Value>,
    },
    #[serde(rename = "response.cancel")]
    CancelResponse,
}

/// What is wrong with an event. The connection goes on.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) says: String,
    pub(super) param: Option<&'static str>,
}

impl Wrong {
    pub(super) fn new(code: &'static str, says: &str) -> Self {
        Self { code, says: says.to_owned(), param: None }
    }

    /// There is no such item. Some clients end over any code that they do not know, so it depends on what was asked.
    pub(super) fn no_item(id: &str, retrieved: bool) -> Self {
        let code = if retrieved { "item_retrieve_invalid_item_id" } else { "invalid_item_id" };
        Self { param: Some("item_id"), ..Self::new(code, &format!("there is no item `{id}`")) }
    }

    /// The event that says so; `event_id` is the client's own.
    pub(super) fn event(&self, event_id: Option<&str>) -> Value {
        json!({"type": "error", "error": {
            "type": "invalid_request_error", "code": self.code, "message": self.says,
            "param": self.param, "event_id": event_id
        }})
    }
}

/// Reads an event; gives its own identifier, too, as far as it has one.
pub(super) fn read(text: &str) -> (Option<String>, Result<FromClient, Wrong>) {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return (None, Err(Wrong::new("invalid_json", &error.to_string()))),
    };
    let event_id = value.get("event_id").and_then(Value::as_str).map(str::to_owned);
    let event = serde_json::from_value(value).map_err(|error| Wrong::new("invalid_event", &error.to_string()));
    (event_id, event)
}

/// The caller's words open no turn, or not yet. That somebody only said "uh-huh" is no error.
pub(super) fn turned_away(signal: &Signal) -> Option<Value> {
    let (reason, retry_after_ms) = refusal(signal);
    let code = reason.filter(|reason| *reason != RejectReason::Backchannel.name())?;
    let message = match retry_after_ms {
        Some(after) => format!("no answer yet: {code}; tried again in {after} ms"),
        None => format!("no answer to this: {code}"),
    };
    let error = json!({"type": "server_error", "code": code, "message": message, "param": null, "event_id": null});
    Some(json!({"type": "error", "error": error}))
}
