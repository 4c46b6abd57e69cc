//! The data lane's inputs, and the first gate: results of whom nobody waits for do not enter the graph.

use rspp_specs::event::{DeliveryContent, Payload, ProviderResult};
use rspp_specs::ids::{InvocationId, RuntimeSequence, Scope};
use rspp_specs::outcome::{AbortReason, Outcome};
use rspp_specs::timeline::{Input, TurnProposal};

use crate::invocations::{Invocation, Kind};
use crate::session::{Desk, Session};

impl Session {
    /// One input of the data lane.
    pub(crate) fn on_data(&mut self, desk: &mut Desk<'_>, input: Input) {
        let sequence = self.enter(desk, input.clone());
        match input {
            Input::CallerAudio(frame) => match self.nodes.caller {
                Some(node) => {
                    self.keep_media_time(desk, frame.duration());
                    let content = DeliveryContent::Emit(Payload::Audio(frame));
                    self.deliver(desk, sequence, node, Scope::Session, content);
                }
                None => self.refuse(desk, &Input::CallerAudio(frame)),
            },
            Input::Talk(talk) => match self.nodes.caller.filter(|_| self.nodes.has_vad) {
                Some(node) => {
                    let content = DeliveryContent::Emit(Payload::Talk(talk));
                    self.deliver(desk, sequence, node, Scope::Session, content);
                }
                None => self.refuse(desk, &Input::Talk(talk)),
            },
            Input::UserText(text) => self.propose(desk, TurnProposal::typed(text)),
            Input::Prompt(prompt) => self.on_prompt(desk, prompt),
            Input::Provider(id, result) => self.on_result(desk, sequence, id, result),
            refused => self.refuse(desk, &refused),
        }
    }

    /// The first gate: a result whose invocation nobody waits for does not enter the graph.
    fn on_result(&mut self, desk: &mut Desk<'_>, cause: RuntimeSequence, id: InvocationId, result: ProviderResult) {
        let Some(row) = self.invocations.get(id) else {
            if !self.note_late(desk, id, &result) {
                self.refuse(desk, &Input::Provider(id, result));
            }
            return;
        };
        if let ProviderResult::End(outcome) = result {
            let row = row.clone();
            // A sentence without a sound was not spoken, whatever its voice says.
            let silent = row.kind == Kind::Speak && row.last_result.is_none();
            let outcome = if silent && outcome == Outcome::Success { Outcome::Failed } else { outcome };
            self.end_invocation(desk, cause, id, row, outcome);
            return;
        }
        let (node, call, results_to) = (row.node, row.call, row.results_to);
        // Empty pieces keep a stream alive and say nothing: who waits for an answer has got none of it.
        let says_nothing = match &result {
            ProviderResult::Text(text) => text.trim().is_empty(),
            // Where words end is no sound.
            ProviderResult::WordEnds(_) => true,
            _ => false,
        };
        let is_text = matches!(&result, ProviderResult::Text(_));
        let result = self.note_result(id, result);
        if !says_nothing {
            self.note_progress(desk, id, is_text);
        }
        self.use_credit(desk, id, &result);
        if let Some(scope) = results_to {
            self.deliver(desk, cause, node, scope, DeliveryContent::Result(call, result));
        }
    }

    /// What the core itself keeps of a result: provenance, the ledger, the context.
    fn note_result(&mut self, id: InvocationId, result: ProviderResult) -> ProviderResult {
        match result {
            ProviderResult::Audio(mut frame) => {
                frame.spoken_by = Some(id);
                if let Some(playback) = &mut self.playback {
                    playback.on_audio(id, &frame);
                }
                ProviderResult::Audio(frame)
            }
            ProviderResult::WordEnds(ends) => {
                if let Some(playback) = &mut self.playback {
                    playback.on_word_ends(id, &ends);
                }
                ProviderResult::WordEnds(ends)
            }
            ProviderResult::ToolCall(tool) => {
                self.invocations.note_wish(id, &tool.key);
                ProviderResult::ToolCall(tool)
            }
            ProviderResult::ToolResult(content) => {
                if let Some(key) = self.invocations.get(id).and_then(|row| row.tool_key.as_ref()) {
                    self.conversation.on_tool_result(key, &content);
                }
                ProviderResult::ToolResult(content)
            }
            other => other,
        }
    }

    /// What the core itself keeps of an invocation's end, once nothing else will be tried. Gives whether the turn ends
    /// with it.
    pub(crate) fn note_end_of_invocation(&mut self, id: InvocationId, row: &Invocation, outcome: Outcome) -> bool {
        if let Some(playback) = &mut self.playback {
            match outcome {
                Outcome::Success => playback.on_spoken(id),
                _ => playback.on_withdrawn(id),
            }
        }
        if outcome == Outcome::Success {
            return false;
        }
        match (row.kind, row.holds()) {
            // A turn that is cancelled softly ends when its grace does, and what is being said is said until then.
            (Kind::Chat | Kind::Speak, Some(capability))
                if !self.plan.is_backed(row.node) && !self.is_closing(row.cancelled_with) =>
            {
                self.fail_turn(capability.turn(), row.node, AbortReason::ProviderFailure);
                return true;
            }
            (Kind::Tool, _) => {
                if let Some(key) = &row.tool_key {
                    let content = format!("error: the tool ended with {}", outcome.name());
                    self.conversation.on_tool_failed(key, &content.into());
                }
            }
            _ => {}
        }
        false
    }
}
