//! The items of a conversation, as this protocol shows them. What the model is told is the core's own: what was heard.

use rspp_specs::event::ToolCall;
use serde_json::{Value, json};

use super::events::Wrong;

/// Items that are kept; the oldest leave first.
const MAX_ITEMS: usize = 256;

/// What clients call the place before the first item.
const ROOT: &str = "root";

/// One item.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) id: String,
    shown: Value,
    /// The caller's words, which nobody has answered.
    unanswered: Option<String>,
}

impl Item {
    /// One that the client brings, under the identifier that it gave or under this.
    pub(super) fn of_client(mut shown: Value, fresh: String) -> Result<Self, Wrong> {
        let wrong = |says: &str| Wrong { param: Some("item"), ..Wrong::new("invalid_value", says) };
        if !shown.is_object() {
            return Err(wrong("an item is an object"));
        }
        let id = shown["id"].as_str().filter(|id| !id.is_empty()).map_or(fresh, str::to_owned);
        shown["id"] = id.as_str().into();
        shown["object"] = "realtime.item".into();
        shown["status"] = "completed".into();
        let unanswered = match (shown["type"].as_str(), shown["role"].as_str()) {
            (Some("message"), Some("user")) => Some(text_of(&shown["content"])),
            (Some("message"), Some("system" | "assistant")) => None,
            (Some("function_call_output"), _) if shown["call_id"].is_string() && shown["output"].is_string() => None,
            (Some("function_call_output"), _) => return Err(wrong("an output has its call_id and is a text")),
            _ => return Err(wrong("an item of a client is a message of role user, system or assistant, or an output")),
        };
        Ok(Self { id, shown, unanswered })
    }

    /// What the caller says.
    pub(super) fn of_caller(id: String) -> Self {
        let content = json!([{"type": "input_audio"}]);
        Self::message(id, "user", "completed", &content)
    }

    /// What the agent says.
    pub(super) fn of_agent(id: String) -> Self {
        Self::message(id, "assistant", "in_progress", &json!([]))
    }

    /// A call of a tool that the client carries out.
    pub(super) fn of_call(id: String, call_id: &str, call: &ToolCall) -> Self {
        let shown = json!({
            "id": id, "object": "realtime.item", "type": "function_call", "status": "in_progress",
            "call_id": call_id, "name": &*call.name, "arguments": ""
        });
        Self { id, shown, unanswered: None }
    }

    /// The call that it is an output of, and the output.
    pub(super) fn output(&self) -> Option<(&str, &str)> {
        let is_output = self.shown["type"] == "function_call_output";
        is_output.then(|| Some((self.shown["call_id"].as_str()?, self.shown["output"].as_str()?))).flatten()
    }

    fn message(id: String, role: &str, status: &str, content: &Value) -> Self {
        let shown = json!({
            "id": id, "object": "realtime.item", "type": "message", "status": status, "role": role,
            "content": content
        });
        Self { id, shown, unanswered: None }
    }
}

fn text_of(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    parts.collect::<Vec<_>>().join(" ")
}

/// All items, in order.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    items: Vec<Item>,
}

impl Conversation {
    pub(super) fn add(&mut self, item: Item) {
        self.insert(item, None);
    }

    /// Behind this item; before all of them if it is [`ROOT`]; behind all of them if there is none of that name.
    pub(super) fn insert(&mut self, item: Item, after: Option<&str>) {
        if self.items.len() == MAX_ITEMS {
            self.items.remove(0);
        }
        let place = after.and_then(|after| self.items.iter().position(|item| item.id == after));
        let at = match after {
            Some(ROOT) => 0,
            _ => place.map_or(self.items.len(), |place| place + 1),
        };
        self.items.insert(at, item);
    }

    /// The last item's identifier.
    pub(super) fn last(&self) -> Option<String> {
        self.items.last().map(|item| item.id.clone())
    }

    /// The identifier of the item before this one.
    pub(super) fn before(&self, id: &str) -> Option<String> {
        let at = self.items.iter().position(|item| item.id == id)?;
        self.items.get(at.checked_sub(1)?).map(|item| item.id.clone())
    }

    /// An item, as the client sees it.
    pub(super) fn shown(&self, id: &str) -> Option<Value> {
        self.items.iter().find(|item| item.id == id).map(|item| item.shown.clone())
    }

    pub(super) fn delete(&mut self, id: &str) -> Option<()> {
        let at = self.items.iter().position(|item| item.id == id)?;
        self.items.remove(at);
        Some(())
    }

    fn find(&mut self, id: &str) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == id)
    }

    /// The caller's words are known.
    pub(super) fn hear(&mut self, id: &str, text: &str) {
        if let Some(item) = self.find(id) {
            item.shown["content"] = json!([{"type": "input_audio", "transcript": text}]);
        }
    }

    /// The agent's words are complete, or cut.
    pub(super) fn say(&mut self, id: &str, is_text: bool, words: &str, whole: bool) {
        if let Some(item) = self.find(id) {
            let part = if is_text {
                json!({"type": "output_text", "text": words})
            } else {
                json!({"type": "output_audio", "transcript": words})
            };
            item.shown["content"] = json!([part]);
            item.shown["status"] = if whole { "completed" } else { "incomplete" }.into();
        }
    }

    /// A call is complete: its arguments are.
    pub(super) fn call(&mut self, id: &str, arguments: &str) {
        if let Some(item) = self.find(id) {
            item.shown["arguments"] = arguments.into();
            item.shown["status"] = "completed".into();
        }
    }

    /// The caller has not heard all of it: nobody knows the transcript of what was heard but the core.
    pub(super) fn truncate(&mut self, id: &str) {
        if let Some(item) = self.find(id) {
            item.shown["status"] = "incomplete".into();
        }
    }

    /// What the caller wrote since the last answer.
    pub(super) fn take_unanswered(&mut self) -> String {
        let words: Vec<String> = self.items.iter_mut().filter_map(|item| item.unanswered.take()).collect();
        words.join("\n")
    }
}
