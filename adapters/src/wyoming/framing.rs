//! One Wyoming event on a stream of bytes: a line of JSON, then `data_length` bytes of JSON, then
//! `payload_length` bytes of anything.
//!
//! Bytes come from other people's programs: every length has a limit, memory grows only with what has really
//! arrived, and whatever is wrong is a [`FramingError`].

use std::io::{self, BufRead, Read, Write};

use serde_json::{Map, Value};
use thiserror::Error;

/// The longest header line, without its newline.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The longest separate data part.
pub const MAX_DATA_BYTES: usize = 1024 * 1024;
/// The longest payload.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;
/// The version of the protocol that our own events carry.
pub const VERSION: &str = "1.8.0";

const _: () = assert!(MAX_HEADER_BYTES <= MAX_DATA_BYTES && MAX_DATA_BYTES <= MAX_PAYLOAD_BYTES);

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WireEvent {
    /// `audio-chunk`, `transcript`, ...
    pub kind: String,
    /// What it says; inline and separate data merged, the separate part wins.
    pub data: Map<String, Value>,
    /// Bytes that are not JSON: samples.
    pub payload: Vec<u8>,
}

impl WireEvent {
    /// An event without data.
    pub fn new(kind: &str) -> Self {
        WireEvent { kind: kind.to_owned(), ..WireEvent::default() }
    }

    /// The same event with one more value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    /// The same event with a payload.
    #[must_use]
    pub fn carrying(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    /// A text value; empty if it is missing or no text.
    pub fn text(&self, name: &str) -> &str {
        self.data.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A whole number, if it is there and is one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.data.get(name).and_then(Value::as_u64)
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        self.payload.len() + self.kind.len() + self.data.len() * 64
    }
}

/// What is wrong with a stream of events.
#[derive(Debug, Error)]
pub enum FramingError {
    /// A part is longer than allowed.
    #[error("{part} of {bytes} bytes, allowed are {limit}")]
    TooLong {
        /// Header, data or payload.
        part: &'static str,
        /// As announced, or as far as was read.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// A part is not a JSON object.
    #[error("{part} is not a JSON object: {detail}")]
    NotJson {
        /// Header or data.
        part: &'static str,
        /// The parser's words.
        detail: String,
    },
    /// A field of the header is missing or of the wrong type.
    #[error("the header's `{0}` is missing or of the wrong type")]
    Field(&'static str),
    /// The stream ends within an event.
    #[error("the stream ends within the {0}")]
    Cut(&'static str),
    /// The system failed.
    #[error("reading or writing failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads one event; `None` where the stream ends between two events.
///
/// # Errors
///
/// [`FramingError`], after which nothing sensible can be read from the stream.
pub fn read_event(from: &mut impl BufRead) -> Result<Option<WireEvent>, FramingError> {
    let Some(line) = read_line(from)? else { return Ok(None) };
    let mut header = object("header", &line)?;
    let Some(Value::String(kind)) = header.remove("type") else { return Err(FramingError::Field("type")) };
    let data_length = length(&header, "data_length", "data", MAX_DATA_BYTES)?;
    let payload_length = length(&header, "payload_length", "payload", MAX_PAYLOAD_BYTES)?;
    let mut data = match header.remove("data") {
        Some(Value::Object(inline)) => inline,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(FramingError::Field("data")),
    };
    if data_length > 0 {
        data.extend(object("data", &read_exactly(from, data_length, "data")?)?);
    }
    let payload = read_exactly(from, payload_length, "payload")?;
    Ok(Some(WireEvent { kind, data, payload }))
}

/// Writes one event and flushes.
///
/// # Errors
///
/// [`FramingError::TooLong`] if the event is longer than [`read_event`] takes; nothing is written then.
/// [`FramingError::Io`] if the system fails.
pub fn write_event(to: &mut impl Write, event: &WireEvent) -> Result<(), FramingError> {
    to.write_all(&encode(event)?)?;
    to.flush()?;
    Ok(())
}

/// The bytes of one event.
///
/// # Errors
///
/// [`FramingError::TooLong`] if the event is longer than [`read_event`] takes.
pub fn encode(event: &WireEvent) -> Result<Vec<u8>, FramingError> {
    let data = if event.data.is_empty() { Vec::new() } else { json(&event.data)? };
    bounded("data", data.len() as u64, MAX_DATA_BYTES)?;
    bounded("payload", event.payload.len() as u64, MAX_PAYLOAD_BYTES)?;
    let mut header = Map::new();
    header.insert("type".into(), event.kind.as_str().into());
    header.insert("version".into(), VERSION.into());
    if !data.is_empty() {
        header.insert("data_length".into(), data.len().into());
    }
    if !event.payload.is_empty() {
        header.insert("payload_length".into(), event.payload.len().into());
    }
    let mut bytes = json(&header)?;
    bounded("header", bytes.len() as u64, MAX_HEADER_BYTES)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(&event.payload);
    Ok(bytes)
}

fn json(object: &Map<String, Value>) -> Result<Vec<u8>, FramingError> {
    serde_json::to_vec(object).map_err(|error| FramingError::Io(error.into()))
}

fn bounded(part: &'static str, bytes: u64, limit: usize) -> Result<usize, FramingError> {
    match usize::try_from(bytes) {
        Ok(fits) if fits <= limit => Ok(fits),
        _ => Err(FramingError::TooLong { part, bytes, limit }),
    }
}

/// A header line without its newline; `None` at the end of the stream.
fn read_line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>, FramingError> {
    let mut line = Vec::new();
    from.by_ref().take(MAX_HEADER_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= MAX_HEADER_BYTES => {
            Err(FramingError::TooLong { part: "header", bytes: line.len() as u64 + 1, limit: MAX_HEADER_BYTES })
        }
        Some(_) => Err(FramingError::Cut("header")),
    }
}

fn length(
    header: &Map<String, Value>,
    field: &'static str,
    part: &'static str,
    limit: usize,
) -> Result<usize, FramingError> {
    match header.get(field) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => bounded(part, value.as_u64().ok_or(FramingError::Field(field))?, limit),
    }
}

fn object(part: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, FramingError> {
    serde_json::from_slice(bytes).map_err(|error| FramingError::NotJson { part, detail: error.to_string() })
}

/// Grows with what arrives, not with what was announced.
fn read_exactly(from: &mut impl BufRead, bytes: usize, part: &'static str) -> Result<Vec<u8>, FramingError> {
    let mut read = Vec::new();
    from.by_ref().take(bytes as u64).read_to_end(&mut read)?;
    if read.len() == bytes { Ok(read) } else { Err(FramingError::Cut(part)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<WireEvent>, FramingError> {
        read_event(&mut &bytes[..])
    }

    #[test]
    fn inline_and_separate_data_merge_and_the_separate_part_wins() {
        let bytes = b"{\"type\":\"x\",\"data\":{\"a\":1,\"b\":1},\"data_length\":7,\"payload_length\":2}\n{\"b\":2}hi";
        let event = read(bytes).expect("it is well formed").expect("it is not empty");
        assert_eq!(event, WireEvent::new("x").with("a", 1).with("b", 2).carrying(b"hi".to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (bytes, expected) in [
            (&b"{\"type\":\"x\""[..], "the stream ends within the header"),
            (b"[1]\n", "header is not a JSON object"),
            (b"\n", "header is not a JSON object"),
            (b"{}\n", "`type`"),
            (b"{\"type\":1}\n", "`type`"),
            (b"{\"type\":\"x\",\"data\":3}\n", "`data`"),
            (b"{\"type\":\"x\",\"data_length\":-1}\n", "`data_length`"),
            (b"{\"type\":\"x\",\"payload_length\":1.5}\n", "`payload_length`"),
            (b"{\"type\":\"x\",\"data_length\":1048577}\n", "data of 1048577 bytes"),
            (b"{\"type\":\"x\",\"payload_length\":18446744073709551615}\n", "allowed are 4194304"),
            (b"{\"type\":\"x\",\"data_length\":2}\n{", "the stream ends within the data"),
            (b"{\"type\":\"x\",\"data_length\":2}\n12", "data is not a JSON object"),
            (b"{\"type\":\"x\",\"payload_length\":2}\n1", "the stream ends within the payload"),
        ] {
            let error = read(bytes).expect_err("each of them is wrong").to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }

    #[test]
    fn an_endless_header_is_cut_off() {
        let error = read_event(&mut io::BufReader::new(io::repeat(b'x'))).expect_err("it never ends");
        assert!(matches!(error, FramingError::TooLong { part: "header", .. }), "{error}");
        let mut longest = vec![b' '; MAX_HEADER_BYTES - 12];
        longest.extend_from_slice(b"{\"type\":\"x\"}\n");
        assert_eq!(longest.len(), MAX_HEADER_BYTES + 1);
        assert_eq!(read(&longest).expect("exactly as long as allowed"), Some(WireEvent::new("x")));
    }

    #[test]
    fn too_much_is_not_written() {
        let event = WireEvent::new("x").carrying(vec![0; MAX_PAYLOAD_BYTES + 1]);
        let mut bytes = Vec::new();
        assert!(matches!(write_event(&mut bytes, &event), Err(FramingError::TooLong { part: "payload", .. })));
        assert!(bytes.is_empty());
    }

    prop_compose! {
        fn any_event()(
            kind in "[a-z-]{0,12}",
            names in proptest::collection::btree_map("[a-z]{1,6}", ".{0,20}", 0..4),
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) -> WireEvent {
            let data = names.into_iter().map(|(name, value)| (name, value.into())).collect();
            WireEvent { kind, data, payload }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(events in proptest::collection::vec(any_event(), 0..5)) {
            let mut bytes = Vec::new();
            for event in &events {
                write_event(&mut bytes, event).expect("it is small");
            }
            let mut from = &bytes[..];
            for event in events {
                prop_assert_eq!(read_event(&mut from).expect("we wrote it"), Some(event));
            }
            prop_assert_eq!(read_event(&mut from).expect("the end is clean"), None);
        }

        #[test]
        fn a_truncated_event_is_an_error(event in any_event(), at in any::<prop::sample::Index>()) {
            let bytes = encode(&event).expect("it is small");
            let cut = 1 + at.index(bytes.len() - 1);
            prop_assert!(read(&bytes[..cut]).is_err());
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut from = &bytes[..];
            while let Ok(Some(_)) = read_event(&mut from) {}
        }

        #[test]
        fn any_bytes_behind_a_true_header_are_read_to_an_end(
            data in 0_u64..40, payload in 0_u64..40, rest in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes =
                format!("{{\"type\":\"x\",\"data_length\":{data},\"payload_length\":{payload}}}\n").into_bytes();
            bytes.extend(rest);
            let _ = read(&bytes);
        }
    }
}
