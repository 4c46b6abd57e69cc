//! What a node says of its providers: bindings without secrets, prompts and tools within their bounds.

use std::collections::BTreeSet;

use rspp_specs::binding::{Endpoint, check_secrets};
use rspp_specs::limits::{
    MAX_PROMPT_BYTES, MAX_TOOL_DESCRIPTION_BYTES, MAX_TOOL_NAME_CHARS, MAX_TOOL_PARAMETERS_BYTES, MAX_TOOLS,
};
use rspp_specs::plan::ToolSpec;

use crate::finding::{Collector, Place};
use crate::policy::ProviderDocument;

/// Reports findings of one node.
pub(crate) struct NodeFindings<'c, 'a> {
    pub(crate) findings: &'c mut Collector<'a>,
    /// Where the node is.
    pub(crate) place: Place,
    /// Whether nothing is wrong with its fields so far, each taken alone.
    pub(crate) each_is_right: bool,
    /// The node's name.
    pub(crate) node: &'c str,
}

impl NodeFindings<'_, '_> {
    /// A field's value can't be used.
    pub(crate) fn out_of_bounds(&mut self, field: &str, message: String, hint: &str) {
        let path = format!("nodes.{}.{field}", self.node);
        self.findings.report("RSPP0021", self.place, path, message, hint);
    }

    /// The binding itself is not repeated: it may have a key in it.
    fn binding(&mut self, field: &str, of: &str, problem: &str, hint: &str) {
        let path = format!("nodes.{}.{field}", self.node);
        let message = format!("the binding of {of} can't be used: {problem}");
        self.findings.report("RSPP0022", self.place, path, message, hint);
    }

    /// Checks whom a node calls. `wants_model` is the hint for a binding over HTTP that names no model.
    pub(crate) fn provider(&mut self, bind: Option<&str>, asks: Option<&ProviderDocument>, wants_model: Option<&str>) {
        let name = self.node;
        match bind.filter(|bind| !bind.trim().is_empty()) {
            Some(binding) => check_binding(self, "bind", name, binding, wants_model),
            // What was bound, and could not be read, has its finding.
            None if !self.each_is_right && self.findings.has(&format!("nodes.{name}.bind")) => {}
            None => {
                let message = format!("{name} calls a provider, and none is bound to it");
                let hint = format!("add `bind: {{{name}: PROVIDER}}` to the spec, or `bind: PROVIDER` to the node");
                self.findings.report("RSPP0009", self.place, format!("nodes.{name}.bind"), message, hint);
            }
        }
        for (index, binding) in asks.into_iter().flat_map(ProviderDocument::fallbacks).enumerate() {
            let field = format!("provider.fallback[{index}]");
            if binding.trim().is_empty() {
                self.out_of_bounds(&field, "a fallback is empty".to_owned(), "name a provider, or leave it out");
            } else {
                check_binding(self, &field, name, binding, wants_model);
            }
        }
    }

    /// Checks what a model is told.
    pub(crate) fn prompt(&mut self, prompt: Option<&str>) {
        if prompt.is_some_and(|prompt| prompt.len() > MAX_PROMPT_BYTES) {
            let message = format!("the prompt is longer than {MAX_PROMPT_BYTES} bytes");
            self.out_of_bounds("prompt", message, "a model that answers in time needs less");
        }
    }

    /// Checks a model's tools.
    pub(crate) fn tools(&mut self, tools: &[ToolSpec]) {
        check_tools(self, tools);
    }
}

/// `wants_model` is the hint for a binding over HTTP that names no model.
fn check_binding(reporter: &mut NodeFindings<'_, '_>, field: &str, of: &str, binding: &str, wants_model: Option<&str>) {
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

fn check_tools(reporter: &mut NodeFindings<'_, '_>, tools: &[ToolSpec]) {
    if tools.len() > MAX_TOOLS {
        let message = format!("{} tools are too many", tools.len());
        reporter.out_of_bounds("tools", message, "at most 64; models choose better among few");
    }
    let mut names = BTreeSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let (name, field) = (&tool.name, format!("tools[{index}].name"));
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if name.is_empty() || name.len() > MAX_TOOL_NAME_CHARS || !is_word {
            let hint = "a tool's name has at most 64 of the characters a-z, A-Z, 0-9, _ and -";
            reporter.out_of_bounds(&field, format!("no model takes {name:?} as a tool's name"), hint);
        }
        if !names.insert(name) {
            reporter.out_of_bounds(&field, format!("two tools are named {name}"), "give each its own name");
        }
        check_tool(reporter, &format!("tools[{index}]"), tool);
    }
}

fn check_tool(reporter: &mut NodeFindings<'_, '_>, field: &str, tool: &ToolSpec) {
    let name = &tool.name;
    if tool.description.as_ref().is_some_and(|text| text.len() > MAX_TOOL_DESCRIPTION_BYTES) {
        let message = format!("the description of {name} is longer than {MAX_TOOL_DESCRIPTION_BYTES} bytes");
        reporter.out_of_bounds(&format!("{field}.description"), message, "say in a sentence or two what it does");
    }
    if let Some(parameters) = &tool.parameters {
        if parameters.get("type").and_then(serde_json::Value::as_str) != Some("object") {
            let message = format!("the parameters of {name} are no JSON Schema of an object");
            let hint = "write `parameters: {type: object, properties: {NAME: {type: string}}}`";
            reporter.out_of_bounds(&format!("{field}.parameters"), message, hint);
        }
        if parameters.to_string().len() > MAX_TOOL_PARAMETERS_BYTES {
            let message = format!("the parameters of {name} are longer than {MAX_TOOL_PARAMETERS_BYTES} bytes of JSON");
            reporter.out_of_bounds(&format!("{field}.parameters"), message, "describe fewer of them, or more briefly");
        }
    }
    check_binding(reporter, &format!("{field}.binding"), name, &tool.binding, None);
}
