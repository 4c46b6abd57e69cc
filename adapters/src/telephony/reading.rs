//! Providers' messages, read into one set of events.
//!
//! What a provider writes as a number another writes as text, and some have written both; what is not needed is not
//! looked at, and what is not known is passed over. Everything has a bound: the line's peer is whoever found the address.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use thiserror::Error;

use super::dialect::{Dialect, encoding};
use crate::audio::{Digit, MAX_WIRE_AUDIO_BYTES, WireFormat};

/// Parameters of a call that are kept; what is over is not.
pub const MAX_PARAMETERS: usize = 32;
/// A name, an id or a parameter's value.
const MAX_WORD_BYTES: usize = 1_024;

/// What a provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The line is there; the start follows.
    Connected,
    /// Who calls, and how the audio is written.
    Start(Box<Start>),
    /// The caller's audio.
    Media(Media),
    /// A key was pressed.
    Key(Digit),
    /// What was sent before this mark has been played, or was thrown away.
    Marked(String),
    /// What was sent has been thrown away.
    Cleared,
    /// The call is over.
    Stop,
    /// The provider has something to complain about.
    Fault(String),
    /// It is of this protocol, and nothing to us.
    Other,
}

/// How a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The stream.
    pub stream: String,
    /// The call.
    pub call: String,
    /// Whose account it is.
    pub account: String,
    /// The caller's number, where the provider says it.
    pub from: Option<String>,
    /// The number that was called, where the provider says it.
    pub to: Option<String>,
    /// What the answer to the webhook, or the application, sent along.
    pub parameters: BTreeMap<String, String>,
    /// How the audio is written.
    pub format: WireFormat,
    /// Only the caller's track is sent, so its chunks are numbered without gaps.
    pub one_track: bool,
}

/// A piece of the caller's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Its number in the stream, from 1, where it has one.
    pub chunk: Option<u64>,
    /// As it is on the wire.
    pub audio: Vec<u8>,
    /// It is the agent's own audio: of no interest.
    pub outbound: bool,
}

/// Why a message can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It is no JSON object with a word for its event.
    #[error("that is no JSON object with an \"event\": send the messages of a media stream")]
    NotAMessage,
    /// A field that is needed is not there or of another kind.
    #[error("\"{event}\" has no usable \"{field}\"")]
    Field {
        /// In which event.
        event: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// Audio that is not spoken here.
    #[error("audio as {0} is not spoken here: have the provider stream 8 kHz mu-law or A-law (PCMU or PCMA)")]
    Format(String),
    /// More audio than one message may bring.
    #[error("a message with more than {MAX_WIRE_AUDIO_BYTES} bytes of audio")]
    TooLong,
}

pub(super) fn read(dialect: &Dialect, text: &str) -> Result<Heard, Malformed> {
    let message: Value = serde_json::from_str(text).map_err(|_| Malformed::NotAMessage)?;
    let event = message["event"].as_str().ok_or(Malformed::NotAMessage)?;
    // The words of a dialect may be each other's, so they are compared before those that all have.
    if event == dialect.marked_event {
        return mark(&message);
    }
    match event {
        "connected" => Ok(Heard::Connected),
        "start" => start(dialect, &message).map(|start| Heard::Start(Box::new(start))),
        "media" => media(&message),
        "dtmf" => {
            let digit = message["dtmf"]["digit"].as_str().and_then(Digit::named);
            digit.map(Heard::Key).ok_or(Malformed::Field { event: "dtmf", field: "digit" })
        }
        "stop" => Ok(Heard::Stop),
        "error" => Ok(Heard::Fault(fault(&message))),
        _ if event == dialect.cleared_event => Ok(Heard::Cleared),
        _ => Ok(Heard::Other),
    }
}

fn mark(message: &Value) -> Result<Heard, Malformed> {
    let name = word(&message["mark"]["name"]).or_else(|| word(&message["name"]));
    name.map(Heard::Marked).ok_or(Malformed::Field { event: "mark", field: "name" })
}

fn media(message: &Value) -> Result<Heard, Malformed> {
    let media = &message["media"];
    let payload = media["payload"].as_str().ok_or(Malformed::Field { event: "media", field: "payload" })?;
    if payload.len() > MAX_WIRE_AUDIO_BYTES.div_ceil(3) * 4 {
        return Err(Malformed::TooLong);
    }
    let audio = STANDARD.decode(payload).map_err(|_| Malformed::Field { event: "media", field: "payload" })?;
    let outbound = media["track"].as_str().is_some_and(|track| track.starts_with("outbound"));
    Ok(Heard::Media(Media { chunk: number(&media["chunk"]), audio, outbound }))
}

fn start(dialect: &Dialect, message: &Value) -> Result<Start, Malformed> {
    let start = &message["start"];
    let of = |keys: &[&str], value: &Value| keys.iter().find_map(|key| word(&value[*key]));
    let missing = |field| Malformed::Field { event: "start", field };
    let stream = of(dialect.stream_keys, message).or_else(|| of(dialect.stream_keys, start));
    let parameters = dialect.parameter_keys.iter();
    let parameters = parameters.flat_map(|key| parameters_of(&start[*key]).chain(parameters_of(&message[*key])));
    Ok(Start {
        stream: stream.ok_or(missing("stream id"))?,
        call: of(dialect.call_keys, start).ok_or(missing("call id"))?,
        account: of(dialect.account_keys, start).unwrap_or_default(),
        from: word(&start["from"]),
        to: word(&start["to"]),
        parameters: parameters.take(MAX_PARAMETERS).collect(),
        format: format(dialect, &start[dialect.format_key])?,
        one_track: start["tracks"].as_array().is_none_or(|tracks| tracks.len() <= 1),
    })
}

fn format(dialect: &Dialect, format: &Value) -> Result<WireFormat, Malformed> {
    let name = word(&format["encoding"]).unwrap_or_else(|| "an encoding without a name".to_owned());
    let rate_hz = number(&format[dialect.rate_key]).unwrap_or(8_000);
    let channels = number(&format["channels"]).unwrap_or(1);
    match (encoding(&name), rate_hz, channels) {
        (Some(encoding), 8_000, 1) => Ok(WireFormat { encoding, rate_hz: 8_000 }),
        _ => Err(Malformed::Format(format!("{name} at {rate_hz} Hz on {channels} channels"))),
    }
}

/// An object, or the text of one: `{"a": "b"}` and `a=b;c=d` were both seen.
fn parameters_of(value: &Value) -> Box<dyn Iterator<Item = (String, String)>> {
    match value {
        Value::Object(fields) => {
            let pairs = fields.iter().filter_map(|(key, value)| Some((bounded(key)?, word(value)?)));
            Box::new(pairs.collect::<Vec<_>>().into_iter())
        }
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(fields)) => parameters_of(&Value::Object(fields)),
            _ => {
                let pairs = text.split([';', ',']).filter_map(|pair| pair.split_once('='));
                let pairs = pairs.filter_map(|(key, value)| Some((bounded(key.trim())?, bounded(value.trim())?)));
                Box::new(pairs.collect::<Vec<_>>().into_iter())
            }
        },
        _ => Box::new(std::iter::empty()),
    }
}

fn fault(message: &Value) -> String {
    let payload = &message["payload"];
    let parts = ["code", "title", "detail"].iter().filter_map(|key| word(&payload[*key]));
    let said = parts.collect::<Vec<_>>().join(": ");
    if said.is_empty() { "without saying what".to_owned() } else { said }
}

/// Text, or a number as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => bounded(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn bounded(text: &str) -> Option<String> {
    (!text.is_empty() && text.len() <= MAX_WORD_BYTES).then(|| text.to_owned())
}

/// A number, or the text of one.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telephony::Provider;
    use proptest::prelude::*;

    fn started(provider: Provider, text: &str) -> Start {
        match provider.dialect().read(text) {
            Ok(Heard::Start(start)) => *start,
            other => panic!("{provider:?}: {other:?}"),
        }
    }

    #[test]
    fn each_providers_start_is_read() {
        let twilio = r#"{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"streamSid":"MZ1",
            "accountSid":"AC1","callSid":"CA1","tracks":["inbound"],"customParameters":{"tenant":"acme","n":3},
            "mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1}}}"#;
        let telnyx = r#"{"event":"start","sequence_number":"1","stream_id":"s1","start":{"user_id":"u1",
            "call_control_id":"v3:c1","call_session_id":"cs1","from":"+4930123","to":"+1555","client_state":"x",
            "custom_parameters":{"tenant":"acme","n":"3"},
            "media_format":{"encoding":"PCMU","sample_rate":8000,"channels":1}}}"#;
        let plivo = r#"{"sequenceNumber":0,"event":"start","start":{"callId":"CA1","streamId":"p1","accountId":"a1",
            "tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000}},
            "extra_headers":"{\"tenant\":\"acme\",\"n\":3}"}"#;
        for (provider, text, stream, call, account) in [
            (Provider::Twilio, twilio, "MZ1", "CA1", "AC1"),
            (Provider::Telnyx, telnyx, "s1", "v3:c1", "u1"),
            (Provider::Plivo, plivo, "p1", "CA1", "a1"),
        ] {
            let start = started(provider, text);
            assert_eq!((&*start.stream, &*start.call, &*start.account), (stream, call, account));
            assert_eq!((&*start.parameters["tenant"], &*start.parameters["n"]), ("acme", "3"));
            assert_eq!((start.format, start.one_track), (WireFormat::MU_LAW, true));
        }
        assert_eq!(started(Provider::Telnyx, telnyx).from.as_deref(), Some("+4930123"));
    }

    #[test]
    fn other_audio_is_refused_by_its_name() {
        let text = r#"{"event":"start","stream_id":"s","start":{"call_control_id":"c",
            "media_format":{"encoding":"L16","sample_rate":16000,"channels":1}}}"#;
        let refused = Provider::Telnyx.dialect().read(text);
        assert_eq!(refused, Err(Malformed::Format("L16 at 16000 Hz on 1 channels".to_owned())));
    }

    /// In each provider's words, what the message is.
    fn check(provider: Provider, text: &str, expected: &str) {
        let found = match provider.dialect().read(text) {
            Ok(Heard::Media(media)) => {
                format!("media {:?} {:?}{}", media.chunk, media.audio, if media.outbound { " outbound" } else { "" })
            }
            Ok(Heard::Key(digit)) => format!("key {digit}"),
            Ok(heard) => format!("{heard:?}"),
            Err(malformed) => malformed.to_string(),
        };
        assert_eq!(found, expected, "{provider:?}: {text}");
    }

    #[test]
    fn messages_are_read_whichever_way_numbers_are_written() {
        use Provider::{Plivo, Telnyx, Twilio};
        let media = |chunk: &str, track: &str| {
            format!(r#"{{"event":"media","media":{{"track":"{track}","chunk":{chunk},"payload":"/38="}}}}"#)
        };
        for provider in Provider::ALL {
            check(provider, &media("\"7\"", "inbound"), "media Some(7) [255, 127]");
            check(provider, &media("7", "inbound"), "media Some(7) [255, 127]");
            check(provider, &media("\"x\"", "outbound"), "media None [255, 127] outbound");
            check(provider, r##"{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"#"}}"##, "key #");
            check(provider, r#"{"event":"dtmf","dtmf":{"digit":"12"}}"#, "\"dtmf\" has no usable \"digit\"");
            check(provider, r#"{"event":"media","media":{"payload":"%"}}"#, "\"media\" has no usable \"payload\"");
            check(provider, r#"{"event":"stop"}"#, "Stop");
            check(provider, r#"{"event":"somethingNew"}"#, "Other");
        }
        check(Twilio, r#"{"event":"mark","streamSid":"M","mark":{"name":"a"}}"#, "Marked(\"a\")");
        check(Telnyx, r#"{"event":"mark","stream_id":"s","mark":{"name":"a"}}"#, "Marked(\"a\")");
        check(Plivo, r#"{"event":"playedStream","streamId":"p","name":"a"}"#, "Marked(\"a\")");
        check(Plivo, r#"{"event":"clearedAudio","streamId":"p"}"#, "Cleared");
        check(Twilio, r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#, "Connected");
        check(
            Telnyx,
            r#"{"event":"error","payload":{"code":100002,"title":"unknown_error","detail":"no"}}"#,
            "Fault(\"100002: unknown_error: no\")",
        );
    }

    #[test]
    fn what_is_no_message_is_told_from_what_is_not_known() {
        for text in ["", "[]", "{}", "null", "{\"event\":1}", "\u{0}", "{\"event\":\"media\"", &"[".repeat(100_000)] {
            assert_eq!(Provider::Twilio.dialect().read(text), Err(Malformed::NotAMessage));
        }
    }

    #[test]
    fn a_flood_of_parameters_is_cut() {
        let many: String = (0..1_000).map(|n| format!("\"k{n}\":\"v\",")).collect();
        let text = format!(
            r#"{{"event":"start","streamSid":"M","start":{{"callSid":"C","customParameters":{{{many}"z":"{}"}},
            "mediaFormat":{{"encoding":"audio/x-mulaw"}}}}}}"#,
            "x".repeat(5_000),
        );
        let start = started(Provider::Twilio, &text);
        assert_eq!(start.parameters.len(), MAX_PARAMETERS);
        assert!(!start.parameters.contains_key("z"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            for provider in Provider::ALL {
                let _ = provider.dialect().read(&text);
            }
        }

        #[test]
        fn any_shape_of_message_is_read_or_refused(
            event in prop::sample::select(vec!["start", "media", "dtmf", "mark", "playedStream", "stop", "error"]),
            inner in prop::sample::select(vec!["null", "1", "\"x\"", "[]", "{}", "{\"name\":[]}", "{\"payload\":7}"]),
        ) {
            let text = format!(r#"{{"event":"{event}","{event}":{inner},"name":{inner},"payload":{inner}}}"#);
            for provider in Provider::ALL {
                let _ = provider.dialect().read(&text);
            }
        }
    }
}
