//! What differs between providers, as data; and their messages to them, written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::reading::{Heard, Malformed, read};
use crate::audio::{Digit, Encoding, Law, WireFormat};

/// Who streams the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// Twilio Media Streams.
    Twilio,
    /// Telnyx media streaming over WebSocket.
    Telnyx,
    /// Plivo audio streaming.
    Plivo,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 3] = [Provider::Twilio, Provider::Telnyx, Provider::Plivo];

    /// Its name in addresses and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Twilio => "twilio",
            Provider::Telnyx => "telnyx",
            Provider::Plivo => "plivo",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }

    /// Its words.
    pub const fn dialect(self) -> &'static Dialect {
        match self {
            Provider::Twilio => &TWILIO,
            Provider::Telnyx => &TELNYX,
            Provider::Plivo => &PLIVO,
        }
    }
}

/// A provider's words.
#[derive(Debug)]
pub struct Dialect {
    /// Whose.
    pub provider: Provider,
    /// Where a message has its stream, and where the start has it if its message has not.
    pub(super) stream_keys: &'static [&'static str],
    /// Where the start has the call, the account, the two numbers and the parameters.
    pub(super) call_keys: &'static [&'static str],
    pub(super) account_keys: &'static [&'static str],
    pub(super) parameter_keys: &'static [&'static str],
    pub(super) format_key: &'static str,
    pub(super) rate_key: &'static str,
    /// A mark comes back under this name.
    pub(super) marked_event: &'static str,
    /// What it says when it has cleared, if it says so.
    pub(super) cleared_event: &'static str,
    media_event: &'static str,
    mark_event: &'static str,
    clear_event: &'static str,
    /// Under which name messages to it have the stream, where they have it.
    stream_out: Option<&'static str>,
    /// Keys can be sent beside the audio; if not, their tones are sent in it.
    dial_event: Option<&'static str>,
}

const TWILIO: Dialect = Dialect {
    provider: Provider::Twilio,
    stream_keys: &["streamSid"],
    call_keys: &["callSid"],
    account_keys: &["accountSid"],
    parameter_keys: &["customParameters"],
    format_key: "mediaFormat",
    rate_key: "sampleRate",
    marked_event: "mark",
    cleared_event: "",
    media_event: "media",
    mark_event: "mark",
    clear_event: "clear",
    stream_out: Some("streamSid"),
    dial_event: None,
};

const TELNYX: Dialect = Dialect {
    provider: Provider::Telnyx,
    stream_keys: &["stream_id"],
    call_keys: &["call_control_id", "call_session_id"],
    account_keys: &["user_id"],
    parameter_keys: &["custom_parameters"],
    format_key: "media_format",
    rate_key: "sample_rate",
    marked_event: "mark",
    cleared_event: "",
    media_event: "media",
    mark_event: "mark",
    clear_event: "clear",
    stream_out: None,
    dial_event: None,
};

const PLIVO: Dialect = Dialect {
    provider: Provider::Plivo,
    stream_keys: &["streamId"],
    call_keys: &["callId"],
    account_keys: &["accountId"],
    parameter_keys: &["extra_headers", "extraHeaders"],
    format_key: "mediaFormat",
    rate_key: "sampleRate",
    marked_event: "playedStream",
    cleared_event: "clearedAudio",
    media_event: "playAudio",
    mark_event: "checkpoint",
    clear_event: "clearAudio",
    stream_out: Some("streamId"),
    dial_event: Some("sendDTMF"),
};

impl Dialect {
    /// What a message of the provider's says.
    ///
    /// # Errors
    /// It is no message of this dialect.
    pub fn read(&self, text: &str) -> Result<Heard, Malformed> {
        read(self, text)
    }

    /// Audio to the caller.
    pub fn media(&self, stream: &str, format: WireFormat, audio: &[u8]) -> String {
        let payload = STANDARD.encode(audio);
        let media = match self.provider {
            Provider::Plivo => {
                json!({"contentType": content_type(format.encoding), "sampleRate": format.rate_hz, "payload": payload})
            }
            Provider::Twilio | Provider::Telnyx => json!({"payload": payload}),
        };
        self.say(self.media_event, self.stream_out, stream, "media", media)
    }

    /// A mark behind what was sent: it comes back when that has been played.
    pub fn mark(&self, stream: &str, name: &str) -> String {
        match self.provider {
            Provider::Plivo => self.say(self.mark_event, self.stream_out, stream, "name", json!(name)),
            Provider::Twilio | Provider::Telnyx => {
                self.say(self.mark_event, self.stream_out, stream, "mark", json!({"name": name}))
            }
        }
    }

    /// What was sent and not played is to be thrown away.
    pub fn clear(&self, stream: &str) -> String {
        self.say(self.clear_event, self.stream_out, stream, "", Value::Null)
    }

    /// Keys for the far end, where the provider sends them beside the audio. `None`: send [`crate::audio::dial`].
    pub fn dial(&self, digits: &[Digit]) -> Option<String> {
        let signs: String = digits.iter().map(|digit| digit.sign()).collect();
        Some(json!({"event": self.dial_event?, "dtmf": signs}).to_string())
    }

    fn say(&self, event: &str, stream_key: Option<&str>, stream: &str, key: &str, value: Value) -> String {
        let mut message = json!({"event": event});
        if let Some(stream_key) = stream_key {
            message[stream_key] = json!(stream);
        }
        if !key.is_empty() {
            message[key] = value;
        }
        message.to_string()
    }
}

/// The formats that are spoken, by the names that providers have for them. Others a provider can be told not to send.
pub(super) fn encoding(name: &str) -> Option<Encoding> {
    match name.to_ascii_lowercase().split(';').next().unwrap_or_default() {
        "audio/x-mulaw" | "mulaw" | "pcmu" => Some(Encoding::G711(Law::Mu)),
        "audio/x-alaw" | "alaw" | "pcma" => Some(Encoding::G711(Law::A)),
        _ => None,
    }
}

fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::G711(Law::A) => "audio/x-alaw",
        // The start was refused for any other.
        _ => "audio/x-mulaw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(found: &str, expected: &Value) {
        assert_eq!(serde_json::from_str::<Value>(found).expect("it is JSON"), *expected);
    }

    #[test]
    fn each_provider_is_spoken_to_in_its_own_words() {
        let (mu, audio) = (WireFormat::MU_LAW, [0xff, 0x7f]);
        same(
            &TWILIO.media("MZ1", mu, &audio),
            &json!({"event": "media", "streamSid": "MZ1", "media": {"payload": "/38="}}),
        );
        same(&TELNYX.media("s1", mu, &audio), &json!({"event": "media", "media": {"payload": "/38="}}));
        same(
            &PLIVO.media("p1", mu, &audio),
            &json!({"event": "playAudio", "streamId": "p1",
                "media": {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "/38="}}),
        );
        same(&TWILIO.mark("MZ1", "m"), &json!({"event": "mark", "streamSid": "MZ1", "mark": {"name": "m"}}));
        same(&TELNYX.mark("s1", "m"), &json!({"event": "mark", "mark": {"name": "m"}}));
        same(&PLIVO.mark("p1", "m"), &json!({"event": "checkpoint", "streamId": "p1", "name": "m"}));
        same(&TWILIO.clear("MZ1"), &json!({"event": "clear", "streamSid": "MZ1"}));
        same(&TELNYX.clear("s1"), &json!({"event": "clear"}));
        same(&PLIVO.clear("p1"), &json!({"event": "clearAudio", "streamId": "p1"}));
    }

    #[test]
    fn only_one_sends_keys_beside_the_audio() {
        let digits: Vec<Digit> = "1#".chars().filter_map(Digit::new).collect();
        assert_eq!(TWILIO.dial(&digits), None);
        assert_eq!(TELNYX.dial(&digits), None);
        same(&PLIVO.dial(&digits).expect("it can"), &json!({"event": "sendDTMF", "dtmf": "1#"}));
    }
}
