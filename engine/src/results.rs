//! The data lane's inputs, and the first gate: results of whom nobody waits for do not enter the graph.

use rspp_specs::event::{DeliveryContent, Payload, ProviderResult};
use rspp_specs::ids::{InvocationId, RuntimeSequence, Scope};
use rspp_specs::outcome::{AbortReason, Outcome};
use rspp_specs::timeline::{Derived, Input, Signal, TurnProposal};

use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

impl Session {
    /// One input of the data lane.
    pub(crate) fn on_data(&mut self, desk: &mut Desk<'_>, input: Input) {
        let sequence = self.enter(desk, input.clone());
        match input {
            Input::CallerAudio(frame) => match self.nodes.caller {
                Some(node) => {
                    let content = DeliveryContent::Emit(Payload::Audio(frame));
                    self.deliver(desk, sequence, node, Scope::Session, content);
                }
                None => self.refuse(desk, &Input::CallerAudio(frame)),
            },
            Input::UserText(text) => {
                let proposal = TurnProposal { text, understood: true, speech_end: None };
                self.derive(Derived::TurnOpenProposed(proposal));
            }
            Input::Provider(id, result) => self.on_result(desk, sequence, id, result),
            refused => self.refuse(desk, &refused),
        }
    }

    /// The first gate: a result whose invocation nobody waits for does not enter the graph.
    fn on_result(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId, result: ProviderResult) {
        let Some(invocation) = self.invocations.get(id).cloned() else {
            let late = self.invocations.was_cancelled(id);
            let input = Input::Provider(id, result);
            if late {
                self.say_here(desk, Signal::LateAfterCancel { id });
            } else {
                self.refuse(desk, &input);
            }
            return;
        };
        let result = self.note_result(desk, id, &invocation, result);
        if let Some(scope) = invocation.results_to {
            let content = DeliveryContent::Result(invocation.call, result);
            self.deliver(desk, cause, invocation.node, scope, content);
        }
    }

    /// What the core itself keeps of a result: provenance, the ledger, the context, the end.
    fn note_result(
        &mut self,
        desk: &mut Desk<'_>,
        id: InvocationId,
        invocation: &Invocation,
        result: ProviderResult,
    ) -> ProviderResult {
        match result {
            ProviderResult::Audio(mut frame) => {
                frame.spoken_by = Some(id);
                if let Some(playback) = &mut self.playback {
                    playback.on_audio(id, &frame);
                }
                ProviderResult::Audio(frame)
            }
            ProviderResult::ToolResult(content) => {
                if let Some(key) = &invocation.tool_key {
                    self.conversation.on_tool_result(key, &content);
                }
                ProviderResult::ToolResult(content)
            }
            ProviderResult::End(outcome) => {
                self.on_invocation_end(desk, id, invocation, outcome);
                ProviderResult::End(outcome)
            }
            other => other,
        }
    }

    fn on_invocation_end(&mut self, desk: &mut Desk<'_>, id: InvocationId, invocation: &Invocation, outcome: Outcome) {
        self.invocations.end(id);
        if let Some(playback) = &mut self.playback {
            playback.on_spoken(id);
        }
        if outcome == Outcome::Success {
            return;
        }
        self.say_here(desk, Signal::ProviderError { id, outcome });
        match (invocation.kind, invocation.holds()) {
            (Kind::Chat | Kind::Speak, Some(capability)) => {
                self.derive(Derived::TurnFailed(capability.turn(), AbortReason::ProviderFailure));
            }
            (Kind::Tool, _) => {
                if let Some(key) = &invocation.tool_key {
                    let content = format!("error: the tool ended with {}", outcome.name());
                    self.conversation.on_tool_failed(key, &content.into());
                }
            }
            _ => {}
        }
    }
}
