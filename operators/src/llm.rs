//! Answers the user's turn, and calls the tools that the model wants.
//!
//! The core attaches the conversation to each request. A tool that reads runs at once; one that writes is
//! proposed, and the core decides when, and whether, it runs. When all tools of a round have answered and
//! the model has ended, the model is asked again.

use rspp_specs::event::{Payload, ProviderResult, Request, ToolCall, ToolEffect};
use rspp_specs::ids::{CallRef, PortIndex};
use rspp_specs::limits::MAX_TOOL_ROUNDS;
use rspp_specs::outcome::Outcome;
use rspp_specs::plan::ToolSpec;

use crate::node::{Context, Node};

/// The user's text in, pieces of the answer out.
#[derive(Debug)]
pub struct Llm {
    tools: Vec<ToolSpec>,
    model: Option<CallRef>,
    pending_tools: Vec<CallRef>,
    tools_this_round: bool,
    rounds: u32,
    /// How the model ended last.
    outcome: Outcome,
    /// Where its wishes to call tools are shown.
    shown: Option<PortIndex>,
}

impl Llm {
    /// With these tools.
    pub fn new(tools: Vec<ToolSpec>) -> Self {
        Self {
            tools,
            model: None,
            pending_tools: Vec::new(),
            tools_this_round: false,
            rounds: 0,
            outcome: Outcome::Success,
            shown: None,
        }
    }

    /// Shows its wishes to call tools on an output.
    pub fn showing_tool_calls(self, shown: Option<PortIndex>) -> Self {
        Self { shown, ..self }
    }

    fn ask_model(&mut self, cx: &mut Context<'_>) {
        if self.rounds == MAX_TOOL_ROUNDS {
            cx.fail(format!("the model called tools in {MAX_TOOL_ROUNDS} rounds and wants another"));
            return;
        }
        self.rounds += 1;
        self.tools_this_round = false;
        self.model = Some(cx.invoke(Request::Chat { context: Vec::new().into() }));
    }

    fn on_tool_call(&mut self, cx: &mut Context<'_>, tool: ToolCall) {
        self.tools_this_round = true;
        if let Some(shown) = self.shown {
            cx.emit_on(shown, Payload::ToolCall(tool.clone()));
        }
        let effect = self.tools.iter().find(|spec| *spec.name == *tool.name).map(|spec| spec.effect);
        // A tool that the spec does not declare is asked for all the same: the shell refuses it, and the model is told.
        let call = match effect {
            Some(ToolEffect::Write) => cx.propose_write(tool),
            Some(ToolEffect::Read) | None => cx.invoke(Request::Tool(tool)),
        };
        self.pending_tools.push(call);
    }

    fn end_round(&mut self, cx: &mut Context<'_>) {
        if self.model.is_some() || !self.pending_tools.is_empty() {
            return;
        }
        if self.tools_this_round {
            self.ask_model(cx);
        } else {
            if let Some(shown) = self.shown {
                cx.emit_on(shown, Payload::End(self.outcome));
            }
            cx.emit(Payload::End(self.outcome));
        }
    }
}

impl Node for Llm {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        if let Payload::Text(_) = payload {
            self.ask_model(cx);
        }
    }

    /// One question after the other.
    fn accepts(&self, _port: PortIndex) -> bool {
        self.model.is_none() && self.pending_tools.is_empty()
    }

    fn on_restart(&mut self, cx: &mut Context<'_>, call: CallRef) {
        if self.model == Some(call) {
            cx.emit(Payload::Retract);
        }
    }

    fn on_result(&mut self, cx: &mut Context<'_>, call: CallRef, result: ProviderResult) {
        match result {
            ProviderResult::Text(text) => cx.emit(Payload::Text(text)),
            ProviderResult::ToolCall(tool) => self.on_tool_call(cx, tool),
            ProviderResult::End(outcome) => {
                if self.model == Some(call) {
                    self.outcome = outcome;
                    self.model = None;
                }
                self.pending_tools.retain(|pending| *pending != call);
                self.end_round(cx);
            }
            ProviderResult::ToolResult(_)
            | ProviderResult::Transcript(_)
            | ProviderResult::Audio(_)
            | ProviderResult::WordEnds(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, Step};

    #[test]
    fn tool_calls_are_shown_where_somebody_listens() {
        let tool = ToolCall { key: "k1".into(), name: "lookup".into(), arguments: "{}".into() };
        let story = [
            Step::event(Payload::text("When do you open?")),
            Step::Result(CallRef(1), ProviderResult::ToolCall(tool)),
            Step::Result(CallRef(1), ProviderResult::End(Outcome::Success)),
        ];
        let told = Harness::new(Llm::new(Vec::new()).showing_tool_calls(Some(PortIndex(1)))).tell(&story).snapshot();
        assert_eq!(told, "0 ask invoke c1 chat\n0 emit p1 tool_call lookup\n0 ask invoke c2 tool lookup\n");
        let told = Harness::new(Llm::new(Vec::new())).tell(&story).snapshot();
        assert_eq!(told, "0 ask invoke c1 chat\n0 ask invoke c2 tool lookup\n");
    }
}
