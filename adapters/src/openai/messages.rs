//! The conversation as a model is told it.
//!
//! Roles of the user and the assistant take turns, as many models' templates insist. What the caller did (speaking
//! over an answer, saying what nobody understood) is told in brackets in the user's messages: in the assistant's, the
//! model would learn to write it.

use rspp_specs::event::{ContextEntry, ToolCall};
use rspp_specs::plan::ToolSpec;
use serde_json::{Value, json};

const NOT_UNDERSTOOD: &str = "[The caller said something that could not be understood.]";
const CUT: &str = "[The caller spoke over your last answer, and heard of it only what stands above.]";
const UNHEARD: &str = "[The caller spoke over your last answer before hearing any of it.]";
const PENDING: &str =
    "pending: this was accepted and is being carried out; its result is not known yet. Do not ask for it again.";
const NO_OUTPUT: &str = "(no output)";

/// What stays the same in every request of a call.
pub(super) struct Conversation {
    model: String,
    prompt: Option<String>,
    tools: Vec<Value>,
}

impl Conversation {
    pub(super) fn new(model: &str, prompt: Option<&str>, tools: &[ToolSpec]) -> Self {
        let (model, prompt) = (model.to_owned(), prompt.map(str::to_owned));
        Self { model, prompt, tools: tools.iter().map(declaration).collect() }
    }

    /// The body of a request, as JSON.
    pub(super) fn body(&self, context: &[ContextEntry]) -> Vec<u8> {
        let mut body = json!({ "model": self.model, "messages": self.messages(context), "stream": true });
        if !self.tools.is_empty() {
            body["tools"] = Value::Array(self.tools.clone());
        }
        serde_json::to_vec(&body).expect("JSON values can be written")
    }

    fn messages(&self, context: &[ContextEntry]) -> Vec<Value> {
        let mut messages = Messages::default();
        if let Some(prompt) = &self.prompt {
            messages.list.push(json!({ "role": "system", "content": prompt }));
        }
        context.iter().for_each(|entry| messages.add(entry));
        messages.list
    }
}

fn declaration(tool: &ToolSpec) -> Value {
    let mut function = json!({
        "name": tool.name,
        "parameters": tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} })),
    });
    if let Some(description) = &tool.description {
        function["description"] = description.as_str().into();
    }
    json!({ "type": "function", "function": function })
}

#[derive(Default)]
struct Messages {
    list: Vec<Value>,
    /// What the caller did, for the next message of the user.
    aside: Option<&'static str>,
}

impl Messages {
    fn add(&mut self, entry: &ContextEntry) {
        match entry {
            ContextEntry::User { text, understood } => {
                let said = if *understood { text.as_ref() } else { NOT_UNDERSTOOD };
                let content = self.aside.take().map_or_else(|| said.to_owned(), |aside| format!("{aside}\n{said}"));
                self.say("user", &content);
            }
            ContextEntry::Remark { text } => {
                // An empty one only wants the model to go on.
                if !text.trim().is_empty() {
                    let aside = self.aside.take().map_or_else(String::new, |aside| format!("{aside}\n"));
                    self.say("user", &format!("{aside}[{}]", text.trim()));
                }
            }
            ContextEntry::Agent { text, cut } => {
                let heard = text.trim();
                self.aside = cut.then_some(if heard.is_empty() { UNHEARD } else { CUT });
                if !heard.is_empty() {
                    let content = if *cut { format!("{heard}...") } else { heard.to_owned() };
                    self.say("assistant", &content);
                }
            }
            ContextEntry::Tool { call, result } => self.call(call, result.as_deref()),
        }
    }

    /// Joins what one side says twice in a row.
    fn say(&mut self, role: &str, content: &str) {
        if let Some(last) = self.list.last_mut()
            && last["role"] == role
            && let Some(before) = last["content"].as_str()
        {
            last["content"] = format!("{before}\n{content}").into();
            return;
        }
        self.list.push(json!({ "role": role, "content": content }));
    }

    fn call(&mut self, call: &ToolCall, result: Option<&str>) {
        let ToolCall { key, name, arguments } = call;
        // Servers parse what they are sent back, and refuse the whole request for arguments that are none.
        let is_object = serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object());
        let arguments = if is_object { arguments.as_ref() } else { "{}" };
        let function = json!({ "name": **name, "arguments": arguments });
        let calls = json!([{ "id": **key, "type": "function", "function": function }]);
        self.list.push(json!({ "role": "assistant", "content": null, "tool_calls": calls }));
        let content = match result {
            None => PENDING,
            Some("") => NO_OUTPUT,
            Some(result) => result,
        };
        self.list.push(json!({ "role": "tool", "tool_call_id": **key, "content": content }));
    }
}

#[cfg(test)]
mod tests {
    use rspp_specs::event::ToolEffect;

    use super::*;

    fn user(text: &str, understood: bool) -> ContextEntry {
        ContextEntry::User { text: text.into(), understood }
    }

    fn agent(text: &str, cut: bool) -> ContextEntry {
        ContextEntry::Agent { text: text.into(), cut }
    }

    fn tool(key: &str, arguments: &str, result: Option<&str>) -> ContextEntry {
        let call = ToolCall { key: key.into(), name: "book".into(), arguments: arguments.into() };
        ContextEntry::Tool { call, result: result.map(Into::into) }
    }

    /// Each message in a line: its role, and what it says or calls.
    fn told(prompt: Option<&str>, context: &[ContextEntry]) -> Vec<String> {
        let messages = Conversation::new("m", prompt, &[]).messages(context);
        let line = |message: &Value| match &message["tool_calls"] {
            Value::Array(calls) => format!("calls {} {}", calls[0]["id"], calls[0]["function"]["arguments"]),
            _ => format!(
                "{}: {}",
                message["role"].as_str().unwrap_or_default(),
                message["content"].as_str().unwrap_or_default()
            ),
        };
        messages.iter().map(line).collect()
    }

    #[test]
    fn a_conversation_is_told_as_it_was_heard() {
        let context = [
            user("when do you open", true),
            agent("We are open from noon", true),
            user("", false),
            agent("", true),
            user("cancel my table", true),
            agent("Done.", false),
            user("thanks", true),
        ];
        assert_eq!(
            told(Some("Be brief."), &context),
            [
                "system: Be brief.".to_owned(),
                "user: when do you open".to_owned(),
                "assistant: We are open from noon...".to_owned(),
                format!("user: {CUT}\n{NOT_UNDERSTOOD}\n{UNHEARD}\ncancel my table"),
                "assistant: Done.".to_owned(),
                "user: thanks".to_owned(),
            ]
        );
    }

    #[test]
    fn tools_are_told_with_what_became_of_them() {
        let context = [
            user("book", true),
            tool("a", "{\"people\":2}", Some("booked")),
            tool("b", "not json", Some("")),
            tool("c", "{}", None),
        ];
        assert_eq!(
            told(None, &context),
            [
                "user: book".to_owned(),
                "calls \"a\" \"{\\\"people\\\":2}\"".to_owned(),
                "tool: booked".to_owned(),
                "calls \"b\" \"{}\"".to_owned(),
                format!("tool: {NO_OUTPUT}"),
                "calls \"c\" \"{}\"".to_owned(),
                format!("tool: {PENDING}"),
            ]
        );
    }

    #[test]
    fn a_request_names_the_model_and_declares_its_tools() {
        let tool = |description: Option<&str>, parameters: Option<Value>| ToolSpec {
            name: "book".to_owned(),
            effect: ToolEffect::Write,
            binding: "stdio:book".to_owned(),
            description: description.map(str::to_owned),
            parameters,
        };
        let schema = json!({ "type": "object", "properties": { "people": { "type": "integer" } } });
        let tools = [tool(Some("Books."), Some(schema.clone())), tool(None, None)];
        let body = Conversation::new("qwen2.5:3b", None, &tools).body(&[user("hi", true)]);
        let body: Value = serde_json::from_slice(&body).expect("it is JSON");
        assert_eq!((&body["model"], &body["stream"]), (&json!("qwen2.5:3b"), &json!(true)));
        assert_eq!(
            body["tools"][0]["function"],
            json!({ "name": "book", "description": "Books.", "parameters": schema })
        );
        assert_eq!(body["tools"][1]["function"]["parameters"]["type"], "object");
        let bare: Value = serde_json::from_slice(&Conversation::new("m", None, &[]).body(&[])).expect("it is JSON");
        assert_eq!(bare.get("tools"), None);
    }
}
