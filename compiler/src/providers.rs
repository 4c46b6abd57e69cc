//! What a node says of its providers: bindings without secrets, prompts and tools within their bounds.

use std::collections::BTreeSet;

use rspp_specs::binding::{Endpoint, check_secrets};
use rspp_specs::limits::{
    MAX_PROMPT_BYTES, MAX_TOOL_DESCRIPTION_BYTES, MAX_TOOL_NAME_CHARS, MAX_TOOL_PARAMETERS_BYTES, MAX_TOOLS,
};
use rspp_specs::plan::ToolSpec;

use crate::document::NodeDocument;
use crate::finding::{Collector, Place};
use crate::policy::ProviderDocument;

/// Reports findings of one node.
struct Reporter<'c, 'a> {
    findings: &'c mut Collector<'a>,
    place: &'c Place,
    node: &'c str,
}

impl Reporter<'_, '_> {
    fn out_of_bounds(&mut self, field: &str, message: String, hint: &str) {
        let path = format!("nodes.{}.{field}", self.node);
        self.findings.report("RSPP0021", self.place.clone(), path, message, hint);
    }

    /// The binding itself is not repeated: it may have a key in it.
    fn binding(&mut self, field: &str, of: &str, problem: &str, hint: &str) {
        let path = format!("nodes.{}.{field}", self.node);
        let message = format!("the binding of {of} can't be used: {problem}");
        self.findings.report("RSPP0022", self.place.clone(), path, message, hint);
    }
}

/// Checks a built-in node.
pub(crate) fn check(findings: &mut Collector<'_>, name: &str, place: &Place, node: &NodeDocument) {
    let mut reporter = Reporter { findings, place, node: name };
    if let Some(binding) = &node.bind {
        let model = (node.type_name == "llm").then_some("write `http://HOST:PORT/v1#MODEL`");
        check_binding(&mut reporter, "bind", name, binding, model);
    }
    for binding in node.provider.iter().flat_map(ProviderDocument::fallbacks) {
        let model = (node.type_name == "llm").then_some("write `http://HOST:PORT/v1#MODEL`");
        check_binding(&mut reporter, "provider.fallback", name, binding, model);
    }
    if node.prompt.as_ref().is_some_and(|prompt| prompt.len() > MAX_PROMPT_BYTES) {
        let message = format!("the prompt is longer than {MAX_PROMPT_BYTES} bytes");
        reporter.out_of_bounds("prompt", message, "a model that answers in time needs less");
    }
    if let Some(tools) = &node.tools {
        check_tools(&mut reporter, tools);
    }
}

/// `wants_model` is the hint for a binding over HTTP that names no model.
fn check_binding(reporter: &mut Reporter<'_, '_>, field: &str, of: &str, binding: &str, wants_model: Option<&str>) {
    let hint = "docs/spec.md describes the bindings";
    if let Err(error) = check_secrets(binding) {
        reporter.binding(field, of, &error.to_string(), hint);
        return;
    }
    if !Endpoint::is_one(binding) {
        return;
    }
    match (Endpoint::parse(binding), wants_model) {
        (Err(error), _) => reporter.binding(field, of, &error.to_string(), hint),
        (Ok(endpoint), Some(hint)) if endpoint.model.is_none() => {
            reporter.binding(field, of, "it names no model", hint);
        }
        (Ok(_), _) => {}
    }
}

fn check_tools(reporter: &mut Reporter<'_, '_>, tools: &[ToolSpec]) {
    if tools.len() > MAX_TOOLS {
        let message = format!("{} tools are too many", tools.len());
        reporter.out_of_bounds("tools", message, "at most 64; models choose better among few");
    }
    let mut names = BTreeSet::new();
    for tool in tools {
        let name = &tool.name;
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if name.is_empty() || name.len() > MAX_TOOL_NAME_CHARS || !is_word {
            let hint = "a tool's name has at most 64 of the characters a-z, A-Z, 0-9, _ and -";
            reporter.out_of_bounds("tools", format!("no model takes {name:?} as a tool's name"), hint);
        }
        if !names.insert(name) {
            reporter.out_of_bounds("tools", format!("two tools are named {name}"), "give each its own name");
        }
        check_tool(reporter, tool);
    }
}

fn check_tool(reporter: &mut Reporter<'_, '_>, tool: &ToolSpec) {
    let name = &tool.name;
    if tool.description.as_ref().is_some_and(|text| text.len() > MAX_TOOL_DESCRIPTION_BYTES) {
        let message = format!("the description of {name} is longer than {MAX_TOOL_DESCRIPTION_BYTES} bytes");
        reporter.out_of_bounds("tools", message, "say in a sentence or two what it does");
    }
    if let Some(parameters) = &tool.parameters {
        if parameters.get("type").and_then(serde_json::Value::as_str) != Some("object") {
            let message = format!("the parameters of {name} are no JSON Schema of an object");
            let hint = "write `parameters: {type: object, properties: {NAME: {type: string}}}`";
            reporter.out_of_bounds("tools", message, hint);
        }
        if parameters.to_string().len() > MAX_TOOL_PARAMETERS_BYTES {
            let message = format!("the parameters of {name} are longer than {MAX_TOOL_PARAMETERS_BYTES} bytes of JSON");
            reporter.out_of_bounds("tools", message, "describe fewer of them, or more briefly");
        }
    }
    check_binding(reporter, "tools", name, &tool.binding, None);
}
