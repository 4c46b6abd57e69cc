//! A simulated model: it answers in sentences, piece by piece, and calls tools.

use std::sync::Arc;

use rspp_specs::event::{ContextEntry, ProviderResult, ToolCall};
use rspp_specs::plan::NodeKind;
use rspp_specs::time::Micros;

use super::character::Character;
use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};
use super::providers::Answer;

/// A piece of an answer that makes a node panic which knows it.
pub const NODE_PANICS: &str = "\u{e000}";
/// A piece of an answer at which a node gives up which knows it.
pub const NODE_FAILS: &str = "\u{e001}";

/// A piece of an answer over which a node computes for too long which knows it.
pub const NODE_COMPUTES: &str = "\u{e002}";

/// One call's model.
#[derive(Debug)]
pub(super) struct Model {
    draws: Draws,
    /// The names of the tools that the pipeline declares.
    tools: Vec<Arc<str>>,
    breaks_nodes: bool,
    calls: u32,
}

const WORDS: [&str; 12] =
    ["we", "open", "at", "noon", "on", "Sunday", "with", "a", "table", "for", "everybody", "3.50"];

impl Model {
    pub(super) fn new(origin: Origin, character: &Character, faults: Faults) -> Self {
        let tools = character.plan.nodes().iter().flat_map(|node| match &node.kind {
            NodeKind::Llm { tools, .. } => tools.as_slice(),
            _ => &[],
        });
        Self {
            draws: Draws::new(origin, Concern::Model),
            tools: tools.map(|tool| Arc::from(tool.name.as_str())).collect(),
            breaks_nodes: faults.has(Fault::NodeFailure),
            calls: 0,
        }
    }

    pub(super) fn draws(&mut self) -> &mut Draws {
        &mut self.draws
    }

    /// An answer, or tools that are to be called first.
    pub(super) fn answer(&mut self, context: &[ContextEntry]) -> Answer {
        let rounds = context.iter().rev().take_while(|entry| matches!(entry, ContextEntry::Tool { .. })).count();
        let mut answer = Answer::new();
        let mut after = self.draws.ms(60, 700);
        let calls = !self.tools.is_empty() && rounds < 6 && self.draws.chance(250);
        if !calls || self.draws.chance(300) {
            self.speak(&mut after, &mut answer);
        }
        if calls {
            for _ in 0..self.draws.weighted(&[(7, 1), (2, 2), (1, 3)]) {
                after = after + self.draws.ms(5, 60);
                answer.push((after, ProviderResult::ToolCall(self.tool_call())));
            }
        }
        answer
    }

    fn speak(&mut self, after: &mut Micros, answer: &mut Answer) {
        let sentences = self.draws.weighted(&[(40, 1), (35, 2), (20, 4), (5, 12)]);
        let breaks = self.breaks_nodes && self.draws.chance(60);
        let broken_at = self.draws.below(sentences);
        for sentence in 0..sentences {
            for _ in 0..self.draws.between(1, 4) {
                *after = *after + self.draws.ms(10, 90);
                let words = self.draws.between(1, 4);
                let piece: String = (0..words).map(|_| format!("{} ", self.draws.pick(&WORDS))).collect();
                answer.push((*after, ProviderResult::Text(piece.into())));
            }
            if breaks && sentence == broken_at {
                let (piece, times) = match self.draws.pick(&[NODE_PANICS, NODE_FAILS, NODE_COMPUTES]) {
                    NODE_COMPUTES => (NODE_COMPUTES, self.draws.between(1, 5)),
                    piece => (piece, 1),
                };
                for _ in 0..times {
                    answer.push((*after, ProviderResult::Text(piece.into())));
                    *after = *after + self.draws.ms(0, 40);
                }
            }
            let end = self.draws.pick(&["noon. ", "right? ", "Sunday!", "open"]);
            answer.push((*after, ProviderResult::Text(end.into())));
        }
    }

    /// One of the tools, now and then one that there is not, or under a key that was used before.
    fn tool_call(&mut self) -> ToolCall {
        self.calls += u32::from(!self.draws.chance(30));
        let name = if self.draws.chance(40) { "imagined".into() } else { self.pick_tool() };
        ToolCall { key: format!("k{}", self.calls).into(), name, arguments: "{}".into() }
    }

    fn pick_tool(&mut self) -> Arc<str> {
        Arc::clone(&self.tools[self.draws.below(self.tools.len() as u64) as usize])
    }
}
