//! The session's configuration, as a client sees and changes it.

use rspp_specs::plan::ToolSpec;
use serde_json::{Value, json};

use super::WIRE_RATE_HZ;
use super::events::Wrong;
use crate::audio::{Encoding, Law, WireFormat};

/// The longest instructions, tools and all else of a session, as JSON.
const MAX_SESSION_BYTES: usize = 64 * 1024;

/// A session's configuration.
#[derive(Debug)]
pub(super) struct Session {
    shown: Value,
}

impl Session {
    /// What holds before the client has said anything.
    pub(super) fn new(model: &str, tools: &[&ToolSpec]) -> Self {
        let pcm = json!({"type": "audio/pcm", "rate": WIRE_RATE_HZ});
        let detection = json!({
            "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
            "idle_timeout_ms": null, "create_response": true, "interrupt_response": true
        });
        let shown = json!({
            "type": "realtime", "object": "realtime.session", "id": "", "model": model,
            "output_modalities": ["audio"], "instructions": "", "tools": tools.iter().map(|tool| function(tool)).collect::<Vec<_>>(),
            "tool_choice": "auto",
            "max_output_tokens": "inf", "tracing": null, "truncation": "auto", "prompt": null,
            "audio": {
                "input": {
                    "format": pcm, "transcription": null, "noise_reduction": null, "turn_detection": detection
                },
                "output": {"format": pcm, "voice": "alloy", "speed": 1.0}
            }
        });
        Self { shown }
    }

    /// The session's name.
    pub(super) fn name(&mut self, name: &str) {
        self.shown["id"] = format!("sess_{name}").into();
    }

    /// All of it.
    pub(super) fn shown(&self) -> Value {
        self.shown.clone()
    }

    /// Lays a client's changes over it; what is wrong changes nothing.
    pub(super) fn update(&mut self, changes: &Value) -> Result<(), Wrong> {
        let wrong = |says: &str| Wrong { param: Some("session"), ..Wrong::new("invalid_value", says) };
        if !changes.is_object() {
            return Err(wrong("a session is an object"));
        }
        if changes.get("type").is_some_and(|kind| kind != "realtime") {
            return Err(wrong("the session's type is `realtime`: nothing else is spoken here"));
        }
        let mut shown = self.shown.clone();
        lay_over(&mut shown, changes);
        // A format is replaced as a whole: G.711 has no rate.
        for side in ["input", "output"] {
            if let Some(format) = changes["audio"][side].get("format").filter(|format| format.is_object()) {
                shown["audio"][side]["format"] = format.clone();
            }
        }
        // Who the session is does not change.
        for fixed in ["id", "object", "type"] {
            shown[fixed] = self.shown[fixed].clone();
        }
        for side in ["input", "output"] {
            if format_of(&shown["audio"][side]["format"]).is_none() {
                let says = format!(
                    "audio.{side}.format: audio/pcm at {WIRE_RATE_HZ} Hz, audio/pcmu and audio/pcma are spoken here"
                );
                return Err(wrong(&says));
            }
        }
        if shown["output_modalities"] != json!(["audio"]) && shown["output_modalities"] != json!(["text"]) {
            return Err(wrong("output_modalities is [\"audio\"] or [\"text\"]"));
        }
        if shown.to_string().len() > MAX_SESSION_BYTES {
            return Err(wrong("a session has at most 64 KiB"));
        }
        self.shown = shown;
        Ok(())
    }

    /// How the caller's audio is written, and the agent's.
    pub(super) fn formats(&self) -> (WireFormat, WireFormat) {
        let of = |side: &str| format_of(&self.shown["audio"][side]["format"]);
        let both = of("input").zip(of("output"));
        both.expect("what is not spoken here is not taken over")
    }

    /// Whether the client says where utterances end.
    pub(super) fn is_manual(&self) -> bool {
        self.shown["audio"]["input"]["turn_detection"].is_null()
    }

    /// Whether answers are read and not heard.
    pub(super) fn is_text(&self) -> bool {
        self.shown["output_modalities"] == json!(["text"])
    }

    pub(super) fn modalities(&self) -> Value {
        self.shown["output_modalities"].clone()
    }

    pub(super) fn audio_output(&self) -> Value {
        let output = &self.shown["audio"]["output"];
        json!({"format": output["format"], "voice": output["voice"]})
    }

    /// The events in which an answer's words come.
    pub(super) fn words(&self) -> &'static str {
        if self.is_text() { "response.output_text" } else { "response.output_audio_transcript" }
    }

    /// A part of an answer with these words.
    pub(super) fn part(&self, words: &str) -> Value {
        if self.is_text() {
            json!({"type": "text", "text": words})
        } else {
            json!({"type": "audio", "transcript": words})
        }
    }
}

/// A tool of the client's, as this protocol declares it.
fn function(tool: &ToolSpec) -> Value {
    let any = || json!({"type": "object", "properties": {}});
    json!({
        "type": "function", "name": tool.name, "description": tool.description.as_deref().unwrap_or_default(),
        "parameters": tool.parameters.clone().unwrap_or_else(any)
    })
}

/// PCM at one rate, or G.711, which has one.
fn format_of(format: &Value) -> Option<WireFormat> {
    match format["type"].as_str()? {
        "audio/pcm" if format["rate"] == WIRE_RATE_HZ => Some(WireFormat::pcm(WIRE_RATE_HZ)),
        "audio/pcmu" => Some(WireFormat::MU_LAW),
        "audio/pcma" => Some(WireFormat { encoding: Encoding::G711(Law::A), ..WireFormat::MU_LAW }),
        _ => None,
    }
}

/// Objects are merged, all else is replaced.
fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}
