//! A profanity filter between the model and the voice: one node, one file.

use rspp::specs::event::{Payload, PortType};
use rspp::specs::ids::PortIndex;
use rspp::{Context, Node, NodeType};
use serde_json::Value;

/// Replaces words that the caller must not hear.
pub(crate) struct ProfanityFilter {
    words: Vec<String>,
}

impl ProfanityFilter {
    /// The node's type, as a spec names it: text in, text out, `config: {words: [..]}`.
    pub(crate) fn node_type() -> NodeType {
        NodeType::new(PortType::Text, PortType::Text, |config| Ok(Box::new(Self::from_config(config)?)))
    }

    fn from_config(config: &Value) -> Result<Self, String> {
        let words = config.get("words").and_then(Value::as_array).ok_or("`words` must be a list of words")?;
        let word = |word: &Value| word.as_str().map(str::to_lowercase).ok_or("every one of `words` must be a text");
        Ok(Self { words: words.iter().map(word).collect::<Result<_, _>>()? })
    }

    fn clean(&self, text: &str) -> String {
        let bad = |word: &str| self.words.iter().any(|bad| *bad == word.to_lowercase());
        let clean = |word| {
            let bare = str::trim_matches(word, |c: char| !c.is_alphanumeric());
            if bad(bare) { word.replace(bare, "beep") } else { word.to_owned() }
        };
        text.split(' ').map(clean).collect::<Vec<String>>().join(" ")
    }
}

impl Node for ProfanityFilter {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        match payload {
            Payload::Text(text) => cx.emit(Payload::text(self.clean(&text))),
            other => cx.emit(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rspp::harness::Harness;

    #[test]
    fn bad_words_become_beeps() {
        let filter = ProfanityFilter::from_config(&serde_json::json!({"words": ["darn"]})).expect("well formed");
        let mut harness = Harness::new(filter);
        harness.event(Payload::text("The Darn, darned kitchen."));
        assert_eq!(harness.emitted(), [Payload::text("The beep, darned kitchen.")]);
    }
}
