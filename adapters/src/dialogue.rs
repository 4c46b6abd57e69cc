//! The scripted responder: a dialogue in one file, from which come both the recogniser's grammar and the answers.
//!
//! It is no language model and does not pretend to be one. It stands where a model would in a pipeline that needs no
//! key: the same context comes in, and an answer goes out piece by piece. What it says depends on the context alone.
//!
//! ```
//! use rspp_adapters::dialogue::{Dialogue, RESTAURANT};
//! use rspp_specs::event::ContextEntry;
//!
//! let dialogue = Dialogue::parse(RESTAURANT)?;
//! let said = ContextEntry::User { text: "When do you open on Monday?".into(), understood: true };
//! let answer = dialogue.answer(&[said]);
//! assert_eq!(answer.text, "We are closed on Mondays. We open again on Tuesday, at noon.");
//! assert_eq!(dialogue.chunks(&answer)[..3], ["We", " are", " closed"]);
//! # Ok::<(), rspp_adapters::dialogue::DialogueError>(())
//! ```

mod file;
mod pattern;
mod template;

use std::collections::BTreeMap;
use std::fmt;

use rspp_specs::event::ContextEntry;

use pattern::{Expansion, Rules, Slots, words};
use template::Template;

/// The text of the bundled dialogue, a restaurant's phone line.
pub const RESTAURANT: &str = include_str!("../../specs/examples/restaurant.dialogue.yaml");

/// The grammar's public rule.
const ROOT: &str = "utterance";
/// Sentences of one intent that [`Dialogue::phrases`] tells.
const MAX_INTENT_PHRASES: u64 = 48;
/// A word with more letters comes in two pieces, as it does from a model.
const MAX_PIECE_CHARS: usize = 8;

/// A dialogue, read and checked.
#[derive(Clone, Debug)]
pub struct Dialogue {
    name: String,
    not_understood: String,
    /// Lists are rules, too: a choice of their entries.
    rules: Rules,
    tables: BTreeMap<String, Table>,
    /// In the file's order: the first that matches answers.
    intents: Vec<Intent>,
}

/// A text for each entry of a list.
#[derive(Clone, Debug)]
struct Table {
    of: String,
    values: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Intent {
    name: String,
    say: Expansion,
    answer: Template,
    /// Other answers, by the intent of an earlier turn.
    after: BTreeMap<String, Template>,
    /// What is called before the answer.
    tool: Option<Tool>,
}

/// A tool, and its arguments with gaps.
#[derive(Clone, Debug)]
struct Tool {
    name: String,
    arguments: BTreeMap<String, Template>,
}

/// What the responder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to say, in sentences.
    pub text: String,
    /// The intent that was understood, if any.
    pub intent: Option<String>,
}

/// Why a text is no dialogue: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DialogueError {
    /// In the order of the text; never empty.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a dialogue's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line, from 1; 0 where the YAML reader gives none.
    pub line: u64,
    /// The character within the line, from 1; 0 where the YAML reader gives none.
    pub column: u64,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// A line for each finding.
impl fmt::Display for DialogueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, finding) in self.findings.iter().enumerate() {
            let Finding { line, column, message } = finding;
            write!(f, "{}line {line}, column {column}: {message}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Dialogue {
    /// Reads a dialogue's YAML text, of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// All that is wrong with it at once, each with its line; of what is no YAML, or has a field that is unknown or
    /// missing, the first.
    pub fn parse(text: &str) -> Result<Self, DialogueError> {
        file::read(text)
    }

    /// The recogniser's grammar, in JSGF 1.0: exactly what [`Dialogue::answer`] understands.
    pub fn grammar(&self) -> String {
        let rules = self.rules.iter().map(|(name, rule)| (name.as_str(), rule));
        let intents = self.intents.iter().map(|intent| (intent.name.as_str(), &intent.say));
        let root = self.intents.iter().map(|intent| format!("<{}>", intent.name)).collect::<Vec<_>>().join(" | ");
        let body: String = intents.chain(rules).map(|(name, rule)| format!("<{name}> = {rule};\n")).collect();
        // The header names an encoding only where it is needed: many readers know the bare one only.
        let encoding = if body.is_ascii() { "" } else { " UTF-8" };
        format!("#JSGF V1.0{encoding};\n\ngrammar {};\n\npublic <{ROOT}> = {root};\n\n{body}", self.name)
    }

    /// Answers the last thing that the caller said; without one, or without understanding, it says so.
    pub fn answer(&self, context: &[ContextEntry]) -> Answer {
        let mut turns = context.iter().rev().filter_map(|entry| match entry {
            ContextEntry::User { text, understood } => Some(understood.then(|| self.understand(text)).flatten()),
            ContextEntry::Remark { text } => Some(self.understand(text)),
            _ => None,
        });
        let Some((intent, slots)) = turns.next().flatten() else {
            return Answer { text: self.not_understood.clone(), intent: None };
        };
        let earlier = turns.flatten().find_map(|(before, slots)| Some((intent.after.get(&before.name)?, slots)));
        let text = match earlier {
            // What was said just now counts more.
            Some((template, before)) => self.fill(template, &before.into_iter().chain(slots).collect()),
            None => self.fill(&intent.answer, &slots),
        };
        Answer { text, intent: Some(intent.name.clone()) }
    }

    /// The tool that the last thing that the caller said asks for, unless it was called for it already: its name, and
    /// its arguments as JSON.
    pub fn tool(&self, context: &[ContextEntry]) -> Option<(String, String)> {
        let asks = |entry: &ContextEntry| matches!(entry, ContextEntry::User { .. } | ContextEntry::Remark { .. });
        let last = context.iter().rposition(asks)?;
        let (ContextEntry::User { text, understood: true } | ContextEntry::Remark { text }) = &context[last] else {
            return None;
        };
        let (intent, slots) = self.understand(text)?;
        let tool = intent.tool.as_ref()?;
        let called =
            |entry: &ContextEntry| matches!(entry, ContextEntry::Tool { call, .. } if *call.name == *tool.name);
        if context[last..].iter().any(called) {
            return None;
        }
        let arguments = tool.arguments.iter().map(|(name, text)| (name.clone(), self.fill(text, &slots).into()));
        Some((tool.name.clone(), serde_json::Value::Object(arguments.collect()).to_string()))
    }

    /// The answer as a model would stream it: a piece is a word with the space before it, half of a long word, or
    /// the punctuation after one. The pieces joined are the text.
    pub fn chunks(&self, answer: &Answer) -> Vec<String> {
        let mut chunks = Vec::new();
        for word in spaced_words(&answer.text) {
            let bare = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
            let length = bare.chars().count();
            let half = bare.char_indices().nth(length.div_ceil(2)).map_or(bare.len(), |(at, _)| at);
            let cut = if length > MAX_PIECE_CHARS { half } else { bare.len() };
            let pieces = [&bare[..cut], &bare[cut..], &word[bare.len()..]];
            chunks.extend(pieces.into_iter().filter(|piece| !piece.is_empty()).map(str::to_owned));
        }
        chunks
    }

    /// Sentences that it understands: all of an intent where they are few, else a sample spread over them. Always the
    /// same ones.
    pub fn phrases(&self) -> impl Iterator<Item = String> + '_ {
        self.intents.iter().flat_map(move |intent| {
            let count = intent.say.count(&self.rules);
            // Steps of about the golden ratio meet every branch and every list's entries soon.
            let step = (count / 13 * 8).max(1);
            let step = (step..).find(|step| shares_no_factor(*step, count)).unwrap_or(1);
            let at = move |n: u64| (u128::from(n) * u128::from(step) % u128::from(count.max(1))) as u64;
            (0..count.min(MAX_INTENT_PHRASES)).map(move |n| {
                let mut said = Vec::new();
                intent.say.say(at(n), &self.rules, &mut said);
                said.join(" ")
            })
        })
    }

    fn understand(&self, text: &str) -> Option<(&Intent, Slots)> {
        let words = words(text);
        self.intents.iter().find_map(|intent| Some((intent, intent.say.matches(&words, &self.rules)?)))
    }

    /// Whatever a template names was said: the file's checks see to it.
    fn fill(&self, template: &Template, slots: &Slots) -> String {
        template.fill(|name| {
            let table = self.tables.get(name);
            let value = match table {
                Some(table) => slots.get(&table.of).and_then(|said| table.values.get(said)),
                None => slots.get(name),
            };
            value.map_or("", String::as_str)
        })
    }
}

/// Words, each with the white space before it; white space at the end is a word of its own.
fn spaced_words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = rest.len() - rest.trim_start().len();
        let length = rest[begin..].find(char::is_whitespace).unwrap_or(rest.len() - begin);
        let (word, after) = rest.split_at(begin + length);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

fn shares_no_factor(mut a: u64, mut b: u64) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

#[cfg(test)]
mod tests;
